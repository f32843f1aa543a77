"""The stand-in for VASP, forked from a warmed process: whoever starts it sees no difference."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stand_in import THEORY, forking, processes_in, salt
from waiting import wait_until

from lycb_flows.labels.vasp.inputs import vasp_inputs
from lycb_flows.testing.vasp_server import ADDRESS

PROGRAM = [sys.executable, "-m", "lycb_flows.testing.vasp"]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    vasp_inputs(THEORY, salt()).write(path, potcar=False)
    return path


def start(folder, address, failure=""):
    environment = {**os.environ, "LYCB_STAND_IN_FAILS": failure, ADDRESS: address}
    return subprocess.Popen(
        PROGRAM,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(program):
    out, err = program.communicate(timeout=60)
    return program.returncode, out, err


@pytest.fixture
def hanging(folder, stand_in_server):
    """A run that hangs: the program and its fork's process id.

    It hangs already: a KeyboardInterrupt while a file's first line runs leaves coverage's lock
    taken for good, for which the fork would wait at its end.
    """
    program = start(folder, stand_in_server, "hangs,always")
    assert "stand-in" in program.stdout.readline()
    assert any("hangs" in line for line in program.stdout)
    (fork,) = set(processes_in(folder)) - {program.pid}
    yield program, fork
    program.kill()
    program.communicate()


def test_a_fork_writes_what_a_program_of_its_own_writes(folder, stand_in_server, tmp_path):
    forked = end(start(folder, stand_in_server))
    alone = tmp_path / "alone"
    alone.mkdir()
    vasp_inputs(THEORY, salt()).write(alone, potcar=False)
    assert end(start(alone, "")) == forked
    assert forked[::2] == (0, "")
    assert "E0=" in forked[1]
    names = {path.name for path in folder.iterdir()}
    assert {"vasprun.xml", "OUTCAR", "OSZICAR", "CONTCAR"} < names
    assert names == {path.name for path in alone.iterdir()}
    assert [n for n in names if (folder / n).read_bytes() != (alone / n).read_bytes()] == []


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        ("exit,always", 1, ""),
        ("memory,always", 1, "memory limit"),
        ("disk,always", 38, "No space left"),
        ("killed,always", -signal.SIGKILL, ""),
        ("time,always", -signal.SIGTERM, "TIME LIMIT"),
        ("nonsense", 1, "no such failure"),
    ],
)
def test_the_program_ends_as_its_fork_ends(folder, stand_in_server, failure, code, words):
    found, out, err = end(start(folder, stand_in_server, failure))
    assert found == code
    assert words in err
    assert ("stand-in" in out) == (failure != "nonsense")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_to_the_program_reaches_the_fork(hanging, folder, number):
    program, fork = hanging
    program.send_signal(number)
    code, _, err = end(program)
    assert not is_alive(fork)  # before its program
    assert code == (1 if number == signal.SIGINT else -number)
    assert ("KeyboardInterrupt" in err) == (number == signal.SIGINT)
    assert processes_in(folder) == []


def test_a_signal_to_the_programs_group_reaches_the_fork(hanging, folder):
    program, _ = hanging
    os.killpg(program.pid, signal.SIGTERM)
    assert end(program)[0] == -signal.SIGTERM
    assert processes_in(folder) == []


def test_the_fork_dies_with_a_program_that_is_killed(hanging, folder):
    program, fork = hanging
    program.kill()
    wait_until(lambda: not is_alive(fork))
    assert end(program)[0] == -signal.SIGKILL
    assert processes_in(folder) == []


def test_the_program_dies_with_a_fork_that_is_killed(hanging, folder):
    program, fork = hanging
    os.kill(fork, signal.SIGKILL)
    assert end(program)[0] == -signal.SIGKILL
    assert processes_in(folder) == []


def test_nobody_outlives_the_server(folder):
    with forking() as address:
        program = start(folder, address, "hangs,always")
        assert "stand-in" in program.stdout.readline()
    code, _, err = end(program)
    assert (code, err) == (1, "the stand-in's server is gone\n")
    wait_until(lambda: processes_in(folder) == [])
    code, _, err = end(start(folder, address))
    assert code == 1
    assert "FileNotFoundError" in err


def test_a_program_that_is_killed_while_it_asks_leaves_nothing(folder, stand_in_server):
    """At many moments; the server lives on."""
    for nap_s in (0.0, 0.1, 0.3, 0.6):
        program = start(folder, stand_in_server, "hangs,always")
        time.sleep(nap_s)
        program.kill()
        program.communicate()
        wait_until(lambda: processes_in(folder) == [])
    assert end(start(folder, stand_in_server, "exit,always"))[0] == 1


def is_alive(pid):
    return Path(f"/proc/{pid}").exists()
