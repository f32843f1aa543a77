"""The measurement as data: where it happens, by which model, in which runs."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from lycb_flows.config import Campaign, Config, RunConfig
from lycb_flows.schemas import Run, seed_for


class Condition(Config):
    """Where a quantity is measured; what it is measured over is left out."""

    system: str | None = None
    pressure_bar: float | None = None
    temperature_k: float | None = None

    @property
    def title(self) -> str:
        """Short, unique in a campaign; part of the job's name."""
        parts = [self.system or ""]
        parts += [] if self.pressure_bar is None else [f"{self.pressure_bar:g} bar"]
        parts += [] if self.temperature_k is None else [f"{self.temperature_k:g} K"]
        return " ".join(filter(None, parts))

    def meets(self, other: Condition) -> bool:
        """Return whether the two differ in nothing that both of them state."""
        pairs = (
            (self.system, other.system),
            (self.pressure_bar, other.pressure_bar),
            (self.temperature_k, other.temperature_k),
        )
        return all(mine is None or others is None or mine == others for mine, others in pairs)


class MeasurementPlan(Config):
    """Everything that decides the measurement."""

    campaign: Campaign
    starts: dict[str, str] = Field(description="System -> key of its ground-state structure.")
    model: str = Field(description="Key of the model that measures.")
    rounds: tuple[str, ...] = Field((), description="Keys of all rounds, with their models.")

    @property
    def temperatures_k(self) -> tuple[float, ...]:
        """The temperatures of production."""
        return self.campaign.measure.temperatures_k

    def places(self, where: Condition | None = None) -> Iterator[Condition]:
        """Yield every system at every pressure and temperature, within a condition if given."""
        for system in self.starts:
            for pressure_bar in self.campaign.measure.pressures_bar:
                for temperature_k in self.temperatures_k:
                    place = Condition.model_construct(
                        system=system, pressure_bar=pressure_bar, temperature_k=temperature_k
                    )
                    if where is None or place.meets(where):
                        yield place

    def npt_run(self, system: str, pressure_bar: float, temperature_k: float) -> RunConfig:
        """Return the run that finds the production cell.

        Parameters
        ----------
        system
            One of `starts`.
        pressure_bar, temperature_k
            The condition, in bar and K.
        """
        config, md = self.campaign.measure, self.campaign.md
        protocol = md.npt(temperature_k, pressure_bar)
        ramp = protocol.heating_steps + protocol.equilibration_steps
        return RunConfig(
            name=f"{system} {pressure_bar:g} bar {temperature_k:g} K npt",
            system=system,
            start=self.starts[system],
            model=self.model,
            protocol=protocol,
            seed=self._seed(system, pressure_bar, temperature_k, "npt"),
            repeat=config.repeat,
            steps=ramp + md.steps(config.npt_ps),
        )

    def nvt_run(self, system: str, pressure_bar: float, temperature_k: float) -> RunConfig:
        """Return the production run, in the average cell of `npt_run`.

        Parameters
        ----------
        system
            One of `starts`.
        pressure_bar, temperature_k
            The condition, in bar and K.
        """
        config, md = self.campaign.measure, self.campaign.md
        return RunConfig(
            name=f"{system} {pressure_bar:g} bar {temperature_k:g} K nvt",
            system=system,
            start=Run.key_of(self.npt_run(system, pressure_bar, temperature_k)),
            model=self.model,
            protocol=md.nvt(temperature_k, config.sample_interval_fs, ramp=False),
            seed=self._seed(system, pressure_bar, temperature_k, "nvt"),
            steps=md.steps(config.nvt_ps),
        )

    def runs(self, ensemble: str, where: Condition) -> tuple[RunConfig, ...]:
        """Return the runs of an ensemble at every place within a condition.

        Parameters
        ----------
        ensemble
            "npt" for the runs that find the cell, "nvt" for production.
        where
            A condition; what it leaves out is unrestricted.
        """
        make = {"npt": self.npt_run, "nvt": self.nvt_run}[ensemble]
        return tuple(
            make(place.system or "", place.pressure_bar or 0.0, place.temperature_k or 0.0)
            for place in self.places(where)
        )

    def _seed(self, system: str, pressure_bar: float, temperature_k: float, role: str) -> int:
        place = (system, f"{pressure_bar:g}", f"{temperature_k:g}")
        return seed_for(self.campaign.seed, "measure", *place, role)
