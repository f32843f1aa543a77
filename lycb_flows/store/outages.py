"""An absent database is waited for: restarts and outages are no failures of the work."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from pymongo.errors import ConnectionFailure, OperationFailure, PyMongoError

from lycb_flows.errors import StoreError

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_RIGHTS = {13, 18, 8000}  # Unauthorized, AuthenticationFailed, AtlasError
_OUTAGE_LABELS = ("RetryableWriteError", "TransientTransactionError", "NetworkError")


def is_outage(error: BaseException) -> bool:
    """Whether the database is away (and not: the request is wrong)."""
    if not isinstance(error, PyMongoError):
        return False
    labelled = any(error.has_error_label(label) for label in _OUTAGE_LABELS)
    return isinstance(error, ConnectionFailure) or bool(error.timeout) or labelled


def patiently(
    act: Callable[[], R], for_s: float, is_worth_it: Callable[[Exception], bool] = is_outage
) -> R:
    """Do something, again and again with back-off while that is worth it, for so long.

    Raises
    ------
    Exception
        The last one of `act`.
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


class WaitsForDatabase(Protocol):
    """What says how long to wait."""

    outage_s: float


S = TypeVar("S", bound=WaitsForDatabase)


def survives_outages(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], R]:
    """The method, tried again with back-off while the database is away; it must bear that.

    Raises
    ------
    StoreError
        When the database stays away for `outage_s`, or refuses the user.
    """

    @functools.wraps(method)
    def wrapped(self: S, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return patiently(lambda: method(self, *args, **kwargs), self.outage_s)
        except PyMongoError as err:
            if isinstance(err, OperationFailure) and err.code in _RIGHTS:
                raise StoreError(
                    "the database refuses this user", fix="check user, password and rights"
                ) from None
            if is_outage(err):
                raise StoreError("the database is away", fix="start it, then run again") from err
            raise

    return cast("Callable[Concatenate[S, P], R]", wrapped)
