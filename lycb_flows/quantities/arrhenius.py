"""The quantity `arrhenius`: barrier and extrapolated conductivity of a system at a pressure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from lycb_flows.quantities import (
    Condition,
    MeasurementPlan,
    Number,
    Quantity,
    Scope,
    by_pressure,
)
from lycb_flows.quantities.conclusions import (
    barrier_text,
    crossover_text,
    goodness_text,
    interval_text,
    left_out_text,
    reservations,
    result_text,
    spread_text,
)
from lycb_flows.quantities.diffusion import Diffusion, measured
from lycb_flows.quantities.transports import confidence_of, summary
from lycb_flows.report import (
    MISSING,
    ROOM_TEMPERATURE_K,
    Album,
    Cell,
    FigureView,
    Part,
    Reference,
    ReportData,
    Statement,
    Table,
    as_printed,
    counted,
    experiments,
    known_crossovers,
    listed,
    number,
    ours,
    paper_model_row,
    paper_sevennet,
    paper_system,
    paper_transport,
    papers,
    with_error,
)
from lycb_flows.schemas import Arrhenius, Structure, Transport
from lycb_flows.store import ResultStore
from lycb_flows.units import nernst_einstein_ms_per_cm

_MIN_TEMPERATURES = 3


class ArrheniusLaw(Quantity[Arrhenius]):
    """E_A, D0 and the conductivity at the extrapolation temperature, from D(T)."""

    name = "arrhenius"
    document = Arrhenius
    scope: ClassVar[Scope] = "pressure"
    ensembles = ()
    needs = (Diffusion,)
    work = "Arrhenius"
    noun = "Arrhenius fit"
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
        from lycb_flows.transport import ArrheniusPoint, fit_arrhenius  # noqa: PLC0415 - scipy

        keys = self.needed_keys(plan, condition)
        transports = [store.load(Transport, key) for key in keys]
        config = plan.campaign.measure
        fit = fit_arrhenius(
            [
                ArrheniusPoint(t.temperature_k, t.estimate, t.n_mobile * t.duration_ps)
                for t in transports
            ],
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

    def numbers(self, document: Arrhenius) -> Iterator[Number]:
        """Yield the barrier and the extrapolated conductivity."""
        yield Number(
            "E_A",
            "eV",
            value=document.activation_energy_ev,
            error=document.activation_energy_err_ev,
            note=document.reason or "below the crossover" * (document.n_regimes > 1),
        )
        sigma = document.extrapolated_conductivity_ms_per_cm
        distance_k = document.extrapolation_distance_k
        found = "; ".join(["by the fit" if distance_k == 0 else "extrapolated", *document.cautions])
        yield Number(
            "sigma",
            "mS/cm",
            value=sigma,
            low=document.extrapolated_conductivity_low95_ms_per_cm,
            high=document.extrapolated_conductivity_high95_ms_per_cm,
            note=document.reason if sigma is None else found,
            temperature_k=document.extrapolation_temperature_k,
        )

    # -- report ------------------------------------------------------------------------------

    def part(self, data: ReportData, album: Album, system: str) -> Part:
        """Return D against inverse temperature with its fits, and their table.

        Parameters
        ----------
        data
            What the report rests on.
        album
            Keeps the figures.
        system
            The system.
        """
        return Part(
            system,
            lead=_known_regimes(data, system),
            figures=_figures(data, album, system),
            tables=(arrhenius_table(data, system),),
        )

    def headline(self, data: ReportData) -> str | None:
        """Return which motion the runs show and for how many conditions a conductivity follows.

        Without any measured D it is None: the headline of diffusion says so.
        """
        transports, fits = data.measured(Transport), data.measured(Arrhenius)
        if not measured(transports):
            return None
        with_sigma = [fit for fit in fits if fit.extrapolated_conductivity_ms_per_cm is not None]
        if not with_sigma:
            return f"{summary(transports)}. No conductivity by a fit follows from them."
        n_conclusive = sum(not reservations(data, fit) for fit in with_sigma)
        return (
            f"{summary(transports)}. A barrier and a conductivity by a fit follow for "
            f"{len(with_sigma)} of {counted(len(fits), 'condition')}, conclusive for "
            f"{n_conclusive}."
        )

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield every barrier and conductivity that passes all tests, with its error."""
        for fit in data.measured(Arrhenius):
            known = fit.extrapolated_conductivity_ms_per_cm is not None
            if known and not reservations(data, fit):
                yield Statement(result_text(data, fit), (fit.key,))

    def doubts(self, data: ReportData) -> Iterator[Statement]:
        """Yield every condition without a conductivity, and those where it is not conclusive."""
        for fit in data.measured(Arrhenius):
            if fit.extrapolated_conductivity_ms_per_cm is None:
                barrier = "" if fit.fitted else "barrier and no "
                yield Statement(
                    f"{fit.system} at {fit.pressure_bar:g} bar has no {barrier}conductivity "
                    f"by a fit at {fit.extrapolation_temperature_k:g} K: {fit.reason}.",
                    (fit.key,),
                )
            elif reserved := reservations(data, fit):
                text = f"Not conclusive: {result_text(data, fit)} But {'; '.join(reserved)}."
                yield Statement(text, (fit.key,))


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
    if len(set(temperatures)) < _MIN_TEMPERATURES:
        return 1 / volumes[int(np.argmin(temperatures))]
    return 1 / float(np.polyval(np.polyfit(temperatures, volumes, 1), temperature_k))


def _known_regimes(data: ReportData, system: str) -> tuple[str, ...]:
    """Return what is known of the compound's regimes, as sentences."""
    known = known_crossovers(data.structure_of_system(system))
    return tuple(f"From experiment, {crossover_text(crossover)}." for crossover in known)


def _figures(data: ReportData, album: Album, system: str) -> tuple[FigureView, ...]:
    from lycb_flows.quantities.figures import arrhenius_figure  # noqa: PLC0415 - matplotlib

    fits = [fit for fit in data.measured(Arrhenius) if fit.system == system]
    known = [t for t in data.measured(Transport) if t.system == system and t.lags_ps]
    if not known:
        return ()
    confidence = confidence_of(known)
    caption = (
        f"Diffusivity against inverse temperature, with {confidence} intervals. Arrows: "
        f"{confidence} upper bounds. Open grey: left out of the fit, at the slope of the "
        "displacement; the motion is not diffusive. Band: 95 % interval of what the fit predicts; "
        "star: at the temperature of the conductivity."
    )
    others = references(data, fits, known)
    if others:
        caption += " Conductivities of others are shown as the D that they stand for."
    figure = arrhenius_figure(known, fits, others)
    return (album.show(f"arrhenius-{system}", figure, caption),)


def references(
    data: ReportData, fits: Sequence[Arrhenius], transports: Sequence[Transport]
) -> list[Reference]:
    """Return the paper's lines and the experiments of a system as diffusivities.

    Parameters
    ----------
    data
        What the report rests on.
    fits
        Fits of the system, at all pressures.
    transports
        Its transports.
    """
    structure = data.structure_of_system(fits[0].system)
    rows = paper_transport((structure and paper_system(structure)) or "")
    hottest_k = max(t.temperature_k for t in transports)
    found = []
    for pressure_bar, here in by_pressure(transports).items():
        row = rows.get(paper_model_row(pressure_bar, data.physics_of(fits[0].model)))
        if row is not None:
            sigma = {t: row.conductivity_ms_per_cm(t) for t in (hottest_k, ROOM_TEMPERATURE_K)}
            found.append(_reference(f"paper: {row.name}", list(sigma.items()), here))
    values = [(ROOM_TEMPERATURE_K, row.conductivity_ms_per_cm) for row in experiments(structure)]
    if values:
        found.append(_reference(counted(len(values), "experiment"), values, transports))
    return found


def _reference(
    label: str, conductivities: Sequence[tuple[float, float]], transports: Sequence[Transport]
) -> Reference:
    """Return conductivities of lithium ions by temperature as diffusivities in our cells."""
    return Reference(
        label,
        tuple(temperature_k for temperature_k, _ in conductivities),
        tuple(
            sigma / nernst_einstein_ms_per_cm(1.0, mobile_density_per_ang3(transports, t), t)
            for t, sigma in conductivities
        ),
    )


def arrhenius_table(data: ReportData, system: str) -> Table:
    """Return barrier and conductivity of a system, above the paper's rows and the experiments.

    Parameters
    ----------
    data
        What the report rests on.
    system
        Name of the system.
    """
    fits = [fit for fit in data.measured(Arrhenius) if fit.system == system]
    rows = [ours(fit.key, texts) for fit in fits for texts in _fit_rows(data, fit)]
    structure = data.structure_of_system(system)
    paper_rows = paper_transport((structure and paper_system(structure)) or "")
    for row in paper_rows.values():
        barrier = as_printed(row.activation_energy_ev, row.activation_energy_err_ev)
        sigma = as_printed(row.conductivity_300k_ms_per_cm)
        remark = f"at 300 K, by {paper_sevennet()}" if "SevenNet" in row.name else "at 300 K"
        rows.append(papers(f"paper: {row.name}", barrier, sigma, MISSING, MISSING, remark))
    rows += _experiment_rows(structure)
    return Table(
        "",
        ("source", "Eₐ (eV)", "σ (mS/cm)", "points", "goodness of fit", "remark"),
        tuple(rows),
        "Maximum likelihood over all runs that are diffusive or bounds; the interval of σ is that "
        "of one line and of two that meet, each with its weight. Paper's recipe: a line through "
        "its own D of the same runs, with He's errors."
        + " Experiments on one nominal composition spread as shown." * bool(experiments(structure))
        + (_models_text(data, fits) if paper_rows else ""),
    )


def _models_text(data: ReportData, fits: Sequence[Arrhenius]) -> str:
    models = listed(sorted({data.model_name(fit.model) for fit in fits}))
    return f" Rows here are by {models}; the paper's models are others."


def _fit_rows(data: ReportData, fit: Arrhenius) -> Iterator[tuple[str, ...]]:
    """Yield the texts of a fit, and of the paper's recipe for the same runs."""
    sigma = number(fit.extrapolated_conductivity_ms_per_cm)
    known = fit.extrapolated_conductivity_ms_per_cm is not None
    remarks = [
        fit.reason or f"at {fit.extrapolation_temperature_k:g} K",
        *(["not conclusive"] if known and reservations(data, fit) else []),
        *([f"left out: {left_out_text(fit)}"] if fit.left_out else []),
    ]
    n_bounds = f" ({counted(fit.n_bounds, 'bound')})" if fit.n_bounds else ""
    yield (
        f"here, {fit.pressure_bar:g} bar",
        barrier_text(fit) if fit.fitted else MISSING,
        f"{sigma} ({interval_text(fit)})" if known else MISSING,
        f"{fit.n_points}{n_bounds}",
        goodness_text(fit),
        "; ".join(remarks),
    )
    if fit.paper_activation_energy_ev is not None:
        yield (
            f"here, {fit.pressure_bar:g} bar, paper's recipe",
            with_error(fit.paper_activation_energy_ev, fit.paper_activation_energy_err_ev),
            number(fit.paper_conductivity_ms_per_cm),
            MISSING,
            MISSING,
            f"at {fit.extrapolation_temperature_k:g} K",
        )


def _experiment_rows(structure: Structure | None) -> Iterator[tuple[Cell, ...]]:
    """Yield the spread of the experiments on a composition, then those the paper does not list."""
    found = experiments(structure)
    if not found:
        return
    barriers = [e.activation_energy_ev for e in found if e.activation_energy_ev is not None]
    yield papers(
        counted(len(found), "experiment"),
        spread_text(barriers),
        spread_text([e.conductivity_ms_per_cm for e in found]),
        MISSING,
        MISSING,
        "spread at room temperature",
    )
    for row in found:
        if not row.in_paper:
            barrier, sigma = as_printed(row.activation_energy_ev), f"{row.conductivity_ms_per_cm:g}"
            yield papers(row.source, barrier, sigma, MISSING, MISSING, "at room temperature")
