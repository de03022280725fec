# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a workload is not ready, told from objects and words of a real cluster."""

from __future__ import annotations

import re
import typing as t

import pytest
import yaml

from ansible_collections.eden.reference.plugins.module_utils._eden import diagnosis
from ansible_collections.eden.reference.plugins.module_utils._eden.diagnosis import (
    GRACE,
    SETTLE,
    Scene,
    find_causes,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.modules import rollout
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._kube import kube_objects as k

POSTGRES = k.statefulset()
TASK_STORE = k.deployment()
SEED = k.job()

NO_HOST = (
    'failed to pull and unpack image "docker.io/library/postgres:none-such": failed to resolve reference '
    '"docker.io/library/postgres:none-such": failed to do request: Head '
    '"https://registry-1.docker.io/v2/library/postgres/manifests/none-such": dial tcp: lookup '
    "registry-1.docker.io on 172.18.0.1:53: no such host"
)
NOT_FOUND = (
    'failed to resolve reference "docker.io/library/postgres:none-such": postgres:none-such: not found'
)
UNAUTHORIZED = "unexpected status from GET request to https://auth.example.org/token: 401 Unauthorized"
PLATFORM = "no match for platform in manifest: not found"
INSUFFICIENT = (
    "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are "
    "available: 1 Preemption is not helpful for scheduling."
)
SELECTOR = (
    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are "
    "available: 1 Preemption is not helpful for scheduling."
)
TAINT = "0/1 nodes are available: 1 node(s) had untolerated taint(s). preemption: 0/1 nodes are available."
NOT_READY_NODE = "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."
UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
EXCEEDED = 'pods "db-0" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0'
RESTRICTED = (
    'pods "web-648f798557-rx5zs" is forbidden: violates PodSecurity "restricted:latest": '
    'allowPrivilegeEscalation != false (container "main" must set '
    "securityContext.allowPrivilegeEscalation=false)"
)
LIMIT = 'pods "web-d8b8c5659-xzl4m" is forbidden: maximum cpu usage per Container is 100m, but limit is 1'
WEBHOOK = 'admission webhook "validate.kyverno.svc-fail" denied the request: images must be signed'
POLICY = (
    "pods \"db-0\" is forbidden: ValidatingAdmissionPolicy 'owners' with binding 'all' denied request: "
    "failed expression: has(object.metadata.labels.owner)"
)
NO_ACCOUNT = 'pods "db-0" is forbidden: error looking up service account eden/x: serviceaccount "x" not found'
NO_PROGRAM = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create "
    "failed: unable to start container process: error during container init: "
    'exec: "/none/such": stat /none/such: no such file'
)


def scene(workload: Object, *pods: Object, events: t.Sequence[Object] = (), **more: t.Any) -> Scene:
    return Scene(workload=workload, pods=list(pods), events=list(events), **more)


def pulling(reason: str, message: str, workload: Object | None = None) -> Object:
    return k.pod(workload or POSTGRES, k.container(k.waiting(reason, message)), image="postgres:none-such")


def without_pod(workload: Object) -> Object:
    return {**workload, "status": {**workload["status"], "replicas": 0, "updatedReplicas": 0}}


class Row(t.NamedTuple):
    """A scene and the first cause in it."""

    name: str
    scene: Scene
    kind: str
    wait: float
    says: tuple[str, ...]


def mounting(reason: str, message: str) -> Scene:
    pod = k.pod(TASK_STORE, k.container(k.waiting("ContainerCreating")))
    return scene(TASK_STORE, pod, events=[k.event(pod, reason, message)])


def unscheduled(message: str, *events: str) -> Scene:
    pod = k.pod(POSTGRES, node="", unschedulable=message)
    return scene(POSTGRES, pod, events=[k.event(pod, reason) for reason in events])


def volume(asked: str | None, classes: list[Object] | None, failure: str = "") -> Scene:
    claim = k.claim("data-eden-postgres-0", asked)
    pod = k.pod(POSTGRES, node="", unschedulable=UNBOUND, claims=["data-eden-postgres-0"])
    events = [k.event(claim, "ProvisioningFailed", failure)] if failure else []
    return scene(POSTGRES, pod, events=events, claims=[claim], storage_classes=classes)


def refused(workload: Object, message: str) -> Scene:
    about = k.replica_set(workload) if workload["kind"] == "Deployment" else workload
    preamble = {"StatefulSet": "Create Pod db-0 in StatefulSet db failed error: "}.get(
        workload["kind"], "Error creating: "
    )
    return scene(without_pod(workload), events=[k.event(about, "FailedCreate", preamble + message, count=13)])


def crashing(
    *, code: int = 3, reason: str = "Error", restarts: int = 2, message: str = "", events: t.Any = ()
) -> Scene:
    status = k.container(k.terminated(code, reason, message), restarts, k.terminated(code, reason, message))
    pod = k.pod(POSTGRES, status, phase="Running")
    return scene(POSTGRES, pod, events=[k.event(pod, *event) for event in events])


STANDARD = k.storage_class("standard", default=True)
ROWS = [
    Row(
        "an image that cannot be pulled just now",
        scene(POSTGRES, pulling("ErrImagePull", NO_HOST)),
        "image",
        GRACE["image"],
        (
            "pod eden-postgres-0 cannot pull image postgres:none-such: failed to pull",
            "no such host",
            "eden_postgres_image",
        ),
    ),
    Row(
        "the same, while the kubelet waits before the next try",
        scene(
            POSTGRES,
            pulling(
                "ImagePullBackOff", f'Back-off pulling image "postgres:none-such": ErrImagePull: {NO_HOST}'
            ),
        ),
        "image",
        GRACE["image"],
        ("cannot pull image postgres:none-such: failed to pull",),
    ),
    Row(
        "an image that the registry does not have",
        scene(POSTGRES, pulling("ErrImagePull", NOT_FOUND)),
        "image",
        SETTLE,
        ("not found", "Check the name in eden_postgres_image, that the image is pushed"),
    ),
    Row(
        "an image that the registry does not give away",
        scene(TASK_STORE, pulling("ErrImagePull", UNAUTHORIZED, TASK_STORE)),
        "image",
        SETTLE,
        (
            "401 Unauthorized",
            "Check the name in eden_image, and the credentials that eden_image_pull_secrets names",
        ),
    ),
    Row(
        "an image for other processors",
        scene(TASK_STORE, pulling("ErrImagePull", PLATFORM, TASK_STORE)),
        "image",
        SETTLE,
        ("not built for the nodes' processors",),
    ),
    Row(
        "an image name that is none",
        scene(TASK_STORE, pulling("InvalidImageName", 'couldn\'t parse image name "Bad Image"', TASK_STORE)),
        "image",
        SETTLE,
        ("couldn't parse image name",),
    ),
    Row(
        "an image that is not loaded",
        scene(
            TASK_STORE,
            pulling(
                "ErrImageNeverPull",
                'Container image "x" is not present with pull policy of Never',
                TASK_STORE,
            ),
        ),
        "image",
        SETTLE,
        ("is not present with pull policy of Never", "eden_image_pull_policy"),
    ),
    Row(
        "a Secret that is missing",
        scene(TASK_STORE, pulling("CreateContainerConfigError", 'secret "absent" not found', TASK_STORE)),
        "config",
        GRACE["config"],
        ('cannot start container main: secret "absent" not found', "Run the phases that make it"),
    ),
    Row(
        "a key that is missing",
        scene(
            TASK_STORE,
            pulling("CreateContainerConfigError", "couldn't find key k in Secret eden/s", TASK_STORE),
        ),
        "config",
        GRACE["config"],
        ("couldn't find key k in Secret eden/s", "Run the phases that make it"),
    ),
    Row(
        "a user that the image does not name by number",
        scene(
            TASK_STORE,
            pulling(
                "CreateContainerConfigError",
                "container has runAsNonRoot and image has non-numeric user",
                TASK_STORE,
            ),
        ),
        "config",
        GRACE["config"],
        ("runAsNonRoot", "Correct what the message names"),
    ),
    Row(
        "a volume of a Secret that is missing",
        mounting("FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "absent" not found'),
        "config",
        GRACE["config"],
        (
            'cannot mount a volume: MountVolume.SetUp failed for volume "v" : secret "absent" not found',
            "Run the phases",
        ),
    ),
    Row(
        "a volume that another node holds",
        mounting(
            "FailedAttachVolume",
            'Multi-Attach error for volume "pvc-1" Volume is already used by pod(s) other',
        ),
        "mount",
        GRACE["mount"],
        ("Multi-Attach error", "whether another node still holds the volume"),
    ),
    Row(
        "a pod that is too big",
        unscheduled(INSUFFICIENT),
        "unschedulable",
        GRACE["unschedulable"],
        (
            "no node takes pod eden-postgres-0: 0/1 nodes are available: 1 Insufficient cpu. Lower",
            "eden_postgres_resources",
        ),
    ),
    Row(
        "a pod that is too big, and a node that is being added",
        unscheduled(INSUFFICIENT, "TriggeredScaleUp"),
        "unschedulable",
        GRACE["scale_up"],
        ("Insufficient cpu",),
    ),
    Row(
        "a selector that no node meets",
        unscheduled(SELECTOR),
        "unschedulable",
        GRACE["unschedulable"],
        ("didn't match Pod's node affinity/selector. Change eden_node_selector",),
    ),
    Row(
        "a taint",
        unscheduled(TAINT),
        "unschedulable",
        GRACE["unschedulable"],
        ("untolerated taint", "eden_tolerations"),
    ),
    Row(
        "a node that is not ready",
        unscheduled(NOT_READY_NODE),
        "unschedulable",
        GRACE["unschedulable"],
        ("node.kubernetes.io/not-ready", "kubectl describe nodes"),
    ),
    Row(
        "a claim whose state may not be read",
        unscheduled(UNBOUND),
        "volume",
        GRACE["provisioning"],
        ("unbound immediate PersistentVolumeClaims", "get pvc,events"),
    ),
    Row(
        "no default storage class",
        volume(None, [k.storage_class("fast")]),
        "volume",
        GRACE["config"],
        (
            "claim data-eden-postgres-0 names no storage class and the cluster has no default one",
            "the cluster's storage classes: fast",
            "eden_storage_class",
            "kubectl -n eden delete statefulset/eden-postgres pvc/data-eden-postgres-0",
        ),
    ),
    Row(
        "no storage class, and none may be listed",
        volume(None, None),
        "volume",
        GRACE["config"],
        ("claim data-eden-postgres-0 names no storage class and the cluster has no default one. Name",),
    ),
    Row(
        "a claim without a class on purpose",
        volume("", [STANDARD]),
        "volume",
        GRACE["config"],
        ("asks for a volume without a storage class, and no such volume is free",),
    ),
    Row(
        "a storage class that does not exist",
        volume("fast", [STANDARD]),
        "volume",
        GRACE["config"],
        (
            "asks for storage class fast, which does not exist: ",
            "the cluster's storage classes: standard (default)",
        ),
    ),
    Row(
        "a storage class that does not exist, where none may be listed",
        volume("fast", None, 'storageclass.storage.k8s.io "fast" not found'),
        "volume",
        GRACE["provisioning"],
        ('gets no volume from storage class fast: storageclass.storage.k8s.io "fast" not found',),
    ),
    Row(
        "a storage class that fails",
        volume("standard", [STANDARD], "failed to provision volume: rpc error: no space"),
        "volume",
        GRACE["provisioning"],
        ("gets no volume from storage class standard: failed to provision volume: rpc error: no space",),
    ),
    Row(
        "a quota",
        refused(POSTGRES, EXCEEDED),
        "quota",
        GRACE["refused"],
        (f": {EXCEEDED}. Raise", "describe resourcequota"),
    ),
    Row(
        "a quota and a Deployment",
        refused(TASK_STORE, EXCEEDED),
        "quota",
        GRACE["refused"],
        (f": {EXCEEDED}. Raise",),
    ),
    Row("a quota and a Job", refused(SEED, EXCEEDED), "quota", GRACE["refused"], (f": {EXCEEDED}. Raise",)),
    Row(
        "a quota on claims",
        scene(
            without_pod(POSTGRES),
            events=[
                k.event(
                    POSTGRES,
                    "FailedCreate",
                    "create Claim data-db-0 Pod db-0 in StatefulSet db failed error: "
                    'persistentvolumeclaims "data-db-0" is forbidden: exceeded quota: small',
                )
            ],
        ),
        "quota",
        GRACE["refused"],
        (': persistentvolumeclaims "data-db-0" is forbidden: exceeded quota: small. Raise',),
    ),
    Row("a LimitRange", refused(TASK_STORE, LIMIT), "limit_range", GRACE["refused"], (f": {LIMIT}. Change",)),
    Row(
        "Pod Security",
        refused(TASK_STORE, RESTRICTED),
        "pod_security",
        GRACE["refused"],
        (f": {RESTRICTED}. Give",),
    ),
    Row(
        "many refusals in one event",
        scene(
            without_pod(TASK_STORE),
            events=[
                k.event(
                    k.replica_set(TASK_STORE),
                    "FailedCreate",
                    f"(combined from similar events): Error creating: {RESTRICTED}",
                )
            ],
        ),
        "pod_security",
        GRACE["refused"],
        (f": {RESTRICTED}. Give",),
    ),
    Row("a webhook", refused(POSTGRES, WEBHOOK), "admission", GRACE["refused"], (f": {WEBHOOK}. Meet",)),
    Row("an admission policy", refused(POSTGRES, POLICY), "admission", GRACE["refused"], ("'owners'",)),
    Row(
        "no service account",
        refused(POSTGRES, NO_ACCOUNT),
        "config",
        GRACE["refused"],
        ("Run the phase infra",),
    ),
    Row(
        "another refusal",
        refused(POSTGRES, "no endpoints available"),
        "refused",
        GRACE["refused"],
        ("no endpoints",),
    ),
    Row(
        "a crash loop",
        crashing(),
        "crash_loop",
        SETTLE,
        ("container main of pod eden-postgres-0 has ended 3 times, the last time with exit code 3. Remove",),
    ),
    Row(
        "a crash loop between two starts",
        scene(
            POSTGRES,
            k.pod(
                POSTGRES,
                k.container(
                    k.waiting("CrashLoopBackOff", "back-off 20s restarting failed container"),
                    2,
                    k.terminated(1),
                ),
                phase="Running",
            ),
        ),
        "crash_loop",
        SETTLE,
        ("has ended 3 times, the last time with exit code 1",),
    ),
    Row(
        "a service that ends without an error",
        crashing(code=0, reason="Completed"),
        "crash_loop",
        SETTLE,
        ("exit code 0",),
    ),
    Row(
        "too little memory",
        crashing(code=137, reason="OOMKilled"),
        "out_of_memory",
        SETTLE,
        ("more memory than 16Mi", "_resources"),
    ),
    Row(
        "a program that is not there, after its second start",
        crashing(code=128, reason="StartError", restarts=1, message=NO_PROGRAM),
        "crash_loop",
        SETTLE,
        ("has ended 2 times", 'exec: "/none/such"', "eden_postgres_image"),
    ),
    Row(
        "a last message",
        crashing(message="FATAL: no pg_hba.conf entry for postgresql://eden:hunter2@db"),
        "crash_loop",
        SETTLE,
        ("FATAL: no pg_hba.conf entry for postgresql://eden:***@db",),
    ),
    Row(
        "a startup probe that kills",
        crashing(
            code=137,
            events=[
                ("Unhealthy", "Startup probe failed: port closed\n", "main"),
                ("Killing", "Container main failed startup probe, will be restarted", "main"),
            ],
        ),
        "crash_loop",
        SETTLE,
        ("each time killed because a probe failed: Startup probe failed: port closed. Remove",),
    ),
    Row(
        "a hook that fails",
        crashing(code=137, events=[("FailedPostStartHook", "PostStartHook failed", "main")]),
        "hook",
        SETTLE,
        ("because its postStart hook fails: PostStartHook failed",),
    ),
    Row(
        "an init container that fails",
        scene(
            POSTGRES,
            k.pod(
                POSTGRES,
                k.container(k.waiting("PodInitializing")),
                init=[k.container(k.terminated(1), 2, k.terminated(1), name="prepare")],
            ),
        ),
        "crash_loop",
        SETTLE,
        ("init container prepare of pod eden-postgres-0 has ended 3 times",),
    ),
    Row(
        "a Job that has failed for good",
        scene(k.failed_job(), k.pod(SEED, k.container(k.terminated(1)), phase="Failed")),
        "job",
        0.0,
        ("it has failed for good, the last with exit code 1: BackoffLimitExceeded, Job has reached",),
    ),
    Row(
        "a Job whose pods are gone",
        scene(
            k.failed_job(reason="DeadlineExceeded", message="Job was active longer than specified deadline")
        ),
        "job",
        0.0,
        ("it has failed for good: DeadlineExceeded, Job was active longer than specified deadline",),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_cause(row: Row) -> None:
    found = find_causes(row.scene, GRACE)
    assert found, "no cause found"
    message = diagnosis.not_ready(row.scene.workload, found[0])
    assert (found[0].kind, found[0].wait) == (row.kind, row.wait)
    assert message.startswith(
        f"{row.scene.workload['kind']} eden/{row.scene.workload['metadata']['name']} is not ready: "
    )
    for words in row.says:
        assert words in message
    assert message.endswith(".")


def test_every_kind_that_the_documentation_lists_is_told_somewhere() -> None:
    documented = " ".join(yaml.safe_load(rollout.RETURN)["cause"]["description"])
    told = {row.kind for row in ROWS} | {"blocked", "node", "missing", "timeout"}
    assert set(re.findall(r"V\((\w+)\)", documented)) == told


def ready(workload: Object) -> Object:
    return k.pod(workload, k.container(k.running(), ready=True), phase="Running", ready=True)


EARLIER = {**POSTGRES, "metadata": {**POSTGRES["metadata"], "uid": "uid-of-an-earlier-statefulset"}}
EARLIER_POD = {**k.pod(POSTGRES), "metadata": {**k.pod(POSTGRES)["metadata"], "uid": "uid-of-an-earlier-pod"}}
STARTING = k.pod(POSTGRES, k.container(k.waiting("ContainerCreating")))
STARTED = k.pod(POSTGRES, k.container(k.running()), phase="Running")
NO_CAUSE = [
    ("a pod that starts", scene(POSTGRES, STARTING)),
    ("a pod that runs and is not ready", scene(POSTGRES, STARTED)),
    ("a pod without a node yet", scene(POSTGRES, k.pod(POSTGRES, node=""))),
    ("a controller that has made no pod yet", scene(without_pod(POSTGRES))),
    (
        "a workload whose change was not seen",
        scene({**POSTGRES, "metadata": {**POSTGRES["metadata"], "generation": 2}}, *ROWS[0].scene.pods),
    ),
    (
        "events of an earlier StatefulSet",
        scene(without_pod(POSTGRES), events=[k.event(EARLIER, "FailedCreate", EXCEEDED)]),
    ),
    (
        "events of an earlier pod",
        scene(POSTGRES, STARTING, events=[k.event(EARLIER_POD, "FailedMount", "not found")]),
    ),
    (
        "a failed mount of a container that runs",
        scene(POSTGRES, STARTED, events=[k.event(STARTED, "FailedMount", "later")]),
    ),
    (
        "a failed mount that succeeded at a later try, of a container that is slow to start",
        scene(
            POSTGRES,
            STARTING,
            events=[
                k.event(STARTING, "FailedMount", "failed to sync secret cache: timed out"),
                k.event(STARTING, "Pulled", "already present on machine", kind="Normal"),
            ],
        ),
    ),
    (
        "a refusal of the previous ReplicaSet",
        scene(
            without_pod(TASK_STORE),
            events=[
                k.event(k.replica_set(TASK_STORE, "5d8f7"), "FailedCreate", f"Error creating: {EXCEEDED}")
            ],
        ),
    ),
    (
        "a refusal that is over",
        scene(
            without_pod(POSTGRES),
            events=[
                k.event(POSTGRES, "FailedCreate", EXCEEDED),
                k.event(
                    POSTGRES,
                    "SuccessfulCreate",
                    "create Pod db-0 in StatefulSet db successful",
                    kind="Normal",
                ),
            ],
        ),
    ),
    (
        "a refusal of a pod that is there",
        scene(POSTGRES, STARTED, events=[k.event(POSTGRES, "FailedCreate", EXCEEDED)]),
    ),
    ("a container that ended twice", crashing(restarts=1)),
    (
        "a container that runs again",
        scene(POSTGRES, k.pod(POSTGRES, k.container(k.running(), 4, k.terminated(1)), phase="Running")),
    ),
    (
        "a pod of a Job that may fail",
        scene(SEED, k.pod(SEED, k.container(k.terminated(1), 5), phase="Running")),
    ),
    (
        "an init container that is done",
        scene(
            POSTGRES,
            k.pod(
                POSTGRES,
                k.container(k.waiting("PodInitializing")),
                init=[k.container(k.terminated(0, "Completed"), 3, name="prepare")],
            ),
        ),
    ),
    (
        "a claim that is bound while its pod has no node yet",
        scene(
            POSTGRES,
            k.pod(POSTGRES, node="", claims=["data"]),
            claims=[k.claim("data", "standard", "Bound")],
            storage_classes=[STANDARD],
        ),
    ),
    (
        "a claim that is being provided",
        scene(
            POSTGRES,
            k.pod(POSTGRES, node="", claims=["data"]),
            claims=[k.claim("data", "standard")],
            storage_classes=[STANDARD],
        ),
    ),
    (
        "a claim that will get the default class",
        scene(
            POSTGRES,
            k.pod(POSTGRES, node="", claims=["data"]),
            claims=[k.claim("data")],
            storage_classes=[STANDARD],
        ),
    ),
    (
        "another workload's claim",
        scene(
            POSTGRES,
            k.pod(POSTGRES, node="", claims=["data"]),
            claims=[k.claim("other", "fast")],
            storage_classes=[STANDARD],
        ),
    ),
    (
        "a pod that is ready, after a trouble",
        scene(POSTGRES, ready(POSTGRES), events=[k.event(ready(POSTGRES), "NodeNotReady")]),
    ),
    (
        "a pod that is being deleted",
        scene(
            POSTGRES,
            {
                **(pod := pulling("ErrImagePull", NOT_FOUND)),
                "metadata": {**pod["metadata"], "deletionTimestamp": k.CREATED},
            },
        ),
    ),
    (
        "a broken pod of a Deployment's previous ReplicaSet",
        scene(
            TASK_STORE, k.pod(TASK_STORE, k.container(k.waiting("ErrImagePull", NOT_FOUND)), revision="5d8f7")
        ),
    ),
]


@pytest.mark.parametrize("quiet", [row[1] for row in NO_CAUSE], ids=[row[0] for row in NO_CAUSE])
def test_no_cause(quiet: Scene) -> None:
    assert find_causes(quiet, GRACE) == []


def old(scene_of: Scene, **more: t.Any) -> Scene:
    """The scene as a second run finds it: its pods were there before, its events count as none."""
    pods = {pod["metadata"]["uid"]: diagnosis.forgiven_ends(pod, GRACE["crashes"]) for pod in scene_of.pods}
    return Scene(**{**vars(scene_of), "events": [], "before": pods, **more})


OLD_TROUBLES = (
    "image",
    "config",
    "mount",
    "crash_loop",
    "out_of_memory",
    "hook",
    "quota",
    "pod_security",
    "limit_range",
)
OLD_ROWS = [row for row in ROWS if row.kind in OLD_TROUBLES]


@pytest.mark.parametrize("row", OLD_ROWS, ids=[row.name for row in OLD_ROWS])
def test_old_trouble_is_no_cause_until_it_shows_again(row: Row) -> None:
    """What was wrong before the rollout began may have been repaired, while its traces stay."""
    assert find_causes(old(row.scene), GRACE) == []


def test_old_image_trouble_counts_after_the_next_try() -> None:
    pod = pulling("ImagePullBackOff", f'Back-off pulling image "postgres:none-such": ErrImagePull: {NO_HOST}')
    again = k.event(pod, "Failed", f'Failed to pull image "postgres:none-such": {NO_HOST}', "main")
    idle = k.event(pod, "Failed", "Error: ImagePullBackOff", "main")
    assert find_causes(old(scene(POSTGRES, pod), events=[idle]), GRACE) == []
    (cause,) = find_causes(old(scene(POSTGRES, pod), events=[again]), GRACE)
    assert (cause.kind, cause.wait) == ("image", SETTLE)


def test_old_config_trouble_counts_after_the_next_try() -> None:
    pod = pulling("CreateContainerConfigError", 'secret "absent" not found')
    again = k.event(pod, "Failed", 'Error: secret "absent" not found', "main")
    (cause,) = find_causes(old(scene(POSTGRES, pod), events=[again]), GRACE)
    assert (cause.kind, cause.wait) == ("config", SETTLE)


@pytest.mark.parametrize(
    ("before", "now", "cause"),
    [
        (k.container(k.running(), 7, k.terminated(1), ready=True), k.container(k.terminated(1), 7), False),
        (k.container(k.running(), 7, k.terminated(1), ready=True), k.container(k.terminated(1), 9), True),
        (k.container(k.terminated(1), 7), k.container(k.running(), 8, k.terminated(1)), False),
        (k.container(k.terminated(1), 7), k.container(k.terminated(1), 8), True),
        (k.container(k.terminated(1), 0), k.container(k.terminated(1), 1), False),
        (k.container(k.terminated(1), 0), k.container(k.terminated(1), 2), True),
    ],
    ids=[
        "a service that ran ends once",
        "a service that ran ends three times",
        "a crashing service is started again",
        "a crashing service crashes once more",
        "a service that had crashed once crashes again",
        "a service that had crashed once crashes twice again",
    ],
)
def test_old_crashes(before: Object, now: Object, cause: bool) -> None:
    forgiven = diagnosis.forgiven_ends(k.pod(POSTGRES, before), GRACE["crashes"])
    pod = k.pod(POSTGRES, now, phase="Running")
    found = find_causes(scene(POSTGRES, pod, before={pod["metadata"]["uid"]: forgiven}), GRACE)
    assert bool(found) is cause


def blocking(**spec: t.Any) -> Scene:
    workload = k.statefulset(updateRevision="eden-postgres-2", updatedReplicas=0)
    workload["spec"].update(spec)
    pod = k.pod(
        workload, k.container(k.waiting("ErrImagePull", NOT_FOUND)), revision="eden-postgres-1", image="x:1"
    )
    return old(scene(workload, pod))


def test_a_broken_pod_of_the_previous_revision_blocks_an_ordered_update() -> None:
    (cause,) = find_causes(blocking(), GRACE)
    assert (cause.kind, cause.pod, cause.wait) == ("blocked", "eden-postgres-0", GRACE["blocked"])
    assert diagnosis.not_ready(blocking().workload, cause) == (
        "StatefulSet eden/eden-postgres is not ready: its update waits for a pod of the previous revision, "
        f"pod eden-postgres-0 cannot pull image x:1: {NOT_FOUND}. Delete that pod, which is made anew from "
        "the new revision: kubectl -n eden delete pod eden-postgres-0. Then run again."
    )


@pytest.mark.parametrize(
    "spec", [{"podManagementPolicy": "Parallel"}, {"updateStrategy": {"type": "OnDelete"}}]
)
def test_a_broken_pod_of_the_previous_revision_does_not_block_other_updates(spec: Object) -> None:
    assert find_causes(blocking(**spec), GRACE) == []


def test_a_healthy_pod_of_the_previous_revision_does_not_block() -> None:
    workload = k.statefulset(updateRevision="eden-postgres-2", updatedReplicas=0)
    pod = k.pod(workload, k.container(k.running()), revision="eden-postgres-1", phase="Running")
    assert find_causes(scene(workload, pod), GRACE) == []


def test_a_node_that_is_lost() -> None:
    pod = k.pod(POSTGRES, k.container(k.running()), phase="Running")
    (cause,) = find_causes(
        scene(POSTGRES, pod, events=[k.event(pod, "NodeNotReady", "Node is not ready")]), GRACE
    )
    assert (cause.kind, cause.wait) == ("node", GRACE["node"])
    assert (
        cause.sentence()
        == "node lab-control-plane, which runs pod eden-postgres-0, is not ready: Node is not ready"
    )


def test_a_deployment_tells_of_a_refusal_when_its_events_are_gone() -> None:
    refusal = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": EXCEEDED}
    workload = without_pod(k.deployment(conditions=[refusal]))
    assert find_causes(scene(workload), GRACE) == []
    assert [cause.kind for cause in find_causes(scene(workload, final=True), GRACE)] == ["quota"]


def test_the_failed_job_names_the_container_whose_log_tells_more() -> None:
    first = k.pod(SEED, k.container(k.terminated(1)), phase="Failed", name="eden-seed-aaaaa")
    last = k.pod(SEED, k.container(k.terminated(2)), phase="Failed", name="eden-seed-bbbbb")
    last["metadata"]["creationTimestamp"] = "2026-11-23T16:11:38Z"
    (cause,) = find_causes(scene(k.failed_job(), last, first), GRACE)
    assert (cause.pod, cause.container) == ("eden-seed-bbbbb", "main")
    assert "it has failed for good after 2 pods, the last with exit code 2" in cause.problem


def test_last_words_are_of_a_probe_of_a_pod_that_runs() -> None:
    pod = k.pod(POSTGRES, k.container(k.running()), phase="Running")
    said = k.event(
        pod, "Unhealthy", "Readiness probe failed: no response from postgresql://eden:hunter2@db\n", "main"
    )
    assert diagnosis.last_words(scene(POSTGRES, pod, events=[said])) == (
        "pod eden-postgres-0: Readiness probe failed: no response from postgresql://eden:***@db"
    )
    assert diagnosis.last_words(scene(POSTGRES, pod)) == ""
    crashed = k.pod(POSTGRES, k.container(k.terminated(1), 1), phase="Running")
    assert diagnosis.last_words(scene(POSTGRES, crashed, events=[said])) == ""


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
    assert diagnosis.mask_words(words) == words
