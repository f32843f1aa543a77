"""Threads that own a connection each: sqlite's may be used in the thread that opened it only."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from pymongo import monitoring

from lycb_flows.service import ServiceLaunchPad
from lycb_flows.store import ResultStore

T = TypeVar("T")


@dataclass(frozen=True)
class Connection:
    """A result store and, for one that is shared, the LaunchPad of its campaigns."""

    store: ResultStore
    launchpad: ServiceLaunchPad | None

    def close(self) -> None:
        """Close both."""
        self.store.close()
        if self.launchpad is not None:
            self.launchpad.connection.close()


class Desk:
    """One thread with a connection of its own, which answers one question after the other.

    Parameters
    ----------
    name
        Of the thread.
    connect
        Opens the connection; it is called in the thread, when first needed.
    """

    def __init__(self, name: str, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"lycb-{name}")
        self._connection: Connection | None = None

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Return the answer to a question; questions wait for those before them."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._answer, question
        )

    def _answer(self, question: Callable[[Connection], T]) -> T:
        connection = self._connection = self._connection or self._connect()
        try:
            return question(connection)
        finally:
            if connection.store.read_only and connection.store.folder:
                self._leave()  # sqlite reads a folder that it may not write as if it never changed

    def _leave(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        """Close the connection, after the question that is being answered."""
        self._thread.submit(self._leave)
        self._thread.shutdown(wait=True, cancel_futures=False)


class QueryCount(monitoring.CommandListener):
    """How many commands the MongoDB clients of this process have sent."""

    def __init__(self) -> None:
        self.n_commands = 0

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Count a command."""
        del event
        self.n_commands += 1

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Do nothing: a command is counted when it is sent."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Do nothing: a command is counted when it is sent."""


QUERIES = QueryCount()


@functools.cache
def count_queries() -> None:
    """Count the commands of all MongoDB clients that this process opens from now on."""
    monitoring.register(QUERIES)
