"""What fills the paper's figures and tables: ours beside the paper's and the experiments' numbers.

Each function fills an entry of `paper_figures.yaml`, or returns the sentence why it is not filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from lycb_flows.report import (
    MISSING,
    ROOM_TEMPERATURE_K,
    Cell,
    ReportData,
    Table,
    as_printed,
    fixed,
    mae_triple,
    number,
    ours,
    paper_numbers,
    paper_volumes,
    papers,
    scientific,
    with_error,
)
from lycb_flows.report.paper_cells import by_x, relaxed_cells
from lycb_flows.report.paper_figures import (
    Entry,
    Filled,
    no_system,
    system_of_paper,
    volumes_here,
)
from lycb_flows.schemas import (
    Arrhenius,
    Benchmark,
    CompositionSeries,
    Density,
    ModelErrors,
    Transport,
)
from lycb_flows.units import EV_MEV

Filler = Callable[[ReportData, Entry], Filled | str]
OfRun = TypeVar("OfRun", Transport, Density)
_TEMPERATURE_K: Final = 500.0
_PRESSURE_BAR: Final = 10_000.0
_ERRORS: Final = ("E (meV/atom)", "F (meV/Å)", "S (MPa)")
_CONDUCTION: Final = ("E_A (eV)", "σ(300 K) (mS/cm)")
_OTHERS: Final = ("exp", "AIMD")
"""Beginnings of names of numbers that the paper quotes from others."""
_NEAREST: Final = "Nothing was measured at 10 kbar: this is the nearest pressure."
_SOURCES: Final = (
    "AIMD: Wang et al. 2019. Experiments: exp8 Schlem et al. 2021, exp2_10 Liu et al. 2024, exp3_7 "
    "Asano et al. 2018, exp4_9 van der Maas et al. 2023; star: another synthesis."
)


def _on_crystal(fill: Callable[[ReportData, str, str], Filled | str]) -> Filler:
    """Return a filler from a function of the crystal that an entry is about, and of its system."""

    def filler(data: ReportData, entry: Entry) -> Filled | str:
        system = system_of_paper(data, entry.about)
        return no_system(entry) if system is None else fill(data, entry.about, system)

    return filler


# -- figure 2: errors and volumes ------------------------------------------------------------------


def _errors_before(data: ReportData, entry: Entry) -> Filled | str:
    del entry
    rows: list[tuple[Cell, ...]] = []
    for document in data.measured(Benchmark):
        for row in document.models:
            if row.role == "before learning":
                rows += [
                    (
                        *ours(
                            document.key, (part.system or MISSING, as_printed(part.temperature_k))
                        ),
                        *_error_cells(document.key, part.errors),
                    )
                    for part in row.parts
                ]
    before = data.rounds[0].before if data.rounds else None
    if not rows and before is not None:
        rows = [
            (Cell(system), Cell(MISSING), *_error_cells(before.key, errors))
            for system, errors in before.by_system.items()
        ]
    if not rows:
        return "no model from before learning has been evaluated on test labels yet."
    table = Table("", ("system", "T (K)", "labels", *_ERRORS), tuple(rows))
    return Filled((table,), ("parity-round-1",))


def _errors_of_models(data: ReportData, entry: Entry) -> Filled | str:
    del entry
    rows = [
        (*ours(row.model, (row.name, row.role)), *_error_cells(document.key, row.overall))
        for document in data.measured(Benchmark)
        for row in document.models
    ]
    if not rows:
        rows = [
            (
                *ours(learned.round.key, (f"round {learned.round.index + 1}", "after training")),
                *_error_cells(learned.after.key, learned.after.overall),
            )
            for learned in data.rounds
            if learned.after is not None
        ]
    if not rows:
        return "no model has been evaluated on test labels yet."
    table = Table("", ("model", "role", "labels", *_ERRORS), tuple(rows))
    return Filled((table,), ("benchmark", "mae-by-round"))


def _errors_on_set(data: ReportData, entry: Entry) -> Filled | str:
    rows = [
        (*ours(row.model, (row.name, row.role)), *_error_cells(document.key, part.errors))
        for document in data.measured(Benchmark)
        for row in document.models
        for part in row.sets
        if part.name == entry.test_set
    ]
    if not rows:
        return (
            f"no models have been compared on a test set “{entry.test_set}”: state it in "
            "learning.test.sets, train on its elements, and name benchmark in measure.quantities."
        )
    return Filled((Table("", ("model", "role", "labels", *_ERRORS), tuple(rows)),))


def _error_cells(key: str, errors: ModelErrors) -> tuple[Cell, ...]:
    return ours(key, (str(errors.n_labels), *(number(value) for value in mae_triple(errors))))


@_on_crystal
def _volumes(data: ReportData, about: str, system: str) -> Filled | str:
    here = volumes_here(data, system)
    if not here:
        return f"no NpT run of {system} has finished yet."
    columns = {name: row for name, row in paper_volumes(about).items() if row}
    temperatures_k = sorted(set[float]().union(*columns.values(), *here.values()))
    rows = [
        (
            Cell(f"{temperature_k:g}"),
            *(
                Cell(fixed(volume), key)
                for volume, key in (row.get(temperature_k, (None, None)) for row in here.values())
            ),
            *papers(*(as_printed(row.get(temperature_k)) for row in columns.values())),
        )
        for temperature_k in temperatures_k
    ]
    names = (*here, *(f"paper, {name}" for name in columns))
    table = Table("Volume (Å³/atom)", ("T (K)", *names), tuple(rows), _SOURCES)
    return Filled((table,), (f"volume-{system}",))


# -- figures 3 and 4, tables 1 and 2: conduction ---------------------------------------------------


def _conduction_rows(data: ReportData, system: str) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """Yield the source of our numbers, and cells of barrier and conductivity.

    The paper's recipe follows our own fit, whose barrier may be that below a crossover.
    """
    for fit in data.measured(Arrhenius):
        if fit.system != system:
            continue
        barrier = with_error(fit.activation_energy_ev, fit.activation_energy_err_ev)
        sigma = _sigma_text(fit.extrapolated_conductivity_ms_per_cm, fit)
        yield f"here, {fit.pressure_bar:g} bar", ours(fit.key, (barrier, sigma))
        if fit.paper_activation_energy_ev is not None:
            barrier = with_error(fit.paper_activation_energy_ev, fit.paper_activation_energy_err_ev)
            sigma = _sigma_text(fit.paper_conductivity_ms_per_cm, fit)
            name = f"here, {fit.pressure_bar:g} bar, paper's recipe"
            yield name, ours(fit.key, (barrier, sigma))


def _sigma_text(conductivity_ms_per_cm: float | None, fit: Arrhenius | None) -> str:
    """Return a conductivity of a fit for a column at 300 K; one of another temperature says so."""
    at_k = ROOM_TEMPERATURE_K if fit is None else fit.extrapolation_temperature_k
    is_elsewhere = conductivity_ms_per_cm is not None and at_k != ROOM_TEMPERATURE_K
    return number(conductivity_ms_per_cm) + f" at {at_k:g} K" * is_elsewhere


def _papers_rows(about: str) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """Yield the source of the paper's numbers, and cells of barrier and conductivity."""
    for name, row in paper_numbers()["transport"][about].items():
        if isinstance(row, Mapping) and "sigma300_mS_cm" in row:
            barrier = as_printed(row["Ea_eV"], row.get("Ea_err"))
            source = name if name.startswith("exp") else f"paper, {name}"
            source = "AIMD" if name.startswith("AIMD") else source
            yield source, papers(barrier, as_printed(row["sigma300_mS_cm"]))


@_on_crystal
def _conduction(data: ReportData, about: str, system: str) -> Filled | str:
    here = list(_conduction_rows(data, system))
    if not here:
        return f"no Arrhenius fit of {system} exists yet."
    rows = [(Cell(source), *cells) for source, cells in (*here, *_papers_rows(about))]
    return Filled((Table("", ("source", *_CONDUCTION), tuple(rows), _SOURCES),))


@_on_crystal
def _whole_table(data: ReportData, about: str, system: str) -> Filled | str:
    theirs = paper_volumes(about)
    temperatures_k = sorted({t for row in theirs.values() for t in row})
    volumes = {
        source: [
            Cell(fixed(v, 1), key) for v, key in (row.get(t, (None, None)) for t in temperatures_k)
        ]
        for source, row in volumes_here(data, system).items()
    }
    conduction = dict(_conduction_rows(data, system))
    if not volumes and not conduction:
        return f"neither a volume nor an Arrhenius fit of {system} exists yet."
    blank, none = [Cell(MISSING)] * len(temperatures_k), (Cell(MISSING), Cell(MISSING))
    rows = [
        (Cell(source), *volumes.get(source, blank), *conduction.get(source, none))
        for source in dict.fromkeys([*volumes, *conduction])
    ]
    printed = dict(_papers_rows(about))
    for name in dict.fromkeys([*theirs, *(source.removeprefix("paper, ") for source in printed)]):
        source = name if name.startswith(_OTHERS) else f"paper, {name}"
        cells = papers(*(as_printed(theirs.get(name, {}).get(t)) for t in temperatures_k))
        rows.append((Cell(source), *cells, *printed.get(source, papers(MISSING, MISSING))))
    columns = ("source", *(f"V({t:g} K) (Å³/atom)" for t in temperatures_k), *_CONDUCTION)
    return Filled((Table("", columns, tuple(rows), _SOURCES),))


def _here(data: ReportData, system: str) -> list[Transport]:
    return [each for each in data.measured(Transport) if each.system == system]


def _nearest(found: Sequence[OfRun]) -> OfRun:
    """Return the one nearest to the paper's pressure, then to its temperature."""
    return min(
        found,
        key=lambda each: (
            abs(each.pressure_bar - _PRESSURE_BAR),
            abs(each.temperature_k - _TEMPERATURE_K),
        ),
    )


@_on_crystal
def _displacement(data: ReportData, about: str, system: str) -> Filled | str:
    del about
    moved = [each for each in _here(data, system) if each.lags_ps]
    if not moved:
        return f"no production run of {system} has been analysed yet."
    nearest = _nearest(moved)
    place = (nearest.pressure_bar, nearest.temperature_k)
    shown = [each for each in moved if (each.pressure_bar, each.temperature_k) == place]
    return Filled((_diffusivity_table(shown),), (f"msd-{system} at {place[0]:g} bar",))


@_on_crystal
def _diffusivities(data: ReportData, about: str, system: str) -> Filled | str:
    del about
    found = _here(data, system)
    if not found:
        return f"no production run of {system} has been analysed yet."
    pressure_bar = _nearest(found).pressure_bar
    here = [each for each in found if each.pressure_bar == pressure_bar]
    return Filled((_diffusivity_table(here),), (f"arrhenius-{system}",))


def _diffusivity_table(found: Sequence[Transport]) -> Table:
    """Return a row for each run; replicas of a condition are numbered."""
    numbered, rows = any(each.replica for each in found), []
    for each in found:
        estimate, upper = each.estimate, each.estimate.diffusivity_upper_m2_per_s
        value = scientific(estimate.diffusivity_m2_per_s, estimate.diffusivity_err_m2_per_s)
        texts = (
            f"{each.temperature_k:g}",
            f"{each.pressure_bar:g}",
            *([f"{each.replica or 1}"] if numbered else []),
            value if upper is None else f"< {scientific(upper)}",
            with_error(each.anisotropy, each.anisotropy_err),
            estimate.regime or MISSING,
        )
        rows.append(ours(each.key, texts))
    place = ("T (K)", "p (bar)", *(["replica"] if numbered else []))
    columns = (*place, "D (m²/s)", "D_c/D_ab", "regime")
    return Table("", columns, tuple(rows), _NEAREST * (found[0].pressure_bar != _PRESSURE_BAR))


@_on_crystal
def _maps(data: ReportData, about: str, system: str) -> Filled | str:
    del about
    found = [each for each in data.measured(Density) if each.system == system and each.grid]
    if not found:
        return f"no density of {system} has been measured: name density in measure.quantities."
    shown = _nearest(found)
    place = (f"{shown.temperature_k:g}", f"{shown.pressure_bar:g}")
    row = ours(shown.key, (*place, number(shown.max_per_ang3)))
    table = Table("", ("T (K)", "p (bar)", "largest density (1/Å³)"), (row,))
    return Filled((table,), (f"density-{system} at {place[1]} bar and {place[0]} K",))


# -- figure 5, table 3, figure S4: over x ----------------------------------------------------------


def _on_series(fill: Callable[[ReportData, CompositionSeries], Filled | str]) -> Filler:
    """Return a filler from a function of the series over compositions."""

    def filler(data: ReportData, entry: Entry) -> Filled | str:
        del entry
        documents = data.measured(CompositionSeries)
        if not documents:
            return "no series over compositions exists: name series in measure.quantities."
        return fill(data, documents[0])

    return filler


@_on_series
def _conduction_over_x(data: ReportData, document: CompositionSeries) -> Filled | str:
    lattice = system_of_paper(data, "LYB")
    rows = [
        ours(
            fit.arrhenius,
            (
                f"{point.x:g}",
                f"{fit.pressure_bar:g}",
                with_error(fit.activation_energy_ev, fit.activation_energy_err_ev),
                _sigma_text(fit.conductivity_ms_per_cm, data.find(Arrhenius, fit.arrhenius)),
            ),
        )
        for point in sorted(document.points, key=by_x)
        if point.lattice == lattice and point.x is not None
        for fit in point.conduction
    ]
    if not rows:
        return "no composition on the lattice of Li3YBr6 has an Arrhenius fit yet."
    table = Table("", ("x", "p (bar)", *_CONDUCTION), tuple(rows))
    return Filled((table,), ("series-conduction",))


@_on_series
def _lattices(data: ReportData, document: CompositionSeries) -> Filled | str:
    lyc, lyb = system_of_paper(data, "LYC"), system_of_paper(data, "LYB")
    theirs = {float(x): value for x, value in paper_numbers()["phase_stability_meV_atom"].items()}
    signs = {(lyc, lyb): 1.0, (lyb, lyc): -1.0}
    found = {
        each.x: (each, signs[each.first, each.second])
        for each in document.differences
        if (each.first, each.second) in signs
    }
    if not found:
        return "no composition is on both lattices yet."
    rows = []
    for x in sorted({*theirs, *(x for x in found if x is not None)}):
        each, sign = found.get(x, (None, 1.0))
        by_model = None if each is None else sign * each.energy_ev_per_atom * EV_MEV
        dft_ev = None if each is None else each.dft_energy_ev_per_atom
        by_dft = None if dft_ev is None else sign * dft_ev * EV_MEV
        here = ours(document.key, (fixed(by_model), fixed(by_dft)))
        rows.append((Cell(f"{x:g}"), *here, *papers(as_printed(theirs.get(x)))))
    columns = ("x", "here, model (meV/atom)", "here, DFT (meV/atom)", "paper, DFT (meV/atom)")
    return Filled((Table("", columns, tuple(rows)),), ("series-energy",))


FILLERS: Final[Mapping[str, Filler]] = {
    "errors_before": _errors_before,
    "errors_of_models": _errors_of_models,
    "errors_on_set": _errors_on_set,
    "volumes": _volumes,
    "conduction": _conduction,
    "whole_table": _whole_table,
    "displacement": _displacement,
    "diffusivities": _diffusivities,
    "maps": _maps,
    "conduction_over_x": _conduction_over_x,
    "lattices": _lattices,
    "relaxed_cells": _on_series(relaxed_cells),
}
