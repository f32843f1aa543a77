// A CHGNet's weights, as compiled.py packs them.

#pragma once

#include <vector>

#include "rows.hpp"

namespace lycb {

constexpr double PI = 3.14159265358979323846;

struct Matrix {
    Buffer<float> w, t;  // [rows][columns] and its transpose
};

struct Reader {
    const float* at;
    void vector(Buffer<float>& to, int n) {
        std::memcpy(to.need(n), at, n * sizeof(float));
        at += n;
    }
    void matrix(Matrix& to, int rows, int columns) {
        vector(to.w, rows * columns);
        to.t.need(rows * columns);
        for (int i = 0; i < rows; ++i)
            for (int j = 0; j < columns; ++j) to.t[j * rows + i] = to.w[i * columns + j];
    }
};

struct Gate {  // second layer of a gated MLP, norms and output map
    Matrix core, gate, out;
    Buffer<float> bias, gamma, beta, out_bias;
    void read(Reader& in) {
        in.matrix(core, F, F);
        in.matrix(gate, F, F);
        in.vector(bias, H);
        in.vector(gamma, H);
        in.vector(beta, H);
        in.matrix(out, F, F);
        in.vector(out_bias, F);
    }
};

struct AtomLayer {
    Matrix centre, neighbour, bond, basis;  // basis: bond after the bond embedding
    Buffer<float> bias, offset;             // offset: what the out biases made of a long bond
    Gate gate;
};

struct AngleMaps {  // first layer on (bond i, bond j, angle, atom)
    Matrix first, second, angle, atom;
    Buffer<float> bias;
    void read(Reader& in) {
        in.matrix(first, F, H);
        in.matrix(second, F, H);
        in.matrix(angle, F, H);
        in.matrix(atom, F, H);
        in.vector(bias, H);
    }
};

struct BondLayer { AngleMaps maps; Gate gate; };
struct AngleLayer { AngleMaps maps; Buffer<float> gamma, beta; };

struct Shape {  // compiled.py's _Shape
    int32_t n_conv, n_hidden, norm, readout_norm;
    double atom_cutoff, bond_cutoff, envelope_power;
};

struct Weights {
    Shape shape;
    double turns_ag[R], turns_bg[R], turns_angle[ORDER];
    float frequency_ag[R], frequency_bg[R], frequency_angle[ORDER];
    Buffer<float> embedding;
    Matrix bond_embedding, angle_embedding, smooth_ag, smooth_bg;
    std::vector<AtomLayer> atoms;
    std::vector<BondLayer> bonds;
    std::vector<AngleLayer> angles;
    Buffer<float> readout_gamma, readout_beta, last;
    std::vector<Matrix> hidden;
    std::vector<Buffer<float>> hidden_bias;
    float last_bias = 0;

    Weights(const Shape& s, const float* packed)
        : shape(s), atoms(s.n_conv), bonds(s.n_conv - 1), angles(s.n_conv - 1),
          hidden(s.n_hidden), hidden_bias(s.n_hidden) {
        Reader in{packed};
        read_frequencies(in, frequency_ag, turns_ag, R, s.atom_cutoff);
        read_frequencies(in, frequency_bg, turns_bg, R, s.bond_cutoff);
        read_frequencies(in, frequency_angle, turns_angle, ORDER, 1.0);
        in.vector(embedding, ELEMENTS * F);
        in.matrix(bond_embedding, R, F);
        in.matrix(angle_embedding, R, F);
        in.matrix(smooth_ag, R, F);
        in.matrix(smooth_bg, R, F);
        for (auto& layer : atoms) {
            in.matrix(layer.centre, F, H);
            in.matrix(layer.neighbour, F, H);
            in.matrix(layer.bond, F, H);
            in.matrix(layer.basis, R, H);
            in.vector(layer.bias, H);
            in.vector(layer.offset, H);
            layer.gate.read(in);
        }
        for (auto& layer : bonds) {
            layer.maps.read(in);
            layer.gate.read(in);
        }
        for (auto& layer : angles) {
            layer.maps.read(in);
            in.vector(layer.gamma, H);
            in.vector(layer.beta, H);
        }
        in.vector(readout_gamma, F);
        in.vector(readout_beta, F);
        for (int i = 0; i < s.n_hidden; ++i) {
            in.matrix(hidden[i], F, F);
            in.vector(hidden_bias[i], F);
        }
        in.vector(last, F);
        last_bias = *in.at;
    }

    static void read_frequencies(Reader& in, float* f, double* turns, int n, double scale) {
        for (int i = 0; i < n; ++i) {
            f[i] = *in.at++;
            turns[i] = (double)f[i] / scale / (2 * PI);
        }
    }
};

}  // namespace lycb
