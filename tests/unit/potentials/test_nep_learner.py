"""Derivatives of a loss by a NEP's numbers, compiled, against those of the torch layers."""

import numpy as np
import pytest
import torch
from ase import Atoms
from neps import CRYSTAL, SHAPES, random_weights

from lycb_flows.errors import PhysicsError
from lycb_flows.potentials import NepLearner, NepModule, NepPotential, join_graphs, load_trainer

NAMES = ("first", "biases", "second", "radial", "angular")


def crystals():
    first = Atoms(CRYSTAL["numbers"], CRYSTAL["positions"], cell=CRYSTAL["cell"], pbc=True)
    second = first.copy()
    second.set_cell(1.03 * first.cell.array, scale_atoms=True)
    second.rattle(0.1, seed=2)
    return [first, second, first[:9]]


def module_of(shape, dtype):
    module = NepModule(shape, dtype)
    module.set_weights(random_weights(shape))
    return module


def learner_of(shape):
    library = load_trainer(shape)
    assert library is not None, "no C++ compiler: nep_training.cpp was not built"
    return NepLearner(library, module_of(shape, torch.float32), crystals())


def gradients(module, outputs):
    generator = torch.Generator().manual_seed(0)
    parts = [(torch.randn(each.shape, generator=generator) * each).sum() for each in outputs]
    return torch.autograd.grad(sum(parts), [getattr(module, name) for name in NAMES])


@pytest.mark.parametrize("name", ["five-body", "three-body"])
def test_outputs_and_derivatives_are_those_of_the_torch_layers(name):
    shape, learner = SHAPES[name], learner_of(SHAPES[name])
    module, blank = module_of(shape, torch.float64), NepPotential(shape)
    exact = module(join_graphs([blank.graph(crystals()[place]) for place in (2, 1)]))
    expected = (exact.energies_ev, exact.forces_ev_per_ang, exact.virials_ev)
    found = learner([2, 1])
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    ours, theirs = gradients(learner.module, found), gradients(module, expected)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


def test_derivatives_follow_the_numbers_and_no_thread_changes_a_bit():
    learner = learner_of(SHAPES["three-body"])
    before = gradients(learner.module, learner([0, 1, 2]))
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = gradients(learner.module, learner([0, 1, 2]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(before, again, strict=True))
    with torch.no_grad():
        learner.module.second.mul_(2)
    after = gradients(learner.module, learner([0, 1, 2]))
    np.testing.assert_allclose(
        after[0], 2 * before[0], rtol=1e-4, atol=1e-4 * before[0].abs().max()
    )


def test_a_frame_with_too_many_neighbours_is_refused_in_one_line():
    shape = SHAPES["three-body"]
    crushed = Atoms("Li", cell=[0.8, 0.8, 0.8], pbc=True)
    with pytest.raises(PhysicsError, match="too dense to learn from"):
        NepLearner(load_trainer(shape), module_of(shape, torch.float32), [crushed])
