# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a task: pending, claimed, submitted, then completed or failed."""

from __future__ import annotations

import json

from eden_service_common import contracts

from .problems import Problem
from .records import require_running
from .store import IDEAS, TASKS, VARIANTS, WORKERS, Document, Store

_LIVE = ("pending", "claimed", "submitted")


class Tasks:
    """The tasks of a store's experiment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, task: Document) -> Document:
        """Store a pending task; an execution task dispatches its idea."""
        store, kind, task_id, payload = self._store, task["kind"], task["task_id"], task["payload"]
        with store.transaction():
            require_running(store)
            if store.find(TASKS, task_id) is not None:
                raise Problem("already-exists", f"task {task_id!r}")
            if kind == "execution":
                idea = store.get(IDEAS, payload[IDEAS.key])
                self._require(IDEAS.key, payload, kind, idea["state"], "ready")
            elif kind == "evaluation":
                variant = store.get(VARIANTS, payload[VARIANTS.key])
                self._require(VARIANTS.key, payload, kind, variant["status"], "starting")
            store.put(TASKS, task)
            store.emit("task.created", task_id=task_id, kind=kind)
            if kind == "execution":
                store.put(IDEAS, {**idea, "state": "dispatched"})
                store.emit("idea.dispatched", idea_id=idea["idea_id"], task_id=task_id)
        return task

    def claim(self, task_id: str, worker_id: str, expires_at: str | None = None) -> Document:
        """Claim a pending task for a registered worker; returns the claim, which has no end unless told."""
        store = self._store
        with store.transaction():
            require_running(store)
            task = store.get(TASKS, task_id)
            if task["state"] != "pending":
                raise Problem("illegal-transition", f"cannot claim task in state {task['state']!r}")
            if store.find(WORKERS, worker_id) is None:
                raise Problem("worker-not-registered", f"worker_id={worker_id!r} is not registered")
            claim = {"worker_id": worker_id, "claimed_at": contracts.now()}
            if expires_at is not None:
                claim["expires_at"] = expires_at
            self._move(task, "claimed", claim=claim)
            store.emit("task.claimed", task_id=task_id, worker_id=worker_id)
        return claim

    def submit(self, task_id: str, worker_id: str, submission: Document) -> None:
        """Record the result of a claimed task; a repetition changes nothing."""
        store = self._store
        with store.transaction():
            task = store.get(TASKS, task_id)
            if task["state"] not in ("claimed", "submitted"):
                raise Problem("not-claimed", f"task {task_id!r} is in state {task['state']!r}, not 'claimed'")
            if task["claim"]["worker_id"] != worker_id:
                raise Problem(
                    "wrong-claimant",
                    f"submit by worker_id={worker_id!r} does not match "
                    f"task.claim.worker_id={task['claim']['worker_id']!r}",
                )
            if task["state"] == "submitted":
                if self._recorded(task_id) != submission:
                    raise Problem(
                        "conflicting-resubmission", f"resubmit of {task_id!r} disagrees with committed result"
                    )
                return
            self._require_change(task, submission)
            self._move(task, "submitted", claim=task["claim"], submitted_by=worker_id)
            store.database.execute(
                "INSERT INTO submission(task_id, kind, data) VALUES (?, ?, ?)",
                (task_id, task["kind"], json.dumps(submission)),
            )
            store.emit("task.submitted", task_id=task_id)

    def reclaim(self, task_id: str, cause: str) -> None:
        """Make a claimed task pending again, for an operator a submitted one too.

        The variant of an execution that was under way is errored: the next claim makes another one.
        """
        store = self._store
        with store.transaction():
            task = store.get(TASKS, task_id)
            if task["state"] not in ("claimed", "submitted"):
                raise Problem("illegal-transition", f"cannot reclaim task in state {task['state']!r}")
            if task["state"] == "submitted" and cause != "operator":
                raise Problem("illegal-transition", f"{cause!r} is no cause to reclaim a submitted task")
            self._move(task, "pending")
            store.database.execute("DELETE FROM submission WHERE task_id = ?", (task_id,))
            store.emit("task.reclaimed", task_id=task_id, cause=cause)
            if task["kind"] == "execution":
                for variant in store.select(VARIANTS, status="starting"):
                    if variant.get("idea_id") == task["payload"]["idea_id"]:
                        self._finish(variant["variant_id"], "error")
                        break

    def submission(self, task_id: str) -> Document | None:
        """What was submitted for a task, None when nothing is recorded."""
        with self._store.transaction():
            task = self._store.get(TASKS, task_id)
            rows = self._store.database.execute("SELECT data FROM submission WHERE task_id = ?", (task_id,))
            return {"kind": task["kind"], **json.loads(rows[0][0])} if rows else None

    def decision(self, task_id: str) -> Document:
        """How to finalize a task."""
        store = self._store
        with store.transaction():
            task = store.get(TASKS, task_id)
            if task["state"] != "submitted":
                return {"decision": "accept"}
            submission = self._recorded(task_id)
            if submission["status"] != "success":
                return {"decision": "reject_worker"}
            if task["kind"] == "execution":
                # Of one that was reclaimed in the meantime, the variant is errored already.
                status = store.get(VARIANTS, submission["variant_id"])["status"]
                if status != "starting":
                    return {"decision": "reject_validation", "reason": f"the variant is {status!r}"}
            return {"decision": "accept"}

    def accept(self, task_id: str) -> None:
        """Complete a submitted task and write its result to the idea and the variant."""
        store = self._store
        with store.transaction():
            task, submission = self._submitted(task_id, "accept")
            self._move(task, "completed")
            store.emit("task.completed", task_id=task_id)
            if task["kind"] == "execution":
                fields = {"commit_sha": submission["commit_sha"], "executed_by": task["submitted_by"]}
                store.put(VARIANTS, {**store.get(VARIANTS, submission["variant_id"]), **fields})
                self._complete_idea(task)
            elif task["kind"] == "evaluation":
                store.check_evaluation(submission["evaluation"])
                result = _kept(submission, "evaluation", "artifacts_uri")
                self._finish(submission["variant_id"], "success", **result, evaluated_by=task["submitted_by"])

    def reject(self, task_id: str, reason: str) -> None:
        """Fail a submitted task, and its variant unless only the evaluator is at fault."""
        with self._store.transaction():
            task, submission = self._submitted(task_id, "reject")
            self._move(task, "failed")
            self._store.emit("task.failed", task_id=task_id, reason=reason)
            if task["kind"] == "execution":
                self._complete_idea(task)
                if self._store.get(VARIANTS, submission["variant_id"])["status"] == "starting":
                    self._finish(submission["variant_id"], "error", executed_by=task["submitted_by"])
            elif task["kind"] == "evaluation" and submission["status"] == "error":
                result = _kept(submission, "artifacts_uri") if reason != "validation_error" else {}
                self._finish(submission["variant_id"], "error", **result, evaluated_by=task["submitted_by"])

    def _require(self, key: str, payload: Document, kind: str, state: str, wanted: str) -> None:
        """What a new task is about is in the wanted state, and no living task is about it."""
        about = payload[key]
        if state != wanted:
            raise Problem("invalid-precondition", f"{key} {about!r} must be {wanted!r}, not {state!r}")
        for other in self._store.select(TASKS, kind=kind):
            if other["state"] in _LIVE and other["payload"][key] == about:
                raise Problem("already-exists", f"a live {kind} task already exists for {about!r}")

    def _require_change(self, task: Document, submission: Document) -> None:
        """A successful execution has another commit than its parents; its tree is not looked at."""
        commit = submission.get("commit_sha")
        if task["kind"] == "execution" and submission["status"] == "success":
            idea = self._store.find(IDEAS, task["payload"]["idea_id"])
            if idea is not None and set(idea["parent_commits"]) == {commit}:
                raise Problem("no-op-variant", f"commit {commit!r} is the parent of task {task['task_id']!r}")

    def _recorded(self, task_id: str) -> Document:
        rows = self._store.database.execute("SELECT data FROM submission WHERE task_id = ?", (task_id,))
        return dict(json.loads(rows[0][0]))

    def _submitted(self, task_id: str, verb: str) -> tuple[Document, Document]:
        task = self._store.get(TASKS, task_id)
        if task["state"] != "submitted":
            raise Problem("illegal-transition", f"cannot {verb} task in state {task['state']!r}")
        return task, self._recorded(task_id)

    def _finish(self, variant_id: str, status: str, **fields: object) -> None:
        ended = {"status": status, "completed_at": contracts.now(), **fields}
        variant = self._store.put(VARIANTS, {**self._store.get(VARIANTS, variant_id), **ended})
        if status == "success":
            self._store.emit("variant.succeeded", variant_id=variant_id, commit_sha=variant["commit_sha"])
        else:
            self._store.emit("variant.errored", variant_id=variant_id)

    def _complete_idea(self, task: Document) -> None:
        idea = self._store.get(IDEAS, task["payload"]["idea_id"])
        self._store.put(IDEAS, {**idea, "state": "completed"})
        self._store.emit("idea.completed", idea_id=idea["idea_id"], task_id=task["task_id"])

    def _move(self, task: Document, state: str, **fields: object) -> None:
        """Store the task in another state; the claim is dropped unless it is among the fields."""
        kept = {name: value for name, value in task.items() if name != "claim"}
        self._store.put(TASKS, {**kept, "state": state, "updated_at": contracts.now(), **fields})


def _kept(submission: Document, *names: str) -> Document:
    return {name: submission[name] for name in names if name in submission}
