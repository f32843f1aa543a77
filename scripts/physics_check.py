"""CHGNet's dynamics by three engines: energy drift, volumes, bulk modulus.

    OMP_NUM_THREADS=1 python scripts/physics_check.py [drift] [volumes]

Li3YCl6, 60 atoms of its ground state LYC0 (P-3c1). drift: NVE at 600 K, 1 fs, 10 ps, from four
draws of velocities. CHGNet is rough on the scale of a step (radial waves of 0.18 Å, and lithium
meets chlorine at 0.03 Å/fs): each step of velocity Verlet misses the energy by 1 µeV/atom, a random
walk whose slope over 10 ps scatters by the limit itself. The drift is the mean slope.
volumes: NpT at 300 K, 1 bar and 10 kbar, by our integrators, by LAMMPS' `fix npt` with our forces
and by ASE's MTK, from eight draws each. Lithium seldom hops at 300 K and the volume depends on
where it sits, so blocks of one run know too little: the error is the scatter between the runs (from
four runs that error is itself uncertain by 40 %).
About 80 CPU minutes.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence

import numpy as np
from ase import units
from ase.md.nose_hoover_chain import MTKNPT
from numpy.typing import NDArray

from lycb_flows.config import (
    EnumerationConfig,
    HealthConfig,
    MDConfig,
    MDProtocol,
    RelaxationConfig,
)
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.structures import load_parent, to_ase
from lycb_flows.md.lammps import run_lammps
from lycb_flows.md.motion import thermal_momenta
from lycb_flows.md.protocol import prepare_start, run_segments
from lycb_flows.md.schedule import production_start
from lycb_flows.md.trajectory import Trajectory, join, read_trajectory
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.potential import Potential
from lycb_flows.relaxation.by_model import relax
from lycb_flows.schemas import Structure
from lycb_flows.units import BAR_GPA, EV_PER_ANG3_GPA, PS_FS

MAX_DRIFT_EV_PER_ATOM_PS = 1e-5
TEMPERATURE_K = 300.0
PRESSURES_BAR = (1.0, 10_000.0)
SETTLING_PS, COUNTED_PS = 4.0, 8.0
N_NVE_RUNS, N_NPT_RUNS = 4, 8
N_RELAXED = 4
N_SIGMA = 3
CONFIG = MDConfig(
    time_step_fs=2.0, heating_ps=1.0, equilibration_ps=1.0, sample_interval_fs=20.0, segment_ps=10.0
)

Volumes = NDArray[np.float64]


def start_of_60_atoms(potential: Potential) -> Structure:
    """LYC0: of the orderings whose Li0 is full, the lowest after relaxation."""
    config = EnumerationConfig(supercell=(1, 1, 2), allowed_species={"Li0": ("Li",)})
    orderings = enumerate_orderings(load_parent("Li3YCl6"), config)
    structures = [orderings.structure(index) for index in range(len(orderings.members))]
    order = np.argsort([said.energy_ev for said in potential.predict(structures)])
    how = RelaxationConfig(fmax_ev_per_ang=0.02)
    relaxed = [relax(structures[index], potential, how) for index in order[:N_RELAXED]]
    return min(relaxed, key=lambda one: one.energy_ev_per_atom).structure


def energy_drift(start: Structure, potential: Potential, seed: int) -> float:
    """Slope of the total energy in eV/atom/ps over 10 ps."""
    protocol = MDProtocol(
        ensemble="nve",
        temperature_k=600.0,
        time_step_fs=1.0,
        thermostat_damping_ps=0.1,
        start_temperature_k=600.0,
        heating_steps=1000,
        equilibration_steps=1000,
        sample_interval_steps=10,
        segment_steps=2000,
        average_fraction=0.8,
        health=HealthConfig(),
    )
    begin = production_start(protocol)
    frames = _trajectory(start, potential, protocol, begin + 10_000, seed).between(begin, 10**9)
    kinetic = 1.5 * (len(start.species) - 1) * units.kB * frames.temperature_k
    energies = (frames.potential_energy_ev + kinetic) / len(start.species)
    return float(np.polyfit(frames.times_ps, energies, 1)[0])


def volumes_by_us(
    start: Structure, potential: Potential, pressure_bar: float, seed: int
) -> Volumes:
    """Volumes per atom in Å^3 of our own NpT."""
    protocol = CONFIG.npt(TEMPERATURE_K, pressure_bar)
    return _counted(_trajectory(start, potential, protocol, _n_steps(protocol), seed), protocol)


def volumes_by_lammps(
    start: Structure, potential: Potential, pressure_bar: float, seed: int
) -> Volumes:
    """Volumes per atom in Å^3 of LAMMPS' `fix npt`."""
    protocol = CONFIG.npt(TEMPERATURE_K, pressure_bar)
    n_steps = _n_steps(protocol)
    return _counted(run_lammps(start, potential, protocol, seed=seed, n_steps=n_steps), protocol)


def volumes_by_ase(
    start: Structure, potential: Potential, pressure_bar: float, seed: int
) -> Volumes:
    """Volumes per atom in Å^3 of ASE's MTKNPT.

    It thermostats 3N degrees of freedom, of which three stand still: its target is lowered by
    (N-1)/N for the others to have the temperature.
    """
    atoms = to_ase(start)
    target_k = TEMPERATURE_K * (len(atoms) - 1) / len(atoms)
    rng = np.random.default_rng(seed)
    atoms.set_momenta(thermal_momenta(atoms.get_masses(), TEMPERATURE_K, rng))
    atoms.calc = potential.calculator()
    dynamics = MTKNPT(
        atoms,
        timestep=CONFIG.time_step_fs * units.fs,
        temperature_K=target_k,
        pressure_au=pressure_bar * BAR_GPA / EV_PER_ANG3_GPA,
        tdamp=CONFIG.thermostat_damping_ps * PS_FS * units.fs,
        pdamp=CONFIG.barostat_damping_ps * PS_FS * units.fs,
    )
    volumes: list[float] = []
    interval = round(CONFIG.sample_interval_fs / CONFIG.time_step_fs)
    dynamics.attach(lambda: volumes.append(atoms.get_volume() / len(atoms)), interval=interval)
    dynamics.run(CONFIG.steps(SETTLING_PS + COUNTED_PS))
    return np.array(volumes[-round(COUNTED_PS * PS_FS / CONFIG.sample_interval_fs) :])


ENGINES: dict[str, Callable[[Structure, Potential, float, int], Volumes]] = {
    "ours": volumes_by_us,
    "LAMMPS": volumes_by_lammps,
    "ASE": volumes_by_ase,
}


def _n_steps(protocol: MDProtocol) -> int:
    return production_start(protocol) + CONFIG.steps(SETTLING_PS + COUNTED_PS)


def _counted(trajectory: Trajectory, protocol: MDProtocol) -> Volumes:
    begin = production_start(protocol) + CONFIG.steps(SETTLING_PS)
    counted = trajectory.between(begin, int(trajectory.steps[-1]))
    volumes: Volumes = counted.volumes_ang3 / len(trajectory.species)
    return volumes


def _trajectory(
    start: Structure, potential: Potential, protocol: MDProtocol, n_steps: int, seed: int
) -> Trajectory:
    segments = list(run_segments(start, potential, protocol, seed=seed, n_steps=n_steps))
    if not segments[-1].health.healthy:
        sys.exit(segments[-1].health.reason)
    return join([read_trajectory(segment.trajectory) for segment in segments])


def mean_and_error(of_runs: Sequence[float]) -> tuple[float, float]:
    """Mean of independent runs and its standard error."""
    return float(np.mean(of_runs)), float(np.std(of_runs, ddof=1) / np.sqrt(len(of_runs)))


def static_bulk_modulus_gpa(start: Structure, potential: Potential) -> float:
    """From the pressures of the relaxed crystal strained by +-0.5 %, ions not relaxed."""
    low, high = (
        potential.predict([prepare_start(start, strain=strain)])[0].stress_gpa
        for strain in (-0.005, 0.005)
    )
    return float(np.trace(high - low) / 3 / (3 * 0.01))


def check_drift(start: Structure, potential: Potential) -> bool:
    """Print and judge the drift."""
    drifts = []
    for seed in range(N_NVE_RUNS):
        drifts.append(energy_drift(start, potential, seed))
        print(f"NVE run {seed}: {drifts[-1]:+.2e} eV/atom/ps", flush=True)
    drift, error = mean_and_error(drifts)
    print(f"NVE drift {drift:+.2e} +- {error:.1e} eV/atom/ps (limit 1e-5)")
    return abs(drift) < MAX_DRIFT_EV_PER_ATOM_PS


def check_volumes(start: Structure, potential: Potential) -> bool:
    """Print and judge volumes by three engines, and what the pressure does to them."""
    holds, means = True, {}
    for pressure_bar in PRESSURES_BAR:
        found: dict[str, tuple[float, float]] = {}
        for name, run in ENGINES.items():
            seeds = range(100 * len(found), 100 * len(found) + N_NPT_RUNS)  # no two engines' alike
            runs = [run(start, potential, pressure_bar, seed).mean() for seed in seeds]
            found[name] = mean_and_error(runs)
            volume, error = found[name]
            said = ", ".join(f"{one:.3f}" for one in runs)
            print(
                f"{pressure_bar:g} bar {name}: {volume:.4f} +- {error:.4f} Å^3/atom ({said})",
                flush=True,
            )
        for (one, (v1, e1)), (other, (v2, e2)) in itertools.combinations(found.items(), 2):
            z = (v1 - v2) / np.hypot(e1, e2)
            print(f"  {one} - {other}: {z:+.2f} combined standard errors")
            holds &= bool(abs(z) < N_SIGMA)
        means[pressure_bar] = found["ours"][0]
    low, high = PRESSURES_BAR
    modulus = (high - low) * BAR_GPA / np.log(means[low] / means[high])
    static = static_bulk_modulus_gpa(start, potential)
    print(f"bulk modulus {modulus:.1f} GPa at {TEMPERATURE_K:g} K; {static:.1f} GPa unrelaxed, 0 K")
    return holds and 0 < modulus < static


def main() -> None:
    """Run the checks that are named, or all."""
    checks = {"drift": check_drift, "volumes": check_volumes}
    source = find_model("chgnet-0.3.0")
    potential = load_potential(source.model, source.weights)
    start = start_of_60_atoms(potential)
    held = [checks[name](start, potential) for name in sys.argv[1:] or checks]
    if not all(held):
        sys.exit("not all of it holds")


if __name__ == "__main__":
    main()
