# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rights that the collection needs in a namespace, each with its reason, and which of them are missing.

One review of the user's rules answers for nearly all rights at once. What it does not show is asked one by
one, since an authorizer need not be able to list its rules.
This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    PARALLEL,
    Cluster,
    Object,
)

Rules = t.Sequence[t.Mapping[str, t.Any]]


class Right(t.NamedTuple):
    """One verb on one resource.

    Attributes:
        namespace: where the right is needed, empty for the whole cluster.
        name: of the one object that it is needed for, empty for any.
    """

    verb: str
    group: str
    resource: str
    why: str
    namespace: str = ""
    name: str = ""

    @property
    def where(self) -> str:
        """The scope, for a message."""
        return f"namespace {self.namespace}" if self.namespace else "the whole cluster"

    def as_result(self) -> dict[str, str]:
        """The right as a module returns it."""
        return {
            "verb": self.verb,
            "group": self.group,
            "resource": self.resource,
            "namespace": self.namespace,
            "name": self.name,
            "why": self.why,
        }


class Need(t.NamedTuple):
    """A row of the table: verbs on a resource, and what for."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    why: str


# Server-side apply of an object that is not there needs create beside patch.
APPLY = ("get", "create", "patch")

NEEDS: tuple[Need, ...] = (
    Need("", "secrets", APPLY, "credentials and identities are kept in Secrets"),
    Need("", "configmaps", APPLY, "the experiment's id, config and seed commit are kept in ConfigMaps"),
    Need("", "services", APPLY, "each server has a Service"),
    Need("", "persistentvolumeclaims", APPLY, "the blobs of the task store have a volume"),
    Need("apps", "deployments", (*APPLY, "list", "watch"), "the task store is a Deployment"),
    Need(
        "apps",
        "statefulsets",
        (*APPLY, "list", "watch", "delete"),
        "Postgres, Forgejo and the workers are StatefulSets",
    ),
    Need("batch", "jobs", (*APPLY, "list", "watch", "delete"), "the repository is seeded by a Job"),
    Need("", "pods", ("list", "watch"), "waiting for a workload looks at its pods"),
    Need("", "pods/log", ("get",), "the seed commit and the cause of a crash are read from logs"),
    Need("", "events", ("list", "watch"), "events tell why a workload does not start"),
)

OWN_CREDENTIALS = Need("", "secrets", ("update",), "a key that the credentials lack is added")
PORT_FORWARD = Need(
    "",
    "pods/portforward",
    ("get", "create"),
    "the task store is reached by a port-forward; eden_task_store_url avoids it",
)
# Of a kind that inputs turn on and off, what is defined no more is looked for and deleted.
PRUNED = (*APPLY, "list", "delete")
NETWORK_POLICIES = Need(
    "networking.k8s.io",
    "networkpolicies",
    PRUNED,
    "pods may connect only where they need to; eden_network_policies false avoids it",
)
DISRUPTION_BUDGETS = Need(
    "policy",
    "poddisruptionbudgets",
    PRUNED,
    "evictions take one pod of a service at a time; eden_disruption_budgets false avoids it",
)
INGRESS = Need(
    "networking.k8s.io",
    "ingresses",
    PRUNED,
    "the web UI is reached through an Ingress; an empty eden_ingress avoids it",
)
NAMESPACE_WHY = (
    "the namespace is created and labelled; with eden_manage_namespace false it must exist instead"
)


def needed(
    namespace: str,
    *,
    manage_namespace: bool,
    namespace_exists: bool,
    own_credentials: bool = True,
    port_forward: bool = True,
    network_policies: bool = True,
    disruption_budgets: bool = True,
    ingress: bool = True,
    credentials_secret: str = "",
    identity_secrets: t.Sequence[str] = (),
) -> list[Right]:
    """The rights that a run needs.

    Args:
        own_credentials: the credentials are made by the collection, and not a Secret of the user's.
        port_forward: the task store is not reached by a URL.
        network_policies: the pods' connections are restricted.
        disruption_budgets: evictions of the pods are restricted.
        ingress: the web UI has an Ingress.
        credentials_secret: name of the Secret with the credentials, empty where it is not known.
        identity_secrets: names of the Secrets with the identities, none where they are not known.
    """
    needs = [*NEEDS]
    if own_credentials:
        needs.append(OWN_CREDENTIALS)
    if port_forward:
        needs.append(PORT_FORWARD)
    if network_policies:
        needs.append(NETWORK_POLICIES)
    if disruption_budgets:
        needs.append(DISRUPTION_BUDGETS)
    if ingress:
        needs.append(INGRESS)
    secrets = {
        "get": [*filter(None, [credentials_secret]), *identity_secrets],
        "patch": [*identity_secrets],
        "update": [*filter(None, [credentials_secret])],
    }
    rights = [
        Right(verb, need.group, need.resource, need.why, namespace, name)
        for need in needs
        for verb in need.verbs
        # A Role may be for certain Secrets only, and then has to be for each of these.
        for name in (secrets.get(verb) if need.resource == "secrets" else None) or [""]
    ]
    if manage_namespace:
        # For one Namespace object the API server checks the rights inside that namespace, too.
        rights += [
            Right(verb, "", "namespaces", NAMESPACE_WHY, namespace, namespace) for verb in ("get", "patch")
        ]
        if not namespace_exists:
            rights.append(Right("create", "", "namespaces", NAMESPACE_WHY))
    return rights


def granted(right: Right, rules: Rules, is_ours: t.Callable[[str], bool]) -> bool:
    """Whether one of the user's rules in the namespace gives the right.

    A rule for certain names counts where one of them is ours: which ones are needed is not known here.
    """
    return any(
        _holds(rule, "verbs", right.verb)
        and _holds(rule, "apiGroups", right.group)
        and _covers(rule.get("resources") or [], right.resource)
        and _names(rule.get("resourceNames") or [], right, is_ours)
        for rule in rules
    )


def missing(
    cluster: Cluster, rights: t.Sequence[Right], rules: Rules, is_ours: t.Callable[[str], bool]
) -> list[Right]:
    """The rights that the user does not have. One that the server refuses to tell about counts as given.

    Rights on the whole cluster are always asked for: the rules of a namespace cannot show them.
    """
    doubtful = [right for right in rights if not right.namespace or not granted(right, rules, is_ours)]
    if not doubtful:
        return []
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        answers = list(pool.map(lambda right: _allowed(cluster, right), doubtful))
    return [right for right, allowed in zip(doubtful, answers, strict=False) if not allowed]


def rules_review(cluster: Cluster, namespace: str) -> Rules:
    """The user's rules in the namespace; empty where the server does not tell them.

    Raises:
        ClusterError: the server answers neither with rules nor with a refusal.
    """
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "metadata": {},
        "spec": {"namespace": namespace},
    }
    try:
        return (cluster.create(review).get("status") or {}).get("resourceRules") or []
    except ClusterError as error:
        if error.status in (403, 404):
            return []
        raise


def access_review(right: Right) -> Object:
    """The question whether the user has a right."""
    resource, _slash, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": right.namespace,
        "name": right.name,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }


def explain(rights: t.Sequence[Right]) -> str:
    """One line for the verbs on a resource: verbs, resource, scope, names, reason."""
    names: dict[tuple[str, str, str, str, str], list[str]] = {}
    for right in rights:
        found = names.setdefault((right.resource, right.group, right.where, right.why, right.verb), [])
        # Of a namespace the scope is the name.
        found += [right.name] if right.name not in ("", right.namespace) else []
    lines: dict[tuple[str, str, str, str, str], list[str]] = {}
    for (*place, verb), found in names.items():
        resource, group, where, why = place
        lines.setdefault((resource, group, where, why, ", ".join(found)), []).append(verb)
    return "\n".join(
        f"{', '.join(verbs)} {resource}{f' ({group})' if group else ''} in {where}"
        f"{f', named {named}' if named else ''}: {why}"
        for (resource, group, where, why, named), verbs in lines.items()
    )


def _allowed(cluster: Cluster, right: Right) -> bool:
    try:
        return bool((cluster.create(access_review(right)).get("status") or {}).get("allowed"))
    except ClusterError as error:
        if error.status in (403, 404):
            return True
        raise


def _holds(rule: t.Mapping[str, t.Any], key: str, value: str) -> bool:
    values = rule.get(key) or []
    return value in values or "*" in values


def _covers(resources: t.Sequence[str], resource: str) -> bool:
    _parent, slash, subresource = resource.partition("/")
    return resource in resources or "*" in resources or (bool(slash) and f"*/{subresource}" in resources)


def _names(names: t.Sequence[str], right: Right, is_ours: t.Callable[[str], bool]) -> bool:
    if not names:
        return True
    # A rule for names never grants these: the name is not part of the request.
    if right.verb in ("create", "list", "watch") and "/" not in right.resource:
        return False
    return right.name in names if right.name else any(map(is_ours, names))
