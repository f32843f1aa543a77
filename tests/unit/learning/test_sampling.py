"""Sampling: the distance, farthest points, the medoid, blocks."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from ase.geometry import cellpar_to_cell

from lycb_flows.config import SelectionConfig
from lycb_flows.crystals.structures import structure_from_arrays
from lycb_flows.errors import InputError
from lycb_flows.learning import sampling
from lycb_flows.learning.sampling import Candidates, assign_blocks, select_frames
from lycb_flows.md.trajectory import Trajectory

CELL = cellpar_to_cell([6.0, 7.0, 9.0, 92.0, 109.6, 120.0])
SPECIES = ("Li", "Li", "Li", "Y", "Cl", "Cl", "Cl", "Br")
EVERYTHING = 10**9


def trajectory_of(frac_coords, cell=CELL, interval: int = 100) -> Trajectory:
    n = len(frac_coords)
    return Trajectory(
        species=SPECIES,
        time_step_fs=1.0,
        steps=np.arange(n) * interval,
        frac_coords=np.asarray(frac_coords, np.float32),
        cells_ang=np.broadcast_to(cell, (n, 3, 3)),
        potential_energy_ev=np.zeros(n),
        temperature_k=np.zeros(n),
        stress_gpa=np.zeros((n, 3, 3)),
    )


def walk(n_frames: int, seed: int = 0):
    """Lithium that hops, a framework that rattles and drifts; unwrapped."""
    rng = np.random.default_rng(seed)
    home = np.random.default_rng(99).uniform(size=(len(SPECIES), 3))
    frac = home + rng.normal(scale=0.02, size=(n_frames, len(SPECIES), 3))
    frac[:, :3] += np.cumsum(rng.normal(scale=0.06, size=(n_frames, 3, 3)), axis=0)
    return frac + np.cumsum(rng.normal(scale=0.03, size=(n_frames, 1, 3)), axis=0)


def candidates_of(frac_coords, run: str = "run", **changes) -> Candidates:
    trajectory = trajectory_of(frac_coords, **changes)
    return Candidates(run, trajectory, first_step=-1, last_step=EVERYTHING)


def brute_force_distance(a, b, cell=CELL):
    """All 125 images of every atom, framework aligned by its unwrapped mean."""
    a, b = np.asarray(a, np.float32).astype(float), np.asarray(b, np.float32).astype(float)
    difference = (a - b) - (a - b)[3:].mean(axis=0)
    difference -= np.rint(difference)
    images = np.array(list(itertools.product(range(-2, 3), repeat=3)))
    vectors = (difference[:, None] + images) @ cell
    return np.sqrt((vectors**2).sum(axis=2).min(axis=1).mean())


def brute_force_choice(frac, n, seeds=()):
    matrix = np.array([[brute_force_distance(a, b) for b in frac] for a in frac])
    chosen = [int(matrix.sum(axis=1).argmin())] if not seeds else []
    distances = [None] * len(chosen)
    before = list(seeds)
    while len(chosen) < n:
        nearest = np.array([[brute_force_distance(a, s) for s in before] for a in frac])
        nearest = np.hstack([nearest.reshape(len(frac), -1), matrix[:, chosen]]).min(axis=1)
        chosen.append(int(nearest.argmax()))
        distances.append(nearest.max())
    return chosen, distances


def steps_of(picks):
    return [pick.step for pick in picks]


# -- the distance ------------------------------------------------------------------------


def only_distance(a, b, **second):
    """The distance of two frames, as the second pick of two reports it."""
    config = SelectionConfig(n_frames=2)
    runs = [candidates_of([a], "a"), candidates_of([b], "b", **second)]
    picks = select_frames(runs, config)
    return picks[1].distance_ang if len(picks) == 2 else 0.0


def test_a_frame_shifted_by_lattice_vectors_is_the_same_frame():
    frame = walk(1)[0]
    shifted = frame + np.random.default_rng(0).integers(-3, 4, size=frame.shape)
    assert only_distance(frame, shifted) == 0.0


@pytest.mark.parametrize("drift", [0.1, 0.5, 0.77, 3.4])
def test_a_crystal_that_drifts_as_a_whole_is_the_same_frame(drift):
    frame = walk(1)[0]
    assert only_distance(frame, frame + np.array([drift, -drift, 0.3])) == 0.0
    assert only_distance(frame, (frame + drift) % 1.0) == 0.0


def test_moving_one_lithium_counts_with_one_nth_of_its_square():
    frame = walk(1)[0]
    moved = frame.copy()
    moved[0] += np.linalg.solve(CELL.T, [0.0, 1.5, 0.0])
    assert only_distance(frame, moved) == pytest.approx(1.5 / 8**0.5, rel=1e-5)


def test_the_nearest_image_of_an_oblique_cell_is_found():
    cell = cellpar_to_cell([6.0, 6.0, 9.0, 90.0, 90.0, 120.0])
    frame = walk(1)[0]
    moved = frame.copy()
    moved[0] += [0.45, -0.45, 0.0]  # rounding leaves 4.7 Å, an image lies 3.0 Å away
    naive = np.linalg.norm([0.45, -0.45, 0.0] @ cell)
    images = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    images = images + np.array([0.45, -0.45, 0.0])
    nearest = np.linalg.norm(images @ cell, axis=1).min()
    config = SelectionConfig(n_frames=2)
    picks = select_frames([candidates_of([frame, moved], cell=cell)], config)
    assert nearest < 0.7 * naive
    assert picks[1].distance_ang == pytest.approx(nearest / 8**0.5, rel=1e-5)


def test_an_oblique_cell_needs_few_images_and_a_rectangular_one_none():
    count = {
        angles: len(sampling.oblique_images_ang(cellpar_to_cell([6.0, 7.0, 9.0, *angles])))
        for angles in ((90, 90, 90), (90, 109.6, 90), (90, 90, 120))
    }
    assert count[90, 90, 90] == 0
    assert 0 < count[90, 109.6, 90] <= 14
    assert 0 < count[90, 90, 120] <= 20


def test_strain_alone_is_no_distance():
    frame = walk(1)[0]
    assert only_distance(frame, frame, cell=1.05 * CELL) == 0.0


# -- the choice --------------------------------------------------------------------------


def test_farthest_points_and_medoid_are_those_of_the_full_matrix():
    frac = walk(40)
    expected, distances = brute_force_choice(frac, 10)
    picks = select_frames([candidates_of(frac)], SelectionConfig(n_frames=10))
    assert steps_of(picks) == [100 * i for i in expected]
    assert [pick.rule for pick in picks] == ["medoid"] + ["fps"] * 9
    assert picks[0].distance_ang is None
    found = [pick.distance_ang for pick in picks[1:]]
    assert found == pytest.approx(distances[1:], rel=1e-4)
    assert found == sorted(found, reverse=True)
    assert found[-1] > 0.1


def test_frames_already_labelled_repel_the_choice():
    frac = walk(40)
    labelled = [structure_from_arrays(CELL, list(SPECIES), frac[i]) for i in (3, 30)]
    expected, distances = brute_force_choice(frac, 6, seeds=[frac[3], frac[30]])
    picks = select_frames([candidates_of(frac)], SelectionConfig(n_frames=6), labelled)
    assert steps_of(picks) == [100 * i for i in expected]
    assert {pick.rule for pick in picks} == {"fps"}
    assert [pick.distance_ang for pick in picks] == pytest.approx(distances, rel=1e-4)
    assert not {300, 3000} & set(steps_of(picks))


def test_labels_of_other_species_do_not_matter():
    frac = walk(20)
    other = structure_from_arrays(CELL, ["Na", *SPECIES[1:]], frac[3])
    config = SelectionConfig(n_frames=4)
    assert select_frames([candidates_of(frac)], config, [other]) == select_frames(
        [candidates_of(frac)], config
    )


def test_a_second_selection_does_not_choose_the_first_again():
    frac = walk(30)
    config = SelectionConfig(n_frames=10)
    first = select_frames([candidates_of(frac)], config)
    second = select_frames([candidates_of(frac)], config, [pick.structure for pick in first])
    assert len({*steps_of(first), *steps_of(second)}) == 20


def test_the_picks_are_the_structures_of_their_frames():
    run = candidates_of(walk(10))
    for pick in select_frames([run], SelectionConfig(n_frames=5)):
        assert pick.structure.key == run.trajectory.structure(pick.step // 100).key
        assert pick.run == "run"


def test_equal_frames_are_chosen_once_and_the_earliest_of_them():
    frac = np.repeat(walk(3), 4, axis=0)
    picks = select_frames([candidates_of(frac)], SelectionConfig(n_frames=9))
    assert sorted(steps_of(picks)) == [0, 400, 800]


def test_frames_are_thinned_and_those_outside_production_left_out():
    frac = walk(200)
    trajectory = trajectory_of(frac, interval=10)
    run = Candidates("run", trajectory, first_step=500, last_step=1500)
    picks = select_frames([run], SelectionConfig(n_frames=50, thinning_fs=95.0))
    assert sorted(steps_of(picks)) == list(range(510, 1501, 100))


def test_uniform_frames_come_first_and_farthest_points_complement_them():
    frac = walk(40)
    config = SelectionConfig(n_frames=8, uniform_fraction=0.5)
    picks = select_frames([candidates_of(frac)], config)
    assert steps_of(picks)[:4] == [500, 1500, 2500, 3500]
    assert [pick.rule for pick in picks] == ["uniform"] * 4 + ["fps"] * 4
    expected, _ = brute_force_choice(frac, 4, seeds=[frac[i] for i in (5, 15, 25, 35)])
    assert steps_of(picks)[4:] == [100 * i for i in expected]
    all_uniform = select_frames(
        [candidates_of(frac)], SelectionConfig(n_frames=4, uniform_fraction=1.0)
    )
    assert steps_of(all_uniform) == [500, 1500, 2500, 3500]


def test_runs_are_pooled_and_several_cells_compared_in_one():
    near, far = walk(10), walk(10, seed=5)
    runs = [candidates_of(near, "a"), candidates_of(far, "b", cell=1.02 * CELL)]
    picks = select_frames(runs, SelectionConfig(n_frames=12))
    assert {pick.run for pick in picks} == {"a", "b"}
    expected, _ = brute_force_choice(np.concatenate([near, far]), 12)
    assert [(pick.run, pick.step) for pick in picks] == [
        ("ab"[i // 10], i % 10 * 100) for i in expected
    ]


def test_the_medoid_of_many_is_the_medoid_of_evenly_spaced_ones(monkeypatch):
    frac = walk(60)
    monkeypatch.setattr(sampling, "_MEDOID_CANDIDATES", 12)
    (pick,) = select_frames([candidates_of(frac)], SelectionConfig(n_frames=1))
    expected, _ = brute_force_choice(frac[2::5], 1)
    assert pick.step == 100 * (2 + 5 * expected[0])


def test_nothing_to_choose_from_or_different_atoms_is_an_error():
    with pytest.raises(InputError, match="no frame"):
        select_frames([Candidates("a", trajectory_of(walk(3)), 500, 900)], SelectionConfig())
    other = dataclasses.replace(trajectory_of(walk(3)), species=("Na", *SPECIES[1:]))
    runs = [candidates_of(walk(3)), Candidates("b", other, -1, EVERYTHING)]
    with pytest.raises(InputError, match="different atoms"):
        select_frames(runs, SelectionConfig())


# -- blocks ------------------------------------------------------------------------------


def test_the_last_share_of_each_run_in_time_validates():
    runs = [
        Candidates("a", trajectory_of(walk(100)), first_step=0, last_step=10_000),
        Candidates("b", trajectory_of(walk(100), interval=50), first_step=1000, last_step=5000),
    ]
    picks = select_frames(runs, SelectionConfig(n_frames=100))
    blocks = assign_blocks(picks, runs, 0.15)
    boundary = {"a": 8500, "b": 4400}
    for pick, block in zip(picks, blocks, strict=True):
        assert (block == "validation") == (pick.step > boundary[pick.run])
    assert 5 < blocks.count("validation") < 30
    assert set(assign_blocks(picks, runs, 0.0)) == {"train"}


def test_one_pick_validates_even_if_none_lies_in_the_last_share():
    run = Candidates("a", trajectory_of(walk(50)), first_step=-1, last_step=10_000)
    picks = select_frames([run], SelectionConfig(n_frames=4))
    blocks = assign_blocks(picks, [run], 0.15)
    assert max(steps_of(picks)) < 5000
    assert blocks.count("validation") == 1
    assert blocks[steps_of(picks).index(max(steps_of(picks)))] == "validation"
    assert assign_blocks(picks[:1], [run], 0.15) == ("train",)


def test_one_pick_trains_even_if_all_lie_in_the_last_share():
    run = Candidates("a", trajectory_of(walk(10)), first_step=-1, last_step=1000)
    (pick,) = select_frames([run], SelectionConfig(n_frames=1))
    picks = [dataclasses.replace(pick, step=step) for step in (950, 900, 990)]
    assert assign_blocks(picks, [run], 0.15) == ("validation", "train", "validation")
