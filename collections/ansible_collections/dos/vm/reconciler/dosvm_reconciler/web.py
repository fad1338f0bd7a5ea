# SPDX-License-Identifier: GPL-3.0-or-later
"""Three pages to read, and nothing to press: `/metrics`, `/healthz`, and `/` with the last plan as text."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="30"><title>dos.vm reconciler</title></head>
<body><h1>dos.vm reconciler</h1><p>{state}</p><pre>{plan}</pre></body></html>
"""
POLICY = "default-src 'none'"
HTML, TEXT, PROMETHEUS = "text/html", "text/plain", "text/plain; version=0.0.4"


@dataclass(frozen=True, slots=True)
class Views:
    """Where the pages come from. Called from the server's threads; each returns a value that is complete."""

    metrics: Callable[[], bytes]
    healthy: Callable[[], bool]
    page: Callable[[], tuple[str, str]]  # the state in one sentence, and the plan


def answer(views: Views, path: str) -> tuple[HTTPStatus, str, bytes]:
    """Status, type and body of one page."""
    match path.partition("?")[0]:
        case "/metrics":
            return HTTPStatus.OK, PROMETHEUS, views.metrics()
        case "/healthz" if views.healthy():
            return HTTPStatus.OK, TEXT, b"ok\n"
        case "/healthz":
            return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, b"no round has ended for too long\n"
        case "/":
            state, plan = views.page()
            return HTTPStatus.OK, HTML, PAGE.format(state=escape(state), plan=escape(plan)).encode()
    return HTTPStatus.NOT_FOUND, TEXT, b"there is /, /metrics and /healthz\n"


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD. Every other method is answered by the base class: not implemented."""

    views: Views
    timeout = 10  # a client that connects and says nothing does not keep a thread

    def do_GET(self) -> None:
        self._send(with_body=True)

    def do_HEAD(self) -> None:
        self._send(with_body=False)

    def _send(self, *, with_body: bool) -> None:
        status, kind, body = answer(self.views, self.path)
        self.send_response(status)
        for name, value in (
            ("Content-Type", f"{kind}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: a scrape every few seconds would drown what the daemon says."""


class Server(ThreadingHTTPServer):
    daemon_threads = True


class Server6(Server):
    address_family = socket.AF_INET6


@contextmanager
def serving(views: Views, host: str, port: int) -> Iterator[int]:
    """Serve the pages meanwhile; gives the port, which is a free one when 0 was asked for."""
    kind = Server6 if ":" in host else Server
    with kind((host, port), type("Bound", (Handler,), {"views": views})) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="web", daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def endpoint(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9177` or `[::1]:9177`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address and a port, write 127.0.0.1:9177 or [::1]:9177")
    return host.removeprefix("[").removesuffix("]"), int(port)
