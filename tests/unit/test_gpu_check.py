"""The script that measures a GPU, at a tenth of its size on the CPU."""

import json
import os
import subprocess
import sys

import pytest
from places import ROOT


def check(*options):
    return subprocess.run(
        [sys.executable, "scripts/gpu_check.py", *options],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.torture
def test_every_potential_is_measured_and_the_cpu_equals_itself(tmp_path):
    done = check("--device", "cpu", "--share", "0.1", "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    names = ["chgnet-0.3.0", "sevennet-0", "student (random weights)"]
    assert [name for name in found if name not in {"machine", "share"}] == names
    for name in names:
        assert set(found[name]["exactness"].values()) == {0.0}
        rates = [v["us_per_atom_and_step"] for k, v in found[name].items() if " x " in k]
        assert len(rates) == 2
        assert min(rates) > 0
    assert found["chgnet-0.3.0"]["training"]["structures"] == 30


def test_without_a_gpu_it_says_so():
    done = check("--device", "cuda")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "gpu_check: torch sees no GPU here (--device cpu --share 0.1 runs)"
    ]
