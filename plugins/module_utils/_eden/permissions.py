# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The permissions that a run needs, read from the Role that is shipped, and which of them are missing.

One review of the user's rules covers nearly all permissions. The rest are reviewed one by one, because an
authorizer need not be able to list its rules.
This module is private to the collection.
"""

from __future__ import annotations

import contextlib
import typing as t
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.eden.reference.plugins.module_utils._collection import NAME
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    PARALLEL,
    Cluster,
    Object,
)

# A missing one is reported with the Kubernetes client, which needs it too.
with contextlib.suppress(ImportError):
    import yaml

Rules = t.Sequence[t.Mapping[str, t.Any]]


class Permission(t.NamedTuple):
    """One verb on one resource.

    Attributes:
        why: the reason for which it is needed.
        namespace: the namespace in which it is needed, empty for the whole cluster.
        name: the one object for which it is needed, empty for any.
    """

    verb: str
    group: str
    resource: str
    why: str
    namespace: str = ""
    name: str = ""

    @property
    def scope(self) -> str:
        """The scope, for a message."""
        return f"namespace {self.namespace}" if self.namespace else "the whole cluster"


def needed(
    shipped: t.Sequence[Object],
    namespace: str,
    names: t.Mapping[str, t.Sequence[str]],
    inputs: t.Mapping[str, t.Any],
    *,
    namespace_exists: bool,
) -> list[Permission]:
    """The permissions that a run needs.

    Args:
        shipped: the Role and the ClusterRole that the collection ships.
        namespace: the experiment's namespace.
        names: by the last word of a ``resourceNames`` entry, the names that it stands for in this experiment.
        inputs: the inputs that decide whether a permission is needed.
    """
    return [
        permission
        for role in shipped
        if role["kind"] in ("Role", "ClusterRole")
        for permission in _of_role(role, namespace, names, inputs)
        if permission.verb != "create" or permission.resource != "namespaces" or not namespace_exists
    ]


def _of_role(
    role: Object,
    namespace: str,
    names: t.Mapping[str, t.Sequence[str]],
    inputs: t.Mapping[str, t.Any],
) -> t.Iterator[Permission]:
    why, conditions = (_annotation(role, key) for key in ("why", "if"))
    for rule in role["rules"]:
        words = dict.fromkeys(name.rpartition("-")[2] for name in rule.get("resourceNames", ()))
        found = [name for word in words for name in names[word]] if words else [""]
        # For one Namespace object the API server checks the permissions inside that namespace, too.
        scope = namespace if role["kind"] == "Role" or words else ""
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    if _holds(_of(conditions, verb, resource), inputs):
                        reason = _of(why, verb, resource)
                        yield from (Permission(verb, group, resource, reason, scope, name) for name in found)


def _annotation(role: Object, key: str) -> dict[str, str]:
    text = role["metadata"]["annotations"][f"{NAME}/{key}"]
    return {str(name): str(value) for name, value in yaml.safe_load(text).items()}


def _of(entries: t.Mapping[str, str], verb: str, resource: str) -> str:
    """The entry for the verb on the resource, or else for the resource."""
    return entries.get(f"{verb} {resource}", entries.get(resource, ""))


def _holds(condition: str, inputs: t.Mapping[str, t.Any]) -> bool:
    """Whether the condition of a permission holds; an empty one does."""
    if condition in ("", "optional"):
        return not condition
    names = [(word.removeprefix("not "), word) for word in condition.split(" or ")]
    return any(bool(inputs[name]) is (name == word) for name, word in names)


def granted(permission: Permission, rules: Rules, prefix: str) -> bool:
    """Whether one of the user's rules in the namespace grants the permission.

    A permission for any name counts as granted by a rule for certain names if one of them has the prefix of
    the experiment's objects, because the needed names are not known here.
    """
    return any(
        _lists(rule, "verbs", permission.verb)
        and _lists(rule, "apiGroups", permission.group)
        and _covers(rule.get("resources") or [], permission.resource)
        and _names(rule.get("resourceNames") or [], permission, prefix)
        for rule in rules
    )


def missing(
    cluster: Cluster, permissions: t.Sequence[Permission], rules: Rules, prefix: str
) -> list[Permission]:
    """The permissions that the user lacks. One that the server refuses to review counts as granted.

    Permissions in the whole cluster are always reviewed: the rules of a namespace cannot show them.
    """
    unclear = [item for item in permissions if not item.namespace or not granted(item, rules, prefix)]
    if not unclear:
        return []
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        answers = list(pool.map(lambda item: _is_allowed(cluster, item), unclear))
    return [item for item, allowed in zip(unclear, answers, strict=True) if not allowed]


def rules_review(cluster: Cluster, namespace: str) -> Rules:
    """The user's rules in the namespace; empty if the server does not list them.

    Raises:
        ClusterError: the server returns neither rules nor a refusal.
    """
    review = _review("SelfSubjectRulesReview", {"namespace": namespace})
    try:
        return (cluster.create(review).get("status") or {}).get("resourceRules") or []
    except ClusterError as error:
        if error.status in (403, 404):
            return []
        raise


def access_review(permission: Permission) -> Object:
    """The question whether the user has a permission."""
    resource, _slash, subresource = permission.resource.partition("/")
    attributes = {
        "verb": permission.verb,
        "group": permission.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": permission.namespace,
        "name": permission.name,
    }
    given = {key: value for key, value in attributes.items() if value}
    return _review("SelfSubjectAccessReview", {"resourceAttributes": given})


def explain(permissions: t.Sequence[Permission]) -> str:
    """One line for the verbs on a resource: verbs, resource, scope, names, reason."""
    names: dict[tuple[str, ...], list[str]] = {}
    for item in permissions:
        found = names.setdefault((item.resource, item.group, item.scope, item.why, item.verb), [])
        # For a namespace, the scope already has the name.
        found += [item.name] if item.name not in ("", item.namespace) else []
    lines: dict[tuple[str, ...], list[str]] = {}
    for (*place, verb), found in names.items():
        lines.setdefault((*place, ", ".join(found)), []).append(verb)
    return "\n".join(
        f"{', '.join(verbs)} {resource}{f' ({group})' if group else ''} in {scope}"
        f"{f', named {named}' if named else ''}: {why}"
        for (resource, group, scope, why, named), verbs in lines.items()
    )


def _review(kind: str, spec: Object) -> Object:
    return {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": {}, "spec": spec}


def _is_allowed(cluster: Cluster, permission: Permission) -> bool:
    try:
        return bool((cluster.create(access_review(permission)).get("status") or {}).get("allowed"))
    except ClusterError as error:
        if error.status in (403, 404):
            return True
        raise


def _lists(rule: t.Mapping[str, t.Any], key: str, value: str) -> bool:
    values = rule.get(key) or []
    return value in values or "*" in values


def _covers(resources: t.Sequence[str], resource: str) -> bool:
    _parent, slash, subresource = resource.partition("/")
    return resource in resources or "*" in resources or (bool(slash) and f"*/{subresource}" in resources)


def _names(names: t.Sequence[str], permission: Permission, prefix: str) -> bool:
    if not names:
        return True
    # A rule for names never grants these: the name is not part of the request.
    if permission.verb in ("create", "list", "watch") and "/" not in permission.resource:
        return False
    return permission.name in names if permission.name else any(name.startswith(prefix) for name in names)
