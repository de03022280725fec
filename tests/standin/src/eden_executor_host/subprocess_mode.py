# SPDX-License-Identifier: GPL-3.0-or-later
"""The executor host with the experiment's own command."""

from __future__ import annotations

import re
from pathlib import Path

from eden_service_common import config, contracts, service
from eden_service_common.client import Client, Document, NoOpVariant, ServerError
from eden_service_common.commands import Workshop
from eden_service_common.git import GitError, Repository


def run(host: service.Service, client: Client, repository: Repository) -> None:
    """Execute tasks until stopped. Raises what keeps the host from starting, or what a poll raises."""
    experiment = config.load(host.args.experiment_config)
    files = {"task_file": ".eden/task.json", "output": ".eden/outcome.json"}
    workshop = Workshop("executor", "execution", host, client, repository, experiment, **files)
    workshop.work(host, "execution", CommandExecutor(host, client, repository, workshop).execute)


class CommandExecutor:
    """Answers execution tasks with the commits of a command."""

    def __init__(
        self, host: service.Service, client: Client, repository: Repository, workshop: Workshop
    ) -> None:
        self._log = host.log
        self._client = client
        self._repository = repository
        self._workshop = workshop

    def execute(self, task: Document) -> None:
        """Claim a task and answer it; a command that fails is answered with an error."""
        client, task_id = self._client, task["task_id"]
        idea = client.idea(task["payload"]["idea_id"])
        variant_id = service.new_id("variant-")
        branch = f"work/{variant_id}-{idea['slug']}"
        client.claim(task_id)
        variant = {
            "variant_id": variant_id,
            "experiment_id": client.experiment_id,
            "idea_id": idea["idea_id"],
            "status": "starting",
            "parent_commits": idea["parent_commits"],
            "branch": branch,
            "started_at": contracts.now(),
        }
        error = {"status": "error", "variant_id": variant_id}
        try:
            client.create_variant(variant)
        except ServerError as fault:
            self._log.warning("executor_create_variant_failed", task_id=task_id, error=str(fault))
            self._workshop.submit(task_id, error)
            return
        commit = self._commit(task_id, idea, variant_id, branch)
        if commit is None or not self._publish(task_id, branch, commit):
            self._workshop.submit(task_id, error)
            return
        try:
            result = {"status": "success", "variant_id": variant_id, "commit_sha": commit}
            self._workshop.submit(task_id, result)
        except NoOpVariant:
            self._log.warning("executor_no_op_variant_server_rejected", task_id=task_id)
            self._workshop.submit(task_id, error)

    def _commit(self, task_id: str, idea: Document, variant_id: str, branch: str) -> str | None:
        """The commit that the command made, None when it made none that may be submitted."""
        parents: list[str] = idea["parent_commits"]
        brief = {
            "variant_id": variant_id,
            "idea_id": idea["idea_id"],
            "idea_slug": idea["slug"],
            "parent_commits": parents,
            "branch": branch,
            "content_path": content_path(idea["artifacts_uri"]),
        }
        outcome = self._workshop.run(task_id, parents[0], brief)
        if outcome.get("status") != "success":
            return None
        commit = outcome.get("commit_sha")
        repository = self._repository
        if (
            not isinstance(commit, str)
            or re.fullmatch(contracts.SHA, commit) is None
            or not repository.has_commit(commit)
            or not all(repository.is_ancestor(parent, commit) for parent in parents)
        ):
            self._log.warning("executor_commit_invalid", task_id=task_id, commit_sha=commit)
            return None
        tree = repository.tree_of(commit)
        if all(repository.tree_of(parent) == tree for parent in parents):
            self._log.warning("executor_no_op_variant", task_id=task_id, commit_sha=commit)
            return None
        return commit

    def _publish(self, task_id: str, branch: str, commit: str) -> bool:
        """Put the branch on the commit, in the clone and in its origin; whether that worked."""
        repository, ref = self._repository, f"refs/heads/{branch}"
        try:
            repository.create_ref(ref, commit)
        except GitError:
            self._log.warning("executor_create_ref_failed", task_id=task_id, branch=branch)
            return False
        if repository.has_origin():
            try:
                repository.push(ref)
            except GitError:
                self._log.warning("executor_push_ref_failed", task_id=task_id, branch=branch)
                repository.delete_ref(ref, commit)
                return False
        return True


def content_path(uri: str) -> str | None:
    """The file with an idea's content, None unless it is there, at the path that the URI has."""
    if not uri.startswith("file://"):
        return None
    path = Path(uri.removeprefix("file://"))
    if (path / "content.md").is_file():
        return str(path / "content.md")
    return str(path) if path.suffix == ".md" and path.is_file() else None
