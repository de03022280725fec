# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``start``: starts what a change has stopped, and waits for it.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.eden.reference.plugins.module_utils._eden import rollout, stopping
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
    "stages": {"type": "dict", "default": {}},
    "stopped": {"type": "list", "elements": "str", "default": []},
    "timeout": rollout.ARGUMENTS["timeout"],
}


def run(task: Task) -> dict[str, t.Any]:
    """Start what an earlier task or run has stopped, and wait until it is ready."""
    namespace = task.parameters["namespace"]
    with connected(task.parameters) as cluster:
        stopped = stopping.stopped_workloads(cluster, namespace, task.parameters["selector"])
        if task.check_mode:
            # In check mode nothing was stopped; an earlier run may have left it so.
            started = [_row(live) for live in stopped if not desired_replicas(live)]
        else:
            started = []
            for group in in_order(stopped, task.parameters.get("stages") or {}):
                started += _start(cluster, task, group)
    return {
        "changed": bool(stopped or (task.check_mode and task.parameters["stopped"])),
        "workloads": started,
    }


def in_order(stopped: t.Iterable[Object], stages: t.Mapping[str, int]) -> list[list[Object]]:
    """The workloads in groups, highest stage first: each is started when the one before it is ready."""
    groups: dict[int, list[Object]] = {}
    for live in stopped:
        groups.setdefault(stages.get(stopping.component(live), 0), []).append(live)
    return [groups[stage] for stage in sorted(groups, reverse=True)]


def _start(cluster: Cluster, task: Task, workloads: t.Sequence[Object]) -> list[dict[str, str]]:
    started = stopping.start(cluster, task.parameters["namespace"], workloads, task.progress)
    rows = [_row(live) for live in started]
    if rows:
        rollout.until_ready(replace(task, parameters={**task.parameters, "workloads": rows}), cluster)
    return rows


def _row(live: Object) -> dict[str, str]:
    return {"kind": live["kind"], "name": live["metadata"]["name"]}
