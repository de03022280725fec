# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits until workloads are ready, and reports their progress, or why they do not become ready.

This module is private to the collection.
"""

from __future__ import annotations

import contextlib
import time
import typing as t
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from ansible_collections.eden.reference.plugins.module_utils._collection import MANAGED_BY_LABEL, NAME
from ansible_collections.eden.reference.plugins.module_utils._eden.diagnosis import (
    APPEAR,
    SETTLE,
    Cause,
    Restarts,
    RolloutState,
    baseline_restarts,
    claims_of,
    component_of,
    find_causes,
    last_probe_failure,
    mask_line,
    not_ready,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.stopping import advice, stopped_workloads
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    MissingError,
    RolloutError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.informer import Informer
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    WORKLOAD_KINDS,
    condition,
    current_pods,
    desired_replicas,
    event_time,
    has_succeeded,
    is_done,
    is_pod_ready,
    is_scheduled,
    parse_time,
    pod_stage,
    pods_of,
    shortfall,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

TIMEOUT = 300
# The longest interval between two checks of how long each cause has lasted.
TICK = 0.5
QUIET = 15.0
VOLUMES_INTERVAL = 3.0
# A cause that returns after this time counts from the start.
FLICKER = 5.0
# Objects and events this much older than the rollout belong to it, because the objects are applied just
# before. A longer time would include traces of a failed run if its cause was repaired at once.
RECENT = timedelta(seconds=5)
MAX_HINT = 300
LOG_LINES = 15
DETAILS_BUDGET = 5.0

INSTANCE_LABEL = "app.kubernetes.io/instance"

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    **CLUSTER_ARGUMENTS,
    "workloads": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "kind": {"type": "str", "required": True, "choices": list(WORKLOAD_KINDS)},
            "name": {"type": "str", "required": True},
            "phase": {"type": "str"},
            "component": {"type": "str"},
        },
    },
    "timeout": {"type": "int", "default": TIMEOUT},
}


class Target(t.NamedTuple):
    """A workload that is to become ready, and its phase and component, if they are known."""

    kind: str
    name: str
    phase: str = ""
    component: str = ""


class Clock:
    """The time: steady seconds for durations, and the wall clock."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wall(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)


class View(t.Protocol):
    """The current objects of a namespace."""

    def objects(self, kind: str) -> list[Object]:
        """The objects of a kind."""

    def wait(self, seconds: float) -> None:
        """Return when something has changed, or after that many seconds."""


class Rollout:
    """The wait for some workloads of a namespace.

    Args:
        cluster: reads claims, storage classes and logs, with a small retry budget.
        view: the workloads, pods and events.
        targets: the workloads.
        parameters: the module's parameters.
        progress: shows a line to the user.
    """

    def __init__(
        self,
        cluster: Cluster,
        view: View,
        targets: t.Sequence[Target],
        parameters: t.Mapping[str, t.Any],
        progress: t.Callable[[str], None],
        clock: Clock,
    ) -> None:
        self.cluster = cluster
        self.view = view
        self.targets = targets
        self.namespace: str = parameters["namespace"]
        self.timeout: float = parameters["timeout"]
        self.progress = progress
        self.clock = clock
        self._began = self._counts_from = clock.now()
        self._last_shown = self._began
        self._reported: set[tuple[str, str]] = set()
        self._last_stages: dict[str, str] = {}
        self._seen: dict[t.Hashable, tuple[float, float]] = {}
        self._baseline: dict[str, Restarts] = {}
        self._old_events: set[tuple[str, str]] = set()
        self._volumes: tuple[list[Object] | None, list[Object] | None] = (None, None)
        self._volumes_read: float | None = None
        self._record_baseline()

    def wait(self) -> None:
        """Return when every workload is ready.

        Raises:
            RolloutError: a workload cannot become ready, or did not in time.
            MissingError: a workload does not exist.
            ClusterError: the API server refuses a request.
        """
        while True:
            found = self.found()
            self._report(found)
            pods = self.view.objects("Pod")
            pending = [target for target in self.targets if not is_done(found[target], pods)]
            if not pending:
                return
            self._check(pending, found)
            if any(self._stopping(found[target]) for target in pending):
                # The time counts from the end of the old pods, which complete their tasks.
                self._counts_from = self.clock.now()
            left = self._counts_from + self.timeout - self.clock.now()
            if left <= 0:
                raise self._out_of_time(pending, found)
            self.view.wait(min(TICK, left))

    def _stopping(self, workload: Object | None) -> dict[str, float]:
        """The pods of a workload that are ending in time, with the seconds that they still have."""
        pods = pods_of(workload, self.view.objects("Pod")) if workload is not None else []
        # The API server sets this to the time at which the pod will be killed.
        ends = {pod["metadata"]["name"]: pod["metadata"].get("deletionTimestamp") for pod in pods}
        now = self.clock.wall()
        left = {name: (parse_time(end) - now).total_seconds() for name, end in ends.items() if end}
        return {name: seconds for name, seconds in left.items() if seconds > 0}

    def found(self) -> dict[Target, Object | None]:
        """The current workloads, None for one that does not exist."""
        return find_workloads(self.targets, self.view.objects)

    def _record_baseline(self) -> None:
        """Record the state well before the rollout began: it is not news."""
        horizon = self.clock.wall() - RECENT
        workloads = [workload for workload in self.found().values() if workload is not None]
        young = set()
        for thing in (*workloads, *self.view.objects("Pod")):
            if not _is_before(thing["metadata"].get("creationTimestamp"), horizon):
                young.add((thing["kind"], thing["metadata"]["name"]))
            elif thing["kind"] == "Pod":
                self._baseline[thing["metadata"]["uid"]] = baseline_restarts(thing)
        for event in self.view.objects("Event"):
            if _is_before(event_time(event), horizon) or not _is_about_young(event, young):
                self._old_events.add(_version(event))

    def _state(self, target: Target, workload: Object, timed_out: bool = False) -> RolloutState:
        events = self.view.objects("Event")
        claims, classes = self._volumes
        return RolloutState(
            workload=workload,
            component=target.component or component_of(workload),
            pods=self.view.objects("Pod"),
            events=events
            if timed_out
            else [event for event in events if _version(event) not in self._old_events],
            claims=claims,
            storage_classes=classes,
            baseline_restarts={} if timed_out else self._baseline,
            timed_out=timed_out,
        )

    def _check(self, pending: t.Sequence[Target], found: t.Mapping[Target, Object | None]) -> None:
        """Raise the cause that has kept a workload from being ready for too long, if there is one."""
        self._read_volumes(pending, found)
        causes: list[tuple[Object, Cause]] = []
        expired: tuple[Object, Cause] | None = None
        for target in pending:
            workload = found[target]
            if workload is None:
                if self._lasted(("missing", target)) >= APPEAR:
                    raise self._missing(target)
                continue
            state = self._state(target, workload)
            for cause in find_causes(state):
                causes.append((workload, cause))
                # A second attempt counts from the first one with the same result.
                lasted = self._lasted((target, cause.key, cause.wait))
                if lasted >= cause.wait and expired is None:
                    expired = workload, cause
                if cause.is_retried and lasted >= SETTLE:
                    self._report_retried(state, cause)
        if expired is not None:
            raise self._failure(*expired, causes)

    def _report_retried(self, state: RolloutState, cause: Cause) -> None:
        """Show a retried cause once; after that it appears in the lines about what is waited for."""
        key = f"{cause.subject} {cause.container}", cause.kind
        if key not in self._reported:
            self._reported.add(key)
            self._show(f"{state.component}: {_shortened(cause.sentence())}; still waiting")

    def _lasted(self, key: t.Hashable) -> float:
        """The seconds for which a cause has been seen."""
        now = self.clock.now()
        first, last = self._seen.get(key, (now, now))
        if now - last > FLICKER:
            first = now
        self._seen[key] = first, now
        return now - first

    def _failure(
        self, workload: Object, cause: Cause, causes: t.Iterable[tuple[Object, Cause]]
    ) -> RolloutError:
        message = not_ready(workload, cause)
        name = workload["metadata"]["name"]
        alike = sorted(
            {
                f"{other['kind']} {other['metadata']['name']}"
                for other, another in causes
                if another.kind == cause.kind and other["metadata"]["name"] != name
            }
        )
        if alike:
            message += f" The same is true of {', '.join(alike)}."
        log = self._log(cause) if cause.container else []
        if log:
            message += f" The log of {cause.pod} ends:\n" + "\n".join(f"  {line}" for line in log)
        return RolloutError(
            message,
            cause=cause.kind,
            kind=workload["kind"],
            name=name,
            pod=cause.pod,
            log=log,
        )

    def _log(self, cause: Cause) -> list[str]:
        """The last lines of the container's previous run, or else of the current one."""
        # A log that cannot be read must not hide the cause.
        for previous in (False, True):
            try:
                text = self.cluster.log(
                    self.namespace, cause.pod, cause.container, LOG_LINES, previous=previous
                )
            except CollectionError:
                continue
            if text.strip():
                return [mask_line(line) for line in text.splitlines() if line.strip()]
        return []

    def _missing(self, target: Target) -> MissingError:
        tags = f"`--tags {target.phase}` first" if target.phase else "the playbook without tags"
        return MissingError(
            f"{describe(target.kind, self.namespace, target.name)} does not exist: run {tags}.",
            cause="missing",
            kind=target.kind,
            name=target.name,
            pod="",
            log=[],
        )

    def _out_of_time(
        self, pending: t.Sequence[Target], found: t.Mapping[Target, Object | None]
    ) -> CollectionError:
        """The error at the timeout: the current cause, however new or old, or what is waited for."""
        slow: list[tuple[Target, Object]] = []
        for target in pending:
            workload = found[target]
            if workload is None:
                return self._missing(target)
            causes = sorted(
                find_causes(self._state(target, workload, timed_out=True)), key=lambda cause: cause.wait
            )
            if causes:
                return self._failure(workload, self._timed_out(causes[0]), [])
            slow.append((target, workload))
        cause = self._slowness(*slow[0])
        return self._failure(slow[0][1], cause, [(workload, cause) for _target, workload in slow])

    def _timed_out(self, cause: Cause) -> Cause:
        if not cause.is_retried:
            return cause
        return replace(
            cause,
            problem=f"after {self.timeout:g} s {cause.problem}",
            advice=f"{cause.advice} If it only needs more time, set a longer eden_timeout.",
        )

    def _slowness(self, target: Target, workload: Object) -> Cause:
        """The cause if none was found: what is waited for, and the log of the pod that is not ready."""
        pods = current_pods(workload, self.view.objects("Pod"))
        running = [
            pod for pod in pods if not is_pod_ready(pod) and pod.get("status", {}).get("phase") == "Running"
        ]
        pod = running[-1] if running else None
        return Cause(
            kind="timeout",
            subject=f"{workload['kind']} {workload['metadata']['name']}",
            problem=f"after {self.timeout:g} s {shortfall(workload)}",
            message=self._hint(target, workload),
            advice=f"See kubectl -n {self.namespace} describe pods, or set a longer eden_timeout.",
            wait=0.0,
            pod=pod["metadata"]["name"] if pod else "",
            container=pod["spec"]["containers"][0]["name"] if pod else "",
        )

    def _hint(self, target: Target, workload: Object) -> str:
        """The stages of the pods of a workload, or their problem."""
        state = self._state(target, workload)
        causes = [cause.sentence() for cause in find_causes(state)]
        complaint = causes[0] if causes else last_probe_failure(state)
        if complaint:
            return _shortened(complaint)
        ending = self._stopping(workload)
        if ending:
            return ", ".join(
                f"pod {name} ends its work within {seconds:.0f} s" for name, seconds in ending.items()
            )
        pods, events = current_pods(workload, self.view.objects("Pod")), self.view.objects("Event")
        waiting = [
            f"pod {pod['metadata']['name']} {pod_stage(pod, events)}" for pod in pods if not is_pod_ready(pod)
        ]
        return "; ".join(waiting) or (
            "its controller has not updated its status yet" if pods else "it has no pod yet"
        )

    def _report(self, found: t.Mapping[Target, Object | None]) -> None:
        """Show changes, or after a while what is waited for."""
        pods, events = self.view.objects("Pod"), self.view.objects("Event")
        for target, workload in found.items():
            if workload is None:
                continue
            component = target.component or component_of(workload)
            for pod in pods_of(workload, pods):
                self._report_once(
                    pod["metadata"]["uid"],
                    f"{component}: pod {pod['metadata']['name']}",
                    pod_stage(pod, events),
                )
            if is_done(workload, pods):
                name = f"{component}: {workload['kind']} {workload['metadata']['name']}"
                self._report_once(
                    workload["metadata"]["uid"], name, "complete" if workload["kind"] == "Job" else "ready"
                )
        if self.clock.now() - self._last_shown >= QUIET:
            self._show(f"waiting for {self._awaited(found)}")

    def _report_once(self, uid: str, subject: str, state: str) -> None:
        if self._last_stages.get(uid) == state:
            return
        self._last_stages[uid] = state
        if (uid, state) in self._reported:
            return
        self._reported.add((uid, state))
        self._show(f"{subject} {state}")

    def _show(self, line: str) -> None:
        self._last_shown = self.clock.now()
        self.progress(f"{line} ({self._last_shown - self._began:.1f} s)")

    def _awaited(self, found: t.Mapping[Target, Object | None]) -> str:
        parts = []
        for target, workload in found.items():
            if workload is None:
                parts.append(f"{target.kind} {target.name}: it does not exist")
            elif not is_done(workload, self.view.objects("Pod")):
                parts.append(
                    f"{target.kind} {target.name}: {shortfall(workload)}, {self._hint(target, workload)}"
                )
        return "; ".join(parts)

    def _read_volumes(self, pending: t.Sequence[Target], found: t.Mapping[Target, Object | None]) -> None:
        """Read claims and storage classes, at intervals, while a pod waits for its claims."""
        pods = self.view.objects("Pod")
        waiting = any(
            not is_scheduled(pod) and condition(pod, "PodScheduled", "False") and claims_of(pod)
            for workload in (found[target] for target in pending)
            if workload is not None
            for pod in pods_of(workload, pods)
        )
        now = self.clock.now()
        if not waiting or (self._volumes_read is not None and now - self._volumes_read < VOLUMES_INTERVAL):
            return
        self._volumes_read = now
        claims = self._readable("PersistentVolumeClaim", self.namespace)
        self._volumes = claims, self._readable("StorageClass", "")

    def _readable(self, kind: str, namespace: str) -> list[Object] | None:
        """The objects of a kind, or None if listing them is not allowed or takes too long.

        They only make a cause more exact. The watches report an unreachable API server.
        """
        try:
            return self.cluster.list(kind, namespace)
        except ClusterError:
            return None


def run(task: Task) -> dict[str, t.Any]:
    """Wait for the workloads; see the module's documentation for the result.

    Raises:
        CollectionError: a workload cannot become ready or does not exist, or the API server refuses.
    """
    with connected(task.parameters) as cluster:
        return until_ready(task, cluster)


def until_ready(task: Task, cluster: Cluster) -> dict[str, t.Any]:
    """``run`` on a connection."""
    try:
        return roll_out(task, cluster, Clock())
    except RolloutError as error:
        note = _stopped_beside(cluster, task.parameters["namespace"], error.data)
        if note:
            error.message += f"\n{note}" if "\n" in error.message else f" {note}"
        raise


def _stopped_beside(cluster: Cluster, namespace: str, failed: t.Mapping[str, t.Any]) -> str:
    """What to know about the workloads of the same experiment that are stopped."""
    # A note that cannot be made must not hide the cause.
    with contextlib.suppress(ClusterError):
        workload = cluster.read(failed["kind"], namespace, failed["name"])
        instance = ((workload or {}).get("metadata", {}).get("labels") or {}).get(INSTANCE_LABEL)
        if instance:
            selector = f"{MANAGED_BY_LABEL}={NAME},{INSTANCE_LABEL}={instance}"
            return advice(stopped_workloads(cluster, namespace, selector))
    return ""


def roll_out(task: Task, cluster: Cluster, clock: Clock) -> dict[str, t.Any]:
    """Wait, without a note about what is stopped."""
    namespace = task.parameters["namespace"]
    options = ("kind", "name", "phase", "component")
    targets = list(
        dict.fromkeys(
            Target(*(entry.get(option) or "" for option in options)) for entry in task.parameters["workloads"]
        )
    )
    lists = {
        kind: cluster.list_with_version(kind, namespace)
        for kind in dict.fromkeys(entry.kind for entry in targets)
    }
    found = find_workloads(targets, lambda kind: lists[kind][0])
    waiting = any(workload is not None and not is_done(workload) for workload in found.values())
    if task.check_mode or not (waiting or None in found.values()):
        pods = cluster.list("Pod", namespace) if waiting else None
        return _result(found, pods or (), read_logs(cluster, namespace, found.values(), pods))
    informer = Informer(cluster, namespace)
    try:
        for kind in ("Pod", "Event"):
            informer.watch(kind, *cluster.list_with_version(kind, namespace))
        for kind, (items, version) in lists.items():
            informer.watch(kind, items, version)
        # Details of a cause, such as a log, must not delay it.
        details = Cluster(cluster.client, DETAILS_BUDGET)
        rollout = Rollout(details, informer, targets, task.parameters, task.progress, clock)
        rollout.wait()
        found = rollout.found()
        pods = informer.objects("Pod")
        logs = read_logs(cluster, namespace, found.values(), pods)
        return _result(found, pods, logs)
    finally:
        informer.close()


def find_workloads(
    targets: t.Iterable[Target], objects: t.Callable[[str], list[Object]]
) -> dict[Target, Object | None]:
    """The workloads among the objects of their kinds, None for one that is not there."""
    return {
        entry: next((item for item in objects(entry.kind) if item["metadata"]["name"] == entry.name), None)
        for entry in targets
    }


def read_logs(
    cluster: Cluster,
    namespace: str,
    workloads: t.Iterable[Object | None],
    pods: t.Sequence[Object] | None = None,
) -> dict[str, str]:
    """The log of each complete Job by the Job's name; a Job whose pod is gone has none.

    ``pods`` are those of the namespace, if they are already known.
    """
    jobs = [
        workload
        for workload in workloads
        if workload is not None and workload["kind"] == "Job" and is_done(workload, pods or ())
    ]
    if not jobs:
        return {}
    if pods is None:
        names = ",".join(job["metadata"]["name"] for job in jobs)
        pods = cluster.list("Pod", namespace, labels=f"batch.kubernetes.io/job-name in ({names})")
    logs = {}
    for job in jobs:
        done = [pod for pod in pods_of(job, pods) if has_succeeded(pod)]
        if not done:
            continue
        pod = done[-1]
        try:
            logs[job["metadata"]["name"]] = cluster.log(
                namespace, pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
            )
        except ClusterError as error:
            if error.status not in (400, 404):
                raise
    return logs


def _result(
    found: t.Mapping[Target, Object | None],
    pods: t.Sequence[Object],
    logs: dict[str, str],
) -> dict[str, t.Any]:
    return {
        "changed": False,
        "workloads": [
            {
                "kind": entry.kind,
                "name": entry.name,
                "ready": is_done(workload, pods),
                **state_of(workload, pods),
            }
            for entry, workload in found.items()
        ],
        "logs": logs,
    }


def state_of(workload: Object | None, pods: t.Sequence[Object] = ()) -> dict[str, str]:
    """The state of a workload, and more about it in a few words."""
    if workload is None:
        return {"state": "missing", "message": "it does not exist"}
    if not is_done(workload, pods):
        stages = [
            f"pod {pod['metadata']['name']} {pod_stage(pod, ())}"
            for pod in pods_of(workload, pods)
            if not is_pod_ready(pod)
        ]
        return {"state": "not ready", "message": "; ".join([shortfall(workload), *stages])}
    if workload["kind"] == "Job":
        return {"state": "ready", "message": "complete"}
    desired = desired_replicas(workload)
    return {
        "state": "ready" if desired else "stopped",
        "message": f"{desired} of {desired} replicas ready" if desired else "it has 0 replicas",
    }


def _is_about_young(event: Object, young: t.Collection[tuple[str, str]]) -> bool:
    """Whether the event is about one of these workloads or pods, or about an object of unknown age."""
    about = event.get("involvedObject") or {}
    kind, name = str(about.get("kind")), str(about.get("name"))
    if kind == "ReplicaSet":
        return ("Deployment", name.rpartition("-")[0]) in young
    return kind not in ("Pod", *WORKLOAD_KINDS) or (kind, name) in young


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_HINT else f"{text[:MAX_HINT]}…"


def _version(event: Object) -> tuple[str, str]:
    return event["metadata"]["uid"], str(event["metadata"].get("resourceVersion") or "")


def _is_before(text: str | None, horizon: datetime) -> bool:
    return bool(text) and parse_time(t.cast(str, text)) < horizon
