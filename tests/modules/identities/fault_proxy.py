# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP proxy that loses what a test wants lost."""

from __future__ import annotations

import http.client
import re
import socket
import socketserver
import struct
import threading
import typing as t
from dataclasses import dataclass

from websocket_server import read_head

Reply = t.Literal["reset", "half", "pass"] | int


@dataclass
class Fault:
    """What happens to the next request whose ``METHOD path`` matches, and to no later one.

    Attributes:
        pattern: a regular expression for all of ``METHOD path``; the path begins behind the experiment.
        executed: whether the server gets the request.
        reply: what the client gets: a reset, the first half of the answer, the answer, or another status.
        then: called before the client gets that.
    """

    pattern: str
    executed: bool
    reply: Reply = "reset"
    then: t.Callable[[], None] = lambda: None


class FaultProxy:
    """Hands requests on to one server, while entered.

    Attributes:
        url: where it listens.
        log: ``METHOD path`` of every request that came.
        faults: those that are still to happen.
    """

    def __init__(self, host: str, port: int) -> None:
        self.log: list[str] = []
        self.faults: list[Fault] = []
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while head := read_head(self.rfile):
                    if not proxy._pass(host, port, head, self.rfile, self.connection):
                        return

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def lose(self, pattern: str, executed: bool, reply: Reply = "reset") -> None:
        """Let the next request that matches fail."""
        self.faults.append(Fault(pattern, executed, reply))

    def _pass(self, host: str, port: int, head: list[str], stream: t.Any, client: socket.socket) -> bool:
        """One request and its answer; whether the connection goes on."""
        method, target, _version = head[0].split(" ")
        headers = {name.lower(): value for name, _colon, value in (line.partition(": ") for line in head[1:])}
        body = stream.read(int(headers.get("content-length", "0")))
        line = f"{method} {re.sub('^/v0/experiments/[^/]*', '', target)}"
        self.log.append(line)
        fault = next((fault for fault in self.faults if re.fullmatch(fault.pattern, line)), None)
        if fault:
            self.faults.remove(fault)
        answer = b"" if fault and not fault.executed else _forward(host, port, method, target, headers, body)
        if fault:
            fault.then()
        if fault is None or fault.reply == "pass":
            client.sendall(answer)
            return True
        if isinstance(fault.reply, int):
            client.sendall(f"HTTP/1.1 {fault.reply} Fault\r\nContent-Length: 0\r\n\r\n".encode())
            return True
        if fault.reply == "half":
            client.sendall(answer[: len(answer) // 2])
        # Closing with a linger time of nothing sends a reset instead of an end.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


def _forward(host: str, port: int, method: str, target: str, headers: dict[str, str], body: bytes) -> bytes:
    """The server's answer to the request, as bytes of a connection that is kept alive."""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    try:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    lines = [
        f"HTTP/1.1 {response.status} {response.reason}",
        f"Content-Type: {response.headers['Content-Type']}",
        f"Content-Length: {len(content)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + content
