# SPDX-License-Identifier: GPL-3.0-or-later
"""One iteration of the orchestrator: finalize, create, dispatch, integrate."""

from __future__ import annotations

from datetime import UTC, datetime

from eden_service_common import contracts
from eden_service_common.client import (
    AlreadyExists,
    Client,
    Document,
    InvalidPrecondition,
    ServerError,
    TransportError,
)
from eden_service_common.config import ExperimentConfig
from eden_service_common.logs import Log
from eden_service_common.service import new_id

from .integrator import Integrator

_ALL_MANUAL = dict.fromkeys(
    ("ideation_creation", "execution_dispatch", "evaluation_dispatch", "integration"), "manual"
)
_PREFIXES = {"ideation": "ideation-", "execution": "execution-", "evaluation": "evaluate-"}
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


class Orchestrator:
    """Drives one experiment."""

    def __init__(self, client: Client, integrator: Integrator, config: ExperimentConfig, log: Log) -> None:
        self._client = client
        self._integrator = integrator
        self._config = config
        self._log = log

    def iterate(self) -> bool:
        """Whether anything was done. Raises what the client raises, where nothing says otherwise below."""
        mode = self._dispatch_mode()
        running = self._is_running()
        progress = self._sweep()
        progress |= self._finalize("ideation")
        if running and mode["ideation_creation"] == "auto":
            progress |= self._create_ideations()
        if running and mode["execution_dispatch"] == "auto":
            progress |= self._dispatch_executions()
        progress |= self._finalize("execution")
        if running and mode["evaluation_dispatch"] == "auto":
            progress |= self._dispatch_evaluations()
        progress |= self._finalize("evaluation")
        if mode["integration"] == "auto":
            progress |= self._integrate()
        return progress

    def _dispatch_mode(self) -> dict[str, str]:
        # Unknown must not mean automatic: an operator may have said manual.
        try:
            return self._client.dispatch_mode()
        except (ServerError, TransportError):
            self._log.exception("read_dispatch_mode_failed; failing closed to all-manual")
            return _ALL_MANUAL

    def _is_running(self) -> bool:
        try:
            return self._client.state() == "running"
        except (ServerError, TransportError):
            self._log.exception("read_experiment_state_failed; treating as terminated for this iteration")
            return False

    def _sweep(self) -> bool:
        """Reclaim what was claimed for a time that is over; the claims of the hosts have no end."""
        now = datetime.now(UTC)
        progress = False
        for task in self._client.tasks(state="claimed"):
            expires_at = task["claim"].get("expires_at")
            if expires_at is None or datetime.fromisoformat(expires_at) >= now:
                continue
            try:
                self._client.reclaim(task["task_id"], "expired")
                progress = True
            except (ServerError, TransportError):
                self._log.exception(f"expired-claim reclaim failed for {task['task_id']}")
        return progress

    def _finalize(self, kind: str) -> bool:
        submitted = self._client.tasks(kind=kind, state="submitted")
        for task in submitted:
            decision = self._client.decision(task["task_id"])
            if decision == "accept":
                self._client.accept(task["task_id"])
            else:
                reason = "worker_error" if decision == "reject_worker" else "validation_error"
                self._client.reject(task["task_id"], reason)
        return bool(submitted)

    def _create_ideations(self) -> bool:
        progress = False
        tasks = self._client.tasks(kind="ideation")
        for _turn in range(wanted_ideations(self._config.ideation_policy, tasks)):
            try:
                self._create("ideation", {"experiment_id": self._client.experiment_id})
                progress = True
            except (ServerError, TransportError):
                self._log.exception("create_ideation_task failed; skipping")
        return progress

    def _dispatch_executions(self) -> bool:
        ideas = sorted(self._client.ideas("ready"), key=lambda idea: (-idea["priority"], idea["idea_id"]))
        created = [self._dispatch("execution", {"idea_id": idea["idea_id"]}) for idea in ideas]
        return any(created)

    def _dispatch_evaluations(self) -> bool:
        evaluated = {task["payload"]["variant_id"] for task in self._client.tasks(kind="evaluation")}
        waiting = [
            variant["variant_id"]
            for variant in self._client.variants("starting")
            if "commit_sha" in variant and variant["variant_id"] not in evaluated
        ]
        created = [self._dispatch("evaluation", {"variant_id": each}) for each in waiting]
        return any(created)

    def _dispatch(self, kind: str, payload: Document) -> bool:
        """Create a task; another orchestrator may have been faster, which is no failure."""
        try:
            self._create(kind, payload)
        except (AlreadyExists, InvalidPrecondition) as error:
            self._log.info(f"{kind} task was not created: {error}")
            return False
        return True

    def _create(self, kind: str, payload: Document) -> None:
        now = contracts.now()
        self._client.create_task(
            {
                "task_id": new_id(_PREFIXES[kind]),
                "kind": kind,
                "state": "pending",
                "payload": payload,
                "created_at": now,
                "updated_at": now,
            }
        )

    def _integrate(self) -> bool:
        progress = False
        for variant in self._client.variants("success"):
            if "variant_commit_sha" in variant or variant.get("kind") == "baseline":
                continue
            try:
                self._integrator.integrate(variant)
                progress = True
            except Exception:  # one bad variant must not keep the others from being integrated
                self._log.exception(f"integrate_variant raised for variant {variant['variant_id']}; skipping")
        return progress
