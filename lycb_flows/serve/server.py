"""The server of `lycb serve`: pages behind their guard, on a loopback address unless told."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from lycb_flows.errors import InputError
from lycb_flows.machine import in_full, load_settings
from lycb_flows.serve import (
    HANDLERS,
    Access,
    Connection,
    Desk,
    Guard,
    Pages,
    Watch,
    count_queries,
    remove_token,
    write_token,
)
from lycb_flows.service.launchpad import load_launchpad
from lycb_flows.store import open_store

_BACKLOG = 1024
_NEEDED_FILES = 4096


@dataclass(frozen=True)
class ServerOptions:
    """What `lycb serve` was told.

    Attributes
    ----------
    host, port
        Where it listens.
    with_levers
        Whether pages may change something.
    token_file
        Where the token is kept; None: ~/.lycb_serve_PORT.token.
    store, launchpad
        Address of the store and file of the LaunchPad; None: those of the settings.
    interval_s
        Time between two looks at the store.
    """

    host: str = "127.0.0.1"
    port: int = 8137
    with_levers: bool = False
    token_file: Path | None = None
    store: str | None = None
    launchpad: Path | None = None
    interval_s: float = 5.0

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False


def connect(options: ServerOptions, *, may_write: bool, with_jobs: bool) -> Connection:
    """Open the store and, where it is shared, the LaunchPad.

    Parameters
    ----------
    options
        Which ones.
    may_write
        Whether the store takes changes through this connection.
    with_jobs
        Whether the LaunchPad is needed.
    """
    store = open_store(options.store or load_settings().store, create=False)
    if not may_write:
        store.refuse_writes()
    launchpad = load_launchpad(options.launchpad) if store.is_shared and with_jobs else None
    return Connection(store, launchpad)


def build(options: ServerOptions, access: Access, say: Callable[[str], None]) -> Starlette:
    """Return the application.

    Parameters
    ----------
    options
        What it serves.
    access
        Its secrets.
    say
        Is told of every change, in a line.
    """
    watcher = Desk("watch", lambda: connect(options, may_write=False, with_jobs=True))
    reader, drawer = (
        Desk(name, lambda: connect(options, may_write=False, with_jobs=False))
        for name in ("read", "draw")
    )
    changer = Desk("change", lambda: connect(options, may_write=True, with_jobs=True))

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(watch.keep_looking())
        yield
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
        for desk in (watcher, reader, drawer, changer):
            desk.close()

    watch = Watch(watcher, options.interval_s)
    pages = Pages(access, watch, reader, drawer, changer if options.with_levers else None, say)
    return Starlette(
        routes=pages.routes(),
        middleware=[Middleware(Guard, access=access)],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )


def serve(options: ServerOptions, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Parameters
    ----------
    options
        What and where.
    say
        Prints a line.

    Raises
    ------
    InputError
        When the address is taken, or there is no such store.
    """
    count_queries()
    connect(
        options, may_write=False, with_jobs=True
    ).close()  # what is wrong is said before anything is served
    names = () if options.is_loopback else _names(options.host)
    access = Access(names=names, with_levers=options.with_levers)
    listener = _listen(options)
    path = options.token_file or in_full(Path(f"~/.lycb_serve_{options.port}.token"))
    config = uvicorn.Config(
        build(options, access, say),
        access_log=False,  # it would write the code of the log-in link
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=2,
        ws="none",
    )
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises it again
    try:
        write_token(path, access.token)
        _raise_limit_of_files()
        _announce(options, access, path, say)
        with listener, contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
        remove_token(path, access.token)


def _names(host: str) -> tuple[str, ...]:
    """Return the names under which this machine may be asked when it listens on an address."""
    own = f"[{host}]" if ":" in host else host
    return (own.lower(), socket.gethostname().lower(), socket.getfqdn().lower())


def _listen(options: ServerOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((options.host, options.port))
        listener.listen(_BACKLOG)
    except OSError as err:
        listener.close()
        raise InputError(
            "cannot listen here", fix="give another --port or --host", host=options.host,
            port=options.port, reason=err.strerror,
        ) from err  # fmt: skip
    return listener


def _raise_limit_of_files() -> None:
    """Allow as many open connections as there may be open pages."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _NEEDED_FILES if hard == resource.RLIM_INFINITY else min(hard, _NEEDED_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _announce(
    options: ServerOptions, access: Access, path: Path, say: Callable[[str], None]
) -> None:
    host = f"[{options.host}]" if ":" in options.host else options.host
    host = socket.getfqdn() if options.host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared
    say(f"http://{host}:{options.port}/login?code={access.code}")
    say("Open this link; its code works once. Later and elsewhere: the token in the file")
    say(f"{path}, which you alone can read and which goes when this ends.")
    if not options.is_loopback:
        say("There is no TLS: whoever can read the network reads the pages and the token.")
    say("Pages may change campaigns." if options.with_levers else "Read-only (see --levers).")
