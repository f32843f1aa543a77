"""What a GPU does with CHGNet, SevenNet and a student: exactness and speed, in a few minutes.

    python scripts/gpu_check.py [--device cuda] [--share 1.0] [--json FILE]

For each potential: energies and forces on the device against those on the CPU, and NVT steps of 64
replicas of 60 atoms and of 8 replicas of 480 atoms. For CHGNet also an epoch of fine-tuning on 300
structures of 60 atoms, labelled by itself. `--share` takes that part of replicas, atoms and
structures: 0.1 on a CPU is what the tests run. On a machine with a GPU and torch it needs the
package and no network, and less than eight minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from lycb_flows.bench.students import random_student
from lycb_flows.bench.subjects import rattled_cell
from lycb_flows.config import MDConfig, TrainingConfig
from lycb_flows.crystals import canonical_structure
from lycb_flows.learning import EpochLoop, LabelledStructure
from lycb_flows.md import RunAhead, run_batch, start_run
from lycb_flows.potentials import Potential, find_model, load_potential
from lycb_flows.schemas import Model

TEMPERATURE_K = 600.0
N_STEPS = 20
BATCHES = ((64, (1, 1, 2)), (8, (4, 2, 2)))  # replicas, repeats of a cell of 30 atoms
N_STRUCTURES, BATCH_SIZE = 300, 16
N_EXACT = 4


def potentials() -> Iterator[tuple[str, Callable[[str], Potential]]]:
    """Yield names and what loads each potential on a device."""
    for name in ("chgnet-0.3.0", "sevennet-0"):
        source = find_model(name)
        yield name, lambda device, s=source: load_potential(s.model, s.weights, device)
    student = random_student(rattled_cell(0, (1, 1, 2)))
    model = Model.model_construct(architecture="nep")
    yield (
        "student (random weights)",
        lambda device: load_potential(model, student.weights_bytes(), device),
    )


def exactness(load: Callable[[str], Potential], device: str) -> dict[str, float]:
    """Return the largest differences between a device and the CPU."""
    crystals = [canonical_structure(rattled_cell(i, (1, 1, 2))) for i in range(N_EXACT)]
    here, there = load("cpu").predict(crystals), load(device).predict(crystals)
    pairs = list(zip(here, there, strict=True))
    return {
        "energy_ev_per_atom": max(
            abs(a.energy_ev - b.energy_ev) / len(a.forces_ev_per_ang) for a, b in pairs
        ),
        "force_ev_per_ang": max(
            float(np.abs(a.forces_ev_per_ang - b.forces_ev_per_ang).max()) for a, b in pairs
        ),
    }


def step_s(potential: Potential, atoms: Atoms, n_replicas: int, n_steps: int) -> float:
    """Return the wall time of an NVT step of all replicas, from the second stretch of steps."""
    protocol = MDConfig(sample_interval_fs=10.0).nvt(TEMPERATURE_K, ramp=False)
    start = canonical_structure(atoms)
    begins = [start_run(start, potential, protocol, seed) for seed in range(n_replicas)]
    seconds = []
    for _ in range(2):  # the first compiles kernels
        ahead = [RunAhead(begin, protocol, n_steps) for begin in begins]
        began = time.perf_counter()
        list(run_batch(ahead, potential, device=str(potential.device)))
        seconds.append(time.perf_counter() - began)
    return seconds[-1] / n_steps


def epoch_s(potential: Potential, n_structures: int) -> float:
    """Return the wall time of an epoch of fine-tuning, the second of two."""
    crystals = [canonical_structure(rattled_cell(i, (1, 1, 2))) for i in range(8)]
    crystals = [crystals[i % 8] for i in range(n_structures)]
    labelled = [
        LabelledStructure(
            structure=crystal,
            energy_ev=point.energy_ev,
            forces_ev_per_ang=point.forces_ev_per_ang,
            stress_gpa=point.stress_gpa,
        )
        for crystal, point in zip(crystals, potential.predict(crystals), strict=True)
    ]
    config = TrainingConfig(epochs=2, batch_size=min(BATCH_SIZE, n_structures))
    loop = EpochLoop(potential, labelled, labelled[:1], config)  # type: ignore[arg-type]  # CHGNet
    loop.train_epoch()
    began = time.perf_counter()
    loop.train_epoch()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(device: str, share: float) -> dict[str, Any]:
    """Return every figure, and print them as they come."""
    found: dict[str, Any] = {"machine": machine(device), "share": share}
    for name, load in potentials():
        found[name] = {"exactness": exactness(load, device)}
        potential = load(device)
        for n_replicas, repeat in BATCHES:
            atoms = rattled_cell(0, tuple(max(1, round(n * share)) for n in repeat))
            replicas = max(1, round(n_replicas * share))
            took_s = step_s(potential, atoms, replicas, max(2, round(N_STEPS * share)))
            us = 1e6 * took_s / (replicas * len(atoms))
            found[name][f"{replicas} x {len(atoms)} atoms"] = {"us_per_atom_and_step": us}
            print(f"{name}: {replicas} x {len(atoms)} atoms: {us:.3g} µs per atom and step")
        if name.startswith("chgnet"):
            n = max(2, round(N_STRUCTURES * share))
            found[name]["training"] = {"structures": n, "epoch_s": epoch_s(potential, n)}
            print(f"{name}: an epoch of {n} structures: {found[name]['training']['epoch_s']:.2f} s")
        print(f"{name}: against the CPU: {found[name]['exactness']}", flush=True)
    return found


def machine(device: str) -> dict[str, str]:
    """Return what was measured on."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor()
    return {"device": device, "name": name, "torch": torch.__version__}


def main() -> None:
    """Measure, and write the figures as JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("gpu_check: torch sees no GPU here (--device cpu --share 0.1 runs)")
    found = measure(options.device, options.share)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
