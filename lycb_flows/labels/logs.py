"""What an engine wrote while it made a label: kept as blobs beside the label or the attempt.

A labeler that keeps some has an attribute `logs`, name -> bytes, of its last label, whether
it worked or not. They are evidence, not facts: never compared, never keyed.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

MAX_FILE_BYTES = 64 << 20
"""A larger file is no log."""
MEDIA_TYPES = {".gz": "application/gzip", ".txt": "text/plain"}


@runtime_checkable
class KeepsLogs(Protocol):
    """A labeler that remembers what its engine wrote."""

    logs: Mapping[str, bytes]


def archive(folder: Path, *, without: Callable[[Path], bool]) -> bytes:
    """The files of a folder as tar.gz, except some and those that are no logs."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not without(path) and path.stat().st_size <= MAX_FILE_BYTES:
                tar.add(path, arcname=str(path.relative_to(folder)))
    return stream.getvalue()


def media_type(name: str) -> str:
    """Of a log, by the end of its name."""
    return MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")
