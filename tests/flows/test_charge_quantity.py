"""The quantity `charge`: measured after the diffusivity, and what a report says of it."""

import shutil

import pytest
from campaign_runs import run_campaign

from lycb_flows.campaign.results import find_results
from lycb_flows.quantities.registry import find_quantity
from lycb_flows.report.data import ReportData
from lycb_flows.schemas import ChargeEstimate, ChargeTransport, Transport
from lycb_flows.store import open_store


def test_charge_needs_a_diffusivity_and_no_new_run(loop_run, loop_campaign, tmp_path):
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    store = open_store(tmp_path / "store")
    before = len(store.attempts())
    data = loop_campaign.model_dump()
    data["measure"]["quantities"] = ["charge"]
    submission, names = run_campaign(store, type(loop_campaign).model_validate(data))
    assert [attempt.kind for attempt in store.attempts()[before:]] == ["campaign", "charge"]
    assert "charge LYB 1 bar 600 K" in names
    found = find_results(store, submission.campaign, submission.theory)
    (transport,) = found.documents(Transport)
    (document,) = found.documents(ChargeTransport)
    assert document.transport == transport.key
    assert set(document.parents) == {transport.key, transport.run}
    assert not document.estimate.resolved  # 15 frames
    assert transport.estimate.regime in document.estimate.reason
    store.close()


def charge_of(haven, log_err, replica=None, level=0.95):
    estimate = ChargeEstimate(resolved=False, reason="a collective diffusivity of zero")
    if haven is not None:
        estimate = ChargeEstimate(
            resolved=True,
            diffusivity_m2_per_s=1e-10 / haven,
            diffusivity_low_m2_per_s=0.8e-10 / haven,
            diffusivity_high_m2_per_s=1.25e-10 / haven,
            haven_ratio=haven,
            haven_ratio_low=haven * (1 - 2 * log_err),
            haven_ratio_high=haven * (1 + 2 * log_err),
            confidence=level,
        )
    return ChargeTransport(
        key="1" * 64,
        run="2" * 64,
        transport="3" * 64,
        model="4" * 64,
        system="LYC",
        pressure_bar=1.0,
        temperature_k=500.0,
        replica=replica,
        mobile_species="Li",
        charge_number=1,
        n_mobile=18,
        duration_ps=200.0,
        estimate=estimate,
        conductivity_ms_per_cm=None if haven is None else 15.7,
        conductivity_low_ms_per_cm=None if haven is None else 12.0,
        conductivity_high_ms_per_cm=None if haven is None else 19.0,
    )


@pytest.mark.parametrize(
    ("document", "finding", "limit"),
    [
        (charge_of(0.33, 0.1), "Li ions move together, Haven ratio 0.33 (95 %: 0.26 to 0.40)", ""),
        (charge_of(0.33, 0.1, level=0.68), "Haven ratio 0.33 (68 %: 0.26 to 0.40)", ""),
        (charge_of(2.0, 0.1), "Li ions move against each other", ""),
        (charge_of(0.9, 0.1), "", ""),
        (charge_of(None, None), "", "not resolved in 1 of 1 run: LYC 1 bar 500 K."),
        (charge_of(None, None, replica=2), "", "LYC 1 bar 500 K replica 2"),
    ],
)
def test_a_report_says_how_ions_move_where_it_is_known(document, finding, limit):
    data = ReportData(measurements={"charge": [document]})
    quantity = find_quantity("charge")
    for statements, words in ((quantity.findings, finding), (quantity.limits, limit)):
        texts = [statement.text for statement in statements(data)]
        assert len(texts) == bool(words)
        assert all(words in text for text in texts)


def test_runs_of_a_system_at_a_pressure_are_told_together():
    documents = [charge_of(haven, 0.1, replica=i) for i, haven in ((1, 0.33), (2, 0.5), (3, 2.0))]
    together, against = find_quantity("charge").findings(
        ReportData(measurements={"charge": documents})
    )
    assert together.text == (
        "LYC at 1 bar: Li ions move together in 2 runs, Haven ratios 0.33 to 0.50 (95 %: 0.26 to "
        "0.60)."
    )
    assert together.keys == tuple(each.key for each in documents[:2])
    assert against.text.startswith("LYC 1 bar 500 K replica 3: Li ions move against each other")


def test_a_row_has_every_interval_or_the_reason():
    quantity = find_quantity("charge")
    assert quantity.row(charge_of(0.33, 0.1)) == (
        "3.03 × 10⁻¹⁰", "(2.42 to 3.79) × 10⁻¹⁰", "15.7", "12.0 to 19.0", "0.33",
        "0.26 to 0.40", "95 % intervals",
    )  # fmt: skip
    assert quantity.row(charge_of(0.33, 0.1, level=0.68))[-1] == "68 % intervals"
    assert not any("%" in column for column in quantity.columns)
    row = quantity.row(charge_of(None, None))
    assert row[-1] == "not resolved: a collective diffusivity of zero"
    assert len(row) == len(quantity.columns)


@pytest.mark.parametrize(("level", "note"), [(0.95, ""), (0.68, "confidence 68 %")])
def test_the_note_of_a_number_has_the_confidence_that_is_not_95_percent(level, note):
    numbers = find_quantity("charge").numbers(charge_of(0.33, 0.1, level=level))
    assert [number.remark for number in numbers] == [note] * 3
