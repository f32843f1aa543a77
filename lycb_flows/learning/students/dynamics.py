"""Whether a student moves as its teacher does: volumes and D of both, as ratios with errors.

>>> runs = DynamicsRuns(folder, student, teacher, start, DynamicsPlan(temperature_k=600.0))
>>> found = runs.compare(DiffusionConfig())
>>> found.diffusivity_m2_per_s.ratio, found.diffusivity_m2_per_s.ratio_err

Both potentials run NpT at every temperature, from the same crystal with the same velocities. Then
both diffuse in one cell, the mean one of the student's NpT run: a ratio of D at two volumes would
mix two differences, and the volumes are compared by themselves. Every run has a folder of its own
and goes on where it was stopped. Longer NpT runs give another mean cell: the runs in it are new,
in folders that its key names.

The error of a mean volume comes from blocks (`transport.averages`), that of the pooled D from its
number of independent events n, D / sqrt(n) (`transport.replicas`). With r = s / t,

    (err r / r)² = (err s / s)² + (err t / t)².
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lycb_flows.config import DiffusionConfig, MDConfig, MDProtocol
from lycb_flows.crystals import structure_from_arrays, to_ase
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.learning.bakeoff import step_s
from lycb_flows.md import (
    TRAJECTORY_NAME,
    Progress,
    SingleRun,
    Trajectory,
    average_cell_ang,
    averaging_window,
    production_start,
    read_trajectory_file,
    run_in_folder,
)
from lycb_flows.potentials import Potential
from lycb_flows.schemas import DiffusionEstimate, Structure
from lycb_flows.transport import MIN_REPLICAS, analyse_diffusion, block_error, pool_replicas

STUDENT, TEACHER = "student", "teacher"
_N_BLOCKS = 5
Tell = Callable[[str, Progress], None]
"""Called with the name of a run and how far it has come, at every frame."""


@dataclass(frozen=True)
class DynamicsPlan:
    """What is compared.

    Attributes
    ----------
    temperature_k
        Where both diffuse.
    volume_temperatures_k
        Where volumes are compared; `temperature_k` is among them in any case.
    pressure_bar
        Of the NpT runs.
    n_replicas
        Runs at `temperature_k` of each potential, with velocities of their own.
    nvt_ps, npt_ps
        Length of the runs after ramp and equilibration.
    md
        Time step, damping, cell shape.
    seed
        Of the velocities.
    """

    temperature_k: float = 600.0
    volume_temperatures_k: tuple[float, ...] = (300.0,)
    pressure_bar: float = 1.0
    n_replicas: int = 3
    nvt_ps: float = 60.0
    npt_ps: float = 20.0
    md: MDConfig = field(default_factory=MDConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_replicas < MIN_REPLICAS:
            raise InputError(
                "a single run has no scatter",
                fix=f"give {MIN_REPLICAS} replicas or more",
                found=self.n_replicas,
            )

    @property
    def npt_temperatures_k(self) -> tuple[float, ...]:
        """Temperatures of the NpT runs, ascending."""
        return tuple(sorted({*self.volume_temperatures_k, self.temperature_k}))

    def npt(self, temperature_k: float) -> tuple[MDProtocol, int]:
        """Return protocol and length in steps of an NpT run at a temperature in K."""
        return self._long(self.md.npt(temperature_k, self.pressure_bar), self.npt_ps)

    def nvt(self) -> tuple[MDProtocol, int]:
        """Return protocol and length in steps of a replica, which first settles in its cell."""
        protocol = self.md.nvt(self.temperature_k, ramp=True)
        return self._long(protocol, self.md.equilibration_ps + self.nvt_ps)

    @property
    def n_steps(self) -> int:
        """Steps of all runs of one of the two potentials."""
        npt = sum(self.npt(temperature_k)[1] for temperature_k in self.npt_temperatures_k)
        return npt + self.n_replicas * self.nvt()[1]

    def _long(self, protocol: MDProtocol, duration_ps: float) -> tuple[MDProtocol, int]:
        return protocol, production_start(protocol) + self.md.steps(duration_ps)


@dataclass(frozen=True)
class Ratio:
    """A number of the student over the teacher's, each with its standard error."""

    student: float
    student_err: float
    teacher: float
    teacher_err: float

    @property
    def ratio(self) -> float:
        """Student over teacher."""
        return self.student / self.teacher

    @property
    def ratio_err(self) -> float:
        """Standard error of the ratio."""
        relative = math.hypot(self.student_err / self.student, self.teacher_err / self.teacher)
        return self.ratio * relative

    @property
    def differs_by(self) -> float:
        """Errors between the ratio and one."""
        return abs(self.ratio - 1) / self.ratio_err

    def as_dict(self) -> dict[str, float]:
        """Return numbers, ratio and its error as plain data."""
        return {**asdict(self), "ratio": self.ratio, "ratio_err": self.ratio_err}


@dataclass(frozen=True)
class DynamicsComparison:
    """What was found.

    Attributes
    ----------
    volumes_ang3_per_atom
        By temperature in K.
    diffusivity_m2_per_s
        Pooled over the replicas; None where it cannot be compared.
    regimes
        Of each replica, by potential.
    reason
        Why D is not compared.
    """

    volumes_ang3_per_atom: dict[float, Ratio]
    diffusivity_m2_per_s: Ratio | None
    regimes: dict[str, tuple[str, ...]]
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison as plain data."""
        found = self.diffusivity_m2_per_s
        return {
            "volumes_ang3_per_atom": {
                f"{t:g}": ratio.as_dict() for t, ratio in self.volumes_ang3_per_atom.items()
            },
            "diffusivity_m2_per_s": found and found.as_dict(),
            "regimes": {name: list(regimes) for name, regimes in self.regimes.items()},
            "reason": self.reason,
        }


@dataclass(frozen=True)
class DynamicsRuns:
    """The runs of both potentials, each in a folder of its own.

    Attributes
    ----------
    folder
        Holds them; the same again goes on.
    student, teacher
        The two potentials.
    start
        The crystal, as large as the runs shall be.
    plan
        What is compared.
    tell
        Told of every run.
    models
        Keys of the two Models by name of the potential, so that no folder is taken for another
        model's; without them a run is known by the rest alone.
    """

    folder: Path
    student: Potential
    teacher: Potential
    start: Structure
    plan: DynamicsPlan
    tell: Tell | None = None
    models: Mapping[str, str] = field(default_factory=dict)

    def price_s(self) -> dict[str, float]:
        """Return the estimated seconds of each potential's runs, from a few evaluations here."""
        return {
            name: self.plan.n_steps * step_s(potential, to_ase(self.start))
            for name, potential in self._potentials()
        }

    def compare(self, config: DiffusionConfig) -> DynamicsComparison:
        """Run what is missing and compare.

        Parameters
        ----------
        config
            The mobile ions.

        Raises
        ------
        PhysicsError
            When a run leaves physics; the message names it.
        """
        cells = {name: self._cells(name, potential) for name, potential in self._potentials()}
        volumes = {
            temperature_k: Ratio(
                *_volume(cells[STUDENT][temperature_k]), *_volume(cells[TEACHER][temperature_k])
            )
            for temperature_k in self.plan.npt_temperatures_k
        }
        cell = average_cell_ang(cells[STUDENT][self.plan.temperature_k].cells_ang)
        start = structure_from_arrays(cell, list(self.start.species), self.start.frac_coords)
        estimates = {
            name: self._estimates(name, potential, start, config)
            for name, potential in self._potentials()
        }
        regimes = {
            name: tuple(str(found.regime) for found in estimates[name])
            for name in (STUDENT, TEACHER)
        }
        ratio, reason = _ratio_of(estimates, self.plan.nvt_ps)
        return DynamicsComparison(volumes, ratio, regimes, reason)

    def _potentials(self) -> Iterator[tuple[str, Potential]]:
        yield STUDENT, self.student
        yield TEACHER, self.teacher

    def _cells(self, name: str, potential: Potential) -> dict[float, Trajectory]:
        """Return the averaged frames of every NpT run."""
        found = {}
        for temperature_k in self.plan.npt_temperatures_k:
            protocol, n_steps = self.plan.npt(temperature_k)
            run = SingleRun(self.start, protocol, self.plan.seed, n_steps, self.models.get(name))
            frames = self._run(f"{name}-npt-{temperature_k:g}K", run, potential)
            found[temperature_k] = frames.between(*averaging_window(protocol, n_steps))
        return found

    def _estimates(
        self, name: str, potential: Potential, start: Structure, config: DiffusionConfig
    ) -> list[DiffusionEstimate]:
        protocol, n_steps = self.plan.nvt()
        n_last = self.plan.md.steps(self.plan.nvt_ps)
        found = []
        for replica in range(self.plan.n_replicas):
            seed = self.plan.seed + replica
            run = SingleRun(start, protocol, seed, n_steps, self.models.get(name))
            label = f"{name}-nvt-{self.plan.temperature_k:g}K-{start.key[:8]}-{replica}"
            frames = self._run(label, run, potential).between(n_steps - n_last, n_steps)
            result = analyse_diffusion(
                frames.unwrapped_ang(),
                float(frames.times_ps[1] - frames.times_ps[0]),
                np.array(frames.species) == config.mobile_species,
                average_cell_ang(frames.cells_ang),
                self.plan.temperature_k,
                config,
            )
            found.append(result.estimate)
        return found

    def _run(self, label: str, run: SingleRun, potential: Potential) -> Trajectory:
        def tell(now: Progress) -> None:
            if self.tell:
                self.tell(label, now)

        folder = self.folder / label
        health = run_in_folder(folder, run, potential, device=str(potential.device), tell=tell)
        if not health.healthy:
            raise PhysicsError(
                "a run left physics", fix="look at its last frames", run=label, reason=health.reason
            )
        return read_trajectory_file(folder / TRAJECTORY_NAME)


def _volume(frames: Trajectory) -> tuple[float, float]:
    """Return the mean volume and its error in Å³ per atom."""
    volumes = frames.volumes_ang3 / len(frames.species)
    return float(volumes.mean()), float(block_error(volumes, _N_BLOCKS))


def _ratio_of(
    estimates: dict[str, list[DiffusionEstimate]], duration_ps: float
) -> tuple[Ratio | None, str]:
    """Return the ratio of the pooled D, or None and why there is none."""
    sides: list[float] = []
    for name in (STUDENT, TEACHER):
        pooled = pool_replicas(estimates[name], [duration_ps] * len(estimates[name]))
        if pooled is None or not pooled.n_events:
            regimes = ", ".join(str(found.regime) for found in estimates[name])
            return None, f"the runs of the {name} have no D to pool: {regimes}"
        found = pooled.diffusivity_m2_per_s
        sides += [found, found / math.sqrt(pooled.n_events)]
    return Ratio(*sides), ""
