# SPDX-License-Identifier: GPL-3.0-or-later
"""What one experiment's runs ask the API server and the task store for, and what becomes of it."""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import struct
import threading
import typing as t
from dataclasses import dataclass, field

from kube import Object

Side = t.Literal["api", "store"]
# reset: the connection is reset; half: so it is after half of the answer; silence: nothing comes; a number:
# that status comes in place of the answer.
Reply = t.Literal["reset", "half", "silence", "pass"] | int
WatchReply = t.Literal["pass", "stall", "gone", "garbage", "close"]

# Longer than any time limit of a client.
SILENCE_SECONDS = 120.0


def nothing() -> None:
    """What happens beside a request that nothing is to happen to."""


@dataclass(frozen=True)
class Action:
    """What becomes of a request.

    Attributes:
        executed: whether the server gets it.
        reply: what the client gets.
        headers: of a reply that is a status.
        delay: seconds before the server gets it.
        then: called before the client gets the reply.
        after: called when it got the reply.
        watch: what becomes of the stream, if the request is a watch that is answered.
    """

    executed: bool = True
    reply: Reply = "pass"
    headers: tuple[str, ...] = ()
    delay: float = 0.0
    then: t.Callable[[], None] = nothing
    after: t.Callable[[], None] = nothing
    watch: WatchReply = "pass"


@dataclass(frozen=True)
class Request:
    """A request, as it came.

    Attributes:
        number: from 1 in the order of the requests, over both sides.
        write: from 1 in the order of the requests that change something, over both sides; 0 for another one.
        side: to whom it goes.
        method: as in HTTP.
        target: path and query.
    """

    number: int
    write: int
    side: Side
    method: str
    target: str

    @property
    def is_watch(self) -> bool:
        """The answer is a stream of changes."""
        return self.side == "api" and re.search(r"[?&]watch=(true|True|1)\b", self.target) is not None

    @property
    def is_upgrade(self) -> bool:
        """The answer is a connection into a pod."""
        return self.side == "api" and self.target.partition("?")[0].endswith("/portforward")

    def __str__(self) -> str:
        return f"{self.side} {self.method} {self.target}"


def is_write(side: Side, method: str, target: str) -> bool:
    """Whether the request changes what is stored."""
    if method not in ("POST", "PUT", "PATCH", "DELETE"):
        return False
    path, _question, query = target.partition("?")
    reads = path.startswith("/apis/authorization.k8s.io/") or path.endswith("/portforward")
    return side == "store" or not (reads or "dryRun=All" in query)


Rule = t.Callable[[Request], Action]
PASS = Action()


def pass_through(_request: Request) -> Action:
    """Nothing happens to any request."""
    return PASS


@dataclass
class Traffic:
    """What the proxies of one experiment share.

    Attributes:
        rule: says what becomes of a request.
        log: the requests since ``restart``.
        cut: no request is answered any more, since its sender is to be dead.
    """

    rule: Rule = pass_through
    log: list[Request] = field(default_factory=list)
    cut: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def restart(self, rule: Rule = pass_through) -> None:
        """Forget what came so far."""
        with self._lock:
            self.rule, self.log, self.cut = rule, [], False

    def record(self, side: Side, method: str, target: str) -> tuple[Request, Action]:
        """Note a request, and say what becomes of it."""
        with self._lock:
            write = len(self._writes()) + 1 if is_write(side, method, target) else 0
            request = Request(len(self.log) + 1, write, side, method, target)
            self.log.append(request)
            if self.cut:
                return request, Action(executed=False, reply="reset")
            return request, self.rule(request)

    def _writes(self) -> list[Request]:
        return [request for request in self.log if request.write]

    @property
    def writes(self) -> list[Request]:
        """The requests that change something."""
        with self._lock:
            return self._writes()


def deliver(
    action: Action, answer: bytes, client: socket.socket, words: t.Callable[[int], Object] | None = None
) -> bool:
    """Give the client what the action says; whether the connection goes on.

    Args:
        action: what becomes of the request.
        answer: of the server.
        client: who sent the request.
        words: what the server says with a status that comes in place of the answer; without, nothing.
    """
    if action.reply == "pass":
        client.sendall(answer)
        return True
    if isinstance(action.reply, int):
        lines, body = [f"HTTP/1.1 {action.reply} Fault", *action.headers], b""
        if words:
            lines, body = [*lines, "Content-Type: application/json"], json.dumps(words(action.reply)).encode()
        client.sendall("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        return True
    if action.reply == "silence":
        be_silent(client)
    if action.reply == "half":
        client.sendall(answer[: len(answer) // 2])
    reset(client)
    return False


def reset(client: socket.socket) -> None:
    """Let the close of a connection send a reset instead of an end."""
    with contextlib.suppress(OSError):
        # Closing with a linger time of nothing.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def be_silent(client: socket.socket) -> None:
    """Return when the client has given up."""
    with contextlib.suppress(OSError):
        select.select([client], [], [], SILENCE_SECONDS)
