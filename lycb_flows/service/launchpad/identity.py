"""Which process does something, in words that another process can check."""

from __future__ import annotations

import os
import socket
from pathlib import Path

_STATE, _START = 0, 19  # fields of /proc/PID/stat after the command's name


def this_process() -> str:
    """`host/machine/pid/start` of this process; unique, also after the pid is used again."""
    pid = os.getpid()
    _, start = _stat(pid)
    return "/".join((socket.gethostname(), _machine(), str(pid), start))


def is_gone(owner: str) -> bool:
    """Whether a process is certainly dead: it ran on this machine and is not here any more.

    Parameters
    ----------
    owner
        What `this_process` said there; anything else is not certain.
    """
    parts = owner.split("/")
    if len(parts) != len(("host", "machine", "pid", "start")):
        return False
    host, machine, pid, start = parts
    if (host, machine) != (socket.gethostname(), _machine()):
        return False
    state, started = _stat(int(pid))
    return state in {"", "Z", "X"} or started != start


def host_and_pid(owner: str) -> str:
    """For people: `process 123 on node7`."""
    host, _, pid, _ = owner.split("/")
    return f"process {pid} on {host}"


def _machine() -> str:
    """Boot and pid namespace: in containers, equal names and pids are not the same process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # no /proc: macOS
        return "-"


def _stat(pid: int) -> tuple[str, str]:
    """State letter and start time of a process here; empty when there is none."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return _signalled(pid)
    fields = line.rpartition(")")[2].split()
    return fields[_STATE], fields[_START]


def _signalled(pid: int) -> tuple[str, str]:
    """The same without /proc: whether the process can be signalled; the start is unknown."""
    if Path("/proc/self/stat").exists():
        return "", ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "", "-"
    except PermissionError:
        pass
    return "S", "-"
