"""Rows on the terminal: tables of many pages, CSV, a JSON object per line; all streamed."""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import typer

from lycb_flows.cli.terminal import print_json
from lycb_flows.errors import InputError

Value = str | int | float | bool | None
_ROWS_PER_TABLE = 500
_KEY_DIGITS, _SHORT_KEY = 64, 12


class Format(StrEnum):
    """How rows are printed; JSON is one object per line."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


FormatOption = Annotated[
    Format | None, typer.Option("--format", help="A table, CSV, or a JSON object per line.")
]


JsonRowsOption = Annotated[
    bool, typer.Option("--json", help="A JSON object per row instead of a table.")
]


def format_of(how: Format | None, *, as_json: bool) -> Format:
    """Return the format that --format and --json ask for together.

    Parameters
    ----------
    how
        Value of --format.
    as_json
        Whether --json is given.

    Raises
    ------
    InputError
        When they contradict each other.
    """
    if as_json and how not in {None, Format.JSON}:
        raise InputError("--json contradicts --format", fix="leave one of them out", found=how)
    return Format.JSON if as_json else how or Format.TABLE


def print_rows(
    rows: Iterable[Mapping[str, Value]],
    columns: Sequence[str],
    how: Format,
    *,
    title: str,
    whole: bool = True,
) -> None:
    """Print rows as they come, with no more than a page of them in memory.

    Parameters
    ----------
    rows
        The rows.
    columns
        Which of their values, in this order.
    how
        The format.
    title
        Line above a table.
    whole
        Whether a column stays in a table although none of its rows has a value.
    """
    if how == Format.JSON:
        for row in rows:
            print_json({name: row[name] for name in columns if row.get(name) is not None})
    elif how == Format.CSV:
        writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(dict(row) for row in rows)
    else:
        _print_tables(rows, columns, title, whole=whole)


def _print_tables(
    rows: Iterable[Mapping[str, Value]], columns: Sequence[str], title: str, *, whole: bool
) -> None:
    """Print aligned lines that no terminal folds; every page has a head and widths of its own."""
    typer.echo(title)
    n_rows = 0
    for page in _pages(rows):
        n_rows += len(page)
        shown = [c for c in columns if whole or any(row.get(c) is not None for row in page)]
        print_aligned([[text_of(row.get(name)) for name in shown] for row in page], head=shown)
    typer.echo(f"{n_rows} {'row' if n_rows == 1 else 'rows'}")


def print_aligned(cells: Sequence[Sequence[str]], *, head: Sequence[str] = ()) -> None:
    """Print lines with their columns below each other, as long as they need to be.

    Parameters
    ----------
    cells
        Texts, line by line.
    head
        Names of the columns; none for a table without a head.
    """
    lines = [head, *cells] if head else list(cells)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    if head:
        lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _pages(rows: Iterable[Mapping[str, Value]]) -> Iterator[list[Mapping[str, Value]]]:
    source = iter(rows)
    while page := list(itertools.islice(source, _ROWS_PER_TABLE)):
        yield page


def text_of(value: Value) -> str:
    """Return a value as a cell of a table: numbers with six digits, keys cut short."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return text[:_SHORT_KEY] if len(text) == _KEY_DIGITS and " " not in text else text
