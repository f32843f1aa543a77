"""Keys: what enters them, what does not, and that none changes unnoticed."""

import contextlib
import json

import numpy as np
import pytest
from ase import Atoms
from places import DATA

from lycb_flows.campaign.ground_states import GroundStatePlan
from lycb_flows.campaign.stages import StagePlan
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import (
    HALIDE_FORBIDDEN_PAIRS,
    Campaign,
    DftConfig,
    DiffusionConfig,
    EnumerationConfig,
    RankingConfig,
    TestConfig,
)
from lycb_flows.crystals.binaries import BINARY_NAMES, load_binary
from lycb_flows.crystals.structures import (
    PARENT_NAMES,
    canonical_structure,
    load_parent,
    structure_from_arrays,
    to_ase,
    to_pymatgen,
)
from lycb_flows.errors import InputError
from lycb_flows.labels.theory import teacher_theory
from lycb_flows.potentials.members import CHGNet, Toy
from lycb_flows.potentials.models import find_model
from lycb_flows.quantities.plan import Condition, MeasurementPlan
from lycb_flows.quantities.registry import find_quantity
from lycb_flows.schemas import (
    KINDS,
    Arrhenius,
    CampaignRecord,
    Enumeration,
    Label,
    Ranking,
    Run,
    Structure,
    TestSet,
    at_versions,
)
from lycb_flows.schemas.keys import canonical, make_key
from lycb_flows.store import open_store

FROZEN = DATA / "frozen" / "campaigns"
TINY = FROZEN / "tiny.yaml"
PAPER = FROZEN / "lycb_paper.yaml"
QUICKSTART = FROZEN / "quickstart.yaml"


def test_floats_are_exact_and_minus_zero_is_zero():
    assert canonical(0.1) == (0.1).hex()
    assert canonical(-0.0) == canonical(0.0)
    assert canonical(0.1 + 0.2) != canonical(0.3)
    assert canonical(np.float64(0.1)) == canonical(0.1)
    assert canonical(np.arange(2.0)) == canonical([0.0, 1.0])


def test_an_absent_option_is_not_there():
    assert canonical({"a": None, "b": 1}) == {"b": 1}
    assert make_key(Label, a=None, b=0) == make_key(Label, b=0) != make_key(Label)


def test_a_config_coerces_before_it_is_keyed():
    assert make_key(Label, c=DiffusionConfig(site_distance_ang=3)) == make_key(
        Label, c=DiffusionConfig(site_distance_ang=3.0)
    )


def test_order_of_fields_does_not_matter_but_kind_and_version_do(monkeypatch):
    assert make_key(Label, a=1, b=2) == make_key(Label, b=2, a=1) != make_key(Structure, a=1, b=2)
    before = make_key(Label, a=1)
    monkeypatch.setattr(Label, "method_version", Label.method_version + 1)
    assert make_key(Label, a=1) != before


def test_names_comments_and_machine_matters_are_not_keyed():
    campaign = read_campaign(TINY)
    other = campaign.model_copy(
        update={
            "comment": "other words",
            "labels": campaign.labels.model_copy(update={"timeout_s": 1.0, "grace_s": 2.0}),
            "md": campaign.md.model_copy(update={"replicas_per_job": 1}),
        }
    )
    assert make_key(CampaignRecord, c=campaign) == make_key(CampaignRecord, c=other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [None], {1, 2}, b"x"])
def test_what_has_no_canonical_form_is_refused(value):
    with pytest.raises(InputError):
        canonical(value)


def random_structure(seed):
    rng = np.random.default_rng(seed)
    lattice = np.diag([5.0, 6.0, 7.0]) + rng.normal(0, 0.3, (3, 3))
    coords = rng.uniform(-2, 2, (20, 3))
    coords[0] = [1.0 - 1e-12, -1e-13, 0.5]  # at the border, where wrapping may go either way
    return structure_from_arrays(lattice, ["Li"] * 10 + ["Cl"] * 10, coords)


@pytest.mark.parametrize("seed", range(20))
def test_a_structure_keeps_its_key_through_storage_ase_and_pymatgen(seed):
    structure = random_structure(seed)
    stored = Structure.model_validate_json(structure.model_dump_json())
    assert stored == structure
    assert canonical_structure(to_ase(structure)).key == structure.key
    assert canonical_structure(to_pymatgen(structure)).key == structure.key
    assert all(0 <= x < 1 for row in structure.frac_coords for x in row)


def test_other_order_of_atoms_is_another_structure():
    atoms = Atoms("LiCl", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[4, 4, 4], pbc=True)
    assert canonical_structure(atoms).key != canonical_structure(atoms[[1, 0]]).key


def golden_keys(folder):
    """Keys of every kind that a plan can promise; made by plans with fixed inputs."""
    campaign = read_campaign(TINY)
    paper = read_campaign(PAPER)
    theory = teacher_theory(find_model("chgnet-r2scan").model)
    keys = {f"parent {name}": load_parent(name).document().key for name in PARENT_NAMES}
    names = (*CHGNet.model_names, *Toy.model_names)
    keys |= {f"model {name}": find_model(name).model.key for name in names}
    keys["theory"] = theory.fingerprint
    for supercell in ((1, 1, 1), (1, 1, 2)):
        config = EnumerationConfig(supercell=supercell)
        keys[f"enumeration {supercell}"] = Enumeration.key_of(
            load_parent("Li3YCl6").document(), config
        )
    keys["ranking"] = make_key(Ranking, enumeration="0" * 64, ranking=RankingConfig())
    keys["structure"] = random_structure(0).key
    keys["label"] = Label.key_of("0" * 64, theory.fingerprint)
    keys |= {f"binary {name}": load_binary(name).key for name in BINARY_NAMES}
    by_dft = GroundStatePlan(
        dft=DftConfig(labeler={"type": "teacher"}), theory=theory, system="LYC", ranking="0" * 64
    )
    keys["ground state"] = by_dft.key(20)
    keys["relaxation at a theory"] = by_dft.relaxation_key("0" * 64)
    for name, plan_campaign in (("tiny", campaign), ("paper", paper)):
        keys |= plan_keys(name, plan_campaign, theory)
    return keys | record_keys(folder)


def record_keys(folder):
    """Keys of campaigns as submitted: with another key, `lycb submit` would add one twice."""
    files = {"quickstart": QUICKSTART, "tiny": TINY, "paper": PAPER}
    with contextlib.closing(open_store(folder)) as store:
        return {
            f"{name} campaign": submit(store, read_campaign(file)).record.key
            for name, file in files.items()
        }


def plan_keys(name, campaign, theory):
    starts = {system.name: "1" * 64 for system in campaign.systems}
    plan = StagePlan(campaign=campaign, theory=theory, starts=starts, model="2" * 64)
    later = plan.model_copy(update={"index": 1, "dataset": "3" * 64, "earlier_frames": ("4" * 64,)})
    keys = {}
    for stage in (plan, later):
        prefix = f"{name} {stage.title}"
        runs = (*stage.npt_runs(), *stage.nvt_runs(), *stage.test_runs())
        keys |= {f"{prefix} run {run.name}": Run.key_of(run) for run in runs}
        keys |= {
            f"{prefix} frames": stage.frames_key,
            f"{prefix} dataset": stage.dataset_key,
            f"{prefix} model": stage.model_key,
            f"{prefix} round": stage.round_key(),
        }
    measurement = MeasurementPlan(campaign=campaign, starts=starts, model="5" * 64)
    place = Condition(system="LYC", pressure_bar=1.0)
    hot = place.model_copy(update={"temperature_k": 400.0})
    keys[f"{name} transport"] = find_quantity("diffusion").key(measurement, hot)
    keys[f"{name} arrhenius"] = find_quantity("arrhenius").key(measurement, place)
    return keys


def test_golden_keys_have_not_changed_unnoticed(tmp_path):
    # Absolute paths of this clone are no part of any key: the campaigns name built-ins only.
    golden = json.loads((DATA / "golden_keys.json").read_text())
    assert golden_keys(tmp_path) == golden


def test_a_change_of_t_max_or_of_the_measurement_touches_no_finished_round():
    campaign = read_campaign(TINY)
    theory = teacher_theory(find_model("toy-teacher").model)
    learning = campaign.learning.model_copy(update={"max_temperature_k": 1000.0})
    measurement = campaign.measure.model_copy(update={"nvt_ps": 9.0})
    other = campaign.model_copy(update={"learning": learning, "measure": measurement})
    assert plan_keys("a", campaign, theory)["a r01 400 K round"]
    one, two = (
        {key: value for key, value in plan_keys("a", c, theory).items() if "transport" not in key}
        for c in (campaign, other)
    )
    one.pop("a arrhenius"), two.pop("a arrhenius")
    assert one == two


@pytest.mark.parametrize(
    ("sets", "others"),
    [
        (
            {"hot": {"temperatures_k": [600.0], "n_frames": 5}},
            {"hot": {"temperatures_k": [600.0], "n_frames": 50}},
        ),
        ({"low": {"orderings": 2}}, {"lowest": {"orderings": 2}}),
    ],
    ids=["frames of a run", "name"],
)
def test_what_a_named_test_set_holds_is_in_the_keys_of_its_frames(sets, others):
    campaign = read_campaign(TINY)
    tested = {system.name: ("6" * 64, "7" * 64) for system in campaign.systems}
    found = set()
    for named in (sets, others):
        test = TestConfig.model_validate({**campaign.learning.test.model_dump(), "sets": named})
        learning = campaign.learning.model_copy(update={"test": test})
        plan = StagePlan(
            campaign=campaign.model_copy(update={"learning": learning}),
            theory=teacher_theory(find_model("toy-teacher").model),
            starts=dict.fromkeys(tested, "1" * 64),
            tested=tested,
            model="2" * 64,
        )
        found |= {plan.frames_key, plan.dataset_key}
    assert len(found) == 4


def test_test_sets_of_the_same_labels_are_told_apart_by_their_names():
    labels = ["8" * 64, "9" * 64]
    keys = {TestSet.key_of(labels, name) for name in (None, "low", "lowest")}
    assert len(keys) == 3
    assert TestSet.key_of(labels[::-1], "low") in keys


def test_a_key_of_an_earlier_method_version_is_the_one_of_then():
    class Earlier(Arrhenius):
        method_version = 2

    made = Earlier.key_of(["0" * 64], 300.0)
    assert Arrhenius.key_of(["0" * 64], 300.0) != made
    with at_versions({"arrhenius": 2, "transport": None}):
        assert Arrhenius.key_of(["0" * 64], 300.0) == made
    assert Arrhenius.key_of(["0" * 64], 300.0) != made


BY_TIN = {"Y": {"Sn": 0.25}}


@pytest.mark.parametrize(
    ("settings", "is_found_anew"),
    [
        ({}, False),
        ({"substitute": BY_TIN}, True),
        ({"substitute": BY_TIN, "formula": "Li3YCl6"}, False),
        ({"composition": "nearest"}, True),
        ({"composition": {"Li": 9, "Y": 3, "Cl": 18}}, False),
        ({"composition": "nearest", "substitute": BY_TIN, "formula": "Li3YCl6"}, True),
    ],
)
def test_where_other_atoms_are_found_now_an_earlier_list_is_not(settings, is_found_anew):
    parent, config = load_parent("Li3YCl6").document(), EnumerationConfig(**settings)
    keyed = config.keyed() | {
        "min_occupancy": parent.min_occupancy,
        "forbidden_pairs": HALIDE_FORBIDDEN_PAIRS,
    }
    earlier = make_key(Enumeration, parent=parent.key, **keyed)
    assert (Enumeration.key_of(parent, config) != earlier) == is_found_anew


def test_sites_that_were_sought_in_the_parent_alone_are_not_found_again():
    campaign = read_campaign(TINY)
    plan = MeasurementPlan(campaign=campaign, starts={"LYC": "1" * 64}, model="5" * 64)
    place = Condition(system="LYC", pressure_bar=1.0, temperature_k=400.0)
    with at_versions({"sites": 1}):
        earlier = find_quantity("sites").key(plan, place)
    assert find_quantity("sites").key(plan, place) != earlier


def test_many_keys_made_at_once_are_those_made_one_by_one(monkeypatch):
    structures = [*(f"{i:064x}" for i in range(3)), 'a "quoted" name', "Å\\"]
    for version in (1, 7):
        monkeypatch.setattr(Label, "method_version", version)
        one_by_one = [Label.key_of(structure, "theory") for structure in structures]
        assert Label.keys_of(structures, "theory") == one_by_one


def test_every_kind_has_its_own_name():
    assert all(KINDS[name].kind == name for name in KINDS)
    assert isinstance(read_campaign(TINY), Campaign)
