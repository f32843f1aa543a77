"""SevenNet's layers on our neighbour lists against its own ASE calculator."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from lycb_flows.bench.comparison import Comparison, alternate, thread_counts, threaded
from lycb_flows.bench.dynamics import our_md, their_md
from lycb_flows.bench.subjects import rattled_cell
from lycb_flows.potentials.models import find_model, load_potential

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

_PER_PS = 1000  # steps of 1 fs
_N_STEPS = 4


def compare_sevennet(repeat: tuple[int, int, int] = (1, 1, 2)) -> list[Comparison]:
    """Compare NVT steps with SevenNet-0, frames and health included.

    Parameters
    ----------
    repeat
        Repeats of a cell of 30 atoms.

    Returns
    -------
    list of Comparison
        One; its note says how far the forces are apart.
    """
    source, atoms = find_model("sevennet-0"), rattled_cell(0, repeat)
    potential, calculator = load_potential(source.model, source.weights), _own_calculator()
    moved = atoms.copy()
    moved.calc = calculator
    apart = np.abs(potential.predict_atoms(atoms).forces_ev_per_ang - moved.get_forces()).max()
    ways = {"ours": our_md(atoms, potential), "theirs": their_md(atoms, calculator)}
    work = {
        (name, threads): threaded(threads, advance, _N_STEPS)
        for name, advance in ways.items()
        for threads in thread_counts()
    }
    seconds = alternate(work, rounds=3)
    best = {
        name: min((seconds[name, threads] / _N_STEPS, threads) for threads in thread_counts())
        for name in ways
    }
    return [
        Comparison(
            name=f"NVT step, {len(atoms)} atoms, SevenNet-0",
            reference="sevenn's ASE calculator, ASE's Nosé-Hoover chain",
            ours_s=best["ours"][0],
            reference_s=best["theirs"][0],
            note=(
                f"{best['ours'][0] * _PER_PS / len(atoms):.2f} s/atom/ps; "
                f"threads {best['ours'][1]} against {best['theirs'][1]}; "
                f"forces within {apart:.0e} eV/Å"
            ),
        )
    ]


def _own_calculator() -> Calculator:
    """Return sevenn's own ASE calculator, on the CPU."""
    with warnings.catch_warnings():  # of accelerators, which are for GPUs, and torch's scripts
        warnings.simplefilter("ignore")
        from sevenn.calculator import SevenNetCalculator  # noqa: PLC0415 - seconds

        calculator: Calculator = SevenNetCalculator("7net-0", device="cpu")
    return calculator
