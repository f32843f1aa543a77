"""The quantity `charge`: collective diffusivity, conductivity and Haven ratio of every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from lycb_flows.config import DiffusionConfig, RunConfig
from lycb_flows.quantities import (
    Condition,
    MeasurementPlan,
    Number,
    Quantity,
    Scope,
    place_text,
)
from lycb_flows.quantities.diffusion import Diffusion
from lycb_flows.report import (
    MISSING,
    ReportData,
    Statement,
    confidence_text,
    counted,
    fixed,
    listed,
    number,
    scientific,
    together,
)
from lycb_flows.schemas import ChargeEstimate, ChargeTransport, Run, Structure, Transport
from lycb_flows.store import ResultStore
from lycb_flows.units import nernst_einstein_ms_per_cm


class Charge(Quantity[ChargeTransport]):
    """What the mobile ions carry together, beside what they would carry independently."""

    name = "charge"
    document = ChargeTransport
    scope: ClassVar[Scope] = "temperature"
    needs = (Diffusion,)
    noun = "collective conductivity"
    title = "Charge transport"
    columns = (
        "collective D (m²/s)", "interval (m²/s)", "collective σ(T) (mS/cm)", "interval (mS/cm)",
        "Haven ratio", "interval", "",
    )  # fmt: skip

    def compute(
        self, store: ResultStore, plan: MeasurementPlan, condition: Condition
    ) -> ChargeTransport:
        """Return the collective diffusivity from the production run at a condition.

        Parameters
        ----------
        store
            Holds the run, its trajectory and its Transport.
        plan
            The measurement.
        condition
            A system, a pressure and a temperature.
        """
        (transport_key,) = self.needed_keys(plan, condition)
        (run_config,) = self.runs(plan, condition)
        transport = store.load(Transport, transport_key)
        run = store.load(Run, transport.run)
        config = plan.campaign.measure.diffusion
        estimate = _estimate(store, transport, run, run_config, config)
        per_ang3 = transport.n_mobile / (transport.n_atoms * transport.volume_ang3_per_atom)

        def conductivity(diffusivity: float | None) -> float | None:
            if diffusivity is None:
                return None
            return nernst_einstein_ms_per_cm(
                diffusivity, per_ang3, transport.temperature_k, config.charge_number
            )

        return ChargeTransport(
            key=self.key(plan, condition),
            parents=(transport.key, run.key),
            run=run.key,
            transport=transport.key,
            model=run.model,
            mobile_species=config.mobile_species,
            charge_number=config.charge_number,
            n_mobile=transport.n_mobile,
            duration_ps=transport.duration_ps,
            estimate=estimate,
            conductivity_ms_per_cm=conductivity(estimate.diffusivity_m2_per_s),
            conductivity_low_ms_per_cm=conductivity(estimate.diffusivity_low_m2_per_s),
            conductivity_high_ms_per_cm=conductivity(estimate.diffusivity_high_m2_per_s),
            **condition.model_dump(),
        )

    def numbers(self, document: ChargeTransport) -> Iterator[Number]:
        """Yield the collective D and conductivity, and the Haven ratio."""
        found = document.estimate
        yield Number(
            "collective D",
            "m2/s",
            value=found.diffusivity_m2_per_s,
            low=found.diffusivity_low_m2_per_s,
            high=found.diffusivity_high_m2_per_s,
            note=found.reason,
            confidence=found.confidence,
        )
        yield Number(
            "collective sigma",
            "mS/cm",
            value=document.conductivity_ms_per_cm,
            low=document.conductivity_low_ms_per_cm,
            high=document.conductivity_high_ms_per_cm,
            confidence=found.confidence,
            note=found.reason,
        )
        yield Number(
            "Haven ratio",
            "",
            value=found.haven_ratio,
            low=found.haven_ratio_low,
            high=found.haven_ratio_high,
            confidence=found.confidence,
            note=found.reason,
        )

    def row(self, document: ChargeTransport) -> tuple[str, ...]:
        """Return D, conductivity and Haven ratio with their intervals, or why there are none."""
        found = document.estimate
        if not found.resolved:
            return (*[MISSING] * 6, f"not resolved: {found.reason}")
        low, high = document.conductivity_low_ms_per_cm, document.conductivity_high_ms_per_cm
        return (
            scientific(found.diffusivity_m2_per_s),
            together(
                (found.diffusivity_low_m2_per_s or 0.0, found.diffusivity_high_m2_per_s or 0.0),
                " to ",
            ),
            number(document.conductivity_ms_per_cm),
            f"{number(low)} to {number(high)}",
            fixed(found.haven_ratio),
            f"{fixed(found.haven_ratio_low)} to {fixed(found.haven_ratio_high)}",
            f"{confidence_text([found.confidence])} intervals",
        )

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield the Haven ratios whose interval leaves out 1: ions that move together."""
        groups: dict[tuple[str, float, str], list[ChargeTransport]] = {}
        for document in data.measured(ChargeTransport):
            found = document.estimate
            low, high = found.haven_ratio_low, found.haven_ratio_high
            if low is not None and high is not None and not low <= 1 <= high:
                how = "together" if high < 1 else "against each other"
                place = (document.system, document.pressure_bar, how)
                groups.setdefault(place, []).append(document)
        yield from (_moving(how, documents) for (*_, how), documents in groups.items())

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield the runs whose collective motion is not resolved."""
        documents = data.measured(ChargeTransport)
        unresolved = [document for document in documents if not document.estimate.resolved]
        if unresolved:
            yield Statement(
                f"The Haven ratio is not resolved in {len(unresolved)} of "
                f"{counted(len(documents), 'run')}: "
                f"{listed([place_text(document) for document in unresolved])}.",
                tuple(document.key for document in unresolved),
            )


def _estimate(
    store: ResultStore,
    transport: Transport,
    run: Run,
    run_config: RunConfig,
    config: DiffusionConfig,
) -> ChargeEstimate:
    """Return what a run says about charge, by the settings of its Transport."""
    # scipy.stats is slow to import, and the status of a campaign does not need it
    from lycb_flows.store import trajectory_of  # noqa: PLC0415
    from lycb_flows.transport.charge import analyse_charge  # noqa: PLC0415

    if not transport.healthy:
        return ChargeEstimate(resolved=False, reason=transport.estimate.reason)
    species = store.load(Structure, run.start_structure).species
    return analyse_charge(
        trajectory_of(store, run).unwrapped_ang(),
        frame_interval_ps=run_config.protocol.sample_interval_ps,
        mobile_mask=np.array(species) == transport.mobile_species,
        tracer=transport.estimate,
        config=config,
    )


def _moving(how: str, documents: Sequence[ChargeTransport]) -> Statement:
    """Return how the ions of a system at a pressure move, with the range over temperatures."""
    first, keys = documents[0], tuple(document.key for document in documents)
    estimates = [document.estimate for document in documents]
    lows = [found.haven_ratio_low for found in estimates if found.haven_ratio_low is not None]
    highs = [found.haven_ratio_high for found in estimates if found.haven_ratio_high is not None]
    ratios = [found.haven_ratio for found in estimates if found.haven_ratio is not None]
    confidence = confidence_text(found.confidence for found in estimates)
    interval = f"({confidence}: {fixed(min(lows))} to {fixed(max(highs))})"
    move = f"{first.mobile_species} ions move {how}"
    if len(documents) == 1:
        text = f"{place_text(first)}: {move}, Haven ratio {fixed(ratios[0])} {interval}."
    else:
        text = (
            f"{first.system} at {first.pressure_bar:g} bar: {move} in {len(documents)} runs, Haven "
            f"ratios {fixed(min(ratios))} to {fixed(max(ratios))} {interval}."
        )
    return Statement(text, keys)
