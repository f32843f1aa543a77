"""Labels of others: units and signs, what is refused, what is unknown, and the way out again."""

import gzip
import json
import re
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from chgnet.data.dataset import StructureData, StructureJsonData
from chgnet.graph import CrystalGraphConverter
from messages import assert_one_line
from places import ROOT
from pymatgen.core.structure import Structure as PymatgenStructure
from pymatgen.io.ase import AseAtomsAdaptor

from lycb_flows import schemas
from lycb_flows.campaign.admission import has_another_mesh, named_imports
from lycb_flows.campaign.export import write_labels
from lycb_flows.campaign.importing import MAX_KEPT_BYTES, import_labels
from lycb_flows.campaign.rounds import refuse_mixture
from lycb_flows.crystals.structures import canonical_structure, to_ase
from lycb_flows.errors import InputError, LycbError
from lycb_flows.labels.foreign.stated_level import Statement
from lycb_flows.labels.theory import gpaw_theory
from lycb_flows.store import open_store
from lycb_flows.units import EV_PER_ANG3_GPA

LI3YBR6 = ROOT / "docs" / "dft_labels" / "li3ybr6_pbe.extxyz"
LI3YCL6 = LI3YBR6.with_name("li3ycl6_pbe.extxyz")
# VASP 6.3's own files, as ASE ships them among its tests (ase/test/testdata/vasp, LGPL):
# NaCl at 40.6 Å^3 per formula unit (PBE's is 46), and diamond under PSTRESS
VASP = Path(ase.__file__).parent / "test" / "testdata" / "vasp"
ROCK_SALT = VASP / "vasprun_dfpt.xml"
PAPER_STATIC = gpaw_theory("paper-static")
NOTHING_STATED = (
    "code", "convergence", "corrections", "cutoff_ev", "functional", "kpoints", "paw", "raw_pbe",
    "smearing", "spin", "symmetry", "version",
)  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


def squeezed_copper(strain=-0.03):
    """Atoms with EMT's numbers, and the mean stress that they must have (GPa, from energies)."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
    atoms.rattle(0.03, seed=1)
    energies = []
    for change in (-1e-4, 1e-4):
        other = atoms.copy()
        other.set_cell(atoms.cell * (1 + change), scale_atoms=True)
        other.calc = EMT()
        energies.append(other.get_potential_energy())
    slope = (energies[1] - energies[0]) / 2e-4 / (3 * atoms.get_volume()) * EV_PER_ANG3_GPA
    atoms.calc = EMT()
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(),
        "stress": atoms.get_stress(),
    }
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms, slope


def mptrj_frame(atoms):
    """As the Materials Project's trajectories have it: kB, compression positive."""
    return {
        "structure": AseAtomsAdaptor.get_structure(atoms).as_dict(),
        "energy_per_atom": atoms.get_potential_energy() / len(atoms) - 0.5,  # "corrected"
        "uncorrected_total_energy": atoms.get_potential_energy(),
        "force": atoms.get_forces().tolist(),
        "stress": (-10 * EV_PER_ANG3_GPA * atoms.get_stress(voigt=False)).tolist(),
        "magmom": None,
    }


def write_as(atoms, file_format, folder):
    if file_format == "mptrj":
        path = folder / "frames.json"
        path.write_text(json.dumps({"mp-30": {"mp-30-0-0": mptrj_frame(atoms)}}))
    elif file_format == "ase-db":
        path = folder / "frames.db"
        ase.db.connect(path).write(atoms, functional="EMT")
    else:
        path = folder / "frames.extxyz"
        ase.io.write(path, atoms)
    return path


def only_label(store):
    (label,) = store.find_all(schemas.Label)
    return label


# -- units and signs -----------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["extxyz", "ase-db", "mptrj"])
@pytest.mark.parametrize("strain", [-0.03, 0.03])
def test_the_stress_of_a_squeezed_crystal_is_negative_whatever_file_brings_it(
    store, tmp_path, file_format, strain
):
    atoms, mean_stress_gpa = squeezed_copper(strain)
    assert abs(mean_stress_gpa) > 5.0
    assert np.sign(mean_stress_gpa) == np.sign(strain)
    summary = import_labels(store, write_as(atoms, file_format, tmp_path))
    assert (len(summary.new), summary.known, summary.refused) == (1, [], [])
    label = only_label(store)
    assert np.trace(label.stress_gpa) / 3 == pytest.approx(mean_stress_gpa, rel=1e-4)
    assert label.energy_ev == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(label.forces_ev_per_ang, atoms.get_forces(), atol=1e-8)
    np.testing.assert_allclose(
        label.stress_gpa, atoms.get_stress(voigt=False) * EV_PER_ANG3_GPA, atol=1e-6
    )
    assert schemas.Label.model_validate(label.model_dump()) == label
    structure = store.load(schemas.Structure, label.structure)
    np.testing.assert_allclose(to_ase(structure).cell.array, atoms.cell.array, atol=1e-8)


def test_vasp_own_file_of_squeezed_rock_salt_has_its_numbers_and_our_signs(store):
    summary = import_labels(store, ROCK_SALT)
    label = only_label(store)
    assert summary.new == [label.key]
    assert label.energy_ev == pytest.approx(-6.74587304, abs=1e-8)
    np.testing.assert_allclose(label.stress_gpa, -3.608907525 * np.eye(3), atol=1e-8)
    assert label.kpoint_mesh == (3, 3, 3)
    theory = summary.levels[label.theory].theory
    assert (theory.code, theory.version, theory.functional) == ("vasp", "6.3", "PBE")
    assert (theory.cutoff_ev, theory.raw_pbe, theory.spin) == (400.0, True, "paired")
    assert theory.parameters["INCAR EDIFF"] == "1e-08"
    assert theory.parameters["POTCAR"] == "PAW_PBE Cl 06Sep2000, PAW_PBE Na 08Apr2002"
    assert not [name for name in theory.parameters if "LCHARG" in name or "NELM" in name]
    assert theory.unknown is None


# -- VASP ----------------------------------------------------------------------------------------


def edited(path, *changes):
    """ROCK_SALT with some text changed, for what VASP was not asked for."""
    text = ROCK_SALT.read_text()
    for old, new in changes:
        assert re.search(old, text, re.DOTALL)
        text = re.sub(old, new, text, flags=re.DOTALL)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_tree_of_runs_gives_its_good_ones_and_a_line_for_each_bad_one(lycb, tmp_path):
    tree = tmp_path / "runs"
    edited(tree / "good" / "vasprun.xml")
    edited(tree / "enthalpy" / "vasprun.xml", ('name="PSTRESS">[^<]*<', 'name="PSTRESS"> 5.0<'))
    edited(tree / "unconverged" / "vasprun.xml", ('name="NELM"> *100<', 'name="NELM"> 80<'))
    end = r"( </i>\s*<i name=\"e_wo_entrp\">[^<]*</i>\s*<i[^<]*</i>\s*</energy>\s*</scstep>\s*<str)"
    changing = (r"-6\.74587304" + end, r"-6.74587404\1")
    edited(tree / "changing" / "vasprun.xml", changing)
    edited(tree / "no stress" / "vasprun.xml", (r'<varray name="stress" >.*?</varray>', ""))
    program = 'name="program" type="string">'
    edited(tree / "stand-in" / "vasprun.xml", (f"{program}vasp", f"{program}stand-in of vasp"))
    (tree / "cut").mkdir()
    (tree / "cut" / "vasprun.xml.gz").write_bytes(gzip.compress(ROCK_SALT.read_bytes()[:50_000]))
    code, out, _ = lycb("import", "labels", tree)
    assert code == 0
    assert "runs: 1 imported, 0 already there, 6 refused" in out
    for name, reason in {
        "enthalpy/vasprun.xml": "enthalpies",
        "unconverged/vasprun.xml[0]": "have not converged",
        "changing/vasprun.xml[0]": "still changed in the last electronic step",
        "no stress/vasprun.xml[0]": "missing=stress",
        "stand-in/vasprun.xml": "no file of VASP's",
        "cut/vasprun.xml.gz": "no readable vasprun.xml",
    }.items():
        (line,) = [line for line in out.splitlines() if line.startswith(f"refused {name}")]
        assert reason in line
    assert "Traceback" not in out


def test_a_folder_without_runs_gives_its_extended_xyz_each_at_its_own_level(lycb, tmp_path):
    folder = tmp_path / "pool"
    folder.mkdir()
    (folder / "a.extxyz").write_bytes(LI3YBR6.read_bytes())
    write_as(squeezed_copper()[0], "extxyz", folder).rename(folder / "b.extxyz")
    code, out, _ = lycb("import", "labels", folder)
    assert code == 0
    assert out.splitlines()[-3:] == [
        f"a.extxyz ({PAPER_STATIC.name}): 28 imported, 0 already there, 0 refused",
        "b.extxyz (unknown code: unknown functional): 1 imported, 0 already there, 0 refused",
        "pool: 29 imported, 0 already there, 0 refused",
    ]
    again = json.loads(lycb("import", "labels", folder, "--json")[1])
    assert [len(file["known"]) for file in again["files"]] == [28, 1]
    assert list(again["files"][0]["levels"]) == [PAPER_STATIC.fingerprint]
    assert_one_line(lycb("import", "labels", folder, "--format", "vasp"), "no vasprun.xml")
    assert_one_line(lycb("import", "labels", folder, "--format", "ase-db"), "give the file")
    edited(folder / "run" / "vasprun.xml")
    assert "pool: 1 imported" in lycb("import", "labels", folder)[1]
    assert "a.extxyz" in lycb("import", "labels", folder, "--format", "extxyz")[1]


def test_all_steps_or_the_last(tmp_path):
    block = r"( *<calculation>.*</calculation>\n)"
    path = edited(
        tmp_path / "vasprun.xml", (block, lambda m: m.group().replace("36.08", "20.00") + m.group())
    )
    last, both = open_store(tmp_path / "last"), open_store(tmp_path / "both")
    assert len(import_labels(last, path).new) == 1
    np.testing.assert_allclose(only_label(last).stress_gpa[0][0], -3.608907525, atol=1e-8)
    # the same crystal cannot have two stresses: the second step is refused
    summary = import_labels(both, path, all_steps=True)
    assert len(summary.new) == 1
    (refusal,) = summary.refused
    assert refusal.place == 1
    assert "other numbers" in refusal.reason


def test_a_run_whose_cell_moved_is_another_level_than_a_static_one(store, tmp_path):
    block = r"( *<calculation>.*</calculation>\n)"
    moved_too = edited(
        tmp_path / "vasprun.xml",
        (block, lambda m: m.group() + m.group().replace("2.72739551", "2.80000000")),
    )
    (static,) = import_labels(store, ROCK_SALT).levels.values()
    (relaxed,) = import_labels(store, moved_too).levels.values()
    assert relaxed.theory.parameters["plane waves"] == "of the run's first cell"
    assert "plane waves" not in static.theory.parameters
    assert relaxed.fingerprint != static.fingerprint


def test_how_a_run_was_iterated_is_no_physics_and_its_cutoff_is(store, tmp_path):
    def fingerprint(folder, *changes):
        path = edited(tmp_path / folder / "vasprun.xml", *changes)
        (found,) = import_labels(store, path, dry_run=True).levels
        return found

    as_it_is = fingerprint("as it is")
    incar = "<incar>"
    more = ('<i type="string" name="ALGO">Fast</i>', '<i type="int" name="NCORE"> 4</i>')
    assert fingerprint("iterated", (incar, incar + "".join(more))) == as_it_is
    assert fingerprint("cutoff", ('name="ENMAX">[^<]*<', 'name="ENMAX"> 520.0<')) != as_it_is
    hybrid = r'<i (name="(AEXX|HFSCREEN)"|type="logical" name="LHFCALC")>[^<]*</i>'
    (level,) = import_labels(
        store, edited(tmp_path / "short" / "vasprun.xml", (hybrid, "")), dry_run=True
    ).levels.values()
    assert (level.theory.functional, level.theory.raw_pbe) == ("PBE", True)
    unheard = '<i name="LSOMETHING" type="logical"> T </i>'
    assert fingerprint("unheard", (incar, incar + unheard)) != as_it_is
    # the chosen POTCARs of a release are one level, whichever elements a run has
    ours = ("PAW_PBE Na 08Apr2002", "PAW_PBE Na_pv 19Sep2006")
    path = edited(tmp_path / "chosen" / "vasprun.xml", ours)
    (level,) = import_labels(store, path, dry_run=True).levels.values()
    assert level.theory.parameters["POTCAR"] == "MPRelaxSet's of PBE_54"


def test_a_level_that_is_stated_for_runs_of_vasp_must_be_theirs(lycb, tmp_path):
    fields = "{code: vasp, version: '6', functional: PBE, raw_pbe: true, cutoff_ev: %s}"
    (tmp_path / "mine.yaml").write_text(fields % 400)
    (tmp_path / "other.yaml").write_text(fields % 520)
    path = edited(tmp_path / "vasprun.xml")
    code, out, _ = lycb("import", "labels", path, "--theory", tmp_path / "other.yaml", "--json")
    assert code == 1
    assert "cutoff_ev: 520.0 and 400.0" in json.loads(out)["refused"][0]["reason"]
    code, out, _ = lycb("import", "labels", path, "--theory", tmp_path / "mine.yaml", "--json")
    assert (code, json.loads(out)["refused"]) == (0, [])


# -- what is stated, what is unknown -------------------------------------------------------------


def test_our_real_dft_labels_come_back_under_their_own_keys(store):
    summary = import_labels(store, LI3YBR6)
    written = [atoms.info["label"] for atoms in ase.io.read(LI3YBR6, ":")]
    assert sorted(summary.new) == sorted(written)
    assert len(written) == 28
    assert list(summary.levels) == [PAPER_STATIC.fingerprint]
    label = store.load(schemas.Label, written[0])
    assert label.theory_name == PAPER_STATIC.name
    assert label.kpoint_mesh == (3, 3, 3)
    refuse_mixture(store, written)


def test_labels_of_two_meshes_meet_where_one_rule_gives_both(store):
    bromides = import_labels(store, LI3YBR6, name="ten atoms").new
    chlorides = import_labels(store, LI3YCL6, name="ten and thirty atoms").new
    pool = gpaw_theory("paper-pool")
    thirty = []
    for key in chlorides:
        label = store.load(schemas.Label, key)
        if len(store.load(schemas.Structure, label.structure).species) == 30:
            thirty.append(label)
    assert len(thirty) == 3
    assert all(has_another_mesh(store, label, pool) for label in thirty)
    small = [*bromides, *(set(chlorides) - {label.key for label in thirty})]
    assert len(small) == 56
    assert not any(has_another_mesh(store, store.load(schemas.Label, one), pool) for one in small)

    # a label of the pool, of the 30-atom cell: where it is, 3x3x3 is no mesh for 30 atoms
    structure = store.load(schemas.Structure, thirty[0].structure)
    known = thirty[0].model_dump(exclude={"key", "theory", "kpoint_mesh"})
    coarse = schemas.Label(
        **known,
        key=schemas.Label.key_of(structure.key, pool.fingerprint),
        theory=pool.fingerprint,
        kpoint_mesh=pool.kpoints.mesh_for(structure.lattice_ang),
    )
    assert coarse.kpoint_mesh == (2, 2, 3)
    store.insert(coarse)
    refuse_mixture(store, [*small, coarse.key])
    for meshes in ([*small, thirty[0].key, coarse.key], [thirty[0].key, coarse.key]):
        with pytest.raises(LycbError, match="never meet"):
            refuse_mixture(store, meshes)


def test_a_campaign_may_import_a_level_that_differs_in_its_kpoints_alone(store):
    import_labels(store, LI3YBR6, name="ten atoms")
    theories = [gpaw_theory(level) for level in ("paper-pool", "paper-relax")]
    imports = named_imports(store, ("ten atoms",), theories[0], allow_unknown=False)
    assert len(imports) == 1
    with pytest.raises(InputError, match="never meet"):
        named_imports(store, ("ten atoms",), theories[1], allow_unknown=False)


def test_importing_again_adds_nothing(store, tmp_path):
    before = import_labels(store, LI3YBR6)
    facts = store.all_facts()
    again = import_labels(store, LI3YBR6)
    assert again.new == []
    assert again.known == before.new
    assert store.all_facts() == facts
    dry = open_store(tmp_path / "dry")
    assert import_labels(dry, LI3YBR6, dry_run=True).new == before.new
    assert dry.all_facts() == {}
    assert list(dry.blobs.stored()) == []


def test_a_label_tells_its_file_its_place_and_its_level(lycb, tmp_path):
    address = tmp_path / "store"
    assert lycb("import", "labels", LI3YBR6, "--store", address)[0] == 0
    store = open_store(address)
    (document,) = store.find_all(schemas.Import)
    assert store.blobs.read(document.content) == LI3YBR6.read_bytes()
    assert document.content.size < MAX_KEPT_BYTES
    assert document.content.sha256 == document.sha256
    assert document.statement == PAPER_STATIC.model_dump(mode="json")
    label = store.load(schemas.Label, document.labels[5])
    assert label.parents == (label.structure, document.key)
    out = lycb("show", label.key, "--ancestry", "--store", address)[1]
    assert "import li3ybr6_pbe.extxyz, frame 5" in out
    assert document.sha256[:12] in out


def test_what_nobody_states_is_unknown_and_is_no_level_of_ours(store, tmp_path):
    atoms, _ = squeezed_copper()
    path = write_as(atoms, "extxyz", tmp_path)
    import_labels(store, path, name="nothing")
    nothing = only_label(store)
    (document,) = store.find_all(schemas.Import)
    assert document.unknown == NOTHING_STATED
    assert nothing.warnings[-1] == f"unknown: {', '.join(NOTHING_STATED)}"
    some = Statement(code="vasp", version="6.4", functional="PBE", raw_pbe=True)
    (level,) = import_labels(store, path, statement=some).levels.values()
    assert set(level.unknown) == set(NOTHING_STATED) - {"code", "version", "functional", "raw_pbe"}
    assert level.fingerprint != nothing.theory
    full = Statement(theory="gpaw/paper-static")
    (level,) = import_labels(store, path, statement=full).levels.values()
    assert (level.fingerprint, level.unknown) == (PAPER_STATIC.fingerprint, ())
    assert len(list(store.find_all(schemas.Label))) == 3


def test_a_frame_that_names_its_level_is_refused_under_another(store):
    statement = Statement(theory="gpaw/mp-compatible")
    summary = import_labels(store, LI3YBR6, statement=statement)
    assert summary.new == []
    assert len(summary.refused) == 28
    assert len(import_labels(store, LI3YBR6, statement=Statement(functional="PBE")).new) == 28
    assert import_labels(store, LI3YBR6, statement=Statement(functional="PBEsol")).new == []
    for fingerprint in (PAPER_STATIC.fingerprint, gpaw_theory("mp-compatible").fingerprint):
        assert fingerprint in summary.refused[0].reason


# -- what is refused -----------------------------------------------------------------------------


def without(atoms, *names):
    results = {name: value for name, value in atoms.calc.results.items() if name not in names}
    other = atoms.copy()
    other.calc = SinglePointCalculator(other, **results)
    return other


def open_along_c(atoms):
    other = atoms.copy()
    other.pbc = (True, True, False)
    other.calc = atoms.calc
    return other


def hot(atoms):
    other = without(atoms)
    other.calc.results["forces"] = atoms.get_forces() + 1e3
    return other


def unfinished(atoms):
    other = without(atoms)
    other.info["converged"] = False
    return other


def test_each_frame_that_is_no_label_is_refused_with_its_reason(store, tmp_path):
    atoms, _ = squeezed_copper()
    frames = [
        without(atoms, "stress"),
        without(atoms, "forces"),
        open_along_c(atoms),
        hot(atoms),
        unfinished(atoms),
        atoms,
    ]
    path = tmp_path / "mixed.extxyz"
    ase.io.write(path, frames)
    summary = import_labels(store, path)
    assert len(summary.new) == 1
    reasons = {one.place: one.reason for one in summary.refused}
    assert sorted(reasons) == [0, 1, 2, 3, 4]
    assert "missing=stress" in reasons[0]
    assert "missing=forces" in reasons[1]
    assert "not periodic" in reasons[2]
    assert "beyond all sense (of=force" in reasons[3]
    assert "not converged" in reasons[4]
    assert all("\n" not in reason for reason in reasons.values())
    assert only_label(store).key == summary.new[0]


def test_a_broken_frame_of_json_does_not_take_the_others_along(store, tmp_path):
    atoms, _ = squeezed_copper()
    good = mptrj_frame(atoms)
    frames = {
        "torn": good | {"structure": {"lattice": 1}},
        "short": good | {"force": good["force"][:-1]},
        "words": good | {"stress": "none"},
        "good": good,
    }
    path = tmp_path / "some.json"
    path.write_text(json.dumps({"mp-30": frames}))
    summary = import_labels(store, path)
    assert len(summary.new) == 1
    assert [one.place for one in summary.refused] == [0, 1, 2]
    words = ("not pymatgen's JSON", "another shape", "not numbers")
    assert all(word in one.reason for word, one in zip(words, summary.refused, strict=True))


@pytest.mark.parametrize("suffix", [".extxyz", ".db", ".json", ".xml"])
def test_a_broken_file_names_itself_and_brings_nothing(lycb, tmp_path, suffix):
    atoms, _ = squeezed_copper()
    if suffix == ".xml":
        whole = ROCK_SALT
    else:
        formats = {".extxyz": "extxyz", ".db": "ase-db", ".json": "mptrj"}
        whole = write_as(atoms, formats[suffix], tmp_path)
    path = tmp_path / f"vasprun_broken{suffix}"
    torn = whole.read_bytes()
    path.write_bytes(torn[: len(torn) // 2] if suffix != ".db" else torn[100:])
    named = {".extxyz": "extxyz", ".db": "ase-db", ".json": "mptrj", ".xml": "vasp"}[suffix]
    code, out, err = lycb("import", "labels", path, "--format", named)
    assert code == 1
    words = "no readable vasprun.xml" if suffix == ".xml" else "unreadable"
    assert f"refused {path.name}: {words}" in out
    assert "0 imported, 0 already there, 1 refused" in out
    assert "Traceback" not in out + err
    assert open_store(tmp_path / "default").all_facts() == {}


def test_nothing_to_import_is_one_line(lycb, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "labels.txt").write_text("1 2 3")
    (tmp_path / "torn.yaml").write_text("code: [")
    assert_one_line(lycb("import", "labels", tmp_path / "nowhere"), "no such file")
    assert_one_line(lycb("import", "labels", tmp_path / "empty"), "vasprun.xml", "extxyz")
    assert_one_line(lycb("import", "labels", tmp_path / "labels.txt"), "--format")
    assert_one_line(lycb("import", "labels", LI3YBR6, "--format", "xyzzy"), "extxyz", "mptrj")
    assert_one_line(lycb("import", "labels", LI3YBR6, "--theory", "gpaw/none"), "paper-static")
    assert_one_line(lycb("import", "labels", LI3YBR6, "--theory", tmp_path / "torn.yaml"), "torn")
    both = ("--theory", "gpaw/paper-static", "--functional", "PBE")
    assert_one_line(lycb("import", "labels", LI3YBR6, *both), "not both")


def test_one_label_has_one_set_of_numbers(store, tmp_path):
    import_labels(store, LI3YBR6)
    frames = ase.io.read(LI3YBR6, ":")
    frames[3].calc.results["energy"] += 0.01
    frames[4].positions[0, 0] += 0.01
    frames[5].info["frac_coords"] = np.ravel(frames[6].info["frac_coords"])
    del frames[7].info["frac_coords"]
    path = tmp_path / "edited.extxyz"
    ase.io.write(path, frames)
    summary = import_labels(store, path)
    assert summary.new == []
    assert len(summary.known) == 24
    reasons = {one.place: one.reason for one in summary.refused}
    assert "other numbers" in reasons[3]
    assert "disagree" in reasons[4]
    assert "disagree" in reasons[5]
    assert "coordinates were rounded" in reasons[7]


# -- out again -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dft_store(tmp_path_factory):
    store = open_store(tmp_path_factory.mktemp("dft"))
    import_labels(store, LI3YBR6)
    return store


def numbers(label):
    return np.concatenate(
        [[label.energy_ev], np.ravel(label.forces_ev_per_ang), np.ravel(label.stress_gpa)]
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [("extxyz", "extxyz"), ("mace", "extxyz"), ("ase-db", "ase-db"), ("chgnet", "mptrj")],
)
def test_what_goes_out_comes_back_the_same(dft_store, tmp_path, written, read):
    path = tmp_path / "labels"
    assert write_labels(dft_store, path, file_format=written) == 28
    other = open_store(tmp_path / "other")
    summary = import_labels(other, path, file_format=read)
    assert summary.refused == []
    labels = {one.key: one for one in dft_store.find_all(schemas.Label)}
    assert sorted(summary.new) == sorted(labels)
    for key, label in labels.items():
        back = other.load(schemas.Label, key)
        np.testing.assert_allclose(numbers(back), numbers(label), rtol=0, atol=1e-8)
        assert back.kpoint_mesh == label.kpoint_mesh
        assert back.theory_name == label.theory_name


def test_chgnet_itself_reads_what_is_written_for_it(dft_store, tmp_path):
    path = tmp_path / "chgnet.json"
    write_labels(dft_store, path, file_format="chgnet")
    converter = CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3)
    data = StructureJsonData(str(path), graph_converter=converter, shuffle=False)
    assert len(data) == 28
    for i in (0, 17):
        _, targets = data[i]
        label = dft_store.load(schemas.Label, data.keys[i][0])
        n_atoms = len(label.forces_ev_per_ang)
        assert float(targets["e"]) == pytest.approx(label.energy_ev / n_atoms, abs=1e-6)
        np.testing.assert_allclose(targets["f"].numpy(), label.forces_ev_per_ang, atol=1e-6)
        np.testing.assert_allclose(targets["s"].numpy(), label.stress_gpa, atol=1e-5)
    frames = [next(iter(one.values())) for one in json.loads(path.read_text()).values()]
    listed = StructureData(
        structures=[PymatgenStructure.from_dict(one["structure"]) for one in frames],
        energies=[one["energy_per_atom"] for one in frames],
        forces=[one["force"] for one in frames],
        stresses=[one["stress"] for one in frames],
        graph_converter=converter,
        shuffle=False,
    )
    _, targets = listed[0]
    first = dft_store.load(schemas.Label, frames[0]["label"])
    np.testing.assert_allclose(targets["s"].numpy(), first.stress_gpa, atol=1e-5)


def test_mace_finds_its_keys_and_ase_reads_the_file(dft_store, tmp_path):
    path = tmp_path / "mace.extxyz"
    write_labels(dft_store, path, file_format="mace")
    for atoms in ase.io.read(path, ":"):
        label = dft_store.load(schemas.Label, atoms.info["label"])
        assert atoms.info["REF_energy"] == label.energy_ev
        np.testing.assert_allclose(atoms.arrays["REF_forces"], label.forces_ev_per_ang, atol=1e-8)
        stress_gpa = atoms.info["REF_stress"] * EV_PER_ANG3_GPA
        np.testing.assert_allclose(stress_gpa, label.stress_gpa, atol=1e-12)


def test_matgl_gets_structures_total_energies_and_gpa(dft_store, tmp_path):
    path = tmp_path / "matgl.json"
    write_labels(dft_store, path, file_format="matgl")
    content = json.loads(path.read_text())
    for i, crystal in enumerate(map(PymatgenStructure.from_dict, content["structures"])):
        label = dft_store.load(schemas.Label, content["notes"][i]["label"])
        assert canonical_structure(crystal).key == label.structure
        assert content["labels"]["energies"][i] == label.energy_ev
        assert np.shape(content["labels"]["forces"][i]) == (len(crystal), 3)
        np.testing.assert_array_equal(content["labels"]["stresses"][i], label.stress_gpa)


def alloy_in_two_orders():
    """EMT's numbers of one crystal, its atoms listed twice."""
    atoms, _ = squeezed_copper()
    atoms.symbols[0], atoms.symbols[2] = "Ni", "Ag"
    both = [atoms.copy(), atoms[[2, 0, 1, 3]]]
    for one in both:
        one.calc = EMT()
        one.get_stress()
    return both


@pytest.fixture
def deepmd(store, tmp_path):
    path = tmp_path / "frames.extxyz"
    ase.io.write(path, [squeezed_copper()[0], *alloy_in_two_orders()])
    assert len(import_labels(store, path).new) == 3
    write_labels(store, tmp_path / "deepmd", file_format="deepmd")
    return tmp_path / "deepmd"


def test_deepmd_gets_a_system_per_composition_its_atoms_in_one_order(deepmd):
    copper, mixed = deepmd / "Cu4", deepmd / "Ag1Cu2Ni1"
    assert sorted(deepmd.iterdir()) == [mixed, copper]
    assert (mixed / "type_map.raw").read_text().split() == ["Ag", "Cu", "Ni"]
    assert (mixed / "type.raw").read_text().split() == ["0", "1", "1", "2"]
    assert (copper / "type.raw").read_text().split() == ["1"] * 4
    arrays = {one.stem: np.load(one) for one in (mixed / "set.000").iterdir()}
    per_atom, per_cell = (2, 12), (2, 9)
    assert {name: array.shape for name, array in arrays.items()} == {
        "coord": per_atom, "force": per_atom, "box": per_cell, "virial": per_cell, "energy": (2,)
    }  # fmt: skip
    atoms = alloy_in_two_orders()[0]
    nickel, silver = atoms.get_forces()[[0, 2]]
    for forces in arrays["force"].reshape(2, 4, 3):
        np.testing.assert_allclose(forces[[0, 3]], [silver, nickel], atol=1e-7)
    np.testing.assert_allclose(arrays["energy"], atoms.get_potential_energy(), atol=1e-6)


def test_deepmds_virial_of_a_squeezed_crystal_is_positive(deepmd):
    virial_ev = np.load(deepmd / "Cu4" / "set.000" / "virial.npy").reshape(3, 3)
    squeezed, mean_stress_gpa = squeezed_copper()
    pushing_ev = -mean_stress_gpa / EV_PER_ANG3_GPA * squeezed.get_volume()
    assert pushing_ev > 1.0
    assert np.trace(virial_ev) / 3 == pytest.approx(pushing_ev, rel=1e-4)


def test_levels_do_not_mix_where_a_format_cannot_tell_them(lycb, tmp_path):
    store = tmp_path / "default"
    atoms, _ = squeezed_copper()
    lycb("import", "labels", LI3YBR6)
    lycb("import", "labels", write_as(atoms, "extxyz", tmp_path))
    out = tmp_path / "out"
    result = lycb("export", "labels", out, "--format", "chgnet")
    assert_one_line(result, "never meet", PAPER_STATIC.fingerprint, "--theory")
    assert not out.exists()
    chosen = ("--theory", PAPER_STATIC.fingerprint[:8])
    assert "28 labels" in lycb("export", "labels", out, "--format", "chgnet", *chosen)[1]
    assert "29 labels" in lycb("export", "labels", tmp_path / "all.extxyz")[1]
    assert_one_line(lycb("export", "labels", out, "--theory", "beef"), "no labels")
    assert_one_line(lycb("export", "labels", out, "--format", "npz"), "deepmd")
    deepmd = ("export", "labels", store, "--format", "deepmd", *chosen)
    assert_one_line(lycb(*deepmd), "there already")
    assert_one_line(lycb("export", "labels", tmp_path / "no" / "folder"), "cannot write")
    # what was unknown stays so on the way out and in
    other = open_store(tmp_path / "other")
    import_labels(other, tmp_path / "all.extxyz")
    assert {one.unknown for one in other.find_all(schemas.Import)} == {(), NOTHING_STATED}
