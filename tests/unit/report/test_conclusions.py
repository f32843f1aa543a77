"""What a report concludes of barriers and conductivities (`report_campaign.py`: test data)."""

import numpy as np
import pytest
from html_page import Page
from report_campaign import LATTICE, TEMPERATURES_K, Campaign

from lycb_flows import schemas
from lycb_flows.quantities.arrhenius import ArrheniusLaw, arrhenius_table, references
from lycb_flows.quantities.conclusions import disagreements
from lycb_flows.quantities.figures import arrhenius_figure
from lycb_flows.report import MISSING
from lycb_flows.report.page import collect, write_report
from lycb_flows.report.published import experiments, known_crossovers
from lycb_flows.report.verdict import judge
from lycb_flows.store import QUANTITIES


@pytest.fixture
def campaign(tmp_path):
    made = Campaign(tmp_path / "store")
    yield made
    made.store.close()


def collected(campaign):
    return collect(campaign.store, campaign.keys)


def verdict(data):
    return judge(data, [QUANTITIES.usable()[name] for name in ("diffusion", "arrhenius")])


def texts(statements):
    return " ".join(statement.text for statement in statements)


def crystal(formula):
    species = tuple(symbol for symbol, n in formula.items() for _ in range(n))
    coords = ((0.0, 0.0, 0.0),) * len(species)
    return schemas.Structure(key="0", lattice_ang=LATTICE, species=species, frac_coords=coords)


def test_the_first_line_says_that_ions_are_confined_and_no_conductivity_is_printed(
    campaign, tmp_path
):
    campaign.arrhenius(
        "LYB", campaign.structure("LYB ground state", "Br"), 1.0, 0, other="confined"
    )
    data = collected(campaign)
    found = verdict(data)
    assert found.headline.startswith("The ions are confined in 4 of 4 runs: there is no")
    assert "mS/cm" not in texts(found.can) + texts(found.cannot)
    assert "no barrier and no conductivity by a fit at 300 K: 0 of 4 runs" in texts(found.cannot)
    table = arrhenius_table(data, "LYB")
    (own,) = (row for row in table.rows if row[0].text.startswith("here"))
    assert [own[i].text for i in (1, 2, 4)] == [MISSING] * 3
    assert "400 K confined" in own[5].text
    page = Page(write_report(campaign.store, "t", campaign.keys, tmp_path / "report"))
    assert page.text.index("The ions are confined in 4") < page.text.index("What can be")


def test_runs_that_are_left_out_are_named_in_the_first_line(campaign):
    campaign.arrhenius("LYB", campaign.structure("LYB ground state", "Br"), 1.0, 3, other="ageing")
    data = collected(campaign)
    found = verdict(data)
    assert found.headline.startswith("D was measured in 3 of 4 runs; ageing in 1. A barrier")
    assert "σ(300 K)" not in texts(found.can)  # a run nearer to 300 K does not diffuse
    assert "400 K ageing" in texts(found.cannot)


def test_a_number_that_passes_all_tests_can_be_concluded(campaign):
    campaign.arrhenius("LYB", campaign.structure("LYB ground state", "Br"), 1.0, 4)
    found = verdict(collected(campaign))
    assert found.headline.endswith("follow for 1 of 1 condition, conclusive for 1.")
    can = texts(found.can)
    assert "Eₐ = 0.240 ± 0.013 eV from 4 temperatures" in can
    assert "extrapolated 100 K below the coldest measured run, 400 K: 9.67 per eV" in can
    assert "σ(300 K)" not in texts(found.cannot)


def test_a_change_of_the_barrier_known_from_experiment_is_in_the_way(campaign):
    campaign.arrhenius("LYC", campaign.structure("LYC ground state", "Cl"), 1.0, 4)
    data = collected(campaign)
    found = verdict(data)
    assert "σ(300 K)" not in texts(found.can)
    assert "known to change at 405 K, from 0.22 eV above to 0.7 eV below" in texts(found.cannot)
    (known,) = known_crossovers(data.structure_of_system("LYC"))
    assert known.temperature_k == 405


def test_the_distance_to_the_paper_and_to_experiments_is_told_in_errors(campaign):
    fit = campaign.arrhenius("LYC", campaign.structure("LYC ground state", "Cl"), 10_000.0, 4)
    data = collected(campaign)
    document = data.find(schemas.Arrhenius, fit)
    against_paper, against_experiments = disagreements(data, document)
    sigma_paper = document.paper_conductivity_ms_per_cm
    of_paper = 0.01 * (1 / 300 - np.mean(1 / np.arange(400.0, 751.0, 50.0))) / 8.617333e-5
    errors = np.log(15.7 / sigma_paper) / np.hypot(document.paper_conductivity_log_err, of_paper)
    assert f"{errors:.1f} errors below the paper's 0.24 ± 0.01 eV and 15.7 mS/cm" in against_paper
    above = np.log(document.extrapolated_conductivity_ms_per_cm / 0.51)
    assert against_experiments == (
        f"σ lies {above / document.extrapolated_log_err:.1f} errors above the 0.04 to 0.51 mS/cm "
        "of 7 experiments."
    )


def test_experiments_on_one_composition_spread():
    argyrodite = experiments(crystal({"Li": 24, "P": 4, "S": 20, "Cl": 4}))
    sigmas = [row.conductivity_ms_per_cm for row in argyrodite]
    assert sigmas == sorted(sigmas)
    assert sigmas[-1] / sigmas[0] == pytest.approx(60, rel=0.05)
    assert all(row.source.startswith("10.") for row in argyrodite)
    assert not experiments(crystal({"Li": 24, "P": 4, "S": 21, "Cl": 3}))
    assert not experiments(crystal({"Li": 9, "P": 1, "S": 5, "Cl": 1}))
    assert not experiments(None)
    assert len(experiments(crystal({"Li": 18, "Y": 6, "Br": 36}))) == 6


def test_the_spread_of_experiments_stands_in_the_table(campaign):
    campaign.arrhenius("LYC", campaign.structure("LYC ground state", "Cl"), 1.0, 4)
    table = arrhenius_table(collected(campaign), "LYC")
    rows = {row[0].text: [cell.text for cell in row[1:3]] for row in table.rows}
    assert rows["7 experiments"] == ["0.4 to 0.7", "0.04 to 0.51"]
    assert rows["paper: exp8"] == ["0.411", "0.09"]
    assert rows["here, 1 bar, paper's recipe"][0] == "0.240 ± 0.032"
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_the_figure_shows_what_is_fitted_left_out_and_known(campaign):
    ground = campaign.structure("LYC ground state", "Cl")
    campaign.arrhenius("LYC", ground, 1.0, 3, other="confined")
    campaign.arrhenius("LYC", ground, 10_000.0, 3)
    data = collected(campaign)
    fits, transports = data.measured(schemas.Arrhenius), data.measured(schemas.Transport)
    others = references(data, fits, transports)
    figure = arrhenius_figure(transports, fits, others)
    (legend,) = figure.legends
    labels = {text.get_text() for text in legend.get_texts()}
    assert labels >= {"left out: confined", "7 experiments", "paper: CHGNet600K_10kbar", "1 bar"}
    (axes,) = figure.axes
    assert len(axes.texts) == 1  # the arrow of the bound at 10 kbar
    marks = {line.get_label(): line for line in axes.lines}
    confined = marks["left out: confined"]
    assert confined.get_markerfacecolor() == "none"
    assert confined.get_xdata() == pytest.approx([1000 / TEMPERATURES_K[0]])
    lowest, highest = axes.get_ylim()
    drawn = np.concatenate([other.diffusivities_m2_per_s for other in others])
    assert lowest < drawn.min()
    assert drawn.max() < highest


def test_an_experiment_is_drawn_at_the_diffusivity_of_its_conductivity(campaign):
    campaign.arrhenius("LYC", campaign.structure("LYC ground state", "Cl"), 10_000.0, 4)
    data = collected(campaign)
    fits, transports = data.measured(schemas.Arrhenius), data.measured(schemas.Transport)
    line, spread = references(data, fits, transports)
    assert line.is_line
    assert not spread.is_line
    per_d = fits[0].extrapolated_conductivity_ms_per_cm / fits[0].extrapolated_diffusivity_m2_per_s
    assert spread.diffusivities_m2_per_s[-1] * per_d == pytest.approx(0.51, rel=1e-6)
    assert line.diffusivities_m2_per_s[-1] * per_d == pytest.approx(15.7, rel=1e-6)


def test_a_fit_of_method_version_2_is_shown_and_is_not_conclusive(campaign):
    ground = campaign.structure("LYB ground state", "Br")
    new = campaign.store.load(schemas.Arrhenius, campaign.arrhenius("LYB", ground, 1.0, 4))
    kept = {
        name: value
        for name, value in new.facts().items()
        if name in OF_VERSION_2 or name.startswith("extrapolated_")
    }
    old = schemas.Arrhenius.from_facts(
        {name: value for name, value in kept.items() if "95" not in name}, key=new.key
    )
    data = collected(campaign)
    data.measurements["arrhenius"] = [old]
    found = verdict(data)
    assert "σ(300 K)" not in texts(found.can)
    assert "(1σ: " in texts(found.cannot)
    assert "fitted before fits were tested" in texts(found.cannot)
    transports = data.measured(schemas.Transport)
    (axes,) = arrhenius_figure(transports, [old]).axes
    (fitted,) = (line for line in axes.lines if len(line.get_xdata()) == 60)
    assert fitted.get_ydata()[-1] == pytest.approx(new.extrapolated_diffusivity_m2_per_s)
    assert ArrheniusLaw().headline(data) is not None


OF_VERSION_2 = {
    "system", "pressure_bar", "model", "transports", "n_points", "fitted", "reason",
    "activation_energy_ev", "activation_energy_err_ev", "log_prefactor", "log_prefactor_err",
    "covariance", "extrapolation_temperature_k",
}  # fmt: skip
