# SPDX-License-Identifier: GPL-3.0-or-later
"""The module apply against a real API server: what it writes, keeps and predicts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from control_plane import ControlPlane
from kubernetes.client import ApiClient, AppsV1Api, BatchV1Api, CoreV1Api

from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube import apply
from ansible_collections.eden.reference.plugins.module_utils._module import Task

LABELS = {"app.kubernetes.io/instance": "x"}
CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "config", "labels": LABELS},
    "data": {"key": "value"},
}
POD = {
    "metadata": {"labels": LABELS},
    "spec": {"containers": [{"name": "main", "image": "none:1", "resources": {"requests": {"cpu": "0.5"}}}]},
}
SET: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "StatefulSet",
    "metadata": {"name": "set", "labels": LABELS},
    "spec": {"replicas": 1, "serviceName": "set", "selector": {"matchLabels": LABELS}, "template": POD},
}
JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "job"},
    "spec": {"template": {"spec": {**POD["spec"], "restartPolicy": "Never"}}},
}
DEFINITIONS = [CONFIG, SET, JOB]

Run = Callable[..., dict[str, Any]]


def writes(control_plane: ControlPlane, namespace: str) -> list[tuple[str, str]]:
    """Verb and resource of each write in the namespace that was no dry run."""
    return [
        (event["verb"], event["objectRef"]["resource"])
        for event in control_plane.audit_events()
        if (event.get("objectRef") or {}).get("namespace") == namespace
        and event["verb"] in ("create", "update", "patch", "delete")
        and "dryRun=All" not in event["requestURI"]
    ]


@pytest.fixture
def run(control_plane: ControlPlane, namespace: str) -> Run:
    """Runs the module in the test's namespace."""

    def call(definitions: list[dict[str, Any]] | None = None, **options: Any) -> dict[str, Any]:
        parameters = {
            "kubeconfig": str(control_plane.kubeconfig),
            "namespace": options.pop("namespace", namespace),
            "definitions": copy.deepcopy(DEFINITIONS if definitions is None else definitions),
            "prune": options.pop("prune", []),
        }
        return apply.run(Task(parameters, diff=True, **options))

    return call


def outcomes(result: dict[str, Any]) -> list[str]:
    return [item["outcome"] for item in result["objects"]]


def test_second_run_reads_only(run: Run, control_plane: ControlPlane, namespace: str) -> None:
    assert outcomes(run()) == ["created"] * 3
    before = writes(control_plane, namespace)
    again = run()
    assert outcomes(again) == ["unchanged"] * 3
    assert not again["changed"]
    assert not again["diff"]
    assert writes(control_plane, namespace) == before


def test_check_mode_writes_nothing_and_predicts(
    run: Run, admin: ApiClient, control_plane: ControlPlane, namespace: str
) -> None:
    predicted = run(check_mode=True)
    assert writes(control_plane, namespace) == []
    assert outcomes(predicted) == outcomes(run()) == ["created"] * 3
    CoreV1Api(admin).patch_namespaced_config_map("config", namespace, {"data": {"key": "drift"}})
    before = writes(control_plane, namespace)
    predicted = run(check_mode=True)
    assert writes(control_plane, namespace) == before
    assert outcomes(predicted) == outcomes(run()) == ["updated", "unchanged", "unchanged"]


def test_check_mode_works_before_the_namespace_exists(run: Run) -> None:
    assert outcomes(run(check_mode=True, namespace="not-there")) == ["created"] * 3


def test_drift_is_put_back_and_named(run: Run, admin: ApiClient, namespace: str) -> None:
    run()
    AppsV1Api(admin).patch_namespaced_stateful_set("set", namespace, {"spec": {"replicas": 5}})
    result = run()
    assert outcomes(result) == ["unchanged", "updated", "unchanged"]
    (difference,) = result["diff"]
    assert difference["after_header"] == f"StatefulSet {namespace}/set (updated)"
    assert "replicas: 5" in difference["before"]
    assert "replicas: 1" in difference["after"]
    assert AppsV1Api(admin).read_namespaced_stateful_set("set", namespace).spec.replicas == 1


def test_what_others_own_stays(
    run: Run, admin: ApiClient, control_plane: ControlPlane, namespace: str
) -> None:
    run()
    api = CoreV1Api(admin)
    api.patch_namespaced_config_map(
        "config", namespace, {"metadata": {"labels": {"theirs": "1"}}, "data": {"more": "x"}}
    )
    before = writes(control_plane, namespace)
    assert outcomes(run()) == ["unchanged"] * 3
    assert writes(control_plane, namespace) == before
    changed = {**CONFIG, "data": {"key": "new"}}
    assert outcomes(run([changed])) == ["updated"]
    kept = api.read_namespaced_config_map("config", namespace)
    assert kept.data == {"key": "new", "more": "x"}
    assert kept.metadata.labels == {**LABELS, "theirs": "1"}


def test_field_that_is_no_longer_defined_is_removed(run: Run, admin: ApiClient, namespace: str) -> None:
    run([{**CONFIG, "data": {"key": "value", "old": "x"}}])
    assert outcomes(run([CONFIG])) == ["updated"]
    assert CoreV1Api(admin).read_namespaced_config_map("config", namespace).data == {"key": "value"}


def test_failed_job_is_made_anew(run: Run, admin: ApiClient, namespace: str) -> None:
    run()
    api = BatchV1Api(admin)
    uid = api.read_namespaced_job("job", namespace).metadata.uid
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "BackoffLimitExceeded",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("FailureTarget", "Failed")
    ]
    api.patch_namespaced_job_status(
        "job", namespace, {"status": {"startTime": "2026-01-01T00:00:00Z", "conditions": conditions}}
    )
    assert outcomes(run()) == ["unchanged", "unchanged", "recreated"]
    assert api.read_namespaced_job("job", namespace).metadata.uid != uid


def test_prune_deletes_what_is_defined_no_more(run: Run, admin: ApiClient, namespace: str) -> None:
    rule = [{"kind": "StatefulSet", "labels": LABELS, "optional": False}]
    run()
    assert outcomes(run([CONFIG], prune=rule, check_mode=True)) == ["unchanged", "deleted"]
    assert outcomes(run([CONFIG], prune=rule)) == ["unchanged", "deleted"]
    assert not AppsV1Api(admin).list_namespaced_stateful_set(namespace).items
    assert outcomes(run([CONFIG], prune=rule)) == ["unchanged"]


def test_refusal_names_the_object_and_the_servers_words(run: Run, namespace: str) -> None:
    run()
    immutable = copy.deepcopy(SET)
    immutable["spec"]["serviceName"] = "other"
    with pytest.raises(
        ClusterError, match=f"Could not apply StatefulSet {namespace}/set: .* 422 Invalid: .*Forbidden"
    ):
        run([immutable])


def test_immutable_configmap_cannot_get_another_id(run: Run) -> None:
    first = {**CONFIG, "immutable": True}
    run([first])
    with pytest.raises(ClusterError, match="field is immutable"):
        run([{**first, "data": {"key": "other"}}])
