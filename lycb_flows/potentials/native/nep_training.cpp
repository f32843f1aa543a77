// The C interface of a NEP in training: crystals that stand still, whose numbers change.
#include "nep.cpp"
#include "nep_training.hpp"

namespace {

// Derivatives by the numbers in the order of Weights' constructor, for unscaled descriptors.
void add_up(const Slopes& slopes, double* out) {
    double *w0 = out, *b0 = w0 + NS * NEURONS * DIM, *w1 = b0 + NS * NEURONS;
    double *cr = w1 + NS * NEURONS + NS, *ca = cr + NR * KR * NS * NS;
    for (int s = 0; s < NS; ++s) {
        for (int m = 0; m < NEURONS; ++m) {
            b0[s * NEURONS + m] += slopes.biases[s][m];
            w1[s * NEURONS + m] += slopes.second[s][m];
            for (int d = 0; d < DIM; ++d) w0[(s * NEURONS + m) * DIM + d] += slopes.first[s][d][m];
        }
        for (int t = 0; t < NS; ++t) {
            for (int n = 0; n < NR; ++n)
                for (int k = 0; k < KR; ++k) cr[((n * KR + k) * NS + s) * NS + t] += slopes.radial[s][t][k][n];
            for (int n = 0; n < NA; ++n)
                for (int k = 0; k < KA; ++k) ca[((n * KA + k) * NS + s) * NS + t] += slopes.angular[s][t][k][n];
        }
    }
}

void differentiate(Crystal& crystal, double energy_slope, const double* force_slopes, const double* virial_slopes,
                   TrainingScratch& scratch, Slopes& slopes) {
    Array<real> rows(4 * (size_t)crystal.stride, 0);
    for (int i = 0; i < crystal.n; ++i)
        for (int x = 0; x < 3; ++x) rows[4 * i + x] = force_slopes[3 * crystal.order[i] + x];
    const double* v = virial_slopes;
    const real six[6] = {real(v[0]), real(v[4]), real(v[8]), real(v[5] + v[7]), real(v[2] + v[6]), real(v[1] + v[3])};
    Pupil pupil(crystal.weights, scratch, slopes);
    crystal.each([&](int i, int s, const Listed& list, const real* moved) {
        pupil.run(i, s, list, moved, energy_slope, rows.data(), six);
    });
}

}  // namespace

extern "C" {

// Put every crystal where it stays; 0, or 1 when memory ran out, or 2 where one cannot be described.
int lycb_nep_place(void* pointer, const double* positions, const double* cells) {
    System& system = *static_cast<System*>(pointer);
    try {
        for (size_t c = 0; c < system.crystals.size(); ++c) {
            set_positions(*system.crystals[c], positions + 3 * system.offsets[c], cells + 9 * c);
            system.crystals[c]->prepare();
            if (!system.crystals[c]->described) return 2;
        }
        return 0;
    } catch (const std::exception&) { return 1; }
}

void lycb_nep_set_numbers(void* pointer, const double* cutoffs, const double* numbers) {
    *static_cast<System*>(pointer)->weights = Weights(cutoffs, numbers);
}

// Energies, forces and virials of some crystals, one after the other; 0, or 1 when memory ran out.
int lycb_nep_forwards(void* pointer, int threads, int64_t n, const int64_t* chosen, double* energies,
                      double* forces, double* virials) {
    System& system = *static_cast<System*>(pointer);
    try {
        system.set_threads(threads);
        std::vector<size_t> begin(n + 1, 0);
        for (int64_t c = 0; c < n; ++c) begin[c + 1] = begin[c] + system.crystals[chosen[c]]->n;
        side_by_side(n, threads, [&](int64_t c) {
            Crystal& crystal = *system.crystals[chosen[c]];
            crystal.evaluate(system.scratch());
            energies[c] = crystal.energy;
            const int places[9] = {0, 5, 4, 5, 1, 3, 4, 3, 2};
            for (int x = 0; x < 9; ++x) virials[9 * c + x] = crystal.virial[places[x]];
            for (int i = 0; i < crystal.n; ++i)
                for (int x = 0; x < 3; ++x) forces[3 * (begin[c] + crystal.order[i]) + x] = crystal.force[x][i];
        });
        return 0;
    } catch (const std::exception&) { return 1; }
}

// Derivatives of a loss by all numbers, from those by the energies, forces and virials of some
// crystals. Each crystal has sums of its own, which are added in order; 1 when memory ran out.
int lycb_nep_backwards(void* pointer, int threads, int64_t n, const int64_t* chosen, const double* energy_slopes,
                       const double* force_slopes, const double* virial_slopes, double* out) {
    System& system = *static_cast<System*>(pointer);
    try {
        std::vector<size_t> begin(n + 1, 0);
        for (int64_t c = 0; c < n; ++c) begin[c + 1] = begin[c] + system.crystals[chosen[c]]->n;
        std::vector<std::unique_ptr<Slopes>> slopes(n);
        for (auto& each : slopes) each.reset(new Slopes());
        std::vector<std::unique_ptr<TrainingScratch>> scratches(threads);
        for (auto& each : scratches) each.reset(new TrainingScratch);
        side_by_side(n, threads, [&](int64_t c) {
            differentiate(*system.crystals[chosen[c]], energy_slopes[c], force_slopes + 3 * begin[c],
                          virial_slopes + 9 * c, *scratches[thread_number()], *slopes[c]);
        });
        for (const auto& each : slopes) add_up(*each, out);
        return 0;
    } catch (const std::exception&) { return 1; }
}

}
