"""Who may see the pages of `lycb serve`, and who may change something.

The loopback of a login node belongs to all its users, so every page needs the token. It lies in
a file that its owner alone can read, is new at every start, and travels in headers and in the
body of the log-in only. Three secrets are made of it, so that none of them tells another one: a
code that works once, the cookie of a browser, and what a page sends along with a change.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lycb_flows.errors import InputError

COOKIE = "lycb_session"
CHANGE_HEADER = "x-lycb-token"
_OPEN_PATHS = {"/login", "/static/serve.css", "/static/icon.svg"}
"""What somebody without the token may see."""
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_BYTES = 32  # 256 bits
_READING = {"GET", "HEAD"}
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass
class Access:
    """The secrets of one start of the server.

    Attributes
    ----------
    names
        Host names and addresses under which the server may be asked, beside the loopback's.
    with_levers
        Whether changes are allowed at all.
    """

    names: Collection[str] = ()
    with_levers: bool = False
    token: str = field(default_factory=lambda: secrets.token_hex(_BYTES), repr=False)
    _code: str = field(default_factory=lambda: secrets.token_urlsafe(_BYTES), repr=False)

    @property
    def code(self) -> str:
        """The code of the log-in link; empty once it was used."""
        return self._code

    @property
    def session(self) -> str:
        """The value of a browser's cookie."""
        return self._derived("session")

    @property
    def change_token(self) -> str:
        """What a page sends in a header with a change; it opens no page."""
        return self._derived("change")

    def _derived(self, purpose: str) -> str:
        return hmac.new(self.token.encode(), purpose.encode(), hashlib.sha256).hexdigest()

    def log_in(self, secret: str) -> bool:
        """Return whether a secret is the token or the code; the code is used up by that."""
        if self._code and _same(secret, self._code):
            self._code = ""
            return True
        return _same(secret, self.token)

    def knows(self, request: Request) -> bool:
        """Return whether a request has the cookie, or the token as `Authorization: Bearer`."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return _same(given.strip(), self.token)
        return _same(request.cookies.get(COOKIE, ""), self.session)

    def may_change(self, request: Request) -> bool:
        """Return whether a change carries its token in a header."""
        given = request.headers.get(CHANGE_HEADER, "")
        return _same(given, self.change_token) or _same(given, self.token)

    def is_host(self, request: Request) -> bool:
        """Return whether a request names this server, and not a name that was made to point here.

        The port may be another one: a tunnel (`ssh -L`) has its own.
        """
        given, known = request.headers.getlist("host"), {*_LOOPBACK, *self.names}
        if self.names and request.scope.get("server"):  # beyond the loopback: its own address
            known.add(str(request.scope["server"][0]))
        return len(given) == 1 and _without_port(given[0]) in known


def is_same_origin(request: Request) -> bool:
    """Return whether a change comes from a page of this server."""
    given = request.headers.getlist("origin")
    return given == [f"{request.url.scheme}://{request.headers.get('host', '')}"]


def _same(given: str, expected: str) -> bool:
    """Compare in a time that does not depend on where the two differ."""
    return hmac.compare_digest(given.encode(), expected.encode())


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()


class Guard:
    """Lets through what has the token, and adds the headers of security to every answer.

    Parameters
    ----------
    app
        The pages.
    access
        The secrets.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it in one line."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(Request(scope))
        await (self.app if refusal is None else refusal)(scope, receive, send_safely)

    def _refusal(self, request: Request) -> Response | None:
        """Return why a request is refused; None when it is not."""
        is_change = request.method not in _READING
        if not self.access.is_host(request):
            return refused(421, "this is not the name of this server")
        if is_change and not is_same_origin(request):
            return refused(403, "a change must come from a page of this server (Origin)")
        if request.url.path in _OPEN_PATHS:
            return None
        if not self.access.knows(request):
            if "text/html" in request.headers.get("accept", "") and not is_change:
                return RedirectResponse("/login", 303)
            text = "no access: use the link that `lycb serve` printed, or give the token at /login"
            return refused(401, text)
        return self._refusal_of_change(request) if is_change else None

    def _refusal_of_change(self, request: Request) -> Response | None:
        if not self.access.with_levers:
            return refused(403, "read-only: `lycb serve --levers` allows changes")
        if not self.access.may_change(request):
            return refused(403, f"a change needs the token in the header {CHANGE_HEADER}")
        return None


def refused(status: int, text: str) -> PlainTextResponse:
    """Return a refusal of one line."""
    return PlainTextResponse(f"lycb: {text}\n", status, SECURITY_HEADERS)


def write_token(path: Path, token: str) -> None:
    """Write the token to a file that its owner alone can read; one that is there is replaced.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token + "\n")
        new.replace(path)
    except OSError as err:
        new.unlink(missing_ok=True)
        raise InputError(
            "cannot write the file of the token", fix="give another --token-file", path=path,
            reason=err.strerror,
        ) from err  # fmt: skip


def remove_token(path: Path, token: str) -> None:
    """Remove the file of a token, unless a later start of the server has written its own."""
    with suppress(OSError):
        if path.read_text().strip() == token:
            path.unlink()
