# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock against a real API server: two runs at once, a run in between, and the release."""

from __future__ import annotations

import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from control_plane import ControlPlane
from kubernetes.client import ApiClient, CoordinationV1Api, V1Lease

from ansible_collections.eden.reference.plugins.module_utils._eden import apply, lock
from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError, LockedError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster
from ansible_collections.eden.reference.plugins.module_utils._kube.lease import Lock, holder_of
from ansible_collections.eden.reference.plugins.module_utils._module import Task

Options = dict[str, t.Any]


@pytest.fixture
def look(control_plane: ControlPlane, namespace: str) -> t.Callable[[], Options]:
    """The options of the modules of a run that has just looked at the cluster; each call is another run."""

    def begin() -> Options:
        options = {"kubeconfig": str(control_plane.kubeconfig), "namespace": namespace}
        seen = Lock(Cluster.connect(options), namespace, "x-lock", holder_of(0), labels={"our": "label"})
        error = seen.look(0, print)
        if error:
            raise error
        return {**options, "lock": seen.option()}

    return begin


@pytest.fixture
def live(admin: ApiClient, namespace: str) -> t.Callable[[], V1Lease]:
    return lambda: CoordinationV1Api(admin).read_namespaced_lease("x-lock", namespace)


def write(options: Options, value: str = "1", check_mode: bool = False) -> dict[str, t.Any]:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"key": value}}
    return apply.run(Task({**options, "definitions": [config], "prune": []}, check_mode))


def refusal(options: Options, start: threading.Barrier) -> str:
    """Write something new with the others; empty if it was written."""
    start.wait()
    try:
        assert write(options, options["lock"]["holder"])["changed"] is True
    except LockedError as error:
        return error.message
    return ""


def test_of_two_runs_one_writes(look: t.Callable[[], Options], live: t.Callable[[], V1Lease]) -> None:
    for _again in range(5):
        runs, start = [look(), look()], threading.Barrier(2)

        with ThreadPoolExecutor() as pool:
            (message,) = filter(None, pool.map(lambda options, start=start: refusal(options, start), runs))
        assert "Another run is at work" in message
        held = live()
        (winner,) = [row for row in runs if row["lock"]["holder"] == held.spec.holder_identity]
        assert held.metadata.labels == {"our": "label"}
        with pytest.raises(LockedError):
            look()
        assert lock.run(Task(winner)) == {"changed": False, "released": True}
        assert lock.run(Task(winner)) == {"changed": False, "released": False}
        assert live().spec.holder_identity == ""
    assert live().spec.lease_transitions == 4


def test_a_run_in_between_is_noticed(look: t.Callable[[], Options]) -> None:
    late, early = look(), look()
    write(early)
    lock.run(Task(early))
    with pytest.raises(LockedError, match="run again"):
        write(late, "2")


def test_a_failed_module_releases_it(look: t.Callable[[], Options], live: t.Callable[[], V1Lease]) -> None:
    options = look()
    write(options)
    bad = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "UPPER"}}
    with pytest.raises(CollectionError, match="UPPER"):
        apply.run(Task({**options, "definitions": [bad], "prune": []}))
    assert live().spec.holder_identity == ""
    # The run may go on.
    write(options, "2")
    assert live().spec.holder_identity == options["lock"]["holder"]


def test_nothing_to_write_takes_no_lock(
    look: t.Callable[[], Options], admin: ApiClient, namespace: str
) -> None:
    options = look()
    assert write(options, check_mode=True)["changed"] is True
    write({**options, "lock": None})
    assert write(options)["changed"] is False
    assert lock.run(Task(options)) == {"changed": False, "released": False}
    assert CoordinationV1Api(admin).list_namespaced_lease(namespace).items == []
