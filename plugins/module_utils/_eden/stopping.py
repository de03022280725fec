# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stops workloads so that no task is lost, and starts them again.

A host looks at SIGTERM only between two tasks: its pod ends when its task has ended. A stopped workload
carries the former number of its replicas in an annotation, so that any later run can start it.
This module is private to the collection.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass

from ansible_collections.eden.reference.plugins.module_utils._collection import MANAGED_BY_LABEL, NAME
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import StopError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    desired_replicas,
    has_ended,
    pods_of,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import KINDS, describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

COMPONENT_LABEL = "app.kubernetes.io/component"
STOPPED_ANNOTATION = f"{NAME}/stopped-replicas"
ARGUMENTS: dict[str, t.Any] = {**CLUSTER_ARGUMENTS, "selector": {"type": "str", "required": True}}

KINDS_WITH_REPLICAS = ("StatefulSet", "Deployment")
DEFAULT_GRACE = 30
# What the kubelet and the API server may take after the last process has ended.
MARGIN = 30.0
INTERVAL = 0.5
QUIET = 15.0

Progress = t.Callable[[str], None]
Workload = t.Mapping[str, t.Any]


@dataclass
class Clock:
    """The time in seconds since some moment, and how to let it pass."""

    now: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep


def run(task: Task) -> dict[str, t.Any]:
    """Start what an earlier task or run has stopped."""
    namespace = task.parameters["namespace"]
    with connected(task.parameters) as cluster:
        stopped = [
            {"kind": workload["kind"], "name": workload["metadata"]["name"]}
            for workload in workloads_of(cluster, namespace, task.parameters["selector"])
            if STOPPED_ANNOTATION in (workload["metadata"].get("annotations") or {})
        ]
        # In check mode nothing was stopped; an earlier run may have left it so.
        started = stopped if task.check_mode else start(cluster, namespace, stopped, task.progress)
    return {"changed": bool(stopped), "workloads": started}


def workloads_of(cluster: Cluster, namespace: str, selector: str) -> list[Object]:
    """The workloads of the selector."""
    return [
        workload
        for kind in KINDS_WITH_REPLICAS
        for workload in cluster.list(kind, namespace, labels=selector)
    ]


def running(cluster: Cluster, namespace: str, selector: str) -> list[Object]:
    """The workloads of the selector that have replicas."""
    return [workload for workload in workloads_of(cluster, namespace, selector) if desired_replicas(workload)]


def component(workload: Object) -> str:
    """The component of a workload, by its label."""
    return str((workload["metadata"].get("labels") or {}).get(COMPONENT_LABEL, ""))


def stop(
    cluster: Cluster,
    namespace: str,
    workloads: t.Sequence[Workload],
    progress: Progress,
    clock: Clock | None = None,
) -> list[dict[str, t.Any]]:
    """Scale workloads, by their kind and name, to 0 and return when their pods have ended.

    Returns: kind, name and former replicas of each that had some.

    Raises:
        StopError: a pod is still there long after its grace period.
    """
    found = [cluster.read(workload["kind"], namespace, workload["name"]) for workload in workloads]
    live = [workload for workload in found if workload is not None]
    stopped = [workload for workload in live if desired_replicas(workload)]
    for workload in stopped:
        _scale(cluster, workload, 0, str(desired_replicas(workload)))
    _wait_until_gone(cluster, namespace, live, progress, clock or Clock())
    return [
        {
            "kind": workload["kind"],
            "name": workload["metadata"]["name"],
            "replicas": desired_replicas(workload),
        }
        for workload in stopped
    ]


def start(
    cluster: Cluster, namespace: str, workloads: t.Sequence[Workload], progress: Progress
) -> list[dict[str, str]]:
    """Start workloads, by their kind and name, that ``stop`` has stopped and that have no replicas since.

    Returns: kind and name of each that was started.
    """
    started = []
    for workload in workloads:
        live = cluster.read(workload["kind"], namespace, workload["name"])
        replicas = stopped_replicas(live)
        if live is None or not replicas:
            continue
        if not desired_replicas(live):
            progress(f"starting {describe(live['kind'], '', live['metadata']['name'])}")
            started.append({"kind": live["kind"], "name": live["metadata"]["name"]})
        _scale(cluster, live, desired_replicas(live) or replicas, None)
    return started


def stopped_replicas(workload: Object | None) -> int:
    """The replicas that a workload had when it was stopped; 0 if it was not."""
    annotations = (workload or {}).get("metadata", {}).get("annotations") or {}
    text = str(annotations.get(STOPPED_ANNOTATION, ""))
    return int(text) if text.isdecimal() else 0


def _scale(cluster: Cluster, workload: Object, replicas: int, annotation: str | None) -> None:
    kind, metadata = workload["kind"], workload["metadata"]
    definition = {
        "apiVersion": KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
    }
    patch = {
        "metadata": {"annotations": {STOPPED_ANNOTATION: annotation}},
        "spec": {"replicas": replicas},
    }
    cluster.merge(definition, patch)


def _wait_until_gone(
    cluster: Cluster, namespace: str, workloads: t.Sequence[Object], progress: Progress, clock: Clock
) -> None:
    began, shown = clock.now(), -QUIET
    while True:
        pods = cluster.list("Pod", namespace, labels=f"{MANAGED_BY_LABEL}={NAME}") if workloads else []
        left = [pod for workload in workloads for pod in pods_of(workload, pods) if not has_ended(pod)]
        if not left:
            return
        waited = clock.now() - began
        longest = max(map(grace, left))
        if waited > longest + MARGIN:
            raise _stuck(namespace, left, waited)
        if waited - shown >= QUIET:
            shown = waited
            progress(f"stopping: {', '.join(_remaining(pod, waited) for pod in left)}")
        clock.sleep(INTERVAL)


def grace(pod: Object) -> int:
    """The seconds that a pod has to end."""
    seconds = pod.get("spec", {}).get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE if seconds is None else int(seconds)


def _remaining(pod: Object, waited: float) -> str:
    return f"pod {pod['metadata']['name']} ends its work within {max(0.0, grace(pod) - waited):.0f} s"


def _stuck(namespace: str, pods: t.Sequence[Object], waited: float) -> StopError:
    names = ", ".join(pod["metadata"]["name"] for pod in pods)
    nodes = ", ".join(sorted({str(pod["spec"].get("nodeName") or "no node") for pod in pods}))
    return StopError(
        f"Could not stop {names} in namespace {namespace}: after {waited:.0f} s, longer than the grace "
        f"period, the pods are still there (on {nodes}). What they depend on was not changed. Check the "
        "node (kubectl get nodes); if it is gone for good, delete the Node object, which removes its pods. "
        "Then run again.",
        pods=[pod["metadata"]["name"] for pod in pods],
    )
