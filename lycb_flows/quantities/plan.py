"""The measurement of a campaign as data: where it happens, by which model, in which runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from pydantic import Field

from lycb_flows.config import Campaign, Config, MDConfig, RunConfig
from lycb_flows.schemas import Document, Run, seed_for

T = TypeVar("T")
AtPressure = TypeVar("AtPressure", bound="_HasPressure")


class _HasPressure(Protocol):
    @property
    def pressure_bar(self) -> float: ...


class Condition(Config):
    """Where a quantity is measured; what its document does not distinguish is None."""

    system: str | None = None
    pressure_bar: float | None = None
    temperature_k: float | None = None
    replica: int | None = Field(
        None,
        ge=2,
        exclude_if=lambda replica: replica is None,
        description="Of several production runs at a temperature: 2, 3, ..., None for the first.",
    )

    @property
    def title(self) -> str:
        """Short text, unique in a campaign; it is part of the job's name."""
        parts = [self.system or ""]
        parts += [] if self.pressure_bar is None else [f"{self.pressure_bar:g} bar"]
        parts += [] if self.temperature_k is None else [f"{self.temperature_k:g} K"]
        parts += [] if self.replica is None else [f"replica {self.replica}"]
        return " ".join(filter(None, parts))

    def meets(self, other: Condition) -> bool:
        """Return whether this and another condition differ in nothing that both of them state.

        A condition with a temperature states a replica, the first if no other.
        """
        pairs = (
            (self.system, other.system),
            (self.pressure_bar, other.pressure_bar),
            (self.temperature_k, other.temperature_k),
        )
        met = all(mine is None or others is None or mine == others for mine, others in pairs)
        both_hot = None not in {self.temperature_k, other.temperature_k}
        return met and (self.replica == other.replica or not both_hot)


class MeasurementPlan(Config):
    """Everything that decides the measurement."""

    campaign: Campaign
    starts: dict[str, str] = Field(description="System -> key of its ground-state structure.")
    model: str = Field(description="Key of the model that measures.")
    rounds: tuple[str, ...] = Field((), description="Keys of all rounds, with their models.")
    by_dft: dict[str, str] | None = Field(
        None,
        exclude_if=lambda by_dft: by_dft is None,
        description="System -> key of the GroundState, where DFT has chosen its structure.",
    )

    @property
    def temperatures_k(self) -> tuple[float, ...]:
        """Temperatures of production in K."""
        return self.campaign.measure.temperatures_k

    @property
    def replicas(self) -> tuple[int | None, ...]:
        """The production runs at every temperature: None for the first, then 2, 3, ..."""
        return (None, *range(2, (self.campaign.measure.replicas or 1) + 1))

    def places(self, where: Condition | None = None) -> Iterator[Condition]:
        """Yield every system at every pressure and temperature, and every replica there.

        Parameters
        ----------
        where
            If given, only places within this condition.
        """
        where = where or Condition.model_construct()
        anywhere = where.temperature_k is None
        for system, pressure_bar, temperature_k, replica in itertools.product(
            _within(self.starts, where.system),
            _within(self.campaign.measure.pressures_bar, where.pressure_bar),
            _within(self.temperatures_k, where.temperature_k),
            [number for number in self.replicas if anywhere or number == where.replica],
        ):
            yield Condition.model_construct(
                system=system,
                pressure_bar=pressure_bar,
                temperature_k=temperature_k,
                replica=replica,
            )

    @property
    def _md(self) -> MDConfig:
        """Settings of the runs, with the limit of the extrapolation grade where one is set."""
        md, student = self.campaign.md, self.campaign.measure.student
        if student is None or student.extrapolation_limit is None:
            return md
        limit = {"extrapolation_limit": student.extrapolation_limit}
        return md.model_copy(update={"health": md.health.model_copy(update=limit)})

    def npt_run(self, system: str, pressure_bar: float, temperature_k: float) -> RunConfig:
        """Return the run that finds the production cell.

        Parameters
        ----------
        system
            One of `starts`.
        pressure_bar, temperature_k
            The condition, in bar and K.
        """
        config, md = self.campaign.measure, self._md
        protocol = md.npt(temperature_k, pressure_bar)
        ramp = protocol.heating_steps + protocol.equilibration_steps
        return RunConfig(
            name=f"{system} {pressure_bar:g} bar {temperature_k:g} K npt",
            system=system,
            start=self.starts[system],
            model=self.model,
            protocol=protocol,
            seed=self._seed(system, pressure_bar, temperature_k, "npt"),
            repeat=self.campaign.repeat_of(system),
            steps=ramp + md.steps(config.npt_ps),
        )

    def nvt_run(
        self, system: str, pressure_bar: float, temperature_k: float, replica: int | None = None
    ) -> RunConfig:
        """Return the production run, in the average cell of `npt_run`.

        Replicas share the cell and where its ions were last; their velocities have seeds of their
        own.

        Parameters
        ----------
        system
            One of `starts`.
        pressure_bar, temperature_k
            The condition, in bar and K.
        replica
            Which run of the condition: None for the first, then 2, 3, ...
        """
        config, md = self.campaign.measure, self._md
        suffix = [] if replica is None else [f"replica {replica}"]
        return RunConfig(
            name=" ".join([f"{system} {pressure_bar:g} bar {temperature_k:g} K nvt", *suffix]),
            system=system,
            start=Run.key_of(self.npt_run(system, pressure_bar, temperature_k)),
            model=self.model,
            protocol=md.nvt(temperature_k, config.sample_interval_fs, ramp=False),
            seed=self._seed(system, pressure_bar, temperature_k, "nvt", *suffix),
            steps=md.steps(config.nvt_ps),
        )

    def runs(self, ensemble: str, where: Condition) -> tuple[RunConfig, ...]:
        """Return the runs of an ensemble at every place within a condition.

        Replicas have the cell of one NpT run.

        Parameters
        ----------
        ensemble
            "npt" for the runs that find the cell, "nvt" for production.
        where
            A condition; what it leaves out is unrestricted.
        """
        if ensemble == "npt":
            first = where.model_copy(update={"replica": None})
            places = (place for place in self.places(first) if place.replica is None)
            return tuple(self.npt_run(*_state(place)) for place in places)
        return tuple(self.nvt_run(*_state(place), place.replica) for place in self.places(where))

    def _seed(self, system: str, pressure_bar: float, temperature_k: float, *role: str) -> int:
        place = (system, f"{pressure_bar:g}", f"{temperature_k:g}")
        return seed_for(self.campaign.seed, "measure", *place, *role)


def _within(values: Iterable[T], only: T | None) -> list[T]:
    return [value for value in values if only is None or value == only]


def _state(place: Condition) -> tuple[str, float, float]:
    return place.system or "", place.pressure_bar or 0.0, place.temperature_k or 0.0


def place_text(document: Document) -> str:
    """Return where a document was measured, such as 'LYC 1 bar 500 K replica 2'."""
    place = {name: getattr(document, name, None) for name in Condition.model_fields}
    return Condition.model_validate(place).title


def temperature_text(document: Document) -> str:
    """Return the temperature of a document in K, and which of several runs there it is of."""
    temperature_k = getattr(document, "temperature_k", None)
    replica = getattr(document, "replica", None)
    return f"{temperature_k:g}" + ("" if replica is None else f" (replica {replica})")


def by_pressure(documents: Iterable[AtPressure]) -> dict[float, list[AtPressure]]:
    """Return the documents of each pressure in bar, in the order in which the pressures occur."""
    found: dict[float, list[AtPressure]] = {}
    for document in documents:
        found.setdefault(document.pressure_bar, []).append(document)
    return found
