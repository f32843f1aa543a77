"""The chapter that follows the paper figure by figure, and the words of other chemistries."""

import re
from functools import partial

import pytest
from html_page import Page, papers_panels
from report_campaign import LATTICE, Campaign, finished

from lycb_flows import schemas
from lycb_flows.errors import InputError
from lycb_flows.report import (
    PRODUCTION,
    CellRun,
    LearnedRound,
    ReportData,
    as_printed,
    paper_cells,
    paper_fillers,
    paper_model_row,
    paper_numbers,
    paper_volume_row,
    paper_volumes,
    verdict,
)
from lycb_flows.report.methods import methods_part
from lycb_flows.report.page import write_report
from lycb_flows.report.paper_figures import paper_entries
from lycb_flows.report.paper_fillers import FILLERS
from lycb_flows.schemas.keys import digest

PANELS = (
    *(f"Figure 2{panel}" for panel in "abcde"),
    *(f"Figure 3{panel}" for panel in "ab"),
    *(f"Figure 4{panel}" for panel in "abcdefghij"),
    *(f"Figure 5{panel}" for panel in "ab"),
    *(f"Table {number}" for number in (1, 2, 3)),
    *(f"Figure S{number}" for number in (1, 2, 3, 4)),
    *(f"Figure S5{panel}" for panel in "abcde"),
)
pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.fixture
def campaign(tmp_path):
    made = Campaign(tmp_path / "store")
    yield made
    made.store.close()


def test_the_list_has_every_figure_and_table_of_the_paper_once():
    listed = [panel for entry in paper_entries() for panel in entry.panels]
    assert sorted(listed) == sorted(PANELS)
    assert {entry.here for entry in paper_entries()} == set(FILLERS)


def test_every_panel_is_filled_or_has_its_reason(campaign, tmp_path):
    finished(campaign)
    path = write_report(campaign.store, "x", campaign.keys, tmp_path / "report")
    bodies = papers_panels(path.read_text())
    assert set(bodies) == set(PANELS)
    filled = {panel for panel, body in bodies.items() if "<table>" in body}
    assert {panel for panel, body in bodies.items() if "Not filled: " in body} == set(
        PANELS
    ) - filled
    assert {"Figure 2d", "Figure 3a", "Figure 4b", "Table 1", "Table 2"} <= filled
    assert {"Figure 4c", "Figure 5a", "Figure S1", "Figure S5a", "Table 3"}.isdisjoint(filled)


def test_a_panel_that_is_not_whole_says_what_is_absent(campaign, tmp_path):
    finished(campaign)
    path = write_report(campaign.store, "x", campaign.keys, tmp_path / "report", only_paper=True)
    bodies = papers_panels(path.read_text())
    in_part = {panel for panel, body in bodies.items() if "In part: " in body}
    assert in_part == {"Figure 2b", "Figure 2c"}  # the errors of both are filled
    assert "the energies of single structures (2b) are not shown" in bodies["Figure 2b"]
    assert "are filled, in part 2b; each of the others has its reason" in Page(path).text
    whole = {entry.panels[0] for entry in paper_entries() if not entry.lacks}
    assert whole.isdisjoint({"Figure 2b", "Figure S1", "Figure S2", "Figure S3"})


def test_ours_stand_beside_the_papers_and_the_experiments(campaign, tmp_path):
    finished(campaign)
    path = write_report(campaign.store, "x", campaign.keys, tmp_path / "report", only_paper=True)
    assert path.name == "paper.html"
    bodies = papers_panels(path.read_text())
    assert set(bodies) == set(PANELS)
    fit = next(campaign.store.find_all(schemas.Arrhenius, system="LYC", pressure_bar=1.0))
    row = re.search(r"<tr><td>here, 1 bar</td>(.*?)</tr>", bodies["Figure 3a"]).group(1)
    assert f"{fit.activation_energy_ev:.3f}" in row
    assert f"#k-{fit.key[:12]}" in row
    for text in ("0.12 ± 0.01", "331", "15.7", "exp2_10", "Liu et al. 2024"):
        assert text in bodies["Figure 3a"]
    volume = 22.7 * (1 + 1.6e-4 * 400)
    assert f"{volume:.2f}" in bodies["Figure 2d"]
    assert "22.1" in bodies["Figure 2d"]  # experiment at 400 K


@pytest.mark.parametrize("here", ["conduction", "whole_table", "conduction_over_x"])
@pytest.mark.parametrize(
    ("temperature_k", "sigma", "text"),
    [(300.0, 55.0, "55.0"), (400.0, 55.0, "55.0 at 400 K"), (400.0, None, "–")],
)
def test_a_conductivity_at_another_temperature_says_at_which(
    monkeypatch, here, temperature_k, sigma, text
):
    monkeypatch.setattr(paper_fillers, "system_of_paper", lambda *_: "LYB")
    fit = schemas.Arrhenius(
        key="fit", system="LYB", pressure_bar=1.0, model="m", transports=(), n_points=4,
        fitted=True, extrapolation_temperature_k=temperature_k, activation_energy_ev=0.25,
        activation_energy_err_ev=0.02, extrapolated_conductivity_ms_per_cm=sigma,
    )  # fmt: skip
    conduction = schemas.SeriesConduction(
        arrhenius="fit", pressure_bar=1.0, conductivity_ms_per_cm=sigma
    )
    point = schemas.SeriesPoint.model_construct(lattice="LYB", x=3.0, conduction=(conduction,))
    series = schemas.CompositionSeries.model_construct(points=(point,))
    data = ReportData(documents={"fit": fit}, measurements={"arrhenius": [fit], "series": [series]})
    entry = next(entry for entry in paper_entries() if entry.here == here)
    (table,) = FILLERS[here](data, entry).tables
    assert table.columns[-1] == "σ(300 K) (mS/cm)"
    assert table.rows[0][-1].text == text


def test_the_methods_are_of_the_documents_and_cite_what_was_used(campaign, tmp_path):
    finished(campaign)
    path = write_report(campaign.store, "x", campaign.keys, tmp_path / "report", only_paper=True)
    text = Page(path).text
    methods = text[text.index("Methods, to paste") :]
    assert "chgnet-0.3.0" in methods
    assert "time step of 1 fs" in methods
    assert "2 rounds" in methods
    n_cited = len(set(re.findall(r"\[(\d+)\] [A-Z]\. ", methods)))
    assert n_cited == max(
        int(n) for group in re.findall(r" \[([\d,]+)\]", methods) for n in group.split(",")
    )
    assert "B. Deng" in methods
    assert "Mortensen" not in methods  # no label is by GPAW


def _made_of(kind, key, **facts):
    return kind.model_construct(key=key, **facts)


def test_the_methods_follow_a_model_to_the_labels_code_and_foundation():
    model = partial(_made_of, schemas.Model, source="pretrained")
    student = _made_of(schemas.Student, "card", model="s", teacher="t", n_frames=392)
    edges_ang = ((20.0, 0.0, 0.0), (0.0, 20.0, 0.0), (0.0, 0.0, 12.0))
    run = _made_of(
        schemas.Run, "r", model="s", ensemble="npt", temperature_k=300.0, pressure_bar=1.0,
        n_steps=72_000, time_step_fs=2.0, health=schemas.dynamics.Health(),
        average_lattice_ang=edges_ang, average_volume_ang3_per_atom=20.0,
    )  # fmt: skip
    documents = {
        "s": model("s", name="student of lycb-pbe-1-sevennet", architecture="nep"),
        "t": model("t", name="lycb-pbe-1-sevennet", architecture="sevennet"),
    }
    cells = [CellRun("LYC", PRODUCTION, run)]
    data = ReportData(documents=documents, students=[student], cell_runs=cells)
    text, *references = methods_part(data).lead
    cited = [reference.split("] ")[1] for reference in references]
    authors = ("Z. Fan", "G. J. Martyna", "Y. Park", "J. P. Perdew", "J. J. Mortensen")
    assert [each for each in authors if any(ref.startswith(each) for ref in cited)] == [*authors]
    for words in (
        "Molecular dynamics by a student of lycb-pbe-1-sevennet [1]",
        "in cells of 240 atoms",
        "trained on 392 frames labelled by lycb-pbe-1-sevennet",
        "lycb-pbe-1-sevennet is sevennet-0 [3], fine-tuned on 157 labels by PBE [4] in GPAW [5]",
        "NpT runs of 144 ps, heating included, at 1 bar and 300 K",
    ):
        assert words in text
    assert "Perdew" not in " ".join(methods_part(ReportData(by_dft=[_by_teacher()])).lead)


def _by_teacher():
    name = "teacher: lycb-pbe-9 (a potential, not DFT)"  # PBE is no functional of it
    return schemas.GroundState.model_construct(theory_name=name, widened_to=None)


def test_replicas_are_numbered(campaign, tmp_path):
    finished(campaign)
    lyc = campaign.ranking("LYC", "Cl")
    campaign.keys += [
        campaign.transport("LYC", lyc, 500.0, 10_000.0, "diffusive", replica=2),
        campaign.transport(
            "LYC", lyc, 600.0, 10_000.0, "unmeasured", replica=2, healthy=False, duration_ps=0.0
        ),
    ]
    path = write_report(campaign.store, "x", campaign.keys, tmp_path / "report", only_paper=True)
    bodies = papers_panels(path.read_text())
    rows = re.findall(r'<tr><td><a href="#k-\w+">(\d+)<', bodies["Figure 4b"])
    assert rows.count("500") == rows.count("600") == 2
    assert [">replica<" in bodies[panel] for panel in ("Figure 4b", "Figure 4g")] == [True, False]
    assert bodies["Figure 4a"].count(">500<") == 2
    assert "NVT production runs of 140 ps at" in Page(path).text
    assert "followed in these cells, up to 2 at a condition" in Page(path).text


def test_a_composition_that_no_test_label_is_of_is_told(campaign, tmp_path):
    finished(campaign)  # its test labels are of LYC
    path = write_report(campaign.store, "x", campaign.keys, tmp_path / "report")
    assert "LYB is measured with a model that was tested on LYC only" in Page(path).text


def test_another_chemistry_has_no_word_of_the_papers(campaign, tmp_path):
    ground = campaign.structure("salt ground state", "I")
    campaign.put(
        schemas.Model, "chgnet-0.3.0", architecture="toy", architecture_args={},
        weights=campaign.blob("weights"), source="file",
    )  # fmt: skip
    campaign.round(0, {"salt": ground})
    campaign.arrhenius("salt", ground, 1.0, 4)
    path = write_report(campaign.store, "salt", campaign.keys, tmp_path / "report")
    text = Page(path).text
    assert digest(["round", "round 0"])[:12] in path.read_text()
    for word in (
        "Li3YCl6",
        "Li3YBr6",
        "YCl3",
        "CHGNet_600K",
        "2000 ps",
        "enumlib",
        "below the paper",
        "M3GNet",
        "R. Schlem",
    ):
        assert word not in text, word
    assert "Methods, to paste" in text
    assert "The paper, figure by figure" not in text
    with pytest.raises(InputError, match="paper's chemistry"):
        write_report(campaign.store, "salt", campaign.keys, tmp_path / "report", only_paper=True)


def model(architecture, source, name="x", **facts):
    return schemas.Model(
        key=f"{architecture} {name} {source}", name=name, architecture=architecture,
        architecture_args={}, weights=schemas.Blob(sha256="0" * 64, size=1, media_type="x"),
        source=source, **facts,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "conduction", "volumes"),
    [
        (None, "CHGNet600K_1bar", "CHGNet600K_1bar"),
        (model("sevennet", "pretrained", "sevennet-0"), "SevenNet_1bar", "SevenNet_1bar"),
        (model("sevennet", "fine-tuned"), "CHGNet600K_1bar", "CHGNet600K_1bar"),
        (
            model("sevennet", "pretrained", "lycb-pbe-1-sevennet"),
            *("CHGNet600K_1bar", "CHGNet600K_1bar"),
        ),
        (model("chgnet", "pretrained", "chgnet-0.3.0"), "CHGNet600K_1bar", "CHGNet_1bar"),
        (model("chgnet", "file"), "CHGNet600K_1bar", "CHGNet600K_1bar"),
        (model("toy", "pretrained"), "CHGNet600K_1bar", None),
    ],
)
def test_what_was_fine_tuned_is_compared_with_the_papers_fine_tuned_model(
    known, conduction, volumes
):
    assert paper_model_row(1.0, known) == conduction
    assert paper_volume_row(1.0, known) == volumes
    assert paper_model_row(10_000.0, known) == "CHGNet600K_10kbar"
    is_published = volumes != "CHGNet600K_1bar"
    assert paper_volume_row(9_000.0, known) == (None if is_published else "CHGNet600K_10kbar")


def test_the_physics_of_a_student_is_its_teachers():
    teacher = model("sevennet", "fine-tuned")
    student = model("nep", "distilled", parent_model=teacher.key)
    data = ReportData(documents={each.key: each for each in (teacher, student)})
    assert data.physics_of(student.key) is teacher
    assert data.physics_of(teacher.key) is teacher
    assert data.physics_of("absent") is None


def test_numbers_of_the_paper_keep_the_digits_that_they_were_printed_with():
    rows = paper_numbers()["transport"]
    assert as_printed(rows["LYC"]["AIMD31"]["sigma300_mS_cm"]) == "14.0"
    assert as_printed(rows["LYB"]["SevenNet_1bar"]["Ea_eV"], 0.01) == "0.20 ± 0.01"
    assert as_printed(paper_volumes("LYC")["SevenNet_1bar"][300.0]) == "24.0"
    assert rows["LYC"]["AIMD31"]["sigma300_mS_cm"] == 14
    assert as_printed(0.2) == "0.2"


ERRORS = schemas.ModelErrors(
    n_labels=4, energy_mae_ev_per_atom=1e-3, force_mae_ev_per_ang=0.05, stress_mae_gpa=0.05,
    energy_rmse_ev_per_atom=1e-3, force_rmse_ev_per_ang=0.05, stress_rmse_gpa=0.05,
    force_slope=1.0,
)  # fmt: skip


def halide(key, n_br):
    species = ("Li",) * 3 + ("Y",) + ("Br",) * n_br + ("Cl",) * (6 - n_br)
    coords = ((0.0, 0.0, 0.0),) * 10
    return schemas.Structure(key=key, lattice_ang=LATTICE, species=species, frac_coords=coords)


def measured_by(quantity, known, **documents):
    """A mixed halide that one quantity alone has measured, and what else the report knows."""
    mixed = halide("5" * 64, 3)
    if quantity == "series":
        point = schemas.SeriesPoint(
            name="LYB-x3", lattice="LYB", x=3.0, formula="Li3Y(BrCl)3", start=mixed.key,
            space_group="P1", energy_ev_per_atom=-4.0, volume_ang3_per_atom=24.0, converged=True,
        )  # fmt: skip
        found = schemas.CompositionSeries(key="6" * 64, model=known.key, points=(point,))
        cells = []
    else:
        found = schemas.CellVolumes(
            key="6" * 64, system="LYB-x3", pressure_bar=1.0, model=known.key, cells=()
        )
        run = schemas.Run.model_construct(key="7" * 64, start_structure=mixed.key, model=known.key)
        cells = [CellRun("LYB-x3", "production", run)]
    ends = {"LYC": halide("1" * 64, 0), "LYB": halide("2" * 64, 6)}
    rankings = [
        schemas.Ranking.model_construct(system=system, ground_state=structure.key)
        for system, structure in ends.items()
    ]
    documents |= {each.key: each for each in (known, mixed, found, *ends.values())}
    return {
        "documents": documents,
        "measurements": {quantity: [found]},
        "rankings": rankings,
        "cell_runs": cells,
    }


def round_of(*tested):
    """A round whose model was tested on some crystals; on none: it has no evaluation."""
    after = schemas.Evaluation.model_construct(
        key="8" * 64, by_system=dict.fromkeys(tested, ERRORS), overall=ERRORS
    )
    made = schemas.Round.model_construct(key="9" * 64, index=0, temperature_k=200.0)
    return LearnedRound(made, None, None, None, None, after if tested else None)


@pytest.mark.parametrize("quantity", ["series", "volumes"])
@pytest.mark.parametrize(
    ("source", "rounds", "words"),
    [
        ("fine-tuned", [round_of("LYC", "LYB")], "LYB-x3 is measured with a model that was tested"),
        ("fine-tuned", [round_of("LYC", "LYB-x3")], ""),
        ("fine-tuned", [round_of()], "No errors of the model that measures are known"),
        ("fine-tuned", [], "no label of this campaign trained or tested it"),
        ("pretrained", [], "no label of this campaign trained or tested it"),
    ],
)
def test_no_mixed_halide_is_measured_with_a_model_that_was_not_tested_on_it_without_a_word(
    quantity, source, rounds, words
):
    data = ReportData(rounds=rounds, **measured_by(quantity, model("chgnet", source)))
    sentences = [
        statement.text
        for rule in (verdict._not_trained, verdict._untested)
        for statement in rule(data)
    ]
    assert [text for text in sentences if words in text] == sentences
    assert len(sentences) == bool(words)


def test_a_decided_ordering_is_compared_with_itself_by_the_rankings_model():
    candidate = partial(schemas.RankedCandidate.model_construct, volume_flag=False)
    ranking = schemas.Ranking.model_construct(
        key="r",
        ground_state="a by model",
        best=(
            candidate(ordering="a", structure="a by model", volume_ang3_per_atom=27.6),
            candidate(ordering="b", structure="b by model", volume_ang3_per_atom=27.8),
        ),
    )
    decided = schemas.GroundState.model_construct(
        ranking="r",
        candidates=(schemas.DftCandidate.model_construct(ordering="b", structure="b by DFT"),),
    )
    data = ReportData(by_dft=[decided])
    found = {
        start: paper_cells._ranked(data, ranking, schemas.SeriesPoint.model_construct(start=start))
        for start in ("b by DFT", "a by model")
    }
    assert found == {"b by DFT": (27.8, "b by model"), "a by model": (27.6, "a by model")}
