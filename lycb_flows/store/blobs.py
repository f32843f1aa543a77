"""Bytes kept by content, named by their SHA-256, checked on read.

`BlobFolder` keeps them as files `ab/abcd...` on a local or shared file system: written to a
temporary name, fsynced, renamed, so that a name always holds its whole content. The second
backend, for workers without a shared file system, is `lycb_flows/store/gridfs.py`. Both stream.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import stat
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from lycb_flows.errors import StoreError
from lycb_flows.machine.files import TEMPORARY_PREFIX, sync_folder
from lycb_flows.schemas import Blob, blob_of

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredBlob:
    """An entry of a blob store, named or not; `name` is a SHA-256, or that of a leftover."""

    name: str
    size: int
    written_at: datetime


class Blobs(ABC):
    """Bytes by content; any number of processes may write."""

    @abstractmethod
    def put_stream(self, stream: BinaryIO, media_type: str) -> Blob:
        """Keep the content of a stream, in constant memory; the same bytes are kept once.

        Parameters
        ----------
        stream
            Open for reading, at its start.
        media_type
            What the bytes are.

        Raises
        ------
        StoreError
            When the disk is full or not writable; nothing half-written stays.
        """

    @abstractmethod
    def write_to(self, blob: Blob, stream: BinaryIO) -> None:
        """Copy a blob into a stream in constant memory, its hash checked at the end.

        Parameters
        ----------
        blob
            Which bytes.
        stream
            Open for writing.

        Raises
        ------
        StoreError
            When the blob is missing or damaged.
        """

    @abstractmethod
    def has(self, sha256: str) -> bool:
        """Return whether there is such a blob."""

    @abstractmethod
    def touch(self, sha256: str) -> bool:
        """Make a blob young because it is about to be named; return False when there is none."""

    @abstractmethod
    def stored(self) -> Iterator[StoredBlob]:
        """Yield everything that takes space, leftovers of killed writers included."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove what `stored` lists under this name."""

    def put(self, content: bytes, media_type: str) -> Blob:
        """Keep bytes; the same bytes are kept once.

        Parameters
        ----------
        content
            The bytes.
        media_type
            What they are.
        """
        blob = blob_of(content, media_type)
        if not self.touch(blob.sha256):
            self.put_stream(io.BytesIO(content), media_type)
        return blob

    def put_json(self, value: object) -> Blob:
        """Keep a value as JSON."""
        return self.put(json.dumps(value, sort_keys=True).encode(), "application/json")

    def read(self, blob: Blob) -> bytes:
        """Return the bytes of a blob, their hash checked.

        Raises
        ------
        StoreError
            When they are missing or damaged.
        """
        stream = io.BytesIO()
        self.write_to(blob, stream)
        return stream.getvalue()


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield a stream in pieces that fit into memory."""
    while piece := stream.read(CHUNK_BYTES):
        yield piece


class BlobFolder(Blobs):
    """A folder of blobs.

    Parameters
    ----------
    folder
        Made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put_stream(self, stream: BinaryIO, media_type: str) -> Blob:
        """Keep the content of a stream, in constant memory; the same bytes are kept once.

        Parameters
        ----------
        stream
            Open for reading, at its start.
        media_type
            What the bytes are.
        """
        digest, size = hashlib.sha256(), 0
        temporary: Path | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=TEMPORARY_PREFIX)
            temporary = Path(name)
            with os.fdopen(handle, "wb") as file:
                for piece in chunks(stream):
                    digest.update(piece)
                    size += len(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            blob = Blob(sha256=digest.hexdigest(), size=size, media_type=media_type)
            path = self.path(blob)
            path.parent.mkdir(exist_ok=True)
            temporary.chmod(0o644)  # mkstemp's 0600 would lock out a group's other members
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError as err:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            raise StoreError(
                "cannot write a blob",
                fix="free disk space or check rights, then run again",
                size=size,
                reason=err.strerror,
            ) from err
        return blob

    def write_to(self, blob: Blob, stream: BinaryIO) -> None:
        """Copy a blob into a stream in constant memory, its hash checked at the end.

        Parameters
        ----------
        blob
            Which bytes.
        stream
            Open for writing.
        """
        path, digest = self.path(blob), hashlib.sha256()
        try:
            with path.open("rb") as file:
                for piece in chunks(file):
                    digest.update(piece)
                    stream.write(piece)
        except OSError as err:
            raise StoreError(
                "a blob is missing", fix="restore it, or retract what names it", file=path
            ) from err
        if digest.hexdigest() != blob.sha256:
            raise StoreError("a blob is damaged", fix="restore it from a backup", file=path)

    def has(self, sha256: str) -> bool:
        """Return whether there is such a blob."""
        return (self.folder / sha256[:2] / sha256).exists()

    def touch(self, sha256: str) -> bool:
        """Make a blob young because it is about to be named; return False when there is none."""
        try:
            os.utime(self.folder / sha256[:2] / sha256)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except PermissionError:  # another user's: as old as it is
            return True
        return True

    def stored(self) -> Iterator[StoredBlob]:
        """Yield everything that takes space, leftovers of killed writers included."""
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                facts = path.stat()
                if not stat.S_ISREG(facts.st_mode):
                    continue
                written_at = datetime.fromtimestamp(facts.st_mtime, UTC)
                yield StoredBlob(path.name, facts.st_size, written_at)

    def delete(self, name: str) -> None:
        """Remove what `stored` lists under this name."""
        folder = self.folder if name.startswith(TEMPORARY_PREFIX) else self.folder / name[:2]
        (folder / name).unlink(missing_ok=True)

    def path(self, blob: Blob) -> Path:
        """Return where a blob lies."""
        return self.folder / blob.sha256[:2] / blob.sha256
