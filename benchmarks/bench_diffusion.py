"""The estimator beside kinisi and pymatgen: spread of D on the same walks, time and memory.

    python benchmarks/bench_diffusion.py [--walks N] [--frames N]

Prints the relative spread of D over ideal walks (18 ions, 200 ps, D = 0.1 Å²/ps) by ours and by
kinisi, and CPU seconds and peak memory for 72 ions of 240 atoms, by ours, by
pymatgen-analysis-diffusion and by kinisi, each in a process of its own. kinisi is run by
LYCB_KINISI_PYTHON, a Python that has it; without, it is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: one thread for everybody

import numpy as np

from lycb_flows.config import DiffusionConfig
from lycb_flows.testing import lattice_walkers
from lycb_flows.transport.diffusion import analyse_diffusion

N_IONS, N_FRAMEWORK, INTERVAL_PS = 72, 168, 0.1
CONFIG = DiffusionConfig(discard_ps=0)
KINISI_LAGS = np.arange(4, 400, 4)
HERE = Path(__file__)


def ideal_walks(n_walks: int) -> np.ndarray:
    """Return ideal walks, (n_walks, n_frames, 18, 3) in Å."""
    return np.array([lattice_walkers(18, 1e-9, 200, 0.5, 10_000 + s) for s in range(n_walks)])


def large_run(n_frames: int) -> np.ndarray:
    """Return positions of ions and framework, (n_frames, 240, 3) in Å."""
    positions = np.empty((n_frames, N_IONS + N_FRAMEWORK, 3))
    duration = (n_frames - 1) * INTERVAL_PS
    positions[:, :N_IONS] = lattice_walkers(N_IONS, 1.9e-9, duration, INTERVAL_PS, seed=0)
    positions[:, N_IONS:] = np.random.default_rng(1).normal(0, 0.2, (n_frames, N_FRAMEWORK, 3))
    return positions


def analyse(positions: np.ndarray, interval_ps: float, n_ions: int) -> object:
    """Return the result of ours."""
    mobile = np.arange(positions.shape[1]) < n_ions
    return analyse_diffusion(positions, interval_ps, mobile, 20 * np.eye(3), 500.0, CONFIG)


def by_pymatgen(positions: np.ndarray) -> object:
    """Return pymatgen's analyser, made from displacements."""
    from pymatgen.analysis.diffusion.analyzer import DiffusionAnalyzer  # noqa: PLC0415
    from pymatgen.core import Lattice, Structure  # noqa: PLC0415

    sites = np.random.default_rng(0).random((positions.shape[1], 3))
    species = ["Li"] * N_IONS + ["Y"] * N_FRAMEWORK
    structure = Structure(Lattice.cubic(20.0), species, sites)
    moved = (positions - positions[0]).transpose(1, 0, 2)
    return DiffusionAnalyzer(structure, moved, "Li", 500, 1, 100, smoothed="max")


def cost(who: str, n_frames: int) -> dict[str, float]:
    """Return CPU seconds and the peak of memory of an analysis in this process."""
    positions = large_run(n_frames)
    start = time.process_time()
    if who == "pymatgen":
        by_pymatgen(positions)
    else:
        analyse(positions, INTERVAL_PS, N_IONS)
    spent = time.process_time() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return {"cpu_s": spent, "peak_mb": peak_mb}


def by_kinisi(positions: np.ndarray, interval_ps: float, lags: np.ndarray) -> dict | None:
    """Return what kinisi finds and needs, None where it is not at hand."""
    python = os.environ.get("LYCB_KINISI_PYTHON")
    if not python:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "walks.npz"
        np.savez(path, positions=positions, interval_ps=interval_ps, lags=lags)
        script = HERE.with_name("kinisi_fit.py")
        done = subprocess.run(  # noqa: S603 - our own script
            [python, script, path], capture_output=True, text=True, check=True
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare_spread(n_walks: int) -> None:
    """Print the relative spread of D over walks."""
    walks = ideal_walks(n_walks)
    still = np.zeros_like(walks[:, :, :1])
    results = [analyse(w, 0.5, 18) for w in np.concatenate([walks, still], axis=2)]
    ours = np.array([r.estimate.most_likely_m2_per_s for r in results]) / 1e-9
    print(
        f"{n_walks} ideal walks: ours D/true {ours.mean():.3f}, spread {ours.std(ddof=1):.4f}",
        flush=True,
    )
    kinisi = by_kinisi(walks, 0.5, KINISI_LAGS)
    if kinisi is not None:
        d = np.array(kinisi["d"])[:, 0] / 0.1
        print(f"{n_walks} ideal walks: kinisi D/true {d.mean():.3f}, spread {d.std(ddof=1):.4f}")


def compare_cost(n_frames: int) -> None:
    """Print time and memory of a long run."""
    print(f"{N_IONS} ions of {N_IONS + N_FRAMEWORK} atoms, {n_frames} frames")
    for who in ("ours", "pymatgen"):
        command = [sys.executable, HERE, "--cost-of", who, "--frames", str(n_frames)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
        _print_cost(who, json.loads(done.stdout.splitlines()[-1]))
    lags = np.unique(np.geomspace(1, 0.7 * n_frames, 100).round().astype(int))
    kinisi = by_kinisi(large_run(n_frames)[None, :, :N_IONS], INTERVAL_PS, lags)
    if kinisi is not None:
        _print_cost(f"kinisi, {len(lags)} lags, no drift", kinisi)


def _print_cost(who: str, used: dict[str, float]) -> None:
    print(f"{who:<24} {used['cpu_s']:8.2f} CPU s {used['peak_mb']:8.0f} MB at the peak", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=40)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--cost-of", choices=("ours", "pymatgen"))
    options = parser.parse_args()
    if options.cost_of:
        print(json.dumps(cost(options.cost_of, options.frames)))
        return
    if options.walks:
        compare_spread(options.walks)
    if options.frames:
        compare_cost(options.frames)


if __name__ == "__main__":
    main()
