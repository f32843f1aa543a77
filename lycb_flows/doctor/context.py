"""What is examined, and what several checks share."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from lycb_flows.errors import LycbError
from lycb_flows.machine import Finding, NotApplicableError, Settings
from lycb_flows.store import MONGODB_SCHEMES, ResultStore

if TYPE_CHECKING:
    from pymongo import MongoClient
    from pymongo.database import Database

    from lycb_flows.service.launchpad import ServiceLaunchPad

MAX_SKEW_S = 5.0
"""More, and one machine's heartbeat looks old to another."""
_GB = 1e9
_SECRET_OPTION = re.compile(r"[?&](?:\w*password|\w*properties)=([^&]+)", re.IGNORECASE)


@dataclass
class Context:
    """The machine and service that are examined; earlier checks open what later ones use.

    Attributes
    ----------
    address
        The result store's.
    launchpad_path
        launchpad.yaml, if it was named.
    settings
        Settings of this machine.
    store, launchpad
        What was opened.
    secrets
        Passwords that no line may hold.
    """

    address: str
    launchpad_path: Path | None
    settings: Settings
    store: ResultStore | None = None
    launchpad: ServiceLaunchPad | None = None
    secrets: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Collect the passwords that must not be printed."""
        password = self.settings.store_password
        self.hide(password.get_secret_value() if password else None)
        if self.in_mongodb:
            with contextlib.suppress(ValueError):  # malformed; said by the look at the store
                self.hide(urlsplit(self.address).password, *_SECRET_OPTION.findall(self.address))

    def hide(self, *secrets: str | None) -> None:
        """Keep these secrets out of every line, encoded or not."""
        self.secrets |= {form for secret in secrets if secret for form in (secret, unquote(secret))}

    @property
    def in_mongodb(self) -> bool:
        """Whether the store is a service's."""
        return self.address.startswith(MONGODB_SCHEMES)

    @property
    def has_queue(self) -> bool:
        """Whether a LaunchPad is meant to be there."""
        named = self.launchpad_path is not None or bool(os.environ.get("FW_CONFIG_FILE"))
        return self.in_mongodb or named

    def opened(self) -> ResultStore:
        """Return the store.

        Raises
        ------
        NotApplicableError
            When it is not open.
        """
        if self.store is None:
            raise NotApplicableError("no open store")
        return self.store

    def database(self) -> Database[dict[str, Any]]:
        """Return the database of the store.

        Raises
        ------
        NotApplicableError
            When the store is a folder.
        """
        from lycb_flows.store import MongoStore  # noqa: PLC0415 - a folder needs none

        store = self.opened()
        if not isinstance(store, MongoStore):
            raise NotApplicableError("embedded: no database server")
        return store.database

    def queue(self) -> ServiceLaunchPad:
        """Return the LaunchPad.

        Raises
        ------
        NotApplicableError
            When there is none, or it is not open.
        """
        if self.launchpad is None:
            raise NotApplicableError(
                "no open LaunchPad" if self.has_queue else "embedded: no queue"
            )
        return self.launchpad

    def close(self) -> None:
        """Close what was opened."""
        if self.store is not None:
            self.store.close()
        if self.launchpad is not None:
            self.launchpad.connection.close()


def find_room(free_bytes: Mapping[str, float], context: Context, fix: str) -> Finding:
    """Check that every place has `min_free_gb` left.

    Parameters
    ----------
    free_bytes
        Free space by place.
    context
        Its settings say how much is wanted.
    fix
        What to do where there is less.
    """
    found = ", ".join(f"{free / _GB:.1f} GB free for {what}" for what, free in free_bytes.items())
    wanted_gb = context.settings.min_free_gb
    if min(free_bytes.values()) >= wanted_gb * _GB:
        return Finding(ok=True, found=found)
    return Finding(ok=False, found=f"{found}; min_free_gb is {wanted_gb:g}", fix=fix)


def nearest_folder(path: Path) -> Path:
    """Return the path, or the closest folder above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.exists())


def write_file(folder: Path) -> None:
    """Make a file in a folder, and remove it.

    Raises
    ------
    LycbError
        When that fails.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"lycb doctor")
            file.flush()
    except OSError as err:
        raise LycbError("cannot write there", folder=folder, reason=err.strerror) from err


def say_hello(client: MongoClient[dict[str, Any]]) -> dict[str, Any]:
    """Return what a server says about itself."""
    return client.admin.command("hello")


def compare_clocks(client: MongoClient[dict[str, Any]]) -> Finding:
    """Check the server's clock against ours.

    Ours is taken at half the time of the question.
    """
    before = clock()
    there: datetime = say_hello(client)["localTime"].replace(tzinfo=UTC)
    after = clock()
    ahead_s = (there - (before + (after - before) / 2)).total_seconds()
    found = f"the database's clock is {abs(ahead_s):.2f} s {'ahead' if ahead_s > 0 else 'behind'}"
    if abs(ahead_s) < MAX_SKEW_S:
        return Finding(ok=True, found=found)
    return Finding(ok=False, found=found, fix="synchronise both machines, e.g. by chrony or NTP")


def clock() -> datetime:
    """Return our time, in UTC."""
    return datetime.now(UTC)
