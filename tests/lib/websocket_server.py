# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's end of a websocket, as the port-forward of Kubernetes uses it, for tests that play a server."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import typing as t

BINARY, CLOSE, PING = 2, 8, 9
PROTOCOL = "v4.channel.k8s.io"
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_MASKED, _LAST = 0x80, 0x80


def read_head(stream: t.Any) -> list[str]:
    """The lines of an HTTP message above its blank line; empty if the other side ended before that."""
    lines: list[str] = []
    for line in iter(stream.readline, b""):
        if line == b"\r\n":
            return lines
        lines.append(line.decode().strip())
    return []


class WebSocket:
    """The frames of one connection, after ``accept``."""

    def __init__(self, stream: t.Any, connection: socket.socket) -> None:
        self._stream = stream
        self._connection = connection

    @classmethod
    def accept(cls, head: t.Sequence[str], stream: t.Any, connection: socket.socket) -> t.Self:
        """Agree to the request to upgrade."""
        headers = {name.lower(): value for name, _colon, value in (line.partition(": ") for line in head[1:])}
        digest = hashlib.sha1((headers["sec-websocket-key"] + _GUID).encode()).digest()
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Protocol: {PROTOCOL}",
            f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}",
        ]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return cls(stream, connection)

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        """Send one frame of less than 64 KiB."""
        size = len(payload)
        head = bytes([_LAST | opcode, size]) if size < 126 else struct.pack("!BBH", _LAST | opcode, 126, size)
        self._connection.sendall(head + payload)

    def receive(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload; ``CLOSE`` if the other side ended without one."""
        head = self._stream.read(2)
        if len(head) < 2:
            return CLOSE, b""
        opcode, size = head[0] & 0x0F, head[1] & 0x7F
        if size == 126:
            size = struct.unpack("!H", self._stream.read(2))[0]
        elif size == 127:
            size = struct.unpack("!Q", self._stream.read(8))[0]
        mask = self._stream.read(4) if head[1] & _MASKED else bytes(4)
        masked = self._stream.read(size)
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return opcode, (int.from_bytes(masked, "big") ^ key).to_bytes(size, "big")

    def begin(self, port: int) -> None:
        """The first frames of a port-forward: the port's number, on the data and on the error channel."""
        for channel in (0, 1):
            self.send(bytes([channel]) + struct.pack("<H", port))
