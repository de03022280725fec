# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy in front of the API server hands on what passes, and spoils what it is told to."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from api_proxy import ApiProxy
from control_plane import ControlPlane
from kubernetes.client import ApiClient, CoreV1Api
from traffic import PASS, Action, Traffic


class Client:
    """Requests through a proxy, and what is stored in the namespace."""

    def __init__(self, proxy: ApiProxy, traffic: Traffic, core: CoreV1Api, namespace: str) -> None:
        self.traffic = traffic
        self._address = urlsplit(proxy.url).netloc
        self._core = core
        self.path = f"/api/v1/namespaces/{namespace}/configmaps"
        self._namespace = namespace

    def send(self, method: str, target: str, body: Any = None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            connection.request(method, target, json.dumps(body) if body else None)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def create(self, name: str) -> tuple[int, dict[str, str], bytes]:
        """Create a ConfigMap."""
        return self.send("POST", self.path, {"metadata": {"name": name}})

    def stored(self) -> list[str]:
        """The names of the ConfigMaps that there are."""
        found: Any = self._core.list_namespaced_config_map(self._namespace)
        return [item.metadata.name for item in found.items]


@pytest.fixture
def client(control_plane: ControlPlane, admin: ApiClient, namespace: str) -> Iterator[Client]:
    traffic = Traffic()
    context = control_plane.context_for("admin", ("system:masters",))
    with ApiProxy(control_plane.url, context, traffic) as proxy:
        yield Client(proxy, traffic, CoreV1Api(admin), namespace)


def test_what_passes_is_answered_and_counted(client: Client) -> None:
    assert client.create("first")[0] == http.HTTPStatus.CREATED
    assert client.send("GET", client.path)[0] == http.HTTPStatus.OK
    assert client.send("POST", f"{client.path}?dryRun=All", {"metadata": {"name": "dry"}})[0] == 201
    assert client.create("second")[0] == http.HTTPStatus.CREATED
    assert client.stored() == ["first", "second"]
    assert [request.number for request in client.traffic.log] == [1, 2, 3, 4]
    assert [(request.number, request.write) for request in client.traffic.writes] == [(1, 1), (4, 2)]


@pytest.mark.parametrize("executed", [False, True])
def test_status_in_place_of_the_answer(client: Client, executed: bool) -> None:
    client.traffic.restart(lambda _request: Action(executed, 429, headers=("Retry-After: 7",)))
    status, headers, body = client.create("spoilt")
    assert (status, headers["Retry-After"], json.loads(body)["code"]) == (429, "7", 429)
    assert client.stored() == (["spoilt"] if executed else [])


@pytest.mark.parametrize("executed", [False, True])
def test_reset(client: Client, executed: bool) -> None:
    client.traffic.restart(lambda _request: Action(executed, "reset"))
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        client.create("spoilt")
    assert client.stored() == (["spoilt"] if executed else [])


def test_half_of_an_answer(client: Client) -> None:
    client.traffic.restart(lambda _request: Action(reply="half"))
    with pytest.raises((OSError, http.client.HTTPException)):
        client.create("spoilt")
    assert client.stored() == ["spoilt"]


def test_silence(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    client.traffic.restart(lambda _request: Action(executed=False, reply="silence"))
    monkeypatch.setattr(socket, "create_connection", _impatient(socket.create_connection))
    with pytest.raises(TimeoutError):
        client.create("spoilt")
    assert client.stored() == []


def _impatient(connect: Any) -> Any:
    return lambda address, timeout=0, *rest: connect(address, 0.5, *rest)


def test_what_is_called_comes_before_and_after_the_reply(client: Client) -> None:
    seen: list[list[str]] = []
    replied = threading.Event()
    client.traffic.restart(
        lambda _request: Action(then=lambda: seen.append(client.stored()), after=replied.set)
    )
    client.create("watched")
    assert seen == [["watched"]]
    assert replied.wait(60)


def test_nothing_passes_after_the_cut(client: Client) -> None:
    client.traffic.cut = True
    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        client.create("late")
    assert client.stored() == []
    client.traffic.restart()
    assert client.create("again")[0] == http.HTTPStatus.CREATED


@pytest.mark.parametrize(
    ("fault", "said"), [("gone", b'"code": 410'), ("garbage", b"<html>"), ("close", b"")], ids=str
)
def test_broken_watch_ends(client: Client, fault: Any, said: bytes) -> None:
    client.traffic.restart(lambda request: Action(watch=fault) if request.is_watch else PASS)
    status, _headers, body = client.send("GET", f"{client.path}?watch=true")
    assert status == http.HTTPStatus.OK
    assert (said in body) if said else (body == b"")


@pytest.mark.parametrize("fault", ["pass", "stall"])
def test_watch_that_stalls_tells_of_no_change(client: Client, fault: Any) -> None:
    client.traffic.restart(lambda request: Action(watch=fault) if request.is_watch else PASS)
    connection = http.client.HTTPConnection(client._address, timeout=0.5 if fault == "stall" else 60)
    connection.request("GET", f"{client.path}?watch=true")
    try:
        response = connection.getresponse()
        client.create("changed")
        if fault == "stall":
            with pytest.raises(TimeoutError):
                response.readline()
        else:
            assert b'"changed"' in response.readline()
    finally:
        connection.close()
