"""Potentials: predictions against chgnet's own, exact derivatives, models by name and file."""

import json
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.nose_hoover_chain import NoseHooverChainNVT

from lycb_flows import schemas
from lycb_flows.config import EnumerationConfig
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.structures import (
    canonical_structure,
    load_parent,
    structure_from_arrays,
    to_ase,
)
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.potentials.members import CHGNet, Toy
from lycb_flows.potentials.models import find_model, load_potential, write_model
from lycb_flows.potentials.potential import Potential

MODEL_NAMES = (*CHGNet.model_names, *Toy.model_names)

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


@pytest.fixture(scope="module", params=["Li3YCl6", "Li3YBr6"])
def crystal(request: pytest.FixtureRequest) -> schemas.Structure:
    config = EnumerationConfig(supercell=(1, 1, 1))
    with warnings.catch_warnings():  # the mark does not reach module fixtures
        warnings.filterwarnings("ignore", "Set OLD_ERROR_HANDLING", DeprecationWarning)
        atoms = to_ase(enumerate_orderings(load_parent(request.param), config).structure(0))
    atoms.rattle(0.1, seed=1)
    return canonical_structure(atoms)


def load(name: str) -> Potential:
    source = find_model(name)
    return load_potential(source.model, source.weights)


def test_atoms_far_outside_the_cell_feel_the_same_forces(crystal):
    potential = load("chgnet-0.3.0")
    atoms = to_ase(crystal)
    expected = potential.predict_atoms(atoms).forces_ev_per_ang
    rng = np.random.default_rng(0)
    atoms.positions += rng.integers(-5, 6, atoms.positions.shape) @ atoms.cell.array
    found = potential.predict_atoms(atoms).forces_ev_per_ang
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["toy-soft", "toy-teacher"])
def test_toy_forces_and_stress_are_derivatives_of_its_energy(crystal, name):
    atoms = to_ase(crystal)
    atoms.calc = load(name).calculator()
    forces, stress = atoms.get_forces(), atoms.get_stress(voigt=False)
    assert np.abs(forces).max() > 0.5
    assert np.abs(stress).max() > 1e-3
    numerical = calculate_numerical_stress(atoms, 1e-5, voigt=False)
    np.testing.assert_allclose(stress, numerical, rtol=0, atol=1e-7)
    np.testing.assert_allclose(forces, calculate_numerical_forces(atoms, 1e-4), rtol=0, atol=1e-5)


def test_chgnet_calculator_stress_is_the_derivative_of_its_energy(crystal):
    atoms = to_ase(crystal)
    atoms.set_cell(atoms.cell.array * 0.97, scale_atoms=True)
    atoms.calc = load("chgnet-0.3.0").calculator()
    stress = atoms.get_stress(voigt=False)
    numerical = calculate_numerical_stress(atoms, 3e-3, voigt=False)
    assert stress.trace() < -0.01  # compressed: negative, ASE's sign
    np.testing.assert_allclose(stress, numerical, rtol=0.02, atol=4e-4)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_toy_energy_and_force_vanish_at_its_cutoff():
    toy = load("toy-soft")
    cell = np.eye(3) * 40.0
    pair = [
        toy.predict([structure_from_arrays(cell, ["Li", "Cl"], [[0, 0, 0], [r / 40.0, 0, 0]])])[0]
        for r in (2.3, 5.9999, 6.0001)
    ]
    assert pair[0].energy_ev < -0.5
    assert abs(pair[1].energy_ev) < 1e-6
    assert np.abs(pair[1].forces_ev_per_ang).max() < 1e-3
    assert pair[2].energy_ev == 0.0


@pytest.mark.parametrize("name", ["toy-soft", "toy-teacher"])
def test_a_toy_crystal_stands_800_k(crystal, name):
    atoms = to_ase(crystal)
    start = atoms.positions.copy()
    atoms.calc = load(name).calculator()
    rng = np.random.default_rng(0)
    velocities = rng.normal(0, np.sqrt(800 * units.kB / atoms.get_masses())[:, None], start.shape)
    atoms.set_velocities(velocities)
    atoms.set_momenta(atoms.get_momenta() - atoms.get_momenta().mean(axis=0))
    NoseHooverChainNVT(atoms, 2 * units.fs, temperature_K=800, tdamp=100 * units.fs).run(500)
    moved = np.linalg.norm(atoms.positions - start, axis=1)
    framework = np.array(atoms.get_chemical_symbols()) != "Li"
    assert 0.1 < np.sqrt((moved[framework] ** 2).mean()) < 1.5
    assert np.sqrt((moved[~framework] ** 2).mean()) > 0.5
    assert atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)].min() > 1.5


def test_reference_shift_moves_the_energy_alone(crystal):
    for name in ("toy-soft", "chgnet-0.3.0"):
        potential = load(name)
        shifted = potential.shifted({"Li": 0.25, "Y": -1.0})
        (before,), (after,) = potential.predict([crystal]), shifted.predict([crystal])
        expected = 0.25 * crystal.species.count("Li") - crystal.species.count("Y")
        assert after.energy_ev - before.energy_ev == pytest.approx(expected, abs=1e-4)
        np.testing.assert_array_equal(after.forces_ev_per_ang, before.forces_ev_per_ang)


@pytest.mark.parametrize("name", ["toy-soft", "chgnet-0.3.0"])
def test_overlapping_atoms_and_exploded_positions_are_physics_errors(name):
    potential = load(name)
    same = structure_from_arrays(np.eye(3) * 5, ["Li", "Cl"], [[0, 0, 0], [0, 0, 0]])
    with pytest.raises(PhysicsError, match="not finite"):
        potential.predict([same])
    atoms = to_ase(same)
    atoms.positions[0, 0] = np.nan
    with pytest.raises(PhysicsError, match="not finite"):
        potential.predict_atoms(atoms)


def no_crystals() -> list[Atoms]:
    """Atoms that are no crystal: open in some direction, without a cell, flat, none."""
    salt, pair = bulk("LiCl", "rocksalt", a=5.1, cubic=True), Atoms("LiCl", [[0, 0, 0], [2, 0, 0]])
    open_in = [salt.copy() for _ in range(3)]
    for atoms, pbc in zip(open_in, (False, (True, True, False), (False, False, True)), strict=True):
        atoms.pbc = pbc
    flat = Atoms("LiCl", pair.positions, cell=[[4, 0, 0], [0, 4, 0], [4, 4, 0]], pbc=True)
    without_cell = Atoms("LiCl", pair.positions, pbc=True)
    return [*open_in, pair, without_cell, flat, Atoms(), Atoms(cell=[4, 4, 4], pbc=True)]


@pytest.mark.parametrize("atoms", no_crystals(), ids=str)
@pytest.mark.parametrize("name", ["toy-soft", "chgnet-0.3.0"])
def test_atoms_that_are_no_crystal_are_refused(name, atoms):
    potential = load(name)
    with pytest.raises(InputError, match=r"for crystals.*set pbc=True and a cell"):
        potential.predict_atoms(atoms)
    with pytest.raises(InputError, match="for crystals"):
        canonical_structure(atoms)
    atoms = atoms.copy()
    atoms.calc = potential.calculator()
    with pytest.raises(InputError, match="for crystals"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("fault", ["position", "cell", "flat"])
def test_a_lost_crystal_costs_no_graph_and_the_others_do_not_notice(fault, crystal, monkeypatch):
    potential, atoms = load("toy-soft"), to_ase(crystal)
    crystals = [atoms.copy() for _ in range(3)]
    if fault == "position":
        crystals[1].positions[3, 1] = np.inf
    else:
        crystals[1].cell[2] = crystals[1].cell[1] if fault == "flat" else np.nan
    made = []
    graph = potential.graph
    monkeypatch.setattr(potential, "graph", lambda each: made.append(each) or graph(each))
    positions = torch.from_numpy(np.concatenate([each.positions for each in crystals]))
    cells = torch.from_numpy(np.array([each.cell.array for each in crystals]))
    found = potential.evaluator([atoms.numbers] * 3)(positions, cells)
    assert len(made) == 2
    assert found.energies_ev.isnan().tolist() == [False, True, False]
    assert (
        found.forces_ev_per_ang.isnan().all(1).tolist() == np.repeat([0, 1, 0], len(atoms)).tolist()
    )
    assert found.stresses_gpa.isnan().all(2).all(1).tolist() == [False, True, False]
    assert found.energies_ev[0] == found.energies_ev[2] == potential.predict_atoms(atoms).energy_ev


def test_the_toy_refuses_other_elements():
    salt = structure_from_arrays(np.eye(3) * 4, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(InputError, match="knows only Li"):
        load("toy-soft").predict([salt])


@pytest.mark.parametrize("symbols", ["LiX", "LiAm", "XAm2"])
@pytest.mark.parametrize("make", ["evaluator", "graph"])
def test_chgnet_refuses_what_is_beyond_its_elements(symbols, make):
    atoms, potential = Atoms(symbols, cell=np.eye(3) * 4, pbc=True), load("chgnet-0.3.0")
    with pytest.raises(InputError, match=r"does not know an element.*(X|Am)"):
        potential.graph(atoms) if make == "graph" else potential.evaluator([[3], atoms.numbers])


def test_names_have_distinct_stable_keys_and_deterministic_weights():
    sources = {name: find_model(name) for name in MODEL_NAMES}
    assert len({source.model.key for source in sources.values()}) == len(MODEL_NAMES)
    for name, source in sources.items():
        again = load_potential(source.model, source.weights)
        assert again.weights_bytes() == source.weights, name
        assert find_model(name).model == source.model
        assert source.model.source == "pretrained"


def test_a_model_survives_its_file(tmp_path: Path, crystal):
    source = find_model("chgnet-0.3.0")
    path = tmp_path / "mine.safetensors"
    write_model(source.model, source.weights, path)
    found = find_model(str(path))
    assert found.model.key == source.model.key
    assert found.model.name == "mine"
    expected = load("chgnet-0.3.0").predict([crystal])[0].energy_ev
    assert load_potential(found.model, found.weights).predict([crystal])[0].energy_ev == expected


def test_a_trainers_checkpoint_is_the_same_model(tmp_path: Path):
    module = load("chgnet-0.3.0").module
    path = tmp_path / "mine.pth.tar"
    args = {**module.model_args, "composition_model": "MPtrj"}
    torch.save({"model": {"state_dict": module.state_dict(), "model_args": args}}, path)
    assert find_model(str(path)).weights == find_model("chgnet-0.3.0").weights


class Bomb:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_code_in_a_pickle_does_not_run(tmp_path: Path):
    trace, path = tmp_path / "ran", tmp_path / "evil.pth.tar"
    torch.save({"model": {"state_dict": {}, "model_args": {"x": Bomb(trace)}}}, path)
    with pytest.raises(InputError, match="weights only") as caught:
        find_model(str(path))
    assert not trace.exists()
    assert "\n" not in str(caught.value)
    path.write_bytes(pickle.dumps(Bomb(trace)))
    with pytest.raises(InputError, match="weights only"):
        find_model(str(path))
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04."])
@pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors", ".txt"])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path, content, suffix):
    path = tmp_path / f"m{suffix}"
    path.write_bytes(content)
    path.with_suffix(".json").write_text(
        json.dumps({"architecture": "toy", "architecture_args": {}})
    )
    with pytest.raises(InputError) as caught:
        find_model(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("card", "complaint"),
    [
        ("[]", "card"),
        ("{}", "card"),
        ("{", "card"),
        ('{"architecture": "mace", "architecture_args": {}}', "unknown architecture"),
        ('{"architecture": "toy", "architecture_args": {"wings": 2}}', "do not fit"),
        ('{"architecture": "chgnet", "architecture_args": {}}', "do not fit"),
        ('{"architecture": "toy", "architecture_args": 3}', "card"),
    ],
)
def test_a_wrong_card_is_refused_in_one_line(tmp_path: Path, card, complaint):
    path = tmp_path / "m.safetensors"
    path.write_bytes(find_model("toy-soft").weights)
    path.with_suffix(".json").write_text(card)
    with pytest.raises(InputError, match=complaint) as caught:
        find_model(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_the_known_ones_or_names_the_near_one():
    with pytest.raises(InputError, match="toy-teacher"):
        find_model("mace-mp")
    with pytest.raises(InputError, match=r"found=chgnet-9.*did you mean chgnet-0.3.0\?"):
        find_model("chgnet-9")


def test_freezing_leaves_chgnets_notebook_count_at_the_last_level():
    potential = load("chgnet-0.3.0")
    counts = [
        sum(parameter.numel() for parameter in potential.trainable_parameters(level))
        for level in range(5)
    ]
    assert counts[0] == 412_525 - 94
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 5
    assert counts[4] < 60_000
