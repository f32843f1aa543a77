"""Independent work spread over processes that die with their parent.

Workers are spawned, because a fork after torch has started threads may hang. They stay for
many tasks, because importing torch takes seconds. They leave when the parent is gone or leaves
their work, so that no run leaves a process behind that still computes.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from ctypes import c_byte
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import TypeVar

from lycb_flows.errors import MachineError

T = TypeVar("T")
R = TypeVar("R")
_CHECK_S = 0.5
_MEANWHILE_S = 5.0
Reached = Callable[[int], object]
"""Called with how many pieces of the work are done."""


class _Counting(threading.local):
    """Where this thread's pieces of work are counted: nowhere, unless a pool does its work."""

    add: Reached | None = None


_COUNTING = _Counting()


def count_pieces(n: int) -> None:
    """Count pieces of the work of a pool as done, from within that work.

    Parameters
    ----------
    n
        Pieces since the last call.
    """
    if _COUNTING.add is not None:
        _COUNTING.add(n)


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
        self._workers: _Workers | None = None

    def map_ordered(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        *,
        reached: Reached | None = None,
    ) -> Generator[R, None, None]:
        """Yield the results in the order of the items; the work runs side by side.

        The first exception is raised after the results before it were yielded. Work that has begun
        goes on then to its end or restart point. It ends at once when this process is interrupted
        or the iterator is closed.

        Parameters
        ----------
        function
            What is done with each item; it must pickle.
        items
            The work.
        reached
            Called here with how many pieces the work has counted (`count_pieces`), now and then.

        Raises
        ------
        MachineError
            When a process was killed; others take the place of all of them.
        """
        tasks = list(items)
        if self.n_processes == 1 or len(tasks) <= 1:
            with _counting_here(reached):
                yield from map(function, tasks)
            return
        workers, futures = self._started(), list[Future[R]]()
        workers.pieces.value = 0
        try:
            futures += [workers.executor.submit(function, task) for task in tasks]
            for future in futures:
                yield workers.result(future, reached)
        except BrokenProcessPool as err:
            self._drop(workers)
            fix = "look for the kernel's out-of-memory message"
            raise MachineError("a worker process died", fix=fix) from err
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            self._drop(workers)
            raise
        finally:
            for future in futures:
                future.cancel()

    def _drop(self, workers: _Workers) -> None:
        """End worker processes in the midst of their work; others do the next."""
        workers.is_over.value = 1
        workers.executor.shutdown(wait=False, cancel_futures=True)
        if self._workers is workers:
            self._workers = None

    def _started(self) -> _Workers:
        if self._workers is None:
            context = multiprocessing.get_context("spawn")
            pieces = context.Value("q", 0)
            is_over = context.RawValue("b")  # without a lock that the dead might hold
            executor = ProcessPoolExecutor(
                max_workers=self.n_processes,
                mp_context=context,
                initializer=_start_worker,
                initargs=(os.getpid(), pieces, is_over),
            )
            self._workers = _Workers(executor, pieces, is_over)
            os.environ["OMP_NUM_THREADS"] = str(self.threads)  # inherited by the workers
        return self._workers


@dataclass(frozen=True)
class _Workers:
    """Worker processes, the number of pieces that they have counted, and whether they leave."""

    executor: ProcessPoolExecutor
    pieces: Synchronized[int]
    is_over: c_byte

    def result(self, future: Future[R], reached: Reached | None) -> R:
        """Wait for a result, and tell every few seconds how many pieces are done."""
        while reached is not None and not wait([future], timeout=_MEANWHILE_S).done:
            reached(self.pieces.value)
        return future.result()


@contextmanager
def _counting_here(reached: Reached | None) -> Iterator[None]:
    """Tell the pieces that are counted in this thread, each time that some are."""
    before, n_done = _COUNTING.add, 0

    def add(n: int) -> None:
        nonlocal n_done
        n_done += n
        if reached is not None:
            reached(n_done)

    _COUNTING.add = add
    try:
        yield
    finally:
        _COUNTING.add = before


def _start_worker(parent_pid: int, pieces: Synchronized[int], is_over: c_byte) -> None:
    def add(n: int) -> None:
        with pieces.get_lock():
            pieces.value += n

    _COUNTING.add = add

    def leave_with_parent() -> None:
        while os.getppid() == parent_pid and not is_over.value:
            time.sleep(_CHECK_S)
        os._exit(1)

    threading.Thread(target=leave_with_parent, daemon=True).start()
