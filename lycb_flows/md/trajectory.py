"""Frames of a run: fractional coordinates that never wrap, and the cell they belong to.

Trajectories are stored as HDF5, one array per quantity with its unit in the attributes; the
same frames give the same bytes. A frame is a cell with unwrapped fractional coordinates. Two
things follow from it without guessing an image:

- the structure, by dropping whole lattice vectors: `Trajectory.structure`;
- positions whose differences are displacements, even in a cell that changes:
  `Trajectory.unwrapped_ang`.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from lycb_flows.crystals import structure_from_arrays
from lycb_flows.errors import InputError
from lycb_flows.schemas import Structure, Thermodynamics
from lycb_flows.units import PS_FS

FloatArray = NDArray[np.float64]

MEDIA_TYPE = "application/x-hdf5"
_FORMAT = "lycb-trajectory-1"
_GZIP_LEVEL = 1  # higher levels: below 2 % smaller, many times slower (float32 noise)
CHUNK_FRAMES = 256
COMMITTED = "committed"
"""Of a file that grows: how many of its frames are whole."""
_ARRAYS = {  # name -> (type, unit)
    "steps": (np.int64, "1"),
    "frac_coords": (np.float32, "cell vectors, unwrapped"),
    "cells_ang": (np.float64, "angstrom, rows a b c"),
    "potential_energy_ev": (np.float64, "eV"),
    "temperature_k": (np.float64, "K, 3N-3 degrees of freedom"),
    "stress_gpa": (np.float64, "GPa, tension positive, kinetic part included"),
}
ARRAY_NAMES = tuple(_ARRAYS)


@dataclass(frozen=True)
class Trajectory:
    """Frames of one run, in order.

    Attributes
    ----------
    species
        n_atoms symbols.
    time_step_fs
        MD step.
    steps
        Shape (n_frames,); counted from the first step of the ramp.
    frac_coords
        Shape (n_frames, n_atoms, 3), float32; continuous in time, not wrapped.
    cells_ang
        Shape (n_frames, 3, 3); rows a, b, c in Å.
    potential_energy_ev
        Shape (n_frames,).
    temperature_k
        Shape (n_frames,); kinetic, of 3N - 3 degrees of freedom.
    stress_gpa
        Shape (n_frames, 3, 3); tension positive, kinetic part included.
    """

    species: tuple[str, ...]
    time_step_fs: float
    steps: NDArray[np.int64]
    frac_coords: NDArray[np.float32]
    cells_ang: FloatArray
    potential_energy_ev: FloatArray
    temperature_k: FloatArray
    stress_gpa: FloatArray

    @property
    def n_frames(self) -> int:
        """The number of frames."""
        return len(self.steps)

    @property
    def times_ps(self) -> FloatArray:
        """The times (n_frames,) since the first step of the ramp."""
        return np.asarray(self.steps, dtype=np.float64) * (self.time_step_fs / PS_FS)

    @property
    def volumes_ang3(self) -> FloatArray:
        """The cell volumes (n_frames,)."""
        volumes: FloatArray = np.abs(np.linalg.det(self.cells_ang))
        return volumes

    @property
    def pressures_gpa(self) -> FloatArray:
        """The pressures (n_frames,): compression positive, kinetic part included."""
        pressures: FloatArray = -np.trace(self.stress_gpa, axis1=1, axis2=2) / 3
        return pressures

    def between(self, after_step: int, last_step: int) -> Self:
        """Return the frames with `after_step` < step <= `last_step`.

        Parameters
        ----------
        after_step
            The first step that is left out.
        last_step
            The last step that is kept.
        """
        keep = slice(*np.searchsorted(self.steps, [after_step, last_step], side="right"))
        return replace(self, **{name: getattr(self, name)[keep] for name in _ARRAYS})

    def structure(self, index: int) -> Structure:
        """Return a frame as a canonical structure; the stored numbers alone decide its key."""
        return structure_from_arrays(
            self.cells_ang[index], list(self.species), self.frac_coords[index].astype(float)
        )

    def unwrapped_ang(self) -> FloatArray:
        """Return positions (n_frames, n_atoms, 3) in Å whose differences are displacements.

        TOR unwrapping: each frame adds the displacement of the image that was inside the cell
        (Bullerjahn et al., JCTC 2023, 19, 3406). In a fixed cell that is frac_coords @ cell. In a
        cell that changes, this product would move an ion n cells away by n times the change.
        """
        frac = self.frac_coords.astype(float)
        image = np.floor(frac[:-1])
        positions = np.empty_like(frac)
        positions[:1] = frac[:1] @ self.cells_ang[:1]
        positions[1:] = (frac[1:] - image) @ self.cells_ang[1:]
        positions[1:] -= (frac[:-1] - image) @ self.cells_ang[:-1]
        return np.cumsum(positions, axis=0, out=positions)


@dataclass(frozen=True)
class Snapshot:
    """A frame during a run, in double precision; shapes as in `Trajectory`."""

    steps: int
    frac_coords: FloatArray
    cells_ang: FloatArray
    potential_energy_ev: float
    temperature_k: float
    stress_gpa: FloatArray


def to_trajectory(
    snapshots: Sequence[Snapshot], species: Sequence[str], time_step_fs: float
) -> Trajectory:
    """Return snapshots as a trajectory.

    Parameters
    ----------
    snapshots
        The frames, in order.
    species
        Element of each atom.
    time_step_fs
        MD step in fs.
    """
    arrays: dict[str, Any] = {
        name: np.array([getattr(snapshot, name) for snapshot in snapshots], kind).reshape(
            (len(snapshots), *_shape(name, len(species)))
        )
        for name, (kind, _) in _ARRAYS.items()
    }
    return Trajectory(species=tuple(species), time_step_fs=time_step_fs, **arrays)


def _shape(name: str, n_atoms: int) -> tuple[int, ...]:
    shapes = {"frac_coords": (n_atoms, 3), "cells_ang": (3, 3), "stress_gpa": (3, 3)}
    return shapes.get(name, ())


def write_trajectory(trajectory: Trajectory) -> bytes:
    """Return the trajectory as HDF5 bytes; equal trajectories give equal bytes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", libver="v110") as file:
        for name, dataset in create_arrays(
            file, trajectory.species, trajectory.time_step_fs, trajectory.n_frames
        ).items():
            dataset[...] = getattr(trajectory, name)
    return buffer.getvalue()


def create_arrays(
    file: h5py.File, species: Sequence[str], time_step_fs: float, n_frames: int | None
) -> dict[str, h5py.Dataset]:
    """Make the attributes and arrays of a trajectory in an open file.

    Parameters
    ----------
    file
        An HDF5 file open for writing.
    species
        Element of each atom.
    time_step_fs
        MD step in fs.
    n_frames
        Number of frames; None for arrays that start empty and may grow.
    """
    file.attrs["format"] = _FORMAT
    file.attrs["species"] = np.array(species, "S2")
    file.attrs["time_step_fs"] = time_step_fs
    datasets = {}
    for name, (kind, unit) in _ARRAYS.items():
        shape = _shape(name, len(species))
        options: dict[str, Any] = {"maxshape": (None, *shape)} if n_frames is None else {}
        if n_frames != 0:  # an empty array cannot be chunked
            options |= {
                "chunks": (min(n_frames or CHUNK_FRAMES, CHUNK_FRAMES), *shape),
                "compression": "gzip",
                "compression_opts": _GZIP_LEVEL,
                "shuffle": True,
            }
        datasets[name] = file.create_dataset(
            name, (n_frames or 0, *shape), kind, track_times=False, **options
        )
        datasets[name].attrs["unit"] = unit
    return datasets


def read_trajectory(content: bytes) -> Trajectory:
    """Return the trajectory that `write_trajectory` wrote.

    Raises
    ------
    InputError
        When the bytes are no such trajectory.
    """
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            return read_arrays(file)
    except OSError as err:
        raise _no_trajectory("not HDF5") from err


def read_arrays(file: h5py.File) -> Trajectory:
    """Return the trajectory in an open file; of a file that still grows, its committed frames.

    Raises
    ------
    InputError
        When the file is no trajectory.
    """
    found = str(file.attrs.get("format", "unknown HDF5"))
    if found != _FORMAT:
        raise _no_trajectory(found)
    n_frames = file[COMMITTED][()] if COMMITTED in file else None
    return Trajectory(
        species=tuple(symbol.decode() for symbol in file.attrs["species"]),
        time_step_fs=float(file.attrs["time_step_fs"]),
        **{name: file[name][:n_frames] for name in _ARRAYS},
    )


def _no_trajectory(found: str) -> InputError:
    return InputError("not a trajectory", fix=f"give a {_FORMAT} file", found=found)


def join(trajectories: Sequence[Trajectory]) -> Trajectory:
    """Return the segments of a run as one trajectory.

    Raises
    ------
    InputError
        When there are none, they are of different atoms, or they overlap in time.
    """
    if not trajectories:
        raise InputError("no trajectory to join", fix="give the segments of a run")
    first = trajectories[0]
    if any(
        (part.species, part.time_step_fs) != (first.species, first.time_step_fs)
        for part in trajectories
    ):
        raise InputError("these segments are of different runs", fix="join segments of one run")
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in trajectories]) for name in _ARRAYS
    }
    joined = Trajectory(species=first.species, time_step_fs=first.time_step_fs, **arrays)
    if (np.diff(joined.steps) <= 0).any():
        raise InputError("these segments overlap", fix="give each segment once, in order")
    return joined


def mean_thermodynamics(trajectory: Trajectory) -> Thermodynamics:
    """Return means and standard deviations over all frames, of which there must be one."""
    n_atoms = len(trajectory.species)
    series = {
        ("temperature", "k"): trajectory.temperature_k,
        ("pressure", "gpa"): trajectory.pressures_gpa,
        ("potential_energy", "ev_per_atom"): trajectory.potential_energy_ev / n_atoms,
        ("volume", "ang3_per_atom"): trajectory.volumes_ang3 / n_atoms,
    }
    means = {f"{name}_{unit}": float(values.mean()) for (name, unit), values in series.items()}
    stds = {f"{name}_std_{unit}": float(values.std()) for (name, unit), values in series.items()}
    return Thermodynamics(**means, **stds)
