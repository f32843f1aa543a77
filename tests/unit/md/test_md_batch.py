"""Runs side by side: places, phases, failures; and the job that stores them."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from springs import Crystal, fcc, frames_of, protocol, run

from lycb_flows import schemas
from lycb_flows.config import RunConfig
from lycb_flows.crystals.structures import canonical_structure
from lycb_flows.jobs import dynamics as jobs
from lycb_flows.md.health import collision
from lycb_flows.md.protocol import RunAhead, run_batch, start_run
from lycb_flows.md.trajectory import read_trajectory
from lycb_flows.potentials.models import find_model
from lycb_flows.store import open_store
from lycb_flows.store.trajectories import trajectory_of

SMALL, LARGE = fcc(1), fcc(2)


class Watched(Crystal):
    """Remembers how many crystals each evaluator had."""

    def __init__(self, *structures, **trouble):
        super().__init__(*structures, **trouble)
        self.batches = []

    def evaluator(self, numbers):
        self.batches.append(len(numbers))
        return super().evaluator(numbers)


class OneBreaks(Crystal):
    """The crystal of four atoms goes wrong."""

    def evaluator(self, numbers):
        evaluator = super().evaluator(numbers)
        for atoms in evaluator.crystals:
            if len(atoms) == 4:
                atoms.calc.break_after = 13
        return evaluator


def ahead(structure, how, n_steps, seed=0):
    return RunAhead(start_run(structure, Crystal(SMALL, LARGE), how, seed), how, n_steps)


def by_place(results):
    places = {}
    for place, segment in results:
        places.setdefault(place, []).append(segment)
    return places


MIXED = (
    (SMALL, protocol(heating_steps=30, start_temperature_k=50.0, segment_steps=20), 50),
    (LARGE, protocol("npt", segment_steps=25), 60),
    (LARGE, protocol("npt", cell_shape="isotropic", equilibration_steps=17, temperature_k=500), 40),
    (SMALL, protocol("npt", cell_shape="anisotropic", pressure_bar=1e4, time_step_fs=1.0), 45),
    (LARGE, protocol("nve", heating_steps=10), 35),
    (LARGE, protocol("npt", heating_steps=10, equilibration_steps=10, segment_steps=15), 60),
)


@pytest.mark.parametrize("batch_size", [2, 4, 6])
def test_runs_of_any_size_and_phase_go_side_by_side_as_they_would_alone(batch_size):
    potential = Watched(SMALL, LARGE)
    runs = [ahead(*one, seed=i) for i, one in enumerate(MIXED)]
    places = by_place(run_batch(iter(runs), potential, batch_size=batch_size))
    assert max(potential.batches) == batch_size
    assert potential.batches[0] == batch_size
    for i, (structure, how, n_steps) in enumerate(MIXED):
        alone = run(structure, how, n_steps, seed=i)
        ends = [(s.index, s.first_step, s.last_step, s.health) for s in places[i]]
        assert ends == [(s.index, s.first_step, s.last_step, s.health) for s in alone]
        together, expected = frames_of(places[i]), frames_of(alone)
        assert together.steps.tolist() == expected.steps.tolist()
        assert together.frac_coords == pytest.approx(expected.frac_coords, abs=1e-6)
        assert together.cells_ang == pytest.approx(expected.cells_ang, abs=1e-7)
        assert together.temperature_k == pytest.approx(expected.temperature_k, rel=1e-6)
        assert together.stress_gpa == pytest.approx(expected.stress_gpa, abs=1e-5)


def test_a_batch_of_one_is_the_run_alone_bit_by_bit():
    runs = [ahead(*one, seed=i) for i, one in enumerate(MIXED)]
    places = by_place(run_batch(runs, Crystal(SMALL, LARGE)))
    for i, one in enumerate(MIXED):
        assert places[i] == run(*one, seed=i)


def test_a_failure_stops_only_the_run_that_failed_and_its_place_is_taken():
    how = protocol(segment_steps=20)
    runs = [ahead(SMALL, how, 40), ahead(LARGE, how, 40), ahead(LARGE, how, 20, seed=1)]
    places = by_place(run_batch(runs, OneBreaks(SMALL, LARGE), batch_size=2))
    (failed,) = places[0]
    assert failed.health.failed_step == 13
    assert read_trajectory(failed.trajectory).steps.tolist() == [0, 5, 10]
    for place, n_segments in ((1, 2), (2, 1)):
        assert [segment.health.healthy for segment in places[place]] == [True] * n_segments
        assert frames_of(places[place]).steps[-1] == 20 * n_segments
    alone = frames_of(run(LARGE, how, 40))
    assert frames_of(places[1]).frac_coords == pytest.approx(alone.frac_coords, abs=1e-6)


def test_a_segment_is_told_when_it_is_reached():
    how = protocol(segment_steps=10)
    runs = [ahead(LARGE, how, 20), ahead(LARGE, how, 30, seed=1)]
    told = run_batch(runs, Crystal(SMALL, LARGE), batch_size=2)
    assert sorted((next(told)[0], next(told)[0])) == [0, 1]
    seen = [(place, segment.last_step) for place, segment in told]
    assert sorted(seen) == [(0, 20), (1, 20), (1, 30)]


def test_a_watcher_sees_every_frame_as_it_is_kept():
    seen = []
    runs = [ahead(SMALL, protocol(), 10), ahead(LARGE, protocol(), 10)]
    segments = list(
        run_batch(
            runs,
            Crystal(SMALL, LARGE),
            batch_size=2,
            watch=lambda place, frame: seen.append((place, frame.steps)),
        )
    )
    assert sorted(seen) == [(place, step) for place in (0, 1) for step in (0, 5, 10)]
    assert len(segments) == 2


def test_a_collision_is_found_across_borders_and_in_skewed_cells():
    cell = np.array([[6.0, 0, 0], [4.5, 4.0, 0], [1.0, 2.0, 5.0]])
    rng = np.random.default_rng(0)
    for _ in range(20):
        frac = rng.uniform(-2, 2, (12, 3))
        images = np.array(np.meshgrid(*[range(-4, 5)] * 3)).reshape(3, -1).T
        between = (frac[:, None] - frac)[None] - np.rint(frac[:, None] - frac)
        distances = np.linalg.norm((between + images[:, None, None]) @ cell, axis=-1)
        closest = distances[:, *np.triu_indices(12, 1)].min()
        assert collision(frac, cell, closest * 0.999) == ""
        if closest < 0.9:
            assert f"{closest:.3g} Å" in collision(frac, cell, closest * 1.001)
    assert "apart" in collision(np.array([[-1e-17, 0, 0], [0.01, 0, 0]]), cell, 0.5)


# -- the job ----------------------------------------------------------------------------


def stored_runs(folder, n_steps):
    store = open_store(folder)
    source = find_model("toy-soft")
    store.blobs.put(source.weights, source.model.weights.media_type)
    start = canonical_structure(bulk("LiCl", "rocksalt", a=5.1, cubic=True))
    store.insert_all([source.model, start])
    runs = [
        RunConfig(
            name=f"run {seed}",
            system="LiCl",
            start=start.key,
            model=source.model.key,
            protocol=protocol("npt", segment_steps=20, barostat_damping_ps=0.5),
            seed=seed,
            steps=n_steps + 10 * seed,
        )
        for seed in range(3)
    ]
    return store, runs


def test_a_job_stores_the_same_runs_and_segments_in_a_batch_as_one_by_one(tmp_path):
    single, runs = stored_runs(tmp_path / "single", 50)
    batch, _ = stored_runs(tmp_path / "batch", 50)
    for one in runs:
        jobs._run_batch(tmp_path / "single", "job", [one])
    jobs._run_batch(tmp_path / "batch", "job", runs)
    for one in runs:
        ours, theirs = (
            store.load(schemas.Run, schemas.Run.key_of(one)) for store in (single, batch)
        )
        assert ours.segments == theirs.segments
        assert ours.health == theirs.health
        assert theirs.means.temperature_k == pytest.approx(ours.means.temperature_k, rel=1e-3)
        assert trajectory_of(batch, theirs).steps.tolist() == list(range(0, one.steps + 1, 5))
    attempts = batch.attempts()
    assert {attempt.outcome for attempt in attempts} == {"done"}
    assert len(attempts) == 3 + sum(
        len(batch.load(schemas.Run, schemas.Run.key_of(r)).segments) for r in runs
    )


def test_a_job_goes_on_from_stored_segments_and_a_longer_run_reuses_them(tmp_path):
    store, runs = stored_runs(tmp_path, 40)
    jobs._run_batch(tmp_path, "job", runs[:1])
    longer = runs[0].model_copy(update={"steps": 60})
    jobs._run_batch(tmp_path, "job", [longer])
    short, long = (store.load(schemas.Run, schemas.Run.key_of(one)) for one in (runs[0], longer))
    assert long.segments[:2] == short.segments
    assert len(store.attempts(long.segments[0])) == 1
    again, _ = stored_runs(tmp_path / "again", 60)
    jobs._run_batch(tmp_path / "again", "job", [longer])
    assert again.load(schemas.Run, schemas.Run.key_of(longer)).facts() == long.facts()
    assert again.all_facts().items() <= store.all_facts().items()


def test_a_batch_that_breaks_leaves_failed_attempts(tmp_path, monkeypatch):
    store, runs = stored_runs(tmp_path, 40)

    def broken(*_args, **_rest):
        list(_args[0])
        raise RuntimeError("no memory left")
        yield

    monkeypatch.setattr(jobs, "run_batch", broken)
    with pytest.raises(RuntimeError, match="no memory left"):
        jobs._run_batch(tmp_path, "job", runs)
    attempts = store.attempts()
    assert len(attempts) == 6
    assert {(one.outcome, one.reason) for one in attempts} == {("failed", "no memory left")}
