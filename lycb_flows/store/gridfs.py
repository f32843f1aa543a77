"""Blobs in MongoDB's GridFS, for workers without a shared file system; always streamed.

maggma's stores are no alternative: raw bytes come back from its GridFS store as a corrupted
string, and encoded bytes need gigabytes of memory.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

from bson import ObjectId
from gridfs import GridFSBucket, NoFile
from gridfs.errors import CorruptGridFile, FileExists
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from lycb_flows.errors import StoreError
from lycb_flows.schemas import Blob
from lycb_flows.store.blobs import CHUNK_BYTES, Blobs, StoredBlob, chunks
from lycb_flows.store.outages import survives_outages

_BUCKET = "blobs"


class GridFSBlobs(Blobs):
    """Blobs as GridFS files named by their SHA-256, each name once.

    Parameters
    ----------
    database
        Database of the result store.
    outage_s
        How long to wait for an absent database.
    """

    def __init__(self, database: Database[Any], outage_s: float) -> None:
        self.outage_s = outage_s
        self._bucket = GridFSBucket(database, _BUCKET, chunk_size_bytes=CHUNK_BYTES)
        self._files, self._chunks = database[f"{_BUCKET}.files"], database[f"{_BUCKET}.chunks"]

    def create_indexes(self) -> None:
        """Create the index that keeps names unique: of two equal blobs the first wins."""
        self._files.create_index("filename", unique=True)
        self._chunks.create_index([("files_id", 1), ("n", 1)], unique=True)

    @survives_outages
    def put_stream(self, stream: BinaryIO, media_type: str) -> Blob:
        """Keep the content of a stream, in constant memory; the same bytes are kept once.

        Parameters
        ----------
        stream
            Open for reading; after an outage it is read again from its start.
        media_type
            What the bytes are.
        """
        stream.seek(0)  # after an outage the upload starts again
        digest, size = hashlib.sha256(), 0
        upload = self._bucket.open_upload_stream(f"uploading {ObjectId()}")
        try:
            for piece in chunks(stream):
                digest.update(piece)
                size += len(piece)
                upload.write(piece)
            upload.filename = digest.hexdigest()
            upload.close()
        except FileExists:  # another worker was first, or this one before an outage
            upload.abort()
            self.touch(digest.hexdigest())
        except OperationFailure:  # a database that is full is not filled up by each try
            with contextlib.suppress(PyMongoError):
                upload.abort()
            raise
        return Blob(sha256=digest.hexdigest(), size=size, media_type=media_type)

    def write_to(self, blob: Blob, stream: BinaryIO) -> None:
        """Copy a blob into a stream in constant memory, its hash checked at the end.

        Parameters
        ----------
        blob
            Which bytes.
        stream
            Open for writing; after an outage it is written again from where it stood.
        """
        self._write_to(blob, stream, stream.tell())

    @survives_outages
    def _write_to(self, blob: Blob, stream: BinaryIO, start: int) -> None:
        stream.seek(start)  # after an outage the copy starts again
        stream.truncate()
        digest = hashlib.sha256()
        try:
            with self._bucket.open_download_stream_by_name(blob.sha256) as file:
                for piece in chunks(file):
                    digest.update(piece)
                    stream.write(piece)
        except NoFile as err:
            raise StoreError(
                "a blob is missing", fix="restore it, or retract what names it", blob=blob.sha256
            ) from err
        except CorruptGridFile as err:  # chunks that are missing, or longer or shorter
            raise _damaged(blob) from err
        if digest.hexdigest() != blob.sha256:
            raise _damaged(blob)

    @survives_outages
    def has(self, sha256: str) -> bool:
        """Return whether there is such a blob."""
        return self._files.find_one({"filename": sha256}, {"_id": 1}) is not None

    @survives_outages
    def touch(self, sha256: str) -> bool:
        """Make a blob young because it is about to be named; return False when there is none."""
        now = {"$set": {"uploadDate": datetime.now(UTC)}}
        return bool(self._files.update_one({"filename": sha256}, now).matched_count)

    def stored(self) -> Iterator[StoredBlob]:
        """Yield everything that takes space, leftovers of killed writers included."""
        known = set()
        for file in self._files.find({}):
            known.add(file["_id"])
            written_at = file["uploadDate"].replace(tzinfo=UTC)
            yield StoredBlob(file["filename"], file["length"], written_at)
        for found in self._chunks.aggregate(
            [{"$group": {"_id": "$files_id", "n": {"$sum": 1}}}], allowDiskUse=True
        ):
            if found["_id"] not in known:
                size = found["n"] * CHUNK_BYTES
                yield StoredBlob(str(found["_id"]), size, found["_id"].generation_time)

    @survives_outages
    def delete(self, name: str) -> None:
        """Remove what `stored` lists under this name."""
        file = self._files.find_one({"filename": name}, {"_id": 1})
        if file is not None:
            self._bucket.delete(file["_id"])
        elif ObjectId.is_valid(name):
            self._chunks.delete_many({"files_id": ObjectId(name)})


def _damaged(blob: Blob) -> StoreError:
    return StoreError("a blob is damaged", fix="restore a backup", blob=blob.sha256)
