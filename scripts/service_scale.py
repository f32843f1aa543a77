"""What jobs that do nothing cost: in workflows of two sizes, and by plain `rlaunch rapidfire`.

`service_check.py scale` prints it, and a test looks at a small version. Costs are CPU time of the
workers and of the database, which say the same on a busy machine as on a free one; tasks per second
and connections are beside them. All figures of one run are taken one after the other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobflow import Flow, Job

from lycb_flows.flows.routing import route
from lycb_flows.service.launchpad import ServiceLaunchPad, submit_flow

HELD = "held"
"""Category of jobs that no worker takes until `release` gives them another."""
_LOOK_S, _FIRST_SHARE, _PATIENCE_S = 0.25, 0.2, 3600.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Pace:
    """Jobs of one kind that ran side by side: how many, in which time, at which cost."""

    n_jobs: int
    wall_s: float
    cpu_s: float

    @property
    def cpu_ms_per_job(self) -> float:
        """CPU time of workers and database, in ms per job."""
        return 1000 * self.cpu_s / self.n_jobs

    @property
    def jobs_per_s(self) -> float:
        """Jobs per second of all workers together."""
        return self.n_jobs / self.wall_s

    def __add__(self, other: Pace) -> Pace:
        """Both together."""
        return Pace(
            self.n_jobs + other.n_jobs, self.wall_s + other.wall_s, self.cpu_s + other.cpu_s
        )

    def __str__(self) -> str:
        """In words."""
        return f"{self.cpu_ms_per_job:.1f} ms of CPU per job, {self.jobs_per_s:.1f} jobs per second"


def add_held(launchpad: ServiceLaunchPad, name: str, n_jobs: int) -> list[int]:
    """Add a workflow of jobs that do nothing and that nobody takes yet; return their ids."""
    jobs = [Job(len, function_args=("",), name=f"{name} {i}") for i in range(n_jobs)]
    flow = route(Flow(jobs), priority=0)
    for job in jobs:
        held = {"_category": HELD, "_priority": 0}
        job.update_config({"manager_config": held}, attributes=["manager_config"])
    return submit_flow(launchpad, flow, name=name, metadata={"campaign": name})


def release(launchpad: ServiceLaunchPad, fw_ids: Sequence[int]) -> None:
    """Let workers take these jobs."""
    launchpad.fireworks.update_many(
        {"fw_id": {"$in": list(fw_ids)}}, {"$set": {"spec._category": "light"}}
    )


def watch(launchpad: ServiceLaunchPad, fw_ids: Sequence[int], pids: Sequence[int]) -> Pace:
    """Wait until all these jobs are done, and return the pace of those after the first fifth."""
    mine = {"fw_id": {"$in": list(fw_ids)}, "state": "COMPLETED"}
    seen: dict[int, float] = {}
    first: tuple[int, float, float] | None = None
    began = 0, time.monotonic(), _cpu_s(launchpad, pids, seen)
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        n_done = launchpad.fireworks.count_documents(mine)
        cpu_s = _cpu_s(launchpad, pids, seen)
        if first is None and n_done >= _FIRST_SHARE * len(fw_ids):
            is_over = n_done == len(fw_ids)  # at the first look
            first = began if is_over else (n_done, time.monotonic(), cpu_s)
        if first is not None and n_done == len(fw_ids) and n_done > first[0]:
            return Pace(n_done - first[0], time.monotonic() - first[1], cpu_s - first[2])
        time.sleep(_LOOK_S)
    n_done = launchpad.fireworks.count_documents(mine)
    msg = f"{n_done} of {len(fw_ids)} jobs were done in {_PATIENCE_S:.0f} s"
    raise TimeoutError(msg)


def _cpu_s(launchpad: ServiceLaunchPad, pids: Sequence[int], seen: dict[int, float]) -> float:
    """Return the CPU time so far of some processes, also of those that have ended, and mongod."""
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        seen[pid] = sum(map(int, fields[11:13])) / _TICKS_PER_S or seen.get(pid, 0.0)
    used = launchpad.connection.admin.command("serverStatus")["extra_info"]
    return sum(seen.values()) + (used["user_time_us"] + used["system_time_us"]) / 1e6


def compare_sizes(
    launchpad: ServiceLaunchPad,
    pids: Sequence[int],
    *,
    small: int,
    large: int,
    n_measured: int,
    n_rounds: int = 2,
) -> tuple[Pace, Pace]:
    """Return the paces of jobs in workflows of `small` jobs and in one of `large`, in turns.

    The workers are there already.
    """
    ids = add_held(launchpad, "large", large)
    paces: list[list[Pace]] = [[], []]
    for turn in range(n_rounds):
        parts = [
            add_held(launchpad, f"small {turn} {i}", small) for i in range(n_measured // small)
        ]
        of_small = [fw_id for part in parts for fw_id in part]
        of_large = ids[turn * n_measured : (turn + 1) * n_measured]
        for place, some in enumerate((of_small, of_large)):
            release(launchpad, some)
            paces[place].append(watch(launchpad, some, pids))
    return sum_of(paces[0]), sum_of(paces[1])


def sum_of(paces: Sequence[Pace]) -> Pace:
    """Return all paces together."""
    total, *rest = paces
    for pace in rest:
        total += pace
    return total


def connections(launchpad: ServiceLaunchPad) -> int:
    """Return the number of open connections to the database's server."""
    return int(launchpad.connection.admin.command("serverStatus")["connections"]["current"])
