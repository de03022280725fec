# SPDX-License-Identifier: GPL-3.0-or-later
"""What the servers of the rig have in common."""

from __future__ import annotations

import socketserver
import threading
import typing as t


class Server(socketserver.ThreadingTCPServer):
    """Answers each connection in a thread that ends with the process."""

    daemon_threads = True
    request_queue_size = 64


class Serving:
    """A server on a loopback port of its own, while entered.

    Attributes:
        port: where it listens.
    """

    def __init__(self, handler: type[socketserver.BaseRequestHandler], server: type[Server] = Server) -> None:
        self._server = server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> t.Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
