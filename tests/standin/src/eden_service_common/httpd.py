# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP/1.1 server: one thread per connection, one callable that turns requests into responses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .logs import Log
from .signals import StopSignal

_IDLE_SECONDS = 5.0
_BUSY_SECONDS = 60.0
_DRAIN_SECONDS = 10.0


@dataclass(frozen=True)
class Request:
    """A request; `path` is decoded, `query` has the last value of each name, `body` is complete."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes
    url: str


@dataclass(frozen=True)
class Response:
    """An answer; a body of None has no content type."""

    status: int
    body: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_response(document: Any, status: int = 200, content_type: str = "application/json") -> Response:
    """A response with `document` as JSON."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return Response(status, text.encode(), content_type)


Application = Callable[[Request], Response]


class Server(ThreadingMixIn, TCPServer):
    """Bound to its address once it is made."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, application: Application, log: Log) -> None:
        self.application = application
        self.log = log
        self.closing = False
        self._active = 0
        self._idle = threading.Condition()
        super().__init__((host, port), _Handler)

    def respond(self, request: Request) -> Response:
        """The application's answer, 500 when it raises."""
        with self._idle:
            self._active += 1
        try:
            return self.application(request)
        except Exception:
            self.log.exception("Exception in HTTP application", path=request.path)
            return Response(500, b"Internal Server Error", "text/plain; charset=utf-8")

    def done(self) -> None:
        """The answer to a request has been sent."""
        with self._idle:
            self._active -= 1
            self._idle.notify_all()

    def drain(self) -> None:
        """Wait until no request is being answered, for a bounded time."""
        deadline = time.monotonic() + _DRAIN_SECONDS
        with self._idle:
            self._idle.wait_for(lambda: self._active == 0, max(0.0, deadline - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A connection that breaks is the client's affair.
        self.log.debug("connection lost", client=str(client_address))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # One segment per response: without this, headers and body would wait for each other's acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Server

    def parse_request(self) -> bool:
        self.connection.settimeout(_BUSY_SECONDS)
        return super().parse_request()

    def _answer(self) -> None:
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
            self.close_connection = True
            return
        target = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(target.path),
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            headers=self.headers,
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
            url=f"http://{self.headers.get('Host', 'localhost')}{self.path}",
        )
        response = self.server.respond(request)
        self.close_connection = self.close_connection or self.server.closing
        try:
            self._send(response)
        finally:
            self.server.done()
        self.connection.settimeout(_IDLE_SECONDS)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _answer

    def _send(self, response: Response) -> None:
        body = response.body or b""
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        if response.body is not None:
            self.send_header("Content-Type", response.content_type)
        if response.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        client = f"{self.client_address[0]}:{self.client_address[1]}"
        status = code.value if isinstance(code, HTTPStatus) else code
        self.server.log.info(f'{client} - "{self.command} {self.path} {self.request_version}" {status}')

    def log_message(self, format: str, *args: Any) -> None:
        self.server.log.debug(format % args)

    def version_string(self) -> str:
        return "eden-standin"


def serve(application: Application, *, host: str, port: int, banner: str, log: Log, stop: StopSignal) -> None:
    """Listen, print `<banner> host=<h> port=<p>`, answer until `stop`, finish what is being answered.

    Raises OSError when the address cannot be bound.
    """
    with Server(host, port, application, log) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        bound = server.server_address
        print(f"{banner} host={bound[0]!s} port={bound[1]!s}", flush=True)
        stop.wait()
        log.info("received signal, initiating graceful shutdown")
        server.closing = True
        server.shutdown()
        server.drain()
