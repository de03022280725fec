# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims without an end, and how an operator takes a task back."""

from __future__ import annotations

from typing import Any

import pytest
from standin_api import Api
from standin_processes import EXPERIMENT, SEED, TaskStore, worker_id

# Another one than the parent, which EDEN refuses as a variant without a change.
COMMIT = "0123456789" * 4
TIME = "2026-01-01T00:00:00Z"
STAMPS = {"created_at": TIME, "updated_at": TIME}


def execution(store: TaskStore, operator: Api) -> dict[str, Any]:
    """An execution task, and the idea that it is about."""
    idea = {"idea_id": "idea-1", "experiment_id": EXPERIMENT, "slug": "one", "priority": 1.0}
    idea |= {"parent_commits": [SEED], "artifacts_uri": "file:///x", "state": "drafting", "created_at": TIME}
    operator.ok("POST", "/ideas", idea)
    operator.ok("POST", "/ideas/idea-1/mark-ready")
    task = {"task_id": "execution-1", "kind": "execution", "state": "pending"}
    return dict(operator.ok("POST", "/tasks", task | {"payload": {"idea_id": "idea-1"}} | STAMPS))


@pytest.mark.parametrize(
    ("before", "further"),
    [
        ("claimed", []),
        ("claimed with a variant", ["variant.errored"]),
        ("submitted", ["variant.errored"]),
    ],
)
def test_a_reclaimed_execution(before: str, further: list[str], store: TaskStore) -> None:
    operator, executor = store.mint("operator", "admins"), store.mint("executor-host-1")
    execution(store, operator)
    claim = executor.ok("POST", "/tasks/execution-1/claim", {})
    assert claim.keys() == {"worker_id", "claimed_at"}
    (row,) = operator.ok("GET", "/tasks?state=claimed&kind=execution")
    assert row["claim"] == claim
    if before != "claimed":
        variant = {"variant_id": "variant-1", "experiment_id": EXPERIMENT, "idea_id": "idea-1"}
        variant |= {"status": "starting", "parent_commits": [SEED], "started_at": TIME}
        executor.ok("POST", "/variants", variant)
    result = {"payload": {"status": "success", "variant_id": "variant-1", "commit_sha": COMMIT}}
    if before == "submitted":
        executor.ok("POST", "/tasks/execution-1/submit", result)
    seen = len(store.api.events())

    assert operator.call("POST", "/tasks/execution-1/reclaim", {"cause": "operator"}).status == 204

    events = store.api.events()[seen:]
    assert [event["type"] for event in events] == ["task.reclaimed", *further]
    assert events[0]["data"] == {"task_id": "execution-1", "cause": "operator"}
    task = operator.ok("GET", "/tasks/execution-1")
    assert (task["state"], "claim" in task) == ("pending", False)
    assert [variant["status"] for variant in operator.ok("GET", "/variants")] == ["error"] * len(further)
    # What the old claimant still wants to submit is refused, also when another one has the task.
    assert executor.call("POST", "/tasks/execution-1/submit", result).problem == "not-claimed"
    store.mint("executor-host-2").ok("POST", "/tasks/execution-1/claim", {})
    assert executor.call("POST", "/tasks/execution-1/submit", result).problem == "wrong-claimant"


def test_a_claim_with_an_end(store: TaskStore) -> None:
    operator, worker = store.mint("operator", "admins"), store.mint("web-ui")
    task = {"task_id": "ideation-1", "kind": "ideation", "state": "pending"}
    operator.ok("POST", "/tasks", task | {"payload": {"experiment_id": EXPERIMENT}} | STAMPS)
    claim = worker.ok("POST", "/tasks/ideation-1/claim", {"expires_at": TIME})
    assert (claim["worker_id"], claim["expires_at"]) == (worker_id(worker), TIME)
    assert operator.ok("GET", "/tasks/ideation-1")["claim"] == claim
    # It is for the orchestrator to look at the end; until then the claim holds.
    worker.ok("POST", "/tasks/ideation-1/submit", {"payload": {"status": "success", "idea_ids": []}})
