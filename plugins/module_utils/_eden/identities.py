# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``identities``: observes, plans, and executes the plan.

A token goes from the task store's answer into its Secret, and from the Secret into the Authorization header
of whoami. It is never in a result, a message or an argument.
This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from ansible_collections.eden.reference.plugins.module_utils._eden import access
from ansible_collections.eden.reference.plugins.module_utils._eden.access import Desired, DesiredWorker
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import IdentityError
from ansible_collections.eden.reference.plugins.module_utils._eden.executor import Outcome, PlanExecutor
from ansible_collections.eden.reference.plugins.module_utils._eden.identity_secrets import (
    IdentitySecret,
    read_secret,
    used_by_ready_pods,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.plan import (
    GroupObservation,
    GroupStep,
    Observation,
    Plan,
    WorkerObservation,
    plan,
    plan_unseen,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import TaskStore
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, connected
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

# What the task store calls every client if it was started without an admin token.
ANONYMOUS = "anonymous"

ARGUMENTS = {
    **access.ARGUMENTS,
    "groups": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "members": {"type": "list", "elements": "str", "default": []},
        },
    },
}


@dataclass(frozen=True)
class Survey:
    """The current state and the plan; in check mode there may be no task store."""

    cluster: Cluster
    store: TaskStore | None
    desired: Desired
    secrets: t.Mapping[str, IdentitySecret]
    observation: Observation
    plan: Plan

    def outcome(self) -> Outcome:
        """The expected outcome of the plan."""
        return Outcome.predict(self.desired, self.plan, self.secrets)


def run(task: Task) -> dict[str, t.Any]:
    """Reconcile the registry and the identity Secrets; in check mode, predict the changes.

    Returns:
        ``changed``, ``identities``, ``groups`` and, if asked for, ``diff``.

    Raises:
        CollectionError: see the exception tree; a message never holds a token.
    """
    with surveyed(task) as found:
        outcome = found.outcome()
        if found.store is not None and not task.check_mode:
            if found.plan.changes:
                found.cluster.hold_lock()
            executor = PlanExecutor(found.cluster, found.store, found.desired, found.secrets, task.progress)
            executor.run(found.plan, outcome)
    result: dict[str, t.Any] = {
        "changed": found.plan.changes,
        "identities": outcome.identities,
        "groups": outcome.groups,
    }
    if task.diff:
        result["diff"] = {
            "before": before(found.observation, found.plan),
            "after": after(outcome, found.plan),
        }
    return result


def run_info(task: Task) -> dict[str, t.Any]:
    """Report what :func:`run` would do, and write nothing.

    Returns:
        ``complete``, ``incomplete``, ``identities`` and ``groups``.

    Raises:
        CollectionError: as for :func:`run`.
    """
    with surveyed(task) as found:
        outcome = found.outcome()
    namespace = found.desired.namespace
    incomplete = [
        *(
            describe("Secret", namespace, row["secret"])
            for row in outcome.identities.values()
            if row["action"] != "unchanged"
        ),
        *(f"group {name}" for name, row in outcome.groups.items() if row["action"] != "unchanged"),
    ]
    return {
        "changed": False,
        "complete": not incomplete,
        "incomplete": incomplete,
        "identities": outcome.identities,
        "groups": outcome.groups,
    }


@contextmanager
def surveyed(task: Task) -> t.Iterator[Survey]:
    """Read the Secrets and the registry, and plan; the connections stay open."""
    desired = access.desired_of(task.parameters)
    with connected(task.parameters) as cluster, ExitStack() as stack:
        secrets = {
            worker.name: read_secret(cluster, desired.namespace, worker.secret) for worker in desired.workers
        }
        store = stack.enter_context(access.open_task_store(cluster, desired, task.check_mode))
        if store is None:
            task.progress("there is no task store yet: the identity Secrets are assumed to be valid")
            observation = observe_secrets(desired, secrets)
            steps = plan_unseen(observation)
        else:
            in_use = used_by_ready_pods(cluster, desired.namespace, desired.instance)
            observation = observe(store, desired, secrets, in_use)
            steps = plan(observation)
        yield Survey(cluster, store, desired, secrets, observation, steps)


def observe_secrets(desired: Desired, secrets: t.Mapping[str, IdentitySecret]) -> Observation:
    """What the cluster shows without the task store."""
    return Observation(
        desired.label,
        tuple(
            WorkerObservation(
                row.name, row.secret, secrets[row.name].worker_id, bool(secrets[row.name].token)
            )
            for row in desired.workers
        ),
        tuple(GroupObservation(group.name, group.members) for group in desired.groups),
    )


def observe(
    store: TaskStore,
    desired: Desired,
    secrets: t.Mapping[str, IdentitySecret],
    in_use: t.Collection[tuple[str, str]] = (),
) -> Observation:
    """What the cluster and the task store show; reads only.

    Args:
        in_use: the Secrets whose token needs no further proof, and the checksums of their content.

    Raises:
        IdentityError: the task store does not authenticate its clients.
    """
    return Observation(
        desired.label,
        tuple(
            _observe_worker(store, desired, worker, secrets[worker.name], in_use)
            for worker in desired.workers
        ),
        tuple(
            GroupObservation(group.name, group.members, tuple(store.find_groups(group.name)))
            for group in desired.groups
        ),
    )


def bearer_of(store: TaskStore, desired: Desired, worker: DesiredWorker, secret: IdentitySecret) -> str:
    """The id that the task store has for the bearer of the Secret's token.

    Empty if it refuses the token, or if the bearer is another desired worker: two Secrets whose contents were
    swapped are both valid, and each service would act as the other.

    Raises:
        IdentityError: the task store does not authenticate its clients.
    """
    bearer = store.whoami(secret.worker_id, secret.token) if secret.worker_id and secret.token else None
    if bearer is None:
        return ""
    if bearer.worker_id == ANONYMOUS:
        raise IdentityError(
            "The task store runs without authentication: it answers every client. Start it with "
            "--admin-token."
        )
    others = {other.name for other in desired.workers} - {worker.name}
    return "" if bearer.name in others else bearer.worker_id


def _observe_worker(
    store: TaskStore,
    desired: Desired,
    worker: DesiredWorker,
    secret: IdentitySecret,
    in_use: t.Collection[tuple[str, str]],
) -> WorkerObservation:
    used = (worker.secret, secret.checksum) in in_use
    bearer = secret.worker_id if used else bearer_of(store, desired, worker, secret)
    proven = bool(bearer) and bearer == secret.worker_id
    return WorkerObservation(
        name=worker.name,
        secret=worker.secret,
        worker_id=secret.worker_id,
        has_token=bool(secret.token),
        bearer=bearer,
        registered=None if proven or not secret.worker_id else store.worker(secret.worker_id),
        namesakes=() if proven else tuple(store.find_workers(worker.name)),
    )


def before(observation: Observation, steps: Plan) -> dict[str, t.Any]:
    """The first half of the diff."""
    verbs = {step.name: step.verb for step in steps.workers}
    names = {step.worker_id: step.name for step in steps.workers if step.worker_id}
    return {
        "workers": {
            worker.name: {
                "worker_id": worker.worker_id or None,
                "secret": worker.secret,
                "token": _token_before(worker, verbs[worker.name]),
            }
            for worker in observation.workers
            if worker.worker_id or worker.has_token
        },
        "groups": {
            step.name: {"group_id": step.group_id or None, "members": _members(step, names)}
            for step in steps.groups
            if step.group_id or step.unseen
        },
    }


def after(outcome: Outcome, steps: Plan) -> dict[str, t.Any]:
    """The second half of the diff."""
    names = {step.worker_id: step.name for step in steps.workers if step.worker_id}
    return {
        "workers": {
            name: {"worker_id": row["worker_id"], "secret": row["secret"], "token": row["action"]}
            for name, row in outcome.identities.items()
        },
        "groups": {
            step.name: {
                "group_id": outcome.groups[step.name]["group_id"],
                "members": sorted({*_members(step, names), *step.add}),
            }
            for step in steps.groups
        },
    }


def _token_before(worker: WorkerObservation, verb: str) -> str:
    if not worker.has_token:
        return "missing"
    return "unchanged" if verb == "unchanged" else "invalid"


def _members(step: GroupStep, names: t.Mapping[str, str]) -> list[str]:
    """The members, by name if the name is known."""
    return sorted(names.get(member, member) for member in step.members)
