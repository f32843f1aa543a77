"""A store full of hand-made documents: every number here is test data, not a result."""

import math

import numpy as np

from lycb_flows import schemas
from lycb_flows.schemas.keys import digest
from lycb_flows.store import open_store
from lycb_flows.transport.arrhenius import fit_arrhenius
from lycb_flows.transport.arrhenius_points import ArrheniusPoint
from lycb_flows.units import ANG2_PER_PS_M2_PER_S, nernst_einstein_ms_per_cm

TEACHER = "teacher: chgnet-r2scan (a potential, not DFT)"
LATTICE = ((12.0, 0.0, 0.0), (0.0, 12.0, 0.0), (0.0, 0.0, 12.0))
TEMPERATURES_K = (400.0, 500.0, 600.0, 700.0)


class Campaign:
    """A store that fills up with the documents of one campaign, test data throughout."""

    def __init__(self, folder):
        self.store = open_store(folder)
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
        above = np.concatenate([[0, 0.0004], np.sort(rng.gamma(3, 0.004, 97)) + 0.001, [-0.0031]])
        model = self.model("chgnet-0.3.0")
        candidates = [
            schemas.RankedCandidate(
                ordering=digest(f"{system} ordering {i}"),
                relaxation=self.relaxation(f"{system} {i}", model, above[0]) if i < 10 else "none",
                structure=ground if i == 0 else digest(f"{system} relaxed {i}"),
                space_group="P-3c1" if i == 0 else "P1",
                energy_ev_per_atom=-4.2 + energy,
                above_best_ev_per_atom=energy,
                volume_ang3_per_atom=22.6 + 0.02 * i,
                volume_flag=i % 7 == 5 or energy < 0,
                refined_cell_rank=i + 1,
                refined_cell_energy_ev_per_atom=-4.1 + energy,
                tied_with_best=i == 1,
                stage="fine" if i < 20 else "coarse",
            )
            for i, energy in enumerate(above.tolist())
        ]
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

    def relaxation(self, name, model, energy):
        return self.put(
            schemas.Relaxation,
            f"relaxation {name}",
            structure=digest("start"),
            final_structure=digest("end"),
            model=model,
            energy_ev=60 * energy,
            energy_ev_per_atom=energy,
            static_energy_ev_per_atom=energy,
            max_force_ev_per_ang=0.009,
            n_steps=120,
            converged=True,
            volume_ang3_per_atom=22.6,
            volume_change=0.01,
        )

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
        self.keys += [key, digest(["evaluation", f"after {index}"])]

    def npt(self, system, ground, temperature_k, pressure_bar, role, **facts):
        volume = {"LYC": 22.7, "LYB": 27.2}.get(system, 20.0) * (1 + 1.6e-4 * temperature_k)
        volume *= 0.93 if pressure_bar > 1 else 1
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

    def transport(
        self, system, ground, temperature_k, pressure_bar, regime, *, still=False, **facts
    ):
        """The transport of a run; `still` is a bound without a single hop."""
        measured = regime == "diffusive"
        npt = self.npt(system, ground, temperature_k, pressure_bar, "production")
        run = self.npt(
            system, ground, temperature_k, pressure_bar, "nvt", start=npt, ensemble="nvt"
        )
        d = 2e-7 * math.exp(-0.24 / 8.617e-5 / temperature_k) * (1 if pressure_bar < 10 else 0.2)
        lags = np.geomspace(0.1, 70, 90)
        slope = 6 * d / ANG2_PER_PS_M2_PER_S if measured else 0
        msd = 0.8 * (1 - np.exp(-lags / 0.3)) + slope * lags
        estimate = {"effective_hops": 140.0, "max_msd_ang2": 70.0, "plateau_msd_ang2": 0.8}
        estimate |= {
            "regime": regime,
            "most_likely_m2_per_s": 0.0 if still else d,
            "event_m2_per_s": 1e-12 if still else 0.0144 * d,
            "paper_diffusivity_m2_per_s": 1.1 * d,
        }
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
        elif regime == "bound":
            upper = 3.2e-12 if still else 3 * d
            estimate |= {"diffusivity_upper_m2_per_s": upper, "reason": "no hop was seen"}
        sigma = nernst_einstein_ms_per_cm(d, 18 / 60 / 24.0, temperature_k)
        conductivity = (
            {"conductivity_ms_per_cm": sigma, "conductivity_err_ms_per_cm": 0.12 * sigma}
            if measured
            else {"conductivity_upper_ms_per_cm": 1.4 if regime == "bound" else None}
        )
        return self.put(
            schemas.Transport,
            f"{system} {temperature_k:g} K {pressure_bar:g} bar{facts.get('replica', '')}",
            parents=(run,),
            run=run,
            model=digest(["model", "chgnet-0.3.0"]),
            system=system,
            temperature_k=temperature_k,
            pressure_bar=pressure_bar,
            **{
                "volume_ang3_per_atom": 24.0,
                "mobile_species": "Li",
                "n_mobile": 18,
                "n_atoms": 60,
                "duration_ps": 100.0,
                "lags_ps": tuple(lags.tolist()),
                "msd_ang2": tuple(msd.tolist()),
                "framework_msd_ang2": tuple((0.4 * (1 - np.exp(-lags / 0.3))).tolist()),
                "estimate": schemas.DiffusionEstimate(**estimate),
                "lattice_diffusivities_m2_per_s": (d, d, 2.4 * d) if measured else None,
                "healthy": True,
                **conductivity,
                **facts,
            },
        )

    def arrhenius(self, system, ground, pressure_bar, n_measured, other="bound"):
        """A fit to four runs, the hottest of them measured, the others of another regime."""
        n_others = len(TEMPERATURES_K) - n_measured
        transports = tuple(
            self.transport(
                system, ground, t, pressure_bar, other if i < n_others else "diffusive",
                still=other == "bound" and not n_measured,
            )
            for i, t in enumerate(TEMPERATURES_K)
        )  # fmt: skip
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
