"""The rows of the catalogue: one for each document and campaign, with place and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymatgen.core.composition import Composition

from lycb_flows.campaign.places import Growth, Place, places_in, states
from lycb_flows.campaign.submission import reopen
from lycb_flows.errors import LycbError
from lycb_flows.labels.theory import code_of, functional_of
from lycb_flows.schemas import CampaignRecord, Document, values_of
from lycb_flows.store import (
    ResultStore,
    Row,
    RowId,
    Settled,
    id_of,
    mark_begun,
    mark_current,
    pages,
    settled_groups,
)

_PAGE = 500
_MAX_ABSENT = 100  # a group that lacks more is looked at again, and its note stays small
Species = Sequence[str]
Places = dict[RowId, Place]


@dataclass(frozen=True)
class Updated:
    """What an update of the catalogue has done.

    Attributes
    ----------
    n_written, n_removed
        Numbers of rows.
    left_out
        Campaigns that this installation cannot read, with the reasons; their documents have rows
        without a campaign.
    """

    n_written: int = 0
    n_removed: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def catalogue_row(document: Document, place: Place, species: Species | None) -> Row:
    """Return the row of a document in a campaign.

    The system is called as the campaign calls it: another may have ranked the same crystal first.

    Parameters
    ----------
    document
        The document.
    place
        Its place in the campaign.
    species
        Element symbol of each atom of the structure that it describes; None without a structure.
    """
    common: dict[str, Any] = {
        **{name: value for name, value in vars(place).items() if name != "structure"},
        **({} if species is None else _composition(species)),
        **_level(getattr(document, "theory_name", None)),
        "round": getattr(document, "round_index", place.round),
        "made_at": document.made.ended_at,
        "worker": document.made.worker,
    }
    row = {name: value for name, value in common.items() if value is not None and value != ""}
    named = {} if place.system is None else {"system": place.system}
    return row | values_of(document) | named | {"kind": document.kind, "key": document.key}


def _composition(species: Species) -> Row:
    composition = Composition(Counter(species))
    return {
        "formula": composition.formula,
        "reduced_formula": composition.reduced_formula,
        "chemical_system": composition.chemical_system,
        "n_atoms": len(species),
    }


def _level(theory_name: str | None) -> Row:
    if theory_name is None:
        return {}
    functional, level = functional_of(theory_name)
    return {"code": code_of(theory_name), "functional": functional, "level": level}


def update_catalogue(
    store: ResultStore,
    *,
    rebuild: bool = False,
    tell: Callable[[float], None] = lambda _share: None,
) -> Updated:
    """Bring the catalogue of a store up to date.

    Parameters
    ----------
    store
        Store of the documents.
    rebuild
        Whether to write existing rows again. Otherwise rows are added and removed; where no
        document was withdrawn since the last update, only what is new is looked at.
    tell
        Called after each page of rows with the share of them that is written.
    """
    sizes, settled = store.sizes(), None if rebuild else settled_groups(store)
    mark_begun(store)
    found = None if settled is None else _find_new(store, settled)
    if found is not None:
        new_ids = list(found.places)
        outdated_ids = _find_rows_without_campaign(store, found.places)
    else:
        found = _collect(store, set(store.keys()), None)
        stated_ids = set() if rebuild else _find_stated(store, found.places)
        new_ids = [row_id for row_id in found.places if row_id not in stated_ids]
        outdated_ids = sorted(set(store.catalogue.ids()) - found.places.keys())
    n_written = 0
    for page in pages(new_ids, _PAGE):
        rows = _rows(store, {row_id: found.places[row_id] for row_id in page})
        store.catalogue.put(rows)
        n_written += len(rows)
        tell(n_written / len(new_ids))
    store.catalogue.drop(outdated_ids)
    mark_current(store, sizes, None if found.left_out else found.settled)
    return Updated(n_written, len(outdated_ids), found.left_out)


@dataclass
class _Collected:
    """The place of each row to write, the settled groups, and the campaigns that are unreadable."""

    places: Places
    settled: Settled
    left_out: dict[str, str]
    in_order: bool


def _find_new(store: ResultStore, settled: Settled) -> _Collected | None:
    """Return the places that the catalogue lacks; None where it must be compared as a whole."""
    new_keys = store.catalogue.find_missing()
    found = _collect(store, new_keys, Growth(frozenset(new_keys), settled))
    return found if found.in_order else None


def _find_stated(store: ResultStore, places: Places) -> set[RowId]:
    """Return the rows that state their place."""
    keys = list({key for key, _ in places})
    rows = (row for page in pages(keys) for row in store.catalogue.find_rows(page))
    ids = ((id_of(row), row) for row in rows)
    return {row_id for row_id, row in ids if row_id in places and states(row, places[row_id])}


def _collect(store: ResultStore, keys: Collection[str], growth: Growth | None) -> _Collected:
    """Return the places in all campaigns, and an empty one for each of `keys` that is in none."""
    planned: Places = {}
    groups: dict[RowId, list[str]] = {}
    left_out: dict[str, str] = {}
    in_order = True
    for record in list(store.find_all(CampaignRecord)):
        try:
            found = places_in(store, reopen(store, record), growth)
        except LycbError as err:  # for example, its plug-in is not installed here
            left_out[record.name] = str(err)
            continue
        planned |= {(key, place.campaign): place for key, place in found.places.items()}
        groups |= found.groups
        in_order &= found.in_order
    wanted = {key for key, _ in planned}.union(*groups.values())
    live_keys = {key for page in pages(list(wanted)) for key in store.find_ends(page)}
    settled = dict(growth.settled) if growth else {}
    for group, group_keys in groups.items():
        absent = [key for key in group_keys if key not in live_keys]
        settled.pop(group, None)
        if len(absent) <= _MAX_ABSENT:
            settled[group] = absent
    places = {row_id: place for row_id, place in planned.items() if row_id[0] in live_keys}
    placed_keys = {key for key, _ in places}
    no_place = Place()
    places |= {(key, ""): no_place for key in keys if key not in placed_keys}
    return _Collected(places, settled, left_out, in_order)


def _find_rows_without_campaign(store: ResultStore, places: Places) -> list[RowId]:
    """Return the rows to remove: those of documents that belong to a campaign now."""
    keys = list({key for key, campaign in places if campaign})
    rows = (row for page in pages(keys) for row in store.catalogue.find_rows(page))
    return [(str(row["key"]), "") for row in rows if "campaign" not in row]


def _rows(store: ResultStore, places: Places) -> list[Row]:
    keys = dict.fromkeys(key for key, _ in places)
    documents = {document.key: document for document in store.find_documents(keys)}
    structures = {
        row_id: _structure_of(documents[row_id[0]], place)
        for row_id, place in places.items()
        if row_id[0] in documents  # a document may have been retracted meanwhile
    }
    facts = store.find_facts({key for key in structures.values() if key is not None})
    return [
        catalogue_row(
            documents[row_id[0]], places[row_id], facts[key]["species"] if key in facts else None
        )
        for row_id, key in structures.items()
    ]


def _structure_of(document: Document, place: Place) -> str | None:
    """Return the key of the structure that a document names, or of its system's ground state."""
    if document.structure_field is not None:
        return str(getattr(document, document.structure_field))
    return place.structure
