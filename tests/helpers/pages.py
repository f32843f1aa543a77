"""`lycb serve` in a thread of the tests, and a client without a browser's help."""

import http.client
import re
import socket
import threading
import time
from urllib.parse import urlencode

import uvicorn
from servers import free_port
from waiting import wait_until

from lycb_flows.serve import COOKIE, Access, ServerOptions, build


class Served:
    """A server of a store, on a port of its own.

    Parameters
    ----------
    store
        Its address.
    with_levers, launchpad, interval_s, names
        As of the command.
    """

    def __init__(self, store, *, with_levers=False, launchpad=None, interval_s=1.0, names=()):
        self.options = ServerOptions(
            port=free_port(),
            with_levers=with_levers,
            store=str(store),
            launchpad=launchpad,
            interval_s=interval_s,
        )
        self.access = Access(names=names, with_levers=with_levers)
        self.said = []
        config = uvicorn.Config(
            build(self.options, self.access, self.said.append),
            port=self.options.port,
            access_log=False,
            log_level="warning",
            timeout_graceful_shutdown=1,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: self._server.started, "the server")
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()

    @property
    def host(self):
        return f"127.0.0.1:{self.options.port}"

    @property
    def origin(self):
        return f"http://{self.host}"

    @property
    def cookie(self):
        return {"Cookie": f"{COOKIE}={self.access.session}"}

    @property
    def lever_headers(self):
        """What the script of a page sends with a change."""
        return self.cookie | {"Origin": self.origin, "X-Lycb-Token": self.access.change_token}

    def ask(self, path, headers=None, *, method="GET", form=None):
        """(status, headers, body) of a request; by default with the cookie."""
        connection = http.client.HTTPConnection("127.0.0.1", self.options.port, timeout=60)
        sent = dict(self.cookie if headers is None else headers)
        if form is not None:
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, None if form is None else urlencode(form), sent)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers, body

    def page(self, path):
        """The text of a page that must be there."""
        status, _, body = self.ask(path)
        assert status == 200, (path, status, body[:300])
        return body.decode()

    def pull(self, path, headers=None, **form):
        """(status, text) of a lever."""
        sent = self.lever_headers if headers is None else headers
        status, _, body = self.ask(path, sent, method="POST", form=form)
        return status, body.decode()

    def stream(self):
        """An open event stream, and its status."""
        link = socket.create_connection(("127.0.0.1", self.options.port), timeout=60)
        cookie = self.cookie["Cookie"]
        link.sendall(
            f"GET /events HTTP/1.1\r\nHost: {self.host}\r\nCookie: {cookie}\r\n\r\n".encode()
        )
        return link, int(link.recv(4096).split()[1])


def read_stream(link, seconds):
    """What a stream sends in a time."""
    link.settimeout(0.2)
    received, until = b"", time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            received += link.recv(65536)
        except TimeoutError:
            continue
    return received.decode()


def assert_no_inline(page):
    """No script or style in the page, and nothing from elsewhere."""
    assert not re.search(r"<[^>]*\s(style|on[a-z]+)=", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    assert not re.search(r'(src|href|action)="(https?:)?//', page)
