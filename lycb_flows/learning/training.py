"""Fine-tuning: a dataset and a parent's weights become a child's weights, with their history.

Why the loop is our own: chgnet's Trainer hands back the last weights as the best, never finishes
its cosine below ten batches, ignores seed 0 and drowns the forces in the energy offset. Here the
reference energies are shifted first; the schedule steps with every update; averaged weights are
evaluated and the best of them exported as a copy; equal seeds and thread counts give equal
weights, bit by bit.

>>> child = fine_tune(potential, training, validation, TrainingConfig(), raw_pbe=False)
>>> child.weights, child.best_epoch, child.history[-1].force_mae_ev_per_ang

Loss of a batch, Huber with delta in each quantity's unit, weights 1, 1, 0.1:

    L = w_E H(dE in eV/atom) + w_F H(dF in eV/Å) + w_S H(dS in GPa)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lycb_flows.config import TrainingConfig
from lycb_flows.crystals import to_ase
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.learning.labelled import LabelledStructure, model_errors
from lycb_flows.potentials.potential import Potential
from lycb_flows.potentials.trainable import BatchOutput, Trainable, require_trainable
from lycb_flows.schemas import EpochRecord, ModelErrors

__all__ = ["LabelledStructure", "TrainedModel", "fine_tune", "shift_reference"]

MP2020_REMOVAL_EV = {"Cl": 0.614, "Br": 0.534}
"""CHGNet predicts MP2020-corrected energies, E = E_raw - 0.614 n_Cl - 0.534 n_Br; towards raw
PBE its energy rises by so much per anion (pymatgen's MP2020Compatibility.yaml)."""

_RESIDUAL_EV_PER_ATOM = 5e-3  # how far a shifted model's energies still are: the fit's noise


@dataclass(frozen=True)
class TrainedModel:
    """A child model.

    Attributes
    ----------
    weights
        safetensors bytes of the best averaged weights, shift included.
    reference_shift_ev
        Added per atom of an element before the training.
    best_epoch
        1-based; 0 when no epoch beat the shifted parent.
    history
        Every epoch that was run.
    """

    weights: bytes
    reference_shift_ev: dict[str, float]
    best_epoch: int
    history: tuple[EpochRecord, ...]


def fine_tune(
    potential: Potential,
    training: Sequence[LabelledStructure],
    validation: Sequence[LabelledStructure],
    config: TrainingConfig,
    *,
    raw_pbe: bool,
) -> TrainedModel:
    """Return a trained copy of the potential.

    Parameters
    ----------
    potential
        The parent; left as it is.
    training
        What is learnt.
    validation
        What chooses the epoch; nothing here is learnt from.
    raw_pbe
        Whether the labels are uncorrected PBE (see `shift_reference`).

    Raises
    ------
    InputError
        When the potential cannot be trained, without training or validation labels, or when
        they share a structure.
    PhysicsError
        When the loss is not finite.
    """
    _check_labels(training, validation)
    parent = require_trainable(potential)
    child, shift_ev = shift_reference(
        parent, training, raw_pbe=raw_pbe, ridge_ev_per_atom=config.shift_ridge_ev_per_atom
    )
    with _deterministic_algorithms():
        loop = EpochLoop(child, training, validation, config)
        while loop.epoch < config.epochs and loop.epoch - loop.best.epoch < config.patience:
            loop.run_epoch()
    return TrainedModel(loop.best.weights, shift_ev, loop.best.epoch, tuple(loop.history))


def shift_reference(
    potential: Trainable,
    labelled: Sequence[LabelledStructure],
    *,
    raw_pbe: bool,
    ridge_ev_per_atom: float,
) -> tuple[Trainable, dict[str, float]]:
    """Return a copy whose reference energies bring its energies to the labels' on average.

    The residual E_label - E_model per atom is fitted as a sum over the composition. Raw PBE:
    MP2020's anion corrections are taken back first, and what remains is fitted with a prior
    of width `ridge_ev_per_atom` around zero. Other theories: least squares of smallest norm.

    Returns
    -------
    tuple
        The shifted copy, and what was added in eV per atom of each element.
    """
    elements = sorted({symbol for label in labelled for symbol in label.structure.species})
    shift_ev = dict.fromkeys(elements, 0.0)
    if raw_pbe:
        shift_ev |= {el: ev for el, ev in MP2020_REMOVAL_EV.items() if el in shift_ev}
    predictions = potential.predict([label.structure for label in labelled])
    shares = np.array([_shares(label, elements) for label in labelled])
    residuals = np.array(
        [
            (label.energy_ev - point.energy_ev) / label.n_atoms
            for label, point in zip(labelled, predictions, strict=True)
        ]
    ) - shares @ np.array(list(shift_ev.values()))
    if raw_pbe:  # as if zero had been measured for each element, with the prior's width
        prior = np.eye(len(elements)) * (_RESIDUAL_EV_PER_ATOM / ridge_ev_per_atom)
        shares = np.concatenate([shares, prior])
        residuals = np.concatenate([residuals, np.zeros(len(elements))])
    fitted, *_ = np.linalg.lstsq(shares, residuals)
    for element, energy_ev in zip(elements, fitted.tolist(), strict=True):
        shift_ev[element] += energy_ev
    return potential.shifted(shift_ev), shift_ev


def learning_rate_factor(update: int, n_updates: int, config: TrainingConfig) -> float:
    """Share of the full learning rate at an update (0-based): linear warm-up, then cosine."""
    n_warm = round(config.warmup_fraction * n_updates)
    if update < n_warm:
        return (update + 1) / n_warm
    progress = (update - n_warm) / max(n_updates - 1 - n_warm, 1)
    final = config.final_learning_rate_fraction
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class _Sample:
    """A training label as graph and tensors."""

    graph: Any
    energy_ev_per_atom: Tensor
    forces_ev_per_ang: Tensor
    stress_gpa: Tensor


@dataclass(frozen=True)
class _Best:
    epoch: int
    score: float
    weights: bytes


class EpochLoop:
    """The state of one training."""

    def __init__(
        self,
        child: Trainable,
        training: Sequence[LabelledStructure],
        validation: Sequence[LabelledStructure],
        config: TrainingConfig,
    ) -> None:
        self.config, self.child = config, child
        self.samples = [_sample(child, label) for label in training]
        self.validation = validation
        child.module.requires_grad_(requires_grad=False)
        self.parameters = child.trainable_parameters(config.freeze_level)
        for parameter in self.parameters:
            parameter.requires_grad_()
        self.averaged = child.copy()
        self.averaged_parameters = self.averaged.trainable_parameters(config.freeze_level)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=0.0
        )
        self.generator = torch.Generator().manual_seed(config.seed)
        self.n_updates = config.epochs * math.ceil(len(training) / config.batch_size)
        self.epoch, self.update = 0, 0
        self.history: list[EpochRecord] = []
        self.best = _Best(0, self._validation_errors().score, self.averaged.weights_bytes())

    def run_epoch(self) -> None:
        """Every training label once, then a look at the validation labels."""
        losses = self.train_epoch()
        errors = self._validation_errors()
        record = EpochRecord(
            epoch=self.epoch,
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            training_loss=float(np.mean(losses)),
            energy_mae_ev_per_atom=errors.energy_mae_ev_per_atom,
            force_mae_ev_per_ang=errors.force_mae_ev_per_ang,
            stress_mae_gpa=errors.stress_mae_gpa,
            score=errors.score,
        )
        self.history.append(record)
        if record.score < self.best.score:
            self.best = _Best(self.epoch, record.score, self.averaged.weights_bytes())

    def train_epoch(self) -> list[float]:
        """Every training label once; the loss of each batch."""
        self.epoch += 1
        order = torch.randperm(len(self.samples), generator=self.generator).tolist()
        return [
            self._run_update(order[start : start + self.config.batch_size])
            for start in range(0, len(order), self.config.batch_size)
        ]

    def loss_of(self, places: Sequence[int]) -> float:
        """The loss of some training labels, with the weights as they are."""
        return float(self._loss(places).detach())

    def _loss(self, places: Sequence[int]) -> Tensor:
        batch = [self.samples[place] for place in places]
        output = self.child.forward([sample.graph for sample in batch], create_graph=True)
        return _loss(output, batch, self.config)

    def _run_update(self, places: Sequence[int]) -> float:
        factor = learning_rate_factor(self.update, self.n_updates, self.config)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * factor
        self.optimizer.zero_grad()
        loss = self._loss(places)
        if not torch.isfinite(loss):
            raise PhysicsError(
                "the training loss is not finite",
                fix="lower training.learning_rate, or look at the labels",
                epoch=self.epoch,
            )
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        self.optimizer.step()
        self.update += 1
        self._average_weights()
        return float(loss.detach())

    def _average_weights(self) -> None:
        """Exponential moving average; its memory grows from the first updates to the full one."""
        decay = min(self.config.ema_decay, (1 + self.update) / (10 + self.update))
        with torch.no_grad():
            for mean, parameter in zip(self.averaged_parameters, self.parameters, strict=True):
                mean.lerp_(parameter, 1 - decay)

    def _validation_errors(self) -> ModelErrors:
        predictions = self.averaged.predict([label.structure for label in self.validation])
        return model_errors(self.validation, predictions)


def _sample(potential: Trainable, label: LabelledStructure) -> _Sample:
    device = potential.device

    def tensor(values: object) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    return _Sample(
        graph=potential.graph(to_ase(label.structure)),
        energy_ev_per_atom=tensor(label.energy_ev / label.n_atoms),
        forces_ev_per_ang=tensor(label.forces_ev_per_ang),
        stress_gpa=tensor(label.stress_gpa),
    )


def _loss(output: BatchOutput, batch: Sequence[_Sample], config: TrainingConfig) -> Tensor:
    energies = torch.stack([sample.energy_ev_per_atom for sample in batch])
    forces = torch.cat([sample.forces_ev_per_ang for sample in batch])
    stresses = torch.stack([sample.stress_gpa for sample in batch])
    weights, delta = config.weights, config.huber_delta
    return (
        weights.energy * functional.huber_loss(output.energies_ev_per_atom, energies, delta=delta)
        + weights.force * functional.huber_loss(output.forces_ev_per_ang, forces, delta=delta)
        + weights.stress * functional.huber_loss(output.stresses_gpa, stresses, delta=delta)
    )


def _check_labels(
    training: Sequence[LabelledStructure], validation: Sequence[LabelledStructure]
) -> None:
    if not training or not validation:
        raise InputError(
            "a training needs training and validation labels",
            fix="label more frames",
            training=len(training),
            validation=len(validation),
        )
    shared = {label.structure.key for label in training} & {
        label.structure.key for label in validation
    }
    if shared:
        raise InputError(
            "a structure both trains and validates",
            fix="split by time blocks",
            shared=len(shared),
            example=min(shared),
        )


def _shares(label: LabelledStructure, elements: Sequence[str]) -> list[float]:
    return [label.structure.species.count(element) / label.n_atoms for element in elements]


@contextmanager
def _deterministic_algorithms() -> Iterator[None]:
    """Sums in a fixed order: with two threads torch's scatter otherwise adds atomically."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(mode=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
