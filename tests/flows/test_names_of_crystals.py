"""A crystal that several campaigns or systems have is called as each of them calls it."""

import shutil

import pytest
from report_campaign import Campaign

from lycb_flows import schemas
from lycb_flows.campaign.catalogue import catalogue_row
from lycb_flows.campaign.places import Place, places_in
from lycb_flows.campaign.results import find_results
from lycb_flows.campaign.submission import submit
from lycb_flows.jobs.learning import labelled
from lycb_flows.quantities.contenders import _origins
from lycb_flows.quantities.registry import find_quantity
from lycb_flows.report.blocks import FolderAlbum
from lycb_flows.report.collection import collect
from lycb_flows.report.page import report_contents
from lycb_flows.store import open_store

pytestmark = pytest.mark.usefixtures("blank_figures")


def renamed(campaign, names):
    """The campaign with a system of each name in place of its first."""
    data = campaign.model_dump()
    (system,) = data["systems"]
    data["systems"] = [{**system, "name": name} for name in names]
    return type(campaign).model_validate(data)


def test_rankings_of_another_campaign_are_called_as_this_one_calls_them(
    loop_run, loop_campaign, tmp_path
):
    shutil.copytree(loop_run[0].folder, tmp_path / "store")
    with open_store(tmp_path / "store") as store:
        submission = submit(store, renamed(loop_campaign, ["small", "large"]))
        found = find_results(store, submission.campaign, submission.theory)
        (stored,) = store.find_all(schemas.Ranking)
        assert stored.system == "LYB"
        assert {name: each.system for name, each in found.rankings.items()} == {
            "small": "small", "large": "large",
        }  # fmt: skip
        assert found.document_keys()[stored.key] == ("small", "large")
        assert places_in(store, submission).places[stored.key].system == "small"


@pytest.fixture
def twice(tmp_path):
    """A crystal ranked as `small`, and measured as `large`: (campaign, keys with names)."""
    campaign = Campaign(tmp_path / "made")
    ground = campaign.ranking("small", "Cl")
    (ranking,) = campaign.keys
    chosen = schemas.DftCandidate(
        ordering="1" * 64, model_rank=1, model_above_best_ev_per_atom=0.0, converged=True,
        model_volume_flag=False, structure=ground, energy_ev_per_atom=-4.0, space_group="P1",
        above_best_ev_per_atom=0.0,
    )  # fmt: skip
    decided = campaign.put(
        schemas.GroundState, "decided", system="small", ranking=ranking, theory="f",
        theory_name="gpaw: PBE", n=1, n_there=1, candidates=(chosen,), ground_state=ground, note="",
        at_edge=False, widened_to=None,
    )  # fmt: skip
    runs = [campaign.npt("large", ground, t, 1.0, "production") for t in (300.0, 400.0)]
    cells = tuple(
        schemas.CellAverage(run=run, temperature_k=t, equilibrated=True, volume_ang3_per_atom=23.0)
        for run, t in zip(runs, (300.0, 400.0), strict=True)
    )
    volumes = campaign.put(
        schemas.CellVolumes, "cells", parents=tuple(runs), system="large", pressure_bar=1.0,
        model="2" * 64, cells=cells, reason="too few",
    )  # fmt: skip
    yield campaign, {ranking: ("large",), decided: ("large",), volumes: ()}
    campaign.store.close()


def test_a_report_has_the_campaigns_names(twice, tmp_path):
    campaign, keys = twice
    data = collect(campaign.store, keys)
    assert [each.system for each in (*data.rankings, *data.by_dft)] == ["large", "large"]
    assert {cell.system for cell in data.cell_runs} == {"large"}
    part = find_quantity("volumes").part(data, FolderAlbum(tmp_path / "figures"), "large")
    titles = [table.title.partition(" (")[0] for table in part.tables]
    assert titles == ["", "Cell parameters", "Thermal expansion"]
    assert {row[2].text for row in part.tables[0].rows} == {"relaxed by chgnet-0.3.0", "production"}
    assert {getattr(data.documents[key], "system", "") for key in keys} == {"large"}


def test_a_crystal_with_two_names_is_shown_under_both(twice, tmp_path):
    campaign, keys = twice
    both = {key: names and ("small", "large") for key, names in keys.items()}
    contents = report_contents(campaign.store, both, FolderAlbum(tmp_path / "figures"))
    (ranking,) = (section for section in contents.sections if section.title == "Ranking")
    titles = [part.title for part in ranking.blocks]
    assert titles == ["large", "large by gpaw: PBE", "small", "small by gpaw: PBE"]
    (ground,) = {each.ground_state for each in contents.data.rankings}
    assert contents.data.ground_states()[ground] == "large and small"


def test_names_of_their_own_count_where_none_are_given(twice):
    campaign, keys = twice
    data = collect(campaign.store, list(keys))
    assert [each.system for each in (*data.rankings, *data.by_dft)] == ["small", "small"]


def test_a_row_of_the_catalogue_has_the_campaigns_name_and_the_documents_numbers(twice):
    campaign, keys = twice
    ranking = campaign.store.load(schemas.Ranking, next(iter(keys)))
    assert catalogue_row(ranking, Place(campaign="c", system="large"), None)["system"] == "large"
    assert catalogue_row(ranking, Place(), None)["system"] == "small"
    hot = campaign.store.load(schemas.Run, campaign.npt("large", "1" * 64, 800.0, 1.0, "p"))
    assert catalogue_row(hot, Place(temperature_k=300.0), None)["temperature_k"] == 800.0


@pytest.mark.parametrize("crystals", [("mine", "mine-x3"), ("theirs",)])
def test_a_label_of_an_ordering_that_others_ranked_too_has_the_campaigns_name(tmp_path, crystals):
    campaign = Campaign(tmp_path)
    structure = campaign.structure("ordering", "Br")
    label = campaign.put(
        schemas.Label, "label", structure=structure, theory="f", theory_name="t", energy_ev=-1.0,
        forces_ev_per_ang=((0.0,) * 3,) * 60, stress_gpa=((0.0,) * 3,) * 3, converged=True,
    )  # fmt: skip
    for name in ("theirs", "mine", "hers"):
        frame = schemas.Frame(
            run="", step=0, structure=structure, system=name, block="test", rule="ranked"
        )
        facts = {"runs": (), "frames": (frame,), "products": (structure,)}
        campaign.put(schemas.Frames, f"frames of {name}", **facts)
    with campaign.store as store:
        (found,) = labelled(store, [label], crystals)
        systems, _ = _origins(store, [store.load(schemas.Label, label)], crystals)
    assert found.system == systems[label] == crystals[0]
