// The derivatives of a loss by a NEP's numbers.
//
// With p_ij = dE_i/dr_ij, F_i = sum_j (p_ij - p_ji) and W = sum_ij r_ij p_ij, a loss whose derivatives by
// E, F and W are a, f and w depends on the numbers as sum_i [a E_i + sum_j v_ij . p_ij] does, where
// v_ij = f_i - f_j + r_ij w stays. The second term is the derivative of E_i along v: a pass with
// tangents (`*_dot`) forwards and one back give everything, without second derivatives of the list.
#pragma once

#include "nep_crystal.hpp"

namespace nep {

// A value and its derivative along a direction, in as many lanes as V has.
struct Dual { V v, d; };
inline Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
inline Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.d - b.d}; }
inline Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.v * b.d + a.d * b.v}; }
inline Dual operator*(int a, Dual b) { return {(real)a * b.v, (real)a * b.d}; }
inline Dual operator-(Dual a, int b) { return {a.v - (real)b, a.d}; }
inline Dual operator+(Dual a, int b) { return {a.v + (real)b, a.d}; }

// Derivatives of a loss, laid out as Weights has the numbers.
struct Slopes {
    alignas(64) real first[NS][DIM][NP], biases[NS][NP], second[NS][NP];
    alignas(64) real radial[NS][NS][KR][NRP], angular[NS][NS][KA][NAP];
};

struct TrainingScratch : Scratch {
    V f[MAX_BLOCKS][KA], df[MAX_BLOCKS][KA], along[MAX_BLOCKS], b_dot[MAX_BLOCKS][LM];
    V moments_dot[LM][NAP / W], back[LM][NAP / W], back_dot[LM][NAP / W];
    alignas(64) real q_dot[DP], sums_of[NS][KR], sums_dot[NS][KR];
};

class Pupil : public Centre {
public:
    Pupil(const Weights& weights, TrainingScratch& scratch, Slopes& slopes)
        : Centre(weights, scratch), k(scratch), out(slopes) {}

    // Add the derivatives for atom i of species s. `force_slopes` are rows of four, `virial_slopes`
    // those of xx yy zz yz xz xy.
    __attribute__((noinline)) void run(int i, int s, const Listed& list, const real* moved, real energy_slope,
                                       const real* force_slopes, const real* virial_slopes) {
        self = i;
        compress(list, moved, nullptr);
        radial_sums(s);
        angular_sums(s);
        invariants();
        fs = force_slopes, ws = virial_slopes;
        radial_tangents(s);
        angular_tangents(s);
        invariant_tangents();
        network_slopes(s, energy_slope);
        radial_slopes(s);
        moment_slopes_back();
        for (int t = 0; t < NS; ++t) angular_slopes(s, t);
    }

private:
    TrainingScratch& k;
    Slopes& out;
    const real *fs, *ws;

    // The direction v_ij of a block of pairs.
    void direction(const Shell& shell, int b, V& vx, V& vy, V& vz) const {
        V x = load(shell.x + W * b), y = load(shell.y + W * b), z = load(shell.z + W * b), fx, fy, fz;
        gather(fs, shell.j + W * b, fx, fy, fz);
        vx = fs[4 * self] - fx + x * ws[0];
        vy = fs[4 * self + 1] - fy + y * ws[1] + x * ws[5];
        vz = fs[4 * self + 2] - fz + z * ws[2] + y * ws[3] + x * ws[4];
    }

    template <int K> static void functions(V r, real cutoff, V* f, V* df) {
        V u, half, slope, steep;
        cut(r, cutoff, u, half, slope, steep);
        V before = splat(1), now = u, below = splat(0), second = splat(1), twice = 2 * u;
        f[0] = 2 * half, df[0] = 2 * slope;
        for (int n = 1; n < K; ++n) {
            f[n] = (now + 1) * half;
            df[n] = (now + 1) * slope + second * steep * (real)n;
            V next = twice * now - before;
            before = now, now = next;
            next = twice * second - below;
            below = second, second = next;
        }
    }

    void radial_tangents(int s) {
        V q[NRP / W] = {};
        for (int t = 0; t < NS; ++t) {
            V sums[KR] = {}, dots[KR] = {};
            auto add = [&](const Shell& shell, int b) {
                V x = load(shell.x + W * b), y = load(shell.y + W * b), z = load(shell.z + W * b);
                V r = root(x * x + y * y + z * z), vx, vy, vz, f[KR], df[KR];
                direction(shell, b, vx, vy, vz);
                V along = (x * vx + y * vy + z * vz) / r;
                functions<KR>(r, w.cutoff[0], f, df);
                for (int n = 0; n < KR; ++n) sums[n] += f[n], dots[n] += df[n] * along;
            };
            for (int b = k.inner.blocks[t]; b < k.inner.blocks[t + 1]; ++b) add(k.inner, b);
            for (int b = k.outer.blocks[t]; b < k.outer.blocks[t + 1]; ++b) add(k.outer, b);
            for (int n = 0; n < KR; ++n) {
                k.sums_of[t][n] = sum(sums[n]), k.sums_dot[t][n] = sum(dots[n]);
                for (int v = 0; v < NRP / W; ++v) q[v] += load(&w.radial[s][t][n][W * v]) * k.sums_dot[t][n];
            }
        }
        for (int v = 0; v < NRP / W; ++v) store(k.q_dot + W * v, q[v]);
    }

    void angular_tangents(int) {
        V dots[LM][NAP] = {};
        for (int b = 0; b < k.inner.n / W; ++b) {
            V x = load(k.inner.x + W * b), y = load(k.inner.y + W * b), z = load(k.inner.z + W * b), vx, vy, vz;
            direction(k.inner, b, vx, vy, vz);
            V r = root(x * x + y * y + z * z), inverse = 1 / r;
            functions<KA>(r, w.cutoff[1], k.f[b], k.df[b]);
            x *= inverse, y *= inverse, z *= inverse;
            V along = x * vx + y * vy + z * vz;
            k.along[b] = along;
            Dual h[LM];
            harmonics(Dual{x, (vx - along * x) * inverse}, Dual{y, (vy - along * y) * inverse},
                      Dual{z, (vz - along * z) * inverse}, h);
            for (int m = 0; m < LM; ++m) k.b_dot[b][m] = h[m].d;
            V g[NA], g_dot[NA];
            for (int n = 0; n < NA; ++n) g[n] = k.g[b][n], g_dot[n] = k.dg[b][n] * along;
            for (int m = 0; m < LM; ++m)
                for (int n = 0; n < NA; ++n) dots[m][n] += g_dot[n] * k.b[b][m] + g[n] * k.b_dot[b][m];
        }
        for (int m = 0; m < LM; ++m)
            for (int v = 0; v < NAP / W; ++v) k.moments_dot[m][v] = across(dots[m] + W * v);
    }

    // Sums over the lanes of W rows, a lane for each row.
    static V across(V* rows) {
        transpose(rows);
        return ((rows[0] + rows[4]) + (rows[2] + rows[6])) + ((rows[1] + rows[5]) + (rows[3] + rows[7]));
    }

    void invariant_tangents() {
        for (int v = 0; v < NAP / W; ++v) {
            real* q = k.q_dot + NRP + W * v;
            for (int l = 0; l < LMAX; ++l, q += NAP) {
                V twice = splat(0);
                for (int m = STARTS[l]; m < STARTS[l + 1]; ++m)
                    twice += k.moments[m][v] * k.moments_dot[m][v] * (2 * NORMS[m]);
                store(q, twice);
            }
            if constexpr (FOUR) {
                V slopes[5], along = splat(0);
                determinant(k.moments, v, slopes);
                for (int m = 0; m < 5; ++m) along += slopes[m] * k.moments_dot[3 + m][v];
                store(q, (real)FOUR_BODY * along);
                q += NAP;
            }
            if constexpr (FIVE) {
                V square, mixed;
                dipoles(v, square, mixed);
                store(q, (real)(4 * FIVE_BODY) * square * mixed);
            }
        }
    }

    void dipoles(int v, V& square, V& mixed) const {
        square = mixed = splat(0);
        for (int m = 0; m < 3; ++m) {
            square += k.moments[m][v] * k.moments[m][v];
            mixed += k.moments[m][v] * k.moments_dot[m][v];
        }
    }

    // The hidden layer; then k.slopes are the loss's derivatives by q, and k.q_dot those by q_dot.
    void network_slopes(int s, real energy_slope) {
        V hidden[NP / W], dot[NP / W] = {};
        for (int v = 0; v < NP / W; ++v) hidden[v] = -load(&w.biases[s][W * v]);
        for (int d = 0; d < DIM; ++d)
            for (int v = 0; v < NP / W; ++v) {
                V first = load(&w.first[s][d][W * v]);
                hidden[v] += first * k.q[place_of(d)], dot[v] += first * k.q_dot[place_of(d)];
            }
        alignas(64) real value[NP], tangent[NP];
        for (int v = 0; v < NP / W; ++v) {
            V t = tanh_of(hidden[v]), steep = 1 - t * t, second = load(&w.second[s][W * v]);
            V by_dot = second * steep;
            store(tangent + W * v, by_dot);
            hidden[v] = by_dot * (energy_slope - 2 * t * dot[v]);
            store(value + W * v, hidden[v]);
            store(&out.biases[s][W * v], load(&out.biases[s][W * v]) - hidden[v]);
            store(&out.second[s][W * v], load(&out.second[s][W * v]) + energy_slope * t + steep * dot[v]);
            dot[v] = by_dot;
        }
        for (int d = 0; d < DIM; ++d)
            for (int v = 0; v < NP / W; ++v) {
                real* row = &out.first[s][d][W * v];
                store(row, load(row) + hidden[v] * k.q[place_of(d)] + dot[v] * k.q_dot[place_of(d)]);
            }
        V by_q[DP / W] = {}, by_q_dot[DP / W] = {};
        for (int m = 0; m < NEURONS; ++m)
            for (int v = 0; v < DP / W; ++v) {
                V back = load(&w.back[s][m][W * v]);
                by_q[v] += back * value[m], by_q_dot[v] += back * tangent[m];
            }
        for (int v = 0; v < DP / W; ++v) store(k.slopes + W * v, by_q[v]), store(k.q_dot + W * v, by_q_dot[v]);
    }

    void radial_slopes(int s) {
        for (int t = 0; t < NS; ++t)
            for (int n = 0; n < KR; ++n)
                for (int v = 0; v < NRP / W; ++v) {
                    real* row = &out.radial[s][t][n][W * v];
                    V by_q = load(k.slopes + W * v), by_q_dot = load(k.q_dot + W * v);
                    store(row, load(row) + by_q * k.sums_of[t][n] + by_q_dot * k.sums_dot[t][n]);
                }
    }

    // k.back and k.back_dot: derivatives by the moments and by their tangents.
    void moment_slopes_back() {
        moment_slopes();
        std::memcpy(k.back, k.d, sizeof k.d);
        std::memcpy(k.slopes, k.q_dot, sizeof k.slopes);
        moment_slopes();
        std::memcpy(k.back_dot, k.d, sizeof k.d);
        for (int v = 0; v < NAP / W; ++v) {
            const real* slope = k.slopes + NRP + W * v;
            for (int l = 0; l < LMAX; ++l, slope += NAP) {
                V twice = 2 * load(slope);
                for (int m = STARTS[l]; m < STARTS[l + 1]; ++m)
                    k.back[m][v] += twice * NORMS[m] * k.moments_dot[m][v];
            }
            if constexpr (FOUR) {  // the determinant's slopes are of second degree
                V both[8][NAP / W], mixed[5], own[5], other[5], strength = load(slope) * (real)FOUR_BODY;
                for (int m = 3; m < 8; ++m) both[m][v] = k.moments[m][v] + k.moments_dot[m][v];
                determinant(both, v, mixed);
                determinant(k.moments, v, own);
                determinant(k.moments_dot, v, other);
                for (int m = 0; m < 5; ++m) k.back[3 + m][v] += strength * (mixed[m] - own[m] - other[m]);
                slope += NAP;
            }
            if constexpr (FIVE) {
                V square, mixed, strength = load(slope) * (real)(4 * FIVE_BODY);
                dipoles(v, square, mixed);
                for (int m = 0; m < 3; ++m)
                    k.back[m][v] += strength * (2 * mixed * k.moments[m][v] + square * k.moments_dot[m][v]);
            }
        }
    }

    void angular_slopes(int s, int t) {
        if (k.inner.blocks[t] == k.inner.blocks[t + 1]) return;
        V sums[KA][NAP] = {};
        const real *back = (const real*)k.back, *back_dot = (const real*)k.back_dot;
        for (int b = k.inner.blocks[t]; b < k.inner.blocks[t + 1]; ++b)
            for (int n = 0; n < NA; ++n) {
                V by_g = splat(0), by_dg = splat(0);
                for (int m = 0; m < LM; ++m) {
                    V value = k.b[b][m];
                    by_g += value * back[m * NAP + n] + k.b_dot[b][m] * back_dot[m * NAP + n];
                    by_dg += value * back_dot[m * NAP + n];
                }
                by_dg *= k.along[b];
                for (int f = 0; f < KA; ++f) sums[f][n] += k.f[b][f] * by_g + k.df[b][f] * by_dg;
            }
        for (int f = 0; f < KA; ++f)
            for (int v = 0; v < NAP / W; ++v) {
                real* row = &out.angular[s][t][f][W * v];
                store(row, load(row) + across(sums[f] + W * v));
            }
    }
};

}  // namespace nep
