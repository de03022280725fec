# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the orchestrator."""

from __future__ import annotations

import argparse

from eden_service_common import cli, config, service
from eden_service_common.client import Client
from eden_service_common.credentials import admin_token
from eden_service_common.git import Identity, Repository

from .integrator import Integrator
from .loop import Orchestrator
from .startup import ensure_baseline, join_group

_AUTHOR = Identity("EDEN Integrator", "integrator@eden.invalid")
_QUIESCENT_ITERATIONS = 3


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error."""
    parser = cli.new_parser("eden-orchestrator", "Stand-in of EDEN's orchestrator.")
    cli.add_common_flags(parser)
    parser.add_argument("--worker-id", default="orchestrator")
    cli.add_clone_flags(parser, required=True)
    parser.add_argument("--experiment-config", required=True)
    parser.add_argument("--poll-interval", type=float, default=0.1)
    parser.add_argument(
        "--max-quiescent-iterations",
        type=_quiescent_iterations,
        default=_QUIESCENT_ITERATIONS,
        help="exit after so many idle iterations; 0 = never",
    )
    parser.add_argument("--lease-duration-seconds", type=int, default=30, help="of the lease mode")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Drive the experiment until it is quiescent, or SIGTERM or SIGINT. Returns the exit code."""
    args = parse_args(argv)
    orchestrator = service.start("orchestrator", args)
    experiment = config.load(args.experiment_config)
    limit = _quiescence_limit(args, experiment, orchestrator)
    admin = admin_token(args.admin_token)
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
    integrator = Integrator(client, _repository(args, orchestrator), _AUTHOR)
    _reconcile(args, client, integrator, admin, orchestrator)
    ensure_baseline(client, experiment, orchestrator.log)
    _run(Orchestrator(client, integrator, experiment, orchestrator.log), orchestrator, limit)
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
    value = args.max_quiescent_iterations
    if value == 0:
        return 0
    if value != _QUIESCENT_ITERATIONS:
        flag, reason = "--max-quiescent-iterations", "the experiment config takes precedence"
        orchestrator.log.warning("orchestrator_cli_flag_ignored", flag=flag, value=value, reason=reason)
    return experiment.max_quiescent_iterations or _QUIESCENT_ITERATIONS


def _repository(args: argparse.Namespace, orchestrator: service.Service) -> Repository:
    if args.forgejo_url is None:
        return Repository(args.repo_path)
    orchestrator.log.info("syncing_clone_from_remote", url=args.forgejo_url, dest=args.repo_path)
    return Repository.synchronized(args.repo_path, args.forgejo_url, args.credential_helper)


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
