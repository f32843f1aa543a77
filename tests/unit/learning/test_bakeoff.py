"""Models side by side: the same labels, one shift each, and a choice with its reason."""

import itertools
import json
import time
from dataclasses import replace

import ase.io
import numpy as np
import pytest
import torch
from messages import assert_one_line
from places import ROOT

from lycb_flows.campaign.labelled_files import read_split_labels
from lycb_flows.errors import InputError
from lycb_flows.learning import bakeoff, elements_of
from lycb_flows.learning.bakeoff import bake_off, halves
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.potential import Potential

FILES = [ROOT / "docs" / "dft_labels" / f"{name}_pbe.extxyz" for name in ("li3ybr6", "li3ycl6")]
CHGNET = {"Li3YBr6": (11.8, 131, 0.201, 0.67), "Li3YCl6": (10.6, 90, 0.176, 0.75)}
"""Errors after the reference shift, as docs/dft_labels/README.md has them."""
SEVENNET = {"Li3YBr6": (2.7, 46, 0.089, 0.94), "Li3YCl6": (1.9, 36, 0.076, 0.96)}
"""Errors of SevenNet-0 on the same labels by its own calculator, measured on their own."""


class Noisy(Potential):
    """A potential with errors of its forces, and a price.

    Parameters
    ----------
    potential
        What is right.
    error_ev_per_ang
        Standard deviation of the error of each force component.
    offset_ev
        Energy that is wrong per atom.
    pause_s
        Time that a call takes longer.
    """

    def __init__(self, potential, error_ev_per_ang, offset_ev=0.0, pause_s=0.0):
        self.potential, self.error = potential, error_ev_per_ang
        self.offset_ev, self.pause_s = offset_ev, pause_s

    def evaluator(self, numbers):
        evaluate = self.potential.evaluator(numbers)
        generator = torch.Generator().manual_seed(round(1e5 * self.error))
        sizes = torch.tensor([len(each) for each in numbers])

        def noisy(positions, cells):
            time.sleep(self.pause_s)
            found = evaluate(positions, cells)
            noise = torch.randn(found.forces_ev_per_ang.shape, generator=generator)
            return replace(
                found,
                energies_ev=found.energies_ev + self.offset_ev * sizes,
                forces_ev_per_ang=found.forces_ev_per_ang + self.error * noise,
            )

        return noisy


def toy():
    source = find_model("toy-teacher")
    return load_potential(source.model, source.weights)


@pytest.fixture(scope="module")
def known():
    """Labels of the toy, on the structures of the DFT labels."""
    parts = [part[::2] for part in read_split_labels(FILES)]
    structures = [[label.structure for label in part] for part in parts]
    points = [toy().predict(part) for part in structures]
    return [
        [replace(label, **vars(point)) for label, point in zip(*pair, strict=True)]
        for pair in zip(parts, points, strict=True)
    ]


def compared(known, **potentials):
    return bake_off({name: lambda made=made: made for name, made in potentials.items()}, *known)


def test_an_offset_is_no_error_and_a_better_model_is_chosen_with_its_reason(known):
    found = compared(known, worse=Noisy(toy(), 0.2), better=Noisy(toy(), 0.05, offset_ev=0.7))
    assert [entry.name for entry in found.entries] == ["better", "worse"]
    better = found.entries[0]
    assert better.errors.energy_mae_ev_per_atom < 1e-9
    assert better.errors.force_mae_ev_per_ang == pytest.approx(0.05 * (2 / np.pi) ** 0.5, rel=0.1)
    assert sum(better.shift_ev.values()) != 0
    assert found.best == "better"
    assert "clearly the smallest" in found.reason
    assert better.errors.n_labels == found.n_testing == 9


def test_of_two_that_are_equal_within_their_spread_the_cheaper_is_chosen(known):
    found = compared(known, quick=Noisy(toy(), 0.0502), slow=Noisy(toy(), 0.05, pause_s=0.1))
    assert found.best == "quick"
    assert "costs less" in found.reason
    times = {entry.name: entry.step_s_per_atom for entry in found.entries}
    assert 0.1 / 120 < times["slow"] - times["quick"] < 0.2 / 60


@pytest.mark.parametrize(
    ("ratio", "words"), [(1.3, None), (1.84, "1.8"), (2.5, "2.5"), (9.97, "10"), (123.4, "120")]
)
def test_a_model_that_is_much_faster_is_named_with_two_digits(known, ratio, words):
    found = compared(known, better=Noisy(toy(), 0.05), worse=Noisy(toy(), 0.2))
    better, worse = found.entries
    rows = [replace(better, step_s_per_atom=1e-4 * ratio), replace(worse, step_s_per_atom=1e-4)]
    scores = {"better": np.linspace(0.99, 1.01, 200), "worse": np.linspace(2.99, 3.01, 200)}
    name, reason = bakeoff._recommendation(rows, scores)
    assert name == "better"
    faster = reason.partition("; worse, with ")[2]
    assert faster == ("" if words is None else f"{worse.errors.score:.2f}, is {words} times faster")


def test_the_spread_is_that_of_other_test_sets_of_the_same_size(known):
    fitting, testing = known
    halves = [
        compared((fitting, half), m=Noisy(toy(), 0.1)) for half in (testing[::2], testing[1::2])
    ]
    apart = np.subtract(*(half.entries[0].errors.force_mae_ev_per_ang for half in halves))
    spread = np.hypot(*(half.entries[0].spread["force_mae_ev_per_ang"] for half in halves))
    assert abs(apart) < 4 * spread
    assert spread < 0.03
    assert halves[0].reason == "it is the only one"


@pytest.mark.parametrize("n_labels", [1, 2, 3])
def test_few_labels_have_no_spread_and_nothing_is_clear_on_them(known, n_labels):
    fitting, testing = known
    models = {"better": Noisy(toy(), 0.05, pause_s=0.01), "worse": Noisy(toy(), 0.2)}
    found = compared((fitting, testing[:n_labels]), **models)
    assert [entry.spread for entry in found.entries] == [{}, {}]
    assert found.best == "better"
    assert "clearly" not in found.reason
    assert "too few test labels" in found.reason
    enough = compared((fitting, testing[:4]), **models)
    assert enough.entries[0].spread["score"] > 0


def test_an_element_without_a_shift_is_refused(known):
    fitting = [label for label in known[0] if label.system == "Li3YCl6"]
    with pytest.raises(InputError, match=r"no label that fits the shift of an element.*Br"):
        compared((fitting, known[1]), toy=toy())


def test_every_order_of_two_labels_of_two_halides_has_halves_that_fit_all_elements(known):
    chloride, bromide = ([label for label in known[1] if label.system == s] for s in CHGNET)
    for order in itertools.permutations([*chloride[:2], *bromide[:2]]):
        fitting, testing = halves(order)
        assert len(fitting) == len(testing) == 2
        assert {label.key for label in (*fitting, *testing)} == {label.key for label in order}
        assert elements_of(testing) <= elements_of(fitting) == {"Li", "Y", "Cl", "Br"}


def test_halves_are_every_second_label_where_these_have_all_elements(known):
    labels = known[1][:8]
    assert halves(labels) == (labels[::2], labels[1::2])


def agree(entry, rows):
    for system, (energy_mev, force_mev, stress_gpa, slope) in rows.items():
        errors = entry["by_system"][system]
        assert 1000 * errors["energy_mae_ev_per_atom"] == pytest.approx(energy_mev, rel=0.05)
        assert 1000 * errors["force_mae_ev_per_ang"] == pytest.approx(force_mev, rel=0.05)
        assert errors["stress_mae_gpa"] == pytest.approx(stress_gpa, rel=0.05)
        assert errors["force_slope"] == pytest.approx(slope, rel=0.05)


def test_the_command_finds_the_errors_of_the_documentation(lycb):
    code, out, _ = lycb("bakeoff", *FILES, "--model", "chgnet-0.3.0", "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["n_fitting"], found["n_testing"]) == (34, 17)
    agree(found["entries"][0], CHGNET)
    code, out, _ = lycb("bakeoff", *FILES, "--model", "toy-soft")
    assert code == 0
    assert "start from toy-soft: it is the only one" in out


@pytest.mark.torture
def test_sevennet_has_half_of_the_errors(lycb):
    code, out, _ = lycb("bakeoff", *FILES, "--model", "sevennet-0", "--json")
    assert code == 0
    agree(json.loads(out)["entries"][0], SEVENNET)


def test_labels_without_splits_are_split_and_levels_are_not_mixed(tmp_path):
    frames = ase.io.read(FILES[0], ":9")
    for atoms in frames:
        del atoms.info["split"]
    ase.io.write(tmp_path / "plain.extxyz", frames)
    fitting, testing = read_split_labels([tmp_path])
    assert (len(fitting), len(testing)) == (3, 6)
    frames[0].info["theory"] = "another"
    ase.io.write(tmp_path / "plain.extxyz", frames)
    with pytest.raises(InputError, match="several levels"):
        read_split_labels([tmp_path])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ("no labels there",)),
        ("nothing\n", ("cannot read labels",)),
        ("1\nLattice='4 0 0 0 4 0 0 0 4'\nLi 0 0 0\n", ("a frame is no label", "energy")),
    ],
)
def test_what_is_no_labels_is_one_line(lycb, tmp_path, text, words):
    if text is not None:
        (tmp_path / "labels.extxyz").write_text(text.replace("'", '"'))
    assert_one_line(lycb("bakeoff", tmp_path, "--model", "toy-soft"), *words)
