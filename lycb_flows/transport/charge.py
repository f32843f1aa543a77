"""The collective diffusivity of the mobile ions, and the Haven ratio.

The conductivity follows from the mean squared displacement of the ions' sum, not from that of each:
D_c = lim <(Σ_i Δx_i)²> / (6 N t), σ = N z² e² D_c / (V k_B T), and the Haven ratio is
H = D / D_c with the tracer's D (Murch, Solid State Ionics 7, 177 (1982); Marcolongo and Marzari,
Phys. Rev. Mater. 1, 025402 (2017)). Independent ions have H = 1, ions that jump in strings of K
H = 1 / K. Displacements are those relative to the framework: the mobile ions then carry the whole
current of a neutral crystal, in whatever frame its atoms were followed.

There is one sum where there are N ions, so D_c is N times less certain than D in its variance, and
its MSD at long lags is one random walk. Its mode powers use every mode in which motion is
diffusive: each is an independent estimate of D_c with as many degrees of freedom as the
displacement has directions, and the powers follow the same sum of spectra as those of the tracer,
of which the many ions tell the relaxation times.

| equation                                                     | code               |
|--------------------------------------------------------------|--------------------|
| P_k / S_k ~ χ²(d) / d, S_k = D_c + Σ_j a_j R_k(τ_j) + c V_k  | `likelihood.py`    |
| d = (tr D)² / tr D²                                          | `_directions`      |
| ln D_c = Σ_k a_k ln P_k, ln D = Σ_k b_k ln P_k (tracer)      | `_shares`          |
| var ln H = Σ_k (2 a_k² / d + 2 b_k (b_k - 2 a_k) / ν_k) / m_k | `_ratio_error`    |
| var ln D_c = var ln H + var ln D                             | `estimate_charge`  |

with m_k modes in a bin and ν_k the degrees of freedom of the tracer's powers. P_c is P_tracer and
the cross terms of pairs of ions, which are not correlated with it: hence the covariance 2 / ν_k.
Events that are few make both powers uncertain alike, and not their ratio.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm

from lycb_flows.config import CONFIDENCE, DiffusionConfig
from lycb_flows.schemas import ChargeEstimate, DiffusionEstimate
from lycb_flows.transport.diffusion import Walk
from lycb_flows.transport.fits import Fit, Powers
from lycb_flows.transport.likelihood import Likelihood, profile
from lycb_flows.transport.msd import subtract_drift
from lycb_flows.transport.regimes import ZERO_LIMIT, Motion
from lycb_flows.transport.spectrum import Array, Spectrum
from lycb_flows.units import ANG2_PER_PS_M2_PER_S


def analyse_charge(
    positions_ang: ArrayLike,
    frame_interval_ps: float,
    mobile_mask: ArrayLike,
    tracer: DiffusionEstimate,
    config: DiffusionConfig,
) -> ChargeEstimate:
    """Return the collective diffusivity and the Haven ratio of a trajectory.

    Parameters
    ----------
    positions_ang
        Unwrapped positions of all atoms, (n_frames, n_atoms, 3) in Å.
    frame_interval_ps
        Time between frames.
    mobile_mask
        True for mobile ions, (n_atoms,); the others are the framework.
    tracer
        What `analyse_diffusion` found in the same trajectory, by the same settings.
    config
        How much is discarded, the length of a hop, and the confidence of intervals.
    """
    if tracer.regime != "diffusive":
        return _not_diffusive(tracer)
    mobile = np.asarray(mobile_mask, dtype=bool)
    discarded = round(config.discard_ps / frame_interval_ps)
    positions = np.asarray(positions_ang, dtype=float)[discarded:]
    walkers = subtract_drift(positions, ~mobile)[:, mobile]
    walk = Walk(walkers, frame_interval_ps, config.site_distance_ang)
    return charge_of_walk(walk, tracer, config.confidence)


def charge_of_walk(walk: Walk, tracer: DiffusionEstimate, confidence: float) -> ChargeEstimate:
    """Return the collective diffusivity and the Haven ratio of a walk.

    Parameters
    ----------
    walk
        The mobile ions; what is known of their modes is not computed again.
    tracer
        The D of single ions.
    confidence
        Confidence of the intervals.
    """
    if tracer.regime != "diffusive":
        return _not_diffusive(tracer)
    motion, spectrum = walk.motion
    return estimate_charge(spectrum, motion, tracer, confidence)


def estimate_charge(
    spectrum: Spectrum, motion: Motion, tracer: DiffusionEstimate, confidence: float = CONFIDENCE
) -> ChargeEstimate:
    """Return the collective diffusivity and the Haven ratio from mode powers.

    Parameters
    ----------
    spectrum
        Powers of the tracer and of the sum of all ions.
    motion
        The motion of single ions, whose terms the powers of the sum have as well.
    tracer
        The D of single ions, diffusive.
    confidence
        Confidence of the intervals.
    """
    found, found_err = tracer.diffusivity_m2_per_s, tracer.diffusivity_log_err
    if found is None or found_err is None:
        return _unresolved("the D of single ions is not known")
    n_directions = _directions(spectrum, motion)
    values = spectrum.collective_powers
    powers = Powers(spectrum.modes, values, np.full(len(values), n_directions))
    fit = powers.best(motion.final[0].terms[None])[0]
    likelihood = profile(powers, [[fit]])
    if likelihood.trial[0] <= 0 and likelihood.deviance[0] < ZERO_LIMIT:
        return _unresolved("a collective diffusivity of zero is not excluded")
    charge = likelihood.diffusivity * float(ANG2_PER_PS_M2_PER_S)
    log_err = _log_error(likelihood)
    ratio_err = log_err * _ratio_error(motion, powers, fit)
    charge_err = float(np.hypot(ratio_err, found_err))
    reach, charge_reach = np.exp(norm.ppf(0.5 + confidence / 2) * np.array([ratio_err, charge_err]))
    ratio = found / charge
    return ChargeEstimate(
        resolved=True,
        diffusivity_m2_per_s=charge,
        diffusivity_log_err=charge_err,
        diffusivity_low_m2_per_s=float(charge / charge_reach),
        diffusivity_high_m2_per_s=float(charge * charge_reach),
        haven_ratio=ratio,
        haven_ratio_log_err=ratio_err,
        haven_ratio_low=float(ratio / reach),
        haven_ratio_high=float(ratio * reach),
        confidence=confidence,
        n_modes=2 / (n_directions * log_err**2),
    )


def _not_diffusive(tracer: DiffusionEstimate) -> ChargeEstimate:
    return _unresolved(f"the regime of single ions is {tracer.regime}, not diffusive")


def _unresolved(reason: str) -> ChargeEstimate:
    return ChargeEstimate(resolved=False, reason=reason)


def _directions(spectrum: Spectrum, motion: Motion) -> float:
    """Return the number of directions of motion, 1 along a line to 3, from the tracer's tensor.

    Modes count as they do in the fit of D: by the inverse square of their expected power.
    """
    weights = spectrum.modes.counts / motion.final[0].spectrum ** 2
    tensor = np.average(spectrum.tracer, axis=0, weights=weights)
    return float(np.trace(tensor) ** 2 / np.sum(tensor**2))


def _ratio_error(motion: Motion, powers: Powers, fit: Fit) -> float:
    """Return the standard error of ln H over that of ln D_c from the modes alone.

    Parameters
    ----------
    motion
        The motion of single ions.
    powers
        The collective powers.
    fit
        Their most likely fit.
    """
    collective = _shares(fit, powers.weights)
    single = _shares(motion.final[0], motion.powers.weights)
    shared = np.sum(single * (single - 2 * collective) / motion.powers.weights)
    return float(np.sqrt(max(0.0, 1 + shared / np.sum(collective**2 / powers.weights))))


def _shares(fit: Fit, weights: Array) -> Array:
    """Return the relative change of D for a relative change of the power of every bin.

    At the maximum of the likelihood D is a weighted least-squares fit of the powers.

    Parameters
    ----------
    fit
        The most likely fit; D is its first term.
    weights
        The weights of the bins in ln L.
    """
    active = fit.strengths > 0
    active[0] = True
    scale = fit.terms[active].mean(axis=1, keepdims=True)
    terms = fit.terms[active] / scale
    weighted = terms * (weights / fit.spectrum**2)
    per_power = np.linalg.solve(weighted @ terms.T, weighted) / scale
    return np.asarray(per_power[0] * fit.spectrum / fit.strengths[0])


def _log_error(likelihood: Likelihood) -> float:
    """Return the standard error of ln D: half the distance of the ends with 2 ln L less by 1."""
    d, sigma = likelihood.diffusivity, likelihood.error
    below, above = likelihood.trial < d, likelihood.trial > d
    distance = np.sqrt(likelihood.deviance)  # nearly linear in D
    high = np.interp(1.0, [0.0, *distance[above]], [d, *likelihood.trial[above]])
    low = np.interp(1.0, [0.0, *distance[below][::-1]], [d, *likelihood.trial[below][::-1]])
    return float(np.log(high / low) / 2) if low > 0 else float(sigma / d)
