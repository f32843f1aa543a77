"""Fine-tuning against the r2SCAN teacher, from seeds to errors: a check of the whole recipe.

    OMP_NUM_THREADS=1 python scripts/finetune_check.py FOLDER

40 training frames (20-atom Li3YBr6 and 30-atom Li3YCl6, 20 each) by farthest points, one
candidate per 100 fs of the first 85 % of 2 ps NVT at 300, 600 and 800 K with CHGNet 0.3.0; the
candidates of the last 15 % choose the epoch and train nothing. 24 test frames from runs with
other seeds at 500 K, strained by +3 % and -3 %. Labels by CHGNet r2SCAN. Trainings run in
processes of their own: one thread twice, two threads twice.
Frames are kept in FOLDER and made only once.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lycb_flows import schemas
from lycb_flows.config import (
    EnumerationConfig,
    HealthConfig,
    MDProtocol,
    RelaxationConfig,
    SelectionConfig,
    TrainingConfig,
)
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.structures import load_parent
from lycb_flows.learning.evaluation import evaluate
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.sampling import Candidates, evenly_spaced, select_frames
from lycb_flows.learning.training import fine_tune, shift_reference
from lycb_flows.md.protocol import prepare_start, run_segments
from lycb_flows.md.trajectory import join, read_trajectory
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.potential import Potential
from lycb_flows.relaxation.by_model import relax
from lycb_flows.schemas import ModelErrors

SYSTEMS = {"LYC": "Li3YCl6", "LYB": "Li3YBr6"}
TRAINING_TEMPERATURES_K = (300.0, 600.0, 800.0)
TEST_TEMPERATURE_K = 500.0
TEST_STRAINS = (-0.03, 0.03)
N_TRAINING, N_TEST_PER_RUN = 20, 6  # per system
HEATING_STEPS, PRODUCTION_STEPS = 200, 2000
VALIDATION_FRACTION = 0.15
PARENT, TEACHER = "chgnet-0.3.0", "chgnet-r2scan"
LIMITS_MEV = {"energy": 1.5, "force": 20.0, "stress": 40.0}


def load(name: str) -> Potential:
    """A built-in potential."""
    source = find_model(name)
    return load_potential(source.model, source.weights)


def ordered_cell(parent_name: str, potential: Potential) -> schemas.Structure:
    """The unit cell's ordering of lowest static energy, relaxed."""
    result = enumerate_orderings(load_parent(parent_name), EnumerationConfig(supercell=(1, 1, 1)))
    structures = [result.structure(index) for index in range(len(result.members))]
    energies = [prediction.energy_ev for prediction in potential.predict(structures)]
    best = structures[int(np.argmin(energies))]
    return relax(best, potential, RelaxationConfig(fmax_ev_per_ang=0.05)).structure


def run_of(
    name: str, start: schemas.Structure, potential: Potential, temperature_k: float, seed: int
) -> Candidates:
    """The production frames of a short NVT run."""
    protocol = MDProtocol(
        ensemble="nvt",
        temperature_k=temperature_k,
        time_step_fs=1.0,
        thermostat_damping_ps=0.1,
        start_temperature_k=temperature_k,
        heating_steps=HEATING_STEPS,
        equilibration_steps=0,
        sample_interval_steps=100,
        segment_steps=HEATING_STEPS + PRODUCTION_STEPS,
        average_fraction=0.8,
        health=HealthConfig(),
    )
    n_steps = HEATING_STEPS + PRODUCTION_STEPS
    segments = list(run_segments(start, potential, protocol, seed=seed, n_steps=n_steps))
    trajectory = join([read_trajectory(segment.trajectory) for segment in segments])
    return Candidates(name, trajectory, HEATING_STEPS, n_steps)


def frames_of(system: str, potential: Potential) -> list[tuple[str, schemas.Structure]]:
    """(block, structure) of the training, validation and test frames of a system."""
    cell = ordered_cell(SYSTEMS[system], potential)
    runs = [
        run_of(f"{system}-{temperature_k:.0f}K", cell, potential, temperature_k, seed)
        for seed, temperature_k in enumerate(TRAINING_TEMPERATURES_K)
    ]
    cut = HEATING_STEPS + round((1 - VALIDATION_FRACTION) * PRODUCTION_STEPS)
    early = [replace(run, last_step=cut) for run in runs]
    picks = select_frames(early, SelectionConfig(n_frames=N_TRAINING, thinning_fs=100.0))
    frames = [("train", pick.structure) for pick in picks]
    for run in runs:
        late = np.flatnonzero(run.trajectory.steps > cut)
        frames += [("validation", run.trajectory.structure(int(index))) for index in late]
    for seed, strain in enumerate(TEST_STRAINS, start=100):
        start = prepare_start(cell, strain=strain)
        run = run_of(f"{system}-test{strain:+}", start, potential, TEST_TEMPERATURE_K, seed)
        production = np.flatnonzero(run.trajectory.steps > HEATING_STEPS)
        frames += [
            ("test", run.trajectory.structure(int(production[index])))
            for index in evenly_spaced(len(production), N_TEST_PER_RUN)
        ]
    return frames


def make_frames(path: Path) -> None:
    """All frames with their labels, as JSON."""
    parent, teacher = load(PARENT), load(TEACHER)
    rows = []
    for system in SYSTEMS:
        frames = frames_of(system, parent)
        labels = teacher.predict([structure for _, structure in frames])
        rows += [
            {
                "block": block,
                "system": system,
                "structure": structure.model_dump(mode="json"),
                "energy_ev": label.energy_ev,
                "forces_ev_per_ang": label.forces_ev_per_ang.tolist(),
                "stress_gpa": label.stress_gpa.tolist(),
            }
            for (block, structure), label in zip(frames, labels, strict=True)
        ]
    path.write_text(json.dumps(rows))


def read_frames(path: Path) -> dict[str, list[LabelledStructure]]:
    """The labelled structures of each block."""
    blocks: dict[str, list[LabelledStructure]] = {}
    for index, row in enumerate(json.loads(path.read_text())):
        label = LabelledStructure(
            structure=schemas.Structure.model_validate(row["structure"]),
            energy_ev=row["energy_ev"],
            forces_ev_per_ang=np.array(row["forces_ev_per_ang"]),
            stress_gpa=np.array(row["stress_gpa"]),
            key=str(index),
            system=row["system"],
        )
        blocks.setdefault(row["block"], []).append(label)
    return blocks


def train(folder: Path, threads: int) -> dict[str, Any]:
    """One training and its test errors, in this process."""
    torch.set_num_threads(threads)
    frames = read_frames(folder / "frames.json")
    config = TrainingConfig()
    parent = load(PARENT)
    shifted, shift_ev = shift_reference(
        parent,
        frames["train"],
        raw_pbe=False,
        ridge_ev_per_atom=config.shift_ridge_ev_per_atom,
    )
    began = time.perf_counter()
    child = fine_tune(parent, frames["train"], frames["validation"], config, raw_pbe=False)
    wall_s = time.perf_counter() - began
    source = find_model(PARENT)
    trained = load_potential(source.model, child.weights)
    return {
        "threads": threads,
        "blocks": {block: len(labels) for block, labels in frames.items()},
        "sha256": hashlib.sha256(child.weights).hexdigest(),
        "shift_ev": shift_ev,
        "epochs": len(child.history),
        "best_epoch": child.best_epoch,
        "training_wall_s": wall_s,
        "pretrained": errors_mev(evaluate(parent, frames["test"]).overall),
        "shifted": errors_mev(evaluate(shifted, frames["test"]).overall),
        "trained": errors_mev(evaluate(trained, frames["test"]).overall),
    }


def errors_mev(errors: ModelErrors) -> dict[str, float]:
    """MAEs in meV/atom, meV/Å and MPa, and the force slope."""
    return {
        "energy": 1000 * errors.energy_mae_ev_per_atom,
        "force": 1000 * errors.force_mae_ev_per_ang,
        "stress": 1000 * errors.stress_mae_gpa,
        "force_slope": errors.force_slope,
    }


def train_elsewhere(folder: Path, threads: int) -> dict[str, Any]:
    """`train` in a process of its own."""
    command = [sys.executable, __file__, str(folder), "--threads", str(threads)]
    done = subprocess.run(  # noqa: S603 - our own command line
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def report(results: Sequence[dict[str, Any]]) -> bool:
    """Print what was found; whether everything holds."""
    for result in results:
        print(json.dumps(result, indent=1))
    one, one_again, two, two_again = results
    holds = {
        f"{name} MAE below {limit}": one["trained"][name] < limit
        for name, limit in LIMITS_MEV.items()
    }
    holds["one thread twice: same weights"] = one["sha256"] == one_again["sha256"]
    holds["two threads twice: same weights"] = two["sha256"] == two_again["sha256"]
    holds |= {
        f"{name} MAE of one and two threads within 5 %": bool(
            np.isclose(one["trained"][name], two["trained"][name], rtol=0.05, atol=0)
        )
        for name in LIMITS_MEV
    }
    for fact, true in holds.items():
        print("yes" if true else "NO ", fact)
    return all(holds.values())


def main() -> None:
    """Make the frames if they are missing, train four times, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path, help="where frames.json is kept")
    parser.add_argument("--threads", type=int, help="train once, here, and print JSON")
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "frames.json").exists():
        make_frames(folder / "frames.json")
    if arguments.threads:
        print(json.dumps(train(folder, arguments.threads)))
        return
    if not report([train_elsewhere(folder, threads) for threads in (1, 1, 2, 2)]):
        sys.exit(1)


if __name__ == "__main__":
    main()
