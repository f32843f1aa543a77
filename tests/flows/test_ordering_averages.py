"""Several low orderings of a crystal: measured each for itself, averaged in the report."""

import shutil

import pytest
from campaign_runs import run_campaign

from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.ground_states import low_orderings
from lycb_flows.campaign.measurement import measured_starts
from lycb_flows.campaign.names import ordering_names
from lycb_flows.campaign.places import places_in
from lycb_flows.campaign.results import find_results
from lycb_flows.config import MeasurementConfig, name_of_ordering, ordering_name
from lycb_flows.quantities.orderings import average_orderings, ordering_tables
from lycb_flows.report.data import ReportData
from lycb_flows.schemas import (
    DftCandidate,
    DiffusionEstimate,
    GroundState,
    Structure,
    Transport,
)
from lycb_flows.store import open_store

pytestmark = pytest.mark.usefixtures("blank_figures")


def with_orderings(campaign, orderings, **ranking):
    data = campaign.model_dump()
    data["measure"] |= {"orderings": orderings}
    data["ranking"] |= ranking
    return type(campaign).model_validate(data)


def test_one_ordering_is_the_default_and_changes_nothing(loop_campaign):
    assert with_orderings(loop_campaign, 1) == loop_campaign
    assert MeasurementConfig(orderings=1).orderings is None
    with pytest.raises(ValueError, match="n_fine"):
        with_orderings(loop_campaign, 3, n_fine=2)


def test_orderings_have_names_that_lead_back_to_their_system(loop_campaign):
    campaign = with_orderings(loop_campaign, 3, n_fine=3)
    names = [name for _, name in ordering_names(campaign, "LYB")]
    assert names == ["LYB", "LYB-ordering2", "LYB-ordering3"]
    assert {name_of_ordering(name) for name in names} == {"LYB"}
    assert [campaign.system_of(name).name for name in names] == ["LYB"] * 3
    assert name_of_ordering("LYB-x3") == "LYB-x3"
    assert name_of_ordering("my-ordering") == "my-ordering"
    there = {ordering_name("LYB", place): f"{place}" for place in (1, 2)}
    assert measured_starts(campaign, there) == there  # a third was not found


def test_low_orderings_are_measured_beside_the_ground_state(loop_run, loop_campaign, tmp_path):
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    store = open_store(tmp_path / "store")
    campaign = with_orderings(loop_campaign, 2, n_fine=2)
    submission, names = run_campaign(store, campaign)
    found = find_results(store, submission.campaign, submission.theory)
    steps = plan_campaign(store, submission.campaign, submission.theory)
    assert sorted(job.name for step in steps for job in step.jobs) == sorted(names)
    runs = found.documents(Transport)
    assert [run.system for run in runs] == ["LYB", "LYB-ordering2"]
    (ranking,) = found.rankings.values()
    assert found.ground_states["LYB"] == ranking.ground_state
    second = found.ground_states["LYB-ordering2"]
    energies = {row.structure: row.energy_ev_per_atom for row in ranking.best}
    assert energies[second] >= energies[ranking.ground_state]
    assert store.load(Structure, second).species
    placed = places_in(store, submission).places
    assert placed[runs[1].key].system == "LYB-ordering2"
    store.close()


def test_an_ordering_that_dft_has_not_brought_to_rest_is_none_of_the_lowest():
    rows = [
        DftCandidate(
            ordering=digit * 64, model_rank=i, model_above_best_ev_per_atom=0.0,
            model_volume_flag=False, structure=digit * 64, energy_ev_per_atom=-3.0 - i,
            converged=converged,
        )
        for i, (digit, converged) in enumerate([("1", False), ("2", True), ("3", True)])
    ]  # fmt: skip
    decided = GroundState(
        key="4" * 64, system="LYB", ranking="5" * 64, theory="6" * 64, theory_name="gpaw: PBE",
        n=3, n_there=3, candidates=tuple(rows), ground_state="3" * 64, note="", at_edge=False,
        widened_to=None,
    )  # fmt: skip
    assert low_orderings("3" * 64, None, decided) == ["3" * 64, "2" * 64]


def transport_of(system, diffusivity, error, replica=None, **estimated):
    estimate = DiffusionEstimate(
        effective_hops=9.0,
        max_msd_ang2=1.0,
        plateau_msd_ang2=0.0,
        diffusivity_m2_per_s=diffusivity,
        diffusivity_err_m2_per_s=error,
        **({"regime": "diffusive"} | estimated),
    )
    return Transport.model_construct(
        key=f"{system}-{replica}",
        parents=(),
        system=system,
        pressure_bar=1.0,
        temperature_k=600.0,
        replica=replica,
        estimate=estimate,
    )


def test_the_report_has_the_mean_over_orderings_and_its_error():
    runs = [
        transport_of("A", 1e-10, 1e-12),
        transport_of("A-ordering2", 3e-10, 1e-12),
        transport_of("A-ordering2", 5e-10, 1e-12, replica=2),
        transport_of("A-ordering3", None, None),
        transport_of("B", 7e-10, 1e-12),
    ]
    data = ReportData(measurements={Transport.kind: runs})
    (table,) = ordering_tables(data, "A")
    (row,) = table.rows
    assert [cell.text for cell in row][:3] == ["600", "1", "2 of 3"]
    assert "2.5" in row[3].text  # of 1 and (3 + 5) / 2
    assert not list(ordering_tables(data, "B"))
    assert not list(ordering_tables(data, "A-ordering2"))


def test_a_slow_ordering_with_a_bound_counts_with_its_most_likely_diffusivity():
    bound = {"diffusivity_upper_m2_per_s": 2e-12, "most_likely_m2_per_s": 0.0, "regime": "bound"}
    runs = [
        transport_of("A", 1e-10, 1e-12),
        transport_of("A-ordering2", None, None, **bound),
        transport_of("A-ordering3", None, None, regime="confined"),
    ]
    (table,) = ordering_tables(ReportData(measurements={Transport.kind: runs}), "A")
    assert [cell.text for cell in table.rows[0]][2:4] == ["2 of 3", "(5.0 ± 5.0) × 10⁻¹¹"]


def test_the_error_of_a_mean_is_the_larger_of_scatter_and_bars():
    scattered = average_orderings([1.0, 3.0], [0.1, 0.1])
    assert (scattered.diffusivity_m2_per_s, scattered.error_m2_per_s) == pytest.approx((2.0, 1.0))
    alike = average_orderings([2.0, 2.0], [0.3, 0.4])
    assert alike.error_m2_per_s == pytest.approx(0.25)
    assert average_orderings([2.0], [0.3]) is None
