"""The worker's loop: takes the next job, runs it, and waits where the machine has a problem."""

from __future__ import annotations

import functools
import io
import os
import shutil
import socket
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pymongo
from fireworks import Firework
from fireworks.core.rocket_launcher import launch_rocket
from pymongo.errors import PyMongoError

from lycb_flows.errors import StoreError
from lycb_flows.machine import WALLTIME, load_settings
from lycb_flows.service.launchpad import (
    BROKEN,
    LEFT,
    DatabaseGoneError,
    JobListener,
    Registration,
    ServiceLaunchPad,
    Stream,
)
from lycb_flows.service.worker.breaker import Breaker
from lycb_flows.service.worker.choice import JobChoice
from lycb_flows.service.worker.environment import (
    WorkerOptions,
    categories_of,
    deadline_of,
    fireworks_settings,
    job_environment,
    last_moments_s,
    launch_folder,
    load_fworker,
)
from lycb_flows.service.worker.examination import examine
from lycb_flows.service.worker.outputs import durable_outputs, keep_outputs, shared_results
from lycb_flows.service.worker.signals import Interrupted, StopSignals
from lycb_flows.store.outages import explained, is_outage

_AWAY = "no database"
_QUERY_TIMEOUT_S = 5.0
_FIRST_NAP_S, _SLICE_S = 0.1, 0.2
_STREAM_S = 1.0  # between two updates of the register while short jobs run

Say = Callable[[str], None]


@dataclass(frozen=True)
class WorkerReport:
    """Numbers of a worker's jobs by outcome, and why the worker stopped."""

    name: str
    n_completed: int
    n_fizzled: int
    n_given_back: int
    reason: str


def run_worker(launchpad: ServiceLaunchPad, options: WorkerOptions, say: Say) -> WorkerReport:
    """Run jobs until there is a reason to stop; call it in the main thread.

    Parameters
    ----------
    launchpad
        The LaunchPad.
    options
        Which jobs to take, and when to stop.
    say
        Receives a line for each job and each problem.

    Raises
    ------
    InputError
        When results or outputs would be lost: an embedded store, a MemoryStore.
    StoreError
        When the database stays away, or the disk stays full.
    """
    settings = load_settings()
    name = options.name or f"{socket.gethostname()}-{os.getpid()}"
    with (
        shared_results(settings) as store,
        job_environment(name, options, settings),
        fireworks_settings(settings.ping_s),
        keep_outputs(durable_outputs(store)),
        warnings.catch_warnings(),
        StopSignals() as stop,
    ):
        # jobflow 0.4 uses monty's cd, which monty deprecates
        warnings.filterwarnings("ignore", "cd is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "Some jobs are not connected", UserWarning)
        worker = Worker(launchpad, name, options, stop, say)
        device = options.device or settings.device
        examine(store, categories_of(worker.fworker), device, worker.launches)
        return worker.run()


@dataclass
class _Current:
    """The job that runs, and when it started (as `time.monotonic` counts)."""

    fw_id: int
    launch_id: int
    name: str
    started: float


class Worker(JobListener):
    """The loop of `run_worker`; receives what happens to its jobs from the LaunchPad."""

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
        self.fworker = load_fworker(name, options)
        self.choice = JobChoice(self.fworker, options.avoid_s)
        self.stream = Stream(launchpad)
        self.breaker = Breaker(launchpad, self.settings.max_failures)
        self._timeout_s = min(_QUERY_TIMEOUT_S, self.settings.outage_s)
        self.launches = launch_folder(self.settings)
        self.home = Path.cwd()
        self.counts = dict.fromkeys(("COMPLETED", "FIZZLED", "READY", "ARCHIVED", "RUNNING"), 0)
        self._current: _Current | None = None
        self._state, self._registered_at, self._trouble = "idle", 0.0, ""
        self._kept = False
        self._registration = Registration(
            launchpad,
            name=name,
            categories=categories_of(self.fworker),
            device=self.settings.device,
        )

    def run(self) -> WorkerReport:
        """Run jobs until there is a reason to stop, and return what was done."""
        started = time.time()
        before, self.launchpad.listener = self.launchpad.listener, self
        WALLTIME.gives_back, WALLTIME.stop_reason = True, self.stop.signal_name
        WALLTIME.deadline = deadline_of(self.options, started)
        WALLTIME.tell_children()
        try:
            self._registration.update()
            reason = self._work()
        finally:
            self.stream.close()
            self.launchpad.listener = before
            WALLTIME.gives_back, WALLTIME.deadline, WALLTIME.stop_reason = False, None, ""
            WALLTIME.tell_children()
            self._sign_off()
        self.say(f"{self.name}: {reason}; {self._summary()}")
        return WorkerReport(
            self.name,
            self.counts["COMPLETED"],
            self.counts["FIZZLED"],
            self.counts["READY"],
            reason,
        )

    def _sign_off(self) -> None:
        """Leave, and where this worker is broken leave its jobs to others."""
        trouble = self.breaker.reason()
        if trouble:
            self.breaker.give_back(self.name)
        if self._state != _AWAY:
            state = BROKEN if trouble else LEFT
            self._registration.update(state=state, fw_id=None, job="", trouble=trouble)

    # -- the loop ----------------------------------------------------------------------

    def _work(self) -> str:
        busy_at, nap_s = time.monotonic(), _FIRST_NAP_S
        while True:
            reason = self._why_stop(time.monotonic() - busy_at)
            if reason:
                return reason
            if self._run_next():
                busy_at, nap_s = time.monotonic(), _FIRST_NAP_S
                continue
            idle_s = time.monotonic() - busy_at
            if (
                self.options.n_launches == 0
                and not self._trouble
                and self.choice.none_left(self.launchpad, self._timeout_s, idle_s)
            ):
                return "no job is left"
            self._nap(nap_s)
            nap_s = min(2 * nap_s, self.options.sleep_s)

    def _why_stop(self, idle_s: float) -> str:
        """Return why no further job is taken; empty while there is no reason."""
        options = self.options
        if self.stop.signal_name:
            return f"stopped by {self.stop.signal_name}"
        if WALLTIME.deadline is not None and time.time() > WALLTIME.deadline - last_moments_s(
            options
        ):
            return "the walltime is nearly over"
        if self.breaker.reason():
            raise self.breaker.error(self.name)
        if options.n_launches and self._n_jobs() >= options.n_launches:
            return "ran the jobs asked for"
        if options.max_idle_s is not None and idle_s > options.max_idle_s:
            if self._trouble:
                raise StoreError("the worker can take no job", reason=self._trouble)
            return f"idle for {idle_s:.0f} s"
        return ""

    def _run_next(self) -> bool:
        """Run the next job; return whether there was one."""
        full = self._full_disk()
        if full:
            if self.options.n_launches == 0:
                raise StoreError("the worker can take no job", fix="free space", reason=full)
            self._in_trouble("full disk", full)
            return False
        try:
            with pymongo.timeout(self._timeout_s):
                ready = self.stream.look(self.choice.now(), self._n_left())
            self._trouble = ""
            if ready:
                return self._launch()
            self.breaker.hand_over(self.name, self.choice)
        except DatabaseGoneError as err:
            raise StoreError(str(err), fix="start MongoDB; `lycb reap` recovers the job") from err
        except PyMongoError as err:
            if not is_outage(err):
                raise
            self._wait_for_database(explained(err))
        if not self._trouble:
            self._register(state="idle")
        return False

    def _launch(self) -> bool:
        """Run a job in a folder of its own; return whether there was one."""
        stamp = time.strftime("%Y-%m-%d-%H%M%S-")
        folder = Path(tempfile.mkdtemp(prefix=stamp, dir=self.launches))
        errors = io.StringIO()
        self._kept = False
        os.chdir(folder)
        try:
            ran = launch_rocket(self.stream, self.fworker, strm_lvl="ERROR", err_file=errors)
        except Interrupted as stop:  # raised between two tasks, where FireWorks does not catch it
            ran = True
            self._give_back(stop)
        else:
            if ran and self._current:  # its workflow stayed locked by others
                self.ended(self._current.launch_id, "RUNNING", "the reaper writes down its end")
        finally:
            os.chdir(self.home)
            self._current = None
            if self._kept:
                (folder / "error.txt").write_text(errors.getvalue(), encoding="utf-8")
                self.say(f"  its folder: {folder}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return bool(ran)

    def _give_back(self, stop: Interrupted) -> None:
        job = self._current
        if job and self.launchpad.give_back(job.fw_id, job.launch_id, **stop.to_dict()):
            self.ended(job.launch_id, "READY", f"stopped by {stop.code}")

    # -- troubles -------------------------------------------------------------------------

    def _full_disk(self) -> str:
        try:
            self.launches.mkdir(parents=True, exist_ok=True)  # somebody may have swept it away
            free_gb = shutil.disk_usage(self.launches).free / 1e9
        except OSError as err:
            return f"{self.launches}: {err.strerror}"
        if free_gb >= self.settings.min_free_gb:
            return ""
        return f"{free_gb:.1f} GB free in {self.launches}, {self.settings.min_free_gb:g} GB wanted"

    def _wait_for_database(self, why: StoreError) -> None:
        """Report the outage once; end the worker after `outage_s`."""
        if self._state != _AWAY:
            self._away_since = time.monotonic()
        self._in_trouble(_AWAY, why.message.replace("the database", "the LaunchPad's database"))
        if time.monotonic() - self._away_since > self.settings.outage_s:
            raise StoreError(self._trouble, fix="start MongoDB, then the worker")

    def _in_trouble(self, state: str, trouble: str) -> None:
        """Report a problem when it begins, and register the worker as waiting."""
        if not self._trouble or self._state != state:
            self.say(f"{self.name} waits: {trouble}")
        self._trouble = trouble
        if state == _AWAY:
            self._state = state
        else:
            self._register(state=state)

    def _nap(self, seconds: float) -> None:
        """Sleep in short slices, so that a signal is noticed soon."""
        until = time.monotonic() + seconds
        while not self.stop.signal_name and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE_S))

    def _register(self, *, state: str) -> None:
        old = time.monotonic() - self._registered_at > self.settings.ping_s / 2
        if old or state != self._state:
            self._state, self._registered_at = state, time.monotonic()
            self._registration.update(state=state, fw_id=None, job="")

    def _n_jobs(self) -> int:
        return sum(self.counts.values())

    def _n_left(self) -> int | None:
        n_launches = self.options.n_launches
        return n_launches - self._n_jobs() if n_launches else None

    def _summary(self) -> str:
        words = {
            "COMPLETED": "completed",
            "FIZZLED": "failed",
            "READY": "given back",
            "ARCHIVED": "too late",
            "RUNNING": "left to the reaper",
        }
        parts = [f"{n} {words[state]}" for state, n in self.counts.items() if n]
        return ", ".join(parts) or "no job"

    # -- events of the LaunchPad ------------------------------------------------------

    def started(self, firework: Firework, launch_id: int) -> None:
        """Let signals interrupt the tasks of a job that starts, and register it."""
        self._current = _Current(firework.fw_id, launch_id, firework.name, time.monotonic())
        WALLTIME.stop_reason = self.stop.signal_name
        for task in firework.tasks:
            task.run_task = functools.partial(self.stop.run_job, task.run_task)
        entry = {"state": "running", "fw_id": firework.fw_id, "job": firework.name}
        if self.stream.is_running and time.monotonic() - self._registered_at < _STREAM_S:
            self._registration.note(**entry)
            return
        self._state, self._registered_at = "running", time.monotonic()
        self._registration.update(**entry)

    def pinged(self) -> None:
        """Update the worker's own entry now and then."""
        if time.monotonic() - self._registered_at > self.settings.ping_s / 2:
            self._registered_at = time.monotonic()
            self._registration.update()

    def lost(self, launch_id: int) -> None:
        """Stop a run that was declared lost or cancelled, at its next restart point."""
        if self._current and self._current.launch_id == launch_id:
            WALLTIME.stop_reason = (
                WALLTIME.stop_reason or "the run was started elsewhere or cancelled"
            )

    def ended(self, launch_id: int, state: str, reason: str) -> None:
        """Count a launch that has ended, and report it."""
        job = self._current
        if job is None or job.launch_id != launch_id:
            return
        self._current = None
        self._kept = state == "FIZZLED"
        self.counts[state] += 1
        self._registration.note(n_jobs=self._n_jobs())
        if state == "COMPLETED":
            self.breaker.completed()
        words = {"READY": "given back", "ARCHIVED": "not used", "RUNNING": "done"}
        outcome = words.get(state, state.lower()) + (f": {reason}" if reason else "")
        self.say(f"{job.name} ({job.fw_id}): {outcome}, {time.monotonic() - job.started:.1f} s")

    def refused(self, fw_id: int, reason: str, record: str) -> None:
        """Report in one line that a job was queued by code that is not installed here."""
        reason = " ".join(reason.split())[:200]
        self.choice.refuse(fw_id, record)
        self.say(
            f"job {fw_id} cannot be loaded here, its campaign is left to others: if another "
            f"version queued it, run `lycb submit FILE` again (reason: {reason})"
        )

    def failed(self, fw_id: int, launch_id: int | None, reason: str) -> None:
        """Count a failure that may be this machine's."""
        self.breaker.failed(fw_id, launch_id, reason)

    def avoid(self, fw_id: int) -> None:
        """Take a job that was given back only after a while, which doubles every time."""
        self.choice.avoid(fw_id)
