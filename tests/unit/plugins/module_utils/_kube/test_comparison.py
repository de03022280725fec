# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparisons of what is there with what is desired."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._kube import comparison


@pytest.mark.parametrize(
    ("live", "desired", "held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": {}}, True),
        ({}, {"a": []}, True),
        ({}, {"a": {"b": 1}}, False),
        ({"a": None}, {"a": {}}, True),
        ({"l": [{"n": "x", "default": 1}]}, {"l": [{"n": "x"}]}, True),
        ({"l": [{"n": "x"}, {"n": "y"}]}, {"l": [{"n": "x"}]}, False),
        ({"l": [{"n": "y"}]}, {"l": [{"n": "x"}]}, False),
        ({"a": 1}, {"a": 1, "b": None}, True),
        ({"a": "1"}, {"a": 1}, False),
    ],
)
def test_contains(live: t.Any, desired: t.Any, held: bool) -> None:
    assert comparison.contains(live, desired) is held


def owned(
    fields: dict[str, t.Any], manager: str = "kubectl-edit", operation: str = "Update"
) -> dict[str, t.Any]:
    return {"metadata": {"managedFields": [{"manager": manager, "operation": operation, "fieldsV1": fields}]}}


PORT = {"name": "http", "port": 80, "targetPort": "http"}
OTHER = {**PORT, "port": 81, "protocol": "TCP"}
KEY = 'k:{"port":81,"protocol":"TCP"}'
OURS = ("eden.reference", "Apply")


@pytest.mark.parametrize(
    ("held", "owner", "patch"),
    [
        ([OTHER], ("kubectl-edit", "Update"), [{"$patch": "delete", "port": 81}, PORT]),
        # Left by a patch of ours, whose fields server-side apply does not give up.
        ([OTHER], ("eden.reference", "Update"), [{"$patch": "delete", "port": 81}, PORT]),
        ([OTHER], OURS, None),
        ([PORT, OTHER], ("kubectl-edit", "Update"), None),
        ([{**OTHER, "name": "more"}], ("kubectl-edit", "Update"), None),
        ([], ("kubectl-edit", "Update"), None),
        ([{**PORT, "targetPort": "other"}], ("kubectl-edit", "Update"), None),
    ],
    ids=["renamed", "patched", "of-an-earlier-definition", "beside", "of-another", "removed", "other-field"],
)
def test_an_entry_gets_its_key_back(
    held: list[dict[str, t.Any]], owner: tuple[str, str], patch: list[dict[str, t.Any]] | None
) -> None:
    live = {"spec": {"ports": held}, **owned({"f:spec": {"f:ports": {KEY: {".": {}}}}}, *owner)}
    expected = {"spec": {"ports": patch}} if patch else {}
    assert comparison.preparing_patch(live, {"spec": {"ports": [PORT], "selector": {"a": "b"}}}) == expected


def test_an_entry_within_an_entry_gets_its_key_back() -> None:
    desired = [{"name": "main", "volumeMounts": [{"name": "x", "mountPath": "/x"}], "env": []}]
    held = [{"name": "main", "volumeMounts": [{"name": "x", "mountPath": "/y"}]}]
    fields = {'k:{"name":"main"}': {"f:volumeMounts": {'k:{"mountPath":"/y"}': {}}}}
    live = {"spec": {"containers": held}, **owned({"f:spec": {"f:containers": fields}})}
    mounts = [{"$patch": "delete", "mountPath": "/y"}, {"name": "x", "mountPath": "/x"}]
    assert comparison.preparing_patch(live, {"spec": {"containers": desired}}) == {
        "spec": {"containers": [{"name": "main", "volumeMounts": mounts}]}
    }


def test_a_value_that_is_wanted_to_be_null_goes_with_its_neighbours() -> None:
    desired = {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}, "replicas": 1}}
    filled = {
        "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}, "replicas": 1}
    }
    assert comparison.preparing_patch(filled, desired) == {"spec": {"strategy": desired["spec"]["strategy"]}}
    held = {"spec": {"strategy": {"type": "RollingUpdate"}, "replicas": 2}}
    assert comparison.preparing_patch(held, desired) == {}


@pytest.mark.parametrize("entries", [["text"], [{"value": "no key"}], "text"])
def test_entries_without_a_key_are_left_to_the_server(entries: t.Any) -> None:
    live = {"spec": {"env": [{"name": "A"}]}, **owned({})}
    assert comparison.preparing_patch(live, {"spec": {"env": entries}}) == {}


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ({}, False),
        (owned({"f:data": {"f:commit": {}}}, *OURS), False),
        (owned({"f:data": {"f:other": {}}}, *OURS), True),
        (owned({"f:metadata": {}}, *OURS), True),
        (owned({"f:metadata": {}}), False),
    ],
    ids=["unknown", "ours", "theirs", "all-theirs", "never-applied"],
)
def test_what_was_set_by_others(live: dict[str, t.Any], expected: bool) -> None:
    assert comparison.set_by_others(live, "data", "commit") is expected


CONTAINER = 'k:{"name":"main"}'
LIVE_POD: dict[str, t.Any] = {
    "spec": {"replicas": 3, "containers": [{"name": "main", "image": "a", "args": ["x"]}]},
    "metadata": {"labels": {"a/b.c": "x"}},
}


# fmt: off
@pytest.mark.parametrize(
    ("fields", "desired", "expected"),
    [
        ({"f:spec": {"f:replicas": {}}}, {"spec": {"replicas": 1}}, ["spec.replicas"]),
        ({"f:spec": {"f:replicas": {}}}, {"spec": {"replicas": 3}}, []),
        ({"f:spec": {"f:other": {}}}, {"spec": {"replicas": 1}}, []),
        ({"f:spec": {"f:containers": {CONTAINER: {"f:image": {}}}}},
         {"spec": {"containers": [{"name": "main", "image": "b"}]}}, ["spec.containers[0].image"]),
        ({"f:spec": {"f:containers": {'k:{"name":"other"}': {"f:image": {}}}}},
         {"spec": {"containers": [{"name": "main", "image": "b"}]}}, []),
        ({"f:spec": {"f:containers": {CONTAINER: {"f:args": {}}}}},
         {"spec": {"containers": [{"name": "main", "args": ["y"]}]}}, ["spec.containers[0].args[0]"]),
        ({"f:metadata": {"f:labels": {"f:a/b.c": {}}}}, {"metadata": {"labels": {"a/b.c": "y"}}},
         ["metadata.labels.a/b.c"]),
    ],
)
@pytest.mark.parametrize("manager", ["kube-controller-manager", "eden.reference"])
def test_who_else_set_a_field_that_differs(
    fields: dict[str, t.Any], desired: dict[str, t.Any], expected: list[str], manager: str
) -> None:
    live = {**LIVE_POD, "metadata": {**LIVE_POD["metadata"], **owned(fields, manager)["metadata"]}}
    theirs = {manager: expected} if expected and manager != "eden.reference" else {}
    assert comparison.other_owners(live, desired) == theirs
# fmt: on
