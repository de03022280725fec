# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at the cluster before the first write: can the run succeed, and which experiment lives there?

Everything is read at once, then judged. Nothing is written: the reviews of the user's rights store nothing.
This module is private to the collection.
"""

from __future__ import annotations

import functools
import re
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.eden.reference.plugins.module_utils._collection import (
    FIELD_MANAGER,
    MANAGED_BY_LABEL,
    NAME,
)
from ansible_collections.eden.reference.plugins.module_utils._eden import credentials, permissions
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._eden.ids import (
    COMMIT_SHA,
    EXPERIMENT_ID,
    mint_experiment_id,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.inputs import amount
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
    MissingError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    PARALLEL,
    PATIENCE,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.comparison import set_by_others
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "name": {"type": "str", "required": True},
    "manage_namespace": {"type": "bool", "default": True},
    "experiment_id": {"type": "str", "default": ""},
    "experiment_configmap": {"type": "str", "required": True},
    "seed_configmap": {"type": "str", "required": True},
    "claims": {"type": "list", "elements": "str", "default": []},
    "storage_class": {"type": "str", "default": ""},
    "existing_secret": {"type": "str", "default": "", "no_log": False},
    "credential_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "credentials_secret": {"type": "str", "default": "", "no_log": False},
    "identity_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "objects": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "kind": {"type": "str", "required": True, "choices": ["StatefulSet", "Deployment", "Service"]},
            "name": {"type": "str", "required": True},
        },
    },
    "volumes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "workload": {"type": "str", "default": ""},
            "claim": {"type": "str", "required": True},
            "size": {"type": "str", "required": True},
            "variable": {"type": "str", "required": True},
        },
    },
    "image_pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "task_store_url": {"type": "str", "default": ""},
    "network_policies": {"type": "bool", "default": True},
    "disruption_budgets": {"type": "bool", "default": True},
    "ingress": {"type": "bool", "default": False},
}

# A server that runs answers at once: a wrong address should not cost a minute, nor a lost answer the run.
FIRST_PATIENCE = 5.0
FIRST_TIMEOUT = 4.0
OLDEST_VERSION = (1, 27)


EXPERIMENT_LABEL = "eden.reference/experiment-id"
COMMIT_FLAG = "--base-commit-sha="
DEFAULT_CLASS_ANNOTATIONS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
# Of these one list answers for all names.
LISTED = ("StatefulSet", "Deployment")

Source = t.Literal["given", "stored", "claim", "minted"]


@dataclass(frozen=True)
class Refused:
    """Stands in for an answer that the user may not have."""

    error: ClusterError


Answer: t.TypeAlias = "Object | Refused | None"


@dataclass(frozen=True)
class Seen:
    """What the cluster holds. Every answer is an object, None where it is not there, or a :class:`Refused`.

    Attributes:
        objects: those of ``objects`` that are there, by kind and name.
        storage_classes: all of them, or a :class:`Refused`.
    """

    version: str
    rules: permissions.Rules
    namespace: Answer
    experiment: Answer
    seed: Answer
    claims: t.Mapping[str, Answer]
    secrets: t.Mapping[str, Answer]
    objects: t.Mapping[tuple[str, str], Object]
    storage_classes: list[Object] | Refused


def run(task: Task) -> dict[str, t.Any]:
    """Look, judge, and return what the phases build on."""
    parameters = task.parameters
    with connected(parameters, FIRST_PATIENCE) as cluster:
        version = server_version(cluster)
        cluster.patience = PATIENCE
        seen = look(cluster, parameters, version)
        refuse_namespace(seen, parameters)
        refuse_missing_rights(cluster, seen, parameters)
    warnings, problems = judge_storage(seen, parameters)
    problems += judge_claims(seen, parameters) + judge_secrets(seen, parameters)
    problems += judge_owner(seen, parameters) or judge_volumes(seen, parameters)
    experiment_id, source, more = find_experiment_id(seen, parameters)
    commit, still_more = find_seed_commit(seen, parameters)
    refuse([*problems, *more, *still_more])
    return {
        "changed": False,
        "namespace_exists": seen.namespace is not None,
        "experiment_id": experiment_id,
        "experiment_id_source": source,
        "seed_commit": commit,
        "unbound_claims": [name for name, claim in seen.claims.items() if not is_bound(claim)],
        "server_version": version,
        "warnings": warnings,
    }


def is_bound(claim: Answer) -> bool:
    """Whether the claim is there and has its volume."""
    return isinstance(claim, dict) and (claim.get("status") or {}).get("phase") == "Bound"


def server_version(cluster: Cluster) -> str:
    """The version of the API server, as ``v1.31.2``.

    Raises:
        UnreachableError: no answer came.
        CollectionError: it is too old.
    """
    answer = cluster.version(FIRST_TIMEOUT)
    version = str(answer.get("gitVersion", ""))
    match = re.match(r"v?([0-9]+)\.([0-9]+)", version)
    if match and (int(match[1]), int(match[2])) < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise CollectionError(
            f"The API server {cluster.address} is Kubernetes {version}; {oldest} or newer is needed. "
            "Upgrade the cluster, or choose another with eden_kubeconfig and eden_context.",
            server_version=version,
        )
    return version


def look(cluster: Cluster, parameters: t.Mapping[str, t.Any], version: str) -> Seen:
    """Read everything that is judged, at the same time.

    Raises:
        ClusterError: a request failed, other than for a missing right.
    """
    namespace = parameters["namespace"]
    secrets = [name for name in (parameters["existing_secret"], *parameters["image_pull_secrets"]) if name]

    def read(kind: str, where: str, name: str) -> t.Callable[[], Answer]:
        return lambda: _allowed(lambda: cluster.read(kind, where, name))

    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        rules = pool.submit(permissions.rules_review, cluster, namespace)
        classes = pool.submit(_allowed, lambda: cluster.list("StorageClass"))
        found_namespace = pool.submit(read("Namespace", "", namespace))
        experiment = pool.submit(read("ConfigMap", namespace, parameters["experiment_configmap"]))
        seed = pool.submit(read("ConfigMap", namespace, parameters["seed_configmap"]))
        claims = {
            name: pool.submit(read("PersistentVolumeClaim", namespace, name)) for name in parameters["claims"]
        }
        found_secrets = {name: pool.submit(read("Secret", namespace, name)) for name in secrets}
        lists = {
            kind: pool.submit(_allowed, functools.partial(cluster.list, kind, namespace))
            for kind in LISTED
            if parameters["objects"]
        }
        single = {
            (row["kind"], row["name"]): pool.submit(read(row["kind"], namespace, row["name"]))
            for row in parameters["objects"]
            if row["kind"] not in LISTED
        }
    wanted = {(row["kind"], row["name"]) for row in parameters["objects"]}
    objects = {key: future.result() for key, future in single.items()}
    for kind, future in lists.items():
        found = future.result()
        for item in [] if isinstance(found, Refused) else found:
            objects[kind, item["metadata"]["name"]] = item
    return Seen(
        version=version,
        rules=rules.result(),
        namespace=found_namespace.result(),
        experiment=experiment.result(),
        seed=seed.result(),
        claims={name: future.result() for name, future in claims.items()},
        secrets={name: future.result() for name, future in found_secrets.items()},
        objects={key: live for key, live in objects.items() if key in wanted and isinstance(live, dict)},
        storage_classes=t.cast("list[Object] | Refused", classes.result()),
    )


def refuse_namespace(seen: Seen, parameters: t.Mapping[str, t.Any]) -> None:
    """Refuse a namespace that nothing can be written to.

    Raises:
        MissingError: it is not there and is not ours to create.
        CollectionError: it is being deleted.
    """
    namespace = parameters["namespace"]
    if seen.namespace is None and not parameters["manage_namespace"]:
        raise MissingError(
            f"There is no {describe('Namespace', '', namespace)}, and eden_manage_namespace is false. "
            f"Create it (kubectl create namespace {namespace}), or set eden_manage_namespace to true."
        )
    if isinstance(seen.namespace, dict) and seen.namespace.get("metadata", {}).get("deletionTimestamp"):
        raise CollectionError(
            f"{describe('Namespace', '', namespace)} is being deleted since "
            f"{seen.namespace['metadata']['deletionTimestamp']}{_held_up(seen.namespace)}. "
            "Nothing can be created in it. Wait until it is gone "
            f"(kubectl wait --for=delete namespace/{namespace}), or choose another with eden_namespace."
        )


def refuse_missing_rights(cluster: Cluster, seen: Seen, parameters: t.Mapping[str, t.Any]) -> None:
    """Refuse to begin what could not be ended.

    Raises:
        CollectionError: lists every missing right with its reason.
    """
    namespace = parameters["namespace"]
    prefix = f"{parameters['name']}-"
    needed = permissions.needed(
        namespace,
        manage_namespace=parameters["manage_namespace"],
        namespace_exists=seen.namespace is not None,
        own_credentials=not parameters["existing_secret"],
        port_forward=not parameters["task_store_url"],
        network_policies=parameters["network_policies"],
        disruption_budgets=parameters["disruption_budgets"],
        ingress=parameters["ingress"],
        credentials_secret=parameters["credentials_secret"] or parameters["existing_secret"],
        identity_secrets=parameters["identity_secrets"],
    )
    absent = permissions.missing(
        cluster,
        needed,
        seen.rules,
        lambda name: name.startswith(prefix) or name == parameters["existing_secret"],
    )
    if absent:
        raise CollectionError(
            f"The user of the kubeconfig may not do all that is needed on {cluster.address}. Missing are:\n"
            f"{permissions.explain(absent)}\n"
            "Nothing was written. Ask for a Role with these rules, or use a kubeconfig that has them.",
            missing_rights=[right.as_result() for right in absent],
        )


def judge_storage(seen: Seen, parameters: t.Mapping[str, t.Any]) -> tuple[list[str], list[CollectionError]]:
    """The warnings and the problems of the storage class, where there are volumes still to be made."""
    wanted = parameters["storage_class"]
    if all(seen.claims.values()) and seen.claims:
        return [], []
    if isinstance(seen.storage_classes, Refused):
        which = f"the storage class {wanted}" if wanted else "a default storage class"
        return [f"Whether {which} exists could not be checked: {seen.storage_classes.error.message}"], []
    names = sorted(item["metadata"]["name"] for item in seen.storage_classes)
    has = f"it has {', '.join(names)}" if names else "it has none"
    if wanted and wanted not in names:
        advice = "Name one of these, or none for the cluster's default." if names else "Install one."
        return [], [
            MissingError(
                f"The cluster has no StorageClass {wanted}, which eden_storage_class names: {has}. {advice}"
            )
        ]
    if not wanted and not any(map(_is_default, seen.storage_classes)):
        advice = f"Set eden_storage_class to one of {', '.join(names)}." if names else "Install one."
        return [], [
            MissingError(
                f"The cluster has no default StorageClass, and eden_storage_class is empty: {has}. {advice}"
            )
        ]
    return [], []


def judge_claims(seen: Seen, parameters: t.Mapping[str, t.Any]) -> list[CollectionError]:
    """The problems of claims that somebody has deleted, and that are there only until their pods are gone."""
    return [
        CollectionError(
            f"{describe('PersistentVolumeClaim', parameters['namespace'], name)} is being deleted since "
            f"{claim['metadata']['deletionTimestamp']}, and is there only as long as a pod uses it; a delete "
            "cannot be taken back. Copy what you need from its volume, delete the pods that use it, "
            "and run again, which makes an empty one."
        )
        for name, claim in seen.claims.items()
        if isinstance(claim, dict) and claim.get("metadata", {}).get("deletionTimestamp")
    ]


def judge_secrets(seen: Seen, parameters: t.Mapping[str, t.Any]) -> list[CollectionError]:
    """The problems of the Secrets that belong to the user.

    Those with the credentials of registries are looked for in a namespace that exists.
    """
    namespace, existing = parameters["namespace"], parameters["existing_secret"]
    problems: list[CollectionError] = []
    if existing and seen.secrets[existing] is None:
        problems.append(
            MissingError(
                f"There is no {describe('Secret', namespace, existing)}, which eden_existing_secret names. "
                "Create it, or leave eden_existing_secret empty to have one made."
            )
        )
    live = seen.secrets[existing] if existing else None
    if isinstance(live, dict):
        advice = "Add them, or leave eden_existing_secret empty to have a Secret made."
        try:
            credentials.usable(live, namespace, existing, parameters["credential_keys"], advice)
        except CredentialsError as error:
            problems.append(error)
    if seen.namespace is not None:
        problems += [
            MissingError(
                f"There is no {describe('Secret', namespace, name)}, which eden_image_pull_secrets names. "
                f"Create it (kubectl create secret docker-registry {name} --namespace {namespace} …), "
                "or take it out of the list."
            )
            for name in dict.fromkeys(parameters["image_pull_secrets"])
            if seen.secrets[name] is None
        ]
    return problems


def judge_owner(seen: Seen, parameters: t.Mapping[str, t.Any]) -> list[CollectionError]:
    """The problem of objects of another manager under our names, among the objects that were read."""
    namespace = parameters["namespace"]
    looked_at: dict[tuple[str, str], Answer] = {
        ("ConfigMap", parameters["experiment_configmap"]): seen.experiment,
        ("ConfigMap", parameters["seed_configmap"]): seen.seed,
        **{("PersistentVolumeClaim", name): claim for name, claim in seen.claims.items()},
        **seen.objects,
    }
    foreign = {
        describe(kind, namespace, name): owner
        for (kind, name), live in looked_at.items()
        if isinstance(live, dict) and (owner := _foreign_owner(kind, live))
    }
    if not foreign:
        return []
    listed = ", ".join(f"{name} ({owner})" for name, owner in foreign.items())
    return [
        CollectionError(
            f"Objects with the names of this experiment belong to somebody else: {listed}. "
            "Choose another eden_name or eden_namespace, or remove them."
        )
    ]


def judge_volumes(seen: Seen, parameters: t.Mapping[str, t.Any]) -> list[CollectionError]:
    """The problems of inputs that would change a volume that exists, which Kubernetes refuses.

    A workload's volumes are as its claim templates say, whoever enlarged a claim since.
    """
    problems: dict[str, CollectionError] = {}
    for volume in parameters["volumes"]:
        workload, name = volume["workload"], volume["claim"]
        live = seen.objects.get(("StatefulSet", workload)) if workload else seen.claims.get(name)
        spec = _volume_spec(live, name if workload else "")
        if spec is None:
            continue
        holder = (
            f"the volume {name} of {describe('StatefulSet', parameters['namespace'], workload)}"
            if workload
            else describe("PersistentVolumeClaim", parameters["namespace"], name)
        )
        stored = {
            volume["variable"]: str(spec.get("resources", {}).get("requests", {}).get("storage", "")),
            "eden_storage_class": spec.get("storageClassName") or "",
        }
        if amount(stored[volume["variable"]]) != amount(volume["size"]):
            problems.setdefault(
                volume["variable"],
                _volume_problem(volume["variable"], volume["size"], holder, stored[volume["variable"]]),
            )
        wanted, held = parameters["storage_class"], stored["eden_storage_class"]
        # The server fills the class of a claim in, and that of a template not.
        if wanted != held and (workload or wanted):
            problems.setdefault(
                "eden_storage_class", _volume_problem("eden_storage_class", wanted, holder, held)
            )
    return list(problems.values())


def _volume_spec(live: Answer, template: str) -> Object | None:
    if not isinstance(live, dict):
        return None
    if not template:
        return t.cast("Object", live.get("spec", {}))
    claims = live.get("spec", {}).get("volumeClaimTemplates") or []
    return next((claim["spec"] for claim in claims if claim["metadata"]["name"] == template), None)


def _volume_problem(variable: str, wanted: str, holder: str, held: str) -> CollectionError:
    return InputError(
        f"{variable} is {wanted or 'empty'}, but {holder} was made with {held or 'none'}, and a volume that "
        f"exists is not changed. "
        + (f"Set {variable} to {held}" if held else f"Leave {variable} empty")
        + ", or make a new experiment with another eden_name."
    )


def find_experiment_id(
    seen: Seen, parameters: t.Mapping[str, t.Any], mint: t.Callable[[], str] = mint_experiment_id
) -> tuple[str, Source, list[CollectionError]]:
    """The experiment's id, where it comes from, and what is wrong with it.

    The database is bound to the id that it was made with, so the one in the cluster counts: that of the
    ConfigMap, else that on the claims, which outlive it. A label that somebody else has changed says nothing.
    """
    namespace, given = parameters["namespace"], parameters["experiment_id"]
    labels = {
        describe("PersistentVolumeClaim", namespace, name): (
            ""
            if set_by_others(claim, "metadata", "labels", EXPERIMENT_LABEL)
            else _labels(claim).get(EXPERIMENT_LABEL, "")
        )
        for name, claim in seen.claims.items()
        if isinstance(claim, dict)
    }
    labelled = {claim: value for claim, value in labels.items() if value}
    source: Source
    if isinstance(seen.experiment, dict):
        holder = describe("ConfigMap", namespace, parameters["experiment_configmap"])
        stored = str((seen.experiment.get("data") or {}).get("experiment_id", ""))
        source = "stored"
    elif labelled:
        holder, stored = next(iter(labelled.items()))
        source = "claim"
    elif given:
        return given, "given", []
    else:
        return mint(), "minted", [_unknown_data(list(labels))] if labels else []
    problem = _id_problem(holder, stored, given, labelled)
    return stored, source, [problem] if problem else []


def _id_problem(
    holder: str, stored: str, given: str, labelled: t.Mapping[str, str]
) -> CollectionError | None:
    """What is wrong with the id that ``holder`` holds, next to the given one and those on the claims."""
    if not EXPERIMENT_ID.match(stored):
        return InputError(
            f"{holder} holds no experiment id but {stored[:60]!r}. The database is bound to the right one: "
            "restore it, or delete the experiment with its volumes."
        )
    if given and given != stored:
        return InputError(
            f"eden_experiment_id is {given}, but {holder} says {stored}, and the database is bound to that. "
            f"Leave eden_experiment_id out or set it to {stored}; a new experiment needs another eden_name."
        )
    others = [f"{claim} ({value})" for claim, value in labelled.items() if value != stored]
    if others:
        return InputError(
            f"{holder} says that the experiment is {stored}, but volumes of another are there: "
            f"{', '.join(others)}. Choose another eden_name, or delete the volumes that are left over."
        )
    return None


def find_seed_commit(
    seen: Seen, parameters: t.Mapping[str, t.Any]
) -> tuple[str | None, list[CollectionError]]:
    """The first commit of the experiment's repository, None where it was not seeded yet.

    Where its ConfigMap is gone, or somebody else has changed it, the task store still has the commit, which
    takes no other one for its database.
    """
    if not isinstance(seen.seed, dict):
        return _commit_of_task_store(seen), []
    commit = str((seen.seed.get("data") or {}).get("commit", ""))
    usable = COMMIT_SHA.match(commit)
    if usable and not set_by_others(seen.seed, "data", "commit"):
        return commit, []
    found = _commit_of_task_store(seen) or (commit if usable else None)
    if found:
        return found, []
    name = describe("ConfigMap", parameters["namespace"], parameters["seed_configmap"])
    return None, [
        InputError(
            f"{name} holds no commit id but {commit[:60]!r}. "
            "Delete it: the phase seed finds the commit again."
        )
    ]


def _commit_of_task_store(seen: Seen) -> str | None:
    """The commit that the task store was started with, while the repository is there."""
    if not all(map(is_bound, seen.claims.values())):
        return None
    found = (
        argument.removeprefix(COMMIT_FLAG)
        for (kind, _name), live in seen.objects.items()
        if kind == "Deployment"
        for container in live["spec"]["template"]["spec"]["containers"]
        for argument in container.get("args") or []
        if argument.startswith(COMMIT_FLAG)
    )
    return next(filter(COMMIT_SHA.match, found), None)


def refuse(problems: t.Sequence[CollectionError]) -> None:
    """Raise the one problem as it is, or several as one that lists them.

    Raises:
        CollectionError: where there is a problem.
    """
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise CollectionError(
            "\n".join(
                [
                    f"{len(problems)} things keep this experiment from the cluster; nothing was written.",
                    *(problem.message for problem in problems),
                ]
            )
        )


def _unknown_data(claims: t.Sequence[str]) -> CollectionError:
    return InputError(
        f"Whose data is on {', '.join(claims)} is not known: no ConfigMap and no label {EXPERIMENT_LABEL} "
        "says it, and a database is bound to one experiment. "
        "Set eden_experiment_id to its id, choose another eden_name, or delete the volumes."
    )


def _allowed(request: t.Callable[[], t.Any]) -> t.Any:
    try:
        return request()
    except ClusterError as error:
        if error.status == 403:
            return Refused(error)
        raise


def _foreign_owner(kind: str, live: Object) -> str:
    """Who an object belongs to if not to us; ours has our label, or fields that we applied."""
    manager = _labels(live).get(MANAGED_BY_LABEL, "")
    fields = live.get("metadata", {}).get("managedFields") or []
    if manager == NAME or any(entry.get("manager") == FIELD_MANAGER for entry in fields):
        return ""
    # A claim without labels may be left over of an experiment: find_experiment_id judges those.
    if kind == "PersistentVolumeClaim" and not manager:
        return ""
    return f"managed by {manager}" if manager else f"not made by {NAME}"


def _labels(live: Object) -> dict[str, str]:
    return live.get("metadata", {}).get("labels") or {}


def _is_default(storage_class: Object) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return any(annotations.get(name) == "true" for name in DEFAULT_CLASS_ANNOTATIONS)


def _held_up(namespace: Object) -> str:
    """What keeps a namespace from going, in the server's words."""
    conditions = (namespace.get("status") or {}).get("conditions") or []
    words = [condition.get("message", "") for condition in conditions if condition.get("status") == "True"]
    return f" ({'; '.join(filter(None, words))})" if any(words) else ""
