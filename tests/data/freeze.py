"""Make the frozen artefacts of `tests/data/frozen`, each once, with the package of commit dfd7860.

    git worktree add ../dfd7860 dfd7860
    PYTHONPATH=../dfd7860 python tests/data/freeze.py [plans] [databases] [quickstart] [tiny] ...

It stands here to say how they came about. It imports what that commit has; with later code it
would freeze that code's behaviour, and nothing would be left to compare with.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "LYCB_PROCESSES": "1", "LYCB_PING_S": "1"}
os.environ |= {"LYCB_MIN_FREE_GB": "0.01", "COLUMNS": "200"}
sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

import pytest
import yaml
from frozen import (
    FROZEN,
    attempts_in,
    attempts_on,
    campaign_file,
    dump_database,
    jobs_on,
    pack,
    recorded_jobs,
    report_tables,
    rows_as_json,
)
from servers import MongoServer

from lycb_flows import cli, launchpad
from lycb_flows.schemas import KINDS

PLANS = (
    *("quickstart", "tiny", "loop", "second", "ground_states", "vasp", "calculator", "by_dft"),
    *("service", "lycb_paper"),
)
STORES = ("quickstart", "tiny", "calculator", "by_dft", "vasp")
HOST = "frozen"
ALL = [word for name in ("light", "gpu", "dft") for word in ("--category", name)]


def lycb(*words):
    """What a command prints; any other end than success is an error here."""
    sys.argv = ["lycb", *map(str, words)]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                msg = f"{' '.join(sys.argv)}: {end.code}"
                raise RuntimeError(msg) from end
    return printed.getvalue()


def write(part, name, text):
    path = FROZEN / part / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def freeze_plans(folder):
    for name in PLANS:
        plan = lycb("plan", campaign_file(name), "--store", folder / name, "--json")
        write("plans", f"{name}.json", rows_as_json(json.loads(plan)))


def freeze_views(name, *where):
    """The tables, the status, and a document of each kind with what it rests on."""
    page = Path(lycb("report", name, *where).strip())
    write("tables", f"{name}.txt", report_tables(page))
    shutil.rmtree(page.parent.parent)
    shown = [json.loads(line) for line in _one_of_each_kind(*where)]
    rows = [[one["kind"], one["key"], *_ancestry(one["ancestors"])] for one in shown]
    write("shown", f"{name}.json", rows_as_json(rows))


def _one_of_each_kind(*where):
    for kind in KINDS:
        lines = lycb("query", kind, "--json", *where).splitlines()
        if lines:
            yield lycb("show", json.loads(lines[0])["key"], "--json", *where)


def _ancestry(ancestors):
    """How many, and a digest of all in their order."""
    return len(ancestors), hashlib.sha256(json.dumps(ancestors).encode()).hexdigest()


def freeze_status(name, *where, without=("store",)):
    status = json.loads(lycb("status", name, "--json", *where))
    rows = [[field, value] for field, value in status.items() if field not in without]
    write("status", f"{name}.json", rows_as_json(rows))


def freeze_store(name, folder):
    """A campaign that ran embedded, with all that it left."""
    os.chdir(folder)
    store = Path("store")
    lycb("run", campaign_file(name), "--store", store)
    before = attempts_in(store)
    with recorded_jobs(pytest.MonkeyPatch()) as jobs:
        lycb("run", name, "--store", store)
    freeze_views(name, "--store", store)
    freeze_status(name, "--store", store)
    assert attempts_in(store) == before
    write("jobs", f"{name}.json", rows_as_json(jobs))
    with contextlib.closing(sqlite3.connect(store / "results.sqlite")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in store.iterdir():
        if path.name not in {"results.sqlite", "blobs"}:
            path.unlink()
    pack(store, FROZEN / "stores" / f"{name}.tar.xz")


def freeze_databases(folder):
    """A LaunchPad and a result store: with a finished campaign, and with two unfinished ones."""
    os.chdir(folder)
    with MongoServer(folder / "mongo") as server, server.client() as client:
        pad = folder / "launchpad.yaml"
        pad.write_text(yaml.safe_dump(server.launchpad("launchpad")))
        os.environ["LYCB_STORE"] = server.uri("results")
        _finish(client, pad)
        _dump(client, folder, "finished")
        for name in ("launchpad", "results"):
            client.drop_database(name)
        _leave_half_finished(client, pad)
        _dump(client, folder, "half_finished")


def _dump(client, folder, name):
    for database in ("launchpad", "results"):
        dump_database(client[database], folder / name / database)
    pack(folder / name, FROZEN / "databases" / f"{name}.tar.xz")


def _finish(client, pad):
    lycb("submit", campaign_file("loop"), "--launchpad", pad)
    _work(pad, "--nlaunches", 0)
    freeze_views("loop")
    freeze_status("loop", "--launchpad", pad, without=("store", "workers", "rest"))
    jobs = jobs_on(client["launchpad"], "loop")
    write("jobs", "loop.json", rows_as_json(jobs))
    before = attempts_on(client["results"])
    with recorded_jobs(pytest.MonkeyPatch()) as embedded:
        lycb("run", "loop", "--report", "report")
    assert embedded == jobs
    assert attempts_on(client["results"]) == before


def _work(pad, *words):
    lycb("worker", "--launchpad", pad, "--name", HOST, *ALL, *words)


def _leave_half_finished(client, pad):
    """`loop`: a stage closed by a job that was killed just after. `second`: just submitted."""
    lycb("submit", campaign_file("loop"), "--launchpad", pad)
    fireworks = client["launchpad"]["fireworks"]
    labels = {"name": {"$regex": "^label r01"}}
    while (
        not (n := fireworks.count_documents(labels))
        or fireworks.count_documents(labels | {"state": "COMPLETED"}) < n - 1
    ):
        _work(pad, "--nlaunches", 1)
    if (child := os.fork()) == 0:
        launchpad.ServiceLaunchPad.complete_launch = lambda *_, **__: os.kill(
            os.getpid(), signal.SIGKILL
        )
        _work(pad, "--nlaunches", 1)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    lycb("submit", campaign_file("second"), "--launchpad", pad)
    assert {"READY", "RUNNING", "WAITING"} <= set(fireworks.distinct("state"))


def main(parts):
    socket.gethostname = lambda: HOST
    for part in parts or ("plans", "databases", *STORES):
        folder = Path(tempfile.mkdtemp(prefix="frozen-", dir="/tmp"))
        match part:
            case "plans":
                freeze_plans(folder)
            case "databases":
                freeze_databases(folder)
            case _:
                freeze_store(part, folder)
        os.chdir("/")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
