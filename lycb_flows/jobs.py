"""One small Maker per kind of job: look up, compute the missing, store, hand on keys.

Every job reads this machine's settings when it runs. `after` arguments carry references
whose only use is order.
"""

from __future__ import annotations

import functools
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Literal

import numpy as np
from jobflow import Maker, job

from lycb_flows import (
    arrhenius,
    diffusion,
    enumeration,
    evaluation,
    relaxation,
    rounds,
    sampling,
    schemas,
    training,
)
from lycb_flows.config import Campaign, LabelConfig, RankingConfig, RunConfig
from lycb_flows.errors import LabelError, LycbError, StoreError
from lycb_flows.keys import digest, make_key
from lycb_flows.labels import teacher
from lycb_flows.labels.theory import Labeler
from lycb_flows.md import protocol as md
from lycb_flows.md.summary import summarise_run
from lycb_flows.md.trajectory import MEDIA_TYPE as TRAJECTORY_MEDIA_TYPE
from lycb_flows.md.trajectory import Trajectory, join, read_trajectory
from lycb_flows.measurement import MeasurementPlan
from lycb_flows.potentials.labelled import LabelledStructure
from lycb_flows.potentials.models import WEIGHTS_MEDIA_TYPE, load_potential
from lycb_flows.potentials.potential import Potential
from lycb_flows.processes import ProcessPool
from lycb_flows.results import decorated_name, enumeration_key, load_crystal, ranking_key
from lycb_flows.schemas import Produced
from lycb_flows.settings import load_settings
from lycb_flows.stages import StagePlan, evaluation_key, run_key
from lycb_flows.store import ResultStore
from lycb_flows.units import PS_FS

_static_job = job(output_schema=Produced)


# -- this machine ----------------------------------------------------------------------------


def open_store() -> ResultStore:
    """The result store of this machine's settings."""
    return _open_store(load_settings().store)


@functools.lru_cache(maxsize=2)
def _open_store(folder: Path) -> ResultStore:
    return ResultStore(folder)


def open_potential(store: ResultStore, key: str) -> Potential:
    """The potential of a stored model, on this machine's device."""
    return _open_potential(store.folder, key)


@functools.lru_cache(maxsize=4)
def _open_potential(folder: Path, key: str) -> Potential:
    import torch  # noqa: PLC0415 - seconds; jobs without a potential do not pay them

    settings = load_settings()
    torch.set_num_threads(settings.threads)
    store = _open_store(folder)
    model = store.load(schemas.Model, key)
    return load_potential(model, store.blobs.read(model.weights), settings.device)


@functools.cache
def _pool() -> ProcessPool:
    settings = load_settings()
    return ProcessPool(settings.processes, settings.threads)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise LabelError in this (main) thread after `seconds`; a waiting subprocess ends too."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise LabelError(
            "a label took too long", fix="raise labels.timeout_s if that is normal", limit_s=seconds
        )

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


# -- structures -------------------------------------------------------------------------------


@dataclass(kw_only=True)
class EnumerateMaker(Maker):
    """The distinct orderings of a system's parent or, with x, the ground state's decorations."""

    name: str = "enumerate"
    campaign: Campaign
    system: str
    x: float | None = None

    @_static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Enumeration."""
        del after  # order only
        store = open_store()
        key = enumeration_key(store, self.campaign, self.system, self.x)
        store.once(schemas.Enumeration, key, lambda: self._compute(store, key), self.name)
        return Produced(kind=schemas.Enumeration.kind, keys=(key,))

    def _compute(self, store: ResultStore, key: str) -> schemas.Enumeration:
        result, parent = list_members(store, self.campaign, self.system, self.x)
        document, members = result.document(key=key, parent=parent)
        store.blobs.put(members, document.members.media_type)
        return document


def list_members(
    store: ResultStore, campaign: Campaign, system: str, x: float | None
) -> tuple[enumeration.EnumerationResult, str]:
    """A system's orderings, or its decorations at x, and the key of what they derive from."""
    config = next(one for one in campaign.systems if one.name == system)
    if x is None:
        crystal = load_crystal(store, config.parent)
        return enumeration.enumerate_orderings(crystal, config.enumeration), config.parent
    ranking = store.load(schemas.Ranking, ranking_key(store, campaign, system))
    ground_state = store.load(schemas.Structure, ranking.ground_state)
    decoration = next(one for one in config.decorations if one.x == x)
    return enumeration.enumerate_decorations(ground_state, decoration), ground_state.key


@dataclass(kw_only=True)
class RankMaker(Maker):
    """Relax every candidate of a system by the two-stage funnel and rank them."""

    name: str = "rank"
    campaign: Campaign
    system: str
    x: float | None = None

    @_static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Ranking."""
        del after  # order only
        store = open_store()
        key = ranking_key(store, self.campaign, self.system, self.x)
        store.once(schemas.Ranking, key, lambda: self._compute(store, key), self.name)
        return Produced(kind=schemas.Ranking.kind, keys=(key,))

    def _compute(self, store: ResultStore, key: str) -> schemas.Ranking:
        config = self.campaign.ranking
        enumeration_ = enumeration_key(store, self.campaign, self.system, self.x)
        orderings = self._orderings(store, enumeration_)
        work = functools.partial(_relax_candidate, load_settings().store, config, self.name)
        coarse = list(_pool().map_ordered(work, orderings))
        work_fine = functools.partial(_refine_candidate, load_settings().store, config, self.name)
        chosen = relaxation.candidates_for_fine(coarse, config)
        fine = list(_pool().map_ordered(work_fine, chosen))
        last = {candidate.ordering: candidate for candidate in (*coarse, *fine)}
        relaxations = {
            ordering: relaxation.relaxation_key(
                one.relaxed.start.key, config.model, relaxation.stage_config(config, one.stage)
            )
            for ordering, one in last.items()
        }
        ranked = relaxation.rank_candidates(coarse, fine, config, relaxations)
        table = [row.model_dump(mode="json") for row in ranked.table]
        return schemas.Ranking(
            key=key,
            parents=(
                enumeration_,
                config.model,
                *(row.relaxation for row in ranked.best),
            ),
            system=self.system if self.x is None else decorated_name(self.system, self.x),
            enumeration=enumeration_,
            model=config.model,
            n_candidates=len(coarse),
            n_not_converged=ranked.n_not_converged,
            best=ranked.best,
            table=store.blobs.put_json(table),
            ground_state=ranked.ground_state,
            ground_state_note=ranked.note,
        )

    def _orderings(self, store: ResultStore, key: str) -> list[schemas.Ordering]:
        """Every member as a document beside its structure."""
        result, parent = list_members(store, self.campaign, self.system, self.x)
        orderings = []
        for index, member in enumerate(result.members):
            structure = result.structure(index)
            ordering = schemas.Ordering(
                key=make_key(schemas.Ordering, enumeration=key, mask=member.mask),
                parents=(key, parent),
                products=(structure.key,),
                enumeration=key,
                index=index,
                mask=member.mask,
                multiplicity=member.multiplicity,
                structure=structure.key,
            )
            store.insert_all([structure, ordering])
            orderings.append(ordering)
        return orderings


def _relax_candidate(
    folder: Path, config: RankingConfig, job_name: str, ordering: schemas.Ordering
) -> relaxation.Candidate:
    """The coarse stage of one candidate, each relaxation looked up first."""
    store = _open_store(folder)
    relax = functools.partial(_relax_once, store, config, job_name)
    refined = relax("refined cell", store.load(schemas.Structure, ordering.structure))
    relaxed = relax("coarse", refined.structure)
    return relaxation.Candidate(ordering.key, refined, relaxed, "coarse")


def _refine_candidate(
    folder: Path, config: RankingConfig, job_name: str, candidate: relaxation.Candidate
) -> relaxation.Candidate:
    """The fine stage of one candidate, looked up first."""
    start = candidate.relaxed.structure
    relaxed = _relax_once(_open_store(folder), config, job_name, "fine", start)
    return replace(candidate, relaxed=relaxed, stage="fine")


def _relax_once(
    store: ResultStore,
    config: RankingConfig,
    job_name: str,
    stage: Literal["refined cell", "coarse", "fine"],
    start: schemas.Structure,
) -> relaxation.Relaxed:
    stage_config = relaxation.stage_config(config, stage)
    key = relaxation.relaxation_key(start.key, config.model, stage_config)

    def compute() -> schemas.Relaxation:
        potential = open_potential(store, config.model)
        relaxed = relaxation.relax(start, potential, stage_config)
        store.insert(relaxed.structure)
        return relaxed.document(config.model, stage_config)

    found = store.once(schemas.Relaxation, key, compute, job_name)
    return relaxation.Relaxed.from_document(
        found, start, store.load(schemas.Structure, found.final_structure)
    )


# -- molecular dynamics ----------------------------------------------------------------------


@dataclass(kw_only=True)
class MDMaker(Maker):
    """A batch of runs, each looked up first, side by side on this machine's processes."""

    name: str = "md"
    runs: tuple[RunConfig, ...]

    @_static_job
    def make(self, after: object = None) -> Produced:
        """The keys of the runs."""
        del after  # order only
        keys = run_md(self.runs, self.name)
        return Produced(kind=schemas.Run.kind, keys=keys)


def run_md(runs: Sequence[RunConfig], job_name: str = "") -> tuple[str, ...]:
    """Look up or compute every run; each segment is stored when it is reached."""
    store = open_store()
    missing = [run for run in runs if store.find(schemas.Run, run_key(run)) is None]
    work = functools.partial(_run_one, load_settings().store, job_name)
    for _ in _pool().map_ordered(work, missing):
        pass
    return tuple(run_key(run) for run in runs)


def _run_one(folder: Path, job_name: str, run: RunConfig) -> str:
    store = _open_store(folder)
    key = run_key(run)
    store.once(schemas.Run, key, lambda: _compute_run(store, key, run, job_name), job_name)
    return key


def _start_structure(store: ResultStore, run: RunConfig) -> schemas.Structure:
    """The structure that a run starts from, strained and repeated.

    An NpT run that left physics has no average cell: its own start stands in.
    """
    start = store.find_document(run.start)
    if isinstance(start, schemas.Run):
        key = start.average_structure or start.start_structure
    else:
        key = run.start
    given = store.load(schemas.Structure, key)
    return md.prepare_start(given, strain=run.strain, repeat=run.repeat)


def _segment(
    store: ResultStore,
    run: RunConfig,
    before: Sequence[schemas.Segment],
    begin: Callable[[], md.Checkpoint],
    job_name: str,
) -> schemas.Segment:
    """The segment after those `before`: found, or computed from the last checkpoint."""
    first_step = before[-1].last_step if before else 0
    last_step = min(first_step + run.protocol.segment_steps, run.steps)
    identity = digest(run.identity())
    key = make_key(schemas.Segment, run=run.identity(), index=len(before), last_step=last_step)

    def compute() -> schemas.Segment:
        result = md.run_segment(begin(), open_potential(store, run.model), run.protocol, last_step)
        return schemas.Segment(
            key=key,
            parents=(before[-1].key if before else run.start, run.model),
            run_identity=identity,
            index=result.index,
            first_step=result.first_step,
            last_step=result.last_step,
            n_frames=result.n_frames,
            trajectory=store.blobs.put(result.trajectory, TRAJECTORY_MEDIA_TYPE),
            checkpoint=store.blobs.put(result.checkpoint, md.CHECKPOINT_MEDIA_TYPE),
            thermodynamics=result.thermodynamics,
            health=result.health,
        )

    return store.once(schemas.Segment, key, compute, job_name)


def _compute_run(store: ResultStore, key: str, run: RunConfig, job_name: str) -> schemas.Run:
    start = _start_structure(store, run)
    segments: list[schemas.Segment] = []

    def begin() -> md.Checkpoint:
        if segments:
            return md.Checkpoint.from_bytes(store.blobs.read(segments[-1].checkpoint))
        return md.start_run(start, open_potential(store, run.model), run.protocol, run.seed)

    while not segments or (segments[-1].last_step < run.steps and segments[-1].health.healthy):
        segments.append(_segment(store, run, segments, begin, job_name))
    summary = summarise_run(
        [store.blobs.read(segment.trajectory) for segment in segments],
        run.protocol,
        n_steps=run.steps,
        health=segments[-1].health,
    )
    average = summary.average_structure
    store.insert_all([start] + ([average] if average else []))
    return schemas.Run(
        key=key,
        parents=(run.start, run.model, *(segment.key for segment in segments)),
        products=(start.key,) + ((average.key,) if average else ()),
        name=run.name,
        start=run.start,
        start_structure=start.key,
        model=run.model,
        ensemble=run.protocol.ensemble,
        temperature_k=run.protocol.temperature_k,
        pressure_bar=run.protocol.pressure_bar,
        n_steps=summary.n_steps,
        time_step_fs=run.protocol.time_step_fs,
        segments=tuple(segment.key for segment in segments),
        means=summary.means,
        average_lattice_ang=average.lattice_ang if average else None,
        average_volume_ang3_per_atom=summary.average_volume_ang3_per_atom,
        average_structure=average.key if average else None,
        equilibrated=summary.equilibrated,
        health=summary.health,
    )


def trajectory_of(store: ResultStore, run: schemas.Run) -> Trajectory:
    """All frames of a run."""
    segments = [store.load(schemas.Segment, key) for key in run.segments]
    return join([read_trajectory(store.blobs.read(segment.trajectory)) for segment in segments])


# -- frames and labels -----------------------------------------------------------------------


@dataclass(kw_only=True)
class SelectMaker(Maker):
    """Choose the frames of a stage that are worth a label."""

    name: str = "select"
    plan: StagePlan

    @_static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Frames."""
        del after  # order only
        store = open_store()
        frames = store.once(
            schemas.Frames,
            self.plan.frames_key,
            lambda: _compute_frames(store, self.plan),
            self.name,
        )
        return Produced(kind=frames.kind, keys=(frames.key,))


def _compute_frames(store: ResultStore, plan: StagePlan) -> schemas.Frames:
    chosen: list[schemas.Frame] = []
    for system in plan.starts:
        chosen += _choose(store, plan, system, test=False)
        chosen += _choose(store, plan, system, test=True)
    runs = sorted({frame.run for frame in chosen})
    return schemas.Frames(
        key=plan.frames_key,
        parents=tuple(runs),
        products=tuple(frame.structure for frame in chosen),
        runs=tuple(runs),
        frames=tuple(chosen),
    )


def _choose(store: ResultStore, plan: StagePlan, system: str, *, test: bool) -> list[schemas.Frame]:
    """The frames of one system for training and validation, or for testing."""
    candidates = _candidates(store, plan, system, test=test)
    config = plan.campaign.learning.selection
    if test:
        config = config.model_copy(update={"n_frames": plan.n_test_frames})
    if not candidates or not config.n_frames:
        return []
    picks = sampling.select_frames(candidates, config, _labelled(store, plan))
    store.insert_all([pick.structure for pick in picks])
    fraction = plan.campaign.learning.training.validation_fraction
    blocks = sampling.assign_blocks(picks, candidates, fraction)
    return [
        schemas.Frame(
            run=pick.run,
            step=pick.step,
            structure=pick.structure.key,
            system=system,
            block="test" if test else block,
            rule=pick.rule,
            distance_ang=pick.distance_ang,
        )
        for pick, block in zip(picks, blocks, strict=True)
    ]


def _candidates(
    store: ResultStore, plan: StagePlan, system: str, *, test: bool
) -> list[sampling.Candidates]:
    """Production frames of the system's runs; of NpT runs only those that left physics."""
    configs = plan.test_runs() if test else (*plan.npt_runs(), *plan.nvt_runs())
    candidates = []
    for config in (config for config in configs if config.system == system):
        run = store.load(schemas.Run, run_key(config))
        if run.ensemble == "npt" and run.health.healthy:
            continue
        trajectory = trajectory_of(store, run)
        first_step = md.production_start(config.protocol)
        if trajectory.n_frames and trajectory.steps[-1] > first_step:
            candidates.append(sampling.Candidates(run.key, trajectory, first_step, run.n_steps))
    return candidates


def _labelled(store: ResultStore, plan: StagePlan) -> list[schemas.Structure]:
    """Structures of all frames that earlier stages chose to train on."""
    return [
        store.load(schemas.Structure, frame.structure)
        for key in plan.earlier_frames
        for frame in store.load(schemas.Frames, key).frames
        if frame.block != "test"
    ]


def try_label(store: ResultStore, plan: StagePlan, structure: str, key: str) -> str:
    """One try at a label; empty when it worked, else why not. Never raises for a label."""
    config = plan.campaign.labels
    labeler = open_labeler(store, config)
    if labeler.theory != plan.theory:
        raise LycbError(
            "the labeler is not at the campaign's level of theory",
            fix="run the campaign from the start; labels of one theory are kept",
            campaign=plan.theory.name,
            found=labeler.theory.name,
        )

    def compute() -> schemas.Label:
        with _time_limit(config.timeout_s):
            return labeler.label(store.load(schemas.Structure, structure))

    try:
        store.once(schemas.Label, key, compute, f"label {plan.title}")
    except StoreError:
        raise  # this machine's fault, not the label's
    except LycbError as err:
        return str(err)
    return ""


def open_labeler(store: ResultStore, config: LabelConfig) -> Labeler:
    """The labeler of a campaign whose models are keys."""
    model = store.load(schemas.Model, config.labeler.model)
    return teacher.Teacher(model, open_potential(store, model.key))


# -- training and evaluation --------------------------------------------------------------


@dataclass(kw_only=True)
class TrainMaker(Maker):
    """Fine-tune on the stage's dataset."""

    name: str = "train"
    plan: StagePlan

    @_static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Model."""
        del after  # order only
        store = open_store()
        key = self.plan.model_key
        store.once(schemas.Model, key, lambda: _train(store, self.plan), self.name)
        return Produced(kind=schemas.Model.kind, keys=(key,))


def _train(store: ResultStore, plan: StagePlan) -> schemas.Model:
    dataset = store.load(schemas.Dataset, plan.dataset_key)
    used = (*dataset.training_labels, *dataset.validation_labels)
    rounds.refuse_overlap(store, used, dataset.test_sets)
    parent = store.load(schemas.Model, plan.parent_model)
    trained = training.fine_tune(
        open_potential(store, parent.key),
        labelled(store, dataset.training_labels),
        labelled(store, dataset.validation_labels),
        plan.campaign.learning.training,
        raw_pbe=plan.theory.raw_pbe,
    )
    return schemas.Model(
        key=plan.model_key,
        parents=(dataset.key, parent.key),
        name=f"{parent.architecture} {plan.title}",
        architecture=parent.architecture,
        architecture_args=parent.architecture_args,
        weights=store.blobs.put(trained.weights, WEIGHTS_MEDIA_TYPE),
        source="fine-tuned",
        dataset=dataset.key,
        parent_model=parent.key,
        reference_shift_ev=trained.reference_shift_ev,
        best_epoch=trained.best_epoch,
        history=trained.history,
    )


def labelled(store: ResultStore, keys: Sequence[str]) -> list[LabelledStructure]:
    """Labels with their structures, as training and evaluation take them."""
    found = []
    for key in keys:
        label = store.load(schemas.Label, key)
        frames = rounds.frames_of(store, label.structure)
        found.append(
            LabelledStructure(
                structure=store.load(schemas.Structure, label.structure),
                energy_ev=label.energy_ev,
                forces_ev_per_ang=np.array(label.forces_ev_per_ang),
                stress_gpa=np.array(label.stress_gpa),
                key=label.key,
                system=frames[0].system if frames else "",
            )
        )
    return found


@dataclass(kw_only=True)
class EvaluateMaker(Maker):
    """A model on the frozen test sets, before or after the stage's training."""

    name: str = "evaluate"
    plan: StagePlan
    when: Literal["before", "after"]

    @_static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Evaluation."""
        del after  # order only
        store = open_store()
        dataset = store.load(schemas.Dataset, self.plan.dataset_key)
        model = self.plan.model if self.when == "before" else self.plan.model_key
        document = evaluate_once(store, model, dataset.test_sets, self.name)
        return Produced(kind=document.kind, keys=(document.key,))


def evaluate_once(
    store: ResultStore, model: str, test_sets: Sequence[str], job_name: str
) -> schemas.Evaluation:
    """The Evaluation of a model on test sets, looked up first."""
    key = evaluation_key(model, test_sets)
    return store.once(
        schemas.Evaluation, key, lambda: _evaluate(store, model, sorted(test_sets)), job_name
    )


def _evaluate(store: ResultStore, model: str, test_sets: Sequence[str]) -> schemas.Evaluation:
    seen = rounds.training_labels_of(store, store.load(schemas.Model, model))
    rounds.refuse_overlap(store, sorted(seen), test_sets)
    tests = [store.load(schemas.TestSet, key) for key in test_sets]
    keys = sorted({label for test in tests for label in test.labels})
    result = evaluation.evaluate(open_potential(store, model), labelled(store, keys))
    return schemas.Evaluation(
        key=evaluation_key(model, test_sets),
        parents=(model, *test_sets),
        model=model,
        test_sets=tuple(test_sets),
        overall=result.overall,
        by_system=result.by_system,
        predictions=store.blobs.put_json(result.predictions),
    )


def round_of(store: ResultStore, plan: StagePlan, job_name: str) -> schemas.Round:
    """The Round document of a finished stage."""
    decision = plan.campaign.decide(plan.index)
    dataset = store.load(schemas.Dataset, plan.dataset_key)
    model, key = plan.model_key, plan.round_key
    runs = (*plan.npt_runs(), *plan.nvt_runs(), *plan.test_runs())
    document = schemas.Round(
        key=key,
        parents=(*plan.earlier_rounds[-1:], dataset.key, model),
        index=plan.index,
        temperature_k=plan.temperature_k,
        start_model=plan.model,
        runs=tuple(run_key(run) for run in runs),
        frames=plan.frames_key,
        dataset=dataset.key,
        model=model,
        evaluation_before=evaluation_key(plan.model, dataset.test_sets),
        evaluation_after=evaluation_key(model, dataset.test_sets),
        next_temperature_k=decision.next_temperature_k,
        decision_reason=decision.reason,
    )
    return store.once(schemas.Round, key, lambda: document, job_name)


def evaluate_all(
    store: ResultStore, all_rounds: Sequence[schemas.Round], job_name: str
) -> dict[str, schemas.Evaluation]:
    """Every round's model on the last round's test sets, which hold all earlier ones."""
    test_sets = store.load(schemas.Dataset, all_rounds[-1].dataset).test_sets
    models = [one.model for one in all_rounds]
    return {model: evaluate_once(store, model, test_sets, job_name) for model in models}


# -- measurement -----------------------------------------------------------------------------


@dataclass(kw_only=True)
class TransportMaker(Maker):
    """D and conductivity from one production run."""

    name: str = "transport"
    plan: MeasurementPlan
    system: str
    pressure_bar: float
    temperature_k: float

    @_static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Transport."""
        del after  # order only
        store = open_store()
        key = self.plan.transport_key(self.system, self.pressure_bar, self.temperature_k)
        store.once(schemas.Transport, key, lambda: self._compute(store, key), self.name)
        return Produced(kind=schemas.Transport.kind, keys=(key,))

    def _compute(self, store: ResultStore, key: str) -> schemas.Transport:
        config = self.plan.nvt_run(self.system, self.pressure_bar, self.temperature_k)
        run = store.load(schemas.Run, run_key(config))
        diffusion_config = self.plan.campaign.measurement.diffusion
        trajectory = trajectory_of(store, run)
        result = diffusion.analyse_diffusion(
            trajectory.unwrapped_ang(),
            frame_interval_ps=config.protocol.sample_interval_steps * run.time_step_fs / PS_FS,
            mobile_mask=np.array(trajectory.species) == diffusion_config.mobile_species,
            lattice_ang=trajectory.cells_ang[0],
            temperature_k=self.temperature_k,
            config=diffusion_config,
        )
        return schemas.Transport(
            key=key,
            parents=(run.key,),
            run=run.key,
            model=run.model,
            system=self.system,
            temperature_k=self.temperature_k,
            pressure_bar=self.pressure_bar,
            mobile_species=diffusion_config.mobile_species,
            healthy=run.health.healthy,
            **vars(result),
        )


@dataclass(kw_only=True)
class ArrheniusMaker(Maker):
    """Barrier, prefactor and extrapolated conductivity of one system at one pressure."""

    name: str = "arrhenius"
    plan: MeasurementPlan
    system: str
    pressure_bar: float

    @_static_job
    def make(self, after: object = None) -> Produced:
        """The key of the Arrhenius document."""
        del after  # order only
        store = open_store()
        key = self.plan.arrhenius_key(self.system, self.pressure_bar)
        store.once(schemas.Arrhenius, key, lambda: self._compute(store, key), self.name)
        return Produced(kind=schemas.Arrhenius.kind, keys=(key,))

    def _compute(self, store: ResultStore, key: str) -> schemas.Arrhenius:
        transports = [
            store.load(
                schemas.Transport,
                self.plan.transport_key(self.system, self.pressure_bar, temperature_k),
            )
            for temperature_k in self.plan.temperatures_k
        ]
        config = self.plan.campaign.measurement
        fit = arrhenius.fit_arrhenius(
            [arrhenius.ArrheniusPoint(one.temperature_k, one.estimate) for one in transports],
            config.extrapolation_temperature_k,
            _mobile_density_per_ang3(transports, config.extrapolation_temperature_k),
            config.diffusion.charge_number,
        )
        return schemas.Arrhenius(
            key=key,
            parents=tuple(one.key for one in transports),
            system=self.system,
            pressure_bar=self.pressure_bar,
            model=transports[0].model,
            transports=tuple(one.key for one in transports),
            **vars(fit),
        )


def _mobile_density_per_ang3(
    transports: Sequence[schemas.Transport], temperature_k: float
) -> float:
    """Mobile ions per Å^3 at a temperature: of the coldest cell, or by a line through all.

    The line (thermal expansion) needs three temperatures.
    """
    temperatures = [one.temperature_k for one in transports]
    volumes = [one.volume_ang3_per_atom * one.n_atoms / one.n_mobile for one in transports]
    if len(set(temperatures)) < arrhenius.MIN_POINTS:
        return 1 / volumes[int(np.argmin(temperatures))]
    return 1 / float(np.polyval(np.polyfit(temperatures, volumes, 1), temperature_k))
