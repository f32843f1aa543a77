"""The level of theory of labels that others made, as their files and users state it.

Fields that nobody states are named in the theory's `unknown`, which is part of the fingerprint:
such labels are never taken for those of a level that is stated in full.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lycb_flows.config import Config, first_fault, parse_yaml
from lycb_flows.errors import InputError
from lycb_flows.labels.theory import Theory, read_levels

STATED_BY_OPTIONS = ("code", "version", "functional", "raw_pbe")
_STATED_IN_FULL = (
    "convergence",
    "corrections",
    "cutoff_ev",
    "kpoints",
    "paw",
    "smearing",
    "spin",
    "symmetry",
)
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Level:
    """A level of theory as far as a label's source states it.

    Attributes
    ----------
    fingerprint
        The theory's fingerprint.
    name
        The theory's name for people.
    theory
        None when the source gives the fingerprint only.
    unknown
        Fields that the source does not state.
    note
        How a run of VASP differs from the nearest of our levels.
    """

    fingerprint: str
    name: str
    theory: Theory | None = None
    unknown: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def of(cls, theory: Theory, note: str = "") -> Level:
        """Return the level of a theory whose fields are all at hand.

        Parameters
        ----------
        theory
            The theory.
        note
            How a run of VASP differs from the nearest of our levels.
        """
        return cls(theory.fingerprint, theory.name, theory, theory.unknown or (), note)


class Statement(Config):
    """What a user states about labels whose files state nothing."""

    theory: str | None = None
    code: str | None = None
    version: str | None = None
    functional: str | None = None
    raw_pbe: bool | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the user states nothing."""
        return not self.model_dump(exclude_none=True)


def stated_level(statement: Statement) -> Level:
    """Return the level of a user's statement; fields that it leaves out are unknown.

    Raises
    ------
    InputError
        When a level is named that does not exist, or fields are stated besides a name.
    """
    fields = statement.model_dump(include=set(STATED_BY_OPTIONS), exclude_none=True)
    if statement.theory is not None:
        if fields:
            raise InputError(
                "a level of theory is named or stated, not both",
                fix="leave one of them out",
                theory=statement.theory,
                stated=", ".join(fields),
            )
        return Level.of(_named_theory(statement.theory))
    left_out = {name for name in STATED_BY_OPTIONS if name not in fields}
    unknown = tuple(sorted({*left_out, *_STATED_IN_FULL}))
    text = {"code": "unknown code", "version": "unknown", "functional": "unknown functional"}
    return Level.of(Theory.model_validate(text | fields | {"unknown": unknown}))


def level_of_fingerprint(fingerprint: str, name: str, unknown: tuple[str, ...] = ()) -> Level:
    """Return the level that a file states by its fingerprint, in full where it is one of ours.

    Parameters
    ----------
    fingerprint
        64 hexadecimal digits.
    name
        The level's name in the file; empty when the file has none.
    unknown
        Fields that the file says are unknown.

    Raises
    ------
    InputError
        When it is no fingerprint.
    """
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise InputError(
            "not a fingerprint of a level of theory",
            fix="64 hexadecimal digits, or leave it out",
            found=fingerprint[:80],
        )
    for theory in our_levels().values():
        if theory.fingerprint == fingerprint:
            return Level.of(theory)
    return Level(fingerprint, name or "stated by its fingerprint only", unknown=unknown)


def contradictions(level: Level, other: Level) -> list[str]:
    """Return the fields that two levels both state, with different values.

    Parameters
    ----------
    level, other
        The two levels.

    Returns
    -------
    list of str
        One line per field; empty where both may be the same level.
    """
    if level.theory is None or other.theory is None:
        return []
    fields, others = (theory.model_dump(mode="json") for theory in (level.theory, other.theory))
    silent = {"level", "parameters", "unknown", *level.unknown, *other.unknown}
    pairs = [(name, fields[name], others[name]) for name in fields if name not in silent]
    pairs += [
        (name, value, others["parameters"].get(name))
        for name, value in fields["parameters"].items()
    ]
    return [
        f"{name}: {value} and {another}"
        for name, value, another in pairs
        if value is not None
        and another is not None
        and value != another
        and not (name == "version" and _covers(value, another))
    ]


def _covers(version: str, other: str) -> bool:
    """Return whether one of two versions is the other in less detail, as 6 and 6.3."""
    return f"{version}.".startswith(f"{other}.") or f"{other}.".startswith(f"{version}.")


@functools.cache
def our_levels() -> dict[str, Theory]:
    """Return every level of theory of levels.yaml by code and name, e.g. `gpaw/paper-static`."""
    return {
        f"{code}/{level}": Theory(level=level, **fields)
        for code, levels in read_levels().items()
        for level, fields in levels.items()
    }


def _named_theory(name: str) -> Theory:
    if name.endswith((".yaml", ".yml")):
        return _theory_of_file(Path(name))
    levels = our_levels()
    if name not in levels:
        raise InputError(
            "no such level of theory",
            fix=f"one of {', '.join(levels)}, or a YAML file with the fields of one",
            found=name,
        )
    return levels[name]


def _theory_of_file(path: Path) -> Theory:
    """Return a level in full: fields that the file leaves out do not apply, or are `unknown`."""
    try:
        fields: Any = parse_yaml(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise InputError(
            "cannot read the statement of a level of theory",
            fix="give a YAML file with its fields",
            file=path,
            reason=err,
        ) from err
    try:
        return Theory.model_validate(fields)
    except ValidationError as err:
        fault = first_fault(err)
        raise InputError(
            fault.message,
            fix="see the levels in lycb_flows/labels/levels.yaml",
            file=path,
            at=".".join(fault.place) or "the whole file",
            **fault.found,
        ) from err
