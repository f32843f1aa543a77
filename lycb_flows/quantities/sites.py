"""The quantity `sites`: sites, occupancies, residence times and jumps of the mobile ion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from lycb_flows.config import Campaign
from lycb_flows.errors import InputError
from lycb_flows.quantities import (
    Condition,
    MeasurementPlan,
    Quantity,
    Scope,
    by_pressure,
    place_text,
    temperature_text,
)
from lycb_flows.quantities.costs import ForceCall
from lycb_flows.quantities.density import IonDensity, atom_frames, measured_frames
from lycb_flows.report import (
    MISSING,
    Album,
    Cell,
    Part,
    ReportData,
    Statement,
    Table,
    counted,
    fixed,
    listed,
    number,
    ours,
    papers,
    with_error,
)
from lycb_flows.schemas import Density, Run, SiteOrbit, Sites, make_key
from lycb_flows.store import ResultStore
from lycb_flows.units import PS_FS

if TYPE_CHECKING:  # pymatgen and h5py are slow to import, and a status reads no frame
    from lycb_flows.transport import DensityGrid, PlacedParent

_COST_S_PER_ATOM_FRAME = 5e-7
_FAR = 3.0
"""Standard errors from the refined occupancy at which a site is said to differ from it."""
_PERCENT = 100.0


class IonSites(Quantity[Sites]):
    """Where the ions sit, how long, and which steps they take, from one production run."""

    name = "sites"
    document = Sites
    scope: ClassVar[Scope] = "temperature"
    needs = (IonDensity,)
    of_mobile_ions = True
    noun = "analysis of sites"
    title = "Sites and jumps"

    def key(self, plan: MeasurementPlan, condition: Condition) -> str:
        """Return the key of the sites at a condition.

        Beside run and density it holds the parent and the cell that its sites are repeated in.

        Parameters
        ----------
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        """
        system = plan.campaign.system_of(condition.system or "")
        return make_key(
            Sites,
            runs=[Run.key_of(run) for run in self.runs(plan, condition)],
            documents=list(self.needed_keys(plan, condition)),
            parent=system.parent,
            cell=system.enumeration.cell,
            supercell=system.enumeration.supercell,
            repeat=plan.campaign.repeat_of(system.name),
        )

    def cost_s(
        self,
        plan: MeasurementPlan,
        condition: Condition,
        n_atoms: Mapping[str, int],
        force_call_s: ForceCall,
    ) -> float:
        """Return the estimated cost of an analysis in CPU seconds, without its run and density.

        Parameters
        ----------
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        n_atoms
            Atoms in the production cell of each system.
        force_call_s
            As of `Quantity.cost_s`; there are no force calls.
        """
        del force_call_s
        (run,) = self.runs(plan, condition)
        return 3.0 + _COST_S_PER_ATOM_FRAME * atom_frames(run, condition, n_atoms)

    def compute(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> Sites:
        """Return the sites of the production run at a condition, and what ions do there.

        Parameters
        ----------
        store
            Holds the run, its trajectory, its density and the parent.
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        """
        run = self.only_run(store, plan, condition)
        (needed,) = self.needed_keys(plan, condition)
        density = store.load(Density, needed)
        name = condition.system or ""
        facts: dict[str, Any] = {"reason": density.reason}
        if density.grid is not None:
            facts = _analysed(store, run, density, plan.campaign, name)
        return Sites(
            key=self.key(plan, condition),
            parents=(run.key, density.key, plan.campaign.system_of(name).parent),
            run=run.key,
            model=run.model,
            mobile_species=density.mobile_species,
            density=density.key,
            n_mobile=density.n_mobile,
            **condition.model_dump(),
            **facts,
        )

    # -- report ------------------------------------------------------------------------------

    def part(self, data: ReportData, album: Album, system: str) -> Part:
        """Return occupancies beside the refined ones, steps and networks.

        Parameters
        ----------
        data
            What the report rests on.
        album
            Keeps the figures.
        system
            The system.
        """
        from lycb_flows.quantities.maps import occupancy_figure  # noqa: PLC0415 - matplotlib

        mine = [found for found in data.measured(Sites) if found.system == system]
        shown = []
        for pressure_bar, here in by_pressure(found for found in mine if found.orbits).items():
            if len(here) > 1:
                place = f"{system} at {pressure_bar:g} bar"
                caption = f"{place}: occupancies in the simulation; dashed: as refined."
                shown.append(album.show(f"sites-{place}", occupancy_figure(here), caption))
        tables = (_orbit_table(mine), _step_table(mine), _network_table(mine))
        filled = tuple(table for table in tables if table.rows)
        return Part(system, figures=tuple(shown), tables=filled)

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield how far the jumps lead, for each system and pressure."""
        documents = [found for found in data.measured(Sites) if found.percolates_in is not None]
        for system, pressure_bar in dict.fromkeys((f.system, f.pressure_bar) for f in documents):
            mine = [f for f in documents if (f.system, f.pressure_bar) == (system, pressure_bar)]
            reaches = [f"{_reach(found)} at {found.temperature_k:g} K" for found in mine]
            yield Statement(
                f"{system} {pressure_bar:g} bar: jumps of {mine[0].mobile_species} lead through "
                f"the crystal in {listed(reaches)}.",
                tuple(found.key for found in mine),
            )

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield where occupancies are the start's, and where they are not the refined ones."""
        documents = [found for found in data.measured(Sites) if found.orbits]
        several = [found for found in documents if len(found.orbits) > 1]
        still = [f for f in several if all(o.occupancy_err is None for o in f.orbits)]
        if still:
            yield Statement(
                "Too few ions went from one kind of site to another, so the occupancies are those "
                f"of the start: {listed([place_text(found) for found in still])}.",
                tuple(found.key for found in still),
            )
        for found in documents:
            far = [orbit.label for orbit in found.orbits if _is_far(orbit)]
            if far:
                yield Statement(
                    f"{place_text(found)}: the occupancy of {listed(far)} is more than {_FAR:g} "
                    "standard errors from the refined one.",
                    (found.key,),
                )
        lost = [found for found in data.measured(Sites) if found.parent_note]
        if lost:
            yield Statement(
                f"Sites are from the density alone, {lost[0].parent_note}: "
                f"{listed([place_text(found) for found in lost])}.",
                tuple(found.key for found in lost),
            )


# -- from a run to its sites ---------------------------------------------------------------------


def _analysed(
    store: ResultStore, run: Run, density: Density, campaign: Campaign, system: str
) -> dict[str, Any]:
    """Return the facts of a run with a density."""
    from lycb_flows.transport import (  # noqa: PLC0415 - pymatgen  # noqa: PLC0415
        CIF_MEDIA_TYPE,
        analyse_sites,
        disordered_cif,
        read_grid,
        relative_motion,
    )

    frames = measured_frames(store, run, campaign)
    if density.grid is None:
        return {}
    grid = read_grid(store.blobs.read(density.grid))
    motion = relative_motion(frames.frac_coords, frames.species, density.mobile_species)
    interval_steps = int(frames.steps[-1] - frames.steps[0]) / max(1, frames.n_frames - 1)
    frame_ps = interval_steps * frames.time_step_fs / PS_FS
    placed, note = placed_parent(store, grid, campaign, system)
    try:
        found = analyse_sites(motion.mobile, grid, frame_ps, placed)
    except InputError as err:
        return {"reason": str(err)}
    cif = None
    if placed is not None:
        remark = f"{system} {run.temperature_k:g} K, run {run.key[:12]}: simulated occupancies"
        text = disordered_cif(placed, found.orbits, grid, remark)
        cif = store.blobs.put(text.encode(), CIF_MEDIA_TYPE)
    return {
        "parent": None if placed is None else campaign.system_of(system).parent,
        "parent_note": note,
        "n_sites": len(found.sites),
        "duration_ps": frames.n_frames * frame_ps,
        "unassigned_share": found.unassigned_share,
        "orbits": found.orbits,
        "steps": found.steps,
        "n_jumps": len(found.stays.jumps),
        "correlation_factor": found.correlation_factor,
        "correlation_factor_err": found.correlation_factor_err,
        "percolates_in": found.percolation.dimensions,
        "percolation_direction": found.percolation.direction,
        "percolating_share": found.percolating_share,
        "network": store.blobs.put_json(found.network()),
        "cif": cif,
    }


def placed_parent(
    store: ResultStore, grid: DensityGrid, campaign: Campaign, system: str
) -> tuple[PlacedParent | None, str]:
    """Return the parent in the simulation cell, and why its sites cannot be told.

    Parameters
    ----------
    store
        Holds the parent.
    grid
        Knows the mean positions of the framework.
    campaign
        Knows how the system was enumerated and repeated.
    system
        Name of the system.
    """
    from lycb_flows.store import load_crystal  # noqa: PLC0415 - pymatgen takes a while
    from lycb_flows.transport import place_parent  # noqa: PLC0415 - likewise

    config = campaign.system_of(system)
    crystal = load_crystal(store, config.parent)
    try:
        placed = place_parent(crystal, config.enumeration, campaign.repeat_of(system), grid)
    except InputError as err:
        return None, err.message
    return placed, placed.note(grid.mobile_species)


# -- words and tables ----------------------------------------------------------------------------


def _reach(found: Sites) -> str:
    if not found.percolates_in:
        return "no dimension"
    dimensions = counted(found.percolates_in, "dimension")
    if found.percolation_direction is None:
        return dimensions
    indices = " ".join(map(str, found.percolation_direction))
    if found.percolates_in == 1:
        return f"{dimensions} (along [{indices}] of the cell)"
    return f"{dimensions} in the planes ({indices}) of the cell"


def _is_far(orbit: SiteOrbit) -> bool:
    refined, error = orbit.refined_occupancy, orbit.occupancy_err
    return (
        refined is not None and error is not None and abs(orbit.occupancy - refined) > _FAR * error
    )


def _rows(found: Sites, texts: Sequence[str]) -> tuple[Cell, ...]:
    place = (temperature_text(found), f"{found.pressure_bar:g}")
    return ours(found.key, (*place, *texts))


def _orbit_table(mine: Sequence[Sites]) -> Table:
    """Return the occupancies of the simulation beside those of the CIF."""
    rows = []
    for found in mine:
        for orbit in found.orbits:
            refined = fixed(orbit.refined_occupancy, 3)
            texts = (
                orbit.label,
                orbit.shape,
                str(orbit.n_sites),
                with_error(orbit.occupancy, orbit.occupancy_err),
                residence_text(orbit),
                str(orbit.n_departures),
            )
            rows.append((*_rows(found, texts), *papers(refined)))
    return Table(
        "Occupancies",
        (
            "T (K)", "p (bar)", "site", "anions around", "sites in the cell", "ions per site",
            "residence (ps)", "departures", "as refined",
        ),
        tuple(rows),
        "Sites are the parent's, by the labels of its CIF, and those that only the density "
        "shows. `lycb export sites` writes a CIF with these occupancies. Without an error the "
        "run is too short to forget its start, or the ions have no other kind of site.",
    )  # fmt: skip


def residence_text(orbit: SiteOrbit) -> str:
    """Return how long ions stay at a site in ps, with its error or as a lower bound."""
    if orbit.residence_low_ps is not None:
        return f"> {number(orbit.residence_low_ps)}"
    return with_error(orbit.residence_ps, orbit.residence_err_ps)


def _step_table(mine: Sequence[Sites]) -> Table:
    """Return the jumps by kind."""
    rows = [
        _rows(
            found,
            (
                f"{step.start} → {step.end}",
                step.sharing,
                fixed(step.length_ang),
                str(step.n_jumps),
                with_error(step.rate_per_ns, step.rate_err_per_ns),
            ),
        )
        for found in mine
        for step in found.steps
    ]
    return Table(
        "Steps",
        ("T (K)", "p (bar)", "step", "shared", "length (Å)", "jumps", "rate (1/ns)"),
        tuple(rows),
        "Rate: jumps per time that an ion spends at the start.",
    )


def _network_table(mine: Sequence[Sites]) -> Table:
    """Return the network of each run in a row."""
    rows = [
        _rows(
            found,
            (
                str(found.n_sites),
                str(found.n_jumps),
                with_error(found.correlation_factor, found.correlation_factor_err),
                MISSING if found.percolates_in is None else _reach(found),
                number(_percent(found.percolating_share)),
                found.reason or found.parent_note,
            ),
        )
        for found in mine
    ]
    return Table(
        "Network",
        (
            "T (K)", "p (bar)", "sites", "jumps", "correlation factor", "percolates in",
            "ions in it (%)", "",
        ),
        tuple(rows),
        "Correlation factor: mean squared displacement over the sum of squared jumps; it needs "
        "ten jumps per ion.",
    )  # fmt: skip


def _percent(share: float | None) -> float | None:
    return None if share is None else _PERCENT * share
