# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The steps that reconcile the registry and the identity Secrets with the desired state.

Pure functions: nothing here sends a request.
This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import IdentityError
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import Group, Worker

INSTANCE_LABEL = "eden.reference/instance"

Verb = t.Literal["unchanged", "reissued", "minted"]


@dataclass(frozen=True)
class WorkerObservation:
    """A desired worker, its Secret and its rows.

    Attributes:
        name: the desired name.
        secret: name of the Secret.
        worker_id: the id that the Secret holds; empty if it holds none.
        has_token: whether the Secret holds a token.
        bearer: the id that the task store has for the bearer of that token; empty if it refuses the token, if
            the bearer is another desired worker, and if there is no token.
        registered: the registry's row of ``worker_id``, looked up unless ``bearer`` is that id.
        namesakes: the registry's rows of ``name``, looked up unless ``bearer`` is ``worker_id``.
    """

    name: str
    secret: str
    worker_id: str = ""
    has_token: bool = False
    bearer: str = ""
    registered: Worker | None = None
    namesakes: tuple[Worker, ...] = ()


@dataclass(frozen=True)
class GroupObservation:
    """A desired group, the names of the workers that belong to it, and the groups of that name."""

    name: str
    members: tuple[str, ...]
    found: tuple[Group, ...] = ()


@dataclass(frozen=True)
class Observation:
    """Everything that the plan depends on; ``instance`` is the value of the registry label of our rows."""

    instance: str
    workers: tuple[WorkerObservation, ...]
    groups: tuple[GroupObservation, ...]


@dataclass(frozen=True)
class WorkerStep:
    """What to do for a worker; ``worker_id`` is empty if it is yet to be minted."""

    name: str
    verb: Verb
    worker_id: str = ""


@dataclass(frozen=True)
class GroupStep:
    """What to do for a group: create it if ``group_id`` is empty, then add the workers of ``add``.

    A group that is ``unseen`` exists, but there was no task store to ask for its id; its members are names.
    """

    name: str
    group_id: str
    members: tuple[str, ...]
    add: tuple[str, ...]
    unseen: bool = False

    @property
    def verb(self) -> str:
        """The group's action: ``unchanged``, ``created`` or ``extended``."""
        if not self.group_id and not self.unseen:
            return "created"
        return "extended" if self.add else "unchanged"


@dataclass(frozen=True)
class Plan:
    """The steps, in the order of execution: create the groups, the workers, then the memberships."""

    groups: tuple[GroupStep, ...]
    workers: tuple[WorkerStep, ...]

    @property
    def changes(self) -> bool:
        """Whether anything is to be done."""
        return any(step.verb != "unchanged" for step in self.workers) or any(
            step.verb != "unchanged" for step in self.groups
        )


def plan(observation: Observation) -> Plan:
    """The steps to the desired state.

    Raises:
        IdentityError: only the user can decide; the message lists the candidates and describes how.
    """
    workers = tuple(decide(worker, observation.instance) for worker in observation.workers)
    _fail_if_ids_are_shared(workers, observation.workers)
    ids = {step.name: step.worker_id for step in workers}
    return Plan(tuple(_group_step(group, ids) for group in observation.groups), workers)


def plan_unseen(observation: Observation) -> Plan:
    """The steps that a run will take once the task store exists.

    The Secrets are assumed to be valid, as they are when the task store only restarts.
    """
    workers = tuple(map(_decide_unseen, observation.workers))
    # Groups are created before the first worker.
    exist = any(worker.worker_id for worker in observation.workers)
    new = {step.name for step in workers if step.verb == "minted"}
    groups = []
    for group in observation.groups:
        add = tuple(name for name in group.members if name in new or not exist)
        there = tuple(name for name in group.members if name not in add)
        groups.append(GroupStep(group.name, "", there, add, unseen=exist))
    return Plan(tuple(groups), workers)


def _decide_unseen(worker: WorkerObservation) -> WorkerStep:
    if not worker.worker_id:
        return WorkerStep(worker.name, "minted")
    return WorkerStep(worker.name, "unchanged" if worker.has_token else "reissued", worker.worker_id)


def decide(worker: WorkerObservation, instance: str) -> WorkerStep:
    """The step for one worker.

    A token is replaced only if it is missing or was refused: a reissue ends the session of a running
    service.

    Raises:
        IdentityError: several workers of the registry could be the desired one.
    """
    if worker.worker_id and worker.bearer == worker.worker_id:
        return WorkerStep(worker.name, "unchanged", worker.worker_id)
    registered = worker.registered
    # An id without a token was written on purpose, or by an interrupted run. One whose token was refused may
    # come from elsewhere, so its row must be that of our worker.
    if registered is not None and (not worker.has_token or _may_be_ours(registered, worker.name, instance)):
        return WorkerStep(worker.name, "reissued", registered.worker_id)
    return _decide_by_name(worker, instance)


def ours(rows: t.Iterable[Worker], instance: str) -> list[Worker]:
    """The rows that this instance minted."""
    return [row for row in rows if row.labels.get(INSTANCE_LABEL) == instance]


def ambiguous(name: str, secret: str, rows: t.Sequence[Worker], origin: str) -> IdentityError:
    """The error for several workers that could be the desired one."""
    listed = "; ".join(
        f"{row.worker_id} registered {row.registered_at or 'at an unknown time'}" for row in rows
    )
    return IdentityError(
        f"Cannot tell which worker is {name}: the registry has {len(rows)} with that name {origin} "
        f"({listed}). Write the id of the one to keep into Secret {secret}, key worker_id, without a token, "
        "and run again. The others stay registered, because the task store cannot delete a worker.",
        worker=name,
        candidates=[{"worker_id": row.worker_id, "registered_at": row.registered_at} for row in rows],
    )


def _decide_by_name(worker: WorkerObservation, instance: str) -> WorkerStep:
    # Rows without the label come from another tool, such as EDEN's own setup script. Rows that are labelled
    # for another instance belong to it.
    unlabelled = [row for row in worker.namesakes if INSTANCE_LABEL not in row.labels]
    for rows, origin in (
        (ours(worker.namesakes, instance), f"that are labelled {INSTANCE_LABEL}={instance}"),
        (unlabelled, f"without the label {INSTANCE_LABEL}"),
    ):
        if len(rows) > 1:
            raise ambiguous(worker.name, worker.secret, rows, origin)
        if rows:
            return WorkerStep(worker.name, "reissued", rows[0].worker_id)
    return WorkerStep(worker.name, "minted")


def _may_be_ours(row: Worker, name: str, instance: str) -> bool:
    return row.name == name and row.labels.get(INSTANCE_LABEL, instance) == instance


def _fail_if_ids_are_shared(steps: t.Sequence[WorkerStep], workers: t.Sequence[WorkerObservation]) -> None:
    secrets = {worker.name: worker.secret for worker in workers}
    holders: dict[str, str] = {}
    for step in steps:
        if not step.worker_id:
            continue
        other = holders.setdefault(step.worker_id, step.name)
        if other != step.name:
            raise IdentityError(
                f"The workers {other} and {step.name} share the id {step.worker_id}, by their Secrets "
                f"{secrets[other]} and {secrets[step.name]}: each would make the other's token invalid. "
                "Delete the Secret that is wrong, and run again.",
                worker_id=step.worker_id,
                secrets=[secrets[other], secrets[step.name]],
            )


def _group_step(group: GroupObservation, ids: t.Mapping[str, str]) -> GroupStep:
    if len(group.found) > 1:
        listed = "; ".join(
            f"{row.group_id} created {row.created_at or 'at an unknown time'}" for row in group.found
        )
        raise IdentityError(
            f"Cannot tell which group is {group.name}: the registry has {len(group.found)} with that name "
            f"({listed}). Delete all but the one to keep (DELETE …/groups/<id>, as admin), and run again.",
            group=group.name,
            candidates=[{"group_id": row.group_id, "created_at": row.created_at} for row in group.found],
        )
    if not group.found:
        return GroupStep(group.name, "", (), group.members)
    row = group.found[0]
    add = tuple(name for name in group.members if not ids[name] or ids[name] not in row.members)
    return GroupStep(group.name, row.group_id, row.members, add)
