"""The statics of a student: its errors against the teacher where its own runs lead it.

>>> runs = OwnRuns((300.0, 600.0))
>>> certificate = certify_statics(student, teach, starts, runs, trained_on=structures)
>>> certificate.conditions[0].errors.force_mae_ev_per_ang
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_masses

from lycb_flows.config import MDConfig
from lycb_flows.crystals import to_ase
from lycb_flows.learning.labelled import LabelledStructure, model_errors
from lycb_flows.learning.students.extrapolation import ActiveSet, find_active_set
from lycb_flows.learning.students.frames import (
    Teach,
    frames_of_runs,
    needed_ps,
    short_protocols,
    short_settings,
)
from lycb_flows.machine import Stage, Tell, no_tell
from lycb_flows.md import Replica, begin_motion, make_dynamics, thermal_momenta
from lycb_flows.potentials import NepPotential, Potential
from lycb_flows.schemas import ModelErrors, Structure, StudentCondition
from lycb_flows.units import PS_FS

FRAMES_PER_TEMPERATURE = 50
_RUN_PS = 4.0
_SEED = 1_000_000  # of velocities that no run for training had
_NVE_STEPS = 1000
_SAMPLES = 50


@dataclass(frozen=True)
class OwnRuns:
    """Where a student is looked at.

    Attributes
    ----------
    temperatures_k
        Of its NVT and NpT runs.
    pressures_bar
        Of its NpT runs.
    n_frames
        Frames at every temperature, of all its runs together; many of them lengthen the runs.
    md
        Of the runs that the student is for.
    """

    temperatures_k: Sequence[float]
    pressures_bar: Sequence[float] = (1.0,)
    n_frames: int = FRAMES_PER_TEMPERATURE
    md: MDConfig = MDConfig()  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class Certificate:
    """What is known of a student's statics; its dynamics are another matter.

    Attributes
    ----------
    conditions
        Every temperature in both ensembles; the frames are none of the training's.
    on_labels
        Errors on labels of the level of theory itself, where there were some.
    drift_ev_per_atom_per_ps
        Slope of the energy in NVE at the highest temperature.
    active_set
        What grades are measured by.
    """

    conditions: tuple[StudentCondition, ...]
    on_labels: ModelErrors | None
    drift_ev_per_atom_per_ps: float
    active_set: ActiveSet

    def as_dict(self) -> dict[str, Any]:
        """Return the certificate as plain data."""
        return {
            "conditions": [condition.model_dump() for condition in self.conditions],
            "on_labels": None if self.on_labels is None else self.on_labels.model_dump(),
            "drift_ev_per_atom_per_ps": self.drift_ev_per_atom_per_ps,
        }


def certify_statics(
    student: NepPotential,
    teach: Teach,
    starts: Sequence[Structure],
    runs: OwnRuns,
    *,
    trained_on: Sequence[Structure],
    tell: Tell = no_tell,
) -> Certificate:
    """Return the errors of a student on frames of its own NVT and NpT runs.

    Parameters
    ----------
    student
        The NEP.
    teach
        Labels by what it was trained to repeat.
    starts
        Crystals that the runs begin with.
    runs
        Where the student is looked at.
    trained_on
        The training's structures; grades are relative to them.
    tell
        Told how far it is.
    """
    tell("certificate: runs of the student and their labels")
    active = find_active_set(student, trained_on)
    graded = student.graded_by(active.transforms)
    config = short_settings(_without_limit(runs.md))
    per_run = -(-runs.n_frames // ((1 + len(runs.pressures_bar)) * len(starts)))
    protocols = [
        protocol
        for temperature_k in runs.temperatures_k
        for protocol in short_protocols(temperature_k, runs.pressures_bar, config)
    ]
    conditions, stage = [], Stage(tell, "certificate: conditions", len(protocols))
    for protocol in protocols:
        long_ps = max(_RUN_PS, needed_ps(protocol, per_run))
        own = frames_of_runs(
            starts, graded, protocol, duration_ps=long_ps, per_run=per_run, seed=_SEED
        )
        labelled, grade = teach(own.frames), own.largest_grade
        if grade is None:  # torch's steps take none
            grade = float(active.grades(student, own.frames).max(initial=0.0))
        conditions.append(
            StudentCondition(
                temperature_k=protocol.temperature_k,
                ensemble=protocol.ensemble,
                pressure_bar=protocol.pressure_bar,
                errors=errors_of(student, labelled) if labelled else None,
                largest_grade=grade,
                failures=tuple(own.failures),
            )
        )
        stage.reach(len(conditions))
    return Certificate(
        tuple(conditions),
        None,
        energy_drift(student, starts[0], max(runs.temperatures_k), config),
        active,
    )


def _without_limit(md: MDConfig) -> MDConfig:
    """Return settings whose runs go on at any grade, so that the largest is met."""
    health = md.health.model_copy(update={"extrapolation_limit": None})
    return md.model_copy(update={"health": health})


def errors_of(student: Potential, labelled: Sequence[LabelledStructure]) -> ModelErrors:
    """Return the errors of a student on labels.

    Parameters
    ----------
    student
        Any potential.
    labelled
        Structures with labels.
    """
    return model_errors(labelled, student.predict([each.structure for each in labelled]))


def energy_drift(
    student: NepPotential, start: Structure, temperature_k: float, config: MDConfig
) -> float:
    """Return the slope of the energy in NVE, in eV per atom and ps.

    Parameters
    ----------
    student
        Drives the run.
    start
        Where it begins.
    temperature_k
        Of the first velocities.
    config
        Its time step.
    """
    atoms = to_ase(start)
    momenta = thermal_momenta(
        atomic_masses[atoms.numbers], 2 * temperature_k, np.random.default_rng(_SEED)
    )
    motion = begin_motion(atoms.numbers, atoms.positions, atoms.cell.array, momenta)
    protocol = config.nvt(temperature_k, ramp=False).model_copy(update={"ensemble": "nve"})
    dynamics = make_dynamics([Replica(atoms.numbers, motion, protocol, atoms.cell.array)], student)
    dynamics.set_phase(np.ones(1, bool))
    energies, times = [], []
    for step in range(_NVE_STEPS):
        dynamics.step(np.array([temperature_k]))
        if step % (_NVE_STEPS // _SAMPLES) == 0:
            energies.append(dynamics.conserved_energies_ev.item() / len(atoms))
            times.append(step * protocol.time_step_fs / PS_FS)
    return float(np.polyfit(times, energies, 1)[0])
