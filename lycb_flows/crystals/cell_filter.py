"""ASE's variables of a cell that relaxes, without its repeated logarithms."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from scipy.linalg import expm_frechet, logm

_Array = NDArray[np.float64]


class CellFilter(FrechetCellFilter):
    """Positions and the logarithm of the deformation, as an optimizer of ASE moves them.

    The variables and forces are those of `FrechetCellFilter` within rounding. An optimizer asks
    for both several times in a step, and there each answer takes a logarithm and nine derivatives
    of an exponential: longer than the step of a small potential. Here variables that were set are
    remembered, forces are computed once per step, and the nine derivatives are one: the gradient
    with respect to L = log F is the adjoint of the derivative of the exponential, applied to the
    gradient with respect to F, and the adjoint at L is the derivative at L^T (Higham, Functions of
    Matrices, 2008, section 3.2).
    """

    def __init__(self, atoms: Atoms) -> None:
        super().__init__(atoms)  # type: ignore[no-untyped-call]  # ASE's
        self._set: tuple[bytes, _Array] | None = None
        self._known: tuple[bytes, _Array] | None = None

    def get_positions(self) -> _Array:
        """Return the optimizer's variables: the atoms in the undeformed cell, then the strain."""
        if self._set is None or self._set[0] != self._state():
            return np.asarray(super().get_positions())  # type: ignore[no-untyped-call]
        return self._set[1].copy()

    def set_positions(  # type: ignore[override]  # ASE's filters disagree about the name
        self,
        new: _Array,
        **kwargs: Any,  # noqa: ANN401 - ASE's
    ) -> None:
        """Move atoms and cell to the optimizer's variables."""
        super().set_positions(new, **kwargs)  # type: ignore[no-untyped-call]
        self._set = (self._state(), np.array(new))

    def get_forces(self, **kwargs: Any) -> _Array:  # noqa: ANN401 - ASE's
        """Return the forces on the atoms and the gradient of the cell, in eV/Å."""
        state = self._state()
        if self._known is None or self._known[0] != state:
            self._known = (state, self._forces(**kwargs))
        return self._known[1].copy()

    def _state(self) -> bytes:
        return bytes(self.atoms.positions.tobytes() + self.atoms.cell.array.tobytes())

    def _forces(self, **kwargs: Any) -> _Array:  # noqa: ANN401 - ASE's
        stress = self.atoms.get_stress(voigt=False, **kwargs)
        deformation = self.deform_grad()  # type: ignore[no-untyped-call]
        virial = -self.atoms.get_volume() * stress
        self.stress = full_3x3_to_voigt_6_stress(stress)  # what ASE's convergence looks at
        slope = virial @ np.linalg.inv(deformation.T)
        strain = logm(deformation)
        on_strain = expm_frechet(strain.T, slope, compute_expm=False)
        return np.vstack(
            [self.atoms.get_forces(**kwargs) @ deformation, on_strain / self.exp_cell_factor]
        )
