"""How far a stage of a job is: a line now and then, with what is left.

>>> stage = Stage(print, "labelling", len(frames))
>>> stage.reach(40)
labelling: 40 of 168, about 30 s left
"""

from __future__ import annotations

import time
from collections.abc import Callable

from lycb_flows.machine.words import duration_text

Tell = Callable[[str], None]
"""Called with a line for people."""

EVERY_S = 5.0
"""Seconds between two lines of a stage, at least; a shorter stage tells nothing."""
_STEADY_S, _LONGEST_S = 100.0, 60.0


def no_tell(_: str) -> None:
    """Tell nobody."""


def pause_s(elapsed_s: float) -> float:
    """Return the seconds between two lines: `EVERY_S` at first, a minute after 20 minutes.

    Parameters
    ----------
    elapsed_s
        Time since the work began.
    """
    return min(_LONGEST_S, EVERY_S * max(1.0, elapsed_s / _STEADY_S))


class Stage:
    """A stage that is made of equal pieces.

    Parameters
    ----------
    tell
        Gets the lines.
    doing
        What they begin with.
    total
        How many pieces there are.
    """

    def __init__(self, tell: Tell, doing: str, total: int) -> None:
        self._tell, self._doing, self._total = tell, doing, total
        self._began = self._told = time.monotonic()

    def reach(self, done: int, note: str = "") -> None:
        """Tell how far it is, unless that was told a moment ago.

        Parameters
        ----------
        done
            Pieces so far; with none there is nothing to tell.
        note
            What else is known.
        """
        now = time.monotonic()
        if now - self._told < pause_s(now - self._began) or not 0 < done < self._total:
            return
        self._told = now
        left_s = (now - self._began) * (self._total / done - 1)
        parts = (f"{done:,} of {self._total:,}", note, f"about {duration_text(left_s)} left")
        self._tell(f"{self._doing}: {', '.join(filter(None, parts))}")
