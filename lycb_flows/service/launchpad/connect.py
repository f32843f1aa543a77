"""Opening the LaunchPad of a launchpad.yaml, with one-line errors where it does not answer."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymongo
import yaml
from fireworks import fw_config
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, InvalidURI, PyMongoError

from lycb_flows.config import discreet_reason, parse_yaml
from lycb_flows.errors import InputError, StoreError
from lycb_flows.machine.settings import load_settings
from lycb_flows.service.launchpad.pad import ServiceLaunchPad
from lycb_flows.store import explained, is_outage, why_unusable

_FIELDS = (
    "host", "port", "name", "username", "password", "logdir", "strm_lvl", "user_indices",
    "wf_user_indices", "authsource", "uri_mode", "mongoclient_kwargs",
)  # fmt: skip
_ANSWER_S = 5.0


def load_launchpad(path: Path | None = None) -> ServiceLaunchPad:
    """Return the LaunchPad of a launchpad.yaml, connected and checked.

    Parameters
    ----------
    path
        A launchpad.yaml; by default the file that FireWorks finds (`FW_CONFIG_FILE`,
        my_launchpad.yaml), else ./launchpad.yaml. Where it has no password, that of the setting
        `launchpad_password` is used.

    Raises
    ------
    InputError
        When the file is missing or not usable.
    StoreError
        When no server answers, or it refuses the login, or it is not a replica set.
    """
    path = path or default_path()
    connection, settings = _read(path), load_settings()
    try:
        launchpad = ServiceLaunchPad(
            outage_s=settings.outage_s, stale_lock_s=2 * settings.ping_s, **connection
        )
    except (InvalidURI, ConfigurationError, ValueError, TypeError, OSError) as err:
        raise InputError(
            "the LaunchPad's address cannot be used",
            fix=f"correct {path}",
            reason=why_unusable(str(connection.get("host")), err),
        ) from None  # pymongo may quote the address
    _check(launchpad, path)
    return launchpad


def default_path() -> Path:
    """Return the path of the launchpad.yaml to use when none is named.

    Raises
    ------
    InputError
        When FW_CONFIG_FILE names a file that does not exist.
    """
    config = os.environ.get("FW_CONFIG_FILE")
    if config and not Path(config).exists():
        raise InputError("no such file", fix="correct FW_CONFIG_FILE", path=config)
    return Path(fw_config.LAUNCHPAD_LOC or "launchpad.yaml")


def _read(path: Path) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise InputError(
            "no LaunchPad", fix="give --launchpad, FireWorks' LAUNCHPAD_LOC or ./launchpad.yaml",
            path=path, reason=err.strerror,
        ) from err  # fmt: skip
    except yaml.YAMLError as err:
        raise InputError(
            "not YAML", fix="see launchpad.yaml of the repository", path=path,
            reason=discreet_reason(err),
        ) from None  # fmt: skip
    unknown = sorted(set(content) - set(_FIELDS)) if isinstance(content, dict) else ["no mapping"]
    if unknown:
        raise InputError(
            "unknown field", fix=f"one of {', '.join(_FIELDS)}", path=path, found=unknown[0]
        )
    # at its default level FireWorks prints every id that it adds
    return _with_password(content) | {"strm_lvl": "ERROR"}


def _with_password(content: dict[str, Any]) -> dict[str, Any]:
    """Return the connection with the settings' password where the file has none."""
    secret = load_settings().launchpad_password
    if secret is None or content.get("password"):
        return content
    password = secret.get_secret_value()
    if not content.get("uri_mode"):
        return content | {"password": password} if content.get("username") else content
    try:
        found = pymongo.uri_parser.parse_uri(content["host"], validate=False)
    except PyMongoError:  # reported when the address is used
        return content
    if found["password"] or not found["username"]:
        return content
    options = dict(content.get("mongoclient_kwargs") or {})
    options |= {"username": found["username"], "password": password}
    return content | {"mongoclient_kwargs": options}


def write_with_password(path: Path | None, copy: Path) -> None:
    """Write a launchpad.yaml with its password, readable by its owner alone.

    FireWorks' own commands (`lpad`, `qlaunch`, `rlaunch`) read the password from this file only.

    Parameters
    ----------
    path
        As of `load_launchpad`.
    copy
        The file to write; one that is there is replaced.

    Raises
    ------
    InputError
        When a file is missing, not usable or cannot be written.
    StoreError
        When the database does not let this user in.
    """
    source = path or default_path()
    load_launchpad(source).close()
    text = yaml.safe_dump(_read(source))
    try:
        copy.unlink(missing_ok=True)  # its mode may be open
        with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as err:
        raise InputError(
            "cannot write the file", fix="give another path", path=copy, reason=err.strerror
        ) from err


def _check(launchpad: ServiceLaunchPad, path: Path) -> None:
    """Check that the server answers, lets us in and is a replica set; read its clock.

    Raises
    ------
    StoreError
        When one of these fails.
    """
    where = {"path": path, "database": launchpad.name}
    try:
        with pymongo.timeout(_ANSWER_S):
            hello = launchpad.connection.admin.command("hello")
            launchpad.fw_id_assigner.find_one({})
    except PyMongoError as err:
        launchpad.close()
        away = is_outage(err)
        raise (_silent(launchpad, where) if away else explained(err, **where)) from None
    if not hello.get("setName") and hello.get("msg") != "isdbgrid":
        launchpad.close()
        raise _standalone(where)
    behind = hello["localTime"].replace(tzinfo=UTC) - datetime.now(UTC)
    launchpad.clock_ahead_s = behind.total_seconds()


def _silent(launchpad: ServiceLaunchPad, where: dict[str, Any]) -> StoreError:
    """Return the error of a server that does not answer or is not a replica set."""
    if not launchpad.uri_mode:
        try:
            with MongoClient[dict[str, Any]](
                launchpad.host, launchpad.port, directConnection=True, timeoutMS=2000
            ) as direct:
                if not direct.admin.command("hello").get("setName"):
                    return _standalone(where)
        except PyMongoError:
            pass
        where |= {"host": launchpad.host, "port": launchpad.port}
    return StoreError(
        "no answer from the LaunchPad's database", fix="start MongoDB, or correct the file", **where
    )


def _standalone(where: dict[str, Any]) -> StoreError:
    return StoreError(
        "the LaunchPad's MongoDB is not a replica set: it would lose jobs when killed",
        fix="start mongod with --replSet rs0 and run rs.initiate() once",
        **where,
    )
