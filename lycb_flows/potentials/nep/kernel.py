"""native/nep.cpp: compiled once per shape of a NEP, and its evaluator."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lycb_flows.potentials.building import build_library
from lycb_flows.potentials.evaluator import BatchPrediction, Numbers
from lycb_flows.potentials.nep.file import Floats, NepShape, NepWeights
from lycb_flows.units import EV_PER_ANG3_GPA

SKIN_ANG = 0.9
"""Pairs beyond the cutoff cost a distance each; a thinner skin costs more lists."""

_INCLUDED = ("nep_dynamics.hpp", "nep_crystal.hpp", "nep_kernel.hpp")
_HEADERS = {
    "nep.cpp": _INCLUDED,
    "nep_training.cpp": ("nep.cpp", "nep_training.hpp", *_INCLUDED),
}
_FLAGS = ("-ffp-contract=fast", "-Wno-psabi", "-Wno-ignored-attributes")


def load_kernel(shape: NepShape, *, double: bool = False) -> ctypes.CDLL | None:
    """Return the kernel of a shape, compiled when it is not in the cache; None where it cannot be.

    Parameters
    ----------
    shape
        The sizes become constants of the program; compiling takes some seconds.
    double
        The same source in double precision, to be compared with.
    """
    return load_library("nep.cpp", shape, double=double)


def load_library(source: str, shape: NepShape, *, double: bool = False) -> ctypes.CDLL | None:
    """Return a program of the kernel's, compiled for a shape; None where it cannot be.

    Parameters
    ----------
    source
        Name of its file beside the other native sources.
    shape, double
        As for `load_kernel`.
    """
    sizes = {
        "NS": len(shape.species),
        "NR": shape.n_radial,
        "NA": shape.n_angular,
        "KR": shape.k_radial,
        "KA": shape.k_angular,
        "LMAX": shape.l_max,
        "FOUR": int(shape.four_body),
        "FIVE": int(shape.five_body),
        "NEURONS": shape.neurons,
        "SINGLE": int(not double),
    }
    return _load(source, tuple(f"-D{name}={size}" for name, size in sizes.items()))


@functools.cache
def _load(source: str, sizes: tuple[str, ...]) -> ctypes.CDLL | None:
    library = build_library(source, _HEADERS[source], (*_FLAGS, *sizes))
    if library is not None:
        library.lycb_nep_new.restype = ctypes.c_void_p
        library.lycb_nep_lists.restype = ctypes.c_int64
    return library


def pack(weights: NepWeights) -> Floats:
    """Return all numbers in the order that `Weights` of nep_kernel.hpp reads."""
    parts = (weights.first, weights.biases, weights.second, weights.constants_ev)
    return np.concatenate(
        [np.ravel(part) for part in (*parts, weights.radial, weights.angular, weights.scales)]
    ).astype(np.float64)


class NepEvaluator:
    """`Evaluator` by nep.cpp; on the CPU.

    Each crystal is evaluated by one thread, a crystal alone by all of them; neither changes a bit.

    Parameters
    ----------
    library
        From `load_kernel`.
    shape, weights
        The NEP.
    species
        Index of each atom's species, one array per crystal.
    transforms
        What takes scaled descriptors and a one to the coefficients of extrapolation grades,
        shape (species, D + 1, D + 1); None: no grades.
    skin_ang
        Kept beyond the radial cutoff.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        shape: NepShape,
        weights: NepWeights,
        species: Sequence[Numbers],
        transforms: Floats | None = None,
        skin_ang: float = SKIN_ANG,
    ) -> None:
        self.library, self.shape = library, shape
        self.is_graded = transforms is not None
        self.sizes = [len(each) for each in species]
        sizes = np.array(self.sizes, np.int64)
        kinds = np.concatenate(list(species)).astype(np.int32)
        cutoffs, numbers = np.array(shape.cutoffs_ang), pack(weights)
        system = library.lycb_nep_new(
            address(cutoffs),
            address(numbers),
            ctypes.c_double(skin_ang),
            ctypes.c_int64(len(sizes)),
            address(sizes),
            address(kinds),
        )
        if system is None:
            raise MemoryError
        self.system = ctypes.c_void_p(system)
        if transforms is not None:
            unscaled = transforms * np.append(weights.scales, 1.0)[:, None]
            library.lycb_nep_grade_by(self.system, address(np.ascontiguousarray(unscaled)))

    def set_weights(self, weights: NepWeights) -> None:
        """Take other numbers, where the library is that of training.

        Parameters
        ----------
        weights
            Of the same shape.
        """
        cutoffs, numbers = np.array(self.shape.cutoffs_ang), pack(weights)
        self.library.lycb_nep_set_numbers(self.system, address(cutoffs), address(numbers))

    def __del__(self) -> None:
        if hasattr(self, "system"):
            self.library.lycb_nep_delete(self.system)

    def __call__(self, positions_ang: Tensor, cells_ang: Tensor) -> BatchPrediction:
        """Evaluate in one pass; crystals that are not finite have NaN throughout."""
        positions = np.ascontiguousarray(positions_ang.numpy())
        cells = np.ascontiguousarray(cells_ang.numpy())
        energies, forces = np.empty(len(cells)), np.empty_like(positions)
        virials = np.empty((len(cells), 3, 3))
        status = self.library.lycb_nep_run(
            self.system,
            torch.get_num_threads(),
            *map(address, (positions, cells, energies, forces, virials)),
        )
        if status:
            raise MemoryError
        with np.errstate(all="ignore"):
            volumes = np.abs(np.linalg.det(cells))[:, None, None]
            stresses = virials * (EV_PER_ANG3_GPA / volumes)
        return BatchPrediction(*map(torch.from_numpy, (energies, forces, stresses)))

    def descriptors(self) -> Floats:
        """Return the unscaled descriptors (n, D) where the crystals were evaluated last."""
        rows = np.full((sum(self.sizes), self.shape.descriptors), np.nan)
        self.library.lycb_nep_descriptors(self.system, address(rows))
        return rows

    @property
    def lists(self) -> int:
        """How often a neighbour list was made, summed over the crystals."""
        return int(self.library.lycb_nep_lists(self.system))


def address(array: NDArray[Any]) -> ctypes.c_void_p:
    """Return where an array's data begin."""
    return ctypes.c_void_p(array.ctypes.data)
