"""A quantity of another package: measured, watched, reported, and kept when it is gone."""

import shutil
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from campaign_runs import run_campaign
from messages import assert_one_line
from places import CAMPAIGNS
from pydantic import ValidationError

from lycb_flows.campaign import campaign_status
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.measurement import measurement_plan, measurements, run_batches
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import find_submission, read_campaign, submit
from lycb_flows.config import MeasurementConfig
from lycb_flows.crystals import load_parent
from lycb_flows.errors import InputError
from lycb_flows.flows.campaign import campaign_flow
from lycb_flows.quantities.base import Quantity
from lycb_flows.quantities.plan import Condition
from lycb_flows.quantities.registry import check_quantities, chosen_quantities, find_quantity
from lycb_flows.schemas import KINDS, Blob, Density, Document, Sites
from lycb_flows.store import open_store
from lycb_flows.store.garbage import list_garbage
from lycb_flows.store.kinds import QUANTITIES, UnknownDocument

pytestmark = pytest.mark.usefixtures("blank_figures")

CENSUS = '''
"""Count the atoms of each element in production runs."""

from collections import Counter

from lycb_flows.config import Config
from lycb_flows.quantities.base import Quantity
from lycb_flows.schemas import Blob, Document, Run, Structure


class Census(Document):
    kind = "census"

    system: str
    pressure_bar: float
    model: str
    n_atoms: int
    counts: Blob


class CensusOptions(Config):
    factor: int = 1


class TakeCensus(Quantity[Census]):
    name = "census"
    document = Census
    scope = "pressure"
    options = CensusOptions
    columns = ("atoms",)

    def compute(self, store, plan, condition):
        runs = [store.load(Run, Run.key_of(run)) for run in self.runs(plan, condition)]
        species = store.load(Structure, runs[0].start_structure).species
        return Census(
            key=self.key(plan, condition),
            parents=tuple(run.key for run in runs),
            system=condition.system,
            pressure_bar=condition.pressure_bar,
            model=plan.model,
            n_atoms=len(species) * self.settings(plan.campaign).factor,
            counts=store.blobs.put_json(Counter(species)),
        )

    def row(self, document):
        return (str(document.n_atoms),)
'''


def install(folder, module, source, name, entry):
    """A package with one entry point, as pip leaves it behind."""
    (folder / f"{module}.py").write_text(source)
    made = folder / f"{module}-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text(f"[lycb_flows.quantities]\n{name} = {module}:{entry}\n")


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder whose packages are installed while the test runs."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield folder
    forget_census()


def forget_census():
    """What a process that starts anew does not know."""
    KINDS.pop("census", None)
    sys.modules.pop("census", None)


@pytest.fixture
def census(packages):
    install(packages, "census", CENSUS, "census", "TakeCensus")
    return packages


def measuring(campaign, quantities):
    data = campaign.model_dump()
    data["measure"]["quantities"] = quantities
    return type(campaign).model_validate(data)


@pytest.fixture
def finished(loop_run, tmp_path):
    """A copy of the store of the finished loop."""
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    return open_store(tmp_path / "store")


@pytest.fixture
def taken(census, finished, loop_campaign):
    """The finished loop, then measured by a quantity of another package."""
    campaign = measuring(loop_campaign, ["diffusion", "arrhenius", "census"])
    n_attempts = len(finished.attempts())
    submission, names = run_campaign(finished, campaign)
    found = find_results(finished, submission.campaign, submission.theory)
    (document,) = found.measured["census"]
    new = [attempt.kind for attempt in finished.attempts()[n_attempts:]]
    yield SimpleNamespace(
        packages=census,
        store=finished,
        submission=submission,
        names=names,
        document=document,
        new=new,
    )
    finished.close()


def test_a_quantity_of_another_package_is_measured_without_any_new_run(taken, lycb, tmp_path):
    assert taken.new == ["campaign", "census"]
    submission = taken.submission
    steps = plan_campaign(taken.store, submission.campaign, submission.theory)
    assert sorted(job.name for step in steps for job in step.jobs) == sorted(taken.names)
    assert "census LYB 1 bar" in taken.names
    assert steps[-1].work == "transport and Arrhenius and census"
    assert campaign_status(taken.store, submission)["census"] == ["LYB 1 bar"]
    assert taken.document.n_atoms == 20
    code, _, _ = lycb("report", "loop", "--store", taken.store.folder, "--report", tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert code == 0
    assert '<section id="census">' in page
    assert taken.document.key[:12] in page


@pytest.fixture
def uninstalled(taken, monkeypatch):
    """The same in a process that starts after the package was uninstalled."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(taken.packages)])
    forget_census()
    return taken


def test_what_an_absent_package_has_measured_stays_as_it_is(uninstalled, lycb):
    store, document = uninstalled.store, uninstalled.document
    kept = store.load_any(document.key)
    assert isinstance(kept, UnknownDocument)
    assert (kept.kind, kept.facts()) == ("census", document.facts())
    assert store.all_facts()[document.key][0] == "census"
    blob = document.counts.sha256
    soon = datetime.now(UTC) + timedelta(days=8)
    store.blobs.put(b"nobody's", "text/plain")
    garbage = {listed.name for listed in list_garbage(store, now=soon).blobs}
    assert store.blobs.has(blob)
    assert len(garbage) == 1
    assert blob not in garbage
    for words in (("show", document.key), ("query", "census")):
        code, printed, _ = lycb(*words, "--store", store.folder)
        assert (code, "n_atoms" in printed) == (0, True)


def test_a_campaign_that_has_measured_by_an_absent_package_is_reported(uninstalled, lycb, tmp_path):
    store = uninstalled.store
    submission = find_submission(store, "loop")
    status = campaign_status(store, submission)
    assert (status["arrhenius"], "census" in status) == (["LYB 1 bar"], False)
    code, _, _ = lycb("report", "loop", "--store", store.folder, "--report", tmp_path)
    assert code == 0
    assert "The quantity census is not installed" in (tmp_path / "report.html").read_text()
    with pytest.raises(InputError, match=r"unknown quantity \(found=census"):
        campaign_flow(submission.campaign, submission.theory)


def test_what_a_quantity_needs_is_measured_first_and_nothing_else(loop_run, loop_campaign):
    store, submission, _ = loop_run
    found = find_results(store, submission.campaign, submission.theory)
    campaign = measuring(loop_campaign, ["arrhenius"])
    plan = measurement_plan(campaign, found.ground_states, "1" * 64, found.rounds)
    assert [one.job.name for one in measurements(plan, chosen_quantities(campaign.measure))] == [
        "transport LYB 1 bar 600 K",
        "arrhenius LYB 1 bar",
    ]
    assert plan.rounds == tuple(one.key for one in found.rounds)


@pytest.mark.usefixtures("census")
def test_only_the_runs_that_are_read_are_made(loop_campaign):
    campaign = measuring(loop_campaign, ["census"])
    plan = measurement_plan(campaign, {"LYB": "2" * 64}, "1" * 64, ())
    names = [job.name for job, _ in run_batches(plan, chosen_quantities(campaign.measure))]
    assert names == ["md npt production 00", "md nvt production 00"]
    assert run_batches(plan, ()) == []


def test_the_default_is_not_keyed_and_the_same_as_its_two_names(loop_campaign):
    plain = loop_campaign.measure
    assert plain.quantities is None
    named = measuring(loop_campaign, {"diffusion": None, "arrhenius": {}}).measure
    assert named.quantities == {"diffusion": {}, "arrhenius": {}}
    assert chosen_quantities(named) == chosen_quantities(plain)
    with pytest.raises(ValidationError):
        MeasurementConfig(quantities=[])


@pytest.mark.usefixtures("census")
def test_options_enter_the_key_of_their_quantity_only(loop_campaign):
    keys = []
    for factor in (1, 2):
        campaign = measuring(loop_campaign, {"census": {"factor": factor}, "diffusion": {}})
        plan = measurement_plan(campaign, {"LYB": "2" * 64}, "1" * 64, ())
        place = Condition(system="LYB", pressure_bar=1.0)
        hot = place.model_copy(update={"temperature_k": 600.0})
        quantities = chosen_quantities(campaign.measure)
        keys.append([q.key(plan, where) for q, where in zip(quantities, (place, hot), strict=True)])
    assert keys[0][0] != keys[1][0]
    assert keys[0][1] == keys[1][1]


@pytest.mark.usefixtures("census")
@pytest.mark.parametrize(
    ("quantities", "words"),
    [
        (["dif"], "unknown quantity .found=dif."),
        ({"diffusion": {"discard_ps": 1.0}}, "measure.quantities.diffusion"),
        ({"census": {"factor": "many"}}, "measure.quantities.census.factor"),
        ({"census": {"facto": 1}}, "known here: factor, places"),
        ({"diffusion": {"places": [{"systems": ["LYB-x3"]}]}}, "no such system.*found=LYB-x3"),
        ({"diffusion": {"places": [{"pressures_bar": [7.0]}]}}, "pressure.*found=7.0"),
        ({"diffusion": {"places": [{"pressure": 1.0}]}}, "measure.quantities.diffusion"),
        ({"series": {"places": [{"systems": ["LYB"]}]}}, "measured once in a campaign"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(loop_campaign, tmp_path, quantities, words):
    with pytest.raises(InputError, match=words):
        submit(open_store(tmp_path / "store"), measuring(loop_campaign, quantities))


def test_a_broken_package_is_named_and_stops_only_what_asks_for_it(packages, lycb, tmp_path):
    install(packages, "broken_package", "import nothing_of_this_name", "warp", "Warp")
    text = (CAMPAIGNS / "loop.yaml").read_text()
    path = tmp_path / "loop.yaml"
    path.write_text(text.replace("measure:\n", "measure:\n  quantities: [diffusion, warp]\n"))
    assert_one_line(lycb("plan", path), "warp", "broken_package", "nothing_of_this_name")
    assert "warp" in QUANTITIES.broken()
    assert list(QUANTITIES.usable())[:2] == ["diffusion", "arrhenius"]
    assert submit(open_store(tmp_path / "store"), read_campaign(CAMPAIGNS / "loop.yaml"))


def test_two_quantities_of_one_name_are_refused(packages):
    install(
        packages, "other_package", "class Diffusion: name = 'diffusion'", "diffusion", "Diffusion"
    )
    with pytest.raises(
        InputError,
        match="packages=lycb-flows and other_package",
    ):
        find_quantity("diffusion")


def scoped(scope, needs=()):
    """A quantity without work, measured where its scope says."""
    body = {"name": scope, "document": Atlas, "scope": scope, "needs": needs, "ensembles": ()}
    return type(scope, (Quantity,), body | {"compute": lambda *_: None})


def test_a_quantity_is_measured_where_its_scope_says_after_what_it_needs(loop_campaign):
    data = loop_campaign.model_dump()
    data["measure"] |= {"temperatures_k": [300.0, 400.0], "pressures_bar": [1.0, 5.0]}
    campaign = type(loop_campaign).model_validate(data)
    plan = measurement_plan(campaign, {"LYB": "2" * 64}, "1" * 64, ())
    hot, cold = (scoped(scope) for scope in ("temperature", "system"))
    both = scoped("campaign", needs=(hot, cold))
    jobs = [one.job for one in measurements(plan, [hot(), scoped("pressure")(), cold(), both()])]
    assert [job.name for job in jobs] == [
        "temperature LYB 1 bar 300 K",
        "temperature LYB 1 bar 400 K",
        "temperature LYB 5 bar 300 K",
        "temperature LYB 5 bar 400 K",
        "pressure LYB 1 bar",
        "pressure LYB 5 bar",
        "system LYB",
        "campaign",
    ]
    assert len(set(jobs)) == len(jobs)
    assert len(both().needed_keys(plan, Condition())) == 5
    each = scoped("pressure", needs=(hot,))()
    assert len(each.needed_keys(plan, Condition(system="LYB", pressure_bar=5.0))) == 2
    assert both().place(Atlas(key="1" * 64, maps={}, remark="")) == "done"


def test_a_quantity_is_measured_at_its_places_and_at_those_of_what_it_needs(loop_campaign):
    data = loop_campaign.model_dump()
    data["systems"][0]["decorations"] = [{"x": 3.0}]
    data["measure"] |= {"pressures_bar": [1.0, 5.0]}
    places = [{"systems": ["LYB"]}, {"systems": ["LYB-x3"], "pressures_bar": [5.0]}]

    def measured(**quantities):
        data["measure"]["quantities"] = quantities
        campaign = type(loop_campaign).model_validate(data)
        check_quantities(campaign)
        starts = {"LYB": "2" * 64, "LYB-x3": "3" * 64}
        plan = measurement_plan(campaign, starts, "1" * 64, ())
        found = measurements(plan, chosen_quantities(campaign.measure))
        return {each.job.name: each.quantity.key(plan, each.condition) for each in found}

    everywhere = measured(arrhenius={}, density={"spacing_ang": 0.3}, series={})
    named = measured(
        diffusion={"places": places},
        density={"spacing_ang": 0.3, "places": [{"pressures_bar": [1.0]}]},
        series={}, arrhenius={},
    )  # fmt: skip
    where = ("LYB 1 bar", "LYB 5 bar", "LYB-x3 5 bar")
    assert set(named) == {
        *(f"transport {each} 600 K" for each in where),
        *(f"arrhenius {each}" for each in where),
        *(f"density {each} 1 bar 600 K" for each in ("LYB", "LYB-x3")),
        "series",
    }
    assert {name for name in named if named[name] != everywhere[name]} == {"series"}  # fewer fits
    with pytest.raises(InputError, match="at least 1"):
        measured(diffusion={"places": []})


class Atlas(Document):
    kind = "atlas"

    maps: dict[str, Blob]
    remark: str


def test_a_document_that_names_more_blobs_than_fit_keeps_all_of_them(tmp_path):
    store = open_store(tmp_path)
    maps = {f"map {i}": store.blobs.put(b"%d" % i, "text/plain") for i in range(600)}
    remark = store.blobs.put(b"nobody's", "text/plain")
    store.insert(Atlas(key="1" * 64, maps=maps, remark="long " * 5000))
    soon = datetime.now(UTC) + timedelta(days=8)
    garbage = {listed.name for listed in list_garbage(store, now=soon).blobs}
    assert garbage == {remark.sha256}
    assert store.load_any("1" * 64).facts()["maps"]["map 599"]["sha256"] == maps["map 599"].sha256


def test_density_and_sites_of_finished_runs_are_measured_reported_and_exported(
    finished, loop_campaign, lycb, tmp_path
):
    n_attempts = len(finished.attempts())
    submission, names = run_campaign(finished, measuring(loop_campaign, ["sites"]))
    new = [attempt.kind for attempt in finished.attempts()[n_attempts:]]
    assert new == ["campaign", "density", "sites"]
    assert names[-2:] == ["density LYB 1 bar 600 K", "sites LYB 1 bar 600 K"]
    found = find_results(finished, submission.campaign, submission.theory)
    (density,), (sites,) = found.documents(Density), found.documents(Sites)
    assert density.integral == density.n_mobile == 6
    assert sites.density == density.key
    assert (sites.parent, sites.parent_note) == (submission.campaign.systems[0].parent, "")
    ions = sum(orbit.occupancy * orbit.n_sites for orbit in sites.orbits)
    assert ions == pytest.approx(6 * (1 - sites.unassigned_share))
    refined = {orbit.label: orbit.refined_occupancy for orbit in sites.orbits if orbit.from_parent}
    assert refined == pytest.approx({"Li0": 0.09492, "Li1": 0.53358, "Y3": 0.75378, "Li5": 0.0456})
    assert lycb("report", "loop", "--store", finished.folder, "--report", tmp_path)[0] == 0
    page = (tmp_path / "report.html").read_text()
    assert all(words in page for words in ('<section id="density">', "as refined"))
    assert list((tmp_path / "figures").glob("density-LYB*.png"))
    folder = tmp_path / "out"
    where = ("--store", finished.folder)
    assert lycb("export", "sites", sites.key, "--folder", folder, *where)[0] == 0
    assert sorted(path.suffix for path in folder.iterdir()) == [".cif", ".cube", ".json", ".vasp"]
    written = load_parent(str(next(folder.glob("*.cif"))))
    assert written.structure.composition["Li"] == pytest.approx(ions, abs=0.01)
    assert_one_line(lycb("export", "sites", sites.run, *where), "no density")
