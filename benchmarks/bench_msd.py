"""MSD of 72 Li of 240 atoms over all origins: ours, pymatgen's, and a direct sum.

Prints CPU seconds and the ratio to ours, all measured in one run on the same walkers:
`python benchmarks/bench_msd.py [n_frames]` (default 20,000, as in reference A4).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: one thread for everybody

import numpy as np
from pymatgen.analysis.diffusion.analyzer import DiffusionAnalyzer
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure

from lycb_flows.testing import lattice_walkers
from lycb_flows.transport.msd import mean_squared_displacement, select_lags, subtract_drift

N_IONS = 72
N_FRAMEWORK = 168
REPEATS = 3
FRAME_INTERVAL_PS = 0.1


def fastest_cpu_s(function: Callable[[], np.ndarray], repeats: int) -> tuple[float, np.ndarray]:
    """Least CPU time of a few calls, and the result."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        times.append(time.process_time() - start)
    return min(times), result


def direct_msd(positions_ang: np.ndarray, lags: np.ndarray) -> np.ndarray:
    """Windowed MSD by shifting the trajectory, lag by lag."""
    return np.array(
        [np.mean(np.sum((positions_ang[k:] - positions_ang[:-k]) ** 2, axis=2)) for k in lags]
    )


def main(n_frames: int) -> None:
    """Measure and print."""
    duration_ps = (n_frames - 1) * FRAME_INTERVAL_PS
    mobile = lattice_walkers(N_IONS, 1.9e-9, duration_ps, FRAME_INTERVAL_PS, seed=0)
    framework = lattice_walkers(N_FRAMEWORK, 0.0, duration_ps, FRAME_INTERVAL_PS, seed=1)
    positions = np.concatenate([mobile, framework], axis=1)
    is_framework = np.arange(positions.shape[1]) >= N_IONS
    relative = subtract_drift(positions, is_framework)[:, :N_IONS]
    lags = select_lags(int(0.7 * n_frames))
    msd_s, ours = fastest_cpu_s(lambda: mean_squared_displacement(relative), REPEATS)
    ours_s, _ = fastest_cpu_s(
        lambda: mean_squared_displacement(subtract_drift(positions, is_framework)[:, :N_IONS]),
        REPEATS,
    )
    displacements = np.ascontiguousarray((positions - positions[0]).transpose(1, 0, 2))
    sites = np.random.default_rng(0).random((positions.shape[1], 3))
    species = ["Li"] * N_IONS + ["Y"] * N_FRAMEWORK
    structure = Structure(Lattice.cubic(20.0), species, sites)

    def pymatgen_msd() -> np.ndarray:
        analyzer = DiffusionAnalyzer(structure, displacements, "Li", 500, 1, 100, smoothed="max")
        return np.array([analyzer.dt / 100, analyzer.msd])

    pymatgen_s, (pymatgen_lags, pymatgen) = fastest_cpu_s(pymatgen_msd, 1)
    direct_s, direct = fastest_cpu_s(lambda: direct_msd(relative, lags), 1)
    np.testing.assert_allclose(ours[lags], direct, rtol=1e-8)
    np.testing.assert_allclose(ours[pymatgen_lags.round().astype(int)], pymatgen, rtol=1e-8)

    print(
        f"{N_IONS} mobile ions of {positions.shape[1]} atoms, {n_frames} frames, double "
        "precision, one thread; results agree to 1e-8"
    )
    rows = [
        ("ours, drift and all lags", ours_s),
        ("ours, all lags of the mobile ions alone", msd_s),
        ("pymatgen-analysis-diffusion, drift, 200 lags", pymatgen_s),
        (f"numpy windowed, {len(lags)} lags", direct_s),
        (f"numpy windowed, all lags (scaled from {len(lags)})", direct_s * n_frames / len(lags)),
    ]
    for name, seconds in rows:
        print(f"{name:<48} {seconds:9.3f} CPU s   {seconds / ours_s:8.1f} x ours")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
