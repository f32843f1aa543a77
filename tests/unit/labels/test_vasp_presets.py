"""Runs of VASP that others made with our inputs are at our level; any other number is not."""

import re
from pathlib import Path

import ase.io
import pytest
from pymatgen.io.vasp.outputs import Vasprun

from lycb_flows import schemas
from lycb_flows.campaign.importing import import_labels
from lycb_flows.crystals.structures import canonical_structure, load_parent
from lycb_flows.labels.foreign.stated_level import Statement, our_levels
from lycb_flows.labels.foreign.vasprun_level import NOT_PHYSICS
from lycb_flows.labels.theory import vasp_theory
from lycb_flows.labels.vasp.inputs import incar_of, vasp_inputs
from lycb_flows.store import open_store

# VASP 6.3's own file, as ASE ships it (see test_import.py); its INCAR, POTCAR titles and mesh are
# replaced by those of our inputs, as VASP would write them. Its numbers then belong to other inputs
ROCK_SALT = Path(ase.io.__file__).parents[1] / "test" / "testdata" / "vasp" / "vasprun_dfpt.xml"
LEVELS = [name.removeprefix("vasp/") for name in our_levels() if name.startswith("vasp/")]
TITLES = ("PAW_PBE Na 08Apr2002", "PAW_PBE Cl 06Sep2000")


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def rock_salt():
    run = Vasprun(ROCK_SALT, parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    return canonical_structure(run.final_structure)


def xml_of(name, value):
    if isinstance(value, bool):
        return f'<i type="logical" name="{name}"> {"T" if value else "F"} </i>'
    if isinstance(value, str):
        return f'<i type="string" name="{name}">{value}</i>'
    kind = ' type="int"' if isinstance(value, int) else ""
    return f'<i{kind} name="{name}"> {value} </i>'


def run_with(folder, level, *, titles=None, mesh=None, **changes):
    """vasprun.xml of rock salt with the inputs of a level, but for some."""
    theory = vasp_theory(level)
    inputs = vasp_inputs(theory, rock_salt())
    incar = {**inputs.incar, **changes}
    text = re.sub(
        r"<incar>.*?</incar>",
        lambda _: f"<incar>{''.join(xml_of(*item) for item in incar.items())}</incar>",
        ROCK_SALT.read_text(),
        flags=re.DOTALL,
    )
    text = re.sub(r'(name="ENMAX"> *)[\d.]+', rf"\g<1>{incar['ENCUT']}", text)
    divisions = " ".join(map(str, mesh or inputs.kpoint_mesh))
    text = re.sub(
        r'<generation param="Monkhorst-Pack">\s*<v type="int" name="divisions">[^<]*</v>',
        f'<generation param="Gamma"><v type="int" name="divisions"> {divisions} </v>',
        text,
    )
    ours = [theory.paw.of(element).title for element in ("Na", "Cl")]
    for old, new in zip(TITLES, titles or ours, strict=True):
        text = text.replace(old, new)
    path = folder / "vasprun.xml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("level", LEVELS)
def test_a_run_with_exactly_our_inputs_has_our_fingerprint(store, tmp_path, level):
    summary = import_labels(store, run_with(tmp_path, level))
    theory = vasp_theory(level)
    assert list(summary.levels) == [theory.fingerprint]
    assert summary.levels[theory.fingerprint].note == ""
    assert summary.new == [schemas.Label.key_of(rock_salt().key, theory.fingerprint)]
    label = store.load(schemas.Label, summary.new[0])
    assert label.theory_name == theory.name
    named = Statement(theory=f"vasp/{level}")
    again = import_labels(store, run_with(tmp_path, level), statement=named)
    assert again.known == summary.new


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ENCUT": 351.0}, "ENCUT 351"),
        ({"EDIFF": 1e-5}, "EDIFF 1e-05"),
        ({"ISMEAR": -5}, "ISMEAR -5"),
        ({"SIGMA": 0.1}, "SIGMA 0.1"),
        ({"ISPIN": 2}, "ISPIN 2"),
        ({"ISYM": 2}, "ISYM 2"),
        ({"PREC": "Normal"}, "PREC Normal"),
        ({"LREAL": True}, "LREAL True"),
        ({"LASPH": False}, "LASPH False"),
        ({"IVDW": 11}, "IVDW 11"),
        ({"LHFCALC": True}, "LHFCALC True"),
        ({"LSOMETHING": True}, "LSOMETHING"),
        ({"GGA": "PS"}, "GGA Ps for Pe"),
        ({"mesh": (3, 3, 4)}, "3x3x4"),
        ({"titles": ("PAW_PBE Na_pv 19Sep2006", "PAW_PBE Cl_h 08Apr2002")}, "POTCAR PAW_PBE Cl_h"),
    ],
)
def test_another_number_is_another_level_and_is_named(store, tmp_path, changes, words):
    path = run_with(tmp_path, "paper-static", **changes)
    (level,) = import_labels(store, path, dry_run=True).levels.values()
    assert level.fingerprint not in {one.fingerprint for one in our_levels().values()}
    assert level.note.startswith("not vasp/paper-static: ")
    assert words in level.note
    named = Statement(theory="vasp/paper-static")
    summary = import_labels(store, path, statement=named, dry_run=True)
    assert summary.new == []
    assert words in summary.refused[0].reason


def test_how_a_run_iterates_or_shares_its_work_does_not_matter(store, tmp_path):
    path = run_with(
        tmp_path, "paper-static", ALGO="Fast", NELM=200, NCORE=4, KPAR=2, LWAVE=True, LDAU=False
    )
    (level,) = import_labels(store, path, dry_run=True).levels.values()
    assert level.fingerprint == vasp_theory("paper-static").fingerprint


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("parent", ["Li3YCl6", "Li3YBr6"])
def test_every_line_of_our_inputs_is_compared_or_is_no_physics(level, parent):
    theory = vasp_theory(level)
    crystal = load_parent(parent).structure
    ordered = crystal.__class__.from_sites([one for one in crystal if one.is_ordered])
    incar = vasp_inputs(theory, canonical_structure(ordered)).incar
    assert set(incar) - NOT_PHYSICS <= set(incar_of(theory))
