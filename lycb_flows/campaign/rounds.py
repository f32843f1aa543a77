"""When a stage closes, what is trained then, and the separation of training and testing.

There is no workflow engine here: label jobs, tests and the reaper call the same functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import ceil

import numpy as np

from lycb_flows.campaign.admission import (
    KnownCrystals,
    has_another_mesh,
    imported_labels,
    of_one_level,
)
from lycb_flows.campaign.stages import TEST_STAGE, StagePlan
from lycb_flows.errors import LycbError
from lycb_flows.schemas import Dataset, Frame, Frames, Label, Made, Run, Structure, TestSet
from lycb_flows.store import ResultStore


@dataclass(frozen=True)
class LabelStatus:
    """The state of a stage's labels, given by key.

    Attributes
    ----------
    done
        Labels that exist.
    failed
        Labels that have failed as often as they may be tried.
    pending
        Labels that are still to come.
    short_systems
        Systems with fewer labels than `labels.min_per_system`.
    """

    done: frozenset[str]
    failed: tuple[str, ...]
    pending: tuple[str, ...]
    short_systems: tuple[str, ...]

    @property
    def share_done(self) -> float:
        """Share of existing labels among all, between 0 and 1; 0 in a stage without labels."""
        n_labels = len(self.done) + len(self.failed) + len(self.pending)
        return len(self.done) / n_labels if n_labels else 0.0


def label_status(store: ResultStore, plan: StagePlan) -> LabelStatus:
    """Return how many of a stage's labels exist and how many have failed for good.

    Parameters
    ----------
    store
        Holds the stage's frames, labels and attempts.
    plan
        The stage.

    Raises
    ------
    StoreError
        When the stage has no frames yet.
    """
    frames = _frames_of(store, plan)
    keys = plan.label_keys(frame["structure"] for frame in frames)
    done = frozenset(store.find_present(Label, keys))
    failures = store.count_failures([key for key in keys if key not in done])
    final = {key for key, n in failures.items() if n >= plan.campaign.labels.max_attempts}
    per_system = dict.fromkeys(plan.starts, 0)
    for key, frame in zip(keys, frames, strict=True):
        if frame["system"] in per_system:
            per_system[frame["system"]] += key in done
    distinct = dict.fromkeys(keys)
    minimum = plan.campaign.labels.min_per_system
    return LabelStatus(
        done=done,
        failed=tuple(key for key in distinct if key in final),
        pending=tuple(key for key in distinct if key not in done and key not in final),
        short_systems=tuple(name for name, n in per_system.items() if n < minimum),
    )


def _frames_of(store: ResultStore, plan: StagePlan) -> list[dict[str, str]]:
    """Return a stage's frames as plain data: every label job asks, and there may be thousands."""
    facts = store.find_facts([plan.frames_key])
    if not facts:
        store.load(Frames, plan.frames_key)  # says what is missing
    return list(facts[plan.frames_key]["frames"])


def failed_labels(store: ResultStore, plan: StagePlan) -> list[int]:
    """Return the indices of the stage's frames whose labels have failed for good.

    Parameters
    ----------
    store
        Holds the frames and attempts. Without frames, the list is empty.
    plan
        The stage.
    """
    if not store.find_present(Frames, [plan.frames_key]):
        return []
    failed = set(label_status(store, plan).failed)
    keys = plan.label_keys(frame["structure"] for frame in _frames_of(store, plan))
    return [i for i, key in enumerate(keys) if key in failed]


def failed_for_good(store: ResultStore, plan: StagePlan, key: str) -> bool:
    """Return whether every allowed try at a label, given by key, has failed."""
    return len(store.attempts(key, "failed")) >= plan.campaign.labels.max_attempts


def close_stage(store: ResultStore, plan: StagePlan, job: str, part: str = "") -> Dataset | None:
    """Close a stage if its labels allow it.

    Each label job calls this at its end, and so does the reaper. A stage closes when no label is
    pending, or when the configured share and every system's minimum have existed for the grace
    time. The first caller's Dataset wins; its `made.part` says which label job continues the
    loop, also when that job runs again.

    Parameters
    ----------
    store
        Holds frames, labels and attempts.
    plan
        The stage.
    job
        The name of the caller, for people.
    part
        Which label job of the stage the caller is; empty when it is none.

    Returns
    -------
    Dataset or None
        None while the stage stays open.

    Raises
    ------
    LycbError
        When too many labels have failed for good.
    """
    found = store.find(Dataset, plan.dataset_key)
    if found is not None:
        return found
    status = label_status(store, plan)
    enough = status.share_done >= plan.campaign.labels.quorum and not status.short_systems
    if not status.pending and not enough:
        raise _too_many_failures(store, plan, status)
    if status.pending and not (enough and _grace_is_over(store, plan, status)):
        return None
    with store.attempt(Dataset, plan.dataset_key, job) as made:
        here = made().model_copy(update={"part": part})
        store.insert(_build_dataset(store, plan, status, here), made.attempt)
    return store.load(Dataset, plan.dataset_key)


def closed_by(plan: StagePlan, dataset: Dataset) -> str:
    """Return the part of the label job that closed a stage; empty when none of them did.

    Datasets that were made before jobs carried fields hold the name of the job only.

    Parameters
    ----------
    plan
        The stage.
    dataset
        The document that closed it.
    """
    if dataset.made.part is not None:
        return dataset.made.part
    parts = {job.name: job.part for job in plan.label_jobs()}
    return parts.get(dataset.made.job, "")


def _grace_is_over(store: ResultStore, plan: StagePlan, status: LabelStatus) -> bool:
    config = plan.campaign.labels
    n_labels = len(status.done) + len(status.failed) + len(status.pending)
    n_quorum = max(1, ceil(config.quorum * n_labels))
    ends = sorted(store.find_ends(sorted(status.done)).values())
    reached = datetime.fromisoformat(ends[n_quorum - 1])
    return datetime.now(UTC) - reached >= timedelta(seconds=config.grace_s)


def _too_many_failures(store: ResultStore, plan: StagePlan, status: LabelStatus) -> LycbError:
    reason = store.attempts(status.failed[0], "failed")[-1].reason if status.failed else "no frames"
    return LycbError(
        "too many labels failed for good",
        fix="mend the labeler or lower labels.quorum, then run again",
        stage=plan.title,
        done=len(status.done),
        failed=len(status.failed),
        quorum=plan.campaign.labels.quorum,
        systems_below_minimum=list(status.short_systems),
        last_reason=reason,
    )


def _build_dataset(store: ResultStore, plan: StagePlan, status: LabelStatus, made: Made) -> Dataset:
    """Return the dataset of all usable labels so far; late ones of earlier stages join here."""
    blocks: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    named: dict[str, list[str]] = {}
    rejected: dict[str, str] = {}
    for stage_key in (*plan.earlier_frames, plan.frames_key):
        for frame in store.load(Frames, stage_key).frames:
            label = store.find(Label, Label.key_of(frame.structure, plan.theory.fingerprint))
            if label is None or (frame.block == "test" and stage_key != plan.frames_key):
                continue  # an earlier stage's test set is frozen
            reason = _why_unusable(label, plan.campaign.labels.max_force_ev_per_ang)
            if reason:
                rejected[label.key] = reason
                continue
            name = frame.test_set
            block = blocks[frame.block] if name is None else named.setdefault(name, [])
            block += [label.key] if label.key not in block else []
    found = [_test_set(plan, *each) for each in {"": blocks["test"], **named}.items() if each[1]]
    test_sets = plan.test_sets + tuple(_freeze(store, plan, test_set) for test_set in found)
    if plan.campaign.labels.imported and plan.index != TEST_STAGE:
        rejected |= _add_imported(store, plan, blocks, test_sets)
    return Dataset(
        key=plan.dataset_key,
        parents=(*blocks["train"], *blocks["validation"], *test_sets),
        round_index=plan.index,
        theory=plan.theory.fingerprint,
        training_labels=tuple(blocks["train"]),
        validation_labels=tuple(blocks["validation"]),
        missing=(*status.failed, *status.pending),
        rejected=rejected,
        test_sets=test_sets,
        made=made,
    )


def _add_imported(
    store: ResultStore, plan: StagePlan, blocks: dict[str, list[str]], test_sets: tuple[str, ...]
) -> dict[str, str]:
    """Add imported labels to the training; return the reason for each that is left out."""
    rejected: dict[str, str] = {}
    wall = _Wall(store, test_sets)
    validating = KnownCrystals(_structures(store, blocks["validation"]))
    for label in imported_labels(store, plan.campaign.labels):
        structure = store.load(Structure, label.structure)
        reason = _why_unusable(label, plan.campaign.labels.max_force_ev_per_ang)
        if wall.has(structure):
            reason = "imported, and in a test set"
        elif structure in validating:
            reason = "imported, and among the validation labels"
        elif has_another_mesh(store, label, plan.theory):
            reason = "imported, and with other k-points than this campaign's rule gives its cell"
        if reason:
            rejected[label.key] = reason
        elif label.key not in blocks["train"]:
            blocks["train"].append(label.key)
    return rejected


def _structures(store: ResultStore, labels: Iterable[str]) -> list[Structure]:
    return [store.load(Structure, store.load(Label, key).structure) for key in labels]


def _why_unusable(label: Label, max_force_ev_per_ang: float) -> str:
    if not label.converged:
        return "not converged"
    largest = float(np.abs(label.forces_ev_per_ang).max())
    if largest > max_force_ev_per_ang:
        return f"force of {largest:.1f} eV/Å above {max_force_ev_per_ang:g}"
    return ""


def _freeze(store: ResultStore, plan: StagePlan, test_set: TestSet) -> str:
    job = f"close {plan.title}"
    return store.once(TestSet, test_set.key, lambda: test_set, job, claim=False).key


def _test_set(plan: StagePlan, name: str, labels: list[str]) -> TestSet:
    """Return a test set of a stage, which is frozen from now on; the stage's own has no name."""
    runs = plan.set_runs()[name] if name else plan.own_test_runs()
    how = "runs of their own: " + ", ".join(sorted(run.name for run in runs))
    if not runs:
        crystals = dict.fromkeys(crystal for crystal, _ in plan.set_orderings()[name])
        how = f"orderings as they were ranked: {', '.join(crystals)}"
    return TestSet(
        key=TestSet.key_of(labels, name or None),
        parents=tuple(sorted(labels)),
        name=name or plan.title,
        labels=tuple(sorted(labels)),
        how=how,
        runs=tuple(sorted(Run.key_of(run) for run in runs)),
    )


# -- the walls: between levels of theory, between training and testing ----------------------


def refuse_mixture(
    store: ResultStore, labels: Iterable[str], admitted: Collection[str] = ()
) -> None:
    """Refuse labels at more than one level of theory in a training or evaluation.

    Levels that differ only in the rule of k-points may meet where one of them gives every
    label's cell the mesh that the label has.

    Parameters
    ----------
    store
        Holds the labels.
    labels
        Keys of the labels.
    admitted
        Fingerprints that may be mixed with any other, as `admitted_levels` returns them.

    Raises
    ------
    LycbError
        When the levels differ; the message holds their fingerprints.
    """
    found = [store.load(Label, key) for key in labels]
    remaining = [label for label in found if label.theory not in admitted]
    names = {label.theory: label.theory_name for label in remaining}
    if len(names) > 1 and not of_one_level(store, remaining):
        raise LycbError(
            "labels of different levels of theory never meet",
            fix="train on those of one",
            found=" and ".join(f"{name} [{theory}]" for theory, name in names.items()),
        )


def refuse_overlap(store: ResultStore, labels: Iterable[str], test_sets: Iterable[str]) -> None:
    """Refuse training labels whose structure, or whose run, is in a test set.

    Parameters
    ----------
    store
        Holds the labels, structures, frames and test sets.
    labels
        Keys of the training labels.
    test_sets
        Keys of the test sets.

    Raises
    ------
    LycbError
        At the first such label.
    """
    wall = _Wall(store, test_sets)
    for key in labels:
        structure = store.load(Structure, store.load(Label, key).structure)
        if wall.has(structure):
            raise LycbError(
                "a training label is in a test set",
                fix="take it out of one of them",
                label=key,
                structure=structure.key,
                runs=sorted(wall.runs_of(structure)),
            )


class _Wall:
    """What no training may see: the structures of test sets, and all frames of their runs."""

    def __init__(self, store: ResultStore, test_sets: Iterable[str]) -> None:
        tests = [store.load(TestSet, key) for key in test_sets]
        self._store = store
        self._runs = {run for test in tests for run in test.runs}
        labels = dict.fromkeys(key for test in tests for key in test.labels)
        self._crystals = KnownCrystals(_structures(store, labels))

    def has(self, structure: Structure) -> bool:
        """Return whether no training may see a structure.

        A frame of a test run is excluded as well: it is correlated with the test frames.
        """
        return structure in self._crystals or bool(self.runs_of(structure))

    def runs_of(self, structure: Structure) -> set[str]:
        """Return the keys of the test runs that a structure is a frame of."""
        return {frame.run for frame in frames_of(self._store, structure.key)} & self._runs


def frames_of(store: ResultStore, structure: str) -> list[Frame]:
    """Return every choice of a structure, given by key, as a frame; several runs may visit it."""
    makers = store.makers([structure]).get(structure, [])
    return [
        frame
        for maker in store.find_documents(makers)
        if isinstance(maker, Frames)
        for frame in maker.frames
        if frame.structure == structure
    ]
