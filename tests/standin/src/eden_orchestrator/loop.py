# SPDX-License-Identifier: GPL-3.0-or-later
"""One iteration of the orchestrator: reclaim, terminate, finalize, create, dispatch, integrate."""

from __future__ import annotations

from dataclasses import dataclass
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
from .policies import termination_reason, wanted_ideations

_ALL_MANUAL = dict.fromkeys(
    ("termination", "ideation_creation", "execution_dispatch", "evaluation_dispatch", "integration"), "manual"
)


@dataclass(frozen=True)
class Prefixes:
    """Prefixes of the ids of new tasks."""

    ideation: str
    execution: str
    evaluation: str


class Orchestrator:
    """Drives one experiment."""

    def __init__(
        self, client: Client, integrator: Integrator, config: ExperimentConfig, prefixes: Prefixes, log: Log
    ) -> None:
        self._client = client
        self._integrator = integrator
        self._config = config
        self._prefixes = prefixes
        self._log = log

    def iterate(self) -> bool:
        """Whether anything was done. Raises what the client raises, where nothing says otherwise below."""
        mode = self._dispatch_mode()
        progress = self._reclaim_expired()
        running, terminated = self._decide_termination(mode)
        progress |= terminated
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

    def _reclaim_expired(self) -> bool:
        progress = False
        for task in self._client.tasks(state="claimed"):
            expires_at = task["claim"].get("expires_at")
            if expires_at is None or datetime.fromisoformat(expires_at) >= datetime.now(UTC):
                continue
            try:
                self._client.reclaim(task["task_id"], "expired")
                progress = True
            except (ServerError, TransportError):
                self._log.exception(f"expired-claim reclaim failed for {task['task_id']}")
        return progress

    def _decide_termination(self, mode: dict[str, str]) -> tuple[bool, bool]:
        """Whether the experiment is running now, and whether this call ended it."""
        try:
            running = self._client.state() == "running"
        except (ServerError, TransportError):
            self._log.exception("read_experiment_state_failed; treating as terminated for this iteration")
            return False, False
        if not running or mode["termination"] != "auto":
            return running, False
        try:
            reason = termination_reason(self._config.termination_policy, self._client)
        except (ServerError, TransportError, ValueError) as error:
            self._log.exception("termination_policy raised; treating as Continue")
            self._client.policy_error("termination", error)
            return True, False
        if reason is None:
            return True, False
        self._client.terminate(reason)
        return False, True

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
            task_id = new_id(self._prefixes.ideation)
            try:
                self._create("ideation", task_id, {"experiment_id": self._client.experiment_id})
                progress = True
            except (ServerError, TransportError):
                self._log.exception(f"create_ideation_task({task_id}) failed; skipping")
        return progress

    def _dispatch_executions(self) -> bool:
        ideas = sorted(self._client.ideas("ready"), key=lambda idea: (-idea["priority"], idea["idea_id"]))
        prefix = self._prefixes.execution
        created = [self._dispatch("execution", prefix, {"idea_id": idea["idea_id"]}) for idea in ideas]
        return any(created)

    def _dispatch_evaluations(self) -> bool:
        evaluated = {task["payload"]["variant_id"] for task in self._client.tasks(kind="evaluation")}
        waiting = [
            variant["variant_id"]
            for variant in self._client.variants("starting")
            if "commit_sha" in variant and variant["variant_id"] not in evaluated
        ]
        prefix = self._prefixes.evaluation
        created = [self._dispatch("evaluation", prefix, {"variant_id": each}) for each in waiting]
        return any(created)

    def _dispatch(self, kind: str, prefix: str, payload: Document) -> bool:
        """Create a task; another orchestrator may have been faster, which is no failure."""
        try:
            self._create(kind, new_id(prefix), payload)
        except (AlreadyExists, InvalidPrecondition) as error:
            self._log.info(f"{kind} task was not created: {error}")
            return False
        return True

    def _create(self, kind: str, task_id: str, payload: Document) -> None:
        now = contracts.now()
        self._client.create_task(
            {
                "task_id": task_id,
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
