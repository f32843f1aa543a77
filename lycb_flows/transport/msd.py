"""Mean squared displacements from positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, next_fast_len, rfft

from lycb_flows.errors import InputError

Array = NDArray[np.floating[Any]]

MAX_STORED_LAGS = 200
_FFT_BLOCK = 250_000
"""Numbers per transformed block and component: bounds the memory beside the positions."""
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


def subtract_drift(positions_ang: Array, framework_mask: ArrayLike) -> Array:
    """Return positions relative to the framework's unweighted mean.

    Conductivity refers to the frame of the lattice, not to that of the centre of mass.

    Parameters
    ----------
    positions_ang
        Unwrapped positions, (n_frames, n_atoms, 3) in Å.
    framework_mask
        True for atoms of the framework, (n_atoms,).

    Raises
    ------
    InputError
        When no atom belongs to the framework.
    """
    mask = np.asarray(framework_mask, dtype=bool)
    if not mask.any():
        raise InputError(
            "no framework to measure the drift from",
            fix="check the mobile species",
            atoms=mask.size,
        )
    framework = positions_ang[:, mask].mean(axis=1, keepdims=True)
    return np.asarray(positions_ang - (framework - framework[0]))


def msd_tensor(positions_ang: Array) -> Array:
    """Return the mean squared displacement tensor over ions and all origins, at every lag.

    M_ab(k) = < (x_a(t+k) - x_a(t)) (x_b(t+k) - x_b(t)) >, by the Wiener-Khinchin theorem:
    power spectra are summed over ions, so that one inverse transform per component is left.

    Parameters
    ----------
    positions_ang
        Unwrapped positions, (n_frames, n_ions, 3) in Å.

    Returns
    -------
    ndarray
        (n_frames, 3, 3) in Å²; index 0 is lag 0.
    """
    components = _windowed(positions_ang, _PAIRS)
    tensor = np.empty((len(positions_ang), 3, 3))
    for k, (a, b) in enumerate(_PAIRS):
        tensor[:, a, b] = tensor[:, b, a] = components[k]
    return tensor


def mean_squared_displacement(positions_ang: Array) -> Array:
    """Return the MSD in Å² at every lag, (n_frames,), of positions (n_frames, n_ions, 3) in Å."""
    return np.asarray(_windowed(positions_ang, _PAIRS[:3]).sum(axis=0))


def _windowed(positions_ang: Array, pairs: Sequence[tuple[int, int]]) -> Array:
    """Return components (a, b) of the MSD tensor at every lag, (n_pairs, n_frames) in Å²."""
    n_frames, n_ions, _ = positions_ang.shape
    n_fft = next_fast_len(2 * n_frames, real=True)
    spectra = np.zeros((len(pairs), 2 * (n_fft // 2 + 1)))  # Re Re and Im Im side by side
    squares = np.zeros((len(pairs), n_frames))
    block = max(1, _FFT_BLOCK // n_fft)
    for start in range(0, n_ions, block):
        ions = positions_ang[:, start : start + block]
        x = np.array((ions - ions[0]).transpose(2, 1, 0), dtype=float, order="C")
        f = rfft(x, n_fft, axis=2).view(float)
        for k, (a, b) in enumerate(pairs):
            squares[k] += np.einsum("it,it->t", x[a], x[b])
            spectra[k] += np.einsum("if,if->f", f[a], f[b])
    power = spectra[:, 0::2] + spectra[:, 1::2]
    correlation = irfft(power, n_fft, axis=1)[:, :n_frames]
    origins = np.cumsum(squares, axis=1)[:, ::-1]
    ends = np.cumsum(squares[:, ::-1], axis=1)[:, ::-1]
    n_origins = n_frames - np.arange(n_frames)
    components = (origins + ends - 2 * correlation) / (n_origins * n_ions)
    components[:, 0] = 0.0
    return np.asarray(components)


def select_lags(n_frames: int, max_lags: int = MAX_STORED_LAGS) -> NDArray[np.int64]:
    """Return log-spaced lags from 1 to n_frames - 1, in frames, increasing.

    Parameters
    ----------
    n_frames
        Number of frames.
    max_lags
        Most lags.
    """
    spaced = np.geomspace(1, n_frames - 1, max_lags).round().astype(np.int64)
    return np.unique(spaced)
