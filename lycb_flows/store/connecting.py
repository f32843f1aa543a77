"""Connections to the MongoDB store of a service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pymongo import MongoClient, WriteConcern, uri_parser
from pymongo.errors import (
    ConfigurationError,
    InvalidName,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)

from lycb_flows.errors import InputError, StoreError
from lycb_flows.machine import Settings, in_full
from lycb_flows.store.blobs import BlobFolder, Blobs
from lycb_flows.store.gridfs import GridFSBlobs
from lycb_flows.store.mongodb import MongoStore
from lycb_flows.store.outages import UNAUTHORIZED, explained, is_full, is_outage

DEFAULT_DATABASE = "lycb_flows"
_SELECTION_TIMEOUT_MS = 5000
_DURABLE = WriteConcern(w="majority", j=True)


def connect(address: str, settings: Settings) -> MongoStore:
    """Return the store of a mongodb:// URI.

    Parameters
    ----------
    address
        The URI.
    settings
        Password, place of the blobs, and patience with outages.

    Raises
    ------
    InputError
        When the URI cannot be used.
    StoreError
        When no server answers, or it refuses the user.
    """
    label = without_password(address)
    try:
        client, name = _client(address, settings)
    except (PyMongoError, ValueError) as err:
        raise _unusable(address, err) from None  # the chain may quote the password
    database = client.get_database(name, write_concern=_DURABLE)
    blobs: Blobs
    if settings.blobs in {None, "gridfs"}:
        blobs = GridFSBlobs(database, settings.outage_s)
    else:
        blobs = BlobFolder(in_full(Path(str(settings.blobs))).resolve())
    store = MongoStore(database, blobs, address=address, label=label, settings=settings)
    try:
        client.admin.command("ping")
        _create_indexes(store)
    except PyMongoError as err:
        client.close()
        raise _unusable(address, err) from None
    return store


def _create_indexes(store: MongoStore) -> None:
    """Create the indexes, unless this user may only read."""
    try:
        store.create_indexes()
    except OperationFailure as err:
        if err.code != UNAUTHORIZED:
            raise
        store.read_only = True


def _client(address: str, settings: Settings) -> tuple[MongoClient[dict[str, Any]], str]:
    """Return a client, not yet connected, and the name of the database."""
    parsed = uri_parser.parse_uri(address, validate=True)
    credentials = {}
    if settings.store_password and parsed["username"] and not parsed["password"]:
        password = settings.store_password.get_secret_value()
        credentials = {"username": parsed["username"], "password": password}
    client: MongoClient[dict[str, Any]] = MongoClient(
        address,
        serverSelectionTimeoutMS=_SELECTION_TIMEOUT_MS,
        tz_aware=True,
        appname="lycb_flows",
        serverMonitoringMode="poll",  # "stream" holds one more connection to each server
        **credentials,
    )
    return client, parsed["database"] or DEFAULT_DATABASE


def without_password(address: str) -> str:
    """Return an address without its password and without options that may hold one."""
    bare = re.sub(r"(//[^:/@]*):.*@", r"\1@", address)  # a password may hold / and @
    return re.sub(r"(?i)((?:password|authMechanismProperties)=)[^&]*", r"\1***", bare)


def why_unusable(address: str, error: Exception) -> str:
    """Return why an address cannot be used, with no part of its password.

    Parameters
    ----------
    address
        The address.
    error
        What pymongo says; where special characters split a password, it quotes a part of it.
    """
    password = re.search(r"//[^:/@]*:(.*)@", address)
    if password and set(password[1]) & set("/:?#[]@%"):
        return "special characters of a password are written as %2F for /, %3A for :, %40 for @"
    return without_password(" ".join(str(error).split()))


def _unusable(address: str, err: Exception) -> StoreError | InputError:
    label = without_password(address)
    if isinstance(err, InvalidURI | ConfigurationError | ValueError | InvalidName):
        return InputError(
            "not a usable MongoDB address", fix="see `store` in the settings", store=label,
            reason=why_unusable(address, err),
        )  # fmt: skip
    if isinstance(err, PyMongoError) and (is_full(err) or not is_outage(err)):
        return explained(err, store=label)
    return StoreError("no database answers", fix="start it, or mend `store`", store=label)
