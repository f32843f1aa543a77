"""A LaunchPad that cannot be used is refused in one line, without its password."""

import os
import socket
import time

import pytest
import yaml
from servers import MongoServer, find_mongod, free_port, spawn
from waiting import wait_until

from lycb_flows.errors import InputError, StoreError
from lycb_flows.service.launchpad import (
    connect,
    load_launchpad,
)

pytestmark = pytest.mark.filterwarnings("ignore:Some jobs are not connected:UserWarning")


def assert_one_line(told, *words, without=()):
    message = str(told.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    for word in without:
        assert word not in message


@pytest.fixture
def strict_server(tmp_path, mongo_server):  # noqa: ARG001 - where there is no mongod, not run
    with MongoServer(tmp_path / "own", auth=True) as server:
        yield server


@pytest.mark.parametrize("uri_mode", [False, True])
def test_a_wrong_password_is_one_line_without_it(strict_server, tmp_path, monkeypatch, uri_mode):
    file = tmp_path / "launchpad.yaml"
    content = strict_server.launchpad("lp")
    password = content.pop("password")
    if uri_mode:
        uri = strict_server.uri("lp", user=strict_server.user)
        content = {"host": uri, "name": "lp", "uri_mode": True}
    file.write_text(yaml.safe_dump(content))
    monkeypatch.setenv("LYCB_LAUNCHPAD_PASSWORD", "swordfish")
    with pytest.raises(StoreError) as told:
        load_launchpad(file)
    assert_one_line(told, "refuses this user", without=["swordfish"])
    assert told.value.__suppress_context__
    monkeypatch.setenv("LYCB_LAUNCHPAD_PASSWORD", password)
    pad = load_launchpad(file)
    assert pad.workflows.count_documents({}) == 0
    assert password not in str(pad.to_dict())
    pad.close()
    if uri_mode:
        content["host"] = uri.replace("@", ":swordfish@")
    else:
        content["password"] = "swordfish"  # noqa: S105 - the wrong one
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(StoreError) as told:
        load_launchpad(file)
    assert_one_line(told, "refuses this user", without=["swordfish"])


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(connect, "_ANSWER_S", 1.0)


@pytest.mark.usefixtures("impatient")
def test_no_server_is_one_line(tmp_path):
    file = tmp_path / "launchpad.yaml"
    file.write_text(yaml.safe_dump({"host": "127.0.0.1", "port": free_port(), "name": "x"}))
    started = time.monotonic()
    with pytest.raises(StoreError) as told:
        load_launchpad(file)
    assert_one_line(told, "no answer", "start MongoDB")
    assert time.monotonic() - started < 15


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("options", [{}, {"replicaSet": "rs0"}])
def test_a_mongod_without_replica_set_is_refused(tmp_path, mongo_server, options):
    del mongo_server  # where there is no mongod, not run
    mongod, port, data = find_mongod(), free_port(), tmp_path / "db"
    data.mkdir()
    environment = {**os.environ, "LD_LIBRARY_PATH": str(mongod.parent)}
    alone = spawn([mongod, "--dbpath", data, "--port", port, "--nounixsocket"], env=environment)
    try:
        wait_until(lambda: _listens(port), "a standalone mongod")
        file = tmp_path / "launchpad.yaml"
        content = {"host": "127.0.0.1", "port": port, "name": "x", "mongoclient_kwargs": options}
        file.write_text(yaml.safe_dump(content))
        with pytest.raises(StoreError) as told:
            load_launchpad(file)
        assert_one_line(told, "not a replica set", "--replSet")
    finally:
        alone.kill()
        alone.wait()


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hostt: x", ["unknown field", "found=hostt"]),
        ("- x", ["unknown field", "no mapping"]),
        ("a: [", ["not YAML"]),
        ("{host: 'mongodb://u:swordfish@h:x/lp', name: lp, uri_mode: true}", ["cannot be used"]),
    ],
)
def test_an_unusable_file_is_one_line(tmp_path, text, words):
    file = tmp_path / "launchpad.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as told:
        load_launchpad(file)
    assert_one_line(told, *words, without=["swordfish"])


def test_a_missing_file_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no LaunchPad"):
        load_launchpad(tmp_path / "none.yaml")
    monkeypatch.setenv("FW_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(InputError, match="correct FW_CONFIG_FILE"):
        load_launchpad()
