# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP to a pod through the API server's port-forward, in this process: no kubectl, no port, no thread.

The port-forward of the Python package ``kubernetes`` connects without a timeout and copies the bytes in a
thread that dies when the connection breaks, and leaves the client waiting. Here the websocket itself is the
connection's socket, so a timeout, an error of the kubelet and the end reach the request concerned.
This module is private to the collection.
"""

from __future__ import annotations

import io
import typing as t
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from ansible_collections.eden.reference.plugins.module_utils._errors import InputError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    is_retryable,
    refusal,
    resource_of,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import condition
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe

if t.TYPE_CHECKING:
    from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object
    from ansible_collections.eden.reference.plugins.module_utils._kube.login import Credentials

try:
    import requests
    import urllib3
    import websocket
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool
except ImportError:
    # Connecting to the cluster reports a missing package.
    HTTPAdapter = HTTPConnection = object  # type: ignore[assignment,misc]

PROTOCOL = "v4.channel.k8s.io"
DATA_CHANNEL = 0
ERROR_CHANNEL = 1


class Endpoint(t.NamedTuple):
    """A port of a pod."""

    namespace: str
    pod: str
    port: int

    def __str__(self) -> str:
        return f"port {self.port} of {describe('Pod', self.namespace, self.pod)}"


def find_endpoint(cluster: Cluster, namespace: str, service: str, port: int) -> Endpoint | None:
    """The port of the youngest ready pod behind a port of a Service, or None if there is none yet.

    Raises:
        InputError: the Service has no such port.
    """
    found = cluster.read("Service", namespace, service)
    selector = ((found or {}).get("spec") or {}).get("selector")
    if found is None or not selector:
        return None
    target = _target_port(found, namespace, service, port)
    labels = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    pods = [pod for pod in cluster.list("Pod", namespace, labels=labels) if _ready(pod)]
    for pod in sorted(pods, key=lambda pod: pod["metadata"].get("creationTimestamp", ""), reverse=True):
        number = target if isinstance(target, int) else _named_port(pod, target)
        if number:
            return Endpoint(namespace, pod["metadata"]["name"], number)
    return None


def _target_port(found: Object, namespace: str, service: str, port: int) -> int | str:
    ports = found["spec"].get("ports") or []
    for entry in ports:
        if entry["port"] == port:
            target: int | str = entry.get("targetPort", port)
            return target
    raise InputError(
        f"{describe('Service', namespace, service)} has no port {port}: it has "
        f"{', '.join(str(entry['port']) for entry in ports) or 'none'}."
    )


def _ready(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and condition(pod, "Ready", "True") is not None


def _named_port(pod: Object, name: str) -> int:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == name:
                return int(port["containerPort"])
    return 0


class PodSocket:
    """One TCP connection into a pod, with as much of a socket's interface as ``http.client`` and urllib3 use.

    If the kubelet ends the connection with an error, for example because nothing listens on the port, this
    raises ConnectionResetError with the kubelet's message; an expired timeout raises TimeoutError.
    """

    def __init__(self, connection: websocket.WebSocket, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._websocket = connection
        self._pending = b""
        self._ended = False
        self._readers = 0
        self._closed = False

    @classmethod
    def open(cls, cluster: Cluster, endpoint: Endpoint, seconds: float | None) -> PodSocket:
        """A connection; each step to the API server may take that many seconds.

        Raises:
            ClusterError: the API server refuses the port-forward for good.
            OSError: no connection at the moment.
        """
        try:
            connection = _upgrade(cluster, endpoint, seconds)
        except websocket.WebSocketBadStatusException as error:
            refused = refusal(
                "forward", str(endpoint), error.status_code, "", error.resp_body, cluster.transport
            )
            if error.status_code == 403:
                # The API server does not name the permission in its answer to an upgrade.
                refused.message += " A port-forward needs the permissions get and create on pods/portforward."
            if error.status_code != 404 and not is_retryable(refused):
                raise refused from None
            raise ConnectionRefusedError(refused.message) from None
        except (websocket.WebSocketException, urllib3.exceptions.HTTPError, OSError) as error:
            if _is_timeout(error):
                raise TimeoutError(f"no port-forward to {endpoint} within {seconds} s") from error
            raise ConnectionRefusedError(f"no port-forward to {endpoint}: {error}") from error
        pod_socket = cls(connection, endpoint)
        try:
            # The kubelet begins each channel with the number of its port.
            for _channel in (DATA_CHANNEL, ERROR_CHANNEL):
                pod_socket._frame()
            if pod_socket._ended:
                raise ConnectionResetError(f"the port-forward to {endpoint} ended before it began")
        except OSError:
            pod_socket.close()
            raise
        return pod_socket

    def sendall(self, data: bytes) -> None:
        """Send bytes to the pod."""
        try:
            self._websocket.send_binary(bytes([DATA_CHANNEL]) + bytes(data))
        except websocket.WebSocketTimeoutException as error:
            raise TimeoutError(f"{self.endpoint} takes no data") from error
        except (websocket.WebSocketException, OSError) as error:
            raise ConnectionResetError(f"the port-forward to {self.endpoint} ended: {error}") from error

    def recv_into(self, buffer: t.Any) -> int:
        """Receive bytes from the pod into the buffer; 0 if the connection has ended."""
        while not self._pending and not self._ended:
            channel, data = self._frame()
            if channel == ERROR_CHANNEL and data:
                self._ended = True
                words = data.decode("utf-8", "replace").strip()
                raise ConnectionResetError(f"the port-forward to {self.endpoint} ended: {words}")
            if channel == DATA_CHANNEL:
                self._pending = data
        size = min(len(buffer), len(self._pending))
        buffer[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size

    def _frame(self) -> tuple[int, bytes]:
        """The next frame's channel and data; an empty one of channel -1 at the end."""
        try:
            opcode, frame = self._websocket.recv_data_frame()
        except websocket.WebSocketTimeoutException as error:
            raise TimeoutError(f"{self.endpoint} sends no data") from error
        except websocket.WebSocketConnectionClosedException:
            opcode, frame = websocket.ABNF.OPCODE_CLOSE, None
        except (websocket.WebSocketException, OSError) as error:
            raise ConnectionResetError(f"the port-forward to {self.endpoint} ended: {error}") from error
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self._ended = True
            return -1, b""
        return frame.data[0], bytes(frame.data[1:])

    def makefile(self, mode: str = "rb", buffering: int = -1) -> io.BufferedReader:
        """A reader of the connection, which stays open until the reader is closed."""
        if mode != "rb":
            raise ValueError(f"cannot open a port-forward in mode {mode}")
        self._readers += 1
        return io.BufferedReader(_Reader(self), buffering if buffering > 0 else io.DEFAULT_BUFFER_SIZE)

    def fileno(self) -> int:
        """The descriptor to poll: between two answers it is readable when the connection ends."""
        return self._websocket.sock.fileno() if self._websocket.sock else -1

    def settimeout(self, seconds: float | None) -> None:
        """The timeout of each send and receive."""
        self._websocket.settimeout(seconds)

    def close(self) -> None:
        """End the connection, after its readers are closed."""
        self._closed = True
        self._release()

    def reader_closed(self) -> None:
        """A reader is closed."""
        self._readers -= 1
        self._release()

    def _release(self) -> None:
        if self._closed and self._readers <= 0:
            self._ended = True
            # The first sends a close frame without waiting for the answer, unless the other side has closed.
            self._websocket.close(timeout=0)
            self._websocket.shutdown()


class _Reader(io.RawIOBase):
    def __init__(self, pod_socket: PodSocket) -> None:
        self._socket = pod_socket

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int:
        return self._socket.recv_into(buffer)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._socket.reader_closed()


def _upgrade(cluster: Cluster, endpoint: Endpoint, seconds: float | None) -> websocket.WebSocket:
    """A websocket to the endpoint; after a 401 it is requested again with new credentials."""
    transport = cluster.transport
    credentials: Credentials | None = transport.login.current()
    server = urlsplit(cluster.address)
    path = (
        server.path.rstrip("/") + resource_of("Pod").path(endpoint.pod, endpoint.namespace) + "/portforward"
    )
    scheme = "wss" if server.scheme == "https" else "ws"
    url = urlunsplit((scheme, server.netloc, path, f"ports={endpoint.port}", ""))
    while credentials is not None:
        connection = websocket.WebSocket(skip_utf8_validation=True)
        connection.settimeout(seconds)
        try:
            connection.connect(
                url,
                socket=transport.connect(credentials, seconds),
                header=[f"{name}: {value}" for name, value in transport.headers(credentials)],
                subprotocols=[PROTOCOL],
                suppress_origin=True,
                # The login goes to the API server and nowhere else.
                redirect_limit=0,
            )
        except websocket.WebSocketBadStatusException as error:
            connection.shutdown()
            credentials = transport.login.renewed(credentials) if error.status_code == 401 else None
            if credentials is None:
                raise
        except BaseException:
            connection.shutdown()
            raise
        else:
            return connection
    raise AssertionError("there are credentials for the first attempt")


def _is_timeout(error: Exception) -> bool:
    # The first of urllib3's two is a subclass of the second.
    return not isinstance(error, urllib3.exceptions.NewConnectionError) and isinstance(
        error,
        (TimeoutError, websocket.WebSocketTimeoutException, urllib3.exceptions.ConnectTimeoutError),
    )


class _Connection(HTTPConnection):
    """A connection to the pod that ``dial`` picks."""

    def __init__(
        self, *arguments: t.Any, dial: t.Callable[[float | None], PodSocket], **options: t.Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._dial = dial

    def connect(self) -> None:
        try:
            self.sock = self._dial(self.timeout if isinstance(self.timeout, (int, float)) else None)
        except (BrokenPipeError, ConnectionResetError) as error:
            # urllib3 treats these two as a break of a connection on which an answer may be pending.
            raise ConnectionAbortedError(str(error)) from error


class PortForwardAdapter(HTTPAdapter):
    """Sends every request to the pod behind a Service, over one connection that is kept alive.

    If the connection ended, the next request opens another one, to the pod that is ready by then.
    """

    def __init__(self, dial: t.Callable[[float | None], PodSocket]) -> None:
        super().__init__()
        self._pool = HTTPConnectionPool("port-forward", maxsize=1, dial=dial)
        self._pool.ConnectionCls = _Connection

    def get_connection_with_tls_context(self, *_arguments: t.Any, **_options: t.Any) -> HTTPConnectionPool:
        """The pool of the port-forward, whatever the URL names."""
        return self._pool

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self._pool.close()


@contextmanager
def forwarded(cluster: Cluster, namespace: str, service: str, port: int) -> t.Iterator[requests.Session]:
    """A session whose ``http://`` requests reach a ready pod behind the Service.

    A request raises requests.ConnectionError if there is no such pod or no connection to it at the moment,
    and ClusterError if the API server refuses the port-forward.
    """

    def dial(seconds: float | None) -> PodSocket:
        endpoint = find_endpoint(cluster, namespace, service, port)
        if endpoint is None:
            raise ConnectionRefusedError(f"no ready pod behind {describe('Service', namespace, service)}")
        return PodSocket.open(cluster, endpoint, seconds)

    with requests.Session() as session:
        # No proxy and no ~/.netrc: the name in the URL does not exist.
        session.trust_env = False
        session.mount("http://", PortForwardAdapter(dial))
        yield session


__all__ = ["Endpoint", "PodSocket", "PortForwardAdapter", "find_endpoint", "forwarded"]
