"""A time limit interrupts what takes too long, and leaves nothing behind."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lycb_flows.errors import LabelError
from lycb_flows.machine.bound_programs import run_bound
from lycb_flows.machine.time_limits import call_within

TRACED_AFTER_A_LIMIT = """
import sys, threading
from lycb_flows.machine.time_limits import call_within

def limited():
    call_within(60.0, lambda: None)

def call():
    return "called"

def traced():
    sys.settrace(lambda *_: None)  # as coverage and debuggers do
    print(call())

for act in (limited, traced):
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
"""


def in_a_thread(act):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(act).result()


def test_a_time_limit_ends_python_and_programs_in_a_thread():
    def compute():
        while True:
            time.sleep(0.01)

    def wait():
        run_bound([sys.executable, "-c", "import time; time.sleep(60)"])

    for act, setting in ((compute, "labels.timeout_s"), (wait, "ranking.dft.timeout_s")):
        begin = time.monotonic()
        with pytest.raises(LabelError, match=rf"took too long.*raise {setting}"):
            in_a_thread(lambda act=act, setting=setting: call_within(0.3, act, setting))
        assert time.monotonic() - begin < 30


def test_a_time_limit_that_is_over_raises_nothing_later_in_a_thread():
    def in_time():
        found = call_within(1.0, lambda: "done")
        time.sleep(1.5)
        return found

    def at_the_limit():
        n_late = 0
        for _ in range(300):
            try:
                call_within(1e-3, lambda: time.sleep(1e-3))
            except LabelError:
                n_late += 1
            sum(range(1000))  # nothing is raised out here
        return n_late

    assert in_a_thread(in_time) == "done"
    assert 0 < in_a_thread(at_the_limit) <= 300


def test_traced_code_goes_on_after_a_limit_in_a_thread():
    command = [sys.executable, "-c", TRACED_AFTER_A_LIMIT]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == "called\n"
