"""CHGNet's dynamics by three engines: energy drift, volumes, bulk modulus.

    OMP_NUM_THREADS=1 python scripts/physics_check.py [drift] [volumes]

drift: NVE of 60 atoms of Li3YCl6 at 600 K, 1 fs, 10 ps. volumes: NpT at 300 K, 1 bar and 10 kbar,
by our integrators, by LAMMPS' `fix npt` with our forces and by ASE's MTK, 40 ps each of which the
first 10 are not counted; errors from ten blocks. About 25 CPU minutes.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

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
from lycb_flows.enumeration import enumerate_orderings
from lycb_flows.md.integrators import thermal_momenta
from lycb_flows.md.lammps import run_lammps
from lycb_flows.md.protocol import prepare_start, production_start, run_md
from lycb_flows.md.trajectory import Trajectory, join, read_trajectory
from lycb_flows.potentials.models import Potential, find_model, load_potential
from lycb_flows.relaxation import relax
from lycb_flows.schemas import Structure
from lycb_flows.structures import load_parent, to_ase
from lycb_flows.units import BAR_GPA, EV_PER_ANG3_GPA, PS_FS

MAX_DRIFT_EV_PER_ATOM_PS = 1e-5
TEMPERATURE_K = 300.0
PRESSURES_BAR = (1.0, 10_000.0)
SETTLING_PS, COUNTED_PS = 10.0, 30.0
N_BLOCKS = 10
N_SIGMA = 3
CONFIG = MDConfig(
    time_step_fs=2.0, heating_ps=1.0, equilibration_ps=1.0, sample_interval_fs=20.0, segment_ps=10.0
)

Volumes = NDArray[np.float64]


def start_of_60_atoms(potential: Potential) -> Structure:
    """The ordering of lowest static energy, relaxed, doubled along c."""
    config = EnumerationConfig(supercell=(1, 1, 1))
    orderings = enumerate_orderings(load_parent("Li3YCl6"), config)
    structures = [orderings.structure(index) for index in range(len(orderings.members))]
    best = int(np.argmin([said.energy_ev for said in potential.predict(structures)]))
    relaxed = relax(structures[best], potential, RelaxationConfig(fmax_ev_per_ang=0.02))
    return prepare_start(relaxed.structure, repeat=(1, 1, 2))


def energy_drift(start: Structure, potential: Potential) -> tuple[float, float]:
    """Drift of the total energy in eV/atom/ps over 10 ps, and its scatter in eV/atom."""
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
    frames = _trajectory(start, potential, protocol, begin + 10_000).between(begin, 10**9)
    kinetic = 1.5 * (len(start.species) - 1) * units.kB * frames.temperature_k
    energies = (frames.potential_energy_ev + kinetic) / len(start.species)
    slope, offset = np.polyfit(frames.times_ps, energies, 1)
    scatter = float(np.std(energies - slope * frames.times_ps - offset))
    return float(slope), scatter


def volumes_by_us(start: Structure, potential: Potential, pressure_bar: float) -> Volumes:
    """Volumes per atom in Å^3 of our own NpT."""
    protocol = CONFIG.npt(TEMPERATURE_K, pressure_bar)
    return _counted(_trajectory(start, potential, protocol, _n_steps(protocol)), protocol)


def volumes_by_lammps(start: Structure, potential: Potential, pressure_bar: float) -> Volumes:
    """Volumes per atom in Å^3 of LAMMPS' `fix npt`."""
    protocol = CONFIG.npt(TEMPERATURE_K, pressure_bar)
    n_steps = _n_steps(protocol)
    return _counted(run_lammps(start, potential, protocol, seed=1, n_steps=n_steps), protocol)


def volumes_by_ase(start: Structure, potential: Potential, pressure_bar: float) -> Volumes:
    """Volumes per atom in Å^3 of ASE's MTKNPT.

    It thermostats 3N degrees of freedom, of which three stand still: its target is lowered by
    (N-1)/N for the others to have the temperature.
    """
    atoms = to_ase(start)
    target_k = TEMPERATURE_K * (len(atoms) - 1) / len(atoms)
    rng = np.random.default_rng(2)
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


ENGINES: dict[str, Callable[[Structure, Potential, float], Volumes]] = {
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
    start: Structure, potential: Potential, protocol: MDProtocol, n_steps: int
) -> Trajectory:
    segments = list(run_md(start, potential, protocol, seed=0, n_steps=n_steps))
    if not segments[-1].health.healthy:
        sys.exit(segments[-1].health.reason)
    return join([read_trajectory(segment.trajectory) for segment in segments])


def mean_and_error(values: Volumes) -> tuple[float, float]:
    """Mean and its standard error from blocks."""
    blocks = np.array([block.mean() for block in np.array_split(values, N_BLOCKS)])
    return float(values.mean()), float(blocks.std(ddof=1) / np.sqrt(N_BLOCKS))


def static_bulk_modulus_gpa(start: Structure, potential: Potential) -> float:
    """From the pressures of the relaxed crystal strained by +-0.5 %, ions not relaxed."""
    low, high = (
        potential.predict([prepare_start(start, strain=strain)])[0].stress_gpa
        for strain in (-0.005, 0.005)
    )
    return float(np.trace(high - low) / 3 / (3 * 0.01))


def check_drift(start: Structure, potential: Potential) -> bool:
    """Print and judge the drift."""
    drift, scatter = energy_drift(start, potential)
    print(f"NVE drift {drift:+.2e} eV/atom/ps (limit 1e-5), scatter {scatter:.1e} eV/atom")
    return abs(drift) < MAX_DRIFT_EV_PER_ATOM_PS


def check_volumes(start: Structure, potential: Potential) -> bool:
    """Print and judge volumes by three engines, and what the pressure does to them."""
    holds, means = True, {}
    for pressure_bar in PRESSURES_BAR:
        found = {}
        for name, run in ENGINES.items():
            found[name] = mean_and_error(run(start, potential, pressure_bar))
            volume, error = found[name]
            print(f"{pressure_bar:g} bar {name}: {volume:.4f} +- {error:.4f} Å^3/atom", flush=True)
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
