"""The rows of the catalogue: where each document stands in its campaigns, and what it says.

A campaign is walked by the same plans as its flows. What the plans do not name takes the place
of what was made from it or of what it was born in: the segments of a run, the relaxations of a
ranking.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pymatgen.core.composition import Composition

from lycb_flows.campaign.levers import levers_of
from lycb_flows.campaign.results import CampaignResults, find_results, system_names
from lycb_flows.campaign.stages import TEST_STAGE, StagePlan
from lycb_flows.campaign.submission import Submission, reopen
from lycb_flows.errors import LycbError, StoreError
from lycb_flows.labels.theory import code_of, functional_of
from lycb_flows.schemas import (
    CampaignRecord,
    Document,
    Evaluation,
    Frames,
    Ranking,
    Run,
    values_of,
)
from lycb_flows.store import ResultStore, Row, mark_current, pages

_PAGE = 500
Species = Sequence[str]


@dataclass(frozen=True)
class Place:
    """Where a document stands in a campaign; the structure is the system's ground state."""

    campaign: str = ""
    owner: str = ""
    system: str | None = None
    round: int | None = None
    temperature_k: float | None = None
    pressure_bar: float | None = None
    x: float | None = None
    structure: str | None = None


@dataclass(frozen=True)
class Updated:
    """What a catalogue's update did.

    Attributes
    ----------
    n_written, n_removed
        Rows.
    left_out
        Campaigns that this installation cannot read, with the reason; their documents have rows
        without a campaign.
    """

    n_written: int = 0
    n_removed: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


def catalogue_row(document: Document, place: Place, species: Species | None) -> Row:
    """Return the row of a document in a campaign.

    Parameters
    ----------
    document
        The document.
    place
        Where it stands in the campaign.
    species
        Element symbols of the structure that it is about; None for a document of none.
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
    return row | values_of(document) | {"kind": document.kind, "key": document.key}


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


# -- where documents stand ---------------------------------------------------------------------


def places_in(store: ResultStore, submission: Submission) -> dict[str, Place]:
    """Return where each document stands in a campaign, by its key.

    Parameters
    ----------
    store
        Holds the campaign's results.
    submission
        The campaign.
    """
    record = submission.record
    whole = Place(campaign=record.name, owner=record.made.owner)
    places = dict.fromkeys([record.key, *record.parents], whole)
    found = find_results(store, submission.campaign, submission.theory)
    systems = {
        name: replace(whole, system=name, x=x, structure=found.ground_states.get(name))
        for name, _, x in system_names(submission.campaign)
    }
    for name, ranking in found.rankings.items():
        for document in (ranking, *found.by_dft.get(name, ())):
            places.setdefault(document.key, systems[name])
        for key in _candidates(store, ranking):
            places.setdefault(key, systems[name])
    for plan in found.stages:
        for key, place in _stage_places(store, plan, whole, systems):
            places.setdefault(key, place)
    for key, place in _result_places(found, whole, systems):
        places.setdefault(key, place)
    _spread(store, places)
    return places


def _candidates(store: ResultStore, ranking: Ranking) -> Iterator[str]:
    """Yield the orderings and relaxations of a ranking; most of them nothing else names."""
    with contextlib.suppress(StoreError):  # the blob is gone: `lycb verify` tells
        for candidate in json.loads(store.blobs.read(ranking.table)):
            yield candidate["ordering"]
            yield candidate["relaxation"]


def _stage_places(
    store: ResultStore, plan: StagePlan, whole: Place, systems: dict[str, Place]
) -> Iterator[tuple[str, Place]]:
    """Yield the documents of a stage: its runs, the frames of each with their labels, the rest."""
    of_runs = {}
    for config in (*plan.npt_runs(), *plan.nvt_runs(), *plan.test_runs()):
        protocol = config.protocol
        of_runs[Run.key_of(config)] = replace(
            systems[config.system],
            round=plan.index,
            temperature_k=protocol.temperature_k,
            pressure_bar=protocol.pressure_bar,
        )
    yield from of_runs.items()
    frames = store.find(Frames, plan.frames_key)
    labels = plan.label_keys(frame.structure for frame in frames.frames) if frames else []
    for frame, label in zip(frames.frames if frames else (), labels, strict=True):
        place = of_runs.get(frame.run, whole)
        yield label, place
        yield frame.structure, place
    is_test = plan.index == TEST_STAGE
    temperature_k = None if is_test else plan.temperature_k
    whole_round = replace(whole, round=plan.index, temperature_k=temperature_k)
    keys = [plan.frames_key, plan.dataset_key]
    if not is_test:
        keys += [plan.model_key, *plan.round_keys(levers_of(store, plan.campaign))]
    for key in keys:
        yield key, whole_round


def _result_places(
    found: CampaignResults, whole: Place, systems: dict[str, Place]
) -> Iterator[tuple[str, Place]]:
    """Yield the evaluations, and what was measured, that at a temperature first."""
    rounds = {round_.model: round_ for round_ in found.rounds}
    for evaluation in found.evaluations.values():
        yield evaluation.key, _place_of_evaluation(evaluation, rounds, whole)
    measured = [*found.measured.values(), *found.earlier.values()]
    documents = [document for kind in measured for document in kind]
    for document in sorted(documents, key=lambda document: not hasattr(document, "temperature_k")):
        place = systems.get(getattr(document, "system", ""), whole)
        yield (
            document.key,
            replace(
                place,
                temperature_k=getattr(document, "temperature_k", None),
                pressure_bar=getattr(document, "pressure_bar", None),
            ),
        )


def _place_of_evaluation(evaluation: Evaluation, rounds: dict[str, Any], whole: Place) -> Place:
    round_ = rounds.get(evaluation.model)
    if round_ is None:
        return whole
    return replace(whole, round=round_.index, temperature_k=round_.temperature_k)


def _spread(store: ResultStore, places: dict[str, Place]) -> None:
    """Give what has no place that of what was made from it, or of what it was born in."""
    new = list(places)
    while new:
        near: dict[str, list[str]] = {}
        for page in pages(new, _PAGE):
            for found in (store.makers(page), store.products(page)):
                for key, others in found.items():
                    near.setdefault(key, []).extend(others)
        known = len(places)
        for key in new:
            for other in near.get(key, ()):
                places.setdefault(other, places[key])
        new = list(places)[known:]


# -- the catalogue of a store --------------------------------------------------------------------


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
        Holds the documents.
    rebuild
        Whether rows that are there are written anew, too.
    tell
        Called now and then with the share that is done.
    """
    sizes = store.sizes()
    wanted, left_out = _all_places(store)
    present = set(store.catalogue.ids())
    missing = sorted(wanted.keys() if rebuild else wanted.keys() - present)
    n_written = 0
    for page in pages(missing, _PAGE):
        rows = _rows(store, {row: wanted[row] for row in page})
        store.catalogue.put(rows)
        n_written += len(rows)
        tell(n_written / len(missing))
    gone = sorted(present - wanted.keys())
    store.catalogue.drop(gone)
    mark_current(store, sizes)
    return Updated(n_written, len(gone), left_out)


def _all_places(store: ResultStore) -> tuple[dict[tuple[str, str], Place], dict[str, str]]:
    """Return the place of each row by (key, campaign), and the campaigns that cannot be read."""
    live = set(store.keys())
    wanted: dict[tuple[str, str], Place] = {}
    left_out: dict[str, str] = {}
    for record in list(store.find_all(CampaignRecord)):
        try:
            places = places_in(store, reopen(store, record))
        except LycbError as err:  # of a plug-in that is not installed here, for example
            left_out[record.name] = str(err)
            continue
        for key, place in places.items():
            if key in live:
                wanted.setdefault((key, place.campaign), place)
    nowhere = Place()
    for key in live - {key for key, _ in wanted}:
        wanted[key, ""] = nowhere
    return wanted, left_out


def _rows(store: ResultStore, places: dict[tuple[str, str], Place]) -> list[Row]:
    keys = dict.fromkeys(key for key, _ in places)
    documents = {document.key: document for document in store.find_documents(keys)}
    about = {
        row: _structure_of(documents[row[0]], place)
        for row, place in places.items()
        if row[0] in documents  # not retracted meanwhile
    }
    facts = store.find_facts({key for key in about.values() if key is not None})
    return [
        catalogue_row(
            documents[row[0]], places[row], facts[key]["species"] if key in facts else None
        )
        for row, key in about.items()
    ]


def _structure_of(document: Document, place: Place) -> str | None:
    """Return the key of the structure that a document is about, its own or its system's."""
    if document.structure_field is not None:
        return str(getattr(document, document.structure_field))
    return place.structure
