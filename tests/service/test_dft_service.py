"""Ground states by DFT on a LaunchPad: who relaxes, and what is added. The queue is real."""

import contextlib

import pytest
from dft_campaigns import CONTRARY, contrary, one_parent, rank

from lycb_flows.campaign.submission import submit
from lycb_flows.flows.structures import ranking_flow
from lycb_flows.jobs import resources as machine
from lycb_flows.labels.teacher import Teacher
from lycb_flows.service.launchpad import load_launchpad, submit_flow
from lycb_flows.store import differences, open_store


@pytest.fixture
def pad(mongo_uri, launchpad_file, monkeypatch, tmp_path):
    """A LaunchPad and a store of one's own."""
    monkeypatch.setenv("LYCB_STORE", mongo_uri)
    monkeypatch.setenv("LYCB_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("LYCB_MIN_FREE_GB", "0.01")
    pad = load_launchpad(launchpad_file)
    yield pad
    pad.connection.close()
    machine.open_kept(mongo_uri).close()  # of the jobs that ran in this process
    machine.open_kept.cache_clear()


def ready(pad):
    return sorted(one["name"] for one in pad.fireworks.find({"state": "READY"}))


def test_dft_workers_relax_and_a_list_that_grows_has_the_embedded_runs_facts(
    pad, lycb, mongo_uri, launchpad_file, monkeypatch, tmp_path
):
    def work(*categories):
        words = [word for one in categories for word in ("--category", one)]
        code, _, err = lycb("worker", "--nlaunches", 0, *words, "--launchpad", launchpad_file)
        assert code == 0, err

    monkeypatch.setattr(Teacher, "label", contrary(Teacher.label))
    campaign = one_parent(**CONTRARY | {"n": 2, "limit": 4})
    embedded = open_store(tmp_path / "embedded")
    rank(embedded, campaign)
    with contextlib.closing(open_store(mongo_uri)) as store:
        flow = ranking_flow(submit(store, campaign).campaign)
        submit_flow(pad, flow, name="ranking", metadata={"campaign": campaign.name})
        monkeypatch.setenv("LYCB_STORE", mongo_uri)
        work("light", "gpu")
        assert ready(pad) == ["dft-relax LYC 00", "dft-relax LYC 01"]
        work("dft")
        assert ready(pad) == ["decide dft 00"]
        work("light")
        assert ready(pad) == ["dft-relax LYC 02", "dft-relax LYC 03"]
        work("dft", "light")
        assert {one["state"] for one in pad.fireworks.find({})} == {"COMPLETED"}
        assert not any(differences(embedded, store).values())
