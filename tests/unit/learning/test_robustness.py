"""The card of a model finds what is wrong with it; replay keeps a child near its parent."""

import json
from dataclasses import replace

import numpy as np
import pytest
from places import ROOT

from lycb_flows.campaign.labelled_files import read_split_labels, read_training_labels
from lycb_flows.config import TrainingConfig
from lycb_flows.crystals.structures import to_ase
from lycb_flows.errors import InputError
from lycb_flows.learning.robustness import (
    NEAREST_ANG,
    other_chemistries,
    replayed,
    robustness_card,
)
from lycb_flows.learning.training import fine_tune
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.potential import Potential

FILES = [ROOT / "docs" / "dft_labels" / f"{name}_pbe.extxyz" for name in ("li3ybr6", "li3ycl6")]


def load(name: str) -> Potential:
    source = find_model(name)
    return load_potential(source.model, source.weights)


@pytest.fixture(scope="module")
def crystal():
    """A cell of Li3YCl6 of ten atoms."""
    return read_split_labels([FILES[1]])[1][0].structure


class Holed(Potential):
    """A potential with a hole between lithium and chlorine, or one that favours small cells."""

    def __init__(self, potential, below_ang=0.0, volume_ang3=0.0):
        self.potential = potential
        self.below_ang, self.volume_ang3 = below_ang, volume_ang3

    def evaluator(self, numbers):
        return self.potential.evaluator(numbers)

    def predict(self, structures):
        points = self.potential.predict(structures)
        return [self._worse(*pair) for pair in zip(structures, points, strict=True)]

    def _worse(self, structure, point):
        atoms = to_ase(structure)
        species = np.array(structure.species)
        between = atoms.get_all_distances(mic=True)[np.ix_(species == "Li", species == "Cl")]
        depth_ev = 1e6 * max(self.below_ang - between.min(), 0.0)
        depth_ev += 1e6 * (atoms.get_volume() < self.volume_ang3)
        return replace(point, energy_ev=point.energy_ev - depth_ev)


def test_a_sound_model_has_walls_and_cells_that_hold(crystal):
    card = robustness_card(load("toy-soft"), [crystal])
    assert set(card.wall_ang) == {"Cl-Cl", "Cl-Li", "Cl-Y", "Li-Li", "Li-Y"}
    assert set(card.wall_ang.values()) == {NEAREST_ANG}
    assert card.lengths_that_hold == (0.8, 1.2)
    assert card.force_change_ev_per_ang is None


def test_a_hole_is_found_where_it_is_and_in_no_other_pair(crystal):
    card = robustness_card(Holed(load("toy-soft"), below_ang=1.5), [crystal])
    assert card.wall_ang["Cl-Li"] == pytest.approx(1.55, abs=0.06)
    assert card.wall_ang["Cl-Cl"] == card.wall_ang["Li-Li"] == NEAREST_ANG


def test_a_cell_that_collapses_is_found(crystal):
    volume_ang3 = to_ase(crystal).get_volume()
    collapsing = Holed(load("toy-soft"), volume_ang3=0.89**3 * volume_ang3)
    card = robustness_card(collapsing, [crystal])
    assert card.lengths_that_hold == (0.8, 0.9)  # rising from 0.88 to 0.9, then falling
    assert robustness_card(load("toy-soft"), [crystal, crystal]).lengths_that_hold == (0.8, 1.2)


def test_other_chemistries_are_of_the_same_groups_and_repeat_themselves(crystal):
    made = other_chemistries([crystal], 5)
    again = other_chemistries([crystal], 5)
    assert [each.key for each in made] == [each.key for each in again]
    assert len({tuple(each.species) for each in made}) > 1
    for each in made:
        assert not set(each.species) & {"Li", "Y", "Cl"}
        assert len(each.species) == len(crystal.species)


def test_replay_keeps_a_child_near_its_parent_on_other_elements():
    parent = load("chgnet-0.3.0")
    sets = read_training_labels(FILES)
    parts = [sets.training[:4], sets.validation[:4]]
    crystals = [parts[0][0].structure]
    config = TrainingConfig(epochs=10, recipe="whole-schedule")
    changes, errors = {}, {}
    for share in (None, 1.0):
        child = fine_tune(parent, *parts, config.model_copy(update={"replay": share}), raw_pbe=True)
        card = robustness_card(parent.with_weights(child.weights), crystals, parent)
        changes[share], errors[share] = card.force_change_ev_per_ang, child.history[-1].score
    assert card.other_forces_ev_per_ang > 5 * changes[None] > 0
    assert changes[1.0] < 0.7 * changes[None]
    assert errors[1.0] < 1.3 * errors[None]
    assert robustness_card(parent, crystals, parent).force_change_ev_per_ang == 0


def test_replay_is_drawn_by_the_seed_and_is_no_crystal_of_the_card(crystal):
    parent, labels = load("chgnet-0.3.0"), read_training_labels([FILES[1]]).training[:4]
    first, same, other = (
        [label.structure.key for label in replayed(parent, labels, 0.5, seed)] for seed in (0, 0, 1)
    )
    assert len(first) == 2
    assert first == same != other
    assert not set(first) & {each.key for each in other_chemistries([crystal], 6)}


def test_a_model_that_knows_no_other_elements_has_the_rest_of_the_card(crystal):
    card = robustness_card(load("toy-soft"), [crystal], load("toy-teacher"))
    assert card.force_change_ev_per_ang is None
    with pytest.raises(InputError, match="no crystal"):
        robustness_card(load("toy-soft"), [])


def test_the_command_shows_the_card(lycb):
    command = ("bakeoff", FILES[1], "--model", "toy-soft", "--model", "toy-teacher")
    code, out, _ = lycb(*command, "--robustness", "--json")
    assert code == 0
    cards = json.loads(out)["robustness"]
    assert list(cards) == ["toy-soft", "toy-teacher"]
    assert cards["toy-soft"]["wall_ang"]["Cl-Li"] == NEAREST_ANG
    code, out, _ = lycb(*command, "--robustness")
    assert code == 0
    assert "0.8 to 1.2" in out
    code, out, _ = lycb(*command, "--json")
    assert "robustness" not in json.loads(out)
