"""A stage of the loop as a plan: its runs, frames, labels and model, all by key.

A stage is the making of the initial test set (index -1) or a round (0, 1, ...). Its keys
follow from its plan alone, so that every job of a stage finds the results of the others in
the store, and so does everything that shows how far a campaign has come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from lycb_flows.campaign.descriptions import DECIDE, DFT, GPU, LABEL, JobDescription, md_job
from lycb_flows.campaign.test_sets import initial_runs, n_frames_of_set, ranked_of_set, runs_of_set
from lycb_flows.config import Campaign, Config, Levers, RunConfig, TestSetConfig
from lycb_flows.labels.theory import Theory
from lycb_flows.schemas import Dataset, Foundation, Frames, Label, Model, Round, Run, seed_for

TEST_STAGE = -1


class StagePlan(Config):
    """Everything that decides a stage.

    Parents, models and the labeler's model in `campaign` are keys, not names.
    """

    campaign: Campaign
    theory: Theory
    index: int = TEST_STAGE
    starts: dict[str, str] = Field(description="System -> key of its ground-state structure.")
    tested: dict[str, tuple[str, ...]] | None = Field(
        None, description="Crystal of a named test set -> keys of its orderings, lowest first."
    )
    model: str = Field(description="Key of the model that runs the MD.")
    foundation: str | None = Field(
        None, description="Key of the model that test labels chose among several."
    )
    earlier_frames: tuple[str, ...] = ()
    earlier_rounds: tuple[str, ...] = ()
    dataset: str | None = None
    test_sets: tuple[str, ...] = ()

    # -- runs ------------------------------------------------------------------------

    @property
    def temperature_k(self) -> float:
        """Temperature of a round's MD in K.

        The stage of the test set has several, which its runs hold.
        """
        ladder = self.campaign.learning.temperatures_k
        return ladder[min(self.index, len(ladder) - 1)]  # rounds that were asked for come last

    @property
    def title(self) -> str:
        """Short name, unique in a campaign; it is the stage in the descriptions of its jobs."""
        if self.index == TEST_STAGE:
            return "test"
        return f"r{self.index:02d} {self.temperature_k:g} K"

    def npt_runs(self) -> tuple[RunConfig, ...]:
        """Return the runs that find each system's cell at the round's temperature.

        The stage of the test set has none: its runs strain the cell of the ground state.
        """
        if self.index == TEST_STAGE:
            return ()
        learning, md = self.campaign.learning, self.campaign.md
        protocol = md.npt(self.temperature_k, learning.pressure_bar)
        ramp = protocol.heating_steps + protocol.equilibration_steps
        return tuple(
            RunConfig(
                name=f"{system} {self.title} npt",
                system=system,
                start=start,
                model=self.model,
                protocol=protocol,
                seed=self._seed(system, "npt"),
                steps=ramp + md.steps(learning.npt_ps),
            )
            for system, start in self.starts.items()
        )

    def nvt_runs(self) -> tuple[RunConfig, ...]:
        """Return the runs that training frames are taken from, in the order of `starts`.

        Each starts from the last frame of its system's NpT run, in the average cell.
        """
        learning, md = self.campaign.learning, self.campaign.md
        return tuple(
            RunConfig(
                name=f"{system} {self.title} nvt",
                system=system,
                start=Run.key_of(npt),
                model=self.model,
                protocol=md.nvt(self.temperature_k, ramp=False),
                seed=self._seed(system, "nvt"),
                steps=md.steps(learning.nvt_ps),
            )
            for system, npt in zip(self.starts, self.npt_runs(), strict=False)
        )

    def runs(self) -> tuple[RunConfig, ...]:
        """Return all runs of the stage: NpT, NVT, and those that test frames are taken from."""
        return (*self.npt_runs(), *self.nvt_runs(), *self.test_runs())

    def test_runs(self) -> tuple[RunConfig, ...]:
        """Return the runs that test frames are taken from.

        They have seeds of their own: no frame of theirs is correlated with a training frame. Those
        of the initial test set are strained and reach the highest temperature; named sets follow.
        """
        named = (run for runs in self.set_runs().values() for run in runs)
        return (*self.own_test_runs(), *named)

    def own_test_runs(self) -> tuple[RunConfig, ...]:
        """Return the runs of the stage's own test set, which has no name."""
        if self.index == TEST_STAGE:
            return initial_runs(self.campaign, self.starts, self.model, self._seed)
        if self.index == 0 or self.campaign.learning.test.n_frames_per_round == 0:
            return ()
        md = self.campaign.md
        steps = md.steps(self.campaign.learning.test.run_ps)
        return tuple(
            run.model_copy(
                update={
                    "name": f"{system} {self.title} test",
                    "seed": self._seed(system, "test"),
                    "steps": steps,
                }
            )
            for system, run in zip(self.starts, self.nvt_runs(), strict=True)
        )

    def set_runs(self) -> dict[str, tuple[RunConfig, ...]]:
        """Return the runs of each named test set; they are made before the first training."""
        given = (self.tested or {}, self.model, self._seed)
        return {name: runs_of_set(self.campaign, name, *given) for name in self.sets}

    def set_orderings(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Return (crystal, key) of the orderings of each named test set, the lowest first."""
        return {name: ranked_of_set(self.campaign, name, self.tested or {}) for name in self.sets}

    def _seed(self, system: str, role: str) -> int:
        return seed_for(self.campaign.seed, system, str(self.index), role)

    # -- jobs ------------------------------------------------------------------------

    def run_batches(self) -> list[tuple[JobDescription, tuple[RunConfig, ...]]]:
        """Return each MD job and its runs; NpT comes before the NVT runs that start from it."""
        return [
            (md_job(self.title, f"{ensemble} {self.title} {i:02d}", f"{ensemble} {i:02d}"), runs)
            for ensemble, all_runs in (
                ("npt", self.npt_runs()),
                ("nvt", self.nvt_runs() + self.test_runs()),
            )
            for i, runs in enumerate(self.campaign.md.batches(all_runs))
        ]

    def select_job(self) -> JobDescription:
        """Return the job that chooses the frames.

        It is a light job: it reads trajectories and needs no GPU.
        """
        return self._job("select")

    def label_job(self, index: int, again: str = "") -> JobDescription:
        """Return the job that labels a single frame.

        Parameters
        ----------
        index
            Which of the stage's frames.
        again
            Empty for the first job of a frame. When a label that had failed for good is tried once
            more, a text that distinguishes this try from others, such as its time.
        """
        part = f"{index:04d} again {again}" if again else f"{index:04d}"
        return self._job(LABEL, part, category=DFT)

    def label_jobs(self) -> list[JobDescription]:
        """Return the jobs that label the frames of this stage, in the order of the frames."""
        return [self.label_job(i) for i in range(self.n_labels)]

    def train_job(self) -> JobDescription:
        """Return the job that trains.

        Training and evaluation go to the workers with a GPU.
        """
        return self._job("train", category=GPU)

    def evaluate_job(self, when: Literal["before", "after"]) -> JobDescription:
        """Return the job that evaluates the model from before or after the training."""
        return self._job("evaluate", when, category=GPU)

    def decide_job(self) -> JobDescription:
        """Return the job that writes the round and adds what comes next."""
        return self._job(DECIDE)

    def foundation_job(self) -> JobDescription:
        """Return the job that chooses, of several models, the one that the loop starts from."""
        return self._job("choose", "foundation", category=GPU)

    def first_job_after(self, dataset: Dataset) -> JobDescription:
        """Return the first of the jobs that follow this stage.

        Parameters
        ----------
        dataset
            The document that closed the stage. The first round's plan needs it after the stage of
            the test set.
        """
        if self.index != TEST_STAGE:
            return self.train_job()
        if self.foundation_key is not None:
            return self.foundation_job()
        return self.first_round(dataset).run_batches()[0][0]

    def _job(self, step: str, part: str = "", **category: str) -> JobDescription:
        name = f"{step} {self.title} {part}".rstrip()
        return JobDescription(name, step, self.title, part=part, **category)

    # -- keys ------------------------------------------------------------------------

    @property
    def frames_key(self) -> str:
        """Key of the stage's frames.

        Frames chosen by earlier stages are part of it, since they are not chosen again.
        """
        ranked = {
            name: [key for _, key in orderings] for name, orderings in self.set_orderings().items()
        }
        return Frames.key_of(
            self.campaign.learning,
            runs=[Run.key_of(run) for run in self.nvt_runs()],
            test_runs=[Run.key_of(run) for run in self.test_runs()],
            n_test_frames=self.n_test_frames,
            already_labelled=self.earlier_frames,
            sets={name: ranked[name] or each.n_frames for name, each in self.sets.items()} or None,
        )

    def label_keys(self, structures: Iterable[str]) -> list[str]:
        """Return the keys of the labels of structures, in their order.

        Parameters
        ----------
        structures
            Keys of the structures.
        """
        return Label.keys_of(structures, self.theory.fingerprint)

    @property
    def dataset_key(self) -> str:
        """Key of the Dataset that closes the stage.

        The key does not depend on the labels: which of them exist in time differs from machine to
        machine.
        """
        return Dataset.key_of(
            self.campaign.labels,
            frames=self.frames_key,
            theory=self.theory.fingerprint,
            previous=self.dataset,
            index=self.index,
        )

    @property
    def foundation_key(self) -> str | None:
        """Key of the Foundation that this stage decides; None where there is nothing to choose."""
        candidates = self.campaign.learning.candidates
        if candidates is None or self.index != TEST_STAGE:
            return None
        return Foundation.key_of(candidates, self.dataset_key)

    @property
    def parent_model(self) -> str:
        """Key of the model that this stage's training starts from.

        That is the model which ran the MD if `training.start` is 'previous', else the first model.
        """
        start = self.campaign.learning.training.start
        return (
            self.model if start == "previous" else self.foundation or self.campaign.learning.model
        )

    @property
    def model_key(self) -> str:
        """Key of the model that this stage trains.

        Raw PBE labels need another shift of reference energies, so the key tells them apart.
        """
        return Model.key_of(
            self.dataset_key,
            self.parent_model,
            self.campaign.learning.training,
            raw_pbe=self.theory.raw_pbe,
            tuning=self.campaign.learning.tuning,
        )

    def round_key(self, levers: Levers | None = None) -> str:
        """Return the key of the Round.

        The decision is part of it: another decision is another Round, and repeats no computation.

        Parameters
        ----------
        levers
            What people have asked for; None: nothing.
        """
        decision = self.campaign.decide(self.index, levers)
        return Round.key_of(self.model_key, self.model, decision.next_temperature_k)

    def round_keys(self, levers: Levers) -> list[str]:
        """Return the keys that the Round may have, the present decision's first.

        It may have been decided before somebody asked for something, or after a stop that holds
        no more.

        Parameters
        ----------
        levers
            What people have asked for.
        """
        ended = Round.key_of(self.model_key, self.model, None)
        return list(dict.fromkeys([self.round_key(levers), self.round_key(), ended]))

    # -- what follows -----------------------------------------------------------------

    def first_round(self, dataset: Dataset, foundation: Foundation | None = None) -> StagePlan:
        """Return the plan of the first round.

        Parameters
        ----------
        dataset
            The Dataset that closed the stage of the test set.
        foundation
            The model that its labels chose; None: the campaign has one model.
        """
        chosen = None if foundation is None else foundation.model
        return self._changed(
            index=0,
            model=chosen or self.model,
            foundation=chosen,
            dataset=dataset.key,
            test_sets=dataset.test_sets,
            tested=None,
        )

    def next_round(self, dataset: Dataset, round_key: str | None = None) -> StagePlan:
        """Return the plan of the next round, after a decision to continue.

        Parameters
        ----------
        dataset
            The Dataset of this round, on which the next one builds.
        round_key
            Key of this Round; None: as decided without anybody's asking.
        """
        return self._changed(
            index=self.index + 1,
            model=self.model_key,
            earlier_frames=(*self.earlier_frames, self.frames_key),
            earlier_rounds=(*self.earlier_rounds, round_key or self.round_key()),
            dataset=dataset.key,
            test_sets=dataset.test_sets,
        )

    def _changed(self, **fields: object) -> StagePlan:
        return StagePlan.model_validate({**dict(self), **fields})

    @property
    def n_test_frames(self) -> int:
        """Number of test frames for each system.

        Only rounds with test runs have any.
        """
        if self.index == TEST_STAGE:
            return self.campaign.learning.test.n_frames
        return self.campaign.learning.test.n_frames_per_round if self.own_test_runs() else 0

    @property
    def n_labels(self) -> int:
        """Number of label jobs of the stage.

        The plan cannot know if a selection finds fewer frames; jobs without a frame end at once.
        """
        n_training = 0 if self.index == TEST_STAGE else self.campaign.learning.selection.n_frames
        tested = self.tested or {}
        named = sum(n_frames_of_set(self.campaign, name, tested) for name in self.sets)
        return len(self.starts) * (n_training + self.n_test_frames) + named

    @property
    def sets(self) -> dict[str, TestSetConfig]:
        """The named test sets that this stage makes, which is the one before the first round."""
        sets = self.campaign.learning.test.sets
        return sets if sets and self.index == TEST_STAGE and self.tested is not None else {}
