"""Checks of the numbers among the options, in one line as other mistakes."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
            for number in _numbers(ctx.params.get(param.name)):
                if isinstance(number, float) and not math.isfinite(number):
                    raise _wrong("a number must be finite", param, number)
        return super().invoke(ctx)


def above_zero(param: typer.CallbackParam, value: Any) -> Any:  # noqa: ANN401 - any option's
    """Return the value of an option whose numbers must be above 0: its `callback`.

    Raises
    ------
    InputError
        When one of them is not.
    """
    for number in _numbers(value):
        if not number > 0:
            raise _wrong("a number must be above 0", param, number)
    return value


def not_negative(param: typer.CallbackParam, value: Any) -> Any:  # noqa: ANN401 - any option's
    """Return the value of an option whose numbers must be 0 or more: its `callback`.

    Raises
    ------
    InputError
        When one of them is not.
    """
    for number in _numbers(value):
        if not number >= 0:
            raise _wrong("a number must be 0 or more", param, number)
    return value


def _numbers(value: object) -> Iterator[float]:
    for each in value if isinstance(value, list | tuple) else (value,):
        if isinstance(each, float | int):
            yield each


def _wrong(message: str, param: Any, number: float) -> InputError:  # noqa: ANN401 - Typer's own
    return InputError(message, fix="see --help", option=param.opts[0], found=number)
