# SPDX-License-Identifier: GPL-3.0-or-later
"""The port-forward against an API server that speaks its protocol on a real socket."""

from __future__ import annotations

import json
import queue
import socket
import socketserver
import struct
import threading
import typing as t

import pytest
import requests
from websocket_server import BINARY, CLOSE, PING, WebSocket, read_head

from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, InputError
from ansible_collections.eden.reference.plugins.module_utils._kube.kubeconfig import Access
from ansible_collections.eden.reference.plugins.module_utils._kube.port_forward import (
    Endpoint,
    PodSocket,
    find_endpoint,
    forwarded,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.transport import Transport

Object = dict[str, t.Any]

URL = "http://store.ns:8080"
SECONDS = (5.0, 5.0)


class Channel(WebSocket):
    """The API server's end of a port-forward, with the pod behind it."""

    def request(self) -> bytes:
        """One HTTP request with a whole body; empty at the end."""
        text = b""
        while True:
            opcode, payload = self.receive()
            if opcode == CLOSE:
                return b""
            if opcode != BINARY:
                continue
            assert payload[0] == 0
            text += payload[1:]
            head, blank, body = text.partition(b"\r\n\r\n")
            sizes = [
                line.split(b":")[1]
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            ]
            if blank and len(body) == int(sizes[0] if sizes else b"0"):
                return text

    def answer(self, body: bytes, *headers: str, pieces: int = 1) -> None:
        lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
        text = "\r\n".join([*lines, "", ""]).encode() + body
        step = -(-len(text) // pieces)
        for start in range(0, len(text), step):
            self.send(b"\0" + text[start : start + step])


Behaviour = t.Callable[[Channel], None]


class ApiServer:
    """Accepts port-forwards; each behaves as the next behaviour says, the last one over and over.

    Attributes:
        refusal: status and body, instead of a websocket; a status of 0 refuses nothing.
        silent: whether it does not answer at all.
        resets: how many connections it resets instead of an answer.
        requests: the lines of each request.
        ended: gets an entry for each connection that is closed.
    """

    def __init__(self) -> None:
        self.behaviours: list[Behaviour] = [echo]
        self.refusal: tuple[int, bytes] = (0, b"")
        self.silent = False
        self.resets = 0
        self.requests: list[list[str]] = []
        self.ended: queue.Queue[bool] = queue.Queue()
        api_server = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                lines = read_head(self.rfile)
                api_server.requests.append(lines)
                if api_server.resets:
                    api_server.resets -= 1
                    # Closing with a linger time of nothing sends a reset instead of an end.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                    return
                if api_server.silent:
                    self.rfile.read()
                    return
                status, body = api_server.refusal
                if status:
                    extra = "Location: http://elsewhere/\r\n" if status == 302 else ""
                    head = f"HTTP/1.1 {status} No\r\n{extra}Content-Length: {len(body)}\r\n\r\n"
                    self.wfile.write(head.encode() + body)
                    return
                channel = Channel.accept(lines, self.rfile, self.connection)
                several = len(api_server.behaviours) > 1
                behaviour = api_server.behaviours.pop(0) if several else api_server.behaviours[0]
                behaviour(channel)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def shutdown_request(self, request: t.Any) -> None:
                super().shutdown_request(request)
                api_server.ended.put(True)

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def echo(channel: Channel) -> None:
    """Answers each request with its first line, and never ends by itself."""
    channel.begin(8080)
    while request := channel.request():
        channel.answer(request.split(b"\r\n")[0])


def pod(name: str = "store-0", ready: bool = True, **metadata: str) -> Object:
    return {
        "metadata": {"name": name, "creationTimestamp": "2026-04-01T00:00:00Z", **metadata},
        "spec": {"containers": [{"ports": [{"name": "metrics", "containerPort": 9}]}, {}]},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def service(*ports: Object) -> Object:
    return {"spec": {"selector": {"b": "2", "a": "1"}, "ports": list(ports)}}


class FakeCluster:
    """A Service and its pods, and the address of an API server."""

    def __init__(self, url: str = "http://127.0.0.1:1") -> None:
        self.address = url
        self.transport = Transport(Access({"server": url}, {"token": "of-the-kubeconfig"}, "the kubeconfig"))
        self.service: Object | None = service({"port": 8080, "targetPort": 8080})
        self.pods = [pod()]

    def read(self, kind: str, namespace: str, name: str) -> Object | None:
        assert (kind, namespace, name) == ("Service", "ns", "store")
        return self.service

    def list(self, kind: str, namespace: str, labels: str) -> list[Object]:
        assert (kind, namespace, labels) == ("Pod", "ns", "a=1,b=2")
        return self.pods


@pytest.fixture
def api_server() -> t.Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.close()


@pytest.fixture
def cluster(api_server: ApiServer) -> t.Any:
    return FakeCluster(api_server.url)


@pytest.mark.parametrize(
    ("port", "target", "expected"),
    [
        pytest.param({"port": 8080, "targetPort": 80}, 8080, 80, id="number"),
        pytest.param({"port": 8080}, 8080, 8080, id="the same"),
        pytest.param({"port": 8080, "targetPort": "metrics"}, 8080, 9, id="name"),
    ],
)
def test_find_endpoint(port: Object, target: int, expected: int) -> None:
    cluster: t.Any = FakeCluster()
    cluster.service = service({"port": 1, "targetPort": 2}, port)
    assert find_endpoint(cluster, "ns", "store", target) == Endpoint("ns", "store-0", expected)


def test_find_endpoint_takes_the_youngest_ready_pod() -> None:
    cluster: t.Any = FakeCluster()
    cluster.pods = [
        pod("old"),
        pod("young", creationTimestamp="2026-04-02T00:00:00Z"),
        pod("leaving", creationTimestamp="2026-04-03T00:00:00Z", deletionTimestamp="2026-04-04T00:00:00Z"),
        pod("unready", ready=False, creationTimestamp="2026-04-05T00:00:00Z"),
    ]
    assert find_endpoint(cluster, "ns", "store", 8080) == Endpoint("ns", "young", 8080)


@pytest.mark.parametrize(
    ("found", "pods"),
    [
        pytest.param(None, [pod()], id="no Service"),
        pytest.param({"spec": {}}, [pod()], id="no selector"),
        pytest.param(service({"port": 8080}), [], id="no pod"),
        pytest.param(service({"port": 8080}), [pod(ready=False)], id="no ready pod"),
        pytest.param(service({"port": 8080}), [{"metadata": {"name": "new"}}], id="a pod without status"),
        pytest.param(service({"port": 8080, "targetPort": "http"}), [pod()], id="no port of that name"),
    ],
)
def test_find_endpoint_none(found: Object | None, pods: list[Object]) -> None:
    cluster: t.Any = FakeCluster()
    cluster.service, cluster.pods = found, pods
    assert find_endpoint(cluster, "ns", "store", 8080) is None


def test_find_endpoint_port_unknown() -> None:
    cluster: t.Any = FakeCluster()
    with pytest.raises(InputError, match=r"Service ns/store has no port 80: it has 8080\."):
        find_endpoint(cluster, "ns", "store", 80)


def test_requests_share_one_connection(api_server: ApiServer, cluster: t.Any) -> None:
    with forwarded(cluster, "ns", "store", 8080) as session:
        assert session.get(f"{URL}/a", timeout=SECONDS).text == "GET /a HTTP/1.1"
        assert session.post(f"{URL}/b", data=b"z" * 300_000, timeout=SECONDS).text == "POST /b HTTP/1.1"
    api_server.ended.get(timeout=5)
    assert len(api_server.requests) == 1
    lines = api_server.requests[0]
    assert lines[0] == "GET /api/v1/namespaces/ns/pods/store-0/portforward?ports=8080 HTTP/1.1"
    assert "Authorization: Bearer of-the-kubeconfig" in lines
    assert "Sec-WebSocket-Protocol: v4.channel.k8s.io" in lines


def test_an_answer_in_pieces(api_server: ApiServer, cluster: t.Any) -> None:
    body = bytes(range(256)) * 100

    def piecemeal(channel: Channel) -> None:
        channel.begin(8080)
        while channel.request():
            channel.send(b"", PING)
            channel.answer(body, pieces=37)

    api_server.behaviours = [piecemeal]
    with forwarded(cluster, "ns", "store", 8080) as session:
        assert [session.get(URL, timeout=SECONDS).content == body for _turn in range(2)] == [True, True]


def test_the_server_closes_after_the_answer(api_server: ApiServer, cluster: t.Any) -> None:
    def once(channel: Channel) -> None:
        channel.begin(8080)
        channel.request()
        channel.answer(b"last words" * 1000, "Connection: close", pieces=20)

    api_server.behaviours = [once]
    with forwarded(cluster, "ns", "store", 8080) as session:
        for _turn in range(3):
            assert session.get(URL, timeout=SECONDS).text == "last words" * 1000
    assert len(api_server.requests) == 3


def test_an_end_between_two_requests_goes_unnoticed(api_server: ApiServer, cluster: t.Any) -> None:
    def once(channel: Channel) -> None:
        channel.begin(8080)
        channel.request()
        channel.answer(b"1")

    api_server.behaviours = [once, echo]
    with forwarded(cluster, "ns", "store", 8080) as session:
        assert session.get(URL, timeout=SECONDS).text == "1"
        api_server.ended.get(timeout=5)
        assert session.get(f"{URL}/2", timeout=SECONDS).text == "GET /2 HTTP/1.1"


@pytest.mark.parametrize("begun", [0, 1, 2])
def test_the_connection_breaks_before_the_answer(api_server: ApiServer, cluster: t.Any, begun: int) -> None:
    def give_up(channel: Channel) -> None:
        for number in range(begun):
            channel.send(bytes([number, 0, 0]))

    api_server.behaviours = [give_up]
    with forwarded(cluster, "ns", "store", 8080) as session, pytest.raises(requests.ConnectionError):
        session.get(URL, timeout=SECONDS)


def test_no_answer_in_time(api_server: ApiServer, cluster: t.Any) -> None:
    def keep_silent(channel: Channel) -> None:
        channel.begin(8080)
        while channel.request():
            pass

    api_server.behaviours = [keep_silent, echo]
    with forwarded(cluster, "ns", "store", 8080) as session:
        with pytest.raises(requests.ReadTimeout):
            session.get(URL, timeout=(5, 0.1))
        assert session.get(URL, timeout=SECONDS).ok


def test_no_connection_in_time(api_server: ApiServer, cluster: t.Any) -> None:
    api_server.silent = True
    with (
        forwarded(cluster, "ns", "store", 8080) as session,
        pytest.raises(
            requests.ConnectionError, match=r"no port-forward to port 8080 of Pod ns/store-0 within 0.1 s"
        ),
    ):
        session.get(URL, timeout=(0.1, 5))


def test_no_first_frame_in_time(api_server: ApiServer, cluster: t.Any) -> None:
    def keep_silent(channel: Channel) -> None:
        channel.receive()

    api_server.behaviours = [keep_silent]
    with pytest.raises(TimeoutError, match="port 8080 of Pod ns/store-0 sends no data"):
        PodSocket.open(cluster, Endpoint("ns", "store-0", 8080), 0.1)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            403,
            json.dumps({"message": "cannot create resource pods/portforward"}).encode(),
            "cannot create resource",
        ),
        (401, b"Unauthorized", "Renew the credentials of the kubeconfig"),
        (400, b"<html>\n proxy </html>", "400: <html> proxy </html>"),
        (400, b"[]", "400"),
    ],
)
def test_refused_for_good(
    api_server: ApiServer, cluster: t.Any, status: int, body: bytes, words: str
) -> None:
    api_server.refusal = (status, body)
    with forwarded(cluster, "ns", "store", 8080) as session, pytest.raises(ClusterError) as caught:
        session.get(URL, timeout=SECONDS)
    assert caught.value.status == status
    assert "Could not forward port 8080 of Pod ns/store-0" in caught.value.message
    assert words in caught.value.message
    assert "of-the-kubeconfig" not in caught.value.message


@pytest.mark.parametrize("status", [404, 429, 500, 503])
def test_refused_for_now(api_server: ApiServer, cluster: t.Any, status: int) -> None:
    api_server.refusal = (status, b"{}")
    with forwarded(cluster, "ns", "store", 8080) as session:
        with pytest.raises(requests.ConnectionError, match=f"answered {status}"):
            session.get(URL, timeout=SECONDS)
        api_server.refusal = (0, b"")
        assert session.get(URL, timeout=SECONDS).ok


def test_a_connection_that_is_reset_at_its_beginning(api_server: ApiServer, cluster: t.Any) -> None:
    api_server.resets = 1
    with forwarded(cluster, "ns", "store", 8080) as session:
        with pytest.raises(requests.ConnectionError):
            session.get(URL, timeout=SECONDS)
        assert session.get(URL, timeout=SECONDS).ok


def test_a_redirect_does_not_get_the_login(api_server: ApiServer, cluster: t.Any) -> None:
    api_server.refusal = (302, b"")
    with forwarded(cluster, "ns", "store", 8080) as session, pytest.raises(requests.ConnectionError):
        session.get(URL, timeout=SECONDS)
    assert len(api_server.requests) == 1


def test_proxies_of_the_environment_are_not_asked(
    api_server: ApiServer, cluster: t.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with forwarded(cluster, "ns", "store", 8080) as session:
        assert session.get(URL, timeout=SECONDS).ok
