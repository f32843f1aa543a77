"""Sites of the mobile ion, its stays and jumps, and what follows from them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from lycb_flows.errors import InputError
from lycb_flows.schemas.sites import SiteOrbit, SiteStep
from lycb_flows.transport.density import DensityGrid, Floats
from lycb_flows.transport.sites.finding import SiteSet, find_sites, relabelled
from lycb_flows.transport.sites.jumps import Stays, follow_ions
from lycb_flows.transport.sites.network import (
    PS_PER_NS,
    Edges,
    Percolation,
    correlation_factor,
    jump_edges,
    percolation,
    steps,
)
from lycb_flows.transport.sites.occupancies import orbits, time_in_blocks
from lycb_flows.transport.sites.parents import PlacedParent, found_orbits

__all__ = ["SiteAnalysis", "analyse_sites"]


@dataclass(frozen=True, eq=False)
class SiteAnalysis:
    """What a trajectory says about sites.

    Attributes
    ----------
    sites, stays, edges
        Every site, every stay of an ion, every distinct jump.
    orbits, steps
        Occupancies and residence times by orbit; jumps by kind.
    correlation_factor, correlation_factor_err
        Of the jumps; None with too few.
    percolation
        The reach of the network.
    percolating_share
        Share of the ions' time on sites of it.
    unassigned_share
        Share of the ions that never came to a site.
    frame_ps
        Time between frames.
    """

    sites: SiteSet
    stays: Stays
    edges: Edges
    orbits: tuple[SiteOrbit, ...]
    steps: tuple[SiteStep, ...]
    correlation_factor: float | None
    correlation_factor_err: float | None
    percolation: Percolation
    percolating_share: float
    unassigned_share: float
    frame_ps: float

    def network(self) -> dict[str, list[dict[str, Any]]]:
        """Return every site and every distinct jump as plain data."""
        spent = np.bincount(
            self.stays.site, self.stays.end - self.stays.start, minlength=len(self.sites)
        )
        sites = [
            {
                "label": label,
                "frac_coords": coords,
                "shape": around.shape,
                "occupancy": time / self.stays.n_frames,
            }
            for label, coords, around, time in zip(
                self.sites.labels,
                self.sites.frac_coords.tolist(),
                self.sites.polyhedra,
                spent.tolist(),
                strict=True,
            )
        ]
        columns = ("start", "end", "translation", "count", "length_ang", "shared")
        values = [getattr(self.edges, name).tolist() for name in columns]
        jumps = [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
        for jump in jumps:
            jump["rate_per_ns"] = PS_PER_NS * jump["count"] / (spent[jump["start"]] * self.frame_ps)
        return {"sites": sites, "jumps": jumps}


def analyse_sites(
    mobile: Floats,
    grid: DensityGrid,
    frame_ps: float,
    parent: PlacedParent | None = None,
) -> SiteAnalysis:
    """Return sites, occupancies, residence times and the network of jumps.

    Parameters
    ----------
    mobile
        Fractional coordinates of the mobile ions relative to the framework, not wrapped,
        (n_frames, n_ions, 3): `density.relative_motion`.
    grid
        Their density.
    frame_ps
        Time between frames.
    parent
        The disordered crystal whose sites these are; None leaves the density alone.

    Raises
    ------
    InputError
        When no ion ever comes to a site.
    """
    given = None if parent is None else parent.sites_of(grid.mobile_species)
    sites, places, n_sites = _labelled(find_sites(grid, given), parent)
    stays = follow_ions(mobile, sites)
    if not len(stays.ion):
        raise InputError("no ion ever comes to a site", fix="give more frames")
    refined = {} if parent is None else _refined(parent, grid.mobile_species, sites)
    found = orbits(stays, sites, frame_ps, refined, n_sites)
    edges = jump_edges(stays, sites)
    reach = percolation(edges, sites)
    factor, factor_err = correlation_factor(stays, sites)
    inside = np.isin(stays.site, reach.sites) & (reach.dimensions > 0)
    total = stays.n_ions * stays.n_frames
    return SiteAnalysis(
        sites=sites,
        stays=stays,
        edges=edges,
        orbits=tuple(
            orbit.model_copy(update={"frac_coords": places.get(orbit.label)}) for orbit in found
        ),
        steps=steps(edges, stays, sites, frame_ps),
        correlation_factor=factor,
        correlation_factor_err=factor_err,
        percolation=reach,
        percolating_share=float(time_in_blocks(stays, inside, 1)[0]) / total,
        unassigned_share=1 - len(set(stays.ion.tolist())) / stays.n_ions,
        frame_ps=frame_ps,
    )


def _labelled(
    sites: SiteSet, parent: PlacedParent | None
) -> tuple[SiteSet, dict[str, tuple[float, float, float]], dict[str, int]]:
    """Return sites under the names of their orbits; where each orbit is, and of how many sites."""
    if parent is None:
        return sites, {}, {}
    labels = list(sites.labels)
    labels_of_cif = parent.crystal.site_labels
    places = {
        label: tuple(parent.crystal.structure[labels_of_cif.index(label.split("+")[0])].frac_coords)
        for label, mine in zip(labels, sites.from_parent, strict=True)
        if mine
    }
    peaks = np.flatnonzero(~np.array(sites.from_parent))
    n_sites, numbers = {}, Counter[str]()
    for orbit in found_orbits(parent, sites.frac_coords[peaks]):
        members = peaks[list(orbit.members)]
        shapes = [sites.polyhedra[i].shape for i in members]
        shape = max(dict.fromkeys(shapes), key=shapes.count)
        numbers[shape] += 1
        name = f"{shape} {numbers[shape]}"
        places[name] = tuple(orbit.frac_coords.tolist())
        n_sites[name] = round(orbit.multiplicity * parent.n_cif_cells)
        for i in members:
            labels[i] = name
    return relabelled(sites, labels), places, n_sites


def _refined(parent: PlacedParent, species: str, sites: SiteSet) -> dict[str, float]:
    """Return the refined occupancies, by the labels of sites; joined sites hold the sum."""
    refined = parent.refined(species)
    _, ideal = parent.sites_of(species)
    n_ideal, n_here = Counter(ideal), Counter(sites.labels)
    return {
        label: sum(refined[name] * n_ideal[name] for name in label.split("+")) / n_here[label]
        for label, mine in zip(sites.labels, sites.from_parent, strict=True)
        if mine
    }
