# SPDX-License-Identifier: GPL-3.0-or-later
"""What the status of workloads and pods says."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._kube import readiness
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._kube import kube_objects as k


def changed(thing: Object, **changes: t.Any) -> Object:
    """The object with other values in its ``metadata``, ``spec`` or ``status``."""
    return {**thing, **{key: {**thing[key], **value} for key, value in changes.items()}}


OLD_REVISION = {"currentRevision": "eden-postgres-0", "updateRevision": "eden-postgres-1"}

# fmt: off
READY = [
    ("a StatefulSet that has just been created", {**k.statefulset(), "status": {}}, False),
    ("a StatefulSet whose pod is not ready", k.statefulset(), False),
    ("a StatefulSet whose pod is ready", k.ready_statefulset(), True),
    ("a StatefulSet whose pod is ready, not yet for long enough", k.ready_statefulset(availableReplicas=0),
     False),
    ("a StatefulSet whose change was not seen", changed(k.ready_statefulset(), metadata={"generation": 2}),
     False),
    ("a StatefulSet whose ready pod is of the old revision", k.ready_statefulset(**OLD_REVISION), False),
    ("a StatefulSet that is scaled up", changed(k.ready_statefulset(), spec={"replicas": 2}), False),
    ("a StatefulSet of no replica that still has one", changed(k.ready_statefulset(), spec={"replicas": 0}),
     False),
    ("a StatefulSet of no replica",
     changed(k.statefulset(replicas=0, updatedReplicas=0), spec={"replicas": 0}), True),
    ("a StatefulSet that is being deleted",
     changed(k.ready_statefulset(), metadata={"deletionTimestamp": k.CREATED}), False),
    ("a Deployment that has just been created", {**k.deployment(), "status": {}}, False),
    ("a Deployment whose pod is not ready", k.deployment(), False),
    ("a Deployment whose pod is ready", k.ready_deployment(), True),
    ("a Deployment whose pod is ready and not available", k.ready_deployment(availableReplicas=0), False),
    ("a Deployment whose change was not seen", changed(k.ready_deployment(), metadata={"generation": 2}),
     False),
    ("a Deployment whose old pod is still there", k.ready_deployment(replicas=2), False),
    ("a Deployment whose ready pod is old", k.ready_deployment(updatedReplicas=0), False),
    ("a Deployment of no replica",
     changed(k.deployment(replicas=0, updatedReplicas=0, unavailableReplicas=0), spec={"replicas": 0}), True),
    ("a Deployment whose spec names no number", changed(k.ready_deployment(), spec={"replicas": None}), True),
    ("a Job that runs", k.job(), False),
    ("a Job that is complete", k.complete_job(), True),
    ("a Job that has failed", k.failed_job(), False),
    ("a Job that will be complete once its pod is gone",
     k.job(conditions=[{"type": "SuccessCriteriaMet", "status": "True"}]), False),
    ("a Job of which a pod succeeded", k.job(succeeded=1), False),
]
# fmt: on


@pytest.mark.parametrize(("workload", "ready"), [row[1:] for row in READY], ids=[row[0] for row in READY])
def test_is_ready(workload: Object, ready: bool) -> None:
    assert readiness.is_ready(workload) is ready
    assert readiness.is_done(workload) is ready


DONE = [
    ("its pod has succeeded", k.job(), {"phase": "Succeeded"}, True),
    ("its pod runs", k.job(), {"phase": "Running", "ready": True}, False),
    ("its pod has failed", k.job(), {"phase": "Failed"}, False),
    ("it wants more than one pod", changed(k.job(), spec={"completions": 2}), {"phase": "Succeeded"}, False),
    (
        "it is being deleted",
        changed(k.job(), metadata={"deletionTimestamp": k.CREATED}),
        {"phase": "Succeeded"},
        False,
    ),
    ("it is no Job", k.statefulset(), {"phase": "Succeeded"}, False),
]


@pytest.mark.parametrize(
    ("workload", "state", "done"), [row[1:] for row in DONE], ids=[row[0] for row in DONE]
)
def test_a_job_is_done_once_its_pod_is(workload: Object, state: dict[str, t.Any], done: bool) -> None:
    pods = [k.pod(workload, **state), k.pod(k.job("other"), phase="Succeeded")]
    assert readiness.is_done(workload, pods) is done


@pytest.mark.parametrize(
    ("workload", "states", "succeeded"),
    [
        (k.job(), [k.terminated(0)], True),
        (k.job(), [k.terminated(0), k.terminated(0)], True),
        (k.job(), [k.terminated(1)], False),
        (k.job(), [k.terminated(0), k.running()], False),
        (k.job(), [k.waiting("ContainerCreating")], False),
        (k.job(), [], False),
        (k.statefulset(), [k.terminated(0)], False),
    ],
)
def test_a_pod_has_succeeded_once_its_containers_have(
    workload: Object, states: list[Object], succeeded: bool
) -> None:
    containers = [k.container(state, name=f"c{number}") for number, state in enumerate(states)]
    assert readiness.has_succeeded(k.pod(workload, *containers, phase="Running")) is succeeded


def test_what_does_not_exist_is_not_done() -> None:
    assert not readiness.is_done(None, [k.pod(k.job(), phase="Succeeded")])


@pytest.mark.parametrize(
    ("workload", "words"),
    [
        (k.statefulset(), "0 of 1 replicas ready"),
        (k.ready_statefulset(updatedReplicas=0), "0 of 1 replicas updated"),
        (k.ready_statefulset(availableReplicas=0), "0 of 1 replicas available"),
        (k.ready_deployment(replicas=2), "2 replicas instead of 1"),
        (k.ready_statefulset(**OLD_REVISION), "its update is not finished"),
        (
            changed(k.statefulset(), metadata={"generation": 2}),
            "its controller has not observed its latest change",
        ),
        (changed(k.statefulset(), metadata={"deletionTimestamp": k.CREATED}), "it is being deleted"),
        (k.job(failed=1), "it is not complete, failed pods: 1"),
        (k.job(), "it is not complete"),
        (changed(k.job(), spec={"suspend": True}), "it is suspended"),
    ],
)
def test_shortfall(workload: Object, words: str) -> None:
    assert readiness.shortfall(workload) == words


def test_pods_of_tells_workloads_of_similar_names_apart() -> None:
    web, web_ui = k.deployment("web"), k.deployment("web-ui")
    pods = [k.pod(web), k.pod(web_ui)]
    assert [pod["metadata"]["name"] for pod in readiness.pods_of(web, pods)] == ["web-77bff68944-wz4cr"]
    assert [pod["metadata"]["name"] for pod in readiness.pods_of(web_ui, pods)] == ["web-ui-77bff68944-wz4cr"]


def test_pods_of_leaves_out_pods_of_an_earlier_object_of_the_name() -> None:
    earlier, now = k.job(), changed(k.job(), metadata={"uid": "uid-of-the-new-job"})
    assert readiness.pods_of(now, [k.pod(earlier)]) == []
    assert len(readiness.pods_of(now, [k.pod(now)])) == 1


def test_current_pods_of_a_deployment_are_those_of_the_named_replica_set() -> None:
    workload = k.deployment()
    old, new = k.pod(workload, revision="5d8f7"), k.pod(workload)
    assert readiness.current_pods(workload, [new, old]) == [new]


def test_current_pods_of_a_silent_deployment_are_those_of_the_newest_replica_set() -> None:
    workload = k.deployment(conditions=[])
    old, new = k.pod(workload, revision="77bff68944"), k.pod(workload, revision="5d8f7")
    old["metadata"]["creationTimestamp"] = "2026-11-23T15:00:00Z"
    assert readiness.current_pods(workload, [new, old]) == [new]


def test_current_pods_are_of_the_update_revision_and_stay() -> None:
    workload = k.statefulset(updateRevision="eden-postgres-2")
    old, new = k.pod(workload, revision="eden-postgres-1"), k.pod(workload, revision="eden-postgres-2")
    leaving = changed(new, metadata={"deletionTimestamp": k.CREATED, "uid": "uid-of-another"})
    assert readiness.current_pods(workload, [old, new, leaving]) == [new]


POSTGRES, TASK_STORE, SEED = k.statefulset(), k.deployment(), k.job()
PULLING = k.pod(POSTGRES, k.container(k.waiting("ContainerCreating")), image="postgres:16.6-alpine")
PULLING_EVENT = k.event(PULLING, "Pulling", 'Pulling image "postgres:16.6-alpine"', "main", kind="Normal")

# fmt: off
STAGES: list[tuple[Object, list[Object], str]] = [
    (k.pod(POSTGRES, node=""), [], "created"),
    (k.pod(POSTGRES, node="", unschedulable="0/1 nodes are available: 1 Insufficient cpu."), [],
     "waiting for a node"),
    (k.pod(POSTGRES), [], "scheduled"),
    (PULLING, [], "scheduled"),
    (PULLING, [PULLING_EVENT], "pulling image postgres:16.6-alpine"),
    (PULLING, [PULLING_EVENT, k.event(PULLING, "Pulled", "Successfully pulled image", "main", kind="Normal")],
     "scheduled"),
    (k.pod(POSTGRES, k.container(k.waiting("ImagePullBackOff", 'Back-off pulling image "x:1"')), image="x:1"),
     [], "cannot pull image x:1"),
    (k.pod(POSTGRES, k.container(k.waiting("CreateContainerConfigError", 'secret "absent" not found'))), [],
     'cannot start: secret "absent" not found'),
    (
        k.pod(
            POSTGRES,
            k.container(k.waiting("PodInitializing")),
            init=[k.container(k.running(), name="prepare")],
        ),
        [],
        "running init container prepare",
    ),
    (k.pod(POSTGRES, k.container(k.running()), phase="Running"), [], "started"),
    (k.pod(POSTGRES, k.container(k.running(), 2, k.terminated(1)), phase="Running"), [], "restarted 2 times"),
    (k.pod(POSTGRES, k.container(k.terminated(3)), phase="Running"), [],
     "container main exited with exit code 3, once"),
    (
        k.pod(
            POSTGRES,
            k.container(k.waiting("CrashLoopBackOff"), 2, k.terminated(137, "OOMKilled")),
            phase="Running",
        ),
        [],
        "container main exited because it ran out of memory, 3 times",
    ),
    (k.pod(POSTGRES, k.container(k.running(), ready=True), phase="Running", ready=True), [], "ready"),
    (changed(k.pod(POSTGRES), metadata={"deletionTimestamp": k.CREATED}), [], "is stopping"),
    (k.pod(SEED, k.container(k.running(), ready=True), phase="Running", ready=True), [], "started"),
    (k.pod(SEED, k.container(k.terminated(0, "Completed")), phase="Running"), [], "finished"),
    (k.pod(SEED, k.container(k.terminated(0, "Completed")), phase="Succeeded"), [], "finished"),
    (k.pod(SEED, k.container(k.terminated(1)), phase="Running"), [], "failed (exit code 1)"),
    (k.pod(SEED, k.container(k.terminated(1)), phase="Failed"), [], "failed (exit code 1)"),
]
# fmt: on


@pytest.mark.parametrize(("pod", "events", "stage"), STAGES)
def test_pod_stage(pod: Object, events: list[Object], stage: str) -> None:
    assert readiness.pod_stage(pod, events) == stage


def test_events_within_one_second_are_in_the_order_of_their_resource_versions() -> None:
    pod = k.pod(POSTGRES)
    first, second = k.event(pod, "Pulling"), k.event(pod, "Pulled")
    assert readiness.events_of(pod, [second, first]) == [first, second]


def test_events_of_leaves_out_those_of_an_earlier_object_of_the_name() -> None:
    pod = k.pod(POSTGRES)
    earlier = changed(pod, metadata={"uid": "uid-of-an-earlier-pod"})
    assert readiness.events_of(pod, [k.event(earlier, "FailedMount")]) == []


def test_event_time_of_the_newer_event_api() -> None:
    event = {
        "metadata": {"uid": "u", "creationTimestamp": "2026-11-23T16:10:39Z"},
        "lastTimestamp": None,
        "eventTime": "2026-11-23T16:10:39.250000Z",
        "series": {"count": 3, "lastObservedTime": "2026-11-23T16:12:00.000000Z"},
    }
    assert readiness.event_time(event) == "2026-11-23T16:12:00.000000Z"
    assert readiness.event_time({**event, "series": None}) == "2026-11-23T16:10:39.250000Z"
    assert readiness.event_time({**event, "series": None, "eventTime": None}) == "2026-11-23T16:10:39Z"
