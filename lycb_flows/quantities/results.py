"""What campaigns have measured, a row per number with its error: `lycb results`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from lycb_flows.config import CONFIDENCE
from lycb_flows.report import confidence_text
from lycb_flows.schemas import Document, Scalar
from lycb_flows.store import QUANTITIES, ResultStore

RESULT_COLUMNS = (
    "campaign", "system", "pressure_bar", "temperature_k", "replica", "quantity", "value", "error",
    "low", "high", "unit", "note", "key",
)  # fmt: skip
_PLACE = ("system", "pressure_bar", "temperature_k", "replica")


@dataclass(frozen=True)
class Number:
    """A measured number.

    Attributes
    ----------
    quantity
        Its symbol or name, such as "D".
    unit
        Its unit.
    value
        None where there is an upper bound only, which is `high`, or nothing.
    error
        Standard error.
    low, high
        Interval.
    note
        What the number is, or why there is none.
    temperature_k
        Where it holds, if that is not the temperature of its document.
    confidence
        Of the interval or the bound.
    """

    quantity: str
    unit: str
    value: float | None = None
    error: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""
    temperature_k: float | None = None
    confidence: float = CONFIDENCE

    @property
    def remark(self) -> str:
        """The note, and the confidence of an interval that is not of 95 %."""
        is_usual = self.high is None or self.confidence == CONFIDENCE
        level = "" if is_usual else f"confidence {confidence_text([self.confidence])}"
        return "; ".join(filter(None, (self.note, level)))


def measured_numbers(
    store: ResultStore, campaign: str | None = None
) -> Iterator[dict[str, Scalar | None]]:
    """Yield every number that campaigns have measured, as rows with `RESULT_COLUMNS`.

    Each quantity's are sorted by campaign, system, pressure and temperature.

    Parameters
    ----------
    store
        Holds the documents; its catalogue says whose they are.
    campaign
        Name of the only campaign; None: all.
    """
    conditions = ["campaign!=null"] if campaign is None else [f"campaign={json.dumps(campaign)}"]
    for quantity in QUANTITIES.usable().values():
        found = store.query(quantity.document.kind, *conditions, sort="campaign")
        owners: dict[str, list[str]] = {}
        for row in found:
            owners.setdefault(str(row["key"]), []).append(str(row["campaign"]))
        rows = [
            _row(owner, document, number)
            for document in store.find_documents(owners)
            for number in quantity.numbers(document)
            for owner in owners[document.key]
        ]
        yield from sorted(rows, key=_place)


def _place(row: dict[str, Scalar | None]) -> list[tuple[bool, Scalar]]:
    """Return what to sort by: what has no temperature or other place comes first."""
    return [(row[name] is not None, row[name] or 0) for name in ("campaign", *_PLACE, "key")]


def _row(campaign: str, document: Document, number: Number) -> dict[str, Scalar | None]:
    row = {name: getattr(document, name, None) for name in _PLACE}
    row |= {"campaign": campaign, "key": document.key}
    stated = {name: value for name, value in vars(number).items() if value is not None}
    del stated["confidence"]  # the note has it
    return row | stated | {"note": number.remark}
