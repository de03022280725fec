# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``experiment_info``: the identities of the workers, and the progress of the experiment.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden import access
from ansible_collections.eden.reference.plugins.module_utils._eden.access import (
    Desired,
    DesiredWorker,
    desired_of,
    open_task_store,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.event_counts import (
    Counts,
    cache_file,
    count,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.identities import bearer_of
from ansible_collections.eden.reference.plugins.module_utils._eden.identity_secrets import (
    read_secret,
    used_by_ready_pods,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.plan import ours
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import TaskStore
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, connected
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, dict[str, t.Any]] = {
    **access.ARGUMENTS,
    "events": {"type": "bool", "default": False},
    "duplicates": {"type": "bool", "default": False},
    "ask_for_all": {"type": "bool", "default": True},
}


def run(task: Task) -> dict[str, t.Any]:
    """Read the state, the identities and, if asked for, the events.

    ``available`` is false if check mode found no task store.

    Raises:
        CollectionError: see the exception tree; a message never holds a token.
    """
    desired = desired_of(task.parameters)
    state, workers, further, counts = "", [], [], Counts()
    with (
        connected(task.parameters) as cluster,
        open_task_store(cluster, desired, task.check_mode) as store,
    ):
        if store is not None:
            state = store.state()
            in_use = (
                set()
                if task.parameters["ask_for_all"]
                else used_by_ready_pods(cluster, desired.namespace, desired.instance)
            )
            workers = [identity(cluster, store, desired, worker, in_use) for worker in desired.workers]
            if task.parameters["duplicates"]:
                further = duplicates(store, desired, workers)
            if task.parameters["events"]:
                counts = count(store, cache_file(desired.experiment_id, cluster.address))
    return {
        "changed": False,
        "available": store is not None,
        "state": state,
        "workers": workers,
        "duplicates": further,
        "events": counts.events,
        "ideations": counts.ideations,
    }


def duplicates(
    store: TaskStore, desired: Desired, workers: t.Iterable[t.Mapping[str, t.Any]]
) -> list[dict[str, str]]:
    """The workers that were minted for this instance under one of its names, and that no Secret holds."""
    held = {worker["worker_id"] for worker in workers}
    return [
        {
            "name": worker.name,
            "worker_id": row.worker_id,
            "message": f"{row.worker_id}, registered at {row.registered_at}, is named {worker.name}, too",
        }
        for worker in desired.workers
        for row in ours(store.find_workers(worker.name), desired.label)
        if row.worker_id not in held
    ]


def identity(
    cluster: Cluster,
    store: TaskStore,
    desired: Desired,
    worker: DesiredWorker,
    in_use: t.Collection[tuple[str, str]] = (),
) -> dict[str, t.Any]:
    """The content of a worker's Secret, and whether the task store accepts its token as that worker's."""
    secret = read_secret(cluster, desired.namespace, worker.secret)
    used = (worker.secret, secret.checksum) in in_use
    return {
        "name": worker.name,
        "secret": worker.secret,
        "worker_id": secret.worker_id,
        "accepted": used
        or (bool(secret.worker_id) and bearer_of(store, desired, worker, secret) == secret.worker_id),
    }
