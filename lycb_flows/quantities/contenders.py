"""Models that are compared on a campaign's test labels, and the labels.

>>> labels = read_labels(store, plan)
>>> judge(store, Contender(model_key, "other"), labels).overall.force_mae_ev_per_ang
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lycb_flows.errors import InputError
from lycb_flows.quantities import MeasurementPlan
from lycb_flows.schemas import (
    BenchmarkedModel,
    BenchmarkPart,
    BenchmarkSet,
    Dataset,
    Frames,
    Label,
    Model,
    Round,
    Run,
    Structure,
    TestSet,
)
from lycb_flows.store import ResultStore

if TYPE_CHECKING:
    from lycb_flows.learning import LabelledStructure
    from lycb_flows.potentials import SinglePoint


@dataclass(frozen=True)
class Contender:
    """A model that is compared.

    Attributes
    ----------
    model
        Its key.
    role
        What the campaign has it for.
    shifted
        Whether its reference energies are those of the labels already.
    """

    model: str
    role: str
    shifted: bool = False


@dataclass(frozen=True)
class Labels:
    """The labels of a campaign's last dataset.

    Attributes
    ----------
    dataset
        Names them.
    training, testing
        With their structures; a test label has its system. Test labels with an element that no
        training label has are left out: its energy would be that of another reference.
    n_left_out
        Number of the test labels that are left out.
    temperatures_k
        Of the run of each test label, by the label's key.
    sets
        Keys of the labels of each named test set.
    """

    dataset: Dataset
    training: list[LabelledStructure]
    testing: list[LabelledStructure]
    n_left_out: int
    temperatures_k: dict[str, float]
    sets: dict[str, frozenset[str]]


def read_labels(store: ResultStore, plan: MeasurementPlan) -> Labels:
    """Return the training and test labels of a campaign.

    Parameters
    ----------
    store
        Holds them.
    plan
        The measurement, which names the rounds.

    Raises
    ------
    InputError
        When no test label has the elements of training labels alone.
    """
    from lycb_flows.learning import elements_of, within_elements  # noqa: PLC0415 - torch

    dataset = store.load(Dataset, store.load(Round, plan.rounds[-1]).dataset)
    tests = [store.load(TestSet, key) for key in dataset.test_sets]
    testing = _load(store, sorted({label for test in tests for label in test.labels}))
    systems, temperatures_k = _origins(store, testing, plan.campaign.crystals)
    training = _labelled(store, _load(store, dataset.training_labels), {})
    judging = within_elements(_labelled(store, testing, systems), elements_of(training))
    if not judging:
        raise InputError(
            "no test label has the elements of the training labels alone",
            fix="train on labels with the elements of the test labels",
            elements=", ".join(sorted(elements_of(training))),
        )
    return Labels(
        dataset,
        training,
        judging,
        len(testing) - len(judging),
        temperatures_k,
        {
            test.name: frozenset(test.labels)
            for test in tests
            if test.name in (plan.campaign.learning.test.sets or {})
        },
    )


def _load(store: ResultStore, keys: Sequence[str]) -> list[Label]:
    return [store.load(Label, key) for key in keys]


def _origins(
    store: ResultStore, labels: Sequence[Label], crystals: Collection[str]
) -> tuple[dict[str, str], dict[str, float]]:
    """Return the system and the temperature in K of labels whose frames come from runs.

    Where several campaigns have chosen a structure, it is called as this one calls it.
    """
    of_structure = {label.structure: label.key for label in labels}
    makers = store.makers(list(of_structure))
    found = store.find_documents(sorted({key for keys in makers.values() for key in keys}))
    frames = [
        frame
        for document in found
        if isinstance(document, Frames)
        for frame in document.frames
        if frame.structure in of_structure
    ]
    frames.sort(key=lambda frame: frame.system in crystals)  # the last counts
    runs = {
        run.key: run.temperature_k
        for run in store.find_documents(sorted({frame.run for frame in frames}))
        if isinstance(run, Run)
    }
    systems = {of_structure[frame.structure]: frame.system for frame in frames}
    return systems, {
        of_structure[frame.structure]: runs[frame.run] for frame in frames if frame.run in runs
    }


def _labelled(
    store: ResultStore, labels: Sequence[Label], systems: Mapping[str, str]
) -> list[LabelledStructure]:
    from lycb_flows.learning import LabelledStructure  # noqa: PLC0415 - torch

    return [
        LabelledStructure.of(
            label, store.load(Structure, label.structure), systems.get(label.key, "")
        )
        for label in labels
    ]


def judge(store: ResultStore, contender: Contender, labels: Labels) -> BenchmarkedModel:
    """Return the errors of a model on all test labels, and on parts of them.

    Parameters
    ----------
    store
        Holds its weights.
    contender
        The model.
    labels
        Training labels fit its reference energies where need be; test labels judge.
    """
    from lycb_flows.learning import (  # noqa: PLC0415 - torch
        fitted_shift_ev,
        model_errors,
        shifted_points,
    )
    from lycb_flows.potentials import load_potential  # noqa: PLC0415 - likewise

    model = store.load(Model, contender.model)
    potential = load_potential(model, store.blobs.read(model.weights))
    points = potential.predict([label.structure for label in labels.testing])
    shift_ev: dict[str, float] = {}
    if not contender.shifted:
        known = potential.predict([label.structure for label in labels.training])
        shift_ev = fitted_shift_ev(labels.training, known)
        points = shifted_points(labels.testing, points, shift_ev)
    groups: dict[tuple[str, float | None], list[int]] = {}
    for index, label in enumerate(labels.testing):
        place = (label.system, labels.temperatures_k.get(label.key))
        groups.setdefault(place, []).append(index)
    return BenchmarkedModel(
        name=model.name,
        model=model.key,
        role=contender.role,
        shift_ev=shift_ev,
        overall=model_errors(labels.testing, points),
        sets=tuple(
            BenchmarkSet(
                name=name,
                errors=model_errors(*_within(labels.testing, points, keys)),
            )
            for name, keys in labels.sets.items()
            if any(label.key in keys for label in labels.testing)
        ),
        parts=tuple(
            BenchmarkPart(
                system=system,
                temperature_k=temperature_k,
                errors=model_errors(
                    [labels.testing[i] for i in members], [points[i] for i in members]
                ),
            )
            for (system, temperature_k), members in sorted(
                groups.items(), key=lambda item: (item[0][0], item[0][1] or 0.0)
            )
        ),
    )


def _within(
    labels: Sequence[LabelledStructure], points: Sequence[SinglePoint], keys: Collection[str]
) -> tuple[list[LabelledStructure], list[SinglePoint]]:
    """Return the labels of some keys and what a model predicts for them."""
    chosen = [i for i, label in enumerate(labels) if label.key in keys]
    return [labels[i] for i in chosen], [points[i] for i in chosen]


def from_scratch(store: ResultStore, labels: Labels, updates: int, neurons: int) -> str:
    """Return the key of a NEP that is trained on the training labels alone.

    Parameters
    ----------
    store
        Receives it.
    labels
        Those that train.
    updates, neurons
        Steps of the training, and size of the hidden layer.
    """
    from lycb_flows.learning import elements_of  # noqa: PLC0415 - torch
    from lycb_flows.potentials import NEP_MEDIA_TYPE, Nep, NepShape  # noqa: PLC0415 - torch

    dataset = labels.dataset
    key = Model.key_from(scratch="nep", dataset=dataset.key, updates=updates, neurons=neurons)
    species = sorted(elements_of(labels.training))

    def train() -> Model:
        from lycb_flows.learning import StudentRecipe, train_student  # noqa: PLC0415 - torch

        potential = train_student(
            NepShape(tuple(species), neurons=neurons),
            labels.training,
            StudentRecipe(updates=updates),
        )
        return Model(
            key=key,
            parents=(dataset.key,),
            name="NEP from scratch",
            architecture=Nep.name,
            architecture_args={},
            weights=store.blobs.put(potential.weights_bytes(), NEP_MEDIA_TYPE),
            source="from scratch",
            dataset=dataset.key,
        )

    return store.once(Model, key, train, "benchmark").key
