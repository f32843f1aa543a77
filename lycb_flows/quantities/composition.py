"""Ground states of a campaign's compositions at 0 K by its model, and differences of lattices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from lycb_flows.config import Campaign, RelaxationConfig, decorated_name, name_of_ordering
from lycb_flows.crystals import BINARY_NAMES, load_binary
from lycb_flows.errors import PhysicsError
from lycb_flows.quantities import MeasurementPlan
from lycb_flows.relaxation import formation_energy_ev_per_atom, space_group
from lycb_flows.schemas import (
    GroundState,
    LatticeDifference,
    Model,
    SeriesPoint,
    Structure,
)
from lycb_flows.store import ResultStore

if TYPE_CHECKING:
    from lycb_flows.crystals import Relaxed
    from lycb_flows.potentials import Potential


def lattices_of(campaign: Campaign) -> dict[str, tuple[str, float | None]]:
    """Return the system and x of everything that a campaign may measure, by name.

    x of a system itself is None.
    """
    found: dict[str, tuple[str, float | None]] = {}
    for system in campaign.systems:
        found[system.name] = (system.name, None)
        for decoration in system.decorations:
            found[decorated_name(system.name, decoration.x)] = (system.name, decoration.x)
    return found


def relaxed_points(store: ResultStore, plan: MeasurementPlan) -> list[SeriesPoint]:
    """Return every composition that is measured, relaxed by the model.

    Energies of formation are counted from binaries that the same model has relaxed.

    Parameters
    ----------
    store
        Holds structures, the model, and ground states by DFT.
    plan
        The measurement.

    Raises
    ------
    PhysicsError
        When a ground state flies apart.
    """
    from lycb_flows.potentials import load_potential  # noqa: PLC0415 - torch

    model = store.load(Model, plan.model)
    potential = load_potential(model, store.blobs.read(model.weights))
    ranking, lattices = plan.campaign.ranking, lattices_of(plan.campaign)
    config = RelaxationConfig(
        fmax_ev_per_ang=ranking.fine_fmax_ev_per_ang, max_steps=ranking.max_steps
    )
    names = [name for name in plan.starts if name == name_of_ordering(name)]
    starts = [store.load(Structure, plan.starts[name]) for name in names]
    binaries = _binary_energies_ev(starts, potential, config)
    phases = {name: load_binary(name).species for name in binaries}
    points = []
    for name, start, found in zip(names, starts, _relaxed(starts, potential, config), strict=True):
        lattice, x = lattices[name]
        formation = formation_energy_ev_per_atom(start.species, found.energy_ev, binaries, phases)
        points.append(
            SeriesPoint(
                name=name,
                lattice=lattice,
                x=x,
                formula=_formula(start),
                start=start.key,
                space_group=space_group(found.structure),
                energy_ev_per_atom=found.energy_ev_per_atom,
                volume_ang3_per_atom=found.volume_ang3_per_atom,
                converged=found.converged,
                formation_energy_ev_per_atom=formation,
                **_by_dft(store, name, start.key),
            )
        )
    return _with_x(points)


def _relaxed(
    structures: Sequence[Structure], potential: Potential, config: RelaxationConfig
) -> list[Relaxed]:
    from lycb_flows.relaxation import relax_many  # noqa: PLC0415 - torch, for this alone

    found = []
    for outcome in relax_many(structures, potential, config):
        if isinstance(outcome, PhysicsError):
            raise outcome
        found.append(outcome)
    return found


def _binary_energies_ev(
    starts: Sequence[Structure], potential: Potential, config: RelaxationConfig
) -> dict[str, float]:
    """Return the energies of the binaries' cells; {} where the model does not know them all."""
    elements = {symbol for start in starts for symbol in start.species}
    cells = {name: load_binary(name) for name in BINARY_NAMES}
    usable = {name: cell for name, cell in cells.items() if set(cell.species) <= elements}
    relaxed = _relaxed(list(usable.values()), potential, config) if usable else []
    return {
        name: found.energy_ev_per_atom * len(usable[name].species)
        for name, found in zip(usable, relaxed, strict=True)
    }


def _by_dft(store: ResultStore, name: str, structure: str) -> dict[str, float | None]:
    """Return DFT's numbers of a ground state that DFT has chosen; {} where it has not."""
    for decision in store.find_all(GroundState, system=name, ground_state=structure):
        for candidate in decision.candidates:
            if candidate.structure == structure:
                return {
                    "dft_energy_ev_per_atom": candidate.energy_ev_per_atom,
                    "dft_formation_energy_ev_per_atom": candidate.formation_energy_ev_per_atom,
                    "dft_volume_ang3_per_atom": candidate.volume_ang3_per_atom,
                }
    return {}


def _formula(structure: Structure) -> str:
    from pymatgen.core.composition import Composition  # noqa: PLC0415 - takes a while

    return str(Composition(dict(Counter(structure.species))).reduced_formula)


def _with_x(points: Sequence[SeriesPoint]) -> list[SeriesPoint]:
    """Return the points with x of undecorated systems, as others of their formula have it."""
    known = {point.formula: point.x for point in points if point.x is not None}
    return [
        point if point.x is not None else point.model_copy(update={"x": known.get(point.formula)})
        for point in points
    ]


def lattice_differences(
    points: Sequence[SeriesPoint], order: Sequence[str]
) -> list[LatticeDifference]:
    """Return the energy of every composition on one lattice minus that on a later one.

    Where a lattice has a composition twice, undecorated and decorated, the lower energy counts.

    Parameters
    ----------
    points
        Compositions on lattices.
    order
        The lattices, in order.
    """
    lowest: dict[tuple[str, str], SeriesPoint] = {}
    for point in points:
        place = (point.lattice, point.formula)
        best = lowest.get(place)
        if best is None or point.energy_ev_per_atom < best.energy_ev_per_atom:
            lowest[place] = point
    formulas = list(dict.fromkeys(point.formula for point in points))
    found = [
        _difference(lowest[first, formula], lowest[second, formula])
        for first, second in combinations(order, 2)
        for formula in formulas
        if {(first, formula), (second, formula)} <= lowest.keys()
    ]
    return sorted(found, key=lambda each: (each.first, each.second, each.x or 0.0))


def _difference(first: SeriesPoint, second: SeriesPoint) -> LatticeDifference:
    dft = (first.dft_energy_ev_per_atom, second.dft_energy_ev_per_atom)
    return LatticeDifference(
        formula=first.formula,
        x=first.x if first.x is not None else second.x,
        first=first.lattice,
        second=second.lattice,
        energy_ev_per_atom=first.energy_ev_per_atom - second.energy_ev_per_atom,
        dft_energy_ev_per_atom=None if dft[0] is None or dft[1] is None else dft[0] - dft[1],
    )


def sign_changes(differences: Sequence[LatticeDifference]) -> Mapping[tuple[str, str], list[float]]:
    """Return x where the stable lattice changes, between neighbouring compositions, by lattices.

    x is that of a straight line between the two energies.
    """
    found: dict[tuple[str, str], list[float]] = {}
    groups: dict[tuple[str, str], list[LatticeDifference]] = {}
    for each in differences:
        if each.x is not None:
            groups.setdefault((each.first, each.second), []).append(each)
    for pair, members in groups.items():
        members.sort(key=lambda each: each.x or 0.0)
        for left, right in pairwise(members):
            low, high = left.energy_ev_per_atom, right.energy_ev_per_atom
            if low * high < 0 and left.x is not None and right.x is not None:
                share = low / (low - high)
                found.setdefault(pair, []).append(left.x + share * (right.x - left.x))
    return found
