"""Checks of what jobs call, and of what this machine has for them.

A check imports what it looks at, so that a broken part is one line and not the end.
"""
# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lycb_flows.doctor.context import Context, find_room, nearest_folder, write_file
from lycb_flows.errors import LycbError
from lycb_flows.machine import (
    Finding,
    NotApplicableError,
    count_cores,
    counted,
    in_full,
    size_text,
)

PROCESS_GB = 1.0
"""Memory that a process with torch and a batch needs."""
_ANSWER_S = 10.0
_GB = 1e9
_OWN_GROUPS, _GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")

# -- what jobs call --------------------------------------------------------------------------


def look_at_models(_context: Context) -> Finding:
    """The models that have names load, and so do the plug-ins of other packages."""
    from lycb_flows.potentials import ARCHITECTURES, find_model

    for err in ARCHITECTURES.broken().values():
        raise err
    found = []
    for architecture in ARCHITECTURES.usable().values():
        names = architecture.model_names
        sizes = [f"{name} {size_text(len(find_model(name).weights))}" for name in names]
        found += sizes or [f"{architecture.name}: {architecture.description}"]
    return Finding(ok=True, found=", ".join(found))


def look_at_quantities(_context: Context) -> Finding:
    """What campaigns can measure loads, packages of others included."""
    from lycb_flows.store.kinds import QUANTITIES

    broken = QUANTITIES.broken()
    if broken:
        return Finding(
            ok=False, found="; ".join(map(str, broken.values())), fix="repair or uninstall these"
        )
    return Finding(ok=True, found=", ".join(QUANTITIES.usable()))


def look_at_device(context: Context) -> Finding:
    """Check that torch has the device of the settings.

    A number is computed on it: that a device is listed is not enough.
    """
    import torch

    name = context.settings.device
    try:
        device = torch.device(name)
        torch.ones(1, device=device).sum().item()
    except (RuntimeError, AssertionError) as err:  # torch without CUDA asserts
        reason = (str(err).splitlines() or [""])[0]
        fix = "set LYCB_DEVICE=cpu, or mend driver, torch build or CUDA_VISIBLE_DEVICES"
        return Finding(ok=False, found=f"no {name}: {reason}", fix=fix)
    here = torch.cuda.get_device_name(device) if device.type == "cuda" else "torch"
    return Finding(ok=True, found=f"{name}: {here} {torch.__version__}")


def look_at_compiled(context: Context) -> Finding:
    """Check that the compiled CHGNet is built, or can be.

    Without a compiler torch is used, which is three times slower.
    """
    from lycb_flows.potentials import load_library

    if not context.settings.device.startswith("cpu"):
        raise NotApplicableError("for the CPU only")
    if os.environ.get("LYCB_COMPILED") == "0":
        raise NotApplicableError("switched off by LYCB_COMPILED=0")
    if load_library() is not None:
        return Finding(ok=True, found="built")
    return Finding(
        ok=False,
        found="no C++ compiler that builds it: torch is used and is slower",
        fix="install g++ (or name one in CXX), or accept it by LYCB_COMPILED=0",
    )


def look_at_enumlib(_context: Context) -> Finding:
    """Report whether enumlib's programs are here; nothing needs them."""
    missing = [name for name in ("enum.x", "makestr.x") if not shutil.which(name)]
    if missing:
        return Finding(None, f"no {' and '.join(missing)}: engine builtin does the same")
    return Finding(ok=True, found="enum.x and makestr.x")


def look_at_slurm(_context: Context) -> Finding:
    """Check that Slurm's commands get an answer.

    A command that hangs fails after `_ANSWER_S`.
    """
    programs = {name: shutil.which(name) for name in ("sinfo", "squeue")}
    if not all(programs.values()):
        raise NotApplicableError("no sinfo and squeue")
    partitions = _output(str(programs["sinfo"]), "--noheader", "--format=%P")
    _output(str(programs["squeue"]), "--noheader", "--me")
    return Finding(ok=True, found=f"partitions {', '.join(partitions.split())}")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - found on PATH
            command, capture_output=True, text=True, timeout=_ANSWER_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise LycbError("a command does not answer", command=command[0]) from None
    if done.returncode:
        reason = next(iter(done.stderr.splitlines()), "")
        raise LycbError("a command fails", command=command[0], reason=reason)
    return done.stdout


# -- this machine ----------------------------------------------------------------------------


def look_at_scratch(context: Context) -> Finding:
    """Check that the launch folders' disk can be written and has room."""
    folder = nearest_folder(in_full(context.settings.scratch))
    write_file(folder)
    free = shutil.disk_usage(folder).free
    fix = "free the disk, set LYCB_SCRATCH elsewhere, or lower LYCB_MIN_FREE_GB"
    return find_room({str(context.settings.scratch): free}, context, fix)


def look_at_threads(context: Context) -> Finding:
    """Check that OpenMP has as many threads as the settings, and each thread a core.

    Torch reads OMP_NUM_THREADS when it is imported, so the settings alone do not decide.
    """
    settings, openmp = context.settings, os.environ.get("OMP_NUM_THREADS", "")
    if openmp != str(settings.threads):
        return Finding(
            ok=False,
            found=f"OMP_NUM_THREADS is {openmp or 'not set'}, `threads` is {settings.threads}",
            fix=f"export OMP_NUM_THREADS={settings.threads}, or set LYCB_THREADS",
        )
    n_cores = count_cores()
    processes = counted(settings.processes, "process", "processes")
    found = f"{processes} of {counted(settings.threads, 'thread')} on {counted(n_cores, 'core')}"
    if settings.processes * settings.threads > n_cores:
        most = max(1, n_cores // settings.threads)
        return Finding(ok=False, found=found, fix=f"set LYCB_PROCESSES to {most} or less")
    return Finding(ok=True, found=found)


def look_at_memory(context: Context) -> Finding:
    """Check that there is memory for all processes.

    Each needs about `PROCESS_GB` for torch and a batch.
    """
    n_processes, total_gb = context.settings.processes, _memory_bytes() / _GB
    found = f"{total_gb:.1f} GB for {counted(n_processes, 'process', 'processes')}"
    if total_gb >= n_processes * PROCESS_GB:
        return Finding(ok=True, found=found)
    most = max(1, int(total_gb / PROCESS_GB))
    return Finding(ok=False, found=found, fix=f"set LYCB_PROCESSES to {most} or less")


def _memory_bytes() -> int:
    """Return the memory of the machine, or less where a container or job has a limit."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError):  # there are no control groups
        for file in _limits_of(_OWN_GROUPS.read_text(encoding="utf-8")):
            with contextlib.suppress(OSError, ValueError):  # none, or "max"
                limits.append(int(file.read_text(encoding="ascii")))
    return min(limits)


def _limits_of(groups: str) -> Iterator[Path]:
    """Yield the files of the memory's limits: of a process's control groups and those above."""
    for line in groups.splitlines():
        _, controllers, place = line.split(":", 2)
        if not controllers:  # cgroups 2
            top, name = _GROUPS, "memory.max"
        elif "memory" in controllers.split(","):  # cgroups 1
            top, name = _GROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        own = top / place.lstrip("/")
        yield from (group / name for group in (own, *own.parents) if group.is_relative_to(top))
