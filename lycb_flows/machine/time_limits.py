"""A label that takes too long is stopped, in the main thread and in others."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from lycb_flows.errors import LabelError

T = TypeVar("T")
_MOMENT_S = 0.001


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
    try:  # around all of it: the error may come while the limit is set or lifted
        return _under_alarm(seconds, act) if in_main else _under_timer(seconds, act)
    except _OverError:
        raise LabelError(
            "a label took too long", fix=f"raise {setting} if that is normal", limit_s=seconds
        ) from None


class _OverError(BaseException):
    """The time is over; no Exception, so that nobody in between keeps it."""


def _under_alarm(seconds: float, act: Callable[[], T]) -> T:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _OverError

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return act()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _under_timer(seconds: float, act: Callable[[], T]) -> T:
    """Return what a call returns, unless a timer raises an error in this thread first.

    An error that is on its way is waited for, never taken back: when CPython 3.11 takes back an
    asynchronous error, it keeps looking for it at every call, and code that is traced (by
    coverage or a debugger) then stays at its first call for ever.
    """
    thread, lock = threading.get_ident(), threading.Lock()
    ended = raised = caught = False

    def stop() -> None:
        nonlocal raised
        with lock:
            if not ended:
                raised = True
                _raise_in(thread, _OverError)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        return act()
    except _OverError:
        caught = True
        raise
    finally:
        timer.cancel()
        with lock:
            ended = True
        while raised and not caught:
            time.sleep(_MOMENT_S)


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Let Python raise an error in a thread, when that next runs Python code."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
