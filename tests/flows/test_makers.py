"""Makers that work alone: from what people have, by jobflow, FireWorks and stock rlaunch."""

import contextlib
import json
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import bson
import custodian
import numpy as np
import pytest
from ase.neighborlist import neighbor_list
from atomate2.vasp.jobs.core import StaticMaker
from fireworks import Firework
from jobflow import Flow, JobStore, run_locally
from jobflow.managers.fireworks import flow_to_workflow
from maggma.stores import MemoryStore
from monty.json import MontyDecoder
from places import CAMPAIGNS, ROOT
from stand_in import THEORY, run_stand_in, salt
from waiting import PATIENCE_S

from lycb_flows import config, schemas
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import (
    EnumerationConfig,
    MDConfig,
    RankingConfig,
    TrainingConfig,
)
from lycb_flows.crystals.structures import canonical_structure, load_parent, to_ase, to_pymatgen
from lycb_flows.errors import InputError, LabelError
from lycb_flows.flows.campaign import LabelMaker, campaign_flow, stage_flow
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.flows.makers import CampaignMakers
from lycb_flows.flows.structures import ranking_flow
from lycb_flows.jobs import (
    EnumerateMaker,
    FineTuneMaker,
    LabelFromTaskMaker,
    MDMaker,
    RankMaker,
    VaspLabelMaker,
)
from lycb_flows.jobs.labelling import SelectMaker
from lycb_flows.jobs.tasks import TaskLabeler
from lycb_flows.labels.foreign.vasprun import label_of_run
from lycb_flows.labels.theory import vasp_theory
from lycb_flows.labels.vasp.inputs import vasp_inputs
from lycb_flows.labels.vasp.labeler import Vasp
from lycb_flows.labels.vasp.sets import LevelSetGenerator
from lycb_flows.machine import progress
from lycb_flows.potentials.models import find_model
from lycb_flows.potentials.toy import TOYS
from lycb_flows.store import open_store

# jobflow's run_locally, of monty
pytestmark = pytest.mark.filterwarnings("ignore:cd is deprecated:FutureWarning")

DOCS = (ROOT / "docs" / "makers.md").read_text()
SMALL = EnumerationConfig(supercell=(1, 1, 1))
QUICK = RankingConfig(
    model="toy-soft",
    n_fine=2,
    max_steps=40,
    coarse_fmax_ev_per_ang=0.5,
    fine_fmax_ev_per_ang=0.3,
)
SHORT = MDConfig(
    time_step_fs=2.0,
    heating_ps=0.02,
    equilibration_ps=0.02,
    sample_interval_fs=4.0,
    segment_ps=0.04,
)
ENUMERATE = EnumerateMaker(config=SMALL)
RANK = RankMaker(enumeration=SMALL, ranking=QUICK)
MD = MDMaker(temperature_k=300.0, duration_ps=0.04, config=SHORT)
LABEL = VaspLabelMaker(stand_in=True)
FINE_TUNE = FineTuneMaker(training=TrainingConfig(epochs=2))


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The store that jobs of this test find in their settings."""
    store = open_store(tmp_path / "results")
    monkeypatch.setenv("LYCB_STORE", store.address)
    monkeypatch.chdir(tmp_path)
    return store


def keys_of(job):
    """What a job hands on when jobflow runs it here."""
    responses = run_locally(job, raise_immediately=True, log=False)
    return responses[job.uuid][1].output.keys


def count_attempts(store):
    return len(store.attempts())


# -- each alone ------------------------------------------------------------------------------


def test_orderings_of_a_built_in_parent_or_of_ones_own_cif(store, tmp_path):
    (key,) = keys_of(ENUMERATE.make("Li3YCl6"))
    listed = store.load(schemas.Enumeration, key)
    assert (listed.count, store.attempts(key)[0].outcome) == (24, "done")
    path = tmp_path / "my crystal.cif"
    path.write_bytes(load_parent("Li3YCl6").cif + b"\n# mine\n")
    strict = SMALL.model_copy(update={"min_occupancy": 0.5})
    job = EnumerateMaker(config=strict).make(path)
    path.unlink()  # it travels with the job
    (own_key,) = keys_of(job)
    own = store.load(schemas.Enumeration, own_key)
    assert own.count == listed.count
    assert store.load(schemas.Parent, own.parents[0]).name == "my crystal"
    (again,) = keys_of(ENUMERATE.make(listed.parents[0]))
    assert again == key
    assert len(store.attempts(key)) == 1


def test_a_cif_may_have_the_name_of_an_ordering(store, tmp_path):
    path = tmp_path / "LYC-ordering2.cif"
    path.write_bytes(load_parent("Li3YCl6").cif)
    strict = SMALL.model_copy(update={"min_occupancy": 0.5})
    (key,) = keys_of(EnumerateMaker(config=strict).make(path))
    assert store.load(schemas.Enumeration, key).count == 24


@pytest.mark.parametrize(
    ("enumeration", "ranking", "n"),
    [({}, {"n_searched": 9}, 9), ({"n_search": 2}, {}, 24)],
)
def test_a_search_ranks_some_orderings_of_a_list_and_reaches_those_beside_it(
    store, enumeration, ranking, n
):
    rank = RankMaker(
        enumeration=SMALL.model_copy(update=enumeration), ranking=QUICK.model_copy(update=ranking)
    )
    (key,) = keys_of(rank.make("Li3YCl6"))
    found = store.load(schemas.Ranking, key)
    listed = store.load(schemas.Enumeration, found.enumeration)
    assert found.n_candidates == n
    rows = json.loads(store.blobs.read(found.table))
    assert len({row["ordering"] for row in rows}) == n
    places = [store.load(schemas.Ordering, row["ordering"]).index for row in rows]
    assert places.count(-1) == max(n - listed.n_members, 0) or not enumeration
    assert found.best[0].above_best_ev_per_atom == 0


def test_a_search_leaves_quasi_random_halides_where_they_are(store):
    mixed = {
        "substitute": {"Cl": {"Br": 2}},
        "sqs": ("Br", "Cl"),
        "charges": {"Li": 1, "Y": 3, "Cl": -1, "Br": -1},
    }
    rank = RankMaker(
        enumeration=SMALL.model_copy(update=mixed),
        ranking=QUICK.model_copy(update={"n_searched": 30}),
    )
    (key,) = keys_of(rank.make("Li3YCl6"))
    found = store.load(schemas.Ranking, key)
    rows = json.loads(store.blobs.read(found.table))
    orderings = [store.load(schemas.Ordering, row["ordering"]) for row in rows]
    assert [ordering.index for ordering in orderings].count(-1) > 0  # swaps beside the list
    like: dict[bool, set[int]] = {True: set(), False: set()}
    for ordering in orderings:
        atoms = to_ase(store.load(schemas.Structure, ordering.structure))
        i, j = neighbor_list("ij", atoms, 4.2)
        halides = np.isin(atoms.numbers, (17, 35))
        same = halides[i] & halides[j] & (atoms.numbers[i] == atoms.numbers[j])
        like[ordering.index < 0].add(int(same.sum()))
    assert like[True] <= like[False]
    assert len(like[False]) <= 2


def test_a_ranking_and_a_run_that_starts_from_its_ground_state(store):
    rank = RANK.make("Li3YCl6")
    md = MD.make(rank.output.keys[0], model="toy-soft")
    responses = run_locally(Flow([rank, md]), raise_immediately=True, log=False)
    (ranking_key,), (run_key,) = (responses[job.uuid][1].output.keys for job in (rank, md))
    ranking = store.load(schemas.Ranking, ranking_key)
    assert (ranking.system, ranking.n_candidates) == ("Li3YCl6", 24)
    assert store.find(schemas.Enumeration, ranking.enumeration) is not None
    run = store.load(schemas.Run, run_key)
    assert run.start == ranking.ground_state
    assert run.model == ranking.model == find_model("toy-soft").model.key
    assert (run.temperature_k, run.n_steps) == (300.0, 30)
    n_attempts = count_attempts(store)
    assert keys_of(MD.make(ranking.ground_state, model=run.model)) == (run_key,)
    assert count_attempts(store) == n_attempts


@pytest.mark.parametrize("form", [to_pymatgen, to_ase, lambda structure: structure])
def test_a_structure_in_any_form_is_one_structure(store, form):
    crystal = salt()
    (key,) = keys_of(MD.make(form(crystal), model="toy-soft"))
    assert store.load(schemas.Run, key).start == crystal.key
    assert store.load(schemas.Structure, crystal.key) == crystal


def test_npt_gives_the_average_cell_that_another_run_starts_from(store):
    npt = replace(MD, pressure_bar=1.0)
    (first,) = keys_of(npt.make(salt(), model="toy-soft"))
    (second,) = keys_of(MD.make(first, model="toy-soft"))
    average = store.load(schemas.Run, first).average_structure
    assert store.load(schemas.Run, second).start == average is not None


def test_a_run_tells_its_steps_before_its_first_segment_ends(store, caplog, monkeypatch):
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    with caplog.at_level(logging.INFO, logger="lycb_flows.jobs"):
        (key,) = keys_of(MD.make(salt(), model="toy-soft"))
    assert store.load(schemas.Run, key).n_steps == 30
    told = [re.match(r"steps of md: (\d+) of 30, about", line) for line in caplog.messages]
    reached = [int(match[1]) for match in told if match]
    assert reached == list(range(2, 30, 2))
    assert reached[0] < MD.config.steps(MD.config.segment_ps)


def test_labels_of_a_flow_train_a_model(store, quick_stand_in):  # noqa: ARG001 - VASP is quick
    labels = [LABEL.make(salt(strain)) for strain in (None, -0.02, 0.02)]
    tuned = FINE_TUNE.make([job.output.keys for job in labels], model="toy-soft")
    responses = run_locally(Flow([*labels, tuned]), raise_immediately=True, log=False)
    keys = [responses[job.uuid][1].output.keys[0] for job in labels]
    (key,) = responses[tuned.uuid][1].output.keys
    model = store.load(schemas.Model, key)
    dataset = store.load(schemas.Dataset, model.dataset)
    assert dataset.training_labels + dataset.validation_labels == tuple(keys)
    assert len(dataset.validation_labels) == 1
    assert dataset.theory == THEORY.fingerprint
    assert len(model.history) == 2
    assert model.parent_model == find_model("toy-soft").model.key
    assert keys_of(FINE_TUNE.make(keys, model=model.parent_model)) == (key,)
    assert store.load(schemas.Label, keys[0]).structure == salt().key


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ENUMERATE.make("Li3YF6"), "no such parent"),
        (MD.make, "nothing to simulate"),
        (lambda: MD.make("Li3YCl6"), "not the key of a structure"),
        (lambda: MD.make(3.0), "not a structure"),
        (lambda: MD.make(salt(), model="toy-hard"), "no such model"),
        (lambda: MD.make(load_parent("Li3YCl6").structure), "must be ordered"),
        (lambda: RankMaker(ranking=RankingConfig(model="none")).make("Li3YCl6"), "no such model"),
    ],
)
def test_what_no_job_could_use_is_refused_before_there_is_a_job(make, words):
    with pytest.raises(InputError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_key_that_the_store_lacks_names_itself(store):
    model = find_model("toy-soft").model
    store.insert(model)
    job = MD.make(model.key, model="toy-soft")
    with pytest.raises(InputError, match=f"no structure of this key.*{model.key}.*found=model"):
        keys_of(job)


def test_labels_of_an_unknown_level_need_a_word_on_their_energies(store):
    crystals = [salt(), salt(0.01)]
    labels = [
        schemas.Label(
            key=schemas.Label.key_of(crystal.key, "f" * 64),
            structure=crystal.key,
            theory="f" * 64,
            theory_name="some code: some functional",
            energy_ev=-1.0,
            forces_ev_per_ang=((0.0, 0.0, 0.0),) * 4,
            stress_gpa=((0.0, 0.0, 0.0),) * 3,
            converged=True,
        )
        for crystal in crystals
    ]
    store.insert_all([*crystals, *labels])
    keys = [label.key for label in labels]
    with pytest.raises(InputError, match=r"raw PBE.*set raw_pbe of FineTuneMaker"):
        FINE_TUNE.make(keys, model="toy-soft").run(None)
    told = FineTuneMaker(training=FINE_TUNE.training, raw_pbe=False)
    assert len(keys_of(told.make(keys, model="toy-soft"))) == 1
    with pytest.raises(InputError, match="a label to learn and one to validate"):
        told.make(keys[:1], model="toy-soft").run(None)


# -- on the road -------------------------------------------------------------------------------

JOBS = {
    "enumerate": (ENUMERATE, lambda: ENUMERATE.make("Li3YCl6")),
    "rank": (RANK, lambda: RANK.make("Li3YCl6")),
    "md": (MD, lambda: MD.make(to_ase(salt()), model="toy-soft")),
    "label": (LABEL, lambda: LABEL.make(salt())),
    "fine-tune": (FINE_TUNE, lambda: FINE_TUNE.make(["a" * 64, "b" * 64])),
}


@pytest.mark.parametrize("name", JOBS)
def test_a_maker_and_its_inputs_survive_the_road_to_a_worker(name):
    maker, make = JOBS[name]
    job = make()
    (firework,) = flow_to_workflow(job, store=None).fws
    travelled = bson.decode(bson.encode(firework.to_db_dict()))
    spec = Firework.from_dict(travelled).to_dict()["spec"]
    arrived = MontyDecoder().process_decoded(spec["_tasks"][0]["job"])
    assert job.maker == arrived.maker == maker
    assert (arrived.name, arrived.function_kwargs) == (name, job.function_kwargs)
    assert arrived.config.resolve_references is False


def test_stock_lpad_and_rlaunch_run_makers_that_work_alone(
    launchpad_file, mongo_uri, tmp_path, monkeypatch
):
    """The store is the one that the worker's settings name."""
    monkeypatch.chdir(tmp_path)
    md = MD.make(salt(), model="toy-soft")
    flow = Flow([md, ENUMERATE.make("Li3YCl6", after=md.output)])
    flow_to_workflow(flow).to_file("flow.yaml")
    settings = {"LYCB_STORE": mongo_uri, "PYTHONWARNINGS": ""}
    programs = Path(sys.executable).parent
    today = datetime.now().strftime("%Y-%m-%d")  # noqa: DTZ005 - lpad's password
    for program, *words in (
        ("lpad", "reset", "--password", today),
        ("lpad", "add", "flow.yaml"),
        ("rlaunch", "rapidfire"),
    ):
        done = subprocess.run(
            [programs / program, "-l", launchpad_file, *words],
            env=os.environ | settings, check=False, timeout=PATIENCE_S, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
    with contextlib.closing(open_store(mongo_uri)) as store:
        (run,) = store.find_all(schemas.Run)
        (listed,) = store.find_all(schemas.Enumeration)
    assert (run.start, listed.count) == (salt().key, 24)


# -- the documentation --------------------------------------------------------------------------

QUICKER = {
    "chgnet-0.3.0": "toy-soft",
    "RankingConfig(n_fine=5)": repr(QUICK),
    "duration_ps=20": "duration_ps=0.04, config=SHORT",
    'VaspLabelMaker(theory="paper-static")': 'VaspLabelMaker(theory="paper-static", stand_in=True)',
    "FineTuneMaker()": "FineTuneMaker(training=TrainingConfig(epochs=2))",
    "sevennet-0": "toy-soft",
    "student=StudentConfig(), temperatures_k=(300.0, 600.0)": "temperatures_k=(150.0,), "
    "student=StudentConfig(rattled_per_start=16, rounds=1, updates=160, neurons=10, "
    "certified_frames=4)",
}
"""What the test puts in place of hours."""
WORK_ALONE = {
    "DistilMaker", "EnumerateMaker", "FineTuneMaker", "LabelFromTaskMaker", "MDMaker", "RankMaker",
    "StaticMaker", "VaspLabelMaker",
}  # fmt: skip


def test_every_snippet_of_the_documentation_runs(store, quick_stand_in, capsys):  # noqa: ARG001
    snippets = re.findall(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
    shown = set(re.findall(r"\w+Maker(?=\()", DOCS))
    assert shown == WORK_ALONE
    shutil.copy(CAMPAIGNS / "vasp.yaml", "campaign.yaml")
    namespace = {"SHORT": SHORT, "TrainingConfig": TrainingConfig, **vars(config)}
    for snippet in snippets:
        assert len(snippet.strip().splitlines()) <= 15
        for slow, quick in QUICKER.items():
            snippet = snippet.replace(slow, quick)  # noqa: PLW2901 - the same, quicker
        exec(compile(snippet, "docs/makers.md", "exec"), namespace)  # noqa: S102 - our own
    assert "24 orderings" in capsys.readouterr().out
    assert Path("md.yaml").is_file()


# -- Makers of others --------------------------------------------------------------------------


def static_maker(**fields):
    """atomate2's, whose VASP is the stand-in."""
    command = shlex.join([sys.executable, "-m", "lycb_flows.testing.vasp"])
    return StaticMaker(
        input_set_generator=LevelSetGenerator(stand_in=True),
        run_vasp_kwargs={"vasp_cmd": command, "scratch_dir": None},
        write_input_set_kwargs={"potcar_spec": True},
        **fields,
    )


@pytest.fixture
def quick_custodian(quick_stand_in, monkeypatch):  # noqa: ARG001 - the program is quick
    """Custodian looks at its job more often than every ten seconds."""
    original = custodian.Custodian.__init__

    def impatient(self, *words, **options):
        original(self, *words, **options | {"polling_time_step": 0.1})

    monkeypatch.setattr(custodian.Custodian, "__init__", impatient)


@pytest.mark.filterwarnings("ignore")  # atomate2's, emmet's and pymatgen's
def test_a_static_run_by_atomate2_becomes_the_label_that_our_own_maker_finds(
    store,
    quick_custodian,  # noqa: ARG001 - nor does custodian wait
):
    static = static_maker().make(to_pymatgen(salt()))
    label = LabelFromTaskMaker(stand_in=True).make(static.output.dir_name, salt())
    responses = run_locally(
        Flow([static, label]), raise_immediately=True, log=False, create_folders=True,
        store=JobStore(MemoryStore(), additional_stores={"data": MemoryStore()}),
    )  # fmt: skip
    (key,) = responses[label.uuid][1].output.keys
    found = store.load(schemas.Label, key)
    (expected,) = TOYS["toy-teacher"].potential().predict([salt()])
    assert found.energy_ev == pytest.approx(expected.energy_ev, abs=1e-7)
    assert np.array(found.forces_ev_per_ang) == pytest.approx(expected.forces_ev_per_ang, abs=1e-6)
    assert found.structure == salt().key
    assert keys_of(LABEL.make(salt())) == (key,)
    assert len(store.attempts(key)) == 1


@dataclass(kw_only=True)
class LoudMDMaker(MDMaker):
    """Says which runs it was given."""

    def make(self, structure=None, model="", runs=(), after=None):
        Path("runs.txt").write_text("\n".join(run.name for run in runs))
        return super().make(structure, model, runs, after)


@pytest.mark.filterwarnings("ignore")  # atomate2's, emmet's and pymatgen's
def test_a_campaign_takes_the_makers_of_its_user_and_hands_them_on(
    store,
    quick_custodian,  # noqa: ARG001 - nor does custodian wait
    monkeypatch,
):
    monkeypatch.setattr(Vasp, "label", None)  # the campaign's labeler is not asked
    submission = submit(store, read_campaign(CAMPAIGNS / "vasp.yaml"))
    campaign, theory = submission.campaign, submission.theory
    makers = CampaignMakers(md=LoudMDMaker(), label=static_maker())
    run_embedded(store, ranking_flow(campaign, makers=makers), lambda _job, _done: None)
    (plan,) = find_results(store, campaign, theory).stages
    outputs = JobStore(MemoryStore())
    outputs.connect()
    responses = [job.run(outputs) for job, _ in stage_flow(plan, makers).iterflow()]
    assert Path("runs.txt").read_text().startswith("LYB r00")  # of the next stage
    frames = store.load(schemas.Frames, plan.frames_key).frames
    labels = [
        store.load(schemas.Label, schemas.Label.key_of(frame.structure, theory.fingerprint))
        for frame in frames
    ]
    assert [label.structure for label in labels] == [frame.structure for frame in frames]
    assert len(labels) == 2
    following = [job.maker for job, _ in responses[-1].addition.iterflow()]
    assert {type(maker) for maker in following} == {LoudMDMaker, SelectMaker, LabelMaker}
    assert [maker.makers for maker in following if isinstance(maker, LabelMaker)] == [makers] * (
        plan.first_round(store.load(schemas.Dataset, plan.dataset_key)).n_labels
    )
    assert campaign_flow(campaign, theory, makers).jobs[-1].maker.makers == makers


def test_a_run_at_another_level_or_of_another_crystal_is_no_label(tmp_path):
    vasp_inputs(THEORY, salt()).write(tmp_path, potcar=False)
    run_stand_in(tmp_path)
    path = tmp_path / "vasprun.xml"
    assert label_of_run(path, salt(), THEORY).converged
    for structure, theory, words in (
        (salt(), vasp_theory("mp-compatible", stand_in=True), r"another level of theory.*ENCUT"),
        (salt(), vasp_theory("paper-static"), "another program wrote"),
        (salt(0.01), THEORY, "changed the cell|another structure"),
        (canonical_structure(to_ase(salt())[[0, 1, 3]]), THEORY, "another composition"),
    ):
        with pytest.raises(LabelError, match=words) as caught:
            label_of_run(path, structure, theory)
        assert "\n" not in str(caught.value)


def test_what_atomate2_raises_is_a_failed_label_and_never_the_end_of_a_campaign(store):
    labeler = TaskLabeler(static_maker(), THEORY)
    labeler.maker.run_vasp_kwargs["vasp_cmd"] = "false"
    with pytest.raises(LabelError, match=r"a Maker's job failed.*reason=") as caught:
        labeler.label(salt())
    assert "\n" not in str(caught.value)
    assert not list(Path.cwd().glob("lycb-task-*"))
    assert not store.attempts()
