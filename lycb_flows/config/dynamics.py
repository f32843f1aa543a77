"""Settings of molecular dynamics: health limits, protocols and runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from lycb_flows.config.base import NOT_KEYED, Config, Count, FractionAboveZero, Positive, Supercell
from lycb_flows.units import PS_FS

_ROUNDED = 1 - 1e-9
"""One time step, given in ps, may come out shorter in fs by a rounding error."""


class HealthConfig(Config):
    """Limits beyond which a run is no longer physical."""

    max_temperature_factor: Positive = Field(
        5.0, description="Instantaneous T above this multiple of the target (and 300 K)."
    )
    min_distance_ang: Positive = Field(0.7, description="Closest pair allowed.")
    max_volume_factor: Positive = Field(
        2.0, description="Volume above this multiple of the start's, or below its inverse."
    )
    max_energy_jump_ev_per_atom: Positive = Field(
        1.0, description="Potential energy away from the start by more than this."
    )
    max_framework_rms_ang: Positive = Field(
        4.0, description="RMS displacement of non-mobile ions: melted or lost."
    )
    mobile_species: str = Field(
        "Li",
        description="The ion that may move; the rest is framework. A campaign fills in its own; a "
        "crystal without it has its own.",
    )
    extrapolation_limit: Positive | None = Field(
        None,
        exclude_if=lambda limit: limit is None,
        description="Largest extrapolation grade of an atom at any step; of a campaign's student "
        "only. Default: any.",
    )


class MDConfig(Config):
    """Settings that all MD runs of a campaign share."""

    time_step_fs: Positive = Field(1.0, description="paper: 1 fs.")
    thermostat_damping_ps: Positive = Field(0.1, description="Nosé-Hoover chains (paper).")
    barostat_damping_ps: Positive = Field(1.0, description="MTK barostat (paper).")
    cell_shape: Literal["triclinic", "anisotropic", "isotropic"] = Field(
        "triclinic", description="ours: the paper is silent; monoclinic LYB needs its angles."
    )
    start_temperature_k: Positive = Field(
        100.0, description="Temperature of the first velocities (paper)."
    )
    heating_ps: float = Field(2.0, ge=0, description="Linear ramp, fixed cell (paper).")
    equilibration_ps: float = Field(50.0, ge=0, description="NVT before NpT (paper).")
    sample_interval_fs: Positive = Field(10.0, description="Time between frames (paper: 10 steps).")
    segment_ps: Positive = Field(50.0, description="ours: walltime loses one segment at most.")
    average_fraction: FractionAboveZero = Field(
        0.8, description="Last share of NpT that gives the average cell (paper: 112 of 140 ps)."
    )
    health: HealthConfig = HealthConfig()
    replicas_per_job: Annotated[int, Field(ge=1), NOT_KEYED] = Field(
        8, description="Runs per MD job."
    )

    @model_validator(mode="after")
    def _lengths_hold_a_time_step(self) -> Self:
        self.check_lengths(
            {
                "heating_ps": self.heating_ps * PS_FS,
                "equilibration_ps": self.equilibration_ps * PS_FS,
                "sample_interval_fs": self.sample_interval_fs,
                "segment_ps": self.segment_ps * PS_FS,
            }
        )
        return self

    def check_lengths(self, lengths_fs: Mapping[str, float]) -> None:
        """Check that lengths are no shorter than a time step; one that is left out is 0.

        Parameters
        ----------
        lengths_fs
            Name -> length in fs.

        Raises
        ------
        ValueError
            At the first that is too short.
        """
        for name, length_fs in lengths_fs.items():
            if 0 < length_fs < self.time_step_fs * _ROUNDED:
                msg = (
                    f"{name} is {length_fs:g} fs, less than one time step: "
                    f"md.time_step_fs = {self.time_step_fs:g}"
                )
                raise ValueError(msg)

    def steps(self, duration_ps: float) -> int:
        """Return the number of time steps in a duration in ps."""
        return round(duration_ps * 1000 / self.time_step_fs)

    def batches(self, runs: tuple[RunConfig, ...]) -> list[tuple[RunConfig, ...]]:
        """Return the runs of each MD job.

        Parameters
        ----------
        runs
            All runs; a job takes at most `replicas_per_job` of them, in order.
        """
        size = self.replicas_per_job
        return [runs[i : i + size] for i in range(0, len(runs), size)]

    def npt(self, temperature_k: float, pressure_bar: float) -> MDProtocol:
        """Return the protocol that finds a cell: ramp, NVT, then NpT.

        Parameters
        ----------
        temperature_k
            Temperature in K.
        pressure_bar
            Pressure in bar.
        """
        return MDProtocol(
            ensemble="npt",
            pressure_bar=pressure_bar,
            barostat_damping_ps=self.barostat_damping_ps,
            cell_shape=self.cell_shape,
            heating_steps=self.steps(self.heating_ps),
            equilibration_steps=self.steps(self.equilibration_ps),
            start_temperature_k=self.start_temperature_k,
            **self._shared(temperature_k, self.sample_interval_fs),
        )

    def nvt(
        self, temperature_k: float, sample_interval_fs: float | None = None, *, ramp: bool
    ) -> MDProtocol:
        """Return the protocol of NVT at a fixed cell.

        Parameters
        ----------
        temperature_k
            Temperature in K.
        sample_interval_fs
            Time between frames in fs; None: the config's.
        ramp
            Whether to heat up from the start temperature; without the ramp, velocities are drawn
            at the temperature.
        """
        return MDProtocol(
            ensemble="nvt",
            heating_steps=self.steps(self.heating_ps) if ramp else 0,
            equilibration_steps=0,
            start_temperature_k=self.start_temperature_k if ramp else temperature_k,
            **self._shared(temperature_k, sample_interval_fs or self.sample_interval_fs),
        )

    def _shared(self, temperature_k: float, sample_interval_fs: float) -> dict[str, Any]:
        interval = max(1, round(sample_interval_fs / self.time_step_fs))
        return {
            "temperature_k": temperature_k,
            "time_step_fs": self.time_step_fs,
            "thermostat_damping_ps": self.thermostat_damping_ps,
            "sample_interval_steps": interval,
            "segment_steps": max(1, self.steps(self.segment_ps) // interval) * interval,
            "average_fraction": self.average_fraction,
            "health": self.health,
        }


class MDProtocol(Config):
    """Everything about a run but its length: ramp, NVT at fixed cell, then the ensemble.

    Steps are counted from the first step of the ramp.
    """

    ensemble: Literal["nve", "nvt", "npt"]
    temperature_k: Positive
    pressure_bar: float | None = Field(None, description="npt only.")
    time_step_fs: Positive
    thermostat_damping_ps: Positive
    barostat_damping_ps: Positive | None = Field(None, description="npt only.")
    cell_shape: Literal["triclinic", "anisotropic", "isotropic"] | None = Field(
        None, description="npt only; anisotropic: lengths move, directions stand."
    )
    start_temperature_k: Positive
    heating_steps: Count
    equilibration_steps: Count
    sample_interval_steps: int = Field(ge=1)
    segment_steps: int = Field(ge=1)
    average_fraction: FractionAboveZero
    health: HealthConfig

    @model_validator(mode="after")
    def _barostat_belongs_to_npt(self) -> Self:
        barostat = (self.pressure_bar, self.barostat_damping_ps, self.cell_shape)
        given = [value is not None for value in barostat]
        if any(given) != all(given) or all(given) != (self.ensemble == "npt"):
            msg = "pressure, barostat damping and cell shape belong to npt, all of them"
            raise ValueError(msg)
        if self.segment_steps % self.sample_interval_steps:
            msg = "segment_steps must be a multiple of sample_interval_steps"
            raise ValueError(msg)
        return self

    @property
    def sample_interval_ps(self) -> float:
        """The time between frames."""
        return float(self.sample_interval_steps * self.time_step_fs / PS_FS)


class RunConfig(Config):
    """One MD run: where it starts, with which model, by which protocol, how long."""

    name: Annotated[str, NOT_KEYED]
    system: Annotated[str, NOT_KEYED]
    start: str = Field(description="Key of a Structure, or of an NpT Run (its average cell).")
    model: str = Field(description="Key of the Model.")
    protocol: MDProtocol
    seed: Count
    strain: float = Field(0.0, description="Isotropic strain of the start's lattice vectors.")
    repeat: Supercell = Field((1, 1, 1), description="Repeats of the start along a, b, c.")
    steps: int = Field(ge=1, description="Length, ramp and equilibration included.")

    def identity(self) -> dict[str, Any]:
        """Return the keyed fields without the length.

        Runs that differ in length alone have the same first segments.
        """
        return {name: value for name, value in self.keyed().items() if name != "steps"}
