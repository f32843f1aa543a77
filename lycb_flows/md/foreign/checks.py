"""What makes a trajectory unfit for an analysis of transport, beside its times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lycb_flows.errors import InputError
from lycb_flows.md.foreign.collecting import Collected
from lycb_flows.md.foreign.frames import Source
from lycb_flows.md.foreign.times import Times
from lycb_flows.md.foreign.unwrapping import FAR, LEAP_ANG, LongSteps

SAME_PS = 1e-6
"""Times that differ by less are the same."""
_MAX_FAR_SHARE = 0.01
_DISORDERED, _ORDERED = 0.5, 0.05
"""Shares of atoms that leap at once where atoms change their order, and in other frames."""


def check_end(collected: Collected, times: Times, stop_ps: float | None) -> None:
    """Check that the file does not end within a frame that is wanted.

    Parameters
    ----------
    collected
        What was read.
    times
        When its frames are.
    stop_ps
        The last time that is wanted; None: all.

    Raises
    ------
    InputError
        When a wanted frame may be incomplete.
    """
    last_ps = float(times.times_ps[-1])
    if collected.cut_off and (stop_ps is None or stop_ps > last_ps + SAME_PS):
        raise InputError(
            "the file ends within a frame",
            fix=f"cut the rest off, or leave it out with --stop-ps {last_ps:.10g}",
            last_whole=times.at(len(times.times_ps) - 1),
        )


def check_repeats(collected: Collected, source: Source, first: int, last: int) -> None:
    """Check that no frame is equal to an earlier one, unless steps or times tell them apart.

    Parameters
    ----------
    collected
        What was read.
    source
        What the file says of its frames.
    first, last
        The frames that are analysed.

    Raises
    ------
    InputError
        When a frame is repeated.
    """
    dated = source.steps_are_md_steps or collected.times_ps is not None
    if dated or collected.repeated is None:
        return
    here, before = collected.repeated
    if first <= before and here <= last:
        raise InputError(
            "frames of a restarted run are repeated",
            fix="remove the repeated frames from the file",
            found=f"frame {here + 1} has the positions of frame {before + 1}",
        )


def check_order(steps: LongSteps, times: Times, first: int) -> None:
    """Check that atoms keep their order.

    Parameters
    ----------
    steps
        From `unwrap_in_place`.
    times
        When the frames are.
    first
        The first frame that is analysed.

    Raises
    ------
    InputError
        When half of the atoms of every species leap at once.
    """
    leaping = np.flatnonzero(steps.leaping >= _DISORDERED)
    if leaping.size and np.median(steps.leaping) < _ORDERED:
        raise InputError(
            "atoms jump all at once, as where they change their order or frames are missing",
            fix="look at the frames around it; --start-ps and --stop-ps choose a part",
            found=f"half of the atoms of every species move over {LEAP_ANG:g} Å "
            f"to {times.at(first + int(leaping[0]))}",
        )


def check_far(steps: LongSteps, species: Sequence[str]) -> Iterator[str]:
    """Yield a remark for each species some of whose minimum images are ambiguous.

    Parameters
    ----------
    steps
        From `unwrap_in_place`.
    species
        Element of each atom.

    Raises
    ------
    InputError
        When they are so many that displacements have no meaning.
    """
    n_steps = len(steps.leaping) - 1
    for name in dict.fromkeys(species):
        far = steps.far[np.array(species) == name]
        share = far.sum() / (far.size * n_steps)
        if share > _MAX_FAR_SHARE:
            raise InputError(
                "wrapped positions cannot be unwrapped: atoms move too far between frames",
                fix="store frames more often, or write unwrapped positions or images",
                found=f"{100 * share:.1f} % of the steps of {name} exceed {FAR:g} of the cell",
            )
        if far.any():
            yield (
                f"{far.sum()} steps of {name} exceed {FAR:g} of the cell; their directions may be "
                "wrong"
            )
