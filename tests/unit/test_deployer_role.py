# SPDX-License-Identifier: GPL-3.0-or-later
"""The Role that is shipped, which the check before the first write reads."""

from __future__ import annotations

import re
import typing as t

import pytest
import yaml
from environments import CHECKOUT
from preflight_options import INPUTS

from ansible_collections.eden.reference.plugins.module_utils._eden import permissions
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import KINDS

ROLE = yaml.safe_load((CHECKOUT / "roles/eden/files/deployer-role.yaml").read_text())["items"]
OBJECTS = {item["kind"]: item for item in ROLE}
DEFAULTS = yaml.safe_load((CHECKOUT / "roles/eden/defaults/main.yml").read_text())
IDENTITIES = [
    f"eden-{worker}-identity"
    for worker in (
        "evaluator-host-1",
        "executor-host-1",
        "ideator-host-1",
        "operator",
        "orchestrator",
        "web-ui-1",
    )
]
NAMES = {"eden": ["eden"], "credentials": ["eden-credentials"], "identity": IDENTITIES}
# Verb, group, resource, and a name or nothing.
Grant = tuple[str, str, str, str]


def needed(namespace_exists: bool = False, **inputs: t.Any) -> list[permissions.Permission]:
    return permissions.needed(ROLE, "lab", NAMES, {**INPUTS, **inputs}, namespace_exists=namespace_exists)


def grants(*kinds: str) -> set[Grant]:
    """What the rules of the Role or ClusterRole grant, one by one."""
    return {
        (verb, group, resource, name)
        for kind in kinds
        for rule in OBJECTS[kind]["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
    }


def test_every_permission_is_needed_with_some_inputs_and_has_a_reason() -> None:
    found = {
        (item.verb, item.group, item.resource, item.name): item for item in needed(eden_seed_dir="start")
    }
    without = grants("Role", "ClusterRole") - set(found)
    # What only teardown needs, which finds that out by dry runs.
    deletions = {grant for grant in without if grant[0] == "delete"}
    assert without - deletions == {
        ("list", "storage.k8s.io", "storageclasses", ""),
        ("get", "", "persistentvolumes", ""),
        ("list", "", "nodes", ""),
    }
    assert {grant[2] for grant in deletions} == {
        "deployments",
        "leases",
        "persistentvolumeclaims",
        "secrets",
        "services",
    }
    assert all(item.why for item in found.values())
    assert {item.namespace for item in found.values()} == {"lab", ""}
    assert [item[:3] for item in found.values() if not item.namespace] == [("create", "", "namespaces")]


def test_the_role_covers_the_kinds_of_the_templates_and_no_others() -> None:
    templates = "".join(path.read_text() for path in sorted(CHECKOUT.glob("roles/*/templates/**/*.j2")))
    catalogue = (CHECKOUT / "roles/eden/vars/main/components.yml").read_text()
    # Modules write Secrets; the controller of a StatefulSet makes its claims.
    names = re.findall(r"^ *kind: (\w+)$", templates + catalogue, re.MULTILINE)
    kinds = {KINDS[kind] for kind in names if kind in KINDS}
    applied = {(kind.group, kind.plural) for kind in kinds | {KINDS["Secret"]} if kind.namespaced}
    verbs: dict[tuple[str, str], set[str]] = {}
    for verb, group, resource, _name in grants("Role"):
        verbs.setdefault((group, resource), set()).add(verb)
    assert applied == {key for key, found in verbs.items() if {"get", "create", "patch"} <= found}


@pytest.mark.parametrize(
    ("inputs", "saved"),
    [
        ({"eden_existing_secret": "mine"}, {"secrets"}),
        ({"eden_task_store_url": "https://eden"}, {"pods/portforward"}),
        ({"eden_network_policies": False}, {"networkpolicies"}),
        ({"eden_disruption_budgets": False}, {"poddisruptionbudgets"}),
        ({"eden_ingress": {}}, {"ingresses"}),
        ({"eden_manage_namespace": False}, {"namespaces"}),
        ({"namespace_exists": True}, {"namespaces"}),
    ],
)
def test_an_input_saves_permissions(inputs: dict[str, t.Any], saved: set[str]) -> None:
    absent = set(needed()) - set(needed(**inputs))
    assert {item.resource for item in absent} == saved
    if saved == {"secrets"}:
        assert {item.verb for item in absent} == {"update"}
    if "namespace_exists" in inputs:
        assert {item.verb for item in absent} == {"create"}


def test_the_names_of_the_experiment_stand_for_those_of_the_file() -> None:
    names = {"eden": ["lab"], "credentials": ["mine"], "identity": ["a", "b"]}
    found = permissions.needed(ROLE, "lab", names, INPUTS, namespace_exists=True)
    assert {(item.verb, item.resource, item.name) for item in found if item.name} == {
        ("get", "namespaces", "lab"),
        ("patch", "namespaces", "lab"),
        *((verb, "secrets", "mine") for verb in ("get", "update")),
        *((verb, "secrets", name) for verb in ("get", "patch") for name in ("a", "b")),
    }


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_every_condition_is_an_input(kind: str) -> None:
    conditions = yaml.safe_load(OBJECTS[kind]["metadata"]["annotations"]["eden.reference/if"]).values()
    assert {words.split()[-1] for words in conditions} <= {*DEFAULTS, "optional"}


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_the_bindings_give_the_user_these_roles(kind: str) -> None:
    binding, role = OBJECTS[f"{kind}Binding"], OBJECTS[kind]
    group = "rbac.authorization.k8s.io"
    assert binding["roleRef"] == {"apiGroup": group, "kind": kind, "name": role["metadata"]["name"]}
    assert binding["metadata"].get("namespace") == role["metadata"].get("namespace")
    assert [subject["name"] for subject in binding["subjects"]] == ["deployer"]


def test_everything_is_in_one_namespace_that_is_handed_over() -> None:
    metadata = OBJECTS["Namespace"]["metadata"]
    assert metadata["labels"] == {"app.kubernetes.io/managed-by": "eden.reference"}
    assert {OBJECTS[kind]["metadata"]["namespace"] for kind in ("Role", "RoleBinding")} == {metadata["name"]}
