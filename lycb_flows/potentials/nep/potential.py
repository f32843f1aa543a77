"""A NEP behind the interface of every potential: compiled on a CPU, torch elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from lycb_flows.errors import InputError
from lycb_flows.potentials.evaluator import Evaluator, Numbers
from lycb_flows.potentials.nep.file import Floats, NepShape, NepWeights, read_nep, write_nep
from lycb_flows.potentials.nep.kernel import NepEvaluator, load_kernel
from lycb_flows.potentials.nep.layers import NepModule
from lycb_flows.potentials.nep.neighbours import NepGraph, join_graphs, make_graph
from lycb_flows.potentials.trainable import BatchOutput, GraphEvaluator, Trainable
from lycb_flows.units import EV_PER_ANG3_GPA


class NepPotential(Trainable):
    """A neuroevolution potential.

    Parameters
    ----------
    shape
        Its sizes.
    weights
        Its numbers; None for zeros.
    """

    module: NepModule
    _transforms: Floats | None = None

    def __init__(self, shape: NepShape, weights: NepWeights | None = None) -> None:
        super().__init__(NepModule(shape), {})
        if weights is not None:
            self.module.set_weights(weights)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the potential of a file's text."""
        return cls(*read_nep(text))

    @property
    def shape(self) -> NepShape:
        """The sizes."""
        return self.module.shape

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """Return the compiled evaluator, or torch's where there is no compiler or no CPU.

        Parameters
        ----------
        numbers
            Atomic numbers of each crystal, one array each.
        """
        species = [self.species_of(each) for each in numbers]
        library = load_kernel(self.shape) if self.device.type == "cpu" else None
        if library is None:
            return GraphEvaluator(self, numbers)
        weights = self.module.get_weights()
        return NepEvaluator(library, self.shape, weights, species, self._transforms)

    def graded_by(self, transforms: Floats) -> Self:
        """Return the same potential, whose native dynamics take extrapolation grades.

        Parameters
        ----------
        transforms
            From an active set (`learning/students/extrapolation.py`), shape
            (species, D + 1, D + 1).
        """
        graded = copy.copy(self)
        graded._transforms = transforms  # noqa: SLF001 - its own copy
        return graded

    def species_of(self, numbers: Numbers) -> Numbers:
        """Return the index of each atom's species.

        Raises
        ------
        InputError
            When the model does not know an element.
        """
        known = self.shape.numbers
        found = np.asarray(numbers)[:, None] == known
        if not found.any(axis=1).all():
            strangers = Atoms(numbers=np.unique(numbers[~found.any(axis=1)]))
            raise InputError(
                "this model does not know an element of the crystal",
                fix="train one on such crystals, or use CHGNet",
                known=" ".join(self.shape.species),
                found=" ".join(strangers.get_chemical_symbols()),
            )
        indices: Numbers = found.argmax(axis=1)
        return indices

    def graph(self, atoms: Atoms) -> NepGraph:
        """Return the neighbours within both cutoffs, periodic in all directions."""
        species = self.species_of(atoms.numbers).astype(np.int64)
        return make_graph(self.shape, species, atoms.positions, atoms.cell.array)

    def descriptors(self, atoms: Atoms) -> Floats:
        """Return the scaled descriptors of each atom, shape (n, D)."""
        with torch.no_grad():
            rows: Floats = self.module(self.graph(atoms).to(self.device)).descriptors.cpu().numpy()
        return rows

    def forward(self, graphs: Sequence[NepGraph], *, create_graph: bool) -> BatchOutput:
        """Return closed forms throughout, so that training needs first derivatives only."""
        joint = join_graphs(graphs, self.module.first.dtype).to(self.device)
        sizes = torch.bincount(joint.owners, minlength=len(graphs))
        with torch.set_grad_enabled(create_graph):
            output = self.module(joint)
            stresses = output.virials_ev * (EV_PER_ANG3_GPA / joint.volumes_ang3[:, None, None])
            return BatchOutput(output.energies_ev / sizes, output.forces_ev_per_ang, stresses)

    @property
    def reference_energies_ev(self) -> Tensor:
        """The energy of an atom of each element besides its neurons."""
        return self.module.references_ev

    def trainable_parameters(self, freeze_level: int) -> list[nn.Parameter]:
        """Return all weights; from level 2 on the radial functions stand."""
        fixed = set() if freeze_level < 2 else {"radial", "angular"}  # noqa: PLR2004
        named = self.module.named_parameters()
        return [value for name, value in named if name not in fixed and name != "references_ev"]

    def weights_bytes(self) -> bytes:
        """Return the weights as the text of a nep.txt; equal weights give equal bytes."""
        return write_nep(self.shape, self.module.get_weights()).encode()

    def with_weights(self, weights: bytes) -> Self:
        """Return a copy with other weights, from the text of a nep.txt."""
        return type(self).from_text(weights.decode())
