# SPDX-License-Identifier: GPL-3.0-or-later
"""The check before the first write, against a real API server."""

from __future__ import annotations

import datetime
import functools
import json
import os
import pathlib
import secrets
import subprocess
import sys
import time
import typing as t

import pytest
import yaml
from control_plane import ControlPlane
from kubernetes.client import ApiClient, AppsV1Api, CoreV1Api, RbacAuthorizationV1Api, StorageV1Api
from kubernetes.dynamic import DynamicClient
from preflight_options import CLAIMS, DIGEST_KEY, IDENTITIES, INPUTS, ROLE, options

from ansible_collections.eden.reference.plugins.module_utils._eden import (
    credentials,
    live_experiment,
    permissions,
    preflight,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._eden.ids import EXPERIMENT_ID
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
    MissingError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.apply import prepare
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster
from ansible_collections.eden.reference.plugins.module_utils._module import Task

STORED = "exp_01jabcdefghjkmnpqrstvwxyz0"
OTHER = "exp_01jabcdefghjkmnpqrstvwxyz1"
COMMIT = "666b95f001acc6e19682f7e1732e4d8c14b16cb9"
MANAGED = {"app.kubernetes.io/managed-by": "eden.reference"}
DEFAULT_CLASS = {"storageclass.kubernetes.io/is-default-class": "true"}
COLLECTIONS = pathlib.Path(preflight.__file__).parents[6]
# A review of permissions is a create to the API server, and stores nothing.
REVIEWS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews"}

Check = t.Callable[..., dict[str, t.Any]]
Rule = dict[str, t.Any]


@pytest.fixture(autouse=True)
def default_class(admin: ApiClient) -> t.Iterator[str]:
    """The name of the cluster's one storage class."""
    name = f"class-{secrets.token_hex(4)}"
    api = StorageV1Api(admin)
    api.create_storage_class(
        {"metadata": {"name": name, "annotations": DEFAULT_CLASS}, "provisioner": "none"}
    )
    yield name
    api.delete_storage_class(name)


def parameters(kubeconfig: pathlib.Path, namespace: str, **inputs: t.Any) -> dict[str, t.Any]:
    """The options of the module. The namespaces of these tests were made by others."""
    return options(namespace, str(kubeconfig), **{"eden_manage_namespace": False, **inputs})


@pytest.fixture
def check(control_plane: ControlPlane, namespace: str) -> Check:
    """Runs the module's function as the administrator, in the test's namespace."""

    def run(check_mode: bool = False, **inputs: t.Any) -> dict[str, t.Any]:
        kubeconfig = control_plane.kubeconfig
        return preflight.run(
            Task(parameters(kubeconfig, inputs.pop("namespace", namespace), **inputs), check_mode)
        )

    return run


def asked(control_plane: ControlPlane, user: str) -> list[tuple[str, str]]:
    """Verb and resource of every request that a user has made."""
    return [
        (event["verb"], event.get("objectRef", {}).get("resource", ""))
        for event in control_plane.audit_events(user)
        if event["stage"] == "ResponseComplete"
        and event["user"]["username"] == user
        and "dryRun=All" not in event["requestURI"]
    ]


def add_configmap(admin: ApiClient, namespace: str, name: str, **data: str) -> None:
    CoreV1Api(admin).create_namespaced_config_map(
        namespace, {"metadata": {"name": name, "labels": MANAGED}, "data": data, "immutable": True}
    )


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_empty_cluster_is_not_written_to(control_plane: ControlPlane, check_mode: bool) -> None:
    user = f"user-{secrets.token_hex(4)}"
    kubeconfig = control_plane.kubeconfig_for(user, ("system:masters",))
    inputs = {"eden_manage_namespace": True, "eden_tolerations": [{"operator": "Exists"}]}
    absent = f"absent-{secrets.token_hex(4)}"
    result = preflight.run(Task(parameters(kubeconfig, absent, **inputs), check_mode))
    assert EXPERIMENT_ID.match(result["experiment_id"])
    assert (result["seed_commit"], result["warnings"]) == (None, [])
    requests = asked(control_plane, user)
    assert ("get", "namespaces") in requests
    assert {verb for verb, resource in requests if resource not in REVIEWS} == {"get", "list"}


def add_claim(admin: ApiClient, namespace: str, name: str) -> None:
    labels = {**MANAGED, "eden.reference/experiment-id": STORED}
    CoreV1Api(admin).create_namespaced_persistent_volume_claim(
        namespace, {"metadata": {"name": name, "labels": labels}, "spec": CLAIM_SPEC}
    )


def test_what_an_earlier_run_stored_is_found(admin: ApiClient, namespace: str, check: Check) -> None:
    add_claim(admin, namespace, CLAIMS[0])
    add_configmap(admin, namespace, "eden-experiment", experiment_id=STORED)
    add_configmap(admin, namespace, "eden-seed", commit=COMMIT)
    result = check(eden_experiment_id=STORED)
    assert (result["experiment_id"], result["seed_commit"]) == (STORED, COMMIT)


def test_a_label_that_others_have_changed_is_ignored(
    admin: ApiClient, control_plane: ControlPlane, namespace: str, check: Check
) -> None:
    def applied(experiment_id: str) -> None:
        labels = {**MANAGED, "eden.reference/experiment-id": experiment_id}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}
        cluster.apply(prepare({**claim, "metadata": {"name": "eden-blob", "labels": labels}}, namespace))

    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    add_configmap(admin, namespace, "eden-experiment", experiment_id=STORED)
    applied(STORED)
    CoreV1Api(admin).patch_namespaced_persistent_volume_claim(
        "eden-blob", namespace, {"metadata": {"labels": {"eden.reference/experiment-id": OTHER}}}
    )
    assert check()["experiment_id"] == STORED
    # The same label as the collection itself sets it.
    applied(OTHER)
    with pytest.raises(InputError, match="there are volumes of another one"):
        check()


def test_a_claim_that_was_replaced_by_an_empty_one(admin: ApiClient, namespace: str, check: Check) -> None:
    add_configmap(admin, namespace, "eden-experiment", experiment_id=STORED)
    add_configmap(admin, namespace, "eden-seed", commit=COMMIT)
    with pytest.raises(MissingError, match=rf"^PersistentVolumeClaim \S+/{CLAIMS[0]} does not exist: "):
        check()
    # The timestamps are in seconds.
    time.sleep(1.1)
    add_claim(admin, namespace, CLAIMS[0])
    for check_mode in (True, False):
        with pytest.raises(MissingError, match=r" was created at 20\S+, after ConfigMap \S+/eden-seed "):
            check(check_mode)
    CoreV1Api(admin).patch_namespaced_persistent_volume_claim(
        CLAIMS[0], namespace, {"metadata": {"annotations": {"eden.reference/restored": STORED}}}
    )
    assert check()["experiment_id"] == STORED


def test_the_version_is_kept_where_an_upgrade_can_change_it(
    admin: ApiClient, control_plane: ControlPlane, namespace: str, check: Check
) -> None:
    def applied(version: str) -> None:
        metadata = {
            "name": "eden-experiment",
            "annotations": {live_experiment.VERSION_ANNOTATION: version},
        }
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True}
        cluster.apply(prepare({**body, "data": {"experiment_id": STORED}}, namespace))

    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    applied("0.1.0")
    assert check()["experiment_id"] == STORED
    applied("99.0.0")
    with pytest.raises(CollectionError, match=r"^Version 99\.0\.0 of eden\.reference has deployed this"):
        check()
    assert check(eden_allow_downgrade=True)["experiment_id"] == STORED
    # What others write there says nothing.
    CoreV1Api(admin).patch_namespaced_config_map(
        "eden-experiment",
        namespace,
        {"metadata": {"annotations": {live_experiment.VERSION_ANNOTATION: "98.0.0"}}},
    )
    assert check()["experiment_id"] == STORED


def test_another_id_than_the_stored_one_is_refused(admin: ApiClient, namespace: str, check: Check) -> None:
    add_configmap(admin, namespace, "eden-experiment", experiment_id=STORED)
    with pytest.raises(InputError) as error:
        check(eden_experiment_id=OTHER)
    assert error.value.message.startswith(
        f"eden_experiment_id is {OTHER}, but ConfigMap {namespace}/eden-experiment contains {STORED}"
    )


def test_a_namespace_in_deletion_is_refused(admin: ApiClient, namespace: str, check: Check) -> None:
    # Its finalizer stays: the controller that removes it does not run.
    CoreV1Api(admin).delete_namespace(namespace)
    with pytest.raises(CollectionError, match=f"^Namespace {namespace} has been terminating since 20"):
        check()


def test_a_namespace_that_must_exist_is_missed(check: Check) -> None:
    with pytest.raises(
        MissingError, match=r"^There is no Namespace absent, and eden_manage_namespace is false"
    ):
        check(namespace="absent")


def test_a_namespace_that_others_made_is_used_as_it_is_or_handed_over(
    admin: ApiClient, namespace: str, check: Check
) -> None:
    api = CoreV1Api(admin)
    api.patch_namespace(namespace, {"metadata": {"labels": {preflight.POD_SECURITY_LABEL: "privileged"}}})
    with pytest.raises(CollectionError) as error:
        check(eden_manage_namespace=True)
    assert error.value.message.startswith(f"Namespace {namespace} already exists, created by ")
    assert "It enforces Pod Security 'privileged', and" in error.value.message
    assert f"kubectl label namespace {namespace} app.kubernetes.io/managed-by=eden.reference" in (
        error.value.message
    )
    assert check(eden_manage_namespace=False)["changed"] is False
    api.patch_namespace(namespace, {"metadata": {"labels": MANAGED}})
    assert check(eden_manage_namespace=True)["changed"] is False


def test_storage_classes_are_looked_for(admin: ApiClient, check: Check, default_class: str) -> None:
    assert check(eden_storage_class=default_class)["warnings"] == []
    with pytest.raises(MissingError, match=rf"no StorageClass fast, which .*: it has {default_class}"):
        check(eden_storage_class="fast")
    StorageV1Api(admin).patch_storage_class(default_class, {"metadata": {"annotations": None}})
    with pytest.raises(MissingError, match=rf"no default StorageClass.*to one of {default_class}"):
        check()


def test_secrets_of_the_user_are_looked_for(check: Check, namespace: str) -> None:
    with pytest.raises(CollectionError) as error:
        check(eden_existing_secret="lost", eden_image_pull_secrets=["pull"])
    assert f"There is no Secret {namespace}/lost, which eden_existing_secret names." in error.value.message
    assert f"There is no Secret {namespace}/pull, which eden_image_pull_secrets names." in error.value.message


NODES = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
WRONG_TYPES: dict[str, tuple[str, t.Any]] = {
    "unknown-field": ("eden_affinity", {"nodeAffinty": {}}),
    "missing-field": ("eden_affinity", {"nodeAffinity": NODES}),
    "wrong-type": ("eden_tolerations", [{"key": 5}]),
    "unknown-word": ("eden_tolerations", [{"key": "a", "operator": "Exist"}]),
    "label": ("eden_node_selector", {"a b": "c"}),
    "quantity": ("eden_resources", {"requests": {"cpu": "1 core"}}),
    "more-than-the-limit": ("eden_postgres_resources", {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
    "unknown-resource": ("eden_forgejo_resources", {"requests": {"disk": "1"}}),
    "port": ("eden_worker_egress", [{"ports": [{"port": 99999}]}]),
    "block": ("eden_worker_egress", [{"to": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}]),
    "peer": ("eden_web_ui_peers", [{"podSelektor": {}}]),
    "dns": ("eden_dns_peers", [{"ipBlock": {"cidr": "10.0.0.10"}}]),
    "annotation": ("eden_ingress", {"host": "eden.example.com", "annotations": {"a b": "c"}}),
    "host": ("eden_ingress", {"host": "10.0.0.1"}),
    "worker-label": ("eden_workers.executor_host.node_selector", {"a b": "c"}),
    "worker-toleration": ("eden_workers.executor_host.tolerations", [{"key": "a", "operator": "Exist"}]),
    "worker-quantity": ("eden_workers.executor_host.resources", {"requests": {"cpu": "1 core"}}),
    "worker-block": (
        "eden_workers.ideator_host.egress",
        [{"to": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}],
    ),
}


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(("name", "value"), WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_the_server_refuses_inputs_of_its_own_types(
    control_plane: ControlPlane, namespace: str, check: Check, exists: bool, name: str, value: t.Any
) -> None:
    absent = {} if exists else {"namespace": f"absent-{namespace}", "eden_manage_namespace": True}
    first, *path = name.split(".")
    given = functools.reduce(lambda part, key: {key: part}, reversed(path), value)
    with pytest.raises(InputError) as error:
        check(**{first: given}, **absent)
    assert error.value.message.startswith(f"The API server refuses {name}. Could not create ")
    made = {
        (event["verb"], event["objectRef"]["resource"])
        for event in control_plane.audit_events(namespace)
        if (event.get("objectRef") or {}).get("namespace") == namespace
        and event["verb"] not in ("get", "list")
        and "dryRun=All" not in event["requestURI"]
    }
    assert made == set()


def test_the_server_takes_inputs_of_its_own_types(check: Check) -> None:
    terms = [{"matchExpressions": [{"key": "pool", "operator": "Exists"}]}]
    nodes = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    inputs = {
        "eden_affinity": {"nodeAffinity": nodes},
        "eden_tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}],
        "eden_node_selector": {"pool": "experiments"},
        "eden_resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "2Gi"}},
        "eden_web_ui_peers": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}],
        "eden_worker_egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 443}]}],
        "eden_dns_peers": [{"podSelector": {}, "namespaceSelector": {}}],
        "eden_workers": {
            "executor_host": {
                "node_selector": {"pool": "gpu"},
                "tolerations": [{"key": "pool", "operator": "Exists"}],
                "resources": {"limits": {"nvidia.com/gpu": 1}},
                "egress": [{}],
            }
        },
        "eden_ingress": {"host": "eden.example.com", "annotations": {"example.com/auth": "sso"}},
    }
    assert check(**inputs)["changed"] is False


# The connection


def altered(control_plane: ControlPlane, folder: pathlib.Path, **changes: t.Any) -> pathlib.Path:
    """The administrator's kubeconfig with another cluster or user."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    for part, values in changes.items():
        config[f"{part}s"][0][part] = values(config[f"{part}s"][0][part])
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def test_credentials_that_the_server_does_not_know(
    control_plane: ControlPlane, tmp_path: pathlib.Path
) -> None:
    path = altered(control_plane, tmp_path, user=lambda _user: {"token": "hunter2"})
    with pytest.raises(ClusterError) as error:
        preflight.run(Task(parameters(path, "lab")))
    assert error.value.status == 401
    assert error.value.message.endswith(f"Renew the credentials of the kubeconfig {path}.")
    assert "hunter2" not in error.value.message


def test_a_user_whose_certificate_has_expired(control_plane: ControlPlane) -> None:
    path = control_plane.kubeconfig_for("late", ("system:masters",), datetime.timedelta(days=3))
    with pytest.raises(ClusterError) as error:
        preflight.run(Task(parameters(path, "lab")))
    assert error.value.status == 401
    assert error.value.message.endswith(f"Renew the credentials of the kubeconfig {path}.")


# What is in the namespace


def test_the_existing_secret_is_read(admin: ApiClient, namespace: str, check: Check) -> None:
    api = CoreV1Api(admin)
    api.create_namespaced_secret(
        namespace, {"metadata": {"name": "mine"}, "stringData": {"EDEN_ADMIN_TOKEN": "hunter2"}}
    )
    with pytest.raises(CredentialsError, match=r"^Secret \S+/mine lacks POSTGRES_PASSWORD\. Add") as error:
        check(eden_existing_secret="mine")
    assert "hunter2" not in error.value.message
    api.patch_namespaced_secret("mine", namespace, {"stringData": {"POSTGRES_PASSWORD": "hunter2\n"}})
    with pytest.raises(CredentialsError, match=r"POSTGRES_PASSWORD contains a line break") as error:
        check(eden_existing_secret="mine")
    assert "hunter2" not in error.value.message
    api.patch_namespaced_secret("mine", namespace, {"stringData": {"POSTGRES_PASSWORD": "-hunter2"}})
    assert check(eden_existing_secret="mine")["changed"] is False


def workload(kind: str, size: str = "10Gi") -> dict[str, t.Any]:
    labels = {"app": "a"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    more = {"serviceName": "a", "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}
    return {
        "apiVersion": "apps/v1",
        "spec": {
            "selector": {"matchLabels": labels},
            "template": template,
            **(more if kind == "StatefulSet" else {}),
        },
    }


CLAIM_SPEC = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
BACKEND = {"service": {"name": "a", "port": {"number": 80}}}
BODIES: dict[str, dict[str, t.Any]] = {
    "StatefulSet": workload("StatefulSet"),
    "Deployment": workload("Deployment"),
    "Service": {"apiVersion": "v1", "spec": {"ports": [{"port": 1}]}},
    "ConfigMap": {"apiVersion": "v1"},
    "Secret": {"apiVersion": "v1"},
    "PersistentVolumeClaim": {"apiVersion": "v1", "spec": CLAIM_SPEC},
    "NetworkPolicy": {"apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {}}},
    "PodDisruptionBudget": {"apiVersion": "policy/v1", "spec": {"maxUnavailable": 1}},
    "Ingress": {"apiVersion": "networking.k8s.io/v1", "spec": {"defaultBackend": BACKEND}},
    "Lease": {"apiVersion": "coordination.k8s.io/v1", "spec": {}},
}
HELM = {"app.kubernetes.io/managed-by": "Helm"}


def test_no_object_of_others_is_taken_over(admin: ApiClient, namespace: str, check: Check) -> None:
    keys = preflight.Experiment.of(options(namespace)).objects()
    assert {kind for kind, _name in keys} == set(BODIES)
    client = DynamicClient(admin)
    for kind, name in keys:
        body = {**BODIES[kind], "kind": kind, "metadata": {"name": name, "labels": HELM}}
        client.resources.get(api_version=body["apiVersion"], kind=kind).create(body=body, namespace=namespace)
    with pytest.raises(CollectionError) as error:
        check(eden_experiment_id=STORED)
    for kind, name in keys:
        assert f"{kind} {namespace}/{name} (managed by Helm)" in error.value.message


def test_a_workload_of_ours_without_labels_is_known_by_its_fields(
    control_plane: ControlPlane, namespace: str, check: Check
) -> None:
    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    body = {**BODIES["StatefulSet"], "kind": "StatefulSet", "metadata": {"name": "eden-postgres"}}
    cluster.apply(prepare(body, namespace))
    assert check()["changed"] is False


def test_a_volume_that_exists_keeps_its_size(
    control_plane: ControlPlane, namespace: str, check: Check
) -> None:
    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    metadata = {"name": "eden-postgres", "labels": MANAGED}

    def applied(size: str) -> None:
        body = {**workload("StatefulSet", size), "kind": "StatefulSet", "metadata": metadata}
        cluster.apply(prepare(body, namespace))

    applied("20Gi")
    with pytest.raises(InputError) as error:
        check()
    assert error.value.message == (
        f"eden_storage_sizes.postgres is 10Gi, but the volume data of StatefulSet {namespace}/eden-postgres "
        "was created with 20Gi, and an existing volume is never changed. Set eden_storage_sizes.postgres to "
        "20Gi, or start a new experiment with another eden_name."
    )
    # The server says the same, but only after other objects were written.
    with pytest.raises(ClusterError, match="Forbidden"):
        applied("10Gi")


def test_a_password_that_is_not_the_databases(
    admin: ApiClient, control_plane: ControlPlane, namespace: str, check: Check
) -> None:
    api, old = CoreV1Api(admin), {"POSTGRES_PASSWORD": "old", "EDEN_ADMIN_TOKEN": "t", DIGEST_KEY: "key"}
    for name, values in (("eden-credentials", old), ("mine", {**old, "POSTGRES_PASSWORD": "new"})):
        metadata = {"name": name, "labels": MANAGED}
        api.create_namespaced_secret(namespace, {"metadata": metadata, "stringData": values})
    add_claim(admin, namespace, CLAIMS[0])
    bound = {"status": {"phase": "Bound"}}
    api.patch_namespaced_persistent_volume_claim_status(CLAIMS[0], namespace, bound)
    body = workload("StatefulSet")
    digests = credentials.digests(old, {"postgres": ["POSTGRES_PASSWORD"]}, DIGEST_KEY)
    template = body["spec"]["template"]
    template["metadata"]["annotations"] = {live_experiment.DIGEST_ANNOTATION: digests["postgres"]}
    reference = {"name": "eden-credentials", "key": "POSTGRES_PASSWORD"}
    template["spec"]["containers"][0]["env"] = [
        {"name": "POSTGRES_PASSWORD", "valueFrom": {"secretKeyRef": reference}}
    ]
    metadata = {"name": "eden-postgres", "labels": MANAGED}
    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    cluster.apply(prepare({**body, "kind": "StatefulSet", "metadata": metadata}, namespace))

    assert check()["changed"] is False
    for check_mode in (True, False):
        with pytest.raises(InputError, match=r"^Secret \S+/mine has another POSTGRES_PASSWORD") as error:
            check(check_mode, eden_existing_secret="mine")
    assert "old" not in error.value.message.split()
    assert check(eden_existing_secret="mine", eden_database_password_changed=True)["changed"] is False
    # What others write there says nothing.
    changed = {"metadata": {"annotations": {live_experiment.DIGEST_ANNOTATION: "changed"}}}
    AppsV1Api(admin).patch_namespaced_stateful_set(
        "eden-postgres", namespace, {"spec": {"template": changed}}
    )
    assert check()["changed"] is False


def test_an_evaluation_schema_that_changes(
    admin: ApiClient, control_plane: ControlPlane, namespace: str, check: Check
) -> None:
    def config(text: str) -> dict[str, t.Any]:
        metadata = {"name": "eden-experiment-config", "labels": MANAGED}
        data = {live_experiment.CONFIG_KEY: text}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    cluster.apply(prepare(config("evaluation_schema: {score: integer}"), namespace))
    assert check()["changed"] is False
    CoreV1Api(admin).create_namespaced_secret(
        namespace, {"metadata": {"name": IDENTITIES[0], "labels": MANAGED}}
    )
    for check_mode in (True, False):
        with pytest.raises(InputError, match=r"^The experiment config has the evaluation_schema"):
            check(check_mode)
    # What others write there says nothing.
    CoreV1Api(admin).patch_namespaced_config_map(
        "eden-experiment-config", namespace, config("evaluation_schema: {score: text}")
    )
    assert check()["changed"] is False


# Permissions


def rules_for(wanted: t.Iterable[permissions.Permission]) -> list[Rule]:
    return [
        {
            "verbs": [item.verb],
            "apiGroups": [item.group],
            "resources": [item.resource],
            **({"resourceNames": [item.name]} if item.name else {}),
        }
        for item in wanted
    ]


def user_with(
    control_plane: ControlPlane, admin: ApiClient, namespace: str, rules: list[Rule]
) -> pathlib.Path:
    """The kubeconfig of a new user with these rules in the namespace, or in all for an empty name."""
    user = f"user-{secrets.token_hex(4)}"
    role = {"metadata": {"name": user}, "rules": rules}
    group = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "Role" if namespace else "ClusterRole", "name": user},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }
    api = RbacAuthorizationV1Api(admin)
    if namespace:
        api.create_namespaced_role(namespace, role)
        api.create_namespaced_role_binding(namespace, binding)
    else:
        api.create_cluster_role(role)
        api.create_cluster_role_binding(binding)
    kubeconfig = control_plane.kubeconfig_for(user)
    # The authorizer learns of a new role through a watch.
    deadline = time.monotonic() + 60
    while len(own_rules(kubeconfig, namespace or "default")) < len(rules):
        assert time.monotonic() < deadline, "the API server did not take the role over within a minute"
        time.sleep(0.01)
    return kubeconfig


def own_rules(kubeconfig: pathlib.Path, namespace: str) -> list[t.Any]:
    """The rules of a user in the namespace, without those that every user has."""
    found = permissions.rules_review(Cluster.connect({"kubeconfig": str(kubeconfig)}), namespace)
    return [
        rule
        for rule in found
        if not REVIEWS & set(rule["resources"]) and "selfsubjectreviews" not in rule["resources"]
    ]


def needed(namespace: str, **inputs: t.Any) -> list[permissions.Permission]:
    """The permissions in a namespace that exists."""
    names = {"eden": [namespace], "credentials": ["eden-credentials"], "identity": IDENTITIES}
    wanted = {**INPUTS, **inputs}
    return permissions.needed(ROLE, namespace, names, wanted, namespace_exists=True)


ALL = needed("NAMESPACE")


def test_the_shipped_role_is_enough(control_plane: ControlPlane, admin: ApiClient, namespace: str) -> None:
    rules = [rule for item in ROLE if item["kind"] == "Role" for rule in item["rules"]]
    kubeconfig = user_with(control_plane, admin, namespace, rules)
    names = ["executor-host-1", "operator"]
    secrets_of_role = [{"secret": f"eden-{name}-identity"} for name in names]
    wanted = parameters(kubeconfig, namespace)
    wanted["topology"] = {**wanted["topology"], "identities": secrets_of_role}
    result = preflight.run(Task(wanted))
    [warning] = result["warnings"]
    assert warning.startswith("Whether a default storage class exists could not be checked: ")


@pytest.mark.parametrize("index", range(len(ALL)), ids=[f"{item.verb}-{item.resource}" for item in ALL])
def test_each_permission_that_is_taken_away_is_named(
    control_plane: ControlPlane, admin: ApiClient, namespace: str, index: int
) -> None:
    CoreV1Api(admin).patch_namespace(namespace, {"metadata": {"labels": MANAGED}})
    wanted = needed(namespace)
    lost = wanted.pop(index)
    kubeconfig = user_with(control_plane, admin, namespace, rules_for(wanted))
    with pytest.raises(CollectionError) as error:
        preflight.run(Task(parameters(kubeconfig, namespace, eden_manage_namespace=True)))
    group = f" ({lost.group})" if lost.group else ""
    assert f"\n{lost.verb} {lost.resource}{group} in namespace {namespace}" in error.value.message
    assert f": {lost.why}\n" in error.value.message
    assert error.value.data["missing_permissions"] == [lost._asdict()]


def test_creating_the_namespace_is_a_permission_in_the_whole_cluster(
    control_plane: ControlPlane, admin: ApiClient
) -> None:
    absent = f"absent-{secrets.token_hex(4)}"
    rules = rules_for(item._replace(name="") for item in ALL)
    kubeconfig = user_with(control_plane, admin, "", rules)
    with pytest.raises(CollectionError) as error:
        preflight.run(Task(parameters(kubeconfig, absent, eden_manage_namespace=True)))
    assert [item["verb"] for item in error.value.data["missing_permissions"]] == ["create"]
    assert "\ncreate namespaces in the whole cluster: " in error.value.message
    creating = {"verbs": ["create"], "apiGroups": [""], "resources": ["namespaces"]}
    kubeconfig = user_with(control_plane, admin, "", [*rules, creating])
    result = preflight.run(Task(parameters(kubeconfig, absent, eden_manage_namespace=True)))
    assert result["changed"] is False


# Through Ansible


def ansible(program: str, *arguments: str, folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": str(COLLECTIONS),
    }
    command = [sys.executable, "-m", program, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def play(
    control_plane: ControlPlane, namespace: str, tmp_path: pathlib.Path
) -> t.Callable[..., tuple[int, str]]:
    """Runs the role in the test's namespace; returns the exit status and what was printed."""
    playbook = [
        {
            "name": "Check",
            "hosts": "all",
            "gather_facts": False,
            "roles": [{"role": "eden.reference.eden"}],
            "tasks": [
                {
                    "name": "Show",
                    "ansible.builtin.debug": {
                        "msg": "{{ eden_preflight.experiment_id }} {{ eden_config.text }}"
                    },
                }
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(playbook))

    def run(*options: str, **variables: t.Any) -> tuple[int, str]:
        inventory = {
            "all": {
                "hosts": {
                    "eden": {
                        "ansible_connection": "local",
                        "eden_kubeconfig": str(control_plane.kubeconfig),
                        "eden_namespace": namespace,
                        "eden_manage_namespace": False,
                        "eden_image": "eden:1",
                        **variables,
                    }
                }
            }
        }
        (tmp_path / "inventory.yml").write_text(yaml.safe_dump(inventory))
        done = ansible("ansible", "playbook", "-i", "inventory.yml", "play.yml", *options, folder=tmp_path)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("options", [[], ["--check", "--diff"]])
def test_the_role_finds_the_experiment(play: t.Callable[..., tuple[int, str]], options: list[str]) -> None:
    status, printed = play(*options)
    assert status == 0, printed
    assert "changed=0" in printed
    assert "evaluation_schema:\\n  score: real\\n" in printed


def test_the_module_runs_on_a_target_of_its_own(
    control_plane: ControlPlane, namespace: str, tmp_path: pathlib.Path
) -> None:
    arguments = {**parameters(control_plane.kubeconfig, namespace), "_ansible_check_mode": True}
    path = tmp_path / "arguments.json"
    path.write_text(
        json.dumps(
            {"ANSIBLE_MODULE_ARGS": {key: value for key, value in arguments.items() if value is not None}}
        )
    )
    done = ansible("ansible_collections.eden.reference.plugins.modules.preflight", str(path), folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["unbound_claims"] == CLAIMS
