# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reconciles a list of objects with their definitions.

The API server's own server-side apply does the work. This module decides whether it is needed, so that an
unchanged object costs one read and no write, and predicts it, even before the namespace exists. Objects of
others are never taken over.
This module is private to the collection.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import typing as t
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from ansible_collections.eden.reference.plugins.module_utils._collection import (
    APPLIED_ANNOTATION,
    MANAGED_BY_LABEL,
    NAME,
)
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    InputError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    PARALLEL,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.comparison import (
    contains,
    differing,
    foreign_owner,
    other_owners,
    preparing_patch,
    show,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import (
    desired_replicas,
    job_failure,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import Refusal
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe, kind_of
from ansible_collections.eden.reference.plugins.module_utils._module import Task

# A missing one is reported with the Kubernetes client, which needs it too.
with contextlib.suppress(ImportError):
    import yaml

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "definitions": {"type": "list", "elements": "dict", "default": []},
    # Rendered into definitions by the action plugin.
    "templates": {"type": "list", "elements": "raw", "default": []},
    "prune": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "kind": {"type": "str", "required": True},
            "labels": {"type": "dict", "required": True},
            "optional": {"type": "bool", "default": False},
        },
    },
}

# The stages, each applied in parallel: the namespace of pods, the objects they use, and their workloads.
FIRST, LAST = frozenset({"Namespace"}), frozenset({"StatefulSet", "Deployment", "Job"})
REPLICATED = frozenset({"StatefulSet", "Deployment"})
# Kinds that may be deleted to change an immutable field: an option of kubectl, and the consequence. Kinds
# that hold data are not among them.
DELETABLE = {
    "StatefulSet": (" --cascade=orphan", "Its pods keep running and its volume claims stay"),
    "Deployment": ("", "Its pods stop and their volume claims stay"),
    "Job": ("", "Its pods stop"),
    "Service": ("", "Connections to it fail until then"),
}

APPLIED_PATH = ("metadata", "annotations", APPLIED_ANNOTATION)
SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")

Outcome = t.Literal["created", "updated", "recreated", "deleted", "unchanged"]
# Returns advice for a refusal of the definition; empty if there is none.
Hint = t.Callable[[Object, Refusal], str]


class Change(t.NamedTuple):
    """What is to be done with one object.

    Attributes:
        before: the whole object, or None if it does not exist.
        after: likewise.
        overwritten: the fields that other managers had set and that are reverted, by manager.
    """

    outcome: Outcome
    before: Object | None
    after: Object | None
    overwritten: t.Mapping[str, t.Sequence[str]] = {}


def run(task: Task, hint: Hint = lambda _definition, _refusal: "") -> dict[str, t.Any]:
    """Apply ``definitions``, then prune."""
    with connected(task.parameters) as cluster:
        definitions = prepared(task)
        changes = reconcile_all(cluster, definitions, task.check_mode, hint)
        return result([*changes, *prune(cluster, definitions, task)], task.diff)


def prepared(task: Task) -> list[Object]:
    """``prepare`` for each definition of a task."""
    namespace = task.parameters["namespace"]
    return [prepare(definition, namespace) for definition in task.parameters["definitions"]]


def prune(cluster: Cluster, definitions: t.Sequence[Object], task: Task) -> list[Change]:
    """Delete the orphans of a task's rules, or predict that."""
    return [
        delete(cluster, item, task.check_mode)
        for rule in task.parameters["prune"]
        for item in find_orphans(cluster, definitions, task.parameters["namespace"], rule)
    ]


def restarted(changes: t.Iterable[Change]) -> list[tuple[Object, Object]]:
    """The workloads, as they are and as they will be, whose running pods the changes replace."""
    return [
        (change.before, change.after)
        for change in changes
        if change.before
        and change.after
        and change.before["kind"] in REPLICATED
        and desired_replicas(change.before)
        and change.before["spec"]["template"] != change.after["spec"]["template"]
    ]


def prepare(definition: Object, namespace: str) -> Object:
    """The definition with its namespace and with the annotation that holds its digest.

    Raises:
        InputError: it has no name, or it is a Secret.
    """
    prepared = json.loads(json.dumps(definition))
    kind = kind_of(prepared)
    metadata = prepared.setdefault("metadata", {})
    if not metadata.get("name"):
        raise InputError(f"Cannot apply a {prepared['kind']} without metadata.name.")
    if prepared["kind"] == "Secret":
        raise InputError(
            f"Cannot apply {describe('Secret', namespace, metadata['name'])}: its values would be module "
            "arguments, which logs and callbacks see."
        )
    if kind.namespaced:
        metadata.setdefault("namespace", namespace)
    digest = hashlib.sha256(json.dumps(prepared, sort_keys=True).encode()).hexdigest()
    metadata["annotations"] = {**metadata.get("annotations", {}), APPLIED_ANNOTATION: digest}
    return prepared


def reconcile_all(
    cluster: Cluster,
    definitions: t.Sequence[Object],
    check_mode: bool,
    hint: Hint = lambda _definition, _refusal: "",
) -> list[Change]:
    """``reconcile`` for each definition, stage by stage; the changes have the order of the definitions."""
    changes: dict[int, Change] = {}
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        for stage in stages(definitions):
            reconciled = pool.map(
                lambda index: reconcile(cluster, definitions[index], check_mode, hint), stage
            )
            changes.update(zip(stage, reconciled, strict=True))
    return [changes[index] for index in range(len(definitions))]


def stages(definitions: t.Sequence[Object]) -> list[list[int]]:
    """The indexes of the definitions, by the stages in which they are applied."""
    kinds = [definition["kind"] for definition in definitions]
    return [
        [index for index, kind in enumerate(kinds) if kind in FIRST],
        [index for index, kind in enumerate(kinds) if kind not in FIRST | LAST],
        [index for index, kind in enumerate(kinds) if kind in LAST],
    ]


def reconcile(
    cluster: Cluster,
    definition: Object,
    check_mode: bool,
    hint: Hint = lambda _definition, _refusal: "",
) -> Change:
    """Reconcile one object with its definition, or predict that.

    Raises:
        CollectionError: the object belongs to others.
        ClusterError: the API server refused the definition; the message has advice.
    """
    metadata = definition["metadata"]
    live = cluster.read(definition["kind"], metadata.get("namespace", ""), metadata["name"])
    try:
        if live is None:
            return Change("created", None, definition if check_mode else cluster.apply(definition))
        owner = foreign_owner(live)
        if owner:
            raise foreign_object_error(definition, owner)
        if job_failure(live) or live["metadata"].get("deletionTimestamp"):
            if not check_mode:
                cluster.delete_and_wait(live)
                cluster.apply(definition)
            return Change("recreated", live, definition)
        if is_current(live, definition):
            return Change("unchanged", live, live)
        return update(cluster, live, definition, check_mode)
    except ClusterError as error:
        if error.refusal:
            hints = [hint(definition, error.refusal)]
            if live is not None and error.refusal.category == "immutable":
                hints.insert(0, immutable_field_hint(live, definition))
            error.message = " ".join(filter(None, [error.message, *hints]))
        raise


def foreign_object_error(definition: Object, owner: str) -> CollectionError:
    """The refusal to take over an object of others, with the alternatives."""
    kind, name = definition["kind"], definition["metadata"]["name"]
    namespace = definition["metadata"].get("namespace", "")
    return CollectionError(
        f"Could not apply {describe(kind, namespace, name)}: it already exists, {owner}. It was not changed. "
        f"Use another name, or, if its owner agrees that {NAME} overwrites it, hand it over: "
        f"{hand_over_command(kind, namespace, name)}."
    )


def hand_over_command(kind: str, namespace: str, name: str) -> str:
    """The command with which its owner hands over an object."""
    return f"kubectl label {kind.lower()} {name}{_in(namespace)} {MANAGED_BY_LABEL}={NAME} --overwrite"


def update(cluster: Cluster, live: Object, definition: Object, check_mode: bool) -> Change:
    """Update an existing object to its definition, or predict that."""
    overwritten = other_owners(live, definition)
    patch = preparing_patch(live, definition)
    if patch:
        merged = cluster.merge(definition, patch, dry_run=check_mode)
        after = _predicted(cluster, merged, definition) if check_mode else cluster.apply(definition)
        return Change("updated", live, after, overwritten)
    # The server merges the definition with its defaults and with the fields of other owners.
    predicted = cluster.apply(definition, dry_run=True)
    if normalized(predicted) == normalized(live):
        return Change("unchanged", live, live)
    return Change("updated", live, predicted if check_mode else cluster.apply(definition), overwritten)


def _predicted(cluster: Cluster, merged: Object, definition: Object) -> Object:
    """The object after the patch and the definition, as far as the server can predict two requests in a row.

    Most often the patch reverts an edit, and the definition adds nothing. If it does, it may restart pods.
    """
    if contains(merged.get("spec"), definition.get("spec")):
        return merged
    try:
        return cluster.apply(definition, dry_run=True)
    except ClusterError as error:
        # What it refuses may be what the patch removes.
        if error.refusal:
            return merged
        raise


def immutable_field_hint(live: Object, definition: Object) -> str:
    """The fields that differ, and how to recreate the object without losing data, if that is possible."""
    kind, metadata = definition["kind"], definition["metadata"]
    fields = ", ".join(show(path) for path in differing(live, definition) if path != APPLIED_PATH)
    differs = f"It differs from the definition in {fields}." if fields else ""
    if kind not in DELETABLE:
        return differs
    option, consequence = DELETABLE[kind]
    return (
        f"{differs} To have it recreated with these values, delete it and run again: kubectl delete "
        f"{kind.lower()} {metadata['name']}{_in(metadata.get('namespace', ''))}{option}. {consequence}."
    ).lstrip()


def find_orphans(
    cluster: Cluster, definitions: t.Sequence[Object], namespace: str, rule: t.Mapping[str, t.Any]
) -> list[Object]:
    """Our objects of the rule's kind that carry all of its labels and have no definition."""
    kind = rule["kind"]
    desired = {definition["metadata"]["name"] for definition in definitions if definition["kind"] == kind}
    selector = ",".join(f"{key}={value}" for key, value in sorted(rule["labels"].items()))
    try:
        found = cluster.list(kind, namespace, labels=selector)
    except ClusterError as error:
        # A user who is not allowed to list an optional kind cannot have created any.
        if rule["optional"] and not desired and error.status == HTTPStatus.FORBIDDEN:
            return []
        raise
    return [item for item in found if item["metadata"]["name"] not in desired and not foreign_owner(item)]


def delete(cluster: Cluster, item: Object, check_mode: bool) -> Change:
    """Delete an object, or predict that."""
    if not check_mode:
        cluster.delete(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"])
    return Change("deleted", item, None)


def is_current(live: Object, definition: Object) -> bool:
    """Whether this definition was applied last and none of its fields has changed since."""
    applied = (live["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION)
    return applied == definition["metadata"]["annotations"][APPLIED_ANNOTATION] and contains(live, definition)


def normalized(value: Object) -> Object:
    """An object without the server's own fields, to compare and to show it."""
    kept = {key: part for key, part in value.items() if key != "status"}
    kept["metadata"] = {key: part for key, part in value["metadata"].items() if key not in SERVER_FIELDS}
    return kept


def result(changes: t.Sequence[Change], diff: bool) -> dict[str, t.Any]:
    """The module's result."""
    changed = [change for change in changes if change.outcome != "unchanged"]
    answer: dict[str, t.Any] = {
        "changed": bool(changed),
        "objects": [
            {
                "kind": shown["kind"],
                "name": shown["metadata"]["name"],
                "outcome": change.outcome,
                **({"overwritten": dict(change.overwritten)} if change.overwritten else {}),
            }
            for change in changes
            if (shown := change.after or change.before)
        ],
    }
    if diff:
        answer["diff"] = [_difference(change) for change in changed]
    return answer


def _in(namespace: str) -> str:
    return f" --namespace {namespace}" if namespace else ""


def _difference(change: Change) -> dict[str, t.Any]:
    shown = change.after or change.before or {}
    name = describe(shown["kind"], shown["metadata"].get("namespace", ""), shown["metadata"]["name"])
    set_by = "".join(
        f"; {', '.join(fields)} had been set by {manager}" for manager, fields in change.overwritten.items()
    )
    return {
        "before_header": name,
        "after_header": f"{name} ({change.outcome}{set_by})",
        "before": _shown(change.before),
        "after": _shown(change.after),
    }


def _shown(value: Object | None) -> str:
    if value is None:
        return ""
    kept = normalized(value)
    annotations = {
        key: text
        for key, text in (kept["metadata"].pop("annotations", None) or {}).items()
        if key != APPLIED_ANNOTATION
    }
    if annotations:
        kept["metadata"]["annotations"] = annotations
    # Without the tags of ansible's strings, which YAML cannot represent.
    return yaml.safe_dump(json.loads(json.dumps(kept)), sort_keys=False)
