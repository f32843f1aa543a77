"""The tests' MongoDB keeps what it acknowledged, asks for passwords, listens to nobody outside."""

import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest
import servers
import yaml
from places import HELPERS
from pymongo import MongoClient
from pymongo.errors import AutoReconnect, DuplicateKeyError, OperationFailure
from servers import MongoServer, NoServerError, find_mongod, not_run
from waiting import wait_until

AWKWARD = "p@ss/w:rd%"
N_WRITES = 1000
MAJORITY = "&w=majority&journal=true"


@pytest.fixture
def own_server(tmp_path, mongo_server):  # noqa: ARG001 - where there is no mongod, not run
    with MongoServer(tmp_path / "own") as server:
        yield server


def write_all(uri, written):
    """Number by number, each until it is acknowledged."""
    with MongoClient(uri) as client:
        for number in range(N_WRITES):
            while True:
                try:
                    client.get_default_database().numbers.insert_one({"_id": number})
                except AutoReconnect:
                    continue
                except DuplicateKeyError:  # it was written, its acknowledgement was lost
                    pass
                break
            written.append(number)


def test_kill_and_restart_lose_no_acknowledged_write(own_server):
    written = []
    writer = threading.Thread(target=write_all, args=(own_server.uri("x") + MAJORITY, written))
    writer.start()
    for share in (0.25, 0.5, 0.75):
        wait_until(lambda share=share: len(written) >= share * N_WRITES, "some writes")
        own_server.kill()
        acknowledged = list(written)
        own_server.start()
        with own_server.client() as client:
            kept = client.x.numbers.distinct("_id")
        assert set(acknowledged) <= set(kept)
    writer.join()
    with own_server.client() as client:
        assert sorted(client.x.numbers.distinct("_id")) == list(range(N_WRITES))


def test_a_restart_keeps_port_and_data(own_server):
    uri = own_server.uri("x")
    with MongoClient(uri) as client:
        client.x.numbers.insert_one({"_id": 1})
        own_server.restart()
        assert client.x.numbers.count_documents({}) == 1


def test_a_frozen_server_answers_after_the_thaw(own_server):
    with MongoClient(
        own_server.uri("x"), socketTimeoutMS=300, serverSelectionTimeoutMS=300
    ) as client:
        own_server.freeze()
        with pytest.raises(AutoReconnect):
            client.x.numbers.count_documents({})
        own_server.thaw()
        assert client.x.numbers.count_documents({}) == 0


def test_a_wrong_password_is_refused(tmp_path, mongo_server):  # noqa: ARG001 - as own_server
    with MongoServer(tmp_path / "own", auth=True, password=AWKWARD) as server:
        uri = server.uri("x", user="lycb")
        with MongoClient(uri, password=server.password) as client:
            client.x.numbers.insert_one({})
        with (
            MongoClient(uri, password=AWKWARD + "x") as client,
            pytest.raises(OperationFailure, match="Authentication failed"),
        ):
            client.x.numbers.find_one()
        with (
            MongoClient(server.uri("x")) as client,
            pytest.raises(OperationFailure, match="requires authentication"),
        ):
            client.x.numbers.find_one()


def test_the_port_is_open_on_the_loopback_only(mongo_server):
    connections = psutil.Process(mongo_server.process.pid).net_connections()
    listening = {c.laddr for c in connections if c.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", mongo_server.port)}


def test_the_server_dies_with_a_killed_test_run(tmp_path, mongo_server):  # noqa: ARG001
    code = "import sys; from servers import MongoServer as M; m = M(sys.argv[1]); m.start(); "
    code += "print(m.process.pid, flush=True); import time; time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "own"],
        cwd=HELPERS,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        server = psutil.Process(int(run.stdout.readline()))
        run.send_signal(signal.SIGKILL)
    server.wait(10)
    assert not server.is_running()


def test_each_database_is_a_tests_own(mongo_uri, launchpad_file, mongo_server):
    launchpad = yaml.safe_load(launchpad_file.read_text())
    assert launchpad["port"] == mongo_server.port
    assert launchpad["name"] not in mongo_uri
    with MongoClient(mongo_uri) as client:
        assert client.get_default_database().list_collection_names() == []


def test_without_a_mongod_the_reason_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(servers, "MONGOD_CACHE", tmp_path / "cache")
    monkeypatch.delenv("MONGOD_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoServerError, match="set MONGOD_BIN"):
        find_mongod()
    assert list(tmp_path.glob("**/mongod")) == []


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip), ("true", pytest.fail)])
def test_a_test_without_its_server_is_skipped_loudly_and_fails_on_ci(monkeypatch, ci, outcome):
    monkeypatch.setitem(os.environ, "CI", ci)
    with pytest.raises(outcome.Exception, match="NOT RUN: no mongod"):
        not_run(NoServerError("no mongod"))


@pytest.mark.parametrize("workers", ["0", "2"])
def test_tests_that_were_not_run_are_named_at_the_end(tmp_path, workers):
    """Whether pytest runs them itself or has workers for it."""
    (tmp_path / "conftest.py").write_text("from servers import pytest_terminal_summary")
    for name in ("one", "two"):
        (tmp_path / f"test_{name}.py").write_text(
            f"from servers import not_run\ndef test_{name}(): not_run('no {name}')\n"
            "def test_nothing(): pass\n"
        )
    environment = {**os.environ, "PYTHONPATH": str(HELPERS), "CI": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", workers, "--dist", "loadfile", "-p", "no:randomly"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "2 passed, 2 skipped" in done.stdout
    *_, end = done.stdout.partition(" NOT RUN ")
    for name in ("one", "two"):
        assert f"NOT RUN: test_{name}.py::test_{name}: no {name}" in end
