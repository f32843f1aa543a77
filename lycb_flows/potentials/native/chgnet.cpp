// CHGNet's energy and its first derivatives in one pass, for inference on a CPU.
//
// The layers are chgnet's (Deng et al., Nat. Mach. Intell. 2023, 5, 1031), rearranged exactly:
//  - the first layer of each gated MLP acts on a concatenation, so it is taken per atom and per
//    undirected bond, and the parts are added per edge or angle;
//  - bonds beyond the bond graph's cutoff keep their first features, so their part of a first
//    layer is one matrix on the radial basis;
//  - layer norms subtract the mean of a linear map: the map is centred instead (compiled.py);
//  - the backward pass is written out; it stores normalised activations and recomputes gates.
// Sums have one order, whatever the number of threads.
//
// Names: e directed edge, b undirected bond, s short bond (in the bond graph), d directed short
// bond, g angle. F features, H = core and gate side by side. Matrices are [inputs][outputs].
//
// Buffers of Engine. Memory only grows and is kept from run to run; the table says which step of
// run() writes the content and which step reads it last. Layer l is one of n_conv; "backward l" is
// the layer's *_backward.
//
// buffers                                          rows x columns    written by      last read by
// -- the whole run
// vector, length, bond_i, bond_j                   b x 3 or 1        find_bonds      finish
// short_of_bond                                    b                 find_bonds      finish
// directed_of_short                                s x 2             find_bonds      finish
// bond_of_short, directed_short, directed_edge     s, d              find_bonds      contract_angles
// edge_reversed                                    e                 find_bonds      contract_angles
// centre, neighbour, edge_bond, edge_twin          e                 find_bonds      backward 0
// bond_edges                                       b x 2             find_bonds      backward 0
// edge_starts, directed_starts                     atoms + 1         find_bonds      backward 0
// angle_first, angle_second, angle_starts          g, atoms + 1      find_angles     contract_angles
// cuts                                             threads + 1       share_out       contract_angles
// basis_slope, basis_bg_slope                      b, s x R          expand_bonds    contract_bonds
// weight_ag, weight_bg                             b, s x F          expand_bonds    backward 0
// angle_cosine, angle_sine, angle_cosines          g x 1 or ORDER    expand_angles   contract_angles
// -- forward
// bond_of_pair, pair_vector                        pairs x 1, 4      find_bonds      find_bonds
// has_angles                                       crystals          find_angles     last atom_layer
// basis                                            b x R             expand_bonds    last atom_layer
// basis_bg                                         s x R             expand_bonds    expand_bonds
// atom_features[l]                                 atoms x F         layer l - 1     layer l; read_out
// bond_features[l]                                 s x F             layer l - 1     layer l
// angle_features                                   g x F             expand_angles,  last bond_layer
//                                                                    angle_layer
// activations                                      atoms x F         read_out        read_out
// -- from forward l to backward l
// from_centre[l], from_neighbour[l], from_bond[l]  atoms, b x H      atom_layer l    backward l
// saved_atom[l]: x, inverse                        e x H, 2          atom_layer l    backward l
// saved_bond[l]: x, inverse, pre                   g x H, 2, H       bond_layer l    backward l
// saved_angle[l]: x, inverse                       g x H, 2          angle_layer l   backward l
// -- backward: sums over all layers
// d_atoms                                          atoms x F         read_out        backward 0
// d_bonds, d_angles                                s, g x F          backward        contract_*
// d_weight, d_weight_bg, d_basis                   b, s x F; b x R   backward        contract_bonds
// -- one step only; the next one to need the buffer writes over it
// message, message2, part1, part2, part3           of each layer, forward and backward
// d_edge, d_bond, d_neighbour, d_atom              of each layer, backward
// d_first, d_second, d_w1, d_w2                    of each bond or angle layer, backward
// d_centre, d_message                              of read_out, then of each layer, backward
// fourier                                          basis in expand_angles, its slope in
//                                                  contract_angles
// d_basis_bg, length_slope, unit_slope             of contract_*; the slopes are read by finish

#include <chrono>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __SSE__
#include <xmmintrin.h>
#endif

#include "weights.hpp"

namespace lycb {

constexpr double COSINE_SCALE = 1 - 1e-6;  // chgnet's guard of acos

struct Pairs {  // candidates within cutoff + skin, each once; compiled.py's _Pairs
    int64_t n_crystals, n_atoms, n_pairs;
    const int32_t* numbers;       // (atoms)
    const int32_t* owners;        // (atoms) crystal
    const int32_t* pairs;         // (pairs, 2) centre, neighbour
    const int32_t* images;        // (pairs, 3) of the neighbour
    const int64_t* starts;        // (atoms + 1) into the directed candidates
    const int32_t* candidates;    // (2 pairs) pair of each directed candidate, by centre
    const uint8_t* reversed;      // (2 pairs) whether the candidate runs against its pair
};

struct Results {  // compiled.py's _Results
    double* energies;   // (crystals) without references
    double* forces;     // (atoms, 3)
    double* virials;    // (crystals, 3, 3)
    int64_t counts[4];  // edges, bonds, short bonds, angles
};

struct Saved {  // of one gated MLP, per edge or angle
    Buffer<float> x, inverse, pre;
};

struct Engine {
    Weights w;
    Shape& shape;
    const Pairs* in = nullptr;
    int threads = 1;
    int64_t n_atoms = 0, n_edges = 0, n_bonds = 0, n_short = 0, n_directed = 0, n_angles = 0;

    // topology
    Buffer<int32_t> bond_of_pair, centre, neighbour, edge_bond, edge_twin;
    Buffer<int32_t> bond_i, bond_j, short_of_bond, bond_of_short, bond_edges;
    Buffer<int32_t> directed_short, directed_edge, directed_of_short, angle_first, angle_second;
    Buffer<int64_t> edge_starts, directed_starts, angle_starts, cuts;
    Buffer<uint8_t> edge_reversed, has_angles;
    // geometry
    Buffer<double> pair_vector, vector, length, unit_slope, length_slope;
    Buffer<double> angle_cosine;
    Buffer<float> basis, basis_slope, basis_bg, basis_bg_slope, angle_sine, angle_cosines;
    Buffer<float> weight_ag, weight_bg;
    // features and their slopes
    std::vector<Buffer<float>> atom_features, from_centre, from_neighbour, from_bond;
    std::vector<Buffer<float>> bond_features;
    std::vector<Saved> saved_atom, saved_bond, saved_angle;
    Buffer<float> angle_features, fourier, message, message2, part1, part2, part3;
    Buffer<float> d_atoms, d_bonds, d_angles, d_edge, d_weight, d_weight_bg, d_basis, d_basis_bg;
    Buffer<float> d_centre, d_neighbour, d_bond, d_message, d_first, d_second, d_atom, d_w1, d_w2;
    std::vector<Buffer<float>> activations;

    explicit Engine(const Shape& s, const float* packed)
        : w(s, packed), shape(w.shape), atom_features(s.n_conv + 1), from_centre(s.n_conv),
          from_neighbour(s.n_conv), from_bond(s.n_conv), bond_features(s.n_conv),
          saved_atom(s.n_conv), saved_bond(s.n_conv - 1), saved_angle(s.n_conv - 1),
          activations(s.n_hidden + 1) {}

    void run(const Pairs& pairs, const double* positions, const double* cells, Results& out) {
        in = &pairs;
        n_atoms = pairs.n_atoms;
#ifdef _OPENMP
        threads = omp_get_max_threads();
#endif
        find_bonds(positions, cells);
        find_angles();
        share_out();
        expand_bonds();
        expand_angles();
        embed();
        for (int l = 0; l < shape.n_conv; ++l) {
            atom_layer(l);
            if (l + 1 < shape.n_conv) {
                bond_layer(l);
                if (l + 2 < shape.n_conv) angle_layer(l);
            }
        }
        read_out(out);
        for (int l = shape.n_conv - 1; l >= 0; --l) {
            if (l + 1 < shape.n_conv) {
                if (l + 2 < shape.n_conv) angle_layer_backward(l);
                bond_layer_backward(l);
            }
            atom_layer_backward(l);
        }
        contract_bonds();
        contract_angles();
        finish(out);
        int64_t counts[4] = {n_edges, n_bonds, n_short, n_angles};
        std::memcpy(out.counts, counts, sizeof counts);
    }

    // -- topology and geometry -----------------------------------------------------------

    void find_bonds(const double* r, const double* cells) {
        const Pairs& p = *in;
        bond_of_pair.need(p.n_pairs + 1);
        pair_vector.need(4 * p.n_pairs + 4);
#pragma omp parallel for schedule(static)
        for (int64_t q = 0; q < p.n_pairs; ++q) {
            int64_t i = p.pairs[2 * q], j = p.pairs[2 * q + 1];
            const double* cell = cells + 9 * (int64_t)p.owners[i];
            const int32_t* s = p.images + 3 * q;
            double v[3];
            for (int x = 0; x < 3; ++x)
                v[x] = r[3 * j + x] - r[3 * i + x] + s[0] * cell[x] + s[1] * cell[3 + x] + s[2] * cell[6 + x];
            double square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
            std::memcpy(pair_vector + 4 * q, v, sizeof v);
            pair_vector[4 * q + 3] = std::sqrt(square);
        }
        n_bonds = 0;
        for (int64_t q = 0; q < p.n_pairs; ++q)
            bond_of_pair[q] = pair_vector[4 * q + 3] < shape.atom_cutoff ? (int32_t)n_bonds++ : -1;
        keep_bonds();
        list_edges();
    }

    void keep_bonds() {
        const Pairs& p = *in;
        vector.need(3 * n_bonds + 3); length.need(n_bonds + 1);
        bond_i.need(n_bonds + 1); bond_j.need(n_bonds + 1);
        short_of_bond.need(n_bonds + 1); bond_of_short.need(n_bonds + 1);
        n_short = 0;
        for (int64_t q = 0; q < p.n_pairs; ++q) {
            int32_t b = bond_of_pair[q];
            if (b < 0) continue;
            std::memcpy(vector + 3 * (int64_t)b, pair_vector + 4 * q, 3 * sizeof(double));
            length[b] = pair_vector[4 * q + 3];
            bond_i[b] = p.pairs[2 * q];
            bond_j[b] = p.pairs[2 * q + 1];
            short_of_bond[b] = -1;
            if (length[b] < shape.bond_cutoff) {
                bond_of_short[n_short] = b;
                short_of_bond[b] = (int32_t)n_short++;
            }
        }
    }

    void list_edges() {
        const Pairs& p = *in;
        n_edges = 2 * n_bonds;
        n_directed = 2 * n_short;
        centre.need(n_edges + 1); neighbour.need(n_edges + 1); edge_bond.need(n_edges + 1);
        edge_twin.need(n_edges + 1); edge_reversed.need(n_edges + 1);
        bond_edges.need(2 * n_bonds + 2); directed_of_short.need(2 * n_short + 2);
        directed_short.need(n_directed + 1); directed_edge.need(n_directed + 1);
        edge_starts.need(n_atoms + 1); directed_starts.need(n_atoms + 1);
        int64_t e = 0, d = 0;
        for (int64_t i = 0; i < n_atoms; ++i) {
            edge_starts[i] = e;
            directed_starts[i] = d;
            for (int64_t c = p.starts[i]; c < p.starts[i + 1]; ++c) {
                int32_t b = bond_of_pair[p.candidates[c]];
                if (b < 0) continue;
                uint8_t back = p.reversed[c];
                centre[e] = (int32_t)i;
                neighbour[e] = back ? bond_i[b] : bond_j[b];
                edge_bond[e] = b;
                edge_reversed[e] = back;
                bond_edges[2 * (int64_t)b + back] = (int32_t)e;
                if (int32_t s = short_of_bond[b]; s >= 0) {
                    directed_short[d] = s;
                    directed_edge[d] = (int32_t)e;
                    directed_of_short[2 * (int64_t)s + back] = (int32_t)d++;
                }
                ++e;
            }
        }
        edge_starts[n_atoms] = e;
        directed_starts[n_atoms] = d;
        for (int64_t k = 0; k < n_edges; ++k)
            edge_twin[k] = bond_edges[2 * (int64_t)edge_bond[k] + !edge_reversed[k]];
    }

    void find_angles() {
        angle_starts.need(n_atoms + 1);
        has_angles.need(in->n_crystals + 1);
        std::memset(has_angles, 0, in->n_crystals);
        n_angles = 0;
        for (int64_t i = 0; i < n_atoms; ++i) {
            angle_starts[i] = n_angles;
            int64_t k = directed_starts[i + 1] - directed_starts[i];
            n_angles += k * (k - 1);
            if (k > 1) has_angles[in->owners[i]] = 1;
        }
        angle_starts[n_atoms] = n_angles;
        angle_first.need(n_angles + 1); angle_second.need(n_angles + 1);
        for (int64_t i = 0, g = 0; i < n_atoms; ++i)
            for (int64_t a = directed_starts[i]; a < directed_starts[i + 1]; ++a)
                for (int64_t b = directed_starts[i]; b < directed_starts[i + 1]; ++b)
                    if (a != b) {
                        angle_first[g] = (int32_t)a;
                        angle_second[g++] = (int32_t)b;
                    }
    }

    // Atoms of each thread, by equal work.
    void share_out() {
        cuts.need(threads + 1);
        int64_t total = n_edges + 2 * n_angles + n_atoms, i = 0;
        for (int t = 0; t <= threads; ++t) {
            int64_t goal = total * t / threads;
            while (i < n_atoms && edge_starts[i] + 2 * angle_starts[i] + i < goal) ++i;
            cuts[t] = t == threads ? n_atoms : i;
        }
    }

    // Rows [first, last) of each thread's atoms in blocks, with the thread's scratch memory.
    template <class Body>
    void blocks(const int64_t* starts, Body body) {
#pragma omp parallel for schedule(static, 1)
        for (int t = 0; t < threads; ++t) {
            int64_t last = starts[cuts[t + 1]];
            for (int64_t first = starts[cuts[t]]; first < last; first += BLOCK)
                body(first, (int)std::min<int64_t>(BLOCK, last - first));
        }
    }

    double envelope(double x, double& slope) const {
        double p = shape.envelope_power;
        if (x >= 1) { slope = 0; return 0; }
        double low = std::pow(x, p - 1), xp = low * x;
        double a = -(p + 1) * (p + 2) / 2, b = p * (p + 2), c = -p * (p + 1) / 2;
        slope = low * (a * p + x * (b * (p + 1) + x * c * (p + 2)));
        return 1 + xp * (a + x * (b + x * c));
    }

    void radial(double r, double cutoff, const double* turns, const float* f, float* b, float* db) {
        alignas(64) float sine[R], cosine[R];
        sines<R>(turns, r, sine, cosine);
        double slope, e = envelope(r / cutoff, slope), norm = std::sqrt(2 / cutoff);
        float value = (float)(norm * e / r);
        float dsine = (float)(norm * (slope / cutoff - e / r) / r);
        float dcosine = (float)(norm * e / (r * cutoff));
        for (int n = 0; n < R; ++n) {
            b[n] = value * sine[n];
            db[n] = dsine * sine[n] + dcosine * f[n] * cosine[n];
        }
    }

    void expand_bonds() {
        basis.need(n_bonds * R + R); basis_slope.need(n_bonds * R + R);
        basis_bg.need(n_short * R + R); basis_bg_slope.need(n_short * R + R);
        weight_ag.need(n_bonds * F + F); weight_bg.need(n_short * F + F);
#pragma omp parallel for schedule(static)
        for (int64_t b = 0; b < n_bonds; ++b)
            radial(length[b], shape.atom_cutoff, w.turns_ag, w.frequency_ag, basis + b * R,
                   basis_slope + b * R);
#pragma omp parallel for schedule(static)
        for (int64_t s = 0; s < n_short; ++s)
            radial(length[bond_of_short[s]], shape.bond_cutoff, w.turns_bg, w.frequency_bg,
                   basis_bg + s * R, basis_bg_slope + s * R);
        parallel_product<R, F>(n_bonds, basis, w.smooth_ag.w, weight_ag);
        parallel_product<R, F>(n_short, basis_bg, w.smooth_bg.w, weight_bg);
    }

    double sign_of(int64_t d) const { return edge_reversed[directed_edge[d]] ? -1 : 1; }

    void expand_angles() {
        angle_cosine.need(n_angles + 1);
        angle_sine.need(n_angles * ORDER + ORDER); angle_cosines.need(n_angles * ORDER + ORDER);
        fourier.need(n_angles * R + R); angle_features.need(n_angles * F + F);
        const float norm = (float)(1 / std::sqrt(PI));
#pragma omp parallel for schedule(static)
        for (int64_t g = 0; g < n_angles; ++g) {
            int64_t d1 = angle_first[g], d2 = angle_second[g];
            int64_t b1 = bond_of_short[directed_short[d1]], b2 = bond_of_short[directed_short[d2]];
            const double *u = vector + 3 * b1, *v = vector + 3 * b2;
            double c = (u[0] * v[0] + u[1] * v[1] + u[2] * v[2]) / (length[b1] * length[b2]);
            c = std::max(-1.0, std::min(1.0, c * sign_of(d1) * sign_of(d2))) * COSINE_SCALE;
            angle_cosine[g] = c;
            float *sine = angle_sine + g * ORDER, *cosine = angle_cosines + g * ORDER;
            sines<ORDER>(w.turns_angle, std::acos(c), sine, cosine);
            float* row = fourier + g * R;  // rows of the embedding: 1, sines, cosines (packed so)
            for (int n = 0; n < ORDER; ++n) row[n] = norm * sine[n];
            for (int n = 0; n < ORDER; ++n) row[ORDER + n] = norm * cosine[n];
        }
        parallel_product<R, F>(n_angles, fourier, w.angle_embedding.w, angle_features);
    }

    void embed() {
        float* a = atom_features[0].need(n_atoms * F + F);
        for (int64_t i = 0; i < n_atoms; ++i)
            std::memcpy(a + i * F, w.embedding + (in->numbers[i] - 1) * F, F * sizeof(float));
        float* b = bond_features[0].need(n_short * F + F);
        part1.need(n_short * R + R);
        gather_rows<R>(basis, part1);
        parallel_product<R, F>(n_short, part1, w.bond_embedding.w, b);
    }

    template <int N>
    void gather_rows(const float* bonds, float* shorts) {
#pragma omp parallel for schedule(static)
        for (int64_t s = 0; s < n_short; ++s)
            std::memcpy(shorts + s * N, bonds + (int64_t)bond_of_short[s] * N, N * sizeof(float));
    }

    // -- forward ----------------------------------------------------------------------------

    void atom_layer(int l) {
        AtomLayer& layer = w.atoms[l];
        float* centres = from_centre[l].need(n_atoms * H + H);
        float* neighbours = from_neighbour[l].need(n_atoms * H + H);
        float* bonds = from_bond[l].need(n_bonds * H + H);
        parallel_product<F, H>(n_atoms, atom_features[l], layer.centre.w, centres, layer.bias);
        parallel_product<F, H>(n_atoms, atom_features[l], layer.neighbour.w, neighbours);
        parallel_product<R, H>(n_bonds, basis, layer.basis.w, bonds);
        if (l > 0) update_short_bonds(l, bonds);
        saved_atom[l].x.need(n_edges * H + H);
        saved_atom[l].inverse.need(2 * n_edges + 2);
        message.need(n_atoms * F + F);
        std::memset(message, 0, n_atoms * F * sizeof(float));
        if (shape.norm) edge_messages<true>(l); else edge_messages<false>(l);
        float* next = atom_features[l + 1].need(n_atoms * F + F);
        std::memcpy(next, atom_features[l], n_atoms * F * sizeof(float));
        add_bias_rows(next, layer.gate.out_bias, n_atoms);
        parallel_product<F, F>(n_atoms, message, layer.gate.out.w, next, nullptr, true);
    }

    void add_bias_rows(float* rows, const float* bias, int64_t n) {
        for (int64_t i = 0; i < n; ++i) add_row<F>(rows + i * F, bias);
    }

    // Short bonds have features of their own; long ones what the out biases added.
    void update_short_bonds(int l, float* bonds) {
        const float* offset = w.atoms[l].offset;
#pragma omp parallel for schedule(static)
        for (int64_t b = 0; b < n_bonds; ++b)
            if (has_angles[in->owners[bond_i[b]]]) add_row<H>(bonds + b * H, offset);
        part1.need(n_short * H + H);
        parallel_product<F, H>(n_short, bond_features[l], w.atoms[l].bond.w, part1);
#pragma omp parallel for schedule(static)
        for (int64_t s = 0; s < n_short; ++s)
            std::memcpy(bonds + (int64_t)bond_of_short[s] * H, part1 + s * H, H * sizeof(float));
    }

    template <bool NORM>
    void edge_messages(int l) {
        Gate& gate = w.atoms[l].gate;
        const float *c = from_centre[l], *n = from_neighbour[l], *b = from_bond[l];
        float *saved = saved_atom[l].x, *inverse = saved_atom[l].inverse;
        blocks(edge_starts, [&](int64_t first, int rows) {
            alignas(64) float h[BLOCK * H], y[F];
            for (int r = 0; r < rows; ++r) {
                int64_t e = first + r;
                alignas(64) float pre[H];
                add_rows<H>(pre, c + (int64_t)centre[e] * H, n + (int64_t)neighbour[e] * H,
                            b + (int64_t)edge_bond[e] * H);
                silu_row(pre, h + r * H);
            }
            float* x = saved + first * H;
            product<F, F>(rows, h, H, gate.core.w, x, H, gate.bias);
            product<F, F>(rows, h + F, H, gate.gate.w, x + F, H, gate.bias + F);
            for (int r = 0; r < rows; ++r) {
                int64_t e = first + r;
                gate_forward<NORM>(x + r * H, inverse + 2 * e, gate.gamma, gate.beta, y);
                const float* weight = weight_ag + (int64_t)edge_bond[e] * F;
                float* to = message + (int64_t)centre[e] * F;
                for (int v = 0; v < FV; ++v)
                    store(to + v * VL, load(to + v * VL) + load(y + v * VL) * load(weight + v * VL));
            }
        });
    }

    // First layers of the angle MLPs: per short bond and per atom.
    void angle_parts(AngleMaps& maps, const float* bonds, const float* atoms) {
        part1.need(n_short * H + H); part2.need(n_short * H + H); part3.need(n_atoms * H + H);
        parallel_product<F, H>(n_short, bonds, maps.first.w, part1);
        parallel_product<F, H>(n_short, bonds, maps.second.w, part2);
        parallel_product<F, H>(n_atoms, atoms, maps.atom.w, part3, maps.bias);
    }

    // pre[rows][H] of angles first .. first + rows
    void angle_pre(int64_t first, int rows, AngleMaps& maps, float* pre) {
        for (int r = 0; r < rows; ++r) {
            int64_t d1 = angle_first[first + r], d2 = angle_second[first + r];
            add_rows<H>(pre + r * H, part1 + (int64_t)directed_short[d1] * H,
                        part2 + (int64_t)directed_short[d2] * H,
                        part3 + (int64_t)centre[directed_edge[d1]] * H);
        }
        product<F, H>(rows, angle_features + first * F, F, maps.angle.w, pre, H, nullptr, true);
    }

    void bond_layer(int l) {
        BondLayer& layer = w.bonds[l];
        angle_parts(layer.maps, bond_features[l], atom_features[l + 1]);
        Saved& keep = saved_bond[l];
        keep.x.need(n_angles * H + H); keep.pre.need(n_angles * H + H);
        keep.inverse.need(2 * n_angles + 2);
        message.need(n_directed * F + F);
        std::memset(message, 0, n_directed * F * sizeof(float));
        if (shape.norm) angle_messages<true>(l); else angle_messages<false>(l);
        message2.need(n_short * F + F);
        sum_directed<F>(message, message2);
        float* next = bond_features[l + 1].need(n_short * F + F);
        std::memcpy(next, bond_features[l], n_short * F * sizeof(float));
        for (int64_t s = 0; s < n_short; ++s)
            if (has_angles[in->owners[bond_i[bond_of_short[s]]]])
                add_row<F>(next + s * F, layer.gate.out_bias);
        parallel_product<F, F>(n_short, message2, layer.gate.out.w, next, nullptr, true);
    }

    template <int N>
    void sum_directed(const float* directed, float* shorts) {
#pragma omp parallel for schedule(static)
        for (int64_t s = 0; s < n_short; ++s) {
            const float* a = directed + (int64_t)directed_of_short[2 * s] * N;
            const float* b = directed + (int64_t)directed_of_short[2 * s + 1] * N;
            for (int v = 0; v < N / VL; ++v)
                store(shorts + s * N + v * VL, load(a + v * VL) + load(b + v * VL));
        }
    }

    template <bool NORM>
    void angle_messages(int l) {
        BondLayer& layer = w.bonds[l];
        Gate& gate = layer.gate;
        Saved& keep = saved_bond[l];
        blocks(angle_starts, [&](int64_t first, int rows) {
            alignas(64) float h[BLOCK * H], y[F];
            float *pre = keep.pre + first * H, *x = keep.x + first * H;
            angle_pre(first, rows, layer.maps, pre);
            for (int r = 0; r < rows; ++r) silu_row(pre + r * H, h + r * H);
            product<F, F>(rows, h, H, gate.core.w, x, H, gate.bias);
            product<F, F>(rows, h + F, H, gate.gate.w, x + F, H, gate.bias + F);
            for (int r = 0; r < rows; ++r) {
                int64_t g = first + r, d1 = angle_first[g], d2 = angle_second[g];
                gate_forward<NORM>(x + r * H, keep.inverse + 2 * g, gate.gamma, gate.beta, y);
                const float* w1 = weight_bg + (int64_t)directed_short[d1] * F;
                const float* w2 = weight_bg + (int64_t)directed_short[d2] * F;
                float* to = message + d1 * F;
                for (int v = 0; v < FV; ++v)
                    store(to + v * VL, load(to + v * VL) +
                          load(y + v * VL) * load(w1 + v * VL) * load(w2 + v * VL));
            }
        });
    }

    void angle_layer(int l) {
        angle_parts(w.angles[l].maps, bond_features[l + 1], atom_features[l + 1]);
        saved_angle[l].x.need(n_angles * H + H);
        saved_angle[l].inverse.need(2 * n_angles + 2);
        if (shape.norm) angle_updates<true>(l); else angle_updates<false>(l);
    }

    template <bool NORM>
    void angle_updates(int l) {
        AngleLayer& layer = w.angles[l];
        Saved& keep = saved_angle[l];
        blocks(angle_starts, [&](int64_t first, int rows) {
            alignas(64) float y[F];
            float* x = keep.x + first * H;
            angle_pre(first, rows, layer.maps, x);
            for (int r = 0; r < rows; ++r) {
                int64_t g = first + r;
                gate_forward<NORM>(x + r * H, keep.inverse + 2 * g, layer.gamma, layer.beta, y);
                add_row<F>(angle_features + g * F, y);
            }
        });
    }

    // Site energies, and the slope of their sum in d_atoms.
    void read_out(Results& out) {
        const float* last = atom_features[shape.n_conv];
        float* a = activations[0].need(n_atoms * F + F);
        d_message.need(n_atoms + 1);  // inverse deviations of the readout norm
        for (int64_t i = 0; i < n_atoms; ++i)
            d_message[i] = shape.readout_norm ? normalise(last + i * F, a + i * F) : 1;
        if (!shape.readout_norm) std::memcpy(a, last, n_atoms * F * sizeof(float));
        d_atoms.need(n_atoms * F + F); d_centre.need(n_atoms * F + F);
        message.need(n_atoms * F + F);
        for (int64_t i = 0; i < n_atoms * F; ++i)
            message[i] = shape.readout_norm
                ? a[i] * w.readout_gamma[i % F] + w.readout_beta[i % F] : a[i];
        const float* from = message;
        for (int k = 0; k < shape.n_hidden; ++k) {
            float* pre = activations[k + 1].need(n_atoms * F + F);
            parallel_product<F, F>(n_atoms, from, w.hidden[k].w, pre, w.hidden_bias[k]);
            float* to = k % 2 ? message : d_centre;
            map_rows(pre, to, [](vf x) { return x * sigmoid(x); });
            from = to;
        }
        for (int64_t c = 0; c < in->n_crystals; ++c) out.energies[c] = 0;
        for (int64_t i = 0; i < n_atoms; ++i) {
            vf products = vf{};
            for (int v = 0; v < FV; ++v) products += load(from + i * F + v * VL) * load(w.last + v * VL);
            out.energies[in->owners[i]] += sum(products) + w.last_bias;
            std::memcpy(d_atoms + i * F, w.last, F * sizeof(float));
        }
        read_out_backward();
    }

    template <class Map>
    void map_rows(const float* from, float* to, Map map) {
        for (int64_t i = 0; i < n_atoms * F; i += VL) store(to + i, map(load(from + i)));
    }

    void read_out_backward() {
        for (int k = shape.n_hidden - 1; k >= 0; --k) {
            const float* pre = activations[k + 1];
            for (int64_t i = 0; i < n_atoms * F; i += VL) {
                vf x = load(pre + i), s = sigmoid(x);
                store(d_centre + i, load(d_atoms + i) * (s + x * s * (1.0f - s)));
            }
            parallel_product<F, F>(n_atoms, d_centre, w.hidden[k].t, d_atoms);
        }
        if (!shape.readout_norm) return;
        for (int64_t i = 0; i < n_atoms; ++i) {
            float *d = d_atoms + i * F, mean = 0, dot = 0;
            const float* x = activations[0] + i * F;
            for (int f = 0; f < F; ++f) {
                d[f] *= w.readout_gamma[f];
                mean += d[f] / F;
                dot += d[f] * x[f] / F;
            }
            for (int f = 0; f < F; ++f) d[f] = d_message[i] * (d[f] - mean - x[f] * dot);
        }
    }

    static float normalise(const float* x, float* to) {
        float mean = 0, square = 0;
        for (int f = 0; f < F; ++f) mean += x[f] / F;
        for (int f = 0; f < F; ++f) square += (x[f] - mean) * (x[f] - mean) / F;
        float inverse = 1 / std::sqrt(square + NORM_EPSILON);
        for (int f = 0; f < F; ++f) to[f] = (x[f] - mean) * inverse;
        return inverse;
    }

    // -- backward -----------------------------------------------------------------------------

    void atom_layer_backward(int l) {
        AtomLayer& layer = w.atoms[l];
        bool last = l == shape.n_conv - 1;
        if (last) clear_slopes();
        d_message.need(n_atoms * F + F);
        parallel_product<F, F>(n_atoms, d_atoms, layer.gate.out.t, d_message);
        d_edge.need(n_edges * (H + F) + H);
        if (shape.norm) edge_slopes<true>(l); else edge_slopes<false>(l);
        gather_bond_slopes(l);
        if (l > 0) gather_atom_slopes(l);
    }

    void clear_slopes() {
        auto clear = [](Buffer<float>& b, int64_t n) { std::memset(b.need(n + H), 0, n * sizeof(float)); };
        clear(d_weight, n_bonds * F);
        clear(d_weight_bg, n_short * F);
        clear(d_basis, n_bonds * R);
        clear(d_bonds, n_short * F);
        clear(d_angles, n_angles * F);
    }

    // d_edge: slope of each edge's first layer (H) and of its bond weight (F).
    template <bool NORM>
    void edge_slopes(int l) {
        Gate& gate = w.atoms[l].gate;
        const float *c = from_centre[l], *n = from_neighbour[l], *b = from_bond[l];
        const float *saved = saved_atom[l].x, *inverse = saved_atom[l].inverse;
        blocks(edge_starts, [&](int64_t first, int rows) {
            alignas(64) float dx[BLOCK * H], dh[BLOCK * H], dy[F], y[F], pre[H];
            for (int r = 0; r < rows; ++r) {
                int64_t e = first + r;
                const float* from = d_message + (int64_t)centre[e] * F;
                const float* weight = weight_ag + (int64_t)edge_bond[e] * F;
                for (int v = 0; v < FV; ++v) store(dy + v * VL, load(from + v * VL) * load(weight + v * VL));
                gate_backward<NORM>(saved + e * H, inverse + 2 * e, gate.gamma, gate.beta, dy, y, dx + r * H);
                float* dw = d_edge + e * (H + F) + H;
                for (int v = 0; v < FV; ++v) store(dw + v * VL, load(from + v * VL) * load(y + v * VL));
            }
            product<F, F>(rows, dx, H, gate.core.t, dh, H);
            product<F, F>(rows, dx + F, H, gate.gate.t, dh + F, H);
            for (int r = 0; r < rows; ++r) {
                int64_t e = first + r;
                add_rows<H>(pre, c + (int64_t)centre[e] * H, n + (int64_t)neighbour[e] * H,
                            b + (int64_t)edge_bond[e] * H);
                silu_slope_row(pre, dh + r * H);
                std::memcpy(d_edge + e * (H + F), dh + r * H, H * sizeof(float));
            }
        });
    }

    void gather_bond_slopes(int l) {
        d_bond.need(n_bonds * H + H);
#pragma omp parallel for schedule(static)
        for (int64_t b = 0; b < n_bonds; ++b) {
            const float* a = d_edge + (int64_t)bond_edges[2 * b] * (H + F);
            const float* c = d_edge + (int64_t)bond_edges[2 * b + 1] * (H + F);
            for (int v = 0; v < H / VL; ++v)
                store(d_bond + b * H + v * VL, load(a + v * VL) + load(c + v * VL));
            float* dw = d_weight + b * F;
            for (int v = 0; v < FV; ++v)
                store(dw + v * VL, load(dw + v * VL) + load(a + H + v * VL) + load(c + H + v * VL));
        }
        if (l > 0) {  // short bonds: to their own features
            part1.need(n_short * H + H);
            gather_rows<H>(d_bond, part1);
            parallel_product<H, F>(n_short, part1, w.atoms[l].bond.t, d_bonds, nullptr, true);
            for (int64_t s = 0; s < n_short; ++s)
                std::memset(d_bond + (int64_t)bond_of_short[s] * H, 0, H * sizeof(float));
        }
        parallel_product<H, R>(n_bonds, d_bond, w.atoms[l].basis.t, d_basis, nullptr, true);
    }

    void gather_atom_slopes(int l) {
        d_centre.need(n_atoms * H + H); d_neighbour.need(n_atoms * H + H);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n_atoms; ++i) {
            float *dc = d_centre + i * H, *dn = d_neighbour + i * H;
            std::memset(dc, 0, H * sizeof(float));
            std::memset(dn, 0, H * sizeof(float));
            for (int64_t e = edge_starts[i]; e < edge_starts[i + 1]; ++e) {
                add_row<H>(dc, d_edge + e * (H + F));
                add_row<H>(dn, d_edge + (int64_t)edge_twin[e] * (H + F));
            }
        }
        parallel_product<H, F>(n_atoms, d_centre, w.atoms[l].centre.t, d_atoms, nullptr, true);
        parallel_product<H, F>(n_atoms, d_neighbour, w.atoms[l].neighbour.t, d_atoms, nullptr, true);
    }

    void clear_directed() {
        auto clear = [](Buffer<float>& b, int64_t n) { std::memset(b.need(n + H), 0, n * sizeof(float)); };
        clear(d_first, n_directed * H);
        clear(d_second, n_directed * H);
        clear(d_w1, n_directed * F);
        clear(d_w2, n_directed * F);
    }

    // From slopes of the first layers per directed short bond to bonds and atoms.
    void gather_angle_slopes(AngleMaps& maps) {
        part1.need(n_short * H + H);
        sum_directed<H>(d_first, part1);
        parallel_product<H, F>(n_short, part1, maps.first.t, d_bonds, nullptr, true);
        sum_directed<H>(d_second, part1);
        parallel_product<H, F>(n_short, part1, maps.second.t, d_bonds, nullptr, true);
        d_atom.need(n_atoms * H + H);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < n_atoms; ++i) {
            float* d = d_atom + i * H;
            std::memset(d, 0, H * sizeof(float));
            for (int64_t k = directed_starts[i]; k < directed_starts[i + 1]; ++k)
                add_row<H>(d, d_first + k * H);
        }
        parallel_product<H, F>(n_atoms, d_atom, maps.atom.t, d_atoms, nullptr, true);
    }

    void spread_angle_slopes(int64_t first, int rows, AngleMaps& maps, const float* dpre) {
        for (int r = 0; r < rows; ++r) {
            add_row<H>(d_first + (int64_t)angle_first[first + r] * H, dpre + r * H);
            add_row<H>(d_second + (int64_t)angle_second[first + r] * H, dpre + r * H);
        }
        product<H, F>(rows, dpre, H, maps.angle.t, d_angles + first * F, F, nullptr, true);
    }

    void angle_layer_backward(int l) {
        clear_directed();
        if (shape.norm) angle_update_slopes<true>(l); else angle_update_slopes<false>(l);
        gather_angle_slopes(w.angles[l].maps);
    }

    template <bool NORM>
    void angle_update_slopes(int l) {
        AngleLayer& layer = w.angles[l];
        Saved& keep = saved_angle[l];
        blocks(angle_starts, [&](int64_t first, int rows) {
            alignas(64) float dx[BLOCK * H], y[F];
            for (int r = 0; r < rows; ++r) {
                int64_t g = first + r;
                gate_backward<NORM>(keep.x + g * H, keep.inverse + 2 * g, layer.gamma, layer.beta,
                                    d_angles + g * F, y, dx + r * H);
            }
            spread_angle_slopes(first, rows, layer.maps, dx);
        });
    }

    void bond_layer_backward(int l) {
        clear_directed();
        d_message.need(n_short * F + F);
        parallel_product<F, F>(n_short, d_bonds, w.bonds[l].gate.out.t, d_message);
        if (shape.norm) angle_message_slopes<true>(l); else angle_message_slopes<false>(l);
        gather_angle_slopes(w.bonds[l].maps);
        message2.need(n_short * F + F);
        for (Buffer<float>* d : {&d_w1, &d_w2}) {
            sum_directed<F>(*d, message2);
            for (int64_t i = 0; i < n_short * F; i += VL)
                store(d_weight_bg + i, load(d_weight_bg + i) + load(message2 + i));
        }
    }

    template <bool NORM>
    void angle_message_slopes(int l) {
        BondLayer& layer = w.bonds[l];
        Gate& gate = layer.gate;
        Saved& keep = saved_bond[l];
        blocks(angle_starts, [&](int64_t first, int rows) {
            alignas(64) float dx[BLOCK * H], dh[BLOCK * H], dy[F], y[F];
            for (int r = 0; r < rows; ++r) {
                int64_t g = first + r, d1 = angle_first[g], d2 = angle_second[g];
                const float* from = d_message + (int64_t)directed_short[d1] * F;
                const float* w1 = weight_bg + (int64_t)directed_short[d1] * F;
                const float* w2 = weight_bg + (int64_t)directed_short[d2] * F;
                for (int v = 0; v < FV; ++v)
                    store(dy + v * VL, load(from + v * VL) * load(w1 + v * VL) * load(w2 + v * VL));
                gate_backward<NORM>(keep.x + g * H, keep.inverse + 2 * g, gate.gamma, gate.beta, dy, y, dx + r * H);
                float *s1 = d_w1 + d1 * F, *s2 = d_w2 + d2 * F;
                for (int v = 0; v < FV; ++v) {
                    vf both = load(from + v * VL) * load(y + v * VL);
                    store(s1 + v * VL, load(s1 + v * VL) + both * load(w2 + v * VL));
                    store(s2 + v * VL, load(s2 + v * VL) + both * load(w1 + v * VL));
                }
            }
            product<F, F>(rows, dx, H, gate.core.t, dh, H);
            product<F, F>(rows, dx + F, H, gate.gate.t, dh + F, H);
            for (int r = 0; r < rows; ++r) silu_slope_row(keep.pre + (first + r) * H, dh + r * H);
            spread_angle_slopes(first, rows, layer.maps, dh);
        });
    }

    // -- down to distances, angles, forces ----------------------------------------------------

    void contract_bonds() {
        parallel_product<F, R>(n_bonds, d_weight, w.smooth_ag.t, d_basis, nullptr, true);
        d_basis_bg.need(n_short * R + R);
        parallel_product<F, R>(n_short, d_weight_bg, w.smooth_bg.t, d_basis_bg);
        part1.need(n_short * R + R);
        parallel_product<F, R>(n_short, d_bonds, w.bond_embedding.t, part1);
        length_slope.need(n_bonds + 1);
#pragma omp parallel for schedule(static)
        for (int64_t b = 0; b < n_bonds; ++b) {
            double d = 0;
            for (int n = 0; n < R; ++n) d += (double)d_basis[b * R + n] * basis_slope[b * R + n];
            if (int64_t s = short_of_bond[b]; s >= 0)
                for (int n = 0; n < R; ++n)
                    d += (double)d_basis_bg[s * R + n] * basis_bg_slope[s * R + n] +
                         (double)part1[s * R + n] * basis_slope[b * R + n];
            length_slope[b] = d;
        }
    }

    // Slopes of the short bonds' directions (outwards, per directed short bond).
    void contract_angles() {
        fourier.need(n_angles * R + R);
        parallel_product<F, R>(n_angles, d_angles, w.angle_embedding.t, fourier);
        unit_slope.need(3 * n_directed + 3);
        std::memset(unit_slope, 0, 3 * n_directed * sizeof(double));
        const double norm = 1 / std::sqrt(PI);
#pragma omp parallel for schedule(static, 1)
        for (int t = 0; t < threads; ++t)
            for (int64_t g = angle_starts[cuts[t]]; g < angle_starts[cuts[t + 1]]; ++g) {
                double d = 0;
                const float *row = fourier + g * R, *sine = angle_sine + g * ORDER;
                const float* cosine = angle_cosines + g * ORDER;
                for (int n = 0; n < ORDER; ++n)
                    d += w.frequency_angle[n] * ((double)row[n] * cosine[n] - (double)row[ORDER + n] * sine[n]);
                double c = angle_cosine[g];
                d *= -norm * COSINE_SCALE / std::sqrt(1 - c * c);
                int64_t ends[2] = {angle_first[g], angle_second[g]};
                for (int k = 0; k < 2; ++k) {
                    int64_t other = ends[1 - k], b = bond_of_short[directed_short[other]];
                    double scale = d * sign_of(other) / length[b];
                    for (int x = 0; x < 3; ++x) unit_slope[3 * ends[k] + x] += scale * vector[3 * b + x];
                }
            }
    }

    void finish(Results& out) {
        std::memset(out.forces, 0, 3 * n_atoms * sizeof(double));
        std::memset(out.virials, 0, 9 * in->n_crystals * sizeof(double));
        for (int64_t b = 0; b < n_bonds; ++b) {
            const double* v = vector + 3 * b;
            double r = length[b], pull[3];
            for (int x = 0; x < 3; ++x) pull[x] = length_slope[b] * v[x] / r;
            if (int64_t s = short_of_bond[b]; s >= 0) {
                const double *one = unit_slope + 3 * (int64_t)directed_of_short[2 * s];
                const double *two = unit_slope + 3 * (int64_t)directed_of_short[2 * s + 1];
                double du[3], along = 0;
                for (int x = 0; x < 3; ++x) du[x] = one[x] - two[x];
                for (int x = 0; x < 3; ++x) along += du[x] * v[x] / r;
                for (int x = 0; x < 3; ++x) pull[x] += (du[x] - along * v[x] / r) / r;
            }
            int64_t i = bond_i[b], j = bond_j[b];
            double* virial = out.virials + 9 * (int64_t)in->owners[i];
            for (int x = 0; x < 3; ++x) {
                out.forces[3 * i + x] += pull[x];
                out.forces[3 * j + x] -= pull[x];
                for (int y = 0; y < 3; ++y) virial[3 * x + y] += v[x] * pull[y];
            }
        }
    }
};

// Takes numbers below 1.2e-38 as zero in all threads, as long as it lives: on an Intel core
// a step of 60 atoms took 47 ms with them, and takes 7 without.
struct FlushDenormals {
#ifdef __SSE__
    static constexpr unsigned FLUSH = 0x8040;  // FTZ and DAZ: results and operands
    const unsigned before = _mm_getcsr();

    FlushDenormals() { set(before | FLUSH); }
    ~FlushDenormals() { set(before); }

    static void set(unsigned state) {
#pragma omp parallel
        _mm_setcsr(state);
    }
#endif
};

}  // namespace lycb

using namespace lycb;

extern "C" {

void* lycb_chgnet_new(const Shape* shape, const float* packed) {
    try { return new Engine(*shape, packed); } catch (const std::exception&) { return nullptr; }
}

void lycb_chgnet_delete(void* engine) { delete static_cast<Engine*>(engine); }

// 0, or 1 when memory ran out.
int lycb_chgnet_run(void* engine, const Pairs* pairs, const double* positions, const double* cells,
                    Results* results) {
    try {
        FlushDenormals here;
        static_cast<Engine*>(engine)->run(*pairs, positions, cells, *results);
        return 0;
    } catch (const std::exception&) { return 1; }
}

// The rate of `product` on a block that stays in cache, one thread: what a step is held against.
double lycb_peak_gflop_per_s() {
    alignas(64) static float a[BLOCK * F], w[F * F], c[BLOCK * F];
    for (float& x : a) x = 0.5f;
    for (float& x : w) x = 0.01f;
    const int repeats = 20000;
    double best = 0;
    for (int trial = 0; trial < 5; ++trial) {
        auto began = std::chrono::steady_clock::now();
        for (int i = 0; i < repeats; ++i) product<F, F>(BLOCK, a, F, w, c, F);
        std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
        best = std::max(best, 2.0 * BLOCK * F * F * repeats / took.count() / 1e9);
    }
    return best;
}

void lycb_set_threads(int n) {
#ifdef _OPENMP
    omp_set_num_threads(n);
#else
    (void)n;
#endif
}

}
