"""What the public functions refuse; README.md's example and tests/flows run them."""

import numpy as np
import pytest
from ase.build import bulk

import lycb_flows as lf
from lycb_flows.config import MDConfig, TrainingConfig
from lycb_flows.crystals import canonical_structure
from lycb_flows.errors import InputError
from lycb_flows.learning import LabelledStructure


@pytest.fixture(scope="module")
def run():
    start = canonical_structure(bulk("LiBr", "rocksalt", a=5.5).repeat((2, 2, 2)))
    potential = lf.load_model("toy-teacher")
    protocol = MDConfig().nvt(300.0, ramp=False)

    def run(**options):
        return lf.run_md(start, potential, protocol, **{"duration_ps": 0.01, **options})

    return run


@pytest.mark.parametrize("seed", [-1, 1.5, None, "1", float("nan")])
def test_a_run_has_a_seed(run, seed):
    with pytest.raises(InputError, match="a seed is a whole number from 0 on") as told:
        run(seed=seed)
    assert f"found={seed}" in str(told.value)


def test_a_seed_may_come_from_numpy(run):
    assert np.array_equal(run(seed=np.int64(3)).frac_coords, run(seed=3).frac_coords)


@pytest.mark.parametrize("duration_ps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_run_has_a_length(run, duration_ps):
    with pytest.raises(InputError, match="a run needs a length"):
        run(duration_ps=duration_ps)


@pytest.fixture(scope="module")
def labelled():
    """Four structures and their labels."""
    start, rng = bulk("LiBr", "rocksalt", a=5.5), np.random.default_rng(0)
    structures = []
    for _ in range(4):
        atoms = start.copy()
        atoms.positions += rng.normal(0, 0.1, atoms.positions.shape)
        structures.append(canonical_structure(atoms))
    return structures, lf.load_model("toy-teacher").predict(structures)


def test_labels_that_have_their_structures_train_as_those_without(labelled):
    structures, points = labelled
    own = [
        LabelledStructure(structure=structure, key="k", system="s", **vars(point))
        for structure, point in zip(structures, points, strict=True)
    ]
    start, config = lf.load_model("toy-soft"), TrainingConfig(epochs=2)
    trained = [lf.fine_tune(start, structures, labels, config) for labels in (points, own)]
    first, second = (each.predict(structures[:1])[0].energy_ev for each in trained)
    assert first == second != start.predict(structures[:1])[0].energy_ev


@pytest.mark.parametrize(("n_labels", "fraction"), [(2, 0.9), (4, 0.99), (2, 0.01)])
def test_some_labels_train_and_some_validate_whatever_the_share(labelled, n_labels, fraction):
    structures, points = (part[:n_labels] for part in labelled)
    config = TrainingConfig(epochs=1, validation_fraction=fraction)
    start = lf.load_model("toy-soft")
    trained = lf.fine_tune(start, structures, points, config)
    assert (
        trained.predict(structures[:1])[0].energy_ev != start.predict(structures[:1])[0].energy_ev
    )


def test_one_label_is_too_few(labelled):
    structures, points = (part[:1] for part in labelled)
    with pytest.raises(InputError, match="a label to learn and one to validate"):
        lf.fine_tune(lf.load_model("toy-soft"), structures, points, TrainingConfig(epochs=1))
