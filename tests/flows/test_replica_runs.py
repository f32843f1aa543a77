"""Several production runs at a condition: planned, run, counted and measured each for itself."""

import shutil

import pytest
from campaign_runs import run_campaign

from lycb_flows.campaign import campaign_status
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.descriptions import MEASUREMENT
from lycb_flows.campaign.measurement import measurement_plan, measurements, run_batches
from lycb_flows.campaign.results import find_results
from lycb_flows.config import MeasurementConfig
from lycb_flows.quantities.plan import Condition
from lycb_flows.quantities.registry import chosen_quantities, find_quantity
from lycb_flows.quantities.replicas import replica_tables
from lycb_flows.quantities.thermodynamics import RunThermodynamics
from lycb_flows.report.data import ReportData
from lycb_flows.schemas import Arrhenius, DiffusionEstimate, Run, Transport
from lycb_flows.store import open_store
from lycb_flows.store.kinds import QUANTITIES

pytestmark = pytest.mark.usefixtures("blank_figures")

HOT = Condition(system="LYB", pressure_bar=1.0, temperature_k=600.0)


def with_replicas(campaign, replicas, **given):
    data = campaign.model_dump()
    data["measure"] |= {"replicas": replicas, **given}
    return type(campaign).model_validate(data)


def plan_of(campaign):
    return measurement_plan(campaign, {"LYB": "2" * 64}, "1" * 64, ())


def test_one_replica_is_the_default_and_changes_no_key(loop_campaign):
    assert with_replicas(loop_campaign, 1) == loop_campaign
    assert MeasurementConfig(replicas=1).replicas is None
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        MeasurementConfig(replicas=0)


def test_a_system_may_have_repeats_of_its_own(loop_campaign):
    data = loop_campaign.model_dump(mode="json")
    assert "repeat" not in data["systems"][0]
    data["measure"]["repeat"] = [1, 1, 2]
    everywhere = type(loop_campaign).model_validate(data)
    data["systems"][0]["repeat"] = [2, 1, 1]
    own = type(loop_campaign).model_validate(data)
    repeats = [
        {run.repeat for run in plan_of(each).runs("npt", Condition())} for each in (everywhere, own)
    ]
    assert repeats == [{(1, 1, 2)}, {(2, 1, 1)}]


def test_replicas_have_seeds_of_their_own_and_share_a_cell(loop_campaign):
    (before,) = plan_of(loop_campaign).runs("nvt", Condition())
    plan = plan_of(with_replicas(loop_campaign, 3))
    runs = plan.runs("nvt", Condition())
    assert runs[0] == before
    assert len({run.seed for run in runs}) == len({Run.key_of(run) for run in runs}) == 3
    assert len({run.start for run in runs}) == 1
    assert [run.name.removeprefix(before.name) for run in runs] == ["", " replica 2", " replica 3"]
    (cell,) = plan.runs("npt", Condition())
    assert Run.key_of(cell) == before.start
    third = HOT.model_copy(update={"replica": 3})
    assert plan.runs("nvt", third) == runs[2:]
    assert plan.runs("nvt", HOT) == runs[:1]
    assert plan.runs("npt", third) == (cell,)


def test_more_replicas_keep_those_that_ran(loop_campaign):
    two, three = (plan_of(with_replicas(loop_campaign, n)).runs("nvt", Condition()) for n in (2, 3))
    assert three[:2] == two


def test_a_condition_travels_with_its_replica_and_says_nothing_of_the_first():
    third = HOT.model_copy(update={"replica": 3})
    assert Condition.from_dict(third.as_dict()) == third
    assert third.title == "LYB 1 bar 600 K replica 3"
    assert "replica" not in HOT.model_dump()
    assert not third.meets(HOT)
    assert third.meets(Condition(system="LYB", pressure_bar=1.0))
    assert third.meets(third.model_copy(update={"system": None}))


def test_every_replica_is_a_job_of_the_plan(loop_campaign):
    campaign = with_replicas(loop_campaign, 2, temperatures_k=[500.0, 600.0])
    plan, quantities = plan_of(campaign), chosen_quantities(campaign.measure)
    jobs = [found.job for found in measurements(plan, quantities)]
    assert [job.name for job in jobs] == [
        "transport LYB 1 bar 500 K",
        "transport LYB 1 bar 500 K replica 2",
        "transport LYB 1 bar 600 K",
        "transport LYB 1 bar 600 K replica 2",
        "arrhenius LYB 1 bar",
    ]
    assert len(set(jobs)) == len(jobs)
    batches = run_batches(plan, quantities)
    assert [len(runs) for _, runs in batches] == [2, 4]
    (fit,) = [
        q.needed_keys(plan, Condition(system="LYB", pressure_bar=1.0)) for q in quantities[1:]
    ]
    assert len(set(fit)) == 4


def test_replicas_are_added_to_a_finished_campaign(loop_run, loop_campaign, tmp_path):
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    store = open_store(tmp_path / "store")
    before = len(store.attempts())
    submission, names = run_campaign(store, with_replicas(loop_campaign, 2))
    new = [attempt.kind for attempt in store.attempts()[before:]]
    assert sorted(set(new)) == ["arrhenius", "campaign", "run", "segment", "transport"]
    assert (new.count("run"), new.count("transport")) == (1, 1)
    steps = plan_campaign(store, submission.campaign, submission.theory)
    assert sorted(job.name for step in steps for job in step.jobs) == sorted(names)
    (runs,) = [step for step in steps if step.stage == MEASUREMENT and " runs, " in step.work]
    assert runs.work.startswith("3 runs, 0.18 ps together")  # each of 0.06 ps
    status = campaign_status(store, submission)
    assert status["measured"] == ["LYB 1 bar 600 K", "LYB 1 bar 600 K replica 2"]
    found = find_results(store, submission.campaign, submission.theory)
    transports = found.documents(Transport)
    assert [t.replica for t in transports] == [None, 2]
    assert transports[0].msd_ang2 != transports[1].msd_ang2
    (fit,) = found.documents(Arrhenius)
    assert set(fit.transports) == {t.key for t in transports}
    store.close()


def transport_of(replica, diffusivity, event=1e-11, **place):
    estimate = DiffusionEstimate(
        effective_hops=0.0,
        max_msd_ang2=0.0,
        plateau_msd_ang2=0.0,
        regime="diffusive",
        most_likely_m2_per_s=diffusivity,
        event_m2_per_s=event,
    )
    condition = {"system": "LYB", "pressure_bar": 1.0, "temperature_k": 600.0} | place
    return Transport.model_construct(
        key=f"{replica or 1}" * 64,
        parents=(),
        replica=replica,
        duration_ps=100.0,
        n_atoms=60,
        n_mobile=18,
        volume_ang3_per_atom=25.0,
        estimate=estimate,
        **condition,
    )


def data_of(*diffusivities):
    runs = [transport_of(None if i == 0 else i + 1, d) for i, d in enumerate(diffusivities)]
    alone = transport_of(None, 1e-10, temperature_k=700.0)
    return ReportData(measurements={"transport": [*runs, alone]})


def test_a_report_pools_replicas_and_says_how_they_scatter():
    (table,) = replica_tables(data_of(4e-10, 5e-10, 6e-10), "LYB")
    (row,) = table.rows  # a condition with a single run is no pool
    assert [cell.text for cell in row] == [
        "600", "1", "3 of 3", "5.00 × 10⁻¹⁰", "(4.25 to 5.85) × 10⁻¹⁰", "150", "4.0 (2)", "0.14",
    ]  # fmt: skip
    assert list(replica_tables(data_of(4e-10), "LYB")) == []


@pytest.mark.parametrize(("second", "n_statements"), [(5e-10, 0), (9e-10, 1)])
def test_replicas_that_disagree_are_named(second, n_statements):
    limits = find_quantity("diffusion").limits
    found = [s for s in limits(data_of(4e-10, second)) if "replicas" in s.text]
    assert len(found) == n_statements
    assert all("LYB 600 K" in s.text or "LYB 1 bar 600 K" in s.text for s in found)


def test_a_table_tells_the_runs_of_a_condition_apart():
    runs = [
        RunThermodynamics(
            key=f"{i}" * 64, run="2" * 64, model="3" * 64, system="LYB", pressure_bar=1.0,
            temperature_k=600.0, n_frames=0, replica=replica, reason="too short",
        )
        for i, replica in enumerate((None, 2))
    ]  # fmt: skip
    data = ReportData(measurements={"thermodynamics": runs})
    (part,) = find_quantity("thermodynamics").section(data, None).blocks
    assert [row[0].text for row in part.tables[0].rows] == ["600", "600 (replica 2)"]


def test_every_document_of_a_run_says_which_replica_it_is_of():
    own = [entry.name for entry in QUANTITIES._own]
    scoped = [find_quantity(name) for name in own]
    lacking = [
        quantity.name
        for quantity in scoped
        if quantity.scope == "temperature" and "replica" not in quantity.document.model_fields
    ]
    assert lacking == []
    assert "charge" in own
