"""Reading CIFs as other people write them: encodings, settings, symbols, precision.

What is wrong is refused by name; what is doubtful becomes a note beside the crystal.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.composition import Composition
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure
from pymatgen.io.cif import CifBlock, CifParser
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lycb_flows.crystals.cif_settings import (
    CELL_TAGS,
    column,
    lattice_of,
    number,
    with_operations,
)
from lycb_flows.crystals.cif_text import check_syntax, decoded, defect, parseable
from lycb_flows.errors import InputError

OCCUPANCY_SUM = 1.01
"""Two refined shares of a site, rounded to two digits, sum to at most this."""
SAME_SITE_ANG = 0.01
"""Special positions in a CIF carry at least three decimals."""
MOST_SITES = 5_000
LONGEST_ANG = 500.0

_EDGE = 1e-9  # a float's distance from the decimal number that was written
_MAX_MERGED_ANG = 0.1
_SAME_COORDINATE = 1e-4  # pymatgen's own
_ROUNDED = 3  # decimals from which on a coordinate is a rounded one: 0.25 is exact
_UNSTATED = {".": "1", "?": "1"}  # an occupancy that is not given is one (CIF core dictionary)
_VACANCY = re.compile(r"(vac[a-z]*|va|void|\u25a1|\u25a2)[\d_.+-]*", re.IGNORECASE)
_ROUTINE = (  # what pymatgen says of every file, or what is checked here
    "No _symmetry_equiv_pos_as_xyz type key found. Spacegroup",
    "fractional coordinates rounded to ideal values",
    "Skipping relative stoichiometry check",
    "Issues encountered while parsing CIF",
    "Incorrect stoichiometry",
    "Cannot determine chemical composition",
    "Some occupancies",
)
_UNREADABLE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, AssertionError, ArithmeticError,
    RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class ReadCif:
    """A CIF's only structure, and what is doubtful about it.

    Attributes
    ----------
    structure
        All sites of the cell with their occupancies; the label of a site is its row's.
    content
        The file in UTF-8.
    notes
        A line for each doubt.
    """

    structure: Structure
    content: bytes
    notes: tuple[str, ...]


def read_cif(name: str, content: bytes) -> ReadCif:
    """Return the structure of a CIF with its notes.

    Parameters
    ----------
    name
        Name of the crystal, for messages.
    content
        The file, in UTF-8 (with or without a byte-order mark), UTF-16 or Latin-1.

    Raises
    ------
    InputError
        When the file cannot be read, holds not exactly one structure, an element is unknown,
        or a site is more than full.
    """
    text = decoded(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            plain = parseable(name, text)
            check_syntax(text)
            parser = CifParser.from_str(plain, occupancy_tolerance=OCCUPANCY_SUM + _EDGE)
            blocks = _blocks_with_sites(name, parser)
            notes = [note for block in blocks for note in _mended(name, parser, block)]
            (found,) = parser.parse_structures(check_occu=True, primitive=False, on_error="raise")
        except InputError:
            raise
        except _UNREADABLE as err:
            what, fix = defect(text, str(err))
            reason = str(err).rpartition("\n")[2] or type(err).__name__
            raise InputError(what, fix=fix, file=name, reason=reason) from err
    structure, merged = _merged(found, blocks[0].data)
    notes += _warned(caught) + merged + _formula_notes(blocks[0].data, structure.composition)
    return ReadCif(structure, text.encode(), tuple(dict.fromkeys(notes)))


def _blocks_with_sites(name: str, parser: CifParser) -> list[Any]:
    """Return the block that holds a crystal, if any; the parser then forgets the others."""
    read: Any = parser._cif  # type: ignore[attr-defined]  # noqa: SLF001 - no public way to mend a block
    kept = {key: block for key, block in read.data.items() if "_atom_site_label" in block.data}
    if len(kept) > 1:
        raise InputError(
            "a CIF must hold exactly one structure",
            fix="split the file",
            file=name,
            found=", ".join(kept),
        )
    if kept:
        read.data = kept
    return list(kept.values())


# -- before pymatgen reads it ----------------------------------------------------------------


def _mended(name: str, parser: CifParser, block: CifBlock) -> list[str]:
    """Mend a block's symbols and symmetry in place; return notes."""
    data = block.data
    notes = _without_vacancies(data)
    _check_elements(name, data)
    notes += _check_occupancies(name, data)
    _check_cell(name, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = parser.get_symops(block)
    return notes + with_operations(name, data, plain)


def _symbols(data: dict[str, Any]) -> list[str]:
    return column(data, "_atom_site_type_symbol", "_atom_site_label")


def _without_vacancies(data: dict[str, Any]) -> list[str]:
    symbols, labels = _symbols(data), column(data, "_atom_site_label")
    empty = [bool(_VACANCY.fullmatch(symbol.strip())) for symbol in symbols]
    if not any(empty):
        return []
    for tag, values in data.items():
        is_column = tag.startswith("_atom_site_") and isinstance(values, list)
        if is_column and len(values) == len(empty):
            data[tag] = [v for v, gone in zip(values, empty, strict=True) if not gone]
    left_out = ", ".join(label for label, gone in zip(labels, empty, strict=False) if gone)
    return [f"{left_out}: read as vacancy, not as an atom"]


def _check_elements(name: str, data: dict[str, Any]) -> None:
    stated = _stated_formula(data)
    for symbol in _symbols(data):
        word = re.split(r"[^A-Za-z]", symbol.strip(), maxsplit=1)[0]
        if word[:2].title() in ("Hw", "Ow", "Wa", "Oh", "No"):  # pymatgen's words for water
            continue
        lengths = (len(word),) if "_atom_site_type_symbol" in data else (2, 1)
        if not any(word and Element.is_valid_symbol(word[:n].title()) for n in lengths):
            raise InputError(
                "unknown element in a CIF",
                fix="give the symbol of an element, or Vac for a vacancy",
                file=name,
                found=symbol,
            )
        two = word[:2].title()
        is_odd = word[:2] != two or two == "T"  # tritium
        if stated and is_odd and Element.is_valid_symbol(two) and two not in stated:
            raise InputError(
                "a symbol in a CIF that is not written as an element's",
                fix=f"write {two} where that is meant: the stated formula has none",
                file=name,
                found=symbol,
            )


def _check_occupancies(name: str, data: dict[str, Any]) -> list[str]:
    shares = [_UNSTATED.get(text, text) for text in column(data, "_atom_site_occupancy")]
    if shares:
        data["_atom_site_occupancy"] = shares
    labels = column(data, "_atom_site_label")
    axes = [column(data, f"_atom_site_fract_{axis}") for axis in "xyz"]
    if not labels or any(len(column) != len(labels) for column in axes):
        raise InputError(
            "a CIF without the coordinates of its sites",
            fix="give _atom_site_fract_x, _y and _z for every site",
            file=name,
        )
    coords = np.array([[_coordinate(text) for text in axis] for axis in axes]).T
    if not np.isfinite(coords).all():
        row = int(np.flatnonzero(~np.isfinite(coords).all(axis=1))[0])
        raise InputError(
            "a coordinate in a CIF is no number",
            fix="mend it, or take the site out",
            file=name,
            site=labels[row],
        )
    if not shares:
        return []
    found = np.array([number(text, np.nan) for text in shares])
    is_share = np.isfinite(found) & (found > -_EDGE)
    if not is_share.all():
        row = int(np.flatnonzero(~is_share)[0])
        raise InputError(
            "an occupancy in a CIF is below zero or no number",
            fix="mend it there",
            file=name,
            site=labels[row],
            found=shares[row],
        )
    return _occupancy_notes(name, labels, coords, found)


def _coordinate(text: str) -> float:
    return np.nan if text in _UNSTATED else number(text, np.nan)


def _occupancy_notes(
    name: str, labels: list[str], coords: NDArray[np.float64], shares: NDArray[np.float64]
) -> list[str]:
    notes = []
    gap = coords[:, None] - coords[None]
    same = np.asarray(np.abs(gap - np.rint(gap)) < _SAME_COORDINATE).all(axis=-1)
    first = np.argmax(same, axis=1)
    for row in np.flatnonzero(first == np.arange(len(labels))):
        together = np.flatnonzero(np.atleast_2d(same)[row])
        total, site = float(shares[together].sum()), ", ".join(labels[i] for i in together)
        if total > OCCUPANCY_SUM + _EDGE:
            raise InputError(
                "the occupancies of a site sum to more than one",
                fix="mend them in the CIF",
                file=name,
                site=site,
                sum=f"{total:g}",
                limit=OCCUPANCY_SUM,
            )
        if total > 1 + 1e-6:
            notes.append(f"{site}: occupancies sum to {total:g}, scaled to 1")
    return notes


def _check_cell(name: str, data: dict[str, Any]) -> None:
    stated = [number(data[key], 0.0) for key in CELL_TAGS if key in data]  # infinite ones, too
    lattice = lattice_of(data)
    if lattice is None and np.isfinite(stated).all():
        return
    if lattice is not None:
        lengths = np.array(lattice.abc)
        is_sound = np.isfinite(lattice.matrix).all() and lattice.volume > 1
        if is_sound and lengths.min() > 1 and lengths.max() < LONGEST_ANG:
            return
    raise InputError(
        "the cell of a CIF encloses no crystal",
        fix="check its lengths (Å) and angles (degrees)",
        file=name,
        found=" ".join(f"{value:g}" for value in stated),
    )


# -- after pymatgen has read it --------------------------------------------------------------


def _warned(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    of_use = [e for e in caught if not issubclass(e.category, DeprecationWarning | FutureWarning)]
    texts = [" ".join(str(entry.message).split()) for entry in of_use]
    kept = [text for text in texts if not any(routine in text for routine in _ROUTINE)]
    return [text[:300] for text in kept]


def _merged(structure: Structure, data: dict[str, Any]) -> tuple[Structure, list[str]]:
    """Return a structure whose copies of a site are one site, as exact as the file's decimals."""
    if len(structure) > MOST_SITES:
        raise InputError(
            "too many sites in a cell",
            fix=f"give a cell of at most {MOST_SITES} sites",
            found=len(structure),
        )
    same_ang = _precisions_ang(data, max(structure.lattice.abc))
    centre, other, _, distance = structure.get_neighbor_list(_MAX_MERGED_ANG, numerical_tol=1e-8)
    labels = np.array([str(label) for label in structure.labels])
    limit = np.array([same_ang.get(label, SAME_SITE_ANG) for label in labels])
    own = labels[centre] == labels[other]
    near = distance <= np.where(own, limit[centre], SAME_SITE_ANG) + _EDGE
    _check_apart(structure, centre[~near], other[~near], distance[~near])
    if not near.any():
        return structure, []
    link = coo_array((np.ones(near.sum()), (centre[near], other[near])), shape=(len(labels),) * 2)
    _, group = connected_components(link, directed=False)
    sites = [_one_site(structure, np.flatnonzero(group == g)) for g in dict.fromkeys(group)]
    merged = Structure(
        structure.lattice,
        [species for species, _, _ in sites],
        [coords for _, coords, _ in sites],
        labels=[label for _, _, label in sites],
    )
    names = ", ".join(sorted({str(labels[i]) for i in centre[near]}))
    gap = float(distance[near].max())
    return merged, [f"{names}: copies up to {gap:.3f} Å apart are one site"]


def _check_apart(
    structure: Structure,
    centre: NDArray[np.int64],
    other: NDArray[np.int64],
    distance_ang: NDArray[np.float64],
) -> None:
    """Refuse sites that are neither one nor apart, and hold more than one ion together."""
    shares = np.array([sum(species.values()) for species in structure.species_and_occu])
    wrong = np.flatnonzero(shares[centre] + shares[other] > OCCUPANCY_SUM + _EDGE)
    if len(wrong):
        i = wrong[0]
        raise InputError(
            "two sites of a CIF at almost the same place hold more than one ion",
            fix="mend their coordinates or occupancies",
            sites=f"{structure[int(centre[i])].label}, {structure[int(other[i])].label}",
            apart_ang=f"{distance_ang[i]:.3f}",
        )


def _precisions_ang(data: dict[str, Any], axis_ang: float) -> dict[str, float]:
    """Return how far the rounding of a row's coordinates may move two copies of its site."""
    axes = [column(data, f"_atom_site_fract_{axis}") for axis in "xyz"]
    found = {}
    for label, *coords in zip(column(data, "_atom_site_label"), *axes, strict=False):
        plain = [re.sub(r"\(.*", "", text).partition(".")[2] for text in coords]
        decimals = [len(digits) for digits in plain if len(digits) >= _ROUNDED]
        if decimals:
            rounding_ang = 1.5 * 10.0 ** -min(decimals) * axis_ang
            found[label] = min(max(SAME_SITE_ANG, rounding_ang), _MAX_MERGED_ANG)
    return found


def _one_site(
    structure: Structure, copies: NDArray[np.int64]
) -> tuple[Composition, NDArray[np.float64], str]:
    """Return species, place and label of sites that are one: rows add up, copies do not."""
    coords = structure.frac_coords[copies]
    coords = coords - np.rint(coords - coords[0])
    rows = dict.fromkeys((str(structure[i].label), structure[i].species) for i in copies)
    labels = ", ".join(dict.fromkeys(label for label, _ in rows))
    species = sum((species for _, species in rows), Composition())
    total = sum(species.values())
    if total > OCCUPANCY_SUM + _EDGE:
        raise InputError(
            "the occupancies of a site sum to more than one",
            fix="mend them in the CIF: these sites coincide",
            site=labels,
            sum=f"{total:g}",
            limit=OCCUPANCY_SUM,
        )
    return species / max(total, 1.0), coords.mean(axis=0), labels


def _formula_notes(data: dict[str, Any], sites: Composition) -> list[str]:
    """Return a note when the formula that a block states is not that of its sites."""
    text, stated, found = _formula_text(data), _stated_formula(data), sites.element_composition
    z = number(str(data.get("_cell_formula_units_Z", "")), np.nan)
    if not stated:
        return []
    free = found.num_atoms / stated.num_atoms
    ratios = (z, 1.0) if z > 0 else (free,)  # some programs write the whole cell's formula
    if any(_agree(stated, found, ratio) for ratio in ratios):
        return []
    text += f", Z = {z:g}" if z > 0 else ""
    return [f"the file states {text}, its sites hold {found.formula}"]


def _formula_text(data: dict[str, Any]) -> str:
    text = str(data.get("_chemical_formula_sum") or data.get("_chemical_formula_structural") or "")
    return re.sub(r"\bD(?=[\d\s.]|$)", "H", text.strip("'\" "))


def _stated_formula(data: dict[str, Any]) -> Composition:
    """Return the formula that a block states; empty where it states none that can be read."""
    try:
        return Composition(_formula_text(data).replace("?", "")).element_composition
    except _UNREADABLE:
        return Composition()


def _agree(stated: Composition, found: Composition, ratio: float) -> bool:
    gaps = {e: abs(stated[e] * ratio - found[e]) for e in (*stated.elements, *found.elements)}
    return all(gap <= max(0.02 * found[e], 0.02) for e, gap in gaps.items())
