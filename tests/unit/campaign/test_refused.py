"""What a campaign may not say: it is refused before anything is paid for."""

import json

import pytest
from pydantic import ValidationError

from lycb_flows.campaign import read_campaign
from lycb_flows.campaign.submission import submit
from lycb_flows.config import Campaign, DiffusionConfig, MDConfig
from lycb_flows.errors import InputError
from lycb_flows.potentials import find_model, write_model
from lycb_flows.quantities.volumes import VolumesOptions
from lycb_flows.store import open_store


def campaign(**sections):
    """Return the smallest campaign with these sections."""
    systems = [{"name": "LYC", "parent": "Li3YCl6"}]
    return Campaign.model_validate({"name": "c", "systems": systems, **sections})


@pytest.mark.parametrize(
    "measure",
    [
        {"temperatures_k": [500, 600, 600.0, 700]},
        {"temperatures_k": [600, 600.0000001]},
        {"pressures_bar": [1, 1.0]},
        {"student": {"temperatures_k": [300, 300]}},
    ],
    ids=str,
)
def test_a_condition_is_measured_once(measure):
    with pytest.raises(ValidationError, match=r"must differ, found \d+ twice"):
        campaign(measure=measure)


def test_volumes_are_at_different_temperatures():
    with pytest.raises(ValidationError, match="must differ, found 300 twice"):
        VolumesOptions(temperatures_k=(300, 600, 300.0))


def test_test_runs_may_repeat_a_temperature_or_a_strain_as_their_seeds_differ():
    test = {"temperatures_k": [300, 300], "strains": [0.0, 0.0, 0.03]}
    assert campaign(learning={"test": test}).learning.test.temperatures_k == (300.0, 300.0)


@pytest.mark.parametrize("fraction", [0, 1])
def test_some_labels_train_and_some_validate(fraction):
    with pytest.raises(ValidationError, match="validation_fraction"):
        campaign(learning={"training": {"validation_fraction": fraction}})


@pytest.mark.parametrize("confidence", [0, 1])
def test_an_interval_is_neither_a_point_nor_everything(confidence):
    with pytest.raises(ValidationError, match=r"confidence\n.*(greater|less) than [01]"):
        campaign(measure={"diffusion": {"confidence": confidence}})


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        (MDConfig, "average_fraction", 0),  # no frame gives the average cell
        (DiffusionConfig, "max_lag_fraction", 0),  # no lag is fitted
        (DiffusionConfig, "confidence", 0),
        (DiffusionConfig, "confidence", 1),  # a bound without end
    ],
)
def test_a_share_that_leaves_a_run_without_result_is_refused(config, field, value):
    with pytest.raises(ValidationError, match=field):
        config(**{field: value})
    assert getattr(config(**{field: 0.5}), field) == 0.5


@pytest.mark.parametrize(
    "sections",
    [
        {"learning": {"candidates": []}},
        {"learning": {"test": {"strains": []}}},
        {"learning": {"test": {"temperatures_k": []}}},
        {"measure": {"temperatures_k": []}},
        {"measure": {"pressures_bar": []}},
    ],
    ids=str,
)
def test_a_list_of_what_is_run_is_not_empty(sections):
    with pytest.raises(ValidationError, match="at least 1 item"):
        campaign(**sections)


@pytest.mark.parametrize("strain", [-1.0, -0.6, 2.0])
def test_a_strained_crystal_is_one(strain):
    with pytest.raises(ValidationError, match=r"strains\.0"):
        campaign(learning={"test": {"strains": [strain]}})


@pytest.mark.parametrize(
    "systems",
    [
        {"A": [], "A ": []},
        {"A": [3], "A-x3": []},
        {"A": [3], "A-x3": [1]},
        {"A": [0.3333333, 0.3333334]},
        {"A-x1": [2], "A": [1, 2]},
    ],
    ids=str,
)
def test_no_two_crystals_have_one_name(systems):
    given = [
        {"name": name.strip(), "parent": "Li3YCl6", "decorations": [{"x": x} for x in xs]}
        for name, xs in systems.items()
    ]
    with pytest.raises(ValidationError, match="differ"):
        campaign(systems=given)


@pytest.mark.parametrize("name", ["LYC-ordering2", "A-x3-ordering12", "A-ordering2-ordering3"])
def test_a_system_is_not_named_as_an_ordering(name):
    with pytest.raises(ValidationError, match="is the name of an ordering"):
        campaign(systems=[{"name": name, "parent": "Li3YCl6"}])


@pytest.mark.parametrize("name", ["LYC-ordering", "ordering2", "LYC-ordering2b"])
def test_every_system_is_found_by_its_name(name):
    found = campaign(systems=[{"name": name, "parent": "Li3YCl6", "decorations": [{"x": 3}]}])
    for crystal in (name, f"{name}-x3", f"{name}-ordering2", f"{name}-x3-ordering2"):
        assert found.system_of(crystal).name == name


def test_an_ion_that_conducts_has_a_charge():
    with pytest.raises(ValidationError, match="an ion that conducts has a charge"):
        campaign(measure={"diffusion": {"charge_number": 0}})


# -- models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "at"),
    [
        (lambda names: {"learning": {"model": names}}, "learning.model"),
        (
            lambda names: {"measure": {"quantities": {"volumes": {"models": names}}}},
            "measure.quantities.volumes.models",
        ),
    ],
    ids=["candidates", "volumes"],
)
def test_a_model_is_in_a_list_once_whatever_its_names(tmp_path, section, at):
    source, copy = find_model("toy-soft"), tmp_path / "copy.safetensors"
    write_model(source.model, source.weights, copy)
    names = ["toy-soft", "toy-teacher", str(copy)]
    stated = campaign(**section(names))
    with (
        open_store(tmp_path / "store") as store,
        pytest.raises(InputError, match=f"are the same.*at={at}, found=toy-soft, .*safetensors"),
    ):
        submit(store, stated)


# -- a misspelt field, wherever it stands ---------------------------------------------------------


def pairs(**given):
    return [{"species": ["Y", "Y"], "min_distance_ang": 3.0}, given]


@pytest.mark.parametrize(
    ("path", "given", "words"),
    [
        (("learning", "test"), {"run_p": 2.0}, r"at=learning.test.run_p.*'run_ps'"),
        (
            ("learning", "test", "sets"),
            {"x": {"temperatures_k": [300.0], "n_frame": 3}},
            r"at=learning.test.sets.x.n_frame.*'n_frames'",
        ),
        (("measure", "student"), {"neuron": 3}, r"at=measure.student.neuron.*'neurons'"),
        (("enumeration", "forbidden_pairs"), pairs(specie=1), r"pairs.1.species"),
        (
            ("enumeration", "forbidden_pairs"),
            pairs(species=["Y", "Li"], min_distance_ang=2.0, foo=1),
            r"pairs.1.foo.*known here: species, min_distance_ang",
        ),
        (("decorations",), [{"x": 1.0, "sed": 2}], r"decorations.0.sed.*'seed'"),
        (("ranking", "dft"), {"labeler": {"type": "vasp"}, "relaxatio": {}}, r"'relaxation'"),
        (("ranking", "dft", "labeler"), {"type": "vasp", "theor": "x"}, r"labeler.theor.*'theory'"),
        (("learning", "model"), {"calculator": "a.B", "weight": "w"},
         r"at=learning.model.weight.*take it out"),
        (("learning", "model"), [{"calculator": "a.B", "weight": "w"}, "toy-soft"],
         r"weight.*take it out"),
    ],
    ids=str,
)  # fmt: skip
def test_a_misspelt_field_is_told_wherever_it_stands(tmp_path, path, given, words):
    system = {"name": "LYC", "parent": "Li3YCl6"}
    content = {"name": "c", "systems": [system]}
    place = system if path[0] in {"enumeration", "decorations"} else content
    for step in path[:-1]:
        place = place.setdefault(step, {})
    place[path[-1]] = given
    file = tmp_path / "c.yaml"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=words):
        read_campaign(file)
