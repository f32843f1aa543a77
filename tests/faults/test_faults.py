"""A campaign of 191 jobs on four workers: alone, and while everything around it breaks."""

import json
import subprocess
import sys

import pytest
from places import CAMPAIGNS, HELPERS

pytestmark = pytest.mark.torture
HARNESS = HELPERS / "fault_harness.py"
SOUND = {
    "jobs": 191,
    "differences": {"only in the first": 0, "only in the second": 0, "different facts": 0},
    "most successes of a key": 1,
    "rounds": 2,
    "jobs of one name": [],
    "orphans": 0,
    "unfinished jobs": 0,
    "unfinished launches": 0,
    "locks": 0,
    "claims": 0,
}
OUTCAST = {
    "completed by strangers": 0,
    "jobs of kept out": 0,
    "end of the old": 0,
    "broken that went on": [],
    "poisoned labels": 1,
    "poison is what is missing": True,
}
"""Workers of a broken package, of broken code, of another method version; and a poison label."""


@pytest.mark.usefixtures("mongo_server")  # without MongoDB: not run, by name
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [0, 1], ids=["calm", "storm"])
def test_many_workers_give_the_embedded_runs_facts(seed, tmp_path):
    command = [sys.executable, HARNESS, CAMPAIGNS / "service.yaml", tmp_path, str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name: found[name] for name in SOUND} == SOUND
    if seed:
        assert {name: found[name] for name in OUTCAST} == OUTCAST
        assert found["broken that stopped"] > 0
        assert found["workers lost to poison"] >= 3
    interrupted = sum(found["interrupted launches"].values())
    assert (interrupted > 0) == (seed > 0)
