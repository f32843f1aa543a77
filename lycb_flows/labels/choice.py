"""Which labeler a campaign has, and whether it can label here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lycb_flows.config import AnyLabeler, AseLabeler, GpawLabeler, TeacherLabeler, VaspLabeler
from lycb_flows.labels.ase import AseCalculator, find_calculator
from lycb_flows.labels.gpaw.engine import Gpaw, check_gpaw
from lycb_flows.labels.theory import (
    Labeler,
    Theory,
    ase_theory,
    gpaw_theory,
    teacher_theory,
    vasp_theory,
)
from lycb_flows.machine.engines import Machine
from lycb_flows.schemas import Model


def theory_of(labeler: AnyLabeler, find_model: Callable[[str], Model]) -> Theory:
    """The level of theory of a labeler; a teacher's model is found by its key."""
    match labeler:
        case GpawLabeler():
            return gpaw_theory(labeler.theory)
        case VaspLabeler():
            return vasp_theory(labeler.theory, stand_in=labeler.stand_in)
        case AseLabeler():
            return ase_theory(labeler)
        case TeacherLabeler():
            return teacher_theory(find_model(labeler.model))


def check_labeler(labeler: AnyLabeler, elements: Iterable[str], machine: Machine) -> None:
    """Before anything is queued: what labels is installed here and fits the elements.

    Raises
    ------
    InputError
        When it is not.
    """
    match labeler:
        case GpawLabeler():
            check_gpaw(gpaw_theory(labeler.theory), elements)
        case VaspLabeler():
            # here: pymatgen's side of VASP doubles the seconds that every command spends on imports
            from lycb_flows.labels.vasp.inputs import check_vasp  # noqa: PLC0415

            theory = vasp_theory(labeler.theory, stand_in=labeler.stand_in)
            check_vasp(theory, elements, command=machine.vasp_command)
        case AseLabeler():
            find_calculator(labeler.calculator)
        case TeacherLabeler():  # its model is loaded when the campaign is submitted
            pass


def open_engine(labeler: GpawLabeler | VaspLabeler | AseLabeler, machine: Machine) -> Labeler:
    """The labeler at work; a teacher needs its weights and is opened by its job."""
    match labeler:
        case GpawLabeler():
            return Gpaw(labeler, launcher=machine.gpaw_launcher, threads=machine.threads)
        case VaspLabeler():
            from lycb_flows.labels.vasp.relaxing import open_vasp  # noqa: PLC0415 - likewise

            return open_vasp(labeler, machine)
        case AseLabeler():
            return AseCalculator(labeler)
