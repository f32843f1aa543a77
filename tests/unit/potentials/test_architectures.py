"""Architectures of other packages: found by entry point, refused in one line, at work anywhere."""

import json
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from campaign_runs import run_campaign
from lycb_example import potential as lennard_jones
from messages import assert_one_line
from places import CAMPAIGNS, ROOT

from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.measurement import MeasurementPlan
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import read_campaign, reopen, submit
from lycb_flows.config import Campaign, EnumerationConfig, RelaxationConfig, TrainingConfig
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.structures import load_parent, to_ase
from lycb_flows.doctor.examination import examine
from lycb_flows.errors import InputError
from lycb_flows.flows.embedded import run_embedded
from lycb_flows.flows.measurement import measurement_flow
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.training import fine_tune
from lycb_flows.potentials.architecture import ARCHITECTURES, model_names, rates_of
from lycb_flows.potentials.members import CHGNet, Toy
from lycb_flows.potentials.models import check_trainable, find_model, load_potential, write_model
from lycb_flows.potentials.sevennet import SevenNet
from lycb_flows.potentials.trainable import Trainable
from lycb_flows.relaxation.by_model import relax
from lycb_flows.report.page import write_report
from lycb_flows.schemas import CampaignRecord, Label, Model, Ranking, Run, Transport
from lycb_flows.store import open_store
from lycb_flows.store.garbage import list_garbage, sweep

pytestmark = [
    pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning"),
    pytest.mark.usefixtures("blank_figures"),
]

OURS = ("chgnet", "nep", "toy", "sevennet", "calculator")


def write_package(site, package, **entries):
    """The metadata of an installed package with these entry points, in a folder of its own."""
    folder = site / package / f"{package}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name.replace('_', '-')} = {value}\n" for name, value in entries.items()]
    (folder / "entry_points.txt").write_text("[lycb_flows.potentials]\n" + "".join(lines))
    return str(site / package)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package for this test."""

    def install(package, **entries):
        monkeypatch.syspath_prepend(write_package(tmp_path / "site", package, **entries))

    return install


@pytest.fixture(scope="module")
def lennard_jones_site(tmp_path_factory):
    entries = {"lennard_jones": "lycb_example.potential:LennardJones"}
    return write_package(tmp_path_factory.mktemp("site"), "lennard_jones_package", **entries)


@pytest.fixture
def with_lennard_jones(lennard_jones_site, monkeypatch):
    monkeypatch.syspath_prepend(lennard_jones_site)


def orderings(n=1):
    config = EnumerationConfig(supercell=(1, 1, 1))
    found = enumerate_orderings(load_parent("Li3YCl6"), config)
    return [found.structure(index) for index in range(n)]


def crystal():
    return to_ase(orderings()[0])


# -- the registry -------------------------------------------------------------------------------


@pytest.mark.usefixtures("with_lennard_jones")
def test_a_potential_of_another_package_is_a_member_by_its_entry_point():
    assert ARCHITECTURES.names() == (*OURS, "lennard-jones")
    assert isinstance(ARCHITECTURES.get("lennard-jones"), lennard_jones.LennardJones)
    assert model_names()["lj-default"] == "lennard-jones"
    source = find_model("lj-default")
    assert source.model.weights.media_type == "application/json"
    assert rates_of(source.model).training_s is None
    with pytest.raises(InputError, match="lj-default"):
        find_model("nothing-of-this-name")


@pytest.mark.usefixtures("with_lennard_jones")
def test_without_the_package_its_model_is_refused_by_name(monkeypatch, lennard_jones_site):
    source = find_model("lj-default")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != lennard_jones_site])
    assert ARCHITECTURES.names() == OURS
    assert rates_of(source.model) is None
    with pytest.raises(InputError, match=r"unknown architecture \(found=lennard-jones\)"):
        load_potential(source.model, source.weights)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("no_such_module:Thing", "No module named 'no_such_module'"),
        ("lycb_example.potential:Thing", "has no attribute 'Thing'"),
        ("lycb_example.potential:WEIGHTS", "is no Architecture"),
        ("lycb_example.potential:LennardJones", "has another name"),
    ],
)
def test_a_broken_plug_in_is_one_line_when_asked_for_and_disturbs_no_other(
    install, tmp_path, value, reason
):
    install("broken_package", broken=value)
    assert load_potential(*vars(find_model("toy-soft")).values()).device.type == "cpu"
    with pytest.raises(InputError, match="a plug-in does not load") as caught:
        ARCHITECTURES.get("broken")
    for words in ("architecture=broken", "package=broken_package", reason):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="plug-ins that do not load=broken"):
        find_model("broken-model")
    open_store(tmp_path / "store").close()
    (check,) = [one for one in examine(str(tmp_path / "store")) if one.name == "models"]
    assert check.ok is False
    assert "broken_package" in check.found


def test_two_packages_with_one_name_are_refused_and_named(install):
    install(
        "first_package",
        lennard_jones="lycb_example.potential:LennardJones",
        toy="lycb_example.potential:Toy",
    )
    install("second_package", lennard_jones="lycb_example.potential:LennardJones")
    with pytest.raises(InputError, match="packages=first_package and second_package"):
        ARCHITECTURES.get("lennard-jones")
    with pytest.raises(InputError, match="packages=first_package and lycb-flows"):
        ARCHITECTURES.get("toy")
    assert find_model("chgnet-0.3.0").model.name == "chgnet-0.3.0"


@pytest.mark.usefixtures("with_lennard_jones")
def test_a_model_name_of_two_architectures_is_refused(monkeypatch):
    monkeypatch.setattr(lennard_jones.LennardJones, "model_names", ("lj-default", "toy-soft"))
    with pytest.raises(InputError, match="architectures=toy and lennard-jones"):
        find_model("toy-soft")


@pytest.mark.parametrize("name", [*CHGNet.model_names, *Toy.model_names])
def test_our_own_models_train_and_state_what_that_costs(name):
    source = find_model(name)
    assert isinstance(load_potential(source.model, source.weights), Trainable)
    check_trainable(source)
    rates = rates_of(source.model)
    assert 0 < rates.force_call_s < rates.training_s


def test_the_documentation_lists_every_architecture_with_its_models():
    text = (ROOT / "docs" / "potentials.md").read_text()
    for architecture in (CHGNet(), Toy(), SevenNet()):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{architecture.name}`")]
        assert [f"`{name}`" for name in architecture.model_names] == row.split(" | ")[1].split(", ")


# -- an inference-only potential ----------------------------------------------------------------


@pytest.mark.usefixtures("with_lennard_jones")
def test_a_file_in_the_formats_of_an_architecture_or_with_a_card_is_a_model(tmp_path):
    (tmp_path / "soft.lj").write_text(json.dumps(lennard_jones.WEIGHTS | {"depth_ev": 0.05}))
    soft, default = find_model(str(tmp_path / "soft.lj")), find_model("lj-default")
    assert (soft.model.name, soft.model.source) == ("soft", "file")
    write_model(soft.model, soft.weights, tmp_path / "copy.weights")
    assert find_model(str(tmp_path / "copy.weights")).model.key == soft.model.key
    with pytest.raises(InputError, match="not a weights file"):
        write_model(soft.model, soft.weights, tmp_path / "copy.safetensors")
    energies = [
        load_potential(source.model, source.weights).predict_atoms(crystal()).energy_ev
        for source in (soft, default)
    ]
    assert energies[0] == pytest.approx(energies[1] / 2)


@pytest.mark.usefixtures("with_lennard_jones")
def test_it_predicts_relaxes_and_is_a_calculator_of_ases():
    source = find_model("lj-default")
    potential = load_potential(source.model, source.weights)
    (structure,) = orderings()
    relaxed = relax(structure, potential, RelaxationConfig(fmax_ev_per_ang=0.1))
    assert relaxed.converged
    assert relaxed.energy_ev < relaxed.static_energy_ev
    atoms = crystal()
    atoms.rattle(0.05, seed=1)
    atoms.calc = potential.calculator()
    np.testing.assert_allclose(
        atoms.get_forces(), calculate_numerical_forces(atoms, 1e-4), rtol=0, atol=1e-5
    )
    np.testing.assert_allclose(
        atoms.get_stress(voigt=False),
        calculate_numerical_stress(atoms, 1e-5, voigt=False),
        atol=1e-6,
    )


def small_campaign(**models):
    """A round of one system: ranking and labels by Lennard-Jones, learning by the toy."""
    campaign = read_campaign(CAMPAIGNS / "tiny.yaml").model_dump()
    campaign["systems"] = campaign["systems"][:1]
    campaign["ranking"] |= {"model": "lj-default", "max_steps": 200}
    campaign["learning"] |= {"max_temperature_k": 200.0, "model": models.get("learner", "toy-soft")}
    campaign["labels"]["labeler"]["model"] = "lj-default"
    return Campaign.model_validate(campaign)


@pytest.fixture(scope="module")
def small_run(lennard_jones_site, tmp_path_factory):
    """A finished campaign."""
    store = open_store(tmp_path_factory.mktemp("small"))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(lennard_jones_site)
        submission, _ = run_campaign(store, small_campaign())
    return store, submission


@pytest.mark.usefixtures("with_lennard_jones")
def test_it_ranks_labels_and_measures_where_another_learns(small_run):
    store, submission = small_run
    lennard = find_model("lj-default").model
    results = find_results(store, submission.campaign, submission.theory)
    assert {one.model for one in store.find_all(Ranking)} == {lennard.key}
    assert {one.theory for one in store.find_all(Label)} == {submission.theory.fingerprint}
    assert submission.theory.parameters["model"] == lennard.key
    (learned,) = results.rounds
    assert store.load_any(learned.model).architecture == "toy"
    plan = MeasurementPlan(
        campaign=submission.campaign, starts=results.stages[0].starts, model=lennard.key
    )
    run_embedded(store, measurement_flow(plan), lambda _name, _finished: None)
    measured = [one for one in store.find_all(Transport) if one.model == lennard.key]
    assert len(measured) == len(plan.temperatures_k) == 3
    assert all(run.health.healthy for run in store.find_all(Run) if run.model == lennard.key)


def test_a_store_with_models_of_a_package_that_is_gone_opens_reports_and_sweeps(
    small_run, tmp_path
):
    store, submission = small_run
    assert ARCHITECTURES.names() == OURS
    again = reopen(store, submission.record)
    steps = plan_campaign(store, again.campaign, again.theory)
    assert [job.name for job in steps[1].jobs] == ["rank LYC"]
    assert "cost unknown" in steps[1].work
    found = find_results(store, again.campaign, again.theory)
    assert len(found.rounds) == 1
    report = write_report(store, "small", found.document_keys(), tmp_path / "report")
    assert "lj-default" in report.read_text()
    later = datetime.now(UTC) + timedelta(days=30)
    assert list_garbage(store, now=later).blobs == ()
    assert sweep(store, now=later + timedelta(days=30), dry=False).removed == ()
    ranked_by = store.load(Model, submission.campaign.ranking.model)
    assert store.blobs.read(ranked_by.weights) == json.dumps(lennard_jones.WEIGHTS).encode()


@pytest.mark.usefixtures("with_lennard_jones")
def test_learning_with_it_is_refused_in_one_line_before_anything_is_stored(lycb, tmp_path):
    store = open_store(tmp_path / "store")
    with pytest.raises(InputError, match=r"cannot be trained.*model=lj-default"):
        submit(store, small_campaign(learner="lj-default"))
    assert list(store.find_all(CampaignRecord)) == []
    file = tmp_path / "campaign.yaml"
    file.write_text(json.dumps(small_campaign(learner="lj-default").model_dump(mode="json")))
    assert_one_line(lycb("run", file), "cannot be trained", "lj-default")


@pytest.mark.usefixtures("with_lennard_jones")
def test_training_it_by_hand_is_refused_in_one_line():
    source = find_model("lj-default")
    potential = load_potential(source.model, source.weights)
    structures = orderings(2)
    labels = [
        LabelledStructure(structure=structure, **vars(label))
        for structure, label in zip(structures, potential.predict(structures), strict=True)
    ]
    with pytest.raises(InputError, match="cannot be trained") as caught:
        fine_tune(potential, labels[:1], labels[1:], TrainingConfig(), raw_pbe=False)
    assert "\n" not in str(caught.value)
