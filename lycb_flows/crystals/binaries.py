"""The binary halides that energies of formation refer to, as refined at room temperature.

Each is the start of a relaxation; the relaxed crystal is a result like any other.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure as PymatgenStructure

from lycb_flows.crystals.structures import structure_from_arrays
from lycb_flows.errors import InputError
from lycb_flows.schemas import Structure

_ORDER_DECIMALS = 6


@dataclass(frozen=True)
class _Refined:
    """A conventional cell: lengths in Å, angles in degrees, one site per Wyckoff position.

    Attributes
    ----------
    centring
        Rows: the primitive vectors in the conventional ones.
    """

    space_group: str
    cell: tuple[float, float, float, float, float, float]
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    centring: tuple[tuple[float, float, float], ...]


_FACES = ((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_C_FACE = ((0.5, -0.5, 0.0), (0.5, 0.5, 0.0), (0.0, 0.0, 1.0))
_OBVERSE = ((2 / 3, 1 / 3, 1 / 3), (-1 / 3, 1 / 3, 1 / 3), (-1 / 3, -2 / 3, 1 / 3))


def _rocksalt(halide: str, a_ang: float) -> _Refined:
    """Return a rocksalt cell with Li on 4a and the halide on 4b."""
    sites = (("Li", (0.0, 0.0, 0.0)), (halide, (0.5, 0.5, 0.5)))
    return _Refined("Fm-3m", (a_ang, a_ang, a_ang, 90.0, 90.0, 90.0), sites, _FACES)


_BINARIES = {
    # Wyckoff, Crystal Structures, 2nd ed., vol. 1 (1963), rocksalt: a = 5.1295 and 5.5013 Å
    "LiCl": _rocksalt("Cl", 5.1295),
    "LiBr": _rocksalt("Br", 5.5013),
    # Templeton & Carter, J. Phys. Chem. 1954, 58, 940: AlCl3 type; Y 4g, Cl 4i, Cl 8j
    "YCl3": _Refined(
        "C2/m",
        (6.92, 11.94, 6.44, 90.0, 111.0, 90.0),
        (
            ("Y", (0.0, 0.166, 0.0)),
            ("Cl", (0.211, 0.0, 0.247)),
            ("Cl", (0.229, 0.179, 0.760)),
        ),
        _C_FACE,
    ),
    # Cell: Brown, Fletcher & Holah, J. Chem. Soc. A 1968, 1889 (they call it the FeCl3 type). They
    # give no positions; these are the BiI3 type's: Y 6c, Br 18f of Trotter & Zobel, Z.
    # Kristallogr. 1966, 123, 67
    "YBr3": _Refined(
        "R-3",
        (7.072, 7.072, 19.150, 90.0, 90.0, 120.0),
        (("Y", (0.0, 0.0, 0.1667)), ("Br", (0.3415, 0.3395, 0.0805))),
        _OBVERSE,
    ),
}
BINARY_NAMES = tuple(_BINARIES)


@functools.cache  # pymatgen takes a second to put Fm-3m together
def load_binary(name: str) -> Structure:
    """Return the primitive cell of a binary halide.

    Raises
    ------
    InputError
        When there is none of this name.
    """
    if name not in _BINARIES:
        raise InputError("no such binary", fix=f"one of {', '.join(BINARY_NAMES)}", found=name)
    refined = _BINARIES[name]
    symbols, coords = zip(*refined.sites, strict=True)
    whole = PymatgenStructure.from_spacegroup(
        refined.space_group, Lattice.from_parameters(*refined.cell), symbols, coords
    )
    centring = np.array(refined.centring)
    folded = whole.frac_coords @ np.linalg.inv(centring)
    distinct = {
        (-site.specie.Z, *_folded(row)): (site.specie.symbol, row % 1.0)
        for site, row in zip(whole, folded, strict=True)
    }
    found = [distinct[place] for place in sorted(distinct)]
    # by falling atomic number, then by place: equal on every machine
    return structure_from_arrays(
        centring @ whole.lattice.matrix,
        [symbol for symbol, _ in found],
        [row for _, row in found],
    )


def _folded(row: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, ...]:
    rounded = np.round(row % 1.0, _ORDER_DECIMALS) % 1.0
    return tuple(float(value) for value in rounded)
