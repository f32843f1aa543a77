"""The user's home directory; in a container a user may have none."""

from __future__ import annotations

from pathlib import Path

from lycb_flows.errors import InputError


def in_full(path: Path) -> Path:
    """Return a path with the home directory in place of its `~`.

    Parameters
    ----------
    path
        With or without `~`.

    Raises
    ------
    InputError
        When it begins with `~` and there is no such directory.
    """
    try:
        return path.expanduser()
    except RuntimeError as err:
        raise InputError(
            "there is no home directory", fix="set HOME, or give the path without ~", path=path
        ) from err
