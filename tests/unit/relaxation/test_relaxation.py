"""Relaxation converges and is deterministic; the funnel flags, ties and chooses."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from ase.filters import FrechetCellFilter

from lycb_flows import schemas
from lycb_flows.config import EnumerationConfig, RankingConfig, RelaxationConfig
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.relaxed import Relaxed
from lycb_flows.crystals.structures import load_parent, structure_from_arrays, to_ase
from lycb_flows.errors import InputError, PhysicsError
from lycb_flows.potentials.models import find_model, load_potential
from lycb_flows.potentials.potential import Potential
from lycb_flows.relaxation.by_model import relax, relax_many
from lycb_flows.relaxation.ranking import (
    Candidate,
    candidates_for_fine,
    rank_candidates,
    refine_candidates,
    relax_candidates,
    space_group,
    stage_config,
)

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

RANKING = RankingConfig(n_fine=2)


def load(name: str) -> Potential:
    source = find_model(name)
    return load_potential(source.model, source.weights)


def ordering(parent: str, index: int) -> schemas.Structure:
    config = EnumerationConfig(supercell=(1, 1, 1))
    return enumerate_orderings(load_parent(parent), config).structure(index)


@pytest.mark.parametrize("parent", ["Li3YCl6", "Li3YBr6"])
def test_the_toy_relaxes_both_parents_cells(parent):
    toy, start = load("toy-soft"), ordering(parent, 3)
    relaxed = relax(start, toy, RelaxationConfig())
    assert relaxed.converged
    assert relaxed.n_steps > 10
    assert relaxed.max_force_ev_per_ang <= 0.01
    assert relaxed.energy_ev < relaxed.static_energy_ev - 0.1
    assert relaxed.static_energy_ev == toy.predict([start])[0].energy_ev
    assert abs(relaxed.volume_change) < 0.25
    atoms = to_ase(relaxed.structure)  # what is stored is what was relaxed
    atoms.calc = toy.calculator()
    forces = FrechetCellFilter(atoms).get_forces()
    assert np.linalg.norm(forces, axis=1).max() == pytest.approx(
        relaxed.max_force_ev_per_ang, abs=1e-5
    )
    assert atoms.get_potential_energy() == pytest.approx(relaxed.energy_ev, abs=1e-7)


def test_relaxation_is_deterministic_and_its_document_keeps_the_facts():
    toy, start, config = load("toy-soft"), ordering("Li3YBr6", 5), RelaxationConfig()
    first, second = relax(start, toy, config), relax(start, toy, config)
    assert first == second
    document = first.document(config, model="m" * 64)
    assert document.key == schemas.Relaxation.key_of(start.key, config, model="m" * 64)
    tighter = RelaxationConfig(fmax_ev_per_ang=0.02)
    assert document.key != schemas.Relaxation.key_of(start.key, tighter, model="m" * 64)
    assert document.final_structure == first.structure.key
    assert document.energy_ev_per_atom == pytest.approx(first.energy_ev / 20)
    assert document.static_energy_ev_per_atom > document.energy_ev_per_atom


def test_a_fixed_cell_stays_and_few_steps_do_not_converge():
    toy, start = load("toy-soft"), ordering("Li3YBr6", 5)
    relaxed = relax(start, toy, RelaxationConfig(relax_cell=False, max_steps=3))
    assert relaxed.structure.lattice_ang == start.lattice_ang
    assert relaxed.volume_change == 0
    assert not relaxed.converged
    assert relaxed.n_steps == 3
    assert relaxed.max_force_ev_per_ang > 0.01


def test_chgnet_relaxation_lowers_the_energy():
    start = ordering("Li3YBr6", 5)
    relaxed = relax(start, load("chgnet-0.3.0"), RelaxationConfig(max_steps=5))
    assert relaxed.energy_ev < relaxed.static_energy_ev - 0.05


def test_the_funnel_ranks_real_candidates():
    toy = load("toy-soft")

    def relax_stage(stage, structures):
        return list(relax_many(structures, toy, stage_config(RANKING, stage)))

    starts = {f"{index}" * 64: ordering("Li3YBr6", index) for index in (0, 4, 5)}
    coarse = relax_candidates(starts, relax_stage)
    assert pickle.loads(pickle.dumps(coarse)) == coarse  # noqa: S301 - our own bytes
    for candidate in coarse:
        assert (
            candidate.refined_cell.structure.lattice_ang == candidate.refined_cell.start.lattice_ang
        )
        assert candidate.relaxed.energy_ev < candidate.refined_cell.energy_ev
    chosen = candidates_for_fine(coarse, RANKING)
    fine = refine_candidates(chosen, relax_stage)
    assert all(candidate.relaxed.max_force_ev_per_ang <= 0.01 for candidate in fine)
    result = rank_candidates(coarse, fine, RANKING, {one.ordering: "r" for one in coarse})
    assert [row.ordering[0] for row in result.table] == ["5", "4", "0"]
    assert [row.stage for row in result.table] == ["fine", "fine", "coarse"]
    assert result.ground_state == fine[0].relaxed.structure.key
    assert result.best[0].space_group == "P2 (3)"
    assert result.best[0].above_best_ev_per_atom == 0
    assert result.n_not_converged == 0
    assert sorted(row.refined_cell_rank for row in result.table) == [1, 2, 3]


def test_a_candidate_that_flies_apart_at_any_stage_leaves_the_funnel():
    starts = {f"{index}" * 64: ordering("Li3YBr6", index) for index in (0, 4, 5)}
    stages = []

    def relax_stage(stage, structures):
        """The first one given flies apart, at every stage."""
        stages.append(stage)
        resting = [Relaxed(one, one, 0.0, 0.0, 0.0, 1, converged=True) for one in structures]
        return [PhysicsError("gone", fix="none"), *resting[1:]]

    coarse = relax_candidates(starts, relax_stage)
    assert [one.ordering[0] for one in coarse] == ["5"]
    assert coarse[0].relaxed.structure == starts["5" * 64]
    assert refine_candidates(coarse, relax_stage) == []
    assert stages == ["refined cell", "coarse", "fine"]


def candidate(
    name: str,
    energy_ev_per_atom: float,
    *,
    expansion: float = 0.0,
    refined_ev_per_atom: float = 0.0,
    converged: bool = True,
) -> Candidate:
    """A made-up candidate: rock salt of two atoms, expanded."""

    def salt(edge_ang: float) -> schemas.Structure:
        return structure_from_arrays(
            np.eye(3) * edge_ang, ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
        )

    start, end = salt(4.0), salt(4.0 * (1 + expansion) ** (1 / 3))
    refined = Relaxed(start, start, 2 * refined_ev_per_atom, 0.0, 0.0, 1, converged=True)
    relaxed = Relaxed(start, end, 2 * energy_ev_per_atom, 0.0, 0.0, 1, converged=converged)
    return Candidate(name, refined, relaxed, "coarse")


def ranked(*coarse: Candidate):
    chosen = candidates_for_fine(coarse, RANKING)
    fine = [replace(one, stage="fine") for one in chosen]
    return rank_candidates(coarse, fine, RANKING, {one.ordering: "r" for one in coarse})


def test_a_lower_candidate_that_expanded_is_no_ground_state_but_is_named():
    best = candidate("best", -3.0, expansion=0.01, refined_ev_per_atom=-2.0)
    swollen = candidate("swollen", -3.02, expansion=0.2, refined_ev_per_atom=-1.0)
    result = ranked(swollen, best, candidate("third", -2.9, expansion=0.02))
    assert [row.ordering for row in result.best] == ["swollen", "best", "third"]
    assert [row.volume_flag for row in result.best] == [True, False, False]
    assert result.ground_state == best.relaxed.structure.key
    assert result.best[0].above_best_ev_per_atom == pytest.approx(-0.02)
    assert result.best[0].refined_cell_rank == 2
    assert "20.0 meV/atom lower" in result.note
    assert "DFT" in result.note
    assert result.best[0].space_group == "Pm-3m (221)"


def test_flagged_candidates_do_not_crowd_out_the_fine_stage():
    swollen = [candidate(f"s{i}", -4.0 - i, expansion=0.1) for i in range(5)]
    sound = [candidate(f"c{i}", -3.0 + i) for i in range(5)]
    chosen = [one.ordering for one in candidates_for_fine([*sound, *swollen], RANKING)]
    assert chosen == ["s4", "c0", "c1"]


def test_ties_are_named_and_distant_ones_are_not():
    result = ranked(candidate("a", -3.0), candidate("b", -2.9995), candidate("c", -2.99))
    assert [row.tied_with_best for row in result.table] == [False, True, False]
    assert "tied within 1.0 meV/atom with b" in result.note


def test_no_remark_without_flag_or_tie():
    assert ranked(candidate("a", -3.0), candidate("b", -2.0)).note == ""


def test_when_all_expanded_the_lowest_is_taken_and_the_note_says_so():
    result = ranked(candidate("a", -3.0, expansion=0.1), candidate("b", -2.0, expansion=0.2))
    assert result.best[0].ordering == "a"
    assert "every converged candidate expanded" in result.note


def test_an_unconverged_candidate_is_counted_and_no_ground_state():
    wild, sound = candidate("wild", -9.0, converged=False, expansion=0.03), candidate("b", -3.0)
    result = ranked(wild, sound)
    assert result.n_not_converged == 1
    assert result.ground_state == sound.relaxed.structure.key
    with pytest.raises(PhysicsError, match="no candidate converged"):
        ranked(wild)


def test_ranking_nothing_is_an_input_error():
    with pytest.raises(InputError, match="nothing to rank"):
        rank_candidates([], [], RANKING, {})


def test_space_group_of_the_ordered_crystal_is_found():
    assert space_group(ordering("Li3YBr6", 5)) == "P2 (3)"
