"""D along the lattice vectors and along its principal axes, with errors, and its anisotropy.

At its maximum the likelihood is a weighted least-squares fit of the powers, with weights 1/S²: the
D of the run is a sum over modes, D = Σ_k w_k P_k. The same sum over the tensors of the powers is
the tensor of D; a third of its trace is D, and D along a unit vector u is uᵀ D u. Its variance is

    Σ_k w_k² 2 S_u(k)² / (ν_u m_k) + ε_u D_u

with S_u, ν_u and ε_u the spectrum, the degrees of freedom and the event along u (`likelihood.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lycb_flows.transport.events import Freedom, event_size
from lycb_flows.transport.fits import freedom_of
from lycb_flows.transport.regimes import WINDOW_MODES, Motion
from lycb_flows.transport.spectrum import Array, Spectrum


@dataclass(frozen=True)
class Directions:
    """The tensor of D and its values along directions; all in Å²/ps.

    Attributes
    ----------
    tensor
        Cartesian, shape (3, 3).
    lattice, lattice_errors
        Along a, b, c, and standard errors.
    principal, principal_errors
        Along the principal axes, rising, and standard errors.
    axes
        The principal axes, unit vectors in rows.
    anisotropy, anisotropy_error
        D along c over the mean of those along a and b; None where these are not positive.
    """

    tensor: Array
    lattice: Array
    lattice_errors: Array
    principal: Array
    principal_errors: Array
    axes: Array
    anisotropy: float | None
    anisotropy_error: float | None


def directions(spectrum: Spectrum, motion: Motion, lattice_ang: Array) -> Directions:
    """Return D by direction.

    Parameters
    ----------
    spectrum
        The powers.
    motion
        Their mean over axes, and its fit.
    lattice_ang
        Rows a, b, c of the cell in Å.
    """
    linear = _Linear(spectrum, motion)
    tensor = np.tensordot(linear.weights[0], spectrum.tracer, 1)
    principal, columns = np.linalg.eigh(tensor)
    unit = lattice_ang / np.linalg.norm(lattice_ang, axis=1, keepdims=True)
    lattice = np.einsum("ia,ab,ib->i", unit, tensor, unit)
    errors = np.array([linear.error(vector) for vector in unit])
    plane = (lattice[0] + lattice[1]) / 2
    ratio = ratio_error = None
    if lattice[2] > 0 and plane > 0:
        ratio = float(lattice[2] / plane)
        relative = np.hypot(errors[2] / lattice[2], np.hypot(errors[0], errors[1]) / (2 * plane))
        ratio_error = float(ratio * relative)
    return Directions(
        tensor=tensor,
        lattice=lattice,
        lattice_errors=errors,
        principal=principal,
        principal_errors=np.array([linear.error(vector) for vector in columns.T]),
        axes=columns.T,
        anisotropy=ratio,
        anisotropy_error=ratio_error,
    )


class _Linear:
    """The fit as sums over modes: strengths = `weights` times powers."""

    def __init__(self, spectrum: Spectrum, motion: Motion) -> None:
        self._spectrum, self._motion = spectrum, motion
        fit = motion.final[0]
        active = fit.strengths > 0
        active[0] = True
        self._terms = fit.terms[active]
        scale = self._terms.mean(axis=1, keepdims=True)
        scaled = self._terms / scale
        weighted = scaled * (motion.powers.weights / fit.spectrum**2)
        self.weights = np.linalg.solve(weighted @ scaled.T, weighted) / scale

    def error(self, vector: Array) -> float:
        """Return the standard error of D along a unit vector, in Å²/ps."""
        counts = self._spectrum.modes.counts
        powers = np.einsum("a,kab,b->k", vector, self._spectrum.tracer, vector)
        strengths = self.weights @ powers
        expected = np.maximum(strengths @ self._terms, 1e-9 * (1e-3 + powers.mean()))
        overlap = np.einsum("a,abkl,b->kl", vector, self._spectrum.overlap, vector)
        freedom = freedom_of(self._spectrum.modes, powers, overlap, float(self._spectrum.n_ions))
        windows = [
            (part, np.einsum("a,wab,b->w", vector, part.tensors, vector))
            for part, _ in self._motion.parts
        ]
        hop = 3 * self._motion.hop  # which is along one axis
        in_windows = Freedom(float(freedom[:WINDOW_MODES].mean()), float(self._spectrum.n_ions))
        event = event_size(float(strengths[0]), windows, in_windows, hop)
        gaussian = np.sum(self.weights[0] ** 2 * 2 * expected**2 / (freedom * counts))
        return float(np.sqrt(gaussian + event * max(strengths[0], 0.0)))
