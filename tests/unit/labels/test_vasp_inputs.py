"""VASP's levels of theory and input files: each line with its source, POTCARs by title."""

import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import spglib
import yaml
from messages import assert_one_line
from monty.serialization import loadfn
from places import CAMPAIGNS, DATA
from pydantic import ValidationError
from pymatgen.core import SETTINGS
from pymatgen.io.vasp.inputs import POTCAR_STATS_PATH, Incar, Poscar
from pymatgen.io.vasp.sets import MPRelaxSet

from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import LabelConfig, RelaxationConfig, VaspLabeler
from lycb_flows.crystals.structures import structure_from_arrays
from lycb_flows.errors import InputError
from lycb_flows.labels.kpoints import heights_ang
from lycb_flows.labels.plane_waves import plane_wave_s
from lycb_flows.labels.theory import Potcars, Theory, gpaw_theory, vasp_theory
from lycb_flows.labels.vasp.inputs import MACHINE_KEYS, vasp_inputs
from lycb_flows.labels.vasp.installation import check_vasp, command_of
from lycb_flows.machine.settings import load_settings
from lycb_flows.schemas import CampaignRecord
from lycb_flows.store import open_store

EXPECTED = DATA / "vasp_inputs"
CITATION = re.compile(r'paper: "[^"]{10,}"(;.*)?|VASP default(;? .*)?|ours: .{10,}')
LEVELS = {  # name -> fingerprint; a level never changes, another one gets another name
    "paper-static": "f9561426d9ebd3dbaa58abe0cd46a1c74a7872afbd0efe1f2673284a9174d0b7",
    "paper-relax": "939359bc08a2990351247760255b22c201eaf3603617779d6f6d75aa79f3171e",
    "mp-compatible": "45d365dbeb874e1b0029ea538178b8dcbb7094f1598fa3016b336fa26df98b53",
}
CASES = [(level, name) for level in ("paper-static", "paper-relax") for name in ("LYC0", "LYB0")]


def crystal(name):
    """LYC0 or LYB0 as committed; how they were made stands in the file."""
    made = json.loads((EXPECTED / f"{name}.json").read_text())
    return structure_from_arrays(made["lattice_ang"], made["species"], made["frac_coords"])


def expectation(level, name):
    """File -> (line, citation) of every line that is expected in it."""
    files, lines = {}, []
    for line in (EXPECTED / f"{level}_{name}.txt").read_text().splitlines():
        if line.startswith("["):
            lines = files.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            found, _, citation = line.partition(" | ")
            lines.append((found, citation))
    return files


def written(inputs, folder):
    """File -> its lines, as VASP would read them."""
    assert inputs.write(folder, potcar=False) == ()
    names = ("INCAR", "KPOINTS", "POTCAR.spec")
    return {name: (folder / name).read_text().rstrip("\n").split("\n") for name in names}


# -- the files -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "name"), CASES)
def test_input_files_equal_the_expectation_line_by_line(level, name, tmp_path):
    expected = {
        file: [line for line, _ in lines] for file, lines in expectation(level, name).items()
    }
    theory, structure = vasp_theory(level), crystal(name)
    if level == "paper-relax":
        step = written(vasp_inputs(theory, structure), tmp_path / "step")
        assert step["INCAR"] == expected.pop("STEP/INCAR")
        inputs = vasp_inputs(theory, structure, relaxation=RelaxationConfig())
    else:
        inputs = vasp_inputs(theory, structure)
    assert written(inputs, tmp_path) == expected


@pytest.mark.parametrize(("level", "name"), CASES)
def test_every_expected_line_cites_the_paper_vasps_default_or_our_reason(level, name):
    files = expectation(level, name)
    assert {"INCAR", "KPOINTS", "POTCAR.spec"} <= files.keys()
    assert min(map(len, files.values())) >= 3
    for lines in files.values():
        for line, citation in lines:
            assert CITATION.fullmatch(citation), line


def test_the_paper_is_quoted_word_for_word():
    said = " ".join((EXPECTED / "paper.txt").read_text().partition("\n\n")[2].split())
    lines = {
        citation
        for level, name in CASES
        for file in expectation(level, name).values()
        for _, citation in file
    }
    quotes = {quote for citation in lines for quote in re.findall(r'paper: "([^"]+)"', citation)}
    assert len(quotes) >= 5
    assert [quote for quote in sorted(quotes) if quote not in said] == []


def test_lyc0_and_lyb0_are_the_papers_cells():
    for name, group, formula in (("LYC0", "P-3c1", "Li18Y6Cl36"), ("LYB0", "C2", "Li12Y4Br24")):
        structure = crystal(name)
        number = {symbol: i for i, symbol in enumerate(dict.fromkeys(structure.species))}
        numbers = [number[symbol] for symbol in structure.species]
        cell = structure.lattice_ang, structure.frac_coords, numbers
        assert spglib.get_spacegroup(cell, symprec=0.01).split()[0] == group
        counts = "".join(f"{one}{structure.species.count(one)}" for one in number)
        assert counts == formula


def test_the_papers_spacing_is_rounded_to_the_nearest_where_vasps_kspacing_rounds_up():
    rule = vasp_theory("paper-relax").kpoints
    for name, nearest, up in (("LYC0", (3, 3, 3), (4, 4, 3)), ("LYB0", (5, 3, 2), (5, 3, 3))):
        lattice_ang = crystal(name).lattice_ang
        assert rule.mesh_for(lattice_ang) == nearest
        wanted = [
            2 * np.pi / (height * rule.spacing_per_ang) for height in heights_ang(lattice_ang)
        ]
        assert tuple(np.ceil(wanted).astype(int)) == up


def test_atoms_are_sorted_for_vasp_and_their_order_leads_back(tmp_path):
    cell = crystal("LYB0")
    shuffled = np.random.default_rng(0).permutation(len(cell.species))
    structure = structure_from_arrays(
        cell.lattice_ang,
        [cell.species[i] for i in shuffled],
        [cell.frac_coords[i] for i in shuffled],
    )
    inputs = vasp_inputs(vasp_theory("paper-static"), structure)
    inputs.write(tmp_path, potcar=False)
    read = Poscar.from_file(tmp_path / "POSCAR", check_for_potcar=False)
    assert read.site_symbols == ["Li", "Y", "Br"]
    assert read.natoms == [12, 4, 24]
    assert inputs.potcar_spec == ("Li_sv", "Y_sv", "Br")
    assert sorted(inputs.order) == list(range(40))
    back = np.empty((40, 3))
    back[list(inputs.order)] = read.structure.frac_coords
    assert np.abs(back - np.array(structure.frac_coords)).max() < 1e-14
    assert tuple(structure.species[i] for i in inputs.order) == tuple(
        site.specie.symbol for site in read.structure
    )
    assert np.abs(read.structure.lattice.matrix - np.array(cell.lattice_ang)).max() < 1e-14


def test_a_machine_may_share_the_work_and_keep_files_but_change_no_number(tmp_path):
    theory, structure = vasp_theory("paper-static"), crystal("LYB0")
    plain = vasp_inputs(theory, structure).incar
    machine = {"NCORE": 4, "KPAR": 2, "LWAVE": True}
    assert machine.keys() <= MACHINE_KEYS
    shared = vasp_inputs(theory, structure, machine=machine)
    assert dict(shared.incar) == {**plain, **machine}
    assert shared.theory.fingerprint == theory.fingerprint
    shared.write(tmp_path, potcar=False)
    assert dict(Incar.from_file(tmp_path / "INCAR")) == dict(shared.incar)
    with pytest.raises(InputError, match=r"not the machine's to choose.*ENCUT"):
        vasp_inputs(theory, structure, machine={"ENCUT": 400})


def test_ncore_and_kpar_are_settings(monkeypatch):
    monkeypatch.setenv("LYCB_VASP_NCORE", "8")
    monkeypatch.setenv("LYCB_VASP_COMMAND", "srun vasp_std")
    machine = load_settings().machine
    assert machine.vasp_incar == {"NCORE": 8}
    assert machine.vasp_command == "srun vasp_std"
    monkeypatch.setenv("LYCB_VASP_KPAR", "0")
    with pytest.raises(InputError, match="vasp_kpar"):
        load_settings()


def test_vasps_own_relaxation_moves_what_is_asked_by_what_is_there():
    theory, structure = vasp_theory("paper-relax"), crystal("LYB0")
    config = RelaxationConfig(fmax_ev_per_ang=0.02, max_steps=7, relax_cell=False)
    incar = vasp_inputs(theory, structure, relaxation=config, optimizer="cg").incar
    assert (incar["IBRION"], incar["ISIF"], incar["NSW"], incar["EDIFFG"]) == (2, 2, 7, -0.02)
    assert "IOPT" not in incar
    assert vasp_inputs(theory, structure, relaxation=config).incar["IOPT"] == 7


# -- levels ----------------------------------------------------------------------------------------


def test_a_level_of_vasps_states_everything_and_is_raw_pbe():
    for level, fingerprint in LEVELS.items():
        theory = vasp_theory(level)
        assert {name for name, value in dict(theory).items() if value in (None, {})} == {"unknown"}
        assert theory.raw_pbe
        assert theory.fingerprint == fingerprint
        assert Theory.from_dict(theory.as_dict()) == theory
        assert Theory.from_dict(theory.as_dict()).fingerprint == fingerprint
    assert gpaw_theory("paper-static").fingerprint not in LEVELS.values()
    with pytest.raises(InputError, match=r"found=rehearsal.*VASP has paper-static"):
        vasp_theory("rehearsal")


def test_a_stand_ins_labels_are_of_another_theory_that_says_so():
    real, stand_in = (vasp_theory("paper-static", stand_in=one) for one in (False, True))
    assert real.fingerprint != stand_in.fingerprint
    assert "stand-in" in stand_in.name
    assert "not DFT" in stand_in.name
    assert not stand_in.raw_pbe
    files = [vasp_inputs(one, crystal("LYB0")) for one in (real, stand_in)]
    assert files[0].incar == files[1].incar


def test_versions_of_vasp_are_covered_by_their_major_number():
    theory = vasp_theory("paper-static")
    assert [theory.covers_version(one) for one in ("6", "6.4.2", "5.4.4", "60.1")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("level", "release"), [("paper-static", "PBE_54"), ("mp-compatible", "PBE")]
)
def test_potcars_are_mprelaxsets_with_titles_and_statistics_of_pymatgen(level, release):
    potcars = vasp_theory(level).paw
    assert potcars.release == release
    stats = loadfn(POTCAR_STATS_PATH)[release]
    chosen = MPRelaxSet.CONFIG["POTCAR"]
    for element in ("Li", "Y", "Cl", "Br", "O", "Fe"):
        stated = potcars.of(element)
        assert stated.symbol == chosen[element]
        (known,) = (
            one for one in stats[stated.title.replace(" ", "")] if one["symbol"] == stated.symbol
        )
        assert stated.statistics == known["stats"]["data"]
        assert stated.electrons == known["ZVAL"]
    with pytest.raises(InputError, match="no POTCAR of this element"):
        potcars.of("Og")


def test_a_changed_table_of_titles_is_refused():
    potcars = vasp_theory("paper-static").paw
    with pytest.raises(InputError, match="table of PAW data sets was changed"):
        potcars.model_copy(update={"table_sha256": "0" * 64}).of("Li")


def test_a_level_that_is_not_vasps_is_refused():
    with pytest.raises(InputError, match="not complete for VASP"):
        vasp_inputs(gpaw_theory("paper-static"), crystal("LYB0"))


# -- POTCARs, which are not ours to show: fakes with a title --------------------------------------

FAKE = """ {title}
 {electrons}
 parameters from PSCTR are:
   VRHFIN = {element}: a fake for tests, no data set of VASP's
   LEXCH  = PE
   TITEL  = {title}
   ZVAL   = {electrons}
   ENMAX  = 300.0; ENMIN = 200.0 eV
 END of PSCTR-controll parameters
 local part
  1.0 2.0 3.0
 End of Dataset
"""


@pytest.fixture
def potcars(tmp_path, monkeypatch):
    """A folder of fake POTCARs as `pmg config -p` makes it; returns a function that writes one."""
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", str(tmp_path / "potcars"))
    folder = tmp_path / "potcars" / "POT_GGA_PAW_PBE_54"

    def write(element, title=None):
        stated = vasp_theory("paper-static").paw.of(element)
        file = folder / stated.symbol / "POTCAR"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            FAKE.format(element=element, title=title or stated.title, electrons=stated.electrons)
        )
        return file

    return write


def test_a_potcar_of_the_right_title_and_unknown_numbers_is_a_warning(potcars, tmp_path):
    for element in ("Li", "Y", "Br"):
        potcars(element)
    inputs = vasp_inputs(vasp_theory("paper-static"), crystal("LYB0"))
    warnings = inputs.write(tmp_path / "run", potcar=True)
    assert len(warnings) == 3
    assert warnings[0].startswith("POTCAR PAW_PBE Li_sv 10Sep2004: its numbers are not")
    text = (tmp_path / "run" / "POTCAR").read_text()
    titles = [line.split("=")[1].strip() for line in text.splitlines() if "TITEL" in line]
    assert titles == ["PAW_PBE Li_sv 10Sep2004", "PAW_PBE Y_sv 25May2007", "PAW_PBE Br 06Sep2000"]
    assert text.count("End of Dataset") == 3
    assert not (tmp_path / "run" / "POTCAR.spec").exists()
    check_vasp(vasp_theory("paper-static"), ("Li", "Y", "Br"), command=sys.executable)


def test_a_potcar_is_identified_by_title_and_hash_without_being_shown(potcars):
    files = [potcars(element) for element in ("Li", "Y", "Br")]
    inputs = vasp_inputs(vasp_theory("paper-static"), crystal("LYB0"))
    identities = inputs.potcar_identities()
    for file, identity in zip(files, identities, strict=True):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in identity
    assert identities[0].startswith("PAW_PBE Li_sv 10Sep2004, SHA-256 ")
    files[0].write_text(files[0].read_text().replace("3.0\n End", "3.1\n End"))
    assert inputs.potcar_identities()[0] != identities[0]
    assert inputs.potcar_identities()[1:] == identities[1:]


def test_commands_that_need_no_vasp_do_not_import_its_side_of_pymatgen():
    code = "import sys, lycb_flows.campaign.submission; print('pymatgen.io.vasp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_potcar_whose_numbers_are_the_stated_ones_is_no_warning(potcars, tmp_path, monkeypatch):
    theory = vasp_theory("paper-static")
    for element in ("Li", "Y", "Br"):
        potcars(element)
    stated_of = Potcars.of
    of_1_2_3 = {"MEAN": 2.0, "ABSMEAN": 2.0, "VAR": 14 / 3, "MIN": 1.0, "MAX": 3.0}

    def of_the_fakes(self, element):
        return stated_of(self, element).model_copy(update={"statistics": of_1_2_3})

    monkeypatch.setattr(Potcars, "of", of_the_fakes)
    inputs = vasp_inputs(theory, crystal("LYB0"))
    assert inputs.write(tmp_path / "run", potcar=True) == ()
    file = potcars("Br")
    file.write_text(file.read_text().replace("3.0\n End", "3.001\n End"))
    (warning,) = inputs.write(tmp_path / "run", potcar=True)
    assert "PAW_PBE Br 06Sep2000" in warning


def test_another_title_is_refused_with_both(potcars, tmp_path):
    for element in ("Li", "Y", "Br"):
        potcars(element)
    potcars("Y", title="PAW_PBE Y_sv 06Sep2000")
    theory = vasp_theory("paper-static")
    inputs = vasp_inputs(theory, crystal("LYB0"))
    for refused in (
        lambda: check_vasp(theory, ("Li", "Y", "Br"), command=sys.executable),
        lambda: inputs.write(tmp_path / "run", potcar=True),
    ):
        with pytest.raises(InputError) as caught:
            refused()
        assert "stated=PAW_PBE Y_sv 25May2007, found=PAW_PBE Y_sv 06Sep2000" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "POTCAR").exists()


def refusal(theory, *elements, command=sys.executable):
    with pytest.raises(InputError) as caught:
        check_vasp(theory, elements, command=command)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_variable_may_hold_the_whole_command(potcars, monkeypatch):
    """The check and the run see the same words."""
    theory = vasp_theory("paper-static")
    potcars("Li")
    monkeypatch.setenv("SITE_VASP", f"{sys.executable} -n 4 vasp_std")
    check_vasp(theory, ("Li",), command="$SITE_VASP")
    assert command_of(theory, "$SITE_VASP") == f"{sys.executable} -n 4 vasp_std"
    assert "command=$NO_SUCH" in refusal(theory, "Li", command="$NO_SUCH")


def test_what_is_missing_is_said_in_one_line(potcars, monkeypatch):
    theory = vasp_theory("paper-static")
    potcars("Li")
    check_vasp(theory, ("Li",), command=sys.executable)
    assert "symbol=Y_sv, release=PBE_54" in refusal(theory, "Li", "Y")
    potcars("Y").write_text("nothing")
    assert "missing or unreadable" in refusal(theory, "Y")
    assert "no POTCAR of this element" in refusal(theory, "Og")
    assert "command=no_such_vasp -n 4" in refusal(theory, "Li", command="no_such_vasp -n 4")
    assert "LYCB_VASP_COMMAND" in refusal(theory, "Li", command=None)
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", "/no/such/folder")
    assert "folder=/no/such/folder" in refusal(theory, "Li")
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)
    assert "PMG_VASP_PSP_DIR is not set" in refusal(theory, "Li")


def test_the_stand_in_has_its_own_command_and_needs_no_potcars(monkeypatch):
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)
    stand_in = vasp_theory("paper-static", stand_in=True)
    check_vasp(stand_in, ("Li", "Y", "Br"), command=None)
    assert command_of(stand_in, "srun vasp_std").endswith("-m lycb_flows.testing.vasp")
    assert command_of(vasp_theory("paper-static"), "srun vasp_std") == "srun vasp_std"


# -- campaigns -------------------------------------------------------------------------------------


def campaign_of(folder, labeler):
    text = yaml.safe_load((CAMPAIGNS / "calculator.yaml").read_text())
    text["labels"]["labeler"] = labeler
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


def test_a_campaign_is_refused_before_anything_is_queued(lycb, tmp_path, potcars, monkeypatch):
    path = campaign_of(tmp_path, {"type": "vasp"})
    store = tmp_path / "store"
    monkeypatch.delenv("LYCB_VASP_COMMAND", raising=False)
    assert_one_line(lycb("run", path, "--store", store), "LYCB_VASP_COMMAND")
    monkeypatch.setenv("LYCB_VASP_COMMAND", "no_such_vasp")
    assert_one_line(lycb("run", path, "--store", store), "no_such_vasp")
    monkeypatch.setenv("LYCB_VASP_COMMAND", sys.executable)
    assert_one_line(lycb("run", path, "--store", store), "POTCAR is missing")
    potcars("Li", title="PAW_PBE Li 17Jan2003")
    for element in ("Y", "Br", "Cl"):
        potcars(element)
    assert_one_line(lycb("run", path, "--store", store), "stated=PAW_PBE Li_sv 10Sep2004")
    assert lycb("plan", path, "--store", tmp_path / "planned")[0] == 0  # it may run elsewhere
    assert_one_line(
        lycb("plan", campaign_of(tmp_path, {"type": "vasp", "theory": "sttic"}), "--store", store),
        "VASP has paper-static",
    )
    assert not list(open_store(store).find_all(CampaignRecord))


def test_the_plan_counts_points_and_plane_waves_and_says_whose_cost_it_is(
    tmp_path, potcars, monkeypatch
):
    monkeypatch.setenv("LYCB_VASP_COMMAND", sys.executable)
    for element in ("Li", "Y", "Br", "Cl"):
        potcars(element)
    store = open_store(tmp_path / "store")
    submission = submit(store, read_campaign(campaign_of(tmp_path, {"type": "vasp"})))
    assert submission.theory == vasp_theory("paper-static")
    steps = plan_campaign(store, submission.campaign, submission.theory)
    (labels,) = (step for step in steps if step.stage.startswith("r00") and "labels" in step.work)
    assert labels.work == "4 labels by vasp: PBE (paper-static), their cost taken to be GPAW's"
    assert labels.cpu_s == pytest.approx(4 * plane_wave_s(20, (3, 3, 3), 350.0), rel=1e-9)


def test_a_rehearsal_by_the_stand_in_is_planned_without_vasp(tmp_path, monkeypatch):
    monkeypatch.delenv("LYCB_VASP_COMMAND", raising=False)
    monkeypatch.setitem(SETTINGS, "PMG_VASP_PSP_DIR", None)
    store = open_store(tmp_path / "store")
    path = campaign_of(tmp_path, {"type": "vasp", "stand_in": True})
    submission = submit(store, read_campaign(path))
    assert submission.theory == vasp_theory("paper-static", stand_in=True)
    steps = plan_campaign(store, submission.campaign, submission.theory)
    (labels,) = (step for step in steps if step.stage.startswith("r00") and "labels" in step.work)
    assert "vasp stand-in: a potential, not DFT" in labels.work
    assert 0 < labels.cpu_s < 60


def test_a_labeler_of_vasps_is_a_config_that_survives_the_road_to_a_worker():
    config = LabelConfig(labeler={"type": "vasp"})
    assert config.labeler == VaspLabeler(theory="paper-static", stand_in=False)
    assert LabelConfig.from_dict(config.as_dict()) == config
    with pytest.raises(ValidationError):
        LabelConfig(labeler={"type": "vasp", "ENCUT": 400})
