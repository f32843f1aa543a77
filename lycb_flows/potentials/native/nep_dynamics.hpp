// The steps of lycb_flows/md/integrators.py and chains.py for one replica: same equations, same
// order of the factors, float64 throughout; sums may differ from numpy's in their last bits.
#pragma once

#include "nep_crystal.hpp"

namespace nep {

// One replica's state and settings; integrators.py explains every name. Arrays are the caller's.
struct Motion {
    // state
    double *positions, *momenta;          // (n, 3), in the caller's order
    const double* inverse_masses;         // (n)
    double cell[9], cell_momenta[9], rates[6], heat[2], kinetic[9];
    // results of the last step
    double energy, virial[9];
    // settings
    double time, degrees[2], squares[2], pressure, period_squared, mask[9], third, frame[9], inverse_frame[9];
    double hottest_factor, coldest_limit, start_energy, largest_jump, start_volume, largest_growth;
    double grade, largest_grade;  // the largest so far, and its limit
    double boltzmann;
    int64_t cell_moves, thermostatted;
};

constexpr double EDGE = 1.3512071919596578;  // 1 / (2 - 2^(1/3))
constexpr double SUZUKI_YOSHIDA[3] = {EDGE, 1 - 2 * EDGE, EDGE};

// chains.py, _advance_chain
inline void advance_chain(double* v, double kinetic, double n, double square, double time, double& scale, double& turn) {
    scale = 1, turn = 0;
    for (double weight : SUZUKI_YOSHIDA) {
        double t = weight * time, half = t / 2, quarter = t / -4;
        v[2] += half * (v[1] * v[1] - square);
        double brake = std::exp(quarter * v[2]);
        v[1] = (v[1] * brake + half * (n * v[0] * v[0] - square)) * brake;
        brake = std::exp(quarter * v[1]);
        v[0] = (v[0] * brake + half * (kinetic - 1) * square) * brake;
        turn += t * (n * v[0] + v[1] + v[2]);
        double s = std::exp(-t * v[0]);
        kinetic *= s * s;
        scale *= s;
        v[0] = (v[0] * brake + half * (kinetic - 1) * square) * brake;
        brake = std::exp(quarter * v[2]);
        v[1] = (v[1] * brake + half * (n * v[0] * v[0] - square)) * brake;
        v[2] += half * (v[1] * v[1] - square);
    }
}

inline double exprel(double x) { return std::abs(x) < 1e-300 ? 1 : std::expm1(x) / x; }

// Eigenvalues and eigenvectors (columns of q) of a symmetric matrix, by Jacobi's rotations.
inline void diagonalise(Matrix a, double* values, Matrix& q) {
    q = {{1, 0, 0, 0, 1, 0, 0, 0, 1}};
    for (int sweep = 0; sweep < 60; ++sweep) {
        double off = a[0][1] * a[0][1] + a[0][2] * a[0][2] + a[1][2] * a[1][2];
        double on = a[0][0] * a[0][0] + a[1][1] * a[1][1] + a[2][2] * a[2][2];
        if (!(off > 1e-40 * on)) break;
        for (int i = 0; i < 2; ++i)
            for (int j = i + 1; j < 3; ++j) {
                if (a[i][j] == 0) continue;
                double theta = (a[j][j] - a[i][i]) / (2 * a[i][j]);
                double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::sqrt(theta * theta + 1));
                double c = 1 / std::sqrt(t * t + 1), s = t * c;
                for (int k = 0; k < 3; ++k) {
                    double x = a[k][i], y = a[k][j];
                    a[k][i] = c * x - s * y, a[k][j] = s * x + c * y;
                }
                for (int k = 0; k < 3; ++k) {
                    double x = a[i][k], y = a[j][k];
                    a[i][k] = c * x - s * y, a[j][k] = s * x + c * y;
                }
                for (int k = 0; k < 3; ++k) {
                    double x = q[k][i], y = q[k][j];
                    q[k][i] = c * x - s * y, q[k][j] = s * x + c * y;
                }
            }
    }
    for (int i = 0; i < 3; ++i) values[i] = a[i][i];
}

inline Matrix transposed(const Matrix& m) {
    return {{m.a[0], m.a[3], m.a[6], m.a[1], m.a[4], m.a[7], m.a[2], m.a[5], m.a[8]}};
}

// left diag(factors) right
inline Matrix spread(const Matrix& left, const double* factors, const Matrix& right) {
    Matrix scaled = left;
    for (int i = 0; i < 9; ++i) scaled.a[i] *= factors[i % 3];
    return product(scaled, right);
}

class Replica {
public:
    Replica(Crystal& crystal, Motion& motion) : c(crystal), m(motion), n(crystal.n) {
        for (int x = 0; x < 3; ++x) p[x].assign(c.stride, 0);
        inverse_mass.assign(c.stride, 0);
        for (int i = 0; i < n; ++i) {
            inverse_mass[i] = m.inverse_masses[c.order[i]];
            for (int x = 0; x < 3; ++x) {
                p[x][i] = m.momenta[3 * c.order[i] + x];
                c.position[x][i] = m.positions[3 * c.order[i] + x];
            }
        }
        std::copy(m.cell, m.cell + 9, c.cell.a);
        volume = std::abs(determinant(c.cell));
        twice_kinetic = m.kinetic[0] + m.kinetic[4] + m.kinetic[8];
    }

    template <class Evaluate> int64_t advance(int64_t steps, const double* targets, Evaluate&& evaluate) {
        if (steps == 0) {
            c.forget();
            evaluate();
            centre_forces();
            read_results();
        }
        int64_t step = 0;
        while (step < steps) {
            aim(targets[step++]);
            couple();
            if (m.cell_moves) move_with_cell(evaluate);
            else move(evaluate);
            couple();
            if (!healthy()) break;
        }
        for (int i = 0; i < n; ++i)
            for (int x = 0; x < 3; ++x) {
                m.momenta[3 * c.order[i] + x] = p[x][i];
                m.positions[3 * c.order[i] + x] = c.position[x][i];
            }
        std::copy(c.cell.a, c.cell.a + 9, m.cell);
        return step;
    }

private:
    Crystal& c;
    Motion& m;
    int n;
    Array<double> p[3], inverse_mass;
    double volume, twice_kinetic, target_k = 0, target_ev = 0, scale_ev[2] = {}, inertia_ev = 1;

    void aim(double kelvin) {
        target_k = kelvin;
        target_ev = m.boltzmann * kelvin;
        for (int x = 0; x < 2; ++x) scale_ev[x] = m.degrees[x] * target_ev;
        inertia_ev = (m.degrees[0] / 3 + 1) * target_ev * m.period_squared;
    }

    void couple() {
        double turn, scale;
        if (m.thermostatted) {
            advance_chain(m.rates, twice_kinetic / scale_ev[0], m.degrees[0], m.squares[0], m.time / 2, scale, turn);
            m.heat[0] += target_ev * turn;
            for (int x = 0; x < 3; ++x)
                for (int i = 0; i < n; ++i) p[x][i] *= scale;
            for (double& k : m.kinetic) k *= scale * scale;
            twice_kinetic = m.kinetic[0] + m.kinetic[4] + m.kinetic[8];
        }
        if (m.cell_moves) {
            double twice = 0;
            for (double x : m.cell_momenta) twice += x * x;
            twice /= inertia_ev;
            advance_chain(m.rates + 3, twice / scale_ev[1], m.degrees[1], m.squares[1], m.time / 2, scale, turn);
            m.heat[1] += target_ev * turn;
            for (double& x : m.cell_momenta) x *= scale;
        }
    }

    template <class Evaluate> void move(Evaluate&& evaluate) {
        const double half = m.time / 2, whole = m.time;
        for (int x = 0; x < 3; ++x)
            for (int i = 0; i < n; ++i) {
                p[x][i] += half * c.force[x][i];
                c.position[x][i] += whole * inverse_mass[i] * p[x][i];
            }
        evaluate();
        centre_forces();
        for (int x = 0; x < 3; ++x)
            for (int i = 0; i < n; ++i) p[x][i] += half * c.force[x][i];
        read_results();
        read_kinetic();
    }

    template <class Evaluate> void move_with_cell(Evaluate&& evaluate) {
        push_cell();
        Matrix kick[2], drift[2];
        propagators(kick, drift);
        apply(kick, p, c.force, nullptr);
        apply(drift, c.position, p, inverse_mass.data());
        c.cell = product(c.cell, drift[0]);
        volume = std::abs(determinant(c.cell));
        evaluate();
        centre_forces();
        apply(kick, p, c.force, nullptr);
        read_results();
        read_kinetic();
        push_cell();
    }

    // rows r with sources s: r a + s b
    void apply(const Matrix* ab, Array<double>* rows, const Array<double>* sources, const double* weight) {
        const Matrix &a = ab[0], &b = ab[1];
        for (int i = 0; i < n; ++i) {
            double w = weight ? weight[i] : 1, r[3], s[3];
            for (int x = 0; x < 3; ++x) r[x] = rows[x][i], s[x] = w * sources[x][i];
            for (int x = 0; x < 3; ++x)
                rows[x][i] = r[0] * a[0][x] + r[1] * a[1][x] + r[2] * a[2][x] + s[0] * b[0][x] + s[1] * b[1][x] + s[2] * b[2][x];
        }
    }

    void push_cell() {
        Matrix tensor, frame, back;
        std::copy(m.frame, m.frame + 9, frame.a);
        std::copy(m.inverse_frame, m.inverse_frame + 9, back.a);
        for (int x = 0; x < 9; ++x) tensor.a[x] = m.kinetic[x] - m.virial[x];
        double even = twice_kinetic / m.degrees[0] - m.pressure * volume;
        Matrix forces = product(product(frame, tensor), back);
        for (int x = 0; x < 3; ++x) forces[x][x] += even;
        double third = m.third * (forces[0][0] + forces[1][1] + forces[2][2]);
        for (int x = 0; x < 9; ++x) {
            double f = m.mask[x] * forces.a[x] + (x % 4 == 0 ? third : 0);
            m.cell_momenta[x] += m.time / 2 * f;
        }
    }

    void propagators(Matrix* kick, Matrix* drift) {
        Matrix momenta, q, frame, inverse_frame;
        std::copy(m.cell_momenta, m.cell_momenta + 9, momenta.a);
        std::copy(m.frame, m.frame + 9, frame.a);
        std::copy(m.inverse_frame, m.inverse_frame + 9, inverse_frame.a);
        // as numpy's eigh, only the lower triangle counts
        momenta[0][1] = momenta[1][0], momenta[0][2] = momenta[2][0], momenta[1][2] = momenta[2][1];
        double rates[3], grow[3], drifts[3], shrink[3], kicks[3];
        diagonalise(momenta, rates, q);
        for (double& r : rates) r /= inertia_ev;
        Matrix axes = product(inverse_frame, q), back = product(transposed(q), frame);
        double trace = rates[0] + rates[1] + rates[2], half = m.time / 2;
        for (int x = 0; x < 3; ++x) {
            double step = rates[x] * m.time, s = -(rates[x] + trace / m.degrees[0]) * half;
            grow[x] = std::exp(step), drifts[x] = m.time * exprel(step);
            shrink[x] = std::exp(s), kicks[x] = half * exprel(s);
        }
        drift[0] = spread(axes, grow, back), drift[1] = spread(axes, drifts, back);
        Matrix left = transposed(back), right = transposed(axes);
        kick[0] = spread(left, shrink, right), kick[1] = spread(left, kicks, right);
    }

    void centre_forces() {
        for (int x = 0; x < 3; ++x) {
            double sum = 0;
            for (int i = 0; i < n; ++i) sum += c.force[x][i];
            for (int i = 0; i < n; ++i) c.force[x][i] -= sum / n;
        }
    }

    void read_results() {
        const int places[9] = {0, 5, 4, 5, 1, 3, 4, 3, 2};
        m.energy = c.energy;
        m.grade = std::max(m.grade, c.grade);
        for (int x = 0; x < 9; ++x) m.virial[x] = c.virial[places[x]];
    }

    void read_kinetic() {
        double k[6] = {};
        for (int i = 0; i < n; ++i) {
            double w = inverse_mass[i], x = p[0][i], y = p[1][i], z = p[2][i];
            k[0] += w * x * x, k[1] += w * y * y, k[2] += w * z * z;
            k[3] += w * y * z, k[4] += w * x * z, k[5] += w * x * y;
        }
        const int places[9] = {0, 5, 4, 5, 1, 3, 4, 3, 2};
        for (int x = 0; x < 9; ++x) m.kinetic[x] = k[places[x]];
        twice_kinetic = k[0] + k[1] + k[2];
    }

    // health.py, StepLimits.are_kept
    bool healthy() const {
        double kelvin = twice_kinetic / (m.degrees[0] * m.boltzmann), growth = volume / m.start_volume;
        return std::isfinite(m.energy) && kelvin <= m.hottest_factor * std::max(target_k, m.coldest_limit) &&
               std::abs(m.energy / n - m.start_energy) <= m.largest_jump &&
               std::max(growth, 1 / growth) <= m.largest_growth && m.grade <= m.largest_grade;
    }
};

}  // namespace nep
