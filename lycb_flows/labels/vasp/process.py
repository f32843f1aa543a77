"""One VASP run under custodian: `python -m lycb_flows.labels.vasp.process FOLDER`.

Reads `request.json` in the folder, lets atomate2's `run_vasp` run VASP there with custodian's
handlers under our policy, and leaves `outcome.json`. VASP ends when this process is ended.

All of atomate2's handlers stay on: each finds something that makes a label worthless
(`LargeSigmaHandler`: a smearing that turned the crystal into a metal), and the policy decides
which corrections are accepted. custodian's `WalltimeHandler` is not among them: a static
calculation that stops early gives no label, and labels have a time limit (`labels.timeout_s`).
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import shlex
import signal
import sys
import time
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

from custodian.custodian import CustodianError, ErrorHandler
from custodian.utils import tracked_lru_cache
from custodian.vasp.handlers import FrozenJobErrorHandler

from lycb_flows.labels.vasp.policy import ASKED, Inputs, Outcome, Request, find_changes
from lycb_flows.machine.bound_programs import GRACE_S, bound_command, die_with_parent

MAX_CORRECTIONS = 5
"""atomate2's default: what is not cured by then never is."""
_POLL_S = 0.2
_CORRECTED = "last_correction"
"""A file that is touched at each correction: older results are of the run before it."""


def main() -> None:
    """Run VASP as the request in the folder of the first argument says."""
    folder = Path(sys.argv[1]).resolve()
    signal.signal(signal.SIGTERM, _stop)
    die_with_parent()
    request = Request.model_validate_json((folder / "request.json").read_bytes())
    os.chdir(folder)
    try:
        outcome = run_custodian(folder, request)
    finally:
        _end_children()
    (folder / "outcome.json").write_text(outcome.model_dump_json())


class Policed(ErrorHandler):
    """A handler of custodian whose corrections stay within the policy.

    A correction that changes physics is taken back, and custodian gets none. It then stops, and no
    hours are spent on a label that would not be kept.

    Parameters
    ----------
    handler
        The handler of custodian.
    """

    def __init__(self, handler: ErrorHandler) -> None:
        self.handler = handler
        self.vetoes: list[dict[str, Any]] = []
        self.is_monitor = handler.is_monitor
        self.is_terminating = handler.is_terminating
        self.raises_runtime_error = handler.raises_runtime_error
        self.max_num_corrections = handler.max_num_corrections
        self.raise_on_max = handler.raise_on_max

    def __repr__(self) -> str:
        """Return custodian's own name of the handler, for messages."""
        return type(self.handler).__name__

    def check(self, directory: str = "./") -> bool:
        """Return whether the handler found its error."""
        return bool(self.handler.check(directory=directory))  # type: ignore[no-untyped-call]  # custodian has no types

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Return the handler's correction, or none where it would change physics.

        Returns
        -------
        dict
            custodian's record: errors and actions; with `vetoed` where the actions were taken back.
        """
        folder = Path(directory)
        names = ("INCAR", "KPOINTS", "POSCAR")
        before = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
        record = self._corrected(folder)
        tracked_lru_cache.tracked_cache_clear()
        original = Inputs.from_folder(folder, ASKED)
        changes = find_changes(original, Inputs.from_folder(folder))
        if not changes.physics:
            (folder / _CORRECTED).touch()
            return record
        for name, content in before.items():
            (folder / name).write_bytes(content)
        veto = {"errors": record["errors"], "physics": list(changes.physics)}
        self.vetoes.append(veto)
        return {"errors": record["errors"], "actions": None, "vetoed": veto["physics"]}

    def _corrected(self, folder: Path) -> dict[str, Any]:
        try:
            record: dict[str, Any] = self.handler.correct(directory=str(folder))  # type: ignore[no-untyped-call]  # likewise
        except TypeError:
            # custodian 2026.10.21 compares None with a number where OUTCAR ends before it counts
            # electrons, as after EDDDAV in the first iteration; without an OUTCAR it goes on
            (folder / "OUTCAR").unlink()
            tracked_lru_cache.tracked_cache_clear()
            record = self.handler.correct(directory=str(folder))  # type: ignore[no-untyped-call]  # likewise
        return record


def run_custodian(folder: Path, request: Request) -> Outcome:
    """Run VASP in a folder until custodian has no more corrections or gives up.

    Parameters
    ----------
    folder
        The folder with VASP's inputs.
    request
        VASP's command, and how it is watched.
    """
    from atomate2.vasp import run  # noqa: PLC0415 - seconds

    handlers = [Policed(copy.deepcopy(handler)) for handler in run.DEFAULT_HANDLERS]
    for policed in handlers:
        if isinstance(policed.handler, FrozenJobErrorHandler):
            policed.handler.timeout = request.frozen_s
    polls = max(1, round(request.monitor_s / _POLL_S))
    error, message = "", ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen and custodian warn of unconverged runs
        try:
            run.run_vasp(
                vasp_cmd=shlex.join(
                    bound_command(shlex.split(request.command), folder / "ended.json")
                ),
                max_errors=MAX_CORRECTIONS,
                scratch_dir=None,  # type: ignore[arg-type]  # ours, whatever atomate2's settings say
                handlers=handlers,
                vasp_job_kwargs={"auto_gamma": False},
                custodian_kwargs={
                    "directory": str(folder),
                    "polling_time_step": _POLL_S,
                    "monitor_freq": polls,
                },
            )
            if _are_left_over(folder):
                error, message = "LeftOver", "the last run wrote no vasprun.xml"
        except CustodianError as err:
            error, message = type(err).__name__, err.message
    return Outcome(
        error=error,
        message=message,
        vetoes=tuple(veto for policed in handlers for veto in policed.vetoes),
        errors=_errors_seen(folder),
    )


def _are_left_over(folder: Path) -> bool:
    corrected, result = folder / _CORRECTED, folder / "vasprun.xml"
    return corrected.exists() and result.stat().st_mtime_ns < corrected.stat().st_mtime_ns


def _errors_seen(folder: Path) -> tuple[str, ...]:
    with contextlib.suppress(OSError, ValueError):
        log = json.loads((folder / "custodian.json").read_text())
        return tuple(
            str(error)
            for job in log
            for correction in job["corrections"]
            for error in correction["errors"]
        )
    return ()


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _end_children() -> None:
    """End VASP before its folder is removed; its parent process kills what does not end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    for pid in children.read_text().split() if children.is_file() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
    until = time.monotonic() + GRACE_S + 1
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            ended, _ = os.waitpid(-1, os.WNOHANG)
            if ended == 0:
                time.sleep(_POLL_S / 10)


if __name__ == "__main__":
    main()
