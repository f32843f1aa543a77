"""Evaluators: the same crystals again and again as they move, for MD and relaxation.

>>> evaluate = potential.evaluator([atoms.numbers for atoms in crystals])
>>> now = evaluate(positions_ang, cells_ang)
>>> now.forces_ev_per_ang

The crystals lie side by side: positions (n, 3) of all atoms, crystal after crystal, and one
cell (3, 3) each. An evaluator may keep what helps it the next time (a neighbour list with a
skin); what it returns depends on positions and cells alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import NDArray
from torch import Tensor

from lycb_flows.errors import InputError, PhysicsError

Numbers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class SinglePoint:
    """Energy, forces and stress of one structure, predicted or labelled.

    Attributes
    ----------
    energy_ev
        Total energy.
    forces_ev_per_ang
        Shape (n_atoms, 3).
    stress_gpa
        Shape (3, 3); tension positive, ASE's sign.
    """

    energy_ev: float
    forces_ev_per_ang: NDArray[np.float64]
    stress_gpa: NDArray[np.float64]


@dataclass(frozen=True)
class BatchPrediction:
    """Energies, forces and stresses of m crystals with n atoms altogether; all float64.

    A crystal that the potential cannot describe has NaN throughout, without effect on the others.

    Attributes
    ----------
    energies_ev
        Total energies, shape (m,).
    forces_ev_per_ang
        Shape (n, 3).
    stresses_gpa
        Shape (m, 3, 3); tension positive.
    """

    energies_ev: Tensor
    forces_ev_per_ang: Tensor
    stresses_gpa: Tensor

    def predictions(self, sizes: Sequence[int]) -> list[SinglePoint]:
        """Return one prediction per crystal of so many atoms.

        Raises
        ------
        PhysicsError
            When one is not finite.
        """
        energies = self.energies_ev.tolist()
        forces = [part.numpy() for part in self.forces_ev_per_ang.cpu().split(list(sizes))]
        stresses = self.stresses_gpa.cpu().numpy()
        predictions = list(map(SinglePoint, energies, forces, stresses))
        for point in predictions:
            values = (point.energy_ev, point.forces_ev_per_ang, point.stress_gpa)
            if not all(np.isfinite(value).all() for value in values):
                raise PhysicsError(
                    "the potential's prediction is not finite",
                    fix="look for overlapping atoms, or a run that has exploded",
                )
        return predictions


class Evaluator(Protocol):
    """Evaluates a fixed list of crystals."""

    def __call__(self, positions_ang: Tensor, cells_ang: Tensor) -> BatchPrediction:
        """Return energies, forces and stresses at these positions.

        Parameters
        ----------
        positions_ang
            Shape (n, 3), float64; not wrapped, all crystals side by side.
        cells_ang
            Shape (m, 3, 3), float64; rows a, b, c.
        """


class HasEvaluator(Protocol):
    """The part of a potential that MD and relaxation need."""

    def evaluator(self, numbers: Sequence[Numbers]) -> Evaluator:
        """Return an evaluator of some crystals, to be called again and again as they move.

        Parameters
        ----------
        numbers
            Atomic numbers of each crystal, one array each.
        """


def require_known(numbers: Numbers, known: Collection[int]) -> None:
    """Refuse atoms of elements that a model does not know.

    Parameters
    ----------
    numbers
        Atomic numbers.
    known
        Those that the model knows.

    Raises
    ------
    InputError
        When there are others.
    """
    unknown = [number for number in np.unique(numbers).tolist() if number not in known]
    if unknown:
        raise InputError(
            "this model does not know an element",
            fix="use another model",
            found=" ".join(chemical_symbols[number] for number in unknown),
        )


def lost_crystals(
    positions_ang: NDArray[np.float64], cells_ang: NDArray[np.float64], owners: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which crystals have no volume, or positions or a cell that are not finite, shape (m,).

    Parameters
    ----------
    positions_ang
        Shape (n, 3).
    cells_ang
        Shape (m, 3, 3).
    owners
        The crystal of each atom, shape (n,).
    """
    finite = np.asarray(np.isfinite(cells_ang).all(axis=(1, 2)))
    with np.errstate(all="ignore"):
        volumes = np.linalg.det(np.where(finite[:, None, None], cells_ang, 0))
    lost: NDArray[np.bool_] = np.asarray((volumes == 0) | ~np.isfinite(volumes))
    lost[owners[~np.isfinite(positions_ang).all(axis=1)]] = True
    return lost


def mark_lost(
    evaluation: BatchPrediction, lost: NDArray[np.bool_], owners: NDArray[np.int64]
) -> BatchPrediction:
    """Return the evaluation with NaN for some crystals.

    Parameters
    ----------
    evaluation
        Energies, forces and stresses of m crystals with n atoms.
    lost
        Which crystals get NaN, shape (m,).
    owners
        The crystal of each atom, shape (n,).
    """
    if lost.any():
        evaluation.energies_ev[lost] = torch.nan
        evaluation.stresses_gpa[lost] = torch.nan
        evaluation.forces_ev_per_ang[lost[owners]] = torch.nan
    return evaluation
