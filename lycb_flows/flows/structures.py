"""The structures as a flow: enumerate, rank, let DFT decide, and only then decorate.

    enumerate, rank -> dft-relax (one job each) -> decide dft 00 -> what it adds:
        a longer list where the minimum lies at the end of one, and decide dft 01; else
        the mixed halides, made from DFT's ground states; else what comes after

Without DFT the model decides, and the mixed halides follow their ranking at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jobflow import Flow, Job, Maker, Response

from lycb_flows.campaign import (
    JobDescription,
    anchor_job,
    anchor_names,
    begin_job,
    decide_dft_job,
    decide_ground_state,
    dft_relax_job,
    enumerate_job,
    ground_state_plan,
    rank_job,
    system_names,
)
from lycb_flows.config import Campaign
from lycb_flows.flows.makers import DEFAULT_MAKERS, CampaignMakers
from lycb_flows.flows.routing import STRUCTURES_FIRST, make_job, route
from lycb_flows.jobs import AnchorMaker, CampaignSystem, DftRelaxMaker, deciding_job, open_store
from lycb_flows.schemas import GroundState, Produced

System = tuple[str, str, float | None]
"""(name, system, x or None), as `system_names` has it."""


def ranking_flow(
    campaign: Campaign, begin: Maker | None = None, makers: CampaignMakers | None = None
) -> Flow:
    """Return the flow that finds every ground state of a campaign.

    Parameters
    ----------
    campaign
        With keys for its parents and models. With `ranking.dft`, DFT decides, and mixed halides
        are added later.
    begin
        Makes the job that comes after all of them, if any does.
    makers
        Makers of the user's own in place of the defaults.
    """
    systems, dft = list(system_names(campaign)), campaign.ranking.dft
    if dft is not None:
        systems = [entry for entry in systems if entry[2] is None]
    flow_jobs, ranked = _rank_jobs(campaign, systems, makers)
    if dft is not None:
        lengths = {name: dft.n for name, _, _ in systems}
        anchors = [
            make_job(anchor_job(binary), AnchorMaker(campaign=campaign, binary=binary))
            for binary in anchor_names(dft)
        ]
        decider = GroundStatesMaker(campaign=campaign, lengths=lengths, begin=begin, makers=makers)
        flow_jobs += [*anchors, *_dft_jobs(decider, ranked, anchors)]
    elif begin is not None:
        flow_jobs.append(_follow(begin, list(ranked.values())))
    flow = Flow(flow_jobs, name=campaign.name if begin is not None else f"rank {campaign.name}")
    route(flow, STRUCTURES_FIRST)
    return flow


def _follow(begin: Maker, after: Sequence[object]) -> Job:
    return make_job(begin_job(), begin, after=list(after))


def _rank_jobs(
    campaign: Campaign, systems: Iterable[System], makers: CampaignMakers | None
) -> tuple[list[Flow | Job], dict[str, object]]:
    """Return enumerations and rankings, and the output of each ranking by name.

    A mixed halide comes after its system if that is ranked here too.
    """
    flow_jobs: list[Flow | Job] = []
    ranked: dict[str, object] = {}
    chosen = makers or DEFAULT_MAKERS
    for name, system, x in systems:
        listed = CampaignSystem(campaign=campaign, system=system, x=x)
        order = [ranked[system]] if x is not None and system in ranked else []
        listing = make_job(enumerate_job(name), chosen.enumerate, parent=listed, after=order)
        ranking = make_job(
            rank_job(name),
            chosen.rank,
            parent=listed,
            after=listing.output.keys,
        )
        ranked[name] = ranking.output.keys
        flow_jobs += [listing, ranking]
    return flow_jobs, ranked


def _dft_jobs(
    decider: GroundStatesMaker, ranked: Mapping[str, object], before: Sequence[Job] = ()
) -> list[Flow | Job]:
    """Return a job for each candidate that is new in the decider's lists, and the decider."""
    relaxed = [
        make_job(
            dft_relax_job(name, place),
            DftRelaxMaker(campaign=decider.campaign, system=system, x=x, place=place),
            after=ranked.get(name),
        )
        for name, system, x in system_names(decider.campaign)
        if name in decider.lengths
        for place in range(decider.shorter.get(name, 0), decider.lengths[name])
    ]
    references = [job.output.keys for job in (*before, *relaxed)]
    return [*relaxed, make_job(decider.description, decider, after=references)]


@dataclass(kw_only=True)
class GroundStatesMaker(Maker):
    """Write DFT's choice of some ground states, and add what follows from it.

    Attributes
    ----------
    campaign
        With keys for its parents and models.
    lengths
        How many candidates of each system have been tried.
    shorter
        The lengths before these.
    turn
        How often the lists have grown.
    begin
        Makes the job that comes after the last ground state.
    makers
        Makers of the user's own in place of the defaults.
    """

    name: str = "decide dft"
    campaign: Campaign
    lengths: dict[str, int]
    shorter: dict[str, int] = field(default_factory=dict)
    turn: int = 0
    begin: Maker | None = None
    makers: CampaignMakers | None = None

    @property
    def description(self) -> JobDescription:
        """The description of its job.

        The lists of the systems have turns; that of the mixed halides has none.
        """
        mixed = {name for name, _, x in system_names(self.campaign) if x is not None}
        return decide_dft_job(None if set(self.lengths) <= mixed else self.turn)

    @deciding_job
    def make(self, after: object) -> Response[Produced]:
        """Return the keys of the ground states, and add longer lists or what follows.

        Parameters
        ----------
        after
            Outputs of the relaxations; they order the jobs and are not read.
        """
        del after
        decided = self._decide()
        longer = {
            name: decision.widened_to for name, decision in decided.items() if decision.widened_to
        }
        produced = Produced(
            kind=GroundState.kind, keys=tuple(decision.key for decision in decided.values())
        )
        following = self._widened(longer) if longer else self._after_ground_states()
        if following is None:
            return Response(produced)
        return Response(produced, addition=route(following, STRUCTURES_FIRST))

    def _decide(self) -> dict[str, GroundState]:
        store = open_store()
        decided: dict[str, GroundState] = {}
        for name, system, x in system_names(self.campaign):
            plan = (
                ground_state_plan(store, self.campaign, system, x) if name in self.lengths else None
            )
            if plan is not None:
                decided[name] = decide_ground_state(store, plan, self.lengths[name], self.name)
        return decided

    def _widened(self, longer: dict[str, int]) -> Flow:
        shorter = {name: self.lengths[name] for name in longer}
        decider = replace(self, lengths=longer, shorter=shorter, turn=self.turn + 1)
        return Flow(_dft_jobs(decider, {}), name=f"longer {self.campaign.name}")

    def _after_ground_states(self) -> Flow | Job | None:
        """Return the mixed halides, if these were their parents; else what comes after."""
        mixed = [entry for entry in system_names(self.campaign) if entry[2] is not None]
        if mixed and not any(name in self.lengths for name, _, _ in mixed):
            return self._mixed_halides(mixed)
        return None if self.begin is None else _follow(self.begin, [])

    def _mixed_halides(self, mixed: Sequence[System]) -> Flow:
        flow_jobs, ranked = _rank_jobs(self.campaign, mixed, self.makers)
        n = self.campaign.ranking.dft.n_decorations if self.campaign.ranking.dft else 0
        if n:
            lengths = {name: n for name, _, _ in mixed}
            decider = replace(self, lengths=lengths, shorter={})
            flow_jobs += _dft_jobs(decider, ranked)
        elif self.begin is not None:
            flow_jobs.append(_follow(self.begin, list(ranked.values())))
        return Flow(flow_jobs, name=f"mixed {self.campaign.name}")
