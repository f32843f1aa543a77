"""Labels by any of ASE's calculators: what is computed is what its user states."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from ase.calculators.calculator import BaseCalculator, Calculator, CalculatorError

from lycb_flows.config import AseLabeler
from lycb_flows.errors import InputError, LabelError, first_line
from lycb_flows.labels.checks import ask, checked_label
from lycb_flows.labels.engine import Engine, FindModel, Machine, Models
from lycb_flows.labels.theory import Theory, ase_theory
from lycb_flows.potentials.calculator_process import find_factory, is_program, missing_properties
from lycb_flows.schemas import Label, Structure

_STATED = "label by {name}, version {version}: what it is rests on its user's word"


class AseEngine(Engine[AseLabeler]):
    """The engine of a calculator whose user states what it computes; nobody knows what it costs."""

    config = AseLabeler

    def theory(self, config: AseLabeler, find_model: FindModel) -> Theory:
        """Return the level of theory that the user states."""
        del find_model
        return ase_theory(config)

    def check(self, config: AseLabeler, elements: Iterable[str], machine: Machine) -> None:
        """Check that the calculator exists here and computes a stress.

        Parameters
        ----------
        config
            The calculator's import path.
        elements, machine
            Not used.

        Raises
        ------
        InputError
            When there is no such calculator, or it computes no stress.
        """
        del elements, machine
        make = find_calculator(config)
        stated = getattr(make, "implemented_properties", ())
        if missing := missing_properties(make if stated else _made(config)):
            raise InputError(
                "no label without energy, forces and stress",
                fix="name a calculator that has all three",
                calculator=config.calculator,
                missing=missing,
            )

    def open(self, config: AseLabeler, machine: Machine, models: Models) -> AseCalculator:
        """Return the calculator as a labeler."""
        del machine, models
        return AseCalculator(config)

    def is_dft(self, code: str) -> bool | None:
        """Return True for any calculator: its user's statement is believed, and reports say so."""
        return True if code.startswith("ase ") else None


class AseCalculator:
    """A calculator of ASE as a labeler, made anew for each structure.

    Parameters
    ----------
    config
        The calculator's import path, version and parameters.
    """

    def __init__(self, config: AseLabeler) -> None:
        self.theory = ase_theory(config)
        self._make, self._config = find_calculator(config), config

    def label(self, structure: Structure) -> Label:
        """Return the label of a structure.

        Raises
        ------
        LabelError
            When the calculator fails, or its answer fails a check.
        """
        config = self._config
        with tempfile.TemporaryDirectory(prefix="lycb-label-") as folder:
            try:
                calculator = self._make(**config.parameters)
                if isinstance(calculator, Calculator):
                    calculator.directory = folder  # for calculators that write files
                answer = ask(calculator, structure)
            except _FAILURES as err:
                raise LabelError(
                    "the calculator failed",
                    fix="look at its installation and parameters",
                    calculator=config.calculator,
                    reason=f"{type(err).__name__}: {err}"[:300],
                ) from err
        stated = _STATED.format(name=config.calculator, version=config.version)
        return checked_label(structure, self.theory, answer, warnings=(stated,))


_FAILURES = (
    ArithmeticError,
    AttributeError,
    CalculatorError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    subprocess.SubprocessError,
)
"""Errors that calculators of many authors raise; each is stored with its reason."""


def find_calculator(config: AseLabeler) -> Callable[..., BaseCalculator]:
    """Return the class of a calculator, or the function that makes one.

    Raises
    ------
    InputError
        When there is no such calculator, or its parameters name a file that is a program.
    """
    for value in config.parameters.values():
        if isinstance(value, str) and Path(value).is_file() and is_program(value):
            raise InputError(
                "a file of weights is a program, and a labeler would run it in our process",
                fix="make it the model of a teacher, which opens it in a process of its own",
                file=value,
            )
    try:
        make: Callable[..., BaseCalculator] = find_factory(config.calculator)
    except (ImportError, AttributeError) as err:
        raise InputError(
            "no such calculator",
            fix="install it here and on the workers, or correct labels.labeler.calculator",
            calculator=config.calculator,
            reason=err,
        ) from err
    except TypeError as err:
        raise InputError(
            "not a calculator of ASE's",
            fix="name a class that is one",
            calculator=config.calculator,
        ) from err
    return make


def _made(config: AseLabeler) -> BaseCalculator:
    """Return the calculator, for one that states its properties when it is made."""
    try:
        return find_calculator(config)(**config.parameters)
    except _FAILURES as err:
        raise InputError(
            "the calculator cannot be made",
            fix="look at its installation and parameters",
            calculator=config.calculator,
            reason=first_line(err),
        ) from err
