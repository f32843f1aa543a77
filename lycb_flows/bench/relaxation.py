"""Relaxations against ASE's FIRE with chgnet's calculator."""

from __future__ import annotations

import warnings

import numpy as np
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from chgnet.model.dynamics import CHGNetCalculator

from lycb_flows.bench.comparison import Comparison, alternate, thread_counts, threaded
from lycb_flows.bench.subjects import MODEL, enumerated_parent, potential_named, shipped_calculator
from lycb_flows.config import RelaxationConfig
from lycb_flows.crystals import to_ase
from lycb_flows.relaxation.by_model import relax
from lycb_flows.schemas import Structure
from lycb_flows.units import EV_MEV

_RELAXED_TO_EV_PER_ANG = 0.05


def compare_relaxation() -> list[Comparison]:
    """Compare relaxations of positions and cell of 16 orderings, to 0.05 eV/Å.

    Returns
    -------
    list of Comparison
        One; its note says how far the final energies are apart.
    """
    orderings = [enumerated_parent().structure(index) for index in range(16)]
    config = RelaxationConfig(fmax_ev_per_ang=_RELAXED_TO_EV_PER_ANG)
    potential, calculator = potential_named(MODEL), shipped_calculator()
    energies: dict[str, list[float]] = {}

    def ours() -> None:
        energies["ours"] = [relax(ordering, potential, config).energy_ev for ordering in orderings]

    def theirs() -> None:
        energies["theirs"] = [_relax_by_ase(ordering, calculator, config) for ordering in orderings]

    work = {
        ("ours", 1): threaded(1, ours),
        **{("theirs", threads): threaded(threads, theirs) for threads in thread_counts()},
    }
    seconds = alternate(work, rounds=1)
    threads = min(thread_counts(), key=lambda count: seconds["theirs", count])
    apart_ev = np.abs(np.subtract(energies["ours"], energies["theirs"])).max()
    n_atoms = len(orderings[0].species)
    return [
        Comparison(
            name=f"relaxation of {len(orderings)} orderings of {n_atoms} atoms to 0.05 eV/Å",
            reference="chgnet's ASE calculator, ASE's FIRE and FrechetCellFilter",
            ours_s=seconds["ours", 1],
            reference_s=seconds["theirs", threads],
            note=f"threads 1 against {threads}; energies within "
            f"{apart_ev / n_atoms * EV_MEV:.2f} meV/atom",
        )
    ]


def _relax_by_ase(
    structure: Structure, calculator: CHGNetCalculator, config: RelaxationConfig
) -> float:
    atoms = to_ase(structure)
    atoms.calc = calculator
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
        FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=config.fmax_ev_per_ang, steps=1000)
    return float(atoms.get_potential_energy())
