# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the executor host."""

from __future__ import annotations

import argparse

from eden_service_common import cli, contracts, service
from eden_service_common.client import Client, Document
from eden_service_common.git import GitError, Identity, Repository

from . import subprocess_mode

_AUTHOR = Identity("EDEN Executor", "executor@eden.invalid")
_DATE = "2026-04-01T00:00:00+00:00"


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error."""
    parser = cli.new_parser("eden-executor-host", "Stand-in of EDEN's executor worker host.")
    cli.add_common_flags(parser)
    cli.add_host_flags(parser, "execution")
    cli.add_clone_flags(parser, required=True)
    cli.add_worktrees_dir(parser)
    cli.add_fail_every(parser)
    parser.add_argument("--experiment-config", help="read for its execution_command")
    args = parser.parse_args(argv)
    return cli.require_for_commands(parser, args, "experiment-config", "experiment-dir")


def main(argv: list[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT. Returns the exit code; every failure but that of a push is raised."""
    args = parse_args(argv)
    host = service.start("executor-host", args)
    host.wait()
    client = host.client()
    host.log.info("starting", worker_id=args.worker_id, repo=args.repo_path, mode=args.mode)
    repository = host.clone()
    if args.mode == "subprocess":
        subprocess_mode.run(host, client, repository)
    else:
        host.work(Executor(client, repository, args.fail_every).execute)
    host.log.info("executor host exited")
    return 0


class Executor:
    """Answers execution tasks with one commit each."""

    def __init__(self, client: Client, repository: Repository, fail_every: int | None) -> None:
        self._client = client
        self._repository = repository
        self._fails = service.every(fail_every)

    def execute(self) -> bool:
        """Take the first pending execution task, if there is one, and answer it."""
        client = self._client
        pending = client.tasks(kind="execution", state="pending")
        if not pending:
            return False
        task = pending[0]
        idea = client.idea(task["payload"]["idea_id"])
        seconds = client.claim(task["task_id"])
        service.take(seconds.get("execution"))
        name = task["task_id"].replace("execution-", "variant-")
        branch = f"work/{name}-{idea['slug']}"
        commit = None if next(self._fails) else self._publish(idea, name, branch)
        variant_id = service.new_id("variant-")
        client.create_variant(
            {
                "variant_id": variant_id,
                "experiment_id": client.experiment_id,
                "idea_id": idea["idea_id"],
                "status": "starting",
                "parent_commits": idea["parent_commits"],
                "branch": branch,
                "started_at": contracts.now(),
            }
        )
        service.take(seconds.get("publication"))
        result = {"status": "error"} if commit is None else {"status": "success", "commit_sha": commit}
        client.submit(task["task_id"], {"variant_id": variant_id, **result})
        return True

    def _publish(self, idea: Document, name: str, branch: str) -> str | None:
        """The pushed commit, None when the remote did not take it."""
        repository, slug = self._repository, idea["slug"]
        blob = repository.write_blob(f"variant={name!r} slug={slug!r}\n".encode())
        tree = repository.write_file_tree(f"{slug}.txt", blob)
        commit = repository.commit(tree, idea["parent_commits"], f"eden: {slug} ({name})", _AUTHOR, _DATE)
        ref = f"refs/heads/{branch}"
        repository.create_ref(ref, commit)
        if repository.has_origin():
            try:
                repository.push(ref)
            except GitError:
                repository.delete_ref(ref, commit)
                return None
        return commit
