# SPDX-License-Identifier: GPL-3.0-or-later
"""An API server with TLS on a real socket, and proxies before it, which keep what they were sent."""

from __future__ import annotations

import base64
import contextlib
import json
import select
import socket
import socketserver
import ssl
import threading
import typing as t
from dataclasses import dataclass
from pathlib import Path

from certificates import Authority
from websocket_server import BINARY, CLOSE, WebSocket, read_head

SERVICE = {"spec": {"selector": {"a": "1"}, "ports": [{"port": 8080}]}}
POD = {
    "metadata": {"name": "store-0"},
    "spec": {"containers": [{}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}]},
}
ANSWERS = {"/version": {"gitVersion": "v1.30.0"}, "/services/": SERVICE, "/pods?": {"items": [POD]}}


@dataclass
class Seen:
    """One request: the path, the headers (names in small letters), the certificate's user, the SNI."""

    path: str
    headers: list[tuple[str, str]]
    user: str
    name: str | None

    def values(self, header: str) -> list[str]:
        return [value for name, value in self.headers if name == header]


class _Threaded(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_arguments: t.Any) -> None:
        """A client that breaks off is part of the tests."""


@contextlib.contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> t.Iterator[int]:
    """Serves on a port of its own until the end."""
    server = _Threaded(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class TlsServer:
    """Answers what a port-forward to ``Service ns/store`` needs.

    Attributes:
        refused: values of the header Authorization that are answered 401.
        seen: all requests.
    """

    def __init__(self, folder: Path, authority: Authority) -> None:
        authority.server("api", ["api.internal"], ["127.0.0.1"]).write(folder, "server")
        (folder / "ca.crt").write_bytes(authority.pair.certificate)
        self.seen: list[Seen] = []
        self.refused: set[str] = set()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "server.crt", folder / "server.key")
        self.context.load_verify_locations(folder / "ca.crt")
        self.context.verify_mode = ssl.CERT_OPTIONAL
        names: dict[t.Any, str | None] = {}
        self.context.sni_callback = lambda sock, name, _context: names.update({sock: name})
        api = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                connection = api.context.wrap_socket(self.request, server_side=True)
                stream = connection.makefile("rb")
                certificate: t.Any = connection.getpeercert() or {}
                subject = dict(pair[0] for pair in certificate.get("subject", ()))
                while head := read_head(stream):
                    headers = [line.split(": ", 1) for line in head[1:]]
                    seen = Seen(
                        head[0].split()[1],
                        [(name.lower(), value) for name, value in headers],
                        subject.get("commonName", ""),
                        names.get(connection),
                    )
                    api.seen.append(seen)
                    if set(seen.values("authorization")) & api.refused:
                        answer(connection, b'{"message": "Unauthorized", "reason": "Unauthorized"}', 401)
                    elif "/portforward" in seen.path:
                        echo(WebSocket.accept(head, stream, connection))
                        return
                    else:
                        found = next(body for part, body in ANSWERS.items() if part in seen.path + "?")
                        answer(connection, json.dumps(found).encode())

        self.handler = Handler


def answer(connection: socket.socket, body: bytes, status: int = 200) -> None:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def echo(channel: WebSocket) -> None:
    """A pod that answers each request with 200."""
    channel.begin(8080)
    while (frame := channel.receive())[0] != CLOSE:
        if frame[0] == BINARY and frame[1].endswith(b"\r\n\r\n"):
            channel.send(b"\0HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def http_proxy(seen: list[list[str]], login: str = "") -> type[socketserver.StreamRequestHandler]:
    """A proxy that knows CONNECT, and wants this login if there is one."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            head = read_head(self.rfile)
            seen.append(head)
            wanted = f"basic {base64.b64encode(login.encode()).decode()}".lower()
            if login and not any(line.lower() == f"proxy-authorization: {wanted}" for line in head):
                self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            host, port = head[0].split()[1].rsplit(":", 1)
            relay(self.connection, host, int(port))

    return Handler


def socks_proxy(seen: list[list[str]]) -> type[socketserver.StreamRequestHandler]:
    """A SOCKS5 proxy that wants a user and a password, and resolves every name to this machine."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            _version, methods = self.rfile.read(2)
            self.rfile.read(methods)
            self.wfile.write(b"\x05\x02")
            self.rfile.read(1)
            user, password = (self.rfile.read(self.rfile.read(1)[0]).decode() for _part in range(2))
            self.wfile.write(b"\x01\x00")
            kind = self.rfile.read(4)[3]
            name = self.rfile.read(4 if kind == 1 else self.rfile.read(1)[0]).decode("latin-1")
            port = int.from_bytes(self.rfile.read(2), "big")
            seen.append([user, password, name])
            self.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
            relay(self.connection, "127.0.0.1", port)

    return Handler


def relay(near: socket.socket, host: str, port: int) -> None:
    """Carries bytes both ways until one side ends."""
    with socket.create_connection((host, port)) as far:
        while True:
            for ready in select.select([near, far], [], [])[0]:
                data = ready.recv(65536)
                if not data:
                    return
                (far if ready is near else near).sendall(data)
