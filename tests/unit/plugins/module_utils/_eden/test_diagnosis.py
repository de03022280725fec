# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a workload is not ready, told from objects and words of a real cluster."""

from __future__ import annotations

import re
import typing as t
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ansible_collections.eden.reference.plugins.module_utils._eden import diagnosis
from ansible_collections.eden.reference.plugins.module_utils._eden.diagnosis import (
    APPEAR,
    OWN_INPUTS,
    RETRIED,
    SECOND_TRY,
    SETTLE,
    Cause,
    RolloutState,
    find_causes,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._kube.reasons import REASONS, Place, Reason
from ansible_collections.eden.reference.plugins.modules import rollout
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._kube import kube_objects as k

POSTGRES = k.statefulset()
TASK_STORE = k.deployment()
SEED = k.job()

NO_HOST = (
    'failed to resolve reference "docker.io/library/postgres:none-such": failed to do request: Head '
    '"https://registry-1.docker.io/v2/library/postgres/manifests/none-such": dial tcp: lookup '
    "registry-1.docker.io on 172.18.0.1:53: no such host"
)
SLOW = 'failed to do request: Head "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout'
NOT_FOUND = (
    'failed to resolve reference "docker.io/library/postgres:none-such": postgres:none-such: not found'
)
UNAUTHORIZED = "unexpected status from GET request to https://auth.example.org/token: 401 Unauthorized"
SHORT_NAME = "short name mode is enforcing, but image name postgres:16.6-alpine returns ambiguous list"
NO_SECRET = 'secret "absent" not found'
NO_KEY = "couldn't find key k in Secret eden/s"
SYNC = "failed to sync secret cache: timed out waiting for the condition"
RESERVED = 'failed to reserve container name "a": name "a" is reserved for "b"'
NO_MOUNT = f'MountVolume.SetUp failed for volume "v" : {NO_SECRET}'
NODES = "0/1 nodes are available: 1 {}. preemption: 0/1 nodes are available: 1 Preemption is not helpful."
INSUFFICIENT = (
    "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
    "available: 1 Preemption is not helpful for scheduling."
)
SELECTOR = NODES.format("node(s) didn't match Pod's node affinity/selector")
TAINT = NODES.format("node(s) had untolerated taint(s)")
NOT_READY_NODE = NODES.format("node(s) had untolerated taint {node.kubernetes.io/not-ready: }")
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
EXCEEDED = 'pods "db-0" is forbidden: exceeded quota: small, requested: requests.cpu=1, used: 0'
CLAIMS_EXCEEDED = (
    'persistentvolumeclaims "data-db-0" is forbidden: exceeded quota: small, requested: requests.storage=10Gi'
)
RESTRICTED = (
    'pods "web-648f798557-rx5zs" is forbidden: violates PodSecurity "restricted:latest": '
    'allowPrivilegeEscalation != false (container "main" must set '
    "securityContext.allowPrivilegeEscalation=false)"
)
LIMIT = 'pods "web-d8b8c5659-xzl4m" is forbidden: maximum cpu usage per Container is 100m, but limit is 1'
WEBHOOK = 'admission webhook "validate.kyverno.svc-fail" denied the request: images must be signed'
NO_WEBHOOK = (
    'Internal error occurred: failed calling webhook "validate.kyverno.svc-fail": no endpoints available'
)
POLICY = (
    "pods \"db-0\" is forbidden: ValidatingAdmissionPolicy 'owners' with binding 'all' denied request: "
    "failed expression: has(object.metadata.labels.owner)"
)
SCC = 'pods "db-0" is forbidden: unable to validate against any security context constraint: [...]'
NO_ACCOUNT = (
    'pods "db-0" is forbidden: error looking up service account eden/{0}: serviceaccount "{0}" not found'
)
NO_PROGRAM = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
    "failed: unable to start container process: error during container init: "
    'exec: "/none/such": stat /none/such: no such file'
)


def state(workload: Object, *pods: Object, events: t.Sequence[Object] = (), **more: t.Any) -> RolloutState:
    component = diagnosis.component_of(workload)
    return RolloutState(workload, component, pods=list(pods), events=list(events), **more)


def waiting(reason: str, message: str, workload: Object | None = None) -> RolloutState:
    workload = workload or POSTGRES
    container = k.container(k.waiting(reason, message))
    return state(workload, k.pod(workload, container, image="postgres:none-such"))


def backing_off(words: str, event: str = "") -> RolloutState:
    image = "postgres:none-such"
    found = waiting("ImagePullBackOff", f'Back-off pulling image "{image}"{words}')
    failed = k.event(found.pods[0], "Failed", f'Failed to pull image "{image}": {event}', "main")
    return replace(found, events=[failed] if event else [])


def without_pod(workload: Object) -> Object:
    return {**workload, "status": {**workload["status"], "replicas": 0, "updatedReplicas": 0}}


def starting(reason: str, message: str, kind: str = "Warning") -> RolloutState:
    pod = k.pod(TASK_STORE, k.container(k.waiting("ContainerCreating")))
    return state(TASK_STORE, pod, events=[k.event(pod, reason, message, kind=kind)])


def unscheduled(message: str, *events: str, reason: str = "Unschedulable") -> RolloutState:
    pod = k.pod(POSTGRES, node="", unschedulable=message or "words")
    pod["status"]["conditions"][0] |= {"reason": reason, "message": message}
    return state(POSTGRES, pod, events=[k.event(pod, event, f"words of {event}") for event in events])


def volume(asked: str | None, classes: list[Object] | None, *events: tuple[str, str]) -> RolloutState:
    claim = k.claim("data-eden-postgres-0", asked)
    pod = k.pod(POSTGRES, node="", unschedulable=UNBOUND, claims=["data-eden-postgres-0"])
    told = [k.event(claim, *event) for event in events]
    return state(POSTGRES, pod, events=told, claims=[claim], storage_classes=classes)


def refused(workload: Object, message: str, preamble: str | None = None) -> RolloutState:
    about = k.replica_set(workload) if workload["kind"] == "Deployment" else workload
    if preamble is None:
        preamble = (
            "Create Pod db-0 in StatefulSet db failed error: " if about is workload else "Error creating: "
        )
    return state(without_pod(workload), events=[k.event(about, "FailedCreate", preamble + message, count=13)])


def crashing(
    code: int = 3, reason: str = "Error", restarts: int = 2, message: str = "", events: t.Any = ()
) -> RolloutState:
    status = k.container(k.terminated(code, reason, message), restarts, k.terminated(code, reason, message))
    pod = k.pod(POSTGRES, status, phase="Running")
    return state(POSTGRES, pod, events=[k.event(pod, *event) for event in events])


def crash_loop_back_off() -> RolloutState:
    status = k.container(k.waiting("CrashLoopBackOff", "back-off 20s"), 2, k.terminated(1))
    return state(POSTGRES, k.pod(POSTGRES, status, phase="Running"))


def failing_init() -> RolloutState:
    init = k.container(k.terminated(1), 2, k.terminated(1), name="prepare")
    return state(POSTGRES, k.pod(POSTGRES, k.container(k.waiting("PodInitializing")), init=[init]))


def rejected(reason: str, message: str = "") -> RolloutState:
    pod = k.pod(TASK_STORE, phase="Failed")
    pod["status"] |= {"reason": reason, "message": message}
    return state(TASK_STORE, pod)


STANDARD = k.storage_class("standard", default=True)
BETA = k.storage_class("standard")
BETA["metadata"]["annotations"] = {"storageclass.beta.kubernetes.io/is-default-class": "true"}
KILLED = (
    ("Unhealthy", "Startup probe failed: port closed\n", "main"),
    ("Killing", "Container main failed startup probe, will be restarted", "main"),
)
MAKES = "Run `--tags infra` for credentials"
RUNTIME = "Have the nodes' container runtime configured"


def rows(kind: str, wait: float, cases: list[tuple[t.Any, ...]]) -> list[t.Any]:
    """Cases of one kind and one wait: the name, the state, and what the message says."""
    return [pytest.param(found, kind, wait, says, id=name) for name, found, *says in cases]


# fmt: off
ROWS = [
    *rows("image", RETRIED, [
        ("a registry that does not answer in time", waiting("ErrImagePull", SLOW), "TLS handshake timeout"),
        ("a container runtime that starts", waiting("ImageInspectError", "rpc error: code = Unavailable"),
         "code = Unavailable"),
        ("a registry that is unavailable", waiting("RegistryUnavailable", "the registry is unavailable"),
         "the registry is unavailable"),
    ]),
    *rows("image", SECOND_TRY, [
        ("a registry that cannot be found", waiting("ErrImagePull", NO_HOST),
         "pod eden-postgres-0 cannot pull image postgres:none-such: failed to resolve", "no such host",
         "eden_postgres_image"),
        ("the same while the kubelet backs off", backing_off(f": ErrImagePull: {NO_HOST}"),
         "cannot pull image postgres:none-such: failed to resolve"),
    ]),
    *rows("image", SETTLE, [
        ("a kubelet that backs off without words", backing_off("", NOT_FOUND), f"none-such: {NOT_FOUND}"),
        ("an image that the registry does not have", waiting("ErrImagePull", NOT_FOUND), "not found",
         "Check the name in eden_postgres_image, that the image is pushed"),
        ("an image that needs credentials", waiting("ErrImagePull", UNAUTHORIZED, TASK_STORE),
         "Check the name in eden_image, and the credentials that eden_image_pull_secrets names"),
        ("an image for another architecture",
         waiting("ErrImagePull", "no match for platform in manifest", TASK_STORE),
         "not built for the nodes' architecture"),
        ("a registry with an unknown certificate",
         waiting("ErrImagePull", "x509: certificate signed by unknown authority"), RUNTIME),
        ("an image without a registry",
         waiting("ImageInspectError", f'Failed to inspect image "": {SHORT_NAME}'), "returns ambiguous list",
         "Write the registry in eden_postgres_image, such as docker.io/"),
        ("an image name that is none",
         waiting("InvalidImageName", 'couldn\'t parse image name "Bad Image"', TASK_STORE),
         "couldn't parse image name", "Correct the name in eden_image"),
        ("an image that is not loaded",
         waiting("ErrImageNeverPull", "not present with pull policy of Never", TASK_STORE),
         "eden_image_pull_policy"),
        ("an image without a signature", waiting("SignatureValidationFailed", "A signature was required"),
         "whose signature the nodes accept"),
        ("a signature, while the kubelet backs off", backing_off(": SignatureValidationFailed: none exists"),
         "none exists"),
    ]),
    *rows("config", APPEAR, [
        ("a Secret that is missing", waiting("CreateContainerConfigError", NO_SECRET, TASK_STORE),
         f"cannot start container main: {NO_SECRET}", MAKES),
        ("a key that is missing", waiting("CreateContainerConfigError", NO_KEY, TASK_STORE), NO_KEY, MAKES),
        ("a user that has no number",
         waiting("CreateContainerConfigError", "runAsNonRoot and image has non-numeric user", TASK_STORE),
         "runAsNonRoot", "Fix what the message names: eden_image"),
        ("a volume of a Secret that is missing", starting("FailedMount", NO_MOUNT),
         f"cannot mount a volume: {NO_MOUNT}", MAKES),
        ("a priority that does not exist",
         refused(POSTGRES, 'pods "db-0" is forbidden: no PriorityClass with name high was found'),
         "high, which its pod needs, does not exist", "Have PriorityClass high created"),
        ("another service account", refused(POSTGRES, NO_ACCOUNT.format("x")),
         "ServiceAccount eden/x, which its pod names", "The collection's pods name no ServiceAccount"),
    ]),
    *rows("config", RETRIED, [
        ("a Secret that the kubelet has not read yet", waiting("CreateContainerConfigError", SYNC), SYNC,
         "The kubelet retries by itself"),
        ("two tries that overlap", waiting("CreateContainerError", RESERVED), RESERVED),
        ("a busy container runtime", waiting("CreateContainerError", "context deadline exceeded"),
         "context deadline exceeded"),
        ("no service account yet", refused(POSTGRES, NO_ACCOUNT.format("default")),
         "ServiceAccount default, which its pod names, does not exist",
         "kube-controller-manager creates it"),
    ]),
    *rows("unknown", RETRIED, [
        ("a container that waits for an unknown reason", waiting("FutureError", "some words"),
         "container main of pod eden-postgres-0 waits: FutureError: some words"),
        ("a warning that is not known", starting("FutureWarning", "some words"),
         "-wz4cr: FutureWarning: some words"),
        ("a controller that warns",
         state(POSTGRES, events=[k.event(POSTGRES, "ConflictingController", "words")]),
         "its controller reports ConflictingController: words"),
    ]),
    *rows("mount", RETRIED, [
        ("a volume of a Secret that was not read yet", starting("FailedMount", f'volume "v" : {SYNC}'), SYNC),
        ("a volume that another node holds", starting("FailedAttachVolume", "Multi-Attach error"),
         "whether another node still holds the volume"),
    ]),
    *rows("sandbox", RETRIED, [
        ("a network that is not ready", starting("FailedCreatePodSandBox", "plugin not ready"),
         "cannot be set up by its node: plugin not ready"),
    ]),
    *rows("unschedulable", SECOND_TRY, [
        ("a pod that is too big", unscheduled(INSUFFICIENT),
         "no node can run pod eden-postgres-0: 0/1 nodes are available: 1 Insufficient cpu. Lower",
         "eden_postgres_resources"),
        ("an autoscaler that cannot help", unscheduled(INSUFFICIENT, "NotTriggerScaleUp"),
         "words of NotTriggerScaleUp"),
        ("a selector that no node meets", unscheduled(SELECTOR),
         "didn't match Pod's node affinity/selector. Change eden_node_selector"),
        ("a taint", unscheduled(TAINT), "untolerated taint", "eden_tolerations"),
    ]),
    *rows("unschedulable", RETRIED, [
        ("a node that is being added", unscheduled(INSUFFICIENT, "TriggeredScaleUp"),
         "Insufficient cpu; words of TriggeredScaleUp"),
        ("a node that Karpenter adds", unscheduled(INSUFFICIENT, "Nominated"), "words of Nominated"),
        ("a node that is not ready", unscheduled(NOT_READY_NODE), "node.kubernetes.io/not-ready",
         "kubectl describe nodes"),
        ("a gate", unscheduled("Scheduling is blocked", reason="SchedulingGated"), "Scheduling is blocked"),
    ]),
    *rows("volume", RETRIED, [
        ("claims that were not read", unscheduled(UNBOUND), "unbound immediate PersistentVolumeClaims",
         "get pvc,events"),
        ("a storage class that is slow",
         volume("standard", [STANDARD], ("ExternalProvisioning", "Waiting for a volume")),
         "gets no volume from storage class standard: Waiting for a volume"),
        ("a storage class that fails for now",
         volume("standard", [STANDARD], ("ProvisioningFailed", "rpc error: no space")), "no space"),
        ("a volume that waits for its pod", volume("standard", [STANDARD], ("WaitForPodScheduled", "x")),
         "no node can run pod"),
    ]),
    *rows("volume", APPEAR, [
        ("no default storage class", volume(None, [k.storage_class("fast")]),
         "has no storage class, and the cluster has no default one: the cluster's storage classes: fast",
         "eden_storage_class", "has no volume and holds no data",
         "kubectl -n eden delete statefulset/eden-postgres pvc/data-eden-postgres-0"),
        ("no storage class, and none was listed", volume(None, None),
         "has no storage class, and the cluster has no default one. Name"),
        ("a claim without a class on purpose", volume("", [STANDARD]),
         "requests a volume without a storage class, and none is available"),
        ("a storage class that does not exist", volume("fast", [STANDARD]),
         "storage class fast, which does not exist: the cluster's storage classes: standard (default)"),
        ("a default class by the beta annotation", volume("fast", [BETA]), "standard (default)"),
        ("a storage class that does not exist, and none was listed",
         volume("fast", None, ("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')),
         "gets no volume from storage class fast"),
        ("a storage class that cannot",
         volume("standard", [STANDARD], ("ProvisioningFailed", "failed with infeasible error")),
         "infeasible"),
    ]),
    *rows("quota", APPEAR, [
        ("a quota", refused(POSTGRES, EXCEEDED),
         f"quota small of the namespace leaves no room for it: {EXCEEDED}. Ask for less",
         "kubectl -n eden describe resourcequota small", "eden_postgres_resources sets requests and limits"),
        ("a quota and a Deployment", refused(TASK_STORE, EXCEEDED), "eden_resources sets requests"),
        ("a quota and a Job", refused(SEED, EXCEEDED, "Error creating: "), f": {EXCEEDED}. "),
        ("a quota on claims",
         refused(POSTGRES, CLAIMS_EXCEEDED, "create Claim data-db-0 Pod db-0 in StatefulSet failed error: "),
         f": {CLAIMS_EXCEEDED}. ", "eden_storage_sizes sets the sizes of volumes"),
    ]),
    *rows("limit_range", APPEAR, [
        ("a LimitRange", refused(TASK_STORE, LIMIT), f": {LIMIT}. ", "kubectl -n eden describe limitrange",
         "eden_resources"),
    ]),
    *rows("pod_security", APPEAR, [
        ("Pod Security", refused(TASK_STORE, RESTRICTED), f": {RESTRICTED}. ",
         "pod-security.kubernetes.io/enforce"),
        ("many refusals in one event",
         refused(TASK_STORE, RESTRICTED, "(combined from similar events): Error creating: "),
         f": {RESTRICTED}. "),
        ("OpenShift's constraints", refused(POSTGRES, SCC), "no SecurityContextConstraints admits its pod"),
    ]),
    *rows("admission", APPEAR, [
        ("a webhook", refused(POSTGRES, WEBHOOK), f": {WEBHOOK}. ", "eden_postgres_image sets the image"),
        ("an admission policy", refused(POSTGRES, POLICY), "ValidatingAdmissionPolicy 'owners'",
         "kubectl -n eden describe validatingadmissionpolicy owners"),
    ]),
    *rows("admission", RETRIED, [
        ("a webhook that does not answer", refused(POSTGRES, NO_WEBHOOK), "does not answer"),
    ]),
    *rows("refused", APPEAR, [
        ("a namespace that goes",
         refused(POSTGRES, "unable to create new content in namespace eden because it is being terminated"),
         "Namespace eden is being deleted: wait until it is gone"),
        ("another refusal", refused(POSTGRES, 'pods "db-0" is forbidden: some rule'), "some rule"),
    ]),
    *rows("refused", RETRIED, [
        ("a refusal that is not known", refused(POSTGRES, "some words"), "some words"),
    ]),
    *rows("crash_loop", SETTLE, [
        ("a crash loop", crashing(),
         "container main of pod eden-postgres-0 has exited 3 times, the last time with exit code 3. Fix"),
        ("a crash loop between two starts", crash_loop_back_off(),
         "has exited 3 times, the last time with exit code 1"),
        ("a service that ends without an error", crashing(0, "Completed"), "exit code 0"),
        ("a program that is not there", crashing(128, "StartError", 1, NO_PROGRAM), "has exited 2 times",
         'exec: "/none/such"', "eden_postgres_image"),
        ("a last message", crashing(message="FATAL: no entry for postgresql://eden:hunter2@db"),
         "FATAL: no entry for postgresql://eden:***@db"),
        ("a startup probe that kills", crashing(137, events=KILLED),
         "each time killed because a probe failed: Startup probe failed: port closed. Fix", "eden_timeout"),
        ("an init container that fails", failing_init(),
         "init container prepare of pod eden-postgres-0 has exited 3 times"),
    ]),
    *rows("out_of_memory", SETTLE, [
        ("too little memory", crashing(137, "OOMKilled"), "more memory than 16Mi", "eden_postgres_resources"),
    ]),
    *rows("crash_loop", RETRIED, [
        ("a runtime that starts nothing in time", crashing(128, "StartError", 1, "context deadline exceeded"),
         "deadline"),
    ]),
    *rows("hook", SETTLE, [
        ("a hook that fails", crashing(137, events=[("FailedPostStartHook", "PostStartHook failed", "main")]),
         "because its postStart hook fails: PostStartHook failed"),
    ]),
    *rows("node", RETRIED, [
        ("an eviction", rejected("Evicted", "The node was low on resource"), "the node did not keep pod",
         "Evicted, The node was low"),
    ]),
    *rows("job", 0.0, [
        ("a failed Job", state(k.failed_job(), k.pod(SEED, k.container(k.terminated(1)), phase="Failed")),
         "it has failed, the last with exit code 1 and is not retried: BackoffLimitExceeded, Job has"),
        ("a Job whose pods are gone",
         state(k.failed_job(reason="DeadlineExceeded", message="Job was active longer")),
         "it has failed and is not retried: DeadlineExceeded, Job was active longer"),
    ]),
]
# fmt: on


@pytest.mark.parametrize(("found", "kind", "wait", "says"), ROWS)
def test_cause(found: RolloutState, kind: str, wait: float, says: list[str]) -> None:
    causes = find_causes(found)
    assert causes, "no cause found"
    message = diagnosis.not_ready(found.workload, causes[0])
    assert (causes[0].kind, causes[0].wait) == (kind, wait)
    workload = found.workload
    assert message.startswith(f"{workload['kind']} eden/{workload['metadata']['name']} is not ready: ")
    for words in says:
        assert words in message
    assert message.endswith(".")


def test_a_final_cause_is_reported_within_20_seconds() -> None:
    waits = {row.values[2] for row in ROWS} - {RETRIED}
    assert t.cast(float, max(waits)) <= 20


def test_no_advice_names_a_phase_that_makes_service_accounts_or_deletes_what_holds_data() -> None:
    """A claim may be deleted while it has no volume only, and the message says so."""
    for row in ROWS:
        (cause, *_rest) = find_causes(row.values[0])
        assert "service accounts" not in cause.advice
        assert (
            (" delete " in cause.advice)
            == ("holds no data" in cause.advice)
            == (cause.kind == "volume" and cause.subject.startswith("PersistentVolumeClaim"))
        )


def test_every_kind_that_the_documentation_lists_is_found_somewhere() -> None:
    documented = " ".join(yaml.safe_load(rollout.RETURN)["cause"]["description"])
    found = {row.values[1] for row in ROWS} | {"missing", "timeout"}
    assert set(re.findall(r"V\((\w+)\)", documented)) == found


TROUBLESHOOTING = Path(__file__).parents[5] / "docs" / "troubleshooting.md"


def test_every_problem_is_explained_in_the_docs() -> None:
    """And the docs explain nothing else, except what only the rollout adds."""
    section = TROUBLESHOOTING.read_text().partition("\n## Errors of a trial")[0]
    cells = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    explained = {(cell[0][3:-1], cell[1].strip("`")) for cell in cells} - {("after … s …", "any")}
    patterns = {row: re.compile(re.escape(row[0]).replace("…", ".*")) for row in explained}
    causes = [*(find_causes(row.values[0])[0] for row in ROWS), *find_causes(lost_node("NodeNotReady"))]
    causes += find_causes(lost_node("Preempting"))
    used = set()
    for cause in causes:
        found = {row for row in explained if row[1] == cause.kind and patterns[row].fullmatch(cause.problem)}
        assert found, (cause.kind, cause.problem)
        used |= found
    assert used == explained


def lost_node(reason: str) -> RolloutState:
    pod = k.pod(POSTGRES, k.container(k.running()), phase="Running")
    return state(POSTGRES, pod, events=[k.event(pod, reason, "Node is not ready")])


@pytest.mark.parametrize(
    ("own", "container", "setting", "expected"),
    [
        ("", "executor-host", "image", "eden_image"),
        ("", "command", "image", "eden_workers.executor_host.image"),
        ("image", "executor-host", "image", "eden_workers.executor_host.image"),
        ("image", "executor-host", "resources", "eden_resources"),
        ("image resources", "", "resources", "eden_workers.executor_host.resources"),
    ],
)
def test_the_input_is_the_hosts_own_where_that_counts(
    own: str, container: str, setting: str, expected: str
) -> None:
    template = {"metadata": {"annotations": {OWN_INPUTS: own}}}
    workload = {"metadata": {}, "spec": {"template": template}}
    assert RolloutState(workload, "executor-host", pods=[], events=[]).input(setting, container) == expected


def state_with(place: Place, reason: str, row: Reason) -> RolloutState:
    """A workload that is not ready, and one reason about it, without words."""
    if place == "container" and row.topic in ("crash_loop", "hook"):
        pod = k.pod(POSTGRES, k.container(k.waiting(reason), 2), phase="Running")
        return state(
            POSTGRES, pod, events=[k.event(pod, "FailedPostStartHook", "", "main")] * (row.topic == "hook")
        )
    if place == "container":
        return waiting(reason, "")
    if place == "pod" and row.topic == "unschedulable":
        return unscheduled("" if row.outcome == "retryable" else INSUFFICIENT, reason)
    if place == "pod" and row.topic == "node" and "lifecycle" in row.source:
        return rejected(reason)
    if place == "pod":
        return starting(reason, "")
    if place == "claim":
        return volume("standard", [STANDARD], (reason, ""))
    if place == "workload":
        return refused(POSTGRES, "words") if reason == "FailedCreate" else controller(reason)
    if row.topic == "unschedulable":
        return unscheduled("", reason=reason)
    return state(k.job(conditions=[{"type": "Failed", "status": "True", "reason": reason}]))


def controller(reason: str) -> RolloutState:
    workload = TASK_STORE if reason == "ReplicaSetCreateError" else POSTGRES
    event = k.event(workload, reason, "words", kind="Normal" if reason.startswith("Succ") else "Warning")
    return state(without_pod(workload), events=[event])


@pytest.mark.parametrize(("place", "reason"), REASONS)
def test_every_reason_of_the_table(place: Place, reason: str) -> None:
    """Final ones fail the rollout, others are shown and waited for, harmless ones are no cause."""
    row = REASONS[place, reason]
    causes = find_causes(state_with(place, reason, row))
    if row.outcome == "harmless":
        told = [cause for cause in causes if cause.kind not in ("volume", "job")]
        assert told == []
        return
    assert causes[0].is_retried is (row.outcome in ("retryable", "unknown"))
    topics = {"other": "unknown", "crash_loop": "crash_loop"}
    # Volumes that wait for their pod are not what it waits for.
    assert causes[0].kind == topics.get(row.topic, row.topic)


def ready(workload: Object) -> Object:
    return k.pod(workload, k.container(k.running(), ready=True), phase="Running", ready=True)


def init_done() -> RolloutState:
    init = k.container(k.terminated(0, "Completed"), 3, name="prepare")
    return state(POSTGRES, k.pod(POSTGRES, k.container(k.waiting("PodInitializing")), init=[init]))


def claiming(claim: Object) -> RolloutState:
    pod = k.pod(POSTGRES, node="", claims=["data"])
    return state(POSTGRES, pod, claims=[claim], storage_classes=[STANDARD])


def with_metadata(thing: Object, **values: t.Any) -> Object:
    return {**thing, "metadata": {**thing["metadata"], **values}}


EARLIER = with_metadata(POSTGRES, uid="uid-of-an-earlier-statefulset")
EARLIER_POD = with_metadata(k.pod(POSTGRES), uid="uid-of-an-earlier-pod")
STARTING = k.pod(POSTGRES, k.container(k.waiting("ContainerCreating")))
STARTED = k.pod(POSTGRES, k.container(k.running()), phase="Running")
RUNS_AGAIN = k.pod(POSTGRES, k.container(k.running(), 4, k.terminated(1)), phase="Running")
BAD_IMAGE = waiting("ErrImagePull", NOT_FOUND).pods[0]
OLD_REPLICA = k.pod(TASK_STORE, k.container(k.waiting("ErrImagePull", NOT_FOUND)), revision="5d8f7")
OLD_REPLICA_SET = k.replica_set(TASK_STORE, "5d8f7")
MOUNTED = [k.event(STARTING, "FailedMount", SYNC), k.event(STARTING, "Pulled", "present", kind="Normal")]
CREATED = [k.event(POSTGRES, "FailedCreate", EXCEEDED), k.event(POSTGRES, "SuccessfulCreate", kind="Normal")]
NO_CAUSE = {
    "a pod that starts": state(POSTGRES, STARTING),
    "a pod that runs and is not ready": state(POSTGRES, STARTED),
    "a pod without a node yet": state(POSTGRES, k.pod(POSTGRES, node="")),
    "a controller that has made no pod yet": state(without_pod(POSTGRES)),
    "a change that was not observed": state(with_metadata(POSTGRES, generation=2), BAD_IMAGE),
    "events of an earlier StatefulSet": state(
        without_pod(POSTGRES), events=[k.event(EARLIER, "FailedCreate", EXCEEDED)]
    ),
    "events of an earlier pod": state(
        POSTGRES, STARTING, events=[k.event(EARLIER_POD, "FailedMount", "not found")]
    ),
    "a failed mount of a container that runs": state(
        POSTGRES, STARTED, events=[k.event(STARTED, "FailedMount", "later")]
    ),
    "a failed mount that succeeded later": state(POSTGRES, STARTING, events=MOUNTED),
    "an event of type Normal that is not known": starting("Blessed", "some words", kind="Normal"),
    "a refusal of the previous ReplicaSet": state(
        without_pod(TASK_STORE), events=[k.event(OLD_REPLICA_SET, "FailedCreate", EXCEEDED)]
    ),
    "a refusal that is over": state(without_pod(POSTGRES), events=CREATED),
    "a refusal of a pod that is there": state(
        POSTGRES, STARTED, events=[k.event(POSTGRES, "FailedCreate", EXCEEDED)]
    ),
    "a container that ended twice": crashing(restarts=1),
    "a container that runs again": state(POSTGRES, RUNS_AGAIN),
    "a pod of a Job that may fail": state(
        SEED, k.pod(SEED, k.container(k.terminated(1), 5), phase="Running")
    ),
    "an init container that is done": init_done(),
    "a claim that is bound": claiming(k.claim("data", "standard", "Bound")),
    "a claim that is being provided": claiming(k.claim("data", "standard")),
    "a claim that will get the default class": claiming(k.claim("data")),
    "another workload's claim": claiming(k.claim("other", "fast")),
    "a pod that is ready again": state(
        POSTGRES, ready(POSTGRES), events=[k.event(ready(POSTGRES), "NodeNotReady")]
    ),
    "a pod that is being deleted": state(POSTGRES, with_metadata(BAD_IMAGE, deletionTimestamp=k.CREATED)),
    "a broken pod of the previous ReplicaSet": state(TASK_STORE, OLD_REPLICA),
    "a broken pod of the previous revision": state(
        k.statefulset(updateRevision="eden-postgres-2", updatedReplicas=0), BAD_IMAGE
    ),
}


@pytest.mark.parametrize("quiet", NO_CAUSE.values(), ids=NO_CAUSE)
def test_no_cause(quiet: RolloutState) -> None:
    assert find_causes(quiet) == []


def test_a_class_by_the_beta_annotation_is_a_default() -> None:
    assert [cause.problem for cause in find_causes(volume(None, [BETA]))] == [
        "no node can run pod eden-postgres-0"
    ]


def test_a_pod_that_is_being_stopped_makes_room() -> None:
    crowded = unscheduled(INSUFFICIENT)
    leaving = with_metadata(k.pod(SEED), deletionTimestamp=k.CREATED)
    assert find_causes(replace(crowded, pods=[*crowded.pods, leaving]))[0].is_retried


def test_a_pull_secret_that_is_missing_is_named() -> None:
    found = waiting("ErrImagePull", UNAUTHORIZED)
    event = k.event(found.pods[0], "FailedToRetrieveImagePullSecret", "Unable to retrieve pull secret (mine)")
    (cause,) = find_causes(replace(found, events=[event]))
    assert cause.advice.endswith("Unable to retrieve pull secret (mine)")


def old(found: RolloutState, *events: Object) -> RolloutState:
    """The state as a second run finds it: its pods were there before, its events count as none."""
    baseline = {pod["metadata"]["uid"]: diagnosis.baseline_restarts(pod) for pod in found.pods}
    return replace(found, events=events, baseline_restarts=baseline)


OLD_KINDS = ("image", "config", "mount", "crash_loop", "out_of_memory", "hook", "quota", "pod_security")


@pytest.mark.parametrize(
    "found", [pytest.param(row.values[0], id=row.id) for row in ROWS if row.values[1] in OLD_KINDS]
)
def test_old_trouble_is_no_cause_until_it_shows_again(found: RolloutState) -> None:
    """What was wrong before the rollout began may have been repaired, while its traces stay."""
    assert find_causes(old(found)) == []


AGAIN = f'Failed to pull image "postgres:none-such": {NO_HOST}'


@pytest.mark.parametrize(
    ("found", "words", "cause"),
    [
        (backing_off(f": ErrImagePull: {NO_HOST}"), AGAIN, ("image", SETTLE)),
        (backing_off(f": ErrImagePull: {SLOW}"), AGAIN, ("image", RETRIED)),
        (backing_off(f": ErrImagePull: {NO_HOST}"), "Error: ImagePullBackOff", None),
        (waiting("CreateContainerConfigError", NO_SECRET), f"Error: {NO_SECRET}", ("config", SETTLE)),
    ],
)
def test_old_trouble_counts_after_the_next_try(
    found: RolloutState, words: str, cause: tuple[str, float] | None
) -> None:
    event = k.event(found.pods[0], "Failed", words, "main")
    causes: list[Cause] = find_causes(old(found, event))
    assert [(each.kind, each.wait) for each in causes] == ([cause] if cause else [])


RUNS = k.container(k.running(), 7, k.terminated(1), ready=True)


@pytest.mark.parametrize(
    ("before", "now", "cause"),
    [
        pytest.param(RUNS, k.container(k.terminated(1), 7), False, id="a service that ran ends once"),
        pytest.param(RUNS, k.container(k.terminated(1), 9), True, id="a service that ran ends three times"),
        pytest.param(
            k.container(k.terminated(1), 7),
            k.container(k.running(), 8, k.terminated(1)),
            False,
            id="a crashing service is restarted",
        ),
        pytest.param(
            k.container(k.terminated(1), 7), k.container(k.terminated(1), 8), True, id="it crashes once more"
        ),
        pytest.param(
            k.container(k.terminated(1), 0), k.container(k.terminated(1), 1), False, id="its second crash"
        ),
        pytest.param(
            k.container(k.terminated(1), 0), k.container(k.terminated(1), 2), True, id="its third crash"
        ),
    ],
)
def test_old_crashes(before: Object, now: Object, cause: bool) -> None:
    baseline = diagnosis.baseline_restarts(k.pod(POSTGRES, before))
    pod = k.pod(POSTGRES, now, phase="Running")
    found = find_causes(state(POSTGRES, pod, baseline_restarts={pod["metadata"]["uid"]: baseline}))
    assert bool(found) is cause


def test_at_the_timeout_one_crash_is_enough() -> None:
    crash = crashing(restarts=0)
    assert [cause.kind for cause in find_causes(replace(crash, timed_out=True))] == ["crash_loop"]


def test_a_node_that_is_lost() -> None:
    (cause,) = find_causes(lost_node("NodeNotReady"))
    assert (cause.kind, cause.wait) == ("node", RETRIED)
    assert (
        cause.sentence()
        == "node lab-control-plane, which runs pod eden-postgres-0, is not ready: Node is not ready"
    )


def test_a_deployment_tells_of_a_refusal_when_its_events_are_gone() -> None:
    refusal = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": EXCEEDED}
    workload = without_pod(k.deployment(conditions=[refusal]))
    assert find_causes(state(workload)) == []
    assert [cause.kind for cause in find_causes(state(workload, timed_out=True))] == ["quota"]


def test_the_failed_job_names_the_container_whose_log_tells_more() -> None:
    first = k.pod(SEED, k.container(k.terminated(1)), phase="Failed", name="eden-seed-aaaaa")
    last = k.pod(SEED, k.container(k.terminated(2)), phase="Failed", name="eden-seed-bbbbb")
    last["metadata"]["creationTimestamp"] = "2026-11-23T16:11:38Z"
    (cause,) = find_causes(state(k.failed_job(), last, first))
    assert (cause.pod, cause.container) == ("eden-seed-bbbbb", "main")
    assert "it has failed after 2 pods, the last with exit code 2" in cause.problem


def test_the_last_probe_failure_is_of_a_pod_that_runs() -> None:
    pod = k.pod(POSTGRES, k.container(k.running()), phase="Running")
    words = "Readiness probe failed: no response from postgresql://eden:hunter2@db\n"
    said = k.event(pod, "Unhealthy", words, "main")
    assert diagnosis.last_probe_failure(state(POSTGRES, pod, events=[said])) == (
        "pod eden-postgres-0: Readiness probe failed: no response from postgresql://eden:***@db"
    )
    assert diagnosis.last_probe_failure(state(POSTGRES, pod)) == ""
    crashed = k.pod(POSTGRES, k.container(k.terminated(1), 1), phase="Running")
    assert diagnosis.last_probe_failure(state(POSTGRES, crashed, events=[said])) == ""


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("store postgresql://eden:hunter2@db:5432/eden", "store postgresql://eden:***@db:5432/eden"),
        ("store postgresql://eden:p@ss/w:rd@db:5432/eden", "store postgresql://eden:***@db:5432/eden"),
        ("store postgresql://:hunter2@db", "store postgresql://:***@db"),
        ("store postgresql://eden@db:5432/eden", "store postgresql://eden@db:5432/eden"),
        ("pushed 666b95f001acc6e19682f7e1732e4d8c14b16cb9.", "pushed ***."),
        ("key=0123456789ABCDEF0123456789abcdef", "key=***"),
        ("short 0123456789abcdef", "short 0123456789abcdef"),
        ("connect password=hunter2 host=db", "connect password=*** host=db"),
        ('{"token": "abc", "name": "x"}', '{"token": ***, "name": "x"}'),
        ("Authorization: Bearer wkr_1:abc", "Authorization: Bearer ***"),
        ('secret "absent" not found', 'secret "absent" not found'),
        ("GET http://forgejo:3000/eden.git", "GET http://forgejo:3000/eden.git"),
        ("psycopg.OperationalError: connection refused", "psycopg.OperationalError: connection refused"),
    ],
)
def test_mask_line(line: str, masked: str) -> None:
    assert diagnosis.mask_line(line) == masked


def test_server_words_keep_digests() -> None:
    words = f"failed to resolve eden@sha256:{'0' * 64}: not found"
    assert diagnosis.mask_passwords(words) == words
