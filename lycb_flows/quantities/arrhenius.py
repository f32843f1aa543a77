"""The quantity `arrhenius`: barrier and extrapolated conductivity of a system at a pressure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from lycb_flows.quantities import Condition, MeasurementPlan, Quantity, Scope
from lycb_flows.quantities.diffusion import Diffusion, measured
from lycb_flows.report import (
    MISSING,
    Album,
    FigureView,
    Part,
    ReportData,
    Section,
    Statement,
    Table,
    as_printed,
    counted,
    number,
    ours,
    paper_system,
    paper_transport,
    papers,
    with_error,
)
from lycb_flows.schemas import Arrhenius, Transport
from lycb_flows.store import ResultStore
from lycb_flows.transport.arrhenius import MIN_POINTS, ArrheniusPoint, fit_arrhenius


class ArrheniusLaw(Quantity[Arrhenius]):
    """E_A, D0 and the conductivity at the extrapolation temperature, from D(T)."""

    name = "arrhenius"
    document = Arrhenius
    scope: ClassVar[Scope] = "pressure"
    ensembles = ()
    needs = (Diffusion,)
    work = "Arrhenius"
    noun = "Arrhenius fit"
    status_fields = ("system",)
    title = "Barrier and conductivity"
    rests_on = "a transport"

    def key(self, plan: MeasurementPlan, condition: Condition) -> str:
        """Return the key of the fit of a system at a pressure.

        Parameters
        ----------
        plan
            The measurement.
        condition
            A system and a pressure.
        """
        return Arrhenius.key_of(
            self.needed_keys(plan, condition), plan.campaign.measure.extrapolation_temperature_k
        )

    def compute(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> Arrhenius:
        """Return the fit to every D of the condition, or why there is none.

        Parameters
        ----------
        store
            Holds the transports.
        plan
            The measurement.
        condition
            A system and a pressure.
        """
        keys = self.needed_keys(plan, condition)
        transports = [store.load(Transport, key) for key in keys]
        config = plan.campaign.measure
        fit = fit_arrhenius(
            [ArrheniusPoint(t.temperature_k, t.estimate) for t in transports],
            config.extrapolation_temperature_k,
            mobile_density_per_ang3(transports, config.extrapolation_temperature_k),
            config.diffusion.charge_number,
        )
        return Arrhenius(
            key=self.key(plan, condition),
            parents=keys,
            system=condition.system or "",
            pressure_bar=condition.pressure_bar or 0.0,
            model=transports[0].model,
            transports=keys,
            **vars(fit),
        )

    # -- report ------------------------------------------------------------------------------

    def section(self, data: ReportData, album: Album) -> Section:
        """Return D against inverse temperature with its fits, and their table, by system.

        Parameters
        ----------
        data
            What the report rests on.
        album
            Keeps the figures.
        """
        from lycb_flows.quantities.figures import arrhenius_figure  # noqa: PLC0415 - matplotlib

        parts = []
        all_fits = data.measured(Arrhenius)
        for system in dict.fromkeys(fit.system for fit in all_fits):
            fits = [fit for fit in all_fits if fit.system == system]
            known = [t for t in data.measured(Transport) if t.system == system and t.lags_ps]
            caption = (
                "Diffusivity against inverse temperature, with 95 % intervals. Arrows: 95 % upper "
                "bounds, not fitted. Band: 1σ of the fit; star: extrapolated."
            )
            shown: tuple[FigureView, ...] = ()
            if known:
                figure = arrhenius_figure(known, fits)
                shown = (album.show(f"arrhenius-{system}", figure, caption),)
            parts.append(Part(system, figures=shown, tables=(arrhenius_table(data, system),)))
        lead = () if parts else ("No Arrhenius fit yet.",)
        return Section(self.name, self.title, lead, tuple(parts))

    def headline(self, data: ReportData) -> str | None:
        """Return for how many conditions a conductivity follows.

        Without any measured D it is None: the headline of diffusion says so.
        """
        transports, fits = data.measured(Transport), data.measured(Arrhenius)
        n_measured = len(measured(transports))
        if not n_measured:
            return None
        runs = f"D was measured in {n_measured} of {counted(len(transports), 'run')}"
        fitted = [fit for fit in fits if fit.fitted]
        if not fitted:
            return f"{runs}: too few for a barrier or an extrapolated conductivity."
        return (
            f"{runs}; a barrier and an extrapolated conductivity follow for {len(fitted)} of "
            f"{counted(len(fits), 'condition')}."
        )

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield every barrier and conductivity, with its error."""
        for fit in data.measured(Arrhenius):
            if fit.fitted:
                low, high = (
                    fit.extrapolated_conductivity_low_ms_per_cm,
                    fit.extrapolated_conductivity_high_ms_per_cm,
                )
                barrier = with_error(fit.activation_energy_ev, fit.activation_energy_err_ev)
                yield Statement(
                    f"{fit.system} at {fit.pressure_bar:g} bar, by {data.model_name(fit.model)}: "
                    f"Eₐ = {barrier} eV from "
                    f"{counted(fit.n_points, 'temperature')}; "
                    f"σ({fit.extrapolation_temperature_k:g} K)"
                    f" = {number(fit.extrapolated_conductivity_ms_per_cm)} mS/cm "
                    f"(1σ: {number(low)} to {number(high)}), extrapolated.",
                    (fit.key,),
                )

    def doubts(self, data: ReportData) -> Iterator[Statement]:
        """Yield every condition without a fit."""
        for fit in data.measured(Arrhenius):
            if not fit.fitted:
                yield Statement(
                    f"{fit.system} at {fit.pressure_bar:g} bar has no barrier and no conductivity "
                    f"at {fit.extrapolation_temperature_k:g} K: {fit.reason}.",
                    (fit.key,),
                )


def mobile_density_per_ang3(transports: Sequence[Transport], temperature_k: float) -> float:
    """Return the mobile ions per Å^3 at a temperature.

    The density comes from a line through the volumes of all cells (thermal expansion), which
    needs three temperatures; with fewer, it is that of the coldest cell. Cells of failed runs
    count only where there are no others.

    Parameters
    ----------
    transports
        Those of a system at a pressure.
    temperature_k
        Where the density is wanted, in K.
    """
    transports = [t for t in transports if t.healthy] or transports
    temperatures = [t.temperature_k for t in transports]
    volumes = [t.volume_ang3_per_atom * t.n_atoms / t.n_mobile for t in transports]
    if len(set(temperatures)) < MIN_POINTS:
        return 1 / volumes[int(np.argmin(temperatures))]
    return 1 / float(np.polyval(np.polyfit(temperatures, volumes, 1), temperature_k))


def arrhenius_table(data: ReportData, system: str) -> Table:
    """Return barrier and conductivity of a system, above every row that the paper prints.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    rows = []
    for fit in (fit for fit in data.measured(Arrhenius) if fit.system == system):
        low, high = (
            fit.extrapolated_conductivity_low_ms_per_cm,
            fit.extrapolated_conductivity_high_ms_per_cm,
        )
        sigma = number(fit.extrapolated_conductivity_ms_per_cm)
        texts = (
            f"here, {fit.pressure_bar:g} bar",
            with_error(fit.activation_energy_ev, fit.activation_energy_err_ev),
            sigma if not fit.fitted else f"{sigma} ({number(low)} to {number(high)})",
            f"{fit.n_points}",
            fit.reason or f"at {fit.extrapolation_temperature_k:g} K",
        )
        rows.append(ours(fit.key, texts))
    structure = data.structure_of_system(system)
    for row in paper_transport((structure and paper_system(structure)) or "").values():
        barrier = as_printed(row.activation_energy_ev, row.activation_energy_err_ev)
        sigma = as_printed(row.conductivity_300k_ms_per_cm)
        rows.append(papers(f"paper: {row.name}", barrier, sigma, MISSING, "at 300 K"))
    return Table(
        "",
        ("source", "Eₐ (eV)", "σ (mS/cm), 1σ range", "points", "remark"),
        tuple(rows),
        "Fitted to measured D only, weighted by their errors; bounds are left out.",
    )
