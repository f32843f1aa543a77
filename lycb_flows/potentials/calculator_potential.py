"""The side of a calculator in its own process that predicts: energies, forces and stresses."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lycb_flows.errors import InputError, MachineError
from lycb_flows.machine import GRACE_S, bound_command, end_group, python_of, read_ended
from lycb_flows.potentials import calculator_process
from lycb_flows.potentials.calculator_process import read_message, write_message
from lycb_flows.potentials.calculators import environment, places
from lycb_flows.potentials.evaluator import BatchPrediction, Evaluator, Numbers
from lycb_flows.potentials.potential import Potential
from lycb_flows.schemas import Model
from lycb_flows.units import EV_PER_ANG3_GPA

_PIECE_S = 0.5
"""Between two looks a time limit reaches a thread that is not the main one."""

Arrays = dict[str, Any]


class CalculatorPotential(Potential):
    """A calculator of ASE that predicts, in a process that ends with this object.

    A process that ended while nobody waited for it is started anew.

    Parameters
    ----------
    model
        The document.
    weights
        Content of its file; empty where it has none.
    device
        What stands for {device} in its arguments.
    trusted
        SHA-256 of files that may be programs and may be opened.
    """

    def __init__(
        self, model: Model, weights: bytes, device: str, *, trusted: Sequence[str]
    ) -> None:
        self.args, self.trusted = model.architecture_args, list(trusted)
        self.folder = Path(tempfile.mkdtemp(prefix="lycb-calculator-"))
        self._clean_up = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        file = self.folder / f"weights{self.args.get('suffix', '')}"
        if weights:
            file.write_bytes(weights)
        self.arguments = _filled(self.args["arguments"], {"weights": str(file), "device": device})
        self.lock = threading.Lock()
        self.child: _Child | None = None
        self._open_child()

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """Return an evaluator that asks the process about all crystals at once.

        Parameters
        ----------
        numbers
            Atomic numbers of each crystal, one array each.
        """
        return _Evaluator(self, numbers)

    def ask(self, arrays: Arrays) -> Arrays:
        """Return energies, forces and stresses as the process computes them.

        Parameters
        ----------
        arrays
            Numbers, sizes, positions and cells.

        Raises
        ------
        InputError
            When the calculator fails for a crystal that it has never described.
        MachineError
            When the process dies.
        """
        with self.lock:
            child = self._open_child()
            header, results = child.ask({"do": "evaluate"}, arrays)
        if "error" in header:
            raise InputError(
                "the calculator failed",
                fix="look at its arguments, and at the elements that it knows",
                calculator=self.args["calculator"],
                reason=header["error"],
            )
        return results

    def _open_child(self) -> _Child:
        """Return the process, which is started when there is none."""
        if self.child is not None and self.child.is_alive():
            return self.child
        python = python_of(self.args["package"])
        self.child = _Child(python, self.args["calculator"], self.folder)
        weakref.finalize(self, self.child.end)
        question = {
            "do": "open",
            "calculator": self.args["calculator"],
            "arguments": self.arguments,
            "trusted": self.trusted,
            "path": places(python),
        }
        header, _ = self.child.ask(question, {})
        if error := header.get("error"):
            raise _refusal(self.args["calculator"], error, absent=header["absent"])
        if header["missing"]:
            raise InputError(
                "no potential without energy, forces and stress",
                fix="name a calculator that has all three",
                calculator=self.args["calculator"],
                missing=", ".join(header["missing"]),
            )
        return self.child


def _filled(value: Any, names: dict[str, str]) -> Any:  # noqa: ANN401 - plain data
    """Return arguments with what {weights} and {device} stand for."""
    if isinstance(value, dict):
        return {key: _filled(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, names) for item in value]
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace(f"{{{name}}}", text)
    return value


def _refusal(calculator: str, reason: str, *, absent: bool) -> InputError:
    """Return why a calculator does not open, in one line."""
    if absent:
        return InputError(
            "no such calculator",
            fix="correct its import path, or install what it needs",
            calculator=calculator,
            reason=reason,
        )
    fix = "look at its arguments and its file of weights"
    if "nobody vouched for" in reason:
        fix = "if you trust where it comes from, add its SHA-256 to trust_sha256"
    return InputError("the calculator does not open", fix=fix, calculator=calculator, reason=reason)


class _Child:
    """A process that answers messages.

    Parameters
    ----------
    python
        Its interpreter.
    name
        What it computes, for errors.
    folder
        Where its output and its end are written to.
    """

    def __init__(self, python: str, name: str, folder: Path) -> None:
        self.name = name
        self.status, self.output = folder / "ended.json", folder / "output.txt"
        self.status.unlink(missing_ok=True)
        threads = str(torch.get_num_threads())
        command = bound_command([python, calculator_process.__file__, "serve"], self.status)
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(  # noqa: S603 - our own script
                command,
                env={**os.environ, "OMP_NUM_THREADS": threads, **environment(python)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )

    def is_alive(self) -> bool:
        """Return whether the process runs."""
        return self.process.poll() is None

    def ask(self, header: dict[str, Any], arrays: Arrays) -> tuple[dict[str, Any], Arrays]:
        """Return the answer to a message; an interrupted conversation ends the process.

        Parameters
        ----------
        header
            Plain data.
        arrays
            Arrays by name.

        Raises
        ------
        MachineError
            When the process dies.
        """
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - both are pipes
        try:
            write_message(stdin, header, arrays)
            while not select.select([stdout], [], [], _PIECE_S)[0]:
                pass
            return read_message(stdout)
        except (BrokenPipeError, EOFError) as err:
            self.process.wait()
            raise self._death() from err
        except BaseException:  # a time limit, the worker's stop
            self.end()
            raise

    def _death(self) -> MachineError:
        ended = read_ended(self.status)
        lines = self.output.read_text(errors="replace").strip().splitlines()
        return MachineError(
            "the process of a calculator died",
            fix="look for the kernel's out-of-memory message, or at its package",
            calculator=self.name,
            how="killed" if ended is None else ended.how,
            output=(lines or ["none"])[-1][:300],
        )

    def end(self) -> None:
        """End the process and what it started; it may have ended before."""
        ended = self.process.poll() is not None
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        if not ended:
            end_group(self.process, GRACE_S)


class _Evaluator:
    """`Evaluator` by messages to a process."""

    def __init__(self, potential: CalculatorPotential, numbers: Sequence[Numbers]) -> None:
        self.potential = potential
        self.numbers = np.concatenate([np.asarray(each, dtype=np.int64) for each in numbers])
        self.sizes = np.array([len(each) for each in numbers], dtype=np.int64)

    def __call__(self, positions_ang: Tensor, cells_ang: Tensor) -> BatchPrediction:
        """Evaluate by one message."""
        answer = self.potential.ask(
            {
                "numbers": self.numbers,
                "sizes": self.sizes,
                "positions": np.ascontiguousarray(positions_ang.cpu().numpy(), dtype=np.float64),
                "cells": np.ascontiguousarray(cells_ang.cpu().numpy(), dtype=np.float64),
            }
        )
        energies, forces, stresses = (
            torch.from_numpy(answer[name]) for name in ("energies", "forces", "stresses")
        )
        return BatchPrediction(energies, forces, stresses * EV_PER_ANG3_GPA)
