"""Ground states by DFT: 20 candidates each, ties, the edge, failures, kills, mixed halides.

What stands in for DFT is a toy potential, which is no physics; the flow does not know.
"""

import contextlib
import re
import shutil
import time
from dataclasses import replace

import bson
import numpy as np
import pytest
from campaign_runs import run_campaign
from dft_campaigns import CONTRARY, LABELERS, contrary, ground_states, one_parent, rank
from fireworks import Firework
from html_page import Page
from jobflow import JobStore
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MemoryStore
from monty.json import MontyDecoder
from places import CAMPAIGNS, CIFS, ROOT
from stand_in import run_stand_in

from lycb_flows.campaign.anchors import load_anchors
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.finished import export_runs, import_runs
from lycb_flows.campaign.ground_states import correlations
from lycb_flows.campaign.rankings import ranking_key
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import Campaign, DftConfig, RelaxationConfig
from lycb_flows.crystals.binaries import BINARY_NAMES, load_binary
from lycb_flows.crystals.structures import to_pymatgen
from lycb_flows.errors import InputError, LabelError, LycbError, MachineError
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.flows.structures import AnchorMaker, DftRelaxMaker, GroundStatesMaker, ranking_flow
from lycb_flows.jobs import dft as dft_jobs
from lycb_flows.labels.relaxing import drive_fire
from lycb_flows.labels.teacher import Teacher
from lycb_flows.labels.vasp import labeler as vasp
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.relaxation.by_model import relax
from lycb_flows.report.page import write_report
from lycb_flows.schemas import (
    DftCandidate,
    GroundState,
    Label,
    Ranking,
    Relaxation,
    Run,
    Structure,
    Transport,
)
from lycb_flows.store import differences, open_store

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """A folder with the model's rankings of both parents, made once, to be copied."""
    folder = tmp_path_factory.mktemp("ranked")
    with contextlib.closing(open_store(folder)) as store:
        for name in ("LYC", "LYB"):
            campaign = one_parent(name)
            plain = campaign.ranking.model_copy(update={"dft": None})
            run_campaign(store, campaign.model_copy(update={"ranking": plain}), ranking_only=True)
    return folder


def copy_of(ranked, folder):
    return open_store(shutil.copytree(ranked, folder))


@pytest.fixture
def store(ranked, tmp_path):
    """A store in which the model has ranked, and nobody has asked DFT."""
    with contextlib.closing(copy_of(ranked, tmp_path / "store")) as store:
        yield store


@pytest.fixture(scope="module", params=LABELERS.values(), ids=LABELERS)
def twenty(request, ranked, tmp_path_factory):
    """Both parents, 20 candidates each: store, submission, results, names of the jobs."""
    store = copy_of(ranked, tmp_path_factory.mktemp("twenty") / "store")
    with pytest.MonkeyPatch.context() as patch:
        # VASP's stand-in relaxes by itself, as VTST's FIRE does; it runs in this process
        patch.setattr(vasp, "run", run_stand_in)
        patch.setenv("LYCB_VASP_OPTIMIZER", "vtst")
        patch.setenv("LYCB_VASP_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        campaign = ground_states(labeler=request.param)
        submission, names = run_campaign(store, campaign, ranking_only=True)
    yield store, submission, find_results(store, submission.campaign, submission.theory), names
    store.close()


# -- the relaxation ------------------------------------------------------------------------


def toy(name):
    source = find_model(name)
    return source.model, load_potential(source.model, source.weights)


def test_fire_over_labels_takes_the_steps_of_our_own_fire():
    model, potential = toy("toy-teacher")
    config = RelaxationConfig(fmax_ev_per_ang=0.05, max_steps=200)
    start = load_binary("YCl3")
    teacher = Teacher(model, potential)
    by_labels = drive_fire(start, teacher.label, config, teacher.theory)
    own = relax(start, potential, config)
    assert own.n_steps > 5
    assert by_labels.n_steps == own.n_steps
    assert len(by_labels.labels) == own.n_steps + 1
    assert by_labels.converged
    assert by_labels.energy_ev == pytest.approx(own.energy_ev, abs=1e-6)
    assert by_labels.static_energy_ev == pytest.approx(own.static_energy_ev, abs=1e-9)
    assert by_labels.static_energy_ev - by_labels.energy_ev > 0.01
    assert np.allclose(by_labels.structure.lattice_ang, own.structure.lattice_ang, atol=1e-5)
    assert by_labels.optimizer == f"FIRE (ASE) driving {teacher.theory.name}"
    assert by_labels.warnings == ("label by a teacher potential, not by DFT",)


def test_with_a_fixed_cell_only_positions_move_and_too_few_steps_are_not_convergence():
    model, potential = toy("toy-teacher")
    teacher = Teacher(model, potential)
    start = load_binary("YCl3")
    config = RelaxationConfig(fmax_ev_per_ang=0.05, max_steps=3, relax_cell=False)
    found = drive_fire(start, teacher.label, config, teacher.theory)
    assert found.structure.lattice_ang == start.lattice_ang
    assert found.structure.frac_coords != start.frac_coords
    assert not found.converged
    assert found.n_steps == 3
    theory = teacher.theory
    document = found.document(config, theory=theory.fingerprint, theory_name=theory.name)
    assert document.model is None
    assert document.theory == teacher.theory.fingerprint
    assert document.parents == (start.key, *found.labels)


def test_by_a_model_or_at_a_theory_is_another_key_and_the_models_stands():
    config = RelaxationConfig()
    by_model = Relaxation.key_of("a" * 64, config, model="b" * 64)
    assert by_model != Relaxation.key_of("a" * 64, config, theory="b" * 64)
    # computed by the code before there were others (6d50708)
    assert by_model == "4fc582152341ca8a495fafb053328c30f9932a7c982a5d32acb48c555563bb84"


def test_asking_dft_does_not_change_the_models_ranking(twenty):
    store, submission, found, _ = twenty
    plain = submission.campaign.ranking.model_copy(update={"dft": None})
    without = submission.campaign.model_copy(update={"ranking": plain})
    assert ranking_key(store, without, "LYC") == found.rankings["LYC"].key


# -- 20 candidates of each parent --------------------------------------------------------------


def test_both_parents_are_ordered_by_dft_with_the_models_order_beside_it(twenty):
    store, submission, found, _ = twenty
    fmax = submission.campaign.ranking.dft.relaxation.fmax_ev_per_ang
    for name in ("LYC", "LYB"):
        (decided,) = found.by_dft[name]
        ranked = found.rankings[name].best
        rows = decided.candidates
        assert decided.n == len(rows) == 20
        assert decided.n_there > 20
        energies = [row.energy_ev_per_atom for row in rows]
        assert energies == sorted(energies)
        assert sorted(row.model_rank for row in rows) == list(range(1, 21))
        assert [row.model_rank for row in rows] != list(range(1, 21))
        for row in rows:
            assert row.ordering == ranked[row.model_rank - 1].ordering
            relaxed = store.load(Relaxation, row.relaxation)
            assert relaxed.structure == ranked[row.model_rank - 1].structure
            assert relaxed.energy_ev_per_atom == row.energy_ev_per_atom
            assert row.volume_change == relaxed.volume_change
            assert row.converged == (relaxed.max_force_ev_per_ang < fmax)
        assert 0 < decided.kendall_tau < 1
        assert 0 < decided.spearman_rho < 1


def test_the_campaign_goes_on_from_dfts_ground_state(twenty):
    _, _, found, _ = twenty
    for name, decided in ((name, lists[-1]) for name, lists in found.by_dft.items()):
        assert found.ground_states[name] == decided.candidates[0].structure
        assert found.stages[0].starts[name] == decided.ground_state
        assert decided.ground_state != found.rankings[name].ground_state
    assert found.by_dft["LYB"][-1].candidates[0].model_rank != 1  # DFT overrules the model


def test_ties_are_named(twenty):
    _, submission, found, _ = twenty
    (decided,) = found.by_dft["LYC"]
    tolerance = submission.campaign.ranking.dft.tie_ev_per_atom
    best, *others = decided.candidates
    tied = [row.model_rank for row in others if row.above_best_ev_per_atom < tolerance]
    assert tied
    assert [row.model_rank for row in others if row.tied_with_best] == tied
    assert not best.tied_with_best
    assert f"with number {', '.join(map(str, tied))}" in decided.note
    assert "tied" not in found.by_dft["LYB"][0].note


def test_each_candidate_has_a_job_and_dft_workers_take_it(twenty):
    _, submission, _, names = twenty
    relaxing = [name for name in names if name.startswith("dft-relax")]
    assert sorted(relaxing) == sorted(
        f"dft-relax {system} {place:02d}" for system in ("LYC", "LYB") for place in range(20)
    )
    assert len(set(names)) == len(names)
    routes = {
        job.name: job.config.manager_config
        for job, _ in ranking_flow(submission.campaign).iterflow()
    }
    assert routes["dft-relax LYC 07"] == {"_category": "dft", "_priority": 10_000}
    assert routes["decide dft 00"] == {"_category": "light", "_priority": 10_001}


def test_every_step_is_a_label_and_leads_back_to_the_cif(twenty):
    store, _, found, _ = twenty
    (decided,) = found.by_dft["LYC"]
    relaxed = store.load(Relaxation, decided.candidates[0].relaxation)
    assert relaxed.n_steps > 4
    if relaxed.theory_name.startswith("vasp"):  # it relaxed by itself, in its own steps
        assert relaxed.optimizer == "FIRE (VTST in VASP, IOPT=7)"
        assert {"vasp_first", "vasp_relax_1", "vasp_static_1"} <= relaxed.made.logs.keys()
        return
    labels = [store.load(Label, key) for key in relaxed.labels]
    assert len(labels) == relaxed.n_steps + 1
    assert {label.theory for label in labels} == {relaxed.theory} == {decided.theory}
    assert labels[0].structure == relaxed.structure
    assert labels[-1].structure == relaxed.final_structure == decided.ground_state
    kinds = {store.find_document(key).kind for key in store.ancestors(decided.key)}
    assert {"label", "relaxation", "ranking", "enumeration", "parent"} <= kinds


def test_the_report_shows_both_orders(twenty, tmp_path):
    store, _, found, _ = twenty
    path = write_report(store, "twenty", found.document_keys(), tmp_path)
    text = Page(path).text
    (decided,) = found.by_dft["LYC"]
    assert f"LYC: the ground state by {decided.theory_name} is" in text
    assert f"LYC: no DFT stands behind the ground state ({decided.theory_name})" in text
    assert re.search(r"\) cannot tell the ground state from \d+ other candidate", text)
    assert f"LYC by {decided.theory_name}" in text
    assert f"Best 20 of {decided.n_there}" in text
    assert decided.note in text


# -- the edge ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "place", "n_there", "grows_to"),
    [
        (20, 15, 100, None),  # before the last quarter
        (20, 16, 100, 30),
        (20, 20, 100, 30),
        (20, 20, 24, 24),  # no more are there
        (20, 20, 20, None),  # all have been looked at
        (30, 30, 100, 40),
        (40, 40, 100, None),  # the limit
        (3, 3, 100, 13),
        (3, 2, 100, None),
    ],
)
def test_a_minimum_in_the_last_quarter_asks_for_a_longer_list(n, place, n_there, grows_to):
    config = DftConfig(labeler={"type": "teacher"})
    assert config.widened(n, place, n_there) == grows_to


@pytest.mark.parametrize(
    ("n", "limit", "lengths", "words"),
    [
        (20, 40, [20, 24], "number 24 of 24 in the model's order"),
        (8, 14, [8, 12, 14], "at the edge of the longest list: a lower one may lie beyond it"),
    ],
)
def test_a_list_grows_while_its_minimum_lies_at_the_edge(
    store, n, limit, lengths, words, monkeypatch
):
    monkeypatch.setattr(Teacher, "label", contrary(Teacher.label))
    campaign = one_parent(**CONTRARY, n=n, limit=limit)
    found, names = rank(store, campaign)
    lists = found.by_dft["LYC"]
    assert [one.n for one in lists] == lengths
    assert [one.widened_to for one in lists] == [*lengths[1:], None]
    assert [one.candidates[0].model_rank for one in lists] == lengths
    assert [one.at_edge for one in lists[:-1]] == [True] * (len(lengths) - 1)
    assert lists[-1].at_edge == (limit < 24)
    assert f"grows to {lengths[1]}" in lists[0].note
    assert words in lists[-1].note
    assert lists[-1].kendall_tau == pytest.approx(-1.0, abs=0.02)
    assert found.ground_states["LYC"] == lists[-1].candidates[0].structure
    relaxing = [name for name in names if name.startswith("dft-relax")]
    assert relaxing == [f"dft-relax LYC {place:02d}" for place in range(lengths[-1])]
    deciding = [name for name in names if name.startswith("decide")]
    assert deciding == [f"decide dft {turn:02d}" for turn in range(len(lengths))]


def test_a_longer_list_is_added_with_routes_of_its_own(store, monkeypatch):
    monkeypatch.setattr(Teacher, "label", contrary(Teacher.label))
    campaign = one_parent(**CONTRARY, n=4, limit=8)
    rank(store, campaign)
    monkeypatch.setenv("LYCB_STORE", store.address)
    decider = next(
        job
        for job, _ in ranking_flow(submit(store, campaign).campaign).iterflow()
        if isinstance(job.maker, GroundStatesMaker)
    )
    assert not decider.config.pass_manager_config
    outputs = JobStore(MemoryStore())
    outputs.connect()
    added = [job for job, _ in decider.run(outputs).addition.iterflow()]
    categories = {job.name: job.config.manager_config["_category"] for job in added}
    assert categories == {
        **{f"dft-relax LYC {place:02d}": "dft" for place in range(4, 8)},
        "decide dft 01": "light",
    }


# -- what goes wrong -----------------------------------------------------------------------------


def test_a_candidate_that_fails_is_named_and_the_others_are_ordered(store, tmp_path, monkeypatch):
    label, failing = Teacher.label, []

    def sometimes(self, structure):
        if structure.key in failing:
            raise LabelError("no convergence", fix="give up")
        return label(self, structure)

    monkeypatch.setattr(Teacher, "label", sometimes)
    plain = one_parent().ranking.model_copy(update={"dft": None})
    found, _ = rank(store, one_parent().model_copy(update={"ranking": plain}))
    failing.append(found.rankings["LYC"].best[2].structure)
    found, _ = rank(store, one_parent())
    (decided,) = found.by_dft["LYC"]
    *others, lost = decided.candidates
    assert all(row.converged for row in others)
    assert (lost.model_rank, lost.relaxation, lost.converged) == (3, None, False)
    assert lost.reason == "no convergence: give up"
    assert "DFT failed for number 3" in decided.note
    failed = [one for one in store.attempts(outcome="failed") if one.kind == "relaxation"]
    assert [one.job for one in failed] == ["dft-relax LYC 02"] * 2
    n_attempts = len(store.attempts())
    rank(store, one_parent())  # decided: nobody tries again
    assert len(store.attempts()) == n_attempts
    text = Page(write_report(store, "lost", found.document_keys(), tmp_path / "report")).text
    assert "1 candidate of 5 without a converged relaxation" in text


def test_a_candidate_that_did_not_converge_is_no_ground_state(store):
    relaxation = {"fmax_ev_per_ang": 0.2, "max_steps": 14}
    (decided,) = rank(store, one_parent(relaxation=relaxation, anchors=True))[0].by_dft["LYC"]
    unfinished = [row for row in decided.candidates if not row.converged]
    assert unfinished
    assert {row.n_steps for row in unfinished} == {14}
    (chosen,) = [row for row in decided.candidates if row.structure == decided.ground_state]
    assert chosen.converged
    assert chosen.energy_ev_per_atom > decided.candidates[0].energy_ev_per_atom
    assert "not converged and left out" in decided.note
    assert "no converged relaxation of YCl3, YBr3 to count formation from" in decided.note
    assert {row.formation_energy_ev_per_atom for row in decided.candidates} == {None}


def test_competing_phases_come_from_ordered_cifs(store, tmp_path):
    relaxation = {"fmax_ev_per_ang": 0.2, "max_steps": 100}
    for name in ("LiCl", "YCl3"):
        to_pymatgen(load_binary(name)).to(str(tmp_path / f"mine-{name}.cif"))
    files = [str(tmp_path / f"mine-{name}.cif") for name in ("LiCl", "YCl3")]
    (decided,) = rank(store, one_parent(relaxation=relaxation, anchors=files))[0].by_dft["LYC"]
    assert set(decided.anchors) == {"mine-LiCl", "mine-YCl3"}
    relaxed = {name: store.load(Relaxation, key) for name, key in decided.anchors.items()}
    sizes = {n: len(store.load(Structure, r.structure).species) for n, r in relaxed.items()}
    assert sizes == {"mine-LiCl": 2, "mine-YCl3": 8}
    per_formula = 3 * relaxed["mine-LiCl"].energy_ev + relaxed["mine-YCl3"].energy_ev / 2
    for row in decided.candidates:
        expected = row.energy_ev_per_atom - per_formula / 10
        assert row.formation_energy_ev_per_atom == pytest.approx(expected, abs=1e-9)
    (tmp_path / "campaign.yaml").write_text(
        "{name: a, systems: [{name: A, parent: Li3YCl6}], ranking: {dft: {labeler: "
        "{type: teacher, model: toy-teacher}, anchors: [mine-LiCl.cif, LiCl]}}}"
    )
    read = read_campaign(tmp_path / "campaign.yaml").ranking.dft.anchors
    assert read == {"mine-LiCl": files[0], "LiCl": "LiCl"}
    with pytest.raises(InputError, match="must be ordered"):
        load_anchors({"LPSCl": str(CIFS / "Li6PS5Cl.cif")})
    with pytest.raises(ValueError, match="different names"):
        one_parent(anchors=["a/x.cif", "b/x.cif"])


def test_when_all_fail_the_campaign_stops_with_one_line_and_tries_again_when_run_again(
    store, monkeypatch
):
    def failing(_self, _structure):
        raise LabelError("the licence has expired", fix="renew it")

    with monkeypatch.context() as patch:
        patch.setattr(Teacher, "label", failing)
        with pytest.raises(LycbError, match=r"not one candidate.*licence has expired") as caught:
            rank(store, one_parent(n=2, limit=2))
    assert "\n" not in str(caught.value)
    found, _ = rank(store, one_parent(n=2, limit=2))
    assert found.by_dft["LYC"][0].ground_state == found.ground_states["LYC"]


def test_a_step_that_hangs_is_stopped(store, monkeypatch):
    def hanging(_self, _structure):
        time.sleep(60)

    monkeypatch.setattr(Teacher, "label", hanging)
    campaign = one_parent(n=1, limit=1, timeout_s=0.2, max_attempts=1)
    with pytest.raises(LycbError, match=r"not one candidate"):
        rank(store, campaign)
    (failed, *_) = store.attempts(outcome="failed")
    assert "raise ranking.dft.timeout_s" in failed.reason


def test_a_machine_without_the_code_spends_no_try(store, monkeypatch):
    def missing(_self, _structure):
        raise InputError("GPAW is not installed", fix="install it")

    monkeypatch.setattr(Teacher, "label", missing)
    with pytest.raises(MachineError, match="GPAW is not installed"):
        rank(store, one_parent(n=1, limit=1))
    assert not store.attempts(outcome="failed")


def test_killed_in_a_step_and_run_again_nothing_is_paid_twice(store, ranked, tmp_path, monkeypatch):
    n_steps = 30
    asked = []
    label = Teacher.label

    def counting(self, structure):
        asked.append(structure.key)
        if len(asked) == n_steps + 1:
            raise KeyboardInterrupt
        return label(self, structure)

    monkeypatch.setattr(Teacher, "label", counting)
    with pytest.raises(KeyboardInterrupt):
        rank(store, one_parent(n=3, limit=3))
    n_before, killed = len(list(store.find_all(Label))), asked[-1]
    assert n_before == n_steps
    rank(store, one_parent(n=3, limit=3))
    assert asked.count(killed) == 2  # the one that the kill cut off
    assert len(set(asked)) == len(asked) - 1
    assert not store.attempts(outcome="failed")
    whole = copy_of(ranked, tmp_path / "whole")
    rank(whole, one_parent(n=3, limit=3))
    assert not any(differences(store, whole).values())


def test_a_second_try_goes_on_where_the_first_one_failed(store, monkeypatch):
    asked = []
    label = Teacher.label

    def stumbling(self, structure):
        asked.append(structure.key)
        if len(asked) == 6:
            raise LabelError("killed (-9)", fix="more memory")
        return label(self, structure)

    monkeypatch.setattr(Teacher, "label", stumbling)
    found, _ = rank(store, one_parent(n=1, limit=1))
    (decided,) = found.by_dft["LYC"]
    assert decided.candidates[0].converged
    assert len(asked) == len(set(asked)) + 1 == decided.candidates[0].n_steps + 2


# -- a code that relaxes by itself --------------------------------------------------------------


def test_a_labeler_that_relaxes_by_itself_is_let(store, monkeypatch):
    model, potential = toy("toy-teacher")

    class Native(Teacher):
        def relax(self, structure, config):
            found = relax(structure, potential, config)
            return replace(found, optimizer="FIRE (VTST, IOPT=7)", warnings=("a stand-in",))

    monkeypatch.setattr(dft_jobs, "open_labeler", lambda _store, _config: Native(model, potential))
    (decided,) = rank(store, one_parent(n=3, limit=3))[0].by_dft["LYC"]
    relaxed = [store.load(Relaxation, row.relaxation) for row in decided.candidates]
    assert {one.optimizer for one in relaxed} == {"FIRE (VTST, IOPT=7)"}
    assert {one.warnings for one in relaxed} == {("a stand-in",)}
    assert not list(store.find_all(Label))


@pytest.mark.usefixtures("quick_stand_in")
def test_vasps_stand_in_is_driven_by_fire_and_its_name_is_on_the_result(
    store, tmp_path, monkeypatch
):
    monkeypatch.setenv("LYCB_VASP_SCRATCH", str(tmp_path))
    labeler = {"type": "vasp", "theory": "paper-relax", "stand_in": True}
    # a process of seconds for each label: two candidates, and none moves
    campaign = one_parent(n=2, limit=2, labeler=labeler, relaxation=CONTRARY["relaxation"])
    (decided,) = rank(store, campaign)[0].by_dft["LYC"]
    assert [row.converged for row in decided.candidates] == [True, True]
    assert "not DFT" in decided.theory_name
    for row in decided.candidates:
        relaxed = store.load(Relaxation, row.relaxation)
        assert "stand-in" in relaxed.optimizer
        assert "stand-in" in relaxed.warnings[0]
    energies = [row.energy_ev_per_atom for row in decided.candidates]
    assert energies == sorted(energies)
    assert energies[0] < energies[1]


# -- a whole campaign: anchors, mixed halides, and what follows ------------------------------------


def with_anchors():
    """Return a campaign of one round with competing phases and a mixed halide, decided by DFT."""
    data = read_campaign(CAMPAIGNS / "loop.yaml").model_dump()
    (system,) = data["systems"]
    system["decorations"] = [{"x": 3.0, "cap": 10, "n_samples": 3}]
    data["ranking"] |= {"n_fine": 10, "max_steps": 60}
    data["ranking"]["dft"] = {
        "labeler": LABELERS["teacher"],
        "n": 10,
        "limit": 10,
        "relaxation": {"fmax_ev_per_ang": 0.2, "max_steps": 100},
        "n_decorations": 2,
        "anchors": True,
    }
    data["learning"]["max_temperature_k"] = 200.0
    return Campaign.model_validate(data)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One round and a measurement from DFT's ground states, a mixed halide among them."""
    store = open_store(tmp_path_factory.mktemp("whole"))
    submission, names = run_campaign(store, with_anchors())
    yield store, submission, find_results(store, submission.campaign, submission.theory), names
    store.close()


def test_decorations_md_and_measurement_start_from_dfts_ground_states(whole):
    store, _, found, _ = whole
    parent, mixed = found.by_dft["LYB"][-1], found.by_dft["LYB-x3"][-1]
    assert parent.ground_state != found.rankings["LYB"].ground_state
    listed = store.load(Ranking, mixed.ranking).enumeration
    assert parent.ground_state in store.makers([listed])[listed]
    assert mixed.n == 2
    assert not mixed.at_edge
    starts = {store.load(Run, run).start_structure for run in found.rounds[0].runs}
    assert parent.ground_state in starts
    assert {one.system for one in found.documents(Transport)} == {"LYB", "LYB-x3"}
    ancestry = {one.system: set(store.ancestors(one.key)) for one in found.documents(Transport)}
    assert mixed.ground_state in ancestry["LYB-x3"]


def test_energies_of_formation_come_from_the_binaries_at_the_same_theory(whole):
    store, _, found, _ = whole
    (decided,) = found.by_dft["LYB"]
    assert set(decided.anchors) == set(BINARY_NAMES)
    relaxed = {name: store.load(Relaxation, key) for name, key in decided.anchors.items()}
    assert {one.theory for one in relaxed.values()} == {decided.theory}
    best = decided.candidates[0]
    per_formula = 10 * best.energy_ev_per_atom - (
        3 * relaxed["LiBr"].energy_ev + relaxed["YBr3"].energy_ev / 2
    )
    assert best.formation_energy_ev_per_atom == pytest.approx(per_formula / 10, abs=1e-9)
    (mixed,) = found.by_dft["LYB-x3"]
    assert all(row.formation_energy_ev_per_atom is not None for row in mixed.candidates)


def test_the_plan_names_exactly_the_jobs_that_ran(whole):
    store, submission, _, names = whole
    steps = plan_campaign(store, submission.campaign, submission.theory)
    assert sorted(job.name for step in steps for job in step.jobs) == sorted(names)
    relaxing = [step for step in steps if step.jobs[0].name.startswith("dft-relax")]
    assert [len(step.jobs) for step in relaxing] == [4, 10, 2]
    assert all(step.cpu_s > 0 for step in relaxing)


def test_run_again_it_computes_nothing(whole):
    store, submission, _, names = whole
    n_attempts = len(store.attempts())
    done = [one.key for one in store.attempts(outcome="done")]
    assert len(set(done)) == len(done)
    flow = campaign_flow(submission.campaign, submission.theory)
    again = []
    run_embedded(store, flow, lambda job, finished: finished and again.append(job.name))
    assert sorted(again) == sorted(names)
    assert len(store.attempts()) == n_attempts


def test_steps_of_relaxations_train_nothing(whole):
    store, _, found, _ = whole
    steps = {key for one in store.find_all(Relaxation) for key in one.labels}
    assert len(steps) > 100
    dataset = store.find_document(found.rounds[0].dataset)
    assert not steps & {*dataset.training_labels, *dataset.validation_labels}


def test_the_jobs_survive_the_road_to_a_worker(whole):
    store, submission, found, _ = whole
    flow = campaign_flow(submission.campaign, submission.theory)
    before = {job.uuid: (job.maker, job.function_kwargs) for job, _ in flow.iterflow()}
    makers = set()
    for firework in flow_to_workflow(flow, store=None).fws:
        travelled = bson.decode(bson.encode(firework.to_db_dict()))
        spec = Firework.from_dict(travelled).to_dict()["spec"]
        job = MontyDecoder().process_decoded(spec["_tasks"][0]["job"])
        assert (job.maker, job.function_kwargs) == before[job.uuid]
        makers.add(type(job.maker))
    assert {AnchorMaker, DftRelaxMaker, GroundStatesMaker} <= makers
    for decided in store.find_all(GroundState):
        assert len(decided.model_dump_json()) < 100_000
    assert found.stages


# -- small things ---------------------------------------------------------------------------------


def test_two_energies_have_no_correlation_and_neither_have_equal_ones():
    rows = [
        DftCandidate(
            ordering=str(i),
            model_rank=i,
            model_above_best_ev_per_atom=i / 1000,
            model_volume_flag=False,
            energy_ev_per_atom=-4.0 + energy,
        )
        for i, energy in enumerate((0.0, 0.002, 0.001), 1)
    ]
    assert correlations(rows[:2]) == (None, None)
    tau, rho = correlations(rows)
    assert tau == pytest.approx(1 / 3, abs=1e-9)
    assert rho == pytest.approx(1 / 2, abs=1e-9)
    equal = [row.model_copy(update={"energy_ev_per_atom": -4.0}) for row in rows]
    assert correlations(equal) == (None, None)


def test_a_limit_below_the_list_is_refused():
    with pytest.raises(ValueError, match="limit = 5 lies below n = 20"):
        DftConfig(labeler={"type": "teacher"}, limit=5)


def test_the_workflow_of_ground_states_has_both_parents_and_13_compositions():
    campaign = read_campaign(ROOT / "workflows" / "ground_states.yaml")
    names = [system.name for system in campaign.systems]
    assert names == ["LYC", "LYB"]
    assert {len(system.decorations) for system in campaign.systems} == {13}
    assert campaign.ranking.dft.anchors


def test_a_decision_travels_and_asks_for_no_relaxation(ranked, tmp_path):
    campaign = one_parent(**CONTRARY)
    with contextlib.closing(copy_of(ranked, tmp_path / "store")) as store:
        before, _ = rank(store, campaign)
        export_runs(store, tmp_path / "runs")
    with open_store(tmp_path / "other") as other:
        assert not import_runs(other, tmp_path / "runs").refused
        after, names = rank(other, campaign)
        assert after.ground_states == before.ground_states
        assert any(name.startswith("dft-relax") for name in names)
        assert not list(other.find_all(Relaxation))


def test_the_competing_phases_of_imported_decisions_are_not_relaxed_again(whole, tmp_path):
    store, _, before, _ = whole
    export_runs(store, tmp_path / "runs")
    with open_store(tmp_path / "other") as other:
        assert not import_runs(other, tmp_path / "runs").refused
        after, names = rank(other, with_anchors())
        assert after.ground_states == before.ground_states
        assert {f"dft-relax {binary}" for binary in BINARY_NAMES} <= set(names)
        assert not list(other.find_all(Relaxation))


def test_a_ranking_without_its_candidates_structures_says_what_to_do(ranked, tmp_path):
    with contextlib.closing(copy_of(ranked, tmp_path / "store")) as store:
        rank(store, one_parent(**CONTRARY))
        export_runs(store, tmp_path / "runs")
    with open_store(tmp_path / "other") as other:
        import_runs(other, tmp_path / "runs")
        with pytest.raises(InputError, match=r"lower ranking\.dft\.n"):
            rank(other, one_parent(**CONTRARY | {"n": 25, "limit": 25}))
