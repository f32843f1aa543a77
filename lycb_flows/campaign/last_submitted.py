"""What was submitted last: which record under a name, and its settings that no key holds.

A campaign that differs in no key has the record that it had before, which never changes. Notes of
the store say what was asked for last; without them, what was stored last and first holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lycb_flows.config import Campaign
from lycb_flows.schemas import CampaignRecord
from lycb_flows.store import ResultStore


def note_submission(store: ResultStore, record: CampaignRecord, campaign: Campaign) -> None:
    """Note that a campaign was submitted now.

    Parameters
    ----------
    store
        Receives the notes.
    record
        The document that keeps the campaign.
    campaign
        With the settings that it has now.
    """
    settings = [[name, value] for name, value in campaign.unkeyed().items()]
    notes: dict[str, dict[str, Any]] = {
        _of_name(record.name): {"record": record.key},
        _of(record): {"settings": settings},
    }
    for name, value in notes.items():
        if store.note(name) != value:
            store.set_note(name, value)


def last_submitted(store: ResultStore, records: Sequence[CampaignRecord]) -> CampaignRecord:
    """Return that of several records of one name that was submitted last.

    Parameters
    ----------
    store
        Has the note.
    records
        One or more.
    """
    last = (store.note(_of_name(records[0].name)) or {}).get("record")
    return max(records, key=lambda record: (record.key == last, record.made.ended_at))


def last_settings(store: ResultStore, record: CampaignRecord) -> list[tuple[str, Any]]:
    """Return names and values of the settings that a record's campaign was submitted with last.

    Parameters
    ----------
    store
        Has the note. Without it the list is empty.
    record
        The document that keeps the campaign.
    """
    found = (store.note(_of(record)) or {}).get("settings", ())
    return [(name, value) for name, value in found]


def with_settings(content: dict[str, Any], settings: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return a campaign with other settings.

    Parameters
    ----------
    content
        The campaign as plain data; it is changed.
    settings
        Names such as "labels.timeout_s", and values.
    """
    for name, value in settings:
        section, (*sections, field) = content, name.split(".")
        for inner in sections:
            section = section.setdefault(inner, {})
        section[field] = value
    return content


def _of_name(name: str) -> str:
    return f"last record of {name}"


def _of(record: CampaignRecord) -> str:
    return f"settings of {record.key}"
