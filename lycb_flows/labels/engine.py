"""Engines, which make labels: one per `type` of labeler, this package's and those of plug-ins.

Plan, submission, jobs, doctor and report use any engine and name none. docs/labels.md says how
another package adds one. All that an engine's methods take and return can be imported from here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from lycb_flows.config import LABELERS, AbsentLabeler, LabelerConfig
from lycb_flows.errors import InputError, MachineError
from lycb_flows.labels.theory import Labeler, Theory
from lycb_flows.machine import Finding, Look, Machine, NotApplicableError
from lycb_flows.schemas import Model

if TYPE_CHECKING:
    from lycb_flows.potentials.potential import Potential

__all__ = [
    "AbsentEngine",
    "Engine",
    "FindModel",
    "Finding",
    "ForceCall",
    "Labeler",
    "Look",
    "Machine",
    "Models",
    "NotApplicableError",
    "Theory",
    "engine_of",
    "find_engine",
    "is_dft",
]

C = TypeVar("C", bound=LabelerConfig)
FindModel = Callable[[str], Model]
"""Finds the model of a key."""
ForceCall = Callable[[str], float | None]
"""CPU seconds per atom of a force call by the model of a key, None where nobody knows."""


class Models(Protocol):
    """The models that an engine may need, found by key."""

    def find(self, key: str) -> Model:
        """Return the document of a model, given its key."""
        ...

    def open(self, key: str) -> Potential:
        """Return the potential of a model on this machine's device, given the model's key."""
        ...


class Engine(ABC, Generic[C]):
    """The program behind a `type` of labeler.

    Plans and the status import the module of an engine. It therefore imports what is slow (a
    program's package, torch) inside the methods that need it.

    Attributes
    ----------
    config
        Class of its settings; their `type` is the name in the registry.
    """

    config: ClassVar[type[LabelerConfig]]

    def __init_subclass__(cls) -> None:
        """Refuse a class whose settings cannot be found by their type."""
        super().__init_subclass__()
        if not isinstance(cls.config.model_fields["type"].default, str):
            msg = f"{cls.__name__}.config needs a type with a default"
            raise TypeError(msg)

    @property
    def name(self) -> str:
        """The `type` of the settings, which is also the name of the entry point."""
        return str(self.config.model_fields["type"].default)

    @abstractmethod
    def theory(self, config: C, find_model: FindModel) -> Theory:
        """Return the level of theory, whose fingerprint is in the key of every label.

        Parameters
        ----------
        config
            Settings whose models are keys.
        find_model
            Finds the document of a model that the settings name.

        Raises
        ------
        InputError
            When there is no such level.
        """

    @abstractmethod
    def open(self, config: C, machine: Machine, models: Models) -> Labeler:
        """Return the labeler at work, on a worker.

        Parameters
        ----------
        config
            Settings whose models are keys.
        machine
            Settings of this machine.
        models
            Documents and potentials of the models that the settings name.
        """

    def check(self, config: C, elements: Iterable[str], machine: Machine) -> None:
        """Check that labels can be made here, before anything is queued.

        Parameters
        ----------
        config
            Settings as the user gave them.
        elements
            Chemical symbols that the campaign has.
        machine
            Settings of this machine.

        Raises
        ------
        InputError
            When something is not installed, or does not fit the elements.
        """

    def cost_s(
        self, config: C, theory: Theory, lattice_ang: NDArray[np.float64], n_atoms: int,
        force_call_s: ForceCall,
    ) -> float | None:  # fmt: skip
        """Return the CPU seconds of one label on one core, None where nobody can know.

        Parameters
        ----------
        config
            Settings whose models are keys.
        theory
            Their level of theory.
        lattice_ang
            Rows a, b, c of the cell, shape (3, 3), in Å.
        n_atoms
            Number of atoms in the cell.
        force_call_s
            CPU seconds per atom of a force call by a model.
        """
        del config, theory, lattice_ang, n_atoms, force_call_s
        return None

    def cost_note(self, config: C) -> str:
        """Return what a plan writes beside the cost of labels.

        Returns
        -------
        str
            For example what the cost was measured with; empty when there is nothing to add.
        """
        del config
        return ""

    def is_dft(self, code: str) -> bool | None:
        """Return whether labels of a code come from density-functional theory.

        Parameters
        ----------
        code
            A `Theory.code`.

        Returns
        -------
        bool or None
            None for the code of another engine. Labels of a code of which no engine says that it
            is DFT are reported as a rehearsal.
        """
        del code
        return None

    def looks(self) -> Sequence[Look]:
        """Return what `lycb doctor` examines on a machine that may label.

        Returns
        -------
        sequence of Look
            Empty when the engine needs nothing that could be missing.
        """
        return ()


class AbsentEngine(Engine[AbsentLabeler]):
    """The engine of a package that is not installed here: results can be read, but none made."""

    config = AbsentLabeler

    def theory(self, config: AbsentLabeler, find_model: FindModel) -> Theory:
        """Return the level of theory that was written down at submission."""
        del find_model
        return Theory.model_validate(config.theory)

    def open(self, config: AbsentLabeler, machine: Machine, models: Models) -> Labeler:
        """Refuse to label, so that another machine takes the job.

        Parameters
        ----------
        config
            Settings as they were submitted.
        machine, models
            Not used.

        Raises
        ------
        MachineError
            Always.
        """
        del machine, models
        raise MachineError(
            "the package of a labeler is not installed here",
            fix="install it, here and on the workers",
            labeler=config.type,
        )


def engine_of(config: LabelerConfig) -> Engine[Any]:
    """Return the engine of a labeler.

    Raises
    ------
    InputError
        When it is a plug-in that cannot be used.
    """
    if isinstance(config, AbsentLabeler):
        return AbsentEngine()
    return find_engine(config.type)


def find_engine(name: str) -> Engine[Any]:
    """Return the engine of a `type` of labeler.

    Raises
    ------
    InputError
        When there is none, or it is a plug-in that cannot be used.
    """
    found = LABELERS.get(name)
    if not isinstance(found, Engine):
        raise InputError(
            "a labeler's entry point names no Engine",
            fix="update or uninstall its package",
            labeler=name,
            found=type(found).__name__,
        )
    return found


def is_dft(code: str, *, imported: bool = False) -> bool:
    """Return whether labels of a code come from density-functional theory.

    Parameters
    ----------
    code
        A `Theory.code`, which may be that of a plug-in that is not installed here.
    imported
        Whether the labels were imported: their level is as their user states it, and is taken
        to be DFT unless an engine says otherwise.
    """
    for name in LABELERS.names():
        try:
            answer = find_engine(name).is_dft(code)
        except InputError:  # a broken plug-in cannot say which codes are its own
            continue
        if answer is not None:
            return answer
    return imported
