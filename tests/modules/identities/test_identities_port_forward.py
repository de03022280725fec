# SPDX-License-Identifier: GPL-3.0-or-later
"""The module through the real API server's port-forward, with no more rights than it needs."""

from __future__ import annotations

import os
import threading
import typing as t

import pytest
from control_plane import ControlPlane
from fake_kubelet import FakeKubelet, add_pod, add_service, set_ready
from fault_proxy import Fault, FaultProxy
from identities_world import NAMES, World
from kubernetes.client import RbacAuthorizationV1Api

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import TaskStoreError
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, MissingError

POD_PORT = 8080
RULES: dict[str, list[str]] = {
    "secrets": ["get", "create", "patch"],
    "services": ["get"],
    "pods": ["list"],
    "pods/portforward": ["create", "get"],
}


@pytest.fixture
def forwarded(world: World, proxy: FaultProxy, kubelet: FakeKubelet, control_plane: ControlPlane) -> World:
    """The world for a user with just the rights of RULES; the task store is in a pod behind a Service."""
    host, _colon, port = proxy.url.removeprefix("http://").partition(":")
    kubelet.targets = {POD_PORT: (host, int(port))}
    kubelet.forwards = 0
    add_service(world.core, world.namespace, "task-store")
    add_pod(world.core, world.namespace, "task-store", "task-store-0", POD_PORT)
    grant(world, RULES)
    world.parameters |= {
        "kubeconfig": str(control_plane.kubeconfig_for("deployer")),
        "service": {"name": "task-store", "port": 80},
        "task_store_url": None,
    }
    return world


def grant(world: World, rules: dict[str, list[str]]) -> None:
    """Give the user these rights in the world's namespace, and no others."""
    rbac = RbacAuthorizationV1Api(world.core.api_client)
    role: t.Any = {
        "metadata": {"name": "deployer"},
        "rules": [
            {"apiGroups": [""], "resources": [name], "verbs": verbs} for name, verbs in rules.items() if verbs
        ],
    }
    binding: t.Any = {
        "metadata": {"name": "deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "deployer"}],
    }
    if rbac.list_namespaced_role(world.namespace).items:
        rbac.replace_namespaced_role("deployer", world.namespace, role)
    else:
        rbac.create_namespaced_role(world.namespace, role)
        rbac.create_namespaced_role_binding(world.namespace, binding)


def test_from_nothing_and_again(forwarded: World, kubelet: FakeKubelet) -> None:
    threads, descriptors = threading.active_count(), len(os.listdir("/dev/fd"))
    assert forwarded.run(check_mode=True)["changed"]
    assert forwarded.run()["changed"]
    assert not forwarded.run()["changed"]
    assert kubelet.forwards == 3
    forwarded.check()
    wait_for_the_other_side(threads)
    assert len(os.listdir("/dev/fd")) <= descriptors


def wait_for_the_other_side(threads: int) -> None:
    """Let the threads of the kubelet and of the proxy end, which live in this process too."""
    for thread in threading.enumerate():
        if "process_request_thread" in thread.name:
            thread.join(30)
    assert threading.active_count() <= threads


@pytest.mark.parametrize(
    "pattern", ["GET /state", "POST /groups", "POST /workers", "POST /groups/.*/members"]
)
def test_the_connection_breaks(
    forwarded: World, proxy: FaultProxy, kubelet: FakeKubelet, pattern: str
) -> None:
    proxy.lose(pattern, executed=True)
    assert forwarded.run()["changed"]
    assert kubelet.forwards > 1
    for name in NAMES:
        assert len(forwarded.workers(name)) == 1
    forwarded.check()


def test_the_pod_is_replaced(forwarded: World, proxy: FaultProxy, kubelet: FakeKubelet) -> None:
    def replace() -> None:
        forwarded.core.delete_namespaced_pod("task-store-0", forwarded.namespace, grace_period_seconds=0)
        add_pod(forwarded.core, forwarded.namespace, "task-store", "task-store-1", POD_PORT)

    proxy.faults.append(Fault("POST /workers", True, then=replace))
    assert forwarded.run()["changed"]
    assert kubelet.forwards == 2
    assert len(forwarded.workers(NAMES[0])) == 1
    forwarded.check()


def test_the_pod_is_not_ready(forwarded: World, kubelet: FakeKubelet) -> None:
    set_ready(forwarded.core, forwarded.namespace, "task-store-0", False)
    assert {row["action"] for row in forwarded.run(check_mode=True)["identities"].values()} == {"minted"}
    with pytest.raises(MissingError, match="no ready pod behind Service"):
        forwarded.run()
    assert kubelet.forwards == 0


def test_the_pod_is_not_ready_any_more(forwarded: World, kubelet: FakeKubelet) -> None:
    forwarded.run()
    set_ready(forwarded.core, forwarded.namespace, "task-store-0", False)
    predicted = forwarded.run(check_mode=True)
    assert not predicted["changed"]
    assert predicted["diff"]["before"]["groups"] == predicted["diff"]["after"]["groups"]
    forwarded.core.delete_namespaced_secret("id-operator", forwarded.namespace)
    assert forwarded.run(check_mode=True)["identities"]["operator"]["action"] == "minted"


def test_nothing_listens_in_the_pod(forwarded: World, kubelet: FakeKubelet) -> None:
    kubelet.targets = {}
    forwarded.parameters["timeout"] = 1
    with pytest.raises(TaskStoreError) as caught:
        forwarded.run()
    pod = f"Pod {forwarded.namespace}/task-store-0"
    assert f"port {POD_PORT} of {pod} ended: error forwarding port {POD_PORT}" in caught.value.message


@pytest.mark.parametrize(
    ("resource", "verb"), [(resource, verb) for resource, verbs in RULES.items() for verb in verbs]
)
def test_a_right_is_missing(forwarded: World, resource: str, verb: str) -> None:
    grant(forwarded, RULES | {resource: [other for other in RULES[resource] if other != verb]})
    with pytest.raises(ClusterError) as caught:
        forwarded.run()
    assert caught.value.status == 403
    # The API server does not say which right of pods/portforward is missing.
    named = resource if "/" in resource else f'cannot {verb} resource "{resource}"'
    assert named in caught.value.message
    assert forwarded.workers(NAMES[0]) == []
