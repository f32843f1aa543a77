"""The way back: a disordered CIF with the occupancies of a simulation."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from pymatgen.core.lattice import Lattice
from pymatgen.io.cif import CifBlock, CifFile

from lycb_flows.schemas.sites import SiteOrbit
from lycb_flows.transport.density import DensityGrid
from lycb_flows.transport.sites.parents import PlacedParent, average_cif_lattice, cif_block

CIF_MEDIA_TYPE = "chemical/x-cif"
_SYMMETRY = ("_symmetry", "_space_group")
_COLUMNS = ("type_symbol", "label", "fract_x", "fract_y", "fract_z", "occupancy")


def disordered_cif(
    placed: PlacedParent, orbits: Sequence[SiteOrbit], grid: DensityGrid, remark: str
) -> str:
    """Return a CIF with the parent's symmetry and sites, and the occupancies of a simulation.

    The mobile ion's occupancies carry their standard errors in parentheses. The framework's are
    those of the ordering that was simulated. The cell is the average one, as symmetric as the
    parent.

    Parameters
    ----------
    placed
        The parent in the simulation cell.
    orbits
        Occupancies of the mobile ion.
    grid
        Knows the average cell and the mobile ion.
    remark
        What was simulated, for the head of the file.
    """
    source = cif_block(placed.crystal)
    data: dict[str, object] = {
        name: value for name, value in source.data.items() if name.startswith(_SYMMETRY)
    }
    loops = [
        [name for name in loop if name in data] for loop in source.loops if data.keys() & set(loop)
    ]
    cell = average_cif_lattice(placed, grid.lattice_ang)
    lattice = placed.crystal.structure.lattice if cell is None else Lattice(cell)
    for name, length, angle, value in zip(
        "abc", lattice.abc, ("alpha", "beta", "gamma"), lattice.angles, strict=True
    ):
        data[f"_cell_length_{name}"] = f"{length:.6f}"
        data[f"_cell_angle_{angle}"] = f"{value:.6f}"
    rows = _rows(placed, orbits, grid.mobile_species)
    names = [f"_atom_site_{column}" for column in _COLUMNS]
    data |= {
        name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    block = CifBlock(data, [*loops, names], f"{placed.crystal.name}_simulated".replace(" ", "_"))
    return str(CifFile({block.header: block}, comment=f"# {remark}"))


def _rows(
    placed: PlacedParent, orbits: Sequence[SiteOrbit], mobile_species: str
) -> list[tuple[str, ...]]:
    """Return a row of the CIF for each element at each orbit."""
    of_label = {
        label: orbit for orbit in orbits if orbit.from_parent for label in orbit.label.split("+")
    }
    crystal, rows = placed.crystal, []
    n_ideal = Counter(placed.sites_of(mobile_species)[1])
    for label in dict.fromkeys(crystal.site_labels):
        where = crystal.structure[crystal.site_labels.index(label)].frac_coords
        shares = placed.framework_shares[label]
        texts = {name: f"{share:.5g}" for name, share in shares.items()}
        if (orbit := of_label.get(label)) is not None:
            split = sum(n_ideal[name] for name in orbit.label.split("+")) / orbit.n_sites
            error = orbit.occupancy_err
            texts[mobile_species] = with_uncertainty(
                orbit.occupancy / split, None if error is None else error / split
            )
        for name, text in texts.items():
            own = label if len(texts) == 1 else f"{label}_{name}"
            rows.append((name, own, *(f"{x:.6f}" for x in where), text))
    for orbit in orbits:
        if not orbit.from_parent and orbit.frac_coords is not None:
            text = with_uncertainty(orbit.occupancy, orbit.occupancy_err)
            own = f"{mobile_species}_{orbit.label.replace(' ', '_')}"
            rows.append((mobile_species, own, *(f"{x:.6f}" for x in orbit.frac_coords), text))
    return rows


def with_uncertainty(value: float, error: float | None) -> str:
    """Return a value as crystallographers write it: 0.512(13).

    Parameters
    ----------
    value
        The number.
    error
        Its standard error; None leaves four decimals.
    """
    if error is None or not 0 < error < 1:
        return f"{value:.4f}"
    decimals = 1 - math.floor(math.log10(error))
    digits = round(error * 10**decimals)
    return f"{value:.{decimals}f}({digits})"
