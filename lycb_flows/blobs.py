"""Bytes kept by content: `ab/abcd...`, named by their SHA-256.

Written to a temporary name, fsynced, renamed, so that a name always holds its whole
content; the hash is checked on read.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from lycb_flows.errors import StoreError
from lycb_flows.schemas import Blob


def blob_of(content: bytes, media_type: str) -> Blob:
    """The content address of some bytes."""
    digest = hashlib.sha256(content).hexdigest()
    return Blob(sha256=digest, size=len(content), media_type=media_type)


class BlobFolder:
    """A folder of blobs; any number of processes may write.

    Parameters
    ----------
    folder
        Made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes, media_type: str) -> Blob:
        """Keep bytes; the same bytes are kept once.

        Raises
        ------
        StoreError
            When the disk is full or not writable; nothing half-written stays.
        """
        blob = blob_of(content, media_type)
        path = self.path(blob)
        if path.exists():
            return blob
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(path, content)
        except OSError as err:
            raise StoreError(
                "cannot write a blob",
                fix="free disk space or check rights, then run again",
                size=blob.size,
                reason=err.strerror,
            ) from err
        return blob

    def put_json(self, value: object) -> Blob:
        """Keep a value as JSON."""
        return self.put(json.dumps(value, sort_keys=True).encode(), "application/json")

    def read(self, blob: Blob) -> bytes:
        """The bytes of a blob, their hash checked.

        Raises
        ------
        StoreError
            When they are missing or damaged.
        """
        path = self.path(blob)
        try:
            content = path.read_bytes()
        except OSError as err:
            raise StoreError(
                "a blob is missing", fix="restore it, or retract what names it", file=path
            ) from err
        if hashlib.sha256(content).hexdigest() != blob.sha256:
            raise StoreError("a blob is damaged", fix="restore it from a backup", file=path)
        return content

    def path(self, blob: Blob) -> Path:
        """Where a blob lies."""
        return self.folder / blob.sha256[:2] / blob.sha256


def write_durably(path: Path, content: bytes) -> None:
    """Write a file that is whole or absent, whatever happens meanwhile."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
