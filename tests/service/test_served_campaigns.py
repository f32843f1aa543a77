"""`lycb serve` on a database: what looking costs it, levers on jobs, and a reader's rights."""

import contextlib
import re
import selectors
import time

import pytest
import yaml
from pages import Served
from places import CAMPAIGNS
from pymongo import MongoClient
from servers import MongoServer
from waiting import wait_until
from worker_processes import Service

from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.errors import LabelError
from lycb_flows.schemas import Label
from lycb_flows.serve import QUERIES, count_queries
from lycb_flows.service import submit_campaign
from lycb_flows.store import open_store, user_name

N_PAGES, QUERIES_PER_S = 50, 20
GUEST = "a guest"
_READING = ("aggregate", "count", "distinct", "find", "getMore")


@pytest.fixture
def service(launchpad_file, mongo_uri, tmp_path):
    with Service(launchpad_file, mongo_uri, tmp_path) as made:
        yield made


@pytest.fixture
def campaign(service, mongo_uri):
    """A submitted campaign: its submission."""
    with open_store(mongo_uri) as store:
        submission = submit(store, read_campaign(CAMPAIGNS / "loop.yaml"))
        submit_campaign(service.pad, submission)
        yield submission


@pytest.fixture
def served(campaign, mongo_uri, launchpad_file):
    del campaign
    count_queries()
    with Served(mongo_uri, launchpad=launchpad_file, with_levers=True, interval_s=5.0) as server:
        yield server


# -- cost ----------------------------------------------------------------------------------------


class OpenPages:
    """Pages that are open in browsers: each reads itself anew whenever it hears of a change."""

    def __init__(self, server, path, number):
        self.server, self.path = server, path
        self.links = selectors.DefaultSelector()
        for _ in range(number):
            server.page(path)
            link, status = server.stream()
            assert status == 200
            link.settimeout(0)
            self.links.register(link, selectors.EVENT_READ)

    def stay_open(self, seconds):
        """Return how often a page was read anew."""
        until, n_read = time.monotonic() + seconds, 0
        while time.monotonic() < until:
            for found, _ in self.links.select(0.1):
                if b"event: look" in found.fileobj.recv(65536):
                    self.server.page(self.path)
                    n_read += 1
        return n_read

    def close(self):
        for found in list(self.links.get_map().values()):
            found.fileobj.close()


def test_50_open_pages_of_a_running_campaign_ask_the_database_less_than_20_times_a_second(
    served, campaign, service, mongo_server
):
    path = f"/campaigns/{campaign.record.key}"
    with contextlib.closing(OpenPages(served, path, N_PAGES)) as pages:
        service.worker(name="one")
        begin, before = time.monotonic(), QUERIES.n_commands
        n_read = pages.stay_open(12.0)
        per_s = (QUERIES.n_commands - before) / (time.monotonic() - begin)
        assert n_read >= N_PAGES  # the campaign went on, and every page heard of it
        assert per_s < QUERIES_PER_S
        service.processes[0].kill()
        with mongo_server.client() as client:  # as the database itself counts
            begin, before = time.monotonic(), n_commands(client)
            pages.stay_open(6.0)
            per_s_there = (n_commands(client) - before) / (time.monotonic() - begin)
    assert per_s_there < QUERIES_PER_S
    assert f"{campaign.campaign.name}" in served.page("/")


def n_commands(client):
    commands = client.admin.command("serverStatus")["metrics"]["commands"]
    return sum(commands[name]["total"] for name in _READING)


# -- levers --------------------------------------------------------------------------------------


def test_pause_resume_and_cancel_are_those_of_the_commands(served, campaign, service):
    path = f"/campaigns/{campaign.record.key}"
    assert "waiting" in served.page(path)
    states = lambda: set(service.states().values())  # noqa: E731 - short
    n_jobs = len(service.states())
    assert served.pull(f"{path}/levers/pause") == (200, f"loop: {n_jobs} jobs paused\n")
    assert states() == {"PAUSED"}
    wait_until(lambda: 'badge paused">paused' in served.page(path), "the page to know it")
    paused = r'lycb_jobs\{campaign="loop",category="\w+",state="PAUSED"\} (\d+)'
    assert sum(map(int, re.findall(paused, served.page("/metrics")))) == n_jobs
    assert served.pull(f"{path}/levers/resume") == (200, f"loop: {n_jobs} jobs resumed\n")
    assert states() <= {"READY", "WAITING"}
    assert served.pull(f"{path}/levers/retry")[1] == "loop: 0 failed jobs sent back to the queue\n"
    service.pad.workflows.update_one({}, {"$set": {"metadata.owner": "ana"}})
    status, text = served.pull(f"{path}/levers/cancel")
    assert (status, "owner=ana" in text) == (409, True)
    assert states() <= {"READY", "WAITING"}
    status, text = served.pull(f"{path}/levers/cancel", sure="yes")
    assert (status, text) == (200, f"loop: {n_jobs} jobs cancelled\n")
    assert states() == {"ARCHIVED"}
    wait_until(lambda: "not on the LaunchPad" in served.page(path), "the page to know it")
    assert "levers/pause" not in served.page(path)


def test_a_failed_job_is_shown_with_its_reason_and_tried_again(served, campaign, service):
    path, job = f"/campaigns/{campaign.record.key}", next(iter(service.states()))
    row = service.pad.fireworks.find_one({"name": job})
    served.page(path)
    fizzled = {"state": "FIZZLED"}  # as of a job that could not be loaded: it has no launch
    service.pad.fireworks.update_one({"_id": row["_id"]}, {"$set": fizzled})
    states = {f"fw_states.{row['fw_id']}": "FIZZLED"}
    service.pad.workflows.update_one({}, {"$set": states | fizzled})
    wait_until(lambda: 'badge failing">failing' in served.page(path), "the page to know it")
    page = served.page(path)
    assert f"<strong>{job}</strong> it could not be loaded" in page
    assert 'lycb_campaigns{state="failing"} 1' in served.page("/metrics")
    status, text = served.pull(f"{path}/levers/retry")
    assert (status, text) == (200, "loop: 1 failed job sent back to the queue\n")
    wait_until(lambda: "failing" not in served.page(path), "the page to know it")


def test_extend_and_stop_after_leave_a_note_with_the_users_name(served, campaign, mongo_uri):
    path = f"/campaigns/{campaign.record.key}"
    assert "it stops after round 0" in served.pull(f"{path}/levers/stop-after")[1]
    assert "it stops after round 1 instead" in served.pull(f"{path}/levers/extend")[1]
    with open_store(mongo_uri) as store:
        note = store.note(f"levers {campaign.record.key}")
    assert re.fullmatch(rf"{user_name()} on [\d-]+ [\d:]+ UTC", note["stop_note"])
    wait_until(lambda: note["stop_note"] in served.page(path), "the page to show it")


def test_labels_that_failed_for_good_are_submitted_again(served, campaign, service, mongo_uri):
    path, worker = f"/campaigns/{campaign.record.key}", service.worker(name="one")
    assert served.pull(f"{path}/levers/relabel")[1] == "loop: no label has failed for good\n"
    wait_until(lambda: "COMPLETED" in label_states(service), "a label")
    served.pull(f"{path}/levers/pause")
    worker.kill()
    with open_store(mongo_uri) as store:
        label = next(iter(store.find_all(Label)))
        store.retract(label.key, "for the test")
        for _ in range(campaign.campaign.labels.max_attempts):
            with pytest.raises(LabelError), store.attempt(Label, label.key, "label"):
                raise LabelError("SCF did not converge")
    wait_until(lambda: "SCF did not converge" in served.page(path), "the reason")
    status, text = served.pull(f"{path}/levers/relabel")
    assert (status, text) == (200, "loop: labels submitted again: 1 of test\n")
    assert any("again" in name for name in service.states())


def label_states(service):
    return {state for name, state in service.states().items() if name.startswith("label")}


# -- rights --------------------------------------------------------------------------------------


def test_a_database_user_who_may_only_read_is_enough_and_levers_say_so(tmp_path, monkeypatch):
    with MongoServer(tmp_path / "locked", auth=True) as server:
        pad_file = tmp_path / "pad.yaml"
        pad_file.write_text(yaml.safe_dump(server.launchpad("group")))
        monkeypatch.setenv("LYCB_STORE_PASSWORD", server.password)
        with (
            open_store(server.uri("group", user="lycb")) as store,
            Service(pad_file, server.uri("group", user="lycb"), tmp_path) as service,
        ):
            submission = submit(store, read_campaign(CAMPAIGNS / "loop.yaml"))
            submit_campaign(service.pad, submission)
        with server.client() as client:
            client.admin.command("createUser", "guest", pwd=GUEST, roles=["readAnyDatabase"])
        content = server.launchpad("group") | {"username": "guest", "password": GUEST}
        pad_file.write_text(yaml.safe_dump(content))
        monkeypatch.setenv("LYCB_STORE_PASSWORD", GUEST)
        before = databases(server)
        uri = server.uri("group", user="guest")
        with Served(uri, launchpad=pad_file, with_levers=True) as served:
            path = f"/campaigns/{submission.record.key}"
            for address in ("/", path, f"{path}/report", "/metrics"):
                assert "loop" in served.page(address)
            for lever in ("extend", "pause"):
                status, text = served.pull(f"{path}/levers/{lever}")
                assert (status in {409, 503}, text.count("\n")) == (True, 1)
                assert "lacks a right" in text
        assert databases(server) == before


def databases(server):
    with server.client() as client:
        client: MongoClient
        group = client.get_database("group")
        names = sorted(group.list_collection_names())
        return {name: sorted(map(str, group[name].find({}))) for name in names}
