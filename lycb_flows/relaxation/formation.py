"""Energies of formation from the binary halides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linprog

from lycb_flows.crystals import BINARY_NAMES, load_binary

_ATOMS = 1e-6


def formation_energy_ev_per_atom(
    species: Sequence[str], energy_ev: float, binary_energies_ev: Mapping[str, float]
) -> float | None:
    """Return the energy of a crystal relative to its mixture of binaries, per atom.

    Li3YCl6 has one mixture, 3 LiCl + YCl3. A mixed halide has many, because LiCl and YBr3 may
    become LiBr and YCl3. The lowest in energy counts, so that below zero no mixture of binaries
    is more stable.

    Parameters
    ----------
    species
        Elements of the crystal's atoms.
    energy_ev
        Energy of the crystal.
    binary_energies_ev
        Energies of the primitive cells of `load_binary`, at the same level of theory.

    Returns
    -------
    float or None
        None when binaries do not make up the crystal, or one that might is missing: without
        it the mixture may not be the lowest.
    """
    if not binary_energies_ev:
        return None
    elements = sorted(set(species))
    contents = {name: Counter(load_binary(name).species) for name in BINARY_NAMES}
    usable = [name for name, content in contents.items() if set(content) <= set(elements)]
    if not usable or not set(usable) <= set(binary_energies_ev):
        return None
    found = linprog(
        c=[binary_energies_ev[name] for name in usable],
        A_eq=np.array([[contents[name][element] for name in usable] for element in elements]),
        b_eq=[list(species).count(element) for element in elements],
        bounds=(0, None),
    )
    if not found.success or np.abs(found.con).max() > _ATOMS:
        return None
    return float(energy_ev - found.fun) / len(species)
