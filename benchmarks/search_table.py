"""Relax every ordering of a parent once: the truth that a search is measured against.

    python benchmarks/search_table.py Li3YCl6 toy-soft lyc.jsonl
    python benchmarks/search_table.py Li3YBr6 chgnet-0.3.0 lyb.jsonl
    python benchmarks/search_table.py Li3YCl6 chgnet-0.3.0 sample.jsonl --sample 25

Each row is an ordering after the coarse stage of `lycb rank`. Rows that are there are not made
again. With `--sample`, that many orderings drawn by seed 0, and the CPU time that they cost.
`bench_search.py` compares.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from lycb_flows.config import EnumerationConfig, RankingConfig
from lycb_flows.crystals import EnumerationResult, Relaxed, enumerate_orderings, load_parent
from lycb_flows.errors import PhysicsError
from lycb_flows.potentials import Potential, find_model, load_potential
from lycb_flows.relaxation import by_model, ranking
from lycb_flows.schemas import Structure

CONFIG = RankingConfig()
BATCH = 25


def stage_relaxer(potential: Potential) -> ranking.StageRelaxer:
    """Return what relaxes structures as a stage of the funnel asks."""

    def relax(
        stage: ranking.Stage, structures: Sequence[Structure]
    ) -> list[Relaxed | PhysicsError]:
        config = ranking.stage_config(CONFIG, stage)
        return list(by_model.relax_many(structures, potential, config))

    return relax


def row_of(candidate: ranking.Candidate) -> dict[str, Any]:
    """Return what a table keeps of a candidate."""
    start = candidate.refined_cell
    return {
        "mask": candidate.ordering,
        "static_ev": start.static_energy_ev / len(start.start.species),
        "coarse_ev": candidate.relaxed.energy_ev_per_atom,
        "converged": candidate.relaxed.converged,
        "volume_change": round(candidate.volume_change, 6),
        "structure": candidate.relaxed.structure.model_dump(mode="json"),
    }


def sampled(listed: EnumerationResult, n: int) -> EnumerationResult:
    """Return some orderings of a list, drawn by seed 0."""
    chosen = random.Random(0).sample(listed.members, n)  # noqa: S311 - no secret
    return replace(listed, members=tuple(chosen))


def relax_all(
    listed: EnumerationResult, potential: Potential, out: Path, batch: int = BATCH
) -> None:
    """Relax what is missing, some side by side, a row each."""
    known = {json.loads(line)["mask"] for line in out.open()} if out.exists() else set()
    missing = [k for k, member in enumerate(listed.members) if member.mask not in known]
    began = time.monotonic()
    for first in range(0, len(missing), batch):
        chunk = missing[first : first + batch]
        starts = {listed.members[index].mask: listed.structure(index) for index in chunk}
        relaxed = ranking.relax_candidates(starts, stage_relaxer(potential))
        rows = {mask: {"mask": mask, "coarse_ev": None} for mask in starts}
        rows |= {candidate.ordering: row_of(candidate) for candidate in relaxed}
        with out.open("a") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows.values())
        done = first + len(chunk)
        left_s = (time.monotonic() - began) / done * (len(missing) - done)
        print(f"{done} of {len(missing)}, {left_s:.0f} s left", flush=True)


def main() -> None:
    """Relax all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parent")
    parser.add_argument("model")
    parser.add_argument("out", type=Path)
    parser.add_argument("--batch", type=int, default=BATCH, help="side by side; a student: 120")
    parser.add_argument("--sample", type=int, help="relax this many, not all")
    given = parser.parse_args()
    listed = enumerate_orderings(load_parent(given.parent), EnumerationConfig())
    if given.sample:
        listed = sampled(listed, given.sample)
    source = find_model(given.model)
    potential = load_potential(source.model, source.weights)
    began = time.process_time()
    relax_all(listed, potential, given.out, given.batch)
    print(f"{time.process_time() - began:.0f} CPU s")


if __name__ == "__main__":
    main()
