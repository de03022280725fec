# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks before the first write whether a run can succeed, and finds the experiment in the cluster.

Everything is read at once, then checked. Nothing is written: access reviews are not stored, and objects are
created only in dry runs.
This module is private to the collection.
"""

from __future__ import annotations

import contextlib
import functools
import re
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ansible_collections.eden.reference.plugins.module_utils._eden import (
    credentials,
    environments,
    live_experiment,
    permissions,
    placement,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import CredentialsError
from ansible_collections.eden.reference.plugins.module_utils._eden.ids import (
    COMMIT_SHA,
    EXPERIMENT_ID,
    mint_experiment_id,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
    MissingError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.apply import hand_over_command
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    PARALLEL,
    RETRY_BUDGET,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.comparison import (
    foreign_owner,
    set_by_others,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.lease import Lock, holder_of
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.storage import (
    has_default_class,
    is_bound,
)
from ansible_collections.eden.reference.plugins.module_utils._module import Task

# A missing one is reported with the connection.
with contextlib.suppress(ImportError):
    from kubernetes.utils.quantity import parse_quantity

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "topology": {"type": "dict", "required": True},
    "inputs": {"type": "dict", "required": True},
    "config": {"type": "str", "required": True},
    "deployer_role": {"type": "list", "elements": "dict", "required": True},
    "lock_timeout": {"type": "int", "default": 0},
    "files": {"type": "dict", "default": {}},
    "experiment": {"type": "str", "default": ""},
}

# A running server answers at once: a wrong address must not cost a minute, nor a lost answer the run.
FIRST_RETRY_BUDGET = 5.0
FIRST_TIMEOUT = 4.0
MIN_VERSION = (1, 27)

EXPERIMENT_LABEL = "eden.reference/experiment-id"
COMMIT_FLAG = "--base-commit-sha="
# ConfigMaps that several components share, by their names in the topology.
CONFIGMAPS = (
    "experiment",
    "experiment-config",
    "git-credential-helper",
    "forgejo-user",
    "postgres-start",
    "seed",
)
# Kinds of which one list covers all names.
LISTED = ("StatefulSet", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Ingress")
POD_SECURITY_LABEL = "pod-security.kubernetes.io/enforce"
# The inputs of Kubernetes' own types, by the field of a workload that they set.
POD_FIELDS = {
    "affinity": "eden_affinity",
    "tolerations": "eden_tolerations",
    "nodeSelector": "eden_node_selector",
}
# Those of a worker, in the same way.
WORKER_FIELDS = {"nodeSelector": "node_selector", "tolerations": "tolerations", "resources": "resources"}
RESOURCES = ("eden_resources", "eden_postgres_resources", "eden_forgejo_resources")
POLICY_FIELDS = {
    "ingress[0]": "eden_web_ui_peers",
    "ingress[1]": "eden_dns_peers",
    "egress": "eden_worker_egress",
}
# By the kind of the trial object that carries them.
TYPED = {
    "Deployment": (*POD_FIELDS.values(), *RESOURCES),
    "NetworkPolicy": tuple(POLICY_FIELDS.values()),
    "Ingress": ("eden_ingress",),
}
DECODING_ERROR = "cannot be handled as a"
# It exists in every cluster.
TRIAL_NAMESPACE = "default"

Key: t.TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Forbidden:
    """Stands in for an object that the user is not allowed to read."""

    error: ClusterError


Answer: t.TypeAlias = "Object | Forbidden | None"


@dataclass(frozen=True)
class Experiment:
    """The experiment that the run is to deploy.

    Attributes:
        topology: the result of the filter ``topology``.
        inputs: the inputs of the role that are checked here, by their names.
        files: checksum and number of parts of the packed directories ``experiment`` and ``seed``.
    """

    namespace: str
    topology: t.Mapping[str, t.Any]
    inputs: t.Mapping[str, t.Any]
    files: t.Mapping[str, t.Mapping[str, t.Any]]

    @classmethod
    def of(cls, parameters: t.Mapping[str, t.Any]) -> Experiment:
        """The experiment that the module's options describe."""
        files = parameters.get("files") or {}
        return cls(parameters["namespace"], parameters["topology"], parameters["inputs"], files)

    @property
    def claims(self) -> list[str]:
        """The names of the claims."""
        return list(self.topology["claims"].values())

    @property
    def identity_secrets(self) -> list[str]:
        """The names of the Secrets with the identities."""
        return [identity["secret"] for identity in self.topology["identities"]]

    @property
    def lock(self) -> str:
        """The name of the Lease that one run at a time holds."""
        return f"{self.inputs['eden_name']}-lock"

    def key(self, part: str) -> Key:
        """The kind and name of one of the shared ConfigMaps."""
        return "ConfigMap", self.topology["names"][part]

    def objects(self) -> list[Key]:
        """Kind and name of every object of the experiment except Jobs, whose names contain a digest."""
        names, inputs = self.topology["names"], self.inputs
        components = self.topology["components"]
        keys: list[Key] = [(row["kind"], row["name"]) for row in self.topology["objects"]]
        keys += [("ConfigMap", names[part]) for part in CONFIGMAPS]
        for content, packed in self.files.items():
            name = names[f"{content}-files"]
            keys += [("ConfigMap", f"{name}-{number}") for number in range(packed.get("parts", 0))]
        keys += [("PersistentVolumeClaim", name) for name in self.claims]
        keys += [("Secret", name) for name in self.identity_secrets]
        keys.append(("Lease", self.lock))
        if not inputs["eden_existing_secret"]:
            keys.append(("Secret", names["credentials"]))
        if inputs["eden_network_policies"]:
            keys += [("NetworkPolicy", component["name"]) for component in components.values()]
        if inputs["eden_disruption_budgets"]:
            keys += [("PodDisruptionBudget", components[name]["name"]) for name in self.topology["budgets"]]
        if inputs["eden_ingress"]:
            keys.append(("Ingress", names["web-ui"]))
        return keys

    def user_secrets(self) -> list[str]:
        """The names of the Secrets that belong to the user."""
        inputs = self.inputs
        environment = environments.secrets_of(inputs["eden_workers"]).values()
        names = (inputs["eden_existing_secret"], *inputs["eden_image_pull_secrets"], *environment)
        return [name for name in names if name]


@dataclass(frozen=True)
class ClusterState:
    """The state of the cluster. An answer is an object, None if it does not exist, or a :class:`Forbidden`.

    Attributes:
        objects: those of the experiment and of the user, by kind and name.
        storage_classes: all of them, or a :class:`Forbidden`.
        nodes: all of them, or a :class:`Forbidden`; none if nothing depends on them.
    """

    rules: permissions.Rules
    namespace: Answer
    objects: t.Mapping[Key, Answer]
    storage_classes: list[Object] | Forbidden
    nodes: list[Object] | Forbidden

    def claims(self, experiment: Experiment) -> dict[str, Answer]:
        """The claims of the experiment, by name."""
        return {name: self.objects["PersistentVolumeClaim", name] for name in experiment.claims}


def run(task: Task) -> dict[str, t.Any]:
    """Read, check, and return the values that the phases need."""
    experiment = Experiment.of(task.parameters)
    with connected(task.parameters, FIRST_RETRY_BUDGET) as cluster:
        check_version(cluster)
        cluster.retry_budget = RETRY_BUDGET
        lock, lock_warnings = look_at_lock(cluster, experiment, task)
        state = collect_state(cluster, experiment)
        fail_if_namespace_is_unusable(state, experiment)
        fail_if_permissions_are_missing(cluster, state, experiment, task.parameters["deployer_role"])
        warnings, problems = check_types(cluster, state, experiment)
        problems += live_experiment.check_password(cluster, state, experiment)
    more_warnings, more = check_storage(state, experiment)
    placement_warnings, misplaced = check_placement(state, experiment)
    problems += more + misplaced + check_claims(state, experiment) + check_secrets(state, experiment)
    problems += check_environments(state, experiment)
    problems += check_owners(state, experiment) or check_volumes(state, experiment)
    experiment_id, id_problems = find_experiment_id(state, experiment)
    commit, commit_problems = find_seed_commit(state, experiment)
    seed_files, seed_problems = live_experiment.check_seed_files(state, experiment)
    problems += seed_problems
    problems += live_experiment.check_version(state, experiment)
    problems += live_experiment.check_volumes_are_kept(state, experiment, experiment_id)
    problems += live_experiment.check_schema(state, experiment, task.parameters["config"])
    fail_if_problems([*problems, *id_problems, *commit_problems])
    return {
        "changed": False,
        "experiment": task.parameters.get("experiment", ""),
        "topology": task.parameters["topology"],
        "experiment_id": experiment_id,
        "seed_commit": commit,
        "seed_files": seed_files,
        "unbound_claims": [name for name, claim in state.claims(experiment).items() if not is_bound(claim)],
        "lock": lock.option(),
        "warnings": lock_warnings + warnings + more_warnings + placement_warnings,
    }


def check_version(cluster: Cluster) -> None:
    """Require an API server of a supported version.

    Raises:
        UnreachableError: no answer came.
        CollectionError: it is too old.
    """
    version = str(cluster.version(FIRST_TIMEOUT).get("gitVersion", ""))
    match = re.match(r"v?([0-9]+)\.([0-9]+)", version)
    if match and (int(match[1]), int(match[2])) < MIN_VERSION:
        oldest = ".".join(map(str, MIN_VERSION))
        raise CollectionError(
            f"The API server {cluster.address} is Kubernetes {version}; {oldest} or newer is required. "
            "Upgrade the cluster, or choose another with eden_kubeconfig and eden_context."
        )


def look_at_lock(cluster: Cluster, experiment: Experiment, task: Task) -> tuple[Lock, list[str]]:
    """The lock, at the version before anything else is read, and a warning if another run holds it.

    Raises:
        LockedError: another run holds it, and this is not check mode.
    """
    holder, labels = holder_of(task.process, task.host), experiment.topology["labels"]
    lock = Lock(cluster, experiment.namespace, experiment.lock, holder, labels=labels)
    timeout = 0 if task.check_mode else task.parameters["lock_timeout"]
    locked = _allowed(functools.partial(lock.look, timeout, task.progress))
    if not isinstance(locked, CollectionError):
        # That reading it is forbidden is reported with the other permissions.
        return lock, []
    if not task.check_mode:
        raise locked
    return lock, [locked.message]


def collect_state(cluster: Cluster, experiment: Experiment) -> ClusterState:
    """Read everything that is checked, in parallel.

    Raises:
        ClusterError: a request failed for another reason than a missing permission.
    """
    namespace = experiment.namespace
    keys = dict.fromkeys([*experiment.objects(), *(("Secret", name) for name in experiment.user_secrets())])
    listed = [kind for kind in LISTED if any(kind == row[0] for row in keys)]
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:

        def submit(request: t.Callable[..., t.Any], *arguments: str) -> t.Any:
            return pool.submit(_allowed, functools.partial(request, *arguments))

        rules = pool.submit(permissions.rules_review, cluster, namespace)
        found_namespace = submit(cluster.read, "Namespace", "", namespace)
        classes = submit(cluster.list, "StorageClass")
        needs_nodes = placement.needs_nodes(experiment.topology, experiment.inputs)
        nodes = submit(cluster.list, "Node") if needs_nodes else None
        lists = {kind: submit(cluster.list, kind, namespace) for kind in listed}
        single = {
            (kind, name): submit(cluster.read, kind, namespace, name)
            for kind, name in keys
            if kind not in LISTED
        }
    objects: dict[Key, Answer] = {key: future.result() for key, future in single.items()}
    for kind, future in lists.items():
        answer = future.result()
        by_name = {} if isinstance(answer, Forbidden) else {item["metadata"]["name"]: item for item in answer}
        objects |= {
            (kind, name): answer if isinstance(answer, Forbidden) else by_name.get(name)
            for key_kind, name in keys
            if key_kind == kind
        }
    found_nodes = nodes.result() if nodes else []
    return ClusterState(rules.result(), found_namespace.result(), objects, classes.result(), found_nodes)


def fail_if_namespace_is_unusable(state: ClusterState, experiment: Experiment) -> None:
    """Refuse a namespace that is being deleted, or that belongs to others and would be relabelled.

    Raises:
        MissingError: it does not exist and is not to be created.
        CollectionError: it is being deleted, or it belongs to others.
    """
    namespace, live = experiment.namespace, state.namespace
    manage = experiment.inputs["eden_manage_namespace"]
    if live is None and not manage:
        raise MissingError(
            f"There is no {describe('Namespace', '', namespace)}, and eden_manage_namespace is false. "
            f"Create it (kubectl create namespace {namespace}), or set eden_manage_namespace to true."
        )
    if not isinstance(live, dict):
        return
    metadata = live.get("metadata", {})
    if metadata.get("deletionTimestamp"):
        raise CollectionError(
            f"{describe('Namespace', '', namespace)} has been terminating since "
            f"{metadata['deletionTimestamp']}{_held_up(live)}. "
            "Nothing can be created in it. Wait until it is gone "
            f"(kubectl wait --for=delete namespace/{namespace}), or choose another with eden_namespace."
        )
    owner = foreign_owner(live)
    if owner and manage:
        level = (metadata.get("labels") or {}).get(POD_SECURITY_LABEL, "")
        enforced = f"enforces Pod Security {level!r}" if level else "enforces no Pod Security Standard"
        raise CollectionError(
            f"{describe('Namespace', '', namespace)} already exists, {owner}. It {enforced}, and with "
            "eden_manage_namespace: true the run would label it restricted, for everything in it. Set "
            "eden_manage_namespace to false to use it as it is, or choose another with eden_namespace. If it "
            f"belongs to this experiment only, hand it over: {hand_over_command('Namespace', '', namespace)}."
        )


def fail_if_permissions_are_missing(
    cluster: Cluster, state: ClusterState, experiment: Experiment, role: t.Sequence[Object]
) -> None:
    """Refuse to start a run that could not be completed.

    Raises:
        CollectionError: lists every missing permission with its reason.
    """
    names = {
        experiment.namespace: [experiment.namespace],
        "eden": [experiment.namespace],
        "credentials": [experiment.topology["names"]["credentials"]],
        "identity": experiment.identity_secrets,
    }
    needed = permissions.needed(
        role,
        experiment.namespace,
        names,
        experiment.inputs,
        namespace_exists=state.namespace is not None,
    )
    prefix = f"{experiment.inputs['eden_name']}-"
    absent = permissions.missing(cluster, needed, state.rules, prefix)
    if absent:
        raise CollectionError(
            f"The user of the kubeconfig lacks permissions on {cluster.address}:\n"
            f"{permissions.explain(absent)}\n"
            "Nothing was written. Have them granted (deployer-role.yaml of the role eden.reference.eden has "
            "all of them), or use a kubeconfig that has them.",
            missing_permissions=[permission._asdict() for permission in absent],
        )


def check_types(
    cluster: Cluster, state: ClusterState, experiment: Experiment
) -> tuple[list[str], list[CollectionError]]:
    """The warnings and the problems of inputs of Kubernetes' own types.

    They are tried in dry runs: a Deployment of no replicas, a NetworkPolicy and an Ingress carry them all,
    and others those of each worker. In a namespace that does not exist the server would find unknown fields
    only, so another one is used.
    """
    absent = state.namespace is None
    namespace = TRIAL_NAMESPACE if absent else experiment.namespace
    warnings: list[str] = []
    problems: list[CollectionError] = []
    plain: list[tuple[Object, dict[str, str]]] = [
        (definition, {}) for definition in trial_objects(experiment, namespace)
    ]
    for definition, fields in [*plain, *worker_trials(experiment, namespace)]:
        try:
            cluster.create(definition, dry_run=True)
        except ClusterError as error:
            names = _refused_inputs(experiment, definition["kind"], error, fields)
            if names:
                where = f" It was tried in a dry run in namespace {namespace}." if absent else ""
                problems.append(
                    InputError(f"The API server refuses {', '.join(names)}. {error.message}{where}")
                )
            elif absent and error.status == 403:
                warnings.append(
                    f"Namespace {experiment.namespace} does not exist yet, and whether the API server "
                    f"accepts the inputs for a {definition['kind']} could not be tried elsewhere: "
                    f"{error.message}"
                )
    return warnings, problems


def trial_objects(experiment: Experiment, namespace: str) -> list[Object]:
    """The objects that carry the inputs of Kubernetes' own types, as far as these are set."""
    inputs = experiment.inputs
    metadata = {"generateName": f"{inputs['eden_name']}-preflight-", "namespace": namespace}
    objects: list[Object] = []
    if any(inputs[name] for name in TYPED["Deployment"]):
        pod = {
            "containers": [
                {"name": name.replace("_", "-"), "image": "none", "resources": inputs[name]}
                for name in RESOURCES
            ],
            **{field: inputs[name] for field, name in POD_FIELDS.items()},
        }
        objects.append(_deployment(metadata, pod))
    if inputs["eden_network_policies"] and any(inputs[name] for name in TYPED["NetworkPolicy"]):
        spec: Object = {
            "podSelector": {},
            "ingress": [{"from": inputs["eden_web_ui_peers"]}, {"from": inputs["eden_dns_peers"]}],
            "egress": inputs["eden_worker_egress"],
        }
        objects.append(_networking("NetworkPolicy", metadata, spec))
    ingress = inputs["eden_ingress"]
    if ingress:
        # Without the class: an Ingress of an unknown class is valid.
        spec = {
            "rules": [{"host": ingress["host"]}],
            "defaultBackend": {"service": {"name": "none", "port": {"name": "http"}}},
        }
        annotated = {**metadata, "annotations": ingress.get("annotations") or {}}
        objects.append(_networking("Ingress", annotated, spec))
    return objects


def worker_trials(experiment: Experiment, namespace: str) -> t.Iterator[tuple[Object, dict[str, str]]]:
    """The objects that carry the inputs of each worker, with these by the field of the object."""
    inputs = experiment.inputs
    metadata = {"generateName": f"{inputs['eden_name']}-preflight-", "namespace": namespace}
    for host, worker in inputs["eden_workers"].items():
        given = {field: worker[key] for field, key in WORKER_FIELDS.items() if worker.get(key)}
        names = {
            field: f"eden_workers.{host}.{key}" for field, key in WORKER_FIELDS.items() if field in given
        }
        resources = given.pop("resources", {})
        if names:
            container = {"name": "command", "image": "none", "resources": resources}
            yield _deployment(metadata, {"containers": [container], **given}), names
        if inputs["eden_network_policies"] and worker.get("egress"):
            spec = {"podSelector": {}, "egress": worker["egress"]}
            egress = {"spec.egress": f"eden_workers.{host}.egress"}
            yield _networking("NetworkPolicy", metadata, spec), egress


def _deployment(metadata: Object, pod: Object) -> Object:
    labels = {"app.kubernetes.io/component": "preflight"}
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def _networking(kind: str, metadata: Object, spec: Object) -> Object:
    return {"apiVersion": "networking.k8s.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def _refused_inputs(
    experiment: Experiment, kind: str, error: ClusterError, fields: t.Mapping[str, str]
) -> list[str]:
    """The inputs that the API server refuses; ``fields`` are those of a worker.

    Other refusals are not about the inputs: a policy, a quota or a webhook may refuse the trial and take the
    real objects.
    """
    if error.status not in (400, 422) or (error.refusal and error.refusal.category != "invalid"):
        return []
    if fields:
        found = [name for field, name in fields.items() if field in error.message]
        return found or (list(fields.values()) if DECODING_ERROR in error.message else [])
    names = ["eden_ingress"] if kind == "Ingress" else _inputs_of(error.message)
    if not names and DECODING_ERROR in error.message:
        # It names no field.
        names = [name for name in TYPED[kind] if experiment.inputs[name]]
    return names


def _inputs_of(message: str) -> list[str]:
    """The inputs whose fields the API server names."""
    found = [
        RESOURCES[int(number)] if number else POD_FIELDS[field]
        for field, number in re.findall(
            rf"spec\.template\.spec\.(?:({'|'.join(POD_FIELDS)})\b|containers\[([0-9])\]\.resources)", message
        )
    ]
    found += [name for field, name in POLICY_FIELDS.items() if f"spec.{field}" in message]
    return list(dict.fromkeys(found))


def check_storage(state: ClusterState, experiment: Experiment) -> tuple[list[str], list[CollectionError]]:
    """The warnings and problems of the storage class, while there are volumes to be provisioned."""
    desired = experiment.inputs["eden_storage_class"]
    if all(state.claims(experiment).values()):
        return [], []
    if isinstance(state.storage_classes, Forbidden):
        which = f"the storage class {desired}" if desired else "a default storage class"
        return [f"Whether {which} exists could not be checked: {state.storage_classes.error.message}"], []
    names = sorted(item["metadata"]["name"] for item in state.storage_classes)
    has = f"it has {', '.join(names)}" if names else "it has none"
    if desired and desired not in names:
        advice = "Use one of these, or leave it empty for the cluster's default." if names else "Install one."
        return [], [
            MissingError(
                f"The cluster has no StorageClass {desired}, which eden_storage_class names: {has}. {advice}"
            )
        ]
    if not desired and not has_default_class(state.storage_classes):
        advice = f"Set eden_storage_class to one of {', '.join(names)}." if names else "Install one."
        return [], [
            MissingError(
                f"The cluster has no default StorageClass, and eden_storage_class is empty: {has}. {advice}"
            )
        ]
    return [], []


def check_placement(state: ClusterState, experiment: Experiment) -> tuple[list[str], list[CollectionError]]:
    """The warnings and problems of hosts whose pods find no node."""
    nodes, warnings = state.nodes, []
    if isinstance(nodes, Forbidden):
        warnings = [
            "Whether the nodes have what the hosts request, and one of them has room for all pods that share "
            f"the claim artifacts, could not be checked: {nodes.error.message}"
        ]
    known = None if isinstance(nodes, Forbidden) else nodes
    return warnings, placement.problems(experiment.topology, experiment.inputs, known)


def check_claims(state: ClusterState, experiment: Experiment) -> list[CollectionError]:
    """The problems of claims that are being deleted once their pods are gone."""
    return [
        CollectionError(
            f"{describe('PersistentVolumeClaim', experiment.namespace, name)} has been terminating since "
            f"{claim['metadata']['deletionTimestamp']}, and exists only while a pod uses it; a deletion "
            "cannot be undone. First copy what you need from its volume: its data is deleted with it. "
            "Then delete the pods that use it and run again: the message says how to go on."
        )
        for name, claim in state.claims(experiment).items()
        if isinstance(claim, dict) and claim.get("metadata", {}).get("deletionTimestamp")
    ]


def check_secrets(state: ClusterState, experiment: Experiment) -> list[CollectionError]:
    """The problems of the Secrets that belong to the user, and of damaged values in our own.

    Secrets for registries are checked only if the namespace exists.
    """
    namespace, existing = experiment.namespace, experiment.inputs["eden_existing_secret"]
    keys = experiment.topology["credential_keys"]
    name = experiment.topology["names"]["credentials"]
    live = state.objects.get(("Secret", name))
    problems: list[CollectionError] = []
    if existing and live is None:
        problems.append(
            MissingError(
                f"There is no {describe('Secret', namespace, existing)}, which eden_existing_secret names. "
                "Create it, or leave eden_existing_secret empty to have one generated."
            )
        )
    try:
        if not isinstance(live, dict):
            pass
        elif existing:
            advice = "Add them, or leave eden_existing_secret empty to have a Secret generated."
            credentials.usable(live, namespace, existing, keys, advice)
        elif not foreign_owner(live):
            restoring = credentials.restoring_advice(namespace, name)
            credentials.fail_if_unusable(live, namespace, name, keys, restoring)
    except CredentialsError as error:
        problems.append(error)
    if state.namespace is not None:
        problems += [
            MissingError(
                f"There is no {describe('Secret', namespace, pull)}, which eden_image_pull_secrets names. "
                f"Create it (kubectl create secret docker-registry {pull} --namespace {namespace} …), "
                "or remove it from the list."
            )
            for pull in dict.fromkeys(experiment.inputs["eden_image_pull_secrets"])
            if state.objects["Secret", pull] is None
        ]
    return problems


def check_environments(state: ClusterState, experiment: Experiment) -> list[CollectionError]:
    """The problems of the user's Secrets that fill the environment of commands."""
    problems: list[CollectionError] = []
    for variable, name in environments.secrets_of(experiment.inputs["eden_workers"]).items():
        live = state.objects["Secret", name]
        if isinstance(live, Forbidden):
            named = f"{describe('Secret', experiment.namespace, name)}, which {variable} names"
            advice = "Have get on it granted: whether it has changed decides about a restart."
            problems.append(CollectionError(f"{named}, cannot be read. {live.error.message} {advice}"))
        else:
            exists = state.namespace is not None
            problems += environments.problems(live, experiment.namespace, name, variable, exists)
    return problems


def check_owners(state: ClusterState, experiment: Experiment) -> list[CollectionError]:
    """The problem of objects of others under the experiment's names."""
    namespace = experiment.namespace
    foreign = {
        describe(kind, namespace, name): owner
        for kind, name in experiment.objects()
        if isinstance(live := state.objects[kind, name], dict)
        and (owner := foreign_owner({**live, "kind": kind}))
    }
    if not foreign:
        return []
    listed = ", ".join(f"{name} ({owner})" for name, owner in foreign.items())
    return [
        CollectionError(
            f"Objects with the names of this experiment belong to others: {listed}. Choose another eden_name "
            "or eden_namespace. An object that its owner no longer needs can be handed over; the run then "
            f"overwrites what it sets in it: {hand_over_command('KIND', namespace, 'NAME')}."
        )
    ]


def check_volumes(state: ClusterState, experiment: Experiment) -> list[CollectionError]:
    """The problems of inputs that would change an existing volume, which Kubernetes refuses.

    For the volumes of a StatefulSet its claim templates count, even if a claim was enlarged since.
    """
    desired = experiment.inputs["eden_storage_class"]
    problems: dict[str, CollectionError] = {}
    for volume in experiment.topology["volumes"]:
        workload, name, variable = volume["workload"], volume["claim"], volume["variable"]
        key = ("StatefulSet", workload) if workload else ("PersistentVolumeClaim", name)
        spec = _volume_spec(state.objects.get(key), name if workload else "")
        if spec is None:
            continue
        holder = (
            f"the volume {name} of {describe('StatefulSet', experiment.namespace, workload)}"
            if workload
            else describe("PersistentVolumeClaim", experiment.namespace, name)
        )
        size = str(spec.get("resources", {}).get("requests", {}).get("storage", "0"))
        if parse_quantity(size) != parse_quantity(volume["size"]):
            problems.setdefault(variable, _volume_problem(variable, volume["size"], holder, size))
        actual = spec.get("storageClassName") or ""
        # The server defaults the class of a claim, but not that of a template.
        if desired != actual and (workload or desired):
            problems.setdefault(
                "eden_storage_class", _volume_problem("eden_storage_class", desired, holder, actual)
            )
    return list(problems.values())


def _volume_spec(live: Answer, template: str) -> Object | None:
    if not isinstance(live, dict):
        return None
    if not template:
        return t.cast("Object", live.get("spec", {}))
    claims = live.get("spec", {}).get("volumeClaimTemplates") or []
    return next((claim["spec"] for claim in claims if claim["metadata"]["name"] == template), None)


def _volume_problem(variable: str, desired: str, holder: str, actual: str) -> CollectionError:
    return InputError(
        f"{variable} is {desired or 'empty'}, but {holder} was created with {actual or 'none'}, and an "
        "existing volume is never changed. "
        + (f"Set {variable} to {actual}" if actual else f"Leave {variable} empty")
        + ", or start a new experiment with another eden_name."
    )


def find_experiment_id(
    state: ClusterState, experiment: Experiment, mint: t.Callable[[], str] = mint_experiment_id
) -> tuple[str, list[CollectionError]]:
    """The experiment's id, and its problems.

    The database is bound to the id that it was created with, so the one in the cluster counts: that of the
    ConfigMap, else that on the claims, which outlive it. A label that others have changed is ignored.
    """
    namespace, given = experiment.namespace, experiment.inputs["eden_experiment_id"]
    labels = {
        describe("PersistentVolumeClaim", namespace, name): (
            ""
            if set_by_others(claim, "metadata", "labels", EXPERIMENT_LABEL)
            else (claim.get("metadata", {}).get("labels") or {}).get(EXPERIMENT_LABEL, "")
        )
        for name, claim in state.claims(experiment).items()
        if isinstance(claim, dict)
    }
    labelled = {claim: value for claim, value in labels.items() if value}
    key = experiment.key("experiment")
    live = state.objects[key]
    if isinstance(live, dict):
        holder = describe(key[0], namespace, key[1])
        stored = str((live.get("data") or {}).get("experiment_id", ""))
    elif labelled:
        holder, stored = next(iter(labelled.items()))
    elif given:
        return given, []
    else:
        return mint(), [_unknown_data(list(labels))] if labels else []
    problem = _id_problem(holder, stored, given, labelled)
    return stored, [problem] if problem else []


def _id_problem(
    holder: str, stored: str, given: str, labelled: t.Mapping[str, str]
) -> CollectionError | None:
    """The problem of the id in ``holder``, compared with the given one and those on the claims."""
    if not EXPERIMENT_ID.match(stored):
        return InputError(
            f"{holder} contains {stored[:60]!r} instead of an experiment id. The database is bound to the "
            "original id: restore it, or start a new experiment with another eden_name."
        )
    if given and given != stored:
        return InputError(
            f"eden_experiment_id is {given}, but {holder} contains {stored}, to which the database is bound. "
            f"Remove eden_experiment_id or set it to {stored}; a new experiment needs another eden_name."
        )
    others = [f"{claim} ({value})" for claim, value in labelled.items() if value != stored]
    if others:
        return InputError(
            f"{holder} names the experiment {stored}, but there are volumes of another one: "
            f"{', '.join(others)}. Choose another eden_name; if nothing in these volumes is needed any "
            "longer, delete their claims."
        )
    return None


def find_seed_commit(state: ClusterState, experiment: Experiment) -> tuple[str | None, list[CollectionError]]:
    """The first commit of the experiment's repository, None if it was not seeded yet.

    If its ConfigMap is gone, or others have changed it, the commit is that of the task store, whose database
    accepts no other.
    """
    key = experiment.key("seed")
    live = state.objects[key]
    if not isinstance(live, dict):
        return _commit_of_task_store(state, experiment), []
    commit = str((live.get("data") or {}).get("commit", ""))
    usable = COMMIT_SHA.match(commit)
    if usable and not set_by_others(live, "data", "commit"):
        return commit, []
    found = _commit_of_task_store(state, experiment) or (commit if usable else None)
    if found:
        return found, []
    return None, [
        InputError(
            f"{describe(key[0], experiment.namespace, key[1])} contains {commit[:60]!r} instead of a "
            "commit id. Delete this ConfigMap: the phase seed then reads it from the repository, which "
            "is kept."
        )
    ]


def _commit_of_task_store(state: ClusterState, experiment: Experiment) -> str | None:
    """The commit that the task store was started with, while the repository exists."""
    if not all(map(is_bound, state.claims(experiment).values())):
        return None
    found = (
        argument.removeprefix(COMMIT_FLAG)
        for (kind, _name), live in state.objects.items()
        if kind == "Deployment" and isinstance(live, dict)
        for container in live["spec"]["template"]["spec"]["containers"]
        for argument in container.get("args") or []
        if argument.startswith(COMMIT_FLAG)
    )
    return next(filter(COMMIT_SHA.match, found), None)


def fail_if_problems(problems: t.Sequence[CollectionError]) -> None:
    """Raise a single problem as it is, or one error that lists several.

    Raises:
        CollectionError: there is a problem.
    """
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise CollectionError(
            "\n".join(
                [
                    f"{len(problems)} problems prevent the deployment; nothing was written.",
                    *(problem.message for problem in problems),
                ]
            )
        )


def _unknown_data(claims: t.Sequence[str]) -> CollectionError:
    return InputError(
        f"The experiment of the data on {', '.join(claims)} is unknown: neither a ConfigMap nor the label "
        f"{EXPERIMENT_LABEL} has its id, and a database is bound to one experiment. "
        "Set eden_experiment_id to its id, or choose another eden_name."
    )


def _allowed(request: t.Callable[[], t.Any]) -> t.Any:
    try:
        return request()
    except ClusterError as error:
        if error.status == 403:
            return Forbidden(error)
        raise


def _held_up(namespace: Object) -> str:
    """The server's messages about a delayed deletion of a namespace."""
    conditions = (namespace.get("status") or {}).get("conditions") or []
    words = [condition.get("message", "") for condition in conditions if condition.get("status") == "True"]
    return f" ({'; '.join(filter(None, words))})" if any(words) else ""
