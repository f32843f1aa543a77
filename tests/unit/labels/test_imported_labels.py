"""Imported labels join the training of a campaign, and never its tests."""

import ase.db
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from campaign_runs import run_campaign
from places import CAMPAIGNS, ROOT

from lycb_flows import schemas
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.export import write_labels
from lycb_flows.campaign.importing import import_labels
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.rounds import refuse_mixture
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import LabelConfig
from lycb_flows.crystals.structures import canonical_structure, to_ase
from lycb_flows.errors import InputError, LycbError
from lycb_flows.labels.ase import AseCalculator
from lycb_flows.labels.foreign.stated_level import Statement
from lycb_flows.labels.theory import gpaw_theory
from lycb_flows.report.page import write_report
from lycb_flows.schemas.keys import digest
from lycb_flows.store import open_store
from lycb_flows.units import EV_PER_ANG3_GPA

pytestmark = pytest.mark.usefixtures("blank_figures")

LI3YBR6 = ROOT / "docs" / "dft_labels" / "li3ybr6_pbe.extxyz"
PAPER_STATIC = gpaw_theory("paper-static")


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def test_a_campaign_without_imports_keeps_its_keys():
    # as of before there were imports
    assert digest(LabelConfig()) == LABEL_CONFIG
    assert digest(LabelConfig(allow_unknown=True)) == LABEL_CONFIG
    assert digest(LabelConfig(imported=("one",))) != LABEL_CONFIG


LABEL_CONFIG = "439a4bf6c92aa22c8d416de644252bf692267aca43670174d8a665d6229b4d7f"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small campaign with labels by Lennard-Jones: (store, submission, its one dataset)."""
    store = open_store(tmp_path_factory.mktemp("finished"))
    submission, _ = run_campaign(store, read_campaign(CAMPAIGNS / "calculator.yaml"))
    (one,) = find_results(store, submission.campaign, submission.theory).rounds
    return store, submission, store.load(schemas.Dataset, one.dataset)


def moved(store, submission, key, rattle_ang):
    """A label of the campaign's level, of a crystal near that of another label."""
    atoms = to_ase(store.load(schemas.Structure, store.load(schemas.Label, key).structure))
    atoms.rattle(rattle_ang, seed=3)
    structure = canonical_structure(atoms)
    return structure, AseCalculator(submission.campaign.labels.labeler).label(structure)


def importing_campaign(**labels):
    campaign = read_campaign(CAMPAIGNS / "calculator.yaml")
    return campaign.model_copy(update={"labels": campaign.labels.model_copy(update=labels)})


@pytest.fixture(scope="module")
def joining(finished, tmp_path_factory):
    """The same campaign with the labels of `finished` imported, one that is new, and one of a test.

    (store, submission, dataset, the new label, the labels behind the wall)
    """
    store, submission, dataset = finished
    folder = tmp_path_factory.mktemp("joining")
    (test_set,) = dataset.test_sets
    test_label = store.load(schemas.TestSet, test_set).labels[0]
    new = moved(store, submission, dataset.training_labels[0], 0.1)
    rounded = moved(store, submission, test_label, 1e-5)  # the same crystal by another key
    others = open_store(folder / "others")
    for key in (*dataset.training_labels, *dataset.validation_labels, test_label):
        label = store.load(schemas.Label, key)
        others.insert_all([store.load(schemas.Structure, label.structure), label])
    others.insert_all([*new, *rounded])
    write_labels(others, folder / "others.extxyz")

    other = open_store(folder / "store")
    import_labels(other, folder / "others.extxyz", name="others")
    again, _ = run_campaign(other, importing_campaign(imported=("others",)))
    (one,) = find_results(other, again.campaign, again.theory).rounds
    joined = other.load(schemas.Dataset, one.dataset)
    return other, again, joined, new[1].key, {test_label, rounded[1].key}


def test_imported_labels_train_and_those_of_tests_do_not(finished, joining):
    dataset = finished[2]
    store, submission, joined, new, behind_the_wall = joining
    assert joined.key != dataset.key
    assert set(joined.training_labels) == {*dataset.training_labels, new}
    assert joined.validation_labels == dataset.validation_labels
    assert joined.test_sets == dataset.test_sets
    assert joined.rejected == dict.fromkeys(
        behind_the_wall, "imported, and in a test set"
    ) | dict.fromkeys(dataset.validation_labels, "imported, and among the validation labels")
    (one,) = find_results(store, submission.campaign, submission.theory).rounds
    imports = {one.key for one in store.find_all(schemas.Import)}
    assert imports
    assert imports <= set(store.ancestors(one.model))


def test_the_plan_and_the_report_know_imported_labels(joining, tmp_path):
    store, submission, joined, _, _ = joining
    n_imported = sum(len(one.labels) for one in store.find_all(schemas.Import))
    assert n_imported == len(joined.training_labels) + len(joined.rejected)
    steps = plan_campaign(store, submission.campaign, submission.theory)
    assert any(f"and {n_imported} imported labels" in step.work for step in steps)
    found = find_results(store, submission.campaign, submission.theory)
    assert write_report(store, "joined", found.document_keys(), tmp_path / "report").is_file()


def test_another_level_of_theory_is_refused_with_both_printed(store):
    import_labels(store, LI3YBR6, name="pbe")
    with pytest.raises(InputError, match="never meet") as caught:
        submit(store, importing_campaign(imported=("pbe",), allow_unknown=True))
    assert PAPER_STATIC.fingerprint in str(caught.value)
    assert "Lennard-Jones" in str(caught.value)
    with pytest.raises(InputError, match="known=pbe"):
        submit(store, importing_campaign(imported=("pbbe",)))


def test_an_unknown_level_trains_when_it_is_allowed_and_does_not_contradict(finished, tmp_path):
    store, submission, dataset = finished
    structure, label = moved(store, submission, dataset.training_labels[0], 0.1)
    atoms = to_ase(structure)
    atoms.calc = SinglePointCalculator(
        atoms,
        energy=label.energy_ev,
        forces=np.array(label.forces_ev_per_ang),
        stress=np.array(label.stress_gpa) / EV_PER_ANG3_GPA,
    )
    path = tmp_path / "frame.extxyz"
    ase.io.write(path, atoms)
    other = open_store(tmp_path / "other")
    same = Statement(functional=submission.theory.functional)
    import_labels(other, path, name="same", statement=same)
    import_labels(other, path, name="another", statement=Statement(functional="PBE"))
    with pytest.raises(InputError, match=r"not known in full.*allow_unknown"):
        submit(other, importing_campaign(imported=("same",)))
    with pytest.raises(InputError, match=r"never meet.*functional: PBE and Lennard-Jones"):
        submit(other, importing_campaign(imported=("another",), allow_unknown=True))
    campaign = importing_campaign(imported=("same",), allow_unknown=True)
    again, _ = run_campaign(other, campaign)
    (one,) = find_results(other, again.campaign, again.theory).rounds
    joined = other.load(schemas.Dataset, one.dataset)
    (stranger,) = set(joined.training_labels) - set(dataset.training_labels)
    assert other.load(schemas.Label, stranger).theory != submission.theory.fingerprint
    with pytest.raises(LycbError, match="never meet"):
        refuse_mixture(other, joined.training_labels)
