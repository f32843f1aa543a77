"""A crystal at rest, whatever brought it there: a potential, or a level of theory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from lycb_flows.config.ranking import RelaxationConfig
from lycb_flows.crystals.structures import volume_ang3_per_atom
from lycb_flows.schemas import Relaxation, Structure


@dataclass(frozen=True)
class Relaxed:
    """Where a structure came to rest, or how far it came.

    Attributes
    ----------
    start
        The structure given.
    structure
        The relaxed one.
    energy_ev, static_energy_ev
        Total energies of the relaxed structure and of the one given.
    max_force_ev_per_ang
        ASE's criterion: with a relaxing cell the largest row of forces and cell gradient.
    converged
        Whether that fell below the threshold within the allowed steps.
    optimizer
        What moved the atoms, for people; None for our batched FIRE.
    labels
        Keys of the steps' labels, in order; empty where the steps are no labels.
    """

    start: Structure
    structure: Structure
    energy_ev: float
    static_energy_ev: float
    max_force_ev_per_ang: float
    n_steps: int
    converged: bool
    optimizer: str | None = None
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def energy_ev_per_atom(self) -> float:
        """The energy of the relaxed structure."""
        return self.energy_ev / len(self.structure.species)

    @property
    def volume_ang3_per_atom(self) -> float:
        """The volume of the relaxed structure."""
        return volume_ang3_per_atom(self.structure)

    @property
    def volume_change(self) -> float:
        """The change of volume relative to the structure given."""
        return self.volume_ang3_per_atom / volume_ang3_per_atom(self.start) - 1

    @classmethod
    def from_document(cls, found: Relaxation, start: Structure, final: Structure) -> Self:
        """Return the result that a document keeps.

        Parameters
        ----------
        found
            The document.
        start, final
            The structures that it names.
        """
        return cls(
            start=start,
            structure=final,
            energy_ev=found.energy_ev,
            static_energy_ev=found.static_energy_ev_per_atom * len(start.species),
            max_force_ev_per_ang=found.max_force_ev_per_ang,
            n_steps=found.n_steps,
            converged=found.converged,
            optimizer=found.optimizer,
            labels=found.labels,
            warnings=found.warnings,
        )

    def document(
        self,
        config: RelaxationConfig,
        *,
        model: str | None = None,
        theory: str | None = None,
        theory_name: str | None = None,
    ) -> Relaxation:
        """Return the result as a document.

        Parameters
        ----------
        config
            When the relaxation was to end.
        model
            Key of the potential's Model; None at a level of theory.
        theory, theory_name
            Fingerprint and name of the level of theory; None by a model.
        """
        return Relaxation(
            key=Relaxation.key_of(self.start.key, config, model=model, theory=theory),
            parents=(self.start.key, *filter(None, [model]), *self.labels),
            products=(self.structure.key,),
            structure=self.start.key,
            final_structure=self.structure.key,
            model=model,
            theory=theory,
            theory_name=theory_name,
            optimizer=self.optimizer,
            labels=self.labels,
            warnings=self.warnings,
            energy_ev=self.energy_ev,
            energy_ev_per_atom=self.energy_ev_per_atom,
            static_energy_ev_per_atom=self.static_energy_ev / len(self.start.species),
            max_force_ev_per_ang=self.max_force_ev_per_ang,
            n_steps=self.n_steps,
            converged=self.converged,
            volume_ang3_per_atom=self.volume_ang3_per_atom,
            volume_change=self.volume_change,
        )
