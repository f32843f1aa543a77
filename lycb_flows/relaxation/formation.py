"""Energies of formation: a crystal beside the mixture of other phases that is lowest in energy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

_ATOMS = 1e-6


def formation_energy_ev_per_atom(
    species: Sequence[str],
    energy_ev: float,
    energies_ev: Mapping[str, float],
    phases: Mapping[str, Sequence[str]],
) -> float | None:
    """Return the energy of a crystal relative to a mixture of other phases, per atom.

    Li3YCl6 has one mixture of binaries, 3 LiCl + YCl3. A mixed halide has many, because LiCl and
    YBr3 may become LiBr and YCl3. The lowest in energy counts, so that below zero no mixture of
    these phases is more stable; with all phases of a system the number is the distance from
    the convex hull of the others.

    Parameters
    ----------
    species
        Elements of the crystal's atoms.
    energy_ev
        Energy of the crystal.
    energies_ev
        Energy of a cell of each phase, at the same level of theory.
    phases
        Elements of the atoms of each phase's cell.

    Returns
    -------
    float or None
        None when the phases do not make up the crystal, or one that might is missing: without
        it the mixture may not be the lowest.
    """
    from scipy.optimize import linprog  # noqa: PLC0415 - slow to start

    if not energies_ev:
        return None
    elements = sorted(set(species))
    contents = {name: Counter(cell) for name, cell in phases.items()}
    usable = [name for name, content in contents.items() if set(content) <= set(elements)]
    if not usable or not set(usable) <= set(energies_ev):
        return None
    found = linprog(
        c=[energies_ev[name] for name in usable],
        A_eq=np.array([[contents[name][element] for name in usable] for element in elements]),
        b_eq=[list(species).count(element) for element in elements],
        bounds=(0, None),
    )
    if not found.success or np.abs(found.con).max() > _ATOMS:
        return None
    return float(energy_ev - found.fun) / len(species)
