# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``stop``: stops an experiment, stage by stage.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden import stopping
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import desired_replicas
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "selector": {"type": "str", "required": True},
    "stages": {"type": "dict", "required": True},
}


def run(task: Task) -> dict[str, t.Any]:
    """Stop the workloads of the stages, or predict that."""
    with connected(task.parameters) as cluster:
        stopped = stop_in_order(cluster, task, task.parameters["selector"], task.parameters["stages"])
    answer: dict[str, t.Any] = {
        "changed": bool(stopped),
        "workloads": [{"kind": live["kind"], "name": live["metadata"]["name"]} for live in stopped],
    }
    if task.diff and stopped:
        before = {live["metadata"]["name"]: desired_replicas(live) for live in stopped}
        answer["diff"] = [
            {
                "before_header": "replicas",
                "after_header": "replicas",
                "before": before,
                "after": dict.fromkeys(before, 0),
            }
        ]
    return answer


def stop_in_order(cluster: Cluster, task: Task, selector: str, stages: t.Mapping[str, int]) -> list[Object]:
    """Stop the components, those of the lowest stage first; each stage has ended before the next one begins.

    Returns: the workloads that had replicas, in that order; in check mode none is stopped.
    """
    namespace = task.parameters["namespace"]
    found = stopping.workloads_of(cluster, namespace, selector)
    running = [live for live in found if stopping.component(live) in stages and desired_replicas(live)]
    for stage in [] if task.check_mode else sorted(set(stages.values())):
        components = [name for name, number in stages.items() if number == stage]
        # Also if none has replicas: a killed run may have left pods that still complete their tasks.
        stopping.stop(cluster, namespace, stopping.of_components(selector, components), task.progress)
    return sorted(running, key=lambda live: stages[stopping.component(live)])
