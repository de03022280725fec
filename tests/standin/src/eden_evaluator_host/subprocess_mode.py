# SPDX-License-Identifier: GPL-3.0-or-later
"""The evaluator host with the experiment's own command."""

from __future__ import annotations

from eden_service_common.client import Client, Document, InvalidPrecondition
from eden_service_common.commands import Workshop
from eden_service_common.config import ExperimentConfig
from eden_service_common.git import GitError, Repository
from eden_service_common.service import Service


def run(host: Service, client: Client, repository: Repository, experiment: ExperimentConfig) -> None:
    """Evaluate until stopped. Raises what keeps the host from starting, or what a poll raises."""
    files = {"task_file": ".eden/eval-task.json", "output": ".eden/eval-outcome.json"}
    workshop = Workshop("evaluator", "evaluation", host, client, repository, experiment, **files)
    evaluator = CommandEvaluator(host, client, repository, workshop, experiment)
    workshop.work(host, "evaluation", evaluator.evaluate)


class CommandEvaluator:
    """Answers evaluation tasks with what a command measures."""

    def __init__(
        self,
        host: Service,
        client: Client,
        repository: Repository,
        workshop: Workshop,
        experiment: ExperimentConfig,
    ) -> None:
        self._log = host.log
        self._client = client
        self._repository = repository
        self._workshop = workshop
        self._experiment = experiment

    def evaluate(self, task: Document) -> None:
        """Claim a task and answer it; a failure on this side leaves the variant as it is."""
        task_id = task["task_id"]
        variant = self._client.variant(task["payload"]["variant_id"])
        if "commit_sha" not in variant:
            self._log.warning("evaluator_variant_missing_commit", task_id=task_id)
            return
        self._client.claim(task_id)
        outcome = self._measure(task_id, variant)
        self._workshop.submit(task_id, {"variant_id": variant["variant_id"], **self._judge(outcome)})

    def _measure(self, task_id: str, variant: Document) -> Document:
        branch = variant.get("branch")
        if branch is not None and self._repository.has_origin():
            try:
                self._repository.fetch(f"refs/heads/{branch}")
            except GitError:
                self._log.warning("evaluator_fetch_failed", task_id=task_id, branch=branch)
                return {}
        brief = {
            "variant_id": variant["variant_id"],
            "variant_branch": branch,
            "variant_commit_sha": variant["commit_sha"],
            "evaluation_schema": self._experiment.evaluation_schema,
            "objective": self._experiment.objective,
        }
        return self._workshop.run(task_id, variant["commit_sha"], brief)

    def _judge(self, outcome: Document) -> Document:
        """The submission: success, error (of the variant) or evaluation_error (of the evaluator)."""
        status, uri = outcome.get("status"), outcome.get("artifacts_uri")
        kept = {"artifacts_uri": uri} if isinstance(uri, str) else {}
        if status == "error":
            return {"status": "error", **kept}
        if status != "success":
            return {"status": "evaluation_error"}
        evaluation = outcome.get("evaluation")
        if not isinstance(evaluation, dict) or not evaluation:
            self._log.warning("evaluator_success_missing_evaluation")
            return {"status": "evaluation_error", **kept}
        try:
            self._client.validate_evaluation(evaluation)
        except InvalidPrecondition as error:
            self._log.warning("evaluator_evaluation_invalid", reason=str(error))
            return {"status": "evaluation_error", **kept}
        return {"status": "success", "evaluation": evaluation, **kept}
