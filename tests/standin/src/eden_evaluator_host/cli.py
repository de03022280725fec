# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the evaluator host."""

from __future__ import annotations

import argparse

from eden_service_common import cli, config, service
from eden_service_common.client import Client, Document

from . import subprocess_mode


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error."""
    parser = cli.new_parser("eden-evaluator-host", "Stand-in of EDEN's evaluator worker host.")
    cli.add_common_flags(parser)
    cli.add_host_flags(parser, "evaluation")
    cli.add_clone_flags(parser, required=False)
    cli.add_worktrees_dir(parser)
    cli.add_fail_every(parser)
    parser.add_argument("--experiment-config", required=True, help="read for its evaluation_schema")
    return cli.require_for_commands(parser, parser.parse_args(argv), "experiment-dir", "repo-path")


def main(argv: list[str] | None = None) -> int:
    """Work until SIGTERM or SIGINT. Returns the exit code; every failure is raised."""
    args = parse_args(argv)
    host = service.start("evaluator-host", args)
    host.wait()
    experiment = config.load(args.experiment_config)
    client = host.client()
    host.log.info("starting", worker_id=args.worker_id, mode=args.mode)
    if args.mode == "subprocess":
        subprocess_mode.run(host, client, host.clone(), experiment)
    else:
        host.work(Evaluator(client, experiment.evaluation_schema, args.fail_every).evaluate)
    host.log.info("evaluator host exited")
    return 0


class Evaluator:
    """Answers evaluation tasks with made-up metrics that fit the schema."""

    def __init__(self, client: Client, evaluation_schema: dict[str, str], fail_every: int | None) -> None:
        self._client = client
        self._fails = service.every(fail_every)
        self._schema = evaluation_schema
        self._count = 0

    def evaluate(self) -> bool:
        """Take the first pending evaluation task, if there is one, and answer it."""
        client = self._client
        pending = client.tasks(kind="evaluation", state="pending")
        if not pending:
            return False
        task = pending[0]
        variant_id = client.variant(task["payload"]["variant_id"])["variant_id"]
        service.take(client.claim(task["task_id"]).get("evaluation"))
        self._count += 1
        result: Document = {
            "status": "success",
            "variant_id": variant_id,
            "artifacts_uri": f"file:///tmp/artifacts/variants/{variant_id}/evaluator/evaluation.md",
            "evaluation": {name: _metric(kind, self._count) for name, kind in self._schema.items()},
        }
        if next(self._fails):
            result["status"] = "error"
            del result["evaluation"]
        client.submit(task["task_id"], result)
        return True


def _metric(kind: str, count: int) -> float | int | str:
    if kind == "real":
        return 0.5 + (count % 3) * 0.1
    return count if kind == "integer" else f"value-{count}"
