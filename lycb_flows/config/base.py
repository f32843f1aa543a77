"""Base of all settings of a campaign: frozen, checked where they are read.

Numbers have three homes: science in `lycb_flows/config`, machine settings in
`lycb_flows/machine/settings.py`, constants of nature in `lycb_flows/units.py`. Defaults marked
*paper* are Böhm & Champagne's (arXiv 2510.09861); *ours* comes with a reason.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from lycb_flows.errors import MachineError

NOT_KEYED = "not-keyed"
"""Marks a field that never enters a key: a name, a comment, a matter of the machine."""

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
FractionAboveZero = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Supercell = tuple[
    Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]
]


_LONGEST_SHOWN = 80


class Fault(NamedTuple):
    """What is wrong first with settings.

    Attributes
    ----------
    place
        Names of the section and of the field in it; empty where the whole is wrong.
    message
        What is wrong there.
    found
        The value of a single field as the fact `found`; of a section nothing, as its message says
        what was found.
    """

    place: tuple[str, ...]
    message: str
    found: dict[str, str]


def first_fault(error: ValidationError) -> Fault:
    """Return what is wrong first, in words for a person.

    Parameters
    ----------
    error
        Raised by pydantic.
    """
    first = error.errors()[0]
    place, value = tuple(map(str, first["loc"])), first["input"]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] in ("tuple_type", "list_type"):
        message = "this is a list" + (f", such as [{value}]" if _is_single(value) else "")
    is_shown = place and (_is_single(value) or isinstance(value, list | tuple))
    return Fault(place, message, {"found": str(value)[:_LONGEST_SHOWN]} if is_shown else {})


def _is_single(value: object) -> bool:
    return isinstance(value, str | int | float)


def matching(pattern: str, words: str) -> AfterValidator:
    """Return the check of a text by a pattern, which says in words what may stand there.

    Parameters
    ----------
    pattern
        Regular expression of the whole text.
    words
        What it allows.
    """

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(words)
        return text

    return AfterValidator(check)


def _differ(values: tuple[float, ...]) -> tuple[float, ...]:
    shown = [f"{value:g}" for value in values]  # as names of runs and columns have them
    for text in shown:
        if shown.count(text) > 1:
            msg = f"values must differ, found {text} twice"
            raise ValueError(msg)
    return values


DIFFERENT = AfterValidator(_differ)
"""Checks that no number stands in a list twice."""


Name = Annotated[
    str,
    matching(
        r"[A-Za-z0-9][A-Za-z0-9_.-]*",
        "a name has letters without accents, digits, '.', '_' and '-', and begins with a letter "
        "or digit",
    ),
]


class Config(BaseModel):
    """Base of every part of a campaign: frozen, without unknown fields, safe to send to a worker.

    `as_dict` and `from_dict` let monty and jobflow carry it intact (a plain pydantic model
    as a Maker field arrives as a string). A validator is built when it is first used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data with monty's `@module` and `@class`."""
        return {
            "@module": type(self).__module__,
            "@class": type(self).__qualname__,
            **self.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the config that `as_dict` made, here or on another machine.

        Raises
        ------
        MachineError
            When this machine cannot read it: another may have the version or the plug-in.
        """
        try:
            return cls.model_validate({k: v for k, v in data.items() if not k.startswith("@")})
        except ValidationError as err:
            fault = first_fault(err)
            raise MachineError(
                "the settings of a job cannot be read here",
                fix="install the version and the plug-ins with which it was submitted",
                at=".".join(fault.place) or cls.__name__,
                reason=fault.message,
            ) from err

    def keyed(self) -> dict[str, Any]:
        """Return the fields that decide a result.

        Returns
        -------
        dict
            Name -> value; nested configs are included as they are.
        """
        return {
            name: getattr(self, name)
            for name, field in type(self).model_fields.items()
            if NOT_KEYED not in field.metadata
        }

    def unkeyed(self) -> dict[str, Any]:
        """Return the fields that decide no result, those of nested configs among them.

        Returns
        -------
        dict
            Name -> value, as plain data; a nested name is such as "labels.timeout_s".
        """
        found: dict[str, Any] = {}
        for name, value in self.model_dump(mode="json").items():
            section = getattr(self, name, None)
            if name in type(self).model_fields and name not in self.keyed():
                found[name] = value
            elif isinstance(section, Config):
                found |= {f"{name}.{inner}": each for inner, each in section.unkeyed().items()}
        return found
