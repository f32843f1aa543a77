"""What real VASP does beyond the failures' table: early ends, files left over, its own files."""

import shlex
import shutil
import sys
from pathlib import Path

import ase
import ase.io
import numpy as np
import pytest
from custodian.vasp.handlers import LargeSigmaHandler, VaspErrorHandler
from stand_in import STAND_IN, THEORY, salt

from lycb_flows.errors import LabelError, MachineError
from lycb_flows.labels.vasp import labeler as vasp, process as vasp_process
from lycb_flows.labels.vasp.inputs import vasp_inputs
from lycb_flows.labels.vasp.labeler import Vasp
from lycb_flows.labels.vasp.policy import ASKED, Inputs, find_changes
from lycb_flows.labels.vasp.process import Policed
from lycb_flows.labels.vasp.vasprun import answer_of, read_vasprun
from lycb_flows.machine.engines import Machine
from lycb_flows.testing.vasp_files import Outputs
from lycb_flows.testing.vasp_task import read_task
from lycb_flows.units import EV_PER_ANG3_GPA

REAL = Path(ase.__file__).parent / "test" / "testdata" / "vasp" / "vasprun_pstress.xml"


@pytest.fixture
def folder(tmp_path):
    """A folder whose VASP has begun to iterate, and counted no electrons yet."""
    vasp_inputs(THEORY, salt()).write(tmp_path, potcar=False)
    for name in ("INCAR", "KPOINTS", "POSCAR"):
        shutil.copy(tmp_path / name, tmp_path / f"{name}{ASKED}")
    Outputs(tmp_path, read_task(tmp_path), "toy-teacher").begin()
    return tmp_path


def test_edddav_in_the_first_iteration_is_repaired_though_custodian_stumbles(folder):
    (folder / "vasp.out").write_text("Error EDDDAV: Call to ZHEGV failed. Returncode =  12  2  24")
    bare = VaspErrorHandler()
    assert bare.check(directory=str(folder))
    with pytest.raises(TypeError, match="NoneType"):  # mended in custodian? then so is ours
        bare.correct(directory=str(folder))
    policed = Policed(VaspErrorHandler())
    assert policed.check(directory=str(folder))
    assert policed.correct(directory=str(folder))["errors"] == ["edddav"]
    changes = find_changes(Inputs.from_folder(folder, ASKED), Inputs.from_folder(folder))
    assert "ALGO: Normal -> All" in changes.allowed
    assert changes.physics == ()


def test_a_metal_by_accident_is_quarantined_by_its_entropy(folder):
    entropy_ev = -0.02 * len(salt().species)
    (folder / "OUTCAR").write_text(
        f"{(folder / 'OUTCAR').read_text()} Iteration   1(   1)\n  entropy T*S    EENTRO = "
        f"{entropy_ev:12.8f}\n--- aborting loop because EDIFF is reached ---\n"
    )
    before = (folder / "INCAR").read_text()
    policed = Policed(LargeSigmaHandler())
    assert policed.check(directory=str(folder))
    assert policed.correct(directory=str(folder))["actions"] is None
    assert policed.vetoes[0]["physics"][0].startswith("SIGMA: 0.05 -> 0.0")
    assert (folder / "INCAR").read_text() == before


@pytest.mark.usefixtures("quick_stand_in")
def test_results_of_a_run_that_went_wrong_do_not_pass_for_the_next_ones(tmp_path, monkeypatch):
    stand_in = shlex.join([sys.executable, "-m", "lycb_flows.testing.vasp"])
    script = tmp_path / "vasp"
    script.write_text(  # whole files and BRMIX at first; then it ends, content, without any
        f"#!/bin/sh\n[ -e ran ] && exit 0\n{stand_in}\ntouch ran\n"
        "echo ' BRMIX: very serious problems'\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(vasp, "command_of", lambda *_: str(script))
    monkeypatch.setattr(
        vasp, "run", lambda folder, request, **_: vasp_process.run_custodian(folder, request)
    )
    engine = Vasp(STAND_IN, Machine(vasp_scratch=tmp_path))
    with pytest.raises(LabelError, match=r"LeftOver: .* no vasprun\.xml"):
        engine.label(salt())


def test_a_command_that_srun_does_not_find_spends_no_try(tmp_path, monkeypatch):
    monkeypatch.setattr(vasp, "command_of", lambda *_: "env no_such_vasp")
    monkeypatch.setattr(
        vasp, "run", lambda folder, request, **_: vasp_process.run_custodian(folder, request)
    )
    with pytest.raises(MachineError, match=r"does not exist.*no_such_vasp") as caught:
        Vasp(STAND_IN, Machine(vasp_scratch=tmp_path)).label(salt())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("algo", "may"), [("All", True), ("Exact", False), ("None", False)])
def test_an_algorithm_that_does_not_iterate_to_self_consistency_is_physics(folder, algo, may):
    asked = Inputs.from_folder(folder)
    used = Inputs({**asked.incar, "ALGO": algo}, asked.kpoints, asked.poscar)
    assert (find_changes(asked, used).physics == ()) == may


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz"])
def test_a_file_that_is_not_packed_as_its_name_says_is_told(ending, tmp_path):
    path = tmp_path / f"vasprun.xml.{ending}"
    path.write_bytes(REAL.read_bytes())
    with pytest.raises(LabelError, match=r"no readable vasprun\.xml"):
        read_vasprun(path)


def test_real_vasps_stress_has_ases_sign_and_unit():
    """VASP 6.3's own file; ASE's reader knows nothing of ours."""
    answer = answer_of(read_vasprun(REAL).ionic_steps[-1])
    atoms = ase.io.read(REAL)
    stress = np.asarray(answer.stress_ev_per_ang3)
    assert np.abs(stress).max() * EV_PER_ANG3_GPA > 0.05
    assert stress == pytest.approx(atoms.get_stress(voigt=False), rel=1e-6, abs=1e-9)
    # PSTRESS is 1 kB here: VASP writes the enthalpy, and ASE takes P V off again
    pv_ev = 0.1 / EV_PER_ANG3_GPA * atoms.get_volume()
    energy_ev = atoms.get_potential_energy()
    assert answer.energy_ev - pv_ev == pytest.approx(energy_ev, abs=1e-6)
