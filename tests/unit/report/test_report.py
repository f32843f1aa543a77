"""The report of small hand-made campaigns (`report_campaign.py`: test data, no results)."""

import re
import time

import numpy as np
import pytest
from html_page import Page
from report_campaign import LATTICE, TEMPERATURES_K, Campaign, finished

from lycb_flows import schemas
from lycb_flows.crystals.structures import structure_from_arrays
from lycb_flows.learning.labelled import LabelledStructure
from lycb_flows.learning.reference_shift import fitted_shift_ev
from lycb_flows.potentials import SinglePoint
from lycb_flows.quantities.volumes import volume_table
from lycb_flows.report.data import CellRun, LearnedRound, ReportData
from lycb_flows.report.figures import volume_figure
from lycb_flows.report.numbers import number, scientific, with_error
from lycb_flows.report.page import collect, write_report
from lycb_flows.report.paper import paper_numbers, paper_system, paper_transport, supercell_atoms
from lycb_flows.report.verdict import is_rehearsal, judge
from lycb_flows.schemas.keys import digest
from lycb_flows.units import nernst_einstein_ms_per_cm


@pytest.fixture
def campaign(tmp_path):
    made = Campaign(tmp_path / "store")
    yield made
    made.store.close()


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The path and the page of a finished campaign's report; drawn once, it takes seconds."""
    folder = tmp_path_factory.mktemp("finished")
    made = finished(Campaign(folder / "store"))
    yield report(made, folder / "report")
    made.store.close()


def several_conditions(campaign, n_systems):
    """Each system has runs of production at two pressures and four temperatures."""
    grounds = {f"S{i}": campaign.ranking(f"S{i}", ("Cl", "Br")[i % 2]) for i in range(n_systems)}
    for index in range(4):
        campaign.round(index, {name: grounds[name] for name in ("S0", "S1")})
    for name, ground in grounds.items():
        for pressure_bar in (1.0, 10_000.0):
            campaign.arrhenius(name, ground, pressure_bar, 4)


def report(campaign, folder, title="test-campaign"):
    path = write_report(campaign.store, title, campaign.keys, folder)
    return path, Page(path)


def test_the_first_lines_say_what_can_and_what_cannot_be_concluded(told):
    _, page = told
    first = page.text[: page.text.index("Enumeration")]
    assert "A rehearsal without DFT" in first
    assert "No number here is a prediction" in first
    assert "8 of 12 diffusivities" not in first
    assert "5 of 12 diffusivities are upper bounds" in first
    assert "LYB at 1 bar has no barrier" in first
    assert re.search(
        r"LYC at 1 bar, by chgnet-0\.3\.0: Eₐ = 0\.240 ± 0\.0\d+ eV from 4 temperatures", first
    )
    assert "Production is short: 12 of 12 runs last at most 100 ps, the paper's 2000 ps" in first
    assert "3 of 16 NpT runs averaged over less than ten barostat times" in first
    assert "1 label missing, 1 rejected (force of 31.0 eV/Å above 25)" in first
    assert "misses the paper's target" not in first
    assert "LYC: 1 expanded candidate up to 3.1 meV/atom below the ground state" in first
    assert "chgnet-0.3.0, is not fine-tuned" in first


def test_the_store_is_asked_once_per_kind_of_document_not_once_per_document(tmp_path):
    """One by one, a campaign of 9,000 labels asked the store 80,000 times."""
    n_statements = {}
    for n_systems in (2, 6):
        made = Campaign(tmp_path / f"{n_systems}")
        several_conditions(made, n_systems)
        statements = []
        made.store._db.set_trace_callback(statements.append)
        collect(made.store, made.keys)
        n_statements[n_systems] = len(statements)
        made.store.close()
    assert n_statements[6] == n_statements[2] < 30


def test_a_report_of_thirty_conditions_is_quick_and_small(campaign, tmp_path):
    """Processor time, as other tests run beside this one."""
    several_conditions(campaign, n_systems=4)
    assert sum(1 for _ in campaign.store.find_all(schemas.Transport)) == 32
    statements = []
    campaign.store._db.set_trace_callback(statements.append)
    begun_s = time.process_time()
    path, _ = report(campaign, tmp_path / "report")
    assert time.process_time() - begun_s < 20
    assert len(statements) < 500
    assert path.stat().st_size < 15e6


@pytest.mark.usefixtures("blank_figures")
def test_every_bound_comes_first_when_nothing_diffuses(campaign, tmp_path):
    campaign.arrhenius("LYB", campaign.ranking("LYB", "Br"), 1.0, 0)
    _, page = report(campaign, tmp_path / "report")
    assert "No diffusion was resolved: every D (4 of 4) is an upper bound" in page.text
    assert "< 3.20 × 10⁻¹²" in page.text


def test_a_campaign_without_any_result_has_a_report(campaign, tmp_path):
    path, page = report(campaign, tmp_path / "report")
    assert "Unfinished: no diffusivity has been measured yet." in page.text
    assert "No round has finished yet." in page.text
    assert not list((path.parent / "figures").iterdir())


def test_a_campaign_that_has_only_ranked_has_a_report(campaign, tmp_path):
    campaign.ranking("LYC", "Cl")
    path, page = report(campaign, tmp_path / "report")
    assert "10,233" in page.text
    assert "There is no learning round, no transport, no Arrhenius fit yet." in page.text
    assert {file.name for file in (path.parent / "figures").iterdir()} == {
        "ranking-LYC.png",
        "ranking-LYC.svg",
    }


def test_the_page_needs_nothing_from_outside_and_every_link_arrives(told):
    path, page = told
    assert path.stat().st_size < 3_000_000
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert len(page.links) > 200
    figures = sorted(file.suffix for file in (path.parent / "figures").iterdir())
    assert figures.count(".png") == figures.count(".svg") == len(page.sources)


def test_numbers_stand_beside_the_papers(told):
    _, page = told
    for row in paper_transport("LYC"):
        assert f"paper: {row}" in page.text
    assert "1.90 × 10⁻¹⁰" in page.text  # D(500 K) of LYB, printed
    ratio = 22.7 * (1 + 1.6e-4 * 400) / 25.3  # LYC at 400 K, 1 bar, CHGNet_600K
    assert f"{ratio:.3f}" in page.text
    assert "Models on the same test labels" in page.text
    assert page.text.count("toy r1") > 1


def test_hostile_names_are_text(campaign, tmp_path):
    hostile = '<script>alert("x")</script>$\\frac{1}{0}$../../x'
    ground = campaign.ranking(hostile, "Cl")
    campaign.arrhenius(hostile, ground, 1.0, 4)
    campaign.put(schemas.CampaignRecord, hostile, text=f"name: {hostile}")
    path, page = report(campaign, tmp_path / "report", title="</title><script>1</script>")
    assert "script" not in page.tags
    assert hostile in page.text
    assert all(source.startswith("data:") for source in page.sources)
    assert {file.parent for file in tmp_path.rglob("*.svg")} == {path.parent / "figures"}


@pytest.mark.usefixtures("blank_figures")
def test_a_retracted_document_is_named_as_absent(campaign, tmp_path):
    campaign.round(0, {"LYC": campaign.structure("LYC ground state", "Cl")})
    dataset = digest(["dataset", "dataset 0"])
    campaign.store.retract(dataset, "wrong units")
    _, page = report(campaign, tmp_path / "report")
    assert "1 result that this rests on is absent from the store" in page.text
    assert f"dataset of round 1 ({dataset[:12]})" in page.text


@pytest.mark.usefixtures("blank_figures")
def test_a_run_that_left_physics_is_named(campaign, tmp_path):
    ground = campaign.ranking("LYC", "Cl")
    exploded = schemas.Health(healthy=False, failed_step=812, reason="volume doubled")
    key = campaign.npt(
        "LYC", ground, 800.0, 1.0, "hot", health=exploded, means=None,
        average_volume_ang3_per_atom=None, equilibrated=False,
    )  # fmt: skip
    campaign.keys.append(key)
    _, page = report(campaign, tmp_path / "report")
    assert "left physics at step 812: volume doubled" in page.text


def test_a_salts_volumes_have_no_column_of_the_papers_beside_a_crystal_of_the_papers(campaign):
    salt = campaign.structure("salt ground state", "I")
    lyc = campaign.ranking("LYC", "Cl")
    data = collect(campaign.store, campaign.keys)
    for name, ground in (("LYC", lyc), ("salt", salt)):
        key = campaign.npt(name, ground, 400.0, 1.0, "production")
        run = campaign.store.load(schemas.Run, key)
        data.cell_runs.append(CellRun(name, "production", run))
        data.documents[ground] = campaign.store.load(schemas.Structure, ground)
    assert data.of_paper
    assert any("paper" in name for name in volume_table(data, "LYC").columns)
    table = volume_table(data, "salt")
    assert not any("paper" in name.lower() for name in (*table.columns, table.note))
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_runs_of_several_models_that_left_physics_are_told_with_their_models(campaign):
    ground = campaign.ranking("LYC", "Cl")
    exploded = schemas.Health(healthy=False, failed_step=812, reason="volume doubled")
    key = campaign.npt("LYC", ground, 800.0, 1.0, "production", health=exploded)
    run, other = campaign.store.load(schemas.Run, key), campaign.model("another model")
    twin = run.model_copy(update={"key": "2" * 64, "model": other})

    def named(*runs):
        documents = {each.key: each for each in runs}
        documents |= {each.key: each for each in campaign.store.find_all(schemas.Model)}
        cells = [CellRun("LYC", "production", each) for each in runs]
        verdict = judge(ReportData(documents=documents, cell_runs=cells), ())
        texts = [statement.text for statement in verdict.cannot]
        return [text.split(" left physics")[0] for text in texts if "left physics" in text]

    assert named(run) == [f"Run {run.name}"]
    assert named(run, twin) == [
        f"Run {run.name} by chgnet-0.3.0",
        f"Run {run.name} by another model",
    ]


def test_the_volume_of_a_run_that_left_physics_is_absent_not_invented(campaign):
    ground = campaign.structure("salt ground state", "I")  # no system of the paper's either
    exploded = schemas.Health(healthy=False, failed_step=812, reason="volume doubled")
    key = campaign.npt(
        "salt", ground, 800.0, 1.0, "hot", health=exploded, means=None,
        average_volume_ang3_per_atom=None, equilibrated=False,
    )  # fmt: skip
    run = campaign.store.load(schemas.Run, key)
    data = ReportData(documents={key: run}, cell_runs=[CellRun("salt", "production", run)])
    (row,) = volume_table(data, "salt").rows
    texts = [cell.text for cell in row]
    assert texts[3:5] == ["–", "left physics"]
    assert not texts[5:]  # no column of the paper's
    (axes,) = volume_figure(data.cell_runs, {}).axes
    (star,) = axes.lines  # at a height of the axes: it stands for no volume
    assert star.get_marker() == "*"
    assert star.get_transform() == axes.get_xaxis_transform()
    (axes,) = volume_figure(
        data.cell_runs, {}, {(1.0, "production"): 23.5, (1.0, "by x"): 9.0}
    ).axes
    at_rest, _ = axes.lines
    assert at_rest.get_xydata().tolist() == [[0.0, 23.5]]


def test_the_same_documents_give_the_same_bytes(campaign, tmp_path):
    campaign.ranking("LYC", "Cl")
    one, _ = report(campaign, tmp_path / "one")
    other, _ = report(campaign, tmp_path / "other")
    assert one.read_bytes() == other.read_bytes()
    for file in (one.parent / "figures").iterdir():
        assert file.read_bytes() == (other.parent / "figures" / file.name).read_bytes()


def test_the_walk_finds_npt_runs_behind_transports_and_counts_attempts(campaign):
    ground = campaign.ranking("LYC", "Cl")
    fit = campaign.arrhenius("LYC", ground, 1.0, 4)
    data = collect(campaign.store, [fit, campaign.keys[0]])
    assert [t.temperature_k for t in data.measured(schemas.Transport)] == list(TEMPERATURES_K)
    assert {cell.system for cell in data.cell_runs} == {"LYC"}
    assert [cell.role for cell in data.cell_runs] == ["production"] * 4
    assert not data.missing
    transport_tries = [a for a in data.attempts if a.kind == "transport"]
    assert len(transport_tries) == 4


def test_errors_are_written_to_their_second_digit():
    assert with_error(0.24317, 0.0312) == "0.243 ± 0.031"
    assert with_error(331.2, 25.4) == "331 ± 25"
    assert with_error(1.0, 0.0996) == "1.00 ± 0.10"
    assert with_error(12345.0, 340.0) == "12340 ± 340"
    assert with_error(2.5, None) == "2.50"
    assert scientific(1.931e-10, 1.2e-11) == "(1.93 ± 0.12) × 10⁻¹⁰"
    assert scientific(1e-12, 5e-11) == "(0.1 ± 5.0) × 10⁻¹¹"
    assert number(None) == number(float("nan")) == "–"


def test_a_system_is_the_papers_by_composition_not_by_name():
    def named(halides):
        species = ("Li",) * 18 + ("Y",) * 6 + tuple(halides)
        return schemas.Structure(
            key="0", lattice_ang=LATTICE, species=species, frac_coords=((0.0, 0.0, 0.0),) * 60
        )

    assert paper_system(named(["Cl"] * 36)) == "LYC"
    assert paper_system(named(["Br"] * 36)) == "LYB"
    assert paper_system(named(["Cl"] * 18 + ["Br"] * 18)) == "LYCB"
    assert paper_system(named(["I"] * 36)) is None
    assert (supercell_atoms("LYC"), supercell_atoms("LYB")) == (60, 40)


def test_the_papers_line_passes_through_its_own_conductivity():
    row = paper_transport("LYC")["CHGNet600K_10kbar"]
    assert row.conductivity_ms_per_cm(300.0) == pytest.approx(15.7)
    derived = paper_numbers()["transport"]["derived_consistency_check"]["LYC"]
    ions_per_ang3 = float(derived["n_Li_m-3"]) * 1e-30
    expected = nernst_einstein_ms_per_cm(derived["D500_m2_s"], ions_per_ang3, 500.0)
    # ln D is a line in the paper, so σ T is; the table has three digits
    assert row.conductivity_ms_per_cm(500.0) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("name", "imported", "rehearsal"),
    [
        ("teacher: toy-teacher (a potential, not DFT)", False, True),
        ("vasp stand-in: a potential, not DFT (paper-static)", False, True),
        ("gpaw: PBE (paper-pool)", False, False),
        ("vasp: PBE (paper-static)", False, False),
        ("ase my_package.Teacher: PBE", False, False),
        ("nobody's code: PBE", False, True),
        ("nobody's code: PBE", True, False),
        ("teacher: toy-teacher (a potential, not DFT)", True, True),
    ],
)
def test_a_code_that_no_labeler_states_to_be_dft_makes_a_rehearsal(name, imported, rehearsal):
    data = ReportData(theory_names=[name], imported_theory_names={name} if imported else set())
    assert is_rehearsal(data) == rehearsal


def _round_whose_energies_moved(shift_ev):
    model = schemas.Model.model_construct(key="m" * 64, reference_shift_ev=shift_ev)
    return LearnedRound(schemas.Round.model_construct(), None, None, model, None, None)


def test_energies_per_atom_are_told_by_the_shift_that_they_ask_for():
    sizes, ev_per_atom, no_stress = (2, 4), -3.7, np.zeros((3, 3))
    cells = [structure_from_arrays(9 * np.eye(3), ["Cu"] * n, np.zeros((n, 3))) for n in sizes]
    predictions = [SinglePoint(n * ev_per_atom, np.zeros((n, 3)), no_stress) for n in sizes]
    labelled = [
        LabelledStructure(structure=cell, **vars(point) | {"energy_ev": ev_per_atom})
        for cell, point in zip(cells, predictions, strict=True)
    ]
    shift_ev = fitted_shift_ev(labelled, predictions)
    told = judge(ReportData(rounds=[_round_whose_energies_moved(shift_ev)]), ()).cannot
    (statement,) = [one for one in told if "lie far from the model's" in one.text]
    assert "Cu +2.3" in statement.text
    near = ReportData(rounds=[_round_whose_energies_moved({"Cl": 0.614, "Li": -0.1})])
    assert not any("lie far" in one.text for one in judge(near, ()).cannot)
