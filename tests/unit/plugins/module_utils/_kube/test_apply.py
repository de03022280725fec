# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions of the module apply, without a cluster."""

from __future__ import annotations

import contextlib
import copy
import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube import apply

CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "c", "labels": {"a": "1"}},
    "data": {"k": "v"},
}
SERVER_METADATA = {
    "uid": "u",
    "resourceVersion": "7",
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "managedFields": [],
}


class FakeCluster:
    """Holds one object; applies by merging, as a server with no other owner would."""

    def __init__(self, live: dict[str, t.Any] | None = None) -> None:
        self.live = live
        self.writes: list[str] = []

    def read(self, kind: str, namespace: str, name: str) -> dict[str, t.Any] | None:
        return copy.deepcopy(self.live)

    def list(
        self, kind: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> list[dict[str, t.Any]]:
        return [copy.deepcopy(self.live)] if self.live else []

    def apply(self, definition: dict[str, t.Any], dry_run: bool = False) -> dict[str, t.Any]:
        merged = merge(self.live or {"metadata": SERVER_METADATA}, definition)
        if not dry_run:
            self.writes.append("apply")
            self.live = merged
        return merged

    def merge(
        self, definition: dict[str, t.Any], patch: dict[str, t.Any], dry_run: bool = False
    ) -> dict[str, t.Any]:
        if not dry_run:
            self.writes.append("merge")
        return self.live or {}

    def delete(self, kind: str, namespace: str, name: str) -> bool:
        self.writes.append(f"delete {name}")
        self.live = None
        return True

    def delete_and_wait(self, live: dict[str, t.Any]) -> None:
        self.delete(live["kind"], "", live["metadata"]["name"])


def merge(live: t.Any, wanted: t.Any) -> t.Any:
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {**live, **{key: merge(live.get(key), value) for key, value in wanted.items()}}
    return copy.deepcopy(wanted)


def prepared(**changes: t.Any) -> dict[str, t.Any]:
    return apply.prepare({**copy.deepcopy(CONFIG), **changes}, "ns")


def applied(**changes: t.Any) -> dict[str, t.Any]:
    """A live object on which the definition was applied last; ``changes`` were made since."""
    return merge({"metadata": SERVER_METADATA, "status": {}}, merge(prepared(), changes))


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("live", "outcome"),
    [
        (None, "created"),
        (applied(), "unchanged"),
        (applied(metadata={"labels": {"foreign": "x"}}), "unchanged"),
        (applied(data={"k": "other"}), "updated"),
        (applied(data={"added": "by somebody"}), "unchanged"),
        (applied(metadata={"labels": {"a": "2"}}), "updated"),
        (merge({"metadata": SERVER_METADATA}, CONFIG), "updated"),
    ],
    ids=["absent", "same", "foreign-label", "drift", "foreign-key", "label-drift", "never-applied"],
)
def test_outcome(live: dict[str, t.Any] | None, outcome: str, check_mode: bool) -> None:
    cluster = FakeCluster(live)
    change = apply.bring(cluster, prepared(), check_mode)  # type: ignore[arg-type]
    assert change.outcome == outcome
    assert cluster.writes == ([] if check_mode or outcome == "unchanged" else ["apply"])


@pytest.mark.parametrize(("check_mode", "writes"), [(True, []), (False, ["merge", "apply"])])
def test_an_entry_whose_key_was_changed_is_put_back_first(check_mode: bool, writes: list[str]) -> None:
    wanted = prepared(spec={"ports": [{"name": "http", "port": 80}]})
    live = merge({"metadata": SERVER_METADATA}, wanted)
    live["spec"]["ports"][0]["port"] = 81
    theirs = {"f:spec": {"f:ports": {'k:{"port":81}': {}}}}
    live["metadata"]["managedFields"] = [{"manager": "somebody", "operation": "Update", "fieldsV1": theirs}]
    cluster = FakeCluster(live)
    change = apply.bring(cluster, wanted, check_mode)  # type: ignore[arg-type]
    assert (change.outcome, cluster.writes) == ("updated", writes)


def test_applied_again_is_unchanged() -> None:
    cluster = FakeCluster(applied(data={"k": "other"}))
    apply.bring(cluster, prepared(), False)  # type: ignore[arg-type]
    assert apply.bring(cluster, prepared(), False).outcome == "unchanged"  # type: ignore[arg-type]


@pytest.mark.parametrize("check_mode", [False, True])
def test_failed_job_is_made_anew(check_mode: bool) -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "seed"}, "spec": {}}
    live = {**apply.prepare(job, "ns"), "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    cluster = FakeCluster(live)
    change = apply.bring(cluster, apply.prepare(job, "ns"), check_mode)  # type: ignore[arg-type]
    assert change.outcome == "recreated"
    assert cluster.writes == ([] if check_mode else ["delete seed", "apply"])


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_being_deleted_is_made_anew_once_it_is_gone(check_mode: bool) -> None:
    live = prepared()
    live["metadata"] = {**live["metadata"], "deletionTimestamp": "2026-11-24T10:00:00Z"}
    cluster = FakeCluster(live)
    change = apply.bring(cluster, prepared(), check_mode)  # type: ignore[arg-type]
    assert change.outcome == "recreated"
    assert cluster.writes == ([] if check_mode else [f"delete {live['metadata']['name']}", "apply"])


def test_what_pods_use_is_applied_before_them_and_told_in_the_order_of_the_definitions() -> None:
    kinds = ["StatefulSet", "ConfigMap", "Namespace", "Service", "Job"]
    definitions = [{"kind": kind, "metadata": {"name": kind.lower()}} for kind in kinds]
    assert [[kinds[index] for index in stage] for stage in apply.stages(definitions)] == [
        ["Namespace"],
        ["ConfigMap", "Service"],
        ["StatefulSet", "Job"],
    ]
    changes = apply.bring_all(FakeCluster(None), [prepared(metadata={"name": name}) for name in "abc"], True)  # type: ignore[arg-type]
    assert [change.after["metadata"]["name"] for change in changes if change.after] == ["a", "b", "c"]


@pytest.mark.parametrize(("wanted", "writes"), [("c", []), ("other", ["delete c"])])
def test_prune_deletes_what_has_no_definition(wanted: str, writes: list[str]) -> None:
    cluster = FakeCluster(applied())
    definition = prepared(metadata={"name": wanted})
    rule = {"kind": "ConfigMap", "labels": {"a": "1"}, "optional": False}
    surplus = apply.surplus(cluster, [definition], "ns", rule)  # type: ignore[arg-type]
    changes = [apply.delete(cluster, item, False) for item in surplus]  # type: ignore[arg-type]
    assert cluster.writes == writes
    assert [change.outcome for change in changes] == ["deleted"] * len(writes)


@pytest.mark.parametrize(
    ("status", "optional", "defined", "refused"),
    [
        (403, True, False, False),
        (403, False, False, True),
        (403, True, True, True),
        (500, True, False, True),
    ],
)
def test_who_may_not_list_an_optional_kind_has_made_none(
    status: int, optional: bool, defined: bool, refused: bool
) -> None:
    class Refusing(FakeCluster):
        def list(self, *_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
            raise ClusterError("list", "configmaps", status, "no")

    cluster: t.Any = Refusing()
    rule = {"kind": "ConfigMap", "labels": {"a": "1"}, "optional": optional}
    with pytest.raises(ClusterError) if refused else contextlib.nullcontext():
        assert apply.surplus(cluster, [prepared()] if defined else [], "ns", rule) == []


def test_secret_is_refused() -> None:
    with pytest.raises(InputError, match="Secret ns/s: a secret must not be a module argument"):
        apply.prepare({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}, "ns")


@pytest.mark.parametrize(
    "definition",
    [
        {},
        {"kind": "Widget", "apiVersion": "v1"},
        {"kind": "Job", "apiVersion": "v1"},
        {**CONFIG, "metadata": {}},
    ],
)
def test_unusable_definition_is_refused(definition: dict[str, t.Any]) -> None:
    with pytest.raises(CollectionError):
        apply.prepare(definition, "ns")


def test_diff_names_the_object_and_hides_what_the_server_keeps() -> None:
    change = apply.Change("updated", applied(data={"k": "old"}), applied())
    (difference,) = apply.result([change], diff=True)["diff"]
    assert difference["after_header"] == "ConfigMap ns/c (updated)"
    assert "k: old" in difference["before"]
    assert "k: v" in difference["after"]
    assert not any(word in difference["after"] for word in (*apply.SERVER_FIELDS, apply.APPLIED_ANNOTATION))


class Tagged(str):
    """Text as ansible hands it to a module in its own process."""


def test_diff_shows_what_ansible_has_templated() -> None:
    definition = {**copy.deepcopy(CONFIG), "data": {"k": Tagged("templated")}}
    definition["metadata"].pop("namespace", None)
    change = apply.Change("created", None, apply.prepare(definition, Tagged("ns")))
    (difference,) = apply.result([change], diff=True)["diff"]
    assert "k: templated" in difference["after"]
    assert "namespace: ns" in difference["after"]


def test_unchanged_objects_have_no_diff() -> None:
    assert apply.result([apply.Change("unchanged", applied(), applied())], diff=True) == {
        "changed": False,
        "objects": [{"kind": "ConfigMap", "name": "c", "outcome": "unchanged"}],
        "diff": [],
    }


class TaggedText(str):
    """A text as ansible hands it over: with tags, of which YAML knows nothing."""

    __slots__ = ()


def test_tags_of_ansible_are_no_part_of_a_diff() -> None:
    definition = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": TaggedText("c")}}
    wanted = apply.prepare(definition, TaggedText("ns"))
    listed = {**wanted, "kind": TaggedText("ConfigMap")}
    changes = [apply.Change("created", None, wanted), apply.Change("deleted", listed, None)]
    created, deleted = apply.result(changes, diff=True)["diff"]
    assert "namespace: ns" in created["after"]
    assert "kind: ConfigMap" in deleted["before"]


class RefusingCluster(FakeCluster):
    def apply(self, definition: dict[str, t.Any], dry_run: bool = False) -> dict[str, t.Any]:
        raise ClusterError("apply", "it", 422, "Unprocessable Entity")


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("ConfigMap", "run again: kubectl delete configmap c --namespace ns."),
        ("PersistentVolumeClaim", "It differs from what is wanted in data.k, data.list[0]."),
    ],
)
def test_a_refused_change_names_the_fields_and_the_way_out(kind: str, advice: str) -> None:
    wanted = prepared(data={"k": "v", "same": "s", "list": ["a", "b"]}) | {"kind": kind}
    live = copy.deepcopy(wanted) | {"data": {"k": "other", "same": "s", "list": ["x", "b"]}}
    with pytest.raises(ClusterError) as caught:
        apply.bring(RefusingCluster(live), wanted, True)  # type: ignore[arg-type]
    assert "data.k, data.list[0]" in caught.value.message
    assert caught.value.message.endswith(advice)
