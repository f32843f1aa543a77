"""How much D one independent event contributes, from the scatter between windows of time.

The displacements in windows of time have a mean square D_w. Over windows, D_w scatters more than
squares of normal numbers would: by chance there are more hops in one window than in another. The
excess variance, which falls with the length of the window as 1/W, is what the number of events of
the whole run varies by: var D = excess W / t, and ε = var D / D is the D of one event, a²/(6 N t)
for independent hops of length a, K times that where K ions make each hop together. Nothing is
assumed about hops: their length and how many ions share them is in the scatter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lycb_flows.transport.spectrum import Array

WINDOWS = {80: 0.35, 40: 0.4, 20: 0.25}
"""Numbers of windows in a run, and the weights of what they say: many short ones scatter less, long
ones hold what takes longer."""
SHORTEST_HOP = 1 / 3
"""The shortest hop over the length that is assumed of hops: 1 Å where that is 3 Å."""
_BLOCK = 1_000_000


@dataclass(frozen=True)
class Freedom:
    """Degrees of freedom of mean squares: of diffusion, and of vibration, the most there are."""

    diffusion: float
    vibration: float


@dataclass(frozen=True)
class Windows:
    """D in windows of a run's time, half overlapping.

    Attributes
    ----------
    tensors
        <d_a d_b> / (2 W), mean over ions, in Å²/ps: shape (n_windows, 3, 3).
    share
        Length of a window over that of the run.
    """

    tensors: Array
    share: float

    def excess(self, values: Array, diffusivity: float, freedom: Freedom) -> float:
        """Return the variance of D over runs that is due to the number of events.

        Squares of normal numbers have the variance 2/ν. What is not diffusion in a window is
        vibration, of which every ion has its own.

        Parameters
        ----------
        values
            D of every window, from `tensors`.
        diffusivity
            D of the run.
        freedom
            ν of diffusion and of vibration.
        """
        mean = float(values.mean())
        variance = float(np.mean((values - mean) ** 2)) * (1 + 2 * self.share)
        vibration = max(mean - diffusivity, 0.0)
        normal = (mean - vibration) ** 2 / freedom.diffusion
        normal += (2 * mean - vibration) * vibration / freedom.vibration
        return (variance - 2 * normal) * self.share


def windows(positions_ang: Array, frame_interval_ps: float) -> list[Windows]:
    """Return D in windows of an eightieth to a twentieth of the run.

    The ends of a window are means over half of it, so that vibration does not count. The
    mean square of Brownian motion is then that of a time shorter by (b² - 1) / (3 b), b the number
    of frames in a mean.

    Parameters
    ----------
    positions_ang
        Unwrapped positions, drift removed, (n_frames, n_ions, 3) in Å.
    frame_interval_ps
        Time between frames.
    """
    n_frames, n_ions, _ = positions_ang.shape
    plans = [_Plan(n_frames, number) for number in WINDOWS]
    sums = [np.zeros((plan.n_windows, 3, 3)) for plan in plans]
    block = max(1, _BLOCK // (3 * n_frames))
    for start in range(0, n_ions, block):
        ions = positions_ang[:, start : start + block]
        summed = np.zeros((n_frames + 1, *ions.shape[1:]))
        np.cumsum(ions - ions[0], axis=0, out=summed[1:])
        for plan, total in zip(plans, sums, strict=True):
            moved = plan.displacements(summed)
            np.add(total, np.einsum("wia,wib->wab", moved, moved), out=total)
    return [
        Windows(
            total / (2 * n_ions * plan.n_effective * frame_interval_ps), plan.n / (n_frames - 1)
        )
        for plan, total in zip(plans, sums, strict=True)
    ]


class _Plan:
    """Where windows begin and end, in frames."""

    def __init__(self, n_frames: int, number: int) -> None:
        self.n = max(1, (n_frames - 1) // number)
        self.n_mean = max(1, self.n // 2)
        half = max(1, self.n // 2)
        self._starts = np.arange(0, n_frames - self.n_mean + 1, half)
        self._ahead = max(1, round(self.n / half))
        self.n = self._ahead * half
        self.n_windows = max(0, len(self._starts) - self._ahead)
        self.n_effective = self.n - (self.n_mean**2 - 1) / (3 * self.n_mean)

    def displacements(self, summed: Array) -> Array:
        means = (summed[self._starts + self.n_mean] - summed[self._starts]) / self.n_mean
        return np.asarray(means[self._ahead :] - means[: -self._ahead])


def event_size(
    diffusivity: float, parts: list[tuple[Windows, Array]], freedom: Freedom, hop: float
) -> float:
    """Return ε, the D of one event, in Å²/ps.

    One hop of a single ion is added to the events seen, so that a run with few or none has an ε.
    No event is smaller than the shortest hop: what moves less is vibration, of which a run that is
    shorter than a hop is full.

    Parameters
    ----------
    diffusivity
        D of the run in Å²/ps.
    parts
        Windows of every length, and their D along a direction or its mean over axes.
    freedom
        ν of diffusion and of vibration.
    hop
        a² / (6 N t), the D of one hop of one ion, in Å²/ps.
    """
    excess = [part.excess(values, diffusivity, freedom) for part, values in parts]
    variance = float(np.dot(excess, list(WINDOWS.values())))
    if variance <= 0 or diffusivity <= 0:
        return hop
    n_events = diffusivity**2 / variance
    return max((diffusivity + hop) / (n_events + 1), SHORTEST_HOP**2 * hop)
