"""The likelihood of D: a profile over the fits of the powers, and the number of events.

Hops are events, and how many there were is the same for all modes: it is no part of the scatter of
the powers. The number of events of a D is like a Poisson number, of mean D / ε, ε the D of one
event (`events.py`). With x the D of the events that there were, the deviance of D is

    min over x of  G(x) + (2/ε) (D - x + x ln(x/D))

G the profile deviance of the powers (`fits.py`) and the second term Poisson's. Where x is zero it
is 2 D / ε.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from lycb_flows.transport.fits import Fit, Powers, maximise, standard_error
from lycb_flows.transport.spectrum import Array

_WIDTH = 4.0
_N_PROFILE = 33
_N_GRID = 1200


@dataclass(frozen=True)
class Likelihood:
    """The profile likelihood of D from the powers alone: how many events there were is known.

    Attributes
    ----------
    diffusivity
        The most likely D, in Å²/ps as all of this class.
    error
        Its standard error.
    trial, deviance
        D and 2 (ln L_max - ln L) with all else free, shape (n_trials,).
    """

    diffusivity: float
    error: float
    trial: Array
    deviance: Array


def profile(
    powers: Powers, models: list[list[Fit]], doubtful: list[Fit] | None = None
) -> Likelihood:
    """Return the profile likelihood of D over several sets of terms.

    A relaxation costs what it must gain, so that the profile is continuous where the data hardly
    say whether it is there, and the choice of terms is part of the error. The standard error is
    half the width at which the deviance is 1.

    Parameters
    ----------
    powers
        The powers.
    models
        For every set of terms, fits with the most likely relaxation times, the best first.
    doubtful
        Fits of another set of terms, whose best counts as much as the best of the others: D is not
        taken from them, but their D are no less likely.
    """
    best = min((fits[0] for fits in models), key=lambda fit: fit.cost)
    near = [fits for fits in models if 2 * (fits[0].cost - best.cost) < _WIDTH**2 / 2]
    alike = [] if doubtful is None else [doubtful]
    ends = []
    for fits in [*near, *alike]:
        reach = _WIDTH * standard_error(fits[0], powers.weights)
        ends += [fits[0].strengths[0] - reach, fits[0].strengths[0] + reach]
    trial = np.unique(np.maximum(np.linspace(min(ends), max(ends), _N_PROFILE), 0.0))
    found = [_profile(powers, fits, trial) + fits[0].cost - fits[0].loss for fits in near]
    found += [_profile(powers, fits, trial) + best.cost - fits[0].loss for fits in alike]
    deviance = np.maximum(2 * (np.min(found, axis=0) - best.cost), 0.0)
    diffusivity = float(best.strengths[0])
    return Likelihood(diffusivity, _half_width(diffusivity, trial, deviance), trial, deviance)


def _profile(powers: Powers, fits: list[Fit], trial: Array) -> Array:
    """Return the losses at every trial D, over the terms of all fits."""
    others = np.array([fit.terms[1:] for fit in fits])
    sets = np.tile(others, (len(trial), 1, 1))
    offsets = np.repeat(trial, len(others))[:, None]
    losses, _ = maximise(powers.values, powers.weights, sets, offsets)
    return np.asarray(losses.reshape(len(trial), -1).min(axis=1))


def _half_width(diffusivity: float, trial: Array, deviance: Array) -> float:
    fine = np.linspace(trial[0], trial[-1], 20 * len(trial))
    inside = fine[np.interp(fine, trial, np.sqrt(deviance)) < 1]
    if diffusivity <= 0 or not len(inside):
        return float(np.max(inside, initial=trial[1] if len(trial) > 1 else 0.0))
    return float(inside[-1] - inside[0]) / 2


@dataclass(frozen=True)
class Interval:
    """What is known of D when the number of events is uncertain as well; in Å²/ps."""

    error: float
    low: float
    high: float
    upper: float


def interval(likelihood: Likelihood, event: float, confidence: float) -> Interval:
    """Return the standard error, the interval, and the upper bound of D.

    The interval is where the deviance is below the quantile of chi-squared. The bound is the
    quantile of the likelihood itself, normalised over D >= 0: Poisson's own bound where no event
    was seen (Helene, Nucl. Instrum. Methods 212, 319 (1983)).

    Parameters
    ----------
    likelihood
        Of the powers.
    event
        The D of one event, ε, in Å²/ps.
    confidence
        Of the interval (two-sided) and of the bound (one-sided).
    """
    d, sigma = likelihood.diffusivity, likelihood.error
    reach = max(3 * d, d + 6 * sigma, 8 * event)
    grid = np.linspace(0, reach, _N_GRID + 1)[1:]
    seen = np.linspace(max(d - _WIDTH * sigma, 0), d + _WIDTH * sigma, _N_GRID // 6)
    gauss = np.interp(seen, likelihood.trial, likelihood.deviance)[:, None]
    x = np.maximum(seen, 1e-300)[:, None]
    deviance = np.min(gauss + 2 / event * (grid - x + x * np.log(x / grid)), axis=0)
    deviance -= deviance.min()
    inside = grid[deviance <= chi2.ppf(confidence, 1)]
    density = np.cumsum(np.exp(-deviance / 2))
    upper = grid[np.searchsorted(density, confidence * density[-1])]
    error = float(np.hypot(sigma, np.sqrt(event * d)))
    return Interval(error, float(inside[0]), float(inside[-1]), float(upper))
