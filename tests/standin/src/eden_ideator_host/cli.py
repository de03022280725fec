# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the ideator host."""

from __future__ import annotations

import argparse
import re

from eden_service_common import cli, contracts, service
from eden_service_common.client import Client, Document

from . import subprocess_mode


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error, with 1 on a bad commit sha."""
    parser = cli.new_parser("eden-ideator-host", "Stand-in of EDEN's ideator worker host.")
    cli.add_common_flags(parser)
    cli.add_host_flags(parser, "ideation")
    cli.add_clone_flags(parser, required=False)
    parser.add_argument("--base-commit-sha", help="parent commit of every idea")
    parser.add_argument("--ideas-per-ideation", type=int, default=1)
    parser.add_argument("--experiment-config", help="read for its ideation_command")
    parser.add_argument("--artifacts-dir", help="where the content of ideas is written")
    parser.add_argument(
        "--ideation-startup-deadline",
        type=float,
        default=30.0,
        help="seconds until the command is ready",
    )
    args = parser.parse_args(argv)
    if args.mode == "subprocess":
        return cli.require_for_commands(parser, args, "experiment-config", "experiment-dir", "artifacts-dir")
    if not args.base_commit_sha:
        parser.error("--base-commit-sha is required in --mode scripted")
    if re.fullmatch(contracts.SHA, args.base_commit_sha) is None:
        service.refuse(f"--base-commit-sha {args.base_commit_sha!r}: expected 40- or 64-hex SHA")
    return args


def main(argv: list[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT. Returns the exit code; every failure of a request is raised."""
    args = parse_args(argv)
    host = service.start("ideator-host", args)
    host.wait()
    client = host.client()
    host.log.info("starting", worker_id=args.worker_id, mode=args.mode)
    if args.mode == "subprocess":
        if args.repo_path is not None:
            host.clone()
        subprocess_mode.run(host, client)
    else:
        host.work(lambda: ideate(client, args.base_commit_sha, args.ideas_per_ideation))
    host.log.info("ideator host exited")
    return 0


def ideate(client: Client, base_commit_sha: str, count: int) -> bool:
    """Take the first pending ideation task, if there is one, and answer it with so many ideas."""
    pending = client.tasks(kind="ideation", state="pending")
    if not pending:
        return False
    task_id = pending[0]["task_id"]
    service.take(client.claim(task_id).get("ideation"))
    idea_ids = []
    for index in range(count):
        slug = f"{task_id}-p{index}"
        idea: Document = {
            "idea_id": service.new_id("idea-"),
            "experiment_id": client.experiment_id,
            "slug": slug,
            "priority": float(count - index),
            "parent_commits": [base_commit_sha],
            # Nothing is written there: scripted ideas have no content.
            "artifacts_uri": f"file:///tmp/artifacts/ideas/{slug}/content.md",
            "state": "drafting",
            "created_at": contracts.now(),
        }
        client.create_idea(idea)
        client.mark_ready(idea["idea_id"])
        idea_ids.append(idea["idea_id"])
    client.submit(task_id, {"status": "success", "idea_ids": idea_ids})
    return True
