"""native/nep_training.cpp: a NEP's outputs with their derivatives by its numbers, without a graph.

The crystals stand still, so each is listed once. An update costs a few microseconds an atom; the
torch layers, which it is held to, need a hundred.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from lycb_flows.errors import PhysicsError
from lycb_flows.potentials.nep.file import NepShape
from lycb_flows.potentials.nep.kernel import NepEvaluator, address, load_library
from lycb_flows.potentials.nep.layers import NepModule
from lycb_flows.potentials.nep.potential import NepPotential

_TOO_DENSE = 2  # of lycb_nep_place
_LEARNED = ("first", "biases", "second", "radial", "angular")
Outputs = tuple[Tensor, Tensor, Tensor]


class NepLearner:
    """A NEP on some crystals.

    Parameters
    ----------
    library
        From `load_trainer`.
    module
        Holds the numbers, in single precision; they may change between two calls.
    crystals
        All of them.

    Raises
    ------
    PhysicsError
        Where an atom has more neighbours than the kernel has room for.
    """

    def __init__(self, library: ctypes.CDLL, module: NepModule, crystals: Sequence[Atoms]) -> None:
        self.module, self.sizes = module, [len(atoms) for atoms in crystals]
        known = NepPotential(module.shape)
        species = [known.species_of(atoms.numbers) for atoms in crystals]
        weights = module.get_weights()
        self._kernel = NepEvaluator(library, module.shape, weights, species, skin_ang=0.0)
        positions = np.concatenate([atoms.positions for atoms in crystals])
        cells = np.array([atoms.cell.array for atoms in crystals])
        status = library.lycb_nep_place(self._kernel.system, address(positions), address(cells))
        if status == _TOO_DENSE:
            raise PhysicsError(
                "a frame is too dense to learn from",
                fix="leave out frames whose atoms have more than a thousand neighbours",
            )
        if status:
            raise MemoryError

    def __call__(self, chosen: Sequence[int]) -> Outputs:
        """Return energies (m,), forces (n, 3) and virials (m, 3, 3) of the chosen crystals."""
        numbers = [getattr(self.module, name) for name in _LEARNED]
        found: Outputs = _Outputs.apply(  # type: ignore[no-untyped-call]
            self, np.array(chosen, np.int64), *numbers
        )
        return found

    def forwards(self, chosen: np.ndarray[Any, Any]) -> Outputs:
        """Return the outputs without their derivatives.

        Parameters
        ----------
        chosen
            Places of the crystals.
        """
        self._kernel.set_weights(self.module.get_weights())
        n_atoms = sum(self.sizes[i] for i in chosen)
        outputs = np.empty(len(chosen)), np.empty((n_atoms, 3)), np.empty((len(chosen), 3, 3))
        failed = self._kernel.library.lycb_nep_forwards(
            self._kernel.system,
            torch.get_num_threads(),
            ctypes.c_int64(len(chosen)),
            address(chosen),
            *map(address, outputs),
        )
        if failed:
            raise MemoryError
        energies, forces, virials = (torch.from_numpy(output).float() for output in outputs)
        return energies, forces, virials

    def backwards(self, chosen: np.ndarray[Any, Any], slopes: Sequence[Tensor]) -> list[Tensor]:
        """Return a loss's derivatives by the numbers from those by the outputs.

        Parameters
        ----------
        chosen
            As in `forwards`, with the same numbers.
        slopes
            By energies, forces and virials.
        """
        by_outputs = [np.ascontiguousarray(slope.double().numpy()) for slope in slopes]
        shapes = [getattr(self.module, name).shape for name in _LEARNED]
        shapes.insert(3, torch.Size([len(self.module.shape.species)]))  # the constants
        ends = np.cumsum([shape.numel() for shape in shapes])
        flat = np.zeros(ends[-1])
        failed = self._kernel.library.lycb_nep_backwards(
            self._kernel.system,
            torch.get_num_threads(),
            ctypes.c_int64(len(chosen)),
            address(chosen),
            *map(address, by_outputs),
            address(flat),
        )
        if failed:
            raise MemoryError
        parts = [
            torch.from_numpy(part).float().view(shape)
            for part, shape in zip(np.split(flat, ends[:-1]), shapes, strict=True)
        ]
        del parts[3]
        parts[0] = parts[0] * self.module.scales
        return parts


class _Outputs(torch.autograd.Function):
    """Outputs of a `NepLearner` as a function of its module's numbers."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        learner: NepLearner,
        chosen: np.ndarray[Any, Any],
        *numbers: Tensor,
    ) -> Outputs:
        del numbers
        ctx.learner, ctx.chosen = learner, chosen
        return learner.forwards(chosen)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        return None, None, *ctx.learner.backwards(ctx.chosen, slopes)


@functools.cache
def load_trainer(shape: NepShape) -> ctypes.CDLL | None:
    """Return the kernel of a shape with its derivatives; None where it cannot be compiled.

    Parameters
    ----------
    shape
        The sizes become constants of the program; compiling takes some seconds.
    """
    return load_library("nep_training.cpp", shape)
