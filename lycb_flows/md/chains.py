"""Nosé-Hoover chains of three: half a step of each, on numbers alone.

Momenta enter through their kinetic energy and leave through one factor. The masses are
N k_B T τ^2, k_B T τ^2 and k_B T τ^2 for N degrees of freedom; order of the factors and weights
(Suzuki and Yoshida's fourth order) are ASE's (arXiv 2603.24061).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Number = TypeVar("Number", float, FloatArray)

CHAIN_LENGTH = 3
_EDGE = 1 / (2 - 2 ** (1 / 3))
SUZUKI_YOSHIDA = (_EDGE, 1 - 2 * _EDGE, _EDGE)
_FEW = 4


def advance_chains(
    rates: FloatArray,
    kinetic: FloatArray,
    degrees: FloatArray,
    periods: FloatArray,
    times: Sequence[FloatArray],
) -> tuple[FloatArray, FloatArray]:
    """Half a step of all chains: two per replica, the particles' and the cell's.

    Parameters
    ----------
    rates
        v_0, v_1, v_2 of each, shape (m, 2, 3); changed in place.
    kinetic
        Twice the kinetic energy over N k_B T, shape (m, 2).
    degrees
        N, shape (m, 2).
    periods
        τ, shape (m, 2).
    times
        Half a step by Suzuki and Yoshida's weights, shape (m, 2) each; a chain of time 0 rests.

    Returns
    -------
    tuple
        The factors on the momenta and the heats taken up over k_B T, both (m, 2).
    """
    advance = _advance_one_by_one if len(rates) <= _FEW else _advance_together
    return advance(rates, kinetic, degrees, periods, times)


def _advance_together(
    rates: FloatArray,
    kinetic: FloatArray,
    degrees: FloatArray,
    periods: FloatArray,
    times: Sequence[FloatArray],
) -> tuple[FloatArray, FloatArray]:
    state = (rates[:, :, 0], rates[:, :, 1], rates[:, :, 2])
    *moved, scales, turns = _advance_chain(state, kinetic, degrees, 1 / periods**2, times, np.exp)
    rates[:] = np.stack(moved, axis=2)
    return scales, turns


def _advance_one_by_one(
    rates: FloatArray,
    kinetic: FloatArray,
    degrees: FloatArray,
    periods: FloatArray,
    times: Sequence[FloatArray],
) -> tuple[FloatArray, FloatArray]:
    # Python's floats are faster than arrays of a few numbers
    scales, turns = np.ones_like(kinetic), np.zeros_like(kinetic)
    for i in zip(*times[0].nonzero(), strict=True):
        try:
            *moved, scale, turn = _advance_chain(
                rates[i].tolist(),
                kinetic.item(i),
                degrees.item(i),
                periods.item(i) ** -2,
                [time.item(i) for time in times],
                math.exp,
            )
        except OverflowError:  # the replica has exploded; health sees that it is no number
            moved, scale, turn = [np.nan] * CHAIN_LENGTH, np.nan, np.nan
        rates[i], scales[i], turns[i] = moved, scale, turn
    return scales, turns


def _advance_chain(
    rates: Sequence[Number],
    kinetic: Number,
    degrees: Number,
    squares: Number,
    times: Sequence[Number],
    exp: Callable[[Number], Number],
) -> tuple[Number, ...]:
    """Half a step of a chain, on floats or on arrays of chains.

    Parameters
    ----------
    rates
        v_0, v_1, v_2.
    kinetic
        Twice the kinetic energy over N k_B T.
    squares
        1 / τ^2.
    times
        Half a step, by Suzuki and Yoshida's weights.

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
