"""Which kind of motion a run shows, found from its modes, with the evidence.

| regime | the data say |
|---|---|
| diffusive | D = 0 is excluded, and nothing below is found |
| bound | D = 0 is not excluded, and the ions have not moved by a hop |
| confined | D = 0 is not excluded beside a relaxation: the ions move, and come back |
| not linear | the same, with a relaxation so slow that the run is too short for it |
| sub-diffusive | a power law explains the powers better than D and a relaxation do |
| ageing | the halves of the run have different D |

All are likelihood ratios, 2 ln L, of the fits in `fits.py`. The logarithmic slope of
the MSD is no evidence: back-jumps and cages have slopes of 0.7 to 0.8 in runs that diffuse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lycb_flows.schemas import Evidence, Regime
from lycb_flows.transport.events import Freedom, Windows, event_size
from lycb_flows.transport.fits import Fit, Powers, choices, standard_error
from lycb_flows.transport.likelihood import Interval, Likelihood, interval, profile
from lycb_flows.transport.spectrum import Array

ZERO_LIMIT = 6.6
"""Twice the loss in ln L of D = 0 above which D is measured; 3.84 lets 5 to 7 % of cages pass."""
SLOW_LIMIT = 4.4
POWER_LAW_LIMIT = 1.0
BENT_LAW_LIMITS = (7.0, -1.0)
"""Of a power law with a relaxation, over D with a relaxation and with two of them: it has a
parameter less than the latter. 300 runs that diffuse and exceed the first stay below the second."""
HALVES_LIMIT = 7.9
CONFINED = 1 / 5
"""A relaxation above this share of the run cannot be told from a run that is too short."""
MIN_EVENTS = 3.3
"""Of which a D is made; Poisson's 2 ln L of none is 6.6 then."""
AS_DIFFUSION = 1 / 2
"""A relaxation above this share of the run is as good as diffusion, and no sign that D is zero."""
WINDOW_MODES = 40
"""Modes as slow as windows are long."""
MIN_DURATION_PS = 5.0
"""A shorter run is not told from free flight and vibration."""
MIN_IONS = 3
"""Fewer ions do not say whether ions move independently."""


def gain(simple: Fit, rich: Fit) -> float:
    """Return 2 ln L of a fit over that of another.

    Parameters
    ----------
    simple
        The other fit.
    rich
        The fit.
    """
    return 2 * (simple.loss - rich.loss)


@dataclass(frozen=True)
class Motion:
    """The powers and windows of one run along one direction, or their mean over axes.

    Attributes
    ----------
    powers
        The powers of the modes.
    parts
        Windows of every length, and their D.
    hop
        a² / (6 N t), the D of one hop of one ion, in Å²/ps.
    most_freedom
        The ν of independent ions: their number times the number of axes.
    """

    powers: Powers
    parts: list[tuple[Windows, Array]]
    hop: float
    most_freedom: float

    @cached_property
    def fast(self) -> list[list[Fit]]:
        """Fits of D, vibration and 0, 1 and 2 fast relaxations, the best first."""
        return [self.powers.fits(n) for n in range(3)]

    @property
    def freedom(self) -> Freedom:
        """ν of the modes as long as a window, and of vibration."""
        return Freedom(float(self.powers.freedom[:WINDOW_MODES].mean()), self.most_freedom)

    @cached_property
    def chosen(self) -> list[Fit]:
        """The fits with as many fast relaxations as the data ask for."""
        return min(self.fast, key=lambda fits: fits[0].cost)

    @cached_property
    def slow(self) -> list[Fit]:
        """The fits with a slow relaxation, and with a fast one beside it where it is needed."""
        n_fast, n_times = self.powers.shapes.n_fast, len(self.powers.shapes.times_ps)
        single = self.powers.fits(1, np.arange(n_fast, n_times)[:, None])
        double = self.powers.fits(2, _fast_and_slow(n_fast, n_times))
        return min(single, double, key=lambda fits: fits[0].cost)

    @cached_property
    def slow_gain(self) -> float:
        """2 ln L that a slow relaxation gains over fast ones."""
        return gain(self.chosen[0], self.slow[0])

    @cached_property
    def slow_ps(self) -> float:
        """The slow relaxation's time."""
        return float(self.powers.shapes.times_ps[self.slow[0].times[-1]])

    @cached_property
    def zero(self) -> Fit:
        """The best fit without D and with relaxations short enough to be seen as such."""
        return self._without_diffusion(self.powers.shapes.n_seen)

    def _without_diffusion(self, n_times: int) -> Fit:
        fits = [self.powers.fits(n, choices(range(n_times), n), diffusion=False)[0] for n in (1, 2)]
        return min(fits, key=lambda fit: fit.loss)

    @cached_property
    def slow_zero_loss(self) -> float:
        """2 ln L that D = 0 loses beside a slow relaxation."""
        return gain(self._without_diffusion(len(self.powers.shapes.times_ps)), self.slow[0])

    @cached_property
    def slow_seen_loss(self) -> float:
        """The same, with relaxations that do not repeat what diffusion does in the time of the run.

        Without D the relaxation may be twice as slow as with it, or half as long as the run.
        """
        times_ps = self.powers.shapes.times_ps
        slowest_ps = max(AS_DIFFUSION * self.powers.modes.duration_ps, 2 * self.slow_ps)
        n_times = int(np.searchsorted(times_ps, slowest_ps * (1 + 1e-9), side="right"))
        return gain(self._without_diffusion(n_times), self.slow[0])

    @property
    def slowly_relaxing(self) -> bool:
        """Whether a slow relaxation is there."""
        return self.slow_gain > SLOW_LIMIT

    @cached_property
    def final(self) -> list[Fit]:
        """The fits that D is taken from, slow relaxation included where D is there beside it."""
        beside = self.slowly_relaxing and self.slow_zero_loss > ZERO_LIMIT
        return self.slow if beside else self.chosen

    @cached_property
    def likelihood(self) -> Likelihood:
        """The likelihood of D, given the powers.

        Where a slow relaxation is likely but may as well be chance, D with it counts as much.
        """
        if self.final is self.slow:
            return profile(self.powers, [self.slow])
        return profile(self.powers, self.fast, self.slow if self.slowly_relaxing else None)

    @cached_property
    def event(self) -> float:
        """The D of one event, in Å²/ps."""
        return event_size(self.likelihood.diffusivity, self.parts, self.freedom, self.hop)

    @property
    def n_events(self) -> float:
        """How many events the D is made of."""
        return self.likelihood.diffusivity / self.event

    def interval(self, confidence: float) -> Interval:
        """Return error, interval and bound.

        Parameters
        ----------
        confidence
            Such as 0.95.
        """
        return interval(self.likelihood, self.event, confidence)

    @cached_property
    def zero_loss(self) -> float:
        """2 ln L that D = 0 loses."""
        return max(0.0, gain(self.zero, self.final[0]))

    @property
    def plateau_ang2(self) -> float:
        """The MSD that relaxations add up to where there is no diffusion."""
        n_relaxations = len(self.zero.times)
        return 6 * float(self.zero.strengths[-n_relaxations:].sum())

    @cached_property
    def power_law(self) -> tuple[float, Fit]:
        """2 ln L that a power law gains over D and one relaxation, and its fit."""
        shapes = self.powers.shapes
        terms = np.empty((len(shapes.power_laws), 2, len(self.powers.values)))
        terms[:, 0], terms[:, 1] = shapes.power_laws, shapes.vibration
        fit = self.powers.best(terms)[0]
        return gain(self.fast[1][0], fit), fit

    @cached_property
    def bent_law(self) -> tuple[float, float, Fit]:
        """2 ln L that a power law with a fast relaxation gains, and its fit.

        Ions in a long file move freely at first and hinder each other later. The gains are those
        over D with one relaxation and with two.
        """
        shapes, n_fast = self.powers.shapes, self.powers.shapes.n_fast
        terms = np.empty((len(shapes.power_laws), n_fast, 3, len(self.powers.values)))
        terms[:, :, 0] = shapes.power_laws[:, None]
        terms[:, :, 1] = shapes.vibration
        terms[:, :, 2] = shapes.relaxations[:n_fast]
        fit = self.powers.best(terms.reshape(-1, *terms.shape[2:]))[0]
        return gain(self.fast[1][0], fit), gain(self.fast[2][0], fit), fit


def halves_loss(halves: Sequence[Motion]) -> float:
    """Return what a common D loses against one D for each half of a run, as 2 ln L.

    Parameters
    ----------
    halves
        The halves, each with its own ν and events.
    """
    values = [half.fast[1][0].strengths[0] for half in halves]
    variance = 0.0
    for half, value in zip(halves, values, strict=True):
        error = standard_error(half.fast[1][0], half.powers.weights)
        event = event_size(value, half.parts, half.freedom, half.hop)
        variance += error**2 + event * value
    return float((values[0] - values[1]) ** 2 / (variance + 1e-300))


@dataclass(frozen=True)
class Verdict:
    """The regime of a run, why it is not diffusive, and the evidence."""

    regime: Regime
    reason: str
    evidence: tuple[Evidence, ...]


def judge(motion: Motion, halves: Sequence[Motion], n_ions: int, hop_ang: float) -> Verdict:
    """Return the regime of a run.

    Parameters
    ----------
    motion
        The run.
    halves
        Its halves.
    n_ions
        Number of mobile ions.
    hop_ang
        Length of a hop, a: ions that come back from less than a²/2 have not hopped.
    """
    evidence = (
        Evidence(name="D is not zero", value=motion.zero_loss, limit=ZERO_LIMIT),
        Evidence(name="events", value=motion.n_events, limit=MIN_EVENTS),
        Evidence(name="slow relaxation", value=motion.slow_gain, limit=SLOW_LIMIT),
        Evidence(name="power law", value=motion.power_law[0], limit=POWER_LAW_LIMIT),
        Evidence(name="bent power law", value=motion.bent_law[0], limit=BENT_LAW_LIMITS[0]),
        Evidence(name="halves differ", value=halves_loss(halves), limit=HALVES_LIMIT),
    )
    regime: Regime = "bound"
    if n_ions < MIN_IONS:
        reason = f"{n_ions} mobile ions do not tell whether ions move independently"
    elif motion.powers.modes.duration_ps < MIN_DURATION_PS:
        reason = (
            f"a run of {motion.powers.modes.duration_ps:.3g} ps is hardly longer than vibration"
        )
    elif evidence[-1].value > HALVES_LIMIT:
        regime, reason = "ageing", "D differs between the halves of the run"
    else:
        regime, reason = _slow_regime(motion) or _fast_regime(motion, hop_ang)
    return Verdict(regime, reason, evidence)


def _slow_regime(motion: Motion) -> tuple[Regime, str] | None:
    """Return the regime of a run whose displacement does not become linear in time, if so."""
    slow = motion.slowly_relaxing and motion.slow_seen_loss < ZERO_LIMIT
    for law in _power_laws(motion):
        if not (slow and motion.slow[0].loss < law.loss):
            return "sub-diffusive", "the displacement grows as a power of time"
    if not slow:
        return None
    if motion.slow_ps > CONFINED * motion.powers.modes.duration_ps:
        return "not linear", f"the run is short beside a relaxation of {motion.slow_ps:.3g} ps"
    return "confined", f"the ions come back within {motion.slow_ps:.3g} ps"


def _power_laws(motion: Motion) -> list[Fit]:
    """Return the power laws that explain a run better than diffusion."""
    gained, law = motion.power_law
    over_one, over_two, bent = motion.bent_law
    is_bent = over_one > BENT_LAW_LIMITS[0] and over_two > BENT_LAW_LIMITS[1]
    better = ((law, gained > POWER_LAW_LIMIT), (bent, is_bent))
    return [fit for fit, wins in better if wins]


def _fast_regime(motion: Motion, hop_ang: float) -> tuple[Regime, str]:
    """Return the regime of a run whose relaxations are fast."""
    if motion.zero_loss > ZERO_LIMIT and motion.n_events > MIN_EVENTS:
        return "diffusive", ""
    if motion.zero_loss < ZERO_LIMIT and motion.plateau_ang2 > hop_ang**2 / 2:
        return "confined", f"the ions come back, from {motion.plateau_ang2:.3g} Å²; D may be zero"
    return "bound", "D is not told from zero"


def _fast_and_slow(n_fast: int, n_times: int) -> Array:
    fast, slow = np.meshgrid(np.arange(n_fast), np.arange(n_fast, n_times), indexing="ij")
    return np.stack([fast.ravel(), slow.ravel()], axis=1)
