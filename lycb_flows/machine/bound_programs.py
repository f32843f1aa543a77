"""Programs bound to their job: they and what they start end with the job that started them.

`run_bound` is the parent's side. The other side is this file as a script,

    python -S -P bound_programs.py STATUS.json COMMAND...

between the job and the program (VASP, `mpiexec`, `srun`). It gets SIGTERM from the kernel when
its parent dies in whatever way, passes it on, kills after a grace what did not end, and writes
how the program ended. It imports nothing of this package, so it costs 20 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

GRACE_S = 5.0
"""From SIGTERM to SIGKILL: `mpiexec` and `srun` end their ranks meanwhile."""
_PIECE_S = 0.5
_PR_SET_PDEATHSIG = 1
_KILOBYTE_GB = 1024 / 1e9


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes
    ----------
    code
        Its exit code; -9 for SIGKILL.
    peak_memory_gb
        Peak memory of its largest process.
    """

    code: int
    peak_memory_gb: float

    @property
    def how(self) -> str:
        """The exit code or the signal, in words."""
        if self.code >= 0:
            return f"exit code {self.code}"
        return f"killed by {signal.Signals(-self.code).name}"


def bound_command(command: Sequence[str], status: Path) -> list[str]:
    """Return the command that runs a command bound to its parent.

    Parameters
    ----------
    command
        Program and arguments.
    status
        File that will say how the program ended, for `read_ended`.
    """
    return [sys.executable, "-S", "-P", __file__, str(status), *command]


def read_ended(status: Path) -> Ended | None:
    """Return how the program ended; None when what binds it was killed, too."""
    try:
        return Ended(**json.loads(status.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def run_bound(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command that ends with this call: by its end, an exception, or our own death.

    Parameters
    ----------
    command
        Program and arguments; it should end its children when it gets SIGTERM.
    environment
        Variables added to ours.
    """
    with subprocess.Popen(  # noqa: S603 - the caller's own command
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = _outputs(process)
        except BaseException:  # a time limit, the worker's stop
            end_group(process, GRACE_S + 2)  # who is below needs its own grace first
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _outputs(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what a process wrote, once it ends.

    The waiting is done in pieces: between two of them a time limit reaches a thread that is
    not the main one.
    """
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=_PIECE_S)


def end_group(process: subprocess.Popen[str] | subprocess.Popen[bytes], grace_s: float) -> None:
    """Send SIGTERM to a process that leads a group, and SIGKILL to the group after a grace.

    Parameters
    ----------
    process
        Leader of the group.
    grace_s
        Time between the two, in s.
    """
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask Linux to signal this process when its parent ends, in whatever way."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


# -- the script ----------------------------------------------------------------------------------


class _Stop(BaseException):
    """SIGTERM, from whichever process."""


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise _Stop


def main(status: str, command: list[str]) -> int:
    """Run the command; the exit code is its own, 128 + n when signal n killed it.

    Parameters
    ----------
    status
        File to write how the program ended to.
    command
        Program and arguments.
    """
    signal.signal(signal.SIGTERM, _stop)
    die_with_parent(signal.SIGTERM)
    try:
        program = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - the job's own
    except OSError as err:
        sys.stderr.write(f"{command[0]}: {err.strerror}\n")
        return 127
    try:
        code = program.wait()
    except _Stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_group(program, GRACE_S)
        code = -signal.SIGTERM
    peak_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _KILOBYTE_GB
    Path(status).write_text(json.dumps({"code": code, "peak_memory_gb": round(peak_gb, 3)}))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
