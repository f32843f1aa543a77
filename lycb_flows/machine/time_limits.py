"""A label that takes too long is stopped, in the main thread and in others."""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from lycb_flows.errors import LabelError

T = TypeVar("T")


def call_within(seconds: float, act: Callable[[], T], setting: str = "labels.timeout_s") -> T:
    """Return what a call returns, unless it takes too long; a waiting program ends too.

    In the main thread an alarm interrupts whatever waits. Another thread is interrupted
    when it next runs Python code: `run_bound` sees to that, a long call of a library
    ends first.

    Parameters
    ----------
    seconds
        The limit.
    act
        The call.
    setting
        Where a user changes the limit.

    Raises
    ------
    LabelError
        When the limit is reached.
    """
    in_main = threading.current_thread() is threading.main_thread()
    try:  # around the context, too: the error may come while that is entered or left
        with _alarm(seconds) if in_main else _timer(seconds):
            return act()
    except _OverError:
        raise LabelError(
            "a label took too long", fix=f"raise {setting} if that is normal", limit_s=seconds
        ) from None


class _OverError(BaseException):
    """The time is over; no Exception, so that nobody in between keeps it."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _OverError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextmanager
def _timer(seconds: float) -> Iterator[None]:
    thread, lock = threading.get_ident(), threading.Lock()
    ended = False

    def stop() -> None:
        with lock:
            if not ended:
                _raise_in(thread, _OverError)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            ended = True
        _raise_in(thread, None)  # what was on its way


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """Let Python raise an error in a thread, or take back one that it was about to raise."""
    raised = ctypes.py_object(error) if error is not None else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
