"""Molecular dynamics by native/nep_dynamics.hpp, where the potential has such a loop.

The equations are those of `integrators.py`, to rounding. Replicas do not wait for each other:
one that leaves its limits stops, the others take all their steps. A replica's bits depend
neither on the batch nor on the number of threads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import units
from numpy.typing import NDArray

from lycb_flows.errors import InputError
from lycb_flows.md.chains import FloatArray
from lycb_flows.md.health import COLDEST_LIMIT_K
from lycb_flows.md.integrators import Dynamics, Limits
from lycb_flows.md.motion import Replica
from lycb_flows.potentials import HasEvaluator, fields
from lycb_flows.potentials.nep.kernel import NepEvaluator, address
from lycb_flows.units import EV_PER_ANG3_GPA


class _Motion(ctypes.Structure):
    """`Motion` of nep_dynamics.hpp."""

    _fields_ = (
        *fields(ctypes.c_void_p, "positions momenta inverse_masses"),
        *fields(ctypes.c_double * 9, "cell cell_momenta"),
        ("rates", ctypes.c_double * 6),
        ("heat", ctypes.c_double * 2),
        ("kinetic", ctypes.c_double * 9),
        ("energy", ctypes.c_double),
        ("virial", ctypes.c_double * 9),
        ("time", ctypes.c_double),
        *fields(ctypes.c_double * 2, "degrees squares"),
        *fields(ctypes.c_double, "pressure period_squared"),
        ("mask", ctypes.c_double * 9),
        ("third", ctypes.c_double),
        *fields(ctypes.c_double * 9, "frame inverse_frame"),
        *fields(
            ctypes.c_double,
            "hottest_factor coldest_limit start_energy largest_jump start_volume largest_growth "
            "grade largest_grade boltzmann",
        ),
        *fields(ctypes.c_int64, "cell_moves thermostatted"),
    )


def make_dynamics(
    replicas: Sequence[Replica], potential: HasEvaluator, device: str = "cpu"
) -> Dynamics:
    """Return the dynamics of some replicas, native where the potential's evaluator has a loop.

    Parameters
    ----------
    replicas
        A batch.
    potential
        Gives the evaluator.
    device
        Torch device of positions and momenta.

    Raises
    ------
    InputError
        When a run has a limit of its extrapolation grade, and there is none.
    """
    evaluator = potential.evaluator([replica.numbers for replica in replicas])
    limits = [replica.protocol.health.extrapolation_limit for replica in replicas]
    is_graded = isinstance(evaluator, NepEvaluator) and evaluator.is_graded
    if any(limits) and not is_graded:
        raise InputError(
            "a run with a limit of its extrapolation grade needs a potential that takes it",
            fix="drop the limit; a campaign's student takes it, on a CPU with a C++ compiler",
            extrapolation_limit=max(filter(None, limits)),
        )
    kind = NativeDynamics if isinstance(evaluator, NepEvaluator) else Dynamics
    return kind(replicas, evaluator, device)


class NativeDynamics(Dynamics):
    """A batch whose steps are taken in native code."""

    _evaluate: NepEvaluator

    def step(self, targets_k: FloatArray) -> None:
        """Take one step, the thermostats aiming at temperatures (m,) in K."""
        self._run(targets_k[None], None)

    def advance(self, targets_k: FloatArray, limits: Limits) -> NDArray[np.int64]:
        """Take steps; a replica that leaves its limits stops there.

        Parameters
        ----------
        targets_k
            What the thermostats aim at in each step, shape (steps, m).
        limits
            Of each replica.

        Returns
        -------
        ndarray
            The steps that each replica has taken, shape (m,).
        """
        return self._run(targets_k, limits)

    def _evaluate_now(self) -> None:
        """Evaluate where the replicas are, with a new list: nothing before it counts."""
        self._masses = self._inverse_masses.numpy().ravel()
        self.kinetic_ev = np.zeros((len(self.sizes), 3, 3))
        self._aim(np.ones(len(self.sizes)))
        self._run(np.empty((0, len(self.sizes))), None)

    def _read_host(self) -> None:
        """Do nothing: `_run` has read everything."""

    def _run(self, targets_k: FloatArray, limits: Limits | None) -> NDArray[np.int64]:
        motions = (_Motion * len(self.sizes))()
        for i, motion in enumerate(motions):
            self._fill(motion, i, limits)
        taken = np.zeros(len(self.sizes), np.int64)
        status = self._evaluate.library.lycb_nep_advance(
            self._evaluate.system,
            torch.get_num_threads(),
            ctypes.c_int64(len(targets_k)),
            address(targets := np.ascontiguousarray(targets_k.T)),
            motions,
            address(taken),
        )
        if status:
            raise MemoryError
        if len(targets_k):
            self._aim(targets[np.arange(len(taken)), taken - 1])
        self._read(motions)
        return taken

    def _fill(self, motion: _Motion, i: int, limits: Limits | None) -> None:
        first = sum(self.sizes[:i])
        for name, tensor in (("positions", self.positions_ang), ("momenta", self.momenta)):
            setattr(motion, name, tensor[first:].data_ptr())
        motion.inverse_masses = self._masses[first:].ctypes.data
        rows = {
            "cell": self.cells_ang[i],
            "cell_momenta": self.cell_momenta[i],
            "rates": self.chains.rates[i],
            "heat": self.heat_ev[i],
            "kinetic": self.kinetic_ev[i],
            "degrees": self.degrees[i],
            "squares": self.chains.squares[i],
            "mask": self._masks[i],
            "frame": self.frames[i],
            "inverse_frame": self._inverse_frames[i],
        }
        if len(self._last_virials_ev):
            rows["virial"] = self._last_virials_ev[i]
        for name, row in rows.items():
            getattr(motion, name)[:] = row.ravel().tolist()
        motion.time, motion.boltzmann = self._times[i], units.kB
        motion.pressure, motion.third = self._pressures[i], self._thirds[i]
        motion.period_squared = self._periods[i, 1] ** 2
        motion.cell_moves = int(self._cell_moves[i])
        motion.thermostatted = int(self._thermostatted[i])
        self._fill_limits(motion, i, limits)

    def _fill_limits(self, motion: _Motion, i: int, limits: Limits | None) -> None:
        motion.coldest_limit, motion.start_volume = COLDEST_LIMIT_K, 1.0
        motion.hottest_factor = motion.largest_jump = motion.largest_growth = np.inf
        motion.grade, motion.largest_grade = np.nan_to_num(self.grades[i]), np.inf
        if limits is not None:
            motion.largest_grade = limits.grades[i]
            motion.hottest_factor = limits.heat_factors[i]
            motion.largest_jump = limits.jumps_ev_per_atom[i]
            motion.largest_growth = limits.volume_factors[i]
            motion.start_energy = limits.energies_ev_per_atom[i]
            motion.start_volume = limits.volumes_ang3[i]

    _last_virials_ev: FloatArray = np.empty((0, 3, 3))

    def _read(self, motions: Any) -> None:  # noqa: ANN401 - an array type of ctypes
        def rows(name: str, *shape: int) -> FloatArray:
            return np.array([getattr(motion, name)[:] for motion in motions]).reshape(-1, *shape)

        self._set_cells(rows("cell", 3, 3))
        self.cell_momenta = rows("cell_momenta", 3, 3)
        self.chains.rates = rows("rates", 2, 3)
        self.heat_ev = rows("heat", 2)
        self.kinetic_ev = rows("kinetic", 3, 3)
        self._last_virials_ev = rows("virial", 3, 3)
        self.energies_ev = np.array([motion.energy for motion in motions])
        if self._evaluate.is_graded:
            self.grades = np.array([motion.grade for motion in motions])
        per_volume = EV_PER_ANG3_GPA / self.volumes_ang3
        self.stresses_gpa = self._last_virials_ev * per_volume[:, None, None]
        finite = np.isfinite(self.stresses_gpa + self.kinetic_ev).all(axis=(1, 2))
        self.are_numbers = finite & np.isfinite(self.energies_ev)
