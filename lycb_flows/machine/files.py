"""Files that survive a kill or a power cut: written whole, then renamed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

TEMPORARY_PREFIX = ".writing-"
"""Names of files that are being written begin with this."""


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, whatever happens meanwhile.

    Parameters
    ----------
    path
        File to write or replace.
    content
        Its bytes.
    """
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:  # readable as the umask says; mkstemp's is the owner's
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
