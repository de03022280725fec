# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of a namespace's objects, against a scripted cluster."""

from __future__ import annotations

import queue
import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube import informer as informers
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._kube.informer import Informer
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._kube import kube_objects as k

POSTGRES = k.statefulset()
SCHEDULED = k.pod(POSTGRES)
RUNNING = k.pod(POSTGRES, k.container(k.running()), phase="Running")


class WatchedCluster:
    """A cluster whose watches and lists are fed by the test; nothing happens without the test's doing.

    A watch yields what the test put into ``watches`` and ends.
    """

    def __init__(self) -> None:
        self.client = None
        self.lists: queue.Queue[list[Object] | Exception] = queue.Queue()
        self.watches: queue.Queue[list[tuple[str, Object]] | Exception] = queue.Queue()
        self.versions: queue.Queue[str] = queue.Queue()
        self.seconds: set[float] = set()

    def list_with_version(self, kind: str, namespace: str = "") -> tuple[list[Object], str]:
        answer = self.lists.get(timeout=60)
        if isinstance(answer, Exception):
            raise answer
        return answer, "from the list"

    def watch(
        self, kind: str, namespace: str, labels: str, resource_version: str, seconds: float
    ) -> t.Iterator[tuple[str, Object]]:
        self.seconds.add(seconds)
        self.versions.put(resource_version)
        changes = self.watches.get(timeout=60)
        if isinstance(changes, Exception):
            raise changes
        yield from changes


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> t.Iterator[tuple[WatchedCluster, Informer]]:
    monkeypatch.setattr(informers, "MIN_CYCLE", 0.0)
    cluster = WatchedCluster()
    informer = Informer(cluster, k.NAMESPACE)  # type: ignore[arg-type]
    yield cluster, informer
    informer.close()
    cluster.watches.put([])
    cluster.lists.put([])


def phases(informer: Informer) -> list[str]:
    return [pod["status"]["phase"] for pod in informer.objects("Pod")]


def test_the_copy_changes_with_the_watch(watched: tuple[WatchedCluster, Informer]) -> None:
    cluster, informer = watched
    informer.watch("Pod", [SCHEDULED], "5")
    assert phases(informer) == ["Pending"]
    assert cluster.versions.get(timeout=60) == "5"
    cluster.watches.put([("MODIFIED", RUNNING)])
    informer.wait(60)
    assert phases(informer) == ["Running"]


def test_the_informer_lists_again_after_a_watch_and_watches_from_there(
    watched: tuple[WatchedCluster, Informer],
) -> None:
    cluster, informer = watched
    informer.watch("Pod", [SCHEDULED], "5")
    cluster.watches.put([])
    cluster.lists.put([RUNNING])
    informer.wait(60)
    assert phases(informer) == ["Running"]
    assert [cluster.versions.get(timeout=60) for _turn in range(2)] == ["5", "from the list"]
    # The connection gives a silent watch up 5 s later, which makes half a minute at most.
    assert max(cluster.seconds) <= 25


def test_the_informer_drops_what_was_deleted(watched: tuple[WatchedCluster, Informer]) -> None:
    cluster, informer = watched
    informer.watch("Pod", [SCHEDULED], "5")
    cluster.watches.put([("DELETED", SCHEDULED)])
    informer.wait(60)
    assert phases(informer) == []


@pytest.mark.parametrize("garbage", [[("ADDED", {"kind": "Pod"})], KeyError("object"), AttributeError("get")])
def test_the_informer_lists_again_after_garbage(
    watched: tuple[WatchedCluster, Informer], garbage: t.Any
) -> None:
    cluster, informer = watched
    informer.watch("Pod", [SCHEDULED], "5")
    cluster.watches.put(garbage)
    cluster.lists.put([RUNNING])
    informer.wait(60)
    assert phases(informer) == ["Running"]


def test_the_informer_raises_what_a_list_raised(watched: tuple[WatchedCluster, Informer]) -> None:
    cluster, informer = watched
    informer.watch("Pod", [], "5")
    cluster.watches.put([])
    cluster.lists.put(ClusterError("list", "pods", 403, "Forbidden"))
    with pytest.raises(ClusterError):
        informer.wait(60)


def test_the_informer_returns_in_time_when_nothing_happens(watched: tuple[WatchedCluster, Informer]) -> None:
    _cluster, informer = watched
    informer.watch("Pod", [SCHEDULED], "5")
    informer.wait(0)
    assert phases(informer) == ["Pending"]
