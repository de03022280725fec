# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock: who may take it, when it is over, and what two writers at the same time make of it."""

from __future__ import annotations

import copy
import os
import subprocess
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    ConflictError,
    LockedError,
    UnreachableError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube import lease
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object, client_of
from ansible_collections.eden.reference.plugins.module_utils._kube.kubeconfig import Access
from ansible_collections.eden.reference.plugins.module_utils._kube.lease import Lock, holder_of, is_dead
from ansible_collections.eden.reference.plugins.module_utils._kube.transport import Transport

NOW = datetime(2026, 11, 28, 12, 0, 0, tzinfo=UTC)
OURS, OTHER = "here/boot-1/11/100", "there/boot-2/22/200"


class FakeApi:
    """An API server with one Lease. ``before_write`` is called before a write is executed, and once."""

    def __init__(self) -> None:
        self.live: Object | None = None
        self.time = NOW
        self.retry_budget = 60.0
        self.writes: list[str] = []
        self.reads = 0
        self.before_write: t.Callable[[], None] | None = None
        self.replies_lost = 0
        self._version = 100
        self._mutex = threading.Lock()

    def now(self) -> datetime:
        return self.time

    def read(self, kind: str, namespace: str, name: str) -> Object | None:
        assert (kind, namespace, name) == ("Lease", "ns", "x-lock")
        self.reads += 1
        return copy.deepcopy(self.live)

    def create(self, definition: Object) -> Object:
        return self._write("create", definition, None)

    def replace(self, definition: Object) -> Object:
        return self._write("replace", definition, definition["metadata"]["resourceVersion"])

    def _write(self, action: str, definition: Object, version: str | None) -> Object:
        hook, self.before_write = self.before_write, None
        if hook:
            hook()
        with self._mutex:
            found = self.live["metadata"]["resourceVersion"] if self.live else None
            if found != version:
                raise ConflictError(action, "Lease ns/x-lock", 409, "Conflict")
            self._version += 1
            self.live = copy.deepcopy(definition)
            self.live["metadata"]["resourceVersion"] = str(self._version)
            self.writes.append(action)
        if self.replies_lost:
            # The second attempt of the same request meets the first.
            self.replies_lost -= 1
            raise ConflictError(action, "Lease ns/x-lock", 409, "Conflict")
        return self.live

    def lock(self, holder: str = OURS, version: str = "") -> Lock:
        return Lock(t.cast("Cluster", self), "ns", "x-lock", holder, version, {"our": "label"}, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    @property
    def spec(self) -> Object:
        assert self.live
        return dict(self.live["spec"])


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    """Time passes only by sleeping."""
    found = FakeApi()

    def seconds() -> float:
        return (found.time - NOW).total_seconds()

    monkeypatch.setattr(lease, "elapsed", seconds)
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=seconds))
    return found


def looked(api: FakeApi, holder: str = OURS) -> Lock:
    """The lock of a run after preflight."""
    lock = api.lock(holder)
    lock.look(0, print)
    return lock


def taken(api: FakeApi, holder: str = OURS) -> Lock:
    lock = looked(api, holder)
    lock.hold()
    return lock


def test_it_is_taken_renewed_and_released(api: FakeApi) -> None:
    lock = taken(api)
    first = {
        "holderIdentity": OURS,
        "leaseDurationSeconds": 60,
        "acquireTime": "2026-11-28T12:00:00.000000Z",
        "renewTime": "2026-11-28T12:00:00.000000Z",
        "leaseTransitions": 0,
    }
    assert api.spec == first
    assert api.live
    assert api.live["metadata"]["labels"] == {"our": "label"}
    api.sleep(9)
    lock.hold()
    assert (api.reads, api.writes) == (2, ["create"])
    api.sleep(2)
    lock.hold()
    assert api.spec == first | {"renewTime": "2026-11-28T12:00:11.000000Z"}
    # A later module of the same run knows nothing of it but the version that preflight saw.
    later = api.lock(OURS, lock.version)
    later.hold()
    assert api.writes == ["create", "replace"]
    assert later.release()
    assert not later.release()
    assert api.spec["holderIdentity"] == ""
    assert taken(api, OTHER).holder == OTHER
    assert api.spec["leaseTransitions"] == 1


def test_a_run_goes_on_after_one_of_its_modules_failed(api: FakeApi) -> None:
    lock = taken(api)
    lock.release()
    api.lock(OURS, lock.version).hold()
    assert api.spec["holderIdentity"] == OURS


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_living_holder_is_named(api: FakeApi, seconds: float) -> None:
    taken(api, OTHER)
    api.sleep(seconds)
    error = api.lock().look(0, print)
    assert error is not None
    assert error.message.startswith(
        "Another run is at work: Lease ns/x-lock is held by process 22 on there since 2026-11-28T12:00:00Z, "
    )
    assert "eden_lock_timeout" in error.message
    with pytest.raises(LockedError, match="process 22 on there"):
        api.lock().hold()
    assert api.writes == ["create"]


def test_two_inventory_hosts_of_one_process_are_two_runs(api: FakeApi) -> None:
    taken(api, holder_of(os.getpid(), "one"))
    with pytest.raises(
        LockedError, match=rf"held by process {os.getpid()} on .+ \(inventory host one\) since"
    ):
        taken(api, holder_of(os.getpid(), "another"))


def test_an_expired_lock_is_taken_over_and_its_holder_stops(api: FakeApi) -> None:
    old = taken(api, OTHER)
    api.sleep(61)
    taken(api)
    assert (api.spec["holderIdentity"], api.spec["leaseTransitions"]) == (OURS, 1)
    with pytest.raises(LockedError, match="process 11 on here"):
        old.hold()


def test_another_runs_end_is_waited_for(api: FakeApi) -> None:
    other, lines = taken(api, OTHER), list[str]()
    ours = api.lock()
    assert ours.look(40, lines.append) is not None
    assert len(lines) == 3
    assert lines[1].endswith("(16 s)")
    sleep = ours._sleep
    ours._sleep = lambda seconds: (other.release(), sleep(seconds))[1]
    assert ours.look(40, lines.append) is None
    ours.hold()
    assert api.spec["holderIdentity"] == OURS


@pytest.mark.parametrize("existed", [False, True])
def test_a_run_in_between_makes_what_was_read_outdated(api: FakeApi, existed: bool) -> None:
    if existed:
        taken(api, OTHER).release()
    ours = looked(api)
    taken(api, OTHER).release()
    with pytest.raises(LockedError, match="run again"):
        ours.hold()


def test_of_two_at_the_same_time_one_gets_it(api: FakeApi) -> None:
    for _again in range(2):
        ours, others = looked(api), looked(api, OTHER)
        api.before_write = others.hold
        with pytest.raises(LockedError, match="process 22 on there"):
            ours.hold()
        assert api.spec["holderIdentity"] == OTHER
        others.release()


@pytest.mark.parametrize("existed", [False, True])
def test_a_lost_answer_is_no_loss(api: FakeApi, existed: bool) -> None:
    if existed:
        taken(api, OTHER).release()
    lock = looked(api)
    api.replies_lost = 1
    lock.hold()
    assert api.spec["holderIdentity"] == OURS
    api.replies_lost = 1
    lock.release()
    assert api.spec["holderIdentity"] == ""


def test_conflicts_without_end_are_reported(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = looked(api)
    monkeypatch.setattr(api, "read", lambda *_key: None)
    api.live = {"metadata": {"resourceVersion": "1"}}
    with pytest.raises(ConflictError):
        lock.hold()


def test_many_threads_take_it_once(api: FakeApi) -> None:
    lock = looked(api)
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda _number: lock.hold(), range(50)))
    assert api.writes == ["create"]


def test_renewal_needs_the_lock(api: FakeApi) -> None:
    lock = looked(api)
    assert not lock.renew()
    assert api.live is None
    lock.hold()
    api.sleep(15)
    assert lock.renew()
    assert api.spec["renewTime"] == "2026-11-28T12:00:15.000000Z"
    api.sleep(61)
    taken(api, OTHER)
    assert not lock.renew()
    with pytest.raises(LockedError):
        lock.hold()


def test_a_module_keeps_it_and_a_failure_releases_it(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "RENEWAL_INTERVAL", 0.01)
    lock, renewed = taken(api), threading.Event()

    def renew() -> bool:
        renewed.set()
        raise UnreachableError("read", "it", 0, "no answer")

    monkeypatch.setattr(lock, "renew", renew)
    with lock.kept():
        assert renewed.wait(10)
    assert api.spec["holderIdentity"] == OURS
    with suppress(ClusterError), lock.kept():
        raise ClusterError("apply", "it", 422, "Invalid")
    assert api.spec["holderIdentity"] == ""
    assert api.retry_budget == lease.RELEASE_BUDGET


def test_a_failure_may_be_the_work_of_another_run(api: FakeApi) -> None:
    ours, refused = looked(api), ClusterError("apply", "it", 422, "Invalid")
    with pytest.raises(ClusterError), ours.kept():
        raise refused
    other = taken(api, OTHER)
    with pytest.raises(LockedError, match="process 22 on there"), ours.kept():
        raise refused
    other.release()
    with pytest.raises(LockedError, match="run again"), ours.kept():
        raise refused
    with pytest.raises(ZeroDivisionError), ours.kept():
        raise ZeroDivisionError


def test_a_process_that_has_ended_is_dead() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        holder = holder_of(process.pid)
        host, kernel, pid, start, _inventory_host = holder.split("/")
        assert int(pid) == process.pid
        assert not is_dead(holder)
        assert is_dead(f"{host}/{kernel}/{pid}/{int(start) + 1}")
        for another in (f"{host}/{kernel}0/{pid}/1", f"{host}0/{kernel}/{pid}/1", f"{host}/{kernel}", "x"):
            assert not is_dead(another)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # A zombie.
        assert is_dead(holder)
    assert is_dead(holder)


def test_a_dead_holder_is_replaced_at_once(api: FakeApi) -> None:
    with subprocess.Popen(["true"]) as process:
        dead = holder_of(process.pid)
    taken(api, dead)
    taken(api)
    assert api.spec["holderIdentity"] == OURS


def test_a_run_on_a_remote_target_has_a_random_identity() -> None:
    assert holder_of(0) != holder_of(0)
    assert not is_dead(holder_of(0))


CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "ns"}}
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "ns"}}
LEASE = {
    "apiVersion": "coordination.k8s.io/v1",
    "kind": "Lease",
    "metadata": {"name": "c", "namespace": "ns"},
}
Call = t.Callable[[Cluster], t.Any]


@pytest.mark.parametrize(
    ("call", "holds"),
    [
        (lambda cluster: cluster.create(CONFIG), True),
        (lambda cluster: cluster.apply(CONFIG), True),
        (lambda cluster: cluster.merge(CONFIG, {}), True),
        (lambda cluster: cluster.replace(CONFIG), True),
        (lambda cluster: cluster.delete("ConfigMap", "ns", "c"), True),
        (lambda cluster: cluster.create(CONFIG, dry_run=True), False),
        (lambda cluster: cluster.apply(CONFIG, dry_run=True), False),
        (lambda cluster: cluster.merge(CONFIG, {}, dry_run=True), False),
        (lambda cluster: cluster.read("ConfigMap", "ns", "c"), False),
        # The Lease is in the namespace.
        (lambda cluster: cluster.apply(NAMESPACE), False),
        (lambda cluster: cluster.replace(LEASE), False),
    ],
)
def test_every_write_holds_it_first(monkeypatch: pytest.MonkeyPatch, call: Call, holds: bool) -> None:
    order: list[str] = []
    cluster = Cluster(client_of(Transport(Access({"server": "http://127.0.0.1:1"}, {}, "the test"))))
    cluster.lock = t.cast("Lock", SimpleNamespace(hold=lambda: order.append("hold")))
    monkeypatch.setattr(cluster, "_json", lambda *_arguments, **_parameters: order.append("request"))
    call(cluster)
    assert order == (["hold", "request"] if holds else ["request"])
