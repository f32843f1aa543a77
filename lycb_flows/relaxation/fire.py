"""FIRE on the positions and cells of many crystals at once.

Bitzek et al., Phys. Rev. Lett. 2006, 97, 170201, in the variant and with the parameters of
`ase.optimize.FIRE`; cells as in `ase.filters.FrechetCellFilter`. Alone in its batch, a crystal
takes exactly ASE's steps. Each has its own time step, mixing and velocities: in a batch it does
what it would do alone, as far as the potential's last digits allow.

The coordinates of a crystal of n atoms are three rows n L and n rows s; its forces likewise:

| equation | code |
|---|---|
| L, logarithm of the deformation gradient | `log_strains` |
| F = exp(L) | `deformations` |
| h = h0 F^T, cell | `cells_ang` |
| r = s F^T, positions | `positions_ang` |
| -dE/ds = f F | `_forces` |
| V = |det h0| exp(tr L) | `volumes_ang3` |
| W = -V sigma, virial | `virials_ev` |
| -dE/d(n L) = 1/n Dexp(L^T)[W F^-T] | `_frechet` |

L is itself a coordinate, so no logarithm is ever taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from lycb_flows.config import RelaxationConfig
from lycb_flows.potentials.evaluator import BatchPrediction, HasEvaluator
from lycb_flows.units import EV_PER_ANG3_GPA

# ASE's parameters, in ASE's unit of time
_FIRST_TIME_STEP, _MAX_TIME_STEP = 0.1, 1.0
_FASTER, _SLOWER = 1.1, 0.5
_FIRST_MIXING, _LESS_MIXING = 0.1, 0.99
_N_PATIENT = 5
_MAX_STEP_ANG = 0.2

_CELL_ROWS = 3
_LEAVING_SHARE = 0.25
"""Of a batch that must have finished before it is put together anew: that costs the evaluator
its neighbour lists, a finished crystal that stays costs its share of each evaluation."""


@dataclass(frozen=True)
class Minimum:
    """Atoms where a crystal came to rest, or how far it came.

    Attributes
    ----------
    atoms
        The crystal there, without calculator.
    energy_ev, static_energy_ev
        Total energies there and at the start.
    max_force_ev_per_ang
        Largest row of forces and cell gradient; not finite when the crystal flew apart.
    n_steps
        Steps of FIRE.
    converged
        Whether the largest force fell below the threshold.
    """

    atoms: Atoms
    energy_ev: float
    static_energy_ev: float
    max_force_ev_per_ang: float
    n_steps: int
    converged: bool

    @property
    def flew_apart(self) -> bool:
        """Whether the potential cannot describe what the crystal became."""
        return not np.isfinite([self.energy_ev, self.max_force_ev_per_ang]).all()


def minimise(
    crystals: Sequence[Atoms],
    potential: HasEvaluator,
    config: RelaxationConfig,
    *,
    max_atoms: int,
    device: torch.device,
) -> Iterator[tuple[int, Minimum]]:
    """Relax crystals side by side; those that finish leave, those that wait enter.

    Parameters
    ----------
    crystals
        The starts.
    potential
        Gives energy, forces and stress.
    config
        When a relaxation ends.
    max_atoms
        Most atoms in the batch at any time; a larger crystal moves alone.
    device
        Torch device of the potential.

    Yields
    ------
    tuple of int and Minimum
        Place in `crystals` and result, in the order in which they finish.
    """
    waiting = deque(range(len(crystals)))
    n_rows = _CELL_ROWS + max(map(len, crystals), default=0)
    moving: list[int] = []
    state = _State.at_rest([], n_rows, device)
    while waiting or moving:
        entering = _pick_entering(crystals, waiting, moving, max_atoms)
        moving = moving + entering
        state = state.joined(
            _State.at_rest([crystals[place] for place in entering], n_rows, device)
        )
        batch = _Batch([crystals[place] for place in moving], state, potential, config)
        while batch.finished.sum() < _LEAVING_SHARE * len(moving):
            for i, minimum in batch.advance():
                yield moving[i], minimum
        staying = (~batch.finished).nonzero().squeeze(1)
        moving = [moving[i] for i in staying.tolist()]
        state = batch.state.picked(staying)


def _pick_entering(
    crystals: Sequence[Atoms], waiting: deque[int], moving: Sequence[int], max_atoms: int
) -> list[int]:
    """Take from `waiting` what there is room for, at least one if nothing moves."""
    room = max_atoms - sum(len(crystals[place]) for place in moving)
    entering: list[int] = []
    while waiting and (len(crystals[waiting[0]]) <= room or not (moving or entering)):
        entering.append(waiting.popleft())
        room -= len(crystals[entering[-1]])
    return entering


@dataclass
class _State:
    """Positions and velocities of m crystals; `rows` fit the largest, the rest are zero.

    Attributes
    ----------
    start_cells_ang
        Shape (m, 3, 3).
    coordinates_ang, velocities
        Shape (m, rows, 3).
    time_steps, mixings, n_downhill, n_steps, static_energies_ev
        Shape (m,); `n_downhill` counts the steps since FIRE last stopped.
    """

    start_cells_ang: Tensor
    coordinates_ang: Tensor
    velocities: Tensor
    time_steps: Tensor
    mixings: Tensor
    n_downhill: Tensor
    n_steps: Tensor
    static_energies_ev: Tensor

    @classmethod
    def at_rest(cls, crystals: Sequence[Atoms], n_rows: int, device: torch.device) -> Self:
        """Return the state of crystals before their first step.

        Parameters
        ----------
        crystals
            The starts.
        n_rows
            Rows of coordinates, enough for the largest crystal.
        device
            Where the tensors live.
        """
        cells, coordinates = np.zeros((len(crystals), 3, 3)), np.zeros((len(crystals), n_rows, 3))
        for atoms, cell, rows in zip(crystals, cells, coordinates, strict=True):
            cell[:] = atoms.cell.array
            rows[_CELL_ROWS : _CELL_ROWS + len(atoms)] = atoms.positions
        coordinates_ang = torch.from_numpy(coordinates).to(device)
        zeros = coordinates_ang.new_zeros(len(crystals))
        return cls(
            start_cells_ang=torch.from_numpy(cells).to(device),
            coordinates_ang=coordinates_ang,
            velocities=torch.zeros_like(coordinates_ang),
            time_steps=torch.full_like(zeros, _FIRST_TIME_STEP),
            mixings=torch.full_like(zeros, _FIRST_MIXING),
            n_downhill=zeros.long(),
            n_steps=zeros.long(),
            static_energies_ev=zeros,
        )

    def picked(self, which: Tensor) -> Self:
        """Return the crystals with these indices."""
        return type(self)(**{name: value[which] for name, value in vars(self).items()})

    def joined(self, others: Self) -> Self:
        """Return these crystals, then the others."""
        both = {
            name: torch.cat([value, getattr(others, name)]) for name, value in vars(self).items()
        }
        return type(self)(**both)


class _Batch:
    """Crystals that move together.

    Parameters
    ----------
    crystals
        In the order of the state.
    state
        Changed in place.
    """

    def __init__(
        self,
        crystals: Sequence[Atoms],
        state: _State,
        potential: HasEvaluator,
        config: RelaxationConfig,
    ) -> None:
        self.crystals, self.state, self.config = crystals, state, config
        self.evaluate = potential.evaluator([atoms.numbers for atoms in crystals])
        self.n_atoms = [len(atoms) for atoms in crystals]
        self.sizes = state.time_steps.new_tensor(self.n_atoms)[:, None, None]
        self.start_volumes_ang3 = torch.linalg.det(state.start_cells_ang).abs()
        self.finished = torch.zeros_like(state.n_steps, dtype=torch.bool)
        rows = torch.arange(state.coordinates_ang.shape[1], device=self.sizes.device)
        occupied = (rows >= _CELL_ROWS) & (rows < _CELL_ROWS + self.sizes[:, :, 0])
        self.atom_rows = occupied.flatten().nonzero().squeeze(1)

    def advance(self) -> list[tuple[int, Minimum]]:
        """Move the unfinished crystals by one step; return those that now finish, by index."""
        state = self.state
        log_strains = state.coordinates_ang[:, :_CELL_ROWS] / self.sizes
        deformations = torch.linalg.matrix_exp(log_strains)
        cells_ang = state.start_cells_ang @ deformations.mT
        stretched = state.coordinates_ang @ deformations.mT
        positions_ang = stretched.flatten(0, 1)[self.atom_rows]
        now = self.evaluate(positions_ang, cells_ang)
        state.static_energies_ev = torch.where(
            state.n_steps == 0, now.energies_ev, state.static_energies_ev
        )
        forces = self._forces(now, log_strains, deformations)
        max_forces = forces.norm(dim=2).amax(dim=1)
        just = self._just_finished(now.energies_ev, max_forces)
        self.finished |= just
        minima = [
            (i, self._minimum(i, positions_ang, cells_ang, now.energies_ev[i], max_forces[i]))
            for i in just.nonzero().squeeze(1).tolist()
        ]
        _step(state, forces, ~self.finished)
        return minima

    def _forces(self, now: BatchPrediction, log_strains: Tensor, deformations: Tensor) -> Tensor:
        """Return minus the gradient of the energy, in the shape of the coordinates."""
        rows = torch.zeros_like(self.state.coordinates_ang)
        rows.flatten(0, 1)[self.atom_rows] = now.forces_ev_per_ang
        forces = rows @ deformations
        if self.config.relax_cell:
            stresses = now.stresses_gpa + now.stresses_gpa.mT  # float32 noise must not rotate
            traces = log_strains.diagonal(dim1=1, dim2=2).sum(dim=1)
            volumes_ang3 = (self.start_volumes_ang3 * traces.exp())[:, None, None]
            virials_ev = stresses * volumes_ang3 * (-0.5 / EV_PER_ANG3_GPA)
            gradients = virials_ev @ torch.linalg.inv_ex(deformations).inverse.mT
            forces[:, :_CELL_ROWS] = _frechet(log_strains.mT, gradients / self.sizes)
        return forces

    def _just_finished(self, energies_ev: Tensor, max_forces: Tensor) -> Tensor:
        """Return which crystals (m,) are newly converged, out of steps or flown apart."""
        over = (max_forces < self.config.fmax_ev_per_ang) | ~(energies_ev + max_forces).isfinite()
        return (over | (self.state.n_steps >= self.config.max_steps)) & ~self.finished

    def _minimum(
        self, i: int, positions_ang: Tensor, cells_ang: Tensor, energy_ev: Tensor, max_force: Tensor
    ) -> Minimum:
        atoms = self.crystals[i].copy()
        atoms.set_cell(cells_ang[i].cpu().numpy())
        atoms.positions[:] = positions_ang.split(self.n_atoms)[i].cpu().numpy()
        return Minimum(
            atoms=atoms,
            energy_ev=float(energy_ev),
            static_energy_ev=float(self.state.static_energies_ev[i]),
            max_force_ev_per_ang=float(max_force),
            n_steps=int(self.state.n_steps[i]),
            converged=bool(max_force < self.config.fmax_ev_per_ang),
        )


def _step(state: _State, forces: Tensor, moving: Tensor) -> None:
    """Take a step of FIRE for the crystals that are `moving` (m,), in place."""
    dot = (forces * state.velocities).sum(dim=(1, 2))
    downhill, uphill = dot > 0, (dot <= 0) & (state.n_steps > 0)
    faster = downhill & (state.n_downhill > _N_PATIENT)
    speeds = _norms(state.velocities)
    mixing = state.mixings[:, None, None]
    mixed = (1 - mixing) * state.velocities + mixing * forces / _norms(forces) * speeds
    velocities = torch.where(downhill[:, None, None], mixed, 0.0)
    sooner = (state.time_steps * _FASTER).clamp(max=_MAX_TIME_STEP)
    later = torch.where(uphill, state.time_steps * _SLOWER, state.time_steps)
    state.time_steps = torch.where(faster, sooner, later)
    kept = torch.where(uphill, _FIRST_MIXING, state.mixings)
    state.mixings = torch.where(faster, state.mixings * _LESS_MIXING, kept)
    state.n_downhill = torch.where(downhill, state.n_downhill + 1, 0)
    time_steps = state.time_steps[:, None, None]
    state.velocities = velocities + time_steps * forces
    steps_ang = time_steps * state.velocities
    steps_ang = steps_ang * (_MAX_STEP_ANG / _norms(steps_ang)).clamp(max=1.0)
    state.coordinates_ang = state.coordinates_ang + torch.where(
        moving[:, None, None], steps_ang, 0.0
    )
    state.n_steps = state.n_steps + moving


def _norms(rows: Tensor) -> Tensor:
    """Return the length of each crystal's whole vector, shape (m, 1, 1)."""
    return rows.square().sum(dim=(1, 2), keepdim=True).sqrt()


def _frechet(matrices: Tensor, directions: Tensor) -> Tensor:
    """Return the derivative of the exponential of `matrices` along `directions`; shapes (m, 3, 3).

    It stands in the corner of the exponential of a block matrix (Mathias, SIAM J. Matrix
    Anal. Appl. 1996, 17, 610).
    """
    above = torch.cat([matrices, directions], dim=2)
    below = torch.cat([torch.zeros_like(matrices), matrices], dim=2)
    blocks: Tensor = torch.linalg.matrix_exp(torch.cat([above, below], dim=1))
    return blocks[:, :3, 3:]
