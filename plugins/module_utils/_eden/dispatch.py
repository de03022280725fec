# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``dispatch``: pauses and resumes the creation of tasks, and terminates the experiment.

This module is private to the collection.
"""

from __future__ import annotations

import json
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._collection import NAME
from ansible_collections.eden.reference.plugins.module_utils._eden import access
from ansible_collections.eden.reference.plugins.module_utils._eden.access import Desired
from ansible_collections.eden.reference.plugins.module_utils._eden.identity_secrets import identity_of
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import TaskStore
from ansible_collections.eden.reference.plugins.module_utils._errors import MissingError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, connected
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import KINDS, describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    **access.ARGUMENTS,
    "state": {"type": "str", "choices": ["paused", "resumed", "terminated"], "required": True},
    "operator": {"type": "str", "required": True},
    "configmap": {"type": "str", "required": True},
    "reason": {"type": "str", "default": NAME},
}

# The modes before the pause, as JSON, on the ConfigMap with the experiment's id.
ANNOTATION = f"{NAME}/dispatch-mode-before-pause"
# What creates tasks. Finished work is still integrated, and a policy of termination goes on.
PAUSED_KEYS = ("ideation_creation", "execution_dispatch", "evaluation_dispatch")
AUTO, MANUAL = "auto", "manual"
TERMINATED = "terminated"

Modes = dict[str, str]


def run(task: Task) -> dict[str, t.Any]:
    """Bring the experiment into the state, or predict that.

    Raises:
        CollectionError: see the exception tree; a message never holds a token.
    """
    desired = access.desired_of(task.parameters)
    with (
        connected(task.parameters) as cluster,
        access.open_task_store(cluster, desired, check_mode=False) as store,
    ):
        if store is None:
            raise AssertionError("out of check mode there is a store, or an error")
        dispatch = Dispatch(cluster, store, desired, task)
        change = {"paused": dispatch.pause, "resumed": dispatch.resume, TERMINATED: dispatch.terminate}
        return change[task.parameters["state"]]()


class Dispatch:
    """The experiment's state and dispatch mode, changed as the operator, because the admin may not."""

    def __init__(self, cluster: Cluster, store: TaskStore, desired: Desired, task: Task) -> None:
        self.cluster = cluster
        self.store = store
        self.desired = desired
        self.task = task

    def pause(self) -> dict[str, t.Any]:
        """Note the modes, then stop the creation of tasks.

        A run that is killed in between has noted modes that are still in force, and the next one goes on.
        """
        before = self.store.dispatch_mode()
        noted = self._noted()
        active = {key: before[key] for key in PAUSED_KEYS if before.get(key, MANUAL) != MANUAL}
        note = {**noted, **active} if noted is not None else active
        if noted != note and active:
            self._note(note)
        self._switch(dict.fromkeys(active, MANUAL))
        return self._result(before, {**before, **dict.fromkeys(active, MANUAL)}, bool(active))

    def resume(self) -> dict[str, t.Any]:
        """Restore the modes that a pause has found, and forget them."""
        before = self.store.dispatch_mode()
        noted = self._noted()
        wanted = {key: mode for key, mode in (noted or {}).items() if before.get(key) != mode}
        self._switch(wanted)
        if noted is not None:
            self._note(None)
        return self._result(before, {**before, **wanted}, noted is not None)

    def terminate(self) -> dict[str, t.Any]:
        """End the experiment: what has begun is completed, and nothing new is created."""
        before = self.store.state()
        changed = before != TERMINATED
        if changed and not self.task.check_mode:
            bearer = self._bearer()
            self.cluster.hold_lock()
            self.store.terminate(self.task.parameters["reason"], bearer)
        answer: dict[str, t.Any] = {"changed": changed, "experiment_state": TERMINATED}
        if self.task.diff and changed:
            answer["diff"] = _diff("state", before, TERMINATED)
        return answer

    def _switch(self, modes: Modes) -> None:
        if modes and not self.task.check_mode:
            bearer = self._bearer()
            self.cluster.hold_lock()
            self.store.change_dispatch_mode(modes, bearer)

    def _result(self, before: Modes, after: Modes, changed: bool) -> dict[str, t.Any]:
        answer: dict[str, t.Any] = {"changed": changed, "dispatch_mode": after}
        if self.task.diff and changed:
            answer["diff"] = _diff("dispatch mode", before, after)
        return answer

    def _noted(self) -> Modes | None:
        """The modes that a pause has noted; None if there is no pause.

        Raises:
            MissingError: the ConfigMap does not exist.
        """
        namespace, name = self.desired.namespace, self.task.parameters["configmap"]
        live = self.cluster.read("ConfigMap", namespace, name)
        if live is None:
            raise MissingError(
                f"There is no {describe('ConfigMap', namespace, name)}, which notes the mode before a pause: "
                "run site.yml first."
            )
        text = (live["metadata"].get("annotations") or {}).get(ANNOTATION)
        if text is None:
            return None
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            # It was edited: every mode that a pause changes was the other one.
            return dict.fromkeys(PAUSED_KEYS, AUTO)
        return {key: str(mode) for key, mode in found.items() if key in PAUSED_KEYS}

    def _note(self, modes: Modes | None) -> None:
        if self.task.check_mode:
            return
        metadata = {"name": self.task.parameters["configmap"], "namespace": self.desired.namespace}
        text = None if modes is None else json.dumps(modes, sort_keys=True)
        self.cluster.merge(
            {"apiVersion": KINDS["ConfigMap"].api_version, "kind": "ConfigMap", "metadata": metadata},
            {"metadata": {"annotations": {ANNOTATION: text}}},
        )

    def _bearer(self) -> tuple[str, str]:
        name = self.task.parameters["operator"]
        return identity_of(self.cluster, self.desired.namespace, name, "the experiment is changed")


def _diff(header: str, before: t.Any, after: t.Any) -> list[dict[str, t.Any]]:
    return [{"before_header": header, "after_header": header, "before": before, "after": after}]
