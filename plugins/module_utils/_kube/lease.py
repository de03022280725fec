# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lock that lets one run at a time write: a Lease.

A run first notes the version of the Lease and then reads the cluster. It takes the Lease right before its
first write, and only at that version: otherwise another run has written since, and what was read is outdated.
A released Lease is kept, so that its version shows that a run was there.
This module is private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
import typing as t
import uuid
from datetime import datetime
from pathlib import Path

from ansible_collections.eden.reference.plugins.module_utils._collection import (
    LOCK_ADVICE,
    RELEASED_BY_ANNOTATION,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    CollectionError,
    ConflictError,
    LockedError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import KINDS, describe

if t.TYPE_CHECKING:
    from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object

LOCK_OPTION: dict[str, t.Any] = {
    "type": "dict",
    "options": {
        "name": {"type": "str", "required": True},
        "holder": {"type": "str", "required": True},
        "version": {"type": "str", "default": ""},
        "labels": {"type": "dict", "default": {}},
    },
}

DURATION = 60
RENEWAL_INTERVAL = 15.0
# A younger renewal needs no other one before a write.
FRESH = 10.0
POLLING_INTERVAL = 2.0
QUIET = 15.0
# Another client may write between our read and our write, but hardly this often.
ATTEMPTS = 5
# What a failed run spends at most to release its lock.
RELEASE_BUDGET = 5.0


class Lock:
    """The lock ``name`` in a namespace, for one run.

    Attributes:
        holder: the identity of this run.
        version: the version of the Lease before this run looked at the cluster, empty if there was none.
        labels: of the Lease.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        holder: str,
        version: str = "",
        labels: t.Mapping[str, str] | None = None,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self.namespace, self.name = namespace, name
        self.holder = holder
        self.version = version
        self.labels = dict(labels or {})
        self._cluster = cluster
        self._sleep = sleep
        # Several threads write at the same time.
        self._mutex = threading.Lock()
        self._confirmed: float | None = None

    @classmethod
    def of(cls, cluster: Cluster, options: t.Mapping[str, t.Any]) -> Lock | None:
        """The lock that a module's options name."""
        found = options.get("lock")
        return cls(cluster, options["namespace"], **found) if found else None

    def option(self) -> dict[str, t.Any]:
        """The lock as the option of the modules that follow."""
        return {"name": self.name, "holder": self.holder, "version": self.version, "labels": self.labels}

    def look(self, timeout: float, progress: t.Callable[[str], None]) -> LockedError | None:
        """Note the version of the Lease, before anything else is read.

        Returns:
            The error if another run still holds it after ``timeout`` seconds.
        """
        began = time.monotonic()
        shown = began - QUIET
        while True:
            live = self._read()
            self.version = _version(live)
            locked = self._held_by_another(live)
            now = time.monotonic()
            if locked is None or now - began >= timeout:
                return locked
            if now - shown >= QUIET:
                shown = now
                progress(f"waiting for another run: {self._described(live)} ({now - began:.0f} s)")
            self._sleep(min(POLLING_INTERVAL, began + timeout - now))

    def hold(self) -> None:
        """Take the lock, or make sure that this run still holds it.

        Raises:
            LockedError: another run holds it, or has held it since this one looked at the cluster.
        """
        with self._mutex:
            started = elapsed()
            if self._confirmed is None or started - self._confirmed > FRESH:
                self._confirmed = None
                self._update(self._held)
                self._confirmed = started

    def renew(self) -> bool:
        """Renew the lock; False if this run does not hold it."""
        with self._mutex:
            started = elapsed()
            self._confirmed = None
            if self._update(lambda live: self._taken(live) if self._is_ours(live) else None):
                self._confirmed = started
            return self._confirmed is not None

    def release(self) -> bool:
        """Give the lock up; False if this run did not hold it."""
        with self._mutex:
            self._confirmed = None
            return self._update(lambda live: self._released(live) if live and self._is_ours(live) else None)

    @contextlib.contextmanager
    def kept(self) -> t.Iterator[None]:
        """Renew the lock, if this run holds it, while a module works; release it if the module fails.

        Raises:
            LockedError: in place of another error, if another run may be its cause.
        """
        ended = threading.Event()
        threading.Thread(target=self._renew_until, args=(ended,), daemon=True).start()
        try:
            yield
        except BaseException as error:
            locked: LockedError | None = None
            self._cluster.retry_budget = RELEASE_BUDGET
            with contextlib.suppress(CollectionError):
                locked = None if self.release() else self._lost(self._read())
            if locked and isinstance(error, CollectionError):
                raise locked from error
            raise
        finally:
            ended.set()

    def _renew_until(self, ended: threading.Event) -> None:
        while not ended.wait(RENEWAL_INTERVAL):
            # The next write reports what is wrong.
            with contextlib.suppress(CollectionError):
                if not self.renew():
                    return

    def _read(self) -> Object | None:
        return self._cluster.read("Lease", self.namespace, self.name)

    def _update(self, change: t.Callable[[Object | None], Object | None]) -> bool:
        """Write what ``change`` makes of the Lease; None is for nothing to write.

        A conflict also follows a write whose answer was lost, so the Lease is read again.
        """
        for attempt in range(ATTEMPTS):
            live = self._read()
            body = change(live)
            if body is None:
                return False
            try:
                if live is None:
                    self._cluster.create(body)
                else:
                    self._cluster.replace(body)
                return True
            except ConflictError:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def _held(self, live: Object | None) -> Object | None:
        """The Lease as this run takes or renews it, None if it was renewed just now."""
        if self._is_ours(live):
            age = self._age(_spec(live))
            return self._taken(live) if age is None or age > FRESH else None
        locked = self._lost(live)
        if locked:
            raise locked
        return self._taken(live)

    def _lost(self, live: Object | None) -> LockedError | None:
        """The error if another run holds a Lease that is not ours, or has held it since preflight."""
        if _version(live) == self.version or _released_by(live) == self.holder:
            return self._held_by_another(live)
        return self._held_by_another(live) or LockedError(
            f"Another run has changed what {self._target} guards after this one had looked at it. This one "
            "has stopped before its next write: run again."
        )

    def _held_by_another(self, live: Object | None) -> LockedError | None:
        spec = _spec(live)
        holder = spec.get("holderIdentity")
        if not holder or holder == self.holder or is_dead(holder):
            return None
        age = self._age(spec)
        if age is None or age > (spec.get("leaseDurationSeconds") or DURATION):
            return None
        return LockedError(
            f"Another run is at work: {self._described(live)}. Only one at a time may write. {LOCK_ADVICE}",
            holder=holder,
            since=spec.get("acquireTime"),
        )

    @property
    def _target(self) -> str:
        return describe("Lease", self.namespace, self.name)

    def _described(self, live: Object | None) -> str:
        """Who holds the Lease, and since when."""
        spec = _spec(live)
        machine, _kernel, pid, _start, host = (*str(spec.get("holderIdentity")).split("/", 4), *[""] * 4)[:5]
        process = f"process {pid} on {machine}" if pid else f"a run on {machine}"
        if host:
            process += f" (inventory host {host})"
        return (
            f"{self._target} is held by {process} since {_seconds(spec.get('acquireTime'))}, last renewed "
            f"{_seconds(spec.get('renewTime'))}"
        )

    def _is_ours(self, live: Object | None) -> bool:
        return _spec(live).get("holderIdentity") == self.holder

    def _age(self, spec: Object) -> float | None:
        """The seconds since the last renewal, by the API server's clock."""
        renewed = spec.get("renewTime")
        return (self._cluster.now() - datetime.fromisoformat(renewed)).total_seconds() if renewed else None

    def _taken(self, live: Object | None) -> Object:
        now, spec = self._now(), _spec(live)
        if not self._is_ours(live):
            transitions = (spec.get("leaseTransitions") or 0) + 1 if live else 0
            spec = {**spec, "acquireTime": now, "leaseTransitions": transitions}
        spec = {**spec, "holderIdentity": self.holder, "leaseDurationSeconds": DURATION, "renewTime": now}
        metadata = (live or {}).get("metadata") or {"name": self.name, "namespace": self.namespace}
        labels = {**(metadata.get("labels") or {}), **self.labels}
        return {
            "apiVersion": KINDS["Lease"].api_version,
            "kind": "Lease",
            "metadata": {**metadata, "labels": labels},
            "spec": spec,
        }

    def _released(self, live: Object) -> Object:
        metadata = live["metadata"]
        annotations = {**(metadata.get("annotations") or {}), RELEASED_BY_ANNOTATION: self.holder}
        return {
            **live,
            "metadata": {**metadata, "annotations": annotations},
            "spec": {**_spec(live), "holderIdentity": "", "renewTime": self._now()},
        }

    def _now(self) -> str:
        """The time as a MicroTime, which has exactly six digits after the point."""
        return self._cluster.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def holder_of(pid: int, host: str = "") -> str:
    """The identity of a run: machine, kernel, process and its start, and the inventory host.

    Two inventory hosts that are one experiment by mistake are two runs, too.
    Without a process, or where ``/proc`` does not show it, the identity is random, and only expires.
    """
    kernel, start = _kernel(), _start(pid) if pid else ""
    if not kernel or not start:
        kernel, start = str(uuid.uuid4()), ""
    return f"{platform.node()}/{kernel}/{pid or ''}/{start}/{host}"


def is_dead(holder: str) -> bool:
    """Whether the holder is a process of this machine that has ended."""
    host, kernel, pid, start = (*holder.split("/"), "", "", "", "")[:4]
    if (host, kernel) != (platform.node(), _kernel()) or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # It exists, and belongs to another user.
        pass
    return _start(int(pid)) not in ("", start)


def elapsed() -> float:
    """A clock that never jumps, and does not stand still while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _kernel() -> str:
    """The boot and the namespace in which a process id is unique, empty if they are not shown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}.{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    except OSError:
        return ""


def _start(pid: int) -> str:
    """When a process started, in ticks since the boot; ``ended`` for a zombie, empty if that is not shown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]


def _spec(live: Object | None) -> Object:
    return (live or {}).get("spec") or {}


def _version(live: Object | None) -> str:
    return str(live["metadata"].get("resourceVersion", "")) if live else ""


def _released_by(live: Object | None) -> str:
    """The run that released the Lease, empty if it was taken since."""
    if not live or _spec(live).get("holderIdentity"):
        return ""
    return str((live["metadata"].get("annotations") or {}).get(RELEASED_BY_ANNOTATION, ""))


def _seconds(text: str | None) -> str:
    """A time without its fraction."""
    return f"{text.partition('.')[0]}Z" if text else "an unknown time"
