"""Nosé-Hoover chains of three: half a step of each, on numbers alone.

Momenta enter through their kinetic energy and leave through one factor. The masses are
N k_B T τ^2, k_B T τ^2 and k_B T τ^2 for N degrees of freedom; order of the factors and weights
(Suzuki and Yoshida's fourth order) are ASE's (arXiv 2603.24061).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Number = TypeVar("Number", float, FloatArray)

CHAIN_LENGTH = 3
_EDGE = 1 / (2 - 2 ** (1 / 3))
_SUZUKI_YOSHIDA = (_EDGE, 1 - 2 * _EDGE, _EDGE)
_FEW = 4


class Chains:
    """Two chains for each of m replicas: the particles' and the cell's.

    Parameters
    ----------
    rates
        v_0, v_1, v_2 of each, shape (m, 2, 3).
    degrees
        N, shape (m, 2).
    periods
        τ, shape (m, 2), in the time unit of the rates.
    """

    def __init__(self, rates: FloatArray, degrees: FloatArray, periods: FloatArray) -> None:
        self.rates, self.degrees = rates, degrees
        self.squares = 1 / periods**2
        self.set_times(np.zeros_like(degrees))

    def set_times(self, times: FloatArray) -> None:
        """Set half a time step of each chain, shape (m, 2); a chain of time 0 rests."""
        self._times = [weight * times for weight in _SUZUKI_YOSHIDA]
        self._moving = [
            (
                (int(i), int(j)),
                float(self.degrees[i, j]),
                float(self.squares[i, j]),
                [float(time[i, j]) for time in self._times],
            )
            for i, j in np.argwhere(times)
        ]

    def advance(self, kinetic: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Advance all chains by half a step.

        Parameters
        ----------
        kinetic
            Twice the kinetic energy over N k_B T, shape (m, 2).

        Returns
        -------
        tuple
            The factors on the momenta and the heats taken up over k_B T, both (m, 2).
        """
        few = len(self.rates) <= _FEW
        return self._advance_one_by_one(kinetic) if few else self._advance_together(kinetic)

    def twice_kinetic(self) -> FloatArray:
        """Return twice the kinetic energy of the chains themselves over k_B T, shape (m, 2)."""
        squares = self.rates**2
        summed: FloatArray = self.degrees * squares[:, :, 0] + squares[:, :, 1] + squares[:, :, 2]
        return summed / self.squares

    def _advance_together(self, kinetic: FloatArray) -> tuple[FloatArray, FloatArray]:
        *rates, scales, turns = _advance_chain(
            np.moveaxis(self.rates, 2, 0), kinetic, self.degrees, self.squares, self._times, np.exp
        )
        self.rates = np.stack(rates, axis=2)
        return scales, turns

    def _advance_one_by_one(self, kinetic: FloatArray) -> tuple[FloatArray, FloatArray]:
        # Python's floats are faster than arrays of a few numbers
        scales, turns = np.ones_like(kinetic), np.zeros_like(kinetic)
        for i, degrees, squares, times in self._moving:
            try:
                *rates, scale, turn = _advance_chain(
                    self.rates[i].tolist(), kinetic.item(i), degrees, squares, times, math.exp
                )
            except OverflowError:  # the replica has exploded; health sees that it is no number
                rates, scale, turn = [np.nan] * CHAIN_LENGTH, np.nan, np.nan
            self.rates[i], scales[i], turns[i] = rates, scale, turn
        return scales, turns


def _advance_chain(
    rates: Iterable[Number],
    kinetic: Number,
    degrees: Number,
    squares: Number,
    times: Sequence[Number],
    exp: Callable[[Number], Number],
) -> tuple[Number, ...]:
    """Advance a chain by half a step, on floats or on arrays of chains.

    Parameters
    ----------
    rates
        v_0, v_1, v_2.
    kinetic
        Twice the kinetic energy over N k_B T.
    degrees
        N.
    squares
        1 / τ^2.
    times
        Half a step, by Suzuki and Yoshida's weights.
    exp
        The exponential for this type of number.

    Returns
    -------
    tuple
        v_0, v_1, v_2, the factor on the momenta, the heat taken up over k_B T.
    """
    v0, v1, v2 = rates
    scales, turns = kinetic * 0 + 1, kinetic * 0
    for time in times:
        half, quarter = time / 2, time / -4
        v2 = v2 + half * (v1 * v1 - squares)
        brake = exp(quarter * v2)
        v1 = (v1 * brake + half * (degrees * v0 * v0 - squares)) * brake
        brake = exp(quarter * v1)
        v0 = (v0 * brake + half * (kinetic - 1) * squares) * brake
        turns = turns + time * (degrees * v0 + v1 + v2)
        scale = exp(-time * v0)
        kinetic = kinetic * (scale * scale)
        scales = scales * scale
        v0 = (v0 * brake + half * (kinetic - 1) * squares) * brake
        brake = exp(quarter * v2)
        v1 = (v1 * brake + half * (degrees * v0 * v0 - squares)) * brake
        v2 = v2 + half * (v1 * v1 - squares)
    return v0, v1, v2, scales, turns
