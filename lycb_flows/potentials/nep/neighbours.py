"""Neighbours of atoms as the layers of a NEP take them, of one crystal or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lycb_flows.potentials.graph import find_pairs
from lycb_flows.potentials.nep.file import NepShape

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shell:
    """The neighbours of each of n atoms within a cutoff, filled up to equal numbers.

    Attributes
    ----------
    neighbours
        Atom of each place, shape (n, places); the centre itself where there is none.
    vectors_ang
        From the centre, shape (n, places, 3); as long as the cutoff where there is none.
    """

    neighbours: Tensor
    vectors_ang: Tensor

    def to(self, device: torch.device) -> Shell:
        """Return the same on a torch device."""
        return Shell(self.neighbours.to(device), self.vectors_ang.to(device))


@dataclass(frozen=True)
class NepGraph:
    """One crystal or several: species (n,), crystal of each atom (n,), volumes (m,), shells."""

    species: Tensor
    owners: Tensor
    volumes_ang3: Tensor
    radial: Shell
    angular: Shell

    def to(self, device: torch.device) -> NepGraph:
        """Return the same on a torch device."""
        return NepGraph(
            self.species.to(device),
            self.owners.to(device),
            self.volumes_ang3.to(device),
            self.radial.to(device),
            self.angular.to(device),
        )


def make_graph(
    shape: NepShape, species: NDArray[np.int64], positions_ang: Floats, cell_ang: Floats
) -> NepGraph:
    """Return the neighbours of one crystal, in float64.

    Parameters
    ----------
    shape
        Gives the cutoffs.
    species
        Index of each atom's species, shape (n,).
    positions_ang
        Shape (n, 3).
    cell_ang
        Rows a, b, c.
    """
    ends, images = find_pairs(positions_ang, cell_ang, shape.cutoffs_ang[0])
    i, j = ends.T.astype(np.int64)
    vectors = positions_ang[j] - positions_ang[i] + images @ cell_ang
    centres, neighbours = np.concatenate([i, j]), np.concatenate([j, i])
    vectors = np.concatenate([vectors, -vectors])
    order = np.argsort(centres, kind="stable")
    centres, neighbours, vectors = centres[order], neighbours[order], vectors[order]
    lengths = np.linalg.norm(vectors, axis=1)
    shells = []
    for cutoff_ang in shape.cutoffs_ang:
        near = lengths < cutoff_ang
        shells.append(
            _shell(len(species), centres[near], neighbours[near], vectors[near], cutoff_ang)
        )
    return NepGraph(
        species=torch.from_numpy(species),
        owners=torch.zeros(len(species), dtype=torch.int64),
        volumes_ang3=torch.tensor([abs(float(np.linalg.det(cell_ang)))], dtype=torch.float64),
        radial=shells[0],
        angular=shells[1],
    )


def _shell(
    n_atoms: int,
    centres: NDArray[np.int64],
    neighbours: NDArray[np.int64],
    vectors: Floats,
    cutoff_ang: float,
) -> Shell:
    counts = np.bincount(centres, minlength=n_atoms)
    places = np.arange(len(centres)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = max(int(counts.max(initial=0)), 1)
    atoms = np.repeat(np.arange(n_atoms)[:, None], width, axis=1)
    filled = np.zeros((n_atoms, width, 3))
    filled[..., 0] = cutoff_ang
    atoms[centres, places], filled[centres, places] = neighbours, vectors
    return Shell(torch.from_numpy(atoms), torch.from_numpy(filled))


def join_graphs(graphs: Sequence[NepGraph], dtype: torch.dtype = torch.float64) -> NepGraph:
    """Return several crystals as one graph.

    Parameters
    ----------
    graphs
        Of one crystal each.
    dtype
        Of vectors and volumes.
    """
    sizes = [len(graph.species) for graph in graphs]
    offsets = np.cumsum([0, *sizes[:-1]]).tolist()
    return NepGraph(
        species=torch.cat([graph.species for graph in graphs]),
        owners=torch.arange(len(graphs)).repeat_interleave(torch.tensor(sizes)),
        volumes_ang3=torch.cat([graph.volumes_ang3 for graph in graphs]).to(dtype),
        radial=_join([graph.radial for graph in graphs], offsets, dtype),
        angular=_join([graph.angular for graph in graphs], offsets, dtype),
    )


def _join(shells: Sequence[Shell], offsets: Sequence[int], dtype: torch.dtype) -> Shell:
    width = max(shell.neighbours.shape[1] for shell in shells)
    atoms, vectors = [], []
    for shell, offset in zip(shells, offsets, strict=True):
        n, places = shell.neighbours.shape
        own = torch.arange(n)[:, None].expand(n, width - places)
        far = shell.vectors_ang.new_zeros((n, width - places, 3))
        far[..., 0] = 1e3  # beyond any cutoff
        atoms.append(torch.cat([shell.neighbours, own], 1) + offset)
        vectors.append(torch.cat([shell.vectors_ang, far], 1).to(dtype))
    return Shell(torch.cat(atoms), torch.cat(vectors))
