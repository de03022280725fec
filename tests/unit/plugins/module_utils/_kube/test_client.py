# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests, retries and errors of the cluster connection, against a scripted HTTP server."""

from __future__ import annotations

import json
import threading
import typing as t
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType

import pytest

from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    ConflictError,
    UnreachableError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, client_of
from ansible_collections.eden.reference.plugins.module_utils._kube.kubeconfig import Access
from ansible_collections.eden.reference.plugins.module_utils._kube.transport import Transport

DATE = "Sat, 03 Feb 2001 04:05:06 GMT"
CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}}


class Answer(t.NamedTuple):
    """One answer of the server; a status of 0 closes the connection instead."""

    status: int
    body: t.Any = None
    headers: t.Mapping[str, str] = MappingProxyType({})


class Script:
    """A server that gives the answers in their order and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, t.Any]] = []
        self.pauses: list[float] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                script.requests.append((self.command, self.path, body))
                answer = script.answers.pop(0)
                if not answer.status:
                    self.close_connection = True
                    self.connection.close()
                    return
                content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                # The other one adds a date.
                (self.send_response_only if "Date" in answer.headers else self.send_response)(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_arguments: t.Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def cluster(self, retry_budget: float = 60.0) -> Cluster:
        access = Access({"server": f"http://127.0.0.1:{self.server.server_port}"}, {}, "the test")
        return Cluster(client_of(Transport(access)), retry_budget, self.pauses.append)


@pytest.fixture
def script(request: pytest.FixtureRequest) -> t.Iterator[t.Callable[..., Script]]:
    """Starts scripted servers; all their answers must have been asked for at the end."""
    started: list[Script] = []

    def start(*answers: Answer) -> Script:
        started.append(Script(*answers))
        return started[-1]

    yield start
    for server in started:
        server.server.shutdown()
        server.server.server_close()
        assert not server.answers


def status(code: int, reason: str, message: str) -> Answer:
    return Answer(code, {"kind": "Status", "reason": reason, "message": message, "code": code})


NOT_FOUND = status(404, "NotFound", 'configmaps "c" not found')


def test_read_gives_the_object_or_none(script: t.Callable[..., Script]) -> None:
    server = script(Answer(200, CONFIG), NOT_FOUND)
    assert server.cluster().read("ConfigMap", "ns", "c") == CONFIG
    assert server.cluster().read("ConfigMap", "ns", "c") is None
    assert server.requests[0][:2] == ("GET", "/api/v1/namespaces/ns/configmaps/c")


def test_list_gives_whole_objects_and_selects(script: t.Callable[..., Script]) -> None:
    server = script(
        Answer(200, {"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "x"}}]})
    )
    items, version = server.cluster().list_with_version("StatefulSet", "ns", labels="a=b,c=d")
    assert (items, version) == (
        [{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "x"}}],
        "9",
    )
    assert server.requests[0][1] == "/apis/apps/v1/namespaces/ns/statefulsets?labelSelector=a%3Db%2Cc%3Dd"


CONFIGMAPS = "/api/v1/namespaces/ns/configmaps"
MANAGED = "fieldValidation=Strict&fieldManager=eden.reference"


@pytest.mark.parametrize(
    ("call", "method", "path"),
    [
        ("create", "POST", f"{CONFIGMAPS}?{MANAGED}"),
        ("replace", "PUT", f"{CONFIGMAPS}/c?{MANAGED}"),
        ("apply", "PATCH", f"{CONFIGMAPS}/c?{MANAGED}&force=true"),
    ],
)
def test_writes(script: t.Callable[..., Script], call: str, method: str, path: str) -> None:
    server = script(Answer(200, CONFIG))
    assert getattr(server.cluster(), call)(CONFIG) == CONFIG
    assert server.requests == [(method, path, CONFIG)]


def test_delete_of_what_is_gone_is_no_error(script: t.Callable[..., Script]) -> None:
    server = script(Answer(200, {}), NOT_FOUND)
    assert server.cluster().delete("ConfigMap", "ns", "c") is True
    assert server.cluster().delete("ConfigMap", "ns", "c") is False
    assert server.requests[0][1].endswith("?propagationPolicy=Background")


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504, 0])
def test_faults_are_ridden_out(script: t.Callable[..., Script], code: int) -> None:
    fault = Answer(0) if not code else status(code, "Fault", "not now")
    server = script(fault, fault, Answer(200, CONFIG))
    assert server.cluster().apply(CONFIG) == CONFIG
    assert len(server.pauses) == 2
    assert all(0.1 <= pause <= 5 for pause in server.pauses)


def test_retry_after_is_honoured_up_to_a_limit(script: t.Callable[..., Script]) -> None:
    server = script(
        status(429, "TooManyRequests", "slow down")._replace(headers={"Retry-After": "7"}),
        status(429, "TooManyRequests", "slow down")._replace(headers={"Retry-After": "3600"}),
        Answer(200, CONFIG),
    )
    server.cluster().read("ConfigMap", "ns", "c")
    assert server.pauses == [7, 10]


def test_patience_ends(script: t.Callable[..., Script]) -> None:
    server = script(status(503, "ServiceUnavailable", "etcd is away"))
    with pytest.raises(ClusterError, match="503 ServiceUnavailable: etcd is away") as caught:
        server.cluster(retry_budget=0).read("ConfigMap", "ns", "c")
    assert caught.value.status == 503


@pytest.mark.parametrize(
    ("code", "reason", "message"),
    [
        (400, "BadRequest", "because"),
        (401, "Unauthorized", "because"),
        (403, "Forbidden", "because"),
        (422, "Invalid", "because"),
        (500, "InternalError", ".spec.replcas: field not declared in schema"),
    ],
)
def test_refusals_are_told_at_once(
    script: t.Callable[..., Script], code: int, reason: str, message: str
) -> None:
    server = script(status(code, reason, message))
    with pytest.raises(
        ClusterError, match=f"Could not apply ConfigMap ns/c: .* {code} {reason}: {message}"
    ) as caught:
        server.cluster().apply(CONFIG)
    assert caught.value.status == code
    assert not server.pauses


def test_conflict_is_an_error_of_its_own(script: t.Callable[..., Script]) -> None:
    with pytest.raises(ConflictError, match="409 AlreadyExists"):
        script(status(409, "AlreadyExists", "exists")).cluster().create(CONFIG)


def test_answer_that_is_no_status_is_quoted(script: t.Callable[..., Script]) -> None:
    with pytest.raises(ClusterError, match="a proxy speaks"):
        script(Answer(403, b"a proxy speaks")).cluster().read("ConfigMap", "ns", "c")


def test_nobody_there_names_the_address() -> None:
    server = Script()
    address = f"http://127.0.0.1:{server.server.server_port}"
    cluster = server.cluster(retry_budget=0)
    server.server.server_close()
    with pytest.raises(UnreachableError, match=f"no answer from the Kubernetes API at {address}"):
        cluster.version()


def test_watch_gives_changes_until_it_breaks(script: t.Callable[..., Script]) -> None:
    lines = [
        {"type": "ADDED", "object": {"metadata": {"name": "a"}}},
        {"type": "MODIFIED", "object": {"metadata": {"name": "a"}}},
        {"type": "ERROR", "object": {"code": 410}},
        {"type": "ADDED", "object": {"metadata": {"name": "never"}}},
    ]
    server = script(Answer(200, b"\n".join(json.dumps(line).encode() for line in lines) + b"\n"))
    seen = list(server.cluster().watch("Pod", "ns", "a=b", "9", 10))
    assert [(kind, item["kind"], item["metadata"]["name"]) for kind, item in seen] == [
        ("ADDED", "Pod", "a"),
        ("MODIFIED", "Pod", "a"),
    ]
    assert "watch=true" in server.requests[0][1]
    assert "resourceVersion=9" in server.requests[0][1]


@pytest.mark.parametrize(
    "answer", [Answer(200, b"{not json\n"), status(410, "Expired", "too old"), Answer(0)]
)
def test_broken_watch_ends_without_an_error(script: t.Callable[..., Script], answer: Answer) -> None:
    assert list(script(answer).cluster().watch("Pod", "ns", "", "9", 10)) == []


def test_log_is_text(script: t.Callable[..., Script]) -> None:
    server = script(Answer(200, b"first\nsecond\xff\n"))
    assert server.cluster().log("ns", "p", "c", lines=2, previous=True) == "first\nsecond\ufffd\n"
    assert server.requests[0][1] == "/api/v1/namespaces/ns/pods/p/log?container=c&tailLines=2&previous=true"


@pytest.mark.parametrize("body", [b"<html>hunter2</html>", b"[]", b"null", b"\xff"])
def test_answer_of_something_else_is_told(script: t.Callable[..., Script], body: bytes) -> None:
    cluster = script(Answer(200, body)).cluster()
    with pytest.raises(UnreachableError, match=r"the server at http://\S+ is not a Kubernetes API") as error:
        cluster.version()
    assert "hunter2" not in error.value.message


def test_the_time_is_the_servers(script: t.Callable[..., Script]) -> None:
    cluster = script(Answer(200, CONFIG), NOT_FOUND._replace(headers={"Date": DATE})).cluster()
    cluster.read("ConfigMap", "ns", "c")
    assert abs((cluster.now() - datetime.now(UTC)).total_seconds()) < 5
    cluster.read("ConfigMap", "ns", "c")
    assert 0 <= (cluster.now() - datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)).total_seconds() < 5
