# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``experiment_info``: the identities of the workers, and the progress of the experiment.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from collections import Counter

from ansible_collections.eden.reference.plugins.module_utils._eden.access import (
    ARGUMENTS,
    Desired,
    DesiredWorker,
    desired_of,
    open_task_store,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.identities import bearer_of
from ansible_collections.eden.reference.plugins.module_utils._eden.identity_secrets import read_secret
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import Document, TaskStore
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, connected
from ansible_collections.eden.reference.plugins.module_utils._module import Task

__all__ = ["ARGUMENTS", "run"]

# A task id begins with the kind of the task, and an event has only the id.
IDEATION_PREFIX = "ideation-"


def run(task: Task) -> dict[str, t.Any]:
    """Read the state, the events and the identities.

    ``available`` is false if check mode found no task store.

    Raises:
        CollectionError: see the exception tree; a message never holds a token.
    """
    desired = desired_of(task.parameters)
    with (
        connected(task.parameters) as cluster,
        open_task_store(cluster, desired, task.check_mode) as store,
    ):
        if store is None:
            return {
                "changed": False,
                "available": False,
                "state": "",
                "workers": [],
                "events": {},
                "ideations": 0,
            }
        events, _cursor = store.events()
        return {
            "changed": False,
            "available": True,
            "state": store.state(),
            "workers": [identity(cluster, store, desired, worker) for worker in desired.workers],
            **progress(events),
        }


def identity(cluster: Cluster, store: TaskStore, desired: Desired, worker: DesiredWorker) -> dict[str, t.Any]:
    """The content of a worker's Secret, and whether the task store accepts its token as that worker's."""
    secret = read_secret(cluster, desired.namespace, worker.secret)
    return {
        "name": worker.name,
        "secret": worker.secret,
        "worker_id": secret.worker_id,
        "accepted": bool(secret.worker_id) and bearer_of(store, desired, worker, secret) == secret.worker_id,
    }


def progress(events: t.Iterable[Document]) -> dict[str, t.Any]:
    """The number of events of each type, and how many ideation tasks were completed."""
    events = list(events)
    return {
        "events": dict(sorted(Counter(event["type"] for event in events).items())),
        "ideations": sum(
            event["type"] == "task.completed"
            and str(event["data"].get("task_id", "")).startswith(IDEATION_PREFIX)
            for event in events
        ),
    }
