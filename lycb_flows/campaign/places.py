"""The place of each document in a campaign: its system, round, temperature and pressure.

The plans that the flows are made of name most documents. Any other, such as a segment of a run,
gets the place of the document that was made from it or that it is a product of. A place is never
handed from a product to what it was born in: any number of runs of other campaigns may start from
one structure.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lycb_flows.campaign import (
    TEST_STAGE,
    CampaignResults,
    StagePlan,
    Submission,
    find_results,
    levers_of,
    ordering_names,
    run_batches,
    system_names,
)
from lycb_flows.config import RankingConfig
from lycb_flows.errors import StoreError
from lycb_flows.quantities import readable_quantities
from lycb_flows.relaxation.ranking import EARLY_STAGES, stage_config
from lycb_flows.schemas import Evaluation, Frames, Ranking, Relaxation, Run
from lycb_flows.store import ResultStore, Row, RowId, Settled, pages

_PAGE = 500
FindRows = Callable[[Iterable[str]], dict[str, Row]]
"""Returns the rows of documents in a campaign that the catalogue has, by key."""
Neighbours = dict[str, list[str]]


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
class Growth:
    """What is known of a store whose catalogue was up to date until documents came.

    Attributes
    ----------
    new_keys
        Keys of the documents without a row.
    settled
        The groups of documents that need not be looked at; see `CampaignPlaces.groups`.
    """

    new_keys: frozenset[str]
    settled: Settled

    def is_settled(self, group: RowId) -> bool:
        """Return whether none of the documents that a group lacked has come."""
        return group in self.settled and self.new_keys.isdisjoint(self.settled[group])


@dataclass
class CampaignPlaces:
    """Places in a campaign.

    Attributes
    ----------
    places
        The place of each document by its key; some of the documents may not exist yet.
    groups
        Keys of the documents that a ranking or the frames of a stage name, by key of the ranking or
        frames and name of the campaign. They are many, and fixed.
    in_order
        Whether the rows that exist agree with the places. Where documents came in another order
        than they were made, a row may state the place of a neighbour.
    """

    places: dict[str, Place] = field(default_factory=dict)
    groups: dict[RowId, list[str]] = field(default_factory=dict)
    in_order: bool = True

    def add(self, places: Iterable[tuple[str, Place]]) -> None:
        """Add places of documents that have none yet."""
        for key, place in places:
            self.places.setdefault(key, place)

    def add_group(self, group: RowId, places: Sequence[tuple[str, Place]]) -> None:
        """Add places of documents that belong to a group, which is empty until its list exists."""
        if places:
            self.groups[group] = [key for key, _ in places]
            self.add(places)


def places_in(
    store: ResultStore, submission: Submission, growth: Growth | None = None
) -> CampaignPlaces:
    """Return the place of each document of a campaign.

    Parameters
    ----------
    store
        Store of the results of the campaign.
    submission
        The campaign.
    growth
        If given, only the places that the catalogue lacks are returned, and those whose row has no
        formula because it was written before the structure came. Other documents are not read.
    """
    naming = _Naming(store, submission)
    if growth is not None:
        return _missing_places(store, naming, growth)
    found = naming.named_places(Growth(frozenset(), {}))
    _add_neighbours(store, found.places, lambda _keys: {})
    return found


def _missing_places(store: ResultStore, naming: _Naming, growth: Growth) -> CampaignPlaces:
    """Return the places that the catalogue lacks, without reading what has a row."""

    def find_rows(keys: Iterable[str]) -> dict[str, Row]:
        rows = (row for page in pages([*keys]) for row in store.catalogue.find_rows(page))
        return {str(row["key"]): row for row in rows if row.get("campaign") == naming.campaign}

    named = naming.named_places(growth)
    rows = find_rows(named.places)
    in_order = all(states(row, named.places[key]) for key, row in rows.items())
    found = CampaignPlaces(groups=named.groups, in_order=in_order)
    found.add(
        (key, place)
        for key, place in named.places.items()
        if key not in rows or (place.structure is not None and "formula" not in rows[key])
    )
    for page in pages(sorted(growth.new_keys), _PAGE):
        makers, made = store.makers(page), store.made_from(page)
        rows = find_rows({key for each in (makers, made) for keys in each.values() for key in keys})
        found.add((key, naming.place_of(row)) for key, row in rows.items() if "formula" not in row)
        unnamed_keys = [key for key in page if key not in named.places]
        for key, heirs in _find_heirs(store, unnamed_keys, makers, made).items():
            found.add((key, naming.place_of(rows[heir])) for heir in heirs if heir in rows)
    _add_neighbours(store, found.places, find_rows)
    return found


class _Naming:
    """The places of the documents that the plans of a campaign name."""

    def __init__(self, store: ResultStore, submission: Submission) -> None:
        record = submission.record
        self.campaign = record.name
        self._store, self._record = store, record
        self._ranking_config = submission.campaign.ranking
        self._found = find_results(store, submission.campaign, submission.theory)
        self._whole = Place(campaign=record.name, owner=record.made.owner)
        ground_states = self._found.ground_states
        self._systems = {
            each: replace(self._whole, system=each, x=x, structure=ground_states.get(each))
            for name, _, x in system_names(submission.campaign)
            for _, each in ordering_names(submission.campaign, name)
        }

    def named_places(self, growth: Growth) -> CampaignPlaces:
        """Return the places, without those of settled groups."""
        found, systems, whole = self._found, self._systems, self._whole
        named = CampaignPlaces()
        named.add((key, whole) for key in (self._record.key, *self._record.parents))
        named.add((key, systems[name]) for name, key in found.ground_states.items())
        if found.student is not None:
            named.add([(found.student.key, whole), (found.student.model, whole)])
        for name, ranking in found.rankings.items():
            documents = (ranking, *found.by_dft.get(name, ()))
            named.add((document.key, systems[name]) for document in documents)
            group = (ranking.key, self.campaign)
            if not growth.is_settled(group):
                candidates = _candidates(self._store, ranking, self._ranking_config)
                named.add_group(group, [(key, systems[name]) for key in candidates])
        for plan in found.stages:
            runs = _run_places(plan, systems)
            named.add(runs.items())
            group = (plan.frames_key, self.campaign)
            if not growth.is_settled(group):
                named.add_group(group, [*_frame_places(self._store, plan, runs, whole)])
            temperature_k = None if plan.index == TEST_STAGE else plan.temperature_k
            place = replace(whole, round=plan.index, temperature_k=temperature_k)
            named.add((key, place) for key in _stage_keys(self._store, plan))
        named.add(_production_places(found, systems))
        named.add(_result_places(found, whole, systems))
        return named

    def place_of(self, row: Row) -> Place:
        """Return the place that a row states."""
        system: Any = row.get("system")
        place = self._systems.get(system, self._whole)
        stated: Any = {name: row.get(name) for name in ("round", "temperature_k", "pressure_bar")}
        return replace(place, **stated)


def states(row: Row, place: Place) -> bool:
    """Return whether a row states a place.

    Parameters
    ----------
    row
        The row.
    place
        The place.
    """
    stated = (row.get("system"), row.get("round"), row.get("temperature_k"))
    return stated == (place.system, place.round, place.temperature_k)


def _candidates(store: ResultStore, ranking: Ranking, config: RankingConfig) -> Iterator[str]:
    """Yield the keys of the orderings in the table of a ranking and of all their relaxations.

    The table has the last relaxation of each, which began where those before it ended.
    """
    with contextlib.suppress(StoreError):  # without its blob; `lycb verify` reports it
        table = json.loads(store.blobs.read(ranking.table))
        found = [candidate["ordering"] for candidate in table]
        yield from found
        yield from (candidate["relaxation"] for candidate in table)
        for stage in EARLY_STAGES:
            settings, products = stage_config(config, stage), store.products(found)
            starts = dict.fromkeys(key for each in found for key in products.get(each, ()))
            found = [Relaxation.key_of(key, settings, model=ranking.model) for key in starts]
            yield from found


def _run_places(plan: StagePlan, systems: dict[str, Place]) -> dict[str, Place]:
    return {
        Run.key_of(config): replace(
            systems[config.system],
            round=plan.index,
            temperature_k=config.protocol.temperature_k,
            pressure_bar=config.protocol.pressure_bar,
        )
        for config in plan.runs()
    }


def _frame_places(
    store: ResultStore, plan: StagePlan, runs: dict[str, Place], whole: Place
) -> Iterator[tuple[str, Place]]:
    """Yield key and place of the labels of a stage and of their structures."""
    found = store.find(Frames, plan.frames_key)
    frames = found.frames if found else ()
    labels = plan.label_keys(frame.structure for frame in frames) if frames else []
    for frame, label in zip(frames, labels, strict=True):
        place = runs.get(frame.run, whole)
        yield label, place
        if frame.run:  # an ordering has its place already
            yield frame.structure, place


def _stage_keys(store: ResultStore, plan: StagePlan) -> list[str]:
    """Return the keys of the documents of a whole stage, from its frames to its round."""
    keys = [plan.frames_key, plan.dataset_key]
    if plan.foundation_key is not None:
        keys.append(plan.foundation_key)
    if plan.index != TEST_STAGE:
        keys += [plan.model_key, *plan.round_keys(levers_of(store, plan.campaign))]
    return keys


def _production_places(
    found: CampaignResults, systems: dict[str, Place]
) -> Iterator[tuple[str, Place]]:
    """Yield key and place of the runs of the measurement, done or not."""
    plan = found.measurement
    if plan is None:
        return
    batches = run_batches(plan, readable_quantities(plan.campaign.measure))
    runs = {Run.key_of(run): run for _, batch in batches for run in batch}
    for key, run in runs.items():
        cell = runs.get(run.start, run)  # the run that found its cell, if one did
        yield (
            key,
            replace(
                systems[run.system],
                temperature_k=run.protocol.temperature_k,
                pressure_bar=cell.protocol.pressure_bar,
            ),
        )


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


def _find_heirs(
    store: ResultStore, keys: Sequence[str], makers: Neighbours, made: Neighbours
) -> Neighbours:
    """Return the documents whose place each of these gets where no plan names it.

    They were made from it or it is a product of theirs, see `_add_neighbours`.
    """
    products = store.products(list({*keys, *_all_of(makers)}))
    return {
        key: [
            *(other for other in made.get(key, ()) if other not in products.get(key, ())),
            *(other for other in makers.get(key, ()) if key in products.get(other, ())),
        ]
        for key in keys
    }


def _add_neighbours(store: ResultStore, places: dict[str, Place], find_rows: FindRows) -> None:
    """Add what documents were made from and their products, recursively, unless it has a row.

    Each gets the place of its neighbour.
    """
    keys = list(places)
    while keys:
        neighbours: Neighbours = {}
        for page in pages(keys, _PAGE):
            for lists in (_find_parents(store, page), store.products(page)):
                for key, others in lists.items():
                    neighbours.setdefault(key, []).extend(others)
        listed = find_rows(_all_of(neighbours) - places.keys())
        n_places = len(places)
        for key in keys:
            for other in neighbours.get(key, ()):
                if other not in listed:
                    places.setdefault(other, places[key])
        keys = list(places)[n_places:]


def _find_parents(store: ResultStore, keys: Sequence[str]) -> Neighbours:
    """Return what each document was made from, without what it was born in."""
    makers = store.makers(keys)
    products = store.products(list(_all_of(makers)))
    return {
        key: [other for other in others if key not in products.get(other, ())]
        for key, others in makers.items()
    }


def _all_of(neighbours: Neighbours) -> set[str]:
    return {other for others in neighbours.values() for other in others}
