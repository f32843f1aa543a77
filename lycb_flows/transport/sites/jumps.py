"""Which site every ion is at, so that vibration is no jump.

An ion belongs to the site whose core it entered last; it stays there, wherever it goes, until it
enters the core of another one (transition-based assignment: Buchete and Hummer, J. Phys. Chem. B
2008, 112, 6057; core sets: Schütte et al., J. Chem. Phys. 2011, 134, 204105). The time between
two cores is divided equally.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lycb_flows.transport.density import Floats, Ints, voxels
from lycb_flows.transport.sites.finding import SiteSet, site_tree

CORE_SHARE = 0.3
"""Radius of a core as a share of the distance to the nearest site; cores touch at a half."""
MAX_CORE_ANG = 1.0
_VOXEL_ANG = 0.2
_CHUNK_FRAMES = 2_000


@dataclass(frozen=True, eq=False)
class Stays:
    """The stays of ions at sites, by ion and then in the order of time.

    Attributes
    ----------
    ion, site
        Numbers, (n,).
    image
        The cell that the site is in, in the unwrapped motion of the ion, (n, 3).
    start, end
        In frames, (n,); fractions of a frame where a jump lies between two.
    n_ions, n_frames
        Of the trajectory.
    """

    ion: Ints
    site: Ints
    image: Ints
    start: Floats
    end: Floats
    n_ions: int
    n_frames: int

    @property
    def jumps(self) -> Ints:
        """Numbers of the stays that a jump ends: the next stay is of the same ion, (n_jumps,)."""
        return np.flatnonzero(self.ion[1:] == self.ion[:-1])

    @property
    def translations(self) -> Ints:
        """The lattice vector from the cell of the start to that of the end, of each jump."""
        jumps = self.jumps
        moved: Ints = self.image[jumps + 1] - self.image[jumps]
        return moved


def follow_ions(mobile: Floats, sites: SiteSet) -> Stays:
    """Return the stays of all ions.

    Parameters
    ----------
    mobile
        Fractional coordinates relative to the framework, not wrapped, (n_frames, n_ions, 3).
    sites
        The sites of the cell.
    """
    n_frames, n_ions, _ = mobile.shape
    radius = np.minimum(CORE_SHARE * sites.nearest_ang, MAX_CORE_ANG)
    shape, owner = _nearest_sites(sites)
    at = np.empty((n_ions, n_frames), dtype=np.int32)
    cell = np.empty((n_ions, n_frames, 3), dtype=np.int32)
    for first in range(0, n_frames, _CHUNK_FRAMES):
        part = mobile[first : first + _CHUNK_FRAMES]
        site = owner[voxels(part, shape)]
        gap = part - sites.frac_coords[site]
        image = np.rint(gap)
        squared_ang2 = (((gap - image) @ sites.lattice_ang) ** 2).sum(axis=2)
        site[squared_ang2 > radius[site] ** 2] = -1
        at[:, first : first + len(part)] = site.T
        cell[:, first : first + len(part)] = image.transpose(1, 0, 2)
    return _stays(at, cell)


def _nearest_sites(sites: SiteSet) -> tuple[tuple[int, ...], NDArray[np.int32]]:
    """Return a fine grid and the site nearest to each voxel's centre.

    Cores are far enough from each other that the nearest site of a point in one of them is also
    that of its voxel.
    """
    lengths = np.linalg.norm(sites.lattice_ang, axis=1)
    shape = tuple(np.ceil(lengths / _VOXEL_ANG).astype(int).tolist())
    centres = np.indices(shape).reshape(3, -1).T / shape
    tree, owner = site_tree(sites.lattice_ang, sites.frac_coords)
    _, index = tree.query(centres @ sites.lattice_ang)
    return shape, owner[index].astype(np.int32)


def _stays(at: NDArray[np.int32], cell: NDArray[np.int32]) -> Stays:
    """Return runs of equal site and cell, from (n_ions, n_frames); -1 is outside of all cores."""
    n_ions, n_frames = at.shape
    seen = np.flatnonzero(at >= 0)
    ion, frame = np.divmod(seen, n_frames)
    site, image = at.ravel()[seen], cell.reshape(-1, 3)[seen]
    same_ion = ion[1:] == ion[:-1]
    goes_on = same_ion & (site[1:] == site[:-1]) & (image[1:] == image[:-1]).all(axis=1)
    first = np.flatnonzero(np.concatenate([np.ones(min(1, len(seen)), dtype=bool), ~goes_on]))
    last = np.append(first[1:], len(seen))[: len(first)] - 1
    begins, ends = np.zeros(len(first)), np.full(len(first), float(n_frames))
    follows = ion[first[1:]] == ion[first[:-1]]
    between = (frame[last[:-1]] + 1 + frame[first[1:]]) / 2
    begins[1:][follows] = between[follows]
    ends[:-1][follows] = between[follows]
    return Stays(
        ion=ion[first],
        site=site[first].astype(np.int64),
        image=image[first].astype(np.int64),
        start=begins,
        end=ends,
        n_ions=n_ions,
        n_frames=n_frames,
    )
