# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose kubelet forwards the ports of its pods to this machine, so that no container is needed."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import ssl
import threading
import typing as t
from pathlib import Path

from certificates import Authority
from kubernetes.client import CoreV1Api
from websocket_server import BINARY, CLOSE, WebSocket, read_head

NODE = "fake-node"
PIECE = 32 * 1024


class FakeKubelet:
    """Takes port-forwards from the API server, while entered.

    Attributes:
        targets: for each port of a pod, the address that stands for it; a port without one refuses.
        forwards: how many port-forwards were opened.
    """

    def __init__(self, directory: Path) -> None:
        self.targets: dict[int, tuple[str, int]] = {}
        self.forwards = 0
        Authority("fake kubelet").server(NODE, [NODE], ["127.0.0.1"]).write(directory, "kubelet")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "kubelet.crt", directory / "kubelet.key")
        kubelet = self

        class Handler(socketserver.StreamRequestHandler):
            def setup(self) -> None:
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                head = read_head(self.rfile)
                wanted = re.search(r"^GET /portForward/\S+[?&]port=(\d+)", head[0])
                assert wanted, head[0]
                kubelet.forwards += 1
                kubelet._forward(int(wanted[1]), WebSocket.accept(head, self.rfile, self.connection))

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()
                self.request.close()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> FakeKubelet:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _forward(self, port: int, channel: WebSocket) -> None:
        channel.begin(port)
        if port not in self.targets:
            channel.send(b"\1" + f"error forwarding port {port}: connection refused".encode())
            channel.send(b"", CLOSE)
            return
        with socket.create_connection(self.targets[port]) as target:
            back = threading.Thread(target=_pump, args=(target, channel))
            back.start()
            with contextlib.suppress(OSError):
                while True:
                    opcode, payload = channel.receive()
                    if opcode == CLOSE:
                        break
                    if opcode == BINARY:
                        target.sendall(payload[1:])
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)
            back.join()


def _pump(target: socket.socket, channel: WebSocket) -> None:
    """What the pod sends, until it ends; then the end."""
    with contextlib.suppress(OSError):
        while data := target.recv(PIECE):
            channel.send(b"\0" + data)
    with contextlib.suppress(OSError):
        channel.send(b"", CLOSE)


def add_node(core: CoreV1Api, kubelet_port: int) -> None:
    """Make the kubelet known to the API server."""
    node: t.Any = {"metadata": {"name": NODE}}
    core.create_node(node)
    status: t.Any = {
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet_port}},
        }
    }
    core.patch_node_status(NODE, status)


def add_service(core: CoreV1Api, namespace: str, name: str) -> None:
    """A Service on port 80 for the port ``http`` of the pods with the label ``app=<name>``."""
    service: t.Any = {
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    core.create_namespaced_service(namespace, service)


def add_pod(core: CoreV1Api, namespace: str, app: str, name: str, port: int) -> None:
    """A ready pod on the node, with the label ``app`` and a port ``http``."""
    container = {"name": "c", "image": "none", "ports": [{"name": "http", "containerPort": port}]}
    pod: t.Any = {
        "metadata": {"name": name, "labels": {"app": app}},
        "spec": {"nodeName": NODE, "containers": [container]},
    }
    core.create_namespaced_pod(namespace, pod)
    set_ready(core, namespace, name, True)


def set_ready(core: CoreV1Api, namespace: str, name: str, ready: bool) -> None:
    """What a kubelet reports of the pod."""
    status: t.Any = {"status": {"conditions": [{"type": "Ready", "status": str(ready)}]}}
    core.patch_namespaced_pod_status(name, namespace, status)
