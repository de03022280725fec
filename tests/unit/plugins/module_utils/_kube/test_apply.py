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
from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import classify

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
    "managedFields": [{"manager": "eden.reference", "operation": "Apply", "fieldsV1": {}}],
}


Object = dict[str, t.Any]


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


@pytest.mark.parametrize(("check_mode", "writes"), [(True, []), (False, ["merge", "apply"])])
def test_an_entry_whose_key_was_changed_is_reverted_first(check_mode: bool, writes: list[str]) -> None:
    wanted = prepared(spec={"ports": [{"name": "http", "port": 80}]})
    live = merge({"metadata": SERVER_METADATA}, wanted)
    live["spec"]["ports"][0]["port"] = 81
    theirs = {"f:spec": {"f:ports": {'k:{"port":81}': {}}}}
    live["metadata"]["managedFields"].append(
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": theirs}
    )
    cluster = FakeCluster(live)
    change = apply.reconcile(cluster, wanted, check_mode)  # type: ignore[arg-type]
    assert (change.outcome, cluster.writes) == ("updated", writes)


def test_a_changed_template_is_predicted_although_another_field_is_reverted_first() -> None:
    wanted = prepared(spec={"ports": [{"name": "http", "port": 80}], "template": {"image": "new"}})
    live = merge({"metadata": SERVER_METADATA}, wanted)
    live["spec"] |= {"ports": [{"name": "http", "port": 81}], "template": {"image": "old"}}
    theirs = {"f:spec": {"f:ports": {'k:{"port":81}': {}}}}
    live["metadata"]["managedFields"].append(
        {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": theirs}
    )
    change = apply.reconcile(FakeCluster(live), wanted, check_mode=True)  # type: ignore[arg-type]
    assert change.after
    assert change.after["spec"]["template"] == {"image": "new"}


@pytest.mark.parametrize("condition", ["Failed", "FailureTarget"])
@pytest.mark.parametrize("check_mode", [False, True])
def test_failed_job_is_recreated(check_mode: bool, condition: str) -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "seed"}, "spec": {}}
    prepared_job = merge({"metadata": SERVER_METADATA}, apply.prepare(job, "ns"))
    live = {**prepared_job, "status": {"conditions": [{"type": condition, "status": "True"}]}}
    cluster = FakeCluster(live)
    change = apply.reconcile(cluster, apply.prepare(job, "ns"), check_mode)  # type: ignore[arg-type]
    assert change.outcome == "recreated"
    assert cluster.writes == ([] if check_mode else ["delete seed", "apply"])


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_is_being_deleted_is_recreated_once_it_is_gone(check_mode: bool) -> None:
    live = prepared()
    live["metadata"] = {**SERVER_METADATA, **live["metadata"], "deletionTimestamp": "2026-11-24T10:00:00Z"}
    cluster = FakeCluster(live)
    change = apply.reconcile(cluster, prepared(), check_mode)  # type: ignore[arg-type]
    assert change.outcome == "recreated"
    assert cluster.writes == ([] if check_mode else [f"delete {live['metadata']['name']}", "apply"])


def test_what_pods_use_is_applied_before_them_and_reported_in_the_order_of_the_definitions() -> None:
    kinds = ["StatefulSet", "ConfigMap", "Namespace", "Service", "Job"]
    definitions = [{"kind": kind, "metadata": {"name": kind.lower()}} for kind in kinds]
    assert [[kinds[index] for index in stage] for stage in apply.stages(definitions)] == [
        ["Namespace"],
        ["ConfigMap", "Service"],
        ["StatefulSet", "Job"],
    ]
    changes = apply.reconcile_all(
        FakeCluster(None), [prepared(metadata={"name": name}) for name in "abc"], True
    )  # type: ignore[arg-type]
    assert [change.after["metadata"]["name"] for change in changes if change.after] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("status", "optional", "defined", "refused"),
    [(403, True, False, False), (403, False, False, True), (403, True, True, True), (500, True, False, True)],
)
def test_a_user_who_cannot_list_an_optional_kind_has_created_none(
    status: int, optional: bool, defined: bool, refused: bool
) -> None:
    class Refusing(FakeCluster):
        def list(self, *_arguments: t.Any, **_options: t.Any) -> t.NoReturn:
            raise ClusterError("list", "configmaps", status, "no")

    cluster: t.Any = Refusing()
    rule = {"kind": "ConfigMap", "labels": {"a": "1"}, "optional": optional}
    with pytest.raises(ClusterError) if refused else contextlib.nullcontext():
        assert apply.find_orphans(cluster, [prepared()] if defined else [], "ns", rule) == []


def test_secret_is_refused() -> None:
    with pytest.raises(InputError, match="Secret ns/s: its values would be module arguments"):
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
    """A string as ansible hands it to a module: with tags, which YAML does not know."""


def test_diff_shows_what_ansible_has_templated() -> None:
    definition = {**copy.deepcopy(CONFIG), "data": {"k": Tagged("templated")}}
    definition["metadata"].pop("namespace", None)
    wanted = apply.prepare(definition, Tagged("ns"))
    listed = {**wanted, "kind": Tagged("ConfigMap")}
    changes = [apply.Change("created", None, wanted), apply.Change("deleted", listed, None)]
    created, deleted = apply.result(changes, diff=True)["diff"]
    assert "k: templated" in created["after"]
    assert "namespace: ns" in created["after"]
    assert "kind: ConfigMap" in deleted["before"]


def test_unchanged_objects_have_no_diff() -> None:
    assert apply.result([apply.Change("unchanged", applied(), applied())], diff=True) == {
        "changed": False,
        "objects": [{"kind": "ConfigMap", "name": "c", "outcome": "unchanged"}],
        "diff": [],
    }


@pytest.mark.parametrize("kind", ["ConfigMap", "PersistentVolumeClaim"])
def test_only_a_claim_may_have_lost_all_marks(kind: str) -> None:
    live = {**CONFIG, "kind": kind, "metadata": {}, "data": {"k": "other"}}
    cluster: t.Any = FakeCluster(live)
    with contextlib.nullcontext() if kind != "ConfigMap" else pytest.raises(CollectionError):
        apply.reconcile(cluster, {**prepared(), "kind": kind}, True)


class RefusingCluster(FakeCluster):
    """Answers every apply with the same words."""

    def __init__(self, live: Object | None, status: int, said: str) -> None:
        super().__init__(live)
        self.error = ClusterError("apply", "it", status, "no", said)
        self.error.refusal = classify(said, status)

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        raise self.error


IMMUTABLE = "spec: Invalid value: field is immutable"
POLICY = "ValidatingAdmissionPolicy 'images' with binding 'b' denied request: only signed images"


@pytest.mark.parametrize(
    ("kind", "status", "said", "advice"),
    [
        ("StatefulSet", 422, IMMUTABLE, "delete statefulset c --namespace ns --cascade=orphan. Its pods"),
        ("Deployment", 422, IMMUTABLE, "kubectl delete deployment c --namespace ns. Its pods stop and their"),
        ("Job", 422, IMMUTABLE, "kubectl delete job c --namespace ns. Its pods stop."),
        ("ConfigMap", 422, IMMUTABLE, ""),
        ("PersistentVolumeClaim", 403, "spec is immutable after creation", ""),
        ("StatefulSet", 422, POLICY, ""),
        ("StatefulSet", 422, "spec.replicas: Invalid value: -1: must be greater than or equal to 0", ""),
        ("StatefulSet", 403, 'User "me" cannot patch resource "statefulsets"', ""),
    ],
)
def test_deleting_is_advised_only_for_an_immutable_field_of_what_holds_no_data(
    kind: str, status: int, said: str, advice: str
) -> None:
    live = applied(data={"k": "other", "list": ["x", "b"]}) | {"kind": kind}
    wanted = prepared(data={"k": "v", "same": "s", "list": ["a", "b"]}) | {"kind": kind}
    with pytest.raises(ClusterError) as caught:
        apply.reconcile(RefusingCluster(live, status, said), wanted, True)  # type: ignore[arg-type]
    message = caught.value.message
    assert said in message
    assert ("data.k, data.same, data.list[0]" in message) is ("immutable" in said)
    assert ("kubectl delete" in message) is bool(advice)
    assert advice in message


@pytest.mark.parametrize("live", [None, applied(data={"k": "other"})], ids=["new", "existing"])
def test_the_caller_adds_what_helps_against_a_refusal(live: Object | None) -> None:
    said = "exceeded quota: claims, requested: requests.storage=10Gi"
    cluster: t.Any = RefusingCluster(live, 403, said)
    with pytest.raises(ClusterError) as caught:
        apply.reconcile(cluster, prepared(), False, lambda _object, refusal: f"Lower {refusal.name}.")
    assert caught.value.message.endswith("requests.storage=10Gi. Lower claims.")
