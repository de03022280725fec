# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Applies the objects of an experiment; if the API server refuses one, names the input that sets it.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._kube import apply
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import Category, Refusal
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS = apply.ARGUMENTS

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
    """Apply ``definitions``, then prune."""
    return apply.run(task, hint)
