"""The quantity `density`: where the mobile ions of a production run are, on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from lycb_flows.config import Campaign, Config, Positive, RunConfig
from lycb_flows.quantities import Condition, MeasurementPlan, Quantity, Scope, by_pressure
from lycb_flows.quantities.costs import ForceCall
from lycb_flows.quantities.diffusion import failure_of, n_frames_of_failure
from lycb_flows.report import (
    Album,
    FigureView,
    Part,
    ReportData,
    fixed,
    number,
)
from lycb_flows.schemas import Density, Run, Structure, make_key
from lycb_flows.store import ResultStore
from lycb_flows.units import PS_FS

if TYPE_CHECKING:  # h5py and pymatgen are slow to import, and a status reads no frame
    from lycb_flows.md.trajectory import Trajectory
    from lycb_flows.transport import DensityGrid

PAPER_TEMPERATURE_K = 500.0
"""The paper's maps (its figure 4) are of this temperature."""
_COST_S_PER_ATOM_FRAME = 3e-7
_PERCENT = 100.0


class DensityOptions(Config):
    """The grid of a density."""

    spacing_ang: Positive = Field(0.2, description="Largest length of a voxel along a, b, c.")


class IonDensity(Quantity[Density]):
    """Probability density of the mobile ion in the average cell, of every production run."""

    name = "density"
    document = Density
    scope: ClassVar[Scope] = "temperature"
    options = DensityOptions
    of_mobile_ions = True
    columns = (
        "grid", "ions", "largest density (1/Å³)", "volume of 90 % of the ions (%)", "",
    )  # fmt: skip
    title = "Density of the mobile ion"

    def key(self, plan: MeasurementPlan, condition: Condition) -> str:
        """Return the key of the density at a condition.

        Parameters
        ----------
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        """
        diffusion = plan.campaign.measure.diffusion
        return make_key(
            Density,
            runs=[Run.key_of(run) for run in self.runs(plan, condition)],
            options=self.settings(plan.campaign),
            mobile_species=diffusion.mobile_species,
            discard_ps=diffusion.discard_ps,
        )

    def cost_s(
        self,
        plan: MeasurementPlan,
        condition: Condition,
        n_atoms: Mapping[str, int],
        force_call_s: ForceCall,
    ) -> float:
        """Return the estimated cost of a density in CPU seconds, without its runs.

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
        return 1.0 + _COST_S_PER_ATOM_FRAME * atom_frames(run, condition, n_atoms)

    def compute(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> Density:
        """Return the density of the production run at a condition.

        Parameters
        ----------
        store
            Holds the run and its trajectory, and takes the grid.
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        """
        from lycb_flows.transport import (  # noqa: PLC0415 - pymatgen takes a while
            GRID_MEDIA_TYPE,
            density_grid,
            grid_bytes,
            relative_motion,
        )

        run = self.only_run(store, plan, condition)
        diffusion = plan.campaign.measure.diffusion
        species, facts = diffusion.mobile_species, {}
        reason = failure_of(store, run)
        if reason:
            (config,) = self.runs(plan, condition)
            n_frames = n_frames_of_failure(run, config, diffusion.discard_ps)
        else:
            frames = measured_frames(store, run, plan.campaign)
            n_frames, reason = frames.n_frames, "" if frames.n_frames else "the run left no frame"
        if not reason:
            options = DensityOptions.model_validate(self.settings(plan.campaign))
            motion = relative_motion(frames.frac_coords, frames.species, species)
            cell = frames.cells_ang.mean(axis=0)
            grid = density_grid(motion, cell, species, options.spacing_ang)
            blob = store.blobs.put(grid_bytes(grid), GRID_MEDIA_TYPE)
            facts = {**grid_facts(grid), "grid": blob}
        return Density(
            key=self.key(plan, condition),
            parents=(run.key,),
            run=run.key,
            model=run.model,
            mobile_species=species,
            n_mobile=store.load(Structure, run.start_structure).species.count(species),
            n_frames=n_frames,
            reason=reason,
            **condition.model_dump(),
            **facts,
        )

    # -- report ------------------------------------------------------------------------------

    def row(self, document: Density) -> tuple[str, ...]:
        """Return the grid and what it says in a few numbers."""
        share = document.volume_share_90
        return (
            " × ".join(map(str, document.shape or ())),
            fixed(document.integral),
            number(document.max_per_ang3),
            number(None if share is None else _PERCENT * share),
            document.reason,
        )

    def part(self, data: ReportData, album: Album, system: str) -> Part:
        """Return maps along a, b, c as in the paper's figure 4, and a table.

        Parameters
        ----------
        data
            What the report rests on; its grids are read.
        album
            Keeps the figures.
        system
            The system.
        """
        return replace(super().part(data, album, system), figures=tuple(_maps(data, album, system)))


def _maps(data: ReportData, album: Album, system: str) -> list[FigureView]:
    """Return a map at each pressure: of the temperature that is nearest to the paper's."""
    from lycb_flows.quantities.maps import density_figure  # noqa: PLC0415 - matplotlib
    from lycb_flows.transport import read_grid  # noqa: PLC0415 - pymatgen

    shown = []
    mine = [found for found in data.measured(Density) if found.system == system and found.grid]
    for pressure_bar, here in by_pressure(mine).items():
        nearest = min(here, key=lambda found: abs(found.temperature_k - PAPER_TEMPERATURE_K))
        if nearest.grid is None:
            continue
        place = f"{system} at {pressure_bar:g} bar and {nearest.temperature_k:g} K"
        caption = (
            f"{place}: {nearest.mobile_species} probability density seen along c, b and a, with "
            "the framework's mean positions. `lycb export sites` writes it for VESTA and OVITO."
        )
        figure = density_figure(read_grid(data.read(nearest.grid)))
        shown.append(album.show(f"density-{place}", figure, caption))
    return shown


def grid_facts(grid: DensityGrid) -> dict[str, object]:
    """Return the facts of a Density that follow from its grid."""
    return {
        "shape": grid.counts.shape,
        "voxel_ang3": grid.voxel_ang3,
        "integral": grid.n_ions,
        "max_per_ang3": float(grid.per_ang3.max()),
        "volume_share_90": grid.volume_share(0.9),
    }


def measured_frames(store: ResultStore, run: Run, campaign: Campaign) -> Trajectory:
    """Return the frames of a production run that are measured.

    Parameters
    ----------
    store
        Holds the run and its segments.
    run
        The production run.
    campaign
        Its `measure.diffusion.discard_ps` are left out at the start.
    """
    from lycb_flows.store import trajectory_of  # noqa: PLC0415 - h5py takes a while

    discarded = round(campaign.measure.diffusion.discard_ps * PS_FS / run.time_step_fs)
    return trajectory_of(store, run).between(discarded, run.n_steps)


def atom_frames(run: RunConfig, condition: Condition, n_atoms: Mapping[str, int]) -> float:
    """Return the number of positions in a run.

    Parameters
    ----------
    run
        The run.
    condition
        Where it is measured.
    n_atoms
        Atoms in the production cell of each system.
    """
    return run.steps / run.protocol.sample_interval_steps * n_atoms.get(condition.system or "", 0)
