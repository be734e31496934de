// What stands before and after the products of Winograd's convolutions, F(4x4, 3x3): see winograd_compiled.py.
//
// Each transform is done along both sides of a square of cells: B^T d B of an image's 6x6 pixels, A^T p A of a tile's 6x6
// points, G g G^T of a filter's 3x3 taps; and each of these transposed, for gradients. The points are 0, 3/4, -3/4, 3/2, -3/2
// and infinity, as in winograd_bfloat16.py. Channels lie side by side, so that a step is done for 16 of them at once. Numbers
// are float or bfloat16 in memory, and float within. No sum depends on the number of threads.
//
// Where a max pooling of 2x2 follows, a tile holds whole windows: only the largest of each, and where it was, are written.

#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int LANES = 16;  // channels in a vector
template <class Number> constexpr int LINE = 4 / sizeof(Number);  // vectors in a line of the cache: read and written together

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
    int64_t down() const { return (height + 3) / 4; }  // tiles
    int64_t across() const { return (width + 3) / 4; }
    int64_t plane() const { return images * down() * across() * channels; }  // numbers from a point to the next
    int64_t tile(int64_t n, int64_t y, int64_t x) const { return ((n * down() + y) * across() + x) * channels; }
    int64_t pixel(int64_t n, int64_t i, int64_t j) const { return ((n * height + i) * width + j) * channels; }
    Shape pooled() const { return {images, (height + 1) / 2, (width + 1) / 2, channels}; }
};

template <class Number> inline void load_points(const Number *from, int64_t plane, Vector in[][36]) {
    for (int point = 0; point < 36; point++)
        for (int k = 0; k < LINE<Number>; k++) in[k][point] = load(from + point * plane + k * LANES);
}

template <class Number> inline void store_points(Number *to, int64_t plane, const Vector out[][36]) {
    for (int point = 0; point < 36; point++)
        for (int k = 0; k < LINE<Number>; k++) store(to + point * plane + k * LANES, out[k][point]);
}

// Calls with the image, the tile and the first of the channels that are done together.
template <class Number, class Call> inline void each_tile(Shape shape, int threads, Call call) {
#pragma omp parallel for num_threads(threads) collapse(2) schedule(static)
    for (int64_t n = 0; n < shape.images; n++)
        for (int64_t y = 0; y < shape.down(); y++)
            for (int64_t x = 0; x < shape.across(); x++)
                for (int64_t c = 0; c < shape.channels; c += LINE<Number> * LANES)
                    call(n, y, x, c);
}

// Pixels (n, h, w, c) to points (36, n th tw, c), from squares of SIDE pixels that begin EDGE before their tile.
template <class Number, Transform transform, int SIDE, int EDGE>
void spread(const Number *rows, Shape shape, Number *points, int threads) {
    each_tile<Number>(shape, threads, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
        Vector out[LINE<Number>][36];
        for (int k = 0; k < LINE<Number>; k++) {
            Vector in[SIDE * SIDE];
            for (int i = 0; i < SIDE; i++)
                for (int j = 0; j < SIDE; j++) {
                    int64_t row = 4 * y + i - EDGE, column = 4 * x + j - EDGE;
                    bool inside = row >= 0 && row < shape.height && column >= 0 && column < shape.width;
                    in[i * SIDE + j] = inside ? load(rows + shape.pixel(n, row, column) + c + k * LANES) : Vector{};
                }
            both_sides<transform, SIDE, 6>(in, out[k]);
        }
        store_points(points + shape.tile(n, y, x) + c, shape.plane(), out);
    });
}

// Points (36, n th tw, c) to the outputs of their tiles, as pixels (n, h, w, c).
template <class Number> void collect(const Number *points, Shape shape, Number *rows, int threads) {
    each_tile<Number>(shape, threads, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
        Vector in[LINE<Number>][36];
        load_points(points + shape.tile(n, y, x) + c, shape.plane(), in);
        for (int k = 0; k < LINE<Number>; k++) {
            Vector out[16];
            both_sides<points_to_outputs, 6, 4>(in[k], out);
            for (int i = 0; i < 4 && 4 * y + i < shape.height; i++)
                for (int j = 0; j < 4 && 4 * x + j < shape.width; j++)
                    store(rows + shape.pixel(n, 4 * y + i, 4 * x + j) + c + k * LANES, out[i * 4 + j]);
        }
    });
}

// Points (36, n th tw, c) to the largest output, as it is rounded, of each window of 2x2 in their tiles, (n, h / 2, w / 2, c)
// with halves counted as whole ones; and its place in the window, 0 to 3. Of equal ones the first; of a NaN, that.
template <class Number> void pool(const Number *points, Shape shape, uint8_t *places, Number *rows, int threads) {
    Shape pooled = shape.pooled();
    each_tile<Number>(shape, threads, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
        Vector in[LINE<Number>][36];
        load_points(points + shape.tile(n, y, x) + c, shape.plane(), in);
        for (int k = 0; k < LINE<Number>; k++) {
            Vector out[16];
            both_sides<points_to_outputs, 6, 4>(in[k], out);
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
                    int64_t to = pooled.pixel(n, 2 * y + i / 2, 2 * x + j / 2) + c + k * LANES;
                    Bytes bytes = __builtin_convertvector(at, Bytes);
                    store(rows + to, most);
                    memcpy(places + to, &bytes, sizeof bytes);
                }
        }
    });
}

// The pooled (n, h / 2, w / 2, c) put back into their places, all others zero, to points (36, n th tw, c).
template <class Number>
void spread_pooled(const Number *rows, const uint8_t *places, Shape shape, Number *points, int threads) {
    Shape pooled = shape.pooled();
    each_tile<Number>(shape, threads, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
        Vector out[LINE<Number>][36];
        for (int k = 0; k < LINE<Number>; k++) {
            Vector in[16] = {};
            for (int i = 0; i < 4 && 4 * y + i < shape.height; i += 2)
                for (int j = 0; j < 4 && 4 * x + j < shape.width; j += 2) {
                    int64_t from = pooled.pixel(n, 2 * y + i / 2, 2 * x + j / 2) + c + k * LANES;
                    Vector value = load(rows + from);
                    Bytes bytes;
                    memcpy(&bytes, places + from, sizeof bytes);
                    Words at = __builtin_convertvector(bytes, Words);
                    for (uint32_t place = 0; place < 4; place++)
                        in[(i + place / 2) * 4 + j + place % 2] = at == place ? value : Vector{};
                }
            both_sides<outputs_to_points, 4, 6>(in, out[k]);
        }
        store_points(points + shape.tile(n, y, x) + c, shape.plane(), out);
    });
}

// Points (36, n th tw, c) to the pixels (n, h, w, c) that went into them; where squares overlap they are added. Of the lines of
// sums, six at a time, four are complete when a row of tiles is done, and two go on with the next.
template <class Number> void collect_pixels(const Number *points, Shape shape, Number *rows, int threads) {
    int64_t line = (4 * shape.across() + 2) * LINE<Number>;
#pragma omp parallel num_threads(threads)
    {
        std::vector<Vector> sums(6 * line);
#pragma omp for collapse(2) schedule(static)
        for (int64_t n = 0; n < shape.images; n++)
            for (int64_t c = 0; c < shape.channels; c += LINE<Number> * LANES) {
                memset(sums.data(), 0, 2 * line * sizeof(Vector));
                for (int64_t y = 0; y <= shape.down(); y++) {
                    memset(sums.data() + 2 * line, 0, 4 * line * sizeof(Vector));
                    for (int64_t x = 0; x < shape.across() && y < shape.down(); x++) {
                        Vector in[LINE<Number>][36];
                        load_points(points + shape.tile(n, y, x) + c, shape.plane(), in);
                        for (int k = 0; k < LINE<Number>; k++) {
                            Vector out[36];
                            both_sides<points_to_pixels, 6, 6>(in[k], out);
                            for (int i = 0; i < 6; i++)
                                for (int j = 0; j < 6; j++)
                                    sums[i * line + (4 * x + j) * LINE<Number> + k] += out[i * 6 + j];
                        }
                    }
                    for (int64_t i = 0; i < 4; i++)  // line 0 is the row above the tile
                        for (int64_t j = 0; j < shape.width && 0 < 4 * y + i && 4 * y + i <= shape.height; j++)
                            for (int k = 0; k < LINE<Number>; k++)
                                store(
                                    rows + shape.pixel(n, 4 * y + i - 1, j) + c + k * LANES,
                                    sums[i * line + (j + 1) * LINE<Number> + k]
                                );
                    memcpy(sums.data(), sums.data() + 4 * line, 2 * line * sizeof(Vector));
                }
            }
    }
}

// Taps (k, 3, 3, c) to points (36, k, c).
template <class Number>
void filters(const float *taps, int64_t outputs, int64_t channels, Number *points, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t c = 0; c < channels; c += LINE<Number> * LANES) {
            Vector out[LINE<Number>][36];
            for (int k = 0; k < LINE<Number>; k++) {
                Vector in[9];
                for (int tap = 0; tap < 9; tap++) in[tap] = load(taps + (o * 9 + tap) * channels + c + k * LANES);
                both_sides<taps_to_points, 3, 6>(in, out[k]);
            }
            store_points(points + o * channels + c, outputs * channels, out);
        }
}

// Points (36, k, c) to the taps (k, 3, 3, c) that went into them.
template <class Number>
void collect_taps(const Number *points, int64_t outputs, int64_t channels, float *taps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t o = 0; o < outputs; o++)
        for (int64_t c = 0; c < channels; c += LINE<Number> * LANES) {
            Vector in[LINE<Number>][36];
            load_points(points + o * channels + c, outputs * channels, in);
            for (int k = 0; k < LINE<Number>; k++) {
                Vector out[9];
                both_sides<points_to_taps, 6, 3>(in[k], out);
                for (int tap = 0; tap < 9; tap++) store(taps + (o * 9 + tap) * channels + c + k * LANES, out[tap]);
            }
        }
}

}  // namespace

#define FOR(Number)                                                                                                        \
    extern "C" void spread_pixels_##Number(                                                                                \
        const Number *rows, int64_t n, int64_t h, int64_t w, int64_t c, Number *points, int threads                        \
    ) {                                                                                                                    \
        spread<Number, pixels_to_points, 6, 1>(rows, {n, h, w, c}, points, threads);                                       \
    }                                                                                                                      \
    extern "C" void spread_outputs_##Number(                                                                               \
        const Number *rows, int64_t n, int64_t h, int64_t w, int64_t c, Number *points, int threads                        \
    ) {                                                                                                                    \
        spread<Number, outputs_to_points, 4, 0>(rows, {n, h, w, c}, points, threads);                                      \
    }                                                                                                                      \
    extern "C" void collect_outputs_##Number(                                                                              \
        const Number *points, int64_t n, int64_t h, int64_t w, int64_t c, Number *rows, int threads                        \
    ) {                                                                                                                    \
        collect<Number>(points, {n, h, w, c}, rows, threads);                                                              \
    }                                                                                                                      \
    extern "C" void collect_pixels_##Number(                                                                               \
        const Number *points, int64_t n, int64_t h, int64_t w, int64_t c, Number *rows, int threads                        \
    ) {                                                                                                                    \
        collect_pixels<Number>(points, {n, h, w, c}, rows, threads);                                                       \
    }                                                                                                                      \
    extern "C" void collect_pooled_##Number(                                                                               \
        const Number *points, int64_t n, int64_t h, int64_t w, int64_t c, uint8_t *places, Number *rows, int threads       \
    ) {                                                                                                                    \
        pool<Number>(points, {n, h, w, c}, places, rows, threads);                                                         \
    }                                                                                                                      \
    extern "C" void spread_pooled_##Number(                                                                                \
        const Number *rows, int64_t n, int64_t h, int64_t w, int64_t c, const uint8_t *places, Number *points, int threads \
    ) {                                                                                                                    \
        spread_pooled<Number>(rows, places, {n, h, w, c}, points, threads);                                                \
    }                                                                                                                      \
    extern "C" void spread_taps_##Number(const float *taps, int64_t k, int64_t c, Number *points, int threads) {           \
        filters<Number>(taps, k, c, points, threads);                                                                      \
    }                                                                                                                      \
    extern "C" void collect_taps_##Number(const Number *points, int64_t k, int64_t c, float *taps, int threads) {          \
        collect_taps<Number>(points, k, c, taps, threads);                                                                 \
    }

FOR(float)
FOR(bfloat16)
