"""Settings of decorations: what replaces which species of an ordered cell; names of crystals."""

from __future__ import annotations

import re
from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from lycb_flows.config.base import Config, Count

_MOST_BR = 6
_SAME = 1e-9
_ORDERING = "-ordering"

Substitute = dict[str, str | dict[str, float]]


def amounts_of(substitute: Substitute, x: float) -> dict[str, dict[str, float]]:
    """Return element -> what replaces it -> atoms per formula unit.

    Parameters
    ----------
    substitute
        As a config states it.
    x
        The amount of what has none of its own.
    """
    return {
        element: {by: x} if isinstance(by, str) else dict(by) for element, by in substitute.items()
    }


class DecorationConfig(Config):
    """Placement of other species on the sites of an ordered cell; by default of Cl and Br."""

    substitute: Substitute | None = Field(
        None,
        description="Element -> what replaces x of it, as {Cl: Br}, or amounts per formula unit, "
        "as {Cl: {Br: 0.5, I: 0.25}, P: {Ge: 0.5}}; default: Cl and Br on all halide sites.",
    )
    formula: str | None = Field(
        None,
        description="The formula unit of `substitute`, as Li6PS5Cl, before anything is replaced; "
        "default: the reduced formula of the cell.",
    )
    x: float = Field(
        ge=0,
        description="Atoms that are replaced per formula unit; default with amounts of their own: "
        "their sum. Without `substitute` Br per formula unit Li3YCl(6-x)Br(x).",
    )
    cap: int = Field(1_000, ge=1, description="Most decorations that are listed exhaustively.")
    n_samples: Count = Field(50, description="Uniform samples beside the symmetric stratum.")
    seed: Count = 0

    @model_validator(mode="before")
    @classmethod
    def _x_of_the_amounts(cls, data: Any) -> Any:  # noqa: ANN401 - whatever a file holds
        """Fill x in where every species has an amount of its own."""
        if not isinstance(data, dict) or data.get("x") is not None:
            return data
        given = data.get("substitute")
        entries = list(given.values()) if isinstance(given, dict) else []
        if not entries or not all(isinstance(by, dict) for by in entries):
            return data
        amounts = [amount for by in entries for amount in by.values()]
        if not all(isinstance(amount, int | float) for amount in amounts):
            return data
        return data | {"x": sum(amounts)}

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.substitute is None:
            if self.formula is not None:
                raise ValueError("formula belongs to substitute; without it x is Br per Li3YX6")
            return self
        if not self.substitute:
            raise ValueError("substitute is empty: say what replaces what, as {Cl: Br}")
        named = [element for element, by in self.substitute.items() if isinstance(by, str)]
        if named and len(self.substitute) > 1:
            msg = f"x is the amount of one species: give amounts, as {{{named[0]}: {{X: 0.5}}}}"
            raise ValueError(msg)
        amounts = [n for by in self.amounts.values() for n in by.values()]
        if min(amounts, default=-1.0) < 0 or abs(sum(amounts) - self.x) > _SAME:
            msg = f"x = {self.x:g} is not the sum of the amounts, {sum(amounts):g}: leave it out"
            raise ValueError(msg)
        same = [element for element, by in self.amounts.items() if element in by]
        if same:
            msg = f"{same[0]} cannot replace itself"
            raise ValueError(msg)
        return self

    @field_validator("x")
    @classmethod
    def _fits_the_halides(cls, x: float, info: ValidationInfo) -> float:
        if info.data.get("substitute") is None and x > _MOST_BR:
            msg = f"{x:g} is more Br than Li3YX6 has halides: at most {_MOST_BR}"
            raise ValueError(msg)
        return x

    @property
    def amounts(self) -> dict[str, dict[str, float]]:
        """Element -> what replaces it -> atoms per formula unit; {} for the mixed halides."""
        return amounts_of(self.substitute or {}, self.x)

    @property
    def elements(self) -> set[str]:
        """The elements that it may bring in."""
        brought = {element for by in self.amounts.values() for element in by}
        return brought if self.substitute is not None else {"Cl", "Br"}


def decorated_name(system: str, x: float) -> str:
    """Return the name of a crystal made from a system's ground state by replacing species.

    Parameters
    ----------
    system
        Name of the system.
    x
        Atoms that are replaced per formula unit.
    """
    return f"{system}-x{x:g}"


def ordering_name(name: str, place: int) -> str:
    """Return the name of one of a crystal's lowest orderings.

    Parameters
    ----------
    name
        Name of the system, or of what was made from its ground state.
    place
        Its place by energy; 1 is the ground state, which has the name itself.
    """
    return name if place == 1 else f"{name}{_ORDERING}{place}"


def name_of_ordering(name: str) -> str:
    """Return the name of the crystal that `ordering_name` made a name of an ordering from.

    Parameters
    ----------
    name
        Name of an ordering, or any other name, which stays as it is.
    """
    return re.sub(rf"({_ORDERING}\d+)+$", "", name)
