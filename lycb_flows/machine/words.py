"""Numbers as people say them: durations, counts and sizes."""

from __future__ import annotations

_DURATIONS_S = (("years", 365.25 * 86400), ("days", 86400), ("h", 3600), ("min", 60))


def duration_text(seconds: float) -> str:
    """Return a duration in the largest unit of which there are two, to two digits or more.

    Examples
    --------
    >>> duration_text(84.4), duration_text(5400), duration_text(9000), duration_text(2e6)
    ('84 s', '90 min', '2.5 h', '23 days')
    """
    unit, length_s = next((each for each in _DURATIONS_S if seconds >= 2 * each[1]), ("s", 1.0))
    value = seconds / length_s
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"  # noqa: PLR2004


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun.

    Parameters
    ----------
    n
        The number.
    noun
        Of a single thing.
    plural
        Of several; default: with an s.

    Examples
    --------
    >>> counted(1, "label"), counted(1200, "process", "processes")
    ('1 label', '1,200 processes')
    """
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def size_text(n_bytes: int) -> str:
    """Return a size in MB, or in kB below one.

    Examples
    --------
    >>> size_text(3_468_536), size_text(1_234), size_text(12)
    ('3.5 MB', '1.2 kB', '12 bytes')
    """
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:,.1f} {unit}"
    return counted(n_bytes, "byte")
