"""NEP4: the file, exactness against calorine and finite differences, the compiled kernel."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from neps import CRYSTAL, SHAPES, random_weights

from lycb_flows.errors import InputError
from lycb_flows.potentials.models import find_model, load_potential, write_model
from lycb_flows.potentials.nep.file import NepShape, read_nep, write_nep
from lycb_flows.potentials.nep.harmonics import STARTS, WEIGHTS, gradients, harmonics
from lycb_flows.potentials.nep.kernel import NepEvaluator, load_kernel
from lycb_flows.potentials.nep.layers import chebyshev
from lycb_flows.potentials.nep.potential import NepPotential
from lycb_flows.potentials.trainable import GraphEvaluator
from lycb_flows.units import EV_PER_ANG3_GPA

ORACLE = json.loads((Path(__file__).parents[2] / "data" / "nep_oracle.json").read_text())


def potential_of(shape: NepShape) -> NepPotential:
    return NepPotential(shape, random_weights(shape))


def tensors(*crystals: Atoms):
    positions = torch.from_numpy(np.concatenate([atoms.positions for atoms in crystals]))
    return positions, torch.from_numpy(np.array([atoms.cell.array for atoms in crystals]))


def by_torch(potential: NepPotential, *crystals: Atoms):
    return GraphEvaluator(potential, [a.numbers for a in crystals])(*tensors(*crystals))


def kernel(shape: NepShape, *crystals: Atoms, double: bool = True) -> NepEvaluator:
    potential = potential_of(shape)
    library = load_kernel(shape, double=double)
    species = [potential.species_of(atoms.numbers) for atoms in crystals]
    return NepEvaluator(library, shape, potential.module.get_weights(), species)


@pytest.mark.parametrize("name", SHAPES)
def test_a_file_comes_back_bit_by_bit(name):
    shape, weights = SHAPES[name], random_weights(SHAPES[name])
    text = write_nep(shape, weights)
    found_shape, found = read_nep(text)
    assert found_shape == shape
    for part in ("first", "biases", "second", "constants_ev", "radial", "angular", "scales"):
        assert np.array_equal(getattr(found, part), getattr(weights, part)), part
    assert write_nep(found_shape, found) == text


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("nep4 3", "nep4_zbl 3", "nep4_zbl"),
        ("nep4 3", "nep3 3", "nep3"),
        ("l_max 4 2 1", "l_max 4 2 1 1", "l_max"),
        ("l_max 4 2 1", "l_max 1 2 1", "l_max is 1 2 1"),
        ("n_max 6 5", "n_max 6 -1", "n_max"),
        ("basis_size 8 8", "basis_size -1 8", "basis_size is below 0"),
        ("l_max 4 2 1", "l_max 1 2", "l_max is 1 2"),
        ("l_max 4 2 1", "l_max 0 2 1", "l_max is 0 2 1"),
        ("l_max 4 2 1", "l_max 4 1 1", "l_max is 4 1 1"),
        ("cutoff 6.0 5.0 ", "cutoff 6.0 5.0 6.0 5.0 ", "cutoff per species"),
        ("ANN 12 0", "ANN 13 0", "numbers"),
        ("ANN 12 0", "zbl 1 2", "ANN 12"[:3]),
        ("Li Y Cl", "Li Y Xq", "Xq"),
    ],
)
def test_a_file_that_is_not_supported_is_refused_in_one_line(old, new, reason, tmp_path):
    text = write_nep(SHAPES["five-body"], random_weights(SHAPES["five-body"]))
    assert old in text
    path = tmp_path / "nep.txt"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match="NEP4") as caught:
        find_model(str(path))
    if new != "zbl 1 2":
        assert reason in str(caught.value)


@pytest.mark.parametrize("name", SHAPES)
def test_calorine_says_the_same_of_the_same_file(name):
    atoms = Atoms(**CRYSTAL, pbc=True)
    ours, theirs = by_torch(potential_of(SHAPES[name]), atoms), ORACLE[name]
    assert ours.energies_ev.item() == pytest.approx(theirs["energy_ev"], abs=1e-11)
    assert np.abs(ours.forces_ev_per_ang.numpy() - theirs["forces_ev_per_ang"]).max() < 1e-11
    stress = ours.stresses_gpa[0].numpy() / EV_PER_ANG3_GPA
    assert np.abs(stress - theirs["stress_ev_per_ang3"]).max() < 1e-12
    assert np.abs(theirs["forces_ev_per_ang"]).max() > 0.5


def test_forces_and_stress_are_the_energys_derivatives():
    atoms, potential, h = Atoms(**CRYSTAL, pbc=True), potential_of(SHAPES["five-body"]), 1e-5
    now = by_torch(potential, atoms)
    for i, x in ((0, 0), (5, 1), (13, 2)):
        energies = []
        for step in (h, -h):
            moved = atoms.copy()
            moved.positions[i, x] += step
            energies.append(by_torch(potential, moved).energies_ev.item())
        slope = (energies[0] - energies[1]) / (2 * h)
        assert now.forces_ev_per_ang[i, x].item() == pytest.approx(-slope, abs=3e-9)
    for x, y in ((0, 0), (1, 2)):
        energies = []
        for step in (h, -h):
            strain = np.eye(3)
            strain[x, y] += step
            moved = atoms.copy()
            moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            energies.append(by_torch(potential, moved).energies_ev.item())
        slope = (energies[0] - energies[1]) / (2 * h) / atoms.get_volume() * EV_PER_ANG3_GPA
        assert now.stresses_gpa[0, x, y].item() == pytest.approx(slope, abs=3e-8)


def test_harmonics_are_normalised_and_their_gradients_are_theirs():
    vectors = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    units = (vectors / vectors.norm(dim=1, keepdim=True)).requires_grad_()
    b = harmonics(units, 4)
    for degree in range(4):
        part = slice(STARTS[degree], STARTS[degree + 1])
        norms = (b[:, part] ** 2 * torch.from_numpy(WEIGHTS[part])).sum(1)
        assert torch.allclose(norms, torch.full_like(norms, (2 * degree + 3) / (4 * np.pi)))
    slopes = torch.randn(b.shape, dtype=torch.float64)
    (by_autograd,) = torch.autograd.grad((b * slopes).sum(), units)
    ours = gradients(units, slopes, 4)
    radial = ((ours - by_autograd) * units).sum(1, keepdim=True) * units
    assert torch.allclose(ours - by_autograd, radial, atol=1e-12)


def test_radial_functions_end_smoothly_at_the_cutoff():
    r = torch.linspace(1.0, 7.0, 61, dtype=torch.float64, requires_grad=True)
    f, slopes = chebyshev(r, 6.0, 5)
    for k in range(5):
        (expected,) = torch.autograd.grad(f[:, k].sum(), r, retain_graph=True)
        assert torch.allclose(slopes[:, k], expected, atol=1e-12)
    assert not f[r >= 6.0].any()
    assert not slopes[r >= 6.0].any()


@pytest.mark.parametrize(
    ("name", "double", "force", "energy"),
    [("five-body", True, 1e-12, 1e-11), ("three-body", False, 2e-5, 5e-5)],
)
def test_the_kernel_equals_torch_and_keeps_its_list_while_atoms_and_cell_move(
    name, double, force, energy
):
    shape = SHAPES[name]
    first = Atoms(**CRYSTAL, pbc=True)
    second = first.repeat((2, 1, 1))
    second.rattle(0.1, seed=1)
    evaluate, potential = kernel(shape, first, second, double=double), potential_of(shape)
    rng, lists = np.random.default_rng(0), []
    for step in range(6):
        ours, theirs = evaluate(*tensors(first, second)), by_torch(potential, first, second)
        assert (ours.energies_ev - theirs.energies_ev).abs().max() < energy
        assert (ours.forces_ev_per_ang - theirs.forces_ev_per_ang).abs().max() < force
        assert (ours.stresses_gpa - theirs.stresses_gpa).abs().max() < 10 * force
        lists.append(evaluate.lists)
        first.positions += rng.normal(0, 0.04 if step < 3 else 0.4, first.positions.shape)
        second.set_cell(second.cell.array * (1 + 0.002 * step), scale_atoms=True)
    assert lists[:3] == [2, 2, 2]
    assert lists[-1] > 3


def test_threads_and_company_change_no_bit():
    atoms = Atoms(**CRYSTAL, pbc=True).repeat((3, 3, 2))
    atoms.rattle(0.1, seed=0)
    small, results = Atoms(**CRYSTAL, pbc=True), []
    threads = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            alone = kernel(SHAPES["three-body"], atoms, double=False)(*tensors(atoms))
            both = kernel(SHAPES["three-body"], small, atoms, double=False)(*tensors(small, atoms))
            results += [alone.forces_ev_per_ang, both.forces_ev_per_ang[len(small) :]]
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_a_crystal_that_is_no_crystal_has_nan_and_its_neighbour_does_not_notice():
    good, bad = Atoms(**CRYSTAL, pbc=True), Atoms(**CRYSTAL, pbc=True)
    bad.positions[3] = np.nan
    evaluate = kernel(SHAPES["five-body"], bad, good)
    now = evaluate(*tensors(bad, good))
    alone = kernel(SHAPES["five-body"], good)(*tensors(good))
    assert now.energies_ev[0].isnan()
    assert now.forces_ev_per_ang[: len(bad)].isnan().all()
    assert torch.equal(now.forces_ev_per_ang[len(bad) :], alone.forces_ev_per_ang)
    bad.positions[:] = CRYSTAL["positions"]
    assert evaluate(*tensors(bad, good)).energies_ev.isfinite().all()


@pytest.mark.parametrize("edge_ang", [300.0, 3e3, 1e6])
@pytest.mark.parametrize("axes", [[0, 1, 2], [0], [2]])
def test_a_pair_has_its_energy_and_forces_in_a_box_of_any_size(axes, edge_ang):
    pair = Atoms("LiCl", [[-0.8, 0.1, 0.3], [1.1, 0.2, -0.4]], pbc=True)
    found = []
    for edge in (60.0, edge_ang):
        pair.set_cell(np.where(np.isin(range(3), axes), edge, 7.0))
        found.append(kernel(SHAPES["other sizes"], pair, pair)(*tensors(pair, pair)))
    close = {"atol": 1e-8, "rtol": 0}
    torch.testing.assert_close(found[1].energies_ev, found[0].energies_ev, **close)
    torch.testing.assert_close(found[1].forces_ev_per_ang, found[0].forces_ev_per_ang, **close)


_SHORT_OF_MEMORY = """
import resource
from test_nep import *

good, collapsed = Atoms(**CRYSTAL, pbc=True), Atoms("Li", cell=[0.07, 0.07, 0.07], pbc=True)
evaluate = kernel(SHAPES["other sizes"], collapsed, good)
alone = kernel(SHAPES["other sizes"], good)(*tensors(good))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, ((64 << 20) + pages * resource.getpagesize(), limits[1]))
for _ in range(2):
    with pytest.raises(MemoryError):
        evaluate(*tensors(collapsed, good))
resource.setrlimit(resource.RLIMIT_AS, limits)
now = evaluate(*tensors(collapsed, good))
assert now.energies_ev[0].isnan()
assert torch.equal(now.energies_ev[1:], alone.energies_ev)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_runs_out_in_a_thread_is_a_memory_error_and_nothing_half_made_is_used():
    command = [sys.executable, "-c", _SHORT_OF_MEMORY]
    places = [str(Path(__file__).parent), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_file_is_a_model_by_its_path(tmp_path):
    shape = SHAPES["five-body"]
    path = tmp_path / "student.txt"
    path.write_text(write_nep(shape, random_weights(shape)))
    source = find_model(str(path))
    potential = load_potential(source.model, source.weights)
    assert isinstance(potential, NepPotential)
    assert potential.weights_bytes() == source.weights
    write_model(source.model, source.weights, tmp_path / "copy.txt")
    assert find_model(str(tmp_path / "copy.txt")).model.key == source.model.key
    (tmp_path / "notes.txt").write_text("something else")
    with pytest.raises(InputError):
        find_model(str(tmp_path / "notes.txt"))


def test_an_element_that_the_model_does_not_know_is_named():
    with pytest.raises(InputError, match="Br"):
        potential_of(SHAPES["five-body"]).evaluator([np.array([3, 35])])


def test_shifted_references_are_kept_by_the_file():
    potential = potential_of(SHAPES["five-body"]).shifted({"Li": -1.5, "Cl": 0.25})
    again = potential.with_weights(potential.weights_bytes())
    atoms = Atoms(**CRYSTAL, pbc=True)
    change = (
        by_torch(again, atoms).energies_ev
        - by_torch(potential_of(SHAPES["five-body"]), atoms).energies_ev
    )
    n_li, n_cl = (int((atoms.numbers == number).sum()) for number in (3, 17))
    assert change.item() == pytest.approx(-1.5 * n_li + 0.25 * n_cl, abs=1e-9)
