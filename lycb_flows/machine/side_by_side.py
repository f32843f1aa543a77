"""Several workers of one node: a process each, with a GPU each, under one that passes signals on.

A batch job has one main process, which the queue signals and waits for. It starts the workers,
starts those again that were killed, and ends with the last of them. It imports no torch.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from lycb_flows.errors import MachineError

_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2
_ASK_S = 60.0
_RESTARTS_PER_WORKER = 5
_SIGNALS = (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
_FIRST_GPU = ("cuda", "cuda:0")
_LIBC = ctypes.CDLL(None)


def devices_of(n_workers: int, device: str, visible: str | None) -> list[dict[str, str]]:
    """Return the variables that give each worker of a node its GPU.

    Parameters
    ----------
    n_workers
        Number of workers.
    device
        Torch device of the workers. Another than the first, such as cuda:1, is that of all.
    visible
        What `CUDA_VISIBLE_DEVICES` names: the GPUs of the batch job, by number or UUID; empty:
        there are none. None: it is not set, and for workers on cuda the node's GPUs are numbered;
        where they cannot be counted, one is taken to be there for each worker.

    Returns
    -------
    list[dict[str, str]]
        For each worker; workers share GPUs where there are more of them.
    """
    if visible is None:
        n_gpus = (_count_gpus() or n_workers) if device in _FIRST_GPU else 0
        visible = ",".join(map(str, range(n_gpus)))
    named = [gpu.strip() for gpu in visible.split(",") if gpu.strip()]
    if not named or (device.startswith("cuda") and device not in _FIRST_GPU):
        return [{} for _ in range(n_workers)]
    return [{"CUDA_VISIBLE_DEVICES": named[i % len(named)]} for i in range(n_workers)]


def _count_gpus() -> int:
    """Return how many GPUs NVIDIA's driver lists; 0 where there is none to ask."""
    try:
        found = subprocess.run(
            ["nvidia-smi", "--list-gpus"],  # noqa: S607 - whichever the node has
            capture_output=True,
            text=True,
            check=True,
            timeout=_ASK_S,
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in found.stdout.splitlines())


def run_side_by_side(
    command: Sequence[str], names: Sequence[str], device: str, say: Callable[[str], None]
) -> None:
    """Run workers side by side until the last of them has ended; call it in the main thread.

    SIGUSR1, SIGTERM and Ctrl-C reach all of them. One that was killed is started again, unless a
    signal has come; five times as many as there are workers, after which its node counts as broken.

    Parameters
    ----------
    command
        Program and arguments of a worker; its name is added.
    names
        The workers' names.
    device
        Their torch device.
    say
        Receives a line for each worker that is started again.

    Raises
    ------
    MachineError
        When a worker could not work.
    """
    gpus = devices_of(len(names), device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    workers = _Workers(command, dict(zip(names, gpus, strict=True)), say)
    before = {number: signal.signal(number, workers.pass_on) for number in _SIGNALS}
    try:
        codes = workers.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    failed = [name for name, code in codes.items() if code]
    if failed:
        raise MachineError(
            "a worker of this node could not work",
            fix="see its line above, and `lycb doctor`",
            workers=", ".join(failed),
        )


class _Workers:
    """The processes of `run_side_by_side`."""

    def __init__(
        self,
        command: Sequence[str],
        devices: Mapping[str, Mapping[str, str]],
        say: Callable[[str], None],
    ) -> None:
        self.command, self.devices, self.say = command, devices, say
        self.n_restarts = _RESTARTS_PER_WORKER * len(devices)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.stopped: int | None = None
        self.told: set[str] = set()

    def run(self) -> dict[str, int]:
        """Return the exit codes by name, when all have ended."""
        codes: dict[str, int] = {}
        for name in self.devices:
            self._start(name)
        while self.processes:
            time.sleep(_LOOK_S)
            for name, process in list(self.processes.items()):
                code = process.poll()
                if code is None:
                    continue
                del self.processes[name]
                if code < 0 and self.n_restarts > 0 and self._start(name):
                    self.n_restarts -= 1
                    self.say(f"{name}: killed by {signal.Signals(-code).name}, started again")
                else:
                    codes[name] = code
        return codes

    def _start(self, name: str) -> bool:
        """Start a worker that ends with this process, in whatever way that ends.

        Return whether it was started: after a signal none is. One that comes meanwhile is told to
        the worker as soon as there is one.
        """
        parent = os.getpid()

        def bind() -> None:
            if sys.platform == "linux":
                _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        if self.stopped is not None:
            return False
        self.processes[name] = subprocess.Popen(  # noqa: S603 - our own command
            [*self.command, "--name", name],
            env={**os.environ, **self.devices[name]},
            preexec_fn=bind,  # noqa: PLW1509 - no threads here
        )
        if self.stopped is not None:
            self._tell(name, self.stopped)
        return True

    def pass_on(self, number: int, _frame: FrameType | None) -> None:
        """Send a signal to every worker."""
        self.stopped, self.told = number, set()
        for name in list(self.processes):
            self._tell(name, number)

    def _tell(self, name: str, number: int) -> None:
        """Send the last signal to a worker, once."""
        if name not in self.told:
            self.told.add(name)
            self.processes[name].send_signal(number)
