"""Ions that hop on the sites of a crystal, at most one at a site, with known occupancies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lycb_flows.errors import InputError


@dataclass(frozen=True)
class LatticeGas:
    """A gas of ions on sites, each of which holds one ion at most.

    An ion tries every way to a neighbouring site at the same rate. A free site is taken with
    probability min(1, w_end / w_start) (Metropolis), so that in equilibrium a configuration has
    the weight of its occupied sites' product.

    Attributes
    ----------
    site_coords
        Fractional coordinates of the sites of the cell, (n_sites, 3).
    ways
        (start, end, translation): the neighbours of each site; both directions are listed.
    weights
        Weight w of each site, (n_sites,).
    attempts_per_ps
        Rate at which an ion tries each of its ways.
    """

    site_coords: np.ndarray
    ways: Sequence[tuple[int, int, tuple[int, int, int]]]
    weights: np.ndarray
    attempts_per_ps: float

    def run(
        self, n_ions: int, n_frames: int, frame_ps: float, seed: int, vibration: float = 0.0
    ) -> np.ndarray:
        """Return fractional coordinates that never wrap, (n_frames, n_ions, 3).

        Parameters
        ----------
        n_ions
            Number of ions; they start on sites drawn by weight.
        n_frames
            Number of frames.
        frame_ps
            Time between frames.
        seed
            Seed of `numpy.random.default_rng`.
        vibration
            Standard deviation of a white vibration, in fractional coordinates.
        """
        rng = np.random.default_rng(seed)
        n_sites = len(self.site_coords)
        if n_ions > n_sites:
            raise InputError("more ions than sites", fix="give fewer ions", sites=n_sites)
        odds = self.weights / self.weights.sum()
        site = rng.choice(n_sites, n_ions, replace=False, p=odds)
        image = np.zeros((n_ions, 3), dtype=np.int64)
        taken = np.zeros(n_sites, dtype=bool)
        taken[site] = True
        leaving: list[list[tuple[int, tuple[int, int, int]]]] = [[] for _ in range(n_sites)]
        for start, end, translation in self.ways:
            leaving[start].append((end, translation))
        most = max(map(len, leaving))
        mean = n_ions * most * self.attempts_per_ps * frame_ps
        coords = np.empty((n_frames, n_ions, 3))
        for frame, n_attempts in enumerate(rng.poisson(mean, n_frames)):
            draws = zip(
                rng.integers(n_ions, size=n_attempts).tolist(),
                rng.integers(most, size=n_attempts).tolist(),
                rng.random(n_attempts).tolist(),
                strict=True,
            )
            for ion, way, chance in draws:
                here = site[ion]
                if way >= len(leaving[here]):
                    continue
                there, translation = leaving[here][way]
                if not taken[there] and chance < self.weights[there] / self.weights[here]:
                    taken[here], taken[there] = False, True
                    site[ion] = there
                    image[ion] += translation
            coords[frame] = self.site_coords[site] + image
        return coords + rng.normal(0.0, vibration, coords.shape) if vibration else coords


def neighbours(
    lattice_ang: np.ndarray, site_coords: np.ndarray, reach_ang: float
) -> list[tuple[int, int, tuple[int, int, int]]]:
    """Return the ways between sites that are no further apart than a distance.

    Parameters
    ----------
    lattice_ang
        Rows a, b, c, (3, 3).
    site_coords
        Fractional coordinates, (n, 3).
    reach_ang
        The distance.
    """
    from ase.neighborlist import primitive_neighbor_list  # noqa: PLC0415 - only tests need it

    start, end, cell = primitive_neighbor_list(
        "ijS", (True, True, True), lattice_ang, site_coords @ lattice_ang, reach_ang
    )
    return [
        (i, j, (x, y, z))
        for i, j, (x, y, z) in zip(start.tolist(), end.tolist(), cell.tolist(), strict=True)
    ]
