"""Jobs that run molecular dynamics: each run and each segment looked up first."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobflow import Maker

from lycb_flows import (
    schemas,
)
from lycb_flows.config import RunConfig
from lycb_flows.jobs.machine import (
    open_potential,
    open_store,
    open_store_at,
    process_pool,
    static_job,
)
from lycb_flows.keys import digest, make_key
from lycb_flows.md import protocol as md
from lycb_flows.md.summary import summarise_run
from lycb_flows.md.trajectory import MEDIA_TYPE as TRAJECTORY_MEDIA_TYPE
from lycb_flows.md.trajectory import Trajectory, join, read_trajectory
from lycb_flows.schemas import Produced
from lycb_flows.settings import load_settings
from lycb_flows.stages import run_key
from lycb_flows.store import ResultStore


@dataclass(kw_only=True)
class MDMaker(Maker):
    """A batch of runs, each looked up first, side by side on this machine's processes."""

    name: str = "md"
    runs: list[RunConfig]

    @static_job
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
    for _ in process_pool().map_ordered(work, missing):
        pass
    return tuple(run_key(run) for run in runs)


def _run_one(folder: Path, job_name: str, run: RunConfig) -> str:
    store = open_store_at(folder)
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
