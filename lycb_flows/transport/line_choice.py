"""Choice between one Arrhenius line and two that meet, by their likelihoods.

| equation                                            | code           |
|-----------------------------------------------------|----------------|
| weight of two lines = 1 / (1 + exp((8 - gain) / 2)) | `choose_lines` |
| p = P(χ²(runs - parameters) > deviance)             | `chance`       |

The gain is the decrease of the deviance from one line to two. Where p < 0.01 of the chosen one, for
its deviance or for the lack of fit of the temperatures, which replicas that agree would hide, the
runs scatter beyond their errors: all errors are widened by √φ (`lines.py`), and the choice is made
again, with a gain that is smaller by φ (as by QAIC: Burnham and Anderson, Model Selection and
Multimodel Inference, 2nd ed. 2002, section 2.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from scipy.special import gammaincc, ndtr

from lycb_flows.transport.lines import Counts, Model, line, quantiles, two_lines
from lycb_flows.units import BOLTZMANN_EV_PER_K

REGIME_GAIN = 8.0
"""2 ln L that a second line must gain; 2 % of fits to straight data gain more."""
MIN_P_VALUE = 0.01
"""Below, the runs do not lie on the fit."""
ONE_SIGMA = (float(ndtr(-1.0)), float(ndtr(1.0)))
_NEGLIGIBLE = 1e-3

Covariance = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Choice:
    """The fitted models and their weights.

    Attributes
    ----------
    models
        One line and two lines, the chosen one first; without a model of negligible weight.
    weights
        Weight of each model, with sum 1.
    gain
        2 ln L that the second line gains, over the dispersion; None where two were not fitted.
    """

    models: tuple[Model, ...]
    weights: tuple[float, ...]
    gain: float | None

    @property
    def model(self) -> Model:
        """The chosen model."""
        return self.models[0]


def choose_lines(counts: Counts, temperature_k: float) -> Choice:
    """Fit one line and two lines to ln D, and choose between them.

    Parameters
    ----------
    counts
        The runs.
    temperature_k
        Temperature in K for which ln D is wanted.
    """
    wanted_per_ev = 1 / (BOLTZMANN_EV_PER_K * temperature_k)
    single, double = line(counts, wanted_per_ev), two_lines(counts, wanted_per_ev)
    if double is None:
        return Choice((single,), (1.0,), None)
    gain = max(single.deviance - double.deviance, 0.0)
    share = float(1 / (1 + np.exp((REGIME_GAIN - gain) / 2)))
    pairs = [(single, 1 - share), (double, share)]
    if gain > REGIME_GAIN:
        pairs.reverse()
    models, weights = zip(*[pair for pair in pairs if pair[1] > _NEGLIGIBLE], strict=True)
    return Choice(models, tuple(weight / sum(weights) for weight in weights), gain)


def settled_choice(counts: Counts, temperature_k: float) -> Choice:
    """Choose between one line and two, with the dispersion of the runs about what was rejected.

    The runs with that dispersion are the counts of the chosen model. Where one line is chosen after
    two were rejected, it is the dispersion about two, as by QAIC.

    Parameters
    ----------
    counts
        The runs with their own errors.
    temperature_k
        Temperature in K for which ln D is wanted.
    """
    while True:
        choice = choose_lines(counts, temperature_k)
        model = choice.model
        chances = [chance(model.deviance, model.degrees_of_freedom), chance(*model.lack_of_fit())]
        if not any(each is not None and each < MIN_P_VALUE for each in chances):
            return choice
        counts = replace(counts, dispersion=counts.dispersion * model.dispersion())


def chance(deviance: float, n_free: int) -> float | None:
    """Return the probability of a larger deviance; None without degrees of freedom."""
    return float(gammaincc(n_free / 2, deviance / 2)) if n_free > 0 else None


def goodness(choice: Choice) -> dict[str, Any]:
    """Return how well the chosen model fits, as fields of an Arrhenius fit.

    Deviance, lack of fit and their p are those of the runs' own errors.
    """
    model = choice.model
    dispersion, n_free = model.counts.dispersion, model.degrees_of_freedom
    lack_of_fit, n_lacking = model.lack_of_fit()
    return {
        "event_m2_per_s": float(np.median(model.counts.events_m2_per_s)),
        "relative_scatter": model.counts.scatter,
        "dispersion": dispersion,
        "deviance": model.deviance * dispersion,
        "degrees_of_freedom": n_free,
        "p_value": chance(model.deviance * dispersion, n_free),
        "lack_of_fit": lack_of_fit * dispersion,
        "lack_of_fit_degrees_of_freedom": n_lacking,
        "lack_of_fit_p_value": chance(lack_of_fit * dispersion, n_lacking),
        "n_regimes": model.n_lines,
        "regime_gain": choice.gain,
    }


def barriers(choice: Choice) -> dict[str, Any]:
    """Return the barriers and the prefactor, as fields of an Arrhenius fit.

    Of two lines, the prefactor is that of the colder one; it has no error.
    """
    model = choice.model
    if model.n_lines == 1:
        return _single_barrier(model)
    log_d, cold_ev, hot_ev = map(float, model.most_likely)
    wanted_per_ev = model.wanted_per_ev
    crossing_per_ev = float(model.crossings_per_ev[model.best])
    interval_per_ev = model.crossings_per_ev[model.deviances <= model.deviance + 1]
    log_prefactor = log_d + cold_ev * max(wanted_per_ev, crossing_per_ev)
    log_prefactor += hot_ev * min(wanted_per_ev - crossing_per_ev, 0)
    cold_err_ev, hot_err_ev = (_half_width(model, column) for column in (1, 2))
    return {
        "activation_energy_ev": cold_ev,
        "activation_energy_err_ev": cold_err_ev,
        "hot_activation_energy_ev": hot_ev,
        "hot_activation_energy_err_ev": hot_err_ev,
        "log_prefactor": log_prefactor,
        "crossover_temperature_k": 1 / (BOLTZMANN_EV_PER_K * crossing_per_ev),
        "crossover_low_k": 1 / (BOLTZMANN_EV_PER_K * float(interval_per_ev.max())),
        "crossover_high_k": 1 / (BOLTZMANN_EV_PER_K * float(interval_per_ev.min())),
    }


def _single_barrier(model: Model) -> dict[str, Any]:
    to_prefactor = np.array([[1.0, model.wanted_per_ev], [0.0, 1.0]])  # ln D0 = ln D + E_A b
    log_prefactor, barrier_ev = to_prefactor @ model.most_likely
    covariance = to_prefactor @ model.covariances()[0] @ to_prefactor.T
    return {
        "activation_energy_ev": float(barrier_ev),
        "activation_energy_err_ev": float(np.sqrt(covariance[1, 1])),
        "log_prefactor": float(log_prefactor),
        "log_prefactor_err": float(np.sqrt(covariance[0, 0])),
        "covariance": cast("Covariance", tuple(map(tuple, covariance.tolist()))),
    }


def _half_width(model: Model, column: int) -> float:
    low, high = quantiles([model], [1.0], column, ONE_SIGMA)
    return (high - low) / 2
