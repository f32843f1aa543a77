"""Trajectories of other programs: the same walk from every format."""

import bz2
import gzip
import lzma
import math
from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.io import read, write
from ase.md.verlet import VelocityVerlet
from walk_files import DUMPS, FRAME_FS, SPECIES, STEP_FS, vasprun, walk, write_dump, write_walk

from lycb_flows.errors import InputError
from lycb_flows.md.foreign import ReadingOptions, as_unwrapped, read_any_trajectory
from lycb_flows.md.foreign.tables import TableError, TableReader
from lycb_flows.transport.msd import mean_squared_displacement, subtract_drift

FILES = {  # name -> option that its format needs
    "run.h5": None, "run.extxyz": None, "run.traj": None, "run.lammpstrj": STEP_FS,
    "XDATCAR": FRAME_FS, "vasprun.xml": None,
}  # fmt: skip


def read_walk(path, time_step_fs=None, **options):
    return read_any_trajectory(path, ReadingOptions(time_step_fs=time_step_fs, **options))


def msd(positions):
    framework = np.array(SPECIES) != "Li"
    return mean_squared_displacement(subtract_drift(positions, framework)[:, ~framework])


def assert_same_walk(found, trajectory, atol=2e-3):
    """Equal displacements, but for the orientation of the cell."""
    expected = trajectory.unwrapped_ang()
    assert found.species == SPECIES
    assert found.positions_ang.shape == expected.shape
    assert found.frame_interval_ps == pytest.approx(FRAME_FS / 1000)
    np.testing.assert_allclose(msd(found.positions_ang), msd(expected), rtol=1e-4, atol=atol)
    np.testing.assert_allclose(
        np.linalg.det(found.cells_ang), np.linalg.det(trajectory.cells_ang), rtol=1e-6
    )


@pytest.mark.parametrize("breathes", [False, True], ids=["nvt", "npt"])
@pytest.mark.parametrize("name", FILES)
def test_a_walk_is_the_same_from_every_format(name, breathes, tmp_path):
    trajectory = walk(breathes=breathes)
    found = read_walk(write_walk(trajectory, tmp_path / name), FILES[name])
    assert_same_walk(found, trajectory)


@pytest.mark.parametrize("breathes", [False, True], ids=["nvt", "npt"])
@pytest.mark.parametrize("columns", DUMPS)
def test_every_kind_of_lammps_dump_gives_the_walk(columns, breathes, tmp_path):
    trajectory = walk(breathes=breathes)
    path = write_dump(trajectory, tmp_path / "dump.walk", columns)
    assert_same_walk(read_walk(path, STEP_FS), trajectory)


def test_types_are_named_by_the_user(tmp_path):
    trajectory = walk(n_frames=50)
    path = write_dump(trajectory, tmp_path / "types.dump", "xu yu zu", names="id type")
    assert_same_walk(read_walk(path, STEP_FS, species=("Li", "Y", "Cl")), trajectory)
    for species in (None, ("Li", "Y"), ("Li", "Y", "Halide")):
        with pytest.raises(InputError, match="--species"):
            read_walk(path, STEP_FS, species=species)


def test_a_box_of_three_vectors_and_a_plain_box_are_read(tmp_path):
    """ITEM: BOX BOUNDS abc origin, and without tilt; times from ITEM: TIME with known units."""
    general, plain = tmp_path / "general.dump", tmp_path / "plain.dump"
    frames = [
        f"ITEM: TIMESTEP\n{k}\nITEM: TIME\n{k * 0.5}\nITEM: NUMBER OF ATOMS\n1\n"
        "ITEM: BOX BOUNDS abc origin\n1 2 3 9\n0 5 0 9\n-1 0 6 9\n"
        f"ITEM: ATOMS id element xsu ysu zsu\n1 Li {k} 0 0\n"
        for k in range(3)
    ]
    general.write_text("ITEM: UNITS\nmetal\n" + "".join(frames))
    found = read_walk(general)
    np.testing.assert_allclose(found.positions_ang[:, 0], [[0, 0, 0], [1, 2, 3], [2, 4, 6]])
    assert found.frame_interval_ps == 0.5
    text = "".join(frames).replace(
        "abc origin\n1 2 3 9\n0 5 0 9\n-1 0 6 9", "pp pp pp\n0 4\n0 5\n1 7"
    )
    plain.write_text("ITEM: UNITS\nreal\n" + text)
    found = read_walk(plain)
    np.testing.assert_allclose(found.cells_ang[0], np.diag([4, 5, 6]))
    assert found.frame_interval_ps == pytest.approx(0.0005)


@pytest.mark.parametrize("columns", ["x y z", "xu yu zu"])
@pytest.mark.parametrize(
    ("title", "periodic"),
    [("xy xz yz", True), ("", True), ("xy xz yz pp pp pp", True), ("xy xz yz pp pp ff", False)],
)
def test_a_box_without_boundary_flags_is_periodic(title, periodic, columns, tmp_path):
    trajectory, path = walk(n_frames=50), tmp_path / "run.dump"
    text = write_dump(trajectory, path, columns).read_text()
    assert text.count(" xy xz yz pp pp pp\n") == 50
    path.write_text(text.replace(" xy xz yz pp pp pp\n", f" {title}".rstrip() + "\n"))
    found = read_walk(path, STEP_FS)
    assert any("does not repeat" in remark for remark in found.remarks) != periodic
    if periodic:
        assert_same_walk(found, trajectory)


def test_a_box_with_two_of_three_boundary_flags_is_damaged(tmp_path):
    path = write_dump(walk(n_frames=3), tmp_path / "run.dump", "xu yu zu")
    path.write_text(path.read_text().replace("yz pp pp pp", "yz pp pp"))
    with pytest.raises(InputError, match="a header of the LAMMPS dump is damaged"):
        read_walk(path, STEP_FS)


def test_packed_files_and_parts_are_read(tmp_path):
    trajectory = walk(n_frames=101)
    plain = write_walk(trajectory, tmp_path / "run.extxyz")
    packed = tmp_path / "run.extxyz.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    found = read_walk(packed, start_ps=4, stop_ps=16)
    assert len(found.positions_ang) == 61
    assert found.start_ps == pytest.approx(4.0)
    expected = trajectory.unwrapped_ang()[20:81]
    np.testing.assert_allclose(
        found.positions_ang - found.positions_ang[0], expected - expected[0], atol=1e-5
    )
    with pytest.raises(InputError, match=r"file_ps=0 to 20.*within the file"):
        read_walk(plain, start_ps=30)


@pytest.mark.parametrize("columns", ["xu yu zu", "x y z ix iy iz"])
@pytest.mark.parametrize("unit", ["nano", "electron", "si", "cgs", "micro", "lj"])
def test_a_dump_that_states_other_units_than_angstroms_is_refused(unit, columns, tmp_path):
    path = write_dump(walk(n_frames=20), tmp_path / "run.dump", columns)
    text = path.read_text()
    path.write_text(f"ITEM: UNITS\n{unit}\n{text}")
    message = refusal(path, STEP_FS)
    assert f"not in Å (units={unit})" in message
    assert "\n" not in message
    for known in ("metal", "real"):
        path.write_text(f"ITEM: UNITS\n{known}\n{text}")
        assert read_walk(path, STEP_FS).positions_ang.shape[0] == 20


@pytest.mark.parametrize("part", [(5, 4), (4, 4), (-5, None), (None, -1), (math.nan, None)])
def test_parts_that_are_none_are_refused_before_reading(part, tmp_path):
    with pytest.raises(InputError, match="at least 0, and --stop-ps after it"):
        read_walk(tmp_path / "absent.extxyz", start_ps=part[0], stop_ps=part[1])


def test_a_part_between_two_frames_tells_no_wrong_length_of_the_file(tmp_path):
    plain = write_walk(walk(n_frames=101), tmp_path / "run.extxyz")
    with pytest.raises(InputError, match="no two frames") as told:
        read_walk(plain, start_ps=4.05, stop_ps=4.15)
    assert "file_ps" not in str(told.value)


# -- times -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "value"), [("time", 1000.0), ("time", 1.0), ("time_fs", 1000.0)])
def test_times_of_extended_xyz_are_in_fs_or_ps(key, value, tmp_path):
    """A bare `time` is in ps where atoms would else be faster than any thermal motion."""
    path = tmp_path / "run.xyz"
    frames = read(write_walk(walk(n_frames=30), tmp_path / "own.extxyz"), ":")
    for number, atoms in enumerate(frames):
        atoms.info, atoms.calc = {key: number * 0.2 * value}, None
    write(path, frames, format="extxyz")
    assert read_walk(path).frame_interval_ps == pytest.approx(0.2)
    assert read_walk(path, 50.0).frame_interval_ps == pytest.approx(0.05)


def test_ase_dynamics_note_their_time_step(tmp_path):
    atoms = bulk("Ar", cubic=True) * 2
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104)
    path = tmp_path / "md.traj"
    VelocityVerlet(atoms, 2.5 * units.fs, trajectory=str(path), loginterval=4).run(12)
    assert read_walk(path).frame_interval_ps == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("incar", "interval_ps"),
    [
        ("IBRION=0 POTIM=2 NBLOCK=10 NSW=200", 0.02),
        ("IBRION=0 POTIM=2 NBLOCK=10 NSW=20", 0.002),
        ("IBRION=0 POTIM=2", 0.002),
        ("IBRION=2 POTIM=0.5", None),
    ],
)
def test_time_of_a_vasprun_is_potim_times_nblock(incar, interval_ps, tmp_path):
    path = tmp_path / "vasprun.xml"
    path.write_text(vasprun(walk(n_frames=20), incar))
    if interval_ps is None:
        with pytest.raises(InputError, match="give --time-step-fs"):
            read_walk(path)
    else:
        assert read_walk(path).frame_interval_ps == pytest.approx(interval_ps)


def test_temperature_of_a_vasprun_is_known_where_it_is_constant(tmp_path):
    path = tmp_path / "vasprun.xml"
    for incar, expected in (("TEBEG=700 TEEND=700", 700.0), ("TEBEG=300 TEEND=700", None)):
        path.write_text(vasprun(walk(n_frames=20), incar))
        assert read_walk(path, 200.0).temperature_k == expected


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "memory"])
def test_the_temperature_of_a_part_is_the_mean_over_its_frames(way, tmp_path):
    trajectory = walk(n_frames=101)
    trajectory = replace(trajectory, temperature_k=100.0 + np.arange(101) ** 2)
    path = write_walk(trajectory, tmp_path / "run.h5")
    for part in ((None, None, 0, 101), (4.0, None, 20, 101), (4.0, 16.0, 20, 81)):
        options = ReadingOptions(start_ps=part[0], stop_ps=part[1])
        in_memory = way == "memory"
        found = (as_unwrapped if in_memory else read_any_trajectory)(
            trajectory if in_memory else path, options
        )
        expected = trajectory.temperature_k[part[2] : part[3]].mean()
        assert found.temperature_k == pytest.approx(expected, rel=1e-12)


def refusal(path, *options, **more):
    with pytest.raises(InputError) as caught:
        read_walk(path, *options, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_uneven_frames_are_named(tmp_path):
    trajectory = walk(n_frames=60)
    steps = trajectory.steps.copy()
    steps[41:] += 300
    path = write_walk(replace(trajectory, steps=steps), tmp_path / "run.lammpstrj")
    message = refusal(path, STEP_FS)
    assert "not at equal intervals" in message
    assert "frame 42, step 4400 comes 400 steps after frame 41, others 100" in message
    assert "1 of 59 intervals" in message
    assert len(read_walk(path, STEP_FS, stop_ps=8.0).positions_ang) == 41


@pytest.mark.parametrize("name", ["run.lammpstrj", "run.extxyz", "XDATCAR", "run.traj", "run.h5"])
def test_repeated_frames_of_a_restarted_run_are_refused(name, tmp_path):
    trajectory = walk(n_frames=60)
    order = [*range(40), *range(30, 60)]
    repeated = replace(
        trajectory,
        **{
            field: getattr(trajectory, field)[order]
            for field in (
                "steps", "frac_coords", "cells_ang", "potential_energy_ev", "temperature_k",
                "stress_gpa",
            )
        },
    )  # fmt: skip
    path = write_walk(repeated, tmp_path / name)
    message = refusal(path, STEP_FS if name.endswith("lammpstrj") else FRAME_FS)
    assert "restarted run are repeated" in message
    assert "frame 41" in message


def test_jobs_joined_in_one_xdatcar_are_one_run(tmp_path):
    trajectory = walk(n_frames=60)
    whole = write_walk(trajectory, tmp_path / "XDATCAR").read_text()
    head, *configurations = whole.split("Direct configuration=")
    again = [f"{1 + k % 35:6d}" + text[text.index("\n") :] for k, text in enumerate(configurations)]
    joined = [head, *("Direct configuration=" + text for text in again)]
    joined.insert(36, head)
    path = tmp_path / "XDATCAR_joined"
    path.write_text("".join(joined))
    found = read_walk(path, FRAME_FS)
    assert_same_walk(found, trajectory)
    assert any("numbered anew after step 35" in remark for remark in found.remarks)


def test_frames_without_motion_are_no_repeats(tmp_path):
    """Walks on a lattice without vibration stand still in many frames."""
    trajectory = walk(n_frames=60)
    still = replace(trajectory, frac_coords=np.repeat(trajectory.frac_coords[::6], 6, axis=0))
    path = write_walk(still, tmp_path / "XDATCAR")
    assert len(read_walk(path, FRAME_FS).positions_ang) == 60


def cut_frame(text, n_atoms, *, words):
    """Return a file's text without the end of its last frame."""
    lines = text.splitlines(keepends=True)
    return "".join(lines[: -n_atoms // 2]) + lines[-1][:words]


@pytest.mark.parametrize("words", [0, 9])
@pytest.mark.parametrize("name", ["run.lammpstrj", "run.extxyz", "XDATCAR", "vasprun.xml"])
def test_a_last_frame_that_is_cut_off_can_be_left_out(name, words, tmp_path):
    path = write_walk(walk(n_frames=80), tmp_path / name)
    path.write_text(cut_frame(path.read_text(), len(SPECIES), words=words))
    option = {"run.lammpstrj": STEP_FS, "XDATCAR": FRAME_FS}.get(name)
    message = refusal(path, option)
    assert "ends within a frame" in message
    assert "--stop-ps 15.6" in message
    assert len(read_walk(path, option, stop_ps=15.6).positions_ang) == 79


def test_a_traj_that_is_cut_off_is_told(tmp_path):
    path = write_walk(walk(n_frames=80), tmp_path / "run.traj")
    path.write_bytes(path.read_bytes()[:40_000])
    message = refusal(path)
    assert "ends within a frame" in message
    last_ps = float(message.rsplit(" ", 1)[1])
    assert len(read_walk(path, stop_ps=last_ps).positions_ang) > 20


def test_a_packed_file_that_is_cut_off_is_told(tmp_path):
    text = write_walk(walk(n_frames=300), tmp_path / "XDATCAR").read_bytes()
    path = tmp_path / "XDATCAR.gz"
    path.write_bytes(gzip.compress(text)[:-2000])
    message = refusal(path, FRAME_FS)
    assert "ends within a frame" in message
    last_ps = message.rsplit(" ", 1)[1]
    assert len(read_walk(path, FRAME_FS, stop_ps=float(last_ps)).positions_ang) > 200


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("packed_as", PACKERS)
def test_a_packed_file_that_is_damaged_anywhere_is_told_in_one_line(packed_as, tmp_path):
    text = write_walk(walk(n_frames=30), tmp_path / "XDATCAR").read_bytes()
    whole = PACKERS[packed_as](text)
    path = tmp_path / f"run.xdatcar{packed_as}"
    messages = []
    for place in range(0, len(whole) - 60, len(whole) // 40):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        for content in (bytes(damaged), whole[:place]):
            path.write_bytes(content)
            try:
                read_walk(path, FRAME_FS)
            except InputError as err:  # anything else fails the test; not all bytes matter
                messages.append(str(err))
    assert len(messages) > 60
    assert not any("\n" in message for message in messages)
    path.write_bytes(whole[:5])
    assert "cannot read the trajectory" in refusal(path, FRAME_FS)
    assert "EOFError" in refusal(path, FRAME_FS)


def test_a_cut_last_number_is_noticed(tmp_path):
    path = write_walk(walk(n_frames=80), tmp_path / "XDATCAR")
    text = path.read_text()
    path.write_text(text.rstrip()[:-5])
    assert "ends within a frame" in refusal(path, FRAME_FS)
    path.write_text(text.rstrip())
    assert len(read_walk(path, FRAME_FS).positions_ang) == 80


def test_atoms_that_change_in_number_or_order_are_named(tmp_path):
    frames = read(write_walk(walk(n_frames=30), tmp_path / "own.extxyz"), ":")
    path = tmp_path / "run.extxyz"
    fewer = [*frames[:20], *(atoms[:-1] for atoms in frames[20:])]
    write(path, fewer)
    message = refusal(path)
    assert "number of atoms changes" in message
    assert "frame=21" in message
    other = [*frames[:20], *(atoms[::-1] for atoms in frames[20:])]
    write(path, other)
    assert "atoms change their order or element (frame=21" in refusal(path)
    shuffled = np.concatenate(
        [np.roll(np.flatnonzero(frames[0].symbols == x), 1) for x in ("Li", "Y", "Cl")]
    )
    write(path, [*frames[:20], *(atoms[shuffled] for atoms in frames[20:])])
    message = refusal(path)
    assert "atoms jump all at once" in message
    assert "frame 21" in message


def test_atoms_that_come_and_go_in_a_dump_are_named(tmp_path):
    path = write_dump(walk(n_frames=10), tmp_path / "run.dump", "xu yu zu")
    head, tail = path.read_text().split("ITEM: TIMESTEP\n700\n")
    path.write_text(head + "ITEM: TIMESTEP\n700\n" + tail.replace("\n20 3 Cl", "\n21 3 Cl"))
    assert "atoms come and go (step=700, id=21)" in refusal(path, STEP_FS)


def test_wrapped_frames_too_far_apart_are_refused(tmp_path):
    trajectory = walk(n_frames=200)
    fast = replace(trajectory, frac_coords=20 * trajectory.frac_coords)
    message = refusal(write_walk(fast, tmp_path / "XDATCAR"), FRAME_FS)
    assert "atoms move too far between frames" in message
    assert "of the steps of Li exceed 0.4 of the cell" in message


def test_unwrapped_frames_far_apart_are_kept(tmp_path):
    """Extended XYZ may be unwrapped; where it is, long steps are what they are."""
    trajectory = walk(n_frames=200)
    fast = replace(trajectory, frac_coords=8 * trajectory.frac_coords)
    found = read_walk(write_walk(fast, tmp_path / "run.extxyz"))
    np.testing.assert_allclose(found.positions_ang, fast.unwrapped_ang(), atol=1e-4)


def test_a_few_long_steps_are_told(tmp_path):
    trajectory = walk(n_frames=200)
    frac = trajectory.frac_coords.copy()
    frac[100:, 0] += 0.45
    found = read_walk(
        write_walk(replace(trajectory, frac_coords=frac), tmp_path / "XDATCAR"), FRAME_FS
    )
    assert any(remark.startswith("1 steps of Li exceed 0.4") for remark in found.remarks)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("run.xyz", "1\nProperties=species:S:1:pos:R:3\nLi 0 0 0\n", "has no cell"),
        ("run.xyz", '1\nLattice="5 0 0 0 5 0 0 0 5"\nXx 0 0 0\n', "species is no element"),
        ("run.xyz", '1\nLattice="5 0 0 0 5 0 0 0 5"\nLi 0 zero 0\n', "is damaged"),
        (
            "run.dump",
            "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\nmany\nITEM: ATOMS id\n",
            "is damaged",
        ),
        ("notes.txt", "hello\nworld\n", "format of the trajectory is not known"),
        ("vasprun.xml", "<?xml version='1.0'?><modeling></modeling>", "no whole frame"),
        ("XDATCAR", "LiCl\n1.0\n5 0 0\n0 5 0\n0 0 5\n1 1\nDirect\n", "--species Li,Y,Cl"),
        ("run.traj", "- of Ulm, but not really", "not a trajectory of ASE's"),
        ("run.h5", "\x89HDF", "cannot read a trajectory"),
    ],
)
def test_damaged_files_are_told_in_one_line(name, text, words, tmp_path):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=words) as caught:
        read_walk(path, 1.0)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    assert "cannot read the trajectory" in refusal(tmp_path / "gone.xyz")


# -- tables ------------------------------------------------------------------------------------


def test_numbers_in_fixed_and_free_columns_are_those_of_float():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(scale=30, size=(50, 3)), [[0.0, -0.5, 1e-8]]])
    fixed = "".join("Li{:16.8f}{:16.8f}{:16.8f}\n".format(*row) for row in values).encode()
    free = "".join("Li {:.6g}\t{!r} {:+.3e} \n".format(*map(float, row)) for row in values).encode()
    for table in (fixed, free):
        expected = [[float(word) for word in line.split()[1:]] for line in table.splitlines()]
        numbers, names = TableReader(len(values), 4, (1, 2, 3), 0).read([table, table])
        np.testing.assert_allclose(numbers, [expected] * 2, rtol=4e-16)
        assert names == [("Li",) * len(values)] * 2


@pytest.mark.parametrize(
    "word", ["4", "-4", "+4.", ".5", "-.5", "12345678901234567890", "1e-5", "nan"]
)
def test_odd_numbers_are_read(word):
    found = TableReader(1, 2, (0, 1)).read([f"1.0 {word}\n".encode()])[0][0, 0]
    np.testing.assert_allclose(found, [1.0, float(word)], rtol=4e-16)


@pytest.mark.parametrize("word", ["4-", "-", ".", "*.*", "1.2.3", "0.1-0.2", "--1", "1 2", ""])
def test_what_is_no_number_is_refused(word):
    with pytest.raises(TableError):
        TableReader(1, 2, (0, 1)).read([f"1.0 {word}\n".encode()])
