"""The times of frames: from an option or from the file, and at equal intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lycb_flows.errors import InputError
from lycb_flows.md.foreign.frames import FloatArray, Source
from lycb_flows.units import PS_FS

_TOLERANCE = 1e-3
"""Largest difference of two intervals, relative: times are printed with few digits."""
_FASTEST_ANG_PER_FS = 0.03
"""Thermal motion is slower: Li at 1,500 K has 0.023 Å/fs."""


@dataclass(frozen=True)
class Times:
    """When the frames of a file are.

    Attributes
    ----------
    times_ps
        Shape (n_frames,), from the first frame.
    steps
        Shape (n_frames,), or None where the file has no steps.
    origin
        Where the times come from.
    """

    times_ps: FloatArray
    steps: NDArray[np.int64] | None
    origin: str

    def at(self, index: int) -> str:
        """Return which frame this is, for a message."""
        step = "" if self.steps is None else f", step {self.steps[index]}"
        return f"frame {index + 1}{step}"


def find_times(
    source: Source,
    n_frames: int,
    steps: NDArray[np.int64] | None,
    times_ps: FloatArray | None,
    time_step_fs: float | None,
    speed_ang: float,
) -> Times:
    """Return the times of all frames of a file.

    Parameters
    ----------
    source
        What the file says of all of its frames.
    n_frames
        Number of frames.
    steps, times_ps
        Of each frame, where the file has them; shape (n_frames,).
    time_step_fs
        The option: per MD step where steps count these, else per frame.
    speed_ang
        Root mean square displacement of an atom between frames.

    Raises
    ------
    InputError
        When neither the file nor the option has a time.
    """
    counted = np.arange(n_frames, dtype=float)
    if time_step_fs is not None:
        if source.steps_are_md_steps and steps is not None:
            of_steps = (steps - steps[0]) * (time_step_fs / PS_FS)
            return Times(of_steps, steps, f"{time_step_fs:g} fs per MD step (--time-step-fs)")
        origin = f"{time_step_fs:g} fs between frames (--time-step-fs)"
        return Times(counted * (time_step_fs / PS_FS), steps, origin)
    if times_ps is not None:
        unit, origin = 1.0, "in the file"
        if not source.time_is_in_ps:
            unit, name = _unit_of(times_ps, speed_ang)
            origin = f"`time` in the file, in {name} as atoms cannot move so fast otherwise"
        return Times((times_ps - times_ps[0]) * unit, steps, origin)
    if source.interval_ps:
        return Times(counted * source.interval_ps, steps, source.interval_origin)
    raise InputError(
        "the file has no times",
        fix="give --time-step-fs, the time "
        + ("of an MD step" if source.steps_are_md_steps else "between stored frames"),
        frames=n_frames,
    )


def _unit_of(times: FloatArray, speed_ang: float) -> tuple[float, str]:
    """Return the unit of times in ps: fs, where atoms would else move faster than any does."""
    interval = abs(times[-1] - times[0]) / max(1, len(times) - 1)
    in_ps = speed_ang > _FASTEST_ANG_PER_FS * interval
    return (1.0, "ps") if in_ps else (1 / PS_FS, "fs")


def check_even(times: Times, first: int, last: int) -> float:
    """Return the interval in ps between the frames first to last, which must be even.

    Parameters
    ----------
    times
        When the frames are.
    first, last
        The frames that are analysed, from 0, both included.

    Raises
    ------
    InputError
        When frames are repeated, go back in time, or are not evenly spaced.
    """
    series = times.times_ps if times.steps is None else times.steps.astype(float)
    gaps = np.diff(series[first : last + 1])
    back = np.flatnonzero(gaps <= 0)
    if back.size:
        here = first + int(back[0]) + 1
        raise InputError(
            "frames of a restarted run are repeated",
            fix="write each frame once, in order, or keep one part with --start-ps and --stop-ps",
            found=f"{times.at(here)} comes after {times.at(here - 1)}",
        )
    usual = float(np.median(gaps))
    odd = np.flatnonzero(np.abs(gaps - usual) > _TOLERANCE * usual)
    if odd.size:
        here = first + int(odd[0]) + 1
        raise InputError(
            "frames are not at equal intervals",
            fix="write them at equal intervals, or keep an even part with --start-ps and --stop-ps",
            found=f"{times.at(here)} comes {gaps[here - first - 1]:g} "
            f"{'ps' if times.steps is None else 'steps'} after frame {here}, others {usual:g}",
            uneven=f"{odd.size} of {gaps.size} intervals",
        )
    return float(times.times_ps[last] - times.times_ps[first]) / max(1, last - first)
