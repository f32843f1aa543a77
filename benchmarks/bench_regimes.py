"""What a diffusivity and its error bar survive: the table of docs/diffusion.md, measured.

    python benchmarks/bench_regimes.py [--seeds N] [--rows WORD] [--results FILE] [--only-print]

Every row is a regime of motion (`regimes.py`), tried with N seeds. What each seed gave is added to FILE
(JSON lines) as it comes and not computed twice. The table compares with what commit dfd7860 gave and
with what is wanted; a figure's 99 % interval stands beside it (binomial for a share, chi-squared for
a standard deviation), and a row holds when that interval reaches the range wanted. Seeds 0 to 39 and
all regimes but the last two were looked at while limits were chosen; seeds from 160 on, and the
regimes marked "held out", were not.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from regimes import REGIMES
from scipy.stats import beta, chi2

from lycb_flows.config import DiffusionConfig
from lycb_flows.transport.diffusion import analyse_diffusion

CONFIG = DiffusionConfig(discard_ps=0)  # walkers are stationary from the start
SI = 1e-8
CONFIDENCE = 0.99
FIELDS = (
    "regime", "diffusivity_m2_per_s", "diffusivity_err_m2_per_s", "diffusivity_low_m2_per_s",
    "diffusivity_high_m2_per_s", "diffusivity_upper_m2_per_s", "most_likely_m2_per_s",
    "event_m2_per_s",
)  # fmt: skip


def measure(name: str, seed: int) -> dict:
    """Return what one seed of a regime gives."""
    sample = REGIMES[name].trajectory(name, seed)
    result = analyse_diffusion(
        sample.positions_ang, 0.5, sample.mobile, sample.lattice_ang, 500.0, CONFIG
    )
    facts = {field: getattr(result.estimate, field) for field in FIELDS}
    facts["evidence"] = {e.name: round(e.value, 2) for e in result.estimate.evidence}
    facts["along"] = result.lattice_diffusivities_m2_per_s
    facts["along_err"] = result.lattice_errors_m2_per_s
    facts["anisotropy"] = (result.anisotropy, result.anisotropy_err)
    return {"row": name, "seed": seed} | facts


def measured(rows: Sequence[str], seeds: range, path: Path) -> dict[str, list[dict]]:
    """Return the results by row, those of the file and new ones, which are added to it."""
    known: dict[tuple[str, int], dict] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            known[found["row"], found["seed"]] = found
    with path.open("a", encoding="utf-8") as file:
        for name in rows:
            for seed in seeds:
                if (name, seed) not in known:
                    known[name, seed] = measure(name, seed)
                    file.write(json.dumps(known[name, seed]) + "\n")
            file.flush()
            print(name, flush=True)
    return {name: [known[name, seed] for seed in seeds] for name in rows}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="60")
    parser.add_argument("--rows", default="")
    parser.add_argument("--results", type=Path, default=Path("regimes.jsonl"))
    options = parser.parse_args()
    first, _, last = options.seeds.rpartition(":")
    seeds = range(int(first or 0), int(last))
    rows = [name for name in REGIMES if options.rows in name]
    measured(rows, seeds, options.results)


if __name__ == "__main__":
    main()
