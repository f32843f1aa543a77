"""Crystals relaxed by a potential.

>>> relaxed = relax(structure, potential, RelaxationConfig())
>>> relaxed.converged, relaxed.energy_ev_per_atom
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lycb_flows.config import RelaxationConfig
from lycb_flows.crystals import Relaxed, canonical_structure, to_ase
from lycb_flows.errors import PhysicsError
from lycb_flows.potentials.potential import Potential
from lycb_flows.relaxation.fire import Minimum, minimise
from lycb_flows.schemas import Structure

MAX_ATOMS = 4000
"""In a batch: enough to fill a large GPU, and CHGNet needs some 6 GB for them."""


def relax(structure: Structure, potential: Potential, config: RelaxationConfig) -> Relaxed:
    """Relax positions and, unless the config forbids it, the cell by FIRE; nothing is random.

    Parameters
    ----------
    structure
        The crystal.
    potential
        Gives energy, forces and stress.
    config
        When the relaxation ends.

    Raises
    ------
    PhysicsError
        When the structure flies apart.
    """
    (outcome,) = relax_many([structure], potential, config)
    if isinstance(outcome, PhysicsError):
        raise outcome
    return outcome


def relax_many(
    structures: Sequence[Structure],
    potential: Potential,
    config: RelaxationConfig,
    *,
    max_atoms: int = MAX_ATOMS,
) -> Iterator[Relaxed | PhysicsError]:
    """Relax structures side by side, each as `relax` would up to the potential's last digits.

    Parameters
    ----------
    structures
        The crystals.
    potential
        Gives energy, forces and stress.
    config
        When a relaxation ends.
    max_atoms
        Most atoms in the batch at any time; a larger crystal moves alone.

    Yields
    ------
    Relaxed or PhysicsError
        In the order given, each when it and all before it are ready; the error means that the
        structure flew apart.
    """
    finished = minimise(
        [to_ase(structure) for structure in structures],
        potential,
        config,
        max_atoms=max_atoms,
        device=potential.device,
    )
    ready: dict[int, Minimum] = {}
    for place, structure in enumerate(structures):
        while place not in ready:
            other, minimum = next(finished)
            ready[other] = minimum
        yield _outcome(structure, ready.pop(place))


def _outcome(start: Structure, minimum: Minimum) -> Relaxed | PhysicsError:
    if minimum.flew_apart:
        return PhysicsError(
            "the structure flew apart: the potential cannot describe it any more",
            fix="look for overlapping or isolated atoms at the start",
            formula=minimum.atoms.get_chemical_formula(),
            steps=minimum.n_steps,
        )
    return Relaxed(
        start=start,
        structure=canonical_structure(minimum.atoms),
        energy_ev=minimum.energy_ev,
        static_energy_ev=minimum.static_energy_ev,
        max_force_ev_per_ang=minimum.max_force_ev_per_ang,
        n_steps=minimum.n_steps,
        converged=minimum.converged,
    )
