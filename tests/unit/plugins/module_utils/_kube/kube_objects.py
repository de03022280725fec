# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects in the shape in which an API server of version 1.36 returns them."""

from __future__ import annotations

import itertools
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object

NAMESPACE = "eden"
CREATED = "2026-11-23T16:10:38Z"

_versions = itertools.count(1000)


def _metadata(name: str, uid: str = "", **more: t.Any) -> Object:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": uid or f"uid-of-{name}",
        "resourceVersion": str(next(_versions)),
        "creationTimestamp": CREATED,
        **more,
    }


def statefulset(name: str = "eden-postgres", component: str = "postgres", **status: t.Any) -> Object:
    """A StatefulSet of one replica whose pod is there and not ready."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(name, generation=1, labels={"app.kubernetes.io/component": component}),
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate"},
        },
        "status": {
            "availableReplicas": 0,
            "collisionCount": 0,
            "currentReplicas": 1,
            "currentRevision": f"{name}-1",
            "observedGeneration": 1,
            "replicas": 1,
            "updateRevision": f"{name}-1",
            "updatedReplicas": 1,
            **status,
        },
    }


def ready_statefulset(name: str = "eden-postgres", component: str = "postgres", **status: t.Any) -> Object:
    """A StatefulSet of one replica that is ready."""
    return statefulset(name, component, **{"readyReplicas": 1, "availableReplicas": 1, **status})


def deployment(name: str = "eden-task-store-server", **status: t.Any) -> Object:
    """A Deployment of one replica whose pod is there and not ready."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(name, generation=1, labels={"app.kubernetes.io/component": "task-store"}),
        "spec": {"replicas": 1},
        "status": {
            "conditions": [
                {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
                {
                    "type": "Progressing",
                    "status": "True",
                    "reason": "ReplicaSetUpdated",
                    "message": f'ReplicaSet "{name}-77bff68944" is progressing.',
                },
            ],
            "observedGeneration": 1,
            "replicas": 1,
            "terminatingReplicas": 0,
            "unavailableReplicas": 1,
            "updatedReplicas": 1,
            **status,
        },
    }


def ready_deployment(name: str = "eden-task-store-server", **status: t.Any) -> Object:
    """A Deployment of one replica that is ready."""
    return deployment(name, **{"readyReplicas": 1, "availableReplicas": 1, **status})


def job(name: str = "eden-seed", **status: t.Any) -> Object:
    """A Job whose pod has not ended."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(name, generation=1, labels={"app.kubernetes.io/component": "seed"}),
        "spec": {"backoffLimit": 2, "completions": 1, "parallelism": 1, "suspend": False},
        "status": {"active": 1, "ready": 0, "startTime": CREATED, "terminating": 0, **status},
    }


def complete_job(name: str = "eden-seed") -> Object:
    """A Job that is complete."""
    conditions = [
        {"type": kind, "status": "True", "reason": "CompletionsReached"}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    return job(name, active=0, succeeded=1, conditions=conditions)


def failed_job(name: str = "eden-seed", reason: str = "BackoffLimitExceeded", message: str = "") -> Object:
    """A Job that has failed for good."""
    message = message or "Job has reached the specified backoff limit"
    conditions = [
        {"type": kind, "status": "True", "reason": reason, "message": message}
        for kind in ("FailureTarget", "Failed")
    ]
    return job(name, active=0, failed=3, conditions=conditions)


def running(since: str = "2026-11-23T16:10:45Z") -> Object:
    """The state of a container that runs."""
    return {"running": {"startedAt": since}}


def waiting(reason: str, message: str = "") -> Object:
    """The state of a container that waits."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def terminated(code: int, reason: str = "Error", message: str = "") -> Object:
    """The state of a container that has ended."""
    return {
        "terminated": {
            "containerID": "containerd://914eefe3029b",
            "exitCode": code,
            "reason": reason,
            "startedAt": "2026-11-23T16:10:45Z",
            "finishedAt": "2026-11-23T16:10:47Z",
            **({"message": message} if message else {}),
        }
    }


def container(
    state: Object, restarts: int = 0, last: Object | None = None, name: str = "main", ready: bool = False
) -> Object:
    """The status of a container."""
    return {
        "name": name,
        "image": "lab/debian:trixie",
        "ready": ready,
        "started": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": last or {},
    }


def pod(
    workload: Object,
    *containers: Object,
    name: str = "",
    phase: str = "Pending",
    ready: bool = False,
    node: str = "lab-control-plane",
    unschedulable: str = "",
    init: t.Sequence[Object] = (),
    claims: t.Sequence[str] = (),
    revision: str = "",
    image: str = "lab/debian:trixie",
) -> Object:
    """A pod that the workload's controller made. Without a node it has not been scheduled."""
    owner = workload["metadata"]
    labels = dict(owner["labels"])
    if workload["kind"] == "Deployment":
        suffix = revision or "77bff68944"
        labels["pod-template-hash"] = suffix
        owner = {
            "kind": "ReplicaSet",
            "name": f"{owner['name']}-{suffix}",
            "uid": f"uid-of-{owner['name']}-{suffix}",
        }
        name = name or f"{owner['name']}-wz4cr"
    elif workload["kind"] == "StatefulSet":
        labels["controller-revision-hash"] = revision or f"{owner['name']}-1"
        name = name or f"{owner['name']}-0"
    else:
        name = name or f"{owner['name']}-rwcvl"
    at = {"lastTransitionTime": CREATED}
    conditions: list[Object] = []
    if node:
        conditions = [
            {"type": "PodScheduled", "status": "True", **at},
            {
                "type": "Ready",
                "status": "True" if ready else "False",
                "lastTransitionTime": "2026-11-23T16:10:50Z" if ready else CREATED,
            },
        ]
    elif unschedulable:
        conditions = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": unschedulable,
                **at,
            }
        ]
    status: Object = {"phase": phase, "conditions": conditions}
    if containers:
        status["containerStatuses"] = list(containers)
    if init:
        status["initContainerStatuses"] = list(init)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(
            name,
            labels=labels,
            ownerReferences=[
                {
                    "kind": workload["kind"] if owner is workload["metadata"] else "ReplicaSet",
                    "name": owner["name"],
                    "uid": owner["uid"],
                    "controller": True,
                }
            ],
        ),
        "spec": {
            "restartPolicy": "Never" if workload["kind"] == "Job" else "Always",
            "initContainers": [{"name": entry["name"], "image": image} for entry in init],
            "containers": [
                {"name": entry["name"], "image": image, "resources": {"limits": {"memory": "16Mi"}}}
                for entry in containers or ({"name": "main"},)
            ],
            "volumes": [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in claims],
            **({"nodeName": node} if node else {}),
        },
        "status": status,
    }


def event(
    thing: Object,
    reason: str,
    message: str = "",
    container: str = "",
    time: str = "2026-11-23T16:10:46Z",
    kind: str = "Warning",
    count: int = 1,
) -> Object:
    """An event about an object, or about a container of a pod."""
    field_path = {"fieldPath": f"spec.containers{{{container}}}"} if container else {}
    number = next(_versions)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{thing['metadata']['name']}.{number:x}",
            "namespace": NAMESPACE,
            "uid": f"uid-of-event-{number}",
            "resourceVersion": str(number),
            "creationTimestamp": time,
        },
        "involvedObject": {
            "kind": thing["kind"],
            "name": thing["metadata"]["name"],
            "uid": thing["metadata"]["uid"],
            **field_path,
        },
        "type": kind,
        "reason": reason,
        "message": message,
        "count": count,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "eventTime": None,
    }


def replica_set(deployment: Object, suffix: str = "77bff68944") -> Object:
    """A ReplicaSet of a Deployment, as far as events name it."""
    name = f"{deployment['metadata']['name']}-{suffix}"
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": _metadata(name)}


def claim(name: str, storage_class: str | None = None, phase: str = "Pending") -> Object:
    """A PersistentVolumeClaim; None is a class that was not named, an empty one is "no class"."""
    spec: Object = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": _metadata(name),
        "spec": spec,
        "status": {"phase": phase},
    }


def storage_class(name: str, default: bool = False) -> Object:
    """A StorageClass."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "uid": f"uid-of-{name}", "annotations": annotations},
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
