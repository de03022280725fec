# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of the API server: plain HTTP inside, the user's certificate outside.

What passes is in the ``Traffic``, which also says what goes wrong.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import secrets
import socket
import socketserver
import ssl
import threading
import time
import typing as t
from pathlib import Path
from urllib.parse import urlsplit

from certificates import Authority
from kube import Object
from serving import Server, Serving
from traffic import Action, Request, Traffic, be_silent, deliver
from websocket_server import read_head

PIECE = 64 * 1024
# What concerns the connection and not the message.
OWN_HEADERS = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "upgrade", "authorization"}
)


class ApiProxy(Serving):
    """Hands requests on to the API server, while entered.

    Attributes:
        url: where it listens.
        context: whose certificate new connections to the API server have.
    """

    def __init__(self, server: str, context: ssl.SSLContext, traffic: Traffic) -> None:
        address = urlsplit(server)
        self._address = (str(address.hostname), int(address.port or 443))
        self.context = context
        self._traffic = traffic
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                upstream = proxy._connect()
                try:
                    # A client that is killed ends its connections as it likes.
                    with contextlib.suppress(OSError):
                        while head := read_head(self.rfile):
                            if not proxy._pass(head, self.rfile, self.connection, upstream):
                                return
                finally:
                    upstream.close()

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()

        class ResettingServer(Server):
            def shutdown_request(self, request: t.Any) -> None:
                # Without the end that would go before a reset.
                self.close_request(request)

        super().__init__(Handler, ResettingServer)
        self.url = f"http://127.0.0.1:{self.port}"

    def write_kubeconfig(self, path: Path) -> dict[str, str]:
        """A kubeconfig that leads here; returns the private key and the token in it.

        Neither is asked for: they are there to be looked for in all that a run shows and leaves.
        """
        pair, token = Authority("kubeconfig").client("rig", ()), secrets.token_hex(32)
        user = {
            "client-certificate-data": base64.b64encode(pair.certificate).decode(),
            "client-key-data": base64.b64encode(pair.key).decode(),
            "token": token,
        }
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "rig", "cluster": {"server": self.url}}],
            "users": [{"name": "rig", "user": user}],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
            "current-context": "rig",
        }
        path.write_text(json.dumps(content))
        return {"the kubeconfig's private key": pair.key.decode(), "the kubeconfig's token": token}

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(*self._address, timeout=60, context=self.context)

    def _pass(
        self, head: list[str], stream: t.Any, client: socket.socket, upstream: http.client.HTTPSConnection
    ) -> bool:
        """One request and its answer; whether the connection goes on."""
        method, target, _version = head[0].split(" ")
        headers = [(name, value) for name, _colon, value in (line.partition(": ") for line in head[1:])]
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        body = stream.read(length)
        request, action = self._traffic.record("api", method, target)
        time.sleep(action.delay)
        if request.is_upgrade and action.reply == "pass":
            action.then()
            self._tunnel(head, stream, client)
            return False
        if request.is_watch and action.reply == "pass":
            return self._watch(request, action, headers, client, upstream)
        answer = b""
        if action.executed and not request.is_upgrade:
            answer = _answer(_send(upstream, method, target, headers, body))
        action.then()
        goes_on = deliver(action, answer, client, _refusal)
        action.after()
        return goes_on

    def _tunnel(self, head: list[str], stream: t.Any, client: socket.socket) -> None:
        """Hands on bytes in both directions until one side ends."""
        with socket.create_connection(self._address, timeout=60) as plain:
            plain.settimeout(None)
            with self.context.wrap_socket(plain, server_hostname=self._address[0]) as server:
                server.sendall("\r\n".join([*head, "", ""]).encode())
                back = threading.Thread(target=_pump, args=(server, client), daemon=True)
                back.start()
                with contextlib.suppress(OSError):
                    while data := stream.read1(PIECE):
                        server.sendall(data)
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)
                back.join()

    def _watch(
        self,
        request: Request,
        action: Action,
        headers: list[tuple[str, str]],
        client: socket.socket,
        upstream: http.client.HTTPSConnection,
    ) -> bool:
        if action.watch in ("gone", "garbage", "close"):
            _begin_stream(client, http.HTTPStatus.OK, "application/json")
            _piece(client, _WATCH_WORDS[action.watch])
            client.sendall(b"0\r\n\r\n")
            return True
        response = _send(upstream, request.method, request.target, headers, b"")
        if response.status != http.HTTPStatus.OK:
            client.sendall(_answer(response))
            return True
        _begin_stream(client, response.status, response.headers.get("Content-Type", "application/json"))
        if action.watch == "stall":
            be_silent(client)
            return False
        while data := response.read1(PIECE):
            _piece(client, data)
        client.sendall(b"0\r\n\r\n")
        return True


def _pump(server: ssl.SSLSocket, client: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while data := server.recv(PIECE):
            client.sendall(data)
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)


_GONE = {
    "type": "ERROR",
    "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410},
}
_WATCH_WORDS = {
    "gone": json.dumps(_GONE).encode() + b"\n",
    "garbage": b'{"type": "ADDED", "object": {"kind"\n<html>nothing of the kind</html>\n',
    "close": b"",
}


def _send(
    upstream: http.client.HTTPSConnection,
    method: str,
    target: str,
    headers: list[tuple[str, str]],
    body: bytes,
) -> http.client.HTTPResponse:
    kept = {name: value for name, value in headers if name.lower() not in OWN_HEADERS}
    upstream.request(method, target, body or None, kept)
    return upstream.getresponse()


def _answer(response: http.client.HTTPResponse) -> bytes:
    """The response as bytes of a connection that is kept alive."""
    content = response.read()
    lines = [f"HTTP/1.1 {response.status} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.getheaders() if name.lower() not in OWN_HEADERS]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def _begin_stream(client: socket.socket, status: int, kind: str) -> None:
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.sendall(head.encode())


def _piece(client: socket.socket, data: bytes) -> None:
    if data:
        client.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def _refusal(status: int) -> Object:
    """What the API server says with a status that refuses."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "a fault", "code": status}
