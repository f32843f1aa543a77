"""Checks of the numbers among the options, in one line as other mistakes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from lycb_flows.errors import InputError


class FiniteCommand(TyperCommand):
    """A command that refuses NaN and infinity in any of its options."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - Typer's own
        """Check the numbers, then run the command.

        Raises
        ------
        InputError
            When one of them is not finite.
        """
        for param in self.params:
            _hold(param, ctx.params.get(param.name), math.isfinite, "finite")
        return super().invoke(ctx)


def above_zero(param: typer.CallbackParam, value: Any) -> Any:  # noqa: ANN401 - any option's
    """Return the value of an option whose numbers must be above 0: its `callback`.

    Raises
    ------
    InputError
        When one of them is not.
    """
    _hold(param, value, lambda number: number > 0, "above 0")
    return value


def not_negative(param: typer.CallbackParam, value: Any) -> Any:  # noqa: ANN401 - any option's
    """Return the value of an option whose numbers must be 0 or more: its `callback`.

    Raises
    ------
    InputError
        When one of them is not.
    """
    _hold(param, value, lambda number: number >= 0, "0 or more")
    return value


def _hold(
    param: Any,  # noqa: ANN401 - Typer's own
    value: object,
    is_right: Callable[[float], bool],
    words: str,
) -> None:
    for number in value if isinstance(value, list | tuple) else (value,):
        if isinstance(number, float | int) and not is_right(number):
            message = f"a number must be {words}"
            raise InputError(message, fix="see --help", option=param.opts[0], found=number)
