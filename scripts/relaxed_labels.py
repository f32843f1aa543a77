"""DFT of relaxed orderings: how well models rank them, and which lattice is lower at each x.

    scripts/relaxed_labels.py [--bromide N] [--chloride N] [--x X ...] [--proposed]

Labels at the level `paper-pool`, one by one, and adds each to docs/results/orderings.extxyz as soon
as it is made; what stands there is not computed again, and is refused where it began elsewhere:

    - the N orderings of Li3YBr6 in 20 atoms, or of Li3YCl6 in 30, that CHGNet 0.3.0 finds lowest,
      with their energies by CHGNet and by the Ewald sum of formal charges as refined;
    - the ground states of `workflows/results_lattices.yaml` on both lattices at each x;
    - CHGNet's own lowest ordering of Li3YBr6 in 40 atoms, as `workflows/results_pbe.yaml` has it.

All cells are those of `lycb-pbe-1-sevennet`, whose forces are 8 meV/Å from DFT's in relaxed cells.
`scripts/results_page.py` compares what is there. Without options it makes no label and counts.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ase.io
from dft_frames import RELAXATION, monoclinic_orderings
from label_pool import LEVEL, append_frame
from pymatgen.analysis.ewald import EwaldSummation

import lycb_flows as lf
from lycb_flows.campaign.finished import import_runs
from lycb_flows.config import EnumerationConfig, GpawLabeler
from lycb_flows.crystals.relaxed import Relaxed
from lycb_flows.crystals.structures import canonical_structure, to_pymatgen
from lycb_flows.errors import InputError
from lycb_flows.labels.foreign.writing import labelled_atoms
from lycb_flows.labels.gpaw.labeler import Gpaw
from lycb_flows.potentials.potential import Potential
from lycb_flows.relaxation.by_model import relax_many
from lycb_flows.schemas import CompositionSeries, Ranking, Structure
from lycb_flows.store import ResultStore, open_store

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
ORDERINGS = RESULTS / "orderings.extxyz"
CHARGES = {"Li": 1, "Y": 3, "Cl": -1, "Br": -1}
RANKS, RELAXES = "chgnet-0.3.0", "lycb-pbe-1-sevennet"


@dataclass(frozen=True)
class Task:
    """A crystal to relax and to label, with what is known of it.

    Attributes
    ----------
    name
        Of the crystal, in the file.
    start
        Its cell before `RELAXES` relaxes it.
    origin
        Key of the ordering as it was listed or stored.
    facts
        For the file, energies in eV per atom.
    """

    name: str
    start: Structure
    origin: str
    facts: dict[str, str | float] = field(default_factory=dict)


def bromide_orderings(n_lowest: int) -> list[Task]:
    """Return the lowest orderings of Li3YBr6 in 20 atoms (there are eight)."""
    starts = [canonical_structure(cell) for _, cell in monoclinic_orderings(20)]
    return _ranked("Li3YBr6 C2/m", starts, n_lowest)


def chloride_orderings(n_lowest: int) -> list[Task]:
    """Return the lowest orderings of Li3YCl6 in 30 atoms (there are 24)."""
    listing = lf.enumerate_orderings(
        lf.load_parent("Li3YCl6"), EnumerationConfig(supercell=(1, 1, 1))
    )
    starts = [listing.structure(i) for i in range(listing.count)]
    return _ranked("Li3YCl6 P-3m1", starts, n_lowest)


def _ranked(kind: str, starts: list[Structure], n_lowest: int) -> list[Task]:
    if not n_lowest:
        return []
    outcomes = relax_many(starts, lf.load_model(RANKS), RELAXATION)
    found = [one for one in outcomes if isinstance(one, Relaxed) and one.converged]
    found.sort(key=lambda one: one.energy_ev_per_atom)
    print(f"{kind}: {len(found)} of {len(starts)} orderings relaxed by {RANKS}", flush=True)
    return [
        Task(
            f"{kind} {rank}",
            one.structure,
            one.start.key,
            {
                "kind": kind,
                "chgnet_ev_per_atom": one.energy_ev_per_atom,
                "ewald_ev_per_atom": _ewald_ev_per_atom(one.start),
            },
        )
        for rank, one in enumerate(found[:n_lowest])
    ]


def _ewald_ev_per_atom(structure: Structure) -> float:
    cell = to_pymatgen(structure)
    cell.add_oxidation_state_by_element(CHARGES)
    return float(EwaldSummation(cell).total_energy) / len(cell)


def of_campaigns(compositions: list[float], *, proposed: bool) -> list[Task]:
    """Return the ground states of finished campaigns that are asked for."""
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder)) as store:
        import_runs(store, RESULTS / "runs")
        tasks = list(ground_states(store, compositions))
        return [*tasks, proposed_bromide(store)] if proposed else tasks


def ground_states(store: ResultStore, compositions: list[float]) -> Iterator[Task]:
    """Yield the ground states of both lattices at some x."""
    points = [point for one in store.find_all(CompositionSeries) for point in one.points]
    for x in compositions:
        for lattice in ("LYB", "LYC"):
            here = [p for p in points if (p.lattice, p.x) == (lattice, x)]
            lowest = min(here, key=lambda point: point.energy_ev_per_atom)
            facts = {"kind": "lattices", "x": x, "lattice": lattice}
            start = store.load(Structure, lowest.start)
            yield Task(f"lattices {lattice} {x:g}", start, start.key, facts)


def proposed_bromide(store: ResultStore) -> Task:
    """Return the lowest ordering of Li3YBr6 by CHGNet."""
    (ranking,) = store.find_all(Ranking, system="LYB")
    facts = {"kind": "proposed", "x": 6.0, "lattice": "LYB"}
    start = store.load(Structure, ranking.ground_state)
    return Task("proposed LYB 6", start, start.key, facts)


def make_label(task: Task, engine: Gpaw, potential: Potential) -> None:
    """Relax a crystal, label it and add it to the file."""
    (relaxed,) = relax_many([task.start], potential, RELAXATION)
    if not isinstance(relaxed, Relaxed):
        raise relaxed
    label = engine.label(relaxed.structure)
    atoms = labelled_atoms(relaxed.structure, label)
    atoms.info |= task.facts | {"name": task.name, "origin": task.origin}
    atoms.info["model_ev_per_atom"] = relaxed.energy_ev_per_atom
    append_frame(ORDERINGS, atoms)
    print(f"{task.name}: {label.energy_ev / len(atoms):.5f} eV/atom", flush=True)


def origins_in_file() -> dict[str, str]:
    """Return the origin of what is labelled, by its name."""
    if not ORDERINGS.exists():
        return {}
    frames = ase.io.read(ORDERINGS, index=":")
    return {str(atoms.info["name"]): str(atoms.info["origin"]) for atoms in frames}


def to_make(tasks: list[Task], known: dict[str, str]) -> list[Task]:
    """Return the tasks that have no label yet.

    Raises
    ------
    InputError
        When the label of a name began from another ordering: another decision, or another order.
    """
    for task in tasks:
        if known.get(task.name, task.origin) != task.origin:
            raise InputError(
                "a label of this name began from another ordering",
                fix="rename it in the file, or take it out",
                name=task.name,
                file=ORDERINGS,
            )
    return [task for task in tasks if task.name not in known]


def main() -> None:
    """Label what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bromide", type=int, default=0, help="Number of orderings.")
    parser.add_argument("--chloride", type=int, default=0, help="Number of orderings.")
    parser.add_argument("--x", type=float, nargs="*", default=[], help="Of the ground states.")
    parser.add_argument("--proposed", action="store_true", help="CHGNet's lowest Li3YBr6.")
    options = parser.parse_args()
    tasks = of_campaigns(options.x, proposed=options.proposed)
    tasks += bromide_orderings(options.bromide) + chloride_orderings(options.chloride)
    known = origins_in_file()
    missing = to_make(tasks, known)
    print(dict(Counter(name.rpartition(" ")[0] for name in known)), f"{len(missing)} to make")
    if missing:
        engine, potential = Gpaw(GpawLabeler(theory=LEVEL)), lf.load_model(RELAXES)
        for task in missing:
            make_label(task, engine, potential)


if __name__ == "__main__":
    main()
