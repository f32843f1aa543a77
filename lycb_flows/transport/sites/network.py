"""The network that jumps make: its edges, their rates, its reach, and correlated jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from lycb_flows.schemas.sites import SiteStep
from lycb_flows.transport.density import Floats, Ints
from lycb_flows.transport.sites.finding import SiteSet
from lycb_flows.transport.sites.jumps import Stays
from lycb_flows.transport.sites.occupancies import N_BLOCKS, rate_error, time_in_blocks

N_WINDOWS = 10
JUMPS_PER_WINDOW = 20
"""Jumps of an ion after which what it remembers of the first of them is small beside the sum."""
MIN_JUMPS = 10
PS_PER_NS = 1e3
_SHARING = ("nothing", "corner", "edge", "face")
_Direction = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Edges:
    """The distinct jumps between sites.

    Attributes
    ----------
    start, end
        Sites, (n,).
    translation
        Lattice vector from the cell of the start to that of the end, (n, 3).
    count
        How often each was seen, (n,).
    length_ang
        Distance between the sites, (n,).
    shared
        Anions that the polyhedra of start and end share, (n,).
    """

    start: Ints
    end: Ints
    translation: Ints
    count: Ints
    length_ang: Floats
    shared: Ints


@dataclass(frozen=True)
class Percolation:
    """How far a network of jumps reaches.

    Attributes
    ----------
    dimensions
        0 (no way out) to 3, the largest of all its parts.
    direction
        Lattice indices [u v w] of the path in 1 dimension, Miller indices (h k l) of the layers
        in 2; else None.
    sites
        The sites of the parts that reach so far.
    """

    dimensions: int
    direction: _Direction | None
    sites: tuple[int, ...]


def jump_edges(stays: Stays, sites: SiteSet) -> Edges:
    """Return the edges of the jump network, by start, end and translation.

    Parameters
    ----------
    stays
        What the ions did.
    sites
        The sites of the cell.
    """
    jumps = stays.jumps
    rows = np.column_stack([stays.site[jumps], stays.site[jumps + 1], stays.translations])
    rows, count = np.unique(rows.astype(np.int64), axis=0, return_counts=True)
    start, end, translation = rows[:, 0], rows[:, 1], rows[:, 2:]
    way = sites.frac_coords[end] + translation - sites.frac_coords[start]
    shared = [
        sites.polyhedra[i].shared(sites.polyhedra[j], image)
        for i, j, image in zip(start, end, translation, strict=True)
    ]
    length = np.linalg.norm(way @ sites.lattice_ang, axis=1)
    return Edges(start, end, translation, count, length, np.array(shared, dtype=np.int64))


def percolation(edges: Edges, sites: SiteSet) -> Percolation:
    """Return in how many dimensions jumps lead through the crystal.

    A closed way of jumps ends in the cell that it began in, or a lattice vector apart. The
    dimensions of a connected part are the rank of these vectors (as in Larsen et al., Phys. Rev.
    Materials 2019, 3, 034003): of all jumps that are not in a spanning tree.

    Parameters
    ----------
    edges
        Every jump that was seen.
    sites
        The sites of the cell.
    """
    links = csr_array((np.ones(len(edges.start)), (edges.start, edges.end)), (len(sites),) * 2)
    n_parts, part = connected_components(links, directed=False)
    cells = _cells_in_tree(edges, links, part)
    apart = cells[edges.start] + edges.translation - cells[edges.end]
    vectors = [apart[part[edges.start] == number] for number in range(n_parts)]
    ranks = [int(np.linalg.matrix_rank(found)) if len(found) else 0 for found in vectors]
    most = max(ranks)
    reaching = [number for number in range(n_parts) if ranks[number] == most]
    directions = {_direction(vectors[number], most) for number in reaching}
    return Percolation(
        dimensions=most,
        direction=directions.pop() if len(directions) == 1 else None,
        sites=tuple(np.flatnonzero(np.isin(part, reaching)).tolist()),
    )


def _cells_in_tree(edges: Edges, links: csr_array, part: Ints) -> Ints:
    """Return the cell that each site is met in on the way from the first site of its part."""
    ways = np.column_stack([edges.start, edges.end, edges.translation]).tolist()
    leads = {(j, i): [-x, -y, -z] for i, j, x, y, z in ways}
    leads |= {(i, j): [x, y, z] for i, j, x, y, z in ways}
    cells = np.zeros((len(part), 3), dtype=np.int64)
    for root in np.unique(part, return_index=True)[1]:
        order, before = breadth_first_order(links, root, directed=False)
        for site in order[1:].tolist():
            cells[site] = cells[before[site]] + leads[int(before[site]), site]
    return cells


def _direction(vectors: Ints, rank: int) -> _Direction | None:
    """Return lattice indices of the line that vectors span, or Miller indices of their plane."""
    moving = vectors[vectors.any(axis=1)]
    if rank not in {1, 2}:
        return None
    found = moving[0]
    if rank == 2:  # noqa: PLR2004 - a layer
        planes = np.cross(moving[0], moving)
        found = planes[planes.any(axis=1)][0]
    a, b, c = (found // np.gcd.reduce(found) * np.sign(found[np.flatnonzero(found)[0]])).tolist()
    return a, b, c


def steps(edges: Edges, stays: Stays, sites: SiteSet, frame_ps: float) -> tuple[SiteStep, ...]:
    """Return the kinds of jumps with their rates, the most frequent first.

    Parameters
    ----------
    edges
        Every jump that was seen.
    stays
        What the ions did.
    sites
        The sites of the cell.
    frame_ps
        Time between frames in ps.
    """
    labels = np.array(sites.labels)
    kinds = [
        (start, end, _SHARING[min(shared, 3)])
        for start, end, shared in zip(
            labels[edges.start], labels[edges.end], edges.shared.tolist(), strict=True
        )
    ]
    edge_of = {
        tuple(row): number
        for number, row in enumerate(
            np.column_stack([edges.start, edges.end, edges.translation]).tolist()
        )
    }
    jumps = stays.jumps
    rows = np.column_stack([stays.site[jumps], stays.site[jumps + 1], stays.translations])
    edge = np.array([edge_of[tuple(row)] for row in rows.tolist()], dtype=np.int64)
    kind = {name: number for number, name in enumerate(dict.fromkeys(kinds))}
    of_edge = np.array([kind[name] for name in kinds], dtype=np.int64)
    found = []
    for (start, end, sharing), number in kind.items():
        mine = of_edge == number
        n_jumps = int(edges.count[mine].sum())
        times = time_in_blocks(stays, labels[stays.site] == start, N_BLOCKS)
        rate_per_ns = n_jumps / (float(times.sum()) * frame_ps / PS_PER_NS)
        when = stays.end[jumps[mine[edge]]]
        found.append(
            SiteStep(
                start=str(start),
                end=str(end),
                sharing=sharing,
                length_ang=float(np.average(edges.length_ang[mine], weights=edges.count[mine])),
                n_jumps=n_jumps,
                rate_per_ns=rate_per_ns,
                rate_err_per_ns=rate_per_ns * rate_error(when, times, stays.n_frames),
            )
        )
    return tuple(sorted(found, key=lambda step: (-step.n_jumps, step.start, step.end)))


def correlation_factor(stays: Stays, sites: SiteSet) -> tuple[float | None, float | None]:
    """Return the tracer correlation factor of the jumps with its standard error.

    f = <R²> / sum of l², of displacements R and jump lengths l in windows of time that hold many
    jumps (Murch, Solid State Ionics 1982, 7, 177). Windows and ions are independent samples; the
    error is that, or the one of windows alone where that is larger (ions that move together).

    Parameters
    ----------
    stays
        What the ions did.
    sites
        The sites of the cell.

    Returns
    -------
    tuple of float or None
        Both None with fewer than ten jumps per ion.
    """
    per_ion = len(stays.jumps) / max(1, stays.n_ions)
    if per_ion < MIN_JUMPS:
        return None, None
    n_windows = int(np.clip(per_ion / JUMPS_PER_WINDOW, 1, N_WINDOWS))
    places = (sites.frac_coords[stays.site] + stays.image) @ sites.lattice_ang
    ends = np.linspace(0, stays.n_frames, n_windows + 1)
    moved = np.zeros((stays.n_ions, n_windows))
    hopped = np.zeros((stays.n_ions, n_windows))
    for ion in range(stays.n_ions):
        mine = np.flatnonzero(stays.ion == ion)
        if not len(mine):
            continue
        at = places[mine]
        inside = np.searchsorted(stays.start[mine], ends, side="left") - 1
        squares = np.append(0.0, np.cumsum((np.diff(at, axis=0) ** 2).sum(axis=1)))
        inside = np.maximum(inside, 0)
        moved[ion] = (np.diff(at[inside], axis=0) ** 2).sum(axis=1)
        hopped[ion] = np.diff(squares[inside])
    factor = moved.sum() / hopped.sum()
    rest = moved - factor * hopped
    alone = np.sqrt((rest**2).sum())
    together = np.sqrt((rest.sum(axis=0) ** 2).sum()) if n_windows == N_WINDOWS else 0.0
    return float(factor), float(max(alone, together) / hopped.sum())
