"""The job that makes a student and its certificate; each label is looked up first."""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from jobflow import Job

from lycb_flows.campaign import (
    StudentPlan,
    refuse_overlap,
    settings_of_its_runs,
    training_labels_of,
)
from lycb_flows.config import MDConfig, StudentConfig
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.jobs.given import (
    GivenStructure,
    PortableStructure,
    portable_model,
    portable_structure,
    stored_model,
    stored_structure,
)
from lycb_flows.jobs.learning import labelled
from lycb_flows.jobs.lookup import LookupMaker
from lycb_flows.jobs.resources import open_potential, open_store_at, process_pool
from lycb_flows.labels import Teacher, teacher_theory
from lycb_flows.learning import LabelledStructure
from lycb_flows.machine import WALLTIME, Stage, load_settings
from lycb_flows.potentials import NEP_MEDIA_TYPE, Nep, load_potential
from lycb_flows.schemas import (
    Dataset,
    Frames,
    Label,
    Model,
    ModelErrors,
    Structure,
    Student,
    TestSet,
)
from lycb_flows.store import ResultStore

if TYPE_CHECKING:  # torch takes seconds
    from lycb_flows.learning import Certificate
    from lycb_flows.potentials import NepPotential

_LOGGER = logging.getLogger(__name__)
_LABELS_AT_ONCE = 8
_ARRAY_MEDIA_TYPE = "application/x-npy"


@dataclass(kw_only=True)
class DistilMaker(LookupMaker):
    """Train a student of a potential for some crystals, and certify its statics.

    It hands on the key of the Student, whose `model` is the key of the Model to simulate with.
    The fields describe a student without a campaign; that of a campaign has its plan.

    Attributes
    ----------
    student
        Frames and training.
    temperatures_k, pressures_bar
        Where it is to be used, and is looked at.
    md
        Settings of the runs that it is for.
    seed
        Of frames, velocities and weights.
    """

    kind = Student

    name: str = "distil"
    student: StudentConfig = field(default_factory=StudentConfig)
    # lists, because a tuple comes back as one from a LaunchPad
    temperatures_k: Sequence[float] = field(default_factory=lambda: [300.0, 600.0, 900.0])
    pressures_bar: Sequence[float] = field(default_factory=lambda: [1.0])
    md: MDConfig = field(default_factory=MDConfig)
    seed: int = 0

    def make(
        self,
        structures: Sequence[GivenStructure] = (),
        teacher: str | Path = "sevennet-0",
        plan: StudentPlan | None = None,
        after: object = None,
    ) -> Job:
        """Return the job that hands on the key of the Student.

        Parameters
        ----------
        structures
            Ordered crystals near their minima, or keys.
        teacher
            The name, file or key of the potential that is repeated.
        plan
            A student that is described in full, instead of structures.
        after
            References to what comes before; only order.

        Raises
        ------
        InputError
            When there is neither a structure nor a plan.
        """
        if plan is not None:
            return self.look_up(plan=plan, after=after)
        if not structures:
            raise InputError("a student needs crystals", fix="give structures, or a plan")
        given = [portable_structure(structure) for structure in structures]
        return self.look_up(structures=given, teacher=portable_model(teacher), after=after)

    def prepared(
        self,
        store: ResultStore,
        plan: StudentPlan | None = None,
        structures: Sequence[PortableStructure] = (),
        teacher: str = "",
    ) -> dict[str, Any]:
        """Return the plan; crystals and teacher are in the store afterwards."""
        plan = plan or StudentPlan(
            config=self.student,
            teacher=stored_model(store, teacher),
            starts=tuple(stored_structure(store, structure) for structure in structures),
            temperatures_k=tuple(self.temperatures_k),
            pressures_bar=tuple(self.pressures_bar),
            md=settings_of_its_runs(self.md, self.student.extrapolation_limit),
            seed=self.seed,
        )
        return {"plan": plan}

    def key(self, store: ResultStore, plan: StudentPlan) -> str:
        """Return the key of the Student."""
        del store
        return plan.key

    def compute(self, store: ResultStore, key: str, plan: StudentPlan) -> Student:
        """Return the certificate of the student, which is trained before if it is not there.

        Raises
        ------
        PhysicsError
            When no run of its own leaves a frame at a temperature: a student without statics
            measures nothing.
        """
        distillation = _Distillation(store, plan, self.name)
        model = store.once(Model, plan.model_key, distillation.train, self.name)
        return distillation.certify(key, model)


class _Distillation:
    """A teacher and a plan at work."""

    def __init__(self, store: ResultStore, plan: StudentPlan, job_name: str) -> None:
        self.store, self.plan, self.job_name = store, plan, job_name
        self.teacher = store.load(Model, plan.teacher)
        self.theory = teacher_theory(self.teacher)
        self.starts = [store.load(Structure, key) for key in plan.starts]

    def train(self) -> Model:
        """Return the student's Model; its dataset is in the store afterwards."""
        from lycb_flows.learning import (  # noqa: PLC0415 - torch: seconds
            Plan,
            StudentRecipe,
            teach_student,
        )
        from lycb_flows.potentials import NepShape  # noqa: PLC0415

        plan, config = self.plan, self.plan.config
        species = sorted({symbol for start in self.starts for symbol in start.species})
        potential, learned = teach_student(
            self.starts,
            self.label,
            NepShape(tuple(species), neurons=config.neurons),
            Plan(
                temperatures_k=plan.training_temperatures_k,
                rattled_per_start=config.rattled_per_start,
                rounds=config.rounds,
                frames_per_run=config.frames_per_run,
                run_ps=config.run_ps,
                recipe=StudentRecipe(
                    updates=config.updates, seed=plan.seed, optimizer=config.optimizer or "adamw"
                ),
                pressures_bar=plan.pressures_bar,
                md=plan.md,
            ),
            given=self._given(),
            tell=_LOGGER.info,
        )
        dataset = self._dataset([label.key for label in learned])
        return Model(
            key=plan.model_key,
            parents=(dataset.key, self.teacher.key),
            name=f"student of {self.teacher.name}",
            architecture=Nep.name,
            architecture_args={},
            weights=self.store.blobs.put(potential.weights_bytes(), NEP_MEDIA_TYPE),
            source="distilled",
            dataset=dataset.key,
            parent_model=self.teacher.key,
        )

    def certify(self, key: str, model: Model) -> Student:
        """Return what is known of the student.

        Parameters
        ----------
        key
            Of the certificate.
        model
            The student's.
        """
        from lycb_flows.learning import OwnRuns, certify_statics  # noqa: PLC0415 - torch

        plan = self.plan
        # on the CPU, whatever the device: there its runs take grades
        potential = cast(
            "NepPotential", load_potential(model, self.store.blobs.read(model.weights))
        )
        learned = self.store.load(Dataset, model.dataset or "").training_labels
        trained_on = [label.structure for label in labelled(self.store, learned)]
        certificate = certify_statics(
            potential,
            self.label,
            self.starts,
            OwnRuns(plan.temperatures_k, plan.pressures_bar, plan.config.certified_frames, plan.md),
            trained_on=trained_on,
            tell=_LOGGER.info,
        )
        refuse_bare(certificate)
        given = {frame.key for frame in self._given()}
        return Student(
            key=key,
            parents=(model.key, *((plan.dataset,) if plan.dataset else ())),
            model=model.key,
            teacher=self.teacher.key,
            n_frames=len(trained_on),
            n_given=sum(structure.key in given for structure in trained_on),
            conditions=certificate.conditions,
            on_labels=self._on_labels(model, potential),
            drift_ev_per_atom_per_ps=certificate.drift_ev_per_atom_per_ps,
            active_set=self.store.blobs.put(
                array_bytes(certificate.active_set.transforms), _ARRAY_MEDIA_TYPE
            ),
        )

    def label(self, structures: Sequence[Structure]) -> list[LabelledStructure]:
        """Return the structures that the teacher has numbers for, with these; all are stored."""
        self.store.insert_all(structures)
        keys = [structure.key for structure in structures]
        size = _LABELS_AT_ONCE if load_settings().device == "cpu" else max(len(keys), 1)
        batches = [keys[i : i + size] for i in range(0, len(keys), size)]
        work = functools.partial(label_batch, self.store.address, self.teacher.key, self.job_name)
        stage = Stage(_LOGGER.info, "labelling batches of frames", len(batches))
        with closing(process_pool().map_ordered(work, batches)) as results:
            for done, _ in enumerate(results, 1):
                stage.reach(done)
                WALLTIME.leave_if_over(next_s=0.0)
        found = [
            (structure, self.store.find(Label, Label.key_of(key, self.theory.fingerprint)))
            for structure, key in zip(structures, keys, strict=True)
        ]
        return [LabelledStructure.of(label, frame) for frame, label in found if label is not None]

    def _given(self) -> list[Structure]:
        """Return the frames of the rounds that train or validate; test frames stay unseen."""
        frames = [
            frame
            for key in self.plan.frames
            for frame in self.store.load(Frames, key).frames
            if frame.block != "test"
        ]
        return [
            self.store.load(Structure, key) for key in dict.fromkeys(f.structure for f in frames)
        ]

    def _dataset(self, labels: Sequence[str]) -> Dataset:
        dataset = Dataset(
            key=Dataset.key_of_labels(labels, ()),
            parents=tuple(dict.fromkeys(labels)),
            round_index=0,
            theory=self.theory.fingerprint,
            training_labels=tuple(labels),
            validation_labels=(),
            test_sets=(),
        )
        self.store.insert(dataset)
        return dataset

    def _on_labels(self, model: Model, potential: NepPotential) -> ModelErrors | None:
        """Return the errors on the campaign's test labels, its energies shifted to their level."""
        from lycb_flows.learning import (  # noqa: PLC0415 - torch
            elements_of,
            errors_of,
            fitted_shift_ev,
            within_elements,
        )

        if self.plan.dataset is None:
            return None
        dataset = self.store.load(Dataset, self.plan.dataset)
        tests = [self.store.load(TestSet, key) for key in dataset.test_sets]
        fitting = labelled(self.store, dataset.training_labels)
        found = labelled(self.store, sorted({key for test in tests for key in test.labels}))
        testing = within_elements(found, elements_of(fitting))
        if not testing:
            return None
        refuse_overlap(self.store, training_labels_of(self.store, model), dataset.test_sets)
        shift_ev = fitted_shift_ev(fitting, potential.predict([each.structure for each in fitting]))
        return errors_of(potential.shifted(shift_ev), testing)


def label_batch(address: str, teacher: str, job_name: str, keys: Sequence[str]) -> None:
    """Label some structures by a teacher; one that it has no numbers for is left out.

    Parameters
    ----------
    address
        Of the result store.
    teacher
        Key of the teacher's Model.
    job_name
        For the attempts.
    keys
        Of the structures.
    """
    store = open_store_at(address)
    labeler = Teacher(store.load(Model, teacher), open_potential(store, teacher))
    for key in keys:
        structure = store.load(Structure, key)
        label_key = Label.key_of(key, labeler.theory.fingerprint)
        compute = functools.partial(labeler.label, structure)
        try:
            store.once(Label, label_key, compute, job_name, claim=False)
        except PhysicsError:
            continue


def refuse_bare(certificate: Certificate) -> None:
    """Refuse a student of which nothing is known at one of its temperatures.

    Raises
    ------
    PhysicsError
        At the first.
    """
    for condition in certificate.conditions:
        if condition.errors is None:
            raise PhysicsError(
                "a student without statics measures nothing",
                fix="give it more frames and updates, or leave out the temperature",
                temperature_k=condition.temperature_k,
                ensemble=condition.ensemble,
                reason=condition.failures[0] if condition.failures else "the teacher gave none",
            )


def array_bytes(array: np.ndarray[Any, Any]) -> bytes:
    """Return an array in numpy's own format."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
