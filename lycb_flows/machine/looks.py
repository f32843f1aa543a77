"""Looks at a machine, as `lycb doctor` takes them, and what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from lycb_flows.machine.engines import Machine


class Finding(NamedTuple):
    """The result of a look.

    Attributes
    ----------
    ok
        None where nothing is wrong but something could be better, which `fix` says.
    found
        What was looked at, or what is wrong.
    fix
        What to do, as one clause; empty where there is nothing to do.
    """

    ok: bool | None
    found: str
    fix: str = ""


class NotApplicableError(Exception):
    """There is nothing to look at; the text says why."""


@dataclass(frozen=True)
class Look:
    """A line of `lycb doctor` about what an engine needs.

    Attributes
    ----------
    name
        What is looked at, unique among all lines.
    find
        The look itself; it may raise `NotApplicableError` and, as one line of what is wrong,
        anything else.
    fix
        What to do when the look raises an error that does not say it.
    """

    name: str
    find: Callable[[Machine], Finding]
    fix: str
