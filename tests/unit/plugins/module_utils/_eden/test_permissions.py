# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import permissions
from ansible_collections.eden.reference.plugins.module_utils._eden.permissions import Permission
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError


def permission(
    verb: str, resource: str, group: str = "", namespace: str = "lab", name: str = ""
) -> Permission:
    return Permission(verb, group, resource, "a reason", namespace, name)


def rule(verbs: str, groups: str, resources: str, names: str = "") -> dict[str, list[str]]:
    return {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "resourceNames": names.split(),
    }


class Reviewer:
    """A cluster that answers access reviews from a set of permissions, or refuses to answer."""

    def __init__(self, allowed: t.Collection[tuple[str, str]] = (), status: int = 0) -> None:
        self.allowed = allowed
        self.status = status
        self.asked: list[dict[str, str]] = []

    def create(self, definition: dict[str, t.Any]) -> dict[str, t.Any]:
        if self.status:
            raise ClusterError("create", definition["kind"], self.status, "Forbidden")
        attributes = definition["spec"]["resourceAttributes"]
        self.asked.append(attributes)
        return {"status": {"allowed": (attributes["verb"], attributes["resource"]) in self.allowed}}


@pytest.mark.parametrize(
    ("wanted", "given", "expected"),
    [
        (permission("get", "secrets"), rule("get list", "core", "configmaps secrets"), True),
        (permission("get", "secrets"), rule("*", "*", "*"), True),
        (permission("get", "secrets"), rule("list", "core", "secrets"), False),
        (permission("get", "secrets"), rule("get", "apps", "secrets"), False),
        (permission("get", "secrets"), rule("get", "core", "secret"), False),
        (permission("get", "pods/log"), rule("get", "core", "pods"), False),
        (permission("get", "pods/log"), rule("get", "core", "pods/log"), True),
        (permission("get", "pods/log"), rule("get", "core", "pods/*"), False),
        (permission("get", "pods/log"), rule("get", "core", "*/log"), True),
        (permission("get", "pods/log"), rule("get", "core", "*"), True),
        (permission("get", "secrets"), rule("get", "core", "secrets", "eden-credentials"), True),
        (permission("get", "secrets"), rule("get", "core", "secrets", "other"), False),
        (permission("create", "secrets"), rule("create", "core", "secrets", "eden-credentials"), False),
        (permission("list", "pods"), rule("list", "core", "pods", "eden-0"), False),
        (
            permission("create", "pods/portforward"),
            rule("create", "core", "pods/portforward", "eden-0"),
            True,
        ),
        (permission("get", "namespaces", name="lab"), rule("get", "core", "namespaces", "lab"), True),
        (permission("get", "namespaces", name="lab"), rule("get", "core", "namespaces", "eden-lab"), False),
        (permission("get", "secrets"), {}, False),
        (permission("get", "secrets"), {"verbs": None, "apiGroups": None, "resources": None}, False),
    ],
)
def test_rules_grant_permissions_as_the_api_server_reads_them(
    wanted: Permission, given: dict[str, t.Any], expected: bool
) -> None:
    assert permissions.granted(wanted, [given], "eden-") is expected


def test_a_permission_may_come_from_any_rule() -> None:
    rules = [rule("get", "core", "pods"), rule("get", "core", "secrets")]
    assert permissions.granted(permission("get", "secrets"), rules, "eden-")


def test_only_what_the_rules_do_not_show_is_reviewed() -> None:
    cluster = Reviewer(allowed={("watch", "pods")})
    wanted = [
        permission("get", "secrets"),
        permission("watch", "pods"),
        permission("get", "pods/log"),
        permission("patch", "jobs", "batch"),
    ]
    absent = permissions.missing(cluster, wanted, [rule("get", "core", "secrets")], "eden-")
    assert absent == [wanted[2], wanted[3]]
    assert sorted(cluster.asked, key=str) == [
        {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "lab"},
        {"verb": "patch", "group": "batch", "resource": "jobs", "namespace": "lab"},
        {"verb": "watch", "resource": "pods", "namespace": "lab"},
    ]


def test_permissions_in_the_whole_cluster_are_reviewed_whatever_the_rules_of_the_namespace() -> None:
    cluster = Reviewer()
    wanted = permission("create", "namespaces", namespace="")
    assert permissions.missing(cluster, [wanted], [rule("*", "*", "*")], "eden-") == [wanted]
    assert cluster.asked == [{"verb": "create", "resource": "namespaces"}]


def test_nothing_is_reviewed_if_the_rules_show_all() -> None:
    cluster = Reviewer(status=500)
    assert permissions.missing(cluster, [permission("get", "secrets")], [rule("*", "*", "*")], "eden-") == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_permission_that_the_server_does_not_review_counts_as_granted(status: int) -> None:
    assert permissions.missing(Reviewer(status=status), [permission("get", "secrets")], [], "eden-") == []


def test_a_review_that_fails_is_an_error() -> None:
    with pytest.raises(ClusterError, match="500"):
        permissions.missing(Reviewer(status=500), [permission("get", "secrets")], [], "eden-")


def test_a_rule_for_names_must_name_each_secret_that_is_needed() -> None:
    cluster = Reviewer()
    wanted = [permission("get", "secrets", name=name) for name in ("eden-a", "eden-b")]
    named = rule("get", "core", "secrets", "eden-a")
    assert permissions.missing(cluster, wanted, [named], "eden-") == [wanted[1]]
    assert cluster.asked == [{"verb": "get", "resource": "secrets", "namespace": "lab", "name": "eden-b"}]


def test_the_explanation_names_verbs_resource_scope_and_reason() -> None:
    missing = [
        permission("create", "secrets"),
        permission("update", "secrets"),
        permission("get", "jobs", "batch"),
        permission("create", "namespaces", namespace=""),
        permission("get", "namespaces", name="lab"),
        *(
            permission(verb, "secrets", name=name)
            for verb in ("get", "patch")
            for name in ("eden-a", "eden-b")
        ),
    ]
    assert permissions.explain(missing).splitlines() == [
        "create, update secrets in namespace lab: a reason",
        "get jobs (batch) in namespace lab: a reason",
        "create namespaces in the whole cluster: a reason",
        "get namespaces in namespace lab: a reason",
        "get, patch secrets in namespace lab, named eden-a, eden-b: a reason",
    ]
