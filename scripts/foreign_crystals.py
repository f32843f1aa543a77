"""Print what becomes of a folder of other people's CIFs with `lycb enumerate --auto`, by cause.

    python scripts/foreign_crystals.py FOLDER [--seconds 60] [--gigabytes 4] [--out rows.jsonl]

Every file has a process of its own, with bounded time (CPU, and `patience` times as much by
the clock, for a machine that others use) and memory. Every result is checked:
charge, change of each element, and the distances between the atoms of its first members.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing as mp
import queue
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import (
    AutomaticChoice,
    EnumerationResult,
    choose,
    enumerate_orderings,
    load_parent,
    supercell_text,
    to_pymatgen,
)
from lycb_flows.errors import LycbError

N_LOOKED_AT = 3
CHARGE, CHANGE = 1e-6, 0.05


def row_of(path: str, seconds: float, gigabytes: float, rows: Any) -> None:  # noqa: ANN401 - a queue
    """Put the result of one file into a queue."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1,) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 2**30),) * 2)
    began = time.process_time()
    try:
        described = _described(path)
        rows.put(described | {"cpu_s": round(time.process_time() - began, 1)})
    except LycbError as error:
        rows.put({"cause": f"refused: {str(error).split(' (')[0]}", "error": str(error)})
    except MemoryError:
        rows.put({"cause": "out of memory"})
    except Exception as error:  # noqa: BLE001 - what a crash is counted as
        rows.put({"cause": f"crash: {type(error).__name__}", "error": str(error)})


def _described(path: str) -> dict[str, Any]:
    crystal = load_parent(path)
    choice = choose(crystal, EnumerationConfig(supercell=(1, 1, 1)))
    found = enumerate_orderings(crystal, choice.config)
    composition = choice.composition
    return {
        "cause": found.method if crystal.structure.is_ordered is False else "ordered",
        "count": found.count,
        "raw": found.raw_count,
        "method": found.method,
        "listed": len(found.members),
        "n_atoms": found.n_atoms,
        "formula": found.formula,
        "supercell": supercell_text(choice.config),
        "charge": round(composition.charge, 4),
        "worst": round(composition.worst, 4),
        "short_ang": _shortest(choice, found),
        "reasons": choice.reasons,
        "notes": crystal.notes,
        "search": found.search_note,
    }


def _shortest(choice: AutomaticChoice, found: EnumerationResult) -> list[str]:
    """Return the pairs of atoms in the first members that lie below a distance rule."""
    wrong = []
    for index in range(min(N_LOOKED_AT, len(found.members))):
        cell = to_pymatgen(found.structure(index))
        first, second, _, distance = cell.get_neighbor_list(3.4)
        names = np.array([site.specie.symbol for site in cell])
        for rule in choice.config.forbidden_pairs or ():
            a, b = rule.species
            near = (names[first] == a) & (names[second] == b)
            near &= distance < rule.min_distance_ang - 0.01
            if near.any():
                wrong.append(f"{a}-{b} {distance[near].min():.2f} Å")
    return wrong


def _wait(process: Any, rows: Any, seconds: float) -> dict[str, Any]:  # noqa: ANN401
    """Return the row of a process; raise queue.Empty when it dies or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return dict(rows.get(timeout=1.0))
        except queue.Empty:
            if not process.is_alive():
                return dict(rows.get(timeout=1.0))
    raise queue.Empty


def main() -> None:
    """Run over the folder and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--patience", type=float, default=1.0, help="wall over CPU seconds")
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--out", type=Path, help="rows; those that are there are not made again")
    given = parser.parse_args()
    rows = [json.loads(line) for line in given.out.open()] if _exists(given.out) else []
    known = {row["file"] for row in rows}
    files = [path for path in sorted(given.folder.glob("*.cif")) if path.name not in known]
    began = time.monotonic()
    for number, path in enumerate(files, start=1):
        row = {"file": path.name} | _row(path, given)
        rows.append(row)
        left_s = (time.monotonic() - began) / number * (len(files) - number)
        text = json.dumps(row, ensure_ascii=False)
        print(text, f"[{number}/{len(files)}, {left_s:.0f} s left]", flush=True)
        if given.out:
            with given.out.open("a") as file:
                file.write(text + "\n")
    _print_table(rows)


def _exists(path: Path | None) -> bool:
    return path is not None and path.exists()


def _row(path: Path, given: argparse.Namespace) -> dict[str, Any]:
    context = mp.get_context("fork")
    results, started = context.Queue(), time.monotonic()
    arguments = (str(path), given.seconds, given.gigabytes, results)
    process = context.Process(target=row_of, args=arguments)
    process.start()
    try:
        row = _wait(process, results, given.seconds * given.patience)
    except queue.Empty:
        row = {"cause": "no answer in time"}
    process.kill()
    process.join()
    return {"wall_s": round(time.monotonic() - started, 1)} | row


def _print_table(rows: list[dict[str, Any]]) -> None:
    for cause, n in Counter(row["cause"] for row in rows).most_common():
        print(f"{n:5d}  {cause}")
    listed = [row for row in rows if "listed" in row]
    print(f"{sum(abs(r['charge']) > CHARGE for r in listed):5d}  not neutral")
    print(f"{sum(r['worst'] > CHANGE for r in listed):5d}  an element off by more than 5 %")
    print(f"{sum(bool(r['short_ang']) for r in listed):5d}  a distance rule is broken")
    print(f"{sum(not r['listed'] for r in listed):5d}  nothing listed without a word")


if __name__ == "__main__":
    main()
