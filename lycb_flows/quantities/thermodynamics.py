"""The quantity `thermodynamics`: energy, temperature and pressure of every production run.

Errors of means are those of `transport/averages.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from lycb_flows.config import Config
from lycb_flows.quantities import Condition, MeasurementPlan, Number, Quantity, Scope, place_text
from lycb_flows.quantities.diffusion import failure_of, n_frames_of_failure
from lycb_flows.report import ReportData, Statement, with_error
from lycb_flows.schemas import RunThermodynamics
from lycb_flows.store import ResultStore
from lycb_flows.transport.averages import block_error
from lycb_flows.units import BAR_GPA, EV_MEV, PS_FS

if TYPE_CHECKING:  # h5py is slow to import, and a status reads no frame
    from lycb_flows.md.trajectory import Trajectory

_FAR = 3.0
"""Standard errors from its target at which a mean is said to miss it."""


class ThermodynamicsOptions(Config):
    """How a production run is averaged."""

    n_blocks: int = Field(10, ge=4, description="Stretches whose means give the error.")
    discard_ps: float = Field(2.0, ge=0, description="Left out at the start of production.")


class Thermodynamics(Quantity[RunThermodynamics]):
    """Mean energy, temperature and pressure, and whether the energy drifts."""

    name = "thermodynamics"
    document = RunThermodynamics
    scope: ClassVar[Scope] = "temperature"
    options = ThermodynamicsOptions
    columns = ("energy (eV/atom)", "drift (meV/atom)", "mean T (K)", "mean p (GPa)", "")

    def compute(
        self, store: ResultStore, plan: MeasurementPlan, condition: Condition
    ) -> RunThermodynamics:
        """Return the means over a production run; none where it or its NpT run left physics.

        Parameters
        ----------
        store
            Holds the run and its trajectory.
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        """
        from lycb_flows.store import trajectory_of  # noqa: PLC0415 - h5py takes a while

        run = self.only_run(store, plan, condition)
        options = ThermodynamicsOptions.model_validate(self.settings(plan.campaign))
        reason = failure_of(store, run)
        means: dict[str, float] = {}
        if reason:
            (config,) = self.runs(plan, condition)
            n_frames = n_frames_of_failure(run, config, options.discard_ps)
        else:
            discarded = round(options.discard_ps * PS_FS / run.time_step_fs)
            frames = trajectory_of(store, run).between(discarded, run.n_steps)
            n_frames = frames.n_frames
            if n_frames < 2 * options.n_blocks:
                reason = f"{n_frames} frames are too few for {options.n_blocks} blocks"
            else:
                means = _means(frames, options.n_blocks)
        return RunThermodynamics(
            key=self.key(plan, condition),
            parents=(run.key,),
            run=run.key,
            model=run.model,
            n_frames=n_frames,
            reason=reason,
            **condition.model_dump(),
            **means,
        )

    def numbers(self, document: RunThermodynamics) -> Iterator[Number]:
        """Yield mean energy and mean pressure of a production run."""
        yield Number(
            "energy",
            "eV/atom",
            value=document.potential_energy_ev_per_atom,
            error=document.potential_energy_err_ev_per_atom,
            note=document.reason,
        )
        yield Number(
            "pressure",
            "GPa",
            value=document.mean_pressure_gpa,
            error=document.mean_pressure_err_gpa,
            note=document.reason,
        )

    def row(self, document: RunThermodynamics) -> tuple[str, ...]:
        """Return the means with their errors."""
        drift, drift_err = document.drift_ev_per_atom, document.drift_err_ev_per_atom
        return (
            with_error(
                document.potential_energy_ev_per_atom, document.potential_energy_err_ev_per_atom
            ),
            with_error(
                None if drift is None else drift * EV_MEV,
                None if drift_err is None else drift_err * EV_MEV,
            ),
            with_error(document.mean_temperature_k, document.mean_temperature_err_k),
            with_error(document.mean_pressure_gpa, document.mean_pressure_err_gpa),
            document.reason,
        )

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield the runs whose means are far from what they were held at, or drift."""
        for document in data.measured(RunThermodynamics):
            target_gpa = document.pressure_bar * float(BAR_GPA)
            rows = (
                ("energy drifts", document.drift_ev_per_atom, document.drift_err_ev_per_atom, 0.0),
                (
                    "mean temperature is not the thermostat's",
                    document.mean_temperature_k,
                    document.mean_temperature_err_k,
                    document.temperature_k,
                ),
                (
                    "mean pressure is not that of the NpT run",
                    document.mean_pressure_gpa,
                    document.mean_pressure_err_gpa,
                    target_gpa,
                ),
            )
            wrong = [text for text, value, error, target in rows if _is_far(value, error, target)]
            if wrong:
                yield Statement(
                    f"{place_text(document)}: the {' and the '.join(wrong)}, by more than "
                    f"{_FAR:g} standard errors.",
                    (document.key,),
                )


def _is_far(value: float | None, error: float | None, target: float) -> bool:
    return value is not None and error is not None and abs(value - target) > _FAR * error


def _means(frames: Trajectory, n_blocks: int) -> dict[str, float]:
    """Return the facts of a run with enough frames."""
    energies = frames.potential_energy_ev / len(frames.species)
    first, second = np.array_split(energies, 2)
    halves = [block_error(half, n_blocks // 2) for half in (first, second)]
    return {
        "potential_energy_ev_per_atom": float(energies.mean()),
        "potential_energy_err_ev_per_atom": float(block_error(energies, n_blocks)),
        "drift_ev_per_atom": float(second.mean() - first.mean()),
        "drift_err_ev_per_atom": float(np.hypot(halves[0], halves[1])),
        "mean_temperature_k": float(frames.temperature_k.mean()),
        "mean_temperature_err_k": float(block_error(frames.temperature_k, n_blocks)),
        "mean_pressure_gpa": float(frames.pressures_gpa.mean()),
        "mean_pressure_err_gpa": float(block_error(frames.pressures_gpa, n_blocks)),
    }
