"""The pages: campaigns, one campaign, its report, the viewer; events, metrics, changes.

Pages show what the poller saw last. Reading them works without scripts; a script keeps them up
to date, moves structures, and sends changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import Generic, TypeVar
from urllib.parse import parse_qsl

from jinja2 import Environment, PackageLoader, StrictUndefined
from pymongo.errors import PyMongoError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from lycb_flows.errors import LycbError, first_line
from lycb_flows.report import Contents, duration_text, number
from lycb_flows.serve import (
    CONTENT_TYPE,
    COOKIE,
    LEVERS,
    Access,
    CampaignLook,
    Desk,
    LiveAlbum,
    Picture,
    Watch,
    draw_report,
    frames_of,
    metrics_of,
    pull,
    refused,
)
from lycb_flows.store import explained

T = TypeVar("T")
MAX_STREAMS = 500
_ALIVE_S = 20.0
_MAX_BODY = 4096
_N_REPORTS, _N_FRAMES = 8, 8
_PATIENCE_S = 3.0
_FILES = {
    "serve.css": "text/css", "serve.js": "text/javascript", "3Dmol-min.js": "text/javascript",
    "3Dmol-min.js.LICENSE.txt": "text/plain", "3Dmol-parts.LICENSE.txt": "text/plain",
    "icon.svg": "image/svg+xml",
}  # fmt: skip


class Cache(Generic[T]):
    """The last few answers that cost something, by what they answer.

    Parameters
    ----------
    size
        How many are kept.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._kept: OrderedDict[object, asyncio.Future[T]] = OrderedDict()

    async def get(self, key: object, make: Callable[[], Awaitable[T]] | None = None) -> T:
        """Return the answer for a key; many who ask at once wait for one that is made.

        Parameters
        ----------
        key
            What is asked.
        make
            Makes the answer; None: only one that is kept or being made.

        Raises
        ------
        HTTPException
            When there is none, and it is not to be made.
        """
        if key not in self._kept:
            if make is None:
                raise HTTPException(404, "that is no more: reload the page")
            self._kept[key] = asyncio.ensure_future(make())
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        task = self._kept[key]
        try:
            return await asyncio.shield(task)
        finally:
            if task.done() and (task.cancelled() or task.exception() is not None):
                self._kept.pop(key, None)  # told once, then tried again


@dataclass
class Pages:
    """Everything that is served, behind `access.Guard`.

    Parameters
    ----------
    access
        The secrets.
    watch
        What was seen of the store.
    reader, drawer, changer
        Answer what pages ask beside that; draw reports; pull levers. Without levers there is no
        changer.
    say
        Is told of every change, in a line.
    """

    access: Access
    watch: Watch
    reader: Desk
    drawer: Desk
    changer: Desk | None
    say: Callable[[str], None]
    reports: Cache[tuple[Contents, dict[str, Picture]]] = field(
        default_factory=lambda: Cache(_N_REPORTS)
    )
    frames: Cache[str] = field(default_factory=lambda: Cache(_N_FRAMES))
    albums: dict[str, LiveAlbum] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/", self.index),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/campaigns/{key}", self.campaign),
            Route("/campaigns/{key}/report", self.report),
            Route("/figures/{state}/{name}.png", self.figure),
            Route("/campaigns/{key}/levers/{name}", self.lever, methods=["POST"]),
            Route("/view/{key}", self.viewer),
            Route("/frames/{key}.xyz", self.xyz),
            Route("/events", self.events),
            Route("/metrics", self.metrics),
            Route("/static/{name}", static),
        ]

    # -- pages ---------------------------------------------------------------------------

    async def index(self, request: Request) -> Response:
        """Show all campaigns."""
        return self._page(request, "index.html.j2", sight=await self.watch.now())

    async def campaign(self, request: Request) -> Response:
        """Show one campaign."""
        look = await self._look(request)
        levers = [
            lever for lever in LEVERS
            if self.changer is not None and (look.is_on_launchpad or not lever.needs_launchpad)
        ]  # fmt: skip
        return self._page(
            request, "campaign.html.j2", look=look, sight=self.watch.sight, levers=levers
        )

    async def report(self, request: Request) -> Response:
        """Show what can be concluded so far, with its figures and tables.

        Drawing takes seconds; until it is done the page says how far it is, and comes again.
        """
        look = await self._look(request)
        state = hashlib.sha256(" ".join((look.key, *look.document_keys)).encode()).hexdigest()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_S):
                contents, pictures = await self.reports.get(state, lambda: self._draw(look, state))
                return self._page(
                    request, "report.html.j2", look=look, contents=contents, pictures=pictures
                )
        album = self.albums.get(state)
        return self._page(request, "drawing.html.j2", look=look, album=album)

    async def _draw(self, look: CampaignLook, state: str) -> tuple[Contents, dict[str, Picture]]:
        album = self.albums[state] = LiveAlbum(f"/figures/{state}")
        try:
            return await self.drawer.ask(lambda c: draw_report(c, look, album))
        finally:
            del self.albums[state]

    async def figure(self, request: Request) -> Response:
        """Send a figure of a report as PNG."""
        _, pictures = await self.reports.get(request.path_params["state"])
        picture = pictures.get(request.path_params["name"])
        if picture is None:
            raise HTTPException(404, "no such figure")
        return Response(picture.png, media_type="image/png")

    async def viewer(self, request: Request) -> Response:
        """Show a structure or a run in three dimensions."""
        key = self._key(request)
        sight = await self.watch.now()
        named = {
            each: (title, look)
            for look in sight.campaigns
            for title, each in (*look.structures, *look.runs)
        }
        title, look = named.get(key, (key[:12], None))
        return self._page(request, "viewer.html.j2", key=key, title=title, look=look)

    async def xyz(self, request: Request) -> Response:
        """Send a structure, or frames of a run, as extended XYZ."""
        key = self._key(request)
        text = await self.frames.get(key, lambda: self.reader.ask(lambda c: frames_of(c, key)))
        return PlainTextResponse(text)

    async def metrics(self, request: Request) -> Response:
        """Send the metrics."""
        del request
        text = metrics_of(await self.watch.now(), self.watch.n_streams)
        return Response(text, headers={"content-type": CONTENT_TYPE})

    # -- events --------------------------------------------------------------------------

    async def events(self, request: Request) -> Response:
        """Tell a page whenever something has changed, without saying what."""
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        if self.watch.n_streams >= MAX_STREAMS:
            return refused(503, f"{MAX_STREAMS} pages are open: close some, or reload by hand")
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        if self.watch.n_streams >= MAX_STREAMS:  # others came since the question above
            return
        self.watch.n_streams += 1
        try:
            version = (await self.watch.now()).version
            yield "retry: 5000\n\n"
            while True:
                try:
                    async with asyncio.timeout(_ALIVE_S):
                        version = (await self.watch.after(version)).version
                    yield f"event: look\ndata: {version}\n\n"
                except TimeoutError:
                    yield ": nothing new\n\n"
        finally:
            self.watch.n_streams -= 1

    # -- what changes something ------------------------------------------------------------

    async def login(self, request: Request) -> Response:
        """Show the form to log in by, or take the token or the code from it."""
        if request.method != "POST":
            code = request.query_params.get("code", "")
            return self._page(request, "login.html.j2", code=code, wrong=False)
        form = await _form(request)
        if not self.access.log_in(form.get("secret", "").strip()):
            return self._page(request, "login.html.j2", 403, code="", wrong=True)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self.access.session, httponly=True, samesite="strict", path="/")
        return answer

    async def lever(self, request: Request) -> Response:
        """Pull a lever, and return what came of it in a line."""
        changer, name = self.changer, request.path_params["name"]
        if changer is None:
            raise HTTPException(403, "read-only: `lycb serve --levers` allows changes")
        look = await self._look(request)
        sure = (await _form(request)).get("sure") == "yes"
        outcome = await changer.ask(lambda c: pull(c, name, look.key, sure=sure))
        self.say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC {name} {outcome}")
        self.watch.look_again()
        return PlainTextResponse(f"{outcome}\n")

    # -- shared --------------------------------------------------------------------------

    async def _look(self, request: Request) -> CampaignLook:
        key = self._key(request)
        look = (await self.watch.now()).campaign(key)
        if look is None:
            raise HTTPException(404, "no such campaign in this store")
        return look

    @staticmethod
    def _key(request: Request) -> str:
        key: str = request.path_params["key"]
        if not 12 <= len(key) <= 64 or not set(key) <= set("0123456789abcdef"):  # noqa: PLR2004
            raise HTTPException(404, "no key of a document is in this address")
        return key

    def _page(
        self, request: Request, template: str, status: int = 200, **content: object
    ) -> Response:
        known = self.access.knows(request)
        shown = {
            "change_token": self.access.change_token if known and self.changer is not None else "",
            "known": known,
            "path": request.url.path,
        }
        text = TEMPLATES.get_template(template).render(**shown, **content)
        return HTMLResponse(text, status)


async def _form(request: Request) -> Mapping[str, str]:
    """Return the fields of a small form.

    Raises
    ------
    HTTPException
        When it is not one.
    """
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_BODY:
            raise HTTPException(413, "too long")
    with suppress(UnicodeDecodeError, ValueError):
        return dict(parse_qsl(body.decode(), max_num_fields=8))
    raise HTTPException(400, "no form")


async def static(request: Request) -> Response:
    """Send a file of this package."""
    name = request.path_params["name"]
    if name not in _FILES:
        raise HTTPException(404, "no such file")
    content = resources.files(__package__).joinpath("static", name).read_bytes()
    return Response(content, headers={"content-type": f"{_FILES[name]}; charset=utf-8"})


async def told(request: Request, err: Exception) -> Response:
    """Return an error as one line."""
    del request
    if isinstance(err, HTTPException):
        return refused(err.status_code, str(err.detail))
    if isinstance(err, PyMongoError):
        return refused(503, str(explained(err)))
    if not isinstance(err, LycbError):
        return refused(500, f"{type(err).__name__}: {first_line(err)}")
    return refused(409, str(err))


HANDLERS = {HTTPException: told, LycbError: told, PyMongoError: told, Exception: told}


def _clock(seconds: float) -> str:
    """Return a time of today."""
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S} UTC"


def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("lycb_flows.serve"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "clock": _clock,
        "short": lambda key: key[:12],
        "minute": lambda text: text[:16].replace("T", " "),
        "duration": duration_text,
        "number": number,
        "plain": lambda value: value if isinstance(value, str) else json.dumps(value),
    }
    return environment


TEMPLATES = _templates()
