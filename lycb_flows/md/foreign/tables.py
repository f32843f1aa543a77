"""Tables of numbers in text files, read fast.

A million frames of text are read in minutes only if no Python runs per number. So the characters of
many frames are an array of bytes, and all numbers are put together at once, a character of each at
a time. What is neither a digit, a dot, nor a sign in front (an exponent, say) goes through `float`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]

_LONGEST = 24
"""Characters of a number that are read without `float`; there is no double with more digits."""
_BLANK, _PLUS, _MINUS, _DOT, _ZERO = b" +-.0"
_POWERS = 10.0 ** np.arange(_LONGEST)


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
        self._known: dict[bytes, tuple[str, ...]] = {}

    def read(self, tables: Sequence[bytes]) -> tuple[FloatArray, list[tuple[str, ...]]]:
        """Return the numbers (n_tables, n_rows, n_numbers), and the texts of each table.

        Raises
        ------
        TableError
            When the tables are not of the announced shape, or a number is none.
        """
        joined = b" " + b"".join(tables) + b" " * _LONGEST
        characters = np.frombuffer(joined, np.uint8)
        blank = characters <= _BLANK
        edges = np.flatnonzero(blank[1:] != blank[:-1]) + 1
        expected = len(tables) * self.n_rows * self.n_columns
        if edges.size != 2 * expected:
            message = f"{edges.size // 2} words instead of {expected}"
            raise TableError(message)
        words = edges.reshape(-1, self.n_columns, 2)
        columns = [_numbers(characters, words[:, column]) for column in self.numbers]
        numbers = np.stack(columns, axis=1)
        texts: list[tuple[str, ...]] = [()] * len(tables)
        if self.text is not None:
            texts = self._texts(characters, words[:, self.text].reshape(len(tables), -1, 2))
        return numbers.reshape(len(tables), self.n_rows, -1), texts

    def _texts(self, characters: NDArray[np.uint8], words: IndexArray) -> list[tuple[str, ...]]:
        starts, lengths = words[..., :1], words[..., 1:] - words[..., :1]
        place = np.arange(min(int(lengths.max()), _LONGEST))
        blocks = np.where(place < lengths, characters[starts + place], _BLANK).astype(np.uint8)
        return [self._words(block) for block in blocks]

    def _words(self, block: NDArray[np.uint8]) -> tuple[str, ...]:
        """Return the words of the rows of an array; the same tuple for the same words."""
        content = block.tobytes()
        if content not in self._known:
            self._known.clear()  # in a dump that is not sorted every frame has another order
            rows = (row.tobytes() for row in block)
            self._known[content] = tuple(row.decode(errors="replace").strip() for row in rows)
        return self._known[content]


def _numbers(characters: NDArray[np.uint8], words: IndexArray) -> FloatArray:
    """Return the numbers that words are, given where they start and end, (n_words, 2)."""
    starts, ends = np.ascontiguousarray(words.T)
    lengths = ends - starts
    values = np.zeros(len(starts))
    decimals = np.zeros(len(starts), dtype=np.int64)
    behind_dot = np.zeros(len(starts), dtype=bool)
    first = characters[starts]
    negative = first == _MINUS
    odd = lengths > _LONGEST
    for place in range(min(int(lengths.max(initial=0)), _LONGEST)):
        here = characters[starts + place]
        inside = lengths > place
        digit = here - np.uint8(_ZERO)
        is_digit = (digit < 10) & inside  # noqa: PLR2004 - the characters 0 to 9
        np.multiply(values, 10.0, out=values, where=is_digit)
        np.add(values, digit, out=values, where=is_digit)
        decimals += is_digit & behind_dot
        is_dot = (here == _DOT) & inside
        other = inside & ~is_digit & (~is_dot | behind_dot)
        odd |= other & ~(negative | (first == _PLUS)) if place == 0 else other
        behind_dot |= is_dot
    values /= _POWERS[decimals]
    np.negative(values, out=values, where=negative)
    odd |= lengths <= behind_dot.astype(np.int64) + (negative | (first == _PLUS))  # no digit
    for word in np.flatnonzero(odd):
        values[word] = _number(characters[starts[word] : ends[word]].tobytes())
    return values


def _number(word: bytes) -> float:
    try:
        return float(word)
    except ValueError as err:
        raise TableError(str(err)) from err
