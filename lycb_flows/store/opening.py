"""Stores by address."""

from __future__ import annotations

from pathlib import Path

from lycb_flows.errors import InputError
from lycb_flows.machine.settings import load_settings
from lycb_flows.store.results import ResultStore
from lycb_flows.store.sqlite import SqliteStore

MONGODB_SCHEMES = ("mongodb://", "mongodb+srv://")


def open_store(address: str | Path, *, create: bool = True) -> ResultStore:
    """Return the store at an address.

    Parameters
    ----------
    address
        A folder, or mongodb://[user@]host[,host]/database[?options]; TLS and authentication
        are options of the URI, the password may come from the settings.
    create
        Whether a folder may be made.

    Raises
    ------
    StoreError
        When it cannot be used.
    InputError
        When it is not there and may not be made.
    """
    if str(address).startswith(MONGODB_SCHEMES):
        from lycb_flows.store.connecting import connect  # noqa: PLC0415 - pymongo takes a while

        return connect(str(address), load_settings())
    folder = Path(address).resolve()
    if not create and not (folder / "results.sqlite").is_file():
        raise InputError(
            "no result store here",
            fix="run a campaign first, or set --store or LYCB_STORE",
            folder=folder,
        )
    return SqliteStore(folder)
