"""kill -9 at random moments: the same facts at the end, and no finished step repeated."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from places import CAMPAIGNS, HELPERS

from lycb_flows.store import differences, open_store

pytestmark = pytest.mark.torture
N_KILLS = 30
HARNESS = HELPERS / "kill_harness.py"


@pytest.mark.timeout(900)
def test_thirty_kills_on_the_tiny_campaign_change_no_fact_and_repeat_no_finished_step(tmp_path):
    command = [sys.executable, HARNESS, CAMPAIGNS / "tiny.yaml", tmp_path, str(N_KILLS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] == N_KILLS
    reference = open_store(tmp_path / "reference")
    for folder in told["killed_stores"]:
        killed = open_store(Path(folder))
        assert not any(differences(reference, killed).values())
        successes = Counter(attempt.key for attempt in killed.attempts(outcome="done"))
        assert set(successes.values()) == {1}
        assert not killed.attempts(outcome="superseded")
    lost = [a for folder in told["killed_stores"] for a in open_store(Path(folder)).attempts()]
    assert any(attempt.outcome == "running" for attempt in lost)  # killed in the middle of work
