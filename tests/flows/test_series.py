"""Compositions on two lattices: energies by the model, differences, conduction, and a report."""

import numpy as np
import pytest
from html_page import Page
from places import CAMPAIGNS

from lycb_flows import relaxation, schemas
from lycb_flows.campaign.cost import plan_campaign
from lycb_flows.campaign.descriptions import MEASUREMENT
from lycb_flows.campaign.finished import export_runs, import_runs
from lycb_flows.campaign.measurement import measurement_plan, run_batches
from lycb_flows.campaign.results import CampaignResults
from lycb_flows.campaign.submission import read_campaign, submit
from lycb_flows.config import (
    Campaign,
    DecorationConfig,
    DftConfig,
    EnumerationConfig,
    RelaxationConfig,
)
from lycb_flows.crystals import (
    BINARY_NAMES,
    enumerate_orderings,
    load_binary,
    load_parent,
    structure_from_arrays,
)
from lycb_flows.errors import PhysicsError
from lycb_flows.md.summary import cell_parameters
from lycb_flows.potentials import find_model, load_potential
from lycb_flows.quantities import Condition, MeasurementPlan, chosen_quantities, find_quantity
from lycb_flows.quantities.composition import (
    lattice_differences,
    phase_energies_ev,
    relaxation_keys,
    relaxed_points,
    sign_changes,
)
from lycb_flows.relaxation import relax
from lycb_flows.report import FolderAlbum
from lycb_flows.report.data import ReportData
from lycb_flows.report.page import collect, write_report
from lycb_flows.report.paper_cells import relaxed_cells
from lycb_flows.schemas import LatticeDifference, SeriesPoint, make_key
from lycb_flows.store import open_store

pytestmark = pytest.mark.usefixtures("blank_figures")
PARENTS = {"LYC": "Li3YCl6", "LYB": "Li3YBr6"}


def halides(start, n_br):
    """A cell with its first halides Br, the others Cl."""
    species, left = [], n_br
    for symbol in start.species:
        halide = symbol in {"Cl", "Br"}
        species.append(("Br" if left > 0 else "Cl") if halide else symbol)
        left -= halide
    return structure_from_arrays(start.lattice_ang, species, start.frac_coords)


CELL = ("a (Å)", "b (Å)", "c (Å)", "α (°)", "β (°)", "γ (°)")


def relaxed_points_of(store, plan):
    """The structures at rest, by the composition's name."""
    documents = {
        name: store.load(schemas.Relaxation, k) for name, k in relaxation_keys(plan).items()
    }
    return {
        name: store.load(schemas.Structure, found.final_structure)
        for name, found in documents.items()
    }


def fit(key, name, **facts):
    return schemas.Arrhenius(
        key=key, system=name, pressure_bar=1.0, model="5" * 64, transports=(), n_points=4,
        fitted=True, extrapolation_temperature_k=300.0, **facts,
    )  # fmt: skip


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """(store, plan, document) of two lattices with x = 0, 3, 6, and the parents themselves."""
    store = open_store(tmp_path_factory.mktemp("series"))
    data = read_campaign(CAMPAIGNS / "loop.yaml").model_dump()
    data["systems"] = [
        {
            "name": name,
            "parent": parent,
            "enumeration": {"supercell": [1, 1, 1]},
            "decorations": [{"x": 0.0}, {"x": 3.0}, {"x": 6.0}],
        }
        for name, parent in PARENTS.items()
    ]
    data["ranking"] |= {"fine_fmax_ev_per_ang": 0.1, "max_steps": 60}
    data["measure"]["quantities"] = {"series": {}, "arrhenius": {}}
    campaign = submit(store, Campaign.model_validate(data)).campaign
    starts = {}
    for name, parent in PARENTS.items():
        found = enumerate_orderings(load_parent(parent), EnumerationConfig(supercell=(1, 1, 1)))
        start = found.structure(0)
        n_halides = sum(symbol in {"Cl", "Br"} for symbol in start.species)
        cells = {name: start}
        cells |= {f"{name}-x{x}": halides(start, n_halides * x // 6) for x in (0, 3, 6)}
        store.insert_all({cell.key: cell for cell in cells.values()}.values())
        starts |= {each: cell.key for each, cell in cells.items()}
    model = find_model("toy-soft").model.key
    plan = MeasurementPlan(campaign=campaign, starts=starts, model=model)
    for condition in find_quantity("arrhenius").conditions(plan):
        name, key = condition.system, find_quantity("arrhenius").key(plan, condition)
        facts = {
            "activation_energy_ev": 0.3,
            "activation_energy_err_ev": 0.02,
            "extrapolated_conductivity_ms_per_cm": 2.0,
            "extrapolated_conductivity_low_ms_per_cm": 1.0,
            "extrapolated_conductivity_high_ms_per_cm": 4.0,
        }
        store.insert(fit(key, name, **(facts if name == "LYC" else {"reason": "bounds only"})))
    quantity = find_quantity("series")
    document = quantity.compute(store, plan, Condition())
    store.insert(document)
    yield store, plan, document
    store.close()


def test_energies_are_those_of_a_relaxation_by_the_model(series):
    store, plan, document = series
    source = find_model("toy-soft")
    potential = load_potential(source.model, source.weights)
    config = RelaxationConfig(fmax_ev_per_ang=0.1, max_steps=60)
    (point,) = (each for each in document.points if each.name == "LYB-x3")
    relaxed = relax(store.load(schemas.Structure, plan.starts["LYB-x3"]), potential, config)
    assert point.energy_ev_per_atom == pytest.approx(relaxed.energy_ev_per_atom, abs=1e-6)
    assert point.volume_ang3_per_atom == pytest.approx(relaxed.volume_ang3_per_atom, rel=1e-5)
    assert (point.lattice, point.x, point.formula) == ("LYB", 3.0, "Li3Y(BrCl)3")
    assert point.formation_energy_ev_per_atom is not None


def test_a_parent_has_the_x_of_its_composition(series):
    x = {point.name: point.x for point in series[2].points}
    assert (x["LYC"], x["LYC-x0"], x["LYB"], x["LYB-x6"]) == (0.0, 0.0, 6.0, 6.0)


@pytest.mark.parametrize("substitute", [None, {"Cl": "I"}])
def test_a_parent_has_its_x_where_no_decoration_has_its_composition(series, substitute):
    store, plan, _ = series
    entry = DecorationConfig(x=3.0, substitute=substitute)
    systems = tuple(
        system.model_copy(update={"decorations": (entry,)}) for system in plan.campaign.systems
    )
    names = ["LYC", "LYB"]
    points = relaxed_points(
        store,
        plan.model_copy(
            update={
                "campaign": plan.campaign.model_copy(update={"systems": systems}),
                "starts": {name: plan.starts[name] for name in names},
            }
        ),
    )
    assert [point.x for point in points] == [0.0, 0.0 if substitute else 6.0]


def test_lattices_are_compared_at_equal_composition_by_their_lowest_cells(series):
    differences = series[2].differences
    assert [each.x for each in differences] == [0.0, 3.0, 6.0]
    energies = {point.name: point.energy_ev_per_atom for point in series[2].points}
    expected = min(energies["LYC"], energies["LYC-x0"]) - energies["LYB-x0"]
    assert differences[0].energy_ev_per_atom == pytest.approx(expected, abs=1e-12)
    assert {(each.first, each.second) for each in differences} == {("LYC", "LYB")}


def test_barriers_and_conductivities_stand_at_their_composition(series):
    conduction = {point.name: point.conduction for point in series[2].points}
    (one,) = conduction["LYC"]
    assert (one.activation_energy_ev, one.conductivity_ms_per_cm) == (0.3, 2.0)
    (other,) = conduction["LYB-x3"]
    assert other.conductivity_ms_per_cm is None
    assert other.reason == "bounds only"


def test_a_series_alone_has_no_runs_and_a_plan(series):
    store, plan, _ = series
    measure = plan.campaign.measure.model_copy(update={"quantities": {"series": {}}})
    campaign = plan.campaign.model_copy(update={"measure": measure})
    alone = plan.model_copy(update={"campaign": campaign})
    assert [each.name for each in chosen_quantities(measure)] == ["series"]
    assert run_batches(alone, chosen_quantities(measure)) == []
    both = chosen_quantities(plan.campaign.measure)
    assert [each.name for each in both] == ["diffusion", "arrhenius", "series"]
    document = find_quantity("series").compute(store, alone, Condition())
    assert not any(point.conduction for point in document.points)
    theory = submit(store, read_campaign(CAMPAIGNS / "loop.yaml")).theory
    planned = plan_campaign(store, campaign, theory)
    measured = [job.step for step in planned for job in step.jobs if job.stage == MEASUREMENT]
    assert "series" in measured
    assert "md" not in measured
    assert all(step.jobs for step in planned)


def test_another_model_or_another_ordering_has_another_key(series):
    _, plan, document = series
    quantity = find_quantity("series")
    assert quantity.key(plan, Condition()) == document.key
    for change in ({"model": "6" * 64}, {"starts": {**plan.starts, "LYC": "7" * 64}}):
        assert quantity.key(plan.model_copy(update=change), Condition()) != document.key


def difference(x, energy_ev):
    return LatticeDifference(
        formula=f"x{x}", x=x, first="A", second="B", energy_ev_per_atom=energy_ev
    )


def test_the_change_of_lattice_lies_between_compositions():
    found = sign_changes([difference(3.0, 0.003), difference(1.0, -0.001), difference(0.0, -0.002)])
    assert found == {("A", "B"): [pytest.approx(1.5)]}
    assert not sign_changes([difference(0.0, 0.001), difference(1.0, 0.002)])


def test_lattices_without_a_common_composition_are_not_compared():
    points = [
        SeriesPoint(
            name=name, lattice=name, x=None, formula=formula, start="1" * 64, space_group="P1",
            energy_ev_per_atom=-4.0, volume_ang3_per_atom=20.0, converged=True,
        )
        for name, formula in (("A", "Li3YCl6"), ("B", "Na3PS4"))
    ]  # fmt: skip
    assert lattice_differences(points, ["A", "B"]) == []


def test_formation_energies_of_a_student_are_limited(series):
    store, _, document = series
    model = store.load(schemas.Model, document.model)
    without = document.model_copy(
        update={
            "points": tuple(
                point.model_copy(update={"formation_energy_ev_per_atom": None})
                for point in document.points
            )
        }
    )
    for source, shown, n in (
        ("pretrained", document, 0), ("distilled", document, 1), ("distilled", without, 0)
    ):  # fmt: skip
        data = ReportData(
            documents={model.key: model.model_copy(update={"source": source})},
            measurements={"series": [shown]},
        )
        sentences = [each.text for each in find_quantity("series").limits(data)]
        assert sum("a student's" in text for text in sentences) == n


def decision(name, structure, theory_name="gpaw: PBE (paper-relax)", **facts):
    """A decision on one candidate, with the key of its rules."""
    chosen = schemas.DftCandidate(
        ordering="1" * 64,
        model_rank=1,
        model_above_best_ev_per_atom=0.0,
        model_volume_flag=False,
        structure=structure,
        converged=True,
        **{"energy_ev_per_atom": -3.5, "volume_ang3_per_atom": 25.0} | facts,
    )
    return schemas.GroundState(
        key=make_key(schemas.GroundState, system=name, theory=theory_name, **facts), system=name,
        ranking="2" * 64, theory="3" * 64, theory_name=theory_name, n=1, n_there=1,
        candidates=(chosen,), ground_state=structure, note="", at_edge=False, widened_to=None,
    )  # fmt: skip


def test_numbers_by_dft_are_those_of_the_campaigns_own_decisions(series):
    store, plan, _ = series
    structure = plan.starts["LYB-x3"]
    with_anchors = decision("named by another", structure, formation_energy_ev_per_atom=-0.1)
    without = decision("LYB-x3", structure)
    store.insert_all([with_anchors, without])
    quantity, keys = find_quantity("series"), set()
    for by_dft, formation_ev in ((with_anchors, -0.1), (without, None)):
        own = plan.model_copy(update={"by_dft": {"LYB-x3": by_dft.key}})
        points = {point.name: point for point in relaxed_points(store, own)}
        assert points["LYB-x3"].dft_energy_ev_per_atom == -3.5
        assert points["LYB-x3"].dft_formation_energy_ev_per_atom == formation_ev
        assert points["LYC-x3"].dft_energy_ev_per_atom is None
        keys.add(quantity.key(own, Condition()))
    others = {point.dft_energy_ev_per_atom for point in relaxed_points(store, plan)}
    assert others == {None}  # whatever else is in the store
    assert len(keys | {quantity.key(plan, Condition())}) == 3


def test_only_what_dft_has_decided_is_in_the_plan(series):
    _, plan, document = series
    structure = plan.starts["LYB-x3"]
    lists = {
        "LYB-x3": [decision("first", structure), decision("LYB-x3", structure)],
        "LYC-x3": [decision("LYC-x3", structure, "teacher: toy-soft (a potential, not DFT)")],
        "LYC": [],
    }
    decisions = CampaignResults(by_dft=lists).decisions
    assert decisions == {"LYB-x3": lists["LYB-x3"][-1].key}
    own, by_model = (
        measurement_plan(plan.campaign, plan.starts, plan.model, (), each)
        for each in (decisions, {})
    )
    assert own.by_dft == decisions
    assert find_quantity("series").key(by_model, Condition()) == document.key
    assert "by_dft" not in by_model.model_dump()


def test_a_series_travels_without_runs(series, tmp_path):
    store, _, document = series
    export_runs(store, tmp_path / "runs")
    with open_store(tmp_path / "other") as other:
        assert not import_runs(other, tmp_path / "runs").refused
        found = other.load(schemas.CompositionSeries, document.key)
        assert found.facts() == document.facts()


def test_figure_s4_has_the_cells_of_the_compositions_by_the_model_and_by_dft(series):
    store, plan, document = series
    keys = find_quantity("series").further_keys(plan)
    by_dft = document.model_copy(
        update={
            "points": tuple(
                point.model_copy(update={"dft_volume_ang3_per_atom": 25.0} if point.x == 3 else {})
                for point in document.points
            )
        }
    )
    filled = relaxed_cells(collect(store, [document.key, *keys]), by_dft)
    (table,) = filled.tables
    assert (table.columns[5:], filled.lacks) == (CELL, "")
    rows = {tuple(cell.text for cell in row[:3]): row for row in table.rows}
    at_rest = relaxed_points_of(store, plan)["LYB-x3"]
    lengths_ang, _ = cell_parameters(np.array([at_rest.lattice_ang]))
    row = [cell.text for cell in rows["LYB", "3", "toy-soft"]]
    assert row[5:8] == [f"{length:.3f}" for length in lengths_ang[0]]
    start = store.load(schemas.Structure, plan.starts["LYB-x3"])
    _, angles_deg = cell_parameters(np.array([start.lattice_ang]))
    row = [cell.text for cell in rows["LYB", "3", "DFT"]]
    assert row[3:5] == ["25.00", "0.00"]
    assert row[8:] == [f"{angle:.2f}" for angle in angles_deg[0]]


def test_figure_s4_says_what_an_old_series_lacks_until_it_is_made(series):
    store, plan, document = series
    quantity, keys = find_quantity("series"), find_quantity("series").further_keys(plan)
    old = relaxed_cells(collect(store, [document.key]), document)
    assert old.lacks == "lengths and angles by DFT, toy-soft are not known"
    assert not set(CELL) & set(old.tables[0].columns)
    assert {row[3].text for row in old.tables[0].rows}.isdisjoint({"–", ""})
    n_attempts = len(store.attempts())
    store.retract(keys[0], "as before it was kept")
    quantity.make_further(store, plan, Condition())
    assert {each.key for each in store.find_documents(keys)} == set(keys)
    assert len(store.attempts()) == n_attempts
    new = relaxed_cells(collect(store, [document.key, *keys]), document)
    assert new.lacks == "volumes, lengths and angles by DFT are not known"


def with_phases(plan, phases):
    """A plan for one crystal, whose campaign may bring its own competing phases along."""
    labeler = {"type": "teacher", "model": plan.model}
    dft = DftConfig.model_validate({"labeler": labeler, "anchors": phases or True})
    ranked = plan.campaign.ranking.model_copy(update={"dft": dft})
    campaign = plan.campaign.model_copy(update={"ranking": ranked})
    return plan.model_copy(update={"campaign": campaign, "starts": {"LYC": plan.starts["LYC"]}})


def test_energies_of_formation_are_from_the_campaigns_own_phases(series):
    store, plan, _ = series
    quantity, own = find_quantity("series"), load_binary("YCl3")
    salt = load_binary("LiCl")
    store.insert_all([own, salt])
    alone = with_phases(plan, {"YCl3 of mine": own.key})
    both = with_phases(plan, {"YCl3 of mine": own.key, "salt": salt.key})
    assert len({quantity.key(each, Condition()) for each in (plan, alone, both)}) == 3
    assert [each.formation_energy_ev_per_atom for each in relaxed_points(store, alone)] == [None]
    document = quantity.compute(store, both, Condition())
    assert document.phases == ("YCl3 of mine", "salt")
    assert {own.key, salt.key} <= set(document.parents)
    (found,), (usual,) = document.points, relaxed_points(store, with_phases(plan, None))
    energy_ev = found.formation_energy_ev_per_atom
    assert energy_ev == pytest.approx(usual.formation_energy_ev_per_atom, abs=1e-9)


def test_a_salt_has_no_column_without_a_number_and_no_word_of_others(series, tmp_path):
    document = series[2]
    (point,) = (each for each in document.points if each.name == "LYC")
    salt = point.model_copy(
        update={"x": None, "formula": "Na3PS4", "formation_energy_ev_per_atom": None}
    )
    shown = document.model_copy(update={"points": (salt, salt), "differences": ()})
    data = ReportData(measurements={"series": [shown]})
    part = find_quantity("series").part(data, FolderAlbum(tmp_path), "")
    assert [table.title for table in part.tables] == ["Ground states at 0 K", "Conduction"]
    table = part.tables[0]
    assert table.columns == ("lattice of", "composition", "space group", "volume (Å³/atom)")
    assert table.note == "By the model that measures."
    assert part.figures == ()  # no point has an x
    formed = shown.model_copy(
        update={
            "points": (
                salt,
                salt.model_copy(update={"x": 0.0, "formation_energy_ev_per_atom": 0.1}),
            ),
            "phases": ("Na2S", "P2S5"),
        }
    )
    data = ReportData(measurements={"series": [formed]})
    part = find_quantity("series").part(data, FolderAlbum(tmp_path), "")
    assert part.tables[0].columns[-1] == "formation (meV/atom)"
    assert "from the mixture of Na2S, P2S5 that" in part.tables[0].note
    assert part.figures[0].caption == "Over x: energy of formation from Na2S, P2S5."


def test_a_binary_that_flies_apart_leaves_no_energy_of_formation(series, monkeypatch):
    store, plan, _ = series
    relax_many = relaxation.relax_many

    def without_binaries(*given, **how):
        for structure, found in zip(given[0], relax_many(*given, **how), strict=True):
            flies = len(set(structure.species)) < 3
            yield PhysicsError("it flies apart", fix="look at it") if flies else found

    monkeypatch.setattr(relaxation, "relax_many", without_binaries)
    points = relaxed_points(store, plan)
    assert len(points) == len(plan.starts)
    assert {point.formation_energy_ev_per_atom for point in points} == {None}


def test_a_binary_that_did_not_come_to_rest_leaves_no_energy_of_formation(series):
    store, plan, _ = series
    source = find_model("toy-soft")
    potential = load_potential(source.model, source.weights)
    start = store.load(schemas.Structure, plan.starts["LYB-x3"])
    cells = {name: load_binary(name) for name in BINARY_NAMES}
    configs = (RelaxationConfig(fmax_ev_per_ang=f, max_steps=n) for f, n in ((0.1, 200), (1e-9, 1)))
    at_rest, moving = (phase_energies_ev([start], potential, config, cells) for config in configs)
    assert set(at_rest) == set(BINARY_NAMES)
    assert moving == {}


def test_the_report_stands_beside_the_papers_table(series, tmp_path):
    store, _, document = series
    path = write_report(store, "series", [document.key], tmp_path, ["series"])
    text = Page(path).text
    for words in ("Over compositions", "LYC - LYB", "-2.27", "3.88", "5.22", "bounds only"):
        assert words in text
    data = collect(store, [document.key])
    sentences = [each.text for each in find_quantity("series").limits(data)]
    loose = [point.name for point in document.points if not point.converged]
    assert len(sentences) == bool(loose)
