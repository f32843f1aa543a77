"""Patience with an absent database: restarts and outages are no failures of the work."""

from __future__ import annotations

import functools
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError

from lycb_flows.errors import LycbError, StoreError, first_line

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
UNAUTHORIZED = 13
_CREDENTIALS, _NO_LOGIN = 18, "requires authentication"
_ATLAS, _QUOTA = 8000, "quota"
_NO_SPACE = frozenset({28, 14031})
"""Codes of the server: AuthenticationFailed, AtlasError, the system's ENOSPC and OutOfDiskSpace."""
_NO_SPACE_TEXT = "28: No space left on device"
"""What the storage engine says under the code of an unknown error."""
_NEW_PRIMARY = frozenset({91, 189, 10107, 11600, 11602, 13435})
"""Codes of writes that a shutdown or the step-down of a primary has interrupted or refused."""
_OUTAGE_LABELS = ("RetryableWriteError", "TransientTransactionError", "NetworkError")


def is_outage(error: BaseException) -> bool:
    """Return whether the database is away or full, as opposed to a wrong request.

    Both end without anything wrong with the work.
    """
    if not isinstance(error, PyMongoError):
        return False
    if is_full(error):
        return True
    labelled = any(error.has_error_label(label) for label in _OUTAGE_LABELS)
    away = isinstance(error, ConnectionFailure) or bool(error.timeout) or labelled
    return away or bool(_NEW_PRIMARY & _codes_of_writes(error))


def is_full(error: BaseException) -> bool:
    """Return whether the database has no space left for what it is to write."""
    code, text = _code_of(error), str(error)
    return code in _NO_SPACE or _NO_SPACE_TEXT in text or (code == _ATLAS and _QUOTA in text)


def is_of_database(error: BaseException) -> bool:
    """Return whether it is the database that failed, as opposed to one thing that is in it."""
    errors = (error, error.__cause__)
    return any(isinstance(each, PyMongoError | sqlite3.Error) for each in errors)


def patiently(
    act: Callable[[], R], for_s: float, is_worth_it: Callable[[Exception], bool] = is_outage
) -> R:
    """Call a function again and again, with back-off, while it is worth it.

    Parameters
    ----------
    act
        What is called.
    for_s
        How long to go on, in s.
    is_worth_it
        Whether an exception may pass by itself.

    Raises
    ------
    Exception
        The last exception of `act`.
    """
    until, wait_s = time.monotonic() + for_s, _FIRST_WAIT_S
    while True:
        try:
            return act()
        except Exception as err:  # raised again unless it is one to wait for
            if not is_worth_it(err) or time.monotonic() + wait_s > until:
                raise
            logger.info("trying again in %.1f s: %s", wait_s, type(err).__name__)
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


def explained(error: PyMongoError, **where: object) -> StoreError:
    """Return in one line why the database does not do what was asked.

    An outage, wrong credentials, missing rights and a full disk are told apart.

    Parameters
    ----------
    error
        What pymongo has raised.
    **where
        What the line names: an address without a password, or a file.
    """
    if is_full(error):
        return StoreError(
            "the database's disk is full", fix="free space there, then run again", **where
        )
    if is_outage(error):
        return StoreError("the database is away", fix="start it, then run again", **where)
    code, text = _code_of(error), str(error)
    if code in {_CREDENTIALS, _ATLAS} or (code == UNAUTHORIZED and _NO_LOGIN in text):
        return StoreError(
            "the database refuses this user",
            fix="check user, authSource and LYCB_STORE_PASSWORD or LYCB_LAUNCHPAD_PASSWORD",
            **where,
        )
    if code == UNAUTHORIZED:
        return StoreError(
            "this user of the database lacks a right",
            fix="grant the role readWrite; `read` is enough for questions",
            **where,
            reason=text.partition(", full error")[0][:200],
        )
    return StoreError(
        "the database refuses a request", fix="see its log", **where, code=code, reason=text[:200]
    )


def in_one_line(error: Exception) -> str:
    """Return in one line what failed; of an unexpected error with its type."""
    if isinstance(error, PyMongoError):
        error = explained(error)
    unexpected = "" if isinstance(error, LycbError) else f"{type(error).__name__}: "
    return unexpected + first_line(error)


def _codes_of_writes(error: BaseException) -> set[int]:
    """Return the server's codes of all that failed among many writes, which carry no label."""
    if not isinstance(error, BulkWriteError):
        return set()
    kinds = ("writeErrors", "writeConcernErrors")
    return {int(each["code"]) for kind in kinds for each in error.details.get(kind, ())}


def _code_of(error: BaseException) -> int | None:
    """Return the server's code, of many writes that of the first that failed."""
    if isinstance(error, BulkWriteError) and error.details.get("writeErrors"):
        return int(error.details["writeErrors"][0]["code"])
    return error.code if isinstance(error, OperationFailure) else None


class WaitsForDatabase(Protocol):
    """An object that knows how long to wait for its database."""

    outage_s: float


S = TypeVar("S", bound=WaitsForDatabase)


def survives_outages(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], R]:
    """Return a method that is tried again while the database is away; it must bear that.

    Raises
    ------
    StoreError
        When the database stays away for `outage_s`, or refuses the request.
    """

    @functools.wraps(method)
    def wrapped(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return patiently(lambda: method(self, *args, **kwargs), self.outage_s)
        except PyMongoError as err:
            if isinstance(err, OperationFailure) or is_outage(err):
                raise explained(err) from err
            raise

    return cast("Callable[Concatenate[S, P], R]", wrapped)
