"""GPAW as an engine: density-functional theory without a licence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata, util
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import GpawLabeler
from lycb_flows.labels import (
    Engine,
    Finding,
    FindModel,
    ForceCall,
    Look,
    Machine,
    Models,
    NotApplicableError,
    Theory,
    gpaw_theory,
    plane_wave_label_s,
)
from lycb_flows.labels.gpaw.installation import check_gpaw

if TYPE_CHECKING:
    from lycb_flows.labels.gpaw.labeler import Gpaw

_ELEMENTS = ("Li", "Y", "Cl", "Br")
_LEVEL = "paper-static"


class GpawEngine(Engine[GpawLabeler]):
    """The engine of GPAW at one of its levels of theory."""

    config = GpawLabeler

    def theory(self, config: GpawLabeler, find_model: FindModel) -> Theory:
        """Return the level of levels.yaml."""
        del find_model
        return gpaw_theory(config.theory)

    def check(self, config: GpawLabeler, elements: Iterable[str], machine: Machine) -> None:
        """Check that GPAW's version and data sets are the stated ones.

        Parameters
        ----------
        config
            Names the level.
        elements
            Chemical symbols; each needs a data set.
        machine
            Not used.

        Raises
        ------
        InputError
            When something is missing or not the stated one.
        """
        del machine
        check_gpaw(gpaw_theory(config.theory), elements)

    def open(self, config: GpawLabeler, machine: Machine, models: Models) -> Gpaw:
        """Return GPAW with this machine's launcher and threads as a labeler."""
        from lycb_flows.labels.gpaw.labeler import Gpaw  # noqa: PLC0415 - jobs alone need it

        del models
        return Gpaw(config, launcher=machine.gpaw_launcher, threads=machine.threads)

    def cost_s(
        self, config: GpawLabeler, theory: Theory, lattice_ang: NDArray[np.float64], n_atoms: int,
        force_call_s: ForceCall,
    ) -> float | None:  # fmt: skip
        """Return the cost of plane waves."""
        del config, force_call_s
        return plane_wave_label_s(theory, lattice_ang, n_atoms)

    def is_dft(self, code: str) -> bool | None:
        """Return True for GPAW."""
        return True if code == "gpaw" else None

    def looks(self) -> Sequence[Look]:
        """Return the check of GPAW and its data sets."""
        return (Look("GPAW", look_at_gpaw, "run scripts/install_gpaw.sh"),)


def look_at_gpaw(machine: Machine) -> Finding:
    """Report whether GPAW and its data sets are as the levels of theory state them."""
    del machine
    if util.find_spec("gpaw") is None:
        raise NotApplicableError("not installed: needed for labels by GPAW only")
    theory = gpaw_theory(_LEVEL)
    check_gpaw(theory, _ELEMENTS)
    release = theory.paw.release if theory.paw else "no data sets"
    return Finding(ok=True, found=f"{metadata.version('gpaw')}, {release}: {', '.join(_ELEMENTS)}")
