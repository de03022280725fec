# SPDX-License-Identifier: GPL-3.0-or-later
"""A node whose kubelet forwards the ports of its pods to this machine, so that no container is needed."""

from __future__ import annotations

import collections
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
from serving import Serving
from websocket_server import BINARY, CLOSE, WebSocket, read_head

NODE = "fake-node"
PIECE = 32 * 1024


Address = tuple[str, int]


class FakeKubelet(Serving):
    """Takes port-forwards and questions for logs from the API server, while entered.

    Attributes:
        targets: for each port of any pod, the address that stands for it.
        pod_targets: the same for the ports of one pod (namespace, name, port); a port without either refuses.
        logs: gives the log of a container (namespace, pod, container).
        forwards: how many port-forwards were opened.
        open_forwards: for each namespace, how many port-forwards are open now.
    """

    def __init__(self, directory: Path) -> None:
        self.targets: dict[int, Address] = {}
        self.pod_targets: dict[tuple[str, str, int], Address] = {}
        self.logs: t.Callable[[str, str, str], str] = lambda _namespace, _pod, _container: ""
        self.forwards = 0
        self.open_forwards: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()
        Authority("fake kubelet").server(NODE, [NODE], ["127.0.0.1"]).write(directory, "kubelet")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "kubelet.crt", directory / "kubelet.key")
        kubelet = self

        class Handler(socketserver.StreamRequestHandler):
            def setup(self) -> None:
                self.request = context.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                while head := read_head(self.rfile):
                    if logs := re.match(r"GET /containerLogs/([^/]+)/([^/]+)/([^/?]+)", head[0]):
                        self.connection.sendall(_answer(kubelet.logs(logs[1], logs[2], logs[3])))
                        continue
                    wanted = re.match(r"GET /portForward/([^/]+)/([^/?]+)\S*[?&]port=(\d+)", head[0])
                    assert wanted, head[0]
                    channel = WebSocket.accept(head, self.rfile, self.connection)
                    with kubelet._counted(wanted[1]):
                        kubelet._forward(wanted[1], wanted[2], int(wanted[3]), channel)
                    return

            def finish(self) -> None:
                with contextlib.suppress(OSError):
                    super().finish()
                self.request.close()

        super().__init__(Handler)

    @contextlib.contextmanager
    def _counted(self, namespace: str) -> t.Iterator[None]:
        with self._lock:
            self.forwards += 1
            self.open_forwards[namespace] += 1
        try:
            yield
        finally:
            with self._lock:
                self.open_forwards[namespace] -= 1

    def _forward(self, namespace: str, pod: str, port: int, channel: WebSocket) -> None:
        channel.begin(port)
        address = self.pod_targets.get((namespace, pod, port)) or self.targets.get(port)
        if address is None:
            channel.send(b"\1" + f"error forwarding port {port}: connection refused".encode())
            channel.send(b"", CLOSE)
            return
        with socket.create_connection(address) as target:
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


def _answer(text: str) -> bytes:
    body = text.encode()
    lines = ["HTTP/1.1 200 OK", "Content-Type: text/plain", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


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
