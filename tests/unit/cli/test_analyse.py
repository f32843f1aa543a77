"""`lycb analyse`, and the same from Python."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from ase.io import write
from ase.io.cube import read_cube_data
from ase.units import Bohr
from messages import assert_one_line
from walk_files import DIFFUSIVITY_M2_PER_S, FRAME_FS, STEP_FS, walk, write_dump, write_walk

import lycb_flows as lf
from lycb_flows.config import DiffusionConfig, EnumerationConfig
from lycb_flows.crystals.structures import to_ase
from lycb_flows.errors import InputError
from lycb_flows.machine import progress
from lycb_flows.quantities import trajectory as places
from lycb_flows.quantities.trajectory import common_charge, find_carrier
from lycb_flows.units import nernst_einstein_ms_per_cm

KEYS = [
    "regime", "diffusivity_m2_per_s", "diffusivity_low_m2_per_s", "diffusivity_high_m2_per_s",
    "conductivity_ms_per_cm", "haven_ratio",
]  # fmt: skip


@pytest.fixture(scope="module")
def trajectory():
    return walk(n_frames=1000)


def numbers(result):
    code, printed, message = result
    assert code == 0, message
    (line,) = printed.splitlines()
    return json.loads(line)


def test_a_long_file_tells_how_far_it_is_and_a_short_one_nothing(
    lycb, trajectory, tmp_path, monkeypatch
):
    call = ("analyse", write_walk(trajectory, tmp_path / "run.extxyz"), "--time-step-fs", FRAME_FS)
    code, _, err = lycb(*call)
    assert (code, err) == (0, "")
    monkeypatch.setattr(progress, "EVERY_S", 0.0)
    assert re.search(r"^reading: \d+%, about \d+ s left$", lycb(*call)[2], re.MULTILINE)


def test_every_format_gives_the_same_numbers(lycb, trajectory, tmp_path):
    dump = write_dump(trajectory, tmp_path / "types.dump", "x y z ix iy iz", names="id type")
    calls = [
        (write_walk(trajectory, tmp_path / "run.h5"),),
        (write_walk(trajectory, tmp_path / "XDATCAR"), "--time-step-fs", FRAME_FS),
        (write_walk(trajectory, tmp_path / "run.extxyz"), "--time-step-fs", FRAME_FS),
        (dump, "--time-step-fs", STEP_FS, "--species", "Li, Y, Cl"),
    ]
    found = [numbers(lycb("analyse", *call, "--json", "--temperature-k", 600)) for call in calls]
    first = found[0]
    assert list(first) == KEYS
    assert first["regime"] == "diffusive"
    assert first["diffusivity_low_m2_per_s"] < DIFFUSIVITY_M2_PER_S
    assert first["diffusivity_high_m2_per_s"] > DIFFUSIVITY_M2_PER_S
    assert 0.5 < first["haven_ratio"] < 2
    volume = np.linalg.det(trajectory.cells_ang[0])
    assert first["conductivity_ms_per_cm"] == pytest.approx(
        nernst_einstein_ms_per_cm(first["diffusivity_m2_per_s"], 10 / volume, 600.0)
    )
    for other in found[1:]:
        assert other.pop("regime") == "diffusive"
        assert other == pytest.approx({name: first[name] for name in other}, rel=1e-3)


def test_the_table_begins_with_the_regime_and_figures_are_written(lycb, trajectory, tmp_path):
    path = write_dump(trajectory, tmp_path / "run.dump", "xu yu zu")
    out = tmp_path / "new" / "out"
    code, printed, _ = lycb("analyse", path, "--time-step-fs", STEP_FS, "--out", out)
    assert code == 0
    assert "10 Li of 20 atoms, 199.8 ps in frames every 0.2 ps" in printed
    rows = [line for line in printed.splitlines() if "│" in line]
    assert "regime" in rows[0]
    assert "diffusive" in rows[0]
    for words in ("give --temperature-k", "Haven ratio", "D along a, b, c", "+1 e", "per MD step"):
        assert words in printed
    assert (out / "msd.svg").read_text().lstrip().startswith("<?xml")
    stored = json.loads((out / "transport.json").read_text())
    assert stored["estimate"]["regime"] == "diffusive"
    assert stored["charge"]["resolved"]
    assert "run" not in stored
    assert (out / "density.svg").exists()
    from_cube, _ = read_cube_data(str(out / "density.cube"))
    volume_bohr3 = np.linalg.det(trajectory.cells_ang[0]) / Bohr**3
    assert from_cube.mean() * volume_bohr3 == pytest.approx(10, rel=1e-3)
    assert len(stored["lags_ps"]) == len(stored["msd_ang2"])


def test_where_nothing_moved_there_is_a_bound_and_no_conductivity(lycb, trajectory, tmp_path):
    still = replace(
        trajectory,
        frac_coords=np.concatenate(
            [trajectory.frac_coords[:, 10:], trajectory.frac_coords[:, 10:]], 1
        ),
    )
    path = write_walk(still, tmp_path / "run.h5")
    found = numbers(lycb("analyse", path, "--json"))
    assert found["regime"] in {"bound", "confined"}
    assert found["diffusivity_m2_per_s"] is None
    assert found["conductivity_ms_per_cm"] is None
    assert found["haven_ratio"] is None
    if found["regime"] == "bound":
        assert 0 < found["diffusivity_high_m2_per_s"] < DIFFUSIVITY_M2_PER_S / 10


def test_mistakes_are_told_in_one_line(lycb, trajectory, tmp_path):
    path = write_walk(trajectory.between(-1, 5000), tmp_path / "XDATCAR")
    assert_one_line(lycb("analyse", path), "no times", "--time-step-fs", "between stored frames")
    timed = ("analyse", path, "--time-step-fs", FRAME_FS)
    assert_one_line(lycb(*timed, "--mobile", "Na"), "Na", "found=Li,Y,Cl", "--mobile")
    assert_one_line(lycb(*timed, "--species", "Li,Xx"), "--species")
    assert_one_line(lycb(*timed, "--charge", 0), "--charge")
    assert_one_line(lycb("analyse", path, "--time-step-fs", -1), "above 0", "--time-step-fs")
    assert_one_line(lycb(*timed, "--start-ps", 9.5, "--stop-ps", 10), "too few frames")
    assert_one_line(lycb("analyse", tmp_path / "gone"), "cannot read the trajectory")


def test_python_reads_the_same_files(trajectory, tmp_path):
    path = write_dump(trajectory, tmp_path / "run.dump", "xs ys zs", names="id type")
    shares = []
    from_file = lf.analyse_diffusion(
        path,
        600.0,
        species="Li,Y,Cl",
        mobile="Li",
        charge=2,
        time_step_fs=STEP_FS,
        tell=shares.append,
    )
    from_memory = lf.analyse_diffusion(trajectory, 600.0, DiffusionConfig(discard_ps=0.0))
    assert from_file.estimate.diffusivity_m2_per_s == pytest.approx(
        from_memory.estimate.diffusivity_m2_per_s, rel=1e-4
    )
    assert from_file.charge.haven_ratio == pytest.approx(from_memory.charge.haven_ratio, rel=1e-3)
    assert from_file.conductivity_ms_per_cm == pytest.approx(
        4 * from_memory.conductivity_ms_per_cm, rel=1e-4
    )
    assert len(shares) > 10
    assert shares == sorted(shares)
    with pytest.raises(InputError, match="not at equal intervals"):
        lf.analyse_diffusion(replace(trajectory, steps=np.arange(1000) ** 2))


def test_a_part_of_a_trajectory_in_memory_is_that_of_its_file(trajectory, tmp_path):
    path = write_walk(trajectory, tmp_path / "run.h5")
    part = {"start_ps": 200 * FRAME_FS / 1000, "stop_ps": 900 * FRAME_FS / 1000}
    from_file, from_memory = (lf.analyse_diffusion(it, 600, **part) for it in (path, trajectory))
    assert from_memory.duration_ps == pytest.approx(from_file.duration_ps)
    assert from_memory.estimate.diffusivity_m2_per_s == pytest.approx(
        from_file.estimate.diffusivity_m2_per_s, rel=1e-4
    )
    assert from_memory.duration_ps < lf.analyse_diffusion(trajectory, 600).duration_ps
    with pytest.raises(InputError, match="no two frames"):
        lf.analyse_diffusion(trajectory, 600, start_ps=1e9)


@pytest.mark.parametrize(
    "options",
    [
        {"time_step_fs": 5.0},
        {"species": "Na,Y,Cl"},
        {"mobile": "Cl", "config": DiffusionConfig()},
        {"charge": 2, "config": DiffusionConfig()},
        *({"temperature_k": temperature_k} for temperature_k in (-600, 0, np.nan, np.inf)),
    ],
)
def test_an_option_that_could_have_no_effect_is_refused(options, trajectory):
    with pytest.raises(InputError, match=next(iter(options))):
        lf.analyse_diffusion(trajectory, **options)
    with pytest.raises(TypeError, match="nonsense"):
        lf.analyse_diffusion(trajectory, nonsense=1)


@pytest.mark.parametrize(
    ("symbol", "charge"),
    [
        ("Li", 1),
        ("Ag", 1),
        ("Cu", 1),
        ("Mg", 2),
        ("Y", 3),
        ("F", -1),
        ("Cl", -1),
        ("O", -2),
        ("S", -2),
    ],
)
def test_charges_are_the_common_ones(symbol, charge):
    assert common_charge(symbol) == charge


def test_what_is_not_plain_is_asked_for():
    with pytest.raises(InputError, match="--charge"):
        common_charge("Fe")
    for species in (("Li", "Na", "Cl"), ("La", "F"), ()):
        with pytest.raises(InputError, match="--mobile"):
            find_carrier(species)
    assert find_carrier(("Na", "Zr", "Cl")) == "Na"


# -- where the ions are ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chloride(tmp_path_factory):
    """The file of Li3YCl6 whose atoms stay where an ordering has them."""
    listing = lf.enumerate_orderings(
        lf.load_parent("Li3YCl6"), EnumerationConfig(supercell=(1, 1, 2))
    )
    start = to_ase(listing.structure(0))
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(400):
        atoms = start.copy()
        atoms.positions += rng.normal(0, 0.15, atoms.positions.shape)
        frames.append(atoms)
    path = tmp_path_factory.mktemp("chloride") / "run.extxyz"
    write(path, frames)
    return path


def test_occupancies_stand_beside_those_of_the_parents_cif(lycb, chloride, tmp_path):
    call = ("analyse", chloride, "--time-step-fs", FRAME_FS, "--parent", "Li3YCl6")
    code, printed, err = lycb(*call, "--out", tmp_path)
    assert code == 0, err
    assert "jumps lead through the crystal in 0 dimensions" in printed
    facts = json.loads((tmp_path / "sites.json").read_text())
    refined = {orbit["label"]: orbit["refined_occupancy"] for orbit in facts["orbits"]}
    assert refined == pytest.approx({"Li0": 0.8744, "Li1": 0.6256}, abs=1e-3)
    ions = {orbit["label"]: orbit["occupancy"] * orbit["n_sites"] for orbit in facts["orbits"]}
    assert sum(ions.values()) == pytest.approx(18)
    simulated = lf.load_parent(str(tmp_path / "sites.cif"))
    assert simulated.structure.composition.reduced_formula == "Li3YCl6"


def test_the_density_of_ions_without_sites_is_written(lycb, trajectory, tmp_path, monkeypatch):
    def find_none(*_):
        raise InputError("no ion ever comes to a site", fix="give more frames")

    monkeypatch.setattr(places, "analyse_sites", find_none)
    path = write_walk(trajectory, tmp_path / "run.h5")
    code, printed, err = lycb("analyse", path, "--out", tmp_path / "out")
    assert code == 0, err
    assert "No sites: no ion ever comes to a site" in printed
    assert (tmp_path / "out" / "density.cube").exists()
    assert list(json.loads((tmp_path / "out" / "sites.json").read_text())) == ["reason"]


def test_a_parent_that_is_not_the_simulated_crystals_is_one_line(
    lycb, chloride, trajectory, tmp_path
):
    step = ("--time-step-fs", FRAME_FS)
    assert_one_line(lycb("analyse", chloride, *step, "--parent", "no.cif"), "no such parent")
    cubic = write_walk(trajectory, tmp_path / "run.extxyz")
    found = lycb("analyse", cubic, *step, "--parent", "Li3YBr6")
    assert_one_line(found, "no multiple of the parent's cell", "Li3YBr6")
