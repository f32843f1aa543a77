"""docs/results: what is committed there follows from the finished runs beside it, without MD."""

import csv
import shutil

import pytest
import results_page
from places import ROOT

from lycb_flows.jobs import dynamics


@pytest.fixture
def folder(tmp_path, monkeypatch):
    copy = tmp_path / "results"
    shutil.copytree(ROOT / "docs" / "results", copy)
    (copy / "numbers.csv").unlink()
    monkeypatch.setattr(results_page, "PAGE", copy)
    return copy


def numbers_in(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("blank_figures")
def test_the_page_is_made_again_from_the_runs(folder, monkeypatch):
    monkeypatch.setattr(dynamics, "run_batch", lambda *_, **__: pytest.fail("it runs MD"))
    results_page.main()
    committed = ROOT / "docs" / "results"
    assert (folder / "README.md").read_text() == (committed / "README.md").read_text()
    found, expected = numbers_in(folder / "numbers.csv"), numbers_in(committed / "numbers.csv")
    assert len(found) == len(expected) > 100
    for row, wanted in zip(found, expected, strict=True):
        for name in ("value", "error", "low", "high"):
            assert (row[name] == "") == (wanted[name] == "")
            if wanted[name]:
                assert float(row[name]) == pytest.approx(float(wanted[name]), rel=1e-4)


def test_a_verdict_follows_from_number_and_error():
    value = results_page.Value(2.6, 0.2)
    assert value.agrees_with(2.0, 3.0) == "reproduced"
    assert value.agrees_with(3.0, 4.0) == "reproduced"
    assert value.agrees_with(3.1, 4.0) == "contradicted"
    assert results_page.Value(2.6, 1.4).agrees_with(2.0, 3.0) == "not resolved"
    assert value.is_above(2.0) == "reproduced"
    assert value.is_above(2.5) == "not resolved"
    assert value.is_above(3.1) == "contradicted"
    assert str(value) == "2.60 ± 0.20"
