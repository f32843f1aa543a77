"""What a report says of runs whose ions do not diffuse."""

import pytest

from lycb_flows import schemas
from lycb_flows.quantities.arrhenius import ArrheniusLaw
from lycb_flows.quantities.charge import Charge
from lycb_flows.quantities.diffusion import Diffusion
from lycb_flows.quantities.figures import arrhenius_figure
from lycb_flows.quantities.thermodynamics import Thermodynamics
from lycb_flows.quantities.transports import summary, transport_table
from lycb_flows.report import MISSING, FolderAlbum, ReportData


def transport(temperature_k, **estimate):
    facts = {"effective_hops": 100.0, "max_msd_ang2": 12.0, "plateau_msd_ang2": 0.2}
    sigma = 12.0 if estimate.get("diffusivity_m2_per_s") else None
    return schemas.Transport(
        key=f"{temperature_k:g}", run="r", model="m", system="LYC", temperature_k=temperature_k,
        pressure_bar=1.0, volume_ang3_per_atom=24.0, mobile_species="Li", n_mobile=18, n_atoms=60,
        duration_ps=200.0, lags_ps=(1.0,), msd_ang2=(1.0,), framework_msd_ang2=(1.0,),
        estimate=schemas.DiffusionEstimate(**facts, **estimate), conductivity_ms_per_cm=sigma,
        healthy=True,
    )  # fmt: skip


CONFINED = {"regime": "confined", "reason": "the ions come back within 9 ps"}
DIFFUSIVE = {
    "regime": "diffusive", "diffusivity_m2_per_s": 1e-10, "diffusivity_err_m2_per_s": 1e-11,
    "diffusivity_low_m2_per_s": 0.8e-10, "diffusivity_high_m2_per_s": 1.2e-10,
    "paper_diffusivity_m2_per_s": 1.1e-10, "diffusivity_err_he_m2_per_s": 0.4e-10,
}  # fmt: skip


def data(*transports):
    return ReportData(measurements={schemas.Transport.kind: list(transports)})


def test_many_diffusivities_without_a_fit_are_said_together():
    runs = [transport(400.0 + 50 * i, **DIFFUSIVE) for i in range(9)]
    alone = runs[0].model_copy(update={"pressure_bar": 1e4, "key": "alone"})
    few = [finding.text for finding in Diffusion().findings(data(*runs[:8]))]
    assert len(few) == 8
    assert few[0] == "LYC 1 bar 400 K: D = (1.00 ± 0.10) × 10⁻¹⁰ m²/s."
    many = list(Diffusion().findings(data(*reversed(runs), alone)))
    assert [finding.text for finding in many] == [
        (
            "LYC at 1 bar: D in 9 runs, from (1.00 ± 0.10) × 10⁻¹⁰ m²/s at 400 K to "
            "(1.00 ± 0.10) × 10⁻¹⁰ m²/s at 800 K."
        ),
        "LYC 10000 bar 400 K: D = (1.00 ± 0.10) × 10⁻¹⁰ m²/s.",
    ]
    assert set(many[0].keys) == {run.key for run in runs}


def test_where_nothing_diffuses_the_axis_follows_the_slopes():
    slope = {"paper_diffusivity_m2_per_s": 2e-11}
    (axes,) = arrhenius_figure([transport(t, **CONFINED, **slope) for t in (400.0, 500.0)], []).axes
    assert axes.get_yscale() == "log"
    low, high = axes.get_ylim()
    assert low <= 2e-11 <= high < 1e-9


def test_a_small_cell_of_another_crystal_is_named():
    small = transport(400.0, **DIFFUSIVE).model_copy(
        update={"n_atoms": 16, "n_mobile": 6, "volume_ang3_per_atom": 20.0}
    )
    (limit,) = Diffusion().limits(data(small))
    assert limit.text == (
        "LYC: 16 atoms with 6 mobile ions, as many as a cube of 6.8 Å holds: ions meet their own "
        "images."
    )
    assert not list(Diffusion().limits(data(transport(400.0, **DIFFUSIVE))))


def test_confined_ions_are_what_the_first_line_says():
    runs = [transport(400.0 + 50 * i, **CONFINED) for i in range(6)]
    line = Diffusion().headline(data(*runs))
    assert line.startswith("The ions are confined in 6 of 6 runs")
    assert "no conductivity" in line
    (doubt,) = Diffusion().doubts(data(*runs))
    assert doubt.text.startswith("6 of 6 runs show confined ions")
    rows = transport_table(data(*runs), "LYC").rows
    printed = {cell.text for row in rows for cell in row}
    assert "confined" in printed
    assert not any("<" in text for text in printed)


@pytest.mark.parametrize(
    ("regimes", "words"),
    [
        (
            ("unmeasured", "unmeasured"),
            "D was measured in 0 of 2 runs; nothing was measured in 2: ",
        ),
        (("ageing", "unmeasured"), "D was measured in 0 of 2 runs; ageing in 1; nothing was "),
        (("bound", "unmeasured"), "No diffusion was resolved: D (1 of 2) is an upper bound, so "),
        (("bound", "bound"), "No diffusion was resolved: every D (2 of 2) is an upper bound, so "),
    ],
)
def test_the_first_line_speaks_of_bounds_only_where_there_are_some(regimes, words):
    bound = {"diffusivity_upper_m2_per_s": 1e-12}
    runs = [
        transport(400.0 + i, regime=regime, **bound if regime == "bound" else {})
        for i, regime in enumerate(regimes)
    ]
    line = Diffusion().headline(data(*runs))
    assert line.startswith(words)
    assert "300 K" not in line  # that is the fit's to say


@pytest.mark.parametrize("level", [0.95, 0.68])
def test_intervals_and_bounds_are_printed_with_their_confidence(tmp_path, level):
    upper = {"regime": "bound", "diffusivity_upper_m2_per_s": 1e-12}
    runs = [
        transport(400.0, **upper, confidence=level),
        transport(500.0, **DIFFUSIVE, confidence=level),
        transport(600.0, regime="unmeasured"),
    ]
    fit = schemas.Arrhenius(
        key="a", system="LYC", pressure_bar=1.0, model="m", transports=(), n_points=2,
        fitted=False, extrapolation_temperature_k=300.0,
    )  # fmt: skip
    own = ReportData(measurements={schemas.Transport.kind: runs, schemas.Arrhenius.kind: [fit]})
    table = transport_table(own, "LYC")
    (figure,) = ArrheniusLaw().part(own, FolderAlbum(tmp_path), "LYC").figures
    with_interval, with_arrows, *_ = figure.caption.split(". ")
    (bound, _) = Diffusion().doubts(own)
    (legend,) = arrhenius_figure(runs[:1], []).legends[0].get_texts()
    said = [" ".join(table.columns), table.note, with_interval, with_arrows, bound.text]
    for text in (*said, legend.get_text()):
        assert f"{100 * level:g} %" in text
        assert ("95 %" in text) == (level == 0.95)
    notes = [number.remark for run in runs[:2] for number in Diffusion().numbers(run)]
    assert ["68 %" in note for note in notes] == [level != 0.95, False] * 2


def test_other_regimes_are_named_beside_what_was_measured():
    ageing = transport(500.0, regime="ageing", reason="D differs between the halves of the run")
    runs = [transport(400.0, **DIFFUSIVE), transport(450.0, **CONFINED), ageing]
    assert summary(runs) == (
        "The ions are confined in 1 of 3 runs; D was measured in 1; ageing in 1"
    )
    assert summary(runs[::2]) == "D was measured in 1 of 2 runs; ageing in 1"
    assert len(list(Diffusion().doubts(data(*runs)))) == 2


@pytest.mark.parametrize(
    ("old", "regime"),
    [
        ({"diffusivity_m2_per_s": 1e-10, "diffusivity_err_m2_per_s": 1e-11}, "diffusive"),
        ({"diffusivity_upper_m2_per_s": 1e-12}, "bound"),
        ({}, "unmeasured"),
    ],
)
def test_documents_of_method_version_2_have_a_row(old, regime):
    (row,) = transport_table(data(transport(400.0, **old)), "LYC").rows
    assert row[3].text == regime


# -- what is not there ---------------------------------------------------------------------------

LEFT = "left physics at step 487600"


def lost():
    """A run that left physics: of no length, with nothing measured."""
    estimate = schemas.DiffusionEstimate(
        regime="unmeasured", reason=LEFT, effective_hops=0, max_msd_ang2=0, plateau_msd_ang2=0
    )
    return transport(500.0).model_copy(update={"duration_ps": 0.0, "estimate": estimate})


NO_CHARGE = schemas.ChargeEstimate(resolved=False, reason=LEFT, n_modes=0)
NOT_MEASURED = {
    Diffusion(): lost(),
    Charge(): schemas.ChargeTransport.model_construct(estimate=NO_CHARGE),
    ArrheniusLaw(): schemas.Arrhenius.model_construct(
        reason=LEFT, extrapolation_temperature_k=300.0
    ),
    Thermodynamics(): schemas.RunThermodynamics.model_construct(reason=LEFT),
}


@pytest.mark.parametrize(("quantity", "document"), NOT_MEASURED.items())
def test_each_number_that_is_not_there_says_why(quantity, document):
    numbers = list(quantity.numbers(document))
    assert len(numbers) > 1
    assert {(number.value, number.high, number.note) for number in numbers} == {(None, None, LEFT)}


def test_what_was_not_measured_is_a_dash_and_no_zero():
    (row,) = transport_table(data(lost()), "LYC").rows
    texts = [cell.text for cell in row]
    assert texts[3] == "unmeasured"
    assert {*texts[2:3], *texts[4:]} == {MISSING}
