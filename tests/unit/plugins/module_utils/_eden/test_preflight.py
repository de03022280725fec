# SPDX-License-Identifier: GPL-3.0-or-later
"""What the check before the first write finds in a cluster."""

from __future__ import annotations

import base64
import os
import typing as t
from contextlib import contextmanager
from datetime import datetime

import pytest
from preflight_options import CLAIMS, DIGEST_KEY, IDENTITIES, ROLE, options

from ansible_collections.eden.reference.plugins.module_utils._collection import VERSION
from ansible_collections.eden.reference.plugins.module_utils._eden import (
    credentials,
    live_experiment,
    permissions,
    preflight,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
    LockedError,
    UnreachableError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import RETRY_BUDGET
from ansible_collections.eden.reference.plugins.module_utils._kube.lease import holder_of
from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import classify
from ansible_collections.eden.reference.plugins.module_utils._kube.storage import DEFAULT_CLASS_ANNOTATIONS
from ansible_collections.eden.reference.plugins.module_utils._module import Task

STORED = "exp_01jabcdefghjkmnpqrstvwxyz0"
OTHER = "exp_01jabcdefghjkmnpqrstvwxyz1"
COMMIT = "666b95f001acc6e19682f7e1732e4d8c14b16cb9"
EVERYTHING = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
OURS = {"app.kubernetes.io/managed-by": "eden.reference"}
# Of an object that we applied, all of whose fields others have set since.
APPLIED = [{"manager": "eden.reference", "operation": "Apply", "fieldsV1": {}}]
LATER = "2999-11-28T12:00:00.000000Z"
EXPERIMENT = ("ConfigMap", "eden-experiment")
SEED = ("ConfigMap", "eden-seed")
POSTGRES_CLAIM, BLOB = (("PersistentVolumeClaim", name) for name in CLAIMS)

Object = dict[str, t.Any]
Objects = dict[tuple[str, str], Object]


def configmap(**data: str) -> Object:
    return {"metadata": {"labels": OURS}, "data": data}


def claim(experiment_id: str = "", **labels: str) -> Object:
    known = {"eden.reference/experiment-id": experiment_id} if experiment_id else {}
    return {"metadata": {"labels": {**known, **labels}}}


def secret(**values: bytes) -> Object:
    data = {key: base64.b64encode(value).decode() for key, value in values.items()}
    return {"metadata": {"labels": OURS}, "data": data}


def storage_class(name: str, annotation: str = "") -> Object:
    return {"metadata": {"name": name, "annotations": {annotation: "true"} if annotation else None}}


class FakeCluster:
    """A cluster of dicts. What is in ``refused`` is answered with 403."""

    address = "https://cluster"

    def __init__(self) -> None:
        self.objects: Objects = {("Namespace", "lab"): {"metadata": {"labels": OURS}}}
        self.storage_classes = [storage_class("standard", "storageclass.kubernetes.io/is-default-class")]
        self.rules = [EVERYTHING]
        self.allowed = {("create", "namespaces")}
        self.refused: set[tuple[str, str]] = set()
        self.failing: set[tuple[str, str]] = set()
        self.answers: dict[str, ClusterError] = {}
        self.git_version = "v1.31.2"
        self.retry_budget = 5.0
        self.requests: list[str] = []

    def version(self, timeout: float) -> Object:
        assert timeout < self.retry_budget == preflight.FIRST_RETRY_BUDGET
        return {"gitVersion": self.git_version}

    def read(self, kind: str, namespace: str, name: str) -> Object | None:
        assert self.retry_budget == RETRY_BUDGET
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

    def create(self, definition: Object, dry_run: bool = False) -> Object:
        kind = definition["kind"]
        assert dry_run or kind in ("SelfSubjectRulesReview", "SelfSubjectAccessReview")
        self._refuse("create", kind, "")
        if kind == "SelfSubjectRulesReview":
            assert definition["spec"] == {"namespace": "lab"}
            return {"status": {"resourceRules": self.rules}}
        if kind == "SelfSubjectAccessReview":
            attributes = definition["spec"]["resourceAttributes"]
            return {"status": {"allowed": (attributes["verb"], attributes["resource"]) in self.allowed}}
        if kind in self.answers:
            raise self.answers[kind]
        return definition

    def now(self) -> datetime:
        return datetime.fromisoformat(LATER)

    def _refuse(self, action: str, kind: str, name: str) -> None:
        self.requests.append(f"{action} {kind} {name}".strip())
        if (kind, name) in self.refused:
            raise ClusterError(action, kind, 403, "Forbidden")
        if (kind, name) in self.failing:
            raise ClusterError(action, kind, 500, "Internal")


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture(autouse=True)
def connection(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connected(_options: t.Any, retry_budget: float) -> t.Iterator[FakeCluster]:
        cluster.retry_budget = retry_budget
        yield cluster

    monkeypatch.setattr(preflight, "connected", connected)


def run(
    check_mode: bool = False, files: dict[str, dict[str, t.Any]] | None = None, **inputs: t.Any
) -> dict[str, t.Any]:
    return preflight.run(Task({**options("lab", **inputs), "files": files or {}}, check_mode))


def refusal(kind: type[CollectionError] = CollectionError, **inputs: t.Any) -> str:
    with pytest.raises(kind) as error:
        run(**inputs)
    return error.value.message


def test_everything_is_read_once(cluster: FakeCluster) -> None:
    run()
    single = [
        *(f"ConfigMap eden-{part}" for part in preflight.CONFIGMAPS),
        *(f"PersistentVolumeClaim {name}" for name in CLAIMS),
        *(f"Secret {name}" for name in ("eden-credentials", *IDENTITIES)),
        "Namespace lab",
        "Service eden-postgres",
        "Lease eden-lock",
        # Before anything else, and with the others.
        "Lease eden-lock",
    ]
    assert cluster.requests[0] == "read Lease eden-lock"
    assert sorted(cluster.requests) == sorted(
        [
            "create SelfSubjectRulesReview",
            "create Ingress",
            "list StorageClass",
            *(f"list {kind}" for kind in preflight.LISTED),
            *(f"read {name}" for name in single),
        ]
    )


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        *((version, True) for version in ("v1.27.0", "v1.28.3-gke.1200", "v1.36.3+k3s1", "v2.0.0")),
        *((version, False) for version in ("v1.26.15", "v1.9.0", "v0.20.1")),
    ],
)
def test_the_version_of_the_api_server(cluster: FakeCluster, version: str, accepted: bool) -> None:
    cluster.git_version = version
    if accepted:
        assert run()["changed"] is False
        return
    assert refusal() == (
        f"The API server https://cluster is Kubernetes {version}; 1.27 or newer is required. "
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
    cluster.failing = {SEED}
    assert "500" in refusal(ClusterError)


# Permissions


def needed(**inputs: t.Any) -> list[permissions.Permission]:
    experiment = preflight.Experiment.of(options("lab", **inputs))
    names = {"eden": ["lab"], "credentials": ["eden-credentials"], "identity": IDENTITIES}
    return permissions.needed(ROLE, "lab", names, experiment.inputs, namespace_exists=True)


def without(*resources: str) -> list[dict[str, t.Any]]:
    """Rules with every permission that is needed, except on these resources."""
    return [
        {"verbs": [item.verb], "apiGroups": [item.group], "resources": [item.resource]}
        for item in needed()
        if item.resource not in resources
    ]


def test_a_refused_read_shows_as_the_missing_permission(cluster: FakeCluster) -> None:
    cluster.rules = without("configmaps", "networkpolicies")
    cluster.refused = {EXPERIMENT, SEED, ("NetworkPolicy", "")}
    assert "get, create, patch configmaps in namespace lab" in refusal()


# Namespace


# Storage


@pytest.mark.parametrize("annotation", DEFAULT_CLASS_ANNOTATIONS)
def test_a_default_storage_class(cluster: FakeCluster, annotation: str) -> None:
    cluster.storage_classes = [storage_class("slow"), storage_class("fast", annotation)]
    assert run()["warnings"] == []


def test_volumes_that_exist_need_no_storage_class(cluster: FakeCluster) -> None:
    cluster.storage_classes = []
    assert "it has none. Install one." in refusal()
    cluster.objects |= {POSTGRES_CLAIM: claim(STORED), BLOB: {**claim(STORED), "spec": volume_spec("10Gi")}}
    assert run()["experiment_id"] == STORED


@pytest.mark.parametrize(
    ("wanted", "which"), [("", "a default storage class"), ("fast", "the storage class fast")]
)
def test_storage_classes_that_cannot_be_read(cluster: FakeCluster, wanted: str, which: str) -> None:
    cluster.refused = {("StorageClass", "")}
    [warning] = run(eden_storage_class=wanted)["warnings"]
    assert warning.startswith(f"Whether {which} exists could not be checked: ")


# Secrets

TOKEN, PASSWORD = b"the-admin-token", b"the database password"


def test_a_value_of_our_own_secret_that_was_damaged(cluster: FakeCluster) -> None:
    cluster.objects["Secret", "eden-credentials"] = secret(POSTGRES_PASSWORD=b"hunter2\n")
    message = refusal(CredentialsError)
    assert message.startswith("Secret lab/eden-credentials has values that their services cannot use: ")
    assert "Restore POSTGRES_PASSWORD from a backup, or remove it" in message
    assert "hunter2" not in message


def test_pull_secrets_that_do_not_exist_are_all_named(cluster: FakeCluster) -> None:
    cluster.objects["Secret", "a"] = {}
    message = refusal(eden_image_pull_secrets=["a", "b", "c", "b"])
    assert [line.split(",")[0] for line in message.splitlines()] == [
        "2 problems prevent the deployment; nothing was written.",
        "There is no Secret lab/b",
        "There is no Secret lab/c",
    ]
    # They cannot exist in a namespace that is yet to be made.
    del cluster.objects["Namespace", "lab"]
    assert run(eden_image_pull_secrets=["b"])["changed"] is False


# Lock


def held(holder: str) -> Object:
    """The Lease of a run that was renewed just now."""
    spec = {"holderIdentity": holder, "acquireTime": LATER, "renewTime": LATER}
    return {"metadata": {"labels": OURS, "resourceVersion": "7"}, "spec": spec}


def test_another_run_is_refused_and_only_a_warning_in_check_mode(cluster: FakeCluster) -> None:
    cluster.objects["Lease", "eden-lock"] = held("there/boot/22/200")
    assert "process 22 on there since 2999-11-28T12:00:00Z" in refusal(LockedError)
    assert cluster.requests == ["read Lease eden-lock"]
    (warning,) = run(check_mode=True)["warnings"]
    assert "process 22 on there" in warning


@pytest.mark.parametrize(("live", "version"), [(None, ""), (held(""), "7")])
def test_the_lock_is_passed_on(cluster: FakeCluster, live: Object | None, version: str) -> None:
    if live:
        cluster.objects["Lease", "eden-lock"] = live
    lock = preflight.run(Task(options("lab"), process=os.getpid()))["lock"]
    assert lock == {"name": "eden-lock", "holder": holder_of(os.getpid()), "version": version, "labels": OURS}


# Owners


@pytest.mark.parametrize("key", preflight.Experiment.of(options("lab")).objects(), ids="-".join)
def test_an_object_that_another_tool_made(cluster: FakeCluster, key: tuple[str, str]) -> None:
    cluster.objects[key] = {"metadata": {"managedFields": [{"manager": "velero"}]}}
    named = f"{key[0]} lab/{key[1]} (created by velero, not by eden.reference)" in refusal()
    # A claim may have been restored from a backup.
    assert named is (key[0] != "PersistentVolumeClaim")


def test_the_secret_of_the_user_is_not_ours(cluster: FakeCluster) -> None:
    cluster.objects["Secret", "mine"] = {
        **secret(EDEN_ADMIN_TOKEN=TOKEN, POSTGRES_PASSWORD=PASSWORD),
        "metadata": {},
    }
    assert run(eden_existing_secret="mine")["changed"] is False


# Kubernetes' own types


AFFINITY_FAULT = 'Deployment.apps "x" is invalid: spec.template.spec.affinity.podAffinity: Required value'


def of_worker(**worker: t.Any) -> dict[str, t.Any]:
    return {"eden_workers": {"executor_host": worker}}


STRICT_FAULT = 'strict decoding error: unknown field "spec.template.spec.tolerations[0].efect"'
LIMITS_FAULT = "spec.template.spec.containers[1].resources.requests: Invalid value: must be less"
EGRESS_FAULT = 'NetworkPolicy.networking.k8s.io "x" is invalid: spec.egress[0].ports[0].port: Invalid value'
POLICY_FAULT = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: the image must be signed"
POLICY_ON_TOLERATIONS = (
    "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: "
    "size(object.spec.template.spec.tolerations) == 0"
)


@pytest.mark.parametrize(
    ("inputs", "kind", "status", "said", "refused"),
    [
        ({"eden_affinity": {"podAffinity": {}}}, "Deployment", 422, AFFINITY_FAULT, "eden_affinity"),
        ({"eden_tolerations": [{"efect": "x"}]}, "Deployment", 400, STRICT_FAULT, "eden_tolerations"),
        (
            {"eden_postgres_resources": {"limits": {}}},
            "Deployment",
            422,
            LIMITS_FAULT,
            "eden_postgres_resources",
        ),
        ({"eden_worker_egress": [{"to": []}]}, "NetworkPolicy", 422, EGRESS_FAULT, "eden_worker_egress"),
        (
            of_worker(tolerations=[{}], node_selector={"a": "b"}),
            "Deployment",
            400,
            STRICT_FAULT,
            "tolerations",
        ),
        (of_worker(resources={"limits": {"cpu": 1}}), "Deployment", 422, LIMITS_FAULT, "resources"),
        (of_worker(egress=[{}]), "NetworkPolicy", 422, EGRESS_FAULT, "egress"),
        (of_worker(tolerations=[{}]), "Deployment", 422, POLICY_ON_TOLERATIONS, ""),
        ({"eden_affinity": {"podAffinity": {}}}, "Deployment", 422, POLICY_FAULT, ""),
        ({"eden_affinity": {"podAffinity": {}}}, "Deployment", 403, "exceeded quota: q", ""),
        ({"eden_affinity": {"podAffinity": {}}}, "Deployment", 404, "namespaces lab not found", ""),
        ({"eden_node_selector": {"a": "b"}}, "NetworkPolicy", 422, EGRESS_FAULT, ""),
        ({"eden_tolerations": [{}]}, "Deployment", 422, POLICY_ON_TOLERATIONS, ""),
    ],
)
def test_the_server_tries_inputs_of_its_own_types(
    cluster: FakeCluster, inputs: dict[str, t.Any], kind: str, status: int, said: str, refused: str
) -> None:
    error = cluster.answers[kind] = ClusterError("create", f"{kind} lab", status, "Invalid", said)
    error.refusal = classify(said, status)
    if refused:
        refused = f"eden_workers.executor_host.{refused}" if "eden_workers" in inputs else refused
        message = refusal(InputError, **inputs)
        assert message.startswith(f"The API server refuses {refused}. Could not create {kind} lab: ")
        assert said in message
    else:
        assert run(**inputs)["changed"] is False


def test_inputs_that_cannot_be_tried_in_another_namespace(cluster: FakeCluster) -> None:
    del cluster.objects["Namespace", "lab"]
    cluster.answers["NetworkPolicy"] = ClusterError("create", "NetworkPolicy default", 403, "Forbidden")
    warnings = run(eden_worker_egress=[{}])["warnings"]
    assert [warning.partition(": ")[0] for warning in warnings] == [
        "Namespace lab does not exist yet, and whether the API server accepts the inputs for a NetworkPolicy "
        "could not be tried elsewhere"
    ]


# Volumes that exist


def volume_spec(size: str, storage_class: str | None = None) -> Object:
    named = {"storageClassName": storage_class} if storage_class else {}
    return {"resources": {"requests": {"storage": size}}, **named}


# fmt: off
@pytest.mark.parametrize(
    ("postgres", "blob", "wanted", "words"),
    [
        (volume_spec("10Gi"), volume_spec("10240Mi", "standard"), "", ""),
        (volume_spec("10Gi", "standard"), volume_spec("10Gi", "standard"), "standard", ""),
        (volume_spec("20Gi"), volume_spec("10Gi"), "",
         "eden_storage_sizes.postgres is 10Gi, but the volume data of StatefulSet lab/eden-postgres was "
         "created with 20Gi, and an existing volume is never changed. "
         "Set eden_storage_sizes.postgres to 20Gi, or start a new experiment with another eden_name."),
        (volume_spec("10Gi"), volume_spec("5Gi"), "",
         "eden_storage_sizes.blob is 10Gi, but PersistentVolumeClaim lab/eden-blob was created with 5Gi, "),
        (volume_spec("10Gi", "fast"), volume_spec("10Gi", "fast"), "standard",
         "eden_storage_class is standard, but the volume data of StatefulSet lab/eden-postgres was "
         "created with fast, "),
        (volume_spec("10Gi"), volume_spec("10Gi", "standard"), "standard",
         "was created with none, and an existing volume is never changed. Leave eden_storage_class empty, "),
        (volume_spec("10Gi", "fast"), volume_spec("10Gi"), "", "eden_storage_class is empty, but the"),
    ],
)
def test_volumes_stay_as_they_are(
    cluster: FakeCluster, postgres: Object, blob: Object, wanted: str, words: str
) -> None:
    templates = [
        {"metadata": {"name": "other"}, "spec": {}},
        {"metadata": {"name": "data"}, "spec": postgres},
    ]
    cluster.objects |= {
        ("StatefulSet", "eden-postgres"): {
            "metadata": {"labels": OURS},
            "spec": {"volumeClaimTemplates": templates},
        },
        BLOB: {**claim(STORED, **OURS), "spec": blob},
    }
    if wanted:
        cluster.storage_classes.append(storage_class(wanted))
    if not words:
        assert run(eden_storage_class=wanted)["changed"] is False
        return
    message = refusal(InputError, eden_storage_class=wanted)
    assert words in message
    assert len(message.splitlines()) == 1
# fmt: on


# Experiment id


@pytest.mark.parametrize("given", ["", STORED])
@pytest.mark.parametrize(
    "objects",
    [
        {EXPERIMENT: configmap(experiment_id=STORED)},
        {POSTGRES_CLAIM: claim(STORED)},
        {EXPERIMENT: configmap(experiment_id=STORED), POSTGRES_CLAIM: claim()},
    ],
)
def test_the_id_of_the_cluster_counts(cluster: FakeCluster, objects: Objects, given: str) -> None:
    cluster.objects |= objects
    assert run(eden_experiment_id=given)["experiment_id"] == STORED


CHANGED_CLAIM = {"metadata": {**claim(OTHER)["metadata"], "managedFields": APPLIED}}


# fmt: off
@pytest.mark.parametrize(
    ("objects", "given", "words"),
    [
        ({EXPERIMENT: configmap(experiment_id=STORED)}, OTHER,
         f"eden_experiment_id is {OTHER}, but ConfigMap lab/eden-experiment contains {STORED}, to which "
         f"the database is bound. Remove eden_experiment_id or set it to {STORED}; a new"),
        ({POSTGRES_CLAIM: claim(STORED)}, OTHER,
         f"eden_experiment_id is {OTHER}, but PersistentVolumeClaim lab/{CLAIMS[0]} contains {STORED}"),
        *(
            (
                {EXPERIMENT: configmap(experiment_id=stored)},
                STORED,
                f"ConfigMap lab/eden-experiment contains {stored!r} instead of an experiment id.",
            )
            for stored in ("", "exp-1", STORED.upper(), STORED + "\n")
        ),
        ({POSTGRES_CLAIM: claim(STORED), BLOB: {**claim(OTHER), "spec": volume_spec("10Gi")}}, "",
         f"PersistentVolumeClaim lab/{CLAIMS[0]} names the experiment {STORED}, but there are "
         f"volumes of another one: PersistentVolumeClaim lab/eden-blob ({OTHER}). Choose another eden_name;"),
        ({EXPERIMENT: configmap(experiment_id=STORED), POSTGRES_CLAIM: claim(OTHER)}, "",
         f"ConfigMap lab/eden-experiment names the experiment {STORED}, but there are volumes"),
        ({POSTGRES_CLAIM: claim()}, "",
         f"The experiment of the data on PersistentVolumeClaim lab/{CLAIMS[0]} is"),
        ({POSTGRES_CLAIM: CHANGED_CLAIM}, "", "The experiment of the data on "),
    ],
)
def test_an_id_that_is_refused(cluster: FakeCluster, objects: Objects, given: str, words: str) -> None:
    cluster.objects |= objects
    message = refusal(InputError, eden_experiment_id=given)
    assert message.startswith(words)
    assert "delete the experiment" not in message
# fmt: on


@pytest.mark.parametrize("objects", [{}, {POSTGRES_CLAIM: claim()}])
def test_an_id_that_is_given(cluster: FakeCluster, objects: Objects) -> None:
    cluster.objects |= objects
    assert run(eden_experiment_id=OTHER)["experiment_id"] == OTHER


def test_a_claim_that_goes_with_its_pod(cluster: FakeCluster) -> None:
    going = claim(STORED)
    going["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
    cluster.objects[POSTGRES_CLAIM] = going
    message = refusal()
    assert message.startswith(
        f"PersistentVolumeClaim lab/{CLAIMS[0]} has been terminating since 2026-11-24T10:00:00Z, and "
    )
    assert "First copy what you need from its volume: its data is deleted with it." in message


# Seed commit


def test_claims_without_a_volume_are_reported(cluster: FakeCluster) -> None:
    for key, phase in ((POSTGRES_CLAIM, "Bound"), (BLOB, "Pending")):
        cluster.objects[key] = {**claim(STORED), "status": {"phase": phase}, "spec": volume_spec("10Gi")}
    assert run()["unbound_claims"] == [CLAIMS[1]]


def task_store(argument: str, phase: str = "Bound") -> Objects:
    """The task store with that argument, and the claims in that phase."""
    pod = {"spec": {"containers": [{"args": ["python", argument]}]}}
    bound = {**claim(STORED), "status": {"phase": phase}, "spec": volume_spec("10Gi")}
    return {
        ("Deployment", "eden-task-store-server"): {"metadata": {"labels": OURS}, "spec": {"template": pod}},
        POSTGRES_CLAIM: bound,
        BLOB: bound,
    }


CHANGED = {"metadata": {"labels": OURS, "managedFields": APPLIED}}


@pytest.mark.parametrize(
    ("seed", "objects", "expected"),
    [
        (None, {}, None),
        (None, task_store(f"--base-commit-sha={COMMIT}"), COMMIT),
        (None, task_store(f"--base-commit-sha={COMMIT}", "Pending"), None),
        (None, task_store("--base-commit-sha=main"), None),
        (None, task_store("--port=8080"), None),
        *(
            ({**CHANGED, "data": {"commit": commit}}, task_store(f"--base-commit-sha={COMMIT}"), COMMIT)
            for commit in ("main", "", "0" * 40)
        ),
        # A restored one counts if no task store says otherwise.
        ({**CHANGED, "data": {"commit": COMMIT}}, {POSTGRES_CLAIM: claim(STORED)}, COMMIT),
    ],
)
def test_the_seed_commit(
    cluster: FakeCluster, seed: Object | None, objects: Objects, expected: str | None
) -> None:
    cluster.objects |= {**objects, **({SEED: seed} if seed else {})}
    assert run()["seed_commit"] == expected


def test_a_seed_commit_that_is_none(cluster: FakeCluster) -> None:
    cluster.objects |= {SEED: configmap(commit="main"), POSTGRES_CLAIM: claim(STORED)}
    assert refusal(InputError) == (
        "ConfigMap lab/eden-seed contains 'main' instead of a commit id. Delete this ConfigMap: "
        "the phase seed then reads it from the repository, which is kept."
    )


# Files and environments of commands

KEYS = ("Secret", "llm-keys")
WITH_KEYS = {"ideator_host": {"mode": "subprocess", "env_secret": "llm-keys"}}


@pytest.mark.parametrize(
    ("given", "stored", "expected"),
    [
        ("", None, ""),
        ("new", None, "new"),
        ("", {"commit": COMMIT}, ""),
        ("", {"commit": COMMIT, "files": "old"}, "old"),
        ("old", {"commit": COMMIT, "files": "old"}, "old"),
    ],
)
def test_the_files_of_the_seed_are_kept(
    cluster: FakeCluster, given: str, stored: dict[str, str] | None, expected: str
) -> None:
    cluster.objects |= {SEED: configmap(**stored), POSTGRES_CLAIM: claim(STORED)} if stored else {}
    assert run(files={"seed": {"checksum": given, "parts": 1} if given else {}})["seed_files"] == expected


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (
            {"files": "old"},
            ("made from other files", "Set it back to the files as they were, or leave it empty"),
        ),
        ({}, ("made without files", "Leave it empty")),
    ],
)
def test_other_files_for_the_seed_of_an_experiment_are_refused(
    cluster: FakeCluster, stored: dict[str, str], words: tuple[str, ...], check_mode: bool
) -> None:
    cluster.objects |= {SEED: configmap(commit=COMMIT, **stored), POSTGRES_CLAIM: claim(STORED)}
    with pytest.raises(InputError) as error:
        run(check_mode, files={"seed": {"checksum": "new", "parts": 1}})
    assert all(
        part in error.value.message for part in (*words, "ConfigMap lab/eden-seed", "another eden_name")
    )


def test_configmaps_of_others_under_the_names_of_the_files_are_refused(cluster: FakeCluster) -> None:
    cluster.objects["ConfigMap", "eden-experiment-files-1"] = {"metadata": {}, "data": {}}
    files = {"experiment": {"checksum": "x", "parts": 2}, "seed": {}}
    with pytest.raises(CollectionError, match="ConfigMap lab/eden-experiment-files-1"):
        run(files=files)
    run(files={"experiment": {"checksum": "x", "parts": 1}, "seed": {}})


def test_a_secret_for_commands(cluster: FakeCluster) -> None:
    cluster.objects[KEYS] = secret(API_KEY=b"k", _model=b"\xe2\x82\xac")
    run(eden_workers=WITH_KEYS)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        *(
            ({key: b"hunter2"}, f"{key} is reserved")
            for key in ("PATH", "HOME", "EDEN_TASK_JSON", "FORGEJO_X", "PYTHONPATH", "LD_PRELOAD")
        ),
        ({"a-b": b"hunter2"}, "a-b is not the name of a variable"),
        ({"KEY": b"hunter2\0"}, "KEY contains a NUL character"),
        ({"KEY": b"hunter2\xff"}, "KEY is not UTF-8"),
    ],
)
def test_keys_that_are_no_variables_of_commands(
    cluster: FakeCluster, values: dict[str, bytes], words: str
) -> None:
    cluster.objects[KEYS] = secret(**values)
    message = refusal(CredentialsError, eden_workers=WITH_KEYS)
    assert message.startswith(
        "Secret lab/llm-keys, which eden_workers.ideator_host.env_secret names, has keys that cannot be"
    )
    assert words in message
    assert "hunter2" not in message


@pytest.mark.parametrize("exists", [True, False])
def test_a_secret_for_commands_that_does_not_exist(cluster: FakeCluster, exists: bool) -> None:
    if not exists:
        cluster.objects.clear()
    message = refusal(eden_workers=WITH_KEYS)
    assert "no Secret lab/llm-keys, which eden_workers.ideator_host.env_secret names. Create it" in message
    assert ("kubectl create namespace lab" in message) is not exists


def test_a_secret_for_commands_that_may_not_be_read(cluster: FakeCluster) -> None:
    cluster.refused = {KEYS}
    assert "Have get on it granted" in refusal(eden_workers=WITH_KEYS)


def test_several_problems_are_reported_at_once(cluster: FakeCluster) -> None:
    cluster.storage_classes = []
    cluster.objects[EXPERIMENT] = configmap(experiment_id=STORED)
    message = refusal(eden_existing_secret="mine", eden_experiment_id=OTHER)
    assert len(message.splitlines()) == 4
    assert message.startswith("3 problems prevent the deployment; nothing was written.\n")


# The live experiment

EARLY, LATE = "2026-11-24T10:00:00Z", "2026-11-24T10:00:01Z"
STATEFULSET, DEPLOYMENT = ("StatefulSet", "eden-postgres"), ("Deployment", "eden-task-store-server")


def dated(live: Object, created: str, **annotations: str) -> Object:
    metadata = {**live["metadata"], "creationTimestamp": created, "annotations": annotations}
    return {**live, "metadata": metadata}


def seeded(claim_created: str = EARLY, **annotations: str) -> Objects:
    """An experiment with its claims, one of which was made at that time."""
    return {
        EXPERIMENT: configmap(experiment_id=STORED),
        SEED: dated(configmap(commit=COMMIT), EARLY),
        POSTGRES_CLAIM: dated(claim(STORED), claim_created, **annotations),
        DEPLOYMENT: dated({"metadata": {"labels": OURS}, **deployment()}, EARLY),
        BLOB: dated({**claim(STORED), "spec": volume_spec("10Gi")}, claim_created, **annotations),
    }


def deployment(available: bool = True) -> Object:
    pod = {"metadata": {}, "spec": {"containers": [{"name": "a"}]}}
    reason = live_experiment.ROLLED_OUT if available else "ReplicaSetUpdated"
    return {"spec": {"template": pod}, "status": {"conditions": [{"reason": reason}]}}


def restored(experiment_id: str) -> dict[str, str]:
    return {live_experiment.RESTORED_ANNOTATION: experiment_id}


@pytest.mark.parametrize(
    ("objects", "absent", "lost"),
    [
        (seeded(), [], []),
        (seeded(LATE), [], ["POSTGRES", "BLOB"]),
        (seeded(LATE, **restored(OTHER)), [], ["POSTGRES", "BLOB"]),
        (seeded(LATE, **restored(STORED)), [], []),
        (seeded(), [POSTGRES_CLAIM], ["POSTGRES"]),
        (seeded(), [POSTGRES_CLAIM, BLOB], ["POSTGRES", "BLOB"]),
        # Nothing was written yet, or the object that was made later is gone.
        (seeded(), [SEED, DEPLOYMENT, POSTGRES_CLAIM, BLOB], []),
        (seeded(LATE), [SEED], ["BLOB"]),
        (seeded(LATE), [DEPLOYMENT], ["POSTGRES"]),
    ],
)
def test_a_volume_whose_data_is_gone(
    cluster: FakeCluster, objects: Objects, absent: list[tuple[str, str]], lost: list[str]
) -> None:
    cluster.objects |= {key: live for key, live in objects.items() if key not in absent}
    if not lost:
        assert run()["experiment_id"] == STORED
        return
    with pytest.raises(CollectionError) as error:
        run(check_mode=True)
    found = [line for line in error.value.message.splitlines() if "PersistentVolumeClaim" in line]
    claims = {"POSTGRES": (POSTGRES_CLAIM, "the database", "Start anew."), "BLOB": (BLOB, "files", "Go on")}
    for line, (key, content, advice) in zip(found, map(claims.get, lost), strict=True):
        assert f"PersistentVolumeClaim lab/{key[1]} " in line
        assert f"it had {content}, and" in line
        assert (
            f"annotate persistentvolumeclaim {key[1]} --namespace lab eden.reference/restored={STORED}. "
            in line
        )
        assert advice in line


def test_a_component_without_replicas_needs_no_volume(cluster: FakeCluster) -> None:
    wanted = options("lab")
    volumes = [{**volume, "created_before": None} for volume in wanted["topology"]["volumes"]]
    cluster.objects |= seeded(LATE)
    assert preflight.run(Task({**wanted, "topology": {**wanted["topology"], "volumes": volumes}}))


@pytest.mark.parametrize(
    ("version", "by_others", "allowed", "refused"),
    [
        ("", False, False, False),
        (VERSION, False, False, False),
        ("0.0.9", False, False, False),
        ("no version", False, False, False),
        ("99.0.0", False, False, True),
        ("0.10.0", False, False, True),
        ("99.0.0-dev1", False, False, True),
        ("99.0.0", False, True, False),
        ("99.0.0", True, False, False),
    ],
)
def test_an_experiment_of_a_newer_version(
    cluster: FakeCluster, version: str, by_others: bool, allowed: bool, refused: bool
) -> None:
    live = dated(configmap(experiment_id=STORED), EARLY, **{live_experiment.VERSION_ANNOTATION: version})
    live["metadata"]["managedFields"] = APPLIED if by_others else []
    cluster.objects[EXPERIMENT] = live
    if refused:
        message = refusal(eden_allow_downgrade=allowed)
        assert message.startswith(
            f"Version {version} of eden.reference has deployed this experiment, and this is "
        )
        assert "eden_allow_downgrade" in message
    else:
        assert run(eden_allow_downgrade=allowed)["changed"] is False


def config_of(text: str, **metadata: t.Any) -> Object:
    return {"metadata": {"labels": OURS, **metadata}, "data": {"experiment-config.yaml": text}}


OLD_CONFIG = "objective: {}\nevaluation_schema: {score: integer}\n"
IDENTITY = ("Secret", IDENTITIES[0])


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, True),
        ({"text": "evaluation_schema: {score: real}\nparallel_variants: 4\n"}, False),
        ({"text": "evaluation_schema: [unbalanced"}, False),
        ({"text": "{}"}, False),
        ({"registered": False}, False),
        ({"available": False}, False),
        ({"managedFields": APPLIED}, False),
    ],
    ids=str,
)
def test_an_evaluation_schema_that_changes(
    cluster: FakeCluster, changes: dict[str, t.Any], refused: bool
) -> None:
    given = {"text": OLD_CONFIG, "registered": True, "available": True, "managedFields": [], **changes}
    cluster.objects |= {
        **seeded(),
        ("ConfigMap", "eden-experiment-config"): config_of(
            given["text"], managedFields=given["managedFields"]
        ),
        DEPLOYMENT: dated({"metadata": {"labels": OURS}, **deployment(given["available"])}, EARLY),
        **({IDENTITY: secret(token=b"t")} if given["registered"] else {}),
    }
    if refused:
        assert refusal(InputError).startswith(
            'The experiment config has the evaluation_schema {"score": "real"}, but that of the experiment '
            'is {"score": "integer"}. It cannot change'
        )
    else:
        assert run(check_mode=True)["changed"] is False


OLD = {"POSTGRES_PASSWORD": "old", "EDEN_ADMIN_TOKEN": "token", DIGEST_KEY: "key"}
NEW = {**OLD, "POSTGRES_PASSWORD": "new"}
OTHER_KEY = {**NEW, DIGEST_KEY: "another"}


def digested(component: str, **fields: t.Any) -> Object:
    """A workload that was deployed with the old credentials."""
    digests = credentials.digests(OLD, options("lab")["topology"]["readers"], DIGEST_KEY)
    reference = {"secretKeyRef": {"name": "eden-credentials", "key": "POSTGRES_PASSWORD"}}
    env = [{"name": "POSTGRES_USER", "value": "eden"}, {"name": "POSTGRES_PASSWORD", "valueFrom": reference}]
    template = {
        "metadata": {"annotations": {live_experiment.DIGEST_ANNOTATION: digests[component]}},
        "spec": {"containers": [{"name": component, "env": env}]},
    }
    return {
        "metadata": {"labels": OURS, **fields},
        "spec": {"template": template, "volumeClaimTemplates": []},
    }


def secret_of(values: dict[str, str]) -> Object:
    return secret(**{key: value.encode() for key, value in values.items()})


ANOTHER = (
    "Secret lab/{} has another POSTGRES_PASSWORD than the one that the database got {}, and the database"
)
UNKNOWN = (
    "Whether POSTGRES_PASSWORD in Secret lab/{} is that of the database, which got it {}, cannot be told: "
)
OWN, MINE = ("eden-credentials", "when it was created"), ("mine", "from Secret lab/eden-credentials")


@pytest.mark.parametrize(
    ("own", "mine", "words"),
    [
        (OLD, None, ""),
        (NEW, None, ANOTHER.format(*OWN)),
        (OTHER_KEY, None, UNKNOWN.format(*OWN)),
        (OLD, {**OLD, "EDEN_ADMIN_TOKEN": "another"}, ""),
        (OLD, {**OLD, DIGEST_KEY: "another"}, ""),
        (OLD, OTHER_KEY, ANOTHER.format(*MINE)),
        (None, OLD, ""),
        (None, OTHER_KEY, UNKNOWN.format(*MINE)),
        (NEW, OTHER_KEY, UNKNOWN.format(*MINE)),
    ],
)
def test_a_password_that_is_not_the_databases(
    cluster: FakeCluster, own: dict[str, str] | None, mine: dict[str, str] | None, words: str
) -> None:
    cluster.objects |= {
        STATEFULSET: digested("postgres"),
        DEPLOYMENT: digested("task-store-server"),
        POSTGRES_CLAIM: {**claim(STORED), "status": {"phase": "Bound"}},
        BLOB: {**claim(STORED), "spec": volume_spec("10Gi")},
        **({("Secret", "eden-credentials"): secret_of(own)} if own else {}),
        **({("Secret", "mine"): secret_of(mine)} if mine else {}),
    }
    existing = "mine" if mine else ""
    if not words:
        assert run(eden_existing_secret=existing)["changed"] is False
        return
    message = refusal(InputError, eden_existing_secret=existing)
    assert message.startswith(words)
    assert "kubectl exec -it eden-postgres-0 --namespace lab -- psql -U eden eden, then \\password" in message
    assert run(eden_existing_secret=existing, eden_database_password_changed=True)["changed"] is False
    # Others have changed the digest, or there is no database yet.
    cluster.objects[STATEFULSET] = digested("postgres", managedFields=APPLIED)
    assert run(eden_existing_secret=existing)["changed"] is False
    cluster.objects |= {STATEFULSET: digested("postgres"), POSTGRES_CLAIM: claim(STORED)}
    assert run(eden_existing_secret=existing)["changed"] is False


def test_a_secret_of_an_earlier_run_that_may_not_be_read(cluster: FakeCluster) -> None:
    cluster.objects |= {
        STATEFULSET: digested("postgres"),
        POSTGRES_CLAIM: {**claim(STORED), "status": {"phase": "Bound"}},
        ("Secret", "mine"): secret_of(OTHER_KEY),
    }
    cluster.refused = {("Secret", "eden-credentials")}
    assert "cannot be told" in refusal(InputError, eden_existing_secret="mine")
    cluster.refused, cluster.failing = set(), {("Secret", "eden-credentials")}
    assert "500" in refusal(ClusterError, eden_existing_secret="mine")
