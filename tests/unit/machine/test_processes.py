"""Work spread over processes: ordered results, errors that arrive, nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
from waiting import wait_until

from lycb_flows.errors import InputError, MachineError
from lycb_flows.machine import processes
from lycb_flows.machine.processes import ProcessPool


def square(number):
    return number * number, os.getpid()


def doze(_number):
    time.sleep(0.2)
    processes.count_pieces(10)


def fail_at_three(number):
    if number == 3:
        raise InputError("three is no number", fix="take another", found=number)
    return number


def die(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does that has no memory left
    return number


def write_pid(path):
    """Work for longer than any test; a path that ends with 0 is done at once."""
    path.write_text(str(os.getpid()))
    if path.name != "0":
        time.sleep(600)


def fail_beside_others(path):
    begun = path.with_name("begun")
    if path.name == "0":
        wait_until(begun.exists, "the other")
        raise InputError("this one fails")
    begun.touch()
    time.sleep(0.5)
    path.write_text("done")


@pytest.fixture(scope="module")
def pool():
    return ProcessPool(2)


def test_results_come_in_order_from_other_processes(pool):
    results = list(pool.map_ordered(square, range(8)))
    assert [value for value, _ in results] == [n * n for n in range(8)]
    assert os.getpid() not in {pid for _, pid in results}


def test_progress_is_told_while_others_work(pool, monkeypatch):
    monkeypatch.setattr(processes, "_MEANWHILE_S", 0.05)
    for _ in range(2):
        calls = []
        assert len(list(pool.map_ordered(doze, range(4), reached=calls.append))) == 4
        assert len(calls) > 2
        assert calls == sorted(calls)
        assert 0 < calls[-1] <= 40


def test_pieces_are_told_where_the_work_is_done_here():
    calls = []
    list(ProcessPool(1).map_ordered(doze, range(2), reached=calls.append))
    assert calls == [10, 20]
    processes.count_pieces(5)  # of nobody's work
    assert calls == [10, 20]


def test_one_process_or_one_task_stays_here(pool):
    assert list(pool.map_ordered(square, [3])) == [(9, os.getpid())]
    assert {pid for _, pid in ProcessPool(1).map_ordered(square, range(3))} == {os.getpid()}


def test_an_error_keeps_its_one_line_across_the_border(pool):
    with pytest.raises(InputError) as caught:
        list(pool.map_ordered(fail_at_three, range(5)))
    assert str(caught.value) == "three is no number (found=3): take another"


def test_a_worker_that_dies_is_the_machines_fault_and_others_take_its_place():
    pool = ProcessPool(2)
    for _ in range(2):
        with pytest.raises(MachineError, match="worker process died"):
            list(pool.map_ordered(die, range(4)))
        pids = {pid for _, pid in pool.map_ordered(square, range(4))}
    os.kill(pids.pop(), signal.SIGKILL)  # between two jobs
    with pytest.raises(MachineError, match="worker process died"):
        wait_until(lambda: not list(pool.map_ordered(square, range(2))), "its end to be seen")
    assert [value for value, _ in pool.map_ordered(square, range(2))] == [0, 1]


def is_written(path):
    return path.exists() and path.read_text()


@pytest.mark.parametrize("way", ["interrupted", "closed"])
def test_work_that_is_left_ends_at_once(tmp_path, monkeypatch, way):
    pool, paths = ProcessPool(2), [tmp_path / str(number) for number in range(3)]
    monkeypatch.setattr(processes, "_MEANWHILE_S", 0.05)

    def interrupt(_n):
        if way == "interrupted" and all(map(is_written, paths)):
            os.kill(os.getpid(), signal.SIGINT)

    with closing(pool.map_ordered(write_pid, paths, reached=interrupt)) as results:
        next(results)
        wait_until(lambda: all(map(is_written, paths)), "the work")
        if way == "interrupted":
            with pytest.raises(KeyboardInterrupt):
                next(results)
    pids = {int(path.read_text()) for path in paths}
    wait_until(lambda: not any(map(is_alive, pids)), "their end")
    assert not {pid for _, pid in pool.map_ordered(square, range(4))} & pids


def test_an_error_of_one_lets_the_others_end(tmp_path, pool):
    """They keep what they have computed, and stop by themselves at a restart point."""
    paths = [tmp_path / str(number) for number in range(2)]
    with pytest.raises(InputError, match="this one fails"):
        list(pool.map_ordered(fail_beside_others, paths))
    wait_until(lambda: is_written(paths[1]), "the other")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_leave_when_their_parent_is_ended(tmp_path, number):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, signal, sys, time\n"
        "from lycb_flows.machine.processes import ProcessPool\n"
        "def work(n):\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
        "    list(ProcessPool(2).map_ordered(work, range(2)))\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        assert all(is_alive(pid) for pid in workers)
        parent.send_signal(number)
        wait_until(lambda: not any(is_alive(pid) for pid in workers), "their end")
        assert parent.wait() == (0 if number == signal.SIGTERM else -number)


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 - as the kernel tells it
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False
