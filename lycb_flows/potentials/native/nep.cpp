// The C interface of a NEP: evaluation of crystals side by side, and their dynamics.
#ifdef _OPENMP
#include <omp.h>
#endif
#include <exception>
#include <memory>

#include "nep_dynamics.hpp"

using namespace nep;

namespace {

// Call body(0) to body(n - 1) on several threads; no exception may leave such a loop, so one of
// them is thrown after it.
template <class Body> void side_by_side(int64_t n, int threads, Body&& body) {
    std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int64_t i = 0; i < n; ++i) {
        try {
            body(i);
        } catch (...) {
#pragma omp critical
            failure = std::current_exception();
        }
    }
    if (failure) std::rethrow_exception(failure);
}

int thread_number() {
#ifdef _OPENMP
    return omp_get_thread_num();
#else
    return 0;
#endif
}

struct System {
    std::unique_ptr<Weights> weights;
    std::vector<std::unique_ptr<Crystal>> crystals;
    std::vector<std::unique_ptr<Scratch>> scratches;
    std::vector<size_t> offsets;  // of each crystal's first atom

    Scratch& scratch() { return *scratches[thread_number()]; }

    void set_threads(int n) {
        while ((int)scratches.size() < n) scratches.emplace_back(new Scratch);
    }

    void evaluate(int threads) {
        set_threads(threads);
        if (crystals.size() > 1 || threads == 1)
            side_by_side(crystals.size(), threads, [&](int64_t c) { crystals[c]->evaluate(scratch()); });
        else evaluate_alone(*crystals[0], threads);
    }

    void evaluate_alone(Crystal& crystal, int threads) {
        crystal.prepare();
        if (crystal.described)
            side_by_side(crystal.chunks, std::min(threads, crystal.chunks),
                         [&](int64_t c) { crystal.run_chunk(c, scratch()); });
        crystal.collect();
    }
};

void set_positions(Crystal& crystal, const double* positions, const double* cell) {
    for (int i = 0; i < crystal.n; ++i)
        for (int x = 0; x < 3; ++x) crystal.position[x][i] = positions[3 * crystal.order[i] + x];
    std::copy(cell, cell + 9, crystal.cell.a);
}

}  // namespace

extern "C" {

void* lycb_nep_new(const double* cutoffs, const double* numbers, double skin, int64_t n_crystals,
                   const int64_t* sizes, const int32_t* species) {
    try {
        auto system = std::make_unique<System>();
        system->weights = std::make_unique<Weights>(cutoffs, numbers);
        size_t offset = 0;
        for (int64_t c = 0; c < n_crystals; ++c) {
            system->crystals.emplace_back(new Crystal(*system->weights, skin, sizes[c], species + offset));
            system->offsets.push_back(offset);
            offset += sizes[c];
        }
        return system.release();
    } catch (const std::exception&) { return nullptr; }
}

// From now on take extrapolation grades by an active set.
void lycb_nep_grade_by(void* pointer, const double* transforms) {
    static_cast<System*>(pointer)->weights->grade_by(transforms);
}

void lycb_nep_delete(void* system) { delete static_cast<System*>(system); }

// Energies (m), forces (n, 3), virials (m, 3, 3); 0, or 1 when memory ran out.
int lycb_nep_run(void* pointer, int threads, const double* positions, const double* cells,
                 double* energies, double* forces, double* virials) {
    System& system = *static_cast<System*>(pointer);
    try {
        for (size_t c = 0; c < system.crystals.size(); ++c)
            set_positions(*system.crystals[c], positions + 3 * system.offsets[c], cells + 9 * c);
        system.evaluate(threads);
        for (size_t c = 0; c < system.crystals.size(); ++c) {
            const Crystal& crystal = *system.crystals[c];
            energies[c] = crystal.energy;
            const int places[9] = {0, 5, 4, 5, 1, 3, 4, 3, 2};
            for (int x = 0; x < 9; ++x) virials[9 * c + x] = crystal.virial[places[x]];
            for (int i = 0; i < crystal.n; ++i)
                for (int x = 0; x < 3; ++x)
                    forces[3 * (system.offsets[c] + crystal.order[i]) + x] = crystal.force[x][i];
        }
        return 0;
    } catch (const std::exception&) { return 1; }
}

// Descriptors (n, D) of the last evaluation, unscaled.
void lycb_nep_descriptors(void* pointer, double* out) {
    System& system = *static_cast<System*>(pointer);
    system.set_threads(1);
    for (size_t c = 0; c < system.crystals.size(); ++c) {
        Crystal& crystal = *system.crystals[c];
        if (!crystal.described) continue;
        for (int i = 0; i < crystal.n; ++i)
            crystal.descriptors_of(i, *system.scratches[0], out + DIM * (system.offsets[c] + crystal.order[i]));
    }
}

// How often lists were made, summed over the crystals.
int64_t lycb_nep_lists(void* pointer) {
    int64_t sum = 0;
    for (const auto& crystal : static_cast<System*>(pointer)->crystals) sum += crystal->built;
    return sum;
}

// Advance every replica until its targets (m, steps) are used up or it leaves its limits; `done`
// gets the steps taken. Without steps the replicas are evaluated only, with new lists.
int lycb_nep_advance(void* pointer, int threads, int64_t steps, const double* targets, Motion* motions,
                     int64_t* done) {
    System& system = *static_cast<System*>(pointer);
    try {
        system.set_threads(threads);
        const int64_t m = system.crystals.size();
        auto advance = [&](int64_t c, auto&& evaluate) {
            Crystal& crystal = *system.crystals[c];
            Replica replica(crystal, motions[c]);
            done[c] = replica.advance(steps, targets + c * steps, evaluate);
        };
        if (m > 1 || threads == 1)
            side_by_side(m, threads, [&](int64_t c) {
                advance(c, [&] { system.crystals[c]->evaluate(system.scratch()); });
            });
        else advance(0, [&] { system.evaluate_alone(*system.crystals[0], threads); });
        return 0;
    } catch (const std::exception&) { return 1; }
}

}
