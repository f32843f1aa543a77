"""How often a search finds the ground state that `lycb rank` names among all orderings.

    python benchmarks/bench_search.py Li3YBr6 chgnet-0.3.0 lyb.jsonl --share 0.25
    python benchmarks/bench_search.py Li3YCl6 student.txt lyc.jsonl --share 0.05
    python benchmarks/bench_search.py Li3YCl6 student.txt lyc.jsonl --beside sample.jsonl

The table is that of `search_table.py`, with every ordering relaxed: a search takes its energies
from there, so twenty seeds cost little. Its own fine stage names the ground state; a tie with it
counts as found. `sieve` is the same number of relaxations given to the orderings that are
lowest before relaxation, without swaps: nothing of it is random. `chance` is the probability that
as many relaxations of random orderings find one of them. `rank correlations` are Spearman's, of
energies before and after relaxation; with `--beside`, of this model and of another one on the
orderings that both tables hold, and of the two models with each other.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from search_table import CONFIG, stage_relaxer

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import enumerate_orderings, load_parent
from lycb_flows.potentials import Potential, find_model, load_potential
from lycb_flows.relaxation.searching import Landscape, search_orderings
from lycb_flows.schemas import Structure

N_SEEDS = 20


Rows = dict[str, dict[str, Any]]


def read_rows(path: Path) -> Rows:
    """Return the rows of a table by the masks of their orderings."""
    return {row["mask"]: row for row in map(json.loads, path.open())}


def correlation(first: Rows, by: str, second: Rows, to: str, masks: Sequence[str]) -> float:
    """Return Spearman's rank correlation of two energies of the same orderings."""
    pairs = [(first[m].get(by), second[m].get(to)) for m in masks]
    whole = [pair for pair in pairs if None not in pair]
    return float(spearmanr(*np.array(whole).T).statistic)


def compare(ours: Rows, other: Rows) -> None:
    """Print the rank correlations of two models on the orderings that both tables hold."""
    both = sorted(ours.keys() & other.keys())
    print(f"rank correlations on {len(both)} orderings")
    for name, rows in (("this model", ours), ("the other", other)):
        found = correlation(rows, "static_ev", rows, "coarse_ev", both)
        print(f"  before and after relaxation, {name}: {found:.2f}")
    for name in ("static_ev", "coarse_ev"):
        print(f"  {name} of the two: {correlation(ours, name, other, name, both):.2f}")


class Table:
    """Every ordering of a parent, relaxed."""

    def __init__(self, parent: str, path: Path) -> None:
        self.listed = enumerate_orderings(load_parent(parent), EnumerationConfig())
        self.rows = read_rows(path)
        self.missing = len(self.listed.members) - len(self.rows)
        self._swaps: dict[str, list[str]] = {}

    def neighbours(self, mask: str) -> list[str]:
        """Return the orderings that a swap makes of one; the seeds ask for many of them again."""
        if mask not in self._swaps:
            self._swaps[mask] = [member.mask for member in self.listed.neighbours(mask)]
        return self._swaps[mask]

    def landscape(self) -> Landscape:
        """Return the energies of the table, per cell, and the swaps of the crystal."""
        n_atoms = self.listed.n_atoms

        def energies(masks: list[str], name: str) -> np.ndarray:
            found = [self.rows[mask].get(name) for mask in masks]
            return np.array([np.inf if e is None else e * n_atoms for e in found])

        return Landscape(
            lambda masks: energies(list(masks), "static_ev"),
            lambda masks: energies(list(masks), "coarse_ev"),
            self.neighbours,
        )

    def ground_states(self, potential: Potential) -> list[str]:
        """Return the ordering that the funnel names, first, and those that are tied with it."""
        whole = [row for row in self.rows.values() if row.get("coarse_ev") is not None]
        kept = [row for row in whole if row["volume_change"] <= CONFIG.volume_flag] or whole
        best = sorted(kept, key=lambda row: row["coarse_ev"])[: CONFIG.n_fine]
        starts = [Structure.model_validate(row["structure"]) for row in best]
        found = stage_relaxer(potential)("fine", starts)
        energies = [getattr(relaxed, "energy_ev_per_atom", np.inf) for relaxed in found]
        limit = min(energies) + CONFIG.tie_ev_per_atom
        order = np.argsort(energies)
        return [best[i]["mask"] for i in order if energies[i] < limit]


def measure(table: Table, best: list[str], n_relaxed: int) -> None:
    """Print how many seeds find one of the ground states, and what sieve and chance find."""
    masks = [member.mask for member in table.listed.members]
    print(f"{len(masks)} orderings, {n_relaxed} relaxed; {len(best)} tied at the ground state")
    whole = correlation(table.rows, "static_ev", table.rows, "coarse_ev", masks)
    print(f"rank correlation before and after relaxation: {whole:.2f}")
    by_static = sorted(masks, key=lambda mask: table.rows[mask].get("static_ev") or np.inf)
    places = sorted(by_static.index(mask) + 1 for mask in best)
    hits = []
    for seed in range(N_SEEDS):
        found = search_orderings(masks, table.landscape(), n_relaxed, seed)
        hits.append(bool(set(best) & found.keys()))
    missed = np.prod([1 - n_relaxed / (len(masks) - k) for k in range(len(best))])
    print(f"search: {sum(hits)} of {N_SEEDS} seeds")
    print(f"sieve: {'found' if places[0] <= n_relaxed else 'missed'}, places {places[:5]}")
    print(f"chance: {1 - missed:.2f}")


def main() -> None:
    """Read a table and measure the search on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parent")
    parser.add_argument("model")
    parser.add_argument("table", type=Path)
    parser.add_argument("--share", type=float, default=0.05, help="of the orderings, relaxed")
    parser.add_argument("--beside", type=Path, help="a table of another model, maybe of a few")
    given = parser.parse_args()
    table, source = Table(given.parent, given.table), find_model(given.model)
    if given.beside:
        compare(table.rows, read_rows(given.beside))
    if table.missing:
        parser.error(f"{table.missing} orderings are not relaxed yet: run search_table.py")
    best = table.ground_states(load_potential(source.model, source.weights))
    measure(table, best, int(given.share * len(table.rows)))


if __name__ == "__main__":
    main()
