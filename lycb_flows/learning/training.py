"""Fine-tuning: training of a copy of a potential on a dataset, with its history.

The loop is our own because chgnet's Trainer returns the last weights as the best, never finishes
its cosine below ten batches, ignores seed 0 and lets the energy offset outweigh the forces. Here
the reference energies are shifted first; the schedule steps with every update; averaged weights
are evaluated, and the best of them or, by a recipe, the last are returned; equal seeds and thread
counts give equal weights, bit by bit.

>>> child = fine_tune(potential, training, validation, TrainingConfig(), raw_pbe=False)
>>> child.weights, child.best_epoch, child.history[-1].force_mae_ev_per_ang

The loss of a batch is Huber's with delta in each quantity's unit and weights 1, 1, 0.1:

    L = w_E H(dE in eV/atom) + w_F H(dF in eV/Å) + w_S H(dS in GPa)
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lycb_flows.config import TrainingConfig
from lycb_flows.crystals import to_ase
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.learning import LabelledStructure, model_errors, replayed, shift_reference
from lycb_flows.potentials import BatchOutput, Potential, Trainable, require_trainable
from lycb_flows.schemas import EpochRecord, ModelErrors

__all__ = ["LabelledStructure", "TrainedModel", "fine_tune"]

_UPDATES_AT_FULL_RATE = 450
"""Beyond, errors of stress on test labels rise again (benchmarks/README.md, fine-tuning)."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained model.

    Attributes
    ----------
    weights
        safetensors bytes of the averaged weights of one epoch, shift included.
    reference_shift_ev
        Energy added per atom of an element before the training.
    best_epoch
        Epoch of the weights, 1-based; 0 when none was better than the shifted parent.
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
    tell: Callable[[EpochRecord], None] = lambda _record: None,
) -> TrainedModel:
    """Return a trained copy of the potential.

    Parameters
    ----------
    potential
        The parent, which is not changed.
    training
        Labels that the weights are fitted to.
    validation
        Labels that choose the epoch, as the recipe has it; no weight is fitted to them.
    config
        Settings of the training.
    raw_pbe
        Whether the labels are uncorrected PBE (see `shift_reference`).
    tell
        Called after every epoch.

    Raises
    ------
    InputError
        When the potential cannot be trained, without training or validation labels, or when
        they share a structure.
    PhysicsError
        When a label or the loss is not finite.
    """
    _check_labels(training, validation)
    parent = require_trainable(potential)
    child, shift_ev = shift_reference(
        parent, training, raw_pbe=raw_pbe, ridge_ev_per_atom=config.shift_ridge_ev_per_atom
    )
    if config.replay is not None:
        training = [*training, *replayed(child, training, config.replay, config.seed)]
    with _DETERMINISTIC_ALGORITHMS:
        loop = EpochLoop(child, training, validation, config)
        while loop.goes_on:
            loop.run_epoch()
            tell(loop.history[-1])
        chosen = loop.chosen()
    return TrainedModel(chosen.weights, shift_ev, chosen.epoch, tuple(loop.history))


def learning_rate_factor(update: int, n_updates: int, config: TrainingConfig) -> float:
    """Return the share of the full learning rate: a linear warm-up, then a cosine.

    By the recipe `scaled-schedule` a training of more than 450 updates has a lower rate from the
    first to the last, in proportion to 1 / sqrt(updates): weights that take random steps of this
    size get as far as in 450.

    Parameters
    ----------
    update
        Number of updates so far.
    n_updates
        Number of updates of the whole training.
    config
        Share of the warm-up, and the final learning rate.
    """
    scale = 1.0
    if config.recipe == "scaled-schedule":
        scale = min(1.0, math.sqrt(_UPDATES_AT_FULL_RATE / n_updates))
    n_warm = round(config.warmup_fraction * n_updates)
    if update < n_warm:
        return scale * (update + 1) / n_warm
    progress = (update - n_warm) / max(n_updates - 1 - n_warm, 1)
    final = config.final_learning_rate_fraction
    return scale * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress)))


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
        self.shifted_score = self.best.score

    @property
    def goes_on(self) -> bool:
        """Whether another epoch is to be run."""
        is_patient = self.epoch - self.best.epoch < self.config.patience
        has_recipe = self.config.recipe is not None
        return self.epoch < self.config.epochs and (has_recipe or is_patient)

    def chosen(self) -> _Best:
        """Return the epoch whose averaged weights the recipe hands on.

        The last of a whole schedule is taken unless it is worse than the shifted parent, which
        is a training that went wrong.
        """
        last = self.history[-1].score if self.history else math.inf
        if self.config.recipe is None or last > self.shifted_score:
            return self.best
        return _Best(self.epoch, last, self.averaged.weights_bytes())

    def run_epoch(self) -> None:
        """Use every training label once, then evaluate on the validation labels."""
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
        """Use every training label once, in random order.

        Returns
        -------
        list of float
            The loss of each batch before its update.
        """
        self.epoch += 1
        order = torch.randperm(len(self.samples), generator=self.generator).tolist()
        with _denormals_flushed():
            return [
                self._run_update(order[start : start + self.config.batch_size])
                for start in range(0, len(order), self.config.batch_size)
            ]

    def loss_of(self, places: Sequence[int]) -> float:
        """Return the loss of some training labels, without an update.

        Parameters
        ----------
        places
            Places of the labels in the training set.
        """
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
        """Update the exponential moving average, whose memory grows during the first updates."""
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
    broken = [label for label in (*training, *validation) if not _is_finite(label)]
    if broken:
        raise PhysicsError(
            "a label is not finite",
            fix="retract it, or leave its frame out",
            labels=len(broken),
            example=broken[0].key or broken[0].structure.key,
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


def _is_finite(label: LabelledStructure) -> bool:
    numbers = (label.energy_ev, label.forces_ev_per_ang, label.stress_gpa)
    return all(bool(np.isfinite(value).all()) for value in numbers)


@contextlib.contextmanager
def _denormals_flushed() -> Iterator[None]:
    """Take numbers below 1.2e-38 as zero in this thread, as long as it is inside.

    An Intel core spent half of its time on them: an epoch of CHGNet on 8 structures of 20 and 30
    atoms took 1.02 s of CPU, and takes 0.53 s.
    """
    before = not (torch.full((), 1e-38) / 8 > 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


class _DeterministicAlgorithms:
    """Sums in a fixed order while at least one thread trains.

    With two threads torch's scatter otherwise adds in any order. The setting is the process's: the
    first training that enters changes it, and the last one that leaves restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._before = False

    def __enter__(self) -> None:
        with self._lock:
            if self._n_inside == 0:
                self._before = torch.are_deterministic_algorithms_enabled()
                torch.use_deterministic_algorithms(mode=True)
            self._n_inside += 1

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                torch.use_deterministic_algorithms(self._before)


_DETERMINISTIC_ALGORITHMS = _DeterministicAlgorithms()
