// Winograd's convolutions, F(4x4, 3x3): the transforms that stand before and after their products, and where numbers come from.
//
// Each transform is done along both sides of a square of cells: B^T d B of an image's 6x6 pixels, A^T p A of a tile's 6x6
// points, G g G^T of a filter's 3x3 taps; and each of these transposed, for gradients. The points are 0, 3/4, -3/4, 3/2, -3/2
// and infinity, as in winograd_bfloat16.py. Channels lie side by side, so that a step is done for a vector of them at once.
// Numbers are float or bfloat16 in memory, and float within.

#pragma once

#include <cstdint>
#include <cstring>

namespace {

#ifdef __AVX512F__
constexpr int LANES = 16;  // channels in a vector
#else
constexpr int LANES = 8;
#endif
template <class Number> constexpr int LINE = 64 / LANES / sizeof(Number);  // vectors in a line of the cache, done together

using Vector = float __attribute__((vector_size(4 * LANES)));
using Words = uint32_t __attribute__((vector_size(4 * LANES)));
using Halves = uint16_t __attribute__((vector_size(2 * LANES)));
using Bytes = uint8_t __attribute__((vector_size(LANES)));
using bfloat16 = uint16_t;

inline Vector load(const float *from) {
    Vector vector;
    memcpy(&vector, from, sizeof vector);
    return vector;
}

inline Vector load(const bfloat16 *from) {
    Halves halves;
    memcpy(&halves, from, sizeof halves);
    Words words = __builtin_convertvector(halves, Words) << 16;
    Vector vector;
    memcpy(&vector, &words, sizeof vector);
    return vector;
}

inline void store(float *to, Vector vector) { memcpy(to, &vector, sizeof vector); }

inline void store(bfloat16 *to, Vector vector) {  // rounded to nearest, ties to even
    Words words;
    memcpy(&words, &vector, sizeof words);
    Words rounded = (words + 0x7fff + ((words >> 16) & 1)) >> 16, nan = Words{} + 0x7fc0;
    Halves halves = __builtin_convertvector(vector == vector ? rounded : nan, Halves);
    memcpy(to, &halves, sizeof halves);
}

template <class Number> inline Vector rounded(Vector vector) {
    Number numbers[LANES];
    store(numbers, vector);
    return load(numbers);
}

// Along one side: from cells that lie `step` apart to cells that lie `gap` apart.
using Transform = void(const Vector *in, int step, Vector *out, int gap);

constexpr float P = 3.0f / 4, Q = 3.0f / 2, PP = P * P, QQ = Q * Q;

inline void pixels_to_points(const Vector *d, int step, Vector *out, int gap) {  // B^T: 6 to 6
    out[0] = d[0] * (PP * QQ) - d[2 * step] * (PP + QQ) + d[4 * step];
    Vector even = d[4 * step] - d[2 * step] * QQ, odd = (d[3 * step] - d[step] * QQ) * P;
    out[gap] = even + odd;
    out[2 * gap] = even - odd;
    even = d[4 * step] - d[2 * step] * PP, odd = (d[3 * step] - d[step] * PP) * Q;
    out[3 * gap] = even + odd;
    out[4 * gap] = even - odd;
    out[5 * gap] = d[step] * (PP * QQ) - d[3 * step] * (PP + QQ) + d[5 * step];
}

struct Sums {  // of a transform that ends at the points: what the pairs of opposite points have in common, and not
    Vector p, q, p_odd, q_odd;
    Sums(const Vector *in, int step)
        : p(in[step] + in[2 * step]), q(in[3 * step] + in[4 * step]), p_odd((in[step] - in[2 * step]) * P),
          q_odd((in[3 * step] - in[4 * step]) * Q) {}
};

inline void points_to_outputs(const Vector *in, int step, Vector *out, int gap) {  // A^T: 6 to 4
    Sums sums(in, step);
    out[0] = in[0] + sums.p + sums.q;
    out[gap] = sums.p_odd + sums.q_odd;
    out[2 * gap] = sums.p * PP + sums.q * QQ;
    out[3 * gap] = sums.p_odd * PP + sums.q_odd * QQ + in[5 * step];
}

inline void outputs_to_points(const Vector *in, int step, Vector *out, int gap) {  // A: 4 to 6
    Vector even = in[0] + in[2 * step] * PP, odd = (in[step] + in[3 * step] * PP) * P;
    out[0] = in[0];
    out[gap] = even + odd;
    out[2 * gap] = even - odd;
    even = in[0] + in[2 * step] * QQ, odd = (in[step] + in[3 * step] * QQ) * Q;
    out[3 * gap] = even + odd;
    out[4 * gap] = even - odd;
    out[5 * gap] = in[3 * step];
}

inline void points_to_pixels(const Vector *in, int step, Vector *out, int gap) {  // B: 6 to 6
    Sums sums(in, step);
    out[0] = in[0] * (PP * QQ);
    out[gap] = in[5 * step] * (PP * QQ) - sums.p_odd * QQ - sums.q_odd * PP;
    out[2 * gap] = -in[0] * (PP + QQ) - sums.p * QQ - sums.q * PP;
    out[3 * gap] = sums.p_odd + sums.q_odd - in[5 * step] * (PP + QQ);
    out[4 * gap] = in[0] + sums.p + sums.q;
    out[5 * gap] = in[5 * step];
}

// Of G: one over the product of a point's distances to the others
constexpr float AT_0 = 1 / (PP * QQ), AT_P = 1 / (2 * PP * (PP - QQ)), AT_Q = 1 / (2 * QQ * (QQ - PP));

inline void taps_to_points(const Vector *g, int step, Vector *out, int gap) {  // G: 3 to 6
    Vector even = (g[0] + g[2 * step] * PP) * AT_P, odd = g[step] * (P * AT_P);
    out[0] = g[0] * AT_0;
    out[gap] = even + odd;
    out[2 * gap] = even - odd;
    even = (g[0] + g[2 * step] * QQ) * AT_Q, odd = g[step] * (Q * AT_Q);
    out[3 * gap] = even + odd;
    out[4 * gap] = even - odd;
    out[5 * gap] = g[2 * step];
}

inline void points_to_taps(const Vector *in, int step, Vector *out, int gap) {  // G^T: 6 to 3
    Sums sums(in, step);
    out[0] = in[0] * AT_0 + sums.p * AT_P + sums.q * AT_Q;
    out[gap] = sums.p_odd * AT_P + sums.q_odd * AT_Q;
    out[2 * gap] = sums.p * (PP * AT_P) + sums.q * (QQ * AT_Q) + in[5 * step];
}

template <Transform transform, int IN, int OUT> inline void both_sides(const Vector *in, Vector *out) {
    Vector half[OUT * IN];
    for (int j = 0; j < IN; j++) transform(in + j, IN, half + j, IN);
    for (int i = 0; i < OUT; i++) transform(half + i * IN, 1, out + i * OUT, 1);
}

struct Shape {
    int64_t images, height, width, channels;
    int64_t down() const { return (height + 3) / 4; }  // tiles, as are across and tiles
    int64_t across() const { return (width + 3) / 4; }
    int64_t tiles() const { return images * down() * across(); }
    int64_t pixel(int64_t n, int64_t i, int64_t j) const { return ((n * height + i) * width + j) * channels; }
    Shape pooled() const { return {images, (height + 1) / 2, (width + 1) / 2, channels}; }
};

// An image, (n, h, w, c).
template <class Number> struct Image {
    const Number *rows;
    Shape shape;
};

// The square of SIDE pixels that begins EDGE before a tile; what lies outside of the image is zero.
template <int SIDE, int EDGE, class Number>
inline void square(const Image<Number> &from, int64_t n, int64_t y, int64_t x, int64_t c, Vector *in) {
    const Shape &shape = from.shape;
    int64_t top = 4 * y - EDGE, left = 4 * x - EDGE;
    int64_t first = shape.pixel(n, top, left) + c;
    bool whole = top >= 0 && top + SIDE <= shape.height && left >= 0 && left + SIDE <= shape.width;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            bool inside = whole || (top + i >= 0 && top + i < shape.height && left + j >= 0 && left + j < shape.width);
            in[i * SIDE + j] = inside ? load(from.rows + first + (i * shape.width + j) * shape.channels) : Vector{};
        }
}

// An image of this shape in which all is zero but what was pooled, (n, h / 2, w / 2, c), put back into its places.
template <class Number> struct Unpooled {
    const Number *rows;
    const uint8_t *places;
    Shape shape;
};

template <int SIDE, int EDGE, class Number>
inline void square(const Unpooled<Number> &from, int64_t n, int64_t y, int64_t x, int64_t c, Vector *in) {
    constexpr int BEFORE = (EDGE + 1) / 2, WINDOWS = BEFORE + (SIDE - EDGE + 1) / 2;  // windows before the tile, and in all
    Shape pooled = from.shape.pooled();
    for (int i = 0; i < WINDOWS; i++)
        for (int j = 0; j < WINDOWS; j++) {
            int64_t row = 2 * y + i - BEFORE, column = 2 * x + j - BEFORE;
            Vector value{};
            Words at{};
            if (row >= 0 && row < pooled.height && column >= 0 && column < pooled.width) {
                int64_t place = pooled.pixel(n, row, column) + c;
                Bytes bytes;
                memcpy(&bytes, from.places + place, sizeof bytes);
                value = load(from.rows + place);
                at = __builtin_convertvector(bytes, Words);
            }
            for (int place = 0; place < 4; place++) {
                int down = 2 * (i - BEFORE) + place / 2 + EDGE, across = 2 * (j - BEFORE) + place % 2 + EDGE;
                if (0 <= down && down < SIDE && 0 <= across && across < SIDE)
                    in[down * SIDE + across] = at == static_cast<uint32_t>(place) ? value : Vector{};
            }
        }
}

// Where a tile's 4x4 outputs go: an image, (n, h, w, c).
template <class Number> struct Whole {
    Number *rows;
    Shape shape;
    void put(int64_t n, int64_t y, int64_t x, int64_t c, const Vector *out) const {
        for (int i = 0; i < 4 && 4 * y + i < shape.height; i++)
            for (int j = 0; j < 4 && 4 * x + j < shape.width; j++)
                store(rows + shape.pixel(n, 4 * y + i, 4 * x + j) + c, out[i * 4 + j]);
    }
};

// The largest output, as it is rounded, of each window of 2x2 in a tile, (n, h / 2, w / 2, c) with halves counted as whole
// ones; and its place in the window, 0 to 3. Of equal ones the first; of a NaN, that.
template <class Number> struct Pooled {
    Number *rows;
    uint8_t *places;
    Shape shape;
    void put(int64_t n, int64_t y, int64_t x, int64_t c, const Vector *out) const {
        for (int i = 0; i < 4 && 4 * y + i < shape.height; i += 2)
            for (int j = 0; j < 4 && 4 * x + j < shape.width; j += 2) {
                Vector most = rounded<Number>(out[i * 4 + j]);
                Words at{};
                for (uint32_t place = 1; place < 4; place++) {
                    int64_t row = i + place / 2, column = j + place % 2;
                    if (4 * y + row >= shape.height || 4 * x + column >= shape.width) continue;
                    Vector other = rounded<Number>(out[row * 4 + column]);
                    auto more = (other > most) | (other != other);
                    most = more ? other : most;
                    at = more ? Words{} + place : at;
                }
                int64_t to = shape.pooled().pixel(n, 2 * y + i / 2, 2 * x + j / 2) + c;
                Bytes bytes = __builtin_convertvector(at, Bytes);
                store(rows + to, most);
                memcpy(places + to, &bytes, sizeof bytes);
            }
    }
};

}  // namespace
