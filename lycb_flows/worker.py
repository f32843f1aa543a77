"""A worker: takes the jobs of its categories, one after the other, until it is told to stop.

It loses nothing: a job that is interrupted goes back to the queue, a database that is away is
waited for, a full disk takes no job. SIGUSR1 asks it to go at the job's next restart point,
SIGTERM (and Ctrl-C) at once; neither can come between what belongs together in the database.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Self

import jobflow
import pymongo
from fireworks import Firework, FWAction, FWorker, fw_config
from fireworks.core import launchpad as launchpad_module
from fireworks.core import rocket
from fireworks.core.rocket_launcher import launch_rocket
from jobflow import JobStore
from maggma.core import Store
from maggma.stores import MemoryStore
from maggma.stores import MongoStore as OutputCollection
from pymongo.errors import PyMongoError

from lycb_flows.errors import InputError, StoreError
from lycb_flows.launchpad import ServiceLaunchPad, find_workers
from lycb_flows.launchpad.faults import FAULT, GIVEN_BACK, is_outage, machine_fault
from lycb_flows.launchpad.pad import DatabaseGoneError
from lycb_flows.launchpad.workers import LEFT, Registration, placed_here
from lycb_flows.settings import Settings, load_settings
from lycb_flows.shift import SHIFT
from lycb_flows.store import MONGODB_SCHEMES, open_store
from lycb_flows.store.mongodb import MongoStore
from lycb_flows.store.outages import survives_outages

OUTPUTS = "jobflow_outputs"
"""Collection of jobflow's own job outputs; nothing of ours reads it."""
ALIVE_PINGS = 3
"""A worker that was silent for so many heartbeats is not counted on."""
_LAST_MINUTE_S, _LAST_SHARE = 60.0, 0.05
_QUERY_TIMEOUT_S = 5.0
_AWAY = "no database"
_FIRST_NAP_S, _SLICE_S = 0.1, 0.2
_AVOID_S, _AVOID_LONGEST_S = 30.0, 600.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker takes, and when it goes.

    Attributes
    ----------
    categories
        Of the jobs to take; empty: those of my_fworker.yaml.
    n_launches
        Jobs to run; 0: until none is left, None: for ever.
    max_idle_s
        How long to wait for a job, if not for ever.
    walltime_s
        When the queue will end it; by default what Slurm says, if anything.
    name
        Written into what it makes; by default host and process.
    device
        Torch device; empty: that of the settings.
    sleep_s
        Longest pause between two looks into the queue.
    avoid_s
        How long it leaves a job alone that it gave back; doubled every time.
    """

    categories: tuple[str, ...] = ()
    n_launches: int | None = None
    max_idle_s: float | None = None
    walltime_s: float | None = None
    name: str = ""
    device: str = ""
    sleep_s: float = 5.0
    avoid_s: float = _AVOID_S


@dataclass(frozen=True)
class WorkerReport:
    """What a worker did, and why it went."""

    name: str
    n_completed: int
    n_fizzled: int
    n_given_back: int
    reason: str


class Interrupted(SystemExit):
    """Raised in a job by SIGTERM or Ctrl-C; FireWorks keeps `to_dict` with the launch."""

    def to_dict(self) -> dict[str, str]:
        """Known again by `faults.why_unfinished`."""
        return {GIVEN_BACK: f"stopped by {self.code}"}


def run_worker(launchpad: ServiceLaunchPad, options: WorkerOptions, say: Say) -> WorkerReport:
    """Work until there is a reason to stop; in the main thread.

    Raises
    ------
    InputError
        When results or outputs would be lost: an embedded store, a MemoryStore.
    StoreError
        When the database stays away, or the disk stays full.
    """
    settings = load_settings()
    outputs = durable_outputs(settings)
    name = options.name or f"{socket.gethostname()}-{os.getpid()}"
    with (
        _environment(name, options, settings),
        _fireworks_settings(settings.ping_s),
        _job_store(outputs),
        warnings.catch_warnings(),
        StopSignals() as stop,
    ):
        # jobflow 0.4 uses monty's cd, which monty deprecates
        warnings.filterwarnings("ignore", "cd is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Some jobs are not connected", UserWarning)
        return Worker(launchpad, name, options, stop, say).run()


class StopSignals:
    """SIGUSR1, SIGTERM and SIGINT as wishes, and as an exception only inside a job.

    Attributes
    ----------
    asked
        The first signal's name; empty while none came.
    """

    def __init__(self) -> None:
        self.asked = ""
        self._in_job = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Listen."""
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_failure: object) -> None:
        """As before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run_job(self, run_task: Callable[[Any], FWAction], spec: Mapping[str, Any]) -> FWAction:
        """A firetask's `run_task`, where signals may strike; says whose fault a failure is."""
        if self.asked:
            raise Interrupted(self.asked)
        try:
            self._in_job = True
            return run_task(spec)
        except Exception as err:
            fault = machine_fault(err)
            if fault:
                err.to_dict = lambda: {FAULT: fault}  # type: ignore[attr-defined]  # for FireWorks
            raise
        finally:
            self._in_job = False

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.asked = self.asked or name
        SHIFT.stop_reason = SHIFT.stop_reason or f"stopped by {name}"
        if self._in_job and number != signal.SIGUSR1:
            self._in_job = False  # a second signal does not disturb what the first one ends
            raise Interrupted(name)


@dataclass
class _Current:
    """The job that runs."""

    fw_id: int
    launch_id: int
    name: str
    started: float


class Worker:
    """The loop of `run_worker`; a `Watcher` of its LaunchPad."""

    def __init__(
        self,
        launchpad: ServiceLaunchPad,
        name: str,
        options: WorkerOptions,
        stop: StopSignals,
        say: Say,
    ) -> None:
        self.launchpad, self.options, self.stop, self.say = launchpad, options, stop, say
        self.settings = load_settings()
        self.name = name
        self.fworker = _fworker(name, options)
        self.base_query = dict(self.fworker._query)  # noqa: SLF001 - FireWorks has no setter
        self.launches = _launch_folder(self.settings)
        self.home = Path.cwd()
        self.counts = dict.fromkeys(("COMPLETED", "FIZZLED", "READY", "ARCHIVED"), 0)
        self._current: _Current | None = None
        self._state, self._told_at, self._trouble = "idle", 0.0, ""
        self._avoided: dict[int, tuple[float, float]] = {}
        self._kept = False
        self._registration = Registration(
            launchpad,
            name=name,
            categories=_categories(self.fworker),
            device=self.settings.device,
        )

    def run(self) -> WorkerReport:
        """Until there is a reason to stop."""
        started = time.time()
        before, self.launchpad.watcher = self.launchpad.watcher, self
        SHIFT.gives_back, SHIFT.stop_reason = True, self.stop.asked
        SHIFT.deadline = _deadline(self.options, started)
        try:
            self._registration.tell()
            reason = self._work()
        finally:
            self.launchpad.watcher = before
            SHIFT.gives_back, SHIFT.deadline, SHIFT.stop_reason = False, None, ""
            if self._state != _AWAY:
                self._registration.tell(state=LEFT, fw_id=None, job="")
        self.say(f"{self.name}: {reason}; {self._summary()}")
        return WorkerReport(
            self.name,
            self.counts["COMPLETED"],
            self.counts["FIZZLED"],
            self.counts["READY"],
            reason,
        )

    # -- the loop ----------------------------------------------------------------------

    def _work(self) -> str:
        busy_at, nap_s = time.monotonic(), _FIRST_NAP_S
        while True:
            reason = self._why_stop(time.monotonic() - busy_at)
            if reason:
                return reason
            if self._run_one():
                busy_at, nap_s = time.monotonic(), _FIRST_NAP_S
                continue
            if self.options.n_launches == 0 and not self._trouble and self._none_left():
                return "no job is left"
            self._nap(nap_s)
            nap_s = min(2 * nap_s, self.options.sleep_s)

    def _why_stop(self, idle_s: float) -> str:
        """Why to take no further job; empty while there is no reason."""
        options = self.options
        if self.stop.asked:
            return f"stopped by {self.stop.asked}"
        if SHIFT.deadline is not None and time.time() > SHIFT.deadline - _margin(options):
            return "the walltime is nearly over"
        if options.n_launches and sum(self.counts.values()) >= options.n_launches:
            return "ran the jobs asked for"
        if options.max_idle_s is not None and idle_s > options.max_idle_s:
            if self._trouble:
                raise StoreError("the worker can take no job", reason=self._trouble)
            return f"idle for {idle_s:.0f} s"
        return ""

    def _run_one(self) -> bool:
        """Whether there was a job."""
        full = self._full_disk()
        if full:
            if self.options.n_launches == 0:
                raise StoreError("the worker can take no job", fix="free space", reason=full)
            self._in_trouble("full disk", full)
            return False
        try:
            with pymongo.timeout(_QUERY_TIMEOUT_S):
                ready = self.launchpad.run_exists(self._with_query())
            self._trouble = ""
            if ready:
                return self._launch()
        except DatabaseGoneError as err:
            raise StoreError(str(err), fix="start MongoDB; `lycb reap` recovers the job") from err
        except PyMongoError as err:
            if not is_outage(err):
                raise
            self._wait_for_database()
        if not self._trouble:
            self._tell_now_and_then(state="idle")
        return False

    def _launch(self) -> bool:
        """One job in a folder of its own."""
        stamp = time.strftime("%Y-%m-%d-%H%M%S-")
        folder = Path(tempfile.mkdtemp(prefix=stamp, dir=self.launches))
        errors = io.StringIO()
        self._kept = False
        os.chdir(folder)
        try:
            ran = launch_rocket(self.launchpad, self.fworker, strm_lvl="ERROR", err_file=errors)
        except Interrupted as wish:  # between two tasks, where FireWorks does not catch it
            ran = True
            self._interrupted(wish)
        finally:
            os.chdir(self.home)
            self._current = None
            if self._kept:
                (folder / "error.txt").write_text(errors.getvalue(), encoding="utf-8")
                self.say(f"  its folder: {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return bool(ran)

    def _interrupted(self, wish: Interrupted) -> None:
        job = self._current
        if job and self.launchpad.give_back(job.fw_id, job.launch_id, **wish.to_dict()):
            self.ended(job.launch_id, "READY", f"stopped by {wish.code}")

    def _with_query(self) -> FWorker:
        """Our FWorker, which asks for no job that we gave back just now."""
        now = time.monotonic()
        avoided = [fw_id for fw_id, (until, _) in self._avoided.items() if until > now]
        query = self.base_query
        if avoided:
            query = {"$and": [query, {"fw_id": {"$nin": avoided}}]} if query else {
                "fw_id": {"$nin": avoided}
            }  # fmt: skip
        self.fworker._query = dict(query)  # noqa: SLF001 - FireWorks has no setter
        return self.fworker

    def _none_left(self) -> bool:
        """Whether nothing runs that could add a job, and nothing waits that is ours or taken."""
        fireworks = self.launchpad.fireworks
        ours = FWorker(self.fworker.name, self.fworker.category, self.base_query)
        try:
            with pymongo.timeout(_QUERY_TIMEOUT_S):
                if fireworks.find_one({"state": {"$in": ["RUNNING", "RESERVED"]}}, {"_id": 1}):
                    return False
                if self.launchpad.run_exists(ours):
                    return False
                silent_s = ALIVE_PINGS * self.settings.ping_s
                ready = set(fireworks.distinct("spec._category", {"state": "READY"}))
                taken = {
                    category
                    for worker in find_workers(self.launchpad, silent_s=silent_s)
                    for category in worker.categories
                }
        except PyMongoError:
            return False
        return not ready & taken

    # -- troubles -------------------------------------------------------------------------

    def _full_disk(self) -> str:
        try:
            free_gb = shutil.disk_usage(self.launches).free / 1e9
        except OSError as err:
            return f"{self.launches}: {err.strerror}"
        if free_gb >= self.settings.min_free_gb:
            return ""
        limit = self.settings.min_free_gb
        return f"{free_gb:.1f} GB free in {self.launches}, {limit:g} GB wanted"

    def _wait_for_database(self) -> None:
        """Told once; ends the worker after `outage_s`."""
        if self._state != _AWAY:
            self._away_since = time.monotonic()
        self._in_trouble(_AWAY, "the LaunchPad's database is away")
        if time.monotonic() - self._away_since > self.settings.outage_s:
            raise StoreError(self._trouble, fix="start MongoDB, then the worker")

    def _in_trouble(self, state: str, trouble: str) -> None:
        if not self._trouble or self._state != state:
            self.say(f"{self.name} waits: {trouble}")
        self._trouble = trouble
        if state == _AWAY:
            self._state = state
        else:
            self._tell_now_and_then(state=state)

    def _nap(self, seconds: float) -> None:
        """Sleep in slices: a signal shall not wait for a long one."""
        until = time.monotonic() + seconds
        while not self.stop.asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))

    def _tell_now_and_then(self, *, state: str) -> None:
        old = time.monotonic() - self._told_at > self.settings.ping_s / 2
        if old or state != self._state:
            self._state, self._told_at = state, time.monotonic()
            self._registration.tell(state=state)

    def _summary(self) -> str:
        words = {
            "COMPLETED": "completed",
            "FIZZLED": "failed",
            "READY": "given back",
            "ARCHIVED": "too late",
        }
        said = [f"{n} {words[state]}" for state, n in self.counts.items() if n]
        return ", ".join(said) or "no job"

    # -- what the LaunchPad tells ------------------------------------------------------

    def took(self, firework: Firework, launch_id: int) -> None:
        """A job was checked out: signals may strike in its tasks, and only there."""
        self._current = _Current(firework.fw_id, launch_id, firework.name, time.monotonic())
        SHIFT.stop_reason = self.stop.asked
        for task in firework.tasks:
            task.run_task = functools.partial(self.stop.run_job, task.run_task)
        self._state, self._told_at = "running", time.monotonic()
        self._registration.tell(state="running", fw_id=firework.fw_id, job=firework.name)

    def pinged(self) -> None:
        """The heartbeat of a job is the worker's too."""
        if time.monotonic() - self._told_at > self.settings.ping_s / 2:
            self._told_at = time.monotonic()
            self._registration.tell()

    def lost(self, launch_id: int) -> None:
        """Our run was declared lost, or cancelled: stop at the next restart point."""
        if self._current and self._current.launch_id == launch_id:
            SHIFT.stop_reason = SHIFT.stop_reason or "the run was started elsewhere or cancelled"

    def ended(self, launch_id: int, state: str, reason: str) -> None:
        """Count and tell."""
        job = self._current
        if job is None or job.launch_id != launch_id:
            return
        self._current = None
        self._kept = state == "FIZZLED"
        self.counts[state] += 1
        words = {"READY": "given back", "ARCHIVED": "not used"}
        told = words.get(state, state.lower()) + (f": {reason}" if reason else "")
        self.say(f"{job.name} ({job.fw_id}): {told}, {time.monotonic() - job.started:.1f} s")

    def avoid(self, fw_id: int) -> None:
        """Leave a job alone for a while, longer every time."""
        _, waited_s = self._avoided.get(fw_id, (0.0, self.options.avoid_s / 2))
        wait_s = min(2 * waited_s, _AVOID_LONGEST_S)
        self._avoided[fw_id] = (time.monotonic() + wait_s, wait_s)


# -- jobflow's outputs ------------------------------------------------------------------------


class OutputStore(OutputCollection):
    """jobflow's outputs in the result store's database; waits for it."""

    outage_s: float

    @survives_outages
    def update(self, docs: Any, key: Any = None) -> None:  # noqa: ANN401 - maggma's signature
        """Write outputs; equal ones replace each other."""
        super().update(docs, key)


def durable_outputs(settings: Settings) -> JobStore | None:
    """Where jobflow shall keep outputs, or None where the user has configured a durable place.

    Raises
    ------
    InputError
        When results or outputs would exist in this process only.
    """
    if not settings.store.startswith(MONGODB_SCHEMES):
        raise InputError(
            "a worker cannot use an embedded store", fix="set LYCB_STORE to a mongodb:// address",
            store=settings.store,
        )  # fmt: skip
    configured = jobflow.SETTINGS.JOB_STORE
    more: dict[str, Store] = configured.additional_stores  # type: ignore[has-type]
    stores = [configured.docs_store, *more.values()]
    volatile = [store for store in stores if isinstance(store, MemoryStore)]
    if not volatile:
        return None
    if type(configured.docs_store) is not MemoryStore or len(volatile) > 1:
        raise InputError(
            "jobflow's JOB_STORE would lose outputs of several workers",
            fix="configure MongoStores, or nothing: the worker then uses its result store's",
            found=", ".join(sorted({type(store).__name__ for store in volatile})),
        )
    store = open_store(settings.store)
    if not isinstance(store, MongoStore):
        raise InputError("not a MongoDB store", store=store.label)
    collection = store.database[OUTPUTS]
    collection.create_index([("uuid", pymongo.ASCENDING), ("index", pymongo.ASCENDING)])
    outputs: OutputStore = OutputStore.from_collection(collection)  # type: ignore[no-untyped-call]
    outputs.outage_s = settings.outage_s
    return JobStore(outputs)


@contextmanager
def _job_store(outputs: JobStore | None) -> Iterator[None]:
    before = jobflow.SETTINGS.JOB_STORE
    jobflow.SETTINGS.JOB_STORE = outputs or before
    try:
        yield
    finally:
        jobflow.SETTINGS.JOB_STORE = before


# -- surroundings ----------------------------------------------------------------------------


@contextmanager
def _environment(name: str, options: WorkerOptions, settings: Settings) -> Iterator[None]:
    """What jobs read of their machine; paths do not depend on the launch folder."""
    threads = str(settings.threads)
    news = {
        "LYCB_WORKER_NAME": name,
        "LYCB_SCRATCH": str(settings.scratch.expanduser().resolve()),
        "LYCB_SETTINGS_FILE": str(settings.settings_file.expanduser().resolve()),
        # more workers instead of more processes per worker
        "LYCB_PROCESSES": os.environ.get("LYCB_PROCESSES", "1"),
        "OMP_NUM_THREADS": threads,
    }
    if options.device:
        news["LYCB_DEVICE"] = options.device
    if settings.blobs and settings.blobs != "gridfs":
        news["LYCB_BLOBS"] = str(Path(settings.blobs).expanduser().resolve())
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(settings.threads)
    before = {variable: os.environ.get(variable) for variable in news}
    os.environ.update(news)
    try:
        yield
    finally:
        for variable, value in before.items():
            os.environ.pop(variable)
            if value is not None:
                os.environ[variable] = value


@contextmanager
def _fireworks_settings(ping_s: float) -> Iterator[None]:
    """FireWorks reads these from its modules, not from an argument; jobflow tells every start."""
    wanted = (
        (rocket, "PING_TIME_SECS", ping_s),
        (rocket, "ROCKET_STREAM_LOGLEVEL", "ERROR"),
        (launchpad_module, "SORT_FWS", "FIFO"),  # equal priorities in the order of submission
    )
    jobs_logger = logging.getLogger("jobflow.core.job")
    level = jobs_logger.level
    jobs_logger.setLevel(logging.WARNING)
    before = [(place, name, getattr(place, name)) for place, name, _ in wanted]
    for place, name, value in wanted:
        setattr(place, name, value)
    try:
        yield
    finally:
        jobs_logger.setLevel(level)
        for place, name, value in before:
            setattr(place, name, value)


def _fworker(name: str, options: WorkerOptions) -> FWorker:
    """my_fworker.yaml, where there is one, with our name and the categories asked for."""
    path = Path(fw_config.FWORKER_LOC or "my_fworker.yaml")
    found = FWorker.from_file(str(path)) if path.exists() else FWorker()
    category = list(options.categories) or found.category
    return FWorker(name, category, found._query, {**found.env, **placed_here()})  # noqa: SLF001


def _categories(fworker: FWorker) -> tuple[str, ...]:
    category = fworker.category
    return (category,) if isinstance(category, str) else tuple(category)


def _launch_folder(settings: Settings) -> Path:
    folder = settings.scratch / "launches"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise InputError(
            "no scratch folder", fix="set LYCB_SCRATCH", path=folder, reason=err.strerror
        ) from err
    return folder


def _deadline(options: WorkerOptions, started: float) -> float | None:
    """`time.time()` when the queue ends this worker."""
    if options.walltime_s is not None:
        return started + options.walltime_s
    end = os.environ.get("SLURM_JOB_END_TIME", "")
    return float(end) if end.isdigit() else None


def _margin(options: WorkerOptions) -> float:
    """Before the deadline: no new job then."""
    if options.walltime_s is None:
        return _LAST_MINUTE_S
    return min(_LAST_MINUTE_S, _LAST_SHARE * options.walltime_s)
