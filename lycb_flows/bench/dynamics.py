"""Steps of molecular dynamics against ASE with chgnet's calculator, and against LAMMPS."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import ase.units
import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.md.nose_hoover_chain import NoseHooverChainNVT

from lycb_flows.bench.comparison import Comparison, alternate, thread_counts, threaded
from lycb_flows.bench.subjects import MODEL, potential_named, rattled_cell, shipped_calculator
from lycb_flows.config import MDConfig
from lycb_flows.crystals import canonical_structure
from lycb_flows.md import RunAhead, run_batch, run_lammps, start_run, thermal_momenta
from lycb_flows.potentials import (
    CHGNetPotential,
    CompiledEvaluator,
    Evaluator,
    HasEvaluator,
    Numbers,
    TorchEvaluator,
    flop_per_evaluation,
    load_library,
)

_TEMPERATURE_K = 600.0
_PER_PS = 1000  # steps of 1 fs


def compare_md() -> list[Comparison]:
    """Compare NVT steps of 60 and of 480 atoms, frames and health included.

    Returns
    -------
    list of Comparison
        Compiled and in torch, each at its best number of threads, against chgnet's calculator.
    """
    return [
        comparison
        for repeat, n_steps in (((1, 1, 2), 80), ((4, 2, 2), 16))
        for comparison in _compare_md_of(rattled_cell(0, repeat), n_steps)
    ]


def _compare_md_of(atoms: Atoms, n_steps: int) -> list[Comparison]:
    by_torch, n_theirs = n_steps // 2, max(3, n_steps // 8)  # starts cost a step or two
    ways = {
        "compiled": (our_md(atoms, potential_named(MODEL)), n_steps),
        "in torch": (our_md(atoms, _TorchOnly(potential_named(MODEL))), by_torch),
        "theirs": (their_md(atoms, shipped_calculator()), n_theirs),
    }
    if load_library() is None:
        del ways["compiled"]  # it would be the layers in torch once more
    work = {
        (name, threads): threaded(threads, advance, n)
        for name, (advance, n) in ways.items()
        for threads in thread_counts()
    }
    seconds = alternate(work, rounds=5)
    best = {}
    for name, (_, n) in ways.items():
        threads = min(thread_counts(), key=lambda count: seconds[name, count])
        best[name] = (seconds[name, threads] / n, threads)
    reference_s, their_threads = best.pop("theirs")
    return [
        Comparison(
            name=f"NVT step, {len(atoms)} atoms, {name}",
            reference="chgnet's ASE calculator, ASE's Nosé-Hoover chain",
            ours_s=ours_s,
            reference_s=reference_s,
            note=(
                f"{ours_s * _PER_PS / len(atoms):.3f} s/atom/ps; "
                f"threads {threads} against {their_threads}"
                + (f"; {_roofline(atoms, ours_s, threads)}" if name == "compiled" else "")
            ),
        )
        for name, (ours_s, threads) in best.items()
    ]


class _TorchOnly:
    """A CHGNet as on a machine without a compiler."""

    def __init__(self, potential: CHGNetPotential) -> None:
        self.potential = potential

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        return TorchEvaluator(self.potential, numbers)


def our_md(atoms: Atoms, potential: HasEvaluator) -> Callable[[int], None]:
    """Return what runs a number of our NVT steps, frames and health included.

    Parameters
    ----------
    atoms
        Where they start.
    potential
        What computes the forces.
    """
    protocol = MDConfig(sample_interval_fs=10.0).nvt(_TEMPERATURE_K, ramp=False)
    begin = start_run(canonical_structure(atoms), potential, protocol, seed=0)

    def advance(n_steps: int) -> None:
        for _, segment in run_batch([RunAhead(begin, protocol, n_steps)], potential):
            if not segment.health.healthy:
                raise AssertionError(segment.health.reason)

    return advance


def their_md(atoms: Atoms, calculator: Calculator) -> Callable[[int], object]:
    """Return what runs a number of ASE's NVT steps.

    Parameters
    ----------
    atoms
        Where they start.
    calculator
        What computes the forces.
    """
    moving = atoms.copy()
    moving.calc = calculator
    masses = moving.get_masses()
    moving.set_momenta(thermal_momenta(masses, _TEMPERATURE_K, np.random.default_rng(0)))
    dynamics = NoseHooverChainNVT(
        moving,
        timestep=ase.units.fs,
        temperature_K=_TEMPERATURE_K,
        tdamp=100 * ase.units.fs,
    )
    return dynamics.run


def compare_lammps() -> list[Comparison]:
    """Compare NVT steps of 60 atoms by our integrator and by LAMMPS, both with our forces.

    Returns
    -------
    list of Comparison
        One, at one thread.
    """
    atoms, n_steps = rattled_cell(0, (1, 1, 2)), 100
    potential = potential_named(MODEL)
    protocol = MDConfig(sample_interval_fs=10.0).nvt(_TEMPERATURE_K, ramp=False)
    start = canonical_structure(atoms)

    def theirs() -> None:
        run_lammps(start, potential, protocol, seed=0, n_steps=n_steps)

    work = {
        ("ours", 1): threaded(1, our_md(atoms, potential), n_steps),
        ("theirs", 1): threaded(1, theirs),
    }
    seconds = alternate(work, rounds=5)
    return [
        Comparison(
            name="NVT step, 60 atoms, our integrator",
            reference="LAMMPS' fix nvt with our forces",
            ours_s=seconds["ours", 1] / n_steps,
            reference_s=seconds["theirs", 1] / n_steps,
            note="one thread; LAMMPS' start included, spread over 100 steps",
        )
    ]


def _roofline(atoms: Atoms, step_s: float, threads: int) -> str:
    """Return the arithmetic of one step, counted from edges and angles, and its rate, in words."""
    potential = potential_named(MODEL)
    evaluate = cast("CompiledEvaluator", potential.evaluator([atoms.numbers]))
    evaluate(torch.from_numpy(atoms.positions), torch.from_numpy(atoms.cell.array[None]))
    flop = flop_per_evaluation(evaluate.counts, len(atoms))
    rate = flop / step_s / 1e9
    return (
        f"{flop / len(atoms) / 1e6:.1f} MFLOP per atom and step, {rate:.0f} GFLOP/s, "
        f"{rate / (threads * _peak_gflop_per_s()):.0%} of a matrix product in cache"
    )


def _peak_gflop_per_s() -> float:
    """Return the rate of a matrix product in cache, by chgnet.cpp's kernel on one thread."""
    library = load_library()
    return float(library.lycb_peak_gflop_per_s()) if library else math.nan
