// What stands before and after the products of Winograd's convolutions, for all tiles at once: see winograd_compiled.py. No sum
// depends on the number of threads.

#include <vector>

#include "winograd.h"

namespace {

// Of points (36, n th tw, c): numbers from one to the next, and to a tile's.
inline int64_t plane(Shape shape) { return shape.tiles() * shape.channels; }
inline int64_t tile(Shape shape, int64_t n, int64_t y, int64_t x) {
    return ((n * shape.down() + y) * shape.across() + x) * shape.channels;
}

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

// Squares of SIDE pixels that begin EDGE before their tile to points (36, n th tw, c).
template <class Number, Transform transform, int SIDE, int EDGE, class Source>
void spread(const Source &from, Number *points, int threads) {
    each_tile<Number>(from.shape, threads, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
        Vector out[LINE<Number>][36];
        for (int k = 0; k < LINE<Number>; k++) {
            Vector in[SIDE * SIDE];
            square<SIDE, EDGE>(from, n, y, x, c + k * LANES, in);
            both_sides<transform, SIDE, 6>(in, out[k]);
        }
        store_points(points + tile(from.shape, n, y, x) + c, plane(from.shape), out);
    });
}

// Points (36, n th tw, c) to the outputs of their tiles.
template <class Number, class Sink> void collect(const Number *points, const Sink &into, int threads) {
    each_tile<Number>(into.shape, threads, [&](int64_t n, int64_t y, int64_t x, int64_t c) {
        Vector in[LINE<Number>][36];
        load_points(points + tile(into.shape, n, y, x) + c, plane(into.shape), in);
        for (int k = 0; k < LINE<Number>; k++) {
            Vector out[16];
            both_sides<points_to_outputs, 6, 4>(in[k], out);
            into.put(n, y, x, c + k * LANES, out);
        }
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
                        load_points(points + tile(shape, n, y, x) + c, plane(shape), in);
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
        Image<Number> from{rows, {n, h, w, c}};                                                                            \
        spread<Number, pixels_to_points, 6, 1>(from, points, threads);                                                     \
    }                                                                                                                      \
    extern "C" void spread_outputs_##Number(                                                                               \
        const Number *rows, int64_t n, int64_t h, int64_t w, int64_t c, Number *points, int threads                        \
    ) {                                                                                                                    \
        Image<Number> from{rows, {n, h, w, c}};                                                                            \
        spread<Number, outputs_to_points, 4, 0>(from, points, threads);                                                    \
    }                                                                                                                      \
    extern "C" void collect_outputs_##Number(                                                                              \
        const Number *points, int64_t n, int64_t h, int64_t w, int64_t c, Number *rows, int threads                        \
    ) {                                                                                                                    \
        collect(points, Whole<Number>{rows, {n, h, w, c}}, threads);                                                       \
    }                                                                                                                      \
    extern "C" void collect_pixels_##Number(                                                                               \
        const Number *points, int64_t n, int64_t h, int64_t w, int64_t c, Number *rows, int threads                        \
    ) {                                                                                                                    \
        collect_pixels<Number>(points, {n, h, w, c}, rows, threads);                                                       \
    }                                                                                                                      \
    extern "C" void collect_pooled_##Number(                                                                               \
        const Number *points, int64_t n, int64_t h, int64_t w, int64_t c, uint8_t *places, Number *rows, int threads       \
    ) {                                                                                                                    \
        collect(points, Pooled<Number>{rows, places, {n, h, w, c}}, threads);                                              \
    }                                                                                                                      \
    extern "C" void spread_pooled_##Number(                                                                                \
        const Number *rows, int64_t n, int64_t h, int64_t w, int64_t c, const uint8_t *places, Number *points, int threads \
    ) {                                                                                                                    \
        Unpooled<Number> from{rows, places, {n, h, w, c}};                                                                 \
        spread<Number, outputs_to_points, 4, 0>(from, points, threads);                                                    \
    }                                                                                                                      \
    extern "C" void spread_taps_##Number(const float *taps, int64_t k, int64_t c, Number *points, int threads) {           \
        filters<Number>(taps, k, c, points, threads);                                                                      \
    }                                                                                                                      \
    extern "C" void collect_taps_##Number(const Number *points, int64_t k, int64_t c, float *taps, int threads) {          \
        collect_taps<Number>(points, k, c, taps, threads);                                                                 \
    }

FOR(float)
FOR(bfloat16)
