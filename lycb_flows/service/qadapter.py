"""Queue adapters: the batch jobs that `qlaunch` submits to start our workers.

Slurm uses FireWorks' own template. PBS uses ours (`pbs_template.txt`), as FireWorks' template has
neither `select` nor GPUs.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from lycb_flows.config import Config, first_fault, matching
from lycb_flows.errors import InputError

Word = Annotated[
    str,
    matching(r"[A-Za-z0-9_.@:+,/-]+", "a word has letters without accents, digits and _.@:+,/-"),
]
Line = Annotated[str, matching(r"[^\n]*", "this is a single line")]

_PBS_TEMPLATE = Path(__file__).with_name("pbs_template.txt")
_HEADER = "# Written by `lycb qadapter` for FireWorks' qlaunch.\n"


class QueueConfig(Config):
    """One batch job: the resources that it requests, and the worker that it runs."""

    queue_type: Literal["SLURM", "PBS"] = Field("SLURM", description="The batch system.")
    queue: Word | None = Field(None, description="Slurm's partition, PBS' queue.")
    account: Word | None = Field(None, description="Account that pays.")
    job_name: Word = Field("lycb", description="Name of the job in the queue.")
    walltime_minutes: int = Field(1440, ge=2, description="Walltime that the queue grants.")
    signal_before_s: int = Field(
        120,
        ge=0,
        description="The worker plans to end so many seconds before the walltime; Slurm sends "
        "USR1 then.",
    )
    nodes: int = Field(1, ge=1, description="Number of nodes; more than one for MPI in labels.")
    tasks_per_node: int = Field(1, ge=1, description="MPI ranks of a label.")
    cpus_per_task: int = Field(1, ge=1, description="Cores and processes of each worker.")
    gpus: int = Field(0, ge=0, description="GPUs per node.")
    workers: int | None = Field(
        None, ge=1, description="Workers side by side on a node; default: one for each GPU."
    )
    memory_gb: int | None = Field(None, ge=1, description="Memory per node; default: the queue's.")
    category: tuple[Word, ...] = Field(
        ("gpu",), min_length=1, description="Categories of jobs that the worker takes."
    )
    n_launches: int | None = Field(None, ge=1, description="Most jobs per worker; default: any.")
    max_idle_s: int = Field(300, ge=0, description="A worker without work leaves after this.")
    launchpad: Path | None = Field(
        None, description="launchpad.yaml, on a file system that the nodes share."
    )
    pre_rocket: tuple[Line, ...] = Field((), description="Shell lines before the worker starts.")
    command: Line | None = Field(
        None, description="One command instead of our worker, such as `rlaunch rapidfire`."
    )

    @model_validator(mode="after")
    def _warning_lies_within_the_walltime(self) -> Self:
        if self.worker_walltime_minutes < 1:
            msg = (
                f"signal_before_s = {self.signal_before_s} leaves less than a minute of "
                f"walltime_minutes = {self.walltime_minutes}"
            )
            raise ValueError(msg)
        return self

    @property
    def n_workers(self) -> int:
        """Workers of a batch job; another command than ours is one."""
        return 1 if self.command else self.workers or max(1, self.gpus)

    @property
    def worker_walltime_minutes(self) -> int:
        """The worker's walltime in minutes, shorter than the queue's by `signal_before_s`."""
        return (self.walltime_minutes * 60 - self.signal_before_s) // 60


def check_queue_config(fields: dict[str, Any]) -> QueueConfig:
    """Return the config of these fields, such as a command line's options.

    Raises
    ------
    InputError
        When a field is not usable; the first of them is named.
    """
    try:
        return QueueConfig.model_validate(fields)
    except ValidationError as err:
        fault = first_fault(err)
        raise InputError(
            fault.message,
            fix="see `lycb qadapter --help`",
            at=".".join(fault.place) or "the queue",
            **fault.found,
        ) from err


def write_qadapter(config: QueueConfig, path: Path) -> None:
    """Write a `my_qadapter.yaml` for FireWorks' `qlaunch`.

    Parameters
    ----------
    config
        The batch job.
    path
        The file to write.

    Examples
    --------
    >>> write_qadapter(QueueConfig(queue="gpu", gpus=1), Path("my_qadapter.yaml"))

    Raises
    ------
    InputError
        When the file cannot be written, or is there with another content: people edit it.
    """
    text = _HEADER + yaml.dump(_adapter(config), Dumper=_Dumper, sort_keys=False, width=1000)
    try:
        if path.exists() and path.read_bytes() != text.encode():
            raise InputError(
                "the queue adapter is there, with another content",
                fix="remove it, or name another file",
                file=path,
            )
        path.write_text(text)
    except OSError as err:
        raise InputError(
            "cannot write the queue adapter",
            fix="name a file in a folder that exists",
            file=path,
            reason=err.strerror,
        ) from err


class _Dumper(yaml.SafeDumper):
    """A YAML dumper that writes shell lines as lines, as users edit this file."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def _adapter(config: QueueConfig) -> dict[str, Any]:
    resources = _slurm_resources if config.queue_type == "SLURM" else _pbs_resources
    fields = {
        "_fw_name": "CommonAdapter",
        "_fw_q_type": config.queue_type,
        # The worker takes the shell's place: the batch system signals the shell, which would
        # die of USR1, and of TERM before the worker has saved anything.
        "rocket_launch": f"exec {_own_command(config.command) or _worker_command(config)}",
        "job_name": config.job_name,
        "queue": config.queue,
        "account": config.account,
        "walltime": f"{config.walltime_minutes // 60:02}:{config.walltime_minutes % 60:02}:00",
        **resources(config),
        "pre_rocket": "\n".join([*_machine_settings(config), *config.pre_rocket]),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _own_command(command: str | None) -> str | None:
    """Return a command with the path of its program where that lies beside our Python."""
    if command is None:
        return None
    program, *rest = command.split(maxsplit=1)
    beside = _beside_python(program)
    return " ".join([str(beside) if beside.is_file() else program, *rest])


def _beside_python(program: str) -> Path:
    """Return a program of our environment: a batch job's PATH is not ours."""
    return Path(sys.executable).parent / program


def _worker_command(config: QueueConfig) -> str:
    lycb = _beside_python("lycb")
    words = [str(lycb), "worker"]
    for category in config.category:
        words += ["--category", category]
    if config.launchpad:
        words += ["--launchpad", str(config.launchpad.absolute())]
    if config.n_launches is not None:
        words += ["--nlaunches", str(config.n_launches)]
    if config.n_workers > 1:
        words += ["--workers", str(config.n_workers)]
    words += ["--max-idle-s", str(config.max_idle_s)]
    words += ["--walltime-minutes", str(config.worker_walltime_minutes)]
    return shlex.join(words)


def _machine_settings(config: QueueConfig) -> list[str]:
    """Return shell lines that set the job's share of the node; Python counts all cores of it."""
    lines = [f"export LYCB_PROCESSES={config.cpus_per_task}"]
    return [*lines, "export LYCB_DEVICE=cuda"] if config.gpus else lines


def _slurm_resources(config: QueueConfig) -> dict[str, Any]:
    return {
        "nodes": config.nodes,
        "ntasks_per_node": config.tasks_per_node,
        "cpus_per_task": config.cpus_per_task * config.n_workers,
        "gpus_per_node": config.gpus or None,
        "mem": None if config.memory_gb is None else f"{config.memory_gb}G",
        # B: is the batch shell, that is, the worker; without it only `srun` steps get the signal
        "signal": f"B:USR1@{config.signal_before_s}" if config.signal_before_s else None,
    }


def _pbs_resources(config: QueueConfig) -> dict[str, Any]:
    """Return the resources in PBS' words; PBS sends no early signal, only the final TERM."""
    chunk = [
        f"select={config.nodes}",
        f"ncpus={config.tasks_per_node * config.cpus_per_task * config.n_workers}",
        f"mpiprocs={config.tasks_per_node}",
    ]
    if config.gpus:
        chunk.append(f"ngpus={config.gpus}")
    if config.memory_gb is not None:
        chunk.append(f"mem={config.memory_gb}gb")
    return {"_fw_template_file": str(_PBS_TEMPLATE), "select": ":".join(chunk)}
