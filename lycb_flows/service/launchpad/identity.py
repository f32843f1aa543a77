"""Names of processes that other processes can check: still running, or certainly dead."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_STATE, _START = 0, 19  # fields of /proc/PID/stat after the command's name
_UNKNOWN = "-"


def this_process() -> str:
    """Return `host/machine/pid/start` of this process.

    The start time keeps the name unique after the pid has been used again.
    """
    pid = os.getpid()
    _, start = _stat(pid)
    return "/".join((socket.gethostname(), _machine(), str(pid), start))


def is_gone(owner: str) -> bool:
    """Return whether a process that ran on this machine is certainly dead.

    Parameters
    ----------
    owner
        What `this_process` returned there; of any other text nothing is certain.
    """
    parts = owner.split("/")
    if len(parts) != len(("host", "machine", "pid", "start")):
        return False
    host, machine, pid, start = parts
    if (host, machine) != (socket.gethostname(), _machine()):
        return False
    state, started = _stat(int(pid))
    return state in {"", "Z", "X"} or (_UNKNOWN not in {start, started} and started != start)


def host_and_pid(owner: str) -> str:
    """Return an owner in words, such as `process 123 on node7`."""
    host, _, pid, _ = owner.split("/")
    return f"process {pid} on {host}"


def _machine() -> str:
    """Return the boot and the pid namespace of this machine.

    Host name and pid alone may be equal in two containers.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # no /proc: macOS
        return "-"


def _stat(pid: int) -> tuple[str, str]:
    """Return state letter and start time of a process on this machine; no letter without one."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return _signalled(pid)
    fields = line.rpartition(")")[2].split()
    return fields[_STATE], fields[_START]


def _signalled(pid: int) -> tuple[str, str]:
    """Return the same as `_stat` where /proc is not there, or hides the processes of others."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "", _UNKNOWN
    except PermissionError:
        pass
    return "S", _UNKNOWN
