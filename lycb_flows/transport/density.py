"""Where the mobile ions are: their probability density on a grid in the average cell.

Every ion of every frame is counted in the voxel that it is in, at fractional coordinates
relative to the framework, whose drift is removed. Counts over frames sum to the number of ions,
exactly: nothing is smoothed until something is drawn or searched for.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pymatgen.core.lattice import Lattice
from pymatgen.core.structure import Structure as PymatgenStructure
from pymatgen.io.vasp.outputs import VolumetricData
from scipy.constants import physical_constants
from scipy.ndimage import gaussian_filter

from lycb_flows.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GRID_MEDIA_TYPE = "application/x-npz"
DEFAULT_SPACING_ANG = 0.2
_BOHR_ANG = physical_constants["Bohr radius"][0] * 1e10
_CHUNK_FRAMES = 2_000
"""Frames that are turned into double precision at a time: bounds the memory."""


@dataclass(frozen=True, eq=False)
class RelativeMotion:
    """Fractional coordinates of the mobile ions in the frame of the framework.

    Attributes
    ----------
    mobile
        Shape (n_frames, n_ions, 3), not wrapped.
    framework
        Mean fractional coordinates of the framework's atoms, (n_framework, 3).
    framework_species
        Their elements.
    """

    mobile: Floats
    framework: Floats
    framework_species: tuple[str, ...]


def relative_motion(
    frac_coords: ArrayLike, species: Sequence[str], mobile_species: str
) -> RelativeMotion:
    """Return the mobile ions' coordinates with the framework's drift removed.

    The framework's unweighted mean stays where it is in the first frame, as in
    `msd.subtract_drift`, here in fractional coordinates, so that a cell that breathes carries
    its sites with it.

    Parameters
    ----------
    frac_coords
        Fractional coordinates of all atoms, continuous in time, (n_frames, n_atoms, 3).
    species
        Element of each atom.
    mobile_species
        The element that moves.

    Raises
    ------
    InputError
        When there is no frame, no mobile ion, or no framework.
    """
    frac = np.asarray(frac_coords)
    is_mobile = np.array(species) == mobile_species
    if not len(frac) or is_mobile.all() or not is_mobile.any():
        raise InputError(
            "a density needs frames, mobile ions and a framework",
            fix="check the mobile species",
            frames=len(frac),
            mobile=int(is_mobile.sum()),
            atoms=len(is_mobile),
        )
    mobile = np.empty((len(frac), int(is_mobile.sum()), 3))
    framework = np.zeros((int((~is_mobile).sum()), 3))
    start = frac[0, ~is_mobile].mean(axis=0, dtype=float)
    for first in range(0, len(frac), _CHUNK_FRAMES):
        part = slice(first, first + _CHUNK_FRAMES)
        still = frac[part][:, ~is_mobile].astype(float)
        drift = still.mean(axis=1, keepdims=True) - start
        framework += (still - drift).sum(axis=0)
        mobile[part] = frac[part][:, is_mobile] - drift
    names = tuple(np.array(species)[~is_mobile].tolist())
    return RelativeMotion(mobile, framework / len(frac), names)


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """Counts of the mobile ion in the voxels of a cell, and the framework around them.

    Attributes
    ----------
    lattice_ang
        Rows a, b, c of the average cell, (3, 3).
    counts
        Number of times that an ion was seen in each voxel, (na, nb, nc). Voxel (i, j, k) is
        centred on the fractional coordinates (i/na, j/nb, k/nc).
    n_frames
        Number of frames.
    mobile_species
        The element that was counted.
    framework
        Mean fractional coordinates of the framework's atoms, (n, 3).
    framework_species
        Their elements.
    """

    lattice_ang: Floats
    counts: Ints
    n_frames: int
    mobile_species: str
    framework: Floats
    framework_species: tuple[str, ...]

    @property
    def volume_ang3(self) -> float:
        """The volume of the cell."""
        return abs(float(np.linalg.det(self.lattice_ang)))

    @property
    def voxel_ang3(self) -> float:
        """The volume of a voxel."""
        return self.volume_ang3 / self.counts.size

    @property
    def per_ang3(self) -> Floats:
        """The probability density (na, nb, nc) in ions/Å³; its integral is the number of ions."""
        return self.counts / (self.n_frames * self.voxel_ang3)

    @property
    def n_ions(self) -> float:
        """The integral of the density over the cell."""
        return float(self.counts.sum()) / self.n_frames

    def volume_share(self, share_of_ions: float) -> float:
        """Return the share of the cell's volume that holds this share of the ions.

        The voxels of highest density are taken first, so that the volume is the smallest
        possible. It says how far the ions spread.
        """
        descending = np.cumsum(np.sort(self.counts, axis=None)[::-1])
        n_voxels = 1 + int(np.searchsorted(descending, share_of_ions * descending[-1]))
        return min(1.0, n_voxels / self.counts.size)

    def smoothed(self, sigma_ang: float) -> Floats:
        """Return the density in ions/Å³ under a Gaussian; its integral stays the same.

        Parameters
        ----------
        sigma_ang
            Standard deviation along each lattice vector.
        """
        steps = np.linalg.norm(self.lattice_ang, axis=1) / self.counts.shape
        smooth: Floats = gaussian_filter(self.per_ang3, sigma_ang / steps, mode="wrap")
        return smooth

    def projection(self, axis: int) -> Floats:
        """Return ions per area, (n, m) in ions/Å², seen along a lattice vector.

        Parameters
        ----------
        axis
            0, 1, 2 for a, b, c. The two others span the area, in their order.
        """
        seen = np.delete(self.lattice_ang, axis, axis=0)
        along = self.lattice_ang[axis] / np.linalg.norm(self.lattice_ang[axis])
        area_ang2 = abs(float(along @ np.cross(*seen)))
        columns = self.counts.sum(axis=axis)
        return np.asarray(columns / self.n_frames / (area_ang2 / columns.size))


def density_grid(
    motion: RelativeMotion,
    lattice_ang: ArrayLike,
    mobile_species: str,
    spacing_ang: float = DEFAULT_SPACING_ANG,
) -> DensityGrid:
    """Return the counts of the mobile ion on a grid in the average cell.

    Parameters
    ----------
    motion
        Coordinates relative to the framework.
    lattice_ang
        Rows a, b, c of the average cell in Å, (3, 3).
    mobile_species
        The element that moves.
    spacing_ang
        Largest length of a voxel along each lattice vector.

    Raises
    ------
    InputError
        When a coordinate is not finite.
    """
    lattice = np.asarray(lattice_ang, dtype=float)
    shape = tuple(np.ceil(np.linalg.norm(lattice, axis=1) / spacing_ang).astype(int).tolist())
    counts = np.zeros(int(np.prod(shape)), dtype=np.int64)
    for first in range(0, len(motion.mobile), _CHUNK_FRAMES):
        part = motion.mobile[first : first + _CHUNK_FRAMES]
        if not np.isfinite(part).all():
            raise InputError("a coordinate is not finite", fix="cut the run where it left physics")
        counts += np.bincount(voxels(part, shape).ravel(), minlength=counts.size)
    return DensityGrid(
        lattice_ang=lattice,
        counts=counts.reshape(shape),
        n_frames=len(motion.mobile),
        mobile_species=mobile_species,
        framework=motion.framework,
        framework_species=motion.framework_species,
    )


def voxels(frac_coords: Floats, shape: Sequence[int]) -> Ints:
    """Return the flat index of the voxel that each point lies in.

    Parameters
    ----------
    frac_coords
        Fractional coordinates, (..., 3), not necessarily wrapped.
    shape
        Voxels along a, b, c; the first is centred on the origin, as in a cube file or CHGCAR.
    """
    indices = np.rint(frac_coords * shape).astype(np.int64) % shape
    flat: Ints = (indices[..., 0] * shape[1] + indices[..., 1]) * shape[2] + indices[..., 2]
    return flat


# -- files ---------------------------------------------------------------------------------------


def grid_bytes(grid: DensityGrid) -> bytes:
    """Return a grid as the bytes of a compressed npz file; equal grids give equal bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        lattice_ang=grid.lattice_ang,
        counts=grid.counts.astype(np.uint32),
        n_frames=grid.n_frames,
        mobile_species=grid.mobile_species,
        framework=grid.framework,
        framework_species=np.array(grid.framework_species),
    )
    return buffer.getvalue()


def read_grid(content: bytes) -> DensityGrid:
    """Return the grid that `grid_bytes` wrote."""
    with np.load(io.BytesIO(content)) as file:
        return DensityGrid(
            lattice_ang=file["lattice_ang"],
            counts=file["counts"].astype(np.int64),
            n_frames=int(file["n_frames"]),
            mobile_species=str(file["mobile_species"]),
            framework=file["framework"],
            framework_species=tuple(file["framework_species"].tolist()),
        )


def write_density(grid: DensityGrid, path: Path) -> None:
    """Write the density with the framework's mean positions, for VESTA, OVITO and others.

    A `.cube` file holds ions/Bohr³, as the format has it; a file named CHGCAR or `.vasp` holds
    ions/Å³ times the cell's volume, as VASP has it. pymatgen writes both.

    Parameters
    ----------
    grid
        The density.
    path
        File to write; its name tells the format.

    Raises
    ------
    InputError
        When no format has such a name.
    """
    order = np.argsort(grid.framework_species, kind="stable")  # CHGCAR lists species in blocks
    species = [grid.framework_species[i] for i in order]
    crystal = PymatgenStructure(Lattice(grid.lattice_ang), species, grid.framework[order] % 1.0)
    if path.suffix == ".cube":
        data = VolumetricData(crystal, {"total": grid.per_ang3 * _BOHR_ANG**3})
        data.to_cube(path, f"{grid.mobile_species} per Bohr^3")
    elif path.suffix == ".vasp" or path.name.startswith("CHGCAR"):
        data = VolumetricData(crystal, {"total": grid.per_ang3 * grid.volume_ang3})
        data.name = f"{grid.mobile_species} density x volume"
        data.write_file(path)
    else:
        raise InputError(
            "no format of densities has such a name",
            fix="write .cube, CHGCAR or .vasp",
            found=path.name,
        )
