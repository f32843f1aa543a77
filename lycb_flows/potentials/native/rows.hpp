// Vectors, products of matrices, and the rows of a gated MLP. float32; one order of sums.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#ifdef __AVX512DQ__
#include <immintrin.h>
#endif

namespace lycb {

constexpr int F = 64, H = 128, R = 32;  // R: radial or angular basis, padded
constexpr int ORDER = 16;               // angular frequencies, padded
constexpr int ELEMENTS = 94;
constexpr int BLOCK = 24;               // edges or angles worked on at a time: fits L1
constexpr float NORM_EPSILON = 1e-5f;  // torch's LayerNorm

#if defined(__AVX512DQ__)
constexpr int VL = 16, TILE_VECTORS = 4;
#else
constexpr int VL = 8, TILE_VECTORS = 2;
#endif
constexpr int TILE_ROWS = 6;
typedef float vf __attribute__((vector_size(VL * 4)));
typedef int32_t vi __attribute__((vector_size(VL * 4)));

inline vf load(const float* p) { vf v; std::memcpy(&v, p, sizeof v); return v; }
inline void store(float* p, vf v) { std::memcpy(p, &v, sizeof v); }

inline float sum(vf v) {
#if defined(__AVX512DQ__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float lanes[VL];
    std::memcpy(lanes, &v, sizeof v);
    for (int half = VL / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
    return lanes[0];
#endif
}

// 2^t p for the whole part of t; the rest of t; 1 / x to a float's last bit.
#if defined(__AVX512DQ__)
inline vf at_most(float high, vf x) { return (vf)_mm512_min_ps(_mm512_set1_ps(high), (__m512)x); }
inline vf fraction(vf t) { return (vf)_mm512_reduce_ps((__m512)t, 1); }  // 1: towards minus infinity
inline vf scaled(vf p, vf t) { return (vf)_mm512_scalef_ps((__m512)p, (__m512)t); }
inline vf inverse_of(vf x) {
    vf guess = (vf)_mm512_rcp14_ps((__m512)x);
    return guess * (2.0f - x * guess);
}
#else
inline vf at_most(float high, vf x) {
    const vf highest = vf{} + high;
    return x > highest ? highest : x;
}
inline vf whole(vf t) {
    const vf lowest = vf{} - 126.0f;
    t = t < lowest ? lowest : t;
    vf n = __builtin_convertvector(__builtin_convertvector(t, vi), vf);  // towards zero
    return n > t ? n - 1.0f : n;
}
inline vf fraction(vf t) { return t - whole(t); }
inline vf scaled(vf p, vf t) {
    return p * (vf)((__builtin_convertvector(whole(t), vi) + 127) << 23);
}
inline vf inverse_of(vf x) { return 1.0f / x; }
#endif

// 1 / (1 + e^-x). 2^f on [0, 1) by a polynomial of relative error 8e-8 (a float's is 6e-8);
// the exponent is kept below 126: an infinite e^-x would give 0 * inf in `inverse_of`.
inline vf sigmoid(vf x) {
    vf t = at_most(126.0f, x * -1.44269504088896341f), f = fraction(t);
    vf p = f * 0.00187757661f + 0.00898934025f;
    p = p * f + 0.0558263179f;
    p = p * f + 0.240153617f;
    p = p * f + 0.693153073f;
    p = p * f + 0.999999925f;
    return inverse_of(1.0f + scaled(p, t));
}

// sin(2 pi t) for |t| <= 1/4.
inline float sine_of_turn(float t) {
    float x = t * 6.283185307179586f, q = x * x;
    float p = q * (1.0f / 6227020800.0f) - (1.0f / 39916800.0f);
    p = p * q + (1.0f / 362880.0f);
    p = p * q - (1.0f / 5040.0f);
    p = p * q + (1.0f / 120.0f);
    p = p * q - (1.0f / 6.0f);
    return x + x * q * p;
}

// sin and cos of n arguments frequency * x; the turns are taken off in double.
template <int N>
inline void sines(const double* turns_per_x, double x, float* sine, float* cosine) {
#pragma omp simd
    for (int n = 0; n < N; ++n) {
        double t = turns_per_x[n] * x;
        t -= std::nearbyint(t);
        float s = (float)t;
        float a = std::fabs(s);
        float folded = a > 0.25f ? 0.5f - a : a;
        sine[n] = std::copysign(sine_of_turn(folded), s);
        cosine[n] = sine_of_turn(0.25f - a);  // cos(2 pi a) = sin(2 pi (1/4 - a))
    }
}

// -- matrices ---------------------------------------------------------------------------

enum class Start { zero, bias, sum };  // what a product is added to

template <Start START, int ROWS, int K, int VECTORS>
inline void tile(const float* a, int lda, const float* w, int ldw, float* c, int ldc,
                 const float* bias) {
    vf acc[ROWS][VECTORS];
    for (int r = 0; r < ROWS; ++r)
        for (int v = 0; v < VECTORS; ++v) {
            if constexpr (START == Start::zero) acc[r][v] = vf{};
            if constexpr (START == Start::bias) acc[r][v] = load(bias + v * VL);
            if constexpr (START == Start::sum) acc[r][v] = load(c + r * ldc + v * VL);
        }
    for (int k = 0; k < K; ++k) {
        vf row[VECTORS];
        for (int v = 0; v < VECTORS; ++v) row[v] = load(w + k * ldw + v * VL);
        for (int r = 0; r < ROWS; ++r) {
            float x = a[r * lda + k];
            for (int v = 0; v < VECTORS; ++v) acc[r][v] += x * row[v];
        }
    }
    for (int r = 0; r < ROWS; ++r)
        for (int v = 0; v < VECTORS; ++v) store(c + r * ldc + v * VL, acc[r][v]);
}

template <Start START, int ROWS, int K, int N, int VECTORS>
void last_rows(int rows, const float* a, int lda, const float* w, float* c, int ldc,
               const float* bias) {
    if (rows == ROWS) tile<START, ROWS, K, VECTORS>(a, lda, w, N, c, ldc, bias);
    if constexpr (ROWS > 1)
        if (rows < ROWS) last_rows<START, ROWS - 1, K, N, VECTORS>(rows, a, lda, w, c, ldc, bias);
}

template <Start START, int K, int N>
void product(int m, const float* a, int lda, const float* w, float* c, int ldc, const float* bias) {
    constexpr int VECTORS = std::min(TILE_VECTORS, N / VL);
    for (int column = 0; column < N; column += VECTORS * VL) {
        const float *wc = w + column, *bc = bias + column;
        int r = 0;
        for (; r + TILE_ROWS <= m; r += TILE_ROWS)
            tile<START, TILE_ROWS, K, VECTORS>(a + r * lda, lda, wc, N, c + r * ldc + column, ldc, bc);
        if (r < m)
            last_rows<START, TILE_ROWS - 1, K, N, VECTORS>(m - r, a + r * lda, lda, wc,
                                                           c + r * ldc + column, ldc, bc);
    }
}

// c[m][N] = a[m][K] w[K][N] (+ bias | + c)
template <int K, int N>
void product(int m, const float* a, int lda, const float* w, float* c, int ldc,
             const float* bias = nullptr, bool add = false) {
    if (add) product<Start::sum, K, N>(m, a, lda, w, c, ldc, w);
    else if (bias) product<Start::bias, K, N>(m, a, lda, w, c, ldc, bias);
    else product<Start::zero, K, N>(m, a, lda, w, c, ldc, w);
}

constexpr int STRETCH = 240;  // rows per piece of work of a parallel product

template <int K, int N>
void parallel_product(int64_t m, const float* a, const float* w, float* c,
                      const float* bias = nullptr, bool add = false) {
    int64_t pieces = (m + STRETCH - 1) / STRETCH;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < pieces; ++p) {
        int64_t first = p * STRETCH;
        product<K, N>((int)std::min<int64_t>(STRETCH, m - first), a + first * K, K, w,
                      c + first * N, N, bias, add);
    }
}

// Memory that grows and is kept: a step allocates nothing.
template <class T>
struct Buffer {
    T* p = nullptr;
    size_t capacity = 0;
    Buffer() = default;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    ~Buffer() { std::free(p); }
    T* need(size_t n) {
        if (n > capacity) {
            std::free(p);
            capacity = n + n / 4;
            p = static_cast<T*>(std::aligned_alloc(64, (capacity * sizeof(T) + 63) / 64 * 64 + 64));
            if (!p) { capacity = 0; throw std::bad_alloc(); }
        }
        return p;
    }
    operator T*() { return p; }
    operator const T*() const { return p; }
};

// -- the gated MLP's second half, row by row -----------------------------------------------

constexpr int FV = F / VL;

// y[F] = silu(core) * sigmoid(gate) of x[H]; with norm, x becomes x / its root mean square,
// whose inverse goes to inverse[2].
template <bool NORM>
inline void gate_forward(float* x, float* inverse, const float* gamma, const float* beta, float* y) {
    float scale[2] = {1, 1};
    if (NORM)
        for (int half = 0; half < 2; ++half) {
            vf squares = vf{};
            for (int v = 0; v < FV; ++v) {
                vf one = load(x + half * F + v * VL);
                squares += one * one;
            }
            scale[half] = 1.0f / std::sqrt(sum(squares) * (1.0f / F) + NORM_EPSILON);
            inverse[half] = scale[half];
        }
    for (int v = 0; v < FV; ++v) {
        vf core = load(x + v * VL), gate = load(x + F + v * VL);
        if (NORM) {
            core *= scale[0];
            gate *= scale[1];
            store(x + v * VL, core);
            store(x + F + v * VL, gate);
            core = core * load(gamma + v * VL) + load(beta + v * VL);
            gate = gate * load(gamma + F + v * VL) + load(beta + F + v * VL);
        }
        store(y + v * VL, core * sigmoid(core) * sigmoid(gate));
    }
}

// From dy[F] and the stored x[H]: y[F] again and dx[H] (dx may not be x).
template <bool NORM>
inline void gate_backward(const float* x, const float* inverse, const float* gamma,
                          const float* beta, const float* dy, float* y, float* dx) {
    vf dots[2] = {vf{}, vf{}};
    for (int v = 0; v < FV; ++v) {
        vf core = load(x + v * VL), gate = load(x + F + v * VL);
        vf a = core, b = gate;
        if (NORM) {
            a = core * load(gamma + v * VL) + load(beta + v * VL);
            b = gate * load(gamma + F + v * VL) + load(beta + F + v * VL);
        }
        vf sa = sigmoid(a), sb = sigmoid(b), d = load(dy + v * VL);
        vf silu = a * sa;
        store(y + v * VL, silu * sb);
        vf da = d * sb * (sa + silu * (1.0f - sa)), db = d * silu * sb * (1.0f - sb);
        if (NORM) {
            da *= load(gamma + v * VL);
            db *= load(gamma + F + v * VL);
            dots[0] += da * core;
            dots[1] += db * gate;
        }
        store(dx + v * VL, da);
        store(dx + F + v * VL, db);
    }
    if (!NORM) return;
    for (int half = 0; half < 2; ++half) {
        float mean = sum(dots[half]) * (1.0f / F), scale = inverse[half];
        for (int v = 0; v < FV; ++v) {
            int at = half * F + v * VL;
            store(dx + at, scale * (load(dx + at) - load(x + at) * mean));
        }
    }
}

inline void silu_row(const float* pre, float* h) {
    for (int v = 0; v < 2 * FV; ++v) {
        vf x = load(pre + v * VL);
        store(h + v * VL, x * sigmoid(x));
    }
}

// d <- d * silu'(pre)
inline void silu_slope_row(const float* pre, float* d) {
    for (int v = 0; v < 2 * FV; ++v) {
        vf x = load(pre + v * VL), s = sigmoid(x);
        store(d + v * VL, load(d + v * VL) * s * (1.0f + x * (1.0f - s)));
    }
}

template <int N>
inline void add_row(float* to, const float* what) {
    for (int v = 0; v < N / VL; ++v) store(to + v * VL, load(to + v * VL) + load(what + v * VL));
}

template <int N>
inline void add_rows(float* to, const float* a, const float* b, const float* c) {
    for (int v = 0; v < N / VL; ++v)
        store(to + v * VL, load(a + v * VL) + load(b + v * VL) + load(c + v * VL));
}

}  // namespace lycb
