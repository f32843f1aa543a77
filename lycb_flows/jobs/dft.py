"""Jobs that relax by DFT: one candidate or one binary each; a failed one stops nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jobflow import Maker

from lycb_flows.campaign import anchor_structure, dft_theory, ground_state_plan, is_decided
from lycb_flows.config import Campaign, DftConfig
from lycb_flows.crystals import Relaxed
from lycb_flows.errors import GivenBackError, InputError, LycbError, MachineError
from lycb_flows.jobs.labelling import open_labeler, with_logs
from lycb_flows.jobs.resources import open_store, static_job
from lycb_flows.labels import Labeler, Relaxer, Theory, drive_fire
from lycb_flows.machine.walltime import WALLTIME
from lycb_flows.schemas import Document, Label, Produced, Relaxation, Structure
from lycb_flows.store import ResultStore

D = TypeVar("D", bound=Document)


@dataclass(kw_only=True)
class DftRelaxMaker(Maker):
    """Relax one candidate of a ranking by DFT.

    Attributes
    ----------
    place
        In the model's order, from 0; there may be fewer candidates.
    """

    name: str = "dft-relax"
    campaign: Campaign
    system: str
    x: float | None = None
    place: int

    @static_job
    def make(self, after: object = None) -> Produced:
        """Return the key of the Relaxation, or why there is none; `after` only orders the jobs."""
        del after
        store = open_store()
        plan = ground_state_plan(store, self.campaign, self.system, self.x)
        if plan is None:
            return _produced("", "no DFT was asked for")
        candidates = plan.candidates(store)
        if self.place >= len(candidates):
            return _produced("", "no such candidate: the ranking has fewer")
        key = plan.relaxation_key(candidates[self.place].structure)
        if store.find(Relaxation, key) is not None:
            return _produced(key, "")
        if plan.decision(store) is not None:
            return _produced("", "decided without it")
        start = store.find(Structure, candidates[self.place].structure)
        if start is None:
            raise InputError(
                "a candidate's structure is not in the store: `lycb import runs` brings a ranking "
                "with its fine stage alone",
                fix="run in a store that has not imported this ranking, or lower ranking.dft.n",
                job=self.name,
            )
        return _produced(key, relax_by_dft(store, plan.dft, plan.theory, start, self.name))


@dataclass(kw_only=True)
class AnchorMaker(Maker):
    """Relax one competing phase by DFT: a binary halide, or a crystal of the user's."""

    name: str = "dft-relax"
    campaign: Campaign
    binary: str

    @static_job
    def make(self, after: object = None) -> Produced:
        """Return the key of the Relaxation, or why there is none; `after` only orders the jobs."""
        del after
        store, dft = open_store(), self.campaign.ranking.dft
        theory = dft_theory(store, self.campaign)
        if dft is None or theory is None:
            return _produced("", "no DFT was asked for")
        start = anchor_structure(store, dft, self.binary)
        store.insert(start)
        key = Relaxation.key_of(start.key, dft.relaxation, theory=theory.fingerprint)
        if store.find(Relaxation, key) is not None:
            return _produced(key, "")
        if is_decided(store, self.campaign):
            return _produced("", "decided without it")
        return _produced(key, relax_by_dft(store, dft, theory, start, self.name))


def _produced(key: str, reason: str) -> Produced:
    return Produced(kind=Relaxation.kind, keys=(key,) if key and not reason else (), reason=reason)


def relax_by_dft(
    store: ResultStore, dft: DftConfig, theory: Theory, start: Structure, job: str
) -> str:
    """Relax a crystal, and return why that failed; an empty string when it is done.

    A second try goes on where the first one ended: its steps are labels in the store.
    """
    key = Relaxation.key_of(start.key, dft.relaxation, theory=theory.fingerprint)
    labeler = open_labeler(store, dft.labeler)
    if labeler.theory != theory:
        raise LycbError(
            "the labeler is not at the ranking's level of theory",
            fix="run the campaign from the start; relaxations of one theory are kept",
            ranking=theory.name,
            found=labeler.theory.name,
        )
    work = _Work(store, dft, labeler, job)
    for _ in range(dft.max_attempts):
        try:
            store.once(Relaxation, key, lambda: work.relax(start), job)
        except (MachineError, GivenBackError):
            raise  # this machine's fault, or another worker's turn
        except LycbError as err:
            reason = str(err)
        else:
            return ""
    return reason


class _Work:
    """A labeler that relaxes, each of its steps looked up first."""

    def __init__(self, store: ResultStore, dft: DftConfig, labeler: Labeler, job: str) -> None:
        self.store, self.dft, self.labeler, self.job = store, dft, labeler, job
        self.longest_step_s = 0.0

    def relax(self, start: Structure) -> Relaxation:
        """Return the relaxation: by the code itself where it can, else by FIRE over labels."""
        config, labeler = self.dft.relaxation, self.labeler
        if not isinstance(labeler, Relaxer):
            return self._kept(drive_fire(start, self.label_of, config, labeler.theory))
        relax = labeler.relax
        return self._bounded(lambda: self._kept(relax(start, config)))

    def _kept(self, found: Relaxed) -> Relaxation:
        self.store.insert(found.structure)
        theory = self.labeler.theory
        return found.document(
            self.dft.relaxation, theory=theory.fingerprint, theory_name=theory.name
        )

    def label_of(self, structure: Structure) -> Label:
        """One step; between two of them a worker may give the job back."""
        key = Label.key_of(structure.key, self.labeler.theory.fingerprint)
        found = self.store.find(Label, key)
        if found is not None:
            return found
        WALLTIME.leave_if_over(self.longest_step_s)
        self.store.insert(structure)
        began = time.monotonic()
        label = self.store.once(
            Label,
            key,
            lambda: self._bounded(lambda: self.labeler.label(structure)),
            self.job,
            claim=False,  # the relaxation is claimed
        )
        self.longest_step_s = max(self.longest_step_s, time.monotonic() - began)
        return label

    def _bounded(self, act: Callable[[], D]) -> D:
        return with_logs(
            self.store,
            self.labeler,
            act,
            limit_s=self.dft.timeout_s,
            setting="ranking.dft.timeout_s",
        )
