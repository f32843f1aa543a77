"""D and its error by kinisi, of walks in an .npz file; runs in a Python that has kinisi.

    python benchmarks/kinisi_fit.py WALKS.npz

The file holds `positions` (n_walks, n_frames, n_ions, 3) in Å, drift removed, `interval_ps` and
`lags` in frames. Prints a JSON object: D and its standard error in Å²/ps, seconds of CPU, and the
peak of memory in MB.
"""

import json
import resource
import sys
import time
from types import SimpleNamespace

import numpy as np
import scipp as sc
from kinisi.analyze import DiffusionAnalyzer
from kinisi.displacement import calculate_msd


def main(path: str) -> None:
    """Fit and print."""
    data = np.load(path)
    found = []
    start = time.process_time()
    for positions in data["positions"]:
        moved = sc.array(
            dims=["obs", "particle", "dimension"], values=positions[1:] - positions[0],
            unit="angstrom",
        )  # fmt: skip
        lags = sc.array(dims=["time interval"], values=data["lags"])
        dt = sc.array(
            dims=["time interval"], values=data["lags"] * float(data["interval_ps"]), unit="ps"
        )
        trajectory = SimpleNamespace(
            displacements=moved, dt_index=lags, dt=dt, dimensionality=3 * sc.units.dimensionless
        )
        analyzer = DiffusionAnalyzer(trajectory)
        analyzer._dg = calculate_msd(trajectory, progress=False)  # noqa: SLF001 - as its from_ase
        analyzer.diffusion(
            dt["time interval", 0],
            progress=False,
            random_state=np.random.RandomState(1),
        )
        d = sc.to_unit(analyzer.D, "angstrom^2/ps").values
        found.append((float(np.mean(d)), float(np.std(d))))
    used = {
        "d": found,
        "cpu_s": time.process_time() - start,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }
    print(json.dumps(used))


if __name__ == "__main__":
    main(sys.argv[1])
