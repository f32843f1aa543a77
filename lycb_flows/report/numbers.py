"""Numbers as text: value ± error with two digits of the error, powers of ten."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from lycb_flows.config import CONFIDENCE
from lycb_flows.machine import counted as counted, duration_text as duration_text  # noqa: PLC0414

MISSING = "–"
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_ERROR_DIGITS = 2
_DIGITS = 3
_SMALLEST_P = 1e-4
_DETAIL = 16


def number(value: float | None, digits: int = _DIGITS) -> str:
    """Return a value with so many significant digits, never in exponent form.

    Parameters
    ----------
    value
        None or a value that is not finite becomes a dash.
    digits
        How many.

    Examples
    --------
    >>> number(1234.5), number(0.0312), number(None)
    ('1230', '0.0312', '–')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    text = np.format_float_positional(
        value, precision=digits, unique=False, fractional=False, trim="k"
    )
    return str(text).rstrip(".")


def probability(p_value: float, digits: int = 2) -> str:
    """Return what follows the letter p: its value, or a bound below one in ten thousand.

    Parameters
    ----------
    p_value
        The probability of what was found, or more, by chance.
    digits
        Significant digits of the value.

    Examples
    --------
    >>> probability(0.0312), probability(4e-17)
    ('= 0.031', '< 0.0001')
    """
    if p_value < _SMALLEST_P:
        return f"< {_SMALLEST_P:.4f}"
    return f"= {number(p_value, digits)}"


def with_error(value: float | None, error: float | None) -> str:
    """Return value ± error, both to the second digit of the error.

    Parameters
    ----------
    value
        In the unit of its column.
    error
        In the same unit. Without a positive error, the value stands alone.

    Examples
    --------
    >>> with_error(0.24317, 0.0312), with_error(331.2, 25.0), with_error(2.5, None)
    ('0.243 ± 0.031', '331 ± 25', '2.50')
    """
    if value is None or error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    decimals = _ERROR_DIGITS - 1 - _exponent(float(f"{error:.{_ERROR_DIGITS - 1}e}"))
    places = max(0, decimals)
    return f"{round(value, decimals):.{places}f} ± {round(error, decimals):.{places}f}"


def scientific(value: float | None, error: float | None = None) -> str:
    """Return (value ± error) × 10ⁿ.

    Parameters
    ----------
    value
        In the unit of its column.
    error
        In the same unit. Without a positive error, the value stands alone.

    Examples
    --------
    >>> scientific(1.931e-10, 1.2e-11), scientific(2.2e-12)
    ('(1.93 ± 0.12) × 10⁻¹⁰', '2.20 × 10⁻¹²')
    """
    if value is None or value == 0 or not math.isfinite(value):
        return number(value)
    usable = error is not None and math.isfinite(error) and error > 0
    exponent = _exponent(max(abs(value), error if usable and error else 0.0))
    power = power_of_ten(exponent)
    if usable and error is not None:
        return f"({with_error(value / 10**exponent, error / 10**exponent)}) × {power}"
    return f"{value / 10**exponent:.{_DIGITS - 1}f} × {power}"


def together(values: Sequence[float], separator: str) -> str:
    """Return several values with a common power of ten.

    Parameters
    ----------
    values
        At least one, in a common unit.
    separator
        Text between them.

    Examples
    --------
    >>> together((1.5e-10, 2.41e-10), " to ")
    '(1.50 to 2.41) × 10⁻¹⁰'
    """
    largest = max(abs(value) for value in values)
    if largest == 0 or not math.isfinite(largest):
        return separator.join(number(value) for value in values)
    exponent = _exponent(largest)
    mantissas = (f"{value / 10**exponent:.{_DIGITS - 1}f}" for value in values)
    return f"({separator.join(mantissas)}) × {power_of_ten(exponent)}"


def power_of_ten(exponent: int) -> str:
    """Return 10ⁿ without mark-up, with the exponent in superscript."""
    return f"10{str(exponent).translate(_SUPERSCRIPTS)}"


def confidence_text(levels: Iterable[float]) -> str:
    """Return the confidence of some intervals, as in '95 %'.

    Parameters
    ----------
    levels
        That of each; without any it is the default.
    """
    return " or ".join(f"{100 * level:g} %" for level in sorted(set(levels) or {CONFIDENCE}))


class Printed(float):
    """A number that knows how it was printed: 14.0 and 0.20 keep their last digit."""

    def __new__(cls, value: float, text: str) -> Self:
        """Return the number.

        Parameters
        ----------
        value
            Its value.
        text
            As it was printed.
        """
        number_ = super().__new__(cls, value)
        number_.text = text
        return number_

    text: str


def as_printed(value: float | None, error: float | None = None) -> str:
    """Return a value of the paper with the digits that it was printed with.

    Parameters
    ----------
    value
        As `paper_numbers` has it; any other number is written with the digits that it needs, and
        None becomes a dash.
    error
        The error printed with it, if there is one.

    Examples
    --------
    >>> as_printed(Printed(0.2, "0.20")), as_printed(0.2), as_printed(None)
    ('0.20', '0.2', '–')
    """
    if value is None:
        return MISSING
    return _printed(value) if error is None else f"{_printed(value)} ± {_printed(error)}"


def _printed(value: float) -> str:
    return value.text if isinstance(value, Printed) else f"{value:g}"


def fixed(value: float | None, decimals: int = 2) -> str:
    """Return a value with so many decimals, to stand in a column.

    Parameters
    ----------
    value
        None becomes a dash.
    decimals
        How many.
    """
    return MISSING if value is None else f"{value:.{decimals}f}"


def listed(names: Sequence[str], at_most: int = 8) -> str:
    """Return names in a row, and how many more there are.

    Parameters
    ----------
    names
        In order.
    at_most
        How many to name.

    Examples
    --------
    >>> listed(["a", "b", "c"], at_most=2)
    'a, b and 1 more'
    """
    rest = len(names) - at_most
    return ", ".join(names[:at_most]) + (f" and {rest} more" if rest > 0 else "")


def told_apart(names: Iterable[str], details: Iterable[str]) -> list[str]:
    """Return names, and beside each that occurs more than once what tells it from the others.

    Parameters
    ----------
    names
        Some texts.
    details
        Of each name; of a detail the first words or digits are enough.

    Examples
    --------
    >>> told_apart(["a", "b", "a"], ["old", "old", "new"])
    ['a (old)', 'b', 'a (new)']
    """
    names = list(names)
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name} ({detail[:_DETAIL]})"
        for name, detail in zip(names, details, strict=True)
    ]


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))
