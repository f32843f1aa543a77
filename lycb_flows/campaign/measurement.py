"""The ending as data: which model measures, which runs, where each number comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from lycb_flows.campaign.descriptions import MEASUREMENT, JobDescription
from lycb_flows.campaign.stages import batches, md_job, seed_for
from lycb_flows.config import Campaign, Config, RunConfig
from lycb_flows.schemas import Arrhenius, Evaluation, Round, Run, Transport


class MeasurementPlan(Config):
    """Everything that decides the measurement."""

    campaign: Campaign
    starts: dict[str, str] = Field(description="System -> key of its ground-state structure.")
    model: str = Field(description="Key of the model that measures.")

    @property
    def temperatures_k(self) -> tuple[float, ...]:
        """Of production."""
        return self.campaign.measure.temperatures_k

    def conditions(self) -> Iterator[tuple[str, float]]:
        """(system, pressure in bar)."""
        for system in self.starts:
            for pressure_bar in self.campaign.measure.pressures_bar:
                yield system, pressure_bar

    def npt_run(self, system: str, pressure_bar: float, temperature_k: float) -> RunConfig:
        """The run that finds the production cell."""
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
        """Production, in the average cell of `npt_run`."""
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

    def run_batches(self) -> list[tuple[JobDescription, tuple[RunConfig, ...]]]:
        """Return each MD job and its runs; NpT before the NVT runs that start from it."""
        size = self.campaign.md.replicas_per_job
        where = [(*condition, t) for condition in self.conditions() for t in self.temperatures_k]
        return [
            (md_job(MEASUREMENT, f"{ensemble} production {i:02d}", f"{ensemble} {i:02d}"), runs)
            for ensemble, make in (("npt", self.npt_run), ("nvt", self.nvt_run))
            for i, runs in enumerate(batches(tuple(make(*place) for place in where), size))
        ]

    def transport_job(
        self, system: str, pressure_bar: float, temperature_k: float
    ) -> JobDescription:
        """Return the job that measures transport at one condition."""
        part = f"{pressure_bar:g} bar {temperature_k:g} K"
        return JobDescription(f"transport {system} {part}", "transport", MEASUREMENT, system, part)

    def arrhenius_job(self, system: str, pressure_bar: float) -> JobDescription:
        """Return the job that fits one system at one pressure."""
        part = f"{pressure_bar:g} bar"
        return JobDescription(f"arrhenius {system} {part}", "arrhenius", MEASUREMENT, system, part)

    def transport_key(self, system: str, pressure_bar: float, temperature_k: float) -> str:
        """Of the Transport at one condition."""
        run = Run.key_of(self.nvt_run(system, pressure_bar, temperature_k))
        return Transport.key_of(run, self.campaign.measure.diffusion)

    def arrhenius_key(self, system: str, pressure_bar: float) -> str:
        """Of the Arrhenius fit of one system at one pressure."""
        transports = [self.transport_key(system, pressure_bar, t) for t in self.temperatures_k]
        return Arrhenius.key_of(transports, self.campaign.measure.extrapolation_temperature_k)

    def _seed(self, system: str, pressure_bar: float, temperature_k: float, role: str) -> int:
        place = (system, f"{pressure_bar:g}", f"{temperature_k:g}")
        return seed_for(self.campaign.seed, "measure", *place, role)


def choose_model(
    campaign: Campaign, rounds: Sequence[Round], evaluations: Mapping[str, Evaluation]
) -> str:
    """The key of the model that measures, by `measure.model`.

    Parameters
    ----------
    campaign
        With 'best' (lowest score on all test sets), 'pretrained' or a temperature.
    rounds
        Every round.
    evaluations
        By model key, all on the same test sets.
    """
    wanted = campaign.measure.model
    if wanted == "pretrained":
        return campaign.learning.model
    if wanted == "best":
        return min(
            (round_.model for round_ in rounds), key=lambda model: evaluations[model].overall.score
        )
    models = {f"{round_.temperature_k:g}": round_.model for round_ in rounds}
    return models[wanted]
