# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The status of workloads and pods: whether they are ready, and their progress.

Pure functions over objects as the Kubernetes API returns them.
This module is private to the collection.
"""

from __future__ import annotations

import re
import typing as t
from datetime import datetime

from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._kube.reasons import classify_reason

WORKLOAD_KINDS = ("StatefulSet", "Deployment", "Job")
DOWN_REASONS = frozenset({"CrashLoopBackOff", "RunContainerError", "PostStartHookError"})


class ContainerStatus(t.NamedTuple):
    """A container of a pod: its name, whether it is an init container, its entry in the pod's status."""

    name: str
    init: bool
    status: Object

    @property
    def reason(self) -> str:
        """The reason for which the container waits, empty if it does not."""
        return self._state("waiting").get("reason") or ""

    @property
    def message(self) -> str:
        """The message that comes with ``reason``."""
        return self._state("waiting").get("message") or ""

    @property
    def running(self) -> bool:
        """Whether the container runs."""
        return bool(self._state("running"))

    @property
    def down(self) -> bool:
        """Whether the container has exited, or could not be started, and will be restarted."""
        ended = self._state("terminated")
        if ended:
            return not (self.init and ended.get("exitCode") == 0)
        return self.reason in DOWN_REASONS

    @property
    def restarts(self) -> int:
        """How often the container was restarted in its pod, including a restart that is about to happen."""
        return int(self.status.get("restartCount") or 0) + (1 if self.down else 0)

    @property
    def last_end(self) -> Object:
        """The ``terminated`` state of the latest finished run, or an empty dict."""
        return self._state("terminated") or (self.status.get("lastState") or {}).get("terminated") or {}

    def _state(self, name: str) -> Object:
        return (self.status.get("state") or {}).get(name) or {}


def is_ready(workload: Object) -> bool:
    """Whether every desired replica runs the current revision and is available, or the Job is complete.

    A workload whose status is older than its spec is not ready. A workload of no replicas is ready.
    """
    if workload["metadata"].get("deletionTimestamp"):
        return False
    if workload["kind"] == "Job":
        return _holds(workload, "Complete")
    if not is_observed(workload):
        return False
    return _statefulset_ready(workload) if workload["kind"] == "StatefulSet" else _deployment_ready(workload)


def is_done(workload: Object | None, pods: t.Iterable[Object] = ()) -> bool:
    """Whether the workload exists and is ready, or is a Job of one pod whose containers have all succeeded.

    The kubelet and the Job's controller each report that a second later.
    """
    if workload is None:
        return False
    if is_ready(workload):
        return True
    single = workload["kind"] == "Job" and int((workload.get("spec") or {}).get("completions") or 1) == 1
    return (
        single
        and not workload["metadata"].get("deletionTimestamp")
        and any(has_succeeded(pod) for pod in pods_of(workload, pods))
    )


def has_succeeded(pod: Object) -> bool:
    """Whether every container has exited with code 0 and is not restarted."""
    if _status(pod).get("phase") == "Succeeded":
        return True
    spec = pod.get("spec") or {}
    ends = [
        (container.status.get("state") or {}).get("terminated")
        for container in container_statuses(pod)
        if not container.init
    ]
    return (
        spec.get("restartPolicy") == "Never"
        and len(ends) == len(spec.get("containers") or ())
        and all(end is not None and end.get("exitCode") == 0 for end in ends)
    )


def has_ended(pod: Object) -> bool:
    """Whether no container of the pod runs or will run again."""
    return _status(pod).get("phase") in ("Succeeded", "Failed")


def is_observed(workload: Object) -> bool:
    """Whether the controller has observed the current spec."""
    generation = int(workload["metadata"].get("generation") or 0)
    return workload["kind"] == "Job" or int(_status(workload).get("observedGeneration") or 0) >= generation


def shortfall(workload: Object) -> str:
    """What a workload that is not ready lacks, in a few words."""
    status = _status(workload)
    if workload["metadata"].get("deletionTimestamp"):
        return "it is being deleted"
    if workload["kind"] == "Job":
        if (workload.get("spec") or {}).get("suspend"):
            return "it is suspended"
        return "it is not complete" + (f", failed pods: {status['failed']}" if status.get("failed") else "")
    if not is_observed(workload):
        return "its controller has not observed its latest change"
    desired = desired_replicas(workload)
    counts = {key: int(status.get(f"{key}Replicas") or 0) for key in ("ready", "updated", "available")}
    for key, count in counts.items():
        if count < desired:
            return f"{count} of {desired} replicas {key}"
    if int(status.get("replicas") or 0) > desired:
        return f"{status['replicas']} replicas instead of {desired}"
    return "its update is not finished"


def desired_replicas(workload: Object) -> int:
    """The replicas in the spec; a Job has one pod at a time."""
    if workload["kind"] == "Job":
        return 1
    replicas = (workload.get("spec") or {}).get("replicas")
    return 1 if replicas is None else int(replicas)


def job_failure(workload: Object) -> Object | None:
    """The condition of a Job that has failed for good, or None."""
    if workload["kind"] != "Job":
        return None
    return condition(workload, "Failed", "True") or condition(workload, "FailureTarget", "True")


def pods_of(workload: Object, pods: t.Iterable[Object]) -> list[Object]:
    """The pods that a workload's controller created, oldest first."""
    metadata = workload["metadata"]
    if workload["kind"] == "Deployment":
        # A Deployment owns its pods through ReplicaSets, named after it and the hash of the template.
        mine = [
            pod
            for pod in pods
            for owner in _owners(pod)
            if owner.get("kind") == "ReplicaSet"
            and owner.get("name") == f"{metadata['name']}-{_labels(pod).get('pod-template-hash')}"
        ]
    else:
        mine = [pod for pod in pods for owner in _owners(pod) if owner.get("uid") == metadata["uid"]]
    return sorted(
        mine, key=lambda pod: (pod["metadata"].get("creationTimestamp") or "", pod["metadata"]["name"])
    )


def current_replica_set(deployment: Object) -> str:
    """Name of the ReplicaSet that a Deployment rolls out, by its conditions; empty if they name none."""
    found = re.search(
        r'[Rr]eplica ?[Ss]et "([^"]+)"', (condition(deployment, "Progressing") or {}).get("message") or ""
    )
    return found.group(1) if found else ""


def current_pods(workload: Object, pods: t.Iterable[Object]) -> list[Object]:
    """The pods of the current revision of a workload that are not being deleted, oldest first."""
    live = [pod for pod in pods_of(workload, pods) if not pod["metadata"].get("deletionTimestamp")]
    if workload["kind"] == "StatefulSet":
        revision = _status(workload).get("updateRevision")
        return [
            pod for pod in live if not revision or _labels(pod).get("controller-revision-hash") == revision
        ]
    if workload["kind"] == "Deployment" and live:
        name = current_replica_set(workload) or _owners(live[-1])[0]["name"]
        return [pod for pod in live if any(owner.get("name") == name for owner in _owners(pod))]
    return live


def container_statuses(pod: Object) -> list[ContainerStatus]:
    """The containers of a pod that have a status, init containers first."""
    status = _status(pod)
    return [
        ContainerStatus(entry["name"], init, entry)
        for key, init in (("initContainerStatuses", True), ("containerStatuses", False))
        for entry in status.get(key) or []
    ]


def condition(thing: Object, kind: str, status: str = "") -> Object | None:
    """The condition of a type, or None if it is absent or has another status than the one asked for."""
    for entry in _status(thing).get("conditions") or []:
        if entry.get("type") == kind and (not status or entry.get("status") == status):
            return t.cast(Object, entry)
    return None


def is_scheduled(pod: Object) -> bool:
    """Whether the pod has a node."""
    return _holds(pod, "PodScheduled") or bool((pod.get("spec") or {}).get("nodeName"))


def is_pod_ready(pod: Object) -> bool:
    """Whether the pod is ready, or has succeeded."""
    return _holds(pod, "Ready") or _status(pod).get("phase") == "Succeeded"


def pod_stage(pod: Object, events: t.Iterable[Object]) -> str:
    """The stage of a pod for progress lines. ``events`` may include those of other objects."""
    phase = _status(pod).get("phase")
    statuses = container_statuses(pod)
    if pod["metadata"].get("deletionTimestamp"):
        return "is stopping"
    if phase == "Succeeded":
        return "finished"
    if phase == "Failed":
        codes = [str(c.last_end["exitCode"]) for c in statuses if c.last_end.get("exitCode")]
        return f"failed (exit code {', '.join(codes)})" if codes else "failed"
    ephemeral = (pod.get("spec") or {}).get("restartPolicy") == "Never"
    if _holds(pod, "Ready"):
        return "started" if ephemeral else "ready"
    for container in statuses:
        topic, outcome = (
            classify_reason("container", container.reason) if container.reason else ("other", "harmless")
        )
        if topic == "image":
            return f"cannot pull image {image_of(pod, container.name)}"
        if container.down:
            code = container.last_end.get("exitCode")
            if ephemeral:
                return f"failed (exit code {code})" if code else "finished"
            how = f" with exit code {code}" if code is not None else ""
            if container.last_end.get("reason") == "OOMKilled":
                how = " because it ran out of memory"
            return f"container {container.name} exited{how}, {_times(container.restarts)}"
        if outcome != "harmless":
            return f"cannot start: {container.message or container.reason}"
    if any(container.running and not container.init for container in statuses):
        restarts = max(container.restarts for container in statuses)
        return f"restarted {_times(restarts)}" if restarts else "started"
    running = [container.name for container in statuses if container.init and container.running]
    if running:
        return f"running init container {running[-1]}"
    if is_scheduled(pod):
        image = _image_in_transit(pod, events)
        return f"pulling image {image}" if image else "scheduled"
    return "waiting for a node" if condition(pod, "PodScheduled", "False") else "created"


def image_of(pod: Object, container: str) -> str:
    """The image that the pod's spec names for a container."""
    spec = pod.get("spec") or {}
    for entry in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        if entry.get("name") == container:
            return str(entry.get("image") or "")
    return ""


def events_of(thing: Object, events: t.Iterable[Object]) -> list[Object]:
    """The events about exactly this object, not about an earlier one of its name; oldest first."""
    uid = thing["metadata"]["uid"]
    mine = [event for event in events if (event.get("involvedObject") or {}).get("uid") == uid]
    return sorted(mine, key=event_order)


def event_time(event: Object) -> str:
    """When the event was last seen, as the API's ISO string; empty if it has no time."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp")
        or ""
    )


def event_order(event: Object) -> tuple[str, int]:
    """Sorts events by when they were last seen; the resource version orders those of the same second."""
    version = str(event["metadata"].get("resourceVersion") or "")
    return event_time(event), int(version) if version.isdecimal() else 0


def parse_time(text: str) -> datetime:
    """A time of the Kubernetes API."""
    return datetime.fromisoformat(text)


def _statefulset_ready(workload: Object) -> bool:
    status = _status(workload)
    desired = desired_replicas(workload)
    if int(status.get("replicas") or 0) != desired or int(status.get("readyReplicas") or 0) < desired:
        return False
    if int(status.get("availableReplicas") or 0) < desired:
        return False
    return bool(status.get("currentRevision") == status.get("updateRevision"))


def _deployment_ready(workload: Object) -> bool:
    status = _status(workload)
    desired = desired_replicas(workload)
    updated = int(status.get("updatedReplicas") or 0)
    return (
        updated >= desired
        and int(status.get("replicas") or 0) <= updated
        and int(status.get("readyReplicas") or 0) >= desired
        and int(status.get("availableReplicas") or 0) >= desired
    )


def _image_in_transit(pod: Object, events: t.Iterable[Object]) -> str:
    image = ""
    for event in events_of(pod, events):
        if event.get("reason") == "Pulling":
            found = re.search(r'"([^"]+)"', event.get("message") or "")
            image = found.group(1) if found else ""
        elif event.get("reason") in ("Pulled", "Failed"):
            image = ""
    return image


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _holds(thing: Object, kind: str) -> bool:
    return condition(thing, kind, "True") is not None


def _status(thing: Object) -> Object:
    return thing.get("status") or {}


def _labels(thing: Object) -> dict[str, str]:
    return thing["metadata"].get("labels") or {}


def _owners(pod: Object) -> list[Object]:
    return pod["metadata"].get("ownerReferences") or []
