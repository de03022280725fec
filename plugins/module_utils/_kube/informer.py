# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A local copy of some objects of a namespace, kept up to date by watches.

This module is private to the collection.
"""

from __future__ import annotations

import queue
import threading
import time
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object

# The server ends a watch after this time; the client gives up one that has stalled 5 s later.
WATCH_SECONDS = 20.0
# A watch that ends at once is reopened after this time.
MIN_CYCLE = 1.0


class Informer:
    """A copy of some kinds of one namespace that watches keep up to date.

    One thread per kind lists and watches in turn, so that a list follows each watch that ends or stalls. The
    threads only report; ``wait`` changes the copy in the caller's thread. The oldest supported versions of
    the Python client have no informer.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._objects: dict[str, dict[str, Object]] = {}
        self._reports: queue.SimpleQueue[t.Callable[[], None]] = queue.SimpleQueue()
        self._closed = threading.Event()

    def watch(self, kind: str, items: t.Iterable[Object], version: str) -> None:
        """Keep a kind up to date from the list that was read at a resource version."""
        self._replace(kind, items)
        # A daemon, because reading a watch cannot be interrupted.
        threading.Thread(target=self._run, args=(kind, version), name=f"watch {kind}", daemon=True).start()

    def objects(self, kind: str) -> list[Object]:
        """The objects of a kind that is watched."""
        return list(self._objects[kind].values())

    def wait(self, seconds: float) -> None:
        """Return when something has changed, or after that many seconds.

        Raises:
            ClusterError: the API server refuses a list, or has not answered for too long.
        """
        try:
            report = self._reports.get(timeout=max(0.0, seconds))
            while True:
                report()
                report = self._reports.get_nowait()
        except queue.Empty:
            return

    def close(self) -> None:
        """End the threads with their current watches."""
        self._closed.set()

    def _run(self, kind: str, version: str) -> None:
        try:
            while not self._closed.is_set():
                began = time.monotonic()
                self._watch_once(kind, version)
                if self._closed.wait(max(0.0, began + MIN_CYCLE - time.monotonic())):
                    return
                items, version = self._cluster.list_with_version(kind, self._namespace)
                self._report(self._replace, kind, items)
        except Exception as error:
            self._report(self._raise, error)

    def _watch_once(self, kind: str, version: str) -> None:
        try:
            for change, item in self._cluster.watch(kind, self._namespace, "", version, WATCH_SECONDS):
                if self._closed.is_set() or not item["metadata"]["uid"]:
                    return
                self._report(self._change, kind, change, item)
        except (KeyError, TypeError, AttributeError):
            # The answer is no object: the next list repairs the copy.
            return

    def _report(self, action: t.Callable[..., None], *arguments: t.Any) -> None:
        self._reports.put(lambda: action(*arguments))

    def _replace(self, kind: str, items: t.Iterable[Object]) -> None:
        self._objects[kind] = {item["metadata"]["uid"]: item for item in items}

    def _change(self, kind: str, change: str, item: Object) -> None:
        if change == "DELETED":
            self._objects[kind].pop(item["metadata"]["uid"], None)
        else:
            self._objects[kind][item["metadata"]["uid"]] = item

    @staticmethod
    def _raise(error: Exception) -> None:
        raise error
