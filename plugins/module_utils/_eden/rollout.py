# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Waits until workloads are ready, tells how they get there, and why they do not.

This module is private to the collection.
"""

from __future__ import annotations

import queue
import re
import threading
import time
import typing as t
from datetime import UTC, datetime, timedelta

from ansible_collections.eden.reference.plugins.module_utils._eden.diagnosis import (
    GRACE,
    Cause,
    Ends,
    Scene,
    claims_of,
    component_of,
    find_causes,
    forgiven_ends,
    last_words,
    mask_line,
    not_ready,
)
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
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    WORKLOAD_KINDS,
    condition,
    current_pods,
    event_time,
    has_succeeded,
    is_done,
    is_pod_ready,
    is_scheduled,
    parse_time,
    pod_stage,
    pods_of,
    shortfall,
    timeline_row,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

TIMEOUT = 300
# The server ends a watch after this time; a watch that has stalled is given up 5 s later.
WATCH_SECONDS = 20.0
# A watch that ends at once is opened again after this time.
SHORTEST_CYCLE = 1.0
# The longest time between two looks at the clocks of the causes.
TICK = 0.5
QUIET = 15.0
VOLUMES_EVERY = 3.0
# A trouble that was gone for this long and comes back is another one.
FLICKER = 5.0
# What is this much older than the rollout still belongs to it, since the objects are applied just before.
# More would take the traces of a failed run for its own where the cause was repaired at once.
RECENT = timedelta(seconds=5)
LONGEST_HINT = 300
LOG_LINES = 15
DETAILS_PATIENCE = 5.0

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
    "grace": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            name: {"type": "int" if name == "crashes" else "float", "default": value}
            for name, value in GRACE.items()
        },
    },
}

# The phase that makes a workload, by the end of its name.
PHASES = {
    r"-(?:postgres|forgejo)": "infra",
    r"-seed(?:-\w+)?": "seed",
    r"-task-store-server": "task_store",
    r"-(?:orchestrator|web-ui|(?:ideator|executor|evaluator)-host-\d+)": "app_tier",
}


class Wanted(t.NamedTuple):
    """A workload that is to become ready."""

    kind: str
    name: str


class Clock:
    """The time: steady seconds for durations, and the wall clock."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wall(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)


class View(t.Protocol):
    """The objects of a namespace, as they are by now."""

    def objects(self, kind: str) -> list[Object]:
        """The objects of a kind."""

    def wait(self, seconds: float) -> None:
        """Return when something has changed, or after so many seconds."""


class Mirror:
    """A copy of some kinds of one namespace that watches keep up to date.

    One thread for each kind lists and watches in turn, so that the next list repairs whatever ends or stalls
    a watch. The threads only report; the copy changes in ``wait``, in the thread of the caller.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._objects: dict[str, dict[str, Object]] = {}
        self._reports: queue.SimpleQueue[t.Callable[[], None]] = queue.SimpleQueue()
        self._closed = threading.Event()

    def follow(self, kind: str, items: t.Iterable[Object], version: str) -> None:
        """Keep a kind up to date from the list that was read at a resource version."""
        self._replace(kind, items)
        # A daemon, since a watch that is being read cannot be interrupted.
        threading.Thread(target=self._run, args=(kind, version), name=f"watch {kind}", daemon=True).start()

    def objects(self, kind: str) -> list[Object]:
        """The objects of a kind that is followed."""
        return list(self._objects[kind].values())

    def wait(self, seconds: float) -> None:
        """Return when something has changed, or after so many seconds.

        Raises:
            ClusterError: the API server refuses a list, or has not answered for too long.
        """
        try:
            report = self._reports.get(timeout=max(0.0, seconds))
            while True:
                report()
                report = self._reports.get_nowait()
        except queue.Empty:
            return

    def close(self) -> None:
        """Let the threads end with their watches."""
        self._closed.set()

    def _run(self, kind: str, version: str) -> None:
        try:
            while not self._closed.is_set():
                began = time.monotonic()
                self._watch(kind, version)
                if self._closed.wait(max(0.0, began + SHORTEST_CYCLE - time.monotonic())):
                    return
                items, version = self._cluster.list_with_version(kind, self._namespace)
                self._report(self._replace, kind, items)
        except Exception as error:
            self._report(self._raise, error)

    def _watch(self, kind: str, version: str) -> None:
        try:
            for change, thing in self._cluster.watch(kind, self._namespace, "", version, WATCH_SECONDS):
                if self._closed.is_set() or not thing["metadata"]["uid"]:
                    return
                self._report(self._change, kind, change, thing)
        except (KeyError, TypeError, AttributeError):
            # Something that is no object: the next list tells.
            return

    def _report(self, action: t.Callable[..., None], *arguments: t.Any) -> None:
        self._reports.put(lambda: action(*arguments))

    def _replace(self, kind: str, items: t.Iterable[Object]) -> None:
        self._objects[kind] = {item["metadata"]["uid"]: item for item in items}

    def _change(self, kind: str, change: str, thing: Object) -> None:
        if change == "DELETED":
            self._objects[kind].pop(thing["metadata"]["uid"], None)
        else:
            self._objects[kind][thing["metadata"]["uid"]] = thing

    @staticmethod
    def _raise(error: Exception) -> None:
        raise error


class Rollout:
    """The wait for some workloads of a namespace.

    Args:
        cluster: reads claims, storage classes and logs, with little patience.
        view: the workloads, pods and events.
        wanted: the workloads.
        parameters: the module's parameters.
        progress: shows a line to the user.
    """

    def __init__(
        self,
        cluster: Cluster,
        view: View,
        wanted: t.Sequence[Wanted],
        parameters: t.Mapping[str, t.Any],
        progress: t.Callable[[str], None],
        clock: Clock,
    ) -> None:
        self.cluster = cluster
        self.view = view
        self.wanted = wanted
        self.namespace: str = parameters["namespace"]
        self.timeout: float = parameters["timeout"]
        self.grace: t.Mapping[str, float] = parameters["grace"]
        self.progress = progress
        self.clock = clock
        self._began = clock.now()
        self._spoke = self._began
        self._said: set[tuple[str, str]] = set()
        self._last_said: dict[str, str] = {}
        self._seen: dict[t.Hashable, tuple[float, float]] = {}
        self._before: dict[str, Ends] = {}
        self._old_events: set[tuple[str, str]] = set()
        self._volumes: tuple[list[Object] | None, list[Object] | None] = (None, None)
        self._volumes_read: float | None = None
        self._remember_the_past()

    def wait(self) -> None:
        """Return when every workload is ready.

        Raises:
            RolloutError: a workload cannot become ready, or did not in time.
            MissingError: a workload does not exist.
            ClusterError: the API server refuses what has to be read.
        """
        while True:
            found = self.found()
            self._tell(found)
            pods = self.view.objects("Pod")
            pending = [wanted for wanted in self.wanted if not is_done(found[wanted], pods)]
            if not pending:
                return
            self._judge(pending, found)
            left = self._began + self.timeout - self.clock.now()
            if left <= 0:
                raise self._out_of_time(pending, found)
            self.view.wait(min(TICK, left))

    def found(self) -> dict[Wanted, Object | None]:
        """The workloads as they are by now, None for one that does not exist."""
        return find_workloads(self.wanted, self.view.objects)

    def timeline(self) -> list[dict[str, t.Any]]:
        """A row for each pod of the workloads."""
        pods, events = self.view.objects("Pod"), self.view.objects("Event")
        return [
            timeline_row(workload["metadata"]["name"], pod, events)
            for workload in self.found().values()
            if workload is not None
            for pod in current_pods(workload, pods)
        ]

    def _remember_the_past(self) -> None:
        """What was there well before the rollout began is no news about it."""
        horizon = self.clock.wall() - RECENT
        workloads = [workload for workload in self.found().values() if workload is not None]
        young = set()
        for thing in (*workloads, *self.view.objects("Pod")):
            if not _is_before(thing["metadata"].get("creationTimestamp"), horizon):
                young.add((thing["kind"], thing["metadata"]["name"]))
            elif thing["kind"] == "Pod":
                self._before[thing["metadata"]["uid"]] = forgiven_ends(thing, self.grace["crashes"])
        for event in self.view.objects("Event"):
            if _is_before(event_time(event), horizon) or not _is_about_young(event, young):
                self._old_events.add(_version(event))

    def _scene(self, workload: Object, final: bool = False) -> Scene:
        events = self.view.objects("Event")
        claims, classes = self._volumes
        return Scene(
            workload=workload,
            pods=self.view.objects("Pod"),
            events=events
            if final
            else [event for event in events if _version(event) not in self._old_events],
            claims=claims,
            storage_classes=classes,
            before={} if final else self._before,
            final=final,
        )

    def _judge(self, pending: t.Sequence[Wanted], found: t.Mapping[Wanted, Object | None]) -> None:
        """Raise when something that has lasted too long keeps a workload from being ready."""
        self._read_volumes(pending, found)
        troubles: list[tuple[Object, Cause]] = []
        ripe: tuple[Object, Cause] | None = None
        for wanted in pending:
            workload = found[wanted]
            if workload is None:
                if self._lasted(("missing", wanted)) >= self.grace["missing"]:
                    raise self._missing(wanted)
                continue
            for cause in find_causes(self._scene(workload), self.grace):
                troubles.append((workload, cause))
                if self._lasted((wanted, cause.key)) >= cause.wait and ripe is None:
                    ripe = workload, cause
        if ripe is not None:
            raise self._failure(*ripe, troubles)

    def _lasted(self, key: t.Hashable) -> float:
        """For how long a trouble has been seen, up to now."""
        now = self.clock.now()
        first, last = self._seen.get(key, (now, now))
        if now - last > FLICKER:
            first = now
        self._seen[key] = first, now
        return now - first

    def _failure(
        self, workload: Object, cause: Cause, troubles: t.Iterable[tuple[Object, Cause]]
    ) -> RolloutError:
        message = not_ready(workload, cause)
        name = workload["metadata"]["name"]
        alike = sorted(
            {
                f"{other['kind']} {other['metadata']['name']}"
                for other, trouble in troubles
                if trouble.kind == cause.kind and other["metadata"]["name"] != name
            }
        )
        if alike:
            message += f" The same goes for {', '.join(alike)}."
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
            timeline=self.timeline(),
        )

    def _log(self, cause: Cause) -> list[str]:
        """The last lines of the container's latest run that has ended, or else of the one that runs."""
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

    def _missing(self, wanted: Wanted) -> MissingError:
        phase = next((phase for end, phase in PHASES.items() if re.search(f"{end}$", wanted.name)), "")
        advice = (
            f"Run the phase {phase}, which makes it."
            if phase
            else "Run all phases: the playbook without tags."
        )
        return MissingError(
            f"{describe(wanted.kind, self.namespace, wanted.name)} does not exist. {advice}",
            cause="missing",
            kind=wanted.kind,
            name=wanted.name,
            pod="",
            log=[],
            timeline=self.timeline(),
        )

    def _out_of_time(
        self, pending: t.Sequence[Wanted], found: t.Mapping[Wanted, Object | None]
    ) -> CollectionError:
        """What to say at the end: the trouble that there is, however short or old, or what is waited for."""
        slow: list[Object] = []
        for wanted in pending:
            workload = found[wanted]
            if workload is None:
                return self._missing(wanted)
            causes = find_causes(self._scene(workload, final=True), {**self.grace, "crashes": 1})
            if causes:
                return self._failure(workload, causes[0], [])
            slow.append(workload)
        cause = self._slowness(slow[0])
        return self._failure(slow[0], cause, [(workload, cause) for workload in slow])

    def _slowness(self, workload: Object) -> Cause:
        """No trouble is visible: what is still waited for, and the log of the pod that is not ready."""
        pods = current_pods(workload, self.view.objects("Pod"))
        running = [
            pod for pod in pods if not is_pod_ready(pod) and pod.get("status", {}).get("phase") == "Running"
        ]
        pod = running[-1] if running else None
        return Cause(
            kind="timeout",
            subject=f"{workload['kind']} {workload['metadata']['name']}",
            problem=f"after {self.timeout:g} s {shortfall(workload)}",
            said=self._hint(workload),
            advice=f"See kubectl -n {self.namespace} describe pods, or set a longer timeout.",
            wait=0.0,
            pod=pod["metadata"]["name"] if pod else "",
            container=pod["spec"]["containers"][0]["name"] if pod else "",
        )

    def _hint(self, workload: Object) -> str:
        """What the pods of a workload are at, or what is wrong with them."""
        scene = self._scene(workload)
        troubles = [cause.sentence() for cause in find_causes(scene, self.grace)]
        complaint = troubles[0] if troubles else last_words(scene)
        if complaint:
            return complaint if len(complaint) <= LONGEST_HINT else f"{complaint[:LONGEST_HINT]}…"
        pods, events = current_pods(workload, self.view.objects("Pod")), self.view.objects("Event")
        waiting = [
            f"pod {pod['metadata']['name']} {pod_stage(pod, events)}" for pod in pods if not is_pod_ready(pod)
        ]
        return "; ".join(waiting) or ("its controller has to take note" if pods else "it has no pod yet")

    def _tell(self, found: t.Mapping[Wanted, Object | None]) -> None:
        """Show what has changed since the last time, or after a while what is waited for."""
        pods, events = self.view.objects("Pod"), self.view.objects("Event")
        for workload in found.values():
            if workload is None:
                continue
            component = component_of(workload)
            for pod in pods_of(workload, pods):
                self._say(
                    pod["metadata"]["uid"],
                    f"{component}: pod {pod['metadata']['name']}",
                    pod_stage(pod, events),
                )
            if is_done(workload, pods):
                name = f"{component}: {workload['kind']} {workload['metadata']['name']}"
                self._say(
                    workload["metadata"]["uid"], name, "complete" if workload["kind"] == "Job" else "ready"
                )
        if self.clock.now() - self._spoke >= QUIET:
            self._show(f"waiting for {self._awaited(found)}")

    def _say(self, uid: str, subject: str, state: str) -> None:
        if self._last_said.get(uid) == state:
            return
        self._last_said[uid] = state
        if (uid, state) in self._said:
            return
        self._said.add((uid, state))
        self._show(f"{subject} {state}")

    def _show(self, line: str) -> None:
        self._spoke = self.clock.now()
        self.progress(f"{line} ({self._spoke - self._began:.1f} s)")

    def _awaited(self, found: t.Mapping[Wanted, Object | None]) -> str:
        parts = []
        for wanted, workload in found.items():
            if workload is None:
                parts.append(f"{wanted.kind} {wanted.name}: it does not exist")
            elif not is_done(workload, self.view.objects("Pod")):
                parts.append(f"{wanted.kind} {wanted.name}: {shortfall(workload)}, {self._hint(workload)}")
        return "; ".join(parts)

    def _read_volumes(self, pending: t.Sequence[Wanted], found: t.Mapping[Wanted, Object | None]) -> None:
        """Read claims and storage classes, at intervals, while a pod waits for its claims."""
        pods = self.view.objects("Pod")
        waiting = any(
            not is_scheduled(pod) and condition(pod, "PodScheduled", "False") and claims_of(pod)
            for workload in (found[wanted] for wanted in pending)
            if workload is not None
            for pod in pods_of(workload, pods)
        )
        now = self.clock.now()
        if not waiting or (self._volumes_read is not None and now - self._volumes_read < VOLUMES_EVERY):
            return
        self._volumes_read = now
        claims = self._readable("PersistentVolumeClaim", self.namespace)
        self._volumes = claims, self._readable("StorageClass", "")

    def _readable(self, kind: str, namespace: str) -> list[Object] | None:
        """The objects of a kind, or None where the user may not list them or no answer comes soon.

        They only make a cause more exact. The watches tell when the API server is lost.
        """
        try:
            return self.cluster.list(kind, namespace)
        except ClusterError:
            return None


def run(task: Task) -> dict[str, t.Any]:
    """Wait for the workloads; see the module's documentation for the result.

    Raises:
        CollectionError: a workload cannot become ready, does not exist, or the API server refuses.
    """
    with connected(task.parameters) as cluster:
        return roll_out(task, cluster, Clock())


def roll_out(task: Task, cluster: Cluster, clock: Clock) -> dict[str, t.Any]:
    """``run`` on a connection."""
    namespace = task.parameters["namespace"]
    wanted = list(
        dict.fromkeys(Wanted(entry["kind"], entry["name"]) for entry in task.parameters["workloads"])
    )
    lists = {
        kind: cluster.list_with_version(kind, namespace)
        for kind in dict.fromkeys(entry.kind for entry in wanted)
    }
    found = find_workloads(wanted, lambda kind: lists[kind][0])
    if task.check_mode or all(is_done(workload) for workload in found.values()):
        return _result(found, (), read_logs(cluster, namespace, found.values()), [])
    mirror = Mirror(cluster, namespace)
    try:
        for kind in ("Pod", "Event"):
            mirror.follow(kind, *cluster.list_with_version(kind, namespace))
        for kind, (items, version) in lists.items():
            mirror.follow(kind, items, version)
        # What only makes a cause more exact, such as a log, must not keep it waiting.
        impatient = Cluster(cluster.client, DETAILS_PATIENCE)
        rollout = Rollout(impatient, mirror, wanted, task.parameters, task.progress, clock)
        rollout.wait()
        found = rollout.found()
        pods = mirror.objects("Pod")
        logs = read_logs(cluster, namespace, found.values(), pods)
        return _result(found, pods, logs, rollout.timeline())
    finally:
        mirror.close()


def find_workloads(
    wanted: t.Iterable[Wanted], objects: t.Callable[[str], list[Object]]
) -> dict[Wanted, Object | None]:
    """The workloads among the objects of their kinds, None for one that is not there."""
    return {
        entry: next((item for item in objects(entry.kind) if item["metadata"]["name"] == entry.name), None)
        for entry in wanted
    }


def read_logs(
    cluster: Cluster,
    namespace: str,
    workloads: t.Iterable[Object | None],
    pods: t.Sequence[Object] | None = None,
) -> dict[str, str]:
    """The log of each complete Job by the Job's name; a Job whose pod is gone has none.

    ``pods`` are those of the namespace, where they are known already.
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
    found: t.Mapping[Wanted, Object | None],
    pods: t.Sequence[Object],
    logs: dict[str, str],
    timeline: list[dict[str, t.Any]],
) -> dict[str, t.Any]:
    return {
        "changed": False,
        "workloads": [
            {"kind": entry.kind, "name": entry.name, "ready": is_done(workload, pods)}
            for entry, workload in found.items()
        ],
        "logs": logs,
        "timeline": timeline,
    }


def _is_about_young(event: Object, young: t.Collection[tuple[str, str]]) -> bool:
    """The event is about one of these workloads or pods, or about something whose age is not known."""
    about = event.get("involvedObject") or {}
    kind, name = str(about.get("kind")), str(about.get("name"))
    if kind == "ReplicaSet":
        return ("Deployment", name.rpartition("-")[0]) in young
    return kind not in ("Pod", *WORKLOAD_KINDS) or (kind, name) in young


def _version(event: Object) -> tuple[str, str]:
    return event["metadata"]["uid"], str(event["metadata"].get("resourceVersion") or "")


def _is_before(text: str | None, horizon: datetime) -> bool:
    return bool(text) and parse_time(t.cast(str, text)) < horizon
