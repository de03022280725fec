# SPDX-License-Identifier: GPL-3.0-or-later
"""The client of the rig leaves no connection open once it is closed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.client import HTTPSConnection

import pytest
from control_plane import ControlPlane
from kube import Kube


class Counting(Kube):
    """Remembers the connections that it made."""

    def __init__(self, control_plane: ControlPlane) -> None:
        super().__init__(control_plane.url, control_plane.context_for("node", ("system:masters",)))
        self.made: list[HTTPSConnection] = []

    def _connect(self, seconds: float | None) -> HTTPSConnection:
        self.made.append(super()._connect(seconds))
        return self.made[-1]

    @property
    def open(self) -> int:
        """How many of them are open."""
        return sum(connection.sock is not None for connection in self.made)


@pytest.fixture
def kube(control_plane: ControlPlane) -> Iterator[Counting]:
    """A client of the test's own."""
    kube = Counting(control_plane)
    yield kube
    kube.close()


def test_a_connection_is_kept_until_the_close(kube: Counting) -> None:
    kube.ask("GET", "/version")
    kube.ask("GET", "/version")
    assert (len(kube.made), kube.open) == (1, 1)
    kube.close()
    assert kube.open == 0


def test_what_is_asked_while_it_closes_keeps_no_connection(kube: Counting) -> None:
    kube.close()
    kube.ask("GET", "/version")
    assert kube.open == 0


def test_the_close_ends_a_watch(kube: Counting) -> None:
    began = threading.Event()

    def watch() -> None:
        for _change in kube.watch("/api/v1/namespaces", "0"):
            began.set()

    thread = threading.Thread(target=watch)
    thread.start()
    assert began.wait(60)
    kube.close()
    thread.join(60)
    assert not thread.is_alive()
    assert kube.open == 0


def test_no_watch_begins_after_the_close(kube: Counting) -> None:
    kube.close()
    assert list(kube.watch("/api/v1/namespaces", "0")) == []
    assert kube.open == 0
