"""The columns that a document has in the catalogue: its single numbers, words and truth values.

They follow from the fields of its class. The fields of a part (the estimate of a Transport, the
means of a Run) stand beside those of the document; lists, matrices and blobs have no columns. A
class adds what is computed from its facts: it names the property in `Document.listed`.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from lycb_flows.schemas.base import Blob, Document

Scalar = str | int | float | bool
MAX_TEXT = 500
"""Longer texts, such as the YAML file of a campaign, are left out of a row."""


@dataclass(frozen=True)
class Column:
    """A column of the catalogue.

    Attributes
    ----------
    name
        Its name, which ends in the unit.
    type
        One of "number", "integer", "text" and "true or false".
    description
        What the schema says about it; may be empty.
    path
        Names that lead from the document to the value.
    """

    name: str
    type: str
    description: str
    path: tuple[str, ...] = ()


COMMON_COLUMNS = (
    Column("kind", "text", "Kind of the document."),
    Column("key", "text", "Key of the document, 64 hexadecimal digits."),
    Column("campaign", "text", "Name of the campaign; a document of two has two rows."),
    Column("owner", "text", "Who submitted the campaign first, by the system's user name."),
    Column("system", "text", "System, or the composition that was made from it."),
    Column("round", "integer", "0, 1, ... as in names of jobs; -1: the making of the test set."),
    Column("temperature_k", "number", "Temperature of the thermostat, of the round or the run."),
    Column("pressure_bar", "number", "Pressure of the barostat, of the run or of its cell's."),
    Column("x", "number", "Halide that was mixed in, per formula unit."),
    Column("formula", "text", "Formula of the cell, such as Li18 Y6 Cl36."),
    Column("reduced_formula", "text", "Reduced formula, such as Li3YCl6."),
    Column("chemical_system", "text", "Elements in alphabetical order, such as Cl-Li-Y."),
    Column("n_atoms", "integer", "Atoms of the cell."),
    Column("code", "text", "Program behind the level of theory, such as gpaw or vasp."),
    Column("functional", "text", "Its functional, such as PBE, or the potential in its place."),
    Column("level", "text", "Its level, such as paper; of a potential, that it is no DFT."),
    Column("made_at", "text", "When it was made, ISO 8601 in UTC."),
    Column("worker", "text", "Worker that made it."),
)
"""What every row may have; a document's own column of the same name goes before."""
_TAKEN = frozenset(column.name for column in COMMON_COLUMNS)


@functools.cache
def columns_of(kind: type[Document]) -> tuple[Column, ...]:
    """Return the columns of the documents of a class, in the order of its fields.

    A field of a part whose name is taken, by the document or by every row, is called after the
    part as well.
    """
    columns = {column.name: column for column in _own_columns(kind)}
    for name, part in _parts(kind):
        for column in _own_columns(part):
            is_taken = column.name in columns or column.name in _TAKEN
            longer = f"{name}_{column.name}" if is_taken else column.name
            columns[longer] = Column(longer, column.type, column.description, (name, *column.path))
    for name in kind.listed:
        computed = getattr(kind, name).fget
        text = (computed.__doc__ or "").strip().splitlines()[0]
        columns[name] = Column(name, _type_of(get_type_hints(computed)["return"]), text, (name,))
    return tuple(columns.values())


def values_of(document: Document) -> dict[str, Scalar]:
    """Return the values of a document's columns, without those that are None or too long."""
    kept = {}
    for column in columns_of(type(document)):
        value: Any = document
        for name in column.path:
            value = None if value is None else getattr(value, name)
        if value is not None and not (isinstance(value, str) and len(value) > MAX_TEXT):
            kept[column.name] = value
    return kept | _scalars(document.model_extra or {})


def _scalars(facts: Mapping[str, Any]) -> dict[str, Scalar]:
    """Return the single values among the facts of a kind whose class is not installed."""
    return {name: value for name, value in facts.items() if isinstance(value, Scalar)}


def _own_columns(model: type[BaseModel]) -> Iterator[Column]:
    for name, field in model.model_fields.items():
        kind = _type_of(field.annotation)
        if kind and name not in Document.model_fields:
            yield Column(name, kind, field.description or "", (name,))


def _parts(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        (part, *others) = _without_none(field.annotation)
        is_part = isinstance(part, type) and issubclass(part, BaseModel) and not others
        if is_part and part is not Blob and name not in Document.model_fields:
            yield name, part


def _type_of(annotation: Any) -> str:  # noqa: ANN401 - an annotation
    """Return the word for a type; empty for one without a column."""
    words = {float: "number", int: "integer", str: "text", bool: "true or false"}
    (only, *others) = _without_none(annotation)
    if others:
        return ""
    if get_origin(only) is Literal:
        return "text" if all(isinstance(value, str) for value in get_args(only)) else ""
    return words.get(only, "") if isinstance(only, type) else ""


def _without_none(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401 - an annotation
    if get_origin(annotation) in {Union, types.UnionType}:
        return tuple(part for part in get_args(annotation) if part is not type(None))
    return (annotation,)
