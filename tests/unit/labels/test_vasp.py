"""Labels by VASP, with the stand-in: runs, custodian, policy, parsing, failures are real."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from ase.stress import voigt_6_to_full_3x3_stress
from places import ROOT
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from pymatgen.io.vasp.outputs import Oszicar, Outcar, Vasprun
from stand_in import STAND_IN, THEORY, processes_in, run_stand_in, salt
from waiting import PATIENCE_S, wait_until

from lycb_flows.config import RelaxationConfig
from lycb_flows.crystals.structures import to_ase
from lycb_flows.errors import LabelError, MachineError
from lycb_flows.jobs.labelling import with_logs
from lycb_flows.labels import checks
from lycb_flows.labels.checks import checked_label
from lycb_flows.labels.relaxing import Relaxer, drive_fire
from lycb_flows.labels.theory import vasp_theory
from lycb_flows.labels.vasp import labeler as vasp, process as vasp_process, results as vasp_results
from lycb_flows.labels.vasp.inputs import vasp_inputs
from lycb_flows.labels.vasp.labeler import Vasp
from lycb_flows.labels.vasp.policy import Inputs, find_changes
from lycb_flows.labels.vasp.relaxing import largest_force, open_vasp
from lycb_flows.labels.vasp.vasprun import check_converged, read_vasprun
from lycb_flows.machine import bound_programs
from lycb_flows.machine.engines import Machine
from lycb_flows.machine.time_limits import call_within
from lycb_flows.machine.walltime import WALLTIME
from lycb_flows.potentials.toy import TOYS
from lycb_flows.schemas import Label
from lycb_flows.service.worker.signals import Interrupted, StopSignals
from lycb_flows.store import open_store
from lycb_flows.store.garbage import list_garbage
from lycb_flows.testing.vasp_failures import FAILURES
from lycb_flows.units import EV_PER_ANG3_GPA

DOCS = ROOT / "docs" / "vasp_failures.md"


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """Labels whose VASP runs in this process, without custodian."""
    monkeypatch.setattr(vasp, "run", run_stand_in)
    return Vasp(STAND_IN, Machine(vasp_scratch=tmp_path))


@pytest.fixture
def under_custodian(quick_stand_in, tmp_path, monkeypatch):  # noqa: ARG001 - the program is quick
    """Labels whose VASP is a process under custodian, which runs in this one."""
    monkeypatch.setattr(
        vasp, "run", lambda folder, request, **_: vasp_process.run_custodian(folder, request)
    )
    return Vasp(STAND_IN, Machine(vasp_scratch=tmp_path))


# -- what the stand-in writes, and what we read ---------------------------------------------------


def test_a_label_is_the_potentials_numbers_in_our_units_and_order(engine):
    structure = salt()
    label = engine.label(structure)
    (expected,) = TOYS["toy-teacher"].potential().predict([structure])
    assert label.energy_ev == pytest.approx(expected.energy_ev, abs=1e-7)
    assert np.array(label.forces_ev_per_ang) == pytest.approx(expected.forces_ev_per_ang, abs=1e-7)
    assert np.array(label.stress_gpa) == pytest.approx(expected.stress_gpa, abs=1e-7)
    assert np.abs(label.forces_ev_per_ang).max() > 0.1
    assert label.kpoint_mesh == THEORY.kpoints.mesh_for(structure.lattice_ang)
    assert label.theory == THEORY.fingerprint != vasp_theory("paper-static").fingerprint
    assert label.corrections == ()
    assert label.theory_name.startswith("vasp stand-in: a potential, not DFT")
    assert "stand-in" in label.warnings[0]
    assert "toy-teacher" in label.warnings[0]


def test_stress_is_the_strain_derivative_of_the_energy_tension_positive(engine):
    stress, step = np.array(engine.label(salt()).stress_gpa), 1e-3
    assert np.trace(stress) / 3 < -5.0  # compressed
    volume = to_ase(salt()).get_volume()
    shear = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]) / 2
    single = np.diag([1.0, 0.0, 0.0])
    for direction in (np.eye(3) / 3, single, shear):
        ahead, behind = (engine.label(salt(sign * step * direction)) for sign in (1, -1))
        slope_gpa = (ahead.energy_ev - behind.energy_ev) / (2 * step) / volume * EV_PER_ANG3_GPA
        assert float((stress * direction).sum()) == pytest.approx(slope_gpa, rel=0.02, abs=0.1)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the stand-in has run, and its inputs."""
    folder = tmp_path_factory.mktemp("vasp")
    inputs = vasp_inputs(THEORY, salt())
    inputs.write(folder, potcar=False)
    run_stand_in(folder)
    return folder, inputs


def test_pymatgen_reads_vasps_units_and_signs_in_every_file(finished):
    folder, inputs = finished
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = Vasprun(folder / "vasprun.xml", parse_potcar_file=False)
    (expected,) = TOYS["toy-teacher"].potential().predict([salt()])
    pressure_kb = np.trace(result.ionic_steps[-1]["stress"]) / 3
    assert pressure_kb == pytest.approx(-10 * np.trace(expected.stress_gpa) / 3, abs=1e-6)
    assert pressure_kb > 50
    outcar, oszicar = Outcar(str(folder / "OUTCAR")), Oszicar(folder / "OSZICAR")
    assert outcar.final_energy == pytest.approx(expected.energy_ev, abs=1e-7)
    assert outcar.final_fr_energy < outcar.final_energy
    assert float(oszicar.final_energy) == pytest.approx(expected.energy_ev, abs=1e-5)
    assert len(oszicar.electronic_steps[0]) == len(result.ionic_steps[0]["electronic_steps"])
    contcar = Poscar.from_file(folder / "CONTCAR", check_for_potcar=False)
    assert contcar.structure.matches(inputs.poscar.structure)
    assert result.converged
    assert result.incar["ENCUT"] == 350
    assert result.kpoints.kpts[0] == inputs.kpoint_mesh
    assert sum(result.actual_kpoints_weights) == pytest.approx(1.0)


def test_every_file_says_that_a_stand_in_wrote_it(finished):
    for name in ("vasprun.xml", "OUTCAR", "OSZICAR", "CONTCAR"):
        first_lines = (finished[0] / name).read_text()[:300]
        assert "stand-in" in first_lines, name


@pytest.mark.parametrize("optimizer", ["fire", "cg"])
def test_the_stand_in_relaxes_atoms_and_cell_step_by_step(tmp_path, optimizer):
    wish = RelaxationConfig(fmax_ev_per_ang=0.02, max_steps=150)
    inputs = vasp_inputs(THEORY, salt(), relaxation=wish, optimizer=optimizer)
    inputs.write(tmp_path, potcar=False)
    run_stand_in(tmp_path)
    result = read_vasprun(tmp_path / "vasprun.xml")
    energies = [step["e_0_energy"] for step in result.ionic_steps]
    assert result.converged_ionic
    assert 3 < len(energies) < 150
    assert energies[-1] < energies[0] - 0.1
    assert result.final_structure.volume > result.initial_structure.volume * 1.05
    assert np.abs(result.ionic_steps[-1]["forces"]).max() < 0.02
    assert len(Oszicar(tmp_path / "OSZICAR").ionic_steps) == len(energies)


# -- checks of what a run leaves ------------------------------------------------------------------


def change(text, before, after):
    assert before in text
    return text.replace(before, after)


def _last(text, before, after):
    head, found, tail = text.rpartition(before)
    assert found
    return head + after + tail


def in_step(text, before, after):
    start = text.index("<calculation>")
    changed, n_changes = re.subn(before, after, text[start:], count=1)
    assert n_changes
    return text[:start] + changed


def other_digit(found):
    return found[1] + str((int(found[2]) + 5) % 10)


CHECKS = {
    "program": (lambda t: change(t, ">vasp stand-in<", ">vasp<"), "another program.*found=vasp"),
    "version": (lambda t: change(t, ">6.0.0<", ">5.4.4<"), "another version of VASP.*5.4.4"),
    "title": (lambda t: change(t, "STAND-IN Li_sv none", "STAND-IN Li none"), "other POTCARs"),
    "cutoff": (
        lambda t: change(t, 'name="ENMAX">    350', 'name="ENMAX">    360'),
        "quarantined.*ENCUT.*360",
    ),
    "smearing": (
        lambda t: _last(t, 'name="SIGMA">      0.05', 'name="SIGMA">      0.20'),
        "quarantined.*SIGMA",
    ),
    "mesh": (lambda t: change(t, 'name="divisions">', 'name="divisions">9'), "quarantined.*points"),
    "truncated": (lambda t: t[: len(t) // 2], "no readable vasprun.xml"),
    "no step": (
        lambda t: t[: t.index("<calculation>")] + t[t.rindex("</calculation>") + 14 :],
        "no readable vasprun.xml",
    ),
    "moved": (
        lambda t: in_step(t, r'("positions">\s*<v>\s+-?0\.)(\d)', other_digit),
        "moved the atoms",
    ),
    "cell": (
        lambda t: in_step(t, r'("basis">\s*<v>\s+-?\d\.)(\d)', other_digit),
        "changed the cell",
    ),
    "no stress": (
        lambda t: change(t, '<varray name="stress">', '<varray name="virial">'),
        "missing=stress",
    ),
    "not finite": (
        lambda t: in_step(t, r'("stress">\s*<v>\s+)\S+', r"\g<1>NaN"), "not finite.*stress"
    ),
}  # fmt: skip


@pytest.fixture
def changed(finished, tmp_path):
    """A copy of the run, its vasprun.xml changed, as an answer."""
    folder, inputs = finished
    shutil.copytree(folder, tmp_path / "run")

    def read(edit):
        path = tmp_path / "run" / "vasprun.xml"
        path.write_text(edit(path.read_text()))
        found = vasp_results.read_static(tmp_path / "run", inputs)
        return checked_label(salt(), THEORY, found.answer, corrections=found.corrections)

    return read


@pytest.mark.parametrize("check", CHECKS)
def test_a_run_that_nobody_should_trust_is_no_label(changed, check):
    edit, words = CHECKS[check]
    with pytest.raises(LabelError, match=words) as caught:
        changed(edit)
    assert "\n" not in str(caught.value)


def test_what_was_not_changed_is_an_answer(changed):
    assert changed(str).corrections == ()


def test_vasps_own_file_is_no_label_of_the_stand_in_and_the_other_way_round(finished):
    folder, inputs = finished
    result = read_vasprun(folder / "vasprun.xml")
    vasp_results.check_program(result, inputs.theory)
    with pytest.raises(LabelError, match=r"another program.*stated=vasp, found=vasp stand-in"):
        vasp_results.check_program(result, vasp_theory("paper-static"))


@pytest.mark.parametrize(
    ("steps", "words"), [([-3.0, -3.1], "still changed"), ([-3.0] * 100, "have not converged")]
)
def test_electrons_that_are_not_at_rest_make_no_label(finished, steps, words):
    result = read_vasprun(finished[0] / "vasprun.xml")
    last = result.ionic_steps[-1]
    check_converged(result, last, 1e-6)
    last["electronic_steps"] = [{"e_fr_energy": one} for one in steps]
    with pytest.raises(LabelError, match=words):
        check_converged(result, last, 1e-6)


# -- the policy -----------------------------------------------------------------------------------


def asked(**incar):
    inputs = vasp_inputs(THEORY, salt())
    return Inputs({**inputs.incar, **incar}, inputs.kpoints, inputs.poscar)


def with_incar(inputs, **changes):
    both = {**inputs.incar, **changes}
    incar = {name: value for name, value in both.items() if value is not None}
    return Inputs(Incar.from_str(str(Incar(incar))), inputs.kpoints, inputs.poscar)


@pytest.mark.parametrize(
    "changes",
    [
        {"ALGO": "All", "ISEARCH": 1}, {"NELM": 200, "NELMDL": -6, "NELMIN": 8}, {"AMIX": 0.1},
        {"BMIX": 0.001, "AMIX_MAG": 0.8, "BMIX_MAG": 0.001}, {"AMIN": 0.01}, {"IMIX": 1},
        {"TIME": 0.5}, {"ICHARG": 2, "ISTART": 1}, {"NCORE": 2}, {"KPAR": 1}, {"LWAVE": True},
        {"EDIFF": 1e-7}, {"NBANDS": 40}, {"IBRION": 1, "POTIM": 0.3}, {"SYMPREC": 1e-8},
    ],
)  # fmt: skip
def test_how_electrons_are_iterated_may_change_and_is_told(changes):
    found = find_changes(asked(), with_incar(asked(), **changes))
    assert found.physics == ()
    assert {one.partition(":")[0] for one in found.allowed} == set(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"ENCUT": 351.0}, {"PREC": "Normal"}, {"ISMEAR": 2}, {"SIGMA": 0.2}, {"ISPIN": 2},
        {"ISYM": 2}, {"LREAL": "Auto"}, {"LREAL": None}, {"EDIFF": 1e-5}, {"ICHARG": 11},
        {"GGA": "PS"}, {"KSPACING": 0.3}, {"NGX": 40}, {"NELECT": 10.0}, {"LASPH": False},
        {"METAGGA": "R2SCAN"}, {"NOBODY": 1},
    ],
)  # fmt: skip
def test_what_decides_a_number_is_physics(changes):
    found = find_changes(asked(), with_incar(asked(), **changes))
    assert {one.partition(":")[0] for one in found.physics} == set(changes)


def test_symmetrys_precision_is_physics_where_symmetry_is_used():
    with_symmetry = asked(ISYM=2)
    assert find_changes(with_symmetry, with_incar(with_symmetry, SYMPREC=1e-8)).physics
    bands = asked(NBANDS=40)
    assert find_changes(bands, with_incar(bands, NBANDS=20)).physics


def test_mesh_and_structure_are_physics_unless_a_relaxation_goes_on():
    before = asked()
    mesh = Kpoints.monkhorst_automatic(before.kpoints.kpts[0])
    assert "KPOINTS" in find_changes(before, Inputs(before.incar, mesh, before.poscar)).physics[0]
    moved = Poscar(before.poscar.structure.copy().apply_strain(0.01, inplace=False))
    after = Inputs(before.incar, before.kpoints, moved)
    assert "POSCAR" in find_changes(before, after).physics[0]
    going_on = Inputs({**before.incar, "NSW": 9}, before.kpoints, before.poscar)
    found = find_changes(going_on, Inputs(going_on.incar, before.kpoints, moved))
    assert (found.physics, len(found.allowed)) == ((), 1)
    other = Poscar(before.poscar.structure.copy().replace_species({"Br": "Cl"}, in_place=False))
    assert "composition" in find_changes(going_on, Inputs(going_on.incar, None, other)).physics[-1]
    assert find_changes(before, before) == find_changes(going_on, going_on)


# -- failures, through custodian ------------------------------------------------------------------

REPAIRED = {
    "unconverged,once": ("ALGO: Normal -> All", "ISEARCH: unset -> 1"),
    "zbrent,once": ("EDIFF: 1e-06 -> 1e-07", "NELMIN: unset -> 8"),
    "edddav,once": ("ALGO: Normal -> All", "ISEARCH: unset -> 1"),
    "brmix,once": ("ISTART: unset -> 1",),
}
FAILED = {
    "brmix,always": "quarantined.*saw=brmix.*KPOINTS: Gamma .*-> Monkhorst",
    "dentet,once": "quarantined.*saw=dentet.*KPOINTS",
    "unconverged,always": "MaxCorrections.*saw=Unconverged",
    "zbrent,always": "VASP gave no label.*saw=zbrent",
    "edddav,always": "MaxCorrections.*saw=edddav.*ZHEGV",
    "killed,always": "killed or ran out of memory.*ended=killed by SIGKILL",
    "memory,always": "killed or ran out of memory.*saw=out_of_memory",
    "time,always": "ran out of time",
    "exit,always": "exit code 1.*ReturnCodeError",
    "truncated,always": "ValidationError.*VasprunXMLValidator",
    "no-stress,always": "no label without energy, forces and stress.*stress",
}
ELSEWHERE = {"disk", "hangs"}
"""The machine's fault; the time limit's work."""


def test_every_failure_of_the_stand_in_is_tried_and_documented():
    tried = {one.partition(",")[0] for one in (*REPAIRED, *FAILED)} | ELSEWHERE
    assert tried == set(FAILURES)
    told = DOCS.read_text()
    assert not [name for name in FAILURES if f"`{name}`" not in told]


@pytest.mark.parametrize("failure", REPAIRED)
def test_what_custodian_repairs_within_the_policy_is_a_label_that_tells_it(
    under_custodian, engine_label, monkeypatch, failure
):
    monkeypatch.setenv("LYCB_STAND_IN_FAILS", failure)
    label = under_custodian.label(salt())
    assert label.corrections == REPAIRED[failure]
    assert label.energy_ev == pytest.approx(engine_label.energy_ev, abs=1e-7)
    assert label.converged


@pytest.fixture
def engine_label(tmp_path):
    """The label of a run without trouble."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vasp, "run", run_stand_in)
        return Vasp(STAND_IN, Machine(vasp_scratch=tmp_path)).label(salt())


@pytest.mark.parametrize("failure", FAILED)
def test_what_custodian_cannot_repair_within_the_policy_is_a_reason(
    under_custodian, monkeypatch, tmp_path, failure
):
    most = 3 if failure.startswith("brmix") else 2  # 5, less time
    monkeypatch.setattr(vasp_process, "MAX_CORRECTIONS", most)
    monkeypatch.setenv("LYCB_STAND_IN_FAILS", failure)
    with pytest.raises(LabelError, match=FAILED[failure]) as caught:
        under_custodian.label(salt())
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())  # its folder is gone
    assert "vasprun.xml" in names_in(under_custodian.logs["vasp"])


def names_in(log):
    with tarfile.open(fileobj=io.BytesIO(log.content)) as tar:
        return tar.getnames()


def test_a_full_disk_is_the_machines_fault(under_custodian, monkeypatch):
    monkeypatch.setenv("LYCB_STAND_IN_FAILS", "disk,always")
    with pytest.raises(MachineError, match="disk is full where VASP runs"):
        under_custodian.label(salt())


def test_memory_is_saved_by_fewer_kpoints_at_a_time(tmp_path, under_custodian, monkeypatch):
    engine = Vasp(STAND_IN, Machine(vasp_scratch=tmp_path, vasp_kpar=2, vasp_waves=tmp_path / "w"))
    monkeypatch.setenv("LYCB_STAND_IN_FAILS", "memory,once")
    label = engine.label(salt())
    assert label.corrections == ("KPAR: 2 -> 1",)
    kept = {path.name for path in (tmp_path / "w" / label.key).iterdir()}
    assert kept == {"WAVECAR", "CHGCAR"}
    assert not {"WAVECAR", "CHGCAR", "POTCAR"} & set(names_in(engine.logs["vasp"]))
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert under_custodian.theory == engine.theory


# -- ends: of VASP with its job -------------------------------------------------------------------


@pytest.mark.usefixtures("quick_stand_in")
def test_a_label_that_takes_too_long_ends_vasp_and_custodian(tmp_path, monkeypatch):
    monkeypatch.setenv("LYCB_STAND_IN_FAILS", "hangs,always")
    engine = Vasp(STAND_IN, Machine(vasp_scratch=tmp_path, vasp_clean_up="never"))
    seen = []

    def look(*arguments):
        seen.extend(processes_in(tmp_path))
        return end_group(*arguments)

    end_group = bound_programs.end_group
    monkeypatch.setattr(bound_programs, "end_group", look)
    over = threading.Thread(target=_end_time_limit_when_vasp_hangs, args=(tmp_path,))
    over.start()
    with pytest.raises(LabelError, match="took too long"):
        call_within(PATIENCE_S, lambda: engine.label(salt()))
    over.join()
    assert len(seen) >= 4  # custodian, what binds VASP, VASP and its fork
    assert processes_in(tmp_path) == []
    assert "OUTCAR" in names_in(engine.logs["vasp"])
    assert len(list(tmp_path.iterdir())) == 1  # never cleaned up


def _end_time_limit_when_vasp_hangs(folder):
    wait_until(lambda: list(folder.glob("*/OUTCAR")))
    signal.setitimer(signal.ITIMER_REAL, 0.01)


@pytest.mark.usefixtures("quick_stand_in")
def test_a_vasp_that_hangs_is_seen_and_ended_by_custodian(tmp_path, monkeypatch):
    monkeypatch.setenv("LYCB_STAND_IN_FAILS", "hangs,always")
    monkeypatch.setattr(
        vasp,
        "run",
        lambda folder, request, **_: vasp_process.run_custodian(
            folder, request.model_copy(update={"monitor_s": 0.4})
        ),
    )
    engine = Vasp(STAND_IN, Machine(vasp_scratch=tmp_path, vasp_frozen_s=2.0))
    with pytest.raises(LabelError, match=r"ended=killed by SIGTERM.*saw=Frozen job"):
        engine.label(salt())
    assert processes_in(tmp_path) == []


def test_a_workers_stop_ends_what_a_label_has_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(WALLTIME, "stop_reason", "")
    stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(999)"
    command = bound_programs.bound_command([sys.executable, "-c", stubborn], tmp_path / "e.json")
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with StopSignals() as stop, pytest.raises(Interrupted):
        stop.run_job(lambda _spec: bound_programs.run_bound(command), {})
    timer.join()
    wait_until(lambda: processes_in(tmp_path) == [os.getpid()])


def test_vasp_ends_with_a_parent_that_is_killed(tmp_path):
    program = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(999)"]
    command = bound_programs.bound_command(program, tmp_path / "e.json")
    code = f"import subprocess; subprocess.run({command!r})"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=tmp_path, text=True
    )
    assert parent.stdout.readline() == "up\n"
    assert len(processes_in(tmp_path)) == 3
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not processes_in(tmp_path))
    assert bound_programs.read_ended(tmp_path / "e.json").code == -signal.SIGTERM


def test_a_bound_program_says_how_a_program_ended(tmp_path):
    status = tmp_path / "ended.json"
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    for code, expected in (("raise SystemExit(3)", "exit code 3"), (killed, "killed by SIGKILL")):
        finished = bound_programs.run_bound(
            bound_programs.bound_command([sys.executable, "-c", code], status)
        )
        assert bound_programs.read_ended(status).how == expected
        assert finished.returncode != 0
    assert (
        bound_programs.run_bound(bound_programs.bound_command(["no-such-vasp"], status)).returncode
        == 127
    )


@pytest.mark.parametrize(("clean_up", "left"), [("always", 0), ("success", 1), ("never", 2)])
def test_folders_stay_or_go_as_the_machine_wants(engine, tmp_path, monkeypatch, clean_up, left):
    one = Vasp(STAND_IN, Machine(vasp_scratch=tmp_path / "here", vasp_clean_up=clean_up))
    assert one.label(salt()).key == engine.label(salt()).key
    monkeypatch.setattr(checks, "MAX_FORCE_EV_PER_ANG", 1e-3)
    with pytest.raises(LabelError, match="beyond all sense"):
        one.label(salt())
    assert len(list((tmp_path / "here").iterdir())) == left


# -- relaxations by VASP itself -----------------------------------------------------------------


@pytest.mark.parametrize(("optimizer", "name"), [("vtst", "FIRE.*IOPT=7"), ("cg", "IBRION=2")])
def test_vasp_relaxes_by_itself_to_where_fire_over_labels_comes(engine, tmp_path, optimizer, name):
    config = RelaxationConfig(fmax_ev_per_ang=0.02, max_steps=200)
    machine = Machine(vasp_scratch=tmp_path, vasp_optimizer=optimizer)
    relaxer = open_vasp(STAND_IN, machine)
    assert isinstance(relaxer, Relaxer)
    assert not isinstance(engine, Relaxer)
    found = relaxer.relax(salt(), config)
    driven = drive_fire(salt(), engine.label, config, THEORY)
    assert found.converged
    assert re.search(name, found.optimizer)
    assert found.energy_ev == pytest.approx(driven.energy_ev, abs=1e-3)
    assert found.static_energy_ev == pytest.approx(driven.static_energy_ev, abs=1e-6)
    assert found.energy_ev < found.static_energy_ev - 0.1
    assert found.max_force_ev_per_ang < 0.02
    assert found.structure.species == salt().species
    volumes = [to_ase(one.structure).get_volume() for one in (found, driven)]
    assert volumes[0] == pytest.approx(volumes[1], rel=5e-3)
    assert largest_force(salt(), engine.label(salt()), config) > 1
    assert {"vasp_first", "vasp_relax_1", "vasp_static_1"} <= set(relaxer.logs)
    with tarfile.open(fileobj=io.BytesIO(relaxer.logs["vasp_relax_1"].content)) as tar:
        incar = tar.extractfile("INCAR").read().decode()
    assert ("IOPT = 7" in incar) == (optimizer == "vtst")


def test_a_relaxation_that_runs_out_of_steps_says_how_far_it_came(engine, tmp_path):
    machine = Machine(vasp_scratch=tmp_path, vasp_optimizer="cg")
    found = open_vasp(STAND_IN, machine).relax(salt(), RelaxationConfig(max_steps=3))
    assert (found.converged, found.n_steps) == (False, 3)
    assert found.energy_ev < engine.label(salt()).energy_ev


# -- logs -----------------------------------------------------------------------------------------


@pytest.fixture
def tried(engine, tmp_path, monkeypatch):
    """A label that was made after a failure: (store, label's key, both attempts)."""
    store, structure = open_store(tmp_path / "store"), salt()
    store.insert_all([structure])
    key = engine.label(structure).key

    def compute():
        return with_logs(store, engine, lambda: engine.label(structure), limit_s=60.0)

    with monkeypatch.context() as patch:
        patch.setenv("LYCB_STAND_IN_FAILS", "no-stress,always")
        with pytest.raises(LabelError, match="stress"):
            store.once(Label, key, compute)
    store.once(Label, key, compute)
    yield store, key, store.attempts(key)
    monkeypatch.setenv("LYCB_KEEP_LOGS", "false")
    assert compute().made.logs == {}
    store.close()


def test_what_vasp_wrote_is_kept_with_labels_and_failures_and_is_no_fact(tried):
    store, key, (failed, done) = tried
    label = store.load(Label, key)
    assert (failed.outcome, done.outcome) == ("failed", "done")
    assert "logs" not in label.facts()
    assert label.made.logs == done.logs != failed.logs
    for one in (failed, done):
        with tarfile.open(fileobj=io.BytesIO(store.blobs.read(one.logs["vasp"]))) as tar:
            assert {"INCAR", "KPOINTS", "POSCAR", "vasprun.xml", "OUTCAR"} <= set(tar.getnames())


def test_logs_are_used_blobs_and_garbage_without_their_attempt(tried):
    store, _, (failed, done) = tried
    kept = {failed.logs["vasp"].sha256, done.logs["vasp"].sha256}
    assert {one.name for one in store.blobs.stored()} == kept
    soon = datetime.now(UTC) + timedelta(days=8)
    assert list_garbage(store, now=soon).blobs == ()
    store._db.execute("UPDATE attempts SET logs = '{}' WHERE id = ?", (failed.id,))
    (garbage,) = list_garbage(store, now=soon).blobs
    assert garbage.name == failed.logs["vasp"].sha256


def test_show_tells_the_logs_and_writes_them(tried, lycb, tmp_path):
    store, key, _ = tried
    code, out, _ = lycb("show", key, "--store", store.address, "--logs", tmp_path / "logs")
    assert code == 0
    assert len(re.findall(r"vasp \d+ kB", out)) == 2
    assert "without energy, forces and stress" in out
    assert len(list((tmp_path / "logs").glob(f"{key[:12]}_*_vasp.tar.gz"))) == 2
    store.retract(key, "to see a key that has only attempts")
    code, out, _ = lycb("show", key, "--store", store.address)
    assert (code, "Attempts" in out) == (0, True)


def test_a_store_from_before_there_were_logs_opens(tmp_path):
    store = open_store(tmp_path)
    store._db.execute("ALTER TABLE attempts DROP COLUMN logs")
    store.close()
    store = open_store(tmp_path)
    with pytest.raises(LabelError), store.attempt(Label, "k"):
        raise LabelError("failed", fix="none")
    (attempt,) = store.attempts("k")
    assert (attempt.outcome, attempt.logs) == ("failed", {})
    store.close()


def test_the_stress_of_a_calculator_is_turned_once(engine):
    atoms = to_ase(salt())
    atoms.calc = TOYS["toy-teacher"].potential().calculator()
    stress = voigt_6_to_full_3x3_stress(atoms.get_stress()) * EV_PER_ANG3_GPA
    assert np.array(engine.label(salt()).stress_gpa) == pytest.approx(stress, abs=1e-6)
