"""Batched molecular dynamics: NVE, Nosé-Hoover chains, and Martyna-Tobias-Klein (MTK) cells.

Replicas of any size lie side by side. With r a row vector, h the cell (rows a, b, c) and
V = dh/dt in units of the cell, h^-1 (dh/dt):

    dr/dt = p/m + r V        dp/dt = F - p (V^T + tr V / N_f) - p v_0        dh/dt = h V

| symbol | code | is |
|---|---|---|
| N_f = 3N - 3 | `degrees[:, 0]` | degrees of freedom: the total momentum is zero and stays zero |
| Π = W X V X^-1 | `cell_momenta` | momenta of the cell in the frame X |
| X | `frames` | anisotropic: unit vectors along a, b, c; otherwise the unit matrix |
| W = (N_f/3 + 1) k_B T τ_p^2 | `_inertia_ev` | mass of the cell, per squared time unit |
| v_0, v_1, v_2 | `chains.rates` | rates of the chains of particles and cell (`chains.py`) |

What may move is a mask on the force on Π: all of it (triclinic, 6 degrees of freedom), its
diagonal (anisotropic: lengths move, the directions of a, b, c stand), or a third of its trace on
the diagonal (isotropic). A cell that stands has Π = 0 and the same equations.

The order of the Trotter factors, the fourth-order Suzuki-Yoshida weights and the chain's length
are ASE's (arXiv 2603.24061), and so are the trajectories but for what is counted: ASE counts
3N degrees of freedom (with zero total momentum that is N/(N-1) too hot) and 9 for a triclinic
cell whose momenta are symmetric, hence 6 (MTK, J. Chem. Phys. 1994, 101, 4177).

- Forces do not sum to zero in float32: their mean is subtracted, per replica.
- A thermostat's target may move (the heating ramp). Its masses follow, so its period stays.
- Positions and momenta live on the device, all that is per replica (chains, cells) on the host
  in numpy, because it is hundreds of operations on a handful of numbers. Each step the host
  reads one small tensor: kinetic tensor, stress and energy of each replica.
- A triclinic cell may turn slowly: compare lengths and angles, never matrix elements.
  Pressure is external: positive compresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from ase import units
from ase.data import atomic_masses
from numpy.typing import NDArray
from scipy.special import exprel
from torch import Tensor

from lycb_flows.md.chains import Chains, FloatArray
from lycb_flows.md.motion import Motion, Replica
from lycb_flows.potentials.evaluator import Evaluator
from lycb_flows.units import BAR_GPA, EV_PER_ANG3_GPA, PS_FS

BoolArray = NDArray[np.bool_]
_UNIT = np.eye(3)
_CELL_DEGREES = {None: 1, "isotropic": 1, "anisotropic": 3, "triclinic": 6}
"""Degrees of freedom of a cell's shape; a cell that stands has none, and 1 to divide by."""


class Limits(Protocol):
    """What every step must keep: factors of temperature and volume, jump of the energy, grade."""

    heat_factors: FloatArray
    volume_factors: FloatArray
    jumps_ev_per_atom: FloatArray
    volumes_ang3: FloatArray
    energies_ev_per_atom: FloatArray
    grades: FloatArray

    def are_kept(self, now: Dynamics, targets_k: FloatArray) -> BoolArray:
        """Return which replicas (m,) are still physical.

        Parameters
        ----------
        now
            The batch after a step.
        targets_k
            Temperatures (m,) in K that the thermostats aim at.
        """


class Dynamics:
    """A batch of m replicas with n atoms altogether, and their next step.

    Parameters
    ----------
    replicas
        Each with its own size, cell, temperature, pressure and ensemble.
    evaluator
        Of exactly these replicas.
    device
        Torch device of positions and momenta.

    Attributes
    ----------
    positions_ang, momenta
        Tensors (n, 3).
    cells_ang
        Host array (m, 3, 3).
    energies_ev, stresses_gpa, kinetic_ev
        Host arrays (m,), (m, 3, 3), (m, 3, 3) of the last step; stress without its kinetic
        part, tension positive.
    grades
        Host array (m,), the largest extrapolation grade so far; NaN where none is taken.
    """

    def __init__(
        self, replicas: Sequence[Replica], evaluator: Evaluator, device: str = "cpu"
    ) -> None:
        motions = [replica.motion for replica in replicas]
        self.grades = np.full(len(replicas), np.nan)
        self._set_atoms(replicas, device)
        self._set_cells(np.stack([motion.cell_ang for motion in motions]))
        self.cell_momenta = np.stack([motion.cell_momenta for motion in motions])
        self.heat_ev = np.stack([motion.heat_ev for motion in motions])
        self._set_couplings(replicas)
        rates = np.stack([motion.chain_rates for motion in motions])
        self.chains = Chains(rates, self.degrees, self._periods)
        self.set_phase(np.zeros(len(replicas), bool))
        self._evaluate = evaluator
        self._evaluate_now()
        self._read_host()
        self.kinetic_ev = np.stack([motion.kinetic_ev for motion in motions])

    def _set_atoms(self, replicas: Sequence[Replica], device: str) -> None:
        motions = [replica.motion for replica in replicas]
        self.sizes = [len(replica.numbers) for replica in replicas]
        masses = atomic_masses[np.concatenate([replica.numbers for replica in replicas])]
        times = [replica.protocol.time_step_fs * units.fs for replica in replicas]

        def to_device(values: FloatArray) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device=device)

        self._owner = torch.arange(len(replicas)).repeat_interleave(torch.tensor(self.sizes))
        self._owner = self._owner.to(device)
        self._inverse_masses = to_device(1 / masses[:, None])
        self._half_times = to_device(np.repeat(times, self.sizes)[:, None] / 2)
        self._times_per_mass = 2 * self._half_times * self._inverse_masses
        self._inverse_sizes = to_device(1 / np.array(self.sizes, float)[:, None])
        self.positions_ang = to_device(np.concatenate([motion.positions_ang for motion in motions]))
        self.momenta = to_device(np.concatenate([motion.momenta for motion in motions]))

    def _set_couplings(self, replicas: Sequence[Replica]) -> None:
        protocols = [replica.protocol for replica in replicas]
        self._times = np.array([each.time_step_fs for each in protocols]) * units.fs
        self.degrees = np.array(
            [
                (3 * size - 3, _CELL_DEGREES[protocol.cell_shape])
                for size, protocol in zip(self.sizes, protocols, strict=True)
            ],
            float,
        )
        periods_ps = np.array(
            [(each.thermostat_damping_ps, each.barostat_damping_ps or 1.0) for each in protocols]
        )
        self._periods = periods_ps * (PS_FS * units.fs)
        pressures_bar = np.array([each.pressure_bar or 0.0 for each in protocols])
        self._pressures = pressures_bar * (BAR_GPA / EV_PER_ANG3_GPA)
        self._ensembles = np.array([each.ensemble for each in protocols])
        shapes = np.array([each.cell_shape for each in protocols])
        self._masks = (shapes == "triclinic")[:, None, None] * np.ones((3, 3))
        self._masks += (shapes == "anisotropic")[:, None, None] * np.eye(3)
        self._thirds = (shapes == "isotropic") / 3
        self.frames = np.stack(
            [
                _directions(replica.start_cell_ang)
                if replica.protocol.cell_shape == "anisotropic"
                else np.eye(3)
                for replica in replicas
            ]
        )
        self._inverse_frames = np.linalg.inv(self.frames)

    def set_phase(self, producing: BoolArray) -> None:
        """Set which replicas (m,) are in their own ensemble; the others heat or settle in NVT."""
        self._cell_moves = producing & (self._ensembles == "npt")
        self._thermostatted = ~(producing & (self._ensembles == "nve"))
        active = np.stack([self._thermostatted, self._cell_moves], axis=1)
        halves = active * (self._times / 2)[:, None]
        self.chains.set_times(halves)
        self._cell_times = halves[:, 1]

    # -- one step -----------------------------------------------------------------------

    def advance(self, targets_k: FloatArray, limits: Limits) -> NDArray[np.int64]:
        """Take steps until one replica leaves its limits.

        Parameters
        ----------
        targets_k
            What the thermostats aim at in each step, shape (steps, m).
        limits
            Tells which replicas are still physical.

        Returns
        -------
        ndarray
            The steps that each replica has taken, shape (m,).
        """
        taken = 0
        for targets in targets_k:
            self.step(targets)
            taken += 1
            if not limits.are_kept(self, targets).all():
                break
        return np.full(len(self.sizes), taken)

    def step(self, targets_k: FloatArray) -> None:
        """Take one step, the thermostats aiming at temperatures (m,) in K."""
        self._aim(targets_k)
        self._couple()
        if self._cell_moves.any():
            self._push_cells()
            self._move_with_cells()
            self._push_cells()
        else:
            self.momenta = torch.addcmul(self.momenta, self._half_times, self._forces)
            self.positions_ang = torch.addcmul(
                self.positions_ang, self.momenta, self._times_per_mass
            )
            self._evaluate_now()
            self.momenta = torch.addcmul(self.momenta, self._half_times, self._forces)
            self._read_host()
        self._couple()

    def _aim(self, targets_k: FloatArray) -> None:
        targets_ev = units.kB * targets_k
        self._scales_ev = self.degrees * targets_ev[:, None]  # N k_B T of both chains
        self._targets_ev = targets_ev[:, None]
        self._inertia_ev = (self.degrees[:, 0] / 3 + 1) * targets_ev * self._periods[:, 1] ** 2

    def _move_with_cells(self) -> None:
        kick, drift = self._propagators()
        self.momenta = self._apply(kick, self.momenta, self._forces)
        velocities = self.momenta * self._inverse_masses
        self.positions_ang = self._apply(drift, self.positions_ang, velocities)
        self._set_cells(self.cells_ang @ drift[:, :3])
        self._evaluate_now()
        self.momenta = self._apply(kick, self.momenta, self._forces)
        self._read_host()

    def _set_cells(self, cells_ang: FloatArray) -> None:
        self.cells_ang = cells_ang
        self.volumes_ang3 = np.abs(np.linalg.det(cells_ang))
        self._cells = torch.from_numpy(cells_ang).to(self.momenta.device)

    def _evaluate_now(self) -> None:
        """Evaluate energies, stresses, and forces with their mean per replica subtracted."""
        self._last = self._evaluate(self.positions_ang, self._cells)
        forces = self._last.forces_ev_per_ang
        self._forces = forces - self._of_atoms(self._sums(forces) * self._inverse_sizes)

    def _of_atoms(self, values: Tensor) -> Tensor:
        """Return per-replica rows (m, k) as per-atom rows that broadcast against (n, k)."""
        return values if len(self.sizes) == 1 else values.index_select(0, self._owner)

    def _sums(self, values: Tensor) -> Tensor:
        """Return per-atom rows (n, k) summed to per-replica rows (m, k)."""
        if len(self.sizes) == 1:
            return values.sum(0, keepdim=True)
        sums = values.new_zeros((len(self.sizes), values.shape[1]))
        return sums.index_add_(0, self._owner, values)

    def _apply(self, propagator: FloatArray, rows: Tensor, sources: Tensor) -> Tensor:
        """Return [rows, sources] (n, 6) times each replica's (6, 3) of a propagator (m, 6, 3)."""
        matrices = torch.from_numpy(propagator).to(rows.device)
        both = torch.cat((rows, sources), 1)
        if len(self.sizes) == 1:
            return both @ matrices[0]
        return torch.bmm(both[:, None], matrices.index_select(0, self._owner))[:, 0]

    def _read_host(self) -> None:
        """Read kinetic tensor, stress and energy: the only transfer of a step."""
        m, last = len(self.sizes), self._last
        velocities = self.momenta * self._inverse_masses
        products = (self.momenta[:, :, None] * velocities[:, None]).view(-1, 9)
        looks = (self._sums(products), last.stresses_gpa.view(m, 9), last.energies_ev[:, None])
        host = torch.cat(looks, 1).cpu().numpy()
        self.are_numbers = np.isfinite(host).all(axis=1)
        self.kinetic_ev = host[:, :9].reshape(m, 3, 3)
        stresses = host[:, 9:18].reshape(m, 3, 3)
        self.stresses_gpa = (stresses + stresses.swapaxes(1, 2)) / 2
        self.energies_ev = host[:, 18]

    @property
    def _twice_kinetic_ev(self) -> FloatArray:
        twice: FloatArray = np.trace(self.kinetic_ev, axis1=1, axis2=2)
        return twice

    # -- chains and cells, on the host -----------------------------------------------------

    def _couple(self) -> None:
        """Advance all chains by half a step, and scale the momenta of particles and cells."""
        kinetic = np.empty_like(self._scales_ev)
        kinetic[:, 0] = self._twice_kinetic_ev
        kinetic[:, 1] = self._twice_cell_kinetic_ev()
        kinetic /= self._scales_ev
        scales, turns = self.chains.advance(kinetic)
        self.heat_ev = self.heat_ev + self._targets_ev * turns
        particles = scales[:, :1]
        self.kinetic_ev = self.kinetic_ev * (particles * particles)[:, :, None]
        self.cell_momenta = self.cell_momenta * scales[:, 1:, None]
        factors = torch.from_numpy(particles.copy()).to(self.momenta.device)
        self.momenta = self.momenta * self._of_atoms(factors)

    def _push_cells(self) -> None:
        """Apply half a step of the force on the cells' momenta."""
        volumes = self.volumes_ang3
        tensor = self.kinetic_ev - (volumes / EV_PER_ANG3_GPA)[:, None, None] * self.stresses_gpa
        even = self._twice_kinetic_ev / self.degrees[:, 0] - self._pressures * volumes
        forces = self.frames @ tensor @ self._inverse_frames + even[:, None, None] * _UNIT
        thirds = self._thirds * (forces[:, 0, 0] + forces[:, 1, 1] + forces[:, 2, 2])
        forces = self._masks * forces + thirds[:, None, None] * _UNIT
        self.cell_momenta = self.cell_momenta + self._cell_times[:, None, None] * forces

    def _propagators(self) -> tuple[FloatArray, FloatArray]:
        """Return half a kick of the momenta and a whole drift of the positions, each (m, 6, 3).

        The upper halves act on momenta or positions, the lower ones on forces or velocities:
        the exact solution of each equation above with everything else held still.
        """
        momenta, frames = np.linalg.eigh(self.cell_momenta)
        rates = momenta / self._inertia_ev[:, None]
        axes = self._inverse_frames @ frames  # V = axes diag(rates) back
        back = frames.swapaxes(1, 2) @ self.frames
        times = self._times[:, None]
        steps = rates * times
        shrink = -(rates + rates.sum(axis=1, keepdims=True) / self.degrees[:, :1]) * (times / 2)

        def spread(left: FloatArray, right: FloatArray, *factors: FloatArray) -> FloatArray:
            return np.concatenate([(left * factor[:, None]) @ right for factor in factors], axis=1)

        drift = spread(axes, back, np.exp(steps), times * exprel(steps))
        left, right = back.swapaxes(1, 2), axes.swapaxes(1, 2)
        return spread(left, right, np.exp(shrink), times / 2 * exprel(shrink)), drift

    def _twice_cell_kinetic_ev(self) -> FloatArray:
        twice: FloatArray = (self.cell_momenta**2).sum(axis=(1, 2)) / self._inertia_ev
        return twice

    # -- what it shows ------------------------------------------------------------------

    @property
    def temperatures_k(self) -> FloatArray:
        """The kinetic temperatures (m,), of 3N - 3 degrees of freedom."""
        temperatures: FloatArray = self._twice_kinetic_ev / (self.degrees[:, 0] * units.kB)
        return temperatures

    @property
    def full_stresses_gpa(self) -> FloatArray:
        """The stresses (m, 3, 3): tension positive, kinetic part included."""
        kinetic = self.kinetic_ev / self.volumes_ang3[:, None, None]
        stresses: FloatArray = self.stresses_gpa - kinetic * EV_PER_ANG3_GPA
        return stresses

    @property
    def conserved_energies_ev(self) -> FloatArray:
        """The energies (m,) that do not drift from step to step while the targets stand.

        They sum particles, chains, and in NpT the cell and the work against the pressure.
        """
        chains = (self.heat_ev + self._targets_ev * self.chains.twice_kinetic() / 2).sum(axis=1)
        cells = self._twice_cell_kinetic_ev() / 2 + self._pressures * self.volumes_ang3
        conserved: FloatArray = self.energies_ev + self._twice_kinetic_ev / 2 + chains + cells
        return conserved

    def motions(self) -> list[Motion]:
        """Return the present motion of each replica, on the host."""
        positions, momenta = (
            [part.numpy().copy() for part in tensor.cpu().split(self.sizes)]
            for tensor in (self.positions_ang, self.momenta)
        )
        return [
            Motion(*parts)
            for parts in zip(
                positions,
                momenta,
                self.cells_ang,
                self.cell_momenta,
                self.chains.rates,
                self.heat_ev,
                self.kinetic_ev,
                strict=True,
            )
        ]


def _directions(cell_ang: FloatArray) -> FloatArray:
    directions: FloatArray = cell_ang / np.linalg.norm(cell_ang, axis=1, keepdims=True)
    return directions
