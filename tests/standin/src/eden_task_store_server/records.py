# SPDX-License-Identifier: GPL-3.0-or-later
"""Ideas, variants and the experiment itself."""

from __future__ import annotations

import json

from .problems import Problem
from .store import IDEAS, VARIANTS, Document, Store, Table

MODES = ("termination", "ideation_creation", "execution_dispatch", "evaluation_dispatch", "integration")


def create_idea(store: Store, idea: Document) -> Document:
    """Store a drafting idea."""
    with store.transaction():
        _require_new(store, IDEAS, idea)
        store.put(IDEAS, idea)
        store.emit("idea.drafted", idea_id=idea["idea_id"])
    return idea


def mark_ready(store: Store, idea_id: str) -> None:
    with store.transaction():
        store.put(IDEAS, {**store.get(IDEAS, idea_id), "state": "ready"})
        store.emit("idea.ready", idea_id=idea_id)


def create_variant(store: Store, variant: Document) -> Document:
    """Store a starting variant, or a baseline that is successful from the start."""
    variant_id = variant["variant_id"]
    with store.transaction():
        _require_new(store, VARIANTS, variant)
        store.put(VARIANTS, variant)
        data = {name: variant[name] for name in ("kind", "idea_id") if name in variant}
        store.emit("variant.started", variant_id=variant_id, **data)
        if variant["status"] == "success":
            store.check_evaluation(variant["evaluation"])
            store.emit("variant.succeeded", variant_id=variant_id, commit_sha=variant["commit_sha"])
    return variant


def integrate(store: Store, variant_id: str, commit_sha: str) -> None:
    """Record the commit of a successful variant; the same commit again changes nothing."""
    with store.transaction():
        variant = store.get(VARIANTS, variant_id)
        recorded = variant.get("variant_commit_sha")
        if recorded == commit_sha:
            return
        if recorded is not None or variant["status"] != "success" or variant.get("kind") == "baseline":
            raise Problem("invalid-precondition", f"variant {variant_id!r} cannot be integrated: {variant}")
        store.put(VARIANTS, {**variant, "variant_commit_sha": commit_sha})
        store.emit("variant.integrated", variant_id=variant_id, variant_commit_sha=commit_sha)


def read_experiment(store: Store) -> Document:
    """The experiment; `imported_from` is always there, null unless it was imported."""
    with store.transaction():
        rows = store.database.execute(
            "SELECT state, created_at, base_commit_sha, imported_from, name FROM experiment"
        )
    state, created_at, base_commit_sha, imported_from, name = rows[0]
    experiment: Document = {"experiment_id": store.experiment_id, "state": state, "created_at": created_at}
    if name is not None:
        experiment["name"] = name
    if base_commit_sha is not None:
        experiment["base_commit_sha"] = base_commit_sha
    return {**experiment, "imported_from": json.loads(imported_from) if imported_from else None}


def require_running(store: Store) -> None:
    """`illegal-transition` when the experiment is terminated."""
    state = store.database.execute("SELECT state FROM experiment")[0][0]
    if state != "running":
        raise Problem(
            "illegal-transition",
            f"experiment {store.experiment_id!r} is {state!r}; new tasks and claims are forbidden",
        )


def terminate(store: Store, reason: str, terminated_by: str) -> Document:
    """Terminate the experiment; a repetition changes nothing."""
    _require_actor("terminated_by", terminated_by)
    with store.transaction():
        experiment = read_experiment(store)
        if experiment["state"] != "terminated":
            store.database.execute("UPDATE experiment SET state = 'terminated'")
            store.emit("experiment.terminated", reason=reason, terminated_by=terminated_by)
        return {**experiment, "state": "terminated"}


def dispatch_mode(store: Store) -> dict[str, str]:
    with store.transaction():
        return dict(json.loads(store.database.execute("SELECT dispatch_mode FROM experiment")[0][0]))


def update_dispatch_mode(store: Store, updates: dict[str, str], updated_by: str) -> dict[str, str]:
    """The whole dispatch mode after the update; an event only when something changed."""
    _require_actor("updated_by", updated_by)
    with store.transaction():
        current = dispatch_mode(store)
        changed = {key: value for key, value in updates.items() if current.get(key) != value}
        if changed:
            current |= changed
            store.database.execute("UPDATE experiment SET dispatch_mode = ?", (json.dumps(current),))
            store.emit(
                "experiment.dispatch_mode_changed",
                dispatch_mode=current,
                changed=changed,
                updated_by=updated_by,
            )
        return current


def _require_new(store: Store, table: Table, document: Document) -> None:
    if store.find(table, document[table.key]) is not None:
        raise Problem("already-exists", f"{table.key} {document[table.key]!r}")


def _require_actor(field: str, value: str) -> None:
    # Only with authentication off is the caller no actor.
    if value == "anonymous":
        raise Problem(
            "invalid-precondition", f"{field} {value!r} does not match the admin|wkr_* actor grammar"
        )
