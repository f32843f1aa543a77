"""The service at size: a plan of 10,000 jobs, a campaign of 5,000 structures, idle jobs, questions.

    LYCB_STORE=mongodb://... python scripts/service_check.py plan sizes overhead scale
    LYCB_STORE=folder-or-mongodb://... python scripts/service_check.py queries

queries: time and memory of questions to a store of 100,000 documents, 50,000 of them labels of 60
atoms (LYCB_CHECK_LABELS: another number); the store must be new. A folder needs no LaunchPad; for a
database `lycb status` asks that of ./launchpad.yaml, too.

plan: time and memory of submitting 10,000 jobs, time of `lycb status` on them. sizes: a campaign
that ranks 5,794 orderings (the toy), and the largest document of every collection. overhead:
seconds per job that does nothing, with four workers. scale: what such a job costs in a workflow of
10,000 and in one of 100, tasks per second beside plain `rlaunch rapidfire` (which gets a database
of its own), connections per worker (LYCB_CHECK_JOBS: how many jobs are run of each kind). Uses
./launchpad.yaml; a database of its own, please: the campaigns stay there.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import bson
import yaml
from jobflow import Flow, Job
from service_scale import Pace, add_held, compare_sizes, connections, release, watch
from store_at_size import add_label, fill

from lycb_flows.campaign.descriptions import CATEGORIES
from lycb_flows.campaign.results import first_stage
from lycb_flows.campaign.stages import StagePlan
from lycb_flows.campaign.submission import Submission, find_submission
from lycb_flows.config import MDConfig, RunConfig
from lycb_flows.flows.campaign import stage_flow
from lycb_flows.flows.routing import route
from lycb_flows.jobs.dynamics import compute_runs
from lycb_flows.quantities.results import measured_numbers
from lycb_flows.schemas import Ranking, Run, Segment
from lycb_flows.service.launchpad import (
    ServiceLaunchPad,
    find_workers,
    load_launchpad,
    submit_flow,
)
from lycb_flows.store import ResultStore, open_store
from lycb_flows.store.mongodb import MongoStore

N_JOBS, N_NO_OPS, N_WORKERS = 10_000, 400, 4
LYCB = Path(sys.executable).with_name("lycb")
NO_RELAXATION = {"coarse_fmax_ev_per_ang": 60.0, "fine_fmax_ev_per_ang": 50.0}
CAMPAIGN = Path(__file__).parents[1] / "tests" / "campaigns" / "loop.yaml"


def written(folder: Path, name: str, **changes: dict[str, object]) -> Path:
    """The toy's campaign with other sections."""
    content = yaml.safe_load(CAMPAIGN.read_text()) | {"name": name}
    for section, fields in changes.items():
        content[section] |= fields
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def work(*, n_workers: int) -> None:
    """Empty the LaunchPad."""
    command = [LYCB, "worker", "--nlaunches", "0"]
    for category in CATEGORIES:
        command += ["--category", category]
    workers = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        for _ in range(n_workers)
    ]
    if any(worker.wait() for worker in workers):
        sys.exit("a worker failed")


# -- plan ---------------------------------------------------------------------------------------


def check_plan(store: ResultStore, launchpad: ServiceLaunchPad, folder: Path) -> None:
    """Submit a stage of 10,000 labels, as a deciding job does, and ask for the status."""
    path = written(
        folder,
        "ten_thousand",
        learning={"selection": {"n_frames": N_JOBS - 4, "thinning_fs": 8.0}, "nvt_ps": 100.0},
    )
    submission = find_submission(store, str(path))
    plan = stage_of(submission)
    before_mb = peak_mb()
    begin = time.perf_counter()
    metadata = {"campaign": submission.campaign.name, "record": submission.record.key}
    ids = submit_flow(launchpad, stage_flow(plan), name="ten_thousand", metadata=metadata)
    took_s = time.perf_counter() - begin
    print(f"{len(ids)} jobs: {took_s:.1f} s, {peak_mb():.0f} MB at most ({before_mb:.0f} before)")
    begin = time.perf_counter()
    subprocess.run([LYCB, "status", "ten_thousand", "--json"], check=True)  # noqa: S603 - ours
    print(f"lycb status: {time.perf_counter() - begin:.2f} s")


def stage_of(submission: Submission) -> StagePlan:
    """A first round whose structures nobody has ranked: nothing of it will run."""
    name = submission.campaign.systems[0].name
    plan = first_stage(submission.campaign, submission.theory, {name: "0" * 64})
    return plan.model_copy(update={"index": 0, "dataset": "0" * 64})


def peak_mb() -> float:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- sizes ----------------------------------------------------------------------------------------


def check_sizes(store: MongoStore, launchpad: ServiceLaunchPad, folder: Path) -> None:
    """Run a campaign of 5,794 structures and print the largest document of each collection.

    And a run of 60 atoms whose one segment is a trajectory of more than 20 MB.
    """
    system = {"name": "LYC", "parent": "Li3YCl6", "enumeration": {"supercell": [1, 1, 2]}}
    path = written(folder, "five_thousand", ranking=NO_RELAXATION)
    content = yaml.safe_load(path.read_text()) | {"systems": [system]}
    path.write_text(yaml.safe_dump(content))
    subprocess.run([LYCB, "submit", str(path)], check=True)  # noqa: S603 - our own command
    begin = time.perf_counter()
    work(n_workers=1)
    print(f"campaign: {time.perf_counter() - begin:.0f} s")
    run_long(store, find_submission(store, "five_thousand"))
    for database in (launchpad.db, store.database):
        for name in sorted(database.list_collection_names()):
            if name.endswith(".chunks"):
                continue
            rows = database[name].find()
            sizes = [(len(bson.encode(row)), str(row.get("kind", ""))) for row in rows]
            if sizes:
                largest, kind = max(sizes)
                print(f"{name}: {len(sizes)}, the largest {largest:,} bytes {kind}")


def run_long(store: MongoStore, submission: Submission) -> None:
    """Keep every step of 36 ps."""
    ranking = next(store.find_all(Ranking, system="LYC"))
    config = MDConfig(
        time_step_fs=2.0,
        heating_ps=0.02,
        equilibration_ps=0.02,
        sample_interval_fs=2.0,
        segment_ps=40.0,
    )
    protocol = config.nvt(100.0, ramp=True)
    long = RunConfig(
        name="long",
        system="LYC",
        start=ranking.ground_state,
        model=submission.campaign.learning.model,
        protocol=protocol,
        seed=1,
        steps=config.steps(36.0),
    )
    (key,) = compute_runs([long], "long")
    (segment,) = (store.load(Segment, one) for one in store.load(Run, key).segments)
    print(f"trajectory: {segment.n_frames} frames, {segment.trajectory.size:,} bytes")


# -- overhead ----------------------------------------------------------------------------------


def check_overhead(_store: ResultStore, launchpad: ServiceLaunchPad, _folder: Path) -> None:
    """Seconds per job that does nothing: as workflows of their own, and in one workflow."""
    jobs = [Job(len, function_args=("",), name=f"nothing {i}") for i in range(2 * N_NO_OPS)]
    for one in jobs[:N_NO_OPS]:
        _add_nothing(launchpad, [one], one.name)
    _tell_overhead(launchpad, "workflows of their own")
    _add_nothing(launchpad, jobs[N_NO_OPS:], "many")
    _tell_overhead(launchpad, "one workflow")


def _add_nothing(launchpad: ServiceLaunchPad, jobs: list[Job], name: str) -> None:
    flow = route(Flow(jobs), priority=0)
    submit_flow(launchpad, flow, name=name, metadata={"campaign": "nothing"})


def _tell_overhead(launchpad: ServiceLaunchPad, how: str) -> None:
    """From the first launch to the last end of what the workers find now."""
    before = launchpad.launches.count_documents({})
    work(n_workers=N_WORKERS)
    times = [
        datetime.fromisoformat(entry["created_on"])
        for launch in launchpad.launches.find({"launch_id": {"$gt": before}})
        for entry in launch["state_history"]
    ]
    per_job_ms = 1000 * (max(times) - min(times)).total_seconds() / N_NO_OPS
    print(f"{N_NO_OPS} jobs, {N_WORKERS} workers, {how}: {per_job_ms:.1f} ms per job")


# -- scale ----------------------------------------------------------------------------------------

N_SMALL = 100


def check_scale(_store: ResultStore, launchpad: ServiceLaunchPad, folder: Path) -> None:
    """Print the cost of a no-op by the size of its workflow, and the pace of plain FireWorks."""
    n_measured = int(os.environ.get("LYCB_CHECK_JOBS", "1000"))
    before = connections(launchpad)
    file = Path("launchpad.yaml").resolve()
    command = [LYCB, "worker", "--category", "light", "--launchpad", file]
    with running([command] * N_WORKERS, folder) as workers:
        pids = [worker.pid for worker in workers]
        while len(find_workers(launchpad)) < N_WORKERS:
            time.sleep(0.5)
        tell_connections("idle", launchpad, before)
        warm = add_held(launchpad, "warm", 10 * N_WORKERS)
        release(launchpad, warm)
        watch(launchpad, warm, pids)
        tell_connections("after some jobs", launchpad, before)
        small, large = compare_sizes(
            launchpad, pids, small=N_SMALL, large=N_JOBS, n_measured=n_measured // 2
        )
    print(f"in workflows of {N_SMALL}: {small}")
    print(f"in a workflow of {N_JOBS}: {large}")
    print(f"the one costs {large.cpu_ms_per_job / small.cpu_ms_per_job:.2f} times the other")
    plain = plain_pace(launchpad, folder, max(2 * N_SMALL, n_measured // 5))
    print(f"plain rlaunch rapidfire, workflows of {N_SMALL}: {plain}")
    for name, pace in ((N_SMALL, small), (N_JOBS, large)):
        faster = pace.jobs_per_s / plain.jobs_per_s
        cheaper = plain.cpu_ms_per_job / pace.cpu_ms_per_job
        print(
            f"workers, workflows of {name}: {faster:.1f} times its pace, 1/{cheaper:.1f} its cost"
        )


def plain_pace(launchpad: ServiceLaunchPad, folder: Path, n_jobs: int) -> Pace:
    """Return the pace of as many processes of plain FireWorks, in a database of their own."""
    connection = yaml.safe_load(Path("launchpad.yaml").read_text())
    name = f"{launchpad.name}_plain"
    file = folder / "plain.yaml"
    file.write_text(yaml.safe_dump(connection | {"name": name}))
    launchpad.connection.drop_database(name)
    plain = load_launchpad(file)
    parts = [add_held(plain, f"plain {i}", N_SMALL) for i in range(n_jobs // N_SMALL)]
    ids = [fw_id for part in parts for fw_id in part]
    release(plain, ids)
    rlaunch = [LYCB.with_name("rlaunch"), "-l", file, "--silencer", "rapidfire"]
    with running([rlaunch] * N_WORKERS, folder) as processes:
        pace = watch(plain, ids, [process.pid for process in processes])
    plain.close()
    return pace


@contextmanager
def running(
    commands: Sequence[Sequence[str | Path]], folder: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that are ended with the context."""
    processes = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
        for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def tell_connections(when: str, launchpad: ServiceLaunchPad, before: int) -> None:
    """Print how many connections each worker has."""
    each = (connections(launchpad) - before) / N_WORKERS
    print(f"connections per worker, {when}: {each:.2f}", flush=True)


# -- queries -----------------------------------------------------------------------------------

QUESTION = (
    "query", "label", "--where", "reduced_formula=Li3YCl6", "--where", "temperature_k=400",
    "--where", "code=gpaw", "--where", "max_force_ev_per_ang>5", "--limit", "20",
)  # fmt: skip
COMMANDS = {
    "start-up": ("query", "--kinds"),
    "the question, 20 rows": QUESTION,
    "sorted, 20 rows": ("query", "label", "--sort=-max_force_ev_per_ang", "--limit", "20"),
    "nothing found": ("query", "label", "--where", "theory_name~none", "--limit", "20"),
    "all labels as CSV": ("query", "label", "--format", "csv"),
    "all labels, facts": ("query", "label"),
    "results": ("results",),
}


def check_queries(address: str) -> None:
    """Fill a store and print wall time, CPU time and memory of each question."""
    with open_store(address) as store:
        filled = fill(store, int(os.environ.get("LYCB_CHECK_LABELS", "50000")))
        print(f"{store.sizes()[0]} documents, {filled.n_wanted} labels are asked for")
    tell_cost("index", ("index",))
    with open_store(address) as store:
        n_rows = sum(1 for _ in measured_numbers(store))
    print(f"{n_rows} rows of results")
    if not n_rows:
        sys.exit("no results: the store was filled by another version, fill a new one")
    for name, command in COMMANDS.items():
        tell_cost(name, command)
    for name in ("the question, 20 rows", "results"):
        with open_store(address) as store:
            add_label(store)
        tell_cost(f"after a new document, {name}", COMMANDS[name])
    if filled.store.is_shared:
        tell_cost("submit", ("submit", "size"))
    tell_cost("start-up of status", ("-c", f"import {', '.join(_OF_STATUS)}"), sys.executable)
    tell_cost("status", ("status", "size"))


_OF_STATUS = ("lycb_flows.cli.app", "lycb_flows.campaign.status", "lycb_flows.service.monitor")
_TIMED = """
import resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{time.perf_counter() - begin:.2f} s, {used.ru_utime + used.ru_stime:.2f} s of CPU, "
      f"{used.ru_maxrss / 1024:.0f} MB")
"""


def tell_cost(name: str, command: tuple[str, ...], program: str | Path = LYCB) -> None:
    """Run a command, of `lycb` or of another program, and print what it took.

    A small process starts it: Linux counts the memory of the starting process as the command's.
    """
    print(f"{name}: ", end="", flush=True)
    subprocess.run([sys.executable, "-S", "-c", _TIMED, program, *command], check=True)  # noqa: S603 - ours


CHECKS = {
    "plan": check_plan,
    "sizes": check_sizes,
    "overhead": check_overhead,
    "scale": check_scale,
}


def main() -> None:
    """Run the checks that are named, or all that need a LaunchPad."""
    if sys.argv[1:] == ["queries"]:
        check_queries(os.environ["LYCB_STORE"])
        return
    store, launchpad = open_store(os.environ["LYCB_STORE"]), load_launchpad(Path("launchpad.yaml"))
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or CHECKS:
            CHECKS[name](store, launchpad, Path(folder))
    store.close()
    launchpad.connection.close()


if __name__ == "__main__":
    main()
