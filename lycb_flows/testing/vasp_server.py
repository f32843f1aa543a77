"""A warmed process that forks the stand-in for VASP: its imports take time once, not per run.

    python -m lycb_flows.testing.vasp_server [MODULE ...] < listening Unix socket

It forks the `main` of each MODULE too, where a program asks for that, for example custodian's
process (`lycb_flows.labels.vasp.process`), whose imports take four seconds.

Whoever starts the stand-in still starts a program, `python -m lycb_flows.testing.vasp`. Where
`LYCB_STAND_IN_SERVER` names the server's socket, that program imports no large package. It sends
its folder, environment and standard streams, and then represents the fork that does the work: it
hands on its signals, the fork dies with it, and it ends with the fork's exit code or signal.

Per run there are three processes: the program, the fork, and a guardian between them, which is
the fork's parent and the server's child.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypedDict

from lycb_flows.machine.bound_programs import die_with_parent

ADDRESS = "LYCB_STAND_IN_SERVER"
_HANDED_ON = (
    signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
    signal.SIGCONT,
)  # fmt: skip
_STREAMS = (0, 1, 2)
_LENGTH_BYTES = 8
_Programs = dict[str, Callable[[], int | None]]


class Request(TypedDict):
    """The message of the program that comes with its streams."""

    module: str
    folder: str
    arguments: list[str]
    environment: dict[str, str]


# -- the program -----------------------------------------------------------------------------------


def run_by_server(address: str, arguments: Sequence[str] = (), module: str = "") -> NoReturn:
    """Let a fork of the server run in this process's folder, and end as it ends.

    Parameters
    ----------
    address
        The server's socket.
    arguments
        Of the command line, for a module that reads it.
    module
        The module whose `main` runs; by default the stand-in does.

    Raises
    ------
    OSError
        When no server listens at the address.
    """
    wish = Request(
        module=module,
        folder=str(Path.cwd()),
        arguments=list(arguments),
        environment=dict(os.environ),
    )
    request = json.dumps(wish).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        for number in _HANDED_ON:
            signal.signal(number, lambda number, _frame: _hand_on(connection, number))
        socket.send_fds(connection, [len(request).to_bytes(_LENGTH_BYTES)], list(_STREAMS))
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(64), b""))
    if not answer:
        sys.exit("the stand-in's server is gone")
    _end(int(answer))


def _hand_on(connection: socket.socket, number: int) -> None:
    connection.sendall(bytes([number]))


def _end(code: int) -> NoReturn:
    """End this process by an exit code, or by a signal where the code is negative."""
    if code < 0:
        if -code not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


# -- the server ------------------------------------------------------------------------------------


def main() -> None:
    """Serve the socket on standard input until the parent ends."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no guardian is waited for
    programs = _warmed(sys.argv[1:])
    listening = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    while True:
        connection, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _guard(connection, programs)
        connection.close()


def _warmed(modules: Sequence[str]) -> _Programs:
    """Return what forks run, by module, with all of its imports done."""
    from lycb_flows.testing.vasp_run import run, warm  # noqa: PLC0415 - the client has no need

    warm()
    return {"": run} | {name: importlib.import_module(name).main for name in modules}


def _guard(connection: socket.socket, programs: _Programs) -> NoReturn:
    """Fork a run, hand signals to it, kill it when the program is gone, and send how it ended."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    header, streams, _, _ = socket.recv_fds(connection, _LENGTH_BYTES, len(_STREAMS))
    n_bytes = int.from_bytes(header)
    request = connection.recv(n_bytes, socket.MSG_WAITALL)
    if len(header) < _LENGTH_BYTES or len(request) < n_bytes:
        os._exit(0)  # the program ended before it had asked
    pid = os.fork()
    if pid == 0:
        connection.close()
        _work(json.loads(request), streams, programs)
    for stream in streams:
        os.close(stream)
    _wait(connection, os.pidfd_open(pid))
    _, status = os.waitpid(pid, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _wait(connection: socket.socket, fork: int) -> None:
    """Return when the fork (a pid file descriptor) has ended."""
    while True:
        ready, _, _ = select.select([connection.fileno(), fork], [], [])
        if fork in ready:
            return
        numbers = connection.recv(16)
        for number in numbers or (signal.SIGKILL,):
            signal.pidfd_send_signal(fork, number)
        if not numbers:
            return


def _work(request: Request, streams: list[int], programs: _Programs) -> NoReturn:
    """Run as the program would: in its folder, with its environment and streams."""
    die_with_parent()
    os.setsid()
    for stream, number in zip(streams, _STREAMS, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]
    code = 1
    try:
        code = programs[request["module"]]() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - a fork must never return into its parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
