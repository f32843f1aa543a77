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

| equation                                                     | code                  |
|--------------------------------------------------------------|-----------------------|
| P_k / S_k ~ χ²(d) / d, S_k = D_c + Σ_j a_j R_k(τ_j) + c V_k  | `_Powers`             |
| d = (tr D)² / tr D²                                          | `_directions`         |
| var ln H = var ln D_c (modes) (1 - 1 / N)                    | `estimate_charge`     |
| var ln D_c = var ln H + var ln D                             | likewise              |

The last two: P_c is P_tracer and the cross terms of pairs of ions, which are not correlated with
it. Events that are few make both powers uncertain alike, and not their ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, nnls
from scipy.stats import norm

from lycb_flows.config import DiffusionConfig
from lycb_flows.schemas import ChargeEstimate, DiffusionEstimate
from lycb_flows.transport.msd import subtract_drift
from lycb_flows.transport.spectrum import Spectrum, cage_powers, mode_powers, vibration_powers
from lycb_flows.units import ANG2_PER_PS_M2_PER_S

Array = NDArray[np.floating[Any]]

ZERO_EXCLUDED = 6.6
"""Gain of 2 ln L over D_c = 0 below which D_c is not resolved: a probability of 1 %."""
MIN_GAIN = 3.0
"""Gain of 2 ln L of the tracer's powers for which a relaxation is added."""
SLOWEST = 50.0
"""The slowest relaxation that counts as fast is the run's length over this."""
_N_TIMES = 8
_N_RELAXATIONS = 2
_N_TURNS = 60
_N_SURE_TURNS = 8
_CONVERGED = 1e-6
_SMALLEST = 1e-12
_FAR = 8.0
"""Factor within which the ends of an interval of D are looked for, in ln D."""


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
        How much is discarded, and the confidence of intervals.
    """
    if tracer.regime != "diffusive":
        return _unresolved(f"the motion of single ions is not diffusive but {tracer.regime}")
    mobile = np.asarray(mobile_mask, dtype=bool)
    discarded = round(config.discard_ps / frame_interval_ps)
    positions = np.asarray(positions_ang, dtype=float)[discarded:]
    walkers = subtract_drift(positions, ~mobile)[:, mobile]
    return estimate_charge(mode_powers(walkers, frame_interval_ps), tracer, config.confidence)


def estimate_charge(
    spectrum: Spectrum, tracer: DiffusionEstimate, confidence: float = 0.95
) -> ChargeEstimate:
    """Return the collective diffusivity and the Haven ratio from mode powers.

    Parameters
    ----------
    spectrum
        Powers of the tracer and of the sum of all ions.
    tracer
        The D of single ions, diffusive.
    confidence
        Confidence of the intervals.
    """
    found, found_err = tracer.diffusivity_m2_per_s, tracer.diffusivity_log_err
    if found is None or found_err is None:
        return _unresolved("the D of single ions is not known")
    freedom = spectrum.modes.counts * _directions(spectrum)
    powers = _Powers(spectrum.collective_powers, freedom, _shapes(spectrum))
    (diffusivity, *_), likelihood = powers.fit()
    if 2 * (likelihood - powers.fit(0.0)[1]) < ZERO_EXCLUDED:
        return _unresolved("a collective diffusivity of zero is not excluded")
    charge = diffusivity * float(ANG2_PER_PS_M2_PER_S)
    log_err = powers.log_err(diffusivity, likelihood)
    ratio_err = log_err * float(np.sqrt(1 - 1 / spectrum.n_ions))
    charge_err = float(np.hypot(ratio_err, found_err))
    sigmas = float(norm.ppf(0.5 + confidence / 2))
    ratio = found / charge
    return ChargeEstimate(
        resolved=True,
        diffusivity_m2_per_s=charge,
        diffusivity_log_err=charge_err,
        diffusivity_low_m2_per_s=charge * float(np.exp(-sigmas * charge_err)),
        diffusivity_high_m2_per_s=charge * float(np.exp(sigmas * charge_err)),
        haven_ratio=ratio,
        haven_ratio_log_err=ratio_err,
        haven_ratio_low=ratio * float(np.exp(-sigmas * ratio_err)),
        haven_ratio_high=ratio * float(np.exp(sigmas * ratio_err)),
        n_modes=2 / (_directions(spectrum) * log_err**2),
    )


def _unresolved(reason: str) -> ChargeEstimate:
    return ChargeEstimate(resolved=False, reason=reason)


def _directions(spectrum: Spectrum) -> float:
    """Return the number of directions of motion, 1 along a line to 3, from the tracer's tensor."""
    slow = slice(0, max(1, int(np.searchsorted(spectrum.modes.first, SLOWEST))))
    tensor = np.average(spectrum.tracer[slow], axis=0, weights=spectrum.modes.counts[slow])
    return float(np.trace(tensor) ** 2 / np.sum(tensor**2))


def _shapes(spectrum: Spectrum) -> Array:
    """Return the spectra beside that of D: of vibration, and of fast relaxations of the tracer.

    Shape (n_bins, n_shapes).
    """
    modes = spectrum.modes
    times_ps = np.geomspace(modes.frame_interval_ps, modes.duration_ps / SLOWEST, _N_TIMES)
    candidates = list(cage_powers(modes, times_ps))
    freedom = modes.counts * _directions(spectrum) * spectrum.n_ions

    def likelihood(shapes: Sequence[Array]) -> float:
        return _Powers(spectrum.powers, freedom, np.array(shapes).T).fit()[1]

    chosen = [vibration_powers(modes)]
    known = likelihood(chosen)
    for _ in range(_N_RELAXATIONS):
        tried = [likelihood([*chosen, shape]) for shape in candidates]
        best = int(np.argmax(tried))
        if 2 * (tried[best] - known) < MIN_GAIN:
            break
        known = tried[best]
        chosen.append(candidates.pop(best))
    return np.array(chosen).T


@dataclass(frozen=True)
class _Powers:
    """Mode powers whose expectation is a sum of known spectra with amplitudes that are not.

    The likelihood is Whittle's: each power is its expectation times χ²(d) / d.

    Attributes
    ----------
    powers
        Shape (n_bins,), in Å²/ps.
    freedom
        Degrees of freedom d of each, (n_bins,).
    shapes
        Spectra of amplitude one beside that of D, which is 1: (n_bins, n_shapes).
    """

    powers: Array
    freedom: Array
    shapes: Array

    def fit(self, diffusivity: float | None = None) -> tuple[Array, float]:
        """Return the most likely amplitudes, none below zero, with D in front, and ln L.

        Weighted least squares with the weights of the last fit end where the derivatives of the
        likelihood vanish.

        Parameters
        ----------
        diffusivity
            D in Å²/ps, if it is given.
        """
        ones = np.ones((len(self.powers), 1))
        free = self.shapes if diffusivity is not None else np.hstack([ones, self.shapes])
        given = diffusivity or 0.0
        expected = np.maximum(self.powers, self.powers.mean())
        best, amplitudes = -np.inf, np.zeros(free.shape[1])
        for turn in range(_N_TURNS):
            weights = np.sqrt(self.freedom) / expected
            found, _ = nnls(free * weights[:, None], (self.powers - given) * weights)
            smallest = _SMALLEST * float(self.powers.max())
            modelled = np.maximum(given + free @ found, smallest)
            likelihood = self._log_likelihood(modelled)
            if likelihood < best + _CONVERGED:
                if turn > _N_SURE_TURNS:
                    break
                expected = np.sqrt(expected * modelled)  # a step too long: half of it
            else:
                expected = modelled
            if likelihood > best:
                best, amplitudes = likelihood, found
        front = [] if diffusivity is None else [diffusivity]
        return np.array([*front, *amplitudes]), best

    def _log_likelihood(self, expected: Array) -> float:
        return float(-self.freedom @ (np.log(expected) + self.powers / expected) / 2)

    def log_err(self, diffusivity: float, likelihood: float) -> float:
        """Return the standard error of ln D: half the distance of the ends with 2 ln L less by 1.

        Parameters
        ----------
        diffusivity
            The most likely D in Å²/ps.
        likelihood
            Its ln L.
        """

        def excess(log_shift: float) -> float:
            other = self.fit(diffusivity * float(np.exp(log_shift)))[1]
            return 2 * (likelihood - other) - 1

        ends = [brentq(excess, 0.0, far, xtol=1e-3) for far in (-_FAR, _FAR)]
        return float(ends[1] - ends[0]) / 2
