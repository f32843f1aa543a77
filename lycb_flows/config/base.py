"""Base of all settings of a campaign: frozen, checked where they are read.

Numbers have three homes: science in `lycb_flows/config`, machine settings in
`lycb_flows/machine/settings.py`, constants of nature in `lycb_flows/units.py`. Defaults marked
*paper* are Böhm & Champagne's (arXiv 2510.09861); *ours* comes with a reason.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lycb_flows.errors import MachineError

NOT_KEYED = "not-keyed"
"""Marks a field that never enters a key: a name, a comment, a matter of the machine."""

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Supercell = tuple[
    Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]
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
            first = err.errors()[0]
            raise MachineError(
                "the settings of a job cannot be read here",
                fix="install the version and the plug-ins with which it was submitted",
                at=".".join(map(str, first["loc"])) or cls.__name__,
                reason=first["msg"].removeprefix("Value error, "),
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
