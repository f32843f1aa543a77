"""Jobs that run molecular dynamics. Each run and each segment is looked up first."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from jobflow import Job, Maker

from lycb_flows.config import MDConfig, RunConfig
from lycb_flows.errors import GivenBackError, InputError
from lycb_flows.jobs.given import (
    GivenStructure,
    PortableStructure,
    portable_model,
    portable_structure,
    stored_model,
    stored_structure,
)
from lycb_flows.jobs.resources import (
    open_graded,
    open_store,
    open_store_at,
    process_pool,
    static_job,
)
from lycb_flows.machine import WALLTIME, Stage, count_pieces, load_settings
from lycb_flows.md import (
    CHECKPOINT_MEDIA_TYPE,
    MEDIA_TYPE as TRAJECTORY_MEDIA_TYPE,
    Checkpoint,
    RunAhead,
    SegmentResult,
    Snapshot,
    prepare_start,
    production_start,
    run_batch,
    start_run,
    summarise_run,
)
from lycb_flows.potentials.evaluator import HasEvaluator
from lycb_flows.schemas import Produced, Run, Segment, Structure, digest
from lycb_flows.store import ResultStore

_LOGGER = logging.getLogger(__name__)
Keeper: TypeAlias = Generator[RunAhead, SegmentResult, None]
"""Yields what is left of a run, then receives its segments one by one and stores them."""


@dataclass(kw_only=True)
class MDMaker(Maker):
    """Molecular dynamics of a structure, or a batch of a campaign's runs.

    Each run is looked up first; those that are missing run side by side on this machine's
    processes. The fields describe the run of a structure; a campaign's runs have their own.

    Attributes
    ----------
    temperature_k
        Target temperature.
    duration_ps
        Length after ramp and equilibration.
    pressure_bar
        NpT at this pressure; None keeps the cell fixed.
    config
        Settings of the protocol, such as time step, thermostat and ramp.
    seed
        Seed of the velocities.
    """

    name: str = "md"
    temperature_k: float = 600.0
    duration_ps: float = 10.0
    pressure_bar: float | None = None
    config: MDConfig = field(default_factory=MDConfig)
    seed: int = 0

    def make(
        self,
        structure: GivenStructure | None = None,
        model: str | Path = "chgnet-0.3.0",
        runs: Sequence[RunConfig] = (),
        after: object = None,
    ) -> Job:
        """Return the job that hands on the keys of the runs.

        Parameters
        ----------
        structure
            Where the run starts: an ordered crystal, or a key.
        model
            The name, file or key of the potential.
        runs
            Runs that are described in full, instead of a structure.
        after
            References to jobs that must end first; their outputs are not used.

        Raises
        ------
        InputError
            When there is neither a structure nor a run.
        """
        if runs:
            return self.run(runs=list(runs), after=after)
        if structure is None:
            raise InputError("nothing to simulate", fix="give a structure, or runs")
        return self.run(
            structure=portable_structure(structure), model=portable_model(model), after=after
        )

    @static_job
    def run(
        self,
        runs: Sequence[RunConfig] = (),
        structure: PortableStructure = "",
        model: str = "",
        after: object = None,
    ) -> Produced:
        """Return the keys of the runs, which are found or computed now."""
        del after
        runs = runs or [self._run_of(open_store(), structure, model)]
        keys = compute_runs(runs, self.name)
        return Produced(kind=Run.kind, keys=keys)

    def _run_of(self, store: ResultStore, structure: PortableStructure, model: str) -> RunConfig:
        protocol = (
            self.config.nvt(self.temperature_k, ramp=True)
            if self.pressure_bar is None
            else self.config.npt(self.temperature_k, self.pressure_bar)
        )
        return RunConfig(
            name=self.name,
            system=self.name,
            start=stored_structure(store, structure),
            model=stored_model(store, model),
            protocol=protocol,
            seed=self.seed,
            steps=production_start(protocol) + self.config.steps(self.duration_ps),
        )


def compute_runs(runs: Sequence[RunConfig], job_name: str = "") -> tuple[str, ...]:
    """Look up or compute every run, and return their keys; segments are stored when reached.

    On a CPU each process takes one run at a time, so that no result depends on what else was
    to do; on another device one process takes all runs of a model side by side.

    Raises
    ------
    GivenBackError
        When the walltime ends, or another worker has claimed a run; segments are kept.
    """
    store, settings = open_store(), load_settings()
    missing = [run for run in runs if store.find(Run, Run.key_of(run)) is None]
    batches = [[run] for run in missing]
    if settings.device != "cpu":
        models = dict.fromkeys(run.model for run in missing)
        batches = [[run for run in missing if run.model == model] for model in models]
    work = functools.partial(_run_batch, store.address, job_name)
    n_left = sum(run.steps - _n_stored_steps(store, run) for run in missing)
    what = missing[0].name if len(missing) == 1 else f"{len(missing)} runs"
    stage = Stage(_LOGGER.info, f"steps of {what}", n_left)
    done = process_pool().map_ordered(work, batches, reached=stage.reach)
    claimed = [key for keys in done for key in keys]
    if claimed:
        raise GivenBackError("another worker computes these runs now", keys=claimed)
    return tuple(Run.key_of(run) for run in runs)


def _run_batch(address: str, job_name: str, runs: Sequence[RunConfig]) -> list[str]:
    """Compute runs of one model side by side.

    Returns
    -------
    list of str
        Keys of the runs that were left out because another worker has claimed them.
    """
    store = open_store_at(address)
    potential = open_graded(store, runs[0].model)
    keeping = _Keeping(store, potential, job_name)
    ahead = keeping.ahead(runs)
    device = str(potential.device)
    watch = keeping.count
    results = run_batch(ahead, potential, batch_size=len(runs), device=device, watch=watch)
    try:
        for place, result in results:
            keeping.keep(place, result)
    except BaseException as err:
        keeping.end(err)
        raise
    return keeping.claimed


class _Keeping:
    """The part of a batch that stores its results.

    Each run that is not complete has a generator, made by `_keep_run`, which receives its segments
    and stores them. The generators are in the order in which the runs joined the batch.
    """

    def __init__(self, store: ResultStore, potential: HasEvaluator, job_name: str) -> None:
        self.store, self.potential, self.job_name = store, potential, job_name
        self.claimed: list[str] = []
        self._keepers: list[Keeper] = []
        self._since: list[float] = []
        self._counted: list[int] = []

    def ahead(self, runs: Sequence[RunConfig]) -> Iterator[RunAhead]:
        """Yield what is left of each run; runs that are claimed or complete are left out."""
        for run in runs:
            WALLTIME.leave_if_over(next_s=0.0)
            keeper = _keep_run(self.store, run, self.potential, self.job_name)
            try:
                run_ahead = next(keeper, None)
            except GivenBackError:
                self.claimed.append(Run.key_of(run))
                continue
            if run_ahead is not None:
                self._keepers.append(keeper)
                self._since.append(time.monotonic())
                self._counted.append(run_ahead.here.step)
                yield run_ahead

    def count(self, place: int, frame: Snapshot) -> None:
        """Count the steps up to a frame as done."""
        count_pieces(frame.steps - self._counted[place])
        self._counted[place] = frame.steps

    def keep(self, place: int, result: SegmentResult) -> None:
        """Store a segment, and give the job back if the next one would pass the deadline."""
        segment_s = time.monotonic() - self._since[place]
        self._since[place] = time.monotonic()
        with contextlib.suppress(StopIteration):
            self._keepers[place].send(result)
            WALLTIME.leave_if_over(next_s=segment_s)

    def end(self, err: BaseException) -> None:
        """End the attempts of all runs with the exception that ended the batch."""
        for keeper in self._keepers:
            with contextlib.suppress(type(err), StopIteration):
                keeper.throw(err)


def _keep_run(store: ResultStore, run: RunConfig, potential: HasEvaluator, job_name: str) -> Keeper:
    """Yield what is left of a run, receive its segments, and store each of them and the run."""
    key, start = Run.key_of(run), _start_structure(store, run)
    with store.claim(key), store.attempt(Run, key, job_name) as made:
        segments = _stored_segments(store, run)
        if not _is_complete(run, segments):
            if segments:
                here = Checkpoint.from_bytes(store.blobs.read(segments[-1].checkpoint))
            else:
                here = start_run(start, potential, run.protocol, run.seed)
            ahead = RunAhead(here, run.protocol, run.steps)
            while not _is_complete(run, segments):
                segment_key = Segment.key_of(run, segments)
                with store.attempt(Segment, segment_key, job_name) as segment_made:
                    document = _segment(store, run, segments, (yield ahead))
                    document = document.model_copy(update={"made": segment_made()})
                    store.insert(document, segment_made.attempt)
                segments.append(document)
        summary = _summarise(store, run, start, segments)
        store.insert(summary.model_copy(update={"made": made()}), made.attempt)


def _start_structure(store: ResultStore, run: RunConfig) -> Structure:
    """Return the structure that a run starts from, strained and repeated.

    A run may start from the average cell of another run. Where that run has none, because it left
    physics, the structure that it started from is taken instead.
    """
    start = store.find_document(run.start)
    key = run.start
    if isinstance(start, Run):
        key = start.average_structure or start.start_structure
    given = store.load(Structure, key)
    return prepare_start(given, strain=run.strain, repeat=run.repeat)


def _stored_segments(store: ResultStore, run: RunConfig) -> list[Segment]:
    """Return the stored segments of a run, up to the first that is missing."""
    segments: list[Segment] = []
    while not _is_complete(run, segments):
        found = store.find(Segment, Segment.key_of(run, segments))
        if found is None:
            break
        segments.append(found)
    return segments


def _n_stored_steps(store: ResultStore, run: RunConfig) -> int:
    segments = _stored_segments(store, run)
    return segments[-1].last_step if segments else 0


def _is_complete(run: RunConfig, segments: Sequence[Segment]) -> bool:
    if not segments:
        return False
    return segments[-1].last_step >= run.steps or not segments[-1].health.healthy


def _segment(
    store: ResultStore,
    run: RunConfig,
    before: Sequence[Segment],
    result: SegmentResult,
) -> Segment:
    return Segment(
        key=Segment.key_of(run, before),
        parents=(before[-1].key if before else run.start, run.model),
        run_identity=digest(run.identity()),
        index=result.index,
        first_step=result.first_step,
        last_step=result.last_step,
        n_frames=result.n_frames,
        trajectory=store.blobs.put(result.trajectory, TRAJECTORY_MEDIA_TYPE),
        checkpoint=store.blobs.put(result.checkpoint, CHECKPOINT_MEDIA_TYPE),
        thermodynamics=result.thermodynamics,
        health=result.health,
        largest_grade=result.largest_grade,
    )


def _summarise(
    store: ResultStore,
    run: RunConfig,
    start: Structure,
    segments: Sequence[Segment],
) -> Run:
    summary = summarise_run(
        [store.blobs.read(segment.trajectory) for segment in segments],
        run.protocol,
        n_steps=run.steps,
        health=segments[-1].health,
    )
    average = summary.average_structure
    grades = [segment.largest_grade for segment in segments if segment.largest_grade is not None]
    store.insert_all([start] + ([average] if average else []))
    return Run(
        key=Run.key_of(run),
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
        largest_grade=max(grades, default=None),
    )
