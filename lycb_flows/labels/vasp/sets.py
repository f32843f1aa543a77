"""Input sets for atomate2's Makers with exactly the inputs of one of our levels of theory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from atomate2.vasp.sets.core import StaticSetGenerator
from pymatgen.core.structure import Structure
from pymatgen.io.vasp.inputs import VaspInput

from lycb_flows.crystals import canonical_structure
from lycb_flows.labels.theory import vasp_theory
from lycb_flows.labels.vasp.inputs import static_input_set


@dataclass
class LevelSetGenerator(StaticSetGenerator):
    """The inputs of a static calculation at a level of theory.

    The mesh of k-points follows from each structure's cell by the rule of the level.

    Attributes
    ----------
    theory
        The level, by its name in labels/levels.yaml.
    stand_in
        Whether the stand-in for VASP computes.
    """

    theory: str = "paper-static"
    stand_in: bool = False

    def get_input_set(
        self,
        structure: Structure | None = None,
        *_: Any,  # noqa: ANN401 - what does not apply
        potcar_spec: bool = False,
        **__: Any,  # noqa: ANN401 - likewise
    ) -> VaspInput:
        """Return the inputs of a structure.

        Parameters
        ----------
        structure
            An ordered crystal.
        potcar_spec
            Whether POTCAR.spec is written in place of POTCAR.
        """
        theory = vasp_theory(self.theory, stand_in=self.stand_in)
        found = canonical_structure(cast("Structure", structure or self.structure))
        return static_input_set(theory, found, potcar_spec=potcar_spec)
