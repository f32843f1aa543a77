"""Independent work spread over processes that die with their parent.

Workers are spawned, because a fork after torch has started threads may hang. They stay for
many tasks, because importing torch takes seconds. They leave when the parent is gone, so that
a run killed with -9 leaves no process behind that still writes results.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import TypeVar

from lycb_flows.errors import LycbError

T = TypeVar("T")
R = TypeVar("R")
_PARENT_CHECK_S = 0.5
_MEANWHILE_S = 5.0


class ProcessPool:
    """A pool of worker processes, started when first needed.

    Parameters
    ----------
    n_processes
        Workers; with 1 the work is done in this process.
    threads
        OpenMP threads per worker, set before torch is imported there.
    """

    def __init__(self, n_processes: int, threads: int = 1) -> None:
        self.n_processes, self.threads = n_processes, threads
        self._executor: ProcessPoolExecutor | None = None

    def map_ordered(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        *,
        meanwhile: Callable[[], object] | None = None,
    ) -> Iterator[R]:
        """Yield the results in the order of the items; the work runs side by side.

        The first exception is raised after the results before it were yielded.

        Parameters
        ----------
        function
            What is done with each item; it must pickle.
        items
            The work.
        meanwhile
            Called every few seconds here while other processes work.
        """
        tasks = list(items)
        if self.n_processes == 1 or len(tasks) <= 1:
            yield from map(function, tasks)
            return
        futures = [self._pool().submit(function, task) for task in tasks]
        try:
            for future in futures:
                yield _result(future, meanwhile)
        finally:
            for future in futures:
                future.cancel()

    def _pool(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                max_workers=self.n_processes,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=partial(_start_worker, os.getpid()),
            )
            os.environ["OMP_NUM_THREADS"] = str(self.threads)  # inherited by the workers
        return self._executor


def _result(future: Future[R], meanwhile: Callable[[], object] | None) -> R:
    while meanwhile is not None and not wait([future], timeout=_MEANWHILE_S).done:
        meanwhile()
    try:
        return future.result()
    except BrokenProcessPool as err:
        raise LycbError(
            "a worker process died", fix="look for the kernel's out-of-memory message"
        ) from err


def _start_worker(parent_pid: int) -> None:
    def leave_with_parent() -> None:
        while os.getppid() == parent_pid:
            time.sleep(_PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
