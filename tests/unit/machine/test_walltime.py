"""A job leaves at its restart points when its worker wants to go, in the worker's processes too."""

import subprocess
import sys
import time

import pytest

from lycb_flows.errors import GivenBackError
from lycb_flows.machine.walltime import Walltime


def test_without_a_worker_nothing_stops():
    Walltime(deadline=time.time() - 1, stop_reason="SIGUSR1").leave_if_over(next_s=1e9)


def test_a_job_leaves_when_asked_or_when_the_next_restart_point_comes_too_late():
    with pytest.raises(GivenBackError, match="SIGUSR1"):
        Walltime(gives_back=True, stop_reason="SIGUSR1").leave_if_over(next_s=0.0)
    walltime = Walltime(gives_back=True, deadline=time.time() + 100)
    walltime.leave_if_over(next_s=50.0)
    with pytest.raises(GivenBackError, match="walltime"):
        walltime.leave_if_over(next_s=200.0)


@pytest.mark.parametrize("deadline", [None, 123.5])
def test_a_workers_processes_have_its_walltime(deadline, monkeypatch):
    monkeypatch.setenv("LYCB_WALLTIME_DEADLINE", "")  # restored afterwards
    code = (
        "from lycb_flows.machine.walltime import WALLTIME as here; "
        "print(here.gives_back, here.deadline)"
    )

    def child():
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    Walltime(gives_back=True, deadline=deadline).tell_children()
    assert child() == ["True", str(deadline)]
    Walltime().tell_children()
    assert child() == ["False", "None"]
