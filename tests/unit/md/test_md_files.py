"""Runs in folders: files that grow, kills, and other programs' formats."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace

import ase.io
import h5py
import numpy as np
import pytest
from ase.geometry import cellpar_to_cell
from places import HELPERS
from springs import Crystal, fcc, frames_of, protocol, run

from lycb_flows.errors import InputError
from lycb_flows.machine import files
from lycb_flows.md.export import export_trajectory
from lycb_flows.md.foreign import ReadingOptions, read_any_trajectory
from lycb_flows.md.single import SingleRun, run_in_folder
from lycb_flows.md.trajectory import (
    ARRAY_NAMES,
    CHUNK_FRAMES,
    Snapshot,
    Trajectory,
    read_trajectory,
    to_trajectory,
)
from lycb_flows.md.trajectory_file import (
    GrowingTrajectory,
    compact,
    create,
    cut,
    read_trajectory_file,
)

HARNESS = HELPERS / "md_kill_harness.py"


def snapshots(n: int) -> list[Snapshot]:
    rng = np.random.default_rng(0)
    cell = cellpar_to_cell([6, 7, 8, 95, 109, 87])
    return [
        Snapshot(
            steps=10 * i,
            frac_coords=np.array([[0.03 * i, 0.2, -0.7], [0.5, 0.5, 0.5], [0.1, 0.9, 0.3]]),
            cells_ang=cell * (1 + 0.001 * i),
            potential_energy_ev=rng.normal(),
            temperature_k=rng.normal(300, 10),
            stress_gpa=rng.normal(size=(3, 3)),
        )
        for i in range(n)
    ]


def same(one: Trajectory, other: Trajectory) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ARRAY_NAMES)


SPECIES = ("Li", "Cl", "Li")


# -- files that grow --------------------------------------------------------------------


def test_a_growing_file_is_whole_for_a_reader_at_every_moment(tmp_path):
    path, frames = tmp_path / "t.h5", snapshots(CHUNK_FRAMES + 3)
    create(path, SPECIES, 1.0, "a run")
    with GrowingTrajectory(path) as file:
        for frame in frames:
            file.append(frame)
        assert read_trajectory_file(path).n_frames == CHUNK_FRAMES
        file.flush()
        assert same(read_trajectory_file(path), to_trajectory(frames, SPECIES, 1.0))
    found = read_trajectory_file(path)
    assert same(found, to_trajectory(frames, SPECIES, 1.0))
    assert (found.species, found.time_step_fs) == (SPECIES, 1.0)


def test_a_killed_writer_costs_at_most_its_last_chunk(tmp_path):
    path, frames = tmp_path / "t.h5", snapshots(2 * CHUNK_FRAMES + 100)
    create(path, SPECIES, 1.0, "a run")
    pid = os.fork()
    if pid == 0:
        file = GrowingTrajectory(path)
        for frame in frames:
            file.append(frame)
        os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    kept = frames[: 2 * CHUNK_FRAMES]
    assert same(read_trajectory_file(path), to_trajectory(kept, SPECIES, 1.0))
    cut(path, 99)
    assert same(read_trajectory_file(path), to_trajectory(frames[:10], SPECIES, 1.0))
    with GrowingTrajectory(path) as file:
        for frame in frames[10:]:
            file.append(frame)
        file.flush()
    assert same(read_trajectory_file(path), to_trajectory(frames, SPECIES, 1.0))


def test_a_writer_killed_as_soon_as_it_has_the_file_leaves_it_readable(tmp_path, monkeypatch):
    path = tmp_path / "t.h5"
    create(path, SPECIES, 1.0, "run")
    with GrowingTrajectory(path) as file:
        file.append(snapshots(1)[0])
        file.flush()
    opened = h5py.h5f.open

    def open_and_die(*given, **named):
        held = opened(*given, **named)  # a file that nothing holds is closed
        os._exit(int(held is None))

    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(h5py.h5f, "open", open_and_die)
        GrowingTrajectory(path)
    assert os.waitpid(pid, 0)[1] == 0
    assert read_trajectory_file(path).n_frames == 1
    cut(path, 0)
    assert read_trajectory_file(path).n_frames == 1


def test_finished_files_of_the_same_frames_have_the_same_bytes(tmp_path):
    contents = []
    for flush_every in (7, 1000):
        path = tmp_path / f"{flush_every}.h5"
        create(path, SPECIES, 1.0, "a run")
        with GrowingTrajectory(path) as file:
            for i, frame in enumerate(snapshots(300)):
                file.append(frame)
                if i % flush_every == 0:
                    file.flush()
            file.flush()
        compact(path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]
    assert same(read_trajectory(contents[0]), to_trajectory(snapshots(300), SPECIES, 1.0))


def test_what_is_no_trajectory_is_refused(tmp_path):
    (tmp_path / "t.h5").write_text("no")
    with pytest.raises(InputError, match="cannot read"):
        read_trajectory_file(tmp_path / "t.h5")


# -- one run in a folder ----------------------------------------------------------------


def test_a_run_in_a_folder_is_the_run_and_goes_on_when_called_again(tmp_path):
    how = protocol("npt", segment_steps=20)
    told = []
    whole = SingleRun(fcc(), how, seed=0, n_steps=60)
    part = SingleRun(fcc(), how, seed=0, n_steps=40)
    assert run_in_folder(tmp_path / "a", whole, Crystal(fcc()), tell=told.append).healthy
    assert [progress.frame.steps for progress in told] == list(range(5, 65, 5))
    assert told[-1].remaining_s == 0
    assert 1e-3 < told[-1].ns_per_day < 1e4
    for one in (part, whole, whole):
        assert run_in_folder(tmp_path / "b", one, Crystal(fcc())).healthy
    a, b = (tmp_path / name / "trajectory.h5" for name in "ab")
    assert a.read_bytes() == b.read_bytes()
    assert same(read_trajectory_file(a), frames_of(run(fcc(), how, 60)))
    with pytest.raises(InputError, match="another run"):
        run_in_folder(tmp_path / "a", SingleRun(fcc(), how, seed=1, n_steps=60), Crystal(fcc()))


@pytest.mark.parametrize("n_steps", [40, 60], ids=["finished", "unfinished"])
@pytest.mark.parametrize("began", ["a" * 64, None], ids=["another model", "no model noted"])
def test_a_folder_is_refused_to_another_model_than_began_it(tmp_path, began, n_steps):
    how = protocol(segment_steps=20)
    single = SingleRun(fcc(), how, seed=0, n_steps=40, model=began)
    run_in_folder(tmp_path, single, Crystal(fcc()))
    before = (tmp_path / "trajectory.h5").read_bytes()
    other = SingleRun(fcc(), how, seed=0, n_steps=n_steps, model="b" * 64)
    with pytest.raises(InputError, match="another run") as caught:
        run_in_folder(tmp_path, other, Crystal(fcc()))
    assert caught.value.facts["differs_in"] == "model"
    assert (tmp_path / "trajectory.h5").read_bytes() == before


def test_a_run_that_fails_in_a_folder_keeps_its_frames(tmp_path):
    single = SingleRun(fcc(), protocol(segment_steps=20), seed=0, n_steps=60)
    health = run_in_folder(tmp_path, single, Crystal(fcc(), break_after=14))
    assert (health.healthy, health.failed_step) == (False, 14)
    assert read_trajectory_file(tmp_path / "trajectory.h5").steps.tolist() == [0, 5, 10]


def test_a_second_run_in_a_folder_is_refused_while_the_first_one_runs(tmp_path):
    single, refused = SingleRun(fcc(), protocol(segment_steps=20), seed=0, n_steps=60), []

    def second(progress):
        if progress.frame.steps == 30:
            with pytest.raises(InputError, match="another process runs in this folder") as caught:
                run_in_folder(tmp_path, single, Crystal(fcc()))
            refused.append(caught.value.facts["pid"])

    assert run_in_folder(tmp_path, single, Crystal(fcc()), tell=second).healthy
    assert refused == [str(os.getpid())]
    assert read_trajectory_file(tmp_path / "trajectory.h5").steps.tolist() == [*range(0, 65, 5)]
    assert run_in_folder(tmp_path, single, Crystal(fcc())).healthy


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EACCES])
def test_a_file_system_without_locks_is_no_reason_not_to_run(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.fcntl, "flock", flock)
    single = SingleRun(fcc(), protocol(segment_steps=20), seed=0, n_steps=20)
    if number == errno.EACCES:
        with pytest.raises(PermissionError):
            run_in_folder(tmp_path, single, Crystal(fcc()))
    else:
        assert run_in_folder(tmp_path, single, Crystal(fcc())).healthy


def test_a_run_whose_frames_do_not_reach_its_checkpoint_is_refused(tmp_path):
    path, how = tmp_path / "trajectory.h5", protocol(segment_steps=20)
    run_in_folder(tmp_path, SingleRun(fcc(), how, seed=0, n_steps=43), Crystal(fcc()))
    assert run_in_folder(tmp_path, SingleRun(fcc(), how, 0, 60), Crystal(fcc())).healthy
    cut(path, 54)
    before = path.read_bytes()
    with pytest.raises(InputError, match="frames of this run are missing") as caught:
        run_in_folder(tmp_path, SingleRun(fcc(), how, 0, 80), Crystal(fcc()))
    assert (caught.value.facts["found"], caught.value.facts["before_the_checkpoint"]) == (11, 13)
    assert path.read_bytes() == before


def test_frames_without_a_checkpoint_are_not_written_over(tmp_path):
    path, single = tmp_path / "trajectory.h5", SingleRun(fcc(), protocol(), seed=0, n_steps=20)
    create(path, SPECIES, 1.0, "killed before its first checkpoint")
    assert run_in_folder(tmp_path, single, Crystal(fcc())).healthy
    (tmp_path / "checkpoint.safetensors").unlink()
    before = path.read_bytes()
    with pytest.raises(InputError, match="no checkpoint") as caught:
        run_in_folder(tmp_path, single, Crystal(fcc()))
    assert caught.value.facts["frames"] == 5
    assert path.read_bytes() == before


def test_a_run_that_is_longer_already_is_told_its_length(tmp_path):
    how = protocol(segment_steps=20, heating_steps=10)
    run_in_folder(tmp_path, SingleRun(fcc(), how, seed=0, n_steps=40), Crystal(fcc()))
    with pytest.raises(InputError, match="longer") as caught:
        run_in_folder(tmp_path, SingleRun(fcc(), how, seed=0, n_steps=25), Crystal(fcc()))
    ps = how.time_step_fs / 1000
    facts = caught.value.facts
    assert (facts["production_ps"], facts["asked_ps"]) == (f"{30 * ps:g}", f"{15 * ps:g}")


@pytest.mark.torture
def test_twenty_kills_at_random_moments_change_not_a_bit_of_an_npt_run(tmp_path):
    done = subprocess.run(
        [sys.executable, str(HARNESS), str(tmp_path), "2400", "20"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout)["states"]
    steps, frames = np.array(states).T
    assert len(states) == 20
    assert (np.diff(steps) >= 0).all()
    assert len(set(steps)) > 5  # kills fell all along the run
    assert 0 < steps.max() < 2400
    assert (frames[steps > 0] >= steps[steps > 0] // 5 + 1).all()  # files open, nothing is lost
    one, other = (tmp_path / name for name in ("reference", "killed"))
    for name in ("trajectory.h5", "checkpoint.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert read_trajectory_file(one / "trajectory.h5").steps.tolist() == list(range(0, 2405, 5))
    assert sorted(path.name for path in other.iterdir()) == [
        "checkpoint.safetensors",
        "lock",
        "trajectory.h5",
    ]


# -- export -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.extxyz", "t.traj", "t.lammpstrj", "XDATCAR"])
def test_other_programs_formats_give_the_frames_back(tmp_path, name):
    trajectory = to_trajectory(snapshots(40), SPECIES, 2.0)
    export_trajectory(trajectory, tmp_path / name)
    formats = {"t.lammpstrj": "lammps-dump-text", "XDATCAR": "vasp-xdatcar"}
    frames = ase.io.read(tmp_path / name, index=":", format=formats.get(name))
    assert len(frames) == 40
    unwrapped = trajectory.unwrapped_ang()
    assert unwrapped[-1, 0, 0] > 6.0  # out of the cell
    for i, atoms in enumerate(frames):
        assert tuple(atoms.symbols) == SPECIES
        lengths = np.linalg.norm(trajectory.cells_ang[i], axis=1)
        assert atoms.cell.lengths() == pytest.approx(lengths, rel=1e-5)
        assert atoms.cell.volume == pytest.approx(trajectory.volumes_ang3[i], rel=1e-5)
        if name == "XDATCAR":
            expected = trajectory.frac_coords[i] % 1  # the structure
            assert atoms.get_scaled_positions() == pytest.approx(expected, abs=1e-5)
        else:  # distances do not know how a box is turned
            between = unwrapped[i][:, None] - unwrapped[i]
            found = atoms.positions[:, None] - atoms.positions
            assert np.linalg.norm(found, axis=2) == pytest.approx(
                np.linalg.norm(between, axis=2), abs=1e-4
            )


def sheared(n):
    """Frames in a left-handed cell whose shape fluctuates; the first ion travels far."""
    first, rng = to_trajectory(snapshots(n), SPECIES, 2.0), np.random.default_rng(0)
    strain = 0.01 * rng.normal(size=(n, 3, 3))
    cells = first.cells_ang @ (np.eye(3) + (strain + strain.transpose(0, 2, 1)) / 2) * [1, 1, -1]
    frac = first.frac_coords + 0.003 * rng.normal(size=first.frac_coords.shape) + 0.01
    frac[:, 0] += np.arange(n)[:, None] * [0.21, -0.23, 0.14]
    return replace(first, cells_ang=cells, frac_coords=frac.astype(np.float32))


@pytest.mark.parametrize("name", ["t.lammpstrj", "XDATCAR"])
def test_every_frame_in_a_sheared_cell_is_the_structure_but_for_whole_cells(name, tmp_path):
    trajectory = sheared(40)
    export_trajectory(trajectory, tmp_path / name)
    found = read_any_trajectory(tmp_path / name, ReadingOptions(time_step_fs=2.0))
    for i, cell in enumerate(found.cells_ang):
        ours = trajectory.cells_ang[i]
        assert cell @ cell.T == pytest.approx(ours @ ours.T, rel=1e-5)
        still = (found.positions_ang[i, 1:] @ np.linalg.inv(cell)) - trajectory.frac_coords[i, 1:]
        assert still - np.rint(still) == pytest.approx(np.zeros((2, 3)), abs=1e-5)
    # an ion's displacement between two frames is that of its image in the cell
    frac, cells = trajectory.frac_coords[:, 0].astype(float), found.cells_ang
    image = np.floor(frac[:-1])
    moved = (frac[1:] - image)[:, None] @ cells[1:] - (frac[:-1] - image)[:, None] @ cells[:-1]
    assert np.diff(found.positions_ang[:, 0], axis=0) == pytest.approx(moved[:, 0], abs=1e-4)


def test_energies_and_times_go_along_where_the_format_has_room(tmp_path):
    trajectory = to_trajectory(snapshots(3), SPECIES, 2.0)
    for name in ("t.xyz", "t.traj"):
        export_trajectory(trajectory, tmp_path / name)
        last = ase.io.read(tmp_path / name, index=-1)
        assert last.get_potential_energy() == pytest.approx(trajectory.potential_energy_ev[-1])
        if name == "t.xyz":
            assert last.info["time_ps"] == pytest.approx(0.04)
            assert last.info["step"] == 20
            assert last.info["temperature_k"] == pytest.approx(trajectory.temperature_k[-1])


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InputError, match="unknown trajectory format"):
        export_trajectory(to_trajectory(snapshots(3), SPECIES, 2.0), tmp_path / "t.docx")
