# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Brings a list of objects to the state that their definitions describe.

The API server's own server-side apply does the work. What is here decides whether it is needed, so that an
unchanged object costs one read and no write, and predicts it, also where the namespace is not there yet.
This module is private to the collection.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import typing as t
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from ansible_collections.eden.reference.plugins.module_utils._collection import APPLIED_ANNOTATION
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, InputError
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
    preparing_patch,
)
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

# Objects of one stage are applied side by side: what pods live in, what they use, what makes them.
FIRST, LAST = frozenset({"Namespace"}), frozenset({"StatefulSet", "Deployment", "Job"})
# What is lost with such an object is more than the object.
KEPT = frozenset({"Namespace", "PersistentVolumeClaim"})


APPLIED_PLACE = f"metadata.annotations.{APPLIED_ANNOTATION}"
SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "selfLink")

Outcome = t.Literal["created", "updated", "recreated", "deleted", "unchanged"]


class Change(t.NamedTuple):
    """What one object needs: ``before`` and ``after`` are whole objects, None where there is none."""

    outcome: Outcome
    before: Object | None
    after: Object | None


def run(task: Task) -> dict[str, t.Any]:
    """Apply ``definitions``, then prune."""
    namespace = task.parameters["namespace"]
    definitions = [prepare(definition, namespace) for definition in task.parameters["definitions"]]
    with connected(task.parameters) as cluster:
        changes = bring_all(cluster, definitions, task.check_mode)
        for rule in task.parameters["prune"]:
            listed = surplus(cluster, definitions, namespace, rule)
            changes += [delete(cluster, item, task.check_mode) for item in listed]
    return result(changes, task.diff)


def prepare(definition: Object, namespace: str) -> Object:
    """The definition with its namespace and with the annotation that holds its own digest.

    Raises:
        InputError: it is not an object, or it is a Secret, whose data would pass through variables.
    """
    prepared = json.loads(json.dumps(definition))
    kind = kind_of(prepared)
    metadata = prepared.setdefault("metadata", {})
    if not metadata.get("name"):
        raise InputError(f"Cannot apply a {prepared['kind']} without metadata.name.")
    if prepared["kind"] == "Secret":
        raise InputError(
            f"Cannot apply {describe('Secret', namespace, metadata['name'])}: a secret must not be a module "
            "argument. Secrets are written by eden.reference.credentials and eden.reference.identities."
        )
    if kind.namespaced:
        metadata.setdefault("namespace", namespace)
    digest = hashlib.sha256(json.dumps(prepared, sort_keys=True).encode()).hexdigest()
    metadata["annotations"] = {**metadata.get("annotations", {}), APPLIED_ANNOTATION: digest}
    return prepared


def bring_all(cluster: Cluster, definitions: t.Sequence[Object], check_mode: bool) -> list[Change]:
    """``bring`` for each definition, stage by stage; the changes have the order of the definitions."""
    changes: dict[int, Change] = {}
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        for stage in stages(definitions):
            brought = pool.map(lambda index: bring(cluster, definitions[index], check_mode), stage)
            changes.update(zip(stage, brought, strict=True))
    return [changes[index] for index in range(len(definitions))]


def stages(definitions: t.Sequence[Object]) -> list[list[int]]:
    """The indexes of the definitions, by the stages in which they are applied."""
    kinds = [definition["kind"] for definition in definitions]
    return [
        [index for index, kind in enumerate(kinds) if kind in FIRST],
        [index for index, kind in enumerate(kinds) if kind not in FIRST | LAST],
        [index for index, kind in enumerate(kinds) if kind in LAST],
    ]


def bring(cluster: Cluster, definition: Object, check_mode: bool) -> Change:
    """Bring one object to its definition, or predict that."""
    metadata = definition["metadata"]
    live = cluster.read(definition["kind"], metadata.get("namespace", ""), metadata["name"])
    if live is None:
        return Change("created", None, definition if check_mode else cluster.apply(definition))
    if job_failed(live) or live["metadata"].get("deletionTimestamp"):
        if not check_mode:
            cluster.delete_and_wait(live)
            cluster.apply(definition)
        return Change("recreated", live, definition)
    if is_current(live, definition):
        return Change("unchanged", live, live)
    try:
        return update(cluster, live, definition, check_mode)
    except ClusterError as error:
        if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            error.message = f"{error.message} {way_out(live, definition)}".rstrip()
        raise


def update(cluster: Cluster, live: Object, definition: Object, check_mode: bool) -> Change:
    """Bring an object that is there to its definition, or predict that."""
    patch = preparing_patch(live, definition)
    if patch:
        merged = cluster.merge(definition, patch, dry_run=check_mode)
        # Of two requests in a row the server cannot tell beforehand what the second one would come to.
        return Change("updated", live, merged if check_mode else cluster.apply(definition))
    # The server knows what its defaults and the fields of other owners make of the definition.
    predicted = cluster.apply(definition, dry_run=True)
    if essence(predicted) == essence(live):
        return Change("unchanged", live, live)
    return Change("updated", live, predicted if check_mode else cluster.apply(definition))


def way_out(live: Object, definition: Object) -> str:
    """What to do about an object that the server refuses to change to its definition."""
    kind, metadata = definition["kind"], definition["metadata"]
    places = ", ".join(place for place in differing(live, definition) if place != APPLIED_PLACE)
    differs = f"It differs from what is wanted in {places}." if places else ""
    if kind in KEPT:
        return differs
    where = f" --namespace {metadata['namespace']}" if metadata.get("namespace") else ""
    stays = ", whose volumes stay" if kind == "StatefulSet" else ""
    return (
        f"{differs} Where somebody made it with what cannot be changed any more, delete it{stays}, and run "
        f"again: kubectl delete {kind.lower()} {metadata['name']}{where}."
    ).lstrip()


def surplus(
    cluster: Cluster, definitions: t.Sequence[Object], namespace: str, rule: t.Mapping[str, t.Any]
) -> list[Object]:
    """The objects of the rule's kind that carry all of its labels and have no definition."""
    kind = rule["kind"]
    wanted = {definition["metadata"]["name"] for definition in definitions if definition["kind"] == kind}
    selector = ",".join(f"{key}={value}" for key, value in sorted(rule["labels"].items()))
    try:
        found = cluster.list(kind, namespace, labels=selector)
    except ClusterError as error:
        # Who may not list objects of an optional kind has not made any.
        if rule["optional"] and not wanted and error.status == HTTPStatus.FORBIDDEN:
            return []
        raise
    return [item for item in found if item["metadata"]["name"] not in wanted]


def delete(cluster: Cluster, item: Object, check_mode: bool) -> Change:
    """Delete an object, or predict that."""
    if not check_mode:
        cluster.delete(item["kind"], item["metadata"]["namespace"], item["metadata"]["name"])
    return Change("deleted", item, None)


def is_current(live: Object, definition: Object) -> bool:
    """Whether this very definition was applied last, and nothing that it states was changed since."""
    applied = (live["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION)
    return applied == definition["metadata"]["annotations"][APPLIED_ANNOTATION] and contains(live, definition)


def essence(value: Object) -> Object:
    """An object without what the server keeps about it: comparable before and after, and fit to be shown."""
    kept = {key: part for key, part in value.items() if key != "status"}
    kept["metadata"] = {key: part for key, part in value["metadata"].items() if key not in SERVER_FIELDS}
    return kept


def job_failed(live: Object) -> bool:
    """Whether this is a Job that has given up: it will never run again."""
    conditions = (live.get("status") or {}).get("conditions") or []
    return live["kind"] == "Job" and any(
        condition["type"] == "Failed" and condition["status"] == "True" for condition in conditions
    )


def result(changes: t.Sequence[Change], diff: bool) -> dict[str, t.Any]:
    """The module's result."""
    changed = [change for change in changes if change.outcome != "unchanged"]
    answer: dict[str, t.Any] = {
        "changed": bool(changed),
        "objects": [
            {"kind": shown["kind"], "name": shown["metadata"]["name"], "outcome": change.outcome}
            for change in changes
            if (shown := change.after or change.before)
        ],
    }
    if diff:
        answer["diff"] = [_difference(change) for change in changed]
    return answer


def _difference(change: Change) -> dict[str, t.Any]:
    shown = change.after or change.before or {}
    name = describe(shown["kind"], shown["metadata"].get("namespace", ""), shown["metadata"]["name"])
    return {
        "before_header": name,
        "after_header": f"{name} ({change.outcome})",
        "before": _shown(change.before),
        "after": _shown(change.after),
    }


def _shown(value: Object | None) -> str:
    if value is None:
        return ""
    kept = essence(value)
    annotations = {
        key: text
        for key, text in (kept["metadata"].pop("annotations", None) or {}).items()
        if key != APPLIED_ANNOTATION
    }
    if annotations:
        kept["metadata"]["annotations"] = annotations
    # Without the tags that ansible hangs on texts, which YAML cannot show.
    return yaml.safe_dump(json.loads(json.dumps(kept)), sort_keys=False)
