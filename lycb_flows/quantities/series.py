"""The quantity `series`: ground states, lattices and conductivities over compositions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from lycb_flows.config import name_of_ordering
from lycb_flows.quantities import Condition, MeasurementPlan, Number, Quantity, Scope
from lycb_flows.quantities.arrhenius import ArrheniusLaw
from lycb_flows.quantities.composition import (
    lattice_differences,
    mixed_halide,
    relax_compositions,
    relaxation_keys,
    relaxed_points,
    sign_changes,
)
from lycb_flows.quantities.costs import RELAXATION_STEPS, ForceCall, calls_s, cell_atoms
from lycb_flows.report import (
    MISSING,
    Album,
    Cell,
    FigureView,
    Part,
    ReportData,
    Statement,
    Table,
    as_printed,
    fixed,
    listed,
    number,
    ours,
    paper_numbers,
    papers,
    with_error,
)
from lycb_flows.schemas import (
    Arrhenius,
    CompositionSeries,
    Model,
    SeriesConduction,
    SeriesPoint,
    make_key,
)
from lycb_flows.store import ResultStore
from lycb_flows.units import EV_MEV

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Series(Quantity[CompositionSeries]):
    """Compositions on every lattice: energies at 0 K by the model and by DFT, and conduction."""

    name = "series"
    document = CompositionSeries
    scope: ClassVar[Scope] = "campaign"
    ensembles = ()
    uses = (ArrheniusLaw,)  # without it: energies alone, and no MD
    title = "Over compositions"
    absence = "No series of compositions yet."
    rests_on = "a ground state, or an Arrhenius fit"

    def key(self, plan: MeasurementPlan, condition: Condition) -> str:
        """Return the key: the model, what is relaxed and how, fits, decisions and own phases."""
        ranking = plan.campaign.ranking
        return make_key(
            CompositionSeries,
            model=plan.model,
            starts=dict(sorted(plan.starts.items())),
            fmax_ev_per_ang=ranking.fine_fmax_ev_per_ang,
            max_steps=ranking.max_steps,
            documents=list(self.needed_keys(plan, condition)),
            by_dft=plan.by_dft,
            phases=plan.campaign.ranking.own_anchors or None,
        )

    def cost_s(
        self,
        plan: MeasurementPlan,
        condition: Condition,
        n_atoms: Mapping[str, int],
        force_call_s: ForceCall,
    ) -> float:
        """Return the cost of the relaxations, each from the ground state."""
        del condition
        names = [name for name in plan.starts if name == name_of_ordering(name)]
        atoms = sum(cell_atoms(plan, name, n_atoms) for name in names)
        return 1.0 + calls_s(RELAXATION_STEPS * atoms, [plan.model], force_call_s)

    def compute(
        self, store: ResultStore, plan: MeasurementPlan, condition: Condition
    ) -> CompositionSeries:
        """Return the series.

        Parameters
        ----------
        store
            Holds structures, models, fits, and ground states by DFT.
        plan
            The measurement.
        condition
            The campaign.
        """
        found = [store.load(Arrhenius, key) for key in self.needed_keys(plan, condition)]
        conduction = {
            name: tuple(_conduction(fit) for fit in found if fit.system == name)
            for name in plan.starts
        }
        points = [
            point.model_copy(update={"conduction": conduction[point.name]})
            for point in relaxed_points(store, plan)
        ]
        lattices = [system.name for system in plan.campaign.systems]
        starts, by_dft = [point.start for point in points], (plan.by_dft or {}).values()
        return CompositionSeries(
            key=self.key(plan, condition),
            parents=(
                plan.model,
                *starts,
                *(fit.key for fit in found),
                *by_dft,
                *plan.campaign.ranking.own_anchors.values(),
            ),
            model=plan.model,
            points=tuple(points),
            phases=tuple(plan.campaign.ranking.own_anchors),
            differences=tuple(lattice_differences(points, lattices)),
        )

    def further_keys(self, plan: MeasurementPlan) -> tuple[str, ...]:
        """Return the keys of the relaxations, whose cells a report shows."""
        return tuple(relaxation_keys(plan).values())

    def make_further(self, store: ResultStore, plan: MeasurementPlan, condition: Condition) -> None:
        """Relax again what a series of before did not keep."""
        from lycb_flows.potentials import load_potential  # noqa: PLC0415 - torch

        del condition
        keys = set(relaxation_keys(plan).values())
        if keys != {document.key for document in store.find_documents(keys)}:
            model = store.load(Model, plan.model)
            relax_compositions(store, plan, load_potential(model, store.blobs.read(model.weights)))

    def numbers(self, document: CompositionSeries) -> Iterator[Number]:
        """Yield the differences between lattices."""
        for each in document.differences:
            yield Number(
                f"E({each.first}) - E({each.second})",
                "meV/atom",
                value=each.energy_ev_per_atom * EV_MEV,
                note=each.formula,
            )

    # -- report ------------------------------------------------------------------------------

    def part(self, data: ReportData, album: Album, system: str) -> Part:
        """Return energies and conductivities over x, beside the paper's where it has them."""
        (document,) = data.measured(CompositionSeries)
        figures, tables = list[FigureView](), [_points_table(document)]
        figures += _energy_figures(album, document)
        if document.differences:
            tables.append(_differences_table(document))
        if any(point.conduction for point in document.points):
            if any(point.conduction and point.x is not None for point in document.points):
                caption = "Conductivity at the temperature of the fit, and barrier, over x."
                figure = _conduction_figure(document)
                figures.append(album.show("series-conduction", figure, caption))
            tables.append(_conduction_table(document))
        return Part(system, figures=tuple(figures), tables=tuple(tables))

    def findings(self, data: ReportData) -> Iterator[Statement]:
        """Yield where the stable lattice changes."""
        for document in data.measured(CompositionSeries):
            for (first, second), places in sign_changes(document.differences).items():
                where = " and ".join(f"{x:.2f}" for x in places)
                yield Statement(
                    f"At 0 K the more stable lattice changes between that of {first} and that of "
                    f"{second} near x = {where}, by the model.",
                    (document.key,),
                )

    def limits(self, data: ReportData) -> Iterator[Statement]:
        """Yield compositions that have not converged, and numbers beyond a student's frames."""
        for document in data.measured(CompositionSeries):
            loose = [point.name for point in document.points if not point.converged]
            if loose:
                yield Statement(
                    f"Not converged at 0 K: {', '.join(loose)}; their energies are too high.",
                    (document.key,),
                )
            model = data.find(Model, document.model)
            is_students = model is not None and model.source == "distilled"
            if model is not None and is_students and _has_formation(document):
                yield Statement(
                    "Energies of formation are a student's, which has learned none of "
                    f"{_phases(document)}.",
                    (document.key, model.key),
                )


def _conduction(fit: Arrhenius) -> SeriesConduction:
    return SeriesConduction(
        arrhenius=fit.key,
        pressure_bar=fit.pressure_bar,
        activation_energy_ev=fit.activation_energy_ev,
        activation_energy_err_ev=fit.activation_energy_err_ev,
        conductivity_ms_per_cm=fit.extrapolated_conductivity_ms_per_cm,
        conductivity_low_ms_per_cm=fit.extrapolated_conductivity_low_ms_per_cm,
        conductivity_high_ms_per_cm=fit.extrapolated_conductivity_high_ms_per_cm,
        reason=fit.reason,
    )


# -- report --------------------------------------------------------------------------------------


def _has_formation(document: CompositionSeries) -> bool:
    return any(point.formation_energy_ev_per_atom is not None for point in document.points)


def _formation_note(document: CompositionSeries) -> str:
    by_dft = (point.dft_formation_energy_ev_per_atom for point in document.points)
    if not _has_formation(document) and all(energy_ev is None for energy_ev in by_dft):
        return ""
    return (
        f" Energies of formation are from the mixture of {_phases(document)} that is lowest in "
        "energy: below zero the composition is stable against it."
    )


def _phases(document: CompositionSeries) -> str:
    """Return the phases that energies of formation are counted from."""
    return listed(document.phases) if document.phases else "binary halides"


def _place(point: SeriesPoint, key: str) -> tuple[Cell, ...]:
    return ours(key, (point.lattice, _x(point.x), point.formula))


def _x(x: float | None) -> str:
    return MISSING if x is None else f"{x:g}"


def _points_table(document: CompositionSeries) -> Table:
    rows = [
        (
            *_place(point, point.start),
            *ours(
                document.key,
                (
                    point.space_group,
                    fixed(point.volume_ang3_per_atom),
                    fixed(point.dft_volume_ang3_per_atom),
                    _mev(point.formation_energy_ev_per_atom),
                    _mev(point.dft_formation_energy_ev_per_atom),
                ),
            ),
        )
        for point in document.points
    ]
    return Table(
        "Ground states at 0 K",
        (
            "lattice of", "x", "composition", "space group", "volume (Å³/atom)", "volume, DFT",
            "formation (meV/atom)", "formation, DFT",
        ),
        tuple(rows),
        "By the model that measures." + _formation_note(document),
    ).without_empty("x", "volume, DFT", "formation (meV/atom)", "formation, DFT")  # fmt: skip


def _mev(energy_ev: float | None) -> str:
    return MISSING if energy_ev is None else fixed(energy_ev * EV_MEV, 1)


def _differences_table(document: CompositionSeries) -> Table:
    paper = _papers(document)
    rows = [
        (
            *ours(
                document.key,
                (
                    f"{each.first} - {each.second}",
                    _x(each.x),
                    each.formula,
                    fixed(each.energy_ev_per_atom * EV_MEV),
                    _mev(each.dft_energy_ev_per_atom),
                ),
            ),
            *(papers(as_printed(paper.get(each.formula))) if paper else ()),
        )
        for each in document.differences
    ]
    return Table(
        "Energy of one lattice minus another (meV/atom)",
        (
            *("lattices", "x", "composition", "here, model", "here, DFT"),
            *(("paper, DFT",) if paper else ()),
        ),
        tuple(rows),
        "Below zero the first lattice is the stable one."
        + " Paper: E(P-3c1) - E(C2) of Li3YCl(6-x)Br(x)." * bool(paper),
    ).without_empty("x", "here, DFT")


def _papers(document: CompositionSeries) -> dict[str, float]:
    """Return the paper's differences in meV/atom by formula; {} for other chemistries."""
    stability = paper_numbers()["phase_stability_meV_atom"]
    by_formula = {mixed_halide(float(x)): value for x, value in stability.items()}
    of_lattice = {point.name: point.formula for point in document.points}
    return {
        each.formula: by_formula[each.formula]
        if "Cl" in of_lattice.get(each.first, "")
        else -by_formula[each.formula]
        for each in document.differences
        if each.formula in by_formula
    }


def _conduction_table(document: CompositionSeries) -> Table:
    rows = [
        (
            *_place(point, point.start),
            *ours(
                fit.arrhenius,
                (
                    f"{fit.pressure_bar:g}",
                    with_error(fit.activation_energy_ev, fit.activation_energy_err_ev),
                    number(fit.conductivity_ms_per_cm),
                    MISSING
                    if fit.conductivity_ms_per_cm is None
                    else f"{number(fit.conductivity_low_ms_per_cm)} to "
                    f"{number(fit.conductivity_high_ms_per_cm)}",
                    fit.reason,
                ),
            ),
        )
        for point in document.points
        for fit in point.conduction
    ]
    return Table(
        "Conduction",
        (
            "lattice of", "x", "composition", "p (bar)", "E_A (eV)", "σ (mS/cm)", "68 % interval",
            "",
        ),
        tuple(rows),
    ).without_empty("x")  # fmt: skip


def _energy_figures(album: Album, document: CompositionSeries) -> Iterator[FigureView]:
    """Yield the figure of energies over x, with the panels that there are numbers for."""
    from lycb_flows.quantities.figures import series_energy_figure  # noqa: PLC0415 - matplotlib

    differences = [each for each in document.differences if each.x is not None]
    formed = [
        point
        for point in document.points
        if point.x is not None and point.formation_energy_ev_per_atom is not None
    ]
    panels = ["difference of the lattices"] if differences else []
    panels += [f"energy of formation from {_phases(document)}"] if formed else []
    if panels and len(document.points) > 1:
        figure = series_energy_figure(differences, formed, _papers(document))
        yield album.show("series-energy", figure, f"Over x: {', '.join(panels)}.")


def _conduction_figure(document: CompositionSeries) -> Figure:
    from lycb_flows.quantities.figures import series_conduction_figure  # noqa: PLC0415 - likewise

    return series_conduction_figure(document)
