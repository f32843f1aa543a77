"""Density, sites and jumps of 72 Li of 240 atoms in Li3YCl6: time and memory.

Prints wall seconds of each step and the largest memory of the process, from fractional
coordinates in single precision as a trajectory holds them:
`python benchmarks/bench_sites.py [n_frames]` (default 100,000).
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: one thread

import numpy as np

from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals import load_parent
from lycb_flows.testing.hopping import LatticeGas, neighbours
from lycb_flows.transport.density import density_grid, relative_motion
from lycb_flows.transport.sites.analysis import SiteAnalysis, analyse_sites
from lycb_flows.transport.sites.parents import place_parent

N_IONS = 72
FRAME_PS = 0.1
SUPERCELL, REPEAT = (1, 1, 2), (2, 2, 1)
HOP_ANG = 4.05
T = TypeVar("T")


def timed(name: str, work: Callable[[], T]) -> tuple[T, float]:
    """Return what some work gives, and its wall time, which is printed."""
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    print(f"{name:<52} {seconds:8.2f} s   {peak_gb():5.2f} GB at most so far")
    return result, seconds


def peak_gb() -> float:
    """Return the largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def trajectory(n_frames: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return lattice, fractional coordinates (n_frames, 240, 3) and elements of a lattice gas."""
    crystal = load_parent("Li3YCl6")
    multiples = np.multiply(SUPERCELL, REPEAT)
    images = np.indices(multiples).reshape(3, -1).T
    lattice = crystal.structure.lattice.matrix * multiples[:, None] * 1.02
    sites, weights, framework, names = [], [], [], []
    for site in crystal.structure:
        coords = (site.frac_coords + images) / multiples
        for species, share in site.species.items():
            if species.symbol == "Li":
                sites.append(coords)
                weights += [share / (1 - share)] * len(coords)
            elif share > 0.5:  # noqa: PLR2004 - one ordering of yttrium
                framework.append(coords)
                names += [species.symbol] * len(coords)
    places = np.concatenate(sites)
    gas = LatticeGas(places, neighbours(lattice, places, HOP_ANG), np.array(weights), 0.02)
    fixed = np.concatenate(framework)
    frac = np.empty((n_frames, N_IONS + len(fixed), 3), dtype=np.float32)
    frac[:, :N_IONS] = gas.run(N_IONS, n_frames, FRAME_PS, seed=0)
    frac[:, N_IONS:] = fixed
    rng, inverse = np.random.default_rng(1), np.linalg.inv(lattice)
    for first in range(0, n_frames, 1000):
        part = frac[first : first + 1000]
        frac[first : first + 1000] = part + rng.normal(0, 0.25, part.shape) @ inverse
    return lattice, frac, ["Li"] * N_IONS + names


def show(found: SiteAnalysis) -> None:
    """Print what was found, so that a fast wrong answer is seen."""
    for orbit in found.orbits:
        print(
            f"  {orbit.label} {orbit.shape}: {orbit.occupancy:.3f} +- {orbit.occupancy_err:.3f} "
            f"ions per site, refined {orbit.refined_occupancy}, stays {orbit.residence_ps:.2f} ps"
        )
    print(
        f"  {len(found.stays.jumps)} jumps, correlation factor {found.correlation_factor} +- "
        f"{found.correlation_factor_err}, percolates in {found.percolation.dimensions}"
    )


def main(n_frames: int) -> None:
    """Measure and print."""
    lattice, frac, species = trajectory(n_frames)
    print(f"{N_IONS} mobile ions of {frac.shape[1]} atoms, {n_frames} frames, one thread")
    print(f"the trajectory itself: {frac.nbytes / 1024**3:.2f} GB; process {peak_gb():.2f} GB")
    motion, first = timed("drift removed", lambda: relative_motion(frac, species, "Li"))
    grid, second = timed("density, 0.2 Å", lambda: density_grid(motion, lattice, "Li"))

    def sites() -> SiteAnalysis:
        config = EnumerationConfig(supercell=SUPERCELL)
        placed = place_parent(load_parent("Li3YCl6"), config, REPEAT, grid)
        return analyse_sites(motion.mobile, grid, FRAME_PS, placed)

    found, third = timed("sites, stays, jumps, network, with the parent", sites)
    print(f"{'together':<52} {first + second + third:8.2f} s")
    show(found)
    alone, _ = timed(
        "the same from the density alone",
        lambda: analyse_sites(motion.mobile, grid, FRAME_PS),
    )
    show_alone = ", ".join(f"{len(alone.sites)} sites {orbit.label}" for orbit in alone.orbits)
    print(f"  {show_alone}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
