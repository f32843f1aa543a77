"""The output that an engine wrote while it made a label, kept as blobs beside the label or attempt.

Logs are evidence, not facts: they are never compared and never part of a key.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

MAX_FILE_BYTES = 64 << 20
"""A larger file is no log."""
ENDINGS = {"application/gzip": ".tar.gz", "text/plain": ".txt"}
"""Ending of a log's file name, by media type."""


@dataclass(frozen=True)
class Log:
    """A text or an archive."""

    content: bytes
    media_type: str


@runtime_checkable
class KeepsLogs(Protocol):
    """A labeler that keeps the output of its engine for the last label, by name.

    Names have no dots, because databases read those as paths.
    """

    logs: Mapping[str, Log]


def archive(folder: Path, *, without: Callable[[Path], bool] | None = None) -> Log:
    """Return the files of a folder as tar.gz.

    Parameters
    ----------
    folder
        The folder; folders in it are included.
    without
        Says of a path whether it is left out. Files above `MAX_FILE_BYTES` always are.
    """
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as tar:
        for path in sorted(folder.rglob("*")):
            if without is not None and without(path):
                continue
            if path.is_file() and path.stat().st_size <= MAX_FILE_BYTES:
                tar.add(path, arcname=str(path.relative_to(folder)))
    return Log(stream.getvalue(), "application/gzip")
