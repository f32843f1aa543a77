"""The ranking's relaxations: looked up first, one candidate at a time or many together."""

import pytest

from lycb_flows.config import EnumerationConfig, RankingConfig
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.structures import load_parent
from lycb_flows.errors import PhysicsError
from lycb_flows.jobs import structures as jobs
from lycb_flows.potentials.models import find_model
from lycb_flows.relaxation import by_model
from lycb_flows.schemas import Ordering, Relaxation
from lycb_flows.store import open_store

TOY = find_model("toy-soft")
RANKING = RankingConfig(model=TOY.model.key, n_fine=2)


def fill_store(folder):
    """A store with the toy and three orderings of 20 atoms."""
    store = open_store(folder)
    store.blobs.put(TOY.weights, TOY.model.weights.media_type)
    store.insert(TOY.model)
    listed = enumerate_orderings(load_parent("Li3YBr6"), EnumerationConfig(supercell=(1, 1, 1)))
    found = []
    for index in (0, 4, 5):
        structure = listed.structure(index)
        store.insert(structure)
        mask = listed.members[index].mask
        found.append(
            Ordering(
                key=f"{index}" * 64,
                enumeration="e" * 64,
                index=index,
                mask=mask,
                multiplicity=1,
                structure=structure.key,
            )
        )
    return store, found


def test_together_or_one_by_one_the_candidates_are_the_same(tmp_path):
    store, orderings = fill_store(tmp_path / "together")
    together = jobs._relax_batch(store.folder, RANKING, "rank", orderings)
    assert [one.ordering for one in together] == [one.key for one in orderings]
    assert len(store.attempts(outcome="done")) == 6  # refined cell, then coarse
    other, _ = fill_store(tmp_path / "alone")
    for ordering, candidate in zip(orderings, together, strict=True):
        (alone,) = jobs._relax_batch(other.folder, RANKING, "rank", [ordering])
        assert alone.relaxed.energy_ev == pytest.approx(candidate.relaxed.energy_ev, abs=1e-6)
        assert alone.relaxed.n_steps == candidate.relaxed.n_steps
    fine = jobs._refine_batch(store.folder, RANKING, "rank", together[:2])
    assert [one.stage for one in fine] == ["fine", "fine"]
    assert len(store.attempts()) == 8


def test_what_is_stored_is_not_relaxed_again(tmp_path, monkeypatch):
    store, orderings = fill_store(tmp_path)
    (second,) = jobs._relax_batch(store.folder, RANKING, "rank", orderings[1:2])
    given = []

    def spy(structures, potential, config):
        given.append([one.key for one in structures])
        return relax_many(structures, potential, config)

    relax_many = by_model.relax_many
    monkeypatch.setattr(by_model, "relax_many", spy)
    first = jobs._relax_batch(store.folder, RANKING, "rank", orderings)
    assert first[1] == second
    assert list(map(len, given)) == [2, 2]
    assert second.refined_cell.start.key not in given[0]
    assert jobs._relax_batch(store.folder, RANKING, "rank", orderings) == first
    assert len(given) == 2  # not even the potential was opened
    assert len(list(store.find_all(Relaxation))) == 6
    assert len(store.attempts()) == 6


def test_one_that_flies_apart_is_a_failed_attempt_and_missing(tmp_path, monkeypatch):
    store, orderings = fill_store(tmp_path)
    relax_many = by_model.relax_many

    def exploding(structures, potential, config):
        for structure, outcome in zip(
            structures, relax_many(structures, potential, config), strict=True
        ):
            gone = structure.key == orderings[0].structure
            yield PhysicsError("gone", fix="none") if gone else outcome

    monkeypatch.setattr(by_model, "relax_many", exploding)
    candidates = jobs._relax_batch(store.folder, RANKING, "rank", orderings)
    assert [one.ordering for one in candidates] == [one.key for one in orderings[1:]]
    (failed,) = store.attempts(outcome="failed")
    assert "gone" in failed.reason
    assert len(store.attempts(outcome="done")) == 4


def test_a_gpu_takes_all_candidates_and_a_cpu_one_per_process(monkeypatch):
    assert jobs._batches([1, 2, 3]) == [[1], [2], [3]]
    monkeypatch.setenv("LYCB_DEVICE", "cuda")
    assert jobs._batches([1, 2, 3]) == [[1, 2, 3]]
