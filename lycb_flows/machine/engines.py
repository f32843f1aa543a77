"""What labelling engines need to know of the machine; nothing heavy is imported here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Literal

VaspOptimizer = Literal["ase", "vtst", "cg"]
CleanUp = Literal["always", "success", "never"]

_MIN_GROUP = 4
"""Cores that a k-point keeps: fewer, and every group repeats too much of the memory."""


@dataclass(frozen=True)
class Machine:
    """The settings that engines see; they change no number and are in no fingerprint.

    Attributes
    ----------
    threads
        Threads of OpenMP and BLAS, per process.
    gpaw_launcher
        Put before GPAW's Python, e.g. "mpiexec -n 8".
    vasp_command
        Command that starts VASP, e.g. "srun vasp_std"; None: not here.
    vasp_ncore, vasp_kpar
        NCORE and KPAR of the INCAR; None: VASP's defaults.
    vasp_scratch
        Where folders of runs are made; None: the job's launch folder, which ranks on other
        nodes see, too.
    vasp_waves
        Where WAVECAR and CHGCAR are kept, a folder per label; None: they are not written.
    vasp_clean_up
        Which folders of runs go: all, those of labels, none.
    vasp_frozen_s
        Silence after which VASP hangs.
    vasp_optimizer
        What relaxes with VASP: ASE's FIRE over labels; VASP itself by VTST's FIRE (IOPT=7),
        where the binary has it; or by its conjugate gradients.
    """

    threads: int = 1
    gpaw_launcher: str = ""
    vasp_command: str | None = None
    vasp_ncore: int | None = None
    vasp_kpar: int | None = None
    vasp_scratch: Path | None = None
    vasp_waves: Path | None = None
    vasp_clean_up: CleanUp = "always"
    vasp_frozen_s: float = 21_600.0
    vasp_optimizer: VaspOptimizer = "ase"

    @property
    def vasp_incar(self) -> dict[str, int | bool]:
        """The INCAR settings that share VASP's work and keep its files."""
        waves = None if self.vasp_waves is None else True
        keys = {"NCORE": self.vasp_ncore, "KPAR": self.vasp_kpar, "LWAVE": waves, "LCHARG": waves}
        return {key: value for key, value in keys.items() if value is not None}


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def suggested_shares(n_cores: int, n_kpoints: int) -> Machine:
    """Return KPAR and NCORE to begin with, for one node.

    KPAR divides the cores and leaves the fewest idle in the last turn over the k-points; the
    largest such KPAR is taken, because groups hardly communicate. NCORE divides a group's cores,
    as close to their square root as it goes (VASP's manual).

    Parameters
    ----------
    n_cores
        MPI ranks of the node.
    n_kpoints
        Number of k-points after symmetry.
    """
    groups = [n for n in _divisors(n_cores) if n == 1 or n_cores // n >= _MIN_GROUP]
    kpar = max(groups, key=lambda n: (n_kpoints / (n * ceil(n_kpoints / n)), n))
    group = n_cores // kpar
    ncore = min(_divisors(group), key=lambda n: (abs(n - sqrt(group)), n))
    return Machine(vasp_ncore=ncore, vasp_kpar=kpar)


def _divisors(n: int) -> list[int]:
    return [divisor for divisor in range(1, n + 1) if n % divisor == 0]
