# SPDX-License-Identifier: GPL-3.0-or-later
"""The Role that is shipped grants what the check before the first write asks for, and no more."""

from __future__ import annotations

import re

import pytest
import yaml
from environments import CHECKOUT

from ansible_collections.eden.reference.plugins.filter.topology import topology
from ansible_collections.eden.reference.plugins.module_utils._eden import permissions

PATH = CHECKOUT / "docs/deployer-role.yaml"
TEXT = PATH.read_text()
OBJECTS = {item["kind"]: item for item in yaml.safe_load(TEXT)["items"]}
DEFAULTS = yaml.safe_load((CHECKOUT / "roles/eden/defaults/main.yml").read_text())
COMPONENTS = yaml.safe_load((CHECKOUT / "roles/eden/vars/main/components.yml").read_text())[
    "__eden_components"
]

# Verb, group, resource, and a name or nothing.
Grant = tuple[str, str, str, str]


def grants(kind: str) -> list[Grant]:
    """What the rules of the Role or ClusterRole grant, one by one."""
    return [
        (verb, group, resource, name)
        for rule in OBJECTS[kind]["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
    ]


def needs(**options: bool) -> set[Grant]:
    """What a run with the default inputs asks for, in a namespace and under a name of ``eden``."""
    workers = topology(COMPONENTS, "eden")["workers"]
    found = permissions.needed(
        "eden",
        **{"manage_namespace": False, "namespace_exists": False, **options},
        credentials_secret="eden-credentials",
        identity_secrets=[worker["secret"] for worker in workers],
    )
    return {(item.verb, item.group, item.resource, item.name) for item in found}


def test_the_role_grants_what_is_needed_and_no_more() -> None:
    assert sorted(grants("Role")) == sorted(needs())


def test_the_cluster_role_is_for_the_namespace_and_the_storage_class() -> None:
    looked_at = ("list", "storage.k8s.io", "storageclasses", "")
    assert sorted(grants("ClusterRole")) == sorted(needs(manage_namespace=True) - needs() | {looked_at})


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_the_bindings_give_the_user_these_roles(kind: str) -> None:
    binding, role = OBJECTS[f"{kind}Binding"], OBJECTS[kind]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": kind,
        "name": role["metadata"]["name"],
    }
    assert binding["metadata"].get("namespace") == role["metadata"].get("namespace")
    assert [subject["name"] for subject in binding["subjects"]] == ["deployer"]


OPTIONS = {
    "port_forward": "eden_task_store_url",
    "network_policies": "eden_network_policies",
    "disruption_budgets": "eden_disruption_budgets",
    "ingress": "eden_ingress",
    "own_credentials": "eden_existing_secret",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_rule_that_an_input_avoids_says_so(option: str) -> None:
    avoided = needs() - needs(**{option: False})
    assert avoided
    assert OPTIONS[option] in DEFAULTS
    assert {_comment(resource) for _verb, _group, resource, _name in avoided if resource != "secrets"} <= {
        f"Not with {OPTIONS[option]}.",
        f"Not with {OPTIONS[option]}: false.",
        f"Not with an empty {OPTIONS[option]}, which is the default.",
    }
    assert OPTIONS[option] in TEXT


def _comment(resource: str) -> str:
    """The line above the one rule for the resource."""
    found = re.search(rf"# (.*)\n +- apiGroups: .*\n +resources: \[{re.escape(resource)}\]\n", TEXT)
    return found[1] if found else ""


def test_everything_is_in_one_namespace() -> None:
    namespace = OBJECTS["Namespace"]["metadata"]["name"]
    named = [
        part["metadata"].get("namespace") for kind, part in OBJECTS.items() if kind in ("Role", "RoleBinding")
    ]
    assert named == [namespace, namespace]
    (names,) = {
        name for _verb, _group, resource, name in grants("ClusterRole") if resource == "namespaces" and name
    }
    assert names == namespace
