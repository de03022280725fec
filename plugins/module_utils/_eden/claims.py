# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``claims``: finds the tasks whose worker is gone, and reclaims them.

A worker's claim has no end. If the worker is killed, or loses the task store, before it has submitted, its
task stays claimed for ever. This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from ansible_collections.eden.reference.plugins.module_utils._eden import access, rollout, stopping, topology
from ansible_collections.eden.reference.plugins.module_utils._eden.access import Desired
from ansible_collections.eden.reference.plugins.module_utils._eden.forgejo import Forgejo
from ansible_collections.eden.reference.plugins.module_utils._eden.identity_secrets import (
    identity_of,
    read_secret,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.plan import INSTANCE_LABEL
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import ClaimedTask, TaskStore
from ansible_collections.eden.reference.plugins.module_utils._errors import MissingError
from ansible_collections.eden.reference.plugins.module_utils._kube import port_forward
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object, connected
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    ContainerStatus,
    container_statuses,
    parse_time,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.secrets import decoded
from ansible_collections.eden.reference.plugins.module_utils._module import Task

EXECUTION = "execution"
GONE = "none of whose containers has run since"
# How Kubernetes rounds the times of containers, down.
RESOLUTION = timedelta(seconds=1)
# What a worker may take beyond the grace period of its pod, which covers its longest task.
SLACK = timedelta(seconds=60)

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    **access.ARGUMENTS,
    "state": {"type": "str", "choices": ["reported", "reclaimed"], "default": "reclaimed"},
    "workers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "component": {"type": "str", "required": True},
            "replica": {"type": "int", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
            "workload": {"type": "dict"},
            "groups": {"type": "list", "elements": "str", "default": []},
        },
    },
    "operator": {"type": "str", "required": True},
    "forgejo": {
        "type": "dict",
        "required": True,
        "options": {
            "service": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "repository": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
            "key": {"type": "str", "required": True, "no_log": False},
        },
    },
}


@dataclass(frozen=True)
class Host:
    """A worker with pods, which have the labels."""

    name: str
    component: str
    labels: t.Mapping[str, str]


@dataclass(frozen=True)
class Orphan:
    """A claim whose worker is gone."""

    task: ClaimedTask
    host: Host

    def __str__(self) -> str:
        return f"{self.task.task_id}, claimed at {self.task.claimed_at} by {self.host.name}"

    def row(self, now: datetime) -> dict[str, t.Any]:
        """The orphan as the module returns it."""
        age = int((now - parse_time(self.task.claimed_at)).total_seconds())
        return {
            "task_id": self.task.task_id,
            "kind": self.task.kind,
            "worker": self.host.name,
            "claimed_at": self.task.claimed_at,
            "age_seconds": age,
            "message": f"{self.task.task_id} was claimed {age} s ago by {self.host.name}, {GONE}",
        }


def run(task: Task) -> dict[str, t.Any]:
    """Find the orphaned claims and, if asked to, reclaim their tasks; in check mode, predict that.

    Raises:
        CollectionError: see the exception tree; a message never holds a token or a password.
    """
    desired = access.desired_of(task.parameters)
    with (
        connected(task.parameters) as cluster,
        access.open_task_store(cluster, desired, task.check_mode) as store,
    ):
        found = [] if store is None else find_orphans(cluster, store, desired, task.parameters["workers"])
        reclaimed = found if task.parameters["state"] == "reclaimed" else []
        if store is not None and reclaimed and not task.check_mode:
            reclaimed = Reclaim(cluster, store, desired, task).run(found)
    now = datetime.now(UTC)
    return {
        "changed": bool(reclaimed),
        "orphaned": [orphan.row(now) for orphan in found],
        "reclaimed": [orphan.row(now) for orphan in reclaimed],
    }


def find_orphans(
    cluster: Cluster, store: TaskStore, desired: Desired, workers: t.Sequence[t.Mapping[str, t.Any]]
) -> list[Orphan]:
    """The orphaned claims; reads no more than the claims need."""
    claims = [claim for claim in store.claimed_tasks() if not claim.expires_at]
    if not claims:
        return []
    hosts = find_hosts(cluster, store, desired, workers, {claim.worker_id for claim in claims})
    if not any(claim.worker_id in hosts for claim in claims):
        return []
    # After the claims: a container that starts between the two is younger than all of them.
    labels = ",".join(f"{key}={value}" for key, value in _labels(desired).items())
    return orphaned(claims, hosts, cluster.list("Pod", desired.namespace, labels=labels), datetime.now(UTC))


def find_hosts(
    cluster: Cluster,
    store: TaskStore,
    desired: Desired,
    workers: t.Sequence[t.Mapping[str, t.Any]],
    claimants: t.Collection[str],
) -> dict[str, Host]:
    """Our workers with pods among the claimants, by id.

    A worker of a replica that is no longer wanted is known by its registry label and its name.
    """
    components = {worker["component"] for worker in workers if worker["workload"]}
    ours = {read_secret(cluster, desired.namespace, worker["secret"]).worker_id: worker for worker in workers}
    hosts = {
        worker_id: Host(
            worker["name"], worker["component"], _labels(desired, worker["component"], worker["replica"])
        )
        for worker_id, worker in ours.items()
        if worker_id in claimants and worker["workload"]
    }
    for worker_id in sorted(set(claimants) - ours.keys()):
        registered = store.worker(worker_id)
        if registered is None or registered.labels.get(INSTANCE_LABEL) != desired.label:
            continue
        component, _hyphen, replica = registered.name.rpartition("-")
        if component in components and replica.isdecimal():
            hosts[worker_id] = Host(registered.name, component, _labels(desired, component, int(replica)))
    return hosts


def orphaned(
    claims: t.Iterable[ClaimedTask],
    hosts: t.Mapping[str, Host],
    pods: t.Sequence[Object],
    now: datetime,
) -> list[Orphan]:
    """The claims without an end that no container of their worker can have made."""
    return [
        Orphan(claim, hosts[claim.worker_id])
        for claim in claims
        if not claim.expires_at
        and claim.worker_id in hosts
        and not any(
            _may_hold(pod, claim, now)
            for pod in pods
            if hosts[claim.worker_id].labels.items() <= (pod["metadata"].get("labels") or {}).items()
        )
    ]


def _labels(desired: Desired, component: str = "", replica: int = 0) -> dict[str, str]:
    return topology.selector(topology.Inputs(desired.instance), component, replica)


def _may_hold(pod: Object, claim: ClaimedTask, now: datetime) -> bool:
    """Whether a container of the pod can have made the claim and can still submit."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    claimed_at = parse_time(claim.claimed_at)
    grace = timedelta(seconds=float((pod.get("spec") or {}).get("terminationGracePeriodSeconds") or 0))
    containers = [container for container in container_statuses(pod) if not container.init]
    for since in [_since(container, pod) for container in containers] or [_created(pod)]:
        if since + RESOLUTION <= claimed_at:
            return True
        # In the same second, time tells whether the task is still worked on.
        if since <= claimed_at and now < claimed_at + grace + SLACK:
            return True
    return False


def _since(container: ContainerStatus, pod: Object) -> datetime:
    """When the current run of a container began; at the earliest, if the node has not reported it yet."""
    running = (container.status.get("state") or {}).get("running") or {}
    text = running.get("startedAt") or container.last_end.get("finishedAt")
    return parse_time(text) if text else _created(pod)


def _created(pod: Object) -> datetime:
    return parse_time(pod["metadata"]["creationTimestamp"])


class Reclaim:
    """Takes the tasks of orphaned claims back, as the operator."""

    def __init__(self, cluster: Cluster, store: TaskStore, desired: Desired, task: Task) -> None:
        self.cluster = cluster
        self.store = store
        self.desired = desired
        self.task = task
        self.options: t.Mapping[str, t.Any] = task.parameters["forgejo"]

    def run(self, orphans: t.Sequence[Orphan]) -> list[Orphan]:
        """Reclaim the tasks; return those that had not moved on."""
        bearer = self._bearer()
        self.cluster.hold_lock()
        executions = [orphan for orphan in orphans if orphan.task.kind == EXECUTION]
        done = [orphan for orphan in orphans if orphan not in executions and self._reclaim(orphan, bearer)]
        if executions:
            done += self._reclaim_executions(executions, bearer)
        return done

    def _reclaim_executions(self, orphans: t.Sequence[Orphan], bearer: tuple[str, str]) -> list[Orphan]:
        """Delete the branches that an executor has pushed for these tasks, then reclaim them.

        A scripted executor names its branch after the task and crashes if its clone has that branch, each
        time it claims the task. So all executors stop while branches are deleted, and clone again.
        """
        with self._forgejo() as forgejo:
            pushed = any(forgejo.branches(branch_prefix(orphan.task)) for orphan in orphans)
            done = []
            with ExitStack() as stack:
                if pushed:
                    stack.enter_context(self._stopped({orphan.host.component for orphan in orphans}))
                for orphan in orphans:
                    # An executor that was stopping may have submitted.
                    if self.store.claimed_task(orphan.task.task_id) != orphan.task:
                        continue
                    for branch in forgejo.branches(branch_prefix(orphan.task)):
                        self.task.progress(f"deleting the branch {branch} of {orphan}")
                        forgejo.delete_branch(branch)
                    if self._reclaim(orphan, bearer):
                        done.append(orphan)
        return done

    def _reclaim(self, orphan: Orphan, bearer: tuple[str, str]) -> bool:
        reclaimed = self.store.reclaim(orphan.task, bearer)
        if reclaimed:
            self.task.progress(f"reclaimed {orphan}, {GONE}")
        return reclaimed

    @contextmanager
    def _stopped(self, components: t.Collection[str]) -> t.Iterator[None]:
        namespace, progress = self.desired.namespace, self.task.progress
        instance = ",".join(f"{key}={value}" for key, value in _labels(self.desired).items())
        selector = stopping.of_components(instance, components)
        try:
            stopping.stop(self.cluster, namespace, selector, progress)
            yield
        finally:
            stopped = stopping.stopped_workloads(self.cluster, namespace, selector)
            started = stopping.start(self.cluster, namespace, stopped, progress)
        workloads = [{"kind": live["kind"], "name": live["metadata"]["name"]} for live in started]
        wait = {"namespace": namespace, "workloads": workloads, "timeout": self.desired.timeout}
        rollout.roll_out(replace(self.task, parameters=wait), self.cluster, rollout.Clock())

    @contextmanager
    def _forgejo(self) -> t.Iterator[Forgejo]:
        namespace, service, port = self.desired.namespace, self.options["service"], self.options["port"]
        secret, key = self.options["secret"], self.options["key"]
        password = decoded(self.cluster.read("Secret", namespace, secret)).get(key, "")
        if not password:
            raise MissingError(
                f"{describe('Secret', namespace, secret)} lacks the key {key}, the password of Forgejo's "
                "user: run `--tags infra` first or add it."
            )
        with port_forward.forwarded(self.cluster, namespace, service, port) as session:
            url = f"http://{service}.{namespace}:{port}"
            yield Forgejo(session, url, self.options["repository"], password, self.desired.timeout)

    def _bearer(self) -> tuple[str, str]:
        name = self.task.parameters["operator"]
        return identity_of(self.cluster, self.desired.namespace, name, "tasks are reclaimed")


def branch_prefix(task: ClaimedTask) -> str:
    """What the branches begin with that a scripted executor pushes for the task."""
    return f"work/{task.task_id.replace('execution-', 'variant-')}-"
