"""The other engine: enum.x and makestr.x through pymatgen, mapped onto our masks.

enumlib searches "all lattices of size N"; it gets the supercell already built, and N = 1.
It knows neither the orbits' labels nor forbidden pairs, so its structures are mapped onto
the sites, filtered, made canonical under our group, and must add up to our exact count.

The mapping is tested with structures of our own generator, permuted, moved by symmetry and
re-based; the call of enum.x itself is tested only where enum.x is installed.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence

import numpy as np
from pymatgen.core.structure import Structure as PymatgenStructure

from lycb_flows.crystals.enumeration.colourings import Colourings, Ints
from lycb_flows.crystals.enumeration.listing import Listing, Masks, checked
from lycb_flows.crystals.enumeration.sites import VACANCY, SiteModel
from lycb_flows.errors import InputError, LycbError

_MATCH_ANG = 0.1
_PROGRAMS = ("enum.x", "makestr.x")


def list_by_enumlib(model: SiteModel, problem: Colourings, exact: tuple[int, int]) -> Listing:
    """Return every distinct colouring, found by enumlib.

    Parameters
    ----------
    model
        The supercell.
    problem
        The colourings of its free sites.
    exact
        Count and raw count of `count_distinct`.

    Raises
    ------
    InputError
        When a program is missing.
    LycbError
        When enumlib's answer is not the exact count.
    """
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise InputError(
            "enumlib is not installed",
            fix="install it from conda-forge, or use engine: builtin",
            missing=" and ".join(missing),
        )
    masks = Masks(problem)
    colours = colours_of(_run_enumlib(disordered_supercell(model, problem)), model, problem)
    for a, colour, b, other in problem.clashes():
        colours = colours[(colours[:, a] != colour) | (colours[:, b] != other)]
    members = masks.members(masks.smallest(masks.encode(colours)), "all")
    return checked(Listing(*exact, members, exhaustive=True))


def _run_enumlib(structure: PymatgenStructure) -> list[PymatgenStructure]:
    # imports VASP input sets and looks for the programs, so only where they are wanted
    from pymatgen.command_line.enumlib_caller import EnumError, EnumlibAdaptor  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it recommends another build of enum.x
        adaptor = EnumlibAdaptor(structure, min_cell_size=1, max_cell_size=1)
        try:
            adaptor.run()
        except EnumError as err:
            raise LycbError("enumlib failed", fix="use engine: builtin", reason=err) from err
    return list(adaptor.structures)


def disordered_supercell(model: SiteModel, problem: Colourings) -> PymatgenStructure:
    """Return the supercell with each species spread evenly over the sites that it may occupy.

    Parameters
    ----------
    model
        The supercell.
    problem
        The colourings of its free sites.

    Raises
    ------
    InputError
        When that fills a site more than once, which enumlib cannot express.
    """
    share = problem.allowed * (np.array(problem.counts) / problem.allowed.sum(axis=0).clip(1))
    species = [{model.colours[colour]: 1.0} for colour in model.fixed]
    for site, row in zip(model.free.tolist(), share, strict=True):
        named = zip(model.colours, row.tolist(), strict=True)
        species[site] = {name: part for name, part in named if part and name != VACANCY}
    crowded = max(sum(occupants.values()) for occupants in species)
    if crowded > 1 + 1e-8:
        raise InputError(
            "enumlib cannot express this mix of species", fix="use engine: builtin", found=crowded
        )
    taken = [site for site, occupants in enumerate(species) if VACANCY not in occupants]
    return PymatgenStructure(
        model.lattice_ang, [species[site] for site in taken], model.frac_coords[taken]
    )


def colours_of(found: Sequence[PymatgenStructure], model: SiteModel, problem: Colourings) -> Ints:
    """Return the colours (m, f) of ordered structures on the model's sites.

    Parameters
    ----------
    found
        m structures, atoms in any order, cells in any basis.
    model
        The supercell with f free sites.
    problem
        The colourings of its free sites.

    Raises
    ------
    LycbError
        When an atom is on no site, or on a site that may not hold it.
    """
    names = np.array(model.colours)
    rows = []
    for structure in found:
        frac_coords = structure.cart_coords @ np.linalg.inv(model.lattice_ang)
        gap = frac_coords[:, None] - model.frac_coords[None]
        distance_ang = np.linalg.norm((gap - np.rint(gap)) @ model.lattice_ang, axis=-1)
        species = np.full(len(model.frac_coords), VACANCY, dtype=object)
        species[distance_ang.argmin(axis=1)] = [site.specie.symbol for site in structure]
        fits = problem.allowed & (names[None] == species[model.free, None])
        at_fixed = np.delete(species == names[model.fixed], model.free)
        n_atoms = int((species != VACANCY).sum())
        far = distance_ang.min(axis=1).max(initial=0) > _MATCH_ANG
        if far or n_atoms != len(structure) or not (at_fixed.all() and fits.any(axis=1).all()):
            raise LycbError(
                "a structure does not fit the sites",
                fix="use engine: builtin",
                found=structure.formula,
            )
        rows.append(fits.argmax(axis=1))
    return np.array(rows)
