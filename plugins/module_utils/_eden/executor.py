# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Executes a plan for the identities.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from secrets import token_hex

from ansible_collections.eden.reference.plugins.module_utils._eden.access import Desired, DesiredWorker
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import IdentityError, TaskStoreError
from ansible_collections.eden.reference.plugins.module_utils._eden.identity_secrets import (
    IdentitySecret,
    checksum,
    read_secret,
    secret_definition,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.plan import (
    INSTANCE_LABEL,
    Plan,
    WorkerStep,
    ambiguous,
    ours,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import (
    Credential,
    LostReplyError,
    TaskStore,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import ConflictError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.secrets import decoded


@dataclass
class Outcome:
    """The results ``identities`` and ``groups``: predicted, and completed while the plan is executed."""

    identities: dict[str, dict[str, t.Any]]
    groups: dict[str, dict[str, t.Any]]

    @classmethod
    def predict(cls, desired: Desired, steps: Plan, found: t.Mapping[str, IdentitySecret]) -> Outcome:
        """The outcome before the execution; values that only the task store can provide are null."""
        secrets = {worker.name: worker.secret for worker in desired.workers}
        return cls(
            identities={
                step.name: {
                    "worker_id": step.worker_id or None,
                    "secret": secrets[step.name],
                    "checksum": checksum(step.worker_id, found[step.name].token)
                    if step.verb == "unchanged"
                    else None,
                    "action": step.verb,
                }
                for step in steps.workers
            },
            groups={
                step.name: {"group_id": step.group_id or None, "action": step.verb, "added": list(step.add)}
                for step in steps.groups
            },
        )


@dataclass(frozen=True)
class PlanExecutor:
    """Executes a plan: the groups, the workers one by one, each with its Secret, then the memberships.

    Killed anywhere, the next run finds the rest: a row without a Secret is found by its name and label.
    """

    cluster: Cluster
    store: TaskStore
    desired: Desired
    secrets: t.Mapping[str, IdentitySecret]
    progress: t.Callable[[str], None]

    def run(self, steps: Plan, outcome: Outcome) -> None:
        """Execute the steps and fill in their results."""
        for group in steps.groups:
            if not group.group_id:
                outcome.groups[group.name]["group_id"] = self._create_group(group.name)
        for worker, step in zip(self.desired.workers, steps.workers, strict=True):
            if step.verb != "unchanged":
                credential = self._credential(worker, step)
                outcome.identities[worker.name].update(
                    worker_id=credential.worker.worker_id,
                    checksum=checksum(credential.worker.worker_id, credential.token),
                )
        for group in steps.groups:
            for name in group.add:
                self.store.add_member(
                    outcome.groups[group.name]["group_id"], outcome.identities[name]["worker_id"]
                )
            if group.add:
                self.progress(f"added {', '.join(group.add)} to the group {group.name}")

    def _create_group(self, name: str) -> str:
        while True:
            lost: TaskStoreError | None = None
            try:
                created = self.store.create_group(name)
                if created is not None:
                    return created.group_id
            except LostReplyError as error:
                lost = error
            found = self.store.find_groups(name)
            if len(found) == 1:
                return found[0].group_id
            if found or lost is None:
                raise IdentityError(
                    f"The group {name} was created by another client meanwhile, and the registry lists "
                    f"{len(found)} of that name. Let the other run end, and run again."
                )
            self.store.pause(lost)

    def _credential(self, worker: DesiredWorker, step: WorkerStep) -> Credential:
        """The worker's new token, which is in its Secret already."""
        version = self._prepare(worker)
        credential = self.store.reissue(step.worker_id) if step.worker_id else self._mint(worker)
        self._write(worker, credential, version)
        self.progress(f"{step.verb} {worker.name}: {credential.worker.worker_id}, Secret {worker.secret}")
        return credential

    def _prepare(self, worker: DesiredWorker) -> str:
        """The version of the Secret that the token goes into; a token that no Secret takes would be lost.

        Raises:
            IdentityError: another client changed or created the Secret since it was read.
        """
        # With its blank it counts as no token; it distinguishes this Secret from one that another run
        # created.
        placeholder = {"token": f"pending {token_hex(8)}"}
        version = self.secrets[worker.name].version or self._create(worker, placeholder)
        definition = secret_definition(self.desired.namespace, worker, placeholder, version)
        try:
            self.cluster.apply(definition, dry_run=True)
        except ConflictError as error:
            raise self._changed(worker) from error
        return version

    def _create(self, worker: DesiredWorker, values: t.Mapping[str, str]) -> str:
        """Create the Secret, and return its version."""
        definition = secret_definition(self.desired.namespace, worker, values, "")
        try:
            created = self.cluster.create(definition)
        except ConflictError as error:
            # The answer to a create that succeeded may have been lost; its second try then meets the first.
            found = self.cluster.read("Secret", self.desired.namespace, worker.secret)
            if not found or decoded(found) != values:
                raise self._changed(worker) from error
            created = found
        return str(created["metadata"]["resourceVersion"])

    def _mint(self, worker: DesiredWorker) -> Credential:
        while True:
            try:
                return self.store.register(worker.name, {INSTANCE_LABEL: self.desired.label})
            except LostReplyError as lost:
                # The task store executes one request after the other: this sees what became of the lost one.
                found = ours(self.store.find_workers(worker.name), self.desired.label)
                if len(found) > 1:
                    raise ambiguous(worker.name, worker.secret, found, "that were minted just now") from lost
                if found:
                    return self.store.reissue(found[0].worker_id)
                self.store.pause(lost)

    def _write(self, worker: DesiredWorker, credential: Credential, version: str) -> None:
        values = {"worker_id": credential.worker.worker_id, "token": credential.token}
        try:
            self.cluster.apply(secret_definition(self.desired.namespace, worker, values, version))
        except ConflictError as error:
            # As above: the first try may have succeeded.
            written = read_secret(self.cluster, self.desired.namespace, worker.secret)
            if {"worker_id": written.worker_id, "token": written.token} != values:
                raise self._changed(worker) from error

    def _changed(self, worker: DesiredWorker) -> IdentityError:
        return IdentityError(
            f"{describe('Secret', self.desired.namespace, worker.secret)} was changed by another client "
            "while this ran, and was left as it is. Let the other run end, and run again.",
            worker=worker.name,
            secret=worker.secret,
        )
