"""The report of small hand-made campaigns: every number below is test data, not a result."""

import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from lycb_flows import schemas
from lycb_flows.arrhenius import ArrheniusPoint, fit_arrhenius
from lycb_flows.keys import digest
from lycb_flows.paper import paper_numbers, paper_system, paper_transport, supercell_atoms
from lycb_flows.quantities import duration, number, scientific, with_error
from lycb_flows.report import collect, write_report
from lycb_flows.store import ResultStore
from lycb_flows.units import ANG2_PER_PS_M2_PER_S, nernst_einstein_ms_per_cm

TEACHER = "teacher: chgnet-r2scan (a potential, not DFT)"
LATTICE = ((12.0, 0.0, 0.0), (0.0, 12.0, 0.0), (0.0, 0.0, 12.0))
TEMPERATURES_K = (400.0, 500.0, 600.0, 700.0)


class Campaign:
    """A store that fills up with the documents of one campaign, test data throughout."""

    def __init__(self, folder):
        self.store = ResultStore(folder)
        self.keys = []

    def put(self, kind, name, **facts):
        key = digest([kind.kind, name])
        if kind in (schemas.Model, schemas.Run) or "name" in kind.model_fields:
            facts.setdefault("name", name)
        with self.store.attempt(kind, key, f"job of {name}") as made:
            self.store.insert(kind(key=key, made=made(), **facts), made.attempt)
        return key

    def blob(self, value):
        return self.store.blobs.put_json(value)

    def structure(self, name, halide, n_formula_units=6):
        species = ["Li"] * 3 + ["Y"] + [halide] * 6
        coords = np.random.default_rng(0).random((10 * n_formula_units, 3)).tolist()
        return self.put(
            schemas.Structure,
            name,
            lattice_ang=LATTICE,
            species=tuple(species * n_formula_units),
            frac_coords=tuple(map(tuple, coords)),
        )

    def model(self, name, history=()):
        return self.put(
            schemas.Model,
            name,
            architecture="toy",
            architecture_args={},
            weights=self.blob({"weights of": name}),
            source="file",
            history=history,
            best_epoch=len(history) - 1 if history else None,
        )

    def ranking(self, system, halide):
        ground = self.structure(f"{system} ground state", halide)
        parent = self.put(
            schemas.Parent,
            f"Li3Y{halide}6",
            cif=self.blob("a CIF"),
            provenance="test data",
            min_occupancy=0.5,
            lattice_ang=LATTICE,
            site_labels=("Li1",),
            occupancies=({"Li": 1.0},),
            frac_coords=((0.0, 0.0, 0.0),),
        )
        enumeration = self.put(
            schemas.Enumeration,
            f"orderings of {system}",
            parents=(parent,),
            formula=f"Li18 Y6 {halide}36",
            n_atoms=60,
            count=10_233,
            raw_count=116_424,
            n_members=10_233,
            exhaustive=True,
            coverage=1.0,
            members=self.blob([]),
            dropped=(schemas.DroppedOccupant(site_label="Y3", species="Y", occupancy=0.041),),
            engine="builtin",
        )
        rng = np.random.default_rng(1)
        above = np.concatenate([[0, 0.0004], np.sort(rng.gamma(3, 0.004, 98)) + 0.001])
        candidates = [
            schemas.RankedCandidate(
                ordering=digest(f"{system} ordering {i}"),
                relaxation=digest(f"{system} relaxation {i}"),
                structure=ground if i == 0 else digest(f"{system} relaxed {i}"),
                space_group="P-3c1" if i == 0 else "P1",
                energy_ev_per_atom=-4.2 + energy,
                above_best_ev_per_atom=energy,
                volume_ang3_per_atom=22.6 + 0.02 * i,
                volume_flag=i % 7 == 5,
                refined_cell_rank=i + 1,
                refined_cell_energy_ev_per_atom=-4.1 + energy,
                tied_with_best=energy < 0.001,
                stage="fine" if i < 20 else "coarse",
            )
            for i, energy in enumerate(above.tolist())
        ]
        model = self.model("chgnet-0.3.0")
        key = self.put(
            schemas.Ranking,
            f"ranking of {system}",
            parents=(enumeration,),
            system=system,
            enumeration=enumeration,
            model=model,
            n_candidates=len(candidates),
            n_not_converged=2,
            best=tuple(candidates[:20]),
            table=self.blob([candidate.model_dump() for candidate in candidates]),
            ground_state=ground,
            ground_state_note="Lowest energy without a volume flag.",
        )
        self.keys.append(key)
        return ground

    def label(self, structure, theory_name=TEACHER):
        return self.put(
            schemas.Label,
            f"label of {structure}",
            structure=structure,
            theory=digest(theory_name),
            theory_name=theory_name,
            energy_ev=-240.0,
            forces_ev_per_ang=((0.0, 0.0, 0.1),),
            stress_gpa=((0.1, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.1)),
            converged=True,
        )

    def evaluation(self, name, model, test_sets, scale):
        rng = np.random.default_rng(len(name))
        rows = {}
        for i in range(12):
            energy, forces = rng.normal(-246, 3), rng.normal(0, 0.8, (60, 3))
            stress = rng.normal(0, 0.4, (3, 3))
            rows[digest(f"test label {i}")] = {
                "system": "LYC",
                "label_energy_ev": energy,
                "energy_ev": energy + scale * rng.normal(0, 0.6),
                "label_forces_ev_per_ang": forces.tolist(),
                "forces_ev_per_ang": (forces + scale * rng.normal(0, 0.1, (60, 3))).tolist(),
                "label_stress_gpa": stress.tolist(),
                "stress_gpa": (stress + scale * rng.normal(0, 0.1, (3, 3))).tolist(),
            }
        errors = schemas.ModelErrors(
            n_labels=12,
            energy_mae_ev_per_atom=0.0068 * scale,
            force_mae_ev_per_ang=0.08 * scale,
            stress_mae_gpa=0.08 * scale,
            energy_rmse_ev_per_atom=0.01 * scale,
            force_rmse_ev_per_ang=0.1 * scale,
            stress_rmse_gpa=0.1 * scale,
            force_slope=1 - 0.1 * scale,
        )
        return self.put(
            schemas.Evaluation,
            name,
            parents=(model, *test_sets),
            model=model,
            test_sets=test_sets,
            overall=errors,
            by_system={"LYC": errors},
            predictions=self.blob(rows),
            **({"shifted": True} if "shifted" in schemas.Evaluation.model_fields else {}),
        )

    def round(self, index, ground_states):
        temperature_k = 200.0 * (index + 1)
        labels = tuple(self.label(ground) for ground in ground_states.values())
        test_set = self.put(
            schemas.TestSet, f"tests {index}", labels=labels, how="test data", runs=()
        )
        dataset = self.put(
            schemas.Dataset,
            f"dataset {index}",
            parents=(*labels, test_set),
            round_index=index,
            theory=digest(TEACHER),
            training_labels=labels,
            validation_labels=(),
            missing=(digest("a label that failed"),),
            rejected={digest("a bad label"): "force of 31.0 eV/Å above 25"} if index else {},
            test_sets=(test_set,),
        )
        history = tuple(
            schemas.EpochRecord(
                epoch=i,
                learning_rate=1e-3,
                training_loss=0.1 * math.exp(-i / 8) + 0.01 / (index + 1),
                energy_mae_ev_per_atom=0.006 * math.exp(-i / 9) + 0.002,
                force_mae_ev_per_ang=0.05 * math.exp(-i / 9) + 0.04 / (index + 1),
                stress_mae_gpa=0.05,
                score=1.0,
            )
            for i in range(20)
        )
        before = self.model("chgnet-0.3.0") if index == 0 else digest(["model", "toy r0"])
        after = self.model(f"toy r{index}", history)
        runs = tuple(
            self.npt(system, ground, temperature_k, 1.0, f"r{index:02d}")
            for system, ground in ground_states.items()
        )
        key = self.put(
            schemas.Round,
            f"round {index}",
            parents=(dataset, after),
            index=index,
            temperature_k=temperature_k,
            start_model=before,
            runs=runs,
            frames=self.put(schemas.Frames, f"frames {index}", runs=runs, frames=()),
            dataset=dataset,
            model=after,
            evaluation_before=self.evaluation(f"before {index}", before, (test_set,), 1.0),
            evaluation_after=self.evaluation(f"after {index}", after, (test_set,), 0.4),
            next_temperature_k=400.0 if index == 0 else None,
            decision_reason="200 K is below 400 K" if index == 0 else "400 K was the last",
        )
        self.keys.append(key)

    def npt(self, system, ground, temperature_k, pressure_bar, role, **facts):
        volume = {"LYC": 22.7, "LYB": 27.2}.get(system, 20.0) * (1 + 1.6e-4 * temperature_k)
        means = schemas.Thermodynamics(
            temperature_k=temperature_k,
            temperature_std_k=12.0,
            pressure_gpa=0.0,
            pressure_std_gpa=0.1,
            potential_energy_ev_per_atom=-4.1,
            potential_energy_std_ev_per_atom=0.01,
            volume_ang3_per_atom=volume,
            volume_std_ang3_per_atom=0.21,
        )
        return self.put(
            schemas.Run,
            f"{system} {role} {temperature_k:g} K {pressure_bar:g} bar npt",
            parents=(ground,),
            **{
                "start": ground,
                "start_structure": ground,
                "model": digest(["model", "chgnet-0.3.0"]),
                "ensemble": "npt",
                "temperature_k": temperature_k,
                "pressure_bar": pressure_bar,
                "n_steps": 140_000,
                "time_step_fs": 1.0,
                "segments": (),
                "means": means,
                "average_volume_ang3_per_atom": volume,
                "equilibrated": temperature_k < 700,
                "health": schemas.Health(),
                **facts,
            },
        )

    def transport(self, system, ground, temperature_k, pressure_bar, measured):
        npt = self.npt(system, ground, temperature_k, pressure_bar, "production")
        run = self.npt(
            system, ground, temperature_k, pressure_bar, "nvt", start=npt, ensemble="nvt"
        )
        d = 2e-7 * math.exp(-0.24 / 8.617e-5 / temperature_k) * (1 if pressure_bar < 10 else 0.2)
        lags = np.geomspace(0.1, 70, 90)
        slope = 6 * d / ANG2_PER_PS_M2_PER_S if measured else 0
        msd = 0.8 * (1 - np.exp(-lags / 0.3)) + slope * lags
        estimate = {"effective_hops": 140.0, "max_msd_ang2": 70.0, "plateau_msd_ang2": 0.8}
        if measured:
            estimate |= {
                "diffusivity_m2_per_s": d,
                "diffusivity_err_he_m2_per_s": 0.33 * d,
                "diffusivity_err_m2_per_s": 0.12 * d,
                "diffusivity_log_err": 0.12,
                "diffusivity_low_m2_per_s": d * math.exp(-0.24),
                "diffusivity_high_m2_per_s": d * math.exp(0.24),
                "fit_start_ps": 5.0,
                "fit_end_ps": 60.0,
                "log_slope": 0.97,
            }
        else:
            estimate |= {"diffusivity_upper_m2_per_s": 3.2e-12, "reason": "no hop was seen"}
        sigma = nernst_einstein_ms_per_cm(d, 18 / 60 / 24.0, temperature_k)
        conductivity = (
            {"conductivity_ms_per_cm": sigma, "conductivity_err_ms_per_cm": 0.12 * sigma}
            if measured
            else {"conductivity_upper_ms_per_cm": 1.4}
        )
        return self.put(
            schemas.Transport,
            f"{system} {temperature_k:g} K {pressure_bar:g} bar",
            parents=(run,),
            run=run,
            model=digest(["model", "chgnet-0.3.0"]),
            system=system,
            temperature_k=temperature_k,
            pressure_bar=pressure_bar,
            volume_ang3_per_atom=24.0,
            mobile_species="Li",
            n_mobile=18,
            n_atoms=60,
            duration_ps=100.0,
            lags_ps=tuple(lags.tolist()),
            msd_ang2=tuple(msd.tolist()),
            framework_msd_ang2=tuple((0.4 * (1 - np.exp(-lags / 0.3))).tolist()),
            estimate=schemas.DiffusionEstimate(**estimate),
            lattice_diffusivities_m2_per_s=(d, d, 2.4 * d) if measured else None,
            healthy=True,
            **conductivity,
        )

    def arrhenius(self, system, ground, pressure_bar, n_measured):
        transports = tuple(
            self.transport(system, ground, t, pressure_bar, i >= len(TEMPERATURES_K) - n_measured)
            for i, t in enumerate(TEMPERATURES_K)
        )
        points = [
            ArrheniusPoint(t.temperature_k, t.estimate)
            for t in (self.store.load(schemas.Transport, key) for key in transports)
        ]
        key = self.put(
            schemas.Arrhenius,
            f"{system} {pressure_bar:g} bar",
            parents=transports,
            system=system,
            pressure_bar=pressure_bar,
            model=digest(["model", "chgnet-0.3.0"]),
            transports=transports,
            **vars(fit_arrhenius(points, 300.0, 18 / 60 / 24.0)),
        )
        self.keys += [key, *transports]
        return key


@pytest.fixture
def campaign(tmp_path):
    made = Campaign(tmp_path / "store")
    yield made
    made.store.close()


def finished(campaign, systems=("LYC", "LYB")):
    """Two systems, two rounds; LYC conducts at two pressures, LYB does not."""
    grounds = {
        system: campaign.ranking(system, halide)
        for system, halide in zip(systems, ("Cl", "Br"), strict=False)
    }
    for index in range(2):
        campaign.round(index, grounds)
    lyc, lyb = grounds.values()
    campaign.arrhenius(systems[0], lyc, 1.0, 4)
    campaign.arrhenius(systems[0], lyc, 10_000.0, 3)
    campaign.arrhenius(systems[1], lyb, 1.0, 0)
    return campaign


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.ids, self.links, self.sources, self.text = [], [], [], [], ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if "href" in found else []
        self.sources += [found["src"]] if "src" in found else []

    def handle_data(self, data):
        self.text += data


def report(campaign, folder, title="test-campaign"):
    path = write_report(campaign.store, title, campaign.keys, folder)
    return path, Page(path)


def test_the_first_lines_say_what_can_and_what_cannot_be_concluded(campaign, tmp_path):
    _, page = report(finished(campaign), tmp_path / "report")
    first = page.text[: page.text.index("Enumeration")]
    assert "A rehearsal without DFT" in first
    assert "No number here is a prediction" in first
    assert "8 of 12 diffusivities" not in first
    assert "5 of 12 diffusivities are upper bounds" in first
    assert "LYB at 1 bar has no barrier" in first
    assert re.search(
        r"LYC at 1 bar, by chgnet-0\.3\.0: Eₐ = 0\.240 ± 0\.0\d+ eV from 4 temperatures", first
    )
    assert "Production is short: 12 of 12 runs last at most 100 ps, the paper's 2000 ps" in first
    assert "3 of 16 NpT runs averaged over less than ten barostat times" in first
    assert "1 label missing, 1 rejected (force of 31.0 eV/Å above 25)" in first
    assert "misses the paper's target" not in first


def test_every_bound_comes_first_when_nothing_diffuses(campaign, tmp_path):
    campaign.arrhenius("LYB", campaign.ranking("LYB", "Br"), 1.0, 0)
    _, page = report(campaign, tmp_path / "report")
    assert "No diffusion was resolved: every D (4 of 4) is an upper bound" in page.text
    assert "< 3.20 × 10⁻¹²" in page.text


def test_a_campaign_without_any_result_has_a_report(campaign, tmp_path):
    path, page = report(campaign, tmp_path / "report")
    assert "Unfinished: no diffusivity has been measured yet." in page.text
    assert "No round has finished yet." in page.text
    assert not list((path.parent / "figures").iterdir())


def test_a_campaign_that_has_only_ranked_has_a_report(campaign, tmp_path):
    campaign.ranking("LYC", "Cl")
    path, page = report(campaign, tmp_path / "report")
    assert "10,233" in page.text
    assert "There is no learning round, no transport, no Arrhenius fit yet." in page.text
    assert {file.name for file in (path.parent / "figures").iterdir()} == {
        "ranking-LYC.png",
        "ranking-LYC.svg",
    }


def test_the_page_needs_nothing_from_outside_and_every_link_arrives(campaign, tmp_path):
    path, page = report(finished(campaign), tmp_path / "report")
    assert path.stat().st_size < 3_000_000
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert len(page.ids) == len(set(page.ids))
    assert len(page.links) > 200
    figures = sorted(file.suffix for file in (path.parent / "figures").iterdir())
    assert figures.count(".png") == figures.count(".svg") == len(page.sources)


def test_numbers_stand_beside_the_papers(campaign, tmp_path):
    _, page = report(finished(campaign), tmp_path / "report")
    for row in paper_transport("LYC"):
        assert f"paper: {row}" in page.text
    assert "1.90 × 10⁻¹⁰" in page.text  # D(500 K) of LYB, printed
    ratio = 22.7 * (1 + 1.6e-4 * 400) / 25.3  # LYC at 400 K, 1 bar, CHGNet_600K
    assert f"{ratio:.3f}" in page.text


def test_hostile_names_are_text(campaign, tmp_path):
    hostile = '<script>alert("x")</script>$\\frac{1}{0}$../../x'
    finished(campaign, systems=(hostile, "<img src=x onerror=y>"))
    path, page = report(campaign, tmp_path / "report", title="</title><script>1</script>")
    assert "script" not in page.tags
    assert hostile in page.text
    assert all(source.startswith("data:") for source in page.sources)
    assert {file.parent for file in tmp_path.rglob("*.svg")} == {path.parent / "figures"}


def test_a_retracted_document_is_named_as_absent(campaign, tmp_path):
    finished(campaign)
    dataset = digest(["dataset", "dataset 1"])
    campaign.store.retract(dataset, "wrong units")
    _, page = report(campaign, tmp_path / "report")
    assert "1 result that this rests on is absent from the store" in page.text
    assert f"dataset of round 2 ({dataset[:12]})" in page.text


def test_a_run_that_left_physics_is_named(campaign, tmp_path):
    ground = campaign.ranking("LYC", "Cl")
    campaign.arrhenius("LYC", ground, 1.0, 4)
    exploded = schemas.Health(healthy=False, failed_step=812, reason="volume doubled")
    key = campaign.npt(
        "LYC", ground, 800.0, 1.0, "hot", health=exploded, means=None,
        average_volume_ang3_per_atom=None, equilibrated=False,
    )  # fmt: skip
    campaign.keys.append(key)
    _, page = report(campaign, tmp_path / "report")
    assert "left physics at step 812: volume doubled" in page.text


def test_the_same_documents_give_the_same_bytes(campaign, tmp_path):
    campaign.arrhenius("LYC", campaign.ranking("LYC", "Cl"), 1.0, 4)
    one, _ = report(campaign, tmp_path / "one")
    other, _ = report(campaign, tmp_path / "other")
    assert one.read_bytes() == other.read_bytes()
    for file in (one.parent / "figures").iterdir():
        assert file.read_bytes() == (other.parent / "figures" / file.name).read_bytes()


def test_the_walk_finds_npt_runs_behind_transports_and_counts_attempts(campaign):
    ground = campaign.ranking("LYC", "Cl")
    fit = campaign.arrhenius("LYC", ground, 1.0, 4)
    data = collect(campaign.store, [fit, campaign.keys[0]])
    assert [t.temperature_k for t in data.transports] == list(TEMPERATURES_K)
    assert {cell.system for cell in data.cell_runs} == {"LYC"}
    assert [cell.role for cell in data.cell_runs] == ["production"] * 4
    assert not data.missing or set(data.missing.values()) == {"a relaxation"}
    transport_tries = [a for a in data.attempts if a.kind == "transport"]
    assert len(transport_tries) == 4


def test_errors_are_written_to_their_second_digit():
    assert with_error(0.24317, 0.0312) == "0.243 ± 0.031"
    assert with_error(331.2, 25.4) == "331 ± 25"
    assert with_error(1.0, 0.0996) == "1.00 ± 0.10"
    assert with_error(12345.0, 340.0) == "12340 ± 340"
    assert with_error(2.5, None) == "2.5"
    assert scientific(1.931e-10, 1.2e-11) == "(1.93 ± 0.12) × 10⁻¹⁰"
    assert scientific(1e-12, 5e-11) == "(0.1 ± 5.0) × 10⁻¹¹"
    assert number(None) == number(float("nan")) == "–"
    assert duration(7200) == "2 h"


def test_a_system_is_the_papers_by_composition_not_by_name():
    def named(halides):
        species = ("Li",) * 18 + ("Y",) * 6 + tuple(halides)
        return schemas.Structure(
            key="0", lattice_ang=LATTICE, species=species, frac_coords=((0.0, 0.0, 0.0),) * 60
        )

    assert paper_system(named(["Cl"] * 36)) == "LYC"
    assert paper_system(named(["Br"] * 36)) == "LYB"
    assert paper_system(named(["Cl"] * 18 + ["Br"] * 18)) == "LYCB"
    assert paper_system(named(["I"] * 36)) is None
    assert (supercell_atoms("LYC"), supercell_atoms("LYB")) == (60, 40)


def test_the_papers_line_passes_through_its_own_conductivity():
    row = paper_transport("LYC")["CHGNet600K_10kbar"]
    assert row.conductivity_ms_per_cm(300.0) == pytest.approx(15.7)
    derived = paper_numbers()["transport"]["derived_consistency_check"]["LYC"]
    ions_per_ang3 = derived["n_Li_m-3"] * 1e-30
    expected = nernst_einstein_ms_per_cm(derived["D500_m2_s"], ions_per_ang3, 500.0)
    # ln D is a line in the paper, so σ T is; the table has three digits
    assert row.conductivity_ms_per_cm(500.0) == pytest.approx(expected, rel=0.01)
