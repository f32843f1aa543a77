"""ASE's variables of a cell that relaxes, with the forces of a step computed once."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from numpy.typing import NDArray


class CellFilter(FrechetCellFilter):
    """Positions and cell as an optimizer of ASE moves them.

    An optimizer asks for the forces three times in a step, and each answer takes the logarithm of
    the strain and nine derivatives of its exponential: longer than the step of a small potential.
    The numbers are those of `FrechetCellFilter`.
    """

    def __init__(self, atoms: Atoms) -> None:
        super().__init__(atoms)  # type: ignore[no-untyped-call]  # ASE's
        self._step: tuple[bytes, bytes] | None = None
        self._forces: NDArray[np.float64]

    def get_forces(self, **kwargs: Any) -> NDArray[np.float64]:  # noqa: ANN401 - ASE's
        """Return the forces on the atoms and the gradient of the cell, in eV/Å."""
        step = (self.atoms.positions.tobytes(), self.atoms.cell.array.tobytes())
        if step != self._step:
            self._forces = super().get_forces(**kwargs)  # type: ignore[no-untyped-call]  # ASE's
            self._step = step
        return self._forces.copy()
