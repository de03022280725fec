# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Applies the objects of an experiment; if the API server refuses one, names the input that sets it.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden.stopping import (
    component,
    running,
    stop,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.trial import Restart, follow, try_out
from ansible_collections.eden.reference.plugins.module_utils._kube import apply
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object, connected
from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import Category, Refusal
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **apply.ARGUMENTS,
    "restarts": {
        "type": "dict",
        "options": {
            "selector": {"type": "str", "required": True},
            "stages": {"type": "dict", "default": {}},
            "stops": {"type": "dict", "default": {}},
            "trials": {"type": "dict", "default": {}},
        },
    },
}

_VOLUME = "The sizes of the volumes are set by eden_storage_sizes, their class by eden_storage_class."
_NUMBER = "The number of replicas is set by eden_replicas."
_POD = (
    "Pods are set by eden_resources, eden_postgres_resources, eden_forgejo_resources, eden_node_selector, "
    "eden_tolerations, eden_affinity and the images."
)
_RULES = "Its rules are set by eden_web_ui_peers, eden_worker_egress and eden_dns_peers."
_WORKLOADS = ("StatefulSet", "Deployment", "Job")

# The inputs that set the refused fields, by kind of object and category of refusal.
HINTS: dict[tuple[str, Category], str] = {
    **{
        ("PersistentVolumeClaim", category): _VOLUME
        for category in ("quota", "limit_range", "policy", "webhook")
    },
    **{(kind, "quota"): _NUMBER for kind in _WORKLOADS},
    **{(kind, category): _POD for kind in _WORKLOADS for category in ("policy", "webhook", "invalid")},
    ("NetworkPolicy", "quota"): "With eden_network_policies: false none are created.",
    (
        "NetworkPolicy",
        "invalid",
    ): _RULES,
    ("PodDisruptionBudget", "quota"): "With eden_disruption_budgets: false none are created.",
    ("Ingress", "quota"): "With an empty eden_ingress none is created.",
    ("Ingress", "invalid"): "It is set by eden_ingress.",
    ("Namespace", "policy"): "With eden_manage_namespace: false an existing namespace is used as it is.",
}


def hint(definition: Object, refusal: Refusal) -> str:
    """The inputs that set the refused fields; empty if there are none."""
    return HINTS.get((definition["kind"], refusal.category), "")


def run(task: Task) -> dict[str, t.Any]:
    """Apply ``definitions``, then prune; before that, try and stop what ``restarts`` names."""
    rules = task.parameters.get("restarts")
    if not rules:
        return apply.run(task, hint)
    with connected(task.parameters) as cluster:
        definitions = apply.prepared(task)
        changes = apply.reconcile_all(cluster, definitions, check_mode=True, hint=hint)
        affected = [_restart(before, after, rules) for before, after in apply.restarted(changes)]
        stages = to_be_stopped(cluster, task, affected) if affected else []
        if not task.check_mode and any(change.outcome != "unchanged" for change in changes):
            stop_safely(cluster, task, affected, stages)
            changes = apply.reconcile_all(cluster, definitions, check_mode=False, hint=hint)
        answer = apply.result([*changes, *apply.prune(cluster, definitions, task)], task.diff)
    return {**answer, "stopped": [live["metadata"]["name"] for stage in stages for live in stage]}


def to_be_stopped(cluster: Cluster, task: Task, affected: t.Sequence[Restart]) -> list[list[Object]]:
    """The running workloads that would lose work if the affected ones restarted, stage by stage."""
    rules = task.parameters.get("restarts")
    highest = max(rules["stops"].get(restart.component, 0) for restart in affected)
    if not highest:
        return []
    found: dict[int, list[Object]] = {}
    for live in running(cluster, task.parameters["namespace"], rules["selector"]):
        stage = rules["stages"].get(component(live), 0)
        if 0 < stage <= highest:
            found.setdefault(stage, []).append(live)
    return [found[stage] for stage in sorted(found)]


def stop_safely(
    cluster: Cluster, task: Task, affected: t.Sequence[Restart], stages: t.Sequence[t.Sequence[Object]]
) -> None:
    """Try the changed pods, and those that later phases will change; then stop the stages.

    Raises:
        TrialError: a changed pod does not run, or must not; nothing was stopped.
        StopError: a pod did not end.
    """
    namespace, trials = task.parameters["namespace"], task.parameters["restarts"]["trials"]
    followers = [
        follow(affected, live, component(live), trials.get(component(live), {}))
        for stage in stages
        for live in stage
    ]
    try_out(cluster, namespace, [*affected, *followers], task.progress)
    for stage in stages:
        workloads = [{"kind": live["kind"], "name": live["metadata"]["name"]} for live in stage]
        stop(cluster, namespace, workloads, task.progress)


def _restart(before: Object, after: Object, rules: t.Mapping[str, t.Any]) -> Restart:
    name = component(before)
    return Restart(before, after, name, rules["trials"].get(name, {}))
