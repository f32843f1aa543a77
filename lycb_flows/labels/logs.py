"""What an engine wrote while it made a label: kept as blobs beside the label or the attempt.

They are evidence, not facts: never compared, never keyed.
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
"""Of a log's file, by media type."""


@dataclass(frozen=True)
class Log:
    """One text or archive."""

    content: bytes
    media_type: str


@runtime_checkable
class KeepsLogs(Protocol):
    """A labeler that remembers what its engine wrote for the last label, by name.

    Names are without dots: databases take those for paths.
    """

    logs: Mapping[str, Log]


def archive(folder: Path, *, without: Callable[[Path], bool] | None = None) -> Log:
    """The files of a folder as tar.gz, except some and those that are no logs."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as tar:
        for path in sorted(folder.rglob("*")):
            if without is not None and without(path):
                continue
            if path.is_file() and path.stat().st_size <= MAX_FILE_BYTES:
                tar.add(path, arcname=str(path.relative_to(folder)))
    return Log(stream.getvalue(), "application/gzip")
