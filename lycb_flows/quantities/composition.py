"""Ground states of a campaign's compositions at 0 K by its model, and differences of lattices."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from lycb_flows.config import RelaxationConfig, SystemConfig, decorated_name, name_of_ordering
from lycb_flows.crystals import BINARY_NAMES, Relaxed, load_binary
from lycb_flows.errors import PhysicsError
from lycb_flows.machine import Stage
from lycb_flows.quantities import MeasurementPlan
from lycb_flows.relaxation import formation_energy_ev_per_atom, ranking, space_group
from lycb_flows.schemas import (
    GroundState,
    LatticeDifference,
    Model,
    Relaxation,
    SeriesPoint,
    Structure,
)
from lycb_flows.store import ResultStore

if TYPE_CHECKING:
    from lycb_flows.potentials import Potential


_LOGGER = logging.getLogger(__name__)


def relaxed_points(store: ResultStore, plan: MeasurementPlan) -> list[SeriesPoint]:
    """Return every composition that is measured, relaxed by the model.

    Energies of formation are counted from competing phases that the same model has relaxed.

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
    relaxed = relax_compositions(store, plan, potential)
    starts = [found.start for found in relaxed.values()]
    cells = _competing_phases(store, plan)
    energies_ev = phase_energies_ev(starts, potential, _config(plan), cells)
    phases = {name: cell.species for name, cell in cells.items()}
    points = []
    for name, found in relaxed.items():
        start = found.start
        system = plan.campaign.system_of(name)
        x = {decorated_name(system.name, each.x): each.x for each in system.decorations}
        formation = formation_energy_ev_per_atom(
            start.species, found.energy_ev, energies_ev, phases
        )
        points.append(
            SeriesPoint(
                name=name,
                lattice=system.name,
                x=x.get(name, _undecorated_x(system, start)),
                formula=_formula(start),
                start=start.key,
                space_group=space_group(found.structure),
                energy_ev_per_atom=found.energy_ev_per_atom,
                volume_ang3_per_atom=found.volume_ang3_per_atom,
                converged=found.converged,
                formation_energy_ev_per_atom=formation,
                **_by_dft(store, plan, name),
            )
        )
    return _with_x(points)


def _config(plan: MeasurementPlan) -> RelaxationConfig:
    return ranking.stage_config(plan.campaign.ranking, "fine")


def relaxation_keys(plan: MeasurementPlan) -> dict[str, str]:
    """Return the key of each composition's relaxation by the model, by the composition's name.

    Parameters
    ----------
    plan
        The measurement.
    """
    names = [name for name in plan.starts if name == name_of_ordering(name)]
    config = _config(plan)
    return {name: Relaxation.key_of(plan.starts[name], config, model=plan.model) for name in names}


def relax_compositions(
    store: ResultStore, plan: MeasurementPlan, potential: Potential
) -> dict[str, Relaxed]:
    """Return every composition that is measured at rest by the model; what is known is looked up.

    Parameters
    ----------
    store
        Holds the structures, and receives the relaxations.
    plan
        The measurement.
    potential
        The model.

    Raises
    ------
    PhysicsError
        When a ground state flies apart.
    """
    from lycb_flows.relaxation import relax_many  # noqa: PLC0415 - torch

    keys, config = relaxation_keys(plan), _config(plan)
    starts = {name: store.load(Structure, plan.starts[name]) for name in keys}
    known = {document.key for document in store.find_documents(keys.values())}
    missing = {keys[name]: start for name, start in starts.items() if keys[name] not in known}
    stage = Stage(_LOGGER.info, "relaxing compositions", len(missing))
    structures, max_atoms = list(missing.values()), _max_atoms(potential)
    outcomes = relax_many(structures, potential, config, max_atoms=max_atoms)
    for n_done, found in enumerate(outcomes, 1):
        if isinstance(found, PhysicsError):
            raise found
        store.insert_all([found.structure, found.document(config, model=plan.model)])
        stage.reach(n_done)
    documents = {name: store.load(Relaxation, key) for name, key in keys.items()}
    return {
        name: Relaxed.from_document(
            document, starts[name], store.load(Structure, document.final_structure)
        )
        for name, document in documents.items()
    }


def _max_atoms(potential: Potential) -> int:
    """Return how many atoms move together: on a CPU one crystal at a time is as fast."""
    from lycb_flows.relaxation import MAX_ATOMS  # noqa: PLC0415 - torch

    return 1 if potential.device.type == "cpu" else MAX_ATOMS


def _undecorated_x(system: SystemConfig, structure: Structure) -> float | None:
    """Return x of the system itself, as its decorations count it; None without decorations."""
    if not system.decorations:
        return None
    if system.decorations[0].substitute:
        return 0.0
    amounts = Counter(structure.species)
    return 6 * amounts["Br"] / (amounts["Br"] + amounts["Cl"])


def _competing_phases(store: ResultStore, plan: MeasurementPlan) -> dict[str, Structure]:
    """Return the cells of the phases that energies of formation are counted from."""
    own = plan.campaign.ranking.own_anchors
    if own:
        return {name: store.load(Structure, key) for name, key in own.items()}
    return {name: load_binary(name) for name in BINARY_NAMES}


def phase_energies_ev(
    starts: Sequence[Structure],
    potential: Potential,
    config: RelaxationConfig,
    cells: Mapping[str, Structure],
) -> dict[str, float]:
    """Return the energies of the cells of competing phases that the model has relaxed.

    One that flies apart or has not converged is left out, so that nothing is counted from it.

    Parameters
    ----------
    starts
        The compositions, whose elements say which phases there are.
    potential
        The model.
    config
        When a relaxation ends.
    cells
        The cell of each phase, by name.
    """
    from lycb_flows.relaxation import relax_many  # noqa: PLC0415 - torch, for this alone

    elements = {symbol for start in starts for symbol in start.species}
    usable = {name: cell for name, cell in cells.items() if set(cell.species) <= elements}
    relaxed = relax_many(list(usable.values()), potential, config)
    return {
        name: found.energy_ev
        for name, found in zip(usable, relaxed, strict=True)
        if not isinstance(found, PhysicsError) and found.converged
    }


def _by_dft(store: ResultStore, plan: MeasurementPlan, name: str) -> dict[str, float | None]:
    """Return DFT's numbers of a ground state that DFT has chosen; {} where it has not."""
    key = (plan.by_dft or {}).get(name)
    if key is None:
        return {}
    candidates = store.load(GroundState, key).candidates
    chosen = next(each for each in candidates if each.structure == plan.starts[name])
    return {
        "dft_energy_ev_per_atom": chosen.energy_ev_per_atom,
        "dft_formation_energy_ev_per_atom": chosen.formation_energy_ev_per_atom,
        "dft_volume_ang3_per_atom": chosen.volume_ang3_per_atom,
    }


def _formula(structure: Structure) -> str:
    return _reduced(Counter(structure.species))


def mixed_halide(x: float) -> str:
    """Return the reduced formula of Li3YCl(6-x)Br(x)."""
    amounts = {"Li": 3.0, "Y": 1.0, "Cl": 6 - x, "Br": x}
    return _reduced({symbol: 2 * n for symbol, n in amounts.items() if n})


def _reduced(amounts: Mapping[str, float]) -> str:
    from pymatgen.core.composition import Composition  # noqa: PLC0415 - takes a while

    return str(Composition(dict(amounts)).reduced_formula)


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
