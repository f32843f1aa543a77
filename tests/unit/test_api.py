"""What the public functions refuse; README.md's example and tests/flows run them."""

import numpy as np
import pytest
from ase.build import bulk

import lycb_flows as lf
from lycb_flows.config import MDConfig
from lycb_flows.crystals import canonical_structure
from lycb_flows.errors import InputError


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
