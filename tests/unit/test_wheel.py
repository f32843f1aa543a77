"""A wheel in an empty environment, without the repository, runs a campaign to its report."""

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

import pytest
from places import ROOT

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]
LONGEST_S = 1500
VAR_TMP = "/var/tmp"  # noqa: S108 - a folder of its own is made there


def run(*words, cwd, env=None):
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=env, check=False, timeout=LONGEST_S,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(folder, mode):
    """Build the wheel and install it; returns the wheel and the environment's programs.

    Parameters
    ----------
    folder
        Where wheel and environment are made.
    mode
        "all": every dependency is installed from the index, within constraints.txt; 2.5 minutes
        of CPU time. "alone" (`LYCB_TEST_WHEEL=alone`): the dependencies are seen in this
        Python's folder of packages, whose .pth files, and so this repository, are not.
    """
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (wheel,) = folder.glob("lycb_flows-*.whl")
    programs = folder / "environment" / "bin"
    venv.create(programs.parent, with_pip=mode == "all", symlinks=True)
    if mode == "all":
        constraints = ("-c", ROOT / "constraints.txt")
        run(programs / "python", "-m", "pip", "install", "-q", *constraints, wheel, cwd=folder)
        return wheel, programs
    words = ("--python", programs / "python", "install", "-q", "--no-deps", "--ignore-installed")
    run(sys.executable, "-m", "pip", *words, wheel, cwd=folder)
    (packages,) = programs.parent.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    return wheel, programs


@pytest.fixture
def place_on_disk():
    """A folder that is not in memory: an environment takes 2 GB."""
    with tempfile.TemporaryDirectory(dir=VAR_TMP) as folder:
        yield Path(folder)


def test_a_wheel_runs_a_campaign_where_no_repository_is(place_on_disk):
    wheel, programs = install(place_on_disk, os.environ.get("LYCB_TEST_WHEEL", "all"))
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("potentials/native/nep_dynamics.hpp") for name in names)
    assert not any(name.startswith(("tests/", "docs/")) for name in names)
    place = place_on_disk / "empty"
    place.mkdir()
    kept = {"HOME", "LANG", "OMP_NUM_THREADS", "TMPDIR"}
    env = {name: value for name, value in os.environ.items() if name in kept}
    env |= {"PATH": f"{programs}:/usr/bin:/bin", "LYCB_PROCESSES": "1", "COLUMNS": "200"}

    def lycb(*words):
        return run(programs / "lycb", *words, cwd=place, env=env)

    where = "import lycb_flows; print(lycb_flows.__file__)"
    file = Path(run(programs / "python", "-c", where, cwd=place, env=env).strip())
    assert file.is_relative_to(place_on_disk / "environment")
    listed = lycb("init", "--list")
    assert all(path.stem in listed for path in (ROOT / "workflows").glob("*.yaml"))
    lycb("init", "tiny")
    assert "labels by teacher" in " ".join(lycb("plan", "tiny.yaml").split())
    report = Path(lycb("run", "tiny.yaml").strip().splitlines()[-1])
    assert report == place / "lycb_store" / "reports" / "tiny" / "report.html"
    assert report.stat().st_size > 10_000
    assert "Li3YBr6" in lycb("query", "label", "--limit", "1")
