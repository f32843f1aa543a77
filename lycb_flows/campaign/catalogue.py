"""The rows of the catalogue: one for each document and campaign, with place and numbers.

The place of a document in a campaign is its system, round, temperature and pressure. The plans
that the flows are made of name most documents. Any other, such as a segment of a run, gets the
place of the document that was made from it or that it is a product of.
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
from lycb_flows.campaign.names import ordering_names, system_names
from lycb_flows.campaign.results import CampaignResults, find_results
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
    """The place of a document in a campaign; fields that do not apply are empty or None.

    Attributes
    ----------
    campaign
        Name of the campaign.
    owner
        User who submitted the campaign.
    system
        Name of the system.
    round
        Index of the round, from 0; -1 for the runs and frames of the initial test set.
    temperature_k
        Temperature in K.
    pressure_bar
        Pressure in bar.
    x
        Share of the halide that is mixed in.
    structure
        Key of the ground state of the system.
    """

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


# -- the places of documents --------------------------------------------------------------------


def places_in(store: ResultStore, submission: Submission) -> dict[str, Place]:
    """Return the place of each document of a campaign, by the key of the document.

    Parameters
    ----------
    store
        Store of the results of the campaign.
    submission
        The campaign.
    """
    record = submission.record
    whole = Place(campaign=record.name, owner=record.made.owner)
    places = dict.fromkeys([record.key, *record.parents], whole)
    found = find_results(store, submission.campaign, submission.theory)
    systems = {
        each: replace(whole, system=each, x=x, structure=found.ground_states.get(each))
        for name, _, x in system_names(submission.campaign)
        for _, each in ordering_names(submission.campaign, name)
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
    _add_neighbours(store, places)
    return places


def _candidates(store: ResultStore, ranking: Ranking) -> Iterator[str]:
    """Yield the keys of the orderings and relaxations in the table of a ranking."""
    with contextlib.suppress(StoreError):  # without its blob; `lycb verify` reports it
        for candidate in json.loads(store.blobs.read(ranking.table)):
            yield candidate["ordering"]
            yield candidate["relaxation"]


def _stage_places(
    store: ResultStore, plan: StagePlan, whole: Place, systems: dict[str, Place]
) -> Iterator[tuple[str, Place]]:
    """Yield key and place of the documents of a stage, from its runs to its round."""
    run_places = {}
    for config in (*plan.npt_runs(), *plan.nvt_runs(), *plan.test_runs()):
        protocol = config.protocol
        run_places[Run.key_of(config)] = replace(
            systems[config.system],
            round=plan.index,
            temperature_k=protocol.temperature_k,
            pressure_bar=protocol.pressure_bar,
        )
    yield from run_places.items()
    frames = store.find(Frames, plan.frames_key)
    labels = plan.label_keys(frame.structure for frame in frames.frames) if frames else []
    for frame, label in zip(frames.frames if frames else (), labels, strict=True):
        place = run_places.get(frame.run, whole)
        yield label, place
        if frame.run:  # an ordering has its place already
            yield frame.structure, place
    is_test = plan.index == TEST_STAGE
    temperature_k = None if is_test else plan.temperature_k
    whole_round = replace(whole, round=plan.index, temperature_k=temperature_k)
    keys = [plan.frames_key, plan.dataset_key]
    if plan.foundation_key is not None:
        keys.append(plan.foundation_key)
    if not is_test:
        keys += [plan.model_key, *plan.round_keys(levers_of(store, plan.campaign))]
    for key in keys:
        yield key, whole_round


def _result_places(
    found: CampaignResults, whole: Place, systems: dict[str, Place]
) -> Iterator[tuple[str, Place]]:
    """Yield key and place of evaluations and measurements, those at one temperature first."""
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


def _add_neighbours(store: ResultStore, places: dict[str, Place]) -> None:
    """Add the parents and products of documents, recursively, with the place of their neighbour."""
    keys = list(places)
    while keys:
        neighbours: dict[str, list[str]] = {}
        for page in pages(keys, _PAGE):
            for lists in (store.makers(page), store.products(page)):
                for key, others in lists.items():
                    neighbours.setdefault(key, []).extend(others)
        n_places = len(places)
        for key in keys:
            for other in neighbours.get(key, ()):
                places.setdefault(other, places[key])
        keys = list(places)[n_places:]


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
        Store of the documents.
    rebuild
        Whether to write existing rows again.
    tell
        Called after each page of rows with the share of them that is written.
    """
    sizes = store.sizes()
    places, left_out = _all_places(store)
    old_ids = set(store.catalogue.ids())
    new_ids = sorted(places.keys() if rebuild else places.keys() - old_ids)
    n_written = 0
    for page in pages(new_ids, _PAGE):
        rows = _rows(store, {row_id: places[row_id] for row_id in page})
        store.catalogue.put(rows)
        n_written += len(rows)
        tell(n_written / len(new_ids))
    outdated_ids = sorted(old_ids - places.keys())
    store.catalogue.drop(outdated_ids)
    mark_current(store, sizes)
    return Updated(n_written, len(outdated_ids), left_out)


def _all_places(store: ResultStore) -> tuple[dict[tuple[str, str], Place], dict[str, str]]:
    """Return the place of each row by (key, campaign), and the campaigns that cannot be read."""
    live_keys = set(store.keys())
    places: dict[tuple[str, str], Place] = {}
    left_out: dict[str, str] = {}
    for record in list(store.find_all(CampaignRecord)):
        try:
            campaign_places = places_in(store, reopen(store, record))
        except LycbError as err:  # for example, its plug-in is not installed here
            left_out[record.name] = str(err)
            continue
        for key, place in campaign_places.items():
            if key in live_keys:
                places.setdefault((key, place.campaign), place)
    no_place = Place()
    for key in live_keys - {key for key, _ in places}:
        places[key, ""] = no_place
    return places, left_out


def _rows(store: ResultStore, places: dict[tuple[str, str], Place]) -> list[Row]:
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
