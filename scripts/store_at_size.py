"""A finished campaign of any size, made up: what `service_check.py queries` asks, and a test.

Its documents have the keys that the campaign's plans compute, so that the catalogue finds them as
it finds real ones; their numbers are drawn at random, and nothing of them is physics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from lycb_flows.campaign.measurement import measurement_plan
from lycb_flows.campaign.rankings import enumeration_key, ranking_key
from lycb_flows.campaign.results import first_stage
from lycb_flows.campaign.stages import TEST_STAGE, StagePlan
from lycb_flows.campaign.submission import Submission, read_campaign, submit
from lycb_flows.quantities.diffusion import Diffusion
from lycb_flows.schemas import (
    Blob,
    Dataset,
    DiffusionEstimate,
    Document,
    Enumeration,
    Evaluation,
    Frame,
    Frames,
    Label,
    Model,
    ModelErrors,
    Ranking,
    Round,
    Run,
    Structure,
    Transport,
)
from lycb_flows.store import ResultStore

CAMPAIGN = Path(__file__).parents[1] / "tests" / "campaigns" / "loop.yaml"
SYSTEM = "LYC"
SPECIES = ("Li",) * 18 + ("Y",) * 6 + ("Cl",) * 36
THEORY_NAME = "gpaw: PBE (paper)"
_BATCH = 500
_ERRORS = ModelErrors(
    n_labels=10,
    energy_mae_ev_per_atom=1e-3,
    force_mae_ev_per_ang=5e-2,
    stress_mae_gpa=0.1,
    energy_rmse_ev_per_atom=2e-3,
    force_rmse_ev_per_ang=7e-2,
    stress_rmse_gpa=0.2,
    force_slope=1.0,
)


@dataclass
class StoreAtSize:
    """A store that is filled; `n_wanted` of its labels are the question's."""

    store: ResultStore
    submission: Submission
    n_labels: int
    n_wanted: int = 0


def fill(store: ResultStore, n_labels: int, *, seed: int = 0) -> StoreAtSize:
    """Put a campaign with `n_labels` labels of 60 atoms into an empty store.

    Every label has a structure of its own, so that there are twice as many documents. The
    question is for those at 400 K with a force above 5 eV/Å.
    """
    campaign = read_campaign(CAMPAIGN)
    system = campaign.systems[0].model_copy(update={"name": SYSTEM})
    submission = submit(store, campaign.model_copy(update={"name": "size", "systems": (system,)}))
    filled, rng = StoreAtSize(store, submission, n_labels), np.random.default_rng(seed)
    ground_state = _structure(rng, "ground state")
    store.insert_all([ground_state, _enumeration(store, submission)])
    store.insert(_ranking(store, submission, ground_state))
    plan = first_stage(submission.campaign, submission.theory, {SYSTEM: ground_state.key})
    n_stages = len(submission.campaign.learning.temperatures_k) + 1
    rounds = []
    for i in range(n_stages):
        n_here = n_labels // n_stages + (i < n_labels % n_stages)
        dataset = _fill_stage(filled, plan, rng, n_here)
        if plan.index == TEST_STAGE:
            plan = plan.first_round(dataset)
            continue
        rounds.append(_fill_round(store, plan))
        plan = plan.next_round(dataset)
    _fill_measurement(store, submission, ground_state, rounds, plan)
    return filled


def add_label(store: ResultStore) -> None:
    """Put one more label, and its structure, into a store that is filled."""
    number = store.sizes()[0]
    rng = np.random.default_rng(number)
    structure = _structure(rng, f"late {number}")
    store.insert_all([structure, _label(rng, structure, THEORY_NAME)])


def _fill_stage(
    filled: StoreAtSize, plan: StagePlan, rng: np.random.Generator, n_labels: int
) -> Dataset:
    configs = [*plan.nvt_runs(), *plan.test_runs()]
    runs = [Run.key_of(config) for config in configs]
    temperatures_k = {key: c.protocol.temperature_k for key, c in zip(runs, configs, strict=True)}
    frames, labels = [], []
    for number in range(n_labels):
        structure = _structure(rng, f"{plan.index} {number}")
        label = _label(rng, structure, plan.theory.fingerprint)
        run = runs[number % len(runs)]
        frames.append(
            Frame(
                run=run,
                step=number,
                structure=structure.key,
                system=SYSTEM,
                block="train",
                rule="fps",
            )
        )
        filled.n_wanted += temperatures_k[run] == 400 and label.max_force_ev_per_ang > 5  # noqa: PLR2004
        labels += [structure, label]
        if len(labels) >= 2 * _BATCH or number == n_labels - 1:
            filled.store.insert_all(labels)
            labels = []
    keys = tuple(Label.key_of(frame.structure, plan.theory.fingerprint) for frame in frames)
    dataset = Dataset(
        key=plan.dataset_key,
        parents=keys,
        round_index=plan.index,
        theory=plan.theory.fingerprint,
        training_labels=keys,
        validation_labels=(),
        test_sets=("0" * 64,),
    )
    chosen = Frames(
        key=plan.frames_key,
        products=tuple(frame.structure for frame in frames),
        runs=tuple(runs),
        frames=tuple(frames),
    )
    documents: list[Document] = [dataset, chosen]
    filled.store.insert_all([*documents, *_runs(plan)])
    return dataset


def _fill_round(store: ResultStore, plan: StagePlan) -> Round:
    evaluations = [_evaluation(plan.model_key, plan.test_sets), _evaluation(plan.model, ())]
    decision = plan.campaign.decide(plan.index)
    round_ = Round(
        key=plan.round_key(),
        index=plan.index,
        temperature_k=plan.temperature_k,
        start_model=plan.model,
        runs=(),
        frames=plan.frames_key,
        dataset=plan.dataset_key,
        model=plan.model_key,
        evaluation_before=evaluations[1].key,
        evaluation_after=evaluations[0].key,
        next_temperature_k=decision.next_temperature_k,
        decision_reason="made up",
    )
    model = Model(
        key=plan.model_key,
        name="made up",
        architecture="toy",
        architecture_args={},
        weights=store.blobs.put(b"weights", "application/octet-stream"),
        source="fine-tuned",
    )
    store.insert_all([round_, model, *evaluations])
    return round_


def _fill_measurement(
    store: ResultStore,
    submission: Submission,
    ground_state: Structure,
    rounds: list[Round],
    last: StagePlan,
) -> None:
    store.insert_all([_evaluation(round_.model, last.test_sets) for round_ in rounds])
    starts = {SYSTEM: ground_state.key}
    for round_ in rounds:  # one of them is the best; all are alike
        plan = measurement_plan(submission.campaign, starts, round_.model, rounds)
        quantity = Diffusion()
        for condition in quantity.conditions(plan):
            (run,) = quantity.runs(plan, condition)
            transport = _transport(Run.key_of(run), round_.model)
            place = condition.model_dump()
            key = quantity.key(plan, condition)
            store.insert(transport.model_copy(update={"key": key, **place}))


def _runs(plan: StagePlan) -> Iterator[Run]:
    for config in (*plan.npt_runs(), *plan.nvt_runs(), *plan.test_runs()):
        yield Run(
            key=Run.key_of(config),
            name=config.name,
            start=config.start,
            start_structure=plan.starts[config.system],
            model=config.model,
            ensemble=config.protocol.ensemble,
            temperature_k=config.protocol.temperature_k,
            pressure_bar=config.protocol.pressure_bar,
            n_steps=config.steps,
            time_step_fs=config.protocol.time_step_fs,
            segments=(),
            means=None,
            average_volume_ang3_per_atom=20.0,
            equilibrated=True,
            health={"healthy": True},  # type: ignore[arg-type]  # pydantic reads it
        )


def _structure(rng: np.random.Generator, name: str) -> Structure:
    coordinates = rng.random((len(SPECIES), 3)).round(10).tolist()
    return Structure(
        key=sha256(name.encode()).hexdigest(),
        lattice_ang=((12.0, 0.0, 0.0), (0.0, 12.0, 0.0), (0.0, 0.0, 12.0)),
        species=SPECIES,
        frac_coords=tuple(map(tuple, coordinates)),
    )


def _label(rng: np.random.Generator, structure: Structure, theory: str) -> Label:
    forces = rng.normal(0.0, 1.5, (len(SPECIES), 3)).tolist()
    stress: Any = rng.normal(0.0, 1.0, (3, 3)).tolist()
    return Label(
        key=Label.key_of(structure.key, theory),
        parents=(structure.key,),
        structure=structure.key,
        theory=theory,
        theory_name=THEORY_NAME,
        energy_ev=float(rng.normal(-260.0, 1.0)),
        forces_ev_per_ang=tuple(map(tuple, forces)),
        stress_gpa=stress,
        converged=True,
    )


def _enumeration(store: ResultStore, submission: Submission) -> Enumeration:
    return Enumeration(
        key=enumeration_key(store, submission.campaign, SYSTEM, None),
        parents=(submission.campaign.systems[0].parent,),
        formula="Li9Y3Cl18",
        n_atoms=30,
        count=24,
        raw_count=220,
        n_members=24,
        exhaustive=True,
        coverage=1.0,
        members=store.blobs.put_json([]),
        engine="builtin",
    )


def _ranking(store: ResultStore, submission: Submission, ground_state: Structure) -> Ranking:
    return Ranking(
        key=ranking_key(store, submission.campaign, SYSTEM),
        parents=(ground_state.key,),
        system=SYSTEM,
        enumeration=enumeration_key(store, submission.campaign, SYSTEM, None),
        model=submission.campaign.ranking.model,
        n_candidates=1,
        n_not_converged=0,
        best=(),
        table=store.blobs.put_json([]),
        ground_state=ground_state.key,
        ground_state_note="made up",
    )


def _evaluation(model: str, test_sets: tuple[str, ...]) -> Evaluation:
    return Evaluation(
        key=Evaluation.key_of(model, test_sets),
        model=model,
        test_sets=test_sets,
        overall=_ERRORS,
        by_system={SYSTEM: _ERRORS},
        predictions=Blob(sha256="0" * 64, size=0, media_type="application/json"),
    )


def _transport(run: str, model: str) -> Transport:
    return Transport(
        key="",
        parents=(run,),
        run=run,
        model=model,
        system=SYSTEM,
        temperature_k=0.0,
        pressure_bar=1.0,
        volume_ang3_per_atom=20.0,
        mobile_species="Li",
        n_mobile=18,
        n_atoms=60,
        duration_ps=100.0,
        lags_ps=(1.0,),
        msd_ang2=(1.0,),
        framework_msd_ang2=(0.0,),
        estimate=DiffusionEstimate(
            regime="diffusive",
            diffusivity_m2_per_s=1e-10,
            diffusivity_err_m2_per_s=1e-11,
            diffusivity_low_m2_per_s=0.8e-10,
            diffusivity_high_m2_per_s=1.2e-10,
            effective_hops=100.0,
            max_msd_ang2=1.0,
            plateau_msd_ang2=0.1,
        ),
        conductivity_ms_per_cm=1.0,
        conductivity_err_ms_per_cm=0.1,
        healthy=True,
    )
