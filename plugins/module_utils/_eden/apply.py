# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Applies the objects of an experiment, and waits for its workloads.

If the API server refuses an object, the message names the input that sets it.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import replace

from ansible_collections.eden.reference.plugins.module_utils._eden import rollout
from ansible_collections.eden.reference.plugins.module_utils._eden.stopping import (
    KINDS_WITH_REPLICAS,
    advice,
    component,
    of_components,
    start,
    stop,
    workloads_of,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.trial import Restart, follow, try_out
from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError
from ansible_collections.eden.reference.plugins.module_utils._kube import apply
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object, connected
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import desired_replicas, is_done
from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import Category, Refusal
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **apply.ARGUMENTS,
    "wait_for": {**rollout.ARGUMENTS["workloads"], "required": False, "default": []},
    "timeout": rollout.ARGUMENTS["timeout"],
    "restarts": {
        "type": "dict",
        "options": {
            "selector": {"type": "str", "required": True},
            "stages": {"type": "dict", "default": {}},
            "stops": {"type": "dict", "default": {}},
            "trials": {"type": "dict", "default": {}},
            "stopped": {"type": "list", "elements": "str", "default": []},
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
    """Apply ``definitions``, prune, and wait; before that, try and stop what ``restarts`` names."""
    rules = task.parameters.get("restarts")
    with connected(task.parameters) as cluster:
        definitions = apply.prepared(task)
        changes, stopped = (
            _restarting(cluster, task, definitions, rules)
            if rules
            else (apply.reconcile_all(cluster, definitions, task.check_mode, hint), [])
        )
        answer = apply.result([*changes, *apply.prune(cluster, definitions, task)], task.diff)
        if not task.check_mode:
            _wait(cluster, task, changes)
    if not rules:
        return answer
    names = [*rules["stopped"], *(live["metadata"]["name"] for live in stopped)]
    return {**answer, "stopped": list(dict.fromkeys(names))}


def _restarting(
    cluster: Cluster, task: Task, definitions: t.Sequence[Object], rules: t.Mapping[str, t.Any]
) -> tuple[list[apply.Change], list[Object]]:
    """Apply, with what precedes a restart; the changes, and the workloads that were stopped."""
    changes = apply.reconcile_all(cluster, definitions, check_mode=True, hint=hint)
    affected = [_restart(before, after, rules) for before, after in apply.restarted(changes)]
    stages = stages_before(affected, rules)
    selectors = [of_components(rules["selector"], stage) for stage in stages]
    namespace = task.parameters["namespace"]
    dependents = [live for part in selectors for live in workloads_of(cluster, namespace, part)]
    stopped = [live for live in dependents if desired_replicas(live)]
    if task.check_mode:
        return [_as_if_stopped(change, rules["stopped"]) for change in changes], stopped
    _try_out(cluster, task, affected, dependents)
    _stop(cluster, task, selectors, stopped)
    return _carry_out(cluster, definitions, changes, stopped), stopped


def _wait(cluster: Cluster, task: Task, changes: t.Iterable[apply.Change]) -> None:
    """Wait for the workloads of ``wait_for``; those that were found as they should be cost no request."""
    ready = {
        (change.after["kind"], change.after["metadata"]["name"])
        for change in changes
        if change.outcome == "unchanged" and change.after and is_done(change.after)
    }
    awaited = task.parameters.get("wait_for") or []
    left = [entry for entry in awaited if (entry["kind"], entry["name"]) not in ready]
    if left:
        parameters = {**task.parameters, "workloads": left}
        rollout.until_ready(replace(task, parameters=parameters), cluster)


def stages_before(affected: t.Iterable[Restart], rules: t.Mapping[str, t.Any]) -> list[list[str]]:
    """The components that would lose work if the affected workloads restarted, stage by stage."""
    highest = max((rules["stops"].get(restart.component, 0) for restart in affected), default=0)
    found: dict[int, list[str]] = {}
    for name, stage in rules["stages"].items():
        if stage <= highest:
            found.setdefault(stage, []).append(name)
    return [found[stage] for stage in sorted(found)]


def _try_out(
    cluster: Cluster, task: Task, affected: t.Sequence[Restart], dependents: t.Iterable[Object]
) -> None:
    """Try the changed pods, and those that later phases will change."""
    trials = task.parameters["restarts"]["trials"]
    followers = [
        follow(affected, live, component(live), trials.get(component(live), {})) for live in dependents
    ]
    try_out(cluster, task.parameters["namespace"], [*affected, *followers], task.progress)


def _stop(cluster: Cluster, task: Task, selectors: t.Sequence[str], stopped: t.Sequence[Object]) -> None:
    """Stop stage by stage; if that fails, start again what it has stopped, as nothing below has changed."""
    namespace = task.parameters["namespace"]
    try:
        for selector in selectors:
            stop(cluster, namespace, selector, task.progress)
    except CollectionError as error:
        try:
            start(cluster, namespace, reversed(stopped), task.progress)
        except CollectionError:
            error.message = f"{error.message} {advice(stopped)}".rstrip()
        else:
            error.message += " What had been stopped was started again."
        raise


def _carry_out(
    cluster: Cluster,
    definitions: t.Sequence[Object],
    predicted: t.Sequence[apply.Change],
    stopped: t.Sequence[Object],
) -> list[apply.Change]:
    """Reconcile the objects for which a change is predicted."""
    pending = [
        definition
        for definition, change in zip(definitions, predicted, strict=True)
        if change.outcome != "unchanged"
    ]
    try:
        made = iter(apply.reconcile_all(cluster, pending, check_mode=False, hint=hint))
    except CollectionError as error:
        error.message = f"{error.message} {advice(stopped)}".rstrip()
        raise
    return [change if change.outcome == "unchanged" else next(made) for change in predicted]


def _as_if_stopped(change: apply.Change, stopped: t.Collection[str]) -> apply.Change:
    """What becomes of an object if an earlier task has stopped it, which check mode only predicts."""
    live = change.after
    if change.outcome != "unchanged" or live is None or live["metadata"]["name"] not in stopped:
        return change
    if live["kind"] not in KINDS_WITH_REPLICAS:
        return change
    return apply.Change("updated", {**live, "spec": {**live["spec"], "replicas": 0}}, live)


def _restart(before: Object, after: Object, rules: t.Mapping[str, t.Any]) -> Restart:
    name = component(before)
    return Restart(before, after, name, rules["trials"].get(name, {}))
