"""docs/results: what is committed there follows from the finished runs beside it, without MD."""

import csv
import math
import shutil

import pytest
import relaxed_labels
import results_claims
import results_models
import results_orderings
import results_page
import results_replicas
import results_series
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from places import ROOT
from results_values import Value, of_number, weighted_mean

from lycb_flows import schemas
from lycb_flows.campaign.results import CampaignResults
from lycb_flows.errors import InputError
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
    value = Value(2.6, 0.2)
    assert value.as_paper(Value(2.0), Value(3.0)) == "reproduced"
    assert value.as_paper(Value(3.0), Value(4.0)) == "reproduced"
    assert value.as_paper(Value(3.1), Value(4.0)) == "contradicted"
    assert value.as_paper(Value(3.1, 0.2)) == "reproduced"  # both have errors
    assert value.distance(Value(3.1)) == pytest.approx(2.5)
    assert value.distance(Value(2.0), Value(3.0)) == 0
    assert Value(2.6, 1.4).as_paper(Value(2.0)) == "not resolved"
    assert value.is_above(2.0) == "reproduced"
    assert value.is_above(2.5) == "not resolved"
    assert value.is_above(3.1) == "contradicted"
    assert str(value) == "2.60 ± 0.20"


@pytest.mark.parametrize(
    ("here", "paper", "verdict"),
    [
        (of_number(20.0, 0.2), of_number(25.0), "reproduced"),
        (of_number(5.0, 0.2), of_number(25.0), "reproduced in sign"),
        (of_number(5.0, 0.2), of_number(0.4), "contradicted"),
        (of_number(0.5, 0.2), of_number(0.4), "reproduced"),
        (of_number(1.4, 0.2), of_number(25.0), "not resolved"),
        (of_number(20.0, 0.6), of_number(25.0), "reproduced in sign"),
    ],
    ids=str,
)
def test_a_ratio_may_have_the_papers_sign_or_its_number(here, paper, verdict):
    assert here.as_papers_ratio(paper) == verdict


def test_a_range_of_ratios_has_the_papers_sign_or_its_numbers():
    verdicts = [
        results_claims.as_range_of_ratios(Value(*here), Value(2.0), Value(3.0))
        for here in ((2.5, 0.2), (4.6, 0.2), (1.1, 0.2), (0.5, 0.1), (2.6, 1.4))
    ]
    assert verdicts == [
        "reproduced", "reproduced in sign", "contradicted", "contradicted", "not resolved",
    ]  # fmt: skip


def test_a_conductivity_is_compared_by_its_logarithm():
    assert str(of_number(100.0, 0.2)) == "100 (67.0 to 149)"
    assert of_number(100.0, 0.2).as_paper(of_number(140.0)) == "reproduced"
    assert of_number(100.0, 0.2).as_paper(of_number(160.0)) == "contradicted"
    assert of_number(100.0, 0.2).as_paper(of_number(160.0, 0.2)) == "reproduced"
    assert of_number(100.0, 0.51).as_paper(of_number(900.0)) == "not resolved"


def test_the_papers_conductivity_has_the_error_of_its_barrier():
    found = results_claims.papers_conductivity("LYC", "CHGNet600K_10kbar")
    assert found.log.value == pytest.approx(math.log(15.7))
    assert found.log.error == pytest.approx(0.01 * (38.68 - 21.09), rel=0.01)  # 1/(k_B T eV)


def test_replicas_are_one_number_whose_error_is_not_below_their_scatter():
    mean = weighted_mean([Value(2.0, 0.1), Value(2.1, 0.1)])
    assert (mean.value, mean.error) == pytest.approx((2.05, 0.1 / 2**0.5))
    apart = weighted_mean([Value(2.0, 0.1), Value(3.0, 0.1)])
    assert (apart.value, apart.error) == pytest.approx((2.5, 0.5))
    alone = weighted_mean([Value(2.6, 0.2)])
    assert (alone.value, alone.error) == pytest.approx((2.6, 0.2))


def test_a_number_is_within_a_limit_or_beyond_it():
    verdicts = [Value(*numbers).is_within(0.7) for numbers in ((0.3, 0.1), (-0.3, 0.3), (1.0, 0.1))]
    assert verdicts == ["reproduced", "not resolved", "contradicted"]
    assert results_models.percent(Value(24.2, 0.1), Value(24.0)).value == pytest.approx(0.833, 0.01)


def test_all_steps_must_rise():
    up, flat, down = Value(1.0, 0.1), Value(0.1, 0.1), Value(-1.0, 0.1)
    assert results_series.in_turn([up, up]) == "reproduced"
    assert results_series.in_turn([up, flat]) == "not resolved"
    assert results_series.in_turn([up, flat, down]) == "contradicted"


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
        ({0: -5, 1.5: -1, 2: 1, 6: 5}, "between x = 1.5 and 2", ["reproduced", "reproduced"]),
        ({0: -9, 1.5: -2, 6: -1}, "below zero at all 3 x", ["not resolved", "reproduced"]),
        ({0: -9, 1.5: -8, 6: -8}, "below zero at all 3 x", ["contradicted", "not resolved"]),
        ({0: -2, 1.5: 3, 6: 9}, "between x = 0 and 1.5", ["not resolved", "reproduced"]),
        (
            {0: -2, 1.5: -9, 3: -1, 4: 3, 6: 9},
            "between x = 3 and 4",
            ["contradicted", "reproduced"],
        ),
    ],
)
def test_where_the_stable_lattice_changes(energies_mev, where, verdicts):
    claims = list(results_orderings.lattices(series(energies_mev), 1.6))
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
    assert results_orderings.error_of_difference_mev(frames) == pytest.approx(2 * 2**0.5)


def test_lattices_by_dft_are_compared_where_both_are_there():
    frames = [
        labelled(-3.690, kind="lattices", lattice="LYB", x=6.0),
        labelled(-3.689, kind="lattices", lattice="LYC", x=6.0),
        labelled(-4.100, kind="lattices", lattice="LYB", x=0.0),
    ]
    (claim,) = results_orderings.lattices_by_dft(frames)
    assert claim.here.startswith("+1.00 meV/atom")
    assert claim.claim == "C2 is the lower lattice by DFT at x = 6"
    assert (claim.paper, claim.verdict) == ("+5.22 meV/atom", "reproduced")


@pytest.mark.parametrize(
    ("energies_mev", "where", "verdict"),
    [
        ({0.0: -2.0, 3.0: 4.0, 6.0: 5.0}, "between x = 0 and 3", "not resolved"),
        ({0.0: -2.0, 1.5: -0.5, 2.0: 1.0}, "between x = 1.5 and 2", "reproduced"),
        ({0.0: -2.0, 0.5: 1.0, 6.0: 5.0}, "between x = 0 and 0.5", "contradicted"),
    ],
)
def test_a_change_of_sign_by_dft_lies_between_two_compositions(energies_mev, where, verdict):
    frames = [
        labelled(energy, kind="lattices", lattice=lattice, x=x, model_ev_per_atom=energy + 0.002)
        for x, energy_mev in energies_mev.items()
        for lattice, energy in (("LYB", -3.7), ("LYC", -3.7 + energy_mev / 1000))
    ]
    claim, *signs = results_orderings.lattices_by_dft(frames)
    assert len(signs) == 3
    assert where in claim.here
    assert claim.verdict == verdict
    above_mev = results_orderings.above_dft_mev(frames, "LYC")
    assert list(above_mev) == list(energies_mev)
    assert above_mev[0.0] == pytest.approx(2.0)


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
    (claim,) = results_orderings.ranks(frames)
    assert claim.verdict == "reproduced"
    assert "CHGNet 1.00 (p < 0.0001), Ewald -0.71" in claim.here
    (few,) = results_orderings.ranks(frames[:3])
    assert "6 lowest" in claim.claim
    assert "3 lowest" in few.claim


def decision(energies_ev, *, expands=False):
    """What decides on orderings, given their energies in the model's order.

    The model sets its first one aside where that has expanded.
    """
    candidates = [
        schemas.DftCandidate(
            ordering="1" * 64,
            model_rank=rank,
            model_above_best_ev_per_atom=rank / 1000,
            model_volume_flag=rank == 1 and expands,
            energy_ev_per_atom=energy,
            converged=True,
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
            "number 2 of CHGNet's order, 3.0 meV/atom below its number 1,",
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
    (claim,) = results_orderings.decisions([decision(energies_ev)])
    assert words in claim.here
    assert claim.verdict == verdict


def test_a_model_proposes_its_lowest_ordering_that_did_not_expand():
    energies_ev = [-5.001, -5.003, -5.006, -5.002, -5.004, -5.005]
    (claim,) = results_orderings.decisions([decision(energies_ev, expands=True)])
    assert "number 3 of CHGNet's order, 3.0 meV/atom below its number 2," in claim.here


def volumes_of(system, volumes_by_model):
    """Return mean volumes by model at 300, 600 and 800 K; None where a run left physics."""
    by_model = tuple(
        schemas.ModelVolumes(
            model="2" * 64,
            name=name,
            cells=tuple(
                schemas.CellAverage(
                    run="3" * 64,
                    temperature_k=t,
                    equilibrated=True,
                    volume_ang3_per_atom=volume,
                    volume_err_ang3_per_atom=0.02,
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
        ((24, 26, None), (25, 31, None), ["contradicted", "reproduced"]),
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
    here, theirs = map(results_models.mean_volumes, (tuned, sevennet))
    first, second = results_models.beside_sevennet("chgnet", here, theirs)
    assert first.claim == (
        "V of LYC at 300 K and 1 bar by chgnet, within 1 % of the student of SevenNet-0"
    )
    assert first.here == "24.200 ± 0.020 against 24.100 ± 0.020 Å³/atom (+0.4 %)"
    assert first.paper == "+1.7 % (SevenNet-MF-ompa)"
    assert (first.verdict, second.verdict) == ("reproduced", "contradicted")


def test_volumes_are_held_against_the_papers_and_those_of_experiments():
    found = CampaignResults(measured={"volumes": [volumes_of("LYB", {"m": (29.7, 32.2, 35.0)})]})
    claims = list(results_models.as_in_paper("m", results_models.mean_volumes(found)))
    assert [claim.verdict for claim in claims] == ["contradicted", "contradicted", "contradicted"]
    assert (claims[1].paper, claims[1].here) == ("+8.4 %", "+10.6 %")
    assert claims[1].experiment == "26.9 Å³/atom"


def transport(temperature_k, diffusivity_m2_per_s, log_err=0.1):
    """Return what is measured of a run of Li3YCl6; without D where its error is None."""
    known = log_err is not None
    return schemas.Transport(
        key="1" * 64, run="2" * 64, model="3" * 64, system="LYC", temperature_k=temperature_k,
        pressure_bar=1.0, volume_ang3_per_atom=25.0, mobile_species="Li", n_mobile=72, n_atoms=240,
        duration_ps=2000.0, lags_ps=(), msd_ang2=(), framework_msd_ang2=(), healthy=True,
        estimate=schemas.DiffusionEstimate(
            diffusivity_m2_per_s=diffusivity_m2_per_s if known else None,
            diffusivity_log_err=log_err, effective_hops=100.0, max_msd_ang2=50.0,
            plateau_msd_ang2=0.2,
        ),
    )  # fmt: skip


def test_replicas_are_compared_in_units_of_their_errors():
    first, second = (
        {results_claims.place(run): run for run in runs}
        for runs in (
            (transport(400.0, 1e-10), transport(500.0, 2e-10), transport(600.0, 4e-10, None)),
            (transport(400.0, 1.1e-10), transport(500.0, 1.4e-10), transport(600.0, 4e-10)),
        )
    )
    text = results_replicas.differences_text("replica 2", first, second)
    assert "a median of 26 % and at most 43 %" in text
    assert "χ² is 7 for 2 conditions (p = 0.033)" in text
    assert results_replicas.differences_text("replica 2", first, {}).startswith("No condition")


def test_a_label_that_began_from_another_ordering_is_refused():
    tasks = [relaxed_labels.Task(f"lattices LYB {x}", None, f"origin {x}") for x in (0, 3)]
    assert relaxed_labels.to_make(tasks, {"lattices LYB 0": "origin 0"}) == tasks[1:]
    with pytest.raises(InputError, match="began from another ordering"):
        relaxed_labels.to_make(tasks, {"lattices LYB 3": "of another decision"})
