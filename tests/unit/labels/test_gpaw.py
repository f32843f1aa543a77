"""Real DFT: GPAW's labels of small cells, and what happens when it cannot label."""

import io
import os
import sys
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from servers import not_run

from lycb_flows.config import EnumerationConfig, GpawLabeler
from lycb_flows.crystals.enumeration import enumerate_orderings
from lycb_flows.crystals.structures import canonical_structure, load_parent, to_pymatgen
from lycb_flows.errors import InputError, LabelError
from lycb_flows.labels.gpaw import installation as gpaw, labeler, process
from lycb_flows.labels.gpaw.installation import check_gpaw
from lycb_flows.labels.gpaw.labeler import Gpaw
from lycb_flows.labels.gpaw.process import gpaw_parameters
from lycb_flows.labels.theory import Convergence, gpaw_theory
from lycb_flows.machine.bound_programs import run_bound
from lycb_flows.units import EV_PER_ANG3_GPA


@pytest.fixture(scope="module")
def rehearsal():
    """GPAW at its cheapest level; `make test` installs it by scripts/install_gpaw.sh."""
    theory = gpaw_theory("rehearsal")
    try:
        check_gpaw(theory, ("Li", "Y", "Cl", "Br"))
    except InputError as err:
        not_run(err)
    return Gpaw(GpawLabeler(theory="rehearsal"))


def small_cell():
    """Li3YBr6 with 10 atoms, as refined."""
    listing = enumerate_orderings(load_parent("Li3YBr6"), EnumerationConfig(supercell=(1, 1, 1)))
    structure = to_pymatgen(listing.structure(1)).get_primitive_structure()
    return canonical_structure(structure)


def salt(strain=None):
    """LiBr, compressed, sheared and rattled; two atoms."""
    atoms = bulk("LiBr", "rocksalt", a=5.1)
    atoms.rattle(0.05, seed=1)
    shear = np.array([[0.0, 0.02, 0.0], [0.02, 0.0, 0.0], [0.0, 0.0, -0.02]])
    for one in (shear, strain if strain is not None else np.zeros((3, 3))):
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + one), scale_atoms=True)
    return canonical_structure(atoms)


@pytest.mark.torture
def test_a_real_label_of_li3ybr6(rehearsal):
    structure = small_cell()
    assert len(structure.species) == 10
    label = rehearsal.label(structure)
    # 2x2x2 is 2.7 meV/atom above 5x5x5, which has -3.65726 (GPAW 26.7, paper-static's cutoff)
    assert label.energy_ev / 10 == pytest.approx(-3.6545, abs=2e-4)
    assert np.abs(label.forces_ev_per_ang).max() == pytest.approx(0.69, abs=0.02)
    assert np.diag(label.stress_gpa) == pytest.approx([-0.93, -1.72, -1.43], abs=0.02)
    assert np.abs(np.sum(label.forces_ev_per_ang, axis=0)).max() < 0.02
    assert label.kpoint_mesh == (2, 2, 2)
    assert label.converged
    assert label.warnings == ()
    assert label.theory_name == "gpaw: PBE (rehearsal)"
    with tarfile.open(fileobj=io.BytesIO(rehearsal.logs["gpaw"].content)) as tar:
        assert b"Converged" in tar.extractfile("gpaw.txt").read()


@pytest.mark.torture
def test_stress_is_the_strain_derivative_of_the_energy_tension_positive(rehearsal):
    label = rehearsal.label(salt())
    stress, step = np.array(label.stress_gpa), 0.004
    assert np.trace(stress) / 3 < -5.0  # compressed
    volume = abs(np.linalg.det(salt().lattice_ang))
    shear = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]) / 2
    for direction in (np.eye(3) / 3, shear):
        ahead, behind = (rehearsal.label(salt(sign * step * direction)) for sign in (1, -1))
        assert ahead.kpoint_mesh == behind.kpoint_mesh == label.kpoint_mesh
        slope_gpa = (ahead.energy_ev - behind.energy_ev) / (2 * step) / volume * EV_PER_ANG3_GPA
        # at a fixed cutoff the derivative holds the Pulay stress, too: 0.03 GPa here
        assert float((stress * direction).sum()) == pytest.approx(slope_gpa, rel=0.02, abs=0.1)


def test_electrons_that_do_not_converge_make_no_label(rehearsal):
    hasty = Convergence(energy_ev_per_electron=1e-5, density_e_per_electron=1e-5, max_iterations=2)
    engine = Gpaw(GpawLabeler(theory="rehearsal"))
    engine.theory = rehearsal.theory.model_copy(update={"convergence": hasty})
    with pytest.raises(LabelError, match="have not converged") as caught:
        engine.label(salt())
    assert "\n" not in str(caught.value)


def test_a_process_that_dies_is_a_reason_and_not_the_workers_end(rehearsal, monkeypatch):
    killed = "import os, signal, sys; print('out of memory', file=sys.stderr, flush=True)"
    command = [sys.executable, "-c", f"{killed}; os.kill(os.getpid(), signal.SIGKILL)"]
    monkeypatch.setattr(labeler, "run_bound", lambda _c, **options: run_bound(command, **options))
    with pytest.raises(LabelError, match=r"exit_status=-9.*out of memory") as caught:
        rehearsal.label(salt())
    assert "\n" not in str(caught.value)


@pytest.mark.torture
def test_a_launcher_starts_it_and_needs_a_gpaw_with_mpi(rehearsal, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where ranks on other machines see it
    ran = []
    monkeypatch.setattr(
        labeler, "run_bound", lambda c, **options: ran.append(c) or run_bound(c, **options)
    )
    engine = Gpaw(GpawLabeler(theory="rehearsal"), launcher="nice -n 1")
    with pytest.raises(InputError, match=r"not built with MPI.*LYCB_GPAW_LAUNCHER"):
        engine.label(salt())
    assert ran[0][5:9] == ["nice", "-n", "1", sys.executable]  # behind what binds it
    assert str(tmp_path) in ran[0][-1]
    assert rehearsal.label(salt()).converged


# -- without GPAW ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_failing", [0, 1, 2])
def test_the_slower_solver_is_tried_where_the_faster_does_not_converge(
    n_failing, monkeypatch, tmp_path
):
    tried = []

    def answer(calculator, _structure):
        tried.append(calculator["eigensolver"])
        if len(tried) <= n_failing:
            raise ArithmeticError
        return "an answer"

    fake = SimpleNamespace(GPAW=dict, ConvergenceError=ArithmeticError)  # GPAW may not be here
    monkeypatch.setitem(sys.modules, "gpaw", fake)
    monkeypatch.setattr(process, "ask", answer)
    arguments = salt(), gpaw_theory("paper-static"), [3, 3, 3], tmp_path / "log"
    if n_failing == 2:
        with pytest.raises(LabelError, match="have not converged"):
            process.calculate(*arguments)
    else:
        assert process.calculate(*arguments) == "an answer"
    assert tried == ["rmm-diis", "davidson"][: n_failing + 1]


def test_the_preset_arrives_at_gpaw_as_its_own_keywords():
    parameters = gpaw_parameters(gpaw_theory("paper-static"), [3, 3, 3])
    assert parameters["mode"] == {"name": "pw", "ecut": 350.0}
    assert parameters["xc"] == "PBE"
    assert parameters["kpts"] == {"size": [3, 3, 3], "gamma": True}
    assert parameters["convergence"]["energy"] == 1e-5
    assert parameters["convergence"]["forces"] == 1e-3
    assert parameters["symmetry"] == {"point_group": False, "time_reversal": True}
    assert not parameters["spinpol"]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A machine whose GPAW has the stated version and whose data sets are in a folder."""
    monkeypatch.setattr(gpaw.metadata, "version", lambda _name: "26.7.3")
    monkeypatch.setattr(gpaw.util, "find_spec", lambda name: None if name == "gpaw_data" else name)
    monkeypatch.setenv("GPAW_SETUP_PATH", os.pathsep.join(["", str(tmp_path)]))
    return tmp_path


def test_another_version_or_data_set_or_none_is_refused(installed, monkeypatch):
    theory = gpaw_theory("paper-static")
    check_gpaw(theory, ())
    with pytest.raises(InputError, match=r"data set is missing.*Li\.PBE.*install_gpaw"):
        check_gpaw(theory, ("Li",))
    (installed / "Li.PBE").write_text("<another/>")
    with pytest.raises(InputError, match="not the stated one"):
        check_gpaw(theory, ("Li",))
    with pytest.raises(InputError, match="no PAW data set of this element"):
        check_gpaw(theory, ("Pu",))
    monkeypatch.setattr(gpaw.metadata, "version", lambda _name: "26.10.0")
    with pytest.raises(InputError, match=r"stated=26\.7.*installed=26\.10\.0"):
        check_gpaw(theory, ())
