// One crystal: its neighbours with a skin, and a NEP's results for it.
//
// Atoms are numbered by species inside. A list keeps the vector of each pair at its birth; later
// only displacements since then are added, so float loses nothing and no atom is copied. With
// M = c0^-1 c the cell's map since then, d1 and d2 the two largest departures of atoms from it, a
// list serves while (1 - |M - 1|_F) (cutoff + skin) - d1 - d2 >= cutoff (graph.py).
#pragma once

#include <limits>
#include <new>

#include "nep_kernel.hpp"

namespace nep {

struct Matrix {
    double a[9];
    double* operator[](int i) { return a + 3 * i; }
    const double* operator[](int i) const { return a + 3 * i; }
};

inline Matrix product(const Matrix& p, const Matrix& q) {
    Matrix r;
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) r[i][j] = p[i][0] * q[0][j] + p[i][1] * q[1][j] + p[i][2] * q[2][j];
    return r;
}

inline double determinant(const Matrix& m) {
    return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
           m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
           m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

inline Matrix inverse(const Matrix& m) {
    Matrix r;
    double d = 1 / determinant(m);
    for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 3; ++j) {
            int a = (j + 1) % 3, b = (j + 2) % 3, c = (i + 1) % 3, e = (i + 2) % 3;
            r[i][j] = (m[a][c] * m[b][e] - m[a][e] * m[b][c]) * d;
        }
    return r;
}

template <class T> struct Aligned {
    using value_type = T;
    Aligned() = default;
    template <class U> Aligned(const Aligned<U>&) {}
    T* allocate(size_t n) { return (T*)::operator new(n * sizeof(T), std::align_val_t(64)); }
    void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(64)); }
    template <class U> bool operator==(const Aligned<U>&) const { return true; }
    template <class U> bool operator!=(const Aligned<U>&) const { return false; }
};
template <class T> using Array = std::vector<T, Aligned<T>>;

constexpr double MAX_GHOSTS = 1e7;  // a cell that has collapsed has too many images
constexpr double MAX_BINS = 128;    // along an edge of the cell; those of a huge cell are wider
constexpr int CHUNK = 128;  // atoms whose forces share a buffer: a matter of the crystal alone

class Crystal {
public:
    const Weights& weights;
    const double skin;
    int n, stride, chunks;
    std::vector<int> order;            // the caller's number of each atom
    std::vector<int32_t> species;      // sorted
    Array<double> position[3], force[3];
    Matrix cell;
    double energy, virial[6];          // xx yy zz yz xz xy
    double grade = 0;                  // largest of any atom; 0 without an active set
    bool described = true;
    long built = 0;

    Crystal(const Weights& weights, double skin, int n, const int32_t* kinds) : weights(weights), skin(skin), n(n) {
        stride = up(n);
        chunks = std::max(1, (n + CHUNK / 2) / CHUNK);
        order.resize(n);
        for (int i = 0; i < n; ++i) order[i] = i;
        std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return kinds[a] < kinds[b]; });
        for (int i : order) species.push_back(kinds[i]);
        for (int x = 0; x < 3; ++x) position[x].assign(stride, 0), force[x].assign(stride, 0), birth[x].assign(stride, 0);
        moved.assign(4 * (size_t)stride, 0);
        buffers.assign(4 * (size_t)stride * chunks, 0);
        energies.assign(chunks, 0);
        virials.assign(6 * (size_t)chunks, 0);
        grades.assign(chunks, 0);
        starts.assign((size_t)n * (NS + 1), 0);
    }

    // Bring displacements up to date, and the list where it no longer serves.
    __attribute__((noinline)) void prepare() {
        described = std::isfinite(determinant(cell)) && determinant(cell) != 0;
        for (int i = 0; described && i < n; ++i)
            described = std::isfinite(position[0][i] + position[1][i] + position[2][i]);
        if (!described || serves()) return;
        build();
    }

    __attribute__((noinline)) void run_chunk(int c, Scratch& scratch) {
        Centre centre(weights, scratch);
        real* forces = buffers.data() + 4 * (size_t)stride * c;
        std::memset(forces, 0, 4 * (size_t)stride * sizeof(real));
        double* virial = virials.data() + 6 * c;
        std::fill(virial, virial + 6, 0.0);
        double sum = 0, worst = 0;
        for (int i = (int)((int64_t)n * c / chunks); i < (int)((int64_t)n * (c + 1) / chunks); ++i) {
            sum += centre.run(i, species[i], listed(i), moved.data(), identity ? nullptr : map, forces, virial);
            if (weights.graded) worst = std::max(worst, centre.grade(species[i]));
        }
        energies[c] = sum;
        grades[c] = worst;
    }

    // Call for each atom, with its number, species, list and the displacements since the list was made.
    template <class Function> void each(Function&& function) const {
        for (int i = 0; i < n; ++i) function(i, species[i], listed(i), moved.data());
    }

    void descriptors_of(int i, Scratch& scratch, double* out) {
        Centre centre(weights, scratch);
        double virial[6] = {};
        centre.run(i, species[i], listed(i), moved.data(), identity ? nullptr : map, buffers.data(), virial);
        const real* q = centre.descriptors();
        for (int d = 0; d < DIM; ++d) out[d] = q[place_of(d)];
    }

    __attribute__((noinline)) void collect() {
        energy = grade = 0;
        std::fill(virial, virial + 6, 0.0);
        for (int c = 0; c < chunks; ++c) {
            energy += energies[c];
            grade = std::max(grade, grades[c]);
            for (int x = 0; x < 6; ++x) virial[x] += virials[6 * c + x];
        }
        for (int i = 0; i < n; ++i) {
            const real* row = buffers.data() + 4 * i;
            double f[3] = {row[0], row[1], row[2]};
            for (int c = 1; c < chunks; ++c) {
                row += 4 * (size_t)stride;
                for (int x = 0; x < 3; ++x) f[x] += row[x];
            }
            for (int x = 0; x < 3; ++x) force[x][i] = f[x];
        }
        if (!described) lose();
    }

    __attribute__((noinline)) void evaluate(Scratch& scratch) {
        prepare();
        if (described)
            for (int c = 0; c < chunks; ++c) run_chunk(c, scratch);
        collect();
    }

    void lose() {
        energy = std::numeric_limits<double>::quiet_NaN();
        std::fill(virial, virial + 6, energy);
        for (int x = 0; x < 3; ++x) std::fill(force[x].begin(), force[x].end(), energy);
    }

    void forget() { fresh = true; }

private:
    Array<double> birth[3];
    Matrix birth_cell, birth_inverse;
    bool fresh = true, identity = true;
    real map[9];
    Array<real> moved, buffers, px, py, pz;
    Array<int32_t> pj;
    std::vector<int32_t> starts;
    std::vector<double> energies, virials, grades;
    // of build
    struct Ghost { double x, y, z; int32_t atom, bin; };
    std::vector<Ghost> ghosts, sorted;
    Array<float> gx, gy, gz;
    std::vector<int32_t> bins, hits[NS];

    Listed listed(int i) const {
        return {px.data(), py.data(), pz.data(), pj.data(), starts.data() + (size_t)i * (NS + 1)};
    }

    __attribute__((noinline)) bool serves() {
        if (fresh) return false;
        identity = std::equal(cell.a, cell.a + 9, birth_cell.a);
        double shrink = 0, m[9];
        if (!identity) {
            Matrix change = product(birth_inverse, cell);
            for (int x = 0; x < 9; ++x) {
                m[x] = change.a[x] - (x % 4 == 0);
                shrink += m[x] * m[x];
                map[x] = m[x];
            }
            shrink = std::sqrt(shrink);
        }
        double largest = 0, next = 0;
        const double *x = position[0].data(), *y = position[1].data(), *z = position[2].data();
        const double *x0 = birth[0].data(), *y0 = birth[1].data(), *z0 = birth[2].data();
        for (int i = 0; i < n; ++i) {
            double dx = x[i] - x0[i], dy = y[i] - y0[i], dz = z[i] - z0[i];
            if (!identity) {
                dx -= x0[i] * m[0] + y0[i] * m[3] + z0[i] * m[6];
                dy -= x0[i] * m[1] + y0[i] * m[4] + z0[i] * m[7];
                dz -= x0[i] * m[2] + y0[i] * m[5] + z0[i] * m[8];
            }
            moved[4 * i] = dx, moved[4 * i + 1] = dy, moved[4 * i + 2] = dz;
            double d = dx * dx + dy * dy + dz * dz;
            next = std::max(next, std::min(d, largest));
            largest = std::max(largest, d);
        }
        double cutoff = weights.cutoff[0];
        return (1 - shrink) * (cutoff + skin) - std::sqrt(largest) - std::sqrt(next) >= cutoff;
    }

    __attribute__((noinline)) void build() {
        ++built;
        fresh = identity = true;  // fresh until all is done: memory may run out
        for (int x = 0; x < 3; ++x) birth[x] = position[x];
        std::fill(moved.begin(), moved.end(), real(0));
        birth_cell = cell;
        birth_inverse = inverse(cell);
        const double reach = weights.cutoff[0] + skin;
        double reaches[3];  // in fractions of the cell
        int counts[3], lowest[3];
        for (int x = 0; x < 3; ++x) {
            const Matrix& v = birth_inverse;  // columns are the planes' normals over their distance
            reaches[x] = reach * std::sqrt(v[0][x] * v[0][x] + v[1][x] * v[1][x] + v[2][x] * v[2][x]);
        }
        const double parts[3] = {2, 2, 4};  // bins within a reach
        double widths[3];
        for (int x = 0; x < 3; ++x) {
            widths[x] = std::max(reaches[x] / parts[x], 1 / MAX_BINS);
            lowest[x] = (int)parts[x] + 1;
            counts[x] = (int)std::ceil(1 / widths[x]) + 2 * lowest[x] + 1;
        }
        double images = n;
        for (double r : reaches) images *= 2 * r + 1;
        described = images < MAX_GHOSTS;
        if (described) make_ghosts(reaches, widths, counts, lowest);
        px.clear(), py.clear(), pz.clear(), pj.clear();
        for (int i = 0; i < n && described; ++i) list_of(i, reach, widths, counts, lowest, parts);
        fresh = !described;
    }

    std::vector<double> frac;
    std::vector<int32_t> home;

    void make_ghosts(const double* reaches, const double* widths, const int* counts, const int* lowest) {
        ghosts.clear();
        frac.resize(3 * (size_t)n), home.resize(n);
        for (int i = 0; i < n; ++i) {
            double f[3];
            int from[3], to[3];
            for (int x = 0; x < 3; ++x) {
                const Matrix& v = birth_inverse;
                f[x] = position[0][i] * v[0][x] + position[1][i] * v[1][x] + position[2][i] * v[2][x];
                f[x] -= std::floor(f[x]);
                frac[3 * i + x] = f[x];
                from[x] = (int)std::ceil(-reaches[x] - f[x]), to[x] = (int)std::floor(1 + reaches[x] - f[x]);
            }
            for (int a = from[0]; a <= to[0]; ++a)
                for (int b = from[1]; b <= to[1]; ++b)
                    for (int c = from[2]; c <= to[2]; ++c) {
                        double g[3] = {f[0] + a, f[1] + b, f[2] + c};
                        Ghost ghost;
                        ghost.x = g[0] * cell[0][0] + g[1] * cell[1][0] + g[2] * cell[2][0];
                        ghost.y = g[0] * cell[0][1] + g[1] * cell[1][1] + g[2] * cell[2][1];
                        ghost.z = g[0] * cell[0][2] + g[1] * cell[1][2] + g[2] * cell[2][2];
                        ghost.atom = a || b || c ? i : ~i;  // ~: the atom itself
                        ghost.bin = 0;
                        for (int x = 0; x < 3; ++x)
                            ghost.bin = ghost.bin * counts[x] + bin_of(g[x], widths[x], lowest[x]);
                        ghosts.push_back(ghost);
                    }
        }
        bins.assign((size_t)counts[0] * counts[1] * counts[2] + 1, 0);
        for (const Ghost& g : ghosts) ++bins[g.bin + 1];
        for (size_t b = 1; b < bins.size(); ++b) bins[b] += bins[b - 1];
        sorted.resize(ghosts.size());
        gx.assign(up(ghosts.size()) + W, 0), gy.assign(gx.size(), 0), gz.assign(gx.size(), 0);
        std::vector<int32_t>& next = hits[0];
        next.assign(bins.begin(), bins.end() - 1);
        for (const Ghost& g : ghosts) {
            int place = next[g.bin]++;
            sorted[place] = g;
            if (g.atom < 0) home[~g.atom] = place, sorted[place].atom = ~g.atom;
            gx[place] = g.x, gy[place] = g.y, gz[place] = g.z;
        }
    }

    static int bin_of(double f, double width, int lowest) { return (int)std::floor(f / width) + lowest; }

    void list_of(int i, double reach, const double* widths, const int* counts, const int* lowest, const double* parts) {
        const Ghost& self = sorted[home[i]];
        const float r2 = reach * reach, x0 = self.x, y0 = self.y, z0 = self.z;
        for (auto& part : hits) part.clear();
        int at[3];
        for (int x = 0; x < 3; ++x) at[x] = bin_of(frac[3 * i + x], widths[x], lowest[x]);
        for (int a = at[0] - (int)parts[0]; a <= at[0] + (int)parts[0]; ++a)
            for (int b = at[1] - (int)parts[1]; b <= at[1] + (int)parts[1]; ++b) {
                size_t row = ((size_t)a * counts[1] + b) * counts[2];
                int end = bins[row + at[2] + (int)parts[2] + 1];
                for (int g = bins[row + at[2] - (int)parts[2]]; g < end; g += W) {
                    unsigned near = 0;
                    for (int l = 0; l < W; ++l) {
                        float x = gx[g + l] - x0, y = gy[g + l] - y0, z = gz[g + l] - z0;
                        near |= (unsigned)(x * x + y * y + z * z < r2) << l;
                    }
                    if (end - g < W) near &= (1u << (end - g)) - 1;
                    for (; near; near &= near - 1) {
                        int hit = g + __builtin_ctz(near);
                        if (hit != home[i]) hits[species[sorted[hit].atom]].push_back(hit);
                    }
                }
            }
        int32_t* start = starts.data() + (size_t)i * (NS + 1);
        size_t total = 0;
        for (int t = 0; t < NS; ++t) total += up(hits[t].size());
        if (total > MAX_PAIRS) { described = false; return; }
        size_t place = px.size();
        px.resize(place + total), py.resize(place + total), pz.resize(place + total), pj.resize(place + total);
        for (int t = 0; t < NS; ++t) {
            start[t] = place;
            for (int hit : hits[t]) {
                const Ghost& g = sorted[hit];
                px[place] = g.x - self.x, py[place] = g.y - self.y, pz[place] = g.z - self.z;
                pj[place++] = g.atom;
            }
            for (; place % W; ++place) px[place] = 1e4, py[place] = pz[place] = 0, pj[place] = i;
        }
        start[NS] = place;
    }
};

}  // namespace nep
