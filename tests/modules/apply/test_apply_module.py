# SPDX-License-Identifier: GPL-3.0-or-later
"""The module apply against a real API server: what it writes, keeps and predicts."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import pytest
from control_plane import ControlPlane
from kubernetes.client import AdmissionregistrationV1Api, ApiClient, AppsV1Api, BatchV1Api, CoreV1Api
from kubernetes.dynamic import DynamicClient

from ansible_collections.eden.reference.plugins.module_utils._eden import apply
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, CollectionError
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
        for event in control_plane.audit_events(namespace)
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


def test_drift_is_reverted_and_named(run: Run, admin: ApiClient, namespace: str) -> None:
    run()
    AppsV1Api(admin).patch_namespaced_stateful_set("set", namespace, {"spec": {"replicas": 5}})
    result = run()
    assert outcomes(result) == ["unchanged", "updated", "unchanged"]
    (difference,) = result["diff"]
    assert difference["after_header"].startswith(f"StatefulSet {namespace}/set (updated; spec.replicas had")
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


def test_failed_job_is_recreated(run: Run, admin: ApiClient, namespace: str) -> None:
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


def test_prune_deletes_what_is_no_longer_defined(run: Run, admin: ApiClient, namespace: str) -> None:
    rule = [{"kind": "StatefulSet", "labels": LABELS, "optional": False}]
    run()
    assert outcomes(run([CONFIG], prune=rule, check_mode=True)) == ["unchanged", "deleted"]
    assert outcomes(run([CONFIG], prune=rule)) == ["unchanged", "deleted"]
    assert not AppsV1Api(admin).list_namespaced_stateful_set(namespace).items
    assert outcomes(run([CONFIG], prune=rule)) == ["unchanged"]


def refusal(run: Run, *definitions: dict[str, Any], error: type[CollectionError] = ClusterError) -> str:
    """The message with which applying the definitions ends."""
    with pytest.raises(error) as caught:
        run(list(definitions))
    return caught.value.message


def changed(definition: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**definition, "spec": {**definition["spec"], **spec}}


def test_an_immutable_field_names_the_way_to_change_it_without_a_loss(run: Run, namespace: str) -> None:
    run()
    message = refusal(run, changed(SET, serviceName="other"))
    assert message.startswith(f"Could not apply StatefulSet {namespace}/set: ")
    assert "updates to statefulset spec for fields other than" in message
    assert "It differs from the definition in spec.serviceName" in message
    assert f"kubectl delete statefulset set --namespace {namespace} --cascade=orphan. Its pods" in message


@pytest.mark.parametrize("definition", [{**CONFIG, "immutable": True}], ids=["immutable-configmap"])
def test_deleting_what_holds_data_is_never_advised(run: Run, definition: dict[str, Any]) -> None:
    run([definition])
    message = refusal(run, {**definition, "data": {"key": "other"}})
    assert "field is immutable" in message
    assert "It differs from the definition in data.key." in message
    assert "kubectl delete" not in message


def test_a_policy_that_denies_an_update_is_named_and_nothing_is_deleted(
    run: Run, admin: ApiClient, namespace: str
) -> None:
    api = AdmissionregistrationV1Api(admin)
    name = f"images-{namespace}"
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["statefulsets"],
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    denied = "!object.spec.template.spec.containers.exists(c, c.image.startsWith('other'))"
    api.create_validating_admission_policy(
        {
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule], "namespaceSelector": selector},
                "validations": [{"expression": denied, "message": "the image is not allowed"}],
            },
        }
    )
    api.create_validating_admission_policy_binding(
        {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    )
    run([SET])
    container = {**POD["spec"]["containers"][0], "image": "other:2"}  # type: ignore[index]
    template = {**POD, "spec": {"containers": [container]}}
    deadline, message = time.monotonic() + 60, ""
    while not message:
        # The API server learns of a policy through a watch, and a dry run changes nothing.
        try:
            run([changed(SET, template=template)], check_mode=True)
        except ClusterError as error:
            message = error.message
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert f"ValidatingAdmissionPolicy '{name}'" in message
    assert "the image is not allowed" in message
    assert f"kubectl describe validatingadmissionpolicy {name}" in message
    assert "eden_resources" in message
    assert "kubectl delete" not in message


CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {"name": "claim"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
}


@pytest.mark.parametrize("hard", [{"requests.storage": "5Gi"}, {"persistentvolumeclaims": "0"}])
def test_a_quota_on_claims_is_named_with_the_input(
    run: Run, admin: ApiClient, namespace: str, hard: dict[str, str]
) -> None:
    api = CoreV1Api(admin)
    body = {"metadata": {"name": "storage"}, "spec": {"hard": hard}}
    api.create_namespaced_resource_quota(namespace, body)
    # The controller that counts does not run.
    used = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    api.patch_namespaced_resource_quota_status("storage", namespace, {"status": used})
    message = refusal(run, CLAIM)
    assert "exceeded quota: storage" in message
    assert "kubectl describe resourcequota storage" in message
    assert "eden_storage_sizes" in message
    assert "permission" not in message


def test_a_limit_on_claims_is_named_with_the_input(run: Run, admin: ApiClient, namespace: str) -> None:
    limit = {"type": "PersistentVolumeClaim", "max": {"storage": "5Gi"}}
    body = {"metadata": {"name": "sizes"}, "spec": {"limits": [limit]}}
    CoreV1Api(admin).create_namespaced_limit_range(namespace, body)
    message = refusal(run, CLAIM)
    assert "maximum storage usage per PersistentVolumeClaim is 5Gi" in message
    assert "eden_storage_sizes" in message


def test_a_field_that_the_server_does_not_know_is_an_error(run: Run) -> None:
    assert "replcas" in refusal(run, changed(SET, replcas=1))


# fmt: off
FOREIGN: list[dict[str, Any]] = [
    *DEFINITIONS,
    CLAIM | {"metadata": {"name": "claim", "labels": {"app.kubernetes.io/managed-by": "Helm"}}},
    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "deployment"},
     "spec": {"selector": {"matchLabels": LABELS}, "template": POD}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}},
    {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "policy"},
     "spec": {"podSelector": {}}},
    {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "budget"},
     "spec": {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}}},
    {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "ingress"},
     "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}},
]
# fmt: on


@pytest.mark.parametrize("definition", FOREIGN, ids=lambda definition: definition["kind"])
@pytest.mark.parametrize("check_mode", [False, True])
def test_what_others_made_is_refused(
    run: Run,
    admin: ApiClient,
    control_plane: ControlPlane,
    namespace: str,
    definition: dict[str, Any],
    check_mode: bool,
) -> None:
    resource = DynamicClient(admin).resources.get(
        api_version=definition["apiVersion"], kind=definition["kind"]
    )
    resource.create(body=definition, namespace=namespace, field_manager="kubectl-create")
    before = writes(control_plane, namespace)
    wanted = {**definition, "metadata": {"name": definition["metadata"]["name"], "labels": {"ours": "1"}}}
    with pytest.raises(
        CollectionError, match=r"it already exists, (managed|created).*It was not changed"
    ) as caught:
        run([wanted], check_mode=check_mode)
    assert writes(control_plane, namespace) == before
    # Its owner hands it over by the command of the message.
    body = {"metadata": {"labels": {"app.kubernetes.io/managed-by": "eden.reference"}}}
    kind, name = definition["kind"].lower(), definition["metadata"]["name"]
    assert f"kubectl label {kind} {name} --namespace {namespace} app.kubernetes.io" in caught.value.message
    resource.patch(body=body, name=name, namespace=namespace, content_type="application/merge-patch+json")
    assert outcomes(run([wanted], check_mode=check_mode)) == ["updated"]


def test_a_namespace_that_others_made_keeps_its_labels(run: Run, admin: ApiClient, namespace: str) -> None:
    privileged = {"pod-security.kubernetes.io/enforce": "privileged"}
    CoreV1Api(admin).patch_namespace(namespace, {"metadata": {"labels": privileged}})
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    definition = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    assert "it already exists, created" in refusal(run, definition, error=CollectionError)
    assert privileged.items() <= CoreV1Api(admin).read_namespace(namespace).metadata.labels.items()


def test_a_field_that_another_manager_set_is_reverted_and_named(
    run: Run, admin: ApiClient, namespace: str
) -> None:
    run([SET])
    AppsV1Api(admin).patch_namespaced_stateful_set_scale(
        "set", namespace, {"spec": {"replicas": 3}}, field_manager="autoscaler"
    )
    result = run([SET])
    assert result["objects"][0]["overwritten"] == {"autoscaler": ["spec.replicas"]}
    assert "spec.replicas had been set by autoscaler" in result["diff"][0]["after_header"]
