"""An absent database is waited for: restarts and outages are no failures of the work."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar, cast

from pymongo.errors import AutoReconnect, OperationFailure

from lycb_flows.errors import StoreError

P = ParamSpec("P")
R = TypeVar("R")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
_RIGHTS = {13, 18, 8000}  # Unauthorized, AuthenticationFailed, AtlasError


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
        until, wait_s = time.monotonic() + self.outage_s, _FIRST_WAIT_S
        while True:
            try:
                return method(self, *args, **kwargs)
            except AutoReconnect as err:  # network, elections, no server: all of them
                if time.monotonic() + wait_s > until:
                    raise StoreError(
                        "the database is away", fix="start it, then run again"
                    ) from err
            except OperationFailure as err:
                if err.code in _RIGHTS:
                    raise StoreError(
                        "the database refuses this user", fix="check user, password and rights"
                    ) from None
                raise
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    return cast("Callable[Concatenate[S, P], R]", wrapped)
