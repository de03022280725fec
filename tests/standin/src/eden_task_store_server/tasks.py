# SPDX-License-Identifier: GPL-3.0-or-later
"""The life of a task: pending, claimed, submitted, then completed or failed."""

from __future__ import annotations

import json

from eden_service_common import contracts
from eden_service_common.shapes import Invalid

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
        if task["state"] != "pending":
            raise Problem(
                "invalid-precondition", f"new task must be in 'pending' state, not {task['state']!r}"
            )
        store, kind, task_id = self._store, task["kind"], task["task_id"]
        if kind == "ideation" and task["payload"]["experiment_id"] != store.experiment_id:
            raise Problem(
                "invalid-precondition",
                f"payload.experiment_id={task['payload']['experiment_id']!r} of the ideation task is not "
                f"the store's experiment {store.experiment_id!r}",
            )
        with store.transaction():
            require_running(store)
            if store.find(TASKS, task_id) is not None:
                raise Problem("already-exists", f"task {task_id!r}")
            if kind == "execution":
                self._require_dispatchable_idea(task)
            elif kind == "evaluation":
                self._require_dispatchable_variant(task)
            store.put(TASKS, task)
            store.emit("task.created", task_id=task_id, kind=kind)
            if kind == "execution":
                idea_id = task["payload"]["idea_id"]
                store.put(IDEAS, {**store.get(IDEAS, idea_id), "state": "dispatched"})
                store.emit("idea.dispatched", idea_id=idea_id, task_id=task_id)
        return task

    def claim(self, task_id: str, worker_id: str) -> Document:
        """Claim a pending task for a registered worker; returns the claim."""
        store = self._store
        with store.transaction():
            require_running(store)
            task = store.get(TASKS, task_id)
            if task["state"] != "pending":
                raise Problem(
                    "illegal-transition", f"cannot claim task in state {task['state']!r} (must be 'pending')"
                )
            self._require_registered(worker_id)
            claim = {"worker_id": worker_id, "claimed_at": contracts.now()}
            self._move(task, "claimed", claim=claim)
            store.emit("task.claimed", task_id=task_id, worker_id=worker_id)
        return claim

    def submit(self, task_id: str, worker_id: str, payload: Document) -> None:
        """Record the result of a claimed task; an equivalent repetition changes nothing.

        A payload without `status`, or without `variant_id` where one belongs, is a KeyError.
        """
        store = self._store
        with store.transaction():
            task = store.get(TASKS, task_id)
            submission = _submission(task["kind"], payload)
            if task["state"] not in ("claimed", "submitted"):
                raise Problem("not-claimed", f"task {task_id!r} is in state {task['state']!r}, not 'claimed'")
            self._require_registered(worker_id)
            if task["claim"]["worker_id"] != worker_id:
                raise Problem(
                    "wrong-claimant",
                    f"submit by worker_id={worker_id!r} does not match "
                    f"task.claim.worker_id={task['claim']['worker_id']!r}",
                )
            self._require_own_references(task, submission)
            if task["state"] == "submitted":
                if not _equivalent(task["kind"], self._recorded(task_id), submission):
                    raise Problem(
                        "conflicting-resubmission", f"resubmit of {task_id!r} disagrees with committed result"
                    )
                return
            self._move(task, "submitted", claim=task["claim"], submitted_by=worker_id)
            store.database.execute(
                "INSERT INTO submission(task_id, kind, data) VALUES (?, ?, ?)",
                (task_id, task["kind"], json.dumps(submission)),
            )
            store.emit("task.submitted", task_id=task_id)

    def decision(self, task_id: str) -> Document:
        """How to finalize a task: `decision`, and the `reason` of a rejection."""
        with self._store.transaction():
            task = self._store.get(TASKS, task_id)
            if task["state"] != "submitted":
                return {"decision": "accept"}
            submission = self._recorded(task_id)
            reason = None
            if submission["status"] == "success":
                reason = self._unacceptable(task, submission)
            if reason is not None:
                return {"decision": "reject_validation", "reason": reason}
            return {"decision": "accept" if submission["status"] == "success" else "reject_worker"}

    def accept(self, task_id: str) -> None:
        """Complete a submitted task and write its result to the idea and the variant."""
        store = self._store
        with store.transaction():
            task = self._require_submitted(task_id, "accept")
            submission = self._recorded(task_id)
            reason = self._unacceptable(task, submission)
            if reason is not None:
                raise Problem(
                    "illegal-transition", f"cannot accept {task['kind']} task {task_id!r}: {reason}"
                )
            self._move(task, "completed")
            if task["kind"] == "execution":
                store.put(VARIANTS, self._executed(task, submission))
                store.emit("task.completed", task_id=task_id)
                self._complete_idea(task)
            elif task["kind"] == "evaluation":
                variant = store.put(VARIANTS, self._evaluated(task, submission))
                store.emit("task.completed", task_id=task_id)
                store.emit(
                    "variant.succeeded", variant_id=variant["variant_id"], commit_sha=variant["commit_sha"]
                )
            else:
                store.emit("task.completed", task_id=task_id)

    def reject(self, task_id: str, reason: str) -> None:
        """Fail a submitted task; its variant errs when the worker said so or, for an execution, always."""
        store = self._store
        with store.transaction():
            task = self._require_submitted(task_id, "reject")
            submission = self._recorded(task_id)
            self._move(task, "failed")
            store.emit("task.failed", task_id=task_id, reason=reason)
            valid = reason != "validation_error"
            if task["kind"] == "execution":
                self._complete_idea(task)
                variant = store.find(VARIANTS, submission["variant_id"])
                if variant is not None and self._is_starting_under(task, variant):
                    fields = {"executed_by": task["submitted_by"]}
                    if valid and "artifacts_uri" in submission:
                        fields["executor_artifacts_uri"] = submission["artifacts_uri"]
                    self._err(variant, fields)

    def _require_dispatchable_idea(self, task: Document) -> None:
        idea_id = task["payload"]["idea_id"]
        idea = self._store.get(IDEAS, idea_id)
        if idea["state"] != "ready":
            raise Problem(
                "invalid-precondition", f"idea {idea_id!r} must be 'ready' to dispatch, not {idea['state']!r}"
            )
        self._require_no_live("execution", "idea_id", idea_id)

    def _require_dispatchable_variant(self, task: Document) -> None:
        variant_id = task["payload"]["variant_id"]
        variant = self._store.get(VARIANTS, variant_id)
        if variant["status"] != "starting":
            raise Problem(
                "invalid-precondition",
                f"variant {variant_id!r} must be 'starting' to dispatch eval, not {variant['status']!r}",
            )
        if "commit_sha" not in variant:
            raise Problem("invalid-precondition", f"variant {variant_id!r} has no commit_sha")
        self._require_no_live("evaluation", "variant_id", variant_id)

    def _require_no_live(self, kind: str, field: str, value: str) -> None:
        for other in self._store.select(TASKS, kind=kind):
            if other["state"] in _LIVE and other["payload"][field] == value:
                raise Problem(
                    "already-exists",
                    f"a live {kind} task already exists for {value!r} ({other['task_id']!r})",
                )

    def _require_registered(self, worker_id: str) -> None:
        if self._store.find(WORKERS, worker_id) is None:
            raise Problem(
                "worker-not-registered",
                f"worker_id={worker_id!r} is not registered for experiment {self._store.experiment_id!r}",
            )

    def _require_own_references(self, task: Document, submission: Document) -> None:
        fault = None
        if task["kind"] == "ideation":
            fault = self._unknown_idea(submission)
        elif task["kind"] == "execution":
            variant = self._store.find(VARIANTS, submission["variant_id"])
            if variant is None:
                fault = f"references unknown variant {submission['variant_id']!r}"
            elif variant.get("idea_id") != task["payload"]["idea_id"]:
                fault = f"variant_id={submission['variant_id']!r} belongs to idea {variant.get('idea_id')!r}"
        elif submission["variant_id"] != task["payload"]["variant_id"]:
            fault = f"variant_id={submission['variant_id']!r} does not match the task's variant"
        if fault is not None:
            raise Problem("illegal-transition", f"{task['kind']}-task submission {fault}")

    def _unknown_idea(self, submission: Document) -> str | None:
        for idea_id in submission["idea_ids"]:
            idea = self._store.find(IDEAS, idea_id)
            if idea is None:
                return f"references unknown idea {idea_id!r}"
            if idea["state"] == "drafting":
                return f"references drafting idea {idea_id!r}"
        return None

    def _recorded(self, task_id: str) -> Document:
        rows = self._store.database.execute("SELECT data FROM submission WHERE task_id = ?", (task_id,))
        return dict(json.loads(rows[0][0]))

    def _require_submitted(self, task_id: str, verb: str) -> Document:
        task = self._store.get(TASKS, task_id)
        if task["state"] != "submitted":
            raise Problem("illegal-transition", f"cannot {verb} task in state {task['state']!r}")
        return task

    def _unacceptable(self, task: Document, submission: Document) -> str | None:
        """Why a submission that says success cannot be accepted, or None."""
        if task["kind"] == "ideation":
            return self._unknown_idea(submission)
        variant = self._store.find(VARIANTS, submission["variant_id"])
        if variant is None:
            return f"variant {submission['variant_id']!r} does not exist"
        if variant["status"] != "starting":
            return f"variant {submission['variant_id']!r} is {variant['status']!r}, not 'starting'"
        try:
            if task["kind"] == "execution":
                if "commit_sha" not in submission:
                    return "success submission requires commit_sha"
                if not self._is_starting_under(task, variant):
                    return f"variant {submission['variant_id']!r} belongs to a different idea"
                contracts.variant(self._executed(task, submission), "variant")
            else:
                if "commit_sha" not in variant:
                    return f"variant {submission['variant_id']!r} has no commit_sha"
                if "evaluation" not in submission:
                    return "success submission requires evaluation"
                self._store.check_evaluation(submission["evaluation"])
                contracts.variant(self._evaluated(task, submission), "variant")
        except (Invalid, Problem) as error:
            return str(error)
        return None

    def _executed(self, task: Document, submission: Document) -> Document:
        fields = {"commit_sha": submission["commit_sha"], "executed_by": task["submitted_by"]}
        if "artifacts_uri" in submission:
            fields["executor_artifacts_uri"] = submission["artifacts_uri"]
        return {**self._store.get(VARIANTS, submission["variant_id"]), **fields}

    def _evaluated(self, task: Document, submission: Document) -> Document:
        return {
            **self._store.get(VARIANTS, submission["variant_id"]),
            **_result(submission),
            "status": "success",
            "completed_at": contracts.now(),
            "evaluated_by": task["submitted_by"],
        }

    def _err(self, variant: Document, fields: Document) -> None:
        self._store.put(VARIANTS, {**variant, **fields, "status": "error", "completed_at": contracts.now()})
        self._store.emit("variant.errored", variant_id=variant["variant_id"])

    def _is_starting_under(self, task: Document, variant: Document) -> bool:
        own = variant.get("idea_id") == task["payload"]["idea_id"]
        return own and bool(variant["status"] == "starting")

    def _complete_idea(self, task: Document) -> None:
        idea = self._store.get(IDEAS, task["payload"]["idea_id"])
        self._store.put(IDEAS, {**idea, "state": "completed"})
        self._store.emit("idea.completed", idea_id=idea["idea_id"], task_id=task["task_id"])

    def _move(self, task: Document, state: str, **fields: object) -> Document:
        """Store the task in another state; the claim is dropped unless it is among the fields."""
        kept = {name: value for name, value in task.items() if name != "claim"}
        return self._store.put(TASKS, {**kept, "state": state, "updated_at": contracts.now(), **fields})


def _submission(kind: str, payload: Document) -> Document:
    submission: Document = {"status": payload["status"]}
    if kind == "ideation":
        submission["idea_ids"] = list(payload.get("idea_ids") or ())
        return submission
    submission["variant_id"] = payload["variant_id"]
    optional = ("commit_sha", "artifacts_uri") if kind == "execution" else ("evaluation", "artifacts_uri")
    return submission | {name: payload[name] for name in optional if payload.get(name) is not None}


def _equivalent(kind: str, first: Document, second: Document) -> bool:
    if kind == "ideation":
        return first["status"] == second["status"] and set(first["idea_ids"]) == set(second["idea_ids"])
    compared = ("status", "variant_id", "commit_sha", "evaluation")
    return all(first.get(name) == second.get(name) for name in compared)


def _result(submission: Document) -> Document:
    return {name: submission[name] for name in ("evaluation", "artifacts_uri") if name in submission}
