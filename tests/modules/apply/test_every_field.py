# SPDX-License-Identifier: GPL-3.0-or-later
"""Each field of each object that the phases apply is changed or removed by others: it is reverted."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

import pytest
from control_plane import ControlPlane
from kube import Kube, Object, path_of
from rendering import rendered
from tampering import at, owned, tamper

from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube import apply
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, connected

CASES: dict[str, dict[str, t.Any]] = {
    "everything": {
        "eden_ingress": {"host": "eden.example.com", "tls_secret": "eden-tls"},
        "eden_image_pull_secrets": ["first", "second"],
        "eden_node_selector": {"pool": "experiments"},
        "eden_tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}],
        "eden_resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
    }
}
# They end of themselves.
PASSING = ("Job",)


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    """The objects of all phases."""
    (objects,) = rendered(tmp_path_factory.mktemp("render"), CASES).values()
    return [definition for definition in objects if definition["kind"] not in PASSING]


@pytest.fixture
def kube(control_plane: ControlPlane) -> Iterator[Kube]:
    client = Kube(control_plane.url, control_plane.context_for("admin", ("system:masters",)))
    yield client
    client.close()


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    with connected({"kubeconfig": str(control_plane.kubeconfig)}) as connection:
        yield connection


@pytest.mark.parametrize("remove", [False, True], ids=["changed", "removed"])
def test_every_field_is_reverted(
    cluster: Cluster, kube: Kube, namespace: str, definitions: list[Object], remove: bool
) -> None:
    tampered, wrong = 0, []
    for definition in (apply.prepare(definition, namespace) for definition in definitions):
        apply.reconcile(cluster, definition, False)
        path = path_of(definition["kind"], namespace, definition["metadata"]["name"])
        before = kube.ask("GET", path)
        for place in owned(before):
            empty = at(before, place) in ({}, [])
            # What is empty may as well not be there.
            if (remove and empty) or tamper(kube, path, place, remove):
                continue
            tampered += 1
            title = f"{definition['kind']} {definition['metadata']['name']} {place}"
            wrong += [f"{title}: {problem}" for problem in repair(cluster, kube, path, definition, before)]
    assert not wrong, "\n".join(wrong)
    assert tampered > 500, f"only {tampered} fields were tampered with"


def repair(cluster: Cluster, kube: Kube, path: str, definition: Object, before: Object) -> Iterator[str]:
    """What is wrong with the repair of an object that was as ``before``."""
    try:
        predicted = apply.reconcile(cluster, definition, True)
        real = apply.reconcile(cluster, definition, False)
    except ClusterError as error:
        yield error.message
        kube.ask("PUT", path, {**before, "metadata": {**before["metadata"], "resourceVersion": ""}})
        apply.reconcile(cluster, definition, False)
        return
    if (predicted.outcome, real.outcome) != ("updated", "updated"):
        yield f"predicted was {predicted.outcome}, and it was {real.outcome}"
    after = kube.ask("GET", path)
    if apply.normalized(after) != apply.normalized(before):
        yield f"it is {apply.normalized(after)} and was {apply.normalized(before)}"
    again = apply.reconcile(cluster, definition, False)
    if again.outcome != "unchanged":
        yield f"the next run {again.outcome} it"
