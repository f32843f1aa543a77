"""The catalogue: a row per document and campaign with what people ask for.

It follows from the documents (`campaign/catalogue.py` makes its rows) and is rebuilt from them
by `lycb index`; it is never truth, and no job reads it. Rows are flat: plain SQL or pymongo
can query them, and docs/data_dictionary.md lists their columns.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal

from lycb_flows.errors import InputError
from lycb_flows.schemas import COMMON_COLUMNS, Column, Scalar, columns_of
from lycb_flows.store.kinds import UnknownDocument, document_class
from lycb_flows.store.provenance import now

if TYPE_CHECKING:
    from lycb_flows.store.backend import Backend

Row = dict[str, Scalar]
RowId = tuple[str, str]
"""(key, campaign); the campaign is empty for a document of none."""
Settled = dict[RowId, list[str]]
"""Groups of documents that have a row each, by what names them; and those that do not exist."""
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
_NOTE = "catalogue"
_CONDITION = re.compile(
    r"\s*(?P<name>\w+)\s*(?P<operator><=|>=|!=|=|<|>|~)(?P<value>.*)", re.DOTALL
)


@dataclass(frozen=True)
class Condition:
    """A condition on a column; a value of None stands for a column without a value."""

    name: str
    operator: Operator
    value: Scalar | None


@dataclass(frozen=True)
class Order:
    """A column to sort by; rows without a value come last."""

    name: str
    descending: bool = False


def read_condition(text: str) -> Condition:
    """Return the condition that a text states, such as `temperature_k>=400`.

    The value is read as JSON, and as plain text where it is none. `~` asks for a part of a text,
    in capitals or not.

    Raises
    ------
    InputError
        When the text is no condition.
    """
    found = _CONDITION.fullmatch(text)
    if found is None:
        raise InputError(
            "a condition is FIELD=VALUE, or with one of != < <= > >= ~",
            fix="e.g. --where system=LYC --where 'temperature_k>=400'",
            found=text,
        )
    name, operator, value = found["name"], found["operator"], found["value"].strip()
    try:
        read: Any = json.loads(value)
    except json.JSONDecodeError:
        read = value
    if operator == "~" or isinstance(read, list | dict):
        read = value
    return Condition(name, operator, read)  # type: ignore[arg-type]  # one of them, by the pattern


def read_order(text: str) -> Order:
    """Return the order that a text states: a column, with a minus for the largest first."""
    return Order(text.removeprefix("-"), descending=text.startswith("-"))


def catalogue_columns(kind: str) -> tuple[Column, ...]:
    """Return the columns of a kind: those of every row, then its own."""
    own = {column.name: column for column in columns_of(document_class(kind))}
    common = (own.pop(column.name, column) for column in COMMON_COLUMNS)
    return (*common, *own.values())


def check_columns(kind: str, names: Iterable[str]) -> None:
    """Refuse names that are no columns of a kind.

    Columns of a kind whose package is not installed are not known, so any name may be one.

    Parameters
    ----------
    kind
        Kind of the documents.
    names
        The names.

    Raises
    ------
    InputError
        At the first of them.
    """
    known = [column.name for column in catalogue_columns(kind)]
    is_unknown = issubclass(document_class(kind), UnknownDocument)
    for name in names:
        if name not in known and not (is_unknown and name.isidentifier()):
            raise InputError(
                "no such field", fix=f"one of {', '.join(known)}", kind=kind, found=name
            )


def read_question(
    kind: str, conditions: Iterable[str], sort: str | None
) -> tuple[list[Condition], Order | None]:
    """Return the conditions and the order that texts state.

    Parameters
    ----------
    kind
        Kind of the documents.
    conditions
        As `read_condition` reads them.
    sort
        As `read_order` reads it; None: no order.

    Raises
    ------
    InputError
        When a text is no condition, names no column, or compares a number with what is none.
    """
    wanted = [read_condition(text) for text in conditions]
    order = None if sort is None else read_order(sort)
    check_columns(kind, [*(each.name for each in wanted), *([order.name] if order else [])])
    types = {column.name: column.type for column in catalogue_columns(kind)}
    for each in wanted:
        is_of_number = types.get(each.name) in {"number", "integer"}
        if is_of_number and type(each.value) not in {int, float, NoneType}:
            raise InputError(
                "a number is compared with what is none",
                fix="write e.g. 400 behind one of = != < <= > >=",
                field=each.name,
                found=each.value,
            )
    return wanted, order


class Catalogue(ABC):
    """The rows of a store; any number of processes may read and write."""

    @abstractmethod
    def find(
        self,
        kind: str,
        conditions: Sequence[Condition] = (),
        *,
        order: Order | None = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield the rows of a kind that meet all conditions, a few at a time.

        Parameters
        ----------
        kind
            Kind of the documents.
        conditions
            On columns that `check_columns` knows.
        order
            What to sort by; None: by key.
        limit
            How many rows at most.
        """

    @abstractmethod
    def ids(self) -> Iterator[RowId]:
        """Yield key and campaign of every row."""

    @abstractmethod
    def find_rows(self, keys: Sequence[str]) -> list[Row]:
        """Return all rows of these documents, at most a few thousand, in no order."""

    @abstractmethod
    def find_missing(self) -> list[str]:
        """Return the keys of the live documents that have no row."""

    @abstractmethod
    def put(self, rows: Sequence[Row]) -> None:
        """Write rows over those of the same key and campaign."""

    @abstractmethod
    def drop(self, ids: Sequence[RowId]) -> None:
        """Remove rows."""

    @abstractmethod
    def drop_documents(self, keys: Sequence[str]) -> None:
        """Remove all rows of these documents."""


def id_of(row: Row) -> RowId:
    """Return key and campaign of a row."""
    return str(row["key"]), str(row.get("campaign", ""))


def is_behind(store: Backend) -> bool:
    """Return whether documents came or went since the catalogue was last brought up to date."""
    note = store.note(_NOTE)
    return note is None or tuple(note["sizes"]) != store.sizes()


def settled_groups(store: Backend) -> Settled | None:
    """Return the groups of documents that a finished update has seen, unless all is to be seen.

    Returns
    -------
    dict or None
        Keys of the documents that each group lacked. None where a document was withdrawn since,
        where the last update did not end, and where it could not read a campaign.
    """
    note = store.note(_NOTE)
    if note is None or note.get("settled") is None or note["sizes"][1] != store.sizes()[1]:
        return None
    return {(key, campaign): absent for key, campaign, absent in note["settled"]}


def mark_begun(store: Backend) -> None:
    """Write down that an update works on the catalogue, so that one that stops is noticed."""
    store.set_note(_NOTE, {"sizes": [], "settled": None, "at": now()})


def mark_current(store: Backend, sizes: tuple[int, int], settled: Settled | None) -> None:
    """Write down that the catalogue has a row for everything.

    Parameters
    ----------
    store
        The store of the catalogue.
    sizes
        Its `sizes` before the rows were made.
    settled
        The groups that were seen; None if some campaign could not be read.
    """
    groups = None if settled is None else [[*group, absent] for group, absent in settled.items()]
    store.set_note(_NOTE, {"sizes": list(sizes), "settled": groups, "at": now()})
