"""Fine-tuning learns, repeats itself bit by bit, exports its best; errors mean what they say."""

import functools
import math
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import torch
import yaml

from lycb_flows import schemas
from lycb_flows.config import TrainingConfig
from lycb_flows.crystals.structures import (
    canonical_structure,
    load_parent,
    structure_from_arrays,
    to_ase,
)
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.learning import training as learning_loop
from lycb_flows.learning.evaluation import evaluate
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.reference_shift import MP2020_REMOVAL_EV, shift_reference
from lycb_flows.learning.training import EpochLoop, fine_tune, learning_rate_factor
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.potential import Potential

TOY = TrainingConfig(epochs=40)


def load(name: str) -> Potential:
    source = find_model(name)
    return load_potential(source.model, source.weights)


def loaded(name: str, weights: bytes) -> Potential:
    return load_potential(find_model(name).model, weights)


def ordered(parent: str, sites: dict[str, tuple[str, tuple[int, ...]]]) -> schemas.Structure:
    """A parent's cell: label -> (species, which of these sites are occupied)."""
    structure = load_parent(parent).structure
    species, coords, seen = [], [], dict.fromkeys(sites, -1)
    for site in structure:
        if site.label in sites:
            seen[site.label] += 1
            symbol, occupied = sites[site.label]
            if seen[site.label] in occupied:
                species.append(symbol)
                coords.append(site.frac_coords)
    return structure_from_arrays(structure.lattice.matrix, species, coords)


@functools.cache
def cell(system: str) -> schemas.Structure:
    every = tuple(range(12))
    if system == "LYB":
        sites = {"Li1": ("Li", (1, 2, 3)), "Y3": ("Li", (0, 2, 3)), "Li5": ("Y", every)}
        return ordered("Li3YBr6", sites | dict.fromkeys(("Br6", "Br7"), ("Br", every)))
    sites = {"Li0": ("Li", every), "Li1": ("Li", (1, 3, 5)), "Y2": ("Y", every)}
    sites |= {"Y4": ("Y", every)} | dict.fromkeys(("Cl5", "Cl6", "Cl7"), ("Cl", every))
    return ordered("Li3YCl6", sites)


@functools.cache
def labelled(teacher: str, n_each: int, seed: int) -> tuple[LabelledStructure, ...]:
    """Rattled, strained cells of both systems with a teacher's labels."""
    rng = np.random.default_rng(seed)
    found = []
    for system in ("LYC", "LYB"):
        for index in range(n_each):
            atoms = to_ase(cell(system))
            strain = np.eye(3) + rng.normal(0, 0.015, (3, 3))
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
            structure = canonical_structure(atoms)
            (label,) = load(teacher).predict([structure])
            key = f"{seed}-{system}-{index}"
            found.append(
                LabelledStructure(structure=structure, key=key, system=system, **vars(label))
            )
    return tuple(found)


def mae(potential: Potential, labels: Sequence[LabelledStructure]) -> schemas.ModelErrors:
    return evaluate(potential, labels).overall


def test_cells_have_the_right_formula():
    assert cell("LYB").species.count("Li") == 6
    assert len(cell("LYB").species) == 20
    assert cell("LYC").species.count("Li") == 9
    assert len(cell("LYC").species) == 30


def test_the_toy_learns_its_teacher():
    parent = load("toy-soft")
    training, validation, test = (
        labelled("toy-teacher", n, s) for n, s in ((5, 0), (2, 1), (2, 2))
    )
    child = fine_tune(parent, training, validation, TOY, raw_pbe=False)
    shifted, shift_ev = shift_reference(parent, training, raw_pbe=False, ridge_ev_per_atom=1.0)
    before, after_shift = mae(parent, test), mae(shifted, test)
    after = mae(loaded("toy-soft", child.weights), test)
    assert shift_ev == child.reference_shift_ev
    assert before.energy_mae_ev_per_atom > 1.0
    assert after_shift.energy_mae_ev_per_atom < 0.02
    assert after_shift.force_mae_ev_per_ang == pytest.approx(before.force_mae_ev_per_ang)
    assert after.energy_mae_ev_per_atom < 0.6 * after_shift.energy_mae_ev_per_atom
    assert after.force_mae_ev_per_ang < 0.5 * before.force_mae_ev_per_ang
    assert after.stress_mae_gpa < 0.5 * before.stress_mae_gpa
    assert abs(after.force_slope - 1) < abs(before.force_slope - 1)
    assert parent.weights_bytes() == find_model("toy-soft").weights  # untouched
    assert len(child.history) == TOY.epochs
    assert child.best_epoch > 1
    assert child.history[-1].learning_rate == pytest.approx(0.01 * TOY.learning_rate)
    assert child.history[-1].training_loss < child.history[0].training_loss


def test_equal_seeds_give_equal_weights_and_the_global_generator_has_no_say():
    training, validation = labelled("toy-teacher", 3, 0), labelled("toy-teacher", 1, 1)
    config = TOY.model_copy(update={"epochs": 20, "patience": 20})
    weights = {}
    for seed, global_seed in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(global_seed)
        state = torch.random.get_rng_state()
        seeded = config.model_copy(update={"seed": seed})
        child = fine_tune(load("toy-soft"), training, validation, seeded, raw_pbe=False)
        assert child.best_epoch > 0
        assert torch.equal(torch.random.get_rng_state(), state)
        weights[seed, global_seed] = child.weights
    assert weights[0, 1] == weights[0, 2]
    assert weights[0, 1] != weights[1, 1]
    assert not torch.are_deterministic_algorithms_enabled()


def test_trainings_that_overlap_leave_torch_as_it_was():
    first, second = ExitStack(), ExitStack()
    first.enter_context(learning_loop._DETERMINISTIC_ALGORITHMS)
    second.enter_context(learning_loop._DETERMINISTIC_ALGORITHMS)
    first.close()
    assert torch.are_deterministic_algorithms_enabled()
    second.close()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_training_flushes_numbers_below_the_smallest_normal_one_and_then_no_more(monkeypatch):
    def has_denormals():
        return bool(torch.full((), 1e-38) / 8 > 0)

    during = []
    run_update = EpochLoop._run_update

    def watched(self, places):
        during.append(has_denormals())
        return run_update(self, places)

    monkeypatch.setattr(EpochLoop, "_run_update", watched)
    labels = labelled("toy-teacher", 3, 0)
    fine_tune(load("toy-soft"), labels[2:], labels[:2], TrainingConfig(epochs=1), raw_pbe=False)
    assert during
    assert not any(during)
    assert has_denormals()


def test_models_that_load_in_threads_leave_the_output_as_it_was():
    before, source = sys.stdout, find_model("chgnet-0.3.0")
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load_potential, source.model, source.weights) for _ in range(8)]
        assert all(isinstance(done.result(), Potential) for done in loads)
    assert sys.stdout is before


def test_chgnet_learns_its_teacher_bit_by_bit():
    training, validation = labelled("chgnet-r2scan", 2, 0), labelled("chgnet-r2scan", 1, 1)
    config = TrainingConfig(epochs=2, batch_size=2, freeze_level=1)
    first, second = (
        fine_tune(load("chgnet-0.3.0"), training, validation, config, raw_pbe=False)
        for _ in range(2)
    )
    assert first == second
    shifted, _ = shift_reference(
        load("chgnet-0.3.0"), training, raw_pbe=False, ridge_ev_per_atom=1.0
    )
    child = loaded("chgnet-0.3.0", first.weights)
    assert first.best_epoch == 2
    assert mae(shifted, validation).energy_mae_ev_per_atom < 0.1
    assert (
        mae(child, training).force_mae_ev_per_ang
        < 0.8 * mae(shifted, training).force_mae_ev_per_ang
    )
    frozen, parent = child.module.state_dict(), shifted.module.state_dict()
    for name in ("atom_embedding.embedding.weight", "composition_model.fc.weight"):
        torch.testing.assert_close(frozen[name], parent[name], rtol=0, atol=0)
    moved = "atom_conv_layers.0.twoBody_atom.mlp_core.layers.0.weight"
    assert not torch.equal(frozen[moved], parent[moved])


def test_two_threads_also_repeat_themselves():
    training, validation = labelled("chgnet-r2scan", 1, 0), labelled("chgnet-r2scan", 1, 1)
    config = TrainingConfig(epochs=1, batch_size=1)
    torch.set_num_threads(2)
    try:
        children = [
            fine_tune(load("chgnet-0.3.0"), training, validation[:1], config, raw_pbe=False)
            for _ in range(2)
        ]
    finally:
        torch.set_num_threads(1)
    assert children[0] == children[1]
    assert children[0].best_epoch == 1


def test_frozen_blocks_do_not_move():
    training, validation = labelled("chgnet-r2scan", 1, 0), labelled("chgnet-r2scan", 1, 1)
    config = TrainingConfig(epochs=1, freeze_level=4)
    child = fine_tune(load("chgnet-0.3.0"), training, validation, config, raw_pbe=False)
    after = loaded("chgnet-0.3.0", child.weights).module.state_dict()
    before = load("chgnet-0.3.0").module.state_dict()
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert "mlp" in changed
    assert not any(name.startswith(("bond_conv", "angle_l", "atom_emb")) for name in changed)


def test_the_exported_weights_are_the_best_epochs_not_the_last():
    training, validation = labelled("toy-teacher", 3, 0), labelled("toy-teacher", 1, 1)
    wild = TrainingConfig(
        epochs=90, learning_rate=0.01, final_learning_rate_fraction=1, ema_decay=0, patience=5
    )
    poor = load("toy-soft")
    with torch.no_grad():
        poor.module.radii_ang += 0.1
    child = fine_tune(poor, training, validation, wild, raw_pbe=False)
    assert child.best_epoch > 0
    scores = [record.score for record in child.history]
    assert len(scores) == child.best_epoch + wild.patience < wild.epochs  # stopped early
    assert child.best_epoch == 1 + int(np.argmin(scores))
    assert scores[-1] > scores[child.best_epoch - 1]
    best = child.history[child.best_epoch - 1]
    found = mae(loaded("toy-soft", child.weights), validation)
    assert found.force_mae_ev_per_ang == pytest.approx(best.force_mae_ev_per_ang, rel=1e-9)
    assert found.energy_mae_ev_per_atom == pytest.approx(best.energy_mae_ev_per_atom, rel=1e-9)


def test_when_nothing_is_better_the_shifted_parent_is_exported_as_epoch_zero():
    config = TrainingConfig(epochs=3, learning_rate=0.5, ema_decay=0)
    training, validation = labelled("toy-teacher", 2, 0), labelled("toy-teacher", 1, 1)
    child = fine_tune(load("toy-soft"), training, validation, config, raw_pbe=False)
    shifted, _ = shift_reference(load("toy-soft"), training, raw_pbe=False, ridge_ev_per_atom=1.0)
    assert child.best_epoch == 0
    assert child.weights == shifted.weights_bytes()
    assert child.history[0].force_mae_ev_per_ang > mae(shifted, validation).force_mae_ev_per_ang


def test_a_whole_schedule_hands_on_the_last_epoch_and_knows_no_patience():
    training, validation = labelled("toy-teacher", 3, 0), labelled("toy-teacher", 1, 1)
    poor = load("toy-soft")
    with torch.no_grad():
        poor.module.radii_ang += 0.1
    wild = TrainingConfig(
        epochs=30, learning_rate=0.01, final_learning_rate_fraction=1, ema_decay=0, patience=5
    )
    whole = wild.model_copy(update={"recipe": "whole-schedule"})
    child = fine_tune(poor, training, validation, whole, raw_pbe=False)
    assert len(child.history) == child.best_epoch == whole.epochs
    assert child.history[-1].score > min(record.score for record in child.history)
    found = mae(loaded("toy-soft", child.weights), validation)
    assert found.score == pytest.approx(child.history[-1].score, rel=1e-9)
    chosen = fine_tune(poor, training, validation, wild, raw_pbe=False)
    assert chosen.best_epoch < len(chosen.history) < wild.epochs
    assert chosen.history == child.history[: len(chosen.history)]  # the recipe only chooses


def test_a_whole_schedule_that_went_wrong_is_not_handed_on():
    config = TrainingConfig(epochs=3, learning_rate=0.5, ema_decay=0, recipe="whole-schedule")
    training, validation = labelled("toy-teacher", 2, 0), labelled("toy-teacher", 1, 1)
    child = fine_tune(load("toy-soft"), training, validation, config, raw_pbe=False)
    shifted, _ = shift_reference(load("toy-soft"), training, raw_pbe=False, ridge_ev_per_atom=1.0)
    assert child.best_epoch == 0
    assert child.weights == shifted.weights_bytes()


def test_without_a_recipe_a_models_key_is_as_before():
    key = functools.partial(schemas.Model.key_of, "d", "m", raw_pbe=False)
    assert key(TrainingConfig()) == key(TrainingConfig(recipe=None))
    assert key(TrainingConfig()) != key(TrainingConfig(recipe="whole-schedule"))


def with_energies(
    labels: Sequence[LabelledStructure], added_ev: dict[str, float]
) -> list[LabelledStructure]:
    """The same labels, higher by so much per atom of an element."""
    return [
        replace(
            label,
            energy_ev=label.energy_ev
            + sum(ev * label.structure.species.count(el) for el, ev in added_ev.items()),
        )
        for label in labels
    ]


def test_raw_pbe_gives_the_anion_corrections_back_and_leaves_the_rest_near_zero():
    labels = with_energies(labelled("toy-soft", 2, 0), {"Cl": 0.614, "Br": 0.534, "Li": 0.05})
    _, shift_ev = shift_reference(load("toy-soft"), labels, raw_pbe=True, ridge_ev_per_atom=1.0)
    for anion, removed_ev in MP2020_REMOVAL_EV.items():
        assert shift_ev[anion] == pytest.approx(removed_ev, abs=0.05)
    assert 0 < shift_ev["Li"] < 0.05  # two compositions cannot tell four elements apart
    assert abs(shift_ev["Y"]) < 0.05
    shifted, _ = shift_reference(load("toy-soft"), labels, raw_pbe=True, ridge_ev_per_atom=1.0)
    assert mae(shifted, labels).energy_mae_ev_per_atom < 1e-4


def test_mp2020_corrections_are_pymatgens():
    folder = resources.files("pymatgen.analysis.compatibility")
    content = yaml.load((folder / "MP2020Compatibility.yaml").read_text(), Loader=yaml.CSafeLoader)
    corrections = content["Corrections"]["CompositionCorrections"]
    for anion, removed_ev in MP2020_REMOVAL_EV.items():
        assert removed_ev == -corrections[anion]


def test_other_theories_are_shifted_exactly_by_the_smallest_change():
    added = {"Li": -6.0, "Y": 2.0, "Cl": -3.0, "Br": -9.0}
    labels = with_energies(labelled("toy-soft", 2, 0), added)
    shifted, shift_ev = shift_reference(
        load("toy-soft"), labels, raw_pbe=False, ridge_ev_per_atom=1.0
    )
    assert mae(shifted, labels).energy_mae_ev_per_atom < 1e-9
    assert sum(ev**2 for ev in shift_ev.values()) < sum(ev**2 for ev in added.values())
    assert sorted(shift_ev) == ["Br", "Cl", "Li", "Y"]


@pytest.mark.parametrize("n_updates", [1, 2, 7, 400])
def test_the_learning_rate_warms_up_and_its_cosine_finishes(n_updates):
    config = TrainingConfig()
    factors = [learning_rate_factor(i, n_updates, config) for i in range(n_updates)]
    assert 0 < min(factors) <= max(factors) <= 1
    if n_updates > 2:
        assert factors[-1] == pytest.approx(config.final_learning_rate_fraction)
        assert factors[0] > 0
        peak = int(np.argmax(factors))
        assert factors == sorted(factors[: peak + 1]) + sorted(factors[peak + 1 :], reverse=True)


def test_a_scaled_schedule_lowers_the_rate_of_long_trainings_alone():
    whole = TrainingConfig(recipe="whole-schedule")
    scaled = whole.model_copy(update={"recipe": "scaled-schedule"})
    for n_updates, ratio in ((100, 1.0), (450, 1.0), (1800, 0.5), (45_000, 0.1)):
        for update in (0, n_updates // 3, n_updates - 1):
            rates = [learning_rate_factor(update, n_updates, each) for each in (scaled, whole)]
            assert rates[0] == pytest.approx(ratio * rates[1])
    training, validation = labelled("toy-teacher", 3, 0), labelled("toy-teacher", 1, 1)
    long = scaled.model_copy(update={"epochs": 100, "batch_size": 1})
    child = fine_tune(load("toy-soft"), training, validation, long, raw_pbe=False)
    assert len(child.history) == child.best_epoch == 100
    highest = max(each.learning_rate for each in child.history)
    expected = long.learning_rate * math.sqrt(450 / (100 * len(training)))
    assert highest == pytest.approx(expected, rel=0.01)


def test_training_refuses_what_cannot_work():
    some, toy = labelled("toy-teacher", 2, 0), load("toy-soft")
    for training, validation in (((), some), (some, ())):
        with pytest.raises(InputError, match="training and validation labels"):
            fine_tune(toy, training, validation, TOY, raw_pbe=False)
    with pytest.raises(InputError, match="both trains and validates"):
        fine_tune(toy, some, some[:1], TOY, raw_pbe=False)
    broken = [replace(some[0], stress_gpa=np.full((3, 3), np.nan)), *some[1:]]
    sound = labelled("toy-teacher", 1, 1)
    for training, validation in ((broken, sound), (sound, broken)):
        with pytest.raises(PhysicsError, match="label is not finite"):
            fine_tune(toy, training, validation, TOY, raw_pbe=False)
    with pytest.raises(InputError, match="does not fit its structure"):
        replace(some[0], forces_ev_per_ang=np.zeros((4, 3)))


def test_errors_are_what_was_put_in():
    toy = load("toy-soft")
    labels = [
        replace(
            label,
            energy_ev=label.energy_ev + 0.3 * sign * label.n_atoms,
            forces_ev_per_ang=label.forces_ev_per_ang / 1.25,
            stress_gpa=label.stress_gpa + 0.2 * np.eye(3),
        )
        for label, sign in zip(labelled("toy-soft", 2, 0), (1, -1, 1, 1), strict=True)
    ]
    result = evaluate(toy, labels)
    assert result.overall.n_labels == 4
    assert result.overall.energy_mae_ev_per_atom == pytest.approx(0.3)
    assert result.overall.energy_rmse_ev_per_atom == pytest.approx(0.3)
    assert result.overall.force_slope == pytest.approx(1.25)
    assert result.overall.stress_mae_gpa == pytest.approx(0.2 / 3)  # over nine components
    assert result.overall.stress_rmse_gpa == pytest.approx(0.2 / math.sqrt(3))
    forces = np.concatenate([label.forces_ev_per_ang for label in labels]).ravel()
    assert result.overall.force_mae_ev_per_ang == pytest.approx(0.25 * np.abs(forces).mean())
    assert result.overall.force_rmse_ev_per_ang == pytest.approx(0.25 * forces.std(), rel=1e-3)
    assert {name: errors.n_labels for name, errors in result.by_system.items()} == {
        "LYB": 2,
        "LYC": 2,
    }
    row = result.predictions[labels[0].key]
    assert row["energy_ev"] == pytest.approx(row["label_energy_ev"] - 0.3 * labels[0].n_atoms)
    assert np.shape(row["forces_ev_per_ang"]) == (30, 3)
    with pytest.raises(InputError, match="no labels"):
        evaluate(toy, [])
