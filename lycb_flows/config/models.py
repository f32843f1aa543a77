"""Names of models: a name, a file, a key, or a calculator of ASE with its arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field, JsonValue

from lycb_flows.config.base import Config, matching

IMPORT_PATH = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+"
ImportPath = Annotated[
    str, matching(IMPORT_PATH, "an import path has a module and a name, as ase.calculators.emt.EMT")
]
_Sha256 = Annotated[str, matching(r"[0-9a-f]{64}", "a SHA-256 has 64 digits of 0-9 and a-f")]


class CalculatorModel(Config):
    """A calculator of ASE that is a model, e.g. in a campaign or in a file of its own."""

    calculator: ImportPath = Field(
        description="Import path of a class, or of a function that makes a calculator.",
    )
    arguments: dict[str, JsonValue] = Field(
        {},
        description="Its arguments; {weights} and {device} stand for the file's path and the "
        "torch device of the machine.",
    )
    weights: str | None = Field(None, description="File of its weights.")
    trust_sha256: tuple[_Sha256, ...] | None = Field(
        None, description="SHA-256 of files whose code may run: a file of weights is a program."
    )
    python: str | None = Field(
        None, description="Python of the environment that has the package, on this machine."
    )

    def as_text(self) -> str:
        """Return the model as the text by which it is found."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), sort_keys=True)


def _as_text(value: object) -> object:
    """Return a calculator's settings as text; names stay."""
    if isinstance(value, Mapping):
        return CalculatorModel.model_validate(value).as_text()
    return value


ModelName = Annotated[str, BeforeValidator(_as_text)]
"""A field of this type names a model; a calculator may be written out."""
