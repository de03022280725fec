# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import typing as t
from contextlib import contextmanager

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import preflight
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._eden.ids import EXPERIMENT_ID
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
    MissingError,
    UnreachableError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import PATIENCE
from ansible_collections.eden.reference.plugins.module_utils._module import Task

STORED = "exp_01jabcdefghjkmnpqrstvwxyz0"
OTHER = "exp_01jabcdefghjkmnpqrstvwxyz1"
COMMIT = "666b95f001acc6e19682f7e1732e4d8c14b16cb9"
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
CLAIMS = ["data-eden-postgres-0", "eden-blob"]

Object = dict[str, t.Any]


# Of an object that we applied, all of whose fields somebody else has set since.
APPLIED = [{"manager": "eden.reference", "operation": "Apply", "fieldsV1": {}}]


def configmap(**data: str) -> Object:
    return {"metadata": {"labels": {"app.kubernetes.io/managed-by": "eden.reference"}}, "data": data}


def claim(experiment_id: str = "", **labels: str) -> Object:
    return {
        "metadata": {
            "labels": {**({"eden.reference/experiment-id": experiment_id} if experiment_id else {}), **labels}
        }
    }


def storage_class(name: str, annotation: str = "") -> Object:
    return {"metadata": {"name": name, "annotations": {annotation: "true"} if annotation else None}}


class FakeCluster:
    """A cluster of dicts. What is in ``refused`` is answered with 403."""

    address = "https://cluster"

    def __init__(self, objects: dict[tuple[str, str], Object] | None = None) -> None:
        self.objects = {("Namespace", "lab"): {"metadata": {}}, **(objects or {})}
        self.storage_classes = [storage_class("standard", "storageclass.kubernetes.io/is-default-class")]
        self.rules = [EVERYTHING]
        self.allowed = {("create", "namespaces")}
        self.refused: set[tuple[str, str]] = set()
        self.failing: set[tuple[str, str]] = set()
        self.git_version = "v1.31.2"
        self.patience = 5.0
        self.requests: list[str] = []

    def version(self, timeout: float) -> Object:
        assert timeout < self.patience == preflight.FIRST_PATIENCE
        return {"gitVersion": self.git_version}

    def read(self, kind: str, namespace: str, name: str) -> Object | None:
        assert self.patience == PATIENCE
        assert namespace == ("" if kind == "Namespace" else "lab")
        self._refuse("read", kind, name)
        return self.objects.get((kind, name))

    def list(self, kind: str, namespace: str = "") -> list[Object]:
        self._refuse("list", kind, "")
        if kind == "StorageClass":
            return self.storage_classes
        assert namespace == "lab"
        found = {name: live for (of, name), live in self.objects.items() if of == kind}
        return [{**live, "metadata": {**live["metadata"], "name": name}} for name, live in found.items()]

    def create(self, definition: Object) -> Object:
        kind = definition["kind"]
        assert kind in ("SelfSubjectRulesReview", "SelfSubjectAccessReview"), "only reviews may be created"
        self._refuse("create", kind, "")
        if kind == "SelfSubjectRulesReview":
            assert definition["spec"] == {"namespace": "lab"}
            return {"status": {"resourceRules": self.rules}}
        attributes = definition["spec"]["resourceAttributes"]
        return {"status": {"allowed": (attributes["verb"], attributes["resource"]) in self.allowed}}

    def _refuse(self, action: str, kind: str, name: str) -> None:
        self.requests.append(f"{action} {kind} {name}".strip())
        if (kind, name) in self.refused:
            raise ClusterError(action, kind, 403, "Forbidden")
        if (kind, name) in self.failing:
            raise ClusterError(action, kind, 500, "Internal")


def parameters(**changes: t.Any) -> dict[str, t.Any]:
    return {
        "kubeconfig": None,
        "context": None,
        "namespace": "lab",
        "name": "eden",
        "manage_namespace": True,
        "experiment_id": "",
        "experiment_configmap": "eden-experiment",
        "seed_configmap": "eden-seed",
        "claims": CLAIMS,
        "storage_class": "",
        "existing_secret": "",
        "credentials_secret": "",
        "identity_secrets": [],
        "credential_keys": [],
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
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture(autouse=True)
def connection(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connected(_options: t.Any, patience: float) -> t.Iterator[FakeCluster]:
        cluster.patience = patience
        yield cluster

    monkeypatch.setattr(preflight, "connected", connected)


def run(check_mode: bool = False, **changes: t.Any) -> dict[str, t.Any]:
    return preflight.run(Task(parameters(**changes), check_mode))


def refusal(kind: type[CollectionError] = CollectionError, **changes: t.Any) -> str:
    with pytest.raises(kind) as error:
        run(**changes)
    return error.value.message


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_empty_cluster(cluster: FakeCluster, check_mode: bool) -> None:
    del cluster.objects[("Namespace", "lab")]
    result = run(check_mode)
    assert EXPERIMENT_ID.match(result.pop("experiment_id"))
    assert result == {
        "changed": False,
        "namespace_exists": False,
        "experiment_id_source": "minted",
        "seed_commit": None,
        "unbound_claims": CLAIMS,
        "server_version": "v1.31.2",
        "warnings": [],
    }


def test_a_full_cluster(cluster: FakeCluster) -> None:
    cluster.objects |= {
        ("ConfigMap", "eden-experiment"): configmap(experiment_id=STORED),
        ("ConfigMap", "eden-seed"): configmap(commit=COMMIT),
        **{("PersistentVolumeClaim", name): claim(STORED) for name in CLAIMS},
    }
    assert run() == {
        "changed": False,
        "namespace_exists": True,
        "experiment_id": STORED,
        "experiment_id_source": "stored",
        "seed_commit": COMMIT,
        "unbound_claims": CLAIMS,
        "server_version": "v1.31.2",
        "warnings": [],
    }


@pytest.mark.parametrize("version", ["v1.27.0", "v1.28.3-gke.1200", "v1.36.3+k3s1", "v2.0.0"])
def test_versions_that_are_new_enough(cluster: FakeCluster, version: str) -> None:
    cluster.git_version = version
    assert run()["server_version"] == version


@pytest.mark.parametrize("version", ["v1.26.15", "v1.9.0", "v0.20.1"])
def test_versions_that_are_too_old(cluster: FakeCluster, version: str) -> None:
    cluster.git_version = version
    assert refusal() == (
        f"The API server https://cluster is Kubernetes {version}; 1.27 or newer is needed. "
        "Upgrade the cluster, or choose another with eden_kubeconfig and eden_context."
    )
    assert cluster.requests == []


def test_a_cluster_that_does_not_answer(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(_timeout: float) -> Object:
        raise UnreachableError("read", "the version", 0, "no answer")

    monkeypatch.setattr(cluster, "version", silent)
    assert refusal(UnreachableError).startswith("Could not read the version: no answer")
    assert cluster.requests == []


def test_a_request_that_fails_for_another_reason_is_an_error(cluster: FakeCluster) -> None:
    cluster.failing = {("ConfigMap", "eden-seed")}
    assert "500" in refusal(ClusterError)


# Rights


def without(verb: str, group: str, resource: str) -> list[dict[str, t.Any]]:
    """Rules with every right that is needed but one."""
    needed = preflight.permissions.needed("lab", manage_namespace=True, namespace_exists=True)
    return [
        {"verbs": [right.verb], "apiGroups": [right.group], "resources": [right.resource]}
        for right in needed
        if (right.verb, right.group, right.resource) != (verb, group, resource)
    ]


ALL_RIGHTS = preflight.permissions.needed("lab", manage_namespace=True, namespace_exists=True)


@pytest.mark.parametrize("right", ALL_RIGHTS, ids=lambda right: f"{right.verb}-{right.resource}")
def test_each_missing_right_is_named(cluster: FakeCluster, right: preflight.permissions.Right) -> None:
    cluster.rules = without(right.verb, right.group, right.resource)
    with pytest.raises(CollectionError) as error:
        run()
    group = f" ({right.group})" if right.group else ""
    assert f"\n{right.verb} {right.resource}{group} in namespace lab: {right.why}\n" in error.value.message
    assert error.value.data["missing_rights"] == [right.as_result()]


def test_all_missing_rights_are_named_at_once(cluster: FakeCluster) -> None:
    cluster.rules = []
    with pytest.raises(CollectionError) as error:
        run()
    assert len(error.value.data["missing_rights"]) == len(ALL_RIGHTS)
    assert "get, create, patch secrets in namespace lab: " in error.value.message
    assert error.value.message.startswith(
        "The user of the kubeconfig may not do all that is needed on https://cluster. Missing are:\n"
    )
    assert error.value.message.endswith(
        "\nNothing was written. Ask for a Role with these rules, or use a kubeconfig that has them."
    )


def test_creating_a_namespace_is_a_right_of_its_own(cluster: FakeCluster) -> None:
    del cluster.objects[("Namespace", "lab")]
    assert run()["namespace_exists"] is False
    cluster.allowed = set()
    assert "\ncreate namespaces in the whole cluster: the namespace is created" in refusal()


def test_a_refused_read_shows_as_the_missing_right(cluster: FakeCluster) -> None:
    cluster.rules = without("get", "", "configmaps")
    cluster.refused = {("ConfigMap", "eden-experiment"), ("ConfigMap", "eden-seed")}
    assert "get configmaps in namespace lab" in refusal()


def test_who_may_not_see_the_namespace_may_use_one_that_exists(cluster: FakeCluster) -> None:
    cluster.rules = [rule for rule in without("", "", "") if rule["resources"] != ["namespaces"]]
    cluster.refused = {("Namespace", "lab")}
    assert run(manage_namespace=False)["namespace_exists"] is True
    assert "get, patch namespaces in namespace lab" in refusal()


def test_a_task_store_url_saves_the_right_to_forward_ports(cluster: FakeCluster) -> None:
    cluster.rules = [rule for rule in without("", "", "") if rule["resources"] != ["pods/portforward"]]
    assert run(task_store_url="https://eden")["namespace_exists"] is True
    assert "get, create pods/portforward in namespace lab" in refusal()


def test_a_secret_of_the_user_saves_the_right_to_change_secrets(cluster: FakeCluster) -> None:
    cluster.rules = without("update", "", "secrets")
    cluster.objects[("Secret", "mine")] = {}
    assert run(existing_secret="mine")["namespace_exists"] is True
    assert "update secrets in namespace lab" in refusal()


# Namespace


def test_a_namespace_that_is_not_there_and_not_ours(cluster: FakeCluster) -> None:
    del cluster.objects[("Namespace", "lab")]
    assert refusal(MissingError, manage_namespace=False) == (
        "There is no Namespace lab, and eden_manage_namespace is false. "
        "Create it (kubectl create namespace lab), or set eden_manage_namespace to true."
    )


def test_a_namespace_that_is_being_deleted(cluster: FakeCluster) -> None:
    cluster.objects[("Namespace", "lab")] = {
        "metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"},
        "status": {
            "phase": "Terminating",
            "conditions": [
                {
                    "type": "NamespaceContentRemaining",
                    "status": "True",
                    "message": "Some resources are remaining",
                },
                {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "All deleted"},
            ],
        },
    }
    assert refusal() == (
        "Namespace lab is being deleted since 2026-01-02T03:04:05Z (Some resources are remaining). "
        "Nothing can be created in it. Wait until it is gone (kubectl wait --for=delete namespace/lab), "
        "or choose another with eden_namespace."
    )


# Storage


@pytest.mark.parametrize(
    "annotation",
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"],
)
def test_a_default_storage_class(cluster: FakeCluster, annotation: str) -> None:
    cluster.storage_classes = [storage_class("slow"), storage_class("fast", annotation)]
    assert run()["warnings"] == []


def test_a_storage_class_that_is_there(cluster: FakeCluster) -> None:
    cluster.storage_classes = [storage_class("slow")]
    assert run(storage_class="slow")["warnings"] == []


@pytest.mark.parametrize(
    ("names", "wanted", "message"),
    [
        (
            ["b", "a"],
            "fast",
            "The cluster has no StorageClass fast, which eden_storage_class names: it has a, b. "
            "Name one of these, or none for the cluster's default.",
        ),
        (
            [],
            "fast",
            "The cluster has no StorageClass fast, which eden_storage_class names: it has none. Install one.",
        ),
        (
            ["b", "a"],
            "",
            "The cluster has no default StorageClass, and eden_storage_class is empty: it has a, b. "
            "Set eden_storage_class to one of a, b.",
        ),
        (
            [],
            "",
            "The cluster has no default StorageClass, and eden_storage_class is empty: it has none. "
            "Install one.",
        ),
    ],
)
def test_a_storage_class_that_is_not_there(
    cluster: FakeCluster, names: list[str], wanted: str, message: str
) -> None:
    cluster.storage_classes = [storage_class(name) for name in names]
    assert refusal(MissingError, storage_class=wanted) == message


@pytest.mark.parametrize("wanted", ["", "fast"])
def test_volumes_that_are_there_need_no_storage_class(cluster: FakeCluster, wanted: str) -> None:
    cluster.storage_classes = []
    cluster.objects |= {("PersistentVolumeClaim", name): claim(STORED) for name in CLAIMS}
    assert run(storage_class=wanted)["experiment_id"] == STORED
    del cluster.objects[("PersistentVolumeClaim", CLAIMS[1])]
    assert "The cluster has no " in refusal(MissingError, storage_class=wanted)


@pytest.mark.parametrize(
    ("wanted", "which"), [("", "a default storage class"), ("fast", "the storage class fast")]
)
def test_who_may_not_see_storage_classes_is_warned(cluster: FakeCluster, wanted: str, which: str) -> None:
    cluster.refused = {("StorageClass", "")}
    [warning] = run(storage_class=wanted)["warnings"]
    assert warning.startswith(f"Whether {which} exists could not be checked: ")


# Secrets


def test_secrets_of_the_user_that_are_there(cluster: FakeCluster) -> None:
    cluster.objects |= {("Secret", "mine"): {}, ("Secret", "pull"): {}}
    assert run(existing_secret="mine", image_pull_secrets=["pull"])["changed"] is False


@pytest.mark.parametrize("namespace_exists", [True, False])
def test_an_existing_secret_that_is_not_there(cluster: FakeCluster, namespace_exists: bool) -> None:
    if not namespace_exists:
        del cluster.objects[("Namespace", "lab")]
    assert refusal(MissingError, existing_secret="mine") == (
        "There is no Secret lab/mine, which eden_existing_secret names. "
        "Create it, or leave eden_existing_secret empty to have one made."
    )


def test_the_existing_secret_must_have_every_key(cluster: FakeCluster) -> None:
    cluster.objects[("Secret", "mine")] = {"data": {"B": "Yg==", "C": ""}}
    message = refusal(CredentialsError, existing_secret="mine", credential_keys=["A", "B", "C"])
    assert message == (
        "Secret lab/mine lacks A, C. Add them, or leave eden_existing_secret empty to have a Secret made."
    )
    assert run(existing_secret="mine", credential_keys=["B"])["changed"] is False


def test_the_existing_secret_must_have_values_of_use(cluster: FakeCluster) -> None:
    data = {"A": base64.b64encode(b"hunter2\n").decode(), "B": base64.b64encode(b"\xff").decode()}
    cluster.objects[("Secret", "mine")] = {"data": data}
    message = refusal(CredentialsError, existing_secret="mine", credential_keys=["A", "B"])
    assert message.startswith(
        "Secret lab/mine has values that no service can use: "
        "A begins or ends with a line break or a blank, B is not UTF-8. "
    )
    assert "hunter2" not in message


def test_pull_secrets_that_are_not_there_are_all_named(cluster: FakeCluster) -> None:
    cluster.objects |= {("Secret", "a"): {}}
    message = refusal(image_pull_secrets=["a", "b", "c", "b"])
    assert [line.split(",")[0] for line in message.splitlines()] == [
        "2 things keep this experiment from the cluster; nothing was written.",
        "There is no Secret lab/b",
        "There is no Secret lab/c",
    ]


def test_pull_secrets_are_not_looked_for_in_a_namespace_to_be_made(cluster: FakeCluster) -> None:
    del cluster.objects[("Namespace", "lab")]
    assert run(image_pull_secrets=["b"])["namespace_exists"] is False


# Owner


@pytest.mark.parametrize(
    ("kind", "name"),
    [("ConfigMap", "eden-experiment"), ("ConfigMap", "eden-seed"), ("PersistentVolumeClaim", "eden-blob")],
)
def test_objects_of_another_manager(cluster: FakeCluster, kind: str, name: str) -> None:
    live = configmap(experiment_id=STORED, commit=COMMIT)
    live["metadata"]["labels"] = {
        "app.kubernetes.io/managed-by": "Helm",
        "eden.reference/experiment-id": STORED,
    }
    cluster.objects[(kind, name)] = live
    assert refusal() == (
        "Objects with the names of this experiment belong to somebody else: "
        f"{kind} lab/{name} (managed by Helm). Choose another eden_name or eden_namespace, or remove them."
    )


OBJECTS = [
    {"kind": "StatefulSet", "name": "eden-postgres"},
    {"kind": "Deployment", "name": "eden-task-store-server"},
    {"kind": "Service", "name": "eden-forgejo"},
]
OURS = {"app.kubernetes.io/managed-by": "eden.reference"}


@pytest.mark.parametrize("row", OBJECTS, ids=[row["kind"] for row in OBJECTS])
@pytest.mark.parametrize(
    ("labels", "owner"),
    [
        ({"app.kubernetes.io/managed-by": "Helm"}, "managed by Helm"),
        ({"app": "postgres"}, "not made by eden.reference"),
        (None, "not made by eden.reference"),
    ],
)
def test_objects_that_somebody_else_made(
    cluster: FakeCluster, row: dict[str, str], labels: dict[str, str] | None, owner: str
) -> None:
    cluster.objects[row["kind"], row["name"]] = {"metadata": {"labels": labels}}
    assert refusal(objects=OBJECTS).startswith(
        "Objects with the names of this experiment belong to somebody else: "
        f"{row['kind']} lab/{row['name']} ({owner}). Choose another eden_name"
    )


@pytest.mark.parametrize(
    "metadata", [{"labels": OURS}, {"labels": None, "managedFields": [{"manager": "eden.reference"}]}]
)
def test_our_own_objects_are_known_without_their_label(
    cluster: FakeCluster, metadata: dict[str, t.Any]
) -> None:
    cluster.objects |= {(row["kind"], row["name"]): {"metadata": metadata} for row in OBJECTS}
    # Others in the namespace do not matter.
    cluster.objects["StatefulSet", "theirs"] = {"metadata": {}}
    assert run(objects=OBJECTS)["changed"] is False


def test_a_configmap_that_somebody_else_made(cluster: FakeCluster) -> None:
    cluster.objects["ConfigMap", "eden-experiment"] = {"metadata": {}, "data": {"experiment_id": STORED}}
    assert "ConfigMap lab/eden-experiment (not made by eden.reference)" in refusal()


# Volumes that exist

VOLUMES = [
    {"workload": "eden-postgres", "claim": "data", "size": "10Gi", "variable": "eden_storage_sizes.postgres"},
    {"workload": "", "claim": "eden-blob", "size": "10Gi", "variable": "eden_storage_sizes.blob"},
]


def volume_spec(size: str, storage_class: str | None = None) -> Object:
    named = {"storageClassName": storage_class} if storage_class else {}
    return {"resources": {"requests": {"storage": size}}, **named}


@pytest.fixture
def kept(cluster: FakeCluster) -> t.Callable[[Object, Object], None]:
    """Puts volumes with these specs into the cluster: of Postgres, and of the blobs."""

    def put(postgres: Object, blob: Object) -> None:
        template = {"metadata": {"name": "data"}, "spec": postgres}
        cluster.objects["StatefulSet", "eden-postgres"] = {
            "metadata": {"labels": OURS},
            "spec": {"volumeClaimTemplates": [template]},
        }
        cluster.objects["PersistentVolumeClaim", "eden-blob"] = {**claim(STORED, **OURS), "spec": blob}

    return put


@pytest.mark.parametrize(
    ("postgres", "blob", "storage_class"),
    [
        (volume_spec("10Gi"), volume_spec("10240Mi", "standard"), ""),
        (volume_spec("10Gi", "standard"), volume_spec("10Gi", "standard"), "standard"),
    ],
)
def test_volumes_that_stay_as_they_are(
    kept: t.Callable[[Object, Object], None], postgres: Object, blob: Object, storage_class: str
) -> None:
    kept(postgres, blob)
    assert run(objects=OBJECTS, volumes=VOLUMES, storage_class=storage_class)["changed"] is False


@pytest.mark.parametrize(
    ("postgres", "blob", "storage_class", "words"),
    [
        (
            volume_spec("20Gi"),
            volume_spec("10Gi"),
            "",
            "eden_storage_sizes.postgres is 10Gi, but the volume data of StatefulSet lab/eden-postgres was "
            "made with 20Gi, and a volume that exists is not changed. "
            "Set eden_storage_sizes.postgres to 20Gi, or make a new experiment with another eden_name.",
        ),
        (
            volume_spec("10Gi"),
            volume_spec("5Gi"),
            "",
            "eden_storage_sizes.blob is 10Gi, but PersistentVolumeClaim lab/eden-blob was made with 5Gi, ",
        ),
        (
            volume_spec("10Gi", "fast"),
            volume_spec("10Gi", "fast"),
            "standard",
            "eden_storage_class is standard, but the volume data of StatefulSet lab/eden-postgres was made "
            "with fast, ",
        ),
        (
            volume_spec("10Gi"),
            volume_spec("10Gi", "standard"),
            "standard",
            "was made with none, and a volume that exists is not changed. Leave eden_storage_class empty, ",
        ),
        (
            volume_spec("10Gi", "fast"),
            volume_spec("10Gi", "fast"),
            "",
            "eden_storage_class is empty, but the",
        ),
    ],
)
def test_volumes_that_would_change(
    kept: t.Callable[[Object, Object], None], postgres: Object, blob: Object, storage_class: str, words: str
) -> None:
    kept(postgres, blob)
    message = refusal(InputError, objects=OBJECTS, volumes=VOLUMES, storage_class=storage_class)
    assert words in message
    assert len(message.splitlines()) == 1


def test_a_template_of_another_name_is_not_judged(kept: t.Callable[[Object, Object], None]) -> None:
    kept(volume_spec("1Gi"), volume_spec("10Gi"))
    other = [{**VOLUMES[0], "claim": "other"}]
    assert run(objects=OBJECTS, volumes=other)["changed"] is False


# Experiment id


def test_a_given_id_in_a_new_place() -> None:
    result = run(experiment_id=OTHER)
    assert (result["experiment_id"], result["experiment_id_source"]) == (OTHER, "given")


@pytest.mark.parametrize("given", ["", STORED])
@pytest.mark.parametrize(
    ("objects", "source"),
    [
        ({("ConfigMap", "eden-experiment"): configmap(experiment_id=STORED)}, "stored"),
        ({("PersistentVolumeClaim", "eden-blob"): claim(STORED)}, "claim"),
        (
            {
                ("ConfigMap", "eden-experiment"): configmap(experiment_id=STORED),
                ("PersistentVolumeClaim", "eden-blob"): claim(),
            },
            "stored",
        ),
    ],
)
def test_the_id_of_the_cluster_counts(
    cluster: FakeCluster, objects: dict[tuple[str, str], Object], source: str, given: str
) -> None:
    cluster.objects |= objects
    result = run(experiment_id=given)
    assert (result["experiment_id"], result["experiment_id_source"]) == (STORED, source)


@pytest.mark.parametrize(
    ("key", "live", "holder"),
    [
        (("ConfigMap", "eden-experiment"), configmap(experiment_id=STORED), "ConfigMap lab/eden-experiment"),
        (("PersistentVolumeClaim", "eden-blob"), claim(STORED), "PersistentVolumeClaim lab/eden-blob"),
    ],
)
def test_a_given_id_that_differs(
    cluster: FakeCluster, key: tuple[str, str], live: Object, holder: str
) -> None:
    cluster.objects[key] = live
    assert refusal(InputError, experiment_id=OTHER) == (
        f"eden_experiment_id is {OTHER}, but {holder} says {STORED}, and the database is bound to that. "
        f"Leave eden_experiment_id out or set it to {STORED}; a new experiment needs another eden_name."
    )


@pytest.mark.parametrize("stored", ["", "exp-1", STORED.upper(), STORED + "\n"])
def test_a_stored_id_that_is_none(cluster: FakeCluster, stored: str) -> None:
    cluster.objects[("ConfigMap", "eden-experiment")] = configmap(experiment_id=stored)
    assert refusal(InputError, experiment_id=STORED).startswith(
        f"ConfigMap lab/eden-experiment holds no experiment id but {stored!r}."
    )


def test_volumes_of_two_experiments(cluster: FakeCluster) -> None:
    cluster.objects |= {
        ("PersistentVolumeClaim", CLAIMS[0]): claim(STORED),
        ("PersistentVolumeClaim", CLAIMS[1]): claim(OTHER),
    }
    assert refusal(InputError) == (
        f"PersistentVolumeClaim lab/{CLAIMS[0]} says that the experiment is {STORED}, "
        f"but volumes of another are there: PersistentVolumeClaim lab/{CLAIMS[1]} ({OTHER}). "
        "Choose another eden_name, or delete the volumes that are left over."
    )


def test_volumes_of_another_experiment_than_the_stored_one(cluster: FakeCluster) -> None:
    cluster.objects |= {
        ("ConfigMap", "eden-experiment"): configmap(experiment_id=STORED),
        ("PersistentVolumeClaim", "eden-blob"): claim(OTHER),
    }
    assert f"PersistentVolumeClaim lab/eden-blob ({OTHER})" in refusal(InputError)


def test_a_label_that_somebody_else_has_changed_says_nothing(cluster: FakeCluster) -> None:
    changed = claim(OTHER)
    changed["metadata"]["managedFields"] = APPLIED
    cluster.objects |= {
        ("ConfigMap", "eden-experiment"): configmap(experiment_id=STORED),
        ("PersistentVolumeClaim", "eden-blob"): changed,
    }
    assert run()["experiment_id"] == STORED
    del cluster.objects["ConfigMap", "eden-experiment"]
    assert refusal(InputError).startswith("Whose data is on ")


def test_volumes_whose_experiment_is_not_known_take_a_given_id_only(cluster: FakeCluster) -> None:
    cluster.objects[("PersistentVolumeClaim", "eden-blob")] = claim()
    assert refusal(InputError).startswith(
        "Whose data is on PersistentVolumeClaim lab/eden-blob is not known: "
    )
    assert run(experiment_id=OTHER)["experiment_id_source"] == "given"


def test_a_claim_that_goes_with_its_pod(cluster: FakeCluster) -> None:
    going = claim(STORED)
    going["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
    cluster.objects[("PersistentVolumeClaim", "eden-blob")] = going
    message = refusal()
    assert message.startswith(
        "PersistentVolumeClaim lab/eden-blob is being deleted since 2026-11-24T10:00:00Z, and "
    )
    assert "delete the pods that use it, and run again" in message


# Seed commit


def test_claims_without_a_volume_are_told(cluster: FakeCluster) -> None:
    bound, pending = CLAIMS
    for name, phase in ((bound, "Bound"), (pending, "Pending")):
        cluster.objects["PersistentVolumeClaim", name] = {**claim(STORED), "status": {"phase": phase}}
    assert run()["unbound_claims"] == [pending]


def test_a_seed_commit_that_is_none(cluster: FakeCluster) -> None:
    cluster.objects[("ConfigMap", "eden-seed")] = configmap(commit="main")
    assert refusal(InputError) == (
        "ConfigMap lab/eden-seed holds no commit id but 'main'. "
        "Delete it: the phase seed finds the commit again."
    )


TASK_STORE = {"kind": "Deployment", "name": "eden-task-store-server"}


def task_store(argument: str, phase: str = "Bound") -> dict[tuple[str, str], Object]:
    """The task store with that argument, and the claims in that phase."""
    ours = {"labels": {"app.kubernetes.io/managed-by": "eden.reference"}}
    pod = {"spec": {"containers": [{"args": ["python", argument]}]}}
    return {
        ("Deployment", TASK_STORE["name"]): {"metadata": ours, "spec": {"template": pod}},
        **{("PersistentVolumeClaim", name): {**claim(STORED), "status": {"phase": phase}} for name in CLAIMS},
    }


@pytest.mark.parametrize(
    ("argument", "phase", "expected"),
    [
        (f"--base-commit-sha={COMMIT}", "Bound", COMMIT),
        (f"--base-commit-sha={COMMIT}", "Pending", None),
        ("--base-commit-sha=main", "Bound", None),
        ("--port=8080", "Bound", None),
    ],
)
def test_where_its_configmap_is_gone_the_task_store_tells_the_seed_commit(
    cluster: FakeCluster, argument: str, phase: str, expected: str | None
) -> None:
    cluster.objects |= task_store(argument, phase)
    assert run(objects=[TASK_STORE])["seed_commit"] == expected


@pytest.mark.parametrize("commit", ["main", "", "0" * 40])
def test_where_its_configmap_was_changed_the_task_store_tells_the_seed_commit(
    cluster: FakeCluster, commit: str
) -> None:
    changed = configmap(commit=commit)
    changed["metadata"]["managedFields"] = APPLIED
    cluster.objects["ConfigMap", "eden-seed"] = changed
    cluster.objects |= task_store(f"--base-commit-sha={COMMIT}")
    assert run(objects=[TASK_STORE])["seed_commit"] == COMMIT


def test_a_restored_configmap_counts_where_no_task_store_tells_otherwise(cluster: FakeCluster) -> None:
    restored = configmap(commit=COMMIT)
    restored["metadata"]["managedFields"] = APPLIED
    cluster.objects["ConfigMap", "eden-seed"] = restored
    assert run()["seed_commit"] == COMMIT


# Together


def test_several_problems_are_told_at_once(cluster: FakeCluster) -> None:
    cluster.storage_classes = []
    cluster.objects[("ConfigMap", "eden-experiment")] = configmap(experiment_id=STORED)
    message = refusal(existing_secret="mine", experiment_id=OTHER)
    assert len(message.splitlines()) == 4
    assert message.startswith("3 things keep this experiment from the cluster; nothing was written.\n")


def test_everything_is_read_once(cluster: FakeCluster) -> None:
    run(existing_secret="", image_pull_secrets=[])
    assert sorted(cluster.requests) == [
        "create SelfSubjectRulesReview",
        "list StorageClass",
        "read ConfigMap eden-experiment",
        "read ConfigMap eden-seed",
        "read Namespace lab",
        "read PersistentVolumeClaim data-eden-postgres-0",
        "read PersistentVolumeClaim eden-blob",
    ]
