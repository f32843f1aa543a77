"""What labelling engines need to know of where they run; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    threads: int = 1
    gpaw_launcher: str = ""
    vasp_command: str | None = None
    vasp_ncore: int | None = None
    vasp_kpar: int | None = None

    @property
    def vasp_incar(self) -> dict[str, int]:
        """INCAR settings that share VASP's work."""
        keys = {"NCORE": self.vasp_ncore, "KPAR": self.vasp_kpar}
        return {key: value for key, value in keys.items() if value is not None}
