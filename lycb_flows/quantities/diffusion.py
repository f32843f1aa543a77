"""The quantity `diffusion`: diffusivity and conductivity of every production run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

import numpy as np

from lycb_flows.config import DiffusionConfig, RunConfig
from lycb_flows.quantities import (
    Condition,
    MeasurementPlan,
    Number,
    Quantity,
    Scope,
    by_pressure,
    place_text,
)
from lycb_flows.quantities.orderings import ordering_tables
from lycb_flows.quantities.replicas import replica_limits, replica_tables
from lycb_flows.quantities.transports import (
    REGIME_WORDS,
    confidence_of,
    of_regime,
    regime_of,
    summary,
    transport_table,
)
from lycb_flows.report import (
    Album,
    Part,
    ReportData,
    Statement,
    counted,
    listed,
    number,
    paper_numbers,
    paper_system,
    scientific,
    supercell_atoms,
)
from lycb_flows.schemas import (
    Arrhenius,
    Run,
    Structure,
    Transport,
)
from lycb_flows.store import ResultStore
from lycb_flows.units import PS_FS

_N_EACH: Final = 8
"""Values that a report lists one by one; of more it says the range."""

_PS_PER_NS: Final = 1000.0
_SMALL_EDGE_ANG: Final = 10.0  # ours: three hops of an ion


class Diffusion(Quantity[Transport]):
    """D of the mobile ions with its error bars or an upper bound, from one production run."""

    name = "diffusion"
    document = Transport
    scope: ClassVar[Scope] = "temperature"
    job = "transport"
    work = "transport"
    noun = "transport"
    absence = "No production run has been analysed yet."
    status_name = "measured"
    of_mobile_ions = True

    def key(self, plan: MeasurementPlan, condition: Condition) -> str:
        """Return the key of the Transport at a condition.

        Parameters
        ----------
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        """
        (run,) = self.runs(plan, condition)
        return Transport.key_of(Run.key_of(run), plan.campaign.measure.diffusion)

    def compute(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> Transport:
        """Return the diffusivity from the production run at a condition.

        A run that failed, or whose NpT run failed, gives a Transport without a value or a bound.

        Parameters
        ----------
        store
            Holds the run and its trajectory.
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        """
        (run_config,) = self.runs(plan, condition)
        run = store.load(Run, Run.key_of(run_config))
        config = plan.campaign.measure.diffusion
        failure = failure_of(store, run)
        facts = _analyse(store, run, run_config, config, failure)
        return Transport(
            key=self.key(plan, condition),
            parents=(run.key,),
            run=run.key,
            model=run.model,
            mobile_species=config.mobile_species,
            healthy=not failure,
            **condition.model_dump(),
            **facts,
        )

    def numbers(self, document: Transport) -> Iterator[Number]:
        """Yield D, the conductivity at the run's temperature, or their bounds; D_c over D_ab."""
        found, note = document.estimate, document.estimate.reason or regime_of(document)
        yield Number(
            "D",
            "m2/s",
            value=found.diffusivity_m2_per_s,
            error=found.diffusivity_err_m2_per_s,
            low=found.diffusivity_low_m2_per_s,
            high=found.diffusivity_high_m2_per_s or found.diffusivity_upper_m2_per_s,
            confidence=found.confidence,
            note=note,
        )
        sigma, upper = document.conductivity_ms_per_cm, document.conductivity_upper_ms_per_cm
        yield Number(
            "sigma",
            "mS/cm",
            value=sigma,
            error=document.conductivity_err_ms_per_cm,
            high=upper,
            confidence=found.confidence,
            note=note if sigma is None and upper is None else "Nernst-Einstein",
        )
        if document.anisotropy is not None:
            yield Number("D_c/D_ab", "", value=document.anisotropy, error=document.anisotropy_err)

    # -- report ------------------------------------------------------------------------------

    def part(self, data: ReportData, album: Album, system: str) -> Part:
        """Return MSDs and a table of every production run.

        Parameters
        ----------
        data
            What the report rests on.
        album
            Keeps the figures.
        system
            The system.
        """
        from lycb_flows.quantities.figures import msd_figure  # noqa: PLC0415 - matplotlib

        moved = [t for t in data.measured(Transport) if t.system == system and t.lags_ps]
        shown = []
        for pressure_bar, here in by_pressure(moved).items():
            place = f"{system} at {pressure_bar:g} bar"
            ion = here[0].mobile_species
            caption = f"{place}: displacement of {ion} against lag; thick: the window of the fit."
            shown.append(album.show(f"msd-{place}", msd_figure(here), caption))
        tables = (
            transport_table(data, system),
            *replica_tables(data, system),
            *ordering_tables(data, system),
        )
        return Part(system, figures=tuple(shown), tables=tables)

    def headline(self, data: ReportData) -> str:
        """Return in how many runs D was measured, which motion the others show, what follows."""
        transports = data.measured(Transport)
        if not transports:
            return "Unfinished: no diffusivity has been measured yet."
        if measured(transports):
            return f"{summary(transports)}."
        n_bounds, n_all = len(bounds(transports)), len(transports)
        if not n_bounds or n_bounds + len(of_regime(transports, "unmeasured")) < n_all:
            return (
                f"{summary(transports)}: there is no diffusivity, no barrier and no conductivity."
            )
        return (
            f"No diffusion was resolved: {'every D' if n_bounds == n_all else 'D'} ({n_bounds}"
            f" of {n_all}) is an upper bound, so there is no barrier and no extrapolated "
            "conductivity."
        )

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield every D that no fit has used; of many, those of each system and pressure together.

        The others stand behind a barrier, which the quantity `arrhenius` reports.
        """
        used = {key for fit in data.measured(Arrhenius) if fit.fitted for key in fit.transports}
        unused = [t for t in measured(data.measured(Transport)) if t.key not in used]
        if len(unused) <= _N_EACH:
            yield from map(_alone, unused)
            return
        groups: dict[tuple[str, float], list[Transport]] = {}
        for transport in unused:
            groups.setdefault((transport.system, transport.pressure_bar), []).append(transport)
        yield from map(_together, groups.values())

    def doubts(self, data: ReportData) -> Iterator[Statement]:
        """Yield the runs without a value, by regime: no conductivity can be concluded from them."""
        transports = data.measured(Transport)
        for regime, words in REGIME_WORDS.items():
            found = of_regime(transports, regime)
            if found:
                n_all = len(transports)
                counts = words.format(
                    n=len(found),
                    all=n_all,
                    runs=counted(n_all, "run"),
                    confidence=confidence_of(found),
                )
                places = listed([place_text(t) for t in found])
                yield Statement(f"{counts}: {places}.", tuple(t.key for t in found))

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield what is shorter or smaller than the paper's, and replicas that differ."""
        yield from replica_limits(data)
        transports = data.measured(Transport)
        of_paper = [t for t in transports if _papers(data, t)]
        yield from _short(of_paper)
        for system in dict.fromkeys(t.system for t in transports):
            yield from _small_cells(data, [t for t in transports if t.system == system])


def _value(transport: Transport) -> str:
    estimate = transport.estimate
    d = scientific(estimate.diffusivity_m2_per_s, estimate.diffusivity_err_m2_per_s)
    return f"{d} m²/s"


def _alone(transport: Transport) -> Statement:
    return Statement(f"{place_text(transport)}: D = {_value(transport)}.", (transport.key,))


def _together(transports: Sequence[Transport]) -> Statement:
    """Return the coldest and the hottest D of a system at a pressure."""
    if len(transports) == 1:
        return _alone(transports[0])
    cold, *_, hot = sorted(transports, key=lambda transport: transport.temperature_k)
    return Statement(
        f"{cold.system} at {cold.pressure_bar:g} bar: D in {len(transports)} runs, from "
        f"{_value(cold)} at {cold.temperature_k:g} K to {_value(hot)} at {hot.temperature_k:g} K.",
        tuple(transport.key for transport in transports),
    )


# -- from a run to a Transport -------------------------------------------------------------------


def failure_of(store: ResultStore, run: Run) -> str:
    """Return why a production run says nothing about its condition; empty when it does.

    A run whose NpT run left physics has no cell of that temperature and pressure.

    Parameters
    ----------
    store
        Holds the NpT run.
    run
        The production run.
    """
    before = store.find_document(run.start)
    chain = (("run", run), ("NpT run that was to find its cell", before))
    for name, document in chain:
        if isinstance(document, Run) and not document.health.healthy:
            health = document.health
            return f"the {name} left physics at step {health.failed_step}: {health.reason}"
    return ""


def n_frames_of_failure(run: Run, run_config: RunConfig, discard_ps: float) -> int:
    """Return how many frames a run left that says nothing; its trajectory may be elsewhere.

    Parameters
    ----------
    run
        The production run, of which `failure_of` tells something.
    run_config
        What it was asked for.
    discard_ps
        Left out at its start.
    """
    interval_steps = run_config.protocol.sample_interval_steps
    discarded_steps = round(discard_ps * PS_FS / run.time_step_fs)
    kept_steps = run.n_steps if run.health.healthy else run.n_steps - 1  # the last left physics
    return max(0, kept_steps // interval_steps - discarded_steps // interval_steps)


def _analyse(
    store: ResultStore, run: Run, run_config: RunConfig, config: DiffusionConfig, failure: str
) -> dict[str, Any]:
    """Return the facts of a Transport from a production run; without values when it failed."""
    # scipy.stats is slow to import, and the status of a campaign does not need it
    from lycb_flows.store import trajectory_of  # noqa: PLC0415
    from lycb_flows.transport.diffusion import analyse_diffusion, unmeasured  # noqa: PLC0415

    start = store.load(Structure, run.start_structure)
    mobile_mask = np.array(start.species) == config.mobile_species
    if failure:
        return vars(unmeasured(mobile_mask, np.array(start.lattice_ang), failure))
    result = analyse_diffusion(
        trajectory_of(store, run).unwrapped_ang(),
        frame_interval_ps=run_config.protocol.sample_interval_ps,
        mobile_mask=mobile_mask,
        lattice_ang=start.lattice_ang,
        temperature_k=run.temperature_k,
        config=config,
    )
    return vars(result)


# -- words -----------------------------------------------------------------------------------------


def measured(transports: Sequence[Transport]) -> list[Transport]:
    """Return the transports with a value of D, not a bound."""
    return [t for t in transports if t.estimate.diffusivity_m2_per_s is not None]


def bounds(transports: Sequence[Transport]) -> list[Transport]:
    """Return the transports with an upper bound instead of a value of D."""
    return [t for t in transports if t.estimate.diffusivity_upper_m2_per_s is not None]


def _papers(data: ReportData, transport: Transport) -> str | None:
    structure = data.structure_of_system(transport.system)
    return None if structure is None else paper_system(structure)


def _short(transports: Sequence[Transport]) -> Iterator[Statement]:
    paper_ps = paper_numbers()["md"]["production"]["length_ns"] * _PS_PER_NS
    short = [t for t in transports if t.healthy and t.duration_ps < 0.99 * paper_ps]
    if short:
        longest = max(t.duration_ps for t in short)
        yield Statement(
            f"Production is short: {len(short)} of {counted(len(transports), 'run')} last at "
            f"most {number(longest)} ps, the paper's {number(paper_ps)} ps.",
            tuple(t.key for t in short),
        )


def _small_cells(data: ReportData, transports: Sequence[Transport]) -> Iterator[Statement]:
    """Yield a remark on a system whose cell is smaller than the paper's, or than ions' reach."""
    system = transports[0].system
    structure = data.structure_of_system(system)
    paper_atoms = supercell_atoms((structure and paper_system(structure)) or "")
    n_atoms = min(t.n_atoms for t in transports)
    if paper_atoms is not None and n_atoms < paper_atoms:
        yield Statement(
            f"{system}: {n_atoms} atoms with {transports[0].n_mobile} mobile ions, smaller "
            f"than the paper's supercell of {paper_atoms} atoms.",
            tuple(t.key for t in transports),
        )
    edge_ang = min(t.n_atoms * t.volume_ang3_per_atom for t in transports) ** (1 / 3)
    if paper_atoms is None and edge_ang < _SMALL_EDGE_ANG:
        yield Statement(
            f"{system}: {n_atoms} atoms with {transports[0].n_mobile} mobile ions, as many as a "
            f"cube of {edge_ang:.1f} Å holds: ions meet their own images.",
            tuple(t.key for t in transports),
        )
