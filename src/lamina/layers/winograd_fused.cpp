// Winograd's convolutions in float32, a few tiles at a time: transforms and products between them stay in a core's own cache.
// See winograd_fused.py. No sum depends on the number of threads.

#include <algorithm>
#include <vector>

#include "winograd.h"

#if defined(__AVX512F__) || defined(__FMA__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

constexpr int64_t TILES = 24;  // at once; a multiple of ROWS
constexpr int64_t BLOCK = 64;  // channels at once

#ifdef __AVX512F__
constexpr int ROWS = 8;  // of a product that stay in registers, with two vectors each
inline Vector multiply_add(Vector a, Vector b, Vector c) { return (Vector)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
#elif defined(__FMA__)
constexpr int ROWS = 4;
inline Vector multiply_add(Vector a, Vector b, Vector c) { return (Vector)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
#elif defined(__aarch64__)
constexpr int ROWS = 4;
inline Vector multiply_add(Vector a, Vector b, Vector c) {
    float32x4_t x[2], y[2], z[2];
    memcpy(x, &a, sizeof a), memcpy(y, &b, sizeof b), memcpy(z, &c, sizeof c);
    for (int half = 0; half < 2; half++) z[half] = vfmaq_f32(z[half], x[half], y[half]);
    memcpy(&c, z, sizeof c);
    return c;
}
#else
constexpr int ROWS = 4;
inline Vector multiply_add(Vector a, Vector b, Vector c) { return a * b + c; }
#endif

// ROWS rows of a product of two matrices, so many vectors wide, added to what is there if ADDED. The first matrix goes on by
// `a_row` numbers with the rows and by `a_step` with what is summed over, the second by `b_step`, the product by `c_row`.
template <int WIDE, bool ADDED>
inline void multiply_rows(
    const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_step, float *c, int64_t c_row, int64_t depth
) {
    Vector sums[ROWS][WIDE];
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < WIDE; w++) sums[r][w] = ADDED ? load(c + r * c_row + w * LANES) : Vector{};
    for (int64_t i = 0; i < depth; i++) {
        Vector row[WIDE];
        for (int w = 0; w < WIDE; w++) row[w] = load(b + i * b_step + w * LANES);
        for (int r = 0; r < ROWS; r++) {
            Vector each = a[r * a_row + i * a_step] - Vector{};  // a broadcast: x - 0 is x, where x + 0 would be added, for -0
            for (int w = 0; w < WIDE; w++) sums[r][w] = multiply_add(each, row[w], sums[r][w]);
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int w = 0; w < WIDE; w++) store(c + r * c_row + w * LANES, sums[r][w]);
}

// A product of two matrices, as above: `rows` of it, rounded up to ROWS, and `columns`, a multiple of LANES.
template <bool ADDED>
inline void multiply(
    const float *a, int64_t a_row, int64_t a_step, const float *b, int64_t b_step, float *c, int64_t c_row, int64_t rows,
    int64_t columns, int64_t depth
) {
    int64_t column = 0;
    for (; column + 2 * LANES <= columns; column += 2 * LANES)
        for (int64_t row = 0; row < rows; row += ROWS)
            multiply_rows<2, ADDED>(
                a + row * a_row, a_row, a_step, b + column, b_step, c + row * c_row + column, c_row, depth
            );
    for (; column < columns; column += LANES)
        for (int64_t row = 0; row < rows; row += ROWS)
            multiply_rows<1, ADDED>(
                a + row * a_row, a_row, a_step, b + column, b_step, c + row * c_row + column, c_row, depth
            );
}

// Points of TILES tiles with BLOCK channels, (36, tiles, channels). Where no tile is, something is left over: no other row of a
// product depends on it.
struct Room {
    static constexpr int64_t NUMBERS = 16;  // in a line of the cache
    static constexpr int64_t PLANE = TILES * BLOCK + NUMBERS;  // a tile's points do not share a place in the cache
    std::vector<float> numbers = std::vector<float>(36 * PLANE + NUMBERS);
    float *first = numbers.data() + (-reinterpret_cast<uintptr_t>(numbers.data()) / sizeof(float)) % NUMBERS;  // begins a line
    float *point(int64_t point) { return first + point * PLANE; }
};

template <Transform transform, int SIDE, int EDGE, class Source>
inline void fill(Room &room, const Source &from, int64_t first, int64_t count, int64_t channel, int64_t channels) {
    int64_t across = from.shape.across(), each = from.shape.down() * across;
    for (int64_t t = 0; t < count; t++)
        for (int64_t c = 0; c < channels; c += LANES) {
            Vector in[SIDE * SIDE], out[36];
            int64_t tile = first + t;
            square<SIDE, EDGE>(from, tile / each, tile % each / across, tile % across, channel + c, in);
            both_sides<transform, SIDE, 6>(in, out);
            for (int point = 0; point < 36; point++) store(room.point(point) + t * channels + c, out[point]);
        }
}

// Of a matrix (rows, columns) for each point, cut into blocks of BLOCK by BLOCK that hold their points one after the other, and
// follow each other by rows within columns: the block in which an element is, and where in it its first point.
struct Block {
    int64_t row, column, rows, columns, begin;
    Block(int64_t row, int64_t column, int64_t all_rows, int64_t all_columns)
        : row(row / BLOCK * BLOCK), column(column / BLOCK * BLOCK), rows(std::min(BLOCK, all_rows - this->row)),
          columns(std::min(BLOCK, all_columns - this->column)),
          begin(36 * (all_rows * this->column + this->row * columns)) {}
    int64_t point(int64_t point) const { return begin + point * rows * columns; }
    int64_t at(int64_t row, int64_t column) const { return (row - this->row) * columns + column - this->column; }
};

// From a source of c channels to a sink of k, by filters, which are blocks of (c, k).
template <class Source, class Sink> void convolve(const Source &from, const float *filters, const Sink &into, int threads) {
    int64_t c = from.shape.channels, k = into.shape.channels, tiles = from.shape.tiles();
#pragma omp parallel num_threads(threads)
    {
        Room before, after;
#pragma omp for schedule(dynamic) collapse(2)
        for (int64_t first = 0; first < tiles; first += TILES)
            for (int64_t out = 0; out < k; out += BLOCK) {
                int64_t count = std::min(TILES, tiles - first), width = std::min(BLOCK, k - out);
                for (int64_t in = 0; in < c; in += BLOCK) {
                    Block block(in, out, c, k);
                    fill<pixels_to_points, 6, 1>(before, from, first, count, in, block.rows);
                    for (int point = 0; point < 36; point++)
                        (in ? multiply<true> : multiply<false>)(
                            before.point(point), block.rows, 1, filters + block.point(point), width, after.point(point), width,
                            count, width, block.rows
                        );
                }
                int64_t across = into.shape.across(), each = into.shape.down() * across;
                for (int64_t t = 0; t < count; t++)
                    for (int64_t channel = 0; channel < width; channel += LANES) {
                        Vector points[36], outputs[16];
                        int64_t tile = first + t;
                        for (int point = 0; point < 36; point++)
                            points[point] = load(after.point(point) + t * width + channel);
                        both_sides<points_to_outputs, 6, 4>(points, outputs);
                        into.put(tile / each, tile % each / across, tile % across, out + channel, outputs);
                    }
            }
    }
}

// The gradient of filters, (k, 3, 3, c), from an image and its outputs' gradient. Tiles are cut into groups, whose sums,
// blocks of (k, c), are added up at the end.
template <class Source>
void by_filter(
    const Image<float> &from, const Source &errors, float *sums, int64_t groups, float *taps, int threads
) {
    int64_t c = from.shape.channels, k = errors.shape.channels, tiles = from.shape.tiles();
#pragma omp parallel num_threads(threads)
    {
        Room pixels, outputs;
#pragma omp for schedule(dynamic) collapse(3)
        for (int64_t group = 0; group < groups; group++)
            for (int64_t out = 0; out < k; out += BLOCK)
                for (int64_t in = 0; in < c; in += BLOCK) {
                    Block block(out, in, k, c);
                    float *sum = sums + group * 36 * k * c;
                    std::fill_n(sum + block.begin, 36 * block.rows * block.columns, 0.0f);
                    int64_t last = tiles * (group + 1) / groups;
                    for (int64_t first = tiles * group / groups; first < last; first += TILES) {
                        int64_t count = std::min(TILES, last - first);
                        fill<pixels_to_points, 6, 1>(pixels, from, first, count, in, block.columns);
                        fill<outputs_to_points, 4, 0>(outputs, errors, first, count, out, block.rows);
                        for (int point = 0; point < 36; point++)
                            multiply<true>(
                                outputs.point(point), 1, block.rows, pixels.point(point), block.columns,
                                sum + block.point(point), block.columns, block.rows, block.columns, count
                            );
                    }
                }
#pragma omp for schedule(static)
        for (int64_t out = 0; out < k; out++)
            for (int64_t in = 0; in < c; in += LANES) {
                Block block(out, in, k, c);
                Vector points[36] = {}, square[9];
                for (int64_t group = 0; group < groups; group++)
                    for (int point = 0; point < 36; point++)
                        points[point] += load(sums + group * 36 * k * c + block.point(point) + block.at(out, in));
                both_sides<points_to_taps, 6, 3>(points, square);
                for (int tap = 0; tap < 9; tap++) store(taps + (out * 9 + tap) * c + in, square[tap]);
            }
    }
}

}  // namespace

extern "C" {

// Taps (c, 3, 3, k) to filters.
void fused_filters(const float *taps, int64_t c, int64_t k, float *filters, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t in = 0; in < c; in++)
        for (int64_t out = 0; out < k; out += LANES) {
            Block block(in, out, c, k);
            Vector square[9], points[36];
            for (int tap = 0; tap < 9; tap++) square[tap] = load(taps + (in * 9 + tap) * k + out);
            both_sides<taps_to_points, 3, 6>(square, points);
            for (int point = 0; point < 36; point++) store(filters + block.point(point) + block.at(in, out), points[point]);
        }
}

// An image (n, h, w, c), or what was pooled, with its places, to an image (n, h, w, k), or what is pooled, with places.
void fused_convolve(
    const float *rows, const uint8_t *from_places, int64_t n, int64_t h, int64_t w, int64_t c, const float *filters, int64_t k,
    float *into, uint8_t *into_places, int threads
) {
    Image<float> image{rows, {n, h, w, c}};
    Unpooled<float> unpooled{rows, from_places, image.shape};
    Whole<float> whole{into, {n, h, w, k}};
    Pooled<float> pooled{into, into_places, whole.shape};
    if (from_places)
        convolve(unpooled, filters, whole, threads);
    else if (into_places)
        convolve(image, filters, pooled, threads);
    else
        convolve(image, filters, whole, threads);
}

// An image (n, h, w, c) and its outputs' gradient, (n, h, w, k) or of what was pooled, with its places, to that of the filters'
// taps, (k, 3, 3, c); with room for sums, (groups, 36 k c).
void fused_by_filter(
    const float *rows, int64_t n, int64_t h, int64_t w, int64_t c, const float *errors, const uint8_t *places, int64_t k,
    float *sums, int64_t groups, float *taps, int threads
) {
    Image<float> from{rows, {n, h, w, c}}, whole{errors, {n, h, w, k}};
    Unpooled<float> unpooled{errors, places, whole.shape};
    if (places)
        by_filter(from, unpooled, sums, groups, taps, threads);
    else
        by_filter(from, whole, sums, groups, taps, threads);
}

}  // extern "C"
