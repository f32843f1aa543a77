"""Errors that a person can act on, in one line: what is wrong, what was found, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LycbError(Exception):
    """A failure that a person can act on.

    Parameters
    ----------
    message
        What is wrong, as one clause.
    fix
        What to do about it, as one clause.
    **facts
        What was found; keyword-only, so that the exception pickles.

    Attributes
    ----------
    logs
        Blobs of what an engine wrote before it failed: kept with the attempt, in no message.

    Examples
    --------
    >>> str(LycbError("no such parent", fix="run `lycb enumerate --help`", name="LiF"))
    'no such parent (name=LiF): run `lycb enumerate --help`'
    """

    def __init__(self, message: str, *, fix: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message, self.fix, self.facts = message, fix, facts
        self.logs: Mapping[str, Any] = {}

    def __str__(self) -> str:
        """Return one line: what is wrong, what was found, what to do."""
        found = ", ".join(f"{name}={value}" for name, value in self.facts.items())
        line = f"{self.message} ({found})" if found else self.message
        line = f"{line}: {self.fix}" if self.fix else line
        return " ".join(line.split())

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by keyword, because exceptions cross process borders."""
        return (_rebuild, (type(self), self.message, self.fix, self.facts))


def _rebuild(cls: type[LycbError], message: str, fix: str, facts: dict[str, object]) -> LycbError:
    return cls(message, fix=fix, **facts)


class InputError(LycbError):
    """A campaign, CIF, option or file of the user's is not usable."""


class InstallationError(InputError):
    """What computes labels is not installed on this machine as the campaign states it."""


class PhysicsError(LycbError):
    """A computation left physics: lost ions, exploded cell, energy jump, NaN."""


class MachineError(LycbError):
    """Something that a job needs is not on this machine; that says nothing of the job itself."""


class StoreError(MachineError):
    """The result store or a blob is damaged, locked, full or missing something."""


class LabelError(LycbError):
    """A labeler could not make a label of this structure."""


class GivenBackError(LycbError):
    """The job goes back to the queue, unfinished but not failed: walltime, or another's claim."""

    def to_dict(self) -> dict[str, str]:
        """Return what FireWorks keeps of it with the launch; the worker recognises it by this."""
        return {"given_back": str(self)}


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
