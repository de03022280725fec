# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import re
import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import permissions
from ansible_collections.eden.reference.plugins.module_utils._eden.permissions import Right
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import KINDS

ROLES = pathlib.Path(__file__).parents[5] / "roles"


def right(verb: str, resource: str, group: str = "", namespace: str = "lab", name: str = "") -> Right:
    return Right(verb, group, resource, "a reason", namespace, name)


def rule(verbs: str, groups: str, resources: str, names: str = "") -> dict[str, list[str]]:
    return {
        "verbs": verbs.split(),
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "resourceNames": names.split(),
    }


def is_ours(name: str) -> bool:
    return name.startswith("eden-")


class Reviewer:
    """A cluster that answers access reviews from a set of rights, or refuses to answer."""

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
        (right("get", "secrets"), rule("get list", "core", "configmaps secrets"), True),
        (right("get", "secrets"), rule("*", "*", "*"), True),
        (right("get", "secrets"), rule("list", "core", "secrets"), False),
        (right("get", "secrets"), rule("get", "apps", "secrets"), False),
        (right("get", "secrets"), rule("get", "core", "secret"), False),
        (right("get", "pods/log"), rule("get", "core", "pods"), False),
        (right("get", "pods/log"), rule("get", "core", "pods/log"), True),
        (right("get", "pods/log"), rule("get", "core", "pods/*"), False),
        (right("get", "pods/log"), rule("get", "core", "*/log"), True),
        (right("get", "pods/log"), rule("get", "core", "*"), True),
        (right("get", "secrets"), rule("get", "core", "secrets", "eden-credentials"), True),
        (right("get", "secrets"), rule("get", "core", "secrets", "other"), False),
        (right("create", "secrets"), rule("create", "core", "secrets", "eden-credentials"), False),
        (right("list", "pods"), rule("list", "core", "pods", "eden-0"), False),
        (right("create", "pods/portforward"), rule("create", "core", "pods/portforward", "eden-0"), True),
        (right("get", "namespaces", name="lab"), rule("get", "core", "namespaces", "lab"), True),
        (right("get", "namespaces", name="lab"), rule("get", "core", "namespaces", "eden-lab"), False),
        (right("get", "secrets"), {}, False),
        (right("get", "secrets"), {"verbs": None, "apiGroups": None, "resources": None}, False),
    ],
)
def test_rules_give_rights_as_the_api_server_reads_them(
    wanted: Right, given: dict[str, t.Any], expected: bool
) -> None:
    assert permissions.granted(wanted, [given], is_ours) is expected


def test_a_right_may_come_from_any_rule() -> None:
    rules = [rule("get", "core", "pods"), rule("get", "core", "secrets")]
    assert permissions.granted(right("get", "secrets"), rules, is_ours)


def test_only_what_the_rules_do_not_show_is_asked() -> None:
    cluster = Reviewer(allowed={("watch", "pods")})
    wanted = [
        right("get", "secrets"),
        right("watch", "pods"),
        right("get", "pods/log"),
        right("patch", "jobs", "batch"),
    ]
    absent = permissions.missing(cluster, wanted, [rule("get", "core", "secrets")], is_ours)
    assert absent == [wanted[2], wanted[3]]
    assert sorted(cluster.asked, key=str) == [
        {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "lab"},
        {"verb": "patch", "group": "batch", "resource": "jobs", "namespace": "lab"},
        {"verb": "watch", "resource": "pods", "namespace": "lab"},
    ]


def test_rights_on_the_whole_cluster_are_asked_even_where_a_rule_of_the_namespace_seems_to_give_them() -> (
    None
):
    cluster = Reviewer()
    wanted = right("create", "namespaces", namespace="")
    assert permissions.missing(cluster, [wanted], [rule("*", "*", "*")], is_ours) == [wanted]
    assert cluster.asked == [{"verb": "create", "resource": "namespaces"}]


def test_nothing_is_asked_where_the_rules_show_all() -> None:
    cluster = Reviewer(status=500)
    assert permissions.missing(cluster, [right("get", "secrets")], [rule("*", "*", "*")], is_ours) == []


@pytest.mark.parametrize("status", [403, 404])
def test_a_right_that_the_server_does_not_tell_about_counts_as_given(status: int) -> None:
    assert permissions.missing(Reviewer(status=status), [right("get", "secrets")], [], is_ours) == []


def test_a_review_that_fails_is_an_error() -> None:
    with pytest.raises(ClusterError, match="500"):
        permissions.missing(Reviewer(status=500), [right("get", "secrets")], [], is_ours)


def verbs(resource: str, **options: bool) -> set[tuple[str, str, str]]:
    settings = {"manage_namespace": True, "namespace_exists": True, **options}
    return {
        (item.verb, item.namespace, item.name)
        for item in permissions.needed("lab", **settings)
        if item.resource == resource
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {("get", "lab", "lab"), ("patch", "lab", "lab")}),
        ({"namespace_exists": False}, {("get", "lab", "lab"), ("patch", "lab", "lab"), ("create", "", "")}),
        ({"manage_namespace": False}, set()),
    ],
)
def test_rights_on_namespaces_are_needed_as_far_as_the_namespace_is_managed(
    options: dict[str, bool], expected: set[tuple[str, str, str]]
) -> None:
    assert verbs("namespaces", **options) == expected


def test_the_port_forward_is_needed_without_a_url_only() -> None:
    assert verbs("pods/portforward") == {("get", "lab", ""), ("create", "lab", "")}
    assert verbs("pods/portforward", port_forward=False) == set()


def test_secrets_are_changed_where_the_credentials_are_our_own() -> None:
    assert ("update", "lab", "") in verbs("secrets")
    assert ("update", "lab", "") not in verbs("secrets", own_credentials=False)


@pytest.mark.parametrize(
    ("resource", "option"),
    [
        ("networkpolicies", "network_policies"),
        ("poddisruptionbudgets", "disruption_budgets"),
        ("ingresses", "ingress"),
    ],
)
def test_kinds_that_inputs_turn_off_need_no_rights(resource: str, option: str) -> None:
    assert verbs(resource) == {(verb, "lab", "") for verb in permissions.PRUNED}
    assert verbs(resource, **{option: False}) == set()


def test_the_table_covers_the_kinds_of_the_templates_and_no_others() -> None:
    templates = "".join(path.read_text() for path in sorted(ROLES.glob("*/templates/**/*.j2")))
    # A claim in a StatefulSet is made by its controller, and a Secret is written by modules.
    kinds = {KINDS[kind] for kind in re.findall(r"^kind: (\w+)$", templates, re.MULTILINE)} | {
        KINDS["Secret"]
    }
    applied = {(kind.group, kind.plural) for kind in kinds if kind.namespaced}
    assert applied == {
        (need.group, need.resource)
        for need in (
            *permissions.NEEDS,
            permissions.NETWORK_POLICIES,
            permissions.DISRUPTION_BUDGETS,
            permissions.INGRESS,
        )
        if set(permissions.APPLY) <= set(need.verbs)
    }


def test_secrets_are_needed_by_their_names_where_these_are_known() -> None:
    known: dict[str, t.Any] = {
        "credentials_secret": "eden-credentials",
        "identity_secrets": ["eden-a", "eden-b"],
    }
    everywhere = permissions.needed("lab", manage_namespace=False, namespace_exists=True, **known)
    assert [(item.verb, item.name) for item in everywhere if item.resource == "secrets"] == [
        ("get", "eden-credentials"),
        ("get", "eden-a"),
        ("get", "eden-b"),
        ("create", ""),
        ("patch", "eden-a"),
        ("patch", "eden-b"),
        ("update", "eden-credentials"),
    ]
    assert all(not item.name for item in everywhere if item.resource != "secrets")


def test_a_rule_for_names_must_name_each_secret_that_is_needed() -> None:
    cluster = Reviewer()
    wanted = [right("get", "secrets", name=name) for name in ("eden-a", "eden-b")]
    named = rule("get", "core", "secrets", "eden-a")
    assert permissions.missing(cluster, wanted, [named], is_ours) == [wanted[1]]
    assert cluster.asked == [{"verb": "get", "resource": "secrets", "namespace": "lab", "name": "eden-b"}]


def test_every_need_has_a_reason_and_stands_once() -> None:
    needed = permissions.needed("lab", manage_namespace=True, namespace_exists=False)
    assert all(item.why and item.verb and item.resource for item in needed)
    keys = [(item.verb, item.group, item.resource) for item in needed]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    "resource", ["roles", "rolebindings", "clusterroles", "pods/exec", "serviceaccounts/token"]
)
def test_what_the_collection_never_needs(resource: str) -> None:
    assert verbs(resource) == set()


def test_the_explanation_names_verbs_resource_scope_and_reason() -> None:
    missing = [
        right("create", "secrets"),
        right("update", "secrets"),
        right("get", "jobs", "batch"),
        right("create", "namespaces", namespace=""),
        right("get", "namespaces", name="lab"),
        *(right(verb, "secrets", name=name) for verb in ("get", "patch") for name in ("eden-a", "eden-b")),
    ]
    assert permissions.explain(missing).splitlines() == [
        "create, update secrets in namespace lab: a reason",
        "get jobs (batch) in namespace lab: a reason",
        "create namespaces in the whole cluster: a reason",
        "get namespaces in namespace lab: a reason",
        "get, patch secrets in namespace lab, named eden-a, eden-b: a reason",
    ]
