"""Somebody hears of an end, a failure and a broken worker: once each, by a command of their own."""

import pytest
from service_jobs import named, needs, note
from worker_processes import Service

from lycb_flows.service.notices import tell

COMMAND = '(echo "$LYCB_EVENT of $LYCB_CAMPAIGN by $LYCB_OWNER"; cat) >> told'


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Service(launchpad_file, mongo_uri, tmp_path) as one:
        yield one


def test_ends_failures_and_broken_workers_are_told_once(service, tmp_path):
    said = []

    def told(command=COMMAND):
        n = tell(service.pad, command, said.append)
        file = tmp_path / "told"
        text = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return n, text

    broken = {"environment": {"LYCB_TEST_PACKAGE": "broken"}}
    job = named(needs(str(tmp_path), "a", "LYCB_TEST_PACKAGE"), "a")
    service.submit(job, campaign="sick", owner="ada")
    assert service.worker(n_launches=1, **broken).wait() == 0
    assert service.state("a") == "FIZZLED"
    assert told() == (0, "")  # another worker may try it
    service.let_pass(150)
    assert told("echo no route >&2; exit 3") == (0, "")
    assert said == ["the command of --notify failed: exit code 3, no route"]
    n, text = told()
    assert n == 1
    assert text.startswith("failed of sick by ada\n1 jobs of the campaign sick failed.\na: Type")
    assert told() == (0, "")

    service.submit(named(note(str(tmp_path), "b"), "b"), campaign="good", owner="bob", record="s")
    assert service.worker(n_launches=1).wait() == 0
    n, text = told()
    assert (n, text.splitlines()[0]) == (1, "ended of good by bob")

    jobs = [named(needs(str(tmp_path), c, "LYCB_TEST_PACKAGE"), c) for c in "cde"]
    service.submit(*jobs, campaign="other", record="t")
    assert service.worker(name="hole", **broken).wait() == 1
    n, text = told()
    assert n == 1
    assert text.startswith("broken of  by \nThe worker hole on ")
    assert "3 jobs failed in a row" in text
    assert told() == (0, "")
