"""Errors and cost of our fine-tuning beside chgnet's own Trainer, at equal data and epochs.

    OMP_NUM_THREADS=1 python benchmarks/bench_finetuning.py FOLDER [--frames 20 60]
        [--epochs 12 30 100] [--seeds 0 1 2] [--labels dft] [--table]

`sevennet`: frames of 10-atom Li3YBr6 and Li3YCl6 (C2/m, both orderings) from runs of CHGNet 0.3.0
at the temperatures and strains of the label pool (`scripts/pool_plan.py`), labelled by SevenNet-0:
72 that may train, 8 that validate (4 for 20 training frames), 56 that test, each kind from runs of
its own. `dft`: the frames of 10 atoms in docs/dft_labels. The seed draws the training frames and
their order.

Both start from CHGNet 0.3.0 with the same shifted reference energies. The Trainer: Huber, Adam,
1e-3, batches of 8, all weights, its defaults besides; "last" is what its `get_best_model` returns,
"bestE" its file of the smallest validation error of energies. Ours: the defaults; "recipe" is
`training.recipe: scaled-schedule`, without it the epoch of the best score is taken, and all epochs
run.
FOLDER keeps the frames and a row of JSON per training; what is there is not computed again. Times
are CPU seconds of the training, graphs included.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import operator
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chgnet.data.dataset import StructureData, collate_graphs
from chgnet.trainer.trainer import Trainer
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from label_pool import Cells, frames_of
from pool_plan import pool_plan

from lycb_flows import schemas
from lycb_flows.bench.subjects import shipped_model
from lycb_flows.config import TrainingConfig
from lycb_flows.crystals import to_pymatgen
from lycb_flows.labels import checked_numbers, read_extxyz
from lycb_flows.learning import EpochLoop, LabelledStructure, evaluate
from lycb_flows.learning.reference_shift import shift_reference
from lycb_flows.potentials import find_model, load_potential

PARENT, TEACHER = "chgnet-0.3.0", "sevennet-0"
FRAMES_PER_RUN = {"train": 3, "validation": 1, "test": 4}
N_VALIDATION = {20: 4}  # as many as a campaign has; else 8
ERRORS = ("energy", "force", "stress")
LABELS = Path(__file__).resolve().parents[1] / "docs" / "dft_labels"

N_ATOMS = 10

Labels = list[LabelledStructure]
Blocks = dict[str, Labels]


def load(name: str) -> Any:
    source = find_model(name)
    return load_potential(source.model, source.weights)


def sampled_frames() -> Iterator[tuple[str, str, schemas.Structure]]:
    """Yield split, system and structure of new frames of the pool's cells of ten atoms."""
    potential = load(PARENT)
    cells = Cells(potential)
    runs = [run for run in pool_plan() if run.cell.n_atoms == N_ATOMS and run.cell.x in (0, 6)]
    for run in runs:
        if run.temperature_k:
            wanted = replace(run, n_frames=FRAMES_PER_RUN[run.split])
            for structure in frames_of(wanted, cells.relaxed(run.cell), potential):
                yield run.split, run.cell.system, structure


def make_frames(path: Path) -> None:
    """Write frames with SevenNet-0's labels."""
    frames = list(sampled_frames())
    points = load(TEACHER).predict([structure for *_, structure in frames])
    with path.open("w") as file:
        for (split, system, structure), point in zip(frames, points, strict=True):
            row = {"split": split, "system": system, "structure": structure.model_dump(mode="json")}
            row |= {name: np.asarray(value).tolist() for name, value in vars(point).items()}
            file.write(json.dumps(row) + "\n")


def teacher_blocks(folder: Path) -> Blocks:
    path = folder / "frames.jsonl"
    if not path.exists():
        make_frames(path)
    blocks: Blocks = {}
    for place, row in enumerate(map(json.loads, path.open())):
        split = row.pop("split")
        arrays = {name: np.array(row.pop(name)) for name in ("forces_ev_per_ang", "stress_gpa")}
        structure = schemas.Structure.model_validate(row.pop("structure"))
        label = LabelledStructure(structure=structure, key=str(place), **arrays, **row)
        blocks.setdefault(split, []).append(label)
    return blocks


def dft_blocks() -> Blocks:
    blocks: Blocks = {}
    for path in sorted(LABELS.glob("*.extxyz")):
        for _, found in read_extxyz(path):
            if len(found.structure.species) == N_ATOMS:
                forces, stress_gpa = checked_numbers(
                    found.structure, found.answer, counted_from_atoms=False
                )
                label = LabelledStructure(
                    structure=found.structure,
                    energy_ev=found.answer.energy_ev,
                    forces_ev_per_ang=forces,
                    stress_gpa=stress_gpa,
                )
                blocks.setdefault(str(found.notes["split"]), []).append(label)
    return blocks


def drawn(blocks: Blocks, n_frames: int, seed: int) -> tuple[Labels, Labels]:
    """Return the training labels of a seed, and the labels that validate."""
    order = np.random.default_rng(seed).permutation(len(blocks["train"]))[:n_frames]
    validation = blocks["validation"][: N_VALIDATION.get(n_frames, 8)]
    return [blocks["train"][place] for place in order], validation


def errors(potential: Any, testing: Labels) -> dict[str, float]:
    """Return MAEs in meV/atom, meV/Å and MPa."""
    found = evaluate(potential, testing).overall
    maes = (found.energy_mae_ev_per_atom, found.force_mae_ev_per_ang, found.stress_mae_gpa)
    return {name: 1000 * mae for name, mae in zip(ERRORS, maes, strict=True)}


def train_by_recipe(
    child: Any, training: Labels, validation: Labels, epochs: int, seed: int
) -> dict[str, Any]:
    config = TrainingConfig(epochs=epochs, seed=seed, recipe="scaled-schedule")
    return {"recipe": _trained(child, training, validation, config).averaged}


def train_without_recipe(
    child: Any, training: Labels, validation: Labels, epochs: int, seed: int
) -> dict[str, Any]:
    config = TrainingConfig(epochs=epochs, seed=seed)
    return {
        "best score": child.with_weights(_trained(child, training, validation, config).best.weights)
    }


def _trained(child: Any, training: Labels, validation: Labels, config: TrainingConfig) -> EpochLoop:
    loop = EpochLoop(child, training, validation, config)
    while loop.epoch < config.epochs:
        loop.run_epoch()
    return loop


def train_reference(
    child: Any, training: Labels, validation: Labels, epochs: int, seed: int
) -> dict[str, Any]:
    model = shipped_model()
    model.load_state_dict(child.module.state_dict())
    trainer = Trainer(
        model=model, targets="efs", optimizer="Adam", criterion="Huber", learning_rate=1e-3,
        epochs=epochs, use_device="cpu", torch_seed=seed, data_seed=seed + 1,
    )  # fmt: skip
    loaders = [
        DataLoader(_dataset(labels), batch_size=8, shuffle=shuffle, collate_fn=collate_graphs)
        for labels, shuffle in ((training, True), (validation, False))
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer.train(*loaders, save_dir=folder)
        (path,) = Path(folder).glob("bestE*")
        best = torch.load(path, weights_only=False)["model"]["state_dict"]  # our own file
    found = {"last": child.copy(), "bestE": child.copy()}
    found["last"].module.load_state_dict(model.state_dict())
    found["bestE"].module.load_state_dict(best)
    return found


def _dataset(labels: Labels) -> StructureData:
    return StructureData(
        [to_pymatgen(label.structure) for label in labels],
        [label.energy_ev / label.n_atoms for label in labels],
        [label.forces_ev_per_ang.tolist() for label in labels],
        stresses=[(-10 * label.stress_gpa).tolist() for label in labels],  # VASP's kbar
        shuffle=False,
    )


TRAINERS = {
    "ours": train_by_recipe,
    "ours, no recipe": train_without_recipe,
    "Trainer": train_reference,
}


def row_of(blocks: Blocks, trainer: str, n_frames: int, epochs: int, seed: int) -> dict[str, Any]:
    """Return the errors of one training on the test labels, and its cost."""
    training, validation = drawn(blocks, n_frames, seed)
    child, _ = shift_reference(load(PARENT), training, raw_pbe=False, ridge_ev_per_atom=1.0)
    shifted = errors(child, blocks["test"])
    began = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):  # the Trainer prints every batch
        found = TRAINERS[trainer](child, training, validation, epochs, seed)
    cpu_s = time.process_time() - began
    tested = {name: errors(each, blocks["test"]) for name, each in found.items()}
    return {"cpu_s": cpu_s, "shifted": shifted, "errors": tested}


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the table in Markdown: means over seeds ± their standard errors."""
    units = "energy, meV/atom | forces, meV/Å | stress, MPa | CPU s"
    yield f"| labels | frames | epochs | | seeds | {units} |"
    yield "|---|---|---|---|---|---|---|---|---|"
    group = operator.itemgetter("labels", "frames", "epochs", "trainer")
    for (labels, frames, epochs, trainer), same in itertools.groupby(
        sorted(rows, key=group), group
    ):
        found = list(same)
        for name in found[0]["errors"]:
            cells = [_mean([row["errors"][name][error] for row in found]) for error in ERRORS]
            cost = float(np.mean([row["cpu_s"] for row in found]))
            yield (
                f"| {labels} | {frames} | {epochs} | {trainer}, {name} | {len(found)} | "
                f"{' | '.join(cells)} | {cost:.0f} |"
            )


def _mean(values: Sequence[float]) -> str:
    spread = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.3g} ± {spread:.2g}"


def main() -> None:
    """Train what has no row yet, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="where frames and rows are kept")
    parser.add_argument("--labels", choices=("sevennet", "dft"), default="sevennet")
    parser.add_argument("--frames", type=int, nargs="+", default=[20, 60])
    parser.add_argument("--epochs", type=int, nargs="+", default=[12, 30, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="print the rows that are there")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    path = wanted.folder / "rows.jsonl"
    rows = [json.loads(line) for line in path.open()] if path.exists() else []
    if not wanted.table:
        blocks = dft_blocks() if wanted.labels == "dft" else teacher_blocks(wanted.folder)
        for names in itertools.product(wanted.frames, wanted.epochs, wanted.seeds, TRAINERS):
            about = dict(zip(("frames", "epochs", "seed", "trainer"), names, strict=True))
            about["labels"] = wanted.labels
            if any(about.items() <= row.items() for row in rows):
                continue
            row = about | row_of(blocks, about["trainer"], *names[:3])
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    print("\n".join(table(rows)))


if __name__ == "__main__":
    main()
