# SPDX-License-Identifier: GPL-3.0-or-later
"""The module rollout against a real API server, its admission, its controllers and its scheduler."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from control_plane import ControlPlane
from kubernetes.client import ApiClient, ApiException, CoreV1Api
from kubernetes.config import new_client_from_config
from kubernetes.dynamic import DynamicClient

from ansible_collections.eden.reference.plugins.module_utils._eden import rollout
from ansible_collections.eden.reference.plugins.module_utils._errors import RolloutError
from ansible_collections.eden.reference.plugins.module_utils._module import Task

NAME = "eden-postgres"
LABELS = {"app.kubernetes.io/component": "postgres"}
TIMEOUT = 60
# What the message says if the cause was found only then.
TIMED_OUT = f"after {TIMEOUT} s"
RESTRICTED = "pod-security.kubernetes.io/enforce"
POLICY = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicy",
    "metadata": {"name": "registries"},
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ]
        },
        "validations": [{"expression": "false", "message": "the image is not from our registry"}],
    },
}
BINDING = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingAdmissionPolicyBinding",
    "metadata": {"name": "registries"},
    "spec": {
        "policyName": "registries",
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"policy": "on"}}},
    },
}
QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "small"},
    "spec": {"hard": {"requests.cpu": "100m"}},
}
LIMITS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "bounds"},
    "spec": {"limits": [{"type": "Container", "max": {"cpu": "100m"}}]},
}
SLOW_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "slow"},
    "provisioner": "example.org/slow",
    "volumeBindingMode": "Immediate",
}


def workload(claim: str = "", node: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "main",
        "image": "none.example.org/x:1",
        "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "500m"}},
    }
    spec: dict[str, Any] = {
        "replicas": 1,
        "serviceName": NAME,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": LABELS},
        "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}},
    }
    if node:
        spec["template"]["spec"]["nodeName"] = node
    if claim:
        claims = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": claim,
            "resources": {"requests": {"storage": "1Gi"}},
        }
        spec["volumeClaimTemplates"] = [{"metadata": {"name": "data"}, "spec": claims}]
    metadata = {"name": NAME, "labels": LABELS}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}


@pytest.fixture(scope="module")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with controllers and a scheduler."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), controllers=True) as running:
        yield running


@pytest.fixture
def admin(control_plane: ControlPlane) -> Iterator[ApiClient]:
    """A client with the administrator's permissions. The end of a rollout deletes its certificate files."""
    with new_client_from_config(str(control_plane.kubeconfig)) as client:
        yield client


Create = Callable[[dict[str, Any]], None]


@pytest.fixture
def create(admin: ApiClient, namespace: str) -> Create:
    """Creates an object, in the test's namespace if it is of one."""
    client = DynamicClient(admin)

    def create_object(definition: dict[str, Any]) -> None:
        kind = client.resources.get(api_version=definition["apiVersion"], kind=definition["kind"])
        kind.create(body=definition, **({"namespace": namespace} if kind.namespaced else {}))

    return create_object


@pytest.fixture
def fail(control_plane: ControlPlane, namespace: str) -> Callable[..., tuple[float, RolloutError, list[str]]]:
    """Waits for the workload: the seconds until it fails, the error and the lines."""

    def wait(timeout: int = TIMEOUT) -> tuple[float, RolloutError, list[str]]:
        lines: list[str] = []
        options = {
            "kubeconfig": str(control_plane.kubeconfig),
            "namespace": namespace,
            "workloads": [{"kind": "StatefulSet", "name": NAME}],
            "timeout": timeout,
        }
        began = time.monotonic()
        with pytest.raises(RolloutError) as caught:
            rollout.run(Task(options, progress=lines.append))
        return time.monotonic() - began, caught.value, lines

    return wait


@pytest.mark.parametrize(
    ("rule", "cause", "words"),
    [
        (
            QUOTA,
            "quota",
            ("quota small of the namespace", "eden_postgres_resources sets requests and limits"),
        ),
        (LIMITS, "limit_range", ("maximum cpu usage per Container", "eden_postgres_resources")),
    ],
)
def test_a_quota_or_a_limit_is_named_with_the_input(
    create: Create, fail: Any, rule: dict[str, Any], cause: str, words: tuple[str, ...]
) -> None:
    create(rule)
    create(workload())
    _seconds, error, _lines = fail()
    assert (error.data["cause"], TIMED_OUT in error.message) == (cause, False)
    assert all(word in error.message for word in words), error.message
    assert "delete" not in error.message


def test_pod_security_is_named(admin: ApiClient, namespace: str, create: Create, fail: Any) -> None:
    CoreV1Api(admin).patch_namespace(namespace, {"metadata": {"labels": {RESTRICTED: "restricted"}}})
    create(workload())
    _seconds, error, _lines = fail()
    assert (error.data["cause"], TIMED_OUT in error.message) == ("pod_security", False)


def test_an_admission_policy_is_named(admin: ApiClient, namespace: str, create: Create, fail: Any) -> None:
    create(POLICY)
    create(BINDING)
    CoreV1Api(admin).patch_namespace(namespace, {"metadata": {"labels": {"policy": "on"}}})
    # The API server takes note of a policy a few seconds later.
    time.sleep(5)
    create(workload())
    _seconds, error, _lines = fail()
    assert (error.data["cause"], TIMED_OUT in error.message) == ("admission", False)
    assert "ValidatingAdmissionPolicy 'registries'" in error.message
    assert "eden_postgres_image sets the image." in error.message


def test_a_slow_provisioner_is_waited_for(create: Create, fail: Any) -> None:
    """Longer than the 18 s after which a second try counts."""
    create(SLOW_CLASS)
    create(workload(claim="slow"))
    seconds, error, lines = fail(timeout=25)
    assert seconds >= 25
    assert error.data["cause"] == "volume"
    assert "after 25 s claim data-eden-postgres-0 gets no volume from storage class slow" in error.message
    assert any("example.org/slow" in line and "still waiting" in line for line in lines), lines


def test_a_broken_image_is_named_within_seconds(
    admin: ApiClient, namespace: str, create: Create, fail: Any
) -> None:
    core = CoreV1Api(admin)
    create(workload(node="node"))
    broken = {
        "name": "main",
        "image": "none.example.org/x:1",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "ErrImagePull", "message": "none.example.org/x:1: not found"}},
    }
    broken_at: list[float] = []

    def break_image() -> None:
        time.sleep(3)
        while not broken_at:
            try:
                status = {"status": {"containerStatuses": [broken]}}
                core.patch_namespaced_pod_status(f"{NAME}-0", namespace, status)
                broken_at.append(time.monotonic())
            except ApiException:
                time.sleep(0.2)

    thread = threading.Thread(target=break_image)
    thread.start()
    _seconds, error, _lines = fail()
    thread.join()
    assert error.data["cause"] == "image"
    assert "Check the name in eden_postgres_image" in error.message
    assert TIMED_OUT not in error.message
