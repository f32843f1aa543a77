"""A NEP trained by gradient on labels, from scratch or from where another training ended.

Forces and virials are closed forms of the weights (`potentials/nep/layers.py`), so that an update
costs one pass forwards and one backwards in single precision, without second derivatives: compiled
(`potentials/nep/learner.py`), or in torch where there is no compiler or little to do. Loss of a
batch, with e per atom, f per component, w the virial per atom:

    L = (1 + (c - 1) t) mean(e^2) + mean(f^2) + v mean(w^2)

where t rises from 0 to 1: forces first, energies last. Beyond 0.5 eV/Å forces count linearly
(Huber). SOAP or AdamW, whose step falls as a cosine.

>>> student = train_student(NepShape(("Li", "Y", "Cl")), labelled, StudentRecipe())
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from lycb_flows.crystals import to_ase
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.students.soap import Soap
from lycb_flows.potentials import (
    NepGraph,
    NepLearner,
    NepModule,
    NepPotential,
    NepShape,
    NepWeights,
    join_graphs,
    load_trainer,
)
from lycb_flows.units import EV_PER_ANG3_GPA

Floats = NDArray[np.float64]
Watch = Callable[[int, float], None]
"""Called after each update with the updates done and the loss."""

_OUTLIER_EV_PER_ANG = 0.5  # rattled atoms that nearly touch must not outweigh all others
_WORTH_COMPILING = 100_000  # atoms of all updates; torch takes 10 s for them
_RIDGE = 1e-6  # a single composition leaves the references of its elements open


@dataclass(frozen=True)
class StudentRecipe:
    """Settings of a training.

    Attributes
    ----------
    updates
        Steps of the optimizer.
    atoms_per_batch
        A batch ends with the crystal that reaches it.
    learning_rate
        The first; the last is a thousandth of it.
    energy_weight
        c, at the end.
    virial_weight
        v.
    weight_decay
        Of AdamW or SOAP.
    seed
        Of first weights and batches.
    optimizer
        "adamw", or "soap", which needs a few times fewer updates for the same errors.
    """

    updates: int = 6000
    atoms_per_batch: int = 240
    learning_rate: float = 0.01
    energy_weight: float = 100.0
    virial_weight: float = 10.0
    weight_decay: float = 1e-4
    seed: int = 0
    optimizer: Literal["adamw", "soap"] = "adamw"


@dataclass(frozen=True)
class _Example:
    """A labelled crystal in single precision; its place, its energy without references."""

    place: int
    graph: NepGraph
    energy_ev: float
    forces: Tensor
    virial_ev: Tensor

    @property
    def n_atoms(self) -> int:
        return len(self.forces)


_Outputs = Callable[[Sequence[_Example]], tuple[Tensor, Tensor, Tensor]]
"""Returns the energies, forces and virials of a batch."""


def train_student(
    shape: NepShape,
    labelled: Sequence[LabelledStructure],
    recipe: StudentRecipe,
    *,
    parent: NepPotential | None = None,
    watch: Watch = lambda _done, _loss: None,
) -> NepPotential:
    """Return a NEP trained on labels; equal seeds and threads give equal weights.

    Parameters
    ----------
    shape
        Its sizes.
    labelled
        What it is fitted to.
    recipe
        Settings.
    parent
        Begin with its weights, which have the same shape.
    watch
        Called after each update.

    Raises
    ------
    InputError
        Without labels.
    PhysicsError
        When the loss is not finite.
    """
    if not labelled:
        raise InputError("a student needs labels", fix="give labelled structures")
    blank = NepPotential(shape)
    references_ev = _references(shape, labelled)
    examples = [_example(blank, i, label, references_ev) for i, label in enumerate(labelled)]
    generator = torch.Generator().manual_seed(recipe.seed)
    weights = parent.module.get_weights() if parent else _first_weights(shape, examples, generator)
    module = NepModule(shape, torch.float32)
    module.set_weights(weights)
    with torch.no_grad():
        module.references_ev.zero_()
    outputs = _outputs_of(module, labelled, recipe)
    _train(module, outputs, examples, recipe, generator, watch)
    student = NepPotential(shape, module.get_weights())
    return _with_references(student, labelled)


def _outputs_of(
    module: NepModule, labelled: Sequence[LabelledStructure], recipe: StudentRecipe
) -> _Outputs:
    """Return what evaluates a batch: compiled, where that pays, else torch."""
    is_worth_it = recipe.updates * recipe.atoms_per_batch >= _WORTH_COMPILING
    library = load_trainer(module.shape) if is_worth_it else None
    if library is not None:
        learner = NepLearner(library, module, [to_ase(label.structure) for label in labelled])
        return lambda batch: learner([example.place for example in batch])

    def by_torch(batch: Sequence[_Example]) -> tuple[Tensor, Tensor, Tensor]:
        found = module(join_graphs([example.graph for example in batch], torch.float32))
        return found.energies_ev, found.forces_ev_per_ang, found.virials_ev

    return by_torch


def _train(
    module: NepModule,
    outputs: _Outputs,
    examples: Sequence[_Example],
    recipe: StudentRecipe,
    generator: torch.Generator,
    watch: Watch,
) -> None:
    parameters = [value for value in module.parameters() if value.requires_grad]
    optimizer = _optimizer(parameters, recipe)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, recipe.updates, eta_min=recipe.learning_rate / 1000
    )
    done = 0
    while done < recipe.updates:
        losses = []
        for batch in _batches(examples, recipe.atoms_per_batch, generator):
            loss = _loss(outputs(batch), batch, recipe, done / recipe.updates)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 10.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            done += 1
            watch(done, losses[-1])
            if done == recipe.updates:
                break
        if not math.isfinite(sum(losses)):
            raise PhysicsError(
                "the loss is not finite", fix="lower the learning rate", updates=done
            )


def _optimizer(parameters: list[nn.Parameter], recipe: StudentRecipe) -> torch.optim.Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "soap":
        return Soap(parameters, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, betas=(0.9, 0.99))


def _batches(
    examples: Sequence[_Example], atoms_per_batch: int, generator: torch.Generator
) -> list[list[_Example]]:
    batches: list[list[_Example]] = [[]]
    n_atoms = 0
    for i in torch.randperm(len(examples), generator=generator).tolist():
        if n_atoms >= atoms_per_batch:
            batches.append([])
            n_atoms = 0
        batches[-1].append(examples[i])
        n_atoms += examples[i].n_atoms
    return batches


def _loss(
    outputs: tuple[Tensor, Tensor, Tensor],
    batch: Sequence[_Example],
    recipe: StudentRecipe,
    progress: float,
) -> Tensor:
    n_atoms = torch.tensor([float(example.n_atoms) for example in batch])
    energies = torch.tensor([example.energy_ev for example in batch])
    virials = torch.stack([example.virial_ev for example in batch])
    e = (outputs[0] - energies) / n_atoms
    f = outputs[1] - torch.cat([example.forces for example in batch])
    w = (outputs[2] - virials) / n_atoms[:, None, None]
    weight = 1 + (recipe.energy_weight - 1) * progress
    forces = 2 * functional.huber_loss(f, torch.zeros_like(f), delta=_OUTLIER_EV_PER_ANG)
    return weight * (e * e).mean() + forces + recipe.virial_weight * (w * w).mean()


def _example(
    blank: NepPotential, place: int, label: LabelledStructure, references_ev: Floats
) -> _Example:
    atoms = to_ase(label.structure)
    graph = blank.graph(atoms)
    species = blank.species_of(atoms.numbers)
    volume_ang3 = float(graph.volumes_ang3)
    return _Example(
        place=place,
        graph=join_graphs([graph], torch.float32),
        energy_ev=label.energy_ev - float(references_ev[species].sum()),
        forces=torch.tensor(label.forces_ev_per_ang, dtype=torch.float32),
        virial_ev=torch.tensor(
            label.stress_gpa * (volume_ang3 / EV_PER_ANG3_GPA), dtype=torch.float32
        ),
    )


def _references(shape: NepShape, labelled: Sequence[LabelledStructure]) -> Floats:
    """Return the energy per atom of each species that fits the labels best, shape (S,)."""
    energies = np.array([label.energy_ev / label.n_atoms for label in labelled])
    return _fit(_compositions(shape, labelled), energies)


def _compositions(shape: NepShape, labelled: Sequence[LabelledStructure]) -> Floats:
    rows = [[label.structure.species.count(s) for s in shape.species] for label in labelled]
    counts = np.array(rows, float)
    shares: Floats = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _fit(shares: Floats, energies: Floats) -> Floats:
    mean = energies.mean()
    normal = shares.T @ shares + _RIDGE * len(shares) * np.eye(shares.shape[1])
    fitted: Floats = mean + np.linalg.solve(normal, shares.T @ (energies - mean))
    return fitted


def _first_weights(
    shape: NepShape, examples: Sequence[_Example], generator: torch.Generator
) -> NepWeights:
    """Return random weights whose descriptors have a spread of one over the labels."""
    module = NepModule(shape, torch.float32)
    randn = functools.partial(torch.randn, generator=generator)
    with torch.no_grad():
        for part, k in ((module.radial, shape.k_radial), (module.angular, shape.k_angular)):
            part.copy_(randn(part.shape) / math.sqrt(k))
        rows = [
            module(example.graph).descriptors for example in examples[:: len(examples) // 64 + 1]
        ]
        module.scales.copy_(1 / torch.cat(rows).std(0).clamp(min=1e-4))
        module.first.copy_(randn(module.first.shape) / math.sqrt(shape.descriptors))
        module.second.copy_(0.1 * randn(module.second.shape) / math.sqrt(shape.neurons))
        mean = torch.cat(rows).mean(0) * module.scales
        module.biases.copy_(module.first @ mean + 0.5 * randn(module.biases.shape))
    return module.get_weights()


def _with_references(student: NepPotential, labelled: Sequence[LabelledStructure]) -> NepPotential:
    """Return the student with the references that fit its own energies to the labels."""
    shape = student.shape
    predictions = student.predict([label.structure for label in labelled])
    residuals = np.array(
        [
            (label.energy_ev - point.energy_ev) / label.n_atoms
            for label, point in zip(labelled, predictions, strict=True)
        ]
    )
    fitted = _fit(_compositions(shape, labelled), residuals)
    return student.shifted(dict(zip(shape.species, fitted.tolist(), strict=True)))
