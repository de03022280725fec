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

from ansible_collections.eden.reference.plugins.module_utils._collection import NAME
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import StopError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    desired_replicas,
    has_ended,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import KINDS, describe

COMPONENT_LABEL = "app.kubernetes.io/component"
STOPPED_ANNOTATION = f"{NAME}/stopped-replicas"
# Of pods that try a change; nothing is lost with them.
TRIAL_LABEL = f"{NAME}/trial"

KINDS_WITH_REPLICAS = ("Deployment", "StatefulSet")
DEFAULT_GRACE = 30
# What the kubelet and the API server may take after the last process has ended.
MARGIN = 30.0
INTERVAL = 0.5
QUIET = 15.0

Progress = t.Callable[[str], None]


@dataclass
class Clock:
    """The time in seconds since some moment, and how to let it pass."""

    now: t.Callable[[], float] = time.monotonic
    sleep: t.Callable[[float], None] = time.sleep


def workloads_of(cluster: Cluster, namespace: str, selector: str) -> list[Object]:
    """The workloads of the selector; servers, which others wait for, come first."""
    return [
        workload
        for kind in KINDS_WITH_REPLICAS
        for workload in cluster.list(kind, namespace, labels=selector)
    ]


def stopped_workloads(cluster: Cluster, namespace: str, selector: str) -> list[Object]:
    """The workloads of the selector that were stopped, and of which no run has said that they may start."""
    return [live for live in workloads_of(cluster, namespace, selector) if STOPPED_ANNOTATION in _notes(live)]


def of_components(selector: str, components: t.Iterable[str]) -> str:
    """The part of a selector with these components."""
    return f"{selector},{COMPONENT_LABEL} in ({','.join(sorted(components))})"


def component(workload: Object) -> str:
    """The component of a workload, by its label."""
    return str((workload["metadata"].get("labels") or {}).get(COMPONENT_LABEL, ""))


def stop(
    cluster: Cluster, namespace: str, selector: str, progress: Progress, clock: Clock | None = None
) -> None:
    """Scale the workloads of the selector to 0 and return when its pods have ended.

    A pod may outlive the replicas, and even the workload, that it belonged to: it still completes its task.

    Raises:
        StopError: a pod is still there long after its grace period.
    """
    for live in workloads_of(cluster, namespace, selector):
        replicas = desired_replicas(live)
        if replicas:
            _scale(cluster, live, 0, str(replicas))
    _wait_until_gone(cluster, namespace, selector, progress, clock or Clock())


def start(
    cluster: Cluster, namespace: str, workloads: t.Iterable[Object], progress: Progress
) -> list[Object]:
    """Start those of the workloads that ``stop`` has stopped and that have no replicas since.

    Returns: those that were started.
    """
    found = (
        cluster.read(workload["kind"], namespace, workload["metadata"]["name"]) for workload in workloads
    )
    stopped = [live for live in found if live is not None and STOPPED_ANNOTATION in _notes(live)]
    for live in stopped:
        replicas = desired_replicas(live)
        if not replicas:
            progress(f"starting {describe(live['kind'], '', live['metadata']['name'])}")
        _scale(cluster, live, replicas or stopped_replicas(live), None)
    return [live for live in stopped if not desired_replicas(live)]


def names(workloads: t.Iterable[Object]) -> str:
    """The workloads as messages name them."""
    return ", ".join(f"{live['kind']} {live['metadata']['name']}" for live in workloads)


def advice(workloads: t.Sequence[Object]) -> str:
    """What a message of a failure says about workloads that are stopped; empty if none are."""
    if not workloads:
        return ""
    return (
        f"Stopped before the change, so that no task is lost: {names(workloads)}. The next run of site.yml "
        "that succeeds starts them again."
    )


def stopped_replicas(workload: Object) -> int:
    """The replicas that a workload had when it was stopped."""
    text = str(_notes(workload).get(STOPPED_ANNOTATION))
    # Another text comes from an edit.
    return int(text) if text.isdecimal() and int(text) else 1


def _notes(workload: Object) -> Object:
    return workload["metadata"].get("annotations") or {}


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
    cluster: Cluster, namespace: str, selector: str, progress: Progress, clock: Clock
) -> None:
    began, shown = clock.now(), -QUIET
    while True:
        pods = cluster.list("Pod", namespace, labels=f"{selector},!{TRIAL_LABEL}")
        left = [pod for pod in pods if not has_ended(pod)]
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
    way_out = (
        "Check the node (kubectl get nodes); if it is gone for good, delete the Node object, which removes "
        "its pods. Then run again."
    )
    unasked = [pod["metadata"]["name"] for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    if unasked:
        way_out = (
            f"No controller has ended {', '.join(unasked)}: run kubectl -n {namespace} delete pod "
            f"{' '.join(unasked)}, which lets the tasks be completed, and then the playbook again."
        )
    return StopError(
        f"Could not stop {names} in namespace {namespace}: after {waited:.0f} s, longer than the grace "
        f"period, the pods are still there (on {nodes}). What they depend on was not changed. {way_out}",
        pods=[pod["metadata"]["name"] for pod in pods],
    )
