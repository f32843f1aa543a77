"""docs/results: what is committed there follows from the finished runs beside it, without MD."""

import csv
import shutil

import pytest
import results_claims
import results_models
import results_page
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from places import ROOT

from lycb_flows import schemas
from lycb_flows.campaign.results import CampaignResults
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
    value = results_claims.Value(2.6, 0.2)
    assert value.agrees_with(2.0, 3.0) == "reproduced"
    assert value.agrees_with(3.0, 4.0) == "reproduced"
    assert value.agrees_with(3.1, 4.0) == "contradicted"
    assert results_claims.Value(2.6, 1.4).agrees_with(2.0, 3.0) == "not resolved"
    assert value.is_above(2.0) == "reproduced"
    assert value.is_above(2.5) == "not resolved"
    assert value.is_above(3.1) == "contradicted"
    assert str(value) == "2.60 ± 0.20"


def test_replicas_are_one_number_whose_error_is_not_below_their_scatter():
    mean = results_claims.weighted_mean(
        [results_claims.Value(2.0, 0.1), results_claims.Value(2.1, 0.1)]
    )
    assert (mean.value, mean.error) == pytest.approx((2.05, 0.1 / 2**0.5))
    apart = results_claims.weighted_mean(
        [results_claims.Value(2.0, 0.1), results_claims.Value(3.0, 0.1)]
    )
    assert (apart.value, apart.error) == pytest.approx((2.5, 0.5))
    alone = results_claims.weighted_mean([results_claims.Value(2.6, 0.2)])
    assert (alone.value, alone.error) == pytest.approx((2.6, 0.2))


def test_a_number_is_zero_within_a_resolution():
    verdict = {
        error: results_claims.Value(0.3, error).is_zero(0.7) for error in (0.1, 0.2, 0.3, 0.5)
    }
    assert verdict == {
        0.1: "contradicted", 0.2: "reproduced", 0.3: "reproduced", 0.5: "not resolved",
    }  # fmt: skip


def series(energies_mev):
    differences = tuple(
        schemas.LatticeDifference(
            first="LYC", second="LYB", x=x, formula=f"x{x}", energy_ev_per_atom=energy / 1000
        )
        for x, energy in energies_mev.items()
    )
    return schemas.CompositionSeries(
        key="1" * 64, model="2" * 64, points=(), differences=differences
    )


@pytest.mark.parametrize(
    ("energies_mev", "where", "verdicts"),
    [
        ({0: -5, 1.5: -1, 2: 1, 6: 5}, "after x = 1.5", ["reproduced", "reproduced"]),
        ({0: -9, 1.5: -2, 6: -1}, "below zero at all 3 x", ["not resolved", "reproduced"]),
        ({0: -9, 1.5: -8, 6: -8}, "below zero at all 3 x", ["contradicted", "not resolved"]),
        ({0: -2, 1.5: 3, 6: 9}, "after x = 0", ["not resolved", "reproduced"]),
        ({0: -2, 1.5: -9, 3: -1, 4: 3, 6: 9}, "after x = 3", ["contradicted", "reproduced"]),
    ],
)
def test_where_the_stable_lattice_changes(energies_mev, where, verdicts):
    claims = list(results_claims.lattices(series(energies_mev), 1.6))
    assert where in claims[0].here
    assert [claim.verdict for claim in claims] == verdicts


def labelled(energy_ev_per_atom, **facts):
    atoms = Atoms("LiCl", positions=[[0, 0, 0], [2, 0, 0]], cell=[4, 4, 4], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=2 * energy_ev_per_atom)
    atoms.info |= facts
    return atoms


def test_the_error_of_a_difference_is_that_of_two_ground_states():
    frames = [
        labelled(-3.690, kind="lattices", model_ev_per_atom=-3.688),
        labelled(-3.700, kind="lattices", model_ev_per_atom=-3.702),
        labelled(-3.700, kind="another", model_ev_per_atom=-2.000),
    ]
    assert results_claims.error_of_difference_mev(frames) == pytest.approx(2 * 2**0.5)


def test_lattices_by_dft_are_compared_where_both_are_there():
    frames = [
        labelled(-3.690, kind="lattices", lattice="LYB", x=6.0),
        labelled(-3.689, kind="lattices", lattice="LYC", x=6.0),
        labelled(-4.100, kind="lattices", lattice="LYB", x=0.0),
    ]
    (claim,) = results_claims.lattices_by_dft(frames)
    assert claim.here.startswith("+1.00 meV/atom")
    assert (claim.paper, claim.verdict) == ("+5.22 meV/atom", "reproduced in sign")


def test_orderings_are_ranked_by_every_model():
    ewald = (3, 1, 4, 2, 5, 6)
    frames = [
        labelled(
            -3 + i / 1000,
            kind="Li3YBr6 C2/m",
            chgnet_ev_per_atom=-3 + i / 500,
            ewald_ev_per_atom=-float(ewald[i]),
            model_ev_per_atom=-3 + i / 1000,
        )
        for i in range(6)
    ]
    (claim,) = results_claims.ranks(frames)
    assert claim.verdict == "reproduced"
    assert "CHGNet 1.00 (p < 0.0001), Ewald -0.71" in claim.here
    (few,) = results_claims.ranks(frames[:3])
    assert "6 lowest" in claim.claim
    assert "3 lowest" in few.claim


def decision(energies_ev):
    """What decides on orderings, given their energies in the model's order."""
    candidates = [
        schemas.DftCandidate(
            ordering="1" * 64,
            model_rank=rank,
            model_above_best_ev_per_atom=rank / 1000,
            model_volume_flag=False,
            energy_ev_per_atom=energy,
        )
        for rank, energy in enumerate(energies_ev, 1)
    ]
    return schemas.GroundState(
        key="2" * 64, system="LYB", ranking="3" * 64, theory="4" * 64, theory_name="teacher: m",
        n=len(energies_ev), n_there=9, ground_state="5" * 64, note="", at_edge=False,
        candidates=tuple(sorted(candidates, key=lambda one: one.energy_ev_per_atom)),
        widened_to=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("energies_ev", "words", "verdict"),
    [
        (
            [-5.006, -5.005, -5.004, -5.003, -5.002, -5.001],
            "number 1 of CHGNet's order",
            "reproduced",
        ),
        (
            [-5.003, -5.006, -5.001, -5.004, -5.002, -5.005],
            "number 2 of CHGNet's order, 3.0 meV/atom below its number 1",
            "not resolved",
        ),
        (
            [-5.001, -5.002, -5.003, -5.004, -5.005, -5.006],
            "number 6 of CHGNet's order, 5.0 meV/atom",
            "contradicted",
        ),
    ],
)
def test_what_decides_may_have_another_order(energies_ev, words, verdict):
    (claim,) = results_claims.decisions([decision(energies_ev)])
    assert words in claim.here
    assert claim.verdict == verdict


def volumes_of(system, volumes_by_model):
    """Return mean volumes by model at 300, 600 and 800 K; None where a run left physics."""
    by_model = tuple(
        schemas.ModelVolumes(
            model="2" * 64,
            name=name,
            cells=tuple(
                schemas.CellAverage(
                    run="3" * 64, temperature_k=t, equilibrated=True, volume_ang3_per_atom=volume
                )
                for t, volume in zip((300.0, 600.0, 800.0), volumes, strict=True)
            ),
        )
        for name, volumes in volumes_by_model.items()
    )
    return schemas.CellVolumes(
        key="1" * 64,
        system=system,
        pressure_bar=1.0,
        model="2" * 64,
        cells=by_model[0].cells,
        by_model=by_model,
    )


@pytest.mark.parametrize(
    ("tuned", "pretrained", "verdicts"),
    [
        ((24, 26, 28), (25, None, None), ["reproduced", "reproduced"]),
        ((24, 26, None), (25, 31, None), ["contradicted", "in part"]),
        ((24, 26, 28), (25, 31, 40), ["reproduced", "contradicted"]),
        ((24, None, 28), (None, None, None), ["contradicted", "reproduced"]),
    ],
)
def test_which_model_is_stable_above_500_k(tuned, pretrained, verdicts):
    documents = [volumes_of(name, {"a": tuned, "b": pretrained}) for name in ("LYC", "LYB")]
    claims = list(results_models.stability_by_model(documents))
    assert [claim.verdict for claim in claims] == verdicts
    assert "LYC: 300 K 24.0 Å³/atom" in claims[0].here
    assert ("600 K left physics" in claims[1].here) == (pretrained[1] is None)


def test_fine_tuned_volumes_are_held_against_sevennets():
    tuned = CampaignResults(
        measured={"volumes": [volumes_of("LYC", {"chgnet": (24.2, 26.1, None), "b": (25, 31, 40)})]}
    )
    sevennet = CampaignResults(
        measured={"volumes": [volumes_of("LYC", {"sevennet-0": (24.1, 25.0, 28.0)})]}
    )
    first, second = results_models.volumes_beside_sevennet([tuned], sevennet)
    assert first.claim == "V of LYC at 300 K and 1 bar by chgnet within 1 % of SevenNet-0's"
    assert (first.here, first.verdict) == ("24.20 against 24.10 Å³/atom (+0.4 %)", "reproduced")
    assert second.verdict == "contradicted"
