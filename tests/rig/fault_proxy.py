# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP proxy in front of a task store that loses what a test wants lost."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import socketserver
import time
import typing as t
from dataclasses import dataclass

from serving import Serving
from traffic import Action, Reply, Traffic, deliver, nothing
from websocket_server import read_head

TOKEN = re.compile(rb'"registration_token": ?"([^"]+)"')


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
    then: t.Callable[[], None] = nothing


class FaultProxy(Serving):
    """Hands requests on to one server, while entered.

    Attributes:
        url: where it listens.
        server: the address that it hands requests on to.
        log: ``METHOD path`` of every request that came.
        faults: those that are still to happen; they go before what the ``traffic`` says.
        tokens: every token that the server has issued, whether or not its answer arrived.
    """

    def __init__(self, host: str, port: int, traffic: Traffic | None = None) -> None:
        self.server = (host, port)
        self.log: list[str] = []
        self.faults: list[Fault] = []
        self.tokens: set[str] = set()
        self._traffic = traffic or Traffic()
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                # A client that is killed ends its connections as it likes.
                with contextlib.suppress(OSError):
                    while head := read_head(self.rfile):
                        if not proxy._pass(head, self.rfile, self.connection):
                            return

        super().__init__(Handler)
        self.url = f"http://127.0.0.1:{self.port}"

    def lose(self, pattern: str, executed: bool, reply: Reply = "reset") -> None:
        """Let the next request that matches fail."""
        self.faults.append(Fault(pattern, executed, reply))

    def _pass(self, head: list[str], stream: t.Any, client: socket.socket) -> bool:
        """One request and its answer; whether the connection goes on."""
        method, target, _version = head[0].split(" ")
        headers = {name.lower(): value for name, _colon, value in (line.partition(": ") for line in head[1:])}
        body = stream.read(int(headers.get("content-length", "0")))
        action = self._action(method, target)
        time.sleep(action.delay)
        answer = b""
        if action.executed:
            try:
                answer = _forward(self.server, method, target, headers, body)
            except (OSError, http.client.HTTPException):
                # The server is gone: so is the connection to it.
                return False
        self.tokens.update(match.decode() for match in TOKEN.findall(answer))
        action.then()
        goes_on = deliver(action, answer, client)
        action.after()
        return goes_on

    def _action(self, method: str, target: str) -> Action:
        line = f"{method} {re.sub('^/v0/experiments/[^/]*', '', target)}"
        self.log.append(line)
        _request, action = self._traffic.record("store", method, target)
        fault = next((fault for fault in self.faults if re.fullmatch(fault.pattern, line)), None)
        if fault is None:
            return action
        self.faults.remove(fault)
        return Action(fault.executed, fault.reply, then=fault.then)


def _forward(
    server: tuple[str, int], method: str, target: str, headers: dict[str, str], body: bytes
) -> bytes:
    """The server's answer to the request, as bytes of a connection that is kept alive."""
    connection = http.client.HTTPConnection(*server, timeout=60)
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
