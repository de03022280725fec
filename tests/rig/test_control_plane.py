# SPDX-License-Identifier: GPL-3.0-or-later
"""The thin control plane is a real one: it stores, authorises, audits and admits."""

from __future__ import annotations

import http
import json
import time
from pathlib import Path
from typing import Any

import pytest
from control_plane import ControlPlane, StartError
from kubernetes.client import (
    ApiClient,
    ApiException,
    AppsV1Api,
    CoreV1Api,
    RbacAuthorizationV1Api,
    VersionApi,
)
from kubernetes.config import new_client_from_config
from kubernetes.watch import Watch

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


def config_map(name: str, **data: str) -> Any:
    return {"metadata": {"name": name}, "data": data}


def pod(**security: Any) -> Any:
    container = {"name": "main", "image": "none", "securityContext": security}
    return {"metadata": {"generateName": "pod-"}, "spec": {"containers": [container]}}


def message(error: ApiException) -> str:
    return str(json.loads(error.body or "{}")["message"])


def writes(control_plane: ControlPlane, namespace: str) -> list[tuple[str, str, str]]:
    """User, verb and name of each write that the API server was asked for in the namespace."""
    found = []
    for event in control_plane.audit_events():
        target = event.get("objectRef", {"resource": "none"})
        inside = target.get("namespace") == namespace and target["resource"] != "namespaces"
        if inside and event["verb"] in WRITES:
            found.append((event["user"]["username"], event["verb"], target.get("name", "")))
    return found


def test_rbac_refuses_a_user_until_a_role_is_bound(
    control_plane: ControlPlane, admin: ApiClient, namespace: str
) -> None:
    with new_client_from_config(str(control_plane.kubeconfig_for("reader", ("readers",)))) as client:
        with pytest.raises(ApiException) as refused:
            CoreV1Api(client).list_namespaced_secret(namespace)
        assert refused.value.status == http.HTTPStatus.FORBIDDEN
        assert 'User "reader" cannot list resource "secrets"' in message(refused.value)

        api = RbacAuthorizationV1Api(admin)
        rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}]
        reading: Any = {"metadata": {"name": "reading"}, "rules": rules}
        api.create_namespaced_role(namespace, reading)
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reading"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "readers"}
        binding: Any = {"metadata": {"name": "readers"}, "roleRef": role, "subjects": [subject]}
        api.create_namespaced_role_binding(namespace, binding)
        assert secrets_once_allowed(client, namespace) == []


def secrets_once_allowed(client: ApiClient, namespace: str) -> list[Any]:
    """The namespace's secrets; asks for a minute at most: the API server learns of roles a little later."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return list(CoreV1Api(client).list_namespaced_secret(namespace).items)
        except ApiException as error:
            if error.status != http.HTTPStatus.FORBIDDEN or time.monotonic() > deadline:
                raise


def test_the_audit_log_tells_writes_from_reads(
    control_plane: ControlPlane, admin: ApiClient, namespace: str
) -> None:
    api = CoreV1Api(admin)
    assert writes(control_plane, namespace) == []
    api.create_namespaced_config_map(namespace, config_map("audited"))
    api.read_namespaced_config_map("audited", namespace)
    api.patch_namespaced_config_map("audited", namespace, config_map("audited", colour="red"))
    assert writes(control_plane, namespace) == [("admin", "create", "audited"), ("admin", "patch", "audited")]


def test_pod_security_refuses_a_privileged_pod(admin: ApiClient, namespace: str) -> None:
    api = CoreV1Api(admin)
    privileged = pod(privileged=True)
    api.create_namespaced_pod(namespace, privileged)

    strict = f"{namespace}-strict"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    restricting: Any = {"metadata": {"name": strict, "labels": labels}}
    api.create_namespace(restricting)
    with pytest.raises(ApiException) as refused:
        api.create_namespaced_pod(strict, privileged)
    assert refused.value.status == http.HTTPStatus.FORBIDDEN
    assert 'violates PodSecurity "restricted' in message(refused.value)

    restricted = pod(
        allowPrivilegeEscalation=False,
        runAsNonRoot=True,
        capabilities={"drop": ["ALL"]},
        seccompProfile={"type": "RuntimeDefault"},
    )
    api.create_namespaced_pod(strict, restricted)
    assert len(api.list_namespaced_pod(strict).items) == 1


def test_two_run_side_by_side_and_nothing_is_left_of_one_that_stopped(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    with ControlPlane(tmp_path / "second") as second:
        assert second.url != control_plane.url
        with new_client_from_config(str(second.kubeconfig)) as client:
            assert VersionApi(client).get_code().git_version.startswith("v1.")
    here = str(tmp_path / "second")
    assert [process for process in Path("/proc").glob("[0-9]*") if working_directory(process) == here] == []


def working_directory(process: Path) -> str | None:
    try:
        return str((process / "cwd").readlink())
    except OSError:
        return None


def test_a_program_that_ends_tells_why(tmp_path: Path) -> None:
    (tmp_path / "audit.log").mkdir()
    told = r"(?s)kube-apiserver ended with status 1.*audit\.log: is a directory"
    with pytest.raises(StartError, match=told), ControlPlane(tmp_path):
        pass


def test_the_controllers_make_the_pods_of_a_deployment(tmp_path: Path) -> None:
    labels = {"app": "deployed"}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    deployment: Any = {"metadata": {"name": "deployed"}, "spec": spec}
    with (
        ControlPlane(tmp_path, controllers=True) as running,
        new_client_from_config(str(running.kubeconfig)) as client,
    ):
        AppsV1Api(client).create_namespaced_deployment("default", deployment)
        assert len(unschedulable_pods(client, "app=deployed", 2)) == 2


def unschedulable_pods(client: ApiClient, selector: str, count: int) -> set[str]:
    """Names of the pods for which the scheduler found no node: waits for ``count``, a minute at most."""
    names: set[str] = set()
    watch = Watch()
    for event in watch.stream(
        CoreV1Api(client).list_namespaced_pod, "default", label_selector=selector, timeout_seconds=60
    ):
        found = event["object"]
        if any(condition.reason == "Unschedulable" for condition in found.status.conditions or []):
            names.add(found.metadata.name)
        if len(names) == count:
            watch.stop()
    return names
