"""Peak memory of one large evaluation."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
import time

import torch
from ase import Atoms

from lycb_flows.bench.comparison import Comparison
from lycb_flows.bench.subjects import MODEL, potential_named, rattled_cell

_PAGES_TO_BYTES = 1024 if sys.platform == "linux" else 1  # of ru_maxrss


def measure_memory() -> list[Comparison]:
    """Measure the peak memory of energy, forces and stress of 4,500 atoms.

    The model that chgnet ships needs 30 GB for them.

    Returns
    -------
    list of Comparison
        One, without a reference; its `gigabytes` is the result.
    """
    code = "from lycb_flows.bench import memory; memory.print_memory_of_one_evaluation()"
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
    """Return a crystal of 4,500 atoms."""
    return rattled_cell(0, (6, 5, 5))


def print_memory_of_one_evaluation() -> None:
    """Print the peak memory of this process in GB after one evaluation of `crystal_for_memory`."""
    torch.set_num_threads(1)
    potential_named(MODEL).predict_atoms(crystal_for_memory())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"{peak * _PAGES_TO_BYTES / 1e9}\n")
