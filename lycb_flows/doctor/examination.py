"""What keeps this machine from running campaigns: one check after another, each with its fix.

store.py      the settings, the result store
launchpad.py  the LaunchPad, its workers, jobflow's outputs
machine.py    what jobs call (models, device, programs), scratch, threads, memory
plugins.py    what engines that label need (VASP, POTCARs, GPAW), plug-ins of other packages
context.py    what is examined

No check raises or prints a password; one note of the examination stays in the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pymongo

from lycb_flows.doctor import launchpad, machine, store
from lycb_flows.doctor.context import Context
from lycb_flows.doctor.plugins import Line, engine_lines
from lycb_flows.errors import InputError, LycbError
from lycb_flows.machine import Finding, NotApplicableError, Settings, load_settings

__all__ = ["Check", "examine"]

_PATIENCE_S = 5.0
_LONGEST_LINE = 200


@dataclass(frozen=True)
class Check:
    """A line of the examination.

    Attributes
    ----------
    name
        What was checked.
    ok
        None: not applicable here, or not needed; `fix` then says what would be better.
    found
        What was looked at, or what is wrong.
    fix
        What to do, as one clause; empty where there is nothing to do.
    """

    name: str
    ok: bool | None
    found: str
    fix: str = ""


def examine(
    store_address: str, launchpad_path: Path | None = None, settings: Settings | None = None
) -> list[Check]:
    """Return every check, in order; none raises.

    Parameters
    ----------
    store_address
        A folder or mongodb://...
    launchpad_path
        launchpad.yaml; by default what `load_launchpad` finds, where the store is a service's.
    settings
        Settings of this machine, by default read now.
    """
    try:
        settings = settings or load_settings()
    except InputError as err:
        return [Check("settings", ok=False, found=_without_fix(err), fix=err.fix)]
    context = Context(str(store_address), launchpad_path, settings)
    lines = (*_BEFORE_ENGINES, *engine_lines(), *_AFTER_ENGINES)
    try:
        return [_check(name, look, remedy, context) for name, look, remedy in lines]
    finally:
        context.close()


def _check(name: str, look: Callable[[Context], Finding], remedy: str, context: Context) -> Check:
    try:
        with pymongo.timeout(_PATIENCE_S):
            ok, found, fix = look(context)
    except NotApplicableError as err:
        ok, found, fix = None, str(err), ""
    except LycbError as err:
        ok, found, fix = False, _without_fix(err), err.fix or remedy
    except Exception as err:  # noqa: BLE001 - whatever is broken: to say so is the purpose
        ok, found, fix = False, f"{type(err).__name__}: {err}", remedy
    return Check(name, ok, _told(found, context.secrets), _told(fix, context.secrets))


def _without_fix(err: LycbError) -> str:
    return str(err).removesuffix(f": {err.fix}")


def _told(text: str, secrets: set[str]) -> str:
    """Return a text as one line without credentials."""
    line = re.sub(r"//[^/@\s]*:[^/\s]*@", "//***@", " ".join(text.split()))
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, "***")
    return line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 3] + "..."


_RIGHTS = "check the database user's rights"
_BEFORE_ENGINES: tuple[Line, ...] = (
    ("settings", store.look_at_settings, "check the settings file"),
    ("store", store.look_at_store, "check `store` in the settings, and its folder's rights"),
    ("replica set", store.look_at_replica_set, _RIGHTS),
    ("writes", store.look_at_writes, _RIGHTS),
    ("blobs", store.look_at_blobs, "check rights and space of the blobs' place"),
    ("space for results", store.look_at_space, _RIGHTS),
    ("clock", store.look_at_clock, _RIGHTS),
    ("LaunchPad", launchpad.look_at_launchpad, "check launchpad.yaml"),
    ("LaunchPad's writes", launchpad.look_at_launchpad_writes, _RIGHTS),
    ("LaunchPad's clock", launchpad.look_at_launchpad_clock, _RIGHTS),
    ("my_fworker.yaml", launchpad.look_at_categories, "correct it"),
    ("workers", launchpad.look_at_workers, _RIGHTS),
    ("JOB_STORE", launchpad.look_at_job_store, "correct jobflow's settings"),
    ("models", machine.look_at_models, "install chgnet again"),
    ("quantities", machine.look_at_quantities, "uninstall the package that is named"),
    ("device", machine.look_at_device, "install torch again"),
    ("compiled CHGNet", machine.look_at_compiled, "install lycb-flows again"),
    ("enum.x", machine.look_at_enumlib, "install enumlib again"),
)
_AFTER_ENGINES: tuple[Line, ...] = (
    ("Slurm", machine.look_at_slurm, "ask for slurmctld, or leave Slurm off PATH"),
    ("scratch", machine.look_at_scratch, "set LYCB_SCRATCH to a folder that can be written"),
    ("threads", machine.look_at_threads, "set LYCB_THREADS"),
    ("memory", machine.look_at_memory, "set LYCB_PROCESSES"),
)
"""Name, look, and what to do when the look itself breaks; in the order of the lines."""
