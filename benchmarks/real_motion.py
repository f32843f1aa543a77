"""Whether the error bars of D cover the scatter between pieces of one real trajectory.

    OMP_NUM_THREADS=1 python benchmarks/real_motion.py FOLDER [--ps 200] [--temperatures 500 600]
        [--systems LYC LYB] [--model chgnet-0.3.0] [--strain 0.01] [--seed 0] [--only-analyse]

Runs molecular dynamics of Li3YCl6 (60 atoms of LYC0) and Li3YBr6 (80 atoms) by CHGNet at fixed
cells, into a folder each; the same command again goes on where it was stopped, and lengthens runs.
Then the production is cut to halves and to thirds, each piece is analysed as a run of its own, and
chi² of its D against those of all pieces is printed:

    chi² = Σ (D_i - D)² / (e_i D),   D = Σ (D_i / e_i) / Σ (1 / e_i),

with D_i the most likely D >= 0 of a piece, whatever its regime, and e_i the D of one event
(variance over mean), so that no piece is selected on its outcome. Bars that are right give chi²
near its number of degrees of freedom; the 99 % interval stands beside it.

A picosecond of 60 atoms at 2 fs takes about 7 s on one thread: 200 ps of all four are 1.7 hours.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import chi2

import lycb_flows as lf
from lycb_flows.config import EnumerationConfig, MDConfig, RelaxationConfig
from lycb_flows.md import prepare_start, production_start
from lycb_flows.md.foreign import UnwrappedTrajectory, read_any_trajectory
from lycb_flows.md.single import TRAJECTORY_NAME, Progress, SingleRun, run_in_folder
from lycb_flows.potentials import Potential
from lycb_flows.quantities.trajectory import TrajectoryAnalysis, analyse_trajectory, config_for
from lycb_flows.schemas import Structure

CONFIG = MDConfig(
    time_step_fs=2.0,
    heating_ps=2.0,
    equilibration_ps=8.0,
    sample_interval_fs=50.0,
    segment_ps=10.0,
)
SYSTEMS = {  # parent, enumeration, repeats of the ordering
    "LYC": (
        "Li3YCl6",
        EnumerationConfig(supercell=(1, 1, 2), allowed_species={"Li0": ("Li",)}),
        (1, 1, 1),
    ),
    "LYB": ("Li3YBr6", EnumerationConfig(supercell=(1, 1, 1)), (2, 1, 2)),
}
CUTS = (2, 3)
N_RELAXED = 3
CONFIDENCE = 0.99


def start_of(system: str, potential: Potential, strain: float) -> Structure:
    """Return the lowest of the orderings after relaxation, strained and repeated."""
    parent, config, repeat = SYSTEMS[system]
    orderings = lf.enumerate_orderings(lf.load_parent(parent), config)
    structures = [orderings.structure(index) for index in range(len(orderings.members))]
    order = np.argsort([answer.energy_ev for answer in potential.predict(structures)])
    settings = RelaxationConfig(fmax_ev_per_ang=0.05)
    relaxed = [lf.relax(structures[index], potential, settings) for index in order[:N_RELAXED]]
    best = min(relaxed, key=lambda result: result.energy_ev_per_atom)
    return prepare_start(best.structure, strain=strain, repeat=repeat)


def run(
    folder: Path,
    start: Structure,
    potential: Potential,
    temperature_k: float,
    options: argparse.Namespace,
) -> bool:
    """Run until the production is long enough; return whether the crystal stayed one."""
    protocol = CONFIG.nvt(temperature_k, ramp=True)
    n_steps = production_start(protocol) + CONFIG.steps(options.ps)
    single = SingleRun(start, protocol, options.seed, n_steps)

    def tell(now: Progress) -> None:
        if sys.stderr.isatty():
            left_min = now.remaining_s / 60
            print(
                f"{folder.name}: {now.ns_per_day:.2f} ns/day, {left_min:.0f} min left",
                end="\r",
                file=sys.stderr,
            )

    health = run_in_folder(folder, single, potential, device=str(potential.device), tell=tell)
    if not health.healthy:
        print(f"{folder.name}: left physics at step {health.failed_step}: {health.reason}")
    return health.healthy


def pieces(frames: UnwrappedTrajectory, number: int) -> list[UnwrappedTrajectory]:
    """Return a trajectory cut to so many pieces of equal length."""
    length = len(frames.positions_ang) // number
    cuts = [slice(k * length, (k + 1) * length) for k in range(number)]
    return [
        replace(frames, positions_ang=frames.positions_ang[cut], cells_ang=frames.cells_ang[cut])
        for cut in cuts
    ]


def chi_squared(found: list[TrajectoryAnalysis]) -> tuple[float, float]:
    """Return chi² of the pieces' D, and the D that they have in common in m²/s."""
    values = np.array([piece.estimate.most_likely_m2_per_s for piece in found], dtype=float)
    events = np.array([piece.estimate.event_m2_per_s for piece in found], dtype=float)
    common = float(np.sum(values / events) / np.sum(1 / events))
    return float(np.sum((values - common) ** 2 / (events * common))), common


def line(name: str, found: TrajectoryAnalysis) -> str:
    """Return D of a piece with its bar, and its regime."""
    estimate = found.estimate
    likely, event = estimate.most_likely_m2_per_s or 0.0, estimate.event_m2_per_s or 0.0
    bar = np.sqrt(likely * event)
    value = f"{likely * 1e9:8.3f} ± {bar * 1e9:6.3f} e-9 m²/s"
    return f"  {name:<10} {value}   {estimate.regime} {estimate.reason}"


def compare(folder: Path) -> list[tuple[float, int]]:
    """Print the pieces of a run, and return chi² and its degrees of freedom for each cut."""
    frames = read_any_trajectory(folder / TRAJECTORY_NAME)
    config = config_for(frames.species)
    whole = analyse_trajectory(frames, frames.temperature_k, config)
    print(f"{folder.name}: {whole.n_mobile} ions, {whole.duration_ps:g} ps")
    print(line("whole", whole))
    results = []
    for number in CUTS:
        found = [
            analyse_trajectory(part, frames.temperature_k, config)
            for part in pieces(frames, number)
        ]
        for place, piece in enumerate(found, start=1):
            print(line(f"{place} of {number}", piece))
        value, common = chi_squared(found)
        results.append((value, number - 1))
        print(
            f"  chi² {value:.2f} for {number - 1} degrees of freedom "
            f"around {common * 1e9:.3f} e-9 m²/s"
        )
    return results


def main() -> None:
    """Run what is missing, compare, and print the sums over all runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ps", type=float, default=200.0)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[500.0, 600.0])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--model", default="chgnet-0.3.0")
    parser.add_argument("--strain", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-analyse", action="store_true")
    options = parser.parse_args()
    folders = {
        (system, temperature_k): options.folder / f"{system}_{temperature_k:g}K_{options.seed}"
        for system in options.systems
        for temperature_k in options.temperatures
    }
    if not options.only_analyse:
        potential = lf.load_model(options.model)
        starts = {system: start_of(system, potential, options.strain) for system in options.systems}
        folders = {
            (system, temperature_k): folder
            for (system, temperature_k), folder in folders.items()
            if run(folder, starts[system], potential, temperature_k, options)
        }
    sums = [compare(folder) for folder in folders.values()]
    for k, number in enumerate(CUTS):
        total = sum(results[k][0] for results in sums)
        freedom = sum(results[k][1] for results in sums)
        low, high = chi2.ppf([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], freedom)
        print(
            f"cut to {number}: chi² {total:.1f} for {freedom} degrees of freedom "
            f"(99 %: {low:.2f} to {high:.1f})"
        )


if __name__ == "__main__":
    main()
