# SPDX-License-Identifier: GPL-3.0-or-later
"""The look at the cluster, against a real API server."""

from __future__ import annotations

import base64
import datetime
import json
import os
import pathlib
import secrets
import ssl
import subprocess
import sys
import threading
import time
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from certificates import Authority
from control_plane import ControlPlane, free_port
from kubernetes.client import ApiClient, AppsV1Api, CoreV1Api, RbacAuthorizationV1Api, StorageV1Api

from ansible_collections.eden.reference.plugins.module_utils._eden import permissions, preflight
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._eden.ids import EXPERIMENT_ID
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
    MissingError,
    UnreachableError,
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
# What asks about rights is a create to the API server, and stores nothing.
REVIEWS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews"}

Look = t.Callable[..., dict[str, t.Any]]
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


def parameters(kubeconfig: pathlib.Path, namespace: str, **changes: t.Any) -> dict[str, t.Any]:
    return {
        "kubeconfig": str(kubeconfig),
        "context": None,
        "namespace": namespace,
        "name": "eden",
        "manage_namespace": True,
        "experiment_id": "",
        "experiment_configmap": "eden-experiment",
        "seed_configmap": "eden-seed",
        "claims": ["data-eden-postgres-0", "eden-blob"],
        "storage_class": "",
        "existing_secret": "",
        "credential_keys": [],
        "credentials_secret": "",
        "identity_secrets": [],
        "objects": [],
        "volumes": [],
        "image_pull_secrets": [],
        "task_store_url": "",
        "network_policies": True,
        "disruption_budgets": True,
        "ingress": True,
        **changes,
    }


@pytest.fixture
def look(control_plane: ControlPlane, namespace: str) -> Look:
    """Runs the module's function as the administrator, in the test's namespace."""

    def run(check_mode: bool = False, **changes: t.Any) -> dict[str, t.Any]:
        return preflight.run(
            Task(
                parameters(control_plane.kubeconfig, changes.pop("namespace", namespace), **changes),
                check_mode,
            )
        )

    return run


def asked(control_plane: ControlPlane, user: str) -> list[tuple[str, str]]:
    """Verb and resource of every request that a user has made."""
    return [
        (event["verb"], event.get("objectRef", {}).get("resource", ""))
        for event in control_plane.audit_events()
        if event["stage"] == "ResponseComplete" and event["user"]["username"] == user
    ]


def add_configmap(admin: ApiClient, namespace: str, name: str, **data: str) -> None:
    CoreV1Api(admin).create_namespaced_config_map(
        namespace, {"metadata": {"name": name, "labels": MANAGED}, "data": data, "immutable": True}
    )


def add_claim(admin: ApiClient, namespace: str, name: str, **labels: str) -> None:
    body = {
        "metadata": {"name": name, "labels": labels},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    CoreV1Api(admin).create_namespaced_persistent_volume_claim(namespace, body)


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_empty_cluster_is_not_written_to(control_plane: ControlPlane, check_mode: bool) -> None:
    user = f"user-{secrets.token_hex(4)}"
    kubeconfig = control_plane.kubeconfig_for(user, ("system:masters",))
    result = preflight.run(Task(parameters(kubeconfig, f"absent-{secrets.token_hex(4)}"), check_mode))
    assert EXPERIMENT_ID.match(result["experiment_id"])
    assert result["experiment_id_source"] == "minted"
    assert (result["namespace_exists"], result["seed_commit"], result["warnings"]) == (False, None, [])
    assert result["server_version"].startswith("v1.")
    requests = asked(control_plane, user)
    assert ("get", "namespaces") in requests
    assert {verb for verb, resource in requests if resource not in REVIEWS} == {"get", "list"}


def test_what_an_earlier_run_stored_is_found(admin: ApiClient, namespace: str, look: Look) -> None:
    add_configmap(admin, namespace, "eden-experiment", experiment_id=STORED)
    add_configmap(admin, namespace, "eden-seed", commit=COMMIT)
    result = look(experiment_id=STORED)
    assert (result["experiment_id"], result["experiment_id_source"]) == (STORED, "stored")
    assert (result["seed_commit"], result["namespace_exists"]) == (COMMIT, True)


def test_the_id_is_found_on_a_volume_where_the_configmap_is_lost(
    admin: ApiClient, namespace: str, look: Look
) -> None:
    add_claim(admin, namespace, "data-eden-postgres-0", **{"eden.reference/experiment-id": STORED})
    result = look()
    assert (result["experiment_id"], result["experiment_id_source"]) == (STORED, "claim")


def test_a_label_that_somebody_has_changed_says_nothing(
    admin: ApiClient, control_plane: ControlPlane, namespace: str, look: Look
) -> None:
    def applied(experiment_id: str) -> None:
        labels = {**MANAGED, "eden.reference/experiment-id": experiment_id}
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}
        cluster.apply(prepare({**claim, "metadata": {"name": "eden-blob", "labels": labels}}, namespace))

    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    add_configmap(admin, namespace, "eden-experiment", experiment_id=STORED)
    applied(STORED)
    CoreV1Api(admin).patch_namespaced_persistent_volume_claim(
        "eden-blob", namespace, {"metadata": {"labels": {"eden.reference/experiment-id": OTHER}}}
    )
    assert look()["experiment_id"] == STORED
    # The same label as the collection itself puts it.
    applied(OTHER)
    with pytest.raises(InputError, match="volumes of another are there"):
        look()


def test_another_id_than_the_stored_one_is_refused(admin: ApiClient, namespace: str, look: Look) -> None:
    add_configmap(admin, namespace, "eden-experiment", experiment_id=STORED)
    with pytest.raises(InputError) as error:
        look(experiment_id=OTHER)
    assert error.value.message.startswith(
        f"eden_experiment_id is {OTHER}, but ConfigMap {namespace}/eden-experiment says {STORED}"
    )


def test_volumes_of_helm_are_not_taken_over(admin: ApiClient, namespace: str, look: Look) -> None:
    add_claim(admin, namespace, "eden-blob", **{"app.kubernetes.io/managed-by": "Helm"})
    with pytest.raises(CollectionError, match=r"PersistentVolumeClaim \S+/eden-blob \(managed by Helm\)"):
        look(experiment_id=STORED)


def test_a_namespace_that_is_being_deleted_is_refused(admin: ApiClient, namespace: str, look: Look) -> None:
    # Its finalizer stays: the controller that removes it does not run.
    CoreV1Api(admin).delete_namespace(namespace)
    with pytest.raises(CollectionError, match=f"^Namespace {namespace} is being deleted since 20"):
        look()


def test_a_namespace_that_must_exist_is_missed(look: Look) -> None:
    with pytest.raises(
        MissingError, match=r"^There is no Namespace absent, and eden_manage_namespace is false"
    ):
        look(namespace="absent", manage_namespace=False)


def test_storage_classes_are_looked_for(admin: ApiClient, look: Look, default_class: str) -> None:
    assert look(storage_class=default_class)["warnings"] == []
    with pytest.raises(MissingError, match=rf"no StorageClass fast, which .*: it has {default_class}"):
        look(storage_class="fast")
    StorageV1Api(admin).patch_storage_class(default_class, {"metadata": {"annotations": None}})
    with pytest.raises(MissingError, match=rf"no default StorageClass.*to one of {default_class}"):
        look()


def test_secrets_of_the_user_are_looked_for(admin: ApiClient, namespace: str, look: Look) -> None:
    CoreV1Api(admin).create_namespaced_secret(namespace, {"metadata": {"name": "mine"}})
    assert look(existing_secret="mine", image_pull_secrets=["mine"])["namespace_exists"]
    with pytest.raises(CollectionError) as error:
        look(existing_secret="lost", image_pull_secrets=["pull"])
    assert f"There is no Secret {namespace}/lost, which eden_existing_secret names." in error.value.message
    assert f"There is no Secret {namespace}/pull, which eden_image_pull_secrets names." in error.value.message


# The connection


def altered(control_plane: ControlPlane, folder: pathlib.Path, **changes: t.Any) -> pathlib.Path:
    """The administrator's kubeconfig with another cluster or user."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    for part, values in changes.items():
        config[f"{part}s"][0][part] = values(config[f"{part}s"][0][part])
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def test_a_server_that_is_not_there(control_plane: ControlPlane, tmp_path: pathlib.Path) -> None:
    address = f"https://127.0.0.1:{free_port()}"
    path = altered(control_plane, tmp_path, cluster=lambda cluster: {**cluster, "server": address})
    with pytest.raises(UnreachableError) as error:
        preflight.run(Task(parameters(path, "lab")))
    assert error.value.message.startswith(
        f"Could not read the version of the API server {address}: no answer from the Kubernetes API at"
    )
    assert "Connection refused" in error.value.message
    assert error.value.message.endswith("kubectl version.")


def test_a_server_with_a_certificate_of_another_authority(
    control_plane: ControlPlane, tmp_path: pathlib.Path
) -> None:
    def without_authority(cluster: dict[str, str]) -> dict[str, str]:
        return {"server": cluster["server"]}

    path = altered(control_plane, tmp_path, cluster=without_authority)
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        preflight.run(Task(parameters(path, "lab")))


def test_credentials_that_the_server_does_not_know(
    control_plane: ControlPlane, tmp_path: pathlib.Path
) -> None:
    path = altered(control_plane, tmp_path, user=lambda _user: {"token": "hunter2"})
    with pytest.raises(ClusterError) as error:
        preflight.run(Task(parameters(path, "lab")))
    assert error.value.status == 401
    assert error.value.message.endswith(f"Renew the credentials of the kubeconfig {path}.")
    assert "hunter2" not in error.value.message


def test_a_kubeconfig_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(CollectionError, match=r"Could not find a kubeconfig: .*nowhere does not exist"):
        preflight.run(Task(parameters(tmp_path / "nowhere", "lab")))


def test_a_context_that_is_not_there(control_plane: ControlPlane) -> None:
    with pytest.raises(CollectionError, match="context other"):
        preflight.run(Task(parameters(control_plane.kubeconfig, "lab", context="other")))


def test_a_server_with_the_certificate_of_an_authority_that_is_not_the_kubeconfigs(
    control_plane: ControlPlane, tmp_path: pathlib.Path
) -> None:
    other = base64.b64encode(Authority("other").pair.certificate).decode()
    path = altered(
        control_plane, tmp_path, cluster=lambda cluster: {**cluster, "certificate-authority-data": other}
    )
    with pytest.raises(UnreachableError, match="CERTIFICATE_VERIFY_FAILED"):
        preflight.run(Task(parameters(path, "lab")))


def test_a_user_whose_certificate_has_expired(control_plane: ControlPlane) -> None:
    path = control_plane.kubeconfig_for("late", ("system:masters",), datetime.timedelta(days=3))
    with pytest.raises(ClusterError) as error:
        preflight.run(Task(parameters(path, "lab")))
    assert error.value.status == 401
    assert error.value.message.endswith(f"Renew the credentials of the kubeconfig {path}.")


@pytest.fixture
def stand_in() -> t.Iterator[tuple[ThreadingHTTPServer, list[str]]]:
    """A server that is Kubernetes 1.26, and what it was asked for."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            requests.append(f"{self.command} {self.path}")
            content = b'{"gitVersion": "v1.26.9"}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

        def log_message(self, *_arguments: t.Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server, requests
        server.shutdown()


def test_a_server_that_is_too_old(
    control_plane: ControlPlane, tmp_path: pathlib.Path, stand_in: tuple[ThreadingHTTPServer, list[str]]
) -> None:
    server, requests = stand_in
    address = f"http://127.0.0.1:{server.server_port}"
    path = altered(control_plane, tmp_path, cluster=lambda _cluster: {"server": address})
    with pytest.raises(CollectionError) as error:
        preflight.run(Task(parameters(path, "lab")))
    assert error.value.message == (
        f"The API server {address} is Kubernetes v1.26.9; 1.27 or newer is needed. "
        "Upgrade the cluster, or choose another with eden_kubeconfig and eden_context."
    )
    assert requests == ["GET /version"]


def test_a_first_request_without_an_answer_is_sent_again(
    control_plane: ControlPlane,
    tmp_path: pathlib.Path,
    stand_in: tuple[ThreadingHTTPServer, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, requests = stand_in
    answer = server.RequestHandlerClass.do_GET  # type: ignore[attr-defined]

    def silent_at_first(handler: t.Any) -> None:
        if requests:
            answer(handler)
        else:
            requests.append("lost")
            handler.rfile.read(1)

    monkeypatch.setattr(server.RequestHandlerClass, "do_GET", silent_at_first)
    address = f"http://127.0.0.1:{server.server_port}"
    path = altered(control_plane, tmp_path, cluster=lambda _cluster: {"server": address})
    with pytest.raises(CollectionError, match=r"is Kubernetes v1\.26\.9"):
        preflight.run(Task(parameters(path, "lab")))
    assert requests == ["lost", "GET /version"]


def test_a_server_whose_certificate_has_expired(
    control_plane: ControlPlane, tmp_path: pathlib.Path, stand_in: tuple[ThreadingHTTPServer, list[str]]
) -> None:
    server, requests = stand_in
    authority = Authority("stand-in")
    authority.server("late", ["localhost"], ["127.0.0.1"], datetime.timedelta(days=3)).write(tmp_path, "late")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "late.crt", tmp_path / "late.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    cluster = {
        "server": f"https://127.0.0.1:{server.server_port}",
        "certificate-authority-data": base64.b64encode(authority.pair.certificate).decode(),
    }
    path = altered(control_plane, tmp_path, cluster=lambda _cluster: cluster)
    with pytest.raises(UnreachableError, match="certificate has expired"):
        preflight.run(Task(parameters(path, "lab")))
    assert requests == []


# What is in the namespace


def test_the_existing_secret_is_looked_into(admin: ApiClient, namespace: str, look: Look) -> None:
    data = {"GOOD": "hunter2", "LINE": "hunter2\n"}
    CoreV1Api(admin).create_namespaced_secret(namespace, {"metadata": {"name": "mine"}, "stringData": data})
    with pytest.raises(CredentialsError, match=r"^Secret \S+/mine lacks ABSENT, LOST\. Add them") as error:
        look(existing_secret="mine", credential_keys=["GOOD", "ABSENT", "LOST"])
    assert "hunter2" not in error.value.message
    with pytest.raises(CredentialsError, match=r"LINE begins or ends with a line break") as error:
        look(existing_secret="mine", credential_keys=["GOOD", "LINE"])
    assert "hunter2" not in error.value.message
    assert look(existing_secret="mine", credential_keys=["GOOD"])["changed"] is False


def stateful_set(name: str, labels: dict[str, str], size: str) -> dict[str, t.Any]:
    container = {"name": "a", "image": "a:1"}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def test_a_workload_of_somebody_else_is_not_taken_over(admin: ApiClient, namespace: str, look: Look) -> None:
    helm = {"app.kubernetes.io/managed-by": "Helm"}
    service = {"metadata": {"name": "eden-forgejo"}, "spec": {"ports": [{"port": 1}]}}
    AppsV1Api(admin).create_namespaced_stateful_set(namespace, stateful_set("eden-postgres", helm, "1Gi"))
    CoreV1Api(admin).create_namespaced_service(namespace, service)
    objects = [
        {"kind": "StatefulSet", "name": "eden-postgres"},
        {"kind": "Service", "name": "eden-forgejo"},
        {"kind": "Service", "name": "eden-postgres"},
    ]
    with pytest.raises(CollectionError) as error:
        look(objects=objects)
    assert error.value.message.startswith(
        "Objects with the names of this experiment belong to somebody else: "
        f"Service {namespace}/eden-forgejo (not made by eden.reference), "
        f"StatefulSet {namespace}/eden-postgres (managed by Helm). Choose another eden_name"
    )


def test_a_workload_of_ours_without_labels_is_known_by_its_fields(
    control_plane: ControlPlane, namespace: str, look: Look
) -> None:
    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    cluster.apply(prepare(stateful_set("eden-postgres", {}, "1Gi"), namespace))
    assert look(objects=[{"kind": "StatefulSet", "name": "eden-postgres"}])["changed"] is False


def test_a_volume_that_exists_keeps_its_size(control_plane: ControlPlane, namespace: str, look: Look) -> None:
    cluster = Cluster.connect({"kubeconfig": str(control_plane.kubeconfig)})
    cluster.apply(prepare(stateful_set("eden-postgres", MANAGED, "10Gi"), namespace))
    volume = {"workload": "eden-postgres", "claim": "data", "variable": "eden_storage_sizes.postgres"}
    known = {"objects": [{"kind": "StatefulSet", "name": "eden-postgres"}]}
    with pytest.raises(InputError) as error:
        look(**known, volumes=[{**volume, "size": "5Gi"}])
    assert error.value.message == (
        f"eden_storage_sizes.postgres is 5Gi, but the volume data of StatefulSet {namespace}/eden-postgres "
        "was made with 10Gi, and a volume that exists is not changed. Set eden_storage_sizes.postgres to "
        "10Gi, or make a new experiment with another eden_name."
    )
    assert look(**known, volumes=[{**volume, "size": "10240Mi"}])["changed"] is False
    # The server says the same, but only after other objects were written.
    with pytest.raises(ClusterError, match="Forbidden"):
        cluster.apply(prepare(stateful_set("eden-postgres", MANAGED, "5Gi"), namespace))


# Rights


def rules_for(wanted: t.Iterable[permissions.Right]) -> list[Rule]:
    return [
        {
            "verbs": [right.verb],
            "apiGroups": [right.group],
            "resources": [right.resource],
            **({"resourceNames": [right.name]} if right.name else {}),
        }
        for right in wanted
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


# A namespace that exists needs no right on the whole cluster.
ALL = permissions.needed("NAMESPACE", manage_namespace=True, namespace_exists=True)


def needed(namespace: str) -> list[permissions.Right]:
    return [right._replace(namespace=namespace, name=namespace if right.name else "") for right in ALL]


def test_the_rights_of_the_table_are_enough(
    control_plane: ControlPlane, admin: ApiClient, namespace: str
) -> None:
    kubeconfig = user_with(control_plane, admin, namespace, rules_for(needed(namespace)))
    result = preflight.run(Task(parameters(kubeconfig, namespace)))
    assert result["namespace_exists"] is True
    [warning] = result["warnings"]
    assert warning.startswith("Whether a default storage class exists could not be checked: ")


@pytest.mark.parametrize("index", range(len(ALL)), ids=[f"{right.verb}-{right.resource}" for right in ALL])
def test_each_right_that_is_taken_away_is_named(
    control_plane: ControlPlane, admin: ApiClient, namespace: str, index: int
) -> None:
    wanted = needed(namespace)
    lost = wanted.pop(index)
    kubeconfig = user_with(control_plane, admin, namespace, rules_for(wanted))
    with pytest.raises(CollectionError) as error:
        preflight.run(Task(parameters(kubeconfig, namespace)))
    group = f" ({lost.group})" if lost.group else ""
    assert (
        f"\n{lost.verb} {lost.resource}{group} in namespace {namespace}: {lost.why}\n" in error.value.message
    )
    assert error.value.data["missing_rights"] == [lost.as_result()]


def test_creating_the_namespace_is_a_right_on_the_whole_cluster(
    control_plane: ControlPlane, admin: ApiClient, namespace: str
) -> None:
    absent = f"absent-{secrets.token_hex(4)}"
    rules = rules_for(right._replace(name="") for right in ALL)
    kubeconfig = user_with(control_plane, admin, "", rules)
    with pytest.raises(CollectionError) as error:
        preflight.run(Task(parameters(kubeconfig, absent)))
    assert [right["verb"] for right in error.value.data["missing_rights"]] == ["create"]
    assert "\ncreate namespaces in the whole cluster: " in error.value.message
    creating = {"verbs": ["create"], "apiGroups": [""], "resources": ["namespaces"]}
    kubeconfig = user_with(control_plane, admin, "", [*rules, creating])
    assert preflight.run(Task(parameters(kubeconfig, absent)))["namespace_exists"] is False


def test_who_has_rights_in_the_namespace_only_uses_one_that_exists(
    control_plane: ControlPlane, admin: ApiClient, namespace: str
) -> None:
    wanted = permissions.needed(
        namespace, manage_namespace=False, namespace_exists=True, own_credentials=False, port_forward=False
    )
    CoreV1Api(admin).create_namespaced_secret(namespace, {"metadata": {"name": "mine"}})
    kubeconfig = user_with(control_plane, admin, namespace, rules_for(wanted))
    options = {"manage_namespace": False, "existing_secret": "mine", "task_store_url": "https://eden"}
    assert preflight.run(Task(parameters(kubeconfig, namespace, **options)))["namespace_exists"] is True


def test_rights_on_the_secrets_of_the_experiment_are_enough(
    control_plane: ControlPlane, admin: ApiClient, namespace: str
) -> None:
    wanted = needed(namespace)
    rules = rules_for(right for right in wanted if (right.resource, right.verb) != ("secrets", "get"))
    named = {
        "verbs": ["get"],
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": ["eden-credentials"],
    }
    kubeconfig = user_with(control_plane, admin, namespace, [*rules, named])
    assert preflight.run(Task(parameters(kubeconfig, namespace)))["namespace_exists"] is True
    with pytest.raises(CollectionError, match="get secrets in namespace"):
        preflight.run(Task(parameters(kubeconfig, namespace, name="other")))


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
                        "msg": "{{ __eden_found.experiment_id_source }} {{ __eden_inputs.config_text }}"
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
    assert '"msg": "minted evaluation_schema:\\n  score: real\\n' in printed


def test_the_role_stops_at_wrong_inputs_before_it_looks_at_the_cluster(
    control_plane: ControlPlane, play: t.Callable[..., tuple[int, str]]
) -> None:
    user = f"user-{secrets.token_hex(4)}"
    kubeconfig = str(control_plane.kubeconfig_for(user, ("system:masters",)))
    replicas = {"eden_replica": {"web_ui": 1}}
    status, printed = play(eden_kubeconfig=kubeconfig, eden_storage_sizes={"postgres": "10G"}, **replicas)
    assert status == 2
    assert "2 inputs of eden break a rule; nothing was written." in printed
    assert (
        "eden_storage_sizes.postgres: must be a size such as 10Gi (whole number and Mi, Gi or Ti)" in printed
    )
    assert "eden_replica: is not an input; did you mean eden_replicas?" in printed
    assert "Traceback" not in printed
    assert asked(control_plane, user) == []
    play(eden_kubeconfig=kubeconfig)
    assert ("get", "namespaces") in asked(control_plane, user)


def test_the_role_stops_where_the_cluster_is_not_ready(play: t.Callable[..., tuple[int, str]]) -> None:
    status, printed = play(eden_existing_secret="mine")
    assert status == 2
    assert "which eden_existing_secret names. Create it" in printed
    assert "Traceback" not in printed


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
    assert json.loads(done.stdout)["namespace_exists"] is True
