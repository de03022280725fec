# SPDX-License-Identifier: GPL-3.0-or-later
"""The policies of the experiment config: how many ideation tasks to create, and when to terminate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from eden_service_common.client import Client, Document
from eden_service_common.config import parse_duration

_PENDING = 3


def wanted_ideations(policy: Document | None, tasks: list[Document]) -> int:
    """How many ideation tasks the policy wants besides `tasks`, the ones that exist."""
    policy = policy or {"kind": "maintain_pending"}
    if policy["kind"] == "fixed_total":
        return max(0, int(policy["total"]) - len(tasks))
    pending = sum(1 for task in tasks if task["state"] == "pending")
    wanted = max(0, int(policy.get("target", _PENDING)) - pending)
    limit = policy.get("max_total")
    return wanted if limit is None else min(wanted, max(0, int(limit) - len(tasks)))


def termination_reason(policy: Document | None, client: Client) -> str | None:
    """Why the policy ends the experiment now, or None."""
    kind = policy["kind"] if policy else "never_terminate"
    if policy is None or kind == "never_terminate":
        return None
    if kind == "max_wall_time":
        elapsed = datetime.now(UTC) - datetime.fromisoformat(client.experiment()["created_at"])
        limit = parse_duration(policy["duration"])
        return f"max_wall_time={limit} reached (elapsed={elapsed})" if elapsed >= limit else None
    variants = client.variants()
    if kind == "max_variants":
        attempted = sum(variant.get("kind") != "baseline" for variant in variants)
        reached = attempted >= policy["target"]
        return f"max_variants={policy['target']} reached (attempted={attempted})" if reached else None
    # Values are compared as "greater is better".
    sign = -1.0 if policy.get("direction") == "minimize" else 1.0
    metric = policy["metric"]
    evaluations = _integrated_evaluations(variants)
    if kind == "target_condition":
        value = _number(evaluations[-1].get(metric)) if evaluations else None
        reached = value is not None and sign * value >= sign * policy["threshold"]
        return f"target reached: {metric}={value}, threshold {policy['threshold']}" if reached else None
    values = [sign * value for value in (_number(e.get(metric)) for e in evaluations) if value is not None]
    before, window = values[: -policy["window"]], values[-policy["window"] :]
    stalled = bool(before) and max(window) <= max(before)
    return (
        f"convergence: {metric!r} no improvement in last {policy['window']} integrations" if stalled else None
    )


def _integrated_evaluations(variants: list[Document]) -> list[Document]:
    integrated = [v for v in variants if v["status"] == "success" and "variant_commit_sha" in v]
    integrated.sort(key=lambda v: (v.get("completed_at", ""), v["variant_id"]))
    return [variant.get("evaluation", {}) for variant in integrated]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
