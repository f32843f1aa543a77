// A NEP4's energy, forces and virial, atom by atom (Fan et al., J. Chem. Phys. 157, 114801 (2022);
// Song et al., Nat. Commun. 15, 10208 (2024)); layers.py has the same formulas in torch.
//
// Sizes are compile-time constants: NS species, NR and NA radial functions (radial, angular),
// KR and KA Chebyshev polynomials, LMAX, FOUR, FIVE, NEURONS; SINGLE is 1 for float, 0 for double.
//
// Each centre yields dE_i/dr_ij of its own neighbours in one pass that stays in the first cache:
//  1. compress the listed pairs into an inner shell (within the angular cutoff) and an outer one,
//     sorted by the neighbour's species and filled up to whole vectors of W pairs;
//  2. sum the Chebyshev polynomials per species, then contract once (lane = pair, then lane = n);
//  3. angular sums with lane = n, the hidden layer with lane = neuron;
//  4. pulls with lane = pair.
// Sums have one order, whatever the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#if defined(__AVX2__) && SINGLE
#define FAST 1
#include <immintrin.h>
#else
#define FAST 0
#endif

namespace nep {

using real = std::conditional_t<SINGLE, float, double>;
constexpr int W = 8;
typedef real V __attribute__((vector_size(W * sizeof(real)), aligned(W * sizeof(real))));
typedef real VU __attribute__((vector_size(W * sizeof(real)), aligned(sizeof(real)), may_alias));
using integer = std::conditional_t<SINGLE, int32_t, int64_t>;
typedef integer VI __attribute__((vector_size(W * sizeof(real))));

constexpr int up(int n) { return (n + W - 1) / W * W; }
constexpr int STARTS[] = {0, 3, 8, 15, 24};
constexpr int LM = STARTS[LMAX], CH = LMAX + FOUR + FIVE;
static_assert(!FOUR || LMAX >= 2, "the 4-body term is of the moments of l = 2");
constexpr int NRP = up(NR), NAP = up(NA), KRP = up(KR), NP = up(NEURONS);
constexpr int DP = NRP + CH * NAP, DIM = NR + CH * NA;
constexpr int GP = (DIM + 4) / 4 * 4;  // descriptors and a one, whole vectors of four doubles
typedef double D4 __attribute__((vector_size(32), aligned(32)));
constexpr int place_of(int d) { return d < NR ? d : NRP + (d - NR) / NA * NAP + (d - NR) % NA; }
constexpr int MAX_PAIRS = 1024;  // listed pairs of one centre

inline V splat(real x) { return V{x, x, x, x, x, x, x, x}; }
inline V load(const real* p) { return *(const V*)p; }
inline V loadu(const real* p) { return *(const VU*)p; }
inline void store(real* p, V v) { *(V*)p = v; }
inline void storeu(real* p, V v) { *(VU*)p = v; }
inline real sum(V v) {
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

inline V root(V x) {
#if FAST
    return (V)_mm256_sqrt_ps((__m256)x);
#else
    V r;
    for (int i = 0; i < W; ++i) r[i] = std::sqrt(x[i]);
    return r;
#endif
}

// sin(pi w / 2) and cos(pi w / 2) for 0 <= w <= 1, by Taylor's series.
inline void quarter_wave(V w, V& s, V& c) {
    constexpr int N = SINGLE ? 7 : 13;
    V x = w * (real)(M_PI / 2), x2 = x * x;
    V a = splat(1), b = splat(1);
    for (int k = N; k > 0; --k) {
        a = 1 - a * x2 * (real)(1.0 / (2 * k * (2 * k + 1)));
        b = 1 - b * x2 * (real)(1.0 / ((2 * k - 1) * 2 * k));
    }
    s = a * x;
    c = b;
}

inline V tanh_of(V z) {
    if constexpr (SINGLE) {
        V m = z < 0 ? z : -z;
        m = 2 * m;
        m = m < -60 ? splat(-60) : m;
        V n = (m * 1.44269504f + 12582912.0f) - 12582912.0f;
        V r = m - n * 0.693359375f;
        r = r + n * 2.12194440e-4f;
        V e = splat(1.0f / 5040);
        e = e * r + 1.0f / 720;
        e = e * r + 1.0f / 120;
        e = e * r + 1.0f / 24;
        e = e * r + 1.0f / 6;
        e = e * r + 0.5f;
        e = e * r + 1;
        e = e * r + 1;
        VI bits = (VI)e + (__builtin_convertvector(n, VI) << 23);
        if constexpr (SINGLE) e = (V)bits;
        V t = (1 - e) / (1 + e);
        return z < 0 ? -t : t;
    }
    V t;
    for (int i = 0; i < W; ++i) t[i] = std::tanh(z[i]);
    return t;
}

// Rows r[0..7] become columns.
inline void transpose(V* r) {
#if FAST
    __m256 a[8], b[8];
    for (int i = 0; i < 4; ++i) {
        a[2 * i] = _mm256_unpacklo_ps((__m256)r[2 * i], (__m256)r[2 * i + 1]);
        a[2 * i + 1] = _mm256_unpackhi_ps((__m256)r[2 * i], (__m256)r[2 * i + 1]);
    }
    for (int h = 0; h < 2; ++h) {
        b[4 * h] = _mm256_shuffle_ps(a[4 * h], a[4 * h + 2], 0x44);
        b[4 * h + 1] = _mm256_shuffle_ps(a[4 * h], a[4 * h + 2], 0xEE);
        b[4 * h + 2] = _mm256_shuffle_ps(a[4 * h + 1], a[4 * h + 3], 0x44);
        b[4 * h + 3] = _mm256_shuffle_ps(a[4 * h + 1], a[4 * h + 3], 0xEE);
    }
    for (int i = 0; i < 4; ++i) {
        r[i] = (V)_mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        r[i + 4] = (V)_mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
#else
    for (int i = 0; i < W; ++i)
        for (int j = 0; j < i; ++j) {
            real swap = r[i][j];
            r[i][j] = r[j][i];
            r[j][i] = swap;
        }
#endif
}

// -- weights --------------------------------------------------------------------------------

struct Weights {
    real cutoff[2];
    double constant[NS];
    alignas(64) real first[NS][DIM][NP], biases[NS][NP], second[NS][NP], back[NS][NEURONS][DP];
    alignas(64) real radial[NS][NS][KR][NRP], radial_back[NS][NS][NR][KRP];
    alignas(64) real angular[NS][NS][NA][KA];
    bool graded;
    alignas(64) double active[NS][DIM + 1][GP];

    // What takes unscaled descriptors and a one to coefficients, (NS, DIM + 1, DIM + 1).
    void grade_by(const double* transforms) {
        for (int s = 0; s < NS; ++s)
            for (int d = 0; d <= DIM; ++d)
                for (int c = 0; c <= DIM; ++c) active[s][d][c] = transforms[(s * (DIM + 1) + d) * (DIM + 1) + c];
        graded = true;
    }

    // In the file's order, without its bias: first, biases, second, constants, radial, angular, scales.
    Weights(const double* cutoffs, const double* p) {
        std::memset(this, 0, sizeof *this);
        for (int i = 0; i < 2; ++i) cutoff[i] = cutoffs[i];
        const double *w0 = p, *b0 = w0 + NS * NEURONS * DIM, *w1 = b0 + NS * NEURONS;
        const double *e = w1 + NS * NEURONS, *cr = e + NS, *ca = cr + NR * KR * NS * NS;
        const double* scales = ca + NA * KA * NS * NS;
        for (int s = 0; s < NS; ++s) {
            constant[s] = e[s];
            for (int m = 0; m < NEURONS; ++m) {
                biases[s][m] = b0[s * NEURONS + m];
                second[s][m] = w1[s * NEURONS + m];
                for (int d = 0; d < DIM; ++d) {
                    real w = w0[(s * NEURONS + m) * DIM + d] * scales[d];
                    first[s][d][m] = w;
                    back[s][m][place_of(d)] = w;
                }
            }
            for (int t = 0; t < NS; ++t) {
                for (int n = 0; n < NR; ++n)
                    for (int k = 0; k < KR; ++k) {
                        real c = cr[((n * KR + k) * NS + s) * NS + t];
                        radial[s][t][k][n] = c;
                        radial_back[s][t][n][k] = c;
                    }
                for (int n = 0; n < NA; ++n)
                    for (int k = 0; k < KA; ++k)
                        angular[s][t][n][k] = ca[((n * KA + k) * NS + s) * NS + t];
            }
        }
    }
};

// -- harmonics: order and polynomials of harmonics.py ------------------------------------------

constexpr double PI = M_PI;
constexpr real NORMS[24] = {
    real(3 / 4. / PI), real(3 / 4. / PI), real(3 / 4. / PI),
    real(15 / 4. / PI), real(15 / 4. / PI), real(15 / 4. / PI), real(15 / 16. / PI), real(5 / 16. / PI),
    real(35 / 32. / PI), real(105 / 4. / PI), real(21 / 32. / PI), real(7 / 16. / PI), real(21 / 32. / PI),
    real(105 / 16. / PI), real(35 / 32. / PI),
    real(315 / 16. / PI), real(315 / 32. / PI), real(45 / 16. / PI), real(45 / 32. / PI), real(9 / 256. / PI),
    real(45 / 32. / PI), real(45 / 64. / PI), real(315 / 32. / PI), real(315 / 256. / PI)};
// harmonics.py derives both
constexpr double FOUR_BODY = -0.23904572186687873 * 0.25098063309714314 * 27 / 2;
constexpr double FIVE_BODY = 7 / 15. * 9 / (16 * PI * PI);

// T is V, or a value with its derivative.
template <class T> inline void harmonics(T x, T y, T z, T* b) {
    T xx = x * x, yy = y * y, zz = z * z, xy = x * y, d = xx - yy;
    b[0] = x, b[1] = y, b[2] = z;
    if constexpr (LMAX > 1) b[3] = xy, b[4] = y * z, b[5] = x * z, b[6] = d, b[7] = 3 * zz - 1;
    T a = y * (3 * xx - yy), e = x * (xx - 3 * yy);
    if constexpr (LMAX > 2) {
        T five = 5 * zz - 1;
        b[8] = a, b[9] = xy * z, b[10] = y * five, b[11] = z * (five - 2), b[12] = x * five;
        b[13] = z * d, b[14] = e;
    }
    if constexpr (LMAX > 3) {
        T c = 7 * zz - 1;
        b[15] = xy * d, b[16] = z * a, b[17] = xy * c, b[18] = y * z * (c - 2);
        b[19] = (35 * zz - 30) * zz + 3, b[20] = x * z * (c - 2), b[21] = d * c, b[22] = z * e;
        b[23] = d * d - 4 * xy * xy;
    }
}

inline void gradients(V x, V y, V z, const V* g, V& tx, V& ty, V& tz) {
    tx = g[0], ty = g[1], tz = g[2];
    V xx = x * x, yy = y * y, zz = z * z, xy = x * y, d = xx - yy;
    if constexpr (LMAX > 1) {
        tx += g[3] * y + g[5] * z + 2 * g[6] * x;
        ty += g[3] * x + g[4] * z - 2 * g[6] * y;
        tz += g[4] * y + g[5] * x + 6 * g[7] * z;
    }
    if constexpr (LMAX > 2) {
        V five = 5 * zz - 1;
        tx += z * (g[9] * y + 2 * g[13] * x) + 6 * g[8] * xy + g[12] * five + 3 * g[14] * d;
        ty += z * (g[9] * x - 2 * g[13] * y) - 6 * g[14] * xy + g[10] * five + 3 * g[8] * d;
        tz += g[9] * xy + 10 * z * (g[10] * y + g[12] * x) + g[11] * (15 * zz - 3) + g[13] * d;
    }
    if constexpr (LMAX > 3) {
        V a = y * (3 * xx - yy), e = x * (xx - 3 * yy), c = 7 * zz - 1;
        tx += g[15] * a + z * (6 * g[16] * xy + g[20] * (c - 2) + 3 * g[22] * d);
        tx += c * (g[17] * y + 2 * g[21] * x) + 4 * g[23] * e;
        ty += g[15] * e + z * (3 * g[16] * d + g[18] * (c - 2) - 6 * g[22] * xy);
        ty += c * (g[17] * x - 2 * g[21] * y) - 4 * g[23] * a;
        tz += g[16] * a + 14 * z * (g[17] * xy + g[21] * d) + 3 * c * (g[18] * y + g[20] * x);
        tz += g[19] * z * (140 * zz - 60) + g[22] * e;
    }
}

// -- one centre ---------------------------------------------------------------------------------

// Pairs of a centre by species of the neighbour, each species filled up to whole vectors.
struct Shell {
    alignas(64) real x[MAX_PAIRS + W], y[MAX_PAIRS + W], z[MAX_PAIRS + W];
    alignas(64) int32_t j[MAX_PAIRS + W];
    int blocks[NS + 1];           // where each species begins
    int count[MAX_PAIRS / W];     // pairs in each block
    int n;

    inline void append(V vx, V vy, V vz, const int32_t* vj, unsigned mask);

    void fill(int t, int began, real far, int32_t self) {
        int end = up(n);
        for (int e = n; e < end; ++e) x[e] = far, y[e] = z[e] = 0, j[e] = self;
        for (int b = began / W; b < end / W; ++b) count[b] = std::min(W, n - b * W);
        n = end;
        blocks[t + 1] = n / W;
    }
};

struct Permutations {
    alignas(64) int32_t of[256][8];
    Permutations() {
        for (int m = 0; m < 256; ++m) {
            int n = 0;
            for (int i = 0; i < 8; ++i) if (m >> i & 1) of[m][n++] = i;
            while (n < 8) of[m][n++] = 7;
        }
    }
};
static const Permutations permutations;

inline void Shell::append(V vx, V vy, V vz, const int32_t* vj, unsigned mask) {
#if FAST
    __m256i order = _mm256_load_si256((const __m256i*)permutations.of[mask]);
    _mm256_storeu_ps((float*)x + n, _mm256_permutevar8x32_ps((__m256)vx, order));
    _mm256_storeu_ps((float*)y + n, _mm256_permutevar8x32_ps((__m256)vy, order));
    _mm256_storeu_ps((float*)z + n, _mm256_permutevar8x32_ps((__m256)vz, order));
    __m256i from = _mm256_loadu_si256((const __m256i*)vj);
    _mm256_storeu_si256((__m256i*)(j + n), _mm256_permutevar8x32_epi32(from, order));
    n += __builtin_popcount(mask);
#else
    for (int i = 0; i < W; ++i)
        if (mask >> i & 1) x[n] = vx[i], y[n] = vy[i], z[n] = vz[i], j[n] = vj[i], ++n;
#endif
}

inline unsigned bits(VI mask) {
#if FAST
    return _mm256_movemask_ps((__m256)mask);
#else
    unsigned m = 0;
    for (int i = 0; i < W; ++i) m |= (mask[i] ? 1u : 0u) << i;
    return m;
#endif
}

// Three components of W rows of four.
inline void gather(const real* rows, const int32_t* j, V& x, V& y, V& z) {
#if FAST
    const float* r = (const float*)rows;
    __m256 a[4];
    for (int i = 0; i < 4; ++i)
        a[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(r + 4 * j[i])),
                                    _mm_load_ps(r + 4 * j[i + 4]), 1);
    __m256 lo = _mm256_unpacklo_ps(a[0], a[1]), hi = _mm256_unpackhi_ps(a[0], a[1]);
    __m256 lo2 = _mm256_unpacklo_ps(a[2], a[3]), hi2 = _mm256_unpackhi_ps(a[2], a[3]);
    x = (V)_mm256_shuffle_ps(lo, lo2, 0x44);
    y = (V)_mm256_shuffle_ps(lo, lo2, 0xEE);
    z = (V)_mm256_shuffle_ps(hi, hi2, 0x44);
#else
    for (int i = 0; i < W; ++i) {
        const real* r = rows + 4 * j[i];
        x[i] = r[0], y[i] = r[1], z[i] = r[2];
    }
#endif
}

// forces[j] -= pull of the first n pairs, rows of four.
inline void scatter(real* forces, const int32_t* j, int n, V x, V y, V z) {
#if FAST
    __m256 zero = _mm256_setzero_ps();
    __m256 lo = _mm256_unpacklo_ps((__m256)x, (__m256)y), hi = _mm256_unpackhi_ps((__m256)x, (__m256)y);
    __m256 lo2 = _mm256_unpacklo_ps((__m256)z, zero), hi2 = _mm256_unpackhi_ps((__m256)z, zero);
    __m256 r[4] = {_mm256_shuffle_ps(lo, lo2, 0x44), _mm256_shuffle_ps(lo, lo2, 0xEE),
                   _mm256_shuffle_ps(hi, hi2, 0x44), _mm256_shuffle_ps(hi, hi2, 0xEE)};
    __m128 rows[8];
    for (int i = 0; i < 4; ++i) {
        rows[i] = _mm256_castps256_ps128(r[i]);
        rows[i + 4] = _mm256_extractf128_ps(r[i], 1);
    }
    float* f = (float*)forces;
    if (n == W) {
        for (int i = 0; i < W; ++i)
            _mm_store_ps(f + 4 * j[i], _mm_sub_ps(_mm_load_ps(f + 4 * j[i]), rows[i]));
    } else
        for (int i = 0; i < n; ++i)
            _mm_store_ps(f + 4 * j[i], _mm_sub_ps(_mm_load_ps(f + 4 * j[i]), rows[i]));
#else
    for (int i = 0; i < n; ++i) {
        real* f = forces + 4 * j[i];
        f[0] -= x[i], f[1] -= y[i], f[2] -= z[i];
    }
#endif
}

// The list of one crystal as a centre sees it.
struct Listed {
    const real *x, *y, *z;   // vectors when the list was made
    const int32_t* j;
    const int32_t* starts;   // NS + 1 places, multiples of W
};

constexpr int MAX_BLOCKS = MAX_PAIRS / W;

struct Scratch {
    Shell inner, outer;
    // of the radial functions, inner blocks first, then outer ones
    V inverse[2 * MAX_BLOCKS], chebyshev[2 * MAX_BLOCKS], steep[2 * MAX_BLOCKS], slope[2 * MAX_BLOCKS];
    V b[MAX_BLOCKS][LM], g[MAX_BLOCKS][NA], dg[MAX_BLOCKS][NA];
    V rows[MAX_PAIRS][NAP / W];
    V moments[LM][NAP / W], d[LM][NAP / W];
    alignas(64) real q[DP], slopes[DP], delta[NP], h[KRP], kh[KRP];
    alignas(64) real sums[KRP];
};

class Centre {
public:
    Centre(const Weights& weights, Scratch& scratch) : w(weights), k(scratch) {}

    // Add the pulls of atom i of species s to rows of forces and to a virial (xx yy zz yz xz xy);
    // return its energy. `map` is the cell's change minus 1 since the list was made, or null.
    __attribute__((noinline)) double run(int i, int s, const Listed& list, const real* moved, const real* map, real* forces,
               double* virial) {
        self = i;
        compress(list, moved, map);
        radial_sums(s);
        angular_sums(s);
        invariants();
        double energy = network(s);
        moment_slopes();
        pull_radial_species(s, forces, virial);
        return energy;
    }

    const real* descriptors() const { return k.q; }

    // The largest coefficient by which the active set makes up the descriptors of the last atom
    // (extrapolation.py); in double, because the active set's inverse is ill-conditioned.
    __attribute__((noinline)) double grade(int s) const {
        D4 sums[GP / 4];
        for (int v = 0; v < GP / 4; ++v) sums[v] = *(const D4*)&w.active[s][DIM][4 * v];
        for (int d = 0; d < DIM; ++d) {
            double q = k.q[place_of(d)];
            for (int v = 0; v < GP / 4; ++v) sums[v] += *(const D4*)&w.active[s][d][4 * v] * q;
        }
        D4 largest = {};
        for (const D4& sum : sums) {
            D4 size = sum < 0 ? -sum : sum;
            largest = size > largest ? size : largest;
        }
        return std::max(std::max(largest[0], largest[1]), std::max(largest[2], largest[3]));
    }

protected:
    const Weights& w;
    Scratch& k;
    int self;

    void compress(const Listed& list, const real* moved, const real* map) {
        const real in2 = w.cutoff[1] * w.cutoff[1], out2 = w.cutoff[0] * w.cutoff[0];
        const real far = 2 * w.cutoff[0];
        V ox = splat(moved[4 * self]), oy = splat(moved[4 * self + 1]), oz = splat(moved[4 * self + 2]);
        k.inner.n = k.outer.n = k.inner.blocks[0] = k.outer.blocks[0] = 0;
        for (int t = 0; t < NS; ++t) {
            int began_in = k.inner.n, began_out = k.outer.n;
            for (int e = list.starts[t]; e < list.starts[t + 1]; e += W) {
                V x = load(list.x + e), y = load(list.y + e), z = load(list.z + e), dx, dy, dz;
                gather(moved, list.j + e, dx, dy, dz);
                dx -= ox, dy -= oy, dz -= oz;
                if (map) {
                    dx += x * map[0] + y * map[3] + z * map[6];
                    dy += x * map[1] + y * map[4] + z * map[7];
                    dz += x * map[2] + y * map[5] + z * map[8];
                }
                x += dx, y += dy, z += dz;
                V r2 = x * x + y * y + z * z;
                unsigned in = bits(r2 < in2), all = bits(r2 < out2);
                if (in) k.inner.append(x, y, z, list.j + e, in);
                if (all & ~in) k.outer.append(x, y, z, list.j + e, all & ~in);
            }
            k.inner.fill(t, began_in, far, self);
            k.outer.fill(t, began_out, far, self);
        }
    }

    // hfc = half the cutoff function, and its derivative; x = the polynomials' argument, and
    // hfc times its derivative. All vanish at and beyond the cutoff.
    static void cut(V r, real cutoff, V& x, V& half, V& slope, V& steep) {
        V u = 1 - r * (1 / cutoff), s, c;
        u = u > 0 ? u : splat(0);
        quarter_wave(u, s, c);
        x = 2 * u * u - 1;
        half = s * s * (real)0.5;
        slope = s * c * (real)(-M_PI / 2 / cutoff);
        steep = half * u * (-4 / cutoff);
    }

    void radial_block(const Shell& shell, int b, int place, V* sums) {
        V x = load(shell.x + W * b), y = load(shell.y + W * b), z = load(shell.z + W * b);
        V r = root(x * x + y * y + z * z), half, t, before = splat(1);
        cut(r, w.cutoff[0], t, half, k.slope[place], k.steep[place]);
        k.inverse[place] = 1 / r;
        k.chebyshev[place] = t;
        V twice = 2 * t;
        sums[0] += half;
        if constexpr (KR > 1) sums[1] += half * t;
        for (int n = 2; n < KR; ++n) {
            V next = twice * t - before;
            before = t, t = next;
            sums[n] += half * t;
        }
    }

    void radial_sums(int s) {
        V q[NRP / W] = {};
        int n_inner = k.inner.n / W;
        for (int t = 0; t < NS; ++t) {
            V sums[KRP] = {};
            for (int b = k.inner.blocks[t]; b < k.inner.blocks[t + 1]; ++b) radial_block(k.inner, b, b, sums);
            for (int b = k.outer.blocks[t]; b < k.outer.blocks[t + 1]; ++b)
                radial_block(k.outer, b, n_inner + b, sums);
            for (int n = 0; n < KRP; n += W) {
                if (n + 1 == KR) { store(k.sums + n, V{sum(sums[n])}); continue; }
                transpose(sums + n);
                V* v = sums + n;
                store(k.sums + n, ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7])));
            }
            real first = k.sums[0];
            for (int n = 0; n < KR; ++n)
                for (int v = 0; v < NRP / W; ++v)
                    q[v] += load(&w.radial[s][t][n][W * v]) * (k.sums[n] + first);
        }
        for (int v = 0; v < NRP / W; ++v) store(k.q + W * v, q[v]);
    }

    void angular_block(int s, int t, int b) {
        V x = load(k.inner.x + W * b), y = load(k.inner.y + W * b), z = load(k.inner.z + W * b);
        V inverse = k.inverse[b];
        V r = (x * x + y * y + z * z) * inverse;
        harmonics(x * inverse, y * inverse, z * inverse, k.b[b]);
        V u, half, slope, steep;
        cut(r, w.cutoff[1], u, half, slope, steep);
        V f[KA], df[KA], before = splat(1), now = u, below = splat(0), second = splat(1), twice = 2 * u;
        f[0] = 2 * half, df[0] = 2 * slope;
        for (int n = 1; n < KA; ++n) {
            f[n] = (now + 1) * half;
            df[n] = (now + 1) * slope + second * steep * (real)n;
            V next = twice * now - before;
            before = now, now = next;
            next = twice * second - below;
            below = second, second = next;
        }
        for (int n = 0; n < NA; ++n) {
            const real* c = w.angular[s][t][n];
            V g = f[0] * c[0], dg = df[0] * c[0];
            for (int m = 1; m < KA; ++m) g += f[m] * c[m], dg += df[m] * c[m];
            k.g[b][n] = g, k.dg[b][n] = dg;
        }
        for (int v = 0; v < NAP / W; ++v) {
            V rows[W];
            for (int n = 0; n < W; ++n) rows[n] = W * v + n < NA ? k.g[b][std::min(W * v + n, NA - 1)] : splat(0);
            transpose(rows);
            for (int p = 0; p < W; ++p) k.rows[W * b + p][v] = rows[p];
        }
    }

    template <int FIRST, int LAST> void moments_of(int v) {
        V a[LAST - FIRST] = {};
        for (int b = 0; b < k.inner.n / W; ++b)
            for (int p = 0; p < k.inner.count[b]; ++p) {
                V g = k.rows[W * b + p][v];
#pragma GCC unroll 32
                for (int m = FIRST; m < LAST; ++m) a[m - FIRST] += g * ((const real*)&k.b[b][m])[p];
            }
        for (int m = FIRST; m < LAST; ++m) k.moments[m][v] = a[m - FIRST];
    }

    void angular_sums(int s) {
        for (int t = 0; t < NS; ++t)
            for (int b = k.inner.blocks[t]; b < k.inner.blocks[t + 1]; ++b) angular_block(s, t, b);
        constexpr int HALF = LM <= 12 ? LM : LM / 2;
        for (int v = 0; v < NAP / W; ++v) {
            moments_of<0, HALF>(v);
            if constexpr (HALF < LM) moments_of<HALF, LM>(v);
        }
    }

    static V determinant(const V (*a)[NAP / W], int v, V* slopes) {
        V xy = a[3][v], yz = a[4][v], xz = a[5][v], d = a[6][v], zz = a[7][v] * (real)(1 / 3.);
        V xx = (d - zz) * (real)0.5, yy = (-d - zz) * (real)0.5;
        V m0 = yy * zz - yz * yz, m1 = xx * zz - xz * xz, m2 = xx * yy - xy * xy;
        slopes[0] = 2 * (xz * yz - xy * zz);
        slopes[1] = 2 * (xy * xz - xx * yz);
        slopes[2] = 2 * (xy * yz - yy * xz);
        slopes[3] = (m0 - m1) * (real)0.5;
        slopes[4] = (m2 - (m0 + m1) * (real)0.5) * (real)(1 / 3.);
        return xx * m0 + xy * slopes[0] * (real)0.5 + xz * slopes[2] * (real)0.5;
    }

    void invariants() {
        for (int v = 0; v < NAP / W; ++v) {
            real* q = k.q + NRP + W * v;
            for (int l = 0; l < LMAX; ++l, q += NAP) {
                V squares = splat(0);
                for (int m = STARTS[l]; m < STARTS[l + 1]; ++m)
                    squares += k.moments[m][v] * k.moments[m][v] * NORMS[m];
                store(q, squares);
            }
            if constexpr (FOUR) {
                V slopes[5];
                store(q, (real)FOUR_BODY * determinant(k.moments, v, slopes));
                q += NAP;
            }
            if constexpr (FIVE) {
                V d = k.moments[0][v] * k.moments[0][v] + k.moments[1][v] * k.moments[1][v];
                d += k.moments[2][v] * k.moments[2][v];
                store(q, (real)FIVE_BODY * d * d);
            }
        }
    }

    double network(int s) {
        V hidden[NP / W];
        for (int v = 0; v < NP / W; ++v) hidden[v] = -load(&w.biases[s][W * v]);
        for (int d = 0; d < NR; ++d)
            for (int v = 0; v < NP / W; ++v) hidden[v] += load(&w.first[s][d][W * v]) * k.q[d];
        for (int c = 0; c < CH; ++c)
            for (int n = 0; n < NA; ++n)
                for (int v = 0; v < NP / W; ++v)
                    hidden[v] += load(&w.first[s][NR + c * NA + n][W * v]) * k.q[NRP + c * NAP + n];
        V energy = splat(0);
        for (int v = 0; v < NP / W; ++v) {
            V t = tanh_of(hidden[v]), second = load(&w.second[s][W * v]);
            energy += t * second;
            store(k.delta + W * v, second * (1 - t * t));
        }
        V slopes[DP / W] = {};
        for (int m = 0; m < NEURONS; ++m)
            for (int v = 0; v < DP / W; ++v) slopes[v] += load(&w.back[s][m][W * v]) * k.delta[m];
        for (int v = 0; v < DP / W; ++v) store(k.slopes + W * v, slopes[v]);
        return sum(energy) + w.constant[s];
    }

    void moment_slopes() {
        for (int v = 0; v < NAP / W; ++v) {
            const real* slope = k.slopes + NRP + W * v;
            for (int l = 0; l < LMAX; ++l, slope += NAP) {
                V twice = 2 * load(slope);
                for (int m = STARTS[l]; m < STARTS[l + 1]; ++m) k.d[m][v] = twice * NORMS[m] * k.moments[m][v];
            }
            if constexpr (FOUR) {
                V slopes[5], strength = load(slope) * (real)FOUR_BODY;
                determinant(k.moments, v, slopes);
                for (int m = 0; m < 5; ++m) k.d[3 + m][v] += strength * slopes[m];
                slope += NAP;
            }
            if constexpr (FIVE) {
                V d = k.moments[0][v] * k.moments[0][v] + k.moments[1][v] * k.moments[1][v];
                d += k.moments[2][v] * k.moments[2][v];
                V strength = load(slope) * (real)(4 * FIVE_BODY) * d;
                for (int m = 0; m < 3; ++m) k.d[m][v] += strength * k.moments[m][v];
            }
        }
    }

    // sum_k h_k f_k'
    V radial_slope(int place, real h0) const {
        V x = k.chebyshev[place], before = splat(1), now = x, twice = 2 * x;
        V below = splat(0), second = splat(1), values = splat(2 * k.h[0] + h0), slopes = splat(0);
        for (int n = 1; n < KR; ++n) {
            values += now * k.h[n];
            slopes += second * k.kh[n];
            V next = twice * now - before;
            before = now, now = next;
            next = twice * second - below;
            below = second, second = next;
        }
        return values * k.slope[place] + slopes * k.steep[place];
    }

    void angular_pull(int b, V ux, V uy, V uz, V& px, V& py, V& pz, V& along) {
        V g[NA], dg[NA], turning[LM];
        for (int n = 0; n < NA; ++n) g[n] = k.g[b][n], dg[n] = k.dg[b][n];
        const real* d = (const real*)k.d;
#pragma GCC unroll 4
        for (int m = 0; m < LM; ++m) {
            V a = g[0] * d[m * NAP], c = dg[0] * d[m * NAP];
#pragma GCC unroll 20
            for (int n = 1; n < NA; ++n) a += g[n] * d[m * NAP + n], c += dg[n] * d[m * NAP + n];
            turning[m] = a;
            along += c * k.b[b][m];
        }
        V tx, ty, tz;
        gradients(ux, uy, uz, turning, tx, ty, tz);
        V inverse = k.inverse[b];
        along -= (tx * ux + ty * uy + tz * uz) * inverse;
        px = tx * inverse, py = ty * inverse, pz = tz * inverse;
    }

    void pull_radial_species(int s, real* forces, double* virial) {
        V fx = splat(0), fy = fx, fz = fx, xx = fx, yy = fx, zz = fx, yz = fx, xz = fx, xy = fx;
        int n_inner = k.inner.n / W;
        for (int t = 0; t < NS; ++t) {
            V h[KRP / W] = {};
            for (int n = 0; n < NR; ++n)
                for (int v = 0; v < KRP / W; ++v) h[v] += load(&w.radial_back[s][t][n][W * v]) * k.slopes[n];
            real rest = 0;
            for (int v = 0; v < KRP / W; ++v) store(k.h + W * v, h[v]);
            for (int n = 1; n < KR; ++n) k.kh[n] = n * k.h[n], rest += k.h[n];
            auto pull = [&](const Shell& shell, int b, int place, bool inner) {
                V x = load(shell.x + W * b), y = load(shell.y + W * b), z = load(shell.z + W * b);
                V inverse = k.inverse[place], ux = x * inverse, uy = y * inverse, uz = z * inverse;
                V along = radial_slope(place, rest), px = splat(0), py = px, pz = px;
                if (inner) angular_pull(b, ux, uy, uz, px, py, pz, along);
                px += ux * along, py += uy * along, pz += uz * along;
                fx += px, fy += py, fz += pz;
                xx += x * px, yy += y * py, zz += z * pz, yz += y * pz, xz += x * pz, xy += x * py;
                scatter(forces, shell.j + W * b, shell.count[b], px, py, pz);
            };
            for (int b = k.inner.blocks[t]; b < k.inner.blocks[t + 1]; ++b) pull(k.inner, b, b, true);
            for (int b = k.outer.blocks[t]; b < k.outer.blocks[t + 1]; ++b) pull(k.outer, b, n_inner + b, false);
        }
        forces[4 * self] += sum(fx), forces[4 * self + 1] += sum(fy), forces[4 * self + 2] += sum(fz);
        V parts[6] = {xx, yy, zz, yz, xz, xy};
        for (int c = 0; c < 6; ++c) virial[c] += sum(parts[c]);
    }
};

}  // namespace nep
