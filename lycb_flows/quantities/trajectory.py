"""What a campaign measures of a run, from anybody's trajectory (`lycb analyse`).

The functions are those that the quantities call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pymatgen.core.periodic_table import Element

from lycb_flows.config import DiffusionConfig
from lycb_flows.crystals import DisorderedCrystal
from lycb_flows.errors import InputError
from lycb_flows.md.foreign import UnwrappedTrajectory
from lycb_flows.schemas import ChargeEstimate, Transport
from lycb_flows.transport import (
    DensityGrid,
    DiffusionResult,
    PlacedParent,
    SiteAnalysis,
    analyse_sites,
    analyse_walk,
    cell_of_simulation,
    charge_of_walk,
    density_grid,
    disordered_cif,
    place_parent,
    relative_motion,
)

_CARRIERS = ("Li", "Na", "K", "Ag", "Cu")
"""Elements of which one in a crystal is taken for the ion that moves."""
_CHARGES = {"Cu": 1}
"""Copper is 2 in most solids, but what conducts is Cu+, as in CuI and Cu2Se."""


@dataclass(frozen=True)
class TrajectoryAnalysis(DiffusionResult):
    """What a trajectory says about transport.

    Attributes
    ----------
    charge
        Collective diffusivity and Haven ratio.
    config
        The mobile species, its charge and the rules of the fit.
    temperature_k
        Temperature of the run; None: not known, and so is the conductivity.
    """

    charge: ChargeEstimate
    config: DiffusionConfig
    temperature_k: float | None

    def to_transport(self, name: str) -> Transport:
        """Return the document of the diffusivity, for tables and figures; it is in no store."""
        facts = {
            name: value for name, value in vars(self).items() if name in Transport.model_fields
        }
        unknown = {"key": "", "run": "", "model": "", "pressure_bar": 0.0, "healthy": True}
        known = {"system": name, "mobile_species": self.config.mobile_species}
        return Transport(**(facts | unknown | known | {"temperature_k": self.temperature_k or 0.0}))


def analyse_trajectory(
    trajectory: UnwrappedTrajectory, temperature_k: float | None, config: DiffusionConfig
) -> TrajectoryAnalysis:
    """Return diffusivity, conductivity and Haven ratio of a trajectory.

    Parameters
    ----------
    trajectory
        Unwrapped positions at equal intervals.
    temperature_k
        Temperature of the run in K; None: the trajectory's, and without one there is no
        conductivity.
    config
        The mobile species, its charge and the rules of the fit.

    Raises
    ------
    InputError
        When there is no mobile ion, no framework, or too few frames, or the temperature is not
        above 0 K.
    """
    temperature_k = trajectory.temperature_k if temperature_k is None else temperature_k
    if temperature_k is not None and not 0 < temperature_k < np.inf:
        raise InputError(
            "a temperature is above 0 K", fix="state the run's", temperature_k=temperature_k
        )
    mobile = np.array(trajectory.species) == config.mobile_species
    if not mobile.any():
        raise InputError(
            "the mobile species is not in the trajectory",
            fix="choose another with --mobile",
            mobile=config.mobile_species,
            found=",".join(dict.fromkeys(trajectory.species)),
        )
    interval_ps = trajectory.frame_interval_ps
    result, walk = analyse_walk(
        trajectory.positions_ang,
        frame_interval_ps=interval_ps,
        mobile_mask=mobile,
        lattice_ang=trajectory.cells_ang.mean(axis=0),
        temperature_k=np.nan if temperature_k is None else temperature_k,
        config=config,
    )
    if temperature_k is None:
        result = replace(
            result,
            conductivity_ms_per_cm=None,
            conductivity_err_ms_per_cm=None,
            conductivity_upper_ms_per_cm=None,
        )
    charge = charge_of_walk(walk, result.estimate, config.confidence)
    return TrajectoryAnalysis(
        **vars(result), charge=charge, config=config, temperature_k=temperature_k
    )


@dataclass(frozen=True, eq=False)
class IonPlaces:
    """Where the mobile ions of a trajectory are.

    Attributes
    ----------
    grid
        Their density in the average cell, relative to the framework.
    sites
        Sites, occupancies, jumps; None where there are none.
    reason
        Why there are none.
    parent
        The disordered crystal whose sites these are, in the simulation cell; None: the sites
        are the density's alone.
    """

    grid: DensityGrid
    sites: SiteAnalysis | None
    parent: PlacedParent | None
    reason: str = ""

    def cif(self, remark: str) -> str | None:
        """Return the parent's CIF with the occupancies of the simulation; None without either.

        Parameters
        ----------
        remark
            What was simulated, for the head of the file.
        """
        if self.parent is None or self.sites is None:
            return None
        return disordered_cif(self.parent, self.sites.orbits, self.grid, remark)


def places_of(
    trajectory: UnwrappedTrajectory, mobile_species: str, parent: DisorderedCrystal | None = None
) -> IonPlaces:
    """Return the density of the mobile ion, its sites, and its jumps between them.

    Parameters
    ----------
    trajectory
        Unwrapped positions.
    mobile_species
        The element that moves.
    parent
        The disordered crystal whose sites are occupied; its cell, or its primitive cell, is
        repeated in the simulation cell along its axes.

    Raises
    ------
    InputError
        When the framework is not the parent's.
    """
    frac = trajectory.positions_ang @ np.linalg.inv(trajectory.cells_ang)
    motion = relative_motion(frac, trajectory.species, mobile_species)
    grid = density_grid(motion, trajectory.cells_ang.mean(axis=0), mobile_species)
    placed = None
    if parent is not None:
        cell = cell_of_simulation(parent, grid.lattice_ang)
        placed = place_parent(parent, cell, (1, 1, 1), grid)
    try:
        sites = analyse_sites(motion.mobile, grid, trajectory.frame_interval_ps, placed)
    except InputError as err:  # no ion ever comes to a site: the density stands
        return IonPlaces(grid, None, placed, str(err))
    return IonPlaces(grid, sites, placed)


def config_for(
    species: Sequence[str], mobile: str | None = None, charge: int | None = None
) -> DiffusionConfig:
    """Return the settings of an analysis of all frames.

    Parameters
    ----------
    species
        Element of each atom.
    mobile
        The mobile species; None: the only one of Li, Na, K, Ag and Cu that is there.
    charge
        Its charge; None: its common one.
    """
    mobile = mobile or find_carrier(species)
    charge = common_charge(mobile) if charge is None else charge
    return DiffusionConfig(mobile_species=mobile, charge_number=charge, discard_ps=0.0)


def find_carrier(species: Sequence[str]) -> str:
    """Return the element that moves, where only one is a common charge carrier.

    Raises
    ------
    InputError
        When none is, or several are.
    """
    elements = tuple(dict.fromkeys(species))
    carriers = [name for name in elements if name in _CARRIERS]
    if len(carriers) != 1:
        raise InputError(
            "which species moves is not plain",
            fix="choose it with --mobile",
            found=",".join(elements),
        )
    return carriers[0]


def common_charge(symbol: str) -> int:
    """Return the charge that an element has as a mobile ion, in units of e.

    Raises
    ------
    InputError
        When it has several.
    """
    if symbol in _CHARGES:
        return _CHARGES[symbol]
    element = Element(symbol)
    states = [int(state) for state in element.common_oxidation_states]
    if element.is_halogen or element.is_chalcogen:
        states = [state for state in states if state < 0]
    if len(states) != 1:
        raise InputError(
            "the charge of the mobile ion is not plain",
            fix="choose it with --charge",
            mobile=symbol,
            common=",".join(map(str, states)) or "none",
        )
    return states[0]
