"""Tables of numbers in text files, read fast.

A million frames of text are read in minutes only if no Python runs per number. Programs that write
fixed columns (VASP, ASE's extended XYZ) are decoded digit by digit in NumPy, many frames at a
time; what is not in fixed columns (LAMMPS' `%g`) goes through `float`, token by token. Both give
the double that is nearest to the decimal number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_POWERS = 10.0 ** np.arange(16)  # products of digits and these are exact below 2^53
_BLANK, _MINUS, _DOT, _ZERO, _NEWLINE = b" -.0\n"


class TableError(ValueError):
    """A table has not the rows, columns or numbers that it should have."""


class TableReader:
    """A reader of tables with the same columns in every frame.

    Parameters
    ----------
    n_rows
        Rows of a table.
    n_columns
        Columns of a table.
    numbers
        Columns that are read as numbers, from 0.
    text
        Column that is read as text, if there is one.
    """

    def __init__(
        self, n_rows: int, n_columns: int, numbers: Sequence[int], text: int | None = None
    ) -> None:
        self.n_rows, self.n_columns = n_rows, n_columns
        self.numbers, self.text = list(numbers), text
        self._fixed = True
        self._texts: dict[bytes, tuple[str, ...]] = {}

    def read(self, tables: Sequence[bytes]) -> tuple[FloatArray, list[tuple[str, ...]]]:
        """Return the numbers (n_tables, n_rows, n_numbers), and the texts of each table.

        Raises
        ------
        TableError
            When a table is not of the announced shape, or a number is none.
        """
        joined = b"".join(tables)
        if self._fixed and len(joined) == len(tables) * len(tables[0]):
            found = self._read_fixed(joined, len(tables))
            if found is not None:
                return found
        self._fixed = False
        parts = [self._read_tokens(table) for table in tables]
        return np.array([numbers for numbers, _ in parts]), [texts for _, texts in parts]

    def _read_tokens(self, table: bytes) -> tuple[FloatArray, tuple[str, ...]]:
        tokens, width = table.split(), self.n_columns
        if len(tokens) != self.n_rows * width:
            message = f"{len(tokens)} words instead of {self.n_rows} x {width}"
            raise TableError(message)
        try:
            numbers = np.array([tokens[column::width] for column in self.numbers], dtype=float).T
        except ValueError as err:
            raise TableError(str(err)) from err
        if self.text is None:
            return numbers, ()
        words = tokens[self.text :: width]
        return numbers, self._remember(b" ".join(words), words)

    def _read_fixed(
        self, joined: bytes, n_tables: int
    ) -> tuple[FloatArray, list[tuple[str, ...]]] | None:
        """Return what `read` does, or None where the columns are not fixed."""
        n_lines = n_tables * self.n_rows
        if len(joined) % n_lines:
            return None
        lines = np.frombuffer(joined, np.uint8).reshape(n_lines, -1)
        fields = _fields(lines)
        if fields is None or len(fields) != self.n_columns:
            return None
        numbers = np.empty((n_lines, len(self.numbers)))
        for k, column in enumerate(self.numbers):
            decoded = _decode(lines[:, fields[column]])
            if decoded is None:
                return None
            numbers[:, k] = decoded
        texts: list[tuple[str, ...]] = [()] * n_tables
        if self.text is not None:
            blocks = lines[:, fields[self.text]].reshape(n_tables, -1)
            texts = [self._fixed_text(block.tobytes()) for block in blocks]
        return numbers.reshape(n_tables, self.n_rows, -1), texts

    def _fixed_text(self, block: bytes) -> tuple[str, ...]:
        if block in self._texts:
            return self._texts[block]
        width = len(block) // self.n_rows
        words = [block[at : at + width].strip() for at in range(0, len(block), width)]
        return self._remember(block, words)

    def _remember(self, block: bytes, words: Sequence[bytes]) -> tuple[str, ...]:
        if block not in self._texts:
            self._texts.clear()  # in a dump that is not sorted every frame has another order
            self._texts[block] = tuple(word.decode(errors="replace") for word in words)
        return self._texts[block]


def _fields(lines: NDArray[np.uint8]) -> list[slice] | None:
    """Return where the columns are: what stands between places that are blank in every line."""
    if not (lines[:, -1] == _NEWLINE).all() or (lines[:, :-1] < _BLANK).any():
        return None
    blank = (lines == _BLANK).all(axis=0)
    blank[-1] = True
    ends = np.flatnonzero(np.diff(blank, prepend=True))
    return [slice(first, last) for first, last in ends.reshape(-1, 2).tolist()]


def _decode(field: NDArray[np.uint8]) -> NDArray[Any] | None:
    """Return the numbers of a column of characters, or None where it is not in fixed columns."""
    dots = field == _DOT
    where = int(dots[0].argmax())
    digits = field - np.uint8(_ZERO)
    is_digit = digits < 10  # noqa: PLR2004 - the characters 0 to 9
    lead = np.logical_and.accumulate(~is_digit & ~dots, axis=1)
    minus = field == _MINUS
    known = is_digit | (lead & ((field == _BLANK) | minus))
    known[:, where] |= dots[:, where]
    # a sign stands right before the number: nothing but blanks before it
    n_signs = minus.sum(axis=1)
    doubtful = not known.all() or (n_signs > 1).any() or (minus[:, :-1] & lead[:, 1:]).any()
    if doubtful or not dots[:, where].all() or not is_digit.any(axis=1).all():
        return None
    n_digits = field.shape[1] - 1
    if n_digits >= len(_POWERS):
        return None
    powers = np.insert(_POWERS[:n_digits][::-1], where, 0.0)
    values = np.where(is_digit, digits, 0).astype(float) @ powers
    values /= _POWERS[n_digits - where]
    return np.where(n_signs > 0, -values, values)
