"""VASP as an engine: levels, checks and costs, without pymatgen's side of VASP."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import VaspLabeler
from lycb_flows.labels import (
    VASP_STAND_IN,
    Engine,
    FindModel,
    ForceCall,
    Look,
    Machine,
    Models,
    Theory,
    plane_wave_label_s,
    vasp_theory,
)
from lycb_flows.labels.vasp.looks import LOOKS

if TYPE_CHECKING:
    from lycb_flows.labels.vasp.labeler import Vasp

_STAND_IN_S = 8.0
"""CPU seconds of a label by the stand-in: a process that loads torch; its forces take less."""
_IS_DFT = {"vasp": True, VASP_STAND_IN: False}


class VaspEngine(Engine[VaspLabeler]):
    """The engine of VASP, or of the stand-in that reads and writes VASP's files."""

    config = VaspLabeler

    def theory(self, config: VaspLabeler, find_model: FindModel) -> Theory:
        """Return the level of levels.yaml; the stand-in's is another theory with equal settings."""
        del find_model
        return vasp_theory(config.theory, stand_in=config.stand_in)

    def check(self, config: VaspLabeler, elements: Iterable[str], machine: Machine) -> None:
        """Check that VASP's command and POTCARs are here.

        Parameters
        ----------
        config
            Names the level.
        elements
            Chemical symbols; each needs a POTCAR.
        machine
            VASP's command.

        Raises
        ------
        InputError
            When something is missing or not the stated one.
        """
        # imported here because pymatgen's VASP modules double the time of every command's imports
        from lycb_flows.labels.vasp.installation import check_vasp  # noqa: PLC0415

        theory = vasp_theory(config.theory, stand_in=config.stand_in)
        check_vasp(theory, elements, command=machine.vasp_command)

    def open(self, config: VaspLabeler, machine: Machine, models: Models) -> Vasp:
        """Return VASP with the optimizer that the machine's settings name.

        Parameters
        ----------
        config
            Names the level.
        machine
            VASP's command, and how it runs here.
        models
            Not used.
        """
        from lycb_flows.labels.vasp.relaxing import open_vasp  # noqa: PLC0415 - likewise

        del models
        return open_vasp(config, machine)

    def cost_s(
        self, config: VaspLabeler, theory: Theory, lattice_ang: NDArray[np.float64], n_atoms: int,
        force_call_s: ForceCall,
    ) -> float | None:  # fmt: skip
        """Return the cost of plane waves, or the measured cost of the stand-in."""
        del force_call_s
        if config.stand_in:
            return _STAND_IN_S
        return plane_wave_label_s(theory, lattice_ang, n_atoms)

    def cost_note(self, config: VaspLabeler) -> str:
        """Return what the cost of VASP's labels was measured with."""
        return "" if config.stand_in else "their cost taken to be GPAW's"

    def is_dft(self, code: str) -> bool | None:
        """Return True for VASP and False for the stand-in."""
        return _IS_DFT.get(code)

    def looks(self) -> Sequence[Look]:
        """Return the checks of VASP's command, its POTCARs and its shares of the cores."""
        return LOOKS
