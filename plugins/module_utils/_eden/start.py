# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``start``: starts what a change has stopped, and waits for it.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.eden.reference.plugins.module_utils._eden import rollout, stopping
from ansible_collections.eden.reference.plugins.module_utils._kube.client import CLUSTER_ARGUMENTS, connected
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import desired_replicas
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "selector": {"type": "str", "required": True},
    "stopped": {"type": "list", "elements": "str", "default": []},
    "timeout": rollout.ARGUMENTS["timeout"],
}


def run(task: Task) -> dict[str, t.Any]:
    """Start what an earlier task or run has stopped, and wait until it is ready."""
    namespace = task.parameters["namespace"]
    with connected(task.parameters) as cluster:
        stopped = stopping.stopped_workloads(cluster, namespace, task.parameters["selector"])
        # In check mode nothing was stopped; an earlier run may have left it so.
        started = [
            {"kind": live["kind"], "name": live["metadata"]["name"]}
            for live in (
                [live for live in stopped if not desired_replicas(live)]
                if task.check_mode
                else stopping.start(cluster, namespace, stopped, task.progress)
            )
        ]
        if started and not task.check_mode:
            rollout.until_ready(replace(task, parameters={**task.parameters, "workloads": started}), cluster)
    return {
        "changed": bool(stopped or (task.check_mode and task.parameters["stopped"])),
        "workloads": started,
    }
