"""Time of a training epoch, compared with chgnet's Trainer."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from chgnet.data.dataset import collate_graphs
from chgnet.model.model import CHGNet
from chgnet.trainer.trainer import Trainer
from pymatgen.io.ase import AseAtomsAdaptor

from lycb_flows.bench.comparison import Comparison, alternate, thread_counts, threaded
from lycb_flows.bench.subjects import MODEL, TEACHER, potential_named, rattled_cell, shipped_model
from lycb_flows.config import TrainingConfig
from lycb_flows.crystals import canonical_structure, to_ase
from lycb_flows.learning import EpochLoop, LabelledStructure


def compare_training() -> list[Comparison]:
    """Compare the time of an epoch on energies, forces and stresses of 32 structures.

    Both sides train all weights but those of AtomRef.

    Returns
    -------
    list of Comparison
        One comparison; its note has the difference between the two losses of the first batch.
    """
    labels = _labels(32)
    batch_size, n_epochs = 8, 3
    config = TrainingConfig(batch_size=batch_size, epochs=100, freeze_level=0)
    loop = EpochLoop(potential_named(MODEL).copy(), labels, labels[:1], config)
    model = shipped_model()
    trainer = Trainer(
        model=model,
        targets="efs",
        criterion="Huber",
        optimizer="AdamW",
        learning_rate=config.learning_rate,
        use_device="cpu",
    )
    batches: Any = _reference_batches(model, labels, batch_size)  # `_train` takes any iterable
    difference = abs(loop.loss_of(range(batch_size)) - _reference_loss(trainer, batches[0]))

    def reference_epoch() -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # chgnet prints its progress
            trainer._train(batches, 0)  # noqa: SLF001 - no public method runs one epoch

    work = {
        (name, threads): threaded(threads, epoch)
        for name, epoch in (("ours", loop.train_epoch), ("reference", reference_epoch))
        for threads in thread_counts()
    }
    seconds = alternate(work, rounds=n_epochs)
    fastest = {
        name: min((seconds[name, threads], threads) for threads in thread_counts())
        for name in ("ours", "reference")
    }
    return [
        Comparison(
            name="training epoch, 32 structures of 20 and 30 atoms, batch 8",
            reference="chgnet's Trainer",
            ours_s=fastest["ours"][0],
            reference_s=fastest["reference"][0],
            note=(
                f"threads {fastest['ours'][1]} against {fastest['reference'][1]}; "
                f"losses of the first batch differ by {difference:.0e}"
            ),
        )
    ]


def _labels(n_labels: int) -> list[LabelledStructure]:
    rng = np.random.default_rng(0)
    structures = []
    for index in range(n_labels):
        atoms = rattled_cell(index % 10, (1, 1, 1), "Li3YBr6" if index % 2 else "Li3YCl6")
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        structures.append(canonical_structure(atoms))
    predictions = potential_named(TEACHER).predict(structures)
    return [
        LabelledStructure(structure=structure, **vars(prediction))
        for structure, prediction in zip(structures, predictions, strict=True)
    ]


def _reference_batches(
    model: CHGNet, labels: Sequence[LabelledStructure], batch_size: int
) -> list[tuple[list[Any], dict[str, Any]]]:
    samples = [
        (
            model.graph_converter(AseAtomsAdaptor.get_structure(to_ase(label.structure))),
            {
                "e": torch.tensor(label.energy_ev / label.n_atoms, dtype=torch.float32),
                "f": torch.tensor(label.forces_ev_per_ang, dtype=torch.float32),
                "s": torch.tensor(label.stress_gpa, dtype=torch.float32),
            },
        )
        for label in labels
    ]
    starts = range(0, len(samples), batch_size)
    return [collate_graphs(samples[start : start + batch_size]) for start in starts]


def _reference_loss(trainer: Trainer, batch: tuple[list[Any], dict[str, Any]]) -> float:
    graphs, targets = batch
    criterion: Any = trainer.criterion
    predictions = cast("CHGNet", trainer.model)(graphs, task="efs")
    return float(criterion(targets, predictions)["loss"].detach())
