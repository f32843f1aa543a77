"""Files that survive a kill or a power cut, written whole, then renamed; locks that end with it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import lzma
import os
import secrets
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from lycb_flows.errors import LycbError

TEMPORARY_PREFIX = ".writing-"
"""Names of files that are being written begin with this."""
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a file leads to that is missing or, where it is packed, cut off or damaged."""
_HAS_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}


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


@contextlib.contextmanager
def holding(lock: Path, refusal: Callable[[str], LycbError]) -> Iterator[None]:
    """Hold a lock that one process has at a time; it ends with the process, however that ends.

    On a file system without locks, as some of clusters are, everyone gets it.

    Parameters
    ----------
    lock
        A file for nothing else; made if need be, never removed.
    refusal
        Returns what is raised where another has it, given the id of that process.

    Raises
    ------
    LycbError
        What `refusal` returns.
    """
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            file.seek(0)
            raise refusal(file.read().strip()) from err
        except OSError as err:
            if err.errno not in _HAS_NO_LOCKS:
                raise
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
