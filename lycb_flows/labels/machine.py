"""What labelling engines need to know of where they run; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

CleanUp = Literal["always", "success", "never"]


@dataclass(frozen=True)
class Machine:
    """The settings that engines see; they decide no number and are in no fingerprint.

    Attributes
    ----------
    threads
        Of OpenMP and BLAS, per process.
    gpaw_launcher
        Put before GPAW's Python, e.g. "mpiexec -n 8".
    vasp_command
        By which VASP is started, e.g. "srun vasp_std"; None: not here.
    vasp_ncore, vasp_kpar
        NCORE and KPAR of the INCAR; None: VASP's defaults.
    vasp_scratch
        Where folders of runs are made; None: the job's launch folder, which ranks on other
        nodes see, too.
    vasp_waves
        Where WAVECAR and CHGCAR are kept, one folder per label; None: they are not written.
    vasp_clean_up
        Which folders of runs go: all, those of labels, none.
    vasp_frozen_s
        Silence after which VASP hangs.
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

    @property
    def vasp_incar(self) -> dict[str, int | bool]:
        """INCAR settings that share VASP's work and keep its files."""
        waves = None if self.vasp_waves is None else True
        keys = {"NCORE": self.vasp_ncore, "KPAR": self.vasp_kpar, "LWAVE": waves, "LCHARG": waves}
        return {key: value for key, value in keys.items() if value is not None}
