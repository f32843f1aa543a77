"""The plan of the pool of DFT labels, and that the pool goes on from its files alone."""

import re
from collections import Counter

import ase.io
import label_pool
import numpy as np
import pytest
from places import ROOT
from pool_plan import MAX_STRAIN, by_temperature, pool_plan, status

import lycb_flows as lf
from lycb_flows.campaign.importing import import_labels
from lycb_flows.labels.checks import Answer, checked_label
from lycb_flows.labels.theory import gpaw_theory
from lycb_flows.store import open_store

LABELS = ROOT / "docs" / "dft_labels"
POOL = gpaw_theory("paper-pool")


@pytest.fixture(scope="module")
def plan():
    return pool_plan()


class Engine:
    """What stands for GPAW: numbers by CHGNet; after so many labels it dies as by a signal."""

    def __init__(self, potential, n_labels):
        self.theory, self.asked = POOL, []
        self._potential, self._n_labels = potential, n_labels

    def label(self, structure):
        if len(self.asked) == self._n_labels:
            raise KeyboardInterrupt
        self.asked.append(structure.key)
        (found,) = self._potential.predict([structure])
        answer = Answer(
            species=structure.species,
            lattice_ang=structure.lattice_ang,
            energy_ev=found.energy_ev,
            forces_ev_per_ang=np.array(found.forces_ev_per_ang, float).tolist(),
            stress_ev_per_ang3=np.zeros((3, 3)).tolist(),
        )
        mesh = POOL.kpoints.mesh_for(structure.lattice_ang)
        return checked_label(structure, POOL, answer, kpoint_mesh=mesh)


def test_every_run_has_a_seed_of_its_own(plan):
    assert len({run.name for run in plan}) == len(plan)
    assert len({run.seed for run in plan}) == len(plan)
    assert pool_plan() == plan


def test_the_plan_is_what_the_pool_is_for(plan):
    n_frames = Counter()
    for run in plan:
        n_frames[run.split] += run.n_frames
        n_frames[run.test_set] += run.n_frames
    assert n_frames.total() / 2 + 56 >= 240  # 56 labels of paper-static join it
    assert min(n_frames[name] for name in ("near-ground-state", "parents", "mixed")) >= 20
    assert n_frames["train"] > 1.8 * n_frames["test"]
    moving = [run for run in plan if run.test_set != "near-ground-state"]
    assert {run.temperature_k for run in moving} >= {100.0, *range(200, 801, 100)}
    parents = {run.temperature_k for run in plan if run.test_set == "parents" and run.cell.x == 6}
    assert parents == set(range(300, 701, 50))
    assert {run.cell.x for run in plan if run.test_set == "mixed"} == {1.5, 3, 4.5}
    assert {run.cell.n_atoms for run in plan} == {10, 20, 30, 60}
    for run in plan:
        assert bool(run.test_set) == (run.split == "test")
        assert np.abs(np.linalg.eigvalsh(run.strain)).max() <= MAX_STRAIN + 1e-12
        assert np.trace(run.strain) / 3 == pytest.approx(run.condition[1])


def test_mixed_cells_that_test_never_train(plan):
    cells = {True: set(), False: set()}
    for run in plan:
        if run.cell.x not in {0, 6}:
            cells[run.split == "test"].add(run.cell)
    assert cells[True]
    assert not cells[True] & cells[False]


def test_the_ten_atom_labels_of_paper_static_are_known_and_those_of_thirty_atoms_are_not():
    pool = label_pool.Pool(LABELS, POOL)
    static = [
        atoms
        for path in LABELS.glob("li3y*_pbe.extxyz")
        for atoms in ase.io.read(path, ":")
        if len(atoms) == 10
    ]
    made = ase.io.read(LABELS / label_pool.POOL, ":") if pool.path.exists() else []
    assert len(static) == 56
    assert len(pool) == 56 + len(made)


@pytest.mark.torture
def test_no_run_both_trains_and_judges_and_every_label_is_of_the_plan(plan):
    splits = {run.name: run.split for run in plan}
    frames = ase.io.read(LABELS / "pool.extxyz", ":")
    assert frames
    for atoms in frames:
        assert splits[atoms.info["run"]] == atoms.info["split"]
    seeds: dict[str, set[int]] = {}
    for atoms in frames:
        seeds.setdefault(atoms.info["split"], set()).add(atoms.info["seed"])
    assert not seeds["test"] & (seeds["train"] | seeds["validation"])


def test_a_killed_pool_goes_on_from_its_file(plan, tmp_path):
    potential = lf.load_model("chgnet-0.3.0")
    runs = [run for run in plan if run.cell.n_atoms == 10 and run.cell.x == 0][:2]
    n_labels = sum(run.n_frames for run in runs)
    assert n_labels == 3
    first, second = Engine(potential, 2), Engine(potential, n_labels)
    with pytest.raises(KeyboardInterrupt):
        label_pool.make_labels(label_pool.Pool(tmp_path, POOL), runs, first, potential)
    label_pool.make_labels(label_pool.Pool(tmp_path, POOL), runs, second, potential)
    assert (len(first.asked), len(second.asked)) == (2, 1)
    assert len({*first.asked, *second.asked}) == 3

    store = open_store(tmp_path / "store")
    summary = import_labels(store, tmp_path / label_pool.POOL)
    assert (len(summary.new), summary.refused) == (3, [])
    assert list(summary.levels) == [POOL.fingerprint]
    frames = ase.io.read(tmp_path / label_pool.POOL, ":")
    assert [(one.info["run"], one.info["frame"]) for one in frames] == [
        (run.name, i) for run in runs for i in range(run.n_frames)
    ]
    assert "3 labels, 1 of them test" in status(tmp_path, plan)
    heading, _, *rows = by_temperature(tmp_path).splitlines()
    assert {f"{run.temperature_k:g} K" for run in runs} == set(re.findall("[0-9]+ K", heading))
    counted = [pair.split("/") for pair in re.findall("[0-9]+/[0-9]+", " ".join(rows))]
    assert [sum(map(int, column)) for column in zip(*counted, strict=True)] == [2, 1]
    # known by run and number: a machine whose frames differ in the last digits asks for nothing
    assert not any(label_pool.Pool(tmp_path, POOL).missing(run) for run in runs)
