"""The plan of a campaign with its estimated cost, before anything runs.

The jobs come from the same plans as those of the flows. Costs are estimates in CPU seconds of
a single core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure as PymatgenStructure

from lycb_flows.campaign.admission import imported_labels
from lycb_flows.campaign.anchors import anchor_names, anchor_structure
from lycb_flows.campaign.descriptions import (
    MEASUREMENT,
    STRUCTURES,
    JobDescription,
    anchor_job,
    begin_job,
    choose_job,
    decide_dft_job,
    dft_relax_job,
    enumerate_job,
    rank_job,
)
from lycb_flows.campaign.levers import levers_of
from lycb_flows.campaign.listing import (
    Listed,
    keeps_composition,
    listed_decorations,
    listed_orderings,
)
from lycb_flows.campaign.measurement import measurements, run_batches
from lycb_flows.campaign.names import ordering_names, system_names, tested_crystals
from lycb_flows.campaign.planned import PlannedStep, noted
from lycb_flows.campaign.rankings import dft_theory
from lycb_flows.campaign.results import first_stage
from lycb_flows.campaign.stages import StagePlan
from lycb_flows.campaign.students import distil_job
from lycb_flows.config import (
    Campaign,
    LabelerConfig,
    RunConfig,
    StudentConfig,
    SystemConfig,
    decorated_name,
)
from lycb_flows.labels import Theory, engine_of
from lycb_flows.machine import counted
from lycb_flows.potentials import NEP_RATES, Rates, rates_of
from lycb_flows.quantities import MeasurementPlan, readable_quantities
from lycb_flows.quantities.costs import RELAXATION_STEPS
from lycb_flows.schemas import Dataset, Model
from lycb_flows.store import ResultStore, load_cell

_UNKNOWN_KEY = "0" * 64  # counts and names do not depend on it
_COARSE_STEPS, _FINE_STEPS = 60, 60
"""Force calls of a relaxation; medians of the two parents' candidates."""
_LONG_PS = 1e6  # told in nanoseconds from here on
_ATOMS_PER_UPDATE = 240
"""Atoms in a batch of a student's training (`learning/students/training.py`)."""
_UNKNOWN_COST = "their cost unknown and not counted"
_UNKNOWN_RATES = Rates(force_call_s=0.0, training_s=0.0)


def plan_campaign(store: ResultStore, campaign: Campaign, theory: Theory) -> list[PlannedStep]:
    """Return every job of a submitted campaign, with estimated costs.

    Parameters
    ----------
    store
        Holds the campaign's parents, models and imports.
    campaign
        Its parents and models are keys.
    theory
        The campaign's level of theory.

    Returns
    -------
    list of PlannedStep
        In the order of the campaign. Rounds whose turn depends on results are all listed; lists of
        candidates that DFT may lengthen are listed with their first length.
    """
    steps = _Planner(store, campaign, theory).steps()
    return [step for step in steps if step.jobs]  # a measurement may need no runs


class _Planner:
    def __init__(self, store: ResultStore, campaign: Campaign, theory: Theory) -> None:
        self.store, self.campaign, self.theory = store, campaign, theory
        self.dft_theory = dft_theory(store, campaign)
        self.n_atoms = dict(self._atoms())
        self.n_listed: dict[str, int] = {}

    def _atoms(self) -> Iterator[tuple[str, int]]:
        for system in self.campaign.systems:
            given, n_cells = system.enumeration.composition, prod(system.enumeration.supercell)
            n_atoms = round(self._cell(system).composition.num_atoms * n_cells)
            if isinstance(given, dict):
                n_atoms = sum(given.values())
            names = [decorated_name(system.name, decoration.x) for decoration in system.decorations]
            for name in (system.name, *names):
                for _, each in ordering_names(self.campaign, name):
                    yield each, n_atoms

    def _cell(self, system: SystemConfig) -> PymatgenStructure:
        """Return the cell of the parent, whose multiples are enumerated."""
        return load_cell(self.store, system.parent, system.enumeration)

    def _rates(self, model: str) -> Rates:
        return rates_of(self.store.load(Model, model)) or _UNKNOWN_RATES

    @property
    def _learner(self) -> Rates:
        """Rates of the model that learns; of several the dearest, as the plan cannot choose."""
        learning = self.campaign.learning
        rates = map(self._rates, learning.candidates or (learning.model,))
        return max(rates, key=lambda each: each.force_call_s)

    def steps(self) -> Iterator[PlannedStep]:
        """Yield the steps in the order of the campaign.

        Keys of results that do not exist yet are zeros: neither counts nor names depend on them.
        """
        for system in self.campaign.systems:
            yield from self._structures(system)
        if self.dft_theory is not None:
            yield from self._dft(self.dft_theory)
        yield PlannedStep(STRUCTURES, (begin_job(),), "collect the ground states", 0.0)
        starts = dict.fromkeys((system.name for system in self.campaign.systems), _UNKNOWN_KEY)
        if self.campaign.learning.temperatures_k:
            yield from self._learning(starts)
        yield from self._measurement(starts)

    def _learning(self, starts: dict[str, str]) -> Iterator[PlannedStep]:
        names = tested_crystals(self.campaign)
        tested = {name: (_UNKNOWN_KEY,) * self._n_testable(name) for name in names} or None
        first = first_stage(self.campaign, self.theory, starts)
        plan = first.model_copy(update={"tested": tested})
        empty = {"training_labels": (), "validation_labels": (), "test_sets": ()}
        dataset = Dataset(key=_UNKNOWN_KEY, round_index=0, theory="", **empty)
        yield from self._stage(plan)
        if plan.foundation_key is not None:
            yield PlannedStep(plan.title, (plan.foundation_job(),), "choose the first model", 20.0)
        plan = plan.first_round(dataset)
        levers, goes_on = levers_of(self.store, self.campaign), True
        while goes_on:
            yield from self._stage(plan)
            yield from self._training(plan)
            goes_on = self.campaign.decide(plan.index, levers).next_temperature_k is not None
            plan = plan.next_round(dataset)

    def _n_testable(self, name: str) -> int:
        """Return how many orderings a test set can take from, of a crystal and its parent."""
        n_fine, system = self.campaign.ranking.n_fine, self.campaign.system_of(name)
        n = min(n_fine, self.n_listed[name])
        for decoration in system.decorations:
            is_its = name == decorated_name(system.name, decoration.x)
            if is_its and keeps_composition(self.store, system, decoration):
                n += min(n_fine, self.n_listed[system.name]) - 1
        return n

    def _structures(self, system: SystemConfig) -> Iterator[PlannedStep]:
        yield from self._ranking(system.name, listed_orderings(self.store, self.campaign, system))
        for decoration in system.decorations:
            mixed = decorated_name(system.name, decoration.x)
            yield from self._ranking(mixed, listed_decorations(self.store, system, decoration))

    def _ranking(self, name: str, listed: Listed) -> Iterator[PlannedStep]:
        yield PlannedStep(STRUCTURES, (enumerate_job(name),), listed.text, listed.cpu_s)
        ranking, n_atoms = self.campaign.ranking, self.n_atoms[name]
        n_candidates = min(listed.n, ranking.n_searched or listed.n)
        self.n_listed[name] = n_candidates
        n_fine = min(ranking.n_fine, n_candidates)
        calls = _COARSE_STEPS * n_candidates + _FINE_STEPS * n_fine
        relaxations = counted(n_candidates, "relaxation")
        work = f"{listed.bound}{relaxations} of {n_atoms} atoms, {n_fine} of them fine"
        rate = self._rates(ranking.model).force_call_s
        cpu_s = calls * n_atoms * rate
        yield PlannedStep(STRUCTURES, (rank_job(name),), noted(work, rate), cpu_s)

    def _dft(self, theory: Theory) -> Iterator[PlannedStep]:
        """Yield the relaxations by DFT; lists may grow, but only DFT's energies tell which."""
        dft = self.campaign.ranking.dft
        if dft is None:
            return
        if dft.anchors:
            names = anchor_names(dft)
            jobs = tuple(map(anchor_job, names))
            cells = [anchor_structure(self.store, dft, name) for name in names]
            each_s = [
                self._label_s(dft.labeler, theory, len(cell.species), np.array(cell.lattice_ang))
                for cell in cells
            ]
            what = "binaries" if dft.anchors is True else "competing phases"
            yield self._relaxations(theory, jobs, what, _sum(each_s))
        mixed = False
        for name, system, x in system_names(self.campaign):
            n = dft.n if x is None else dft.n_decorations
            if not n:
                continue
            mixed = mixed or x is not None
            jobs = tuple(dft_relax_job(name, place) for place in range(n))
            n_tried = min(n, self.n_listed[name])
            label_s = self._label_s(
                dft.labeler, theory, self.n_atoms[name], self._supercell(system)
            )
            step_s = None if label_s is None else n_tried * label_s
            longest = f", up to {dft.limit} if the minimum is at the edge" if x is None else ""
            what = f"candidates of {self.n_atoms[name]} atoms{longest}"
            yield self._relaxations(theory, jobs, what, step_s)
        decisions = (decide_dft_job(0), *([decide_dft_job(None)] if mixed else []))
        yield PlannedStep(STRUCTURES, decisions, "the ground states by DFT", 1.0)

    def _relaxations(
        self, theory: Theory, jobs: tuple[JobDescription, ...], what: str, step_s: float | None
    ) -> PlannedStep:
        """Return a step of relaxations; `step_s` is the cost of a FIRE step of all of them."""
        noun = "relaxation" if len(jobs) == 1 else "relaxations"
        work = f"{len(jobs)} {noun} by {theory.name}: {what}"
        if step_s is None:
            work += f"; {_UNKNOWN_COST}"
        return PlannedStep(STRUCTURES, jobs, work, RELAXATION_STEPS * (step_s or 0.0))

    def _md(
        self,
        stage: str,
        batches: Sequence[tuple[JobDescription, tuple[RunConfig, ...]]],
        n_atoms: Mapping[str, int],
        rate: float,
    ) -> PlannedStep:
        runs = [run for _, batch in batches for run in batch]
        time_step_ps = self.campaign.md.time_step_fs / 1000
        quantities = readable_quantities(self.campaign.measure)
        others = {model for each in quantities for model in each.models(self.campaign)}
        rates = {run.model: rate for run in runs} | {
            model: self._rates(model).force_call_s
            for model in others.intersection(run.model for run in runs)
        }
        atom_steps = dict.fromkeys(rates, 0)
        for run in runs:
            atom_steps[run.model] += run.steps * n_atoms[run.system]
        cpu_s = sum(atom_steps[model] * rates[model] for model in rates)
        total_ps = sum(run.steps for run in runs) * time_step_ps
        is_long = total_ps >= _LONG_PS
        length = f"{total_ps / 1000:,.0f} ns" if is_long else f"{total_ps:,.6g} ps"
        work = f"{len(runs):,} runs, {length} together"
        jobs = tuple(job for job, _ in batches)
        return PlannedStep(stage, jobs, noted(work, *rates.values()), cpu_s)

    def _stage(self, plan: StagePlan) -> Iterator[PlannedStep]:
        title = plan.title
        rate = self._learner.force_call_s
        yield self._md(title, plan.run_batches(), self.n_atoms, rate)
        yield PlannedStep(title, (plan.select_job(),), f"{plan.n_labels} frames", 1.0)
        yield self._labels(plan)

    def _labels(self, plan: StagePlan) -> PlannedStep:
        labeler = self.campaign.labels.labeler
        work = f"{plan.n_labels} labels by {self.theory.name}"
        each_s = [
            self._label_s(labeler, self.theory, self.n_atoms[name], self._supercell(name))
            for name in plan.starts
        ]
        total_s = _sum(each_s)
        note = _UNKNOWN_COST if total_s is None else engine_of(labeler).cost_note(labeler)
        if note:
            work += f", {note}"
        cpu_s = plan.n_labels * (total_s or 0.0) / len(each_s)
        return PlannedStep(plan.title, tuple(plan.label_jobs()), work, cpu_s)

    def _supercell(self, name: str) -> NDArray[np.float64]:
        """Return the lattice vectors of a system's cells as rows a, b, c in Å."""
        system = next(entry for entry in self.campaign.systems if entry.name == name)
        lattice = self._cell(system).lattice.matrix
        return np.asarray(lattice * np.array(system.enumeration.supercell)[:, None])

    def _label_s(
        self,
        labeler: LabelerConfig,
        theory: Theory,
        n_atoms: int,
        lattice_ang: NDArray[np.float64],
    ) -> float | None:
        """Return the CPU seconds of a single label; None where the engine cannot tell."""
        return engine_of(labeler).cost_s(
            labeler,
            theory,
            lattice_ang,
            n_atoms,
            lambda model: self._rates(model).force_call_s or None,
        )

    def _training(self, plan: StagePlan) -> Iterator[PlannedStep]:
        title, learning = plan.title, self.campaign.learning
        n_atoms = sum(self.n_atoms[name] for name in plan.starts) / len(plan.starts)
        n_frames = learning.selection.n_frames * (plan.index + 1) * len(plan.starts)
        n_imported = sum(1 for _ in imported_labels(self.store, self.campaign.labels))
        n_trained = (n_frames + n_imported) * (1 + (learning.training.replay or 0))
        rate = self._learner.training_s or 0.0
        cpu_s = learning.n_epochs * n_trained * n_atoms * rate
        also = f" and {n_imported} imported labels" if n_imported else ""
        work = f"{n_frames} structures{also}, {learning.trainings}"
        yield PlannedStep(title, (plan.train_job(),), noted(work, rate), cpu_s)
        jobs = (plan.evaluate_job("before"), plan.evaluate_job("after"), plan.decide_job())
        yield PlannedStep(title, jobs, "evaluate, decide", 2.0)

    def _measurement(self, starts: dict[str, str]) -> Iterator[PlannedStep]:
        yield PlannedStep(MEASUREMENT, (choose_job(),), "choose the model", 2.0)
        mixed = self.campaign.measure.decorations
        names = [name for name, _, _ in system_names(self.campaign)] if mixed else list(starts)
        measured = [each for name in names for _, each in ordering_names(self.campaign, name)]
        starts = dict.fromkeys(measured, _UNKNOWN_KEY)
        plan = MeasurementPlan(campaign=self.campaign, starts=starts, model=self._measuring)
        student = self.campaign.measure.student
        if student is not None:
            yield self._student(student, list(starts))
        quantities = readable_quantities(self.campaign.measure)
        n_atoms = {
            name: n * prod(self.campaign.repeat_of(name)) for name, n in self.n_atoms.items()
        }
        rate = (self._learner if student is None else NEP_RATES).force_call_s
        yield self._md(MEASUREMENT, run_batches(plan, quantities), n_atoms, rate)
        planned, rates = measurements(plan, quantities), {plan.model: rate}

        def force_call_s(model: str) -> float:
            if model not in rates:
                rates[model] = self._rates(model).force_call_s
            prices_s.add(rates[model])
            return rates[model]

        prices_s = set[float]()
        costs_s = [
            each.quantity.cost_s(plan, each.condition, n_atoms, force_call_s) for each in planned
        ]
        work = " and ".join(quantity.work for quantity in quantities)
        jobs = tuple(each.job for each in planned)
        yield PlannedStep(MEASUREMENT, jobs, noted(work, *costs_s, *prices_s), sum(costs_s))

    @property
    def _measuring(self) -> str:
        """Key of the model that measures, where it does not depend on results."""
        learning, measure = self.campaign.learning, self.campaign.measure
        is_given = not learning.temperatures_k or measure.model == "pretrained"
        is_known = is_given and measure.student is None and learning.candidates is None
        return learning.model if is_known else _UNKNOWN_KEY

    def _student(self, config: StudentConfig, names: list[str]) -> PlannedStep:
        """Return the making of the student: labels of the teacher, trainings, its own runs."""
        measure, learning = self.campaign.measure, self.campaign.learning
        n_systems, n_protocols = len(names), 1 + len(measure.pressures_bar)
        n_hot = len(config.temperatures_k or measure.temperatures_k)
        n_own = config.rounds * n_hot * n_protocols * config.frames_per_run * n_systems
        n_given = (
            len(learning.temperatures_k) * learning.selection.n_frames * len(self.campaign.systems)
        )
        n_certified = len(measure.temperatures_k) * config.certified_frames
        n_labels = config.rattled_per_start * n_systems + n_own + n_given + n_certified
        n_atoms = sum(self.n_atoms[name] for name in names) / n_systems
        rate = (self._rates(config.teacher) if config.teacher else self._learner).force_call_s
        updates = config.updates * (1 + config.rounds / 4)
        training_s = updates * _ATOMS_PER_UPDATE * (NEP_RATES.training_s or 0.0)
        work = f"a student: {n_labels} labels by its teacher, {updates:,.0f} updates"
        cpu_s = n_labels * n_atoms * rate + training_s
        return PlannedStep(MEASUREMENT, (distil_job(),), noted(work, rate), cpu_s)


def _sum(seconds: Sequence[float | None]) -> float | None:
    """Return the sum, None where a summand is unknown."""
    known = [each for each in seconds if each is not None]
    return sum(known) if len(known) == len(seconds) else None
