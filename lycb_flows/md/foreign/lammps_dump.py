"""LAMMPS dumps: atoms in any order, images, triclinic boxes, types without elements.

| columns | positions |
|---|---|
| `xu yu zu`, `xsu ysu zsu` | unwrapped |
| `x y z` or `xs ys zs`, with `ix iy iz` | wrapped, images known |
| `x y z`, `xs ys zs` | wrapped |

Where a dump has several, the first of this table is taken. ASE's reader leaves out the images.
A box is `xlo xhi [xy]`, `ylo yhi [xz]`, `zlo zhi [yz]` around the tilted box, or three vectors with
the origin behind each ("abc origin"): https://docs.lammps.org/dump.html, Howto_triclinic.html.
Its boundary flags, as "pp pp pp", may be left out: then it is periodic.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lycb_flows.errors import InputError
from lycb_flows.md.foreign.frames import (
    CutOffError,
    FloatArray,
    Frame,
    Frames,
    Source,
    TextFile,
    batches,
    check_elements,
)
from lycb_flows.md.foreign.tables import TableError, TableReader

_ITEM = "ITEM: "
_TIMESTEP, _N_ATOMS, _BOX, _ATOMS = "TIMESTEP", "NUMBER OF ATOMS", "BOX BOUNDS", "ATOMS"
_TIME, _UNITS = "TIME", "UNITS"
_PS_PER_TIME = {"metal": 1.0, "real": 1e-3}
_FLAG = re.compile("[pfsm]{1,2}")
_IMAGES = ("ix", "iy", "iz")
_COORDINATES = (  # columns, whether scaled, whether unwrapped
    (("xu", "yu", "zu"), False, True),
    (("xsu", "ysu", "zsu"), True, True),
    (("x", "y", "z"), False, False),
    (("xs", "ys", "zs"), True, False),
)


@dataclass(frozen=True)
class _Header:
    """What stands above the atoms of a frame."""

    step: int
    time_ps: float | None
    n_atoms: int
    cell_ang: FloatArray
    origin_ang: FloatArray
    periodic: tuple[bool, bool, bool]
    columns: tuple[str, ...]
    units: str

    @property
    def shape(self) -> tuple[int, tuple[str, ...]]:
        """What frames that are read together have in common."""
        return self.n_atoms, self.columns


def read_lammps_dump(file: TextFile, source: Source, species: Sequence[str] | None) -> Frames:
    """Yield the frames of a dump, atoms sorted by id.

    Parameters
    ----------
    file
        The dump.
    source
        Takes what is found out about the file.
    species
        Elements of the types 1, 2, ...; None where the dump has a column `element`.

    Raises
    ------
    InputError
        When atoms cannot be told apart, have no element, or no coordinates, or the dump states
        other units than metal or real.
    """
    source.steps_are_md_steps = True
    atoms = None
    for batch in batches(_texts(file), lambda text: text[0].shape):
        headers = [header for header, _ in batch]
        if atoms is None or atoms.shape != headers[0].shape:
            atoms = _Atoms(headers[0], species)
            source.unwrapped, source.periodic = atoms.unwrapped or None, headers[0].periodic
        yield from atoms.frames(headers, [table for _, table in batch])


def _texts(file: TextFile) -> Iterator[tuple[_Header, bytes]]:
    header = _read_header(file, "")
    while header is not None:
        yield header, file.table(header.n_atoms)
        header = _read_header(file, header.units)


def _read_header(file: TextFile, units: str) -> _Header | None:
    """Return the header of the next frame; None at the end of the file."""
    items: dict[str, list[str]] = {}
    line = file.line()
    if not line.strip():
        return None
    while True:
        title = line.decode(errors="replace").strip()
        if not line.endswith(b"\n"):
            raise CutOffError
        if not title.startswith(_ITEM):
            raise InputError(
                "not a LAMMPS dump", fix="give the file as LAMMPS wrote it", found=title[:60]
            )
        name = title.removeprefix(_ITEM)
        if name.startswith(_ATOMS):
            return _header(items, tuple(name.split()[1:]), units)
        n_lines = 3 if name.startswith(_BOX) else 1
        key = _BOX if name.startswith(_BOX) else name
        items[key] = [name, *(file.needed_line().decode(errors="replace") for _ in range(n_lines))]
        line = file.needed_line()


def _header(items: dict[str, list[str]], columns: tuple[str, ...], units: str) -> _Header:
    try:
        step, n_atoms = int(items[_TIMESTEP][1]), int(items[_N_ATOMS][1])
        cell, origin = _box(items[_BOX])
        unit = items[_UNITS][1].strip() if _UNITS in items else units
        time = float(items[_TIME][1]) if _TIME in items else None
        a, b, c = _periodic(items[_BOX][0])
    except (KeyError, ValueError) as err:
        raise InputError(
            "a header of the LAMMPS dump is damaged", fix="look at the file", reason=repr(err)
        ) from err
    if unit and unit not in _PS_PER_TIME:
        raise InputError(
            "the lengths of the LAMMPS dump are not in Å",
            fix="convert it to metal or real units",
            units=unit,
        )
    return _Header(
        step=step,
        time_ps=time * _PS_PER_TIME[unit] if time is not None and unit else None,
        n_atoms=n_atoms,
        cell_ang=cell,
        origin_ang=origin,
        periodic=(a, b, c),
        columns=columns,
        units=unit,
    )


def _periodic(title: str) -> Sequence[bool]:
    """Return whether the box repeats along a, b, c; old dumps and other programs do not say it."""
    flags = [word for word in title.split() if _FLAG.fullmatch(word)]
    return [flag.startswith("p") for flag in flags or ("pp", "pp", "pp")]


def _box(item: list[str]) -> tuple[FloatArray, FloatArray]:
    """Return the cell's rows a, b, c and its origin."""
    rows = np.array([line.split() for line in item[1:]], dtype=float)
    if rows.shape[1] == 4:  # noqa: PLR2004 - a vector and a coordinate of the origin
        return rows[:, :3], rows[:, 3]
    xy, xz, yz = rows[:, 2] if rows.shape[1] > 2 else np.zeros(3)  # noqa: PLR2004 - bounds, tilt
    low, high = rows[:, 0].copy(), rows[:, 1].copy()
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    lx, ly, lz = high - low
    return np.array([[lx, 0.0, 0.0], [xy, ly, 0.0], [xz, yz, lz]]), low


class _Atoms:
    """The reader of the atoms of frames with the same columns."""

    def __init__(self, header: _Header, species: Sequence[str] | None) -> None:
        columns = header.columns
        self.shape = header.shape
        if "id" not in columns:
            raise InputError(
                "the dump has no atom ids, so no atom can be followed",
                fix="write it with `dump ... custom ... id type element xu yu zu`",
                columns=" ".join(columns),
            )
        names, self.scaled, self.unwrapped = _coordinates(columns)
        self.with_images = not self.unwrapped and all(name in columns for name in _IMAGES)
        self.unwrapped = self.unwrapped or self.with_images
        self.elements = _elements_of_types(columns, species)
        numbers = ["id", *names, *(_IMAGES if self.with_images else ())]
        if self.elements:
            numbers.append("type")
        text = None if self.elements else columns.index("element")
        places = [columns.index(name) for name in numbers]
        self.ids: FloatArray | None = None
        self.types: NDArray[np.int64] | None = None
        self.species: tuple[str, ...] = ()
        self.table = TableReader(header.n_atoms, len(columns), places, text)

    def frames(self, headers: Sequence[_Header], tables: Sequence[bytes]) -> Frames:
        """Yield frames, given their lines."""
        try:
            numbers, names = self.table.read(tables)
        except TableError as err:
            steps = f"{headers[0].step} to {headers[-1].step}"
            raise InputError(
                "a frame of the LAMMPS dump is damaged", fix="look at it",
                steps=steps, reason=str(err),
            ) from err  # fmt: skip
        for header, rows, texts in zip(headers, numbers, names, strict=True):
            yield self._frame(header, rows, texts)

    def _frame(self, header: _Header, numbers: FloatArray, texts: tuple[str, ...]) -> Frame:
        order = np.argsort(numbers[:, 0], kind="stable")
        numbers = numbers[order]
        self._check_ids(numbers[:, 0], header)
        positions = numbers[:, 1:4]
        # seen from the corner of the box, from where whole cells are counted
        positions = positions @ header.cell_ang if self.scaled else positions - header.origin_ang
        if self.with_images:
            positions = positions + numbers[:, 4:7] @ header.cell_ang
        if self.elements:
            species = self._elements_of(numbers[:, -1].astype(int))
        else:
            species = self._named(tuple(texts[place] for place in order))
        return Frame(species, header.cell_ang, positions, header.step, header.time_ps)

    def _check_ids(self, ids: FloatArray, header: _Header) -> None:
        if self.ids is None and (np.diff(ids) == 0).any():
            raise _refused("an atom id occurs twice in a frame", header)
        self.ids = ids if self.ids is None else self.ids
        changed = np.flatnonzero(ids != self.ids)
        if changed.size:
            raise _refused("atoms come and go", header, id=int(ids[changed[0]]))

    def _named(self, names: tuple[str, ...]) -> tuple[str, ...]:
        if names != self.species:
            self.species = check_elements(names, fix="name the types: --species Li,Y,Cl")
        return self.species

    def _elements_of(self, types: NDArray[np.int64]) -> tuple[str, ...]:
        if self.types is not None and (types == self.types).all():
            return self.species
        elements = self.elements or ()
        if types.max() > len(elements) or types.min() < 1:
            raise InputError(
                "a type of the dump has no element",
                fix="name all types in order: --species Li,Y,Cl",
                types=f"{types.min()} to {types.max()}",
                species=",".join(elements),
            )
        self.types, self.species = types, tuple(elements[kind - 1] for kind in types)
        return self.species


def _refused(message: str, header: _Header, **facts: object) -> InputError:
    fix = "look at it; --start-ps and --stop-ps choose the frames before or after"
    return InputError(message, fix=fix, step=header.step, **facts)


def _coordinates(columns: tuple[str, ...]) -> tuple[tuple[str, ...], bool, bool]:
    for names, scaled, unwrapped in _COORDINATES:
        if all(name in columns for name in names):
            return names, scaled, unwrapped
    raise InputError(
        "the dump has no coordinates",
        fix="write it with `dump ... custom ... id type element xu yu zu`",
        columns=" ".join(columns),
    )


def _elements_of_types(
    columns: tuple[str, ...], species: Sequence[str] | None
) -> tuple[str, ...] | None:
    """Return the elements of types, or None where the column `element` has them."""
    if species is None and "element" in columns:
        return None
    if species is None or "type" not in columns:
        raise InputError(
            "the dump does not name elements",
            fix="name its types in order: --species Li,Y,Cl"
            if "type" in columns
            else "write it with a column `element` or `type`",
            columns=" ".join(columns),
        )
    return check_elements(tuple(species), fix="give symbols, as in --species Li,Y,Cl")
