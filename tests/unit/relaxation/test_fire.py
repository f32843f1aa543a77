"""Batched FIRE takes ASE's steps; who shares a batch does not notice the others."""

import numpy as np
import pytest
import torch
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from scipy.linalg import expm_frechet

from lycb_flows.config import EnumerationConfig, RelaxationConfig
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.structures import load_parent, to_ase
from lycb_flows.errors import PhysicsError
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.relaxation.by_model import relax, relax_many
from lycb_flows.relaxation.fire import _frechet, minimise

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

COARSE = RelaxationConfig(fmax_ev_per_ang=0.05)


class WatchedToy:
    """The toy potential; notes what it is asked, and gives up on crystals of one size.

    Parameters
    ----------
    n_atoms_lost
        Crystals with this many atoms are NaN from the fourth evaluation of a batch on.
    """

    def __init__(self, n_atoms_lost=None):
        source = find_model("toy-soft")
        self.toy = load_potential(source.model, source.weights)
        self.device = self.toy.device
        self.n_atoms_lost = n_atoms_lost
        self.batches = []
        self.seen = []

    def evaluator(self, numbers):
        evaluate = self.toy.evaluator(numbers)
        sizes = [len(one) for one in numbers]
        lost = torch.tensor([size == self.n_atoms_lost for size in sizes])
        self.batches.append(sizes)
        n_calls = 0

        def watched(positions_ang, cells_ang):
            nonlocal n_calls
            n_calls += 1
            self.seen.append((positions_ang.numpy().copy(), cells_ang.numpy().copy()))
            now = evaluate(positions_ang, cells_ang)
            if n_calls > 3:
                now.energies_ev[lost] = torch.nan
                now.forces_ev_per_ang[lost.repeat_interleave(torch.tensor(sizes))] = torch.nan
                now.stresses_gpa[lost] = torch.nan
            return now

        return watched


def orderings(parent, indices):
    result = enumerate_orderings(load_parent(parent), EnumerationConfig(supercell=(1, 1, 1)))
    return [result.structure(index) for index in indices]


def mixed():
    """30 and 20 atoms in turn; they take different numbers of steps."""
    pairs = zip(orderings("Li3YCl6", (0, 3, 7)), orderings("Li3YBr6", (0, 4, 5)), strict=True)
    return [structure for pair in pairs for structure in pair]


@pytest.mark.parametrize("relax_cell", [True, False])
@pytest.mark.parametrize(("parent", "index"), [("Li3YCl6", 3), ("Li3YBr6", 5)])
def test_every_step_is_ases(parent, index, relax_cell):
    (structure,) = orderings(parent, [index])
    atoms, watched = to_ase(structure), WatchedToy()
    atoms.calc = watched.toy.calculator()
    theirs = FIRE(FrechetCellFilter(atoms) if relax_cell else atoms, logfile=None)
    config = RelaxationConfig(fmax_ev_per_ang=1e-9, max_steps=100, relax_cell=relax_cell)
    ours = relax(structure, watched, config)
    assert ours.n_steps == len(watched.seen) - 1 == 100
    steps = theirs.irun(fmax=1e-9, steps=100)
    for (positions_ang, cells_ang), _ in zip(watched.seen, steps, strict=True):
        assert positions_ang == pytest.approx(atoms.positions, abs=1e-8)
        assert cells_ang[0] == pytest.approx(atoms.cell.array, abs=1e-8)
    assert (np.ptp([cells for _, cells in watched.seen], axis=0).max() > 0.1) == relax_cell
    assert ours.energy_ev == pytest.approx(atoms.get_potential_energy(), abs=1e-8)
    rows = np.linalg.norm(theirs.atoms.get_forces(), axis=1)
    assert ours.max_force_ev_per_ang == pytest.approx(rows.max(), abs=1e-7)


def test_ase_stops_at_the_same_step():
    (structure,) = orderings("Li3YCl6", [3])
    atoms, watched = to_ase(structure), WatchedToy()
    atoms.calc = watched.toy.calculator()
    theirs = FIRE(FrechetCellFilter(atoms), logfile=None)
    assert theirs.run(fmax=0.01, steps=1000)
    assert relax(structure, watched, RelaxationConfig()).n_steps == theirs.nsteps > 50


@pytest.mark.parametrize("size", [1e-6, 0.05, 3.0])
def test_the_derivative_of_the_exponential_is_scipys(size):
    rng = np.random.default_rng(1)
    matrices, directions = rng.normal(0, size, (5, 3, 3)), rng.normal(0, 1, (5, 3, 3))
    ours = _frechet(torch.from_numpy(matrices), torch.from_numpy(directions)).numpy()
    theirs = [
        expm_frechet(one, direction, compute_expm=False)
        for one, direction in zip(matrices, directions, strict=True)
    ]
    assert ours == pytest.approx(np.array(theirs), rel=1e-10, abs=1e-12)


def test_a_batch_of_mixed_sizes_finds_the_minima_of_each_alone():
    structures, watched = mixed(), WatchedToy()
    together = list(relax_many(structures, watched, COARSE))
    assert watched.batches[0] == [30, 20] * 3
    assert [one.start for one in together] == structures
    assert len({one.n_steps for one in together}) > 3
    for structure, relaxed in zip(structures, together, strict=True):
        alone = relax(structure, watched, COARSE)
        assert relaxed.converged
        assert relaxed.n_steps == alone.n_steps
        assert relaxed.static_energy_ev == pytest.approx(alone.static_energy_ev, abs=1e-10)
        assert relaxed.energy_ev == pytest.approx(alone.energy_ev, abs=1e-6)
        assert relaxed.volume_change == pytest.approx(alone.volume_change, abs=1e-6)
    assert list(relax_many(structures, watched, COARSE)) == together


def test_who_waits_enters_when_others_have_left():
    structures, watched = mixed(), WatchedToy()
    together = list(relax_many(structures, watched, COARSE, max_atoms=60))
    assert watched.batches[0] == [30, 20]  # another 30 would be too many
    assert len(watched.batches) >= 3
    assert max(map(sum, watched.batches)) <= 60
    roomy = list(relax_many(structures, watched, COARSE))
    for one, other in zip(together, roomy, strict=True):
        assert one.start == other.start
        assert one.n_steps == other.n_steps
        assert one.energy_ev == pytest.approx(other.energy_ev, abs=1e-6)


def test_what_is_larger_than_a_batch_moves_alone():
    structures, watched = mixed()[:3], WatchedToy()
    assert len(list(relax_many(structures, watched, COARSE, max_atoms=1))) == 3
    assert watched.batches == [[30], [20], [30]]


def test_one_that_flies_apart_does_not_disturb_the_others():
    structures = mixed()[:4]
    whole = list(relax_many(structures, WatchedToy(), COARSE))
    outcomes = list(relax_many(structures, WatchedToy(n_atoms_lost=20), COARSE))
    for i in (1, 3):
        assert isinstance(outcomes[i], PhysicsError)
        assert outcomes[i].facts["steps"] == 3
    for i in (0, 2):
        assert outcomes[i].n_steps == whole[i].n_steps
        assert outcomes[i].energy_ev == pytest.approx(whole[i].energy_ev, abs=1e-6)
    with pytest.raises(PhysicsError, match="flew apart"):
        relax(structures[1], WatchedToy(n_atoms_lost=20), COARSE)


def test_a_batch_keeps_fixed_cells_and_stops_at_the_last_step():
    config = RelaxationConfig(relax_cell=False, max_steps=4)
    for relaxed in relax_many(mixed()[:3], WatchedToy(), config):
        assert relaxed.structure.lattice_ang == relaxed.start.lattice_ang
        assert relaxed.structure.frac_coords != relaxed.start.frac_coords
        assert relaxed.n_steps == 4
        assert not relaxed.converged


def test_what_rests_already_takes_no_step():
    first = relax(mixed()[1], WatchedToy(), RelaxationConfig(fmax_ev_per_ang=0.02))
    again = relax(first.structure, WatchedToy(), COARSE)
    assert again.n_steps == 0
    assert again.converged
    assert again.energy_ev == again.static_energy_ev


def test_nothing_to_relax_is_no_error():
    assert list(relax_many([], WatchedToy(), COARSE)) == []


def test_results_come_as_they_finish():
    structures = mixed()
    crystals = [to_ase(structure) for structure in structures]
    told = list(minimise(crystals, WatchedToy(), COARSE, max_atoms=200, device=torch.device("cpu")))
    assert sorted(place for place, _ in told) == list(range(6))
    steps = [minimum.n_steps for _, minimum in told]
    assert steps == sorted(steps)
