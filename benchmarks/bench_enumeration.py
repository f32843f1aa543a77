"""The 5,794 orderings of Li3YCl6 1x1x2: our time and memory, and the ratio to bsym.

Run as `OMP_NUM_THREADS=1 python benchmarks/bench_enumeration.py`; each engine runs in a
process of its own, one after the other, imports included.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

N_ORDERINGS = 5_794


def run_ours() -> tuple[int, float]:
    """Number and time of the enumeration; every structure is built after that."""
    from lycb_flows.config import EnumerationConfig  # noqa: PLC0415 - imports are timed
    from lycb_flows.crystals.enumeration import enumerate_orderings  # noqa: PLC0415
    from lycb_flows.crystals.structures import load_parent  # noqa: PLC0415

    start = time.perf_counter()
    result = enumerate_orderings(load_parent("Li3YCl6"), EnumerationConfig())
    wall_s = time.perf_counter() - start
    start = time.perf_counter()
    keys = {result.structure(index).key for index in range(len(result.members))}
    print(f"  structures built in {time.perf_counter() - start:.2f} s")
    return len(keys), wall_s


def run_bsym() -> tuple[int, float]:
    """Number and time of the same model with bsym, one made-up species per orbit."""
    from bsym.interface.pymatgen import configuration_space_from_structure  # noqa: PLC0415
    from pymatgen.core import Structure  # noqa: PLC0415

    from lycb_flows.crystals.structures import load_parent  # noqa: PLC0415

    parent = load_parent("Li3YCl6")
    numbers = {label: 60 + i for i, label in enumerate(dict.fromkeys(parent.site_labels))}
    species = [numbers[label] for label in parent.site_labels]
    full = Structure(parent.structure.lattice, species, parent.structure.frac_coords)
    full.make_supercell((1, 1, 2))
    lithium = {numbers["Li0"], numbers["Li1"]}
    subset = [index for index, site in enumerate(full) if site.specie.Z in lithium]
    start = time.perf_counter()
    space = configuration_space_from_structure(full, subset=subset, atol=1e-3)
    found = space.unique_configurations({1: 18, 0: 6})
    return len(found), time.perf_counter() - start


def measure(engine: str) -> None:
    """Run one engine here; the last line printed is its time."""
    n_found, wall_s = {"ours": run_ours, "bsym": run_bsym}[engine]()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"  {n_found} orderings, peak {peak_mb:.0f} MB")
    print(f"  enumerated in {wall_s:.2f} s")
    if n_found != N_ORDERINGS:
        sys.exit(f"expected {N_ORDERINGS} orderings")


def main() -> None:
    """Run each engine in its own process, or the one that is named."""
    if len(sys.argv) > 1:
        measure(sys.argv[1])
        return
    wall_s = {}
    for engine in ("ours", "bsym"):
        start = time.perf_counter()
        told = subprocess.run(  # noqa: S603 - this file
            [sys.executable, __file__, engine], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
        print(f"{engine}\n{told}  {time.perf_counter() - start:.2f} s with imports")
        wall_s[engine] = float(told.split()[-2])
    print(f"bsym / ours: {wall_s['bsym'] / wall_s['ours']:.1f}")


if __name__ == "__main__":
    main()
