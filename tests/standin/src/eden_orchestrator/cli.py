# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the orchestrator."""

from __future__ import annotations

import argparse
import os
import re

from eden_service_common import cli, config, service
from eden_service_common.client import Client
from eden_service_common.credentials import admin_token
from eden_service_common.git import Identity, Repository

from .integrator import Integrator
from .loop import Orchestrator, Prefixes
from .startup import ensure_baseline, join_group

_TERMINATION_POLICY = "eden_dispatch.termination:default_termination_policy"
_QUIESCENT_ITERATIONS = 3


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error."""
    parser = cli.new_parser("eden-orchestrator", "Stand-in of EDEN's orchestrator.")
    cli.add_common_flags(parser)
    parser.add_argument("--worker-id", default="orchestrator")
    parser.add_argument(
        "--repo-path", required=True, help="bare repository, the clone of --forgejo-url when given"
    )
    parser.add_argument("--forgejo-url")
    parser.add_argument("--credential-helper")
    parser.add_argument("--integrator-author", help="'Name <email>'")
    parser.add_argument("--experiment-config", required=True)
    parser.add_argument("--termination-policy", default=_TERMINATION_POLICY)
    parser.add_argument("--ideation-task-prefix", default="ideation-")
    parser.add_argument("--execution-task-prefix", default="execution-")
    parser.add_argument("--evaluation-task-prefix", default="evaluate-")
    parser.add_argument("--poll-interval", type=float, default=0.1)
    parser.add_argument(
        "--max-quiescent-iterations",
        type=_quiescent_iterations,
        default=_QUIESCENT_ITERATIONS,
        help="exit after so many idle iterations; 0 = never",
    )
    parser.add_argument("--auto-checkpoint-dir", default=os.environ.get("EDEN_AUTO_CHECKPOINT_DIR") or None)
    parser.add_argument("--control-plane-url", default=os.environ.get("EDEN_CONTROL_PLANE_URL") or None)
    parser.add_argument("--lease-duration-seconds", type=int, default=30)
    parser.add_argument("--control-plane-admin-token")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Drive the experiment until it is quiescent, or SIGTERM or SIGINT. Returns the exit code."""
    args = parse_args(argv)
    orchestrator = service.start("orchestrator", args)
    if args.control_plane_url is not None:
        service.refuse("--control-plane-url (lease mode) is not part of the stand-in")
    experiment = config.load(args.experiment_config)
    limit = _quiescence_limit(args, experiment, orchestrator)
    admin = admin_token(args.admin_token)
    if experiment.auto_checkpoint_enabled:
        _refuse_auto_checkpoint(args, admin)
    orchestrator.wait()
    client = orchestrator.client()
    orchestrator.log.info(
        "starting",
        mode="single-experiment",
        experiment_config=args.experiment_config,
        max_quiescent_iterations=limit,
        repo=args.repo_path,
        worker_id=args.worker_id,
    )
    integrator = Integrator(client, _repository(args, orchestrator), _author(args.integrator_author))
    _reconcile(args, client, integrator, admin, orchestrator)
    ensure_baseline(client, experiment, orchestrator.log)
    prefixes = Prefixes(args.ideation_task_prefix, args.execution_task_prefix, args.evaluation_task_prefix)
    _run(Orchestrator(client, integrator, experiment, prefixes, orchestrator.log), orchestrator, limit)
    orchestrator.log.info("orchestrator exited")
    return 0


def _run(loop: Orchestrator, orchestrator: service.Service, limit: int) -> None:
    quiescent = 0
    while not orchestrator.stop.is_set():
        quiescent = 0 if loop.iterate() else quiescent + 1
        if limit and quiescent >= limit:
            orchestrator.log.info("quiescent", iterations=quiescent)
            return
        orchestrator.stop.wait(orchestrator.args.poll_interval)


def _quiescent_iterations(text: str) -> int:
    value = int(text)
    if value < 0 or value == 1:
        raise argparse.ArgumentTypeError(f"must be 0 or >= 2 (got {value})")
    return value


def _quiescence_limit(
    args: argparse.Namespace, experiment: config.ExperimentConfig, orchestrator: service.Service
) -> int:
    """0 of the command line wins; any other value gives way to the experiment config."""
    ignored = {}
    if args.termination_policy != _TERMINATION_POLICY:
        ignored["--termination-policy"] = args.termination_policy
    if args.max_quiescent_iterations not in (0, _QUIESCENT_ITERATIONS):
        ignored["--max-quiescent-iterations"] = args.max_quiescent_iterations
    for flag, value in ignored.items():
        reason = "the experiment config takes precedence in single-experiment mode"
        orchestrator.log.warning("orchestrator_cli_flag_ignored", flag=flag, value=value, reason=reason)
    if args.max_quiescent_iterations == 0:
        return 0
    return experiment.max_quiescent_iterations or _QUIESCENT_ITERATIONS


def _refuse_auto_checkpoint(args: argparse.Namespace, admin: str | None) -> None:
    prefix = "auto_checkpoint.enabled is true but"
    if admin is None:
        service.refuse(f"{prefix} no admin token is available; set --admin-token / $EDEN_ADMIN_TOKEN")
    if not args.auto_checkpoint_dir:
        service.refuse(f"{prefix} no destination directory is set; pass --auto-checkpoint-dir")
    service.refuse(f"{prefix} checkpoints are not part of the stand-in")


def _repository(args: argparse.Namespace, orchestrator: service.Service) -> Repository:
    if args.forgejo_url is None:
        return Repository(args.repo_path)
    orchestrator.log.info("syncing_clone_from_remote", url=args.forgejo_url, dest=args.repo_path)
    return Repository.synchronized(args.repo_path, args.forgejo_url, args.credential_helper)


def _author(text: str | None) -> Identity:
    match = re.fullmatch(
        r"(?P<name>.+?)\s+<(?P<email>[^>]+)>", text or "EDEN Integrator <integrator@eden.invalid>"
    )
    if match is None:
        service.refuse(f"--integrator-author {text!r}: expected 'Name <email>' format")
    return Identity(match["name"], match["email"])


def _reconcile(
    args: argparse.Namespace,
    client: Client,
    integrator: Integrator,
    admin: str | None,
    orchestrator: service.Service,
) -> None:
    """Delete orphaned branches and join the group; a failure of either is logged only."""
    log = orchestrator.log
    if args.forgejo_url is not None:
        try:
            deleted = integrator.delete_orphans()
            if deleted:
                log.info("reconciled_remote_orphans", count=len(deleted))
        except Exception:
            log.exception("reconcile_remote_orphans_failed")
    if admin is not None:
        try:
            join_group(Client(client.base_url, client.experiment_id, f"admin:{admin}"), args.worker_id, log)
        except Exception:
            log.exception("ensure_orchestrators_membership_failed")
