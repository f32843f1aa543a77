"""Relax every ordering of a parent once: the truth that a search is measured against.

    python benchmarks/search_table.py Li3YCl6 toy-soft lyc.jsonl
    python benchmarks/search_table.py Li3YBr6 chgnet-0.3.0 lyb.jsonl

Each row is an ordering after the coarse stage of `lycb rank`. Rows that are there are not made
again. `bench_search.py` compares.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
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


def relax_all(listed: EnumerationResult, potential: Potential, out: Path) -> None:
    """Relax what is missing, some side by side, a row each."""
    known = {json.loads(line)["mask"] for line in out.open()} if out.exists() else set()
    missing = [k for k, member in enumerate(listed.members) if member.mask not in known]
    began = time.monotonic()
    for first in range(0, len(missing), BATCH):
        chunk = missing[first : first + BATCH]
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
    given = parser.parse_args()
    listed = enumerate_orderings(load_parent(given.parent), EnumerationConfig())
    source = find_model(given.model)
    relax_all(listed, load_potential(source.model, source.weights), given.out)


if __name__ == "__main__":
    main()
