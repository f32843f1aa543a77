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


@pytest.fixture
def told(service, tmp_path):
    """How many were told, and what the command wrote."""

    def tell_and_read(command=COMMAND, said=None):
        n = tell(service.pad, command, (said if said is not None else []).append)
        file = tmp_path / "told"
        text = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return n, text

    return tell_and_read


def sick(folder, name):
    return named(needs(str(folder), name, "LYCB_TEST_PACKAGE"), name)


BROKEN = {"environment": {"LYCB_TEST_PACKAGE": "broken"}}


def test_failures_are_told_once_they_stay(service, told, tmp_path):
    service.submit(sick(tmp_path, "a"), campaign="sick", owner="ada")
    assert service.worker(n_launches=1, **BROKEN).wait() == 0
    assert service.state("a") == "FIZZLED"
    assert told() == (0, "")  # another worker may try it
    service.let_pass(150)
    said = []
    assert told("echo no route >&2; exit 3", said) == (0, "")
    assert said == ["the command of --notify failed: exit code 3, no route"]
    n, text = told()
    assert n == 1
    assert text.startswith("failed of sick by ada\n1 jobs of the campaign sick failed.\na: Type")
    assert told() == (0, "")


def test_ends_and_broken_workers_are_told_once(service, told, tmp_path):
    service.submit(named(note(str(tmp_path), "b"), "b"), campaign="good", owner="bob")
    assert service.worker(n_launches=1).wait() == 0
    n, text = told()
    assert (n, text.splitlines()[0]) == (1, "ended of good by bob")
    service.submit(*(sick(tmp_path, c) for c in "cde"), campaign="other", record="t")
    assert service.worker(name="hole", **BROKEN).wait() == 1
    n, text = told()
    assert n == 1
    assert text.startswith("broken of  by \nThe worker hole on ")
    assert "3 jobs failed in a row" in text
    assert told() == (0, "")
