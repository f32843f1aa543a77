"""Crystals as CHGNet sees them: bonds, directed edges and angles as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lycb_flows.potentials.evaluator import Numbers
from lycb_flows.potentials.graph import Pairs

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class CHGNetGraph:
    """Crystals as CHGNet sees them: bonds below 6 Å, angles between bonds below 3 Å.

    Every bond is listed once; messages travel both ways (directed edges, sorted by receiver).
    Longer bonds and angles of longer bonds may be among them: they weigh nothing.

    Attributes
    ----------
    sizes
        Atoms of each of m crystals.
    numbers
        Atomic numbers, shape (atoms,).
    owners
        The crystal of each atom, shape (atoms,).
    bond_vectors_ang
        From the bond's centre to its neighbour, shape (bonds, 3); float64, like all geometry up to
        the bases: float32 envelopes near their cutoff are most of chgnet's own noise.
    bonds
        Centre and neighbour, shape (bonds, 2).
    edges
        Receiving and sending atom, shape (2 bonds, 2).
    edge_bonds
        The bond of each edge, shape (2 bonds,).
    short_bonds
        The bonds of the bond graph, shape (short bonds,).
    angles
        Atom, first and second short bond; shape (angles, 3).
    angle_signs
        -1 where exactly one of the two bonds points towards the atom, shape (angles, 1).
    volumes_ang3
        Of the cells, shape (m,).
    """

    sizes: tuple[int, ...]
    numbers: Tensor
    owners: Tensor
    bond_vectors_ang: Tensor
    bonds: Tensor
    edges: Tensor
    edge_bonds: Tensor
    short_bonds: Tensor
    angles: Tensor
    angle_signs: Tensor
    volumes_ang3: Tensor


def build_graph(
    pairs: Pairs,
    numbers: Sequence[Numbers],
    vectors_ang: NDArray[np.float64],
    *,
    volumes_ang3: NDArray[np.float64],
    bond_reach_ang: float,
    device: torch.device,
) -> CHGNetGraph:
    """Return the graph of some crystals from their pairs.

    Parameters
    ----------
    pairs
        Every pair that may be a bond.
    numbers
        Atomic numbers of each crystal.
    vectors_ang
        From centre to neighbour of each pair, shape (pairs, 3).
    volumes_ang3
        The cells' volumes, shape (crystals,).
    bond_reach_ang
        Angles are made between bonds below it.
    device
        Where the graph's tensors are made.
    """
    froms = np.repeat(np.arange(len(pairs.starts) - 1), np.diff(pairs.starts))
    ends = pairs.ends.astype(np.int64)[pairs.candidates]
    tos = np.where(pairs.reversed, ends[:, 0], ends[:, 1])
    signs = np.where(pairs.reversed, -1.0, 1.0)
    short_bonds = np.flatnonzero(np.linalg.norm(vectors_ang, axis=1) < bond_reach_ang)
    ranks = np.full(len(vectors_ang), -1)
    ranks[short_bonds] = np.arange(len(short_bonds))
    ranks = ranks[pairs.candidates]
    short_edges = np.flatnonzero(ranks >= 0)
    first, second = (short_edges[side] for side in _pairs_within_groups(froms[short_edges]))
    sizes = [len(each) for each in numbers]

    def tensor(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(device)

    return CHGNetGraph(
        sizes=tuple(sizes),
        numbers=tensor(np.concatenate(list(numbers)).astype(np.int64)),
        owners=tensor(np.repeat(np.arange(len(sizes)), sizes)),
        bond_vectors_ang=tensor(vectors_ang),
        bonds=tensor(pairs.ends.astype(np.int64)),
        edges=tensor(np.stack([froms, tos], axis=1)),
        edge_bonds=tensor(pairs.candidates.astype(np.int64)),
        short_bonds=tensor(short_bonds),
        angles=tensor(np.stack([froms[first], ranks[first], ranks[second]], axis=1)),
        angle_signs=tensor((signs[first] * signs[second])[:, None]),
        volumes_ang3=tensor(volumes_ang3),
    )


def join_graphs(graphs: Sequence[CHGNetGraph], device: torch.device) -> CHGNetGraph:
    """Return graphs side by side.

    Parameters
    ----------
    graphs
        Graphs of one or more crystals each.
    device
        Where the result's tensors are made.

    Returns
    -------
    CHGNetGraph
        Atoms, bonds and crystals are numbered through all graphs.
    """
    if len(graphs) == 1:
        return graphs[0]
    columns: dict[str, list[Tensor]] = {}
    atoms = bonds = shorts = crystals = 0
    for graph in graphs:
        shifted = {
            "numbers": graph.numbers,
            "owners": graph.owners + crystals,
            "bond_vectors_ang": graph.bond_vectors_ang,
            "bonds": graph.bonds + atoms,
            "edges": graph.edges + atoms,
            "edge_bonds": graph.edge_bonds + bonds,
            "short_bonds": graph.short_bonds + bonds,
            "angles": graph.angles + graph.angles.new_tensor([atoms, shorts, shorts]),
            "angle_signs": graph.angle_signs,
            "volumes_ang3": graph.volumes_ang3,
        }
        for name, part in shifted.items():
            columns.setdefault(name, []).append(part)
        atoms, bonds = atoms + len(graph.numbers), bonds + len(graph.bonds)
        shorts, crystals = shorts + len(graph.short_bonds), crystals + len(graph.sizes)
    sizes = tuple(size for graph in graphs for size in graph.sizes)
    joined = {name: torch.cat(parts).to(device) for name, parts in columns.items()}
    return CHGNetGraph(sizes=sizes, **joined)


def _pairs_within_groups(groups: Integers) -> tuple[Integers, Integers]:
    """Return all ordered pairs of different members of equal, sorted groups: two index arrays."""
    _, starts, inverse, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    repeats = sizes[inverse]
    first = np.repeat(np.arange(len(groups)), repeats)
    within = np.arange(len(first)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    second = starts[inverse[first]] + within
    different = first != second
    return first[different], second[different]
