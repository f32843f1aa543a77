"""Settings of this machine: stores, processes, threads, device. Read inside the running job.

Sources, strongest first: `LYCB_*` environment variables, then a YAML file
(`$LYCB_SETTINGS_FILE`, by default `~/.lycb.yaml`).
"""

from __future__ import annotations

import os
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from lycb_flows.config import discreet_reason, first_fault, parse_yaml
from lycb_flows.errors import InputError
from lycb_flows.machine.engines import CleanUp, Machine, VaspOptimizer, count_cores
from lycb_flows.machine.home import in_full


def _settings_file() -> Path:
    """Return the path of the settings' file, which need not be there unless a variable names it."""
    named = os.environ.get("LYCB_SETTINGS_FILE")
    path = in_full(Path(named or "~/.lycb.yaml"))
    if named and (path.is_dir() or not path.exists()):
        raise InputError("no such settings' file", fix="mend LYCB_SETTINGS_FILE", file=path)
    return path


class _YamlFile(YamlConfigSettingsSource):
    """The settings' file, read as strictly as all others that people write."""

    def _read_file(self, file_path: Path) -> dict[str, object]:  # type: ignore[override]
        try:
            fields = parse_yaml(file_path.read_text(encoding="utf-8")) or {}
        except (yaml.YAMLError, UnicodeDecodeError) as err:
            reason = discreet_reason(err) if isinstance(err, yaml.YAMLError) else "not UTF-8"
            raise InputError("bad settings", fix="mend it", file=file_path, reason=reason) from None
        if not isinstance(fields, dict):
            raise InputError(
                "settings are fields with values", fix="e.g. threads: 1", file=file_path
            )
        return fields


class Settings(BaseSettings):
    """Everything that differs between machines and nothing that changes a result."""

    model_config = SettingsConfigDict(env_prefix="LYCB_", extra="forbid", frozen=True)

    store: str = Field(
        "lycb_store",
        description="Where results are kept: a folder (embedded), or mongodb://host/database.",
    )
    store_password: SecretStr | None = Field(
        None, description="Password of the MongoDB user that `store` names; better not in the URI."
    )
    launchpad_password: SecretStr | None = Field(
        None, description="Password of the user that launchpad.yaml names, where it has none."
    )
    blobs: str | None = Field(
        None,
        description="Where a mongodb:// store keeps bytes: a folder that all workers share, or "
        "gridfs (the default). An embedded store keeps them in its folder.",
    )
    outage_s: float = Field(600.0, gt=0, description="How long to wait for an absent database.")
    scratch: Path = Field(Path("lycb_scratch"), description="Where workers keep launch folders.")
    min_free_gb: float = Field(1.0, ge=0, description="Below this a worker takes no job.")
    max_failures: int = Field(
        3, ge=1, description="So many different jobs failed in a row, and a worker stops."
    )
    ping_s: float = Field(60.0, gt=0, description="A worker's heartbeat.")
    lost_after_s: float = Field(600.0, gt=0, description="Silence after which a job is lost.")
    processes: int = Field(
        default_factory=count_cores,
        ge=1,
        description="Processes for independent work; default: the cores that this one may use.",
    )
    threads: int = Field(1, ge=1, description="Threads of torch, GPAW and VASP, per process.")
    gpaw_launcher: str = Field(
        "", description="Put before GPAW's Python, e.g. 'mpiexec -n 8'; GPAW built with MPI only."
    )
    vasp_command: str | None = Field(
        None, description="Command that starts VASP, e.g. 'srun vasp_std'; none: not here."
    )
    vasp_ncore: int | None = Field(
        None, ge=1, description="VASP's NCORE, cores per orbital; `lycb doctor` suggests one."
    )
    vasp_kpar: int | None = Field(
        None, ge=1, description="VASP's KPAR, k-points at a time; `lycb doctor` suggests one."
    )
    vasp_scratch: Path | None = Field(
        None, description="Where VASP runs, seen by all its nodes; none: the launch folder."
    )
    vasp_waves: Path | None = Field(
        None, description="Where WAVECAR and CHGCAR are kept; none: they are not written."
    )
    vasp_clean_up: CleanUp = Field(
        "always", description="Which folders of VASP's go: always, success (of labels), never."
    )
    vasp_frozen_s: float = Field(
        21_600.0, gt=0, description="Silence after which VASP hangs (custodian's 6 h)."
    )
    vasp_optimizer: VaspOptimizer = Field(
        "ase",
        description="What relaxes with VASP: ase (ASE's FIRE, every step a label), vtst (VASP "
        "built with VTST, IOPT=7), cg (VASP's conjugate gradients).",
    )
    keep_logs: bool = Field(
        default=True,
        description="Keep what VASP and GPAW wrote, compressed, with each label and failure.",
    )
    pythons: dict[str, Path] = Field(
        {},
        description="Python of the environment of a package whose calculators are models, by the "
        "package's name, e.g. {mace: /opt/mace/bin/python}.",
    )
    device: str = Field("cpu", description="Torch device of the potentials.")
    worker_name: str = Field("embedded", description="Name written into what this worker makes.")

    @property
    def settings_file(self) -> Path:
        """The YAML file, whether it is there or not."""
        return _settings_file()

    @property
    def machine(self) -> Machine:
        """The part of the settings that labelling engines see."""
        return Machine(**{field.name: getattr(self, field.name) for field in fields(Machine)})

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the sources, strongest first: arguments, environment, the YAML file."""
        yaml_source = _YamlFile(settings_cls, yaml_file=_settings_file())
        return init_settings, env_settings, yaml_source


def load_settings() -> Settings:
    """Return the settings of this process as variables and file are now.

    Raises
    ------
    InputError
        When a variable or the file holds something unusable, or there is no file of the name that
        `LYCB_SETTINGS_FILE` gives.
    """
    file = _settings_file()
    changed_ns = file.stat().st_mtime_ns if file.is_file() else None
    variables = (item for item in os.environ.items() if item[0].upper().startswith("LYCB_"))
    return _read_settings((*sorted(variables), file, changed_ns))


@lru_cache(maxsize=4)
def _read_settings(_sources: tuple[object, ...]) -> Settings:
    """Return the settings of the sources; jobs ask often, and reading takes 5 ms."""
    try:
        return Settings()
    except ValidationError as err:
        fault = first_fault(err)  # a value may be a password
        raise InputError(
            "bad setting",
            fix=f"see the LYCB_* variables and {_settings_file()}",
            setting=".".join(fault.place),
            reason=fault.message,
        ) from err
