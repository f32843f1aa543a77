"""One mobile ion per campaign, found from its crystals."""

import pytest
from places import ROOT
from typer.testing import CliRunner

from lycb_flows.campaign.mobile import with_facts
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.cli.app import app
from lycb_flows.config import HALIDE_FORBIDDEN_PAIRS, Campaign
from lycb_flows.crystals import load_parent
from lycb_flows.errors import InputError
from lycb_flows.store import open_store

SPLIT = """data_x
_cell_length_a 4.0
_cell_length_b 4.0
_cell_length_c 5.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 4/m m m'
_symmetry_Int_Tables_number 123
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Na1 {ion} 0 0 0.05 0.5
Cl1 Cl 0.5 0.5 0.5 1
"""


def campaign(parents, **more):
    systems = [{"name": f"S{k}", "parent": str(p)} for k, p in enumerate(parents)]
    return Campaign.model_validate({"name": "mine", "systems": systems, **more})


def ions(found):
    sections = (found.md.health, found.learning.selection, found.measure.diffusion)
    return [section.mobile_species for section in sections]


@pytest.fixture
def write(tmp_path):
    def path_of(ion):
        path = tmp_path / f"{ion}.cif"
        path.write_text(SPLIT.format(ion=ion))
        return path

    return path_of


@pytest.mark.parametrize("ion", ["Na", "K", "Ag"])
def test_every_section_speaks_of_the_crystals_ion(write, ion):
    path = write(ion)
    found = with_facts(campaign([path]), [load_parent(str(path))])
    assert ions(found) == [ion] * 3
    assert found.measure.diffusion.charge_number == 1


def test_a_charge_that_is_given_is_the_ions(write):
    path = write("Cu")
    given = campaign([path])
    (system,) = given.systems
    stated = system.enumeration.model_copy(update={"charges": {"Cu": 2.0}})
    systems = (system.model_copy(update={"enumeration": stated}),)
    crystals = [load_parent(str(path))]
    assert with_facts(given, crystals).measure.diffusion.charge_number == 1
    found = with_facts(given.model_copy(update={"systems": systems}), crystals)
    assert found.measure.diffusion.charge_number == 2


def test_a_file_that_names_no_ion_takes_the_crystals(write, tmp_path):
    path = write("Na")
    file = tmp_path / "mine.yaml"
    file.write_text(f"name: mine\nsystems: [{{name: S, parent: {path.name}}}]\n"
                    "measure: {diffusion: {discard_ps: 1.0}}\n")  # fmt: skip
    found = with_facts(read_campaign(file), [load_parent(str(path))])
    assert ions(found) == ["Na"] * 3


def test_presets_keep_lithium_and_their_rules():
    given = campaign(["Li3YCl6", "Li3YBr6"])
    found = with_facts(given, [load_parent("Li3YCl6"), load_parent("Li3YBr6")])
    assert ions(found) == ["Li"] * 3
    assert {s.enumeration.forbidden_pairs for s in found.systems} == {HALIDE_FORBIDDEN_PAIRS}
    assert found.mobile_species is None


def test_word_of_one_section_is_that_of_all_and_two_are_refused(write):
    path = write("Na")
    crystal = load_parent(str(path))
    given = campaign([path], measure={"diffusion": {"mobile_species": "Na"}})
    assert ions(with_facts(given, [crystal])) == ["Na"] * 3
    two = {"measure": {"diffusion": {"mobile_species": "Na"}},
           "md": {"health": {"mobile_species": "Cl"}}}  # fmt: skip
    with pytest.raises(InputError, match="one mobile species"):
        with_facts(campaign([path], **two), [crystal])


def test_crystals_with_different_ions_need_a_word(write):
    paths = [write("Na"), write("K")]
    crystals = [load_parent(str(path)) for path in paths]
    with pytest.raises(InputError, match="different mobile ions"):
        with_facts(campaign(paths), crystals)
    assert ions(with_facts(campaign(paths, mobile_species="K"), crystals)) == ["K"] * 3


@pytest.mark.parametrize("section", [("measure", "diffusion"), ("md", "health")])
def test_the_campaigns_word_and_another_in_a_section_are_refused(write, section):
    outer, inner = section
    path, given = write("Na"), {outer: {inner: {"mobile_species": "Cl"}}}
    crystals = [load_parent(str(path))]
    with pytest.raises(InputError, match=r"one mobile species \(found=Cl, Na\)"):
        with_facts(campaign([path], mobile_species="Na", **given), crystals)
    assert ions(with_facts(campaign([path], mobile_species="Cl", **given), crystals)) == ["Cl"] * 3


# -- what is replaced -----------------------------------------------------------------------------


def with_lithium(**more):
    """Na3PS4 with lithium in place of all its sodium."""
    enumeration = {"supercell": [1, 1, 1], "substitute": {"Na": {"Li": 3}}}
    parent = str(ROOT / "workflows" / "cifs" / "Na3PS4.cif")
    system = {"name": "LPS", "parent": parent, "enumeration": enumeration}
    return Campaign.model_validate({"name": "mine", "systems": [system], **more})


@pytest.mark.parametrize("stated", [{}, {"mobile_species": "Li"}])
def test_the_ion_that_is_brought_in_is_the_mobile_one(tmp_path, stated):
    with open_store(tmp_path / "store") as store:
        submitted = submit(store, with_lithium(**stated)).campaign
    assert ions(submitted) == ["Li"] * 3
    assert submitted.measure.diffusion.charge_number == 1


def test_an_ion_that_was_replaced_cannot_be_measured(tmp_path):
    with (
        open_store(tmp_path / "store") as store,
        pytest.raises(InputError, match=r"not in the parent.*elements=.*'Li', 'P', 'S'"),
    ):
        submit(store, with_lithium(mobile_species="Na"))


def test_init_writes_a_campaign_that_reads(write):
    path = write("Na")
    result = CliRunner().invoke(app, ["init", str(path)])
    assert result.exit_code == 0, result.output
    found = read_campaign(path.with_suffix(".yaml"))
    assert found.mobile_species == "Na"
    assert found.systems[0].enumeration.composition == {"Cl": 1, "Na": 1}
    again = CliRunner().invoke(app, ["init", str(path)])
    assert isinstance(again.exception, InputError)
