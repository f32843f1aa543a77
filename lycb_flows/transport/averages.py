"""Averages of correlated frames: errors from blocks, and how averages change with temperature.

Frames of a run are correlated. The error of a mean comes from blocks: the run is cut into a
few stretches that are long compared with the correlation time, and the scatter of their means
gives the error (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461 (1989)).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lycb_flows.errors import InputError

Array = NDArray[np.floating[Any]]

MIN_TEMPERATURES = 2
"""A line through averages needs at least so many temperatures."""


def block_error(values: ArrayLike, n_blocks: int) -> Array:
    """Return the standard error of the mean of a correlated series.

    Parameters
    ----------
    values
        Shape (n, ...), in the order of time.
    n_blocks
        Number of stretches of equal length; a remainder at the start is left out of the error.

    Returns
    -------
    ndarray
        Shape (...), an error for each series.

    Raises
    ------
    InputError
        When there are fewer values than blocks, or fewer than two blocks.
    """
    series = np.asarray(values, dtype=float)
    length = len(series) // max(n_blocks, 1)
    if n_blocks < 2 or not length:  # noqa: PLR2004 - a scatter needs two
        raise InputError(
            "too few values for an error from blocks",
            fix="give at least two blocks, and a value for each",
            values=len(series),
            blocks=n_blocks,
        )
    blocks = series[-n_blocks * length :].reshape(n_blocks, length, *series.shape[1:])
    return np.asarray(blocks.mean(axis=1).std(axis=0, ddof=1) / np.sqrt(n_blocks))


@dataclass(frozen=True)
class RelativeSlope:
    """The slope of averages against temperature over their value, d ln y / dT, in 1/K.

    Attributes
    ----------
    per_k, per_k_err
        At the mean temperature of the line, with its standard error.
    chi2
        Sum of squared deviations from the line in units of the errors of the averages.
    """

    per_k: float
    per_k_err: float
    chi2: float


def relative_slope(
    temperatures_k: ArrayLike, values: ArrayLike, errors: ArrayLike
) -> RelativeSlope:
    """Return the relative slope of averages against temperature, with its error.

    Each average counts by its inverse variance. Where the averages scatter more about the line than
    their errors allow (the line is not straight, or a run did not forget its start), the error
    grows by the square root of chi² per degree of freedom, as the Particle Data Group scales
    errors (Phys. Rev. D 110, 030001 (2024), section 5.2.2).

    Parameters
    ----------
    temperatures_k
        Shape (n,), at least two different ones.
    values, errors
        Averages and their standard errors, (n,), errors above zero.

    Raises
    ------
    InputError
        When the temperatures are too few or an error is not above zero.
    """
    t, y, sigma = (np.asarray(x, dtype=float) for x in (temperatures_k, values, errors))
    if len(np.unique(t)) < MIN_TEMPERATURES or not (sigma > 0).all():
        raise InputError(
            "no line through these averages",
            fix=f"give {MIN_TEMPERATURES} temperatures or more, and errors above zero",
            temperatures=len(np.unique(t)),
        )
    weights = 1 / sigma**2
    mean_t = float(np.average(t, weights=weights))
    middle = float(np.average(y, weights=weights))
    lever = float(weights @ (t - mean_t) ** 2)
    slope = float(weights @ ((t - mean_t) * (y - middle))) / lever
    chi2 = float(weights @ (y - middle - slope * (t - mean_t)) ** 2)
    freedom = len(t) - MIN_TEMPERATURES
    scale = np.sqrt(max(1.0, chi2 / freedom)) if freedom else 1.0
    return RelativeSlope(slope / middle, float(scale / np.sqrt(lever)) / abs(middle), chi2)
