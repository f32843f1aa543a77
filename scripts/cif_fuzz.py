"""Damage CIFs at random and compare what is read with a second reader: ASE's, or gemmi.

    python scripts/cif_fuzz.py FOLDER [--n 2000] [--seed 0] [--every 20] [--out rows.jsonl]

Half of the mutations mean nothing (comments, white space, order, unused tags, line ends): the
same crystal must be read. The other half drops, doubles or cuts lines, exchanges columns or
values, spoils numbers and bytes: the file is refused in one line, or its composition is the
one that ASE reads, or gemmi where ASE reads nothing. Every twentieth file also goes through the
automatic choice of a cell. A file may take 30 s and 4 GB. `--out` keeps the rows; those that are
there are not made again.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from ase.io.cif import CIFBlock, parse_cif as parse_by_ase

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import PARENT_NAMES, DisorderedCrystal, choose, load_parent, parse_cif
from lycb_flows.errors import LycbError

SECONDS, GIGABYTES = 30, 4
TOLERANCE = 0.02
"""Difference of an element's share: two digits of an occupancy, sums of 1.01."""

Lines = list[str]
Mutation = Callable[[Lines, random.Random], Lines]


# -- mutations that mean nothing ---------------------------------------------------------------


def comments(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with a comment between two of them, and one after a tag."""
    at = rng.randrange(1, len(lines))
    text = rng.choice(("# 0.5 0.5 0.5 Li", "#loop_", "# _cell_length_a 3", "#data_other", "#;"))
    return [*lines[:at], text, *lines[at:]]


def white_space(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with blanks, tabs and empty lines where none matter."""
    found: Lines = []
    for line in lines:
        gap = rng.choice((" ", "  ", "\t", " \t "))
        wide = gap.join(line.split(" ")) if "'" not in line else line
        found.append(rng.choice(("", " ", "  ")) + wide + rng.choice(("", " ", "\t")))
        found += [""] * rng.choice((0, 0, 0, 1))
    return found


def line_ends(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with ends of another system."""
    return rng.choice(([line + "\r" for line in lines], [*lines, "", ""]))


def order_of_rows(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with the sites in another order."""
    start, end = _sites(lines)
    rows = lines[start:end]
    rng.shuffle(rows)
    return lines[:start] + rows + lines[end:]


def order_of_columns(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with the columns of the sites in another order, values with them."""
    start, end = _sites(lines)
    head = start - _n_columns(lines, start)
    order = list(range(start - head))
    rng.shuffle(order)
    rows = [line.split() for line in lines[start:end]]
    moved = [" ".join(row[i] for i in order) for row in rows]
    return lines[:head] + [lines[head + i] for i in order] + moved + lines[end:]


def order_of_tags(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with the single tags in another order."""
    singles = [i for i, line in enumerate(lines) if _is_single(line)]
    order = singles[:]
    rng.shuffle(order)
    found = list(lines)
    for to, at in zip(singles, order, strict=True):
        found[to] = lines[at]
    return found


def unused_tags(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with tags and loops that say nothing of the crystal."""
    extra = (
        ["_journal_year 1999", "_exptl_crystal_colour 'pale Li'"],
        ["loop_", "_publ_author_name", "'Doe, J.'", "'Li, W.'"],
        ["_publ_section_title", ";", "Order of loop_ and _cell_length_a 3", "data_ in Li", ";"],
        ["loop_", "_atom_type_symbol", "_atom_type_description", "Xx nothing", "Q other"],
        ["_diffrn_ambient_temperature ?", "_refine_ls_R_factor_all ."],
    )
    return [lines[0], *rng.choice(extra), *lines[1:]]


HARMLESS: tuple[Mutation, ...] = (
    comments,
    white_space,
    line_ends,
    order_of_rows,
    order_of_columns,
    order_of_tags,
    unused_tags,
)

# -- mutations that matter ---------------------------------------------------------------------


def dropped_line(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines without one of them."""
    at = rng.randrange(len(lines))
    return lines[:at] + lines[at + 1 :]


def doubled_line(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with one of them twice."""
    at = rng.randrange(len(lines))
    return [*lines[:at], lines[at], *lines[at:]]


def cut(lines: Lines, rng: random.Random) -> Lines:
    """Return the beginning of the file."""
    text = "\n".join(lines)
    return text[: rng.randrange(len(text))].split("\n")


def swapped_columns(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with two names of columns exchanged, but not their values."""
    start, _ = _sites(lines)
    n = _n_columns(lines, start)
    a, b = rng.sample(range(start - n, start), 2)
    found = list(lines)
    found[a], found[b] = lines[b], lines[a]
    return found


def swapped_values(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with two values of a site exchanged."""
    at = rng.randrange(*_sites(lines))
    row = lines[at].split()
    a, b = rng.sample(range(len(row)), 2)
    row[a], row[b] = row[b], row[a]
    return [*lines[:at], " ".join(row), *lines[at + 1 :]]


def wrong_number(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with a value spoilt."""
    places = [i for i, line in enumerate(lines) if _is_single(line) or i in range(*_sites(lines))]
    at = rng.choice(places)
    row = lines[at].split(" ")
    k = rng.randrange(1, len(row))
    wrong = ("?", ".", "-1", "0", "1e9", "nan", "1,5", "0.5(", "x", "''", "1e-9", "inf", "2", "0.3")
    row[k] = rng.choice((*wrong, row[k] + "9", "-" + row[k], row[k][1:] or "7"))
    return [*lines[:at], " ".join(row), *lines[at + 1 :]]


def spoilt_bytes(lines: Lines, rng: random.Random) -> Lines:
    """Return the lines with a few characters changed, put in or taken out."""
    text = "\n".join(lines)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(text))
        new = chr(rng.choice((rng.randrange(32, 127), rng.randrange(256), 0)))
        text = text[:at] + rng.choice((new, new + text[at], "")) + text[at + 1 :]
    return text.split("\n")


HARMFUL: tuple[Mutation, ...] = (
    dropped_line,
    doubled_line,
    cut,
    swapped_columns,
    swapped_values,
    wrong_number,
    spoilt_bytes,
)


def _is_single(line: str) -> bool:
    return line.startswith("_") and " " in line


def _sites(lines: Lines) -> tuple[int, int]:
    """Return the first and the last row (exclusive) of the loop of sites."""
    names = [i for i, line in enumerate(lines) if line.strip().startswith("_atom_site_")]
    start = end = names[-1] + 1
    while end < len(lines) and lines[end].strip() and lines[end][0] not in "_#l":
        end += 1
    return start, end


def _n_columns(lines: Lines, start: int) -> int:
    n = 0
    while lines[start - n - 1].strip().startswith("_atom_site_"):
        n += 1
    return n


# -- two readers -------------------------------------------------------------------------------


@contextmanager
def bounded(seconds: int) -> Iterator[None]:
    """Raise TimeoutError in what runs longer."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def by_ase(text: str) -> dict[str, float] | None:
    """Return the atoms of each element that ASE reads in a cell; None when it reads none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with bounded(SECONDS):
                blocks = list(parse_by_ase(io.BytesIO(text.encode()), reader="ase"))
                found = [_amounts(block) for block in blocks if block.has_structure()]
        except Exception:  # noqa: BLE001 - another program's refusal, whatever it is
            return None
    return found[0] if len(found) == 1 else None


def by_gemmi(text: str) -> dict[str, float] | None:
    """Return the atoms of each element that gemmi reads in a cell; None when it reads none."""
    try:
        block = gemmi.cif.read_string(text).sole_block()
        crystal = gemmi.make_small_structure_from_block(block)
    except (ValueError, RuntimeError):
        return None
    found: Counter[str] = Counter()
    for site in crystal.get_all_unit_cell_sites():
        found[site.element.name] += site.occ
    return {symbol: float(n) for symbol, n in found.items()} or None


def _amounts(block: CIFBlock) -> dict[str, float]:
    group = block.get_spacegroup(subtrans_included=True)
    shares = block.get("_atom_site_occupancy") or [1.0] * len(block.get_symbols())
    axes = [block[f"_atom_site_fract_{axis}"] for axis in "xyz"]
    found: Counter[str] = Counter()
    for symbol, share, *coords in zip(block.get_symbols(), shares, *axes, strict=True):
        places, _ = group.equivalent_sites([coords], onduplicates="keep", symprec=2e-3)
        found[symbol] += len(places) * (share if isinstance(share, float | int) else 1.0)
    return {symbol: float(n) for symbol, n in found.items()}


def agree(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    """Return whether two compositions are one within the rounding of occupancies."""
    total = max(sum(ours.values()), 1e-9)
    return all(
        abs(ours.get(s, 0.0) - theirs.get(s, 0.0)) <= TOLERANCE * max(ours.get(s, 0.0), 0.1 * total)
        for s in {*ours, *theirs}
    )


def facts_of(crystal: DisorderedCrystal) -> dict[str, Any]:
    """Return what must not change when nothing of meaning does."""
    sites = sorted(
        (site.species_string, *np.round(site.frac_coords % 1.0 % 0.9999, 3).tolist())
        for site in crystal.structure
    )
    return {"cell": np.round(crystal.structure.lattice.parameters, 6).tolist(), "sites": sites}


def verdict(content: str, sound: DisorderedCrystal | None, *, whole: bool) -> dict[str, Any]:
    """Return what became of a file.

    Parameters
    ----------
    content
        The damaged file.
    sound
        What must be read when the damage means nothing; None when it matters.
    whole
        Whether the automatic choice of a cell is tried as well.
    """
    began = time.process_time()
    try:
        with bounded(SECONDS):
            crystal = parse_cif("fuzz", content.encode(), "fuzz", 0.15)
            row = _compared(crystal, content, sound)
            if whole:
                choose(crystal, EnumerationConfig(supercell=(1, 1, 1)))
    except LycbError as error:
        row = {"cause": "refused" if sound is None else "WRONG: refused", "text": str(error)}
        if "\n" in str(error):
            row["cause"] = "WRONG: more than one line"
    except TimeoutError:
        row = {"cause": f"WRONG: over {SECONDS} s"}
    except Exception:  # noqa: BLE001 - what this looks for
        row = {"cause": "WRONG: traceback", "text": traceback.format_exc()[-1500:]}
    return row | {"cpu_s": round(time.process_time() - began, 2)}


def _compared(
    crystal: DisorderedCrystal, content: str, sound: DisorderedCrystal | None
) -> dict[str, Any]:
    if sound is not None:
        same = facts_of(crystal) == facts_of(sound)
        return {"cause": "the same crystal" if same else "WRONG: another crystal"}
    ours = crystal.structure.composition.get_el_amt_dict()
    for reader, read in (("ASE", by_ase), ("gemmi", by_gemmi)):
        theirs = read(content)
        if theirs is not None and agree(ours, theirs):
            return {"cause": f"read as {reader} does"}
        if theirs is not None:
            text = f"{ours} {theirs} {crystal.notes}"
            return {"cause": f"WRONG: read otherwise than {reader}", "text": text}
    return {"cause": "WRONG: read, and by no other reader", "text": str(ours)}


# -- the loop ----------------------------------------------------------------------------------


def crystals_of(folder: Path) -> dict[str, DisorderedCrystal]:
    """Return the crystals of a folder and the built-in ones, by name."""
    names = [*map(str, sorted(folder.glob("*.cif"))), *PARENT_NAMES]
    return {crystal.name: crystal for crystal in map(load_parent, names)}


def mutated(crystal: DisorderedCrystal, number: int, seed: int) -> tuple[str, str, bool]:
    """Return a damaged file, the name of its damage, and whether it means nothing."""
    rng = random.Random(f"{seed} {crystal.name} {number}")  # noqa: S311 - no secret
    is_harmless = number % 2 == 0
    mutation = rng.choice(HARMLESS if is_harmless else HARMFUL)
    lines = crystal.cif.decode().splitlines()
    return "\n".join(mutation(lines, rng)) + "\n", mutation.__name__, is_harmless


def main() -> None:
    """Run over the mutations and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=20, help="files that are enumerated, too")
    parser.add_argument("--out", type=Path, help="rows; those that are there are not made again")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (GIGABYTES * 2**30,) * 2)
    is_there = given.out is not None and given.out.exists()
    rows = [json.loads(line) for line in given.out.open()] if is_there else []
    for row in _rows(given, len(rows)):
        rows.append(row)
        if given.out:
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
    for cause, n in Counter(row["cause"] for row in rows).most_common():
        print(f"{n:5d}  {cause}")
    print(f"{max(row['cpu_s'] for row in rows):5.1f}  s, the slowest")


def _rows(given: argparse.Namespace, first: int) -> Iterator[dict[str, Any]]:
    """Yield what became of each file, the first ones left out, with a line now and then."""
    crystals, began = crystals_of(given.folder), time.monotonic()
    names = list(crystals)
    for number in range(first, given.n):
        crystal = crystals[names[number % len(names)]]
        text, kind, is_harmless = mutated(crystal, number // len(names), given.seed)
        row = {"number": number, "crystal": crystal.name, "kind": kind}
        whole = number % given.every == given.every - 1
        row |= verdict(text, crystal if is_harmless else None, whole=whole)
        left_s = (time.monotonic() - began) / (number + 1 - first) * (given.n - number - 1)
        if number % 50 == 0 or "WRONG" in row["cause"]:
            print(number, row["cause"], kind, crystal.name, f"[{left_s:.0f} s left]", flush=True)
        yield row


if __name__ == "__main__":
    main()
