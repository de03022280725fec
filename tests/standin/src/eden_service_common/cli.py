# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line flags that several services share."""

from __future__ import annotations

import argparse
import os

from .logs import LEVELS


def new_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """A parser that refuses unknown and abbreviated flags with exit code 2."""
    return argparse.ArgumentParser(prog=prog, description=description, allow_abbrev=False)


def add_log_level(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log-level", default="info", choices=list(LEVELS))


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of every service that has a worker."""
    parser.add_argument("--task-store-url", required=True, help="base URL of the task store")
    parser.add_argument("--experiment-id", required=True, type=_non_empty)
    parser.add_argument("--admin-token", help="to reissue the worker's credential (else $EDEN_ADMIN_TOKEN)")
    parser.add_argument(
        "--credentials-dir", help="where <worker_id>.token is kept (else $EDEN_WORKER_CREDENTIALS_DIR)"
    )
    parser.add_argument(
        "--startup-timeout", type=float, default=30.0, help="seconds to wait for the task store"
    )
    add_log_level(parser)


def add_clone_flags(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The flags of a clone of the experiment's repository."""
    parser.add_argument("--repo-path", required=required, help="bare repository, the clone of --forgejo-url")
    parser.add_argument("--forgejo-url")
    parser.add_argument("--credential-helper", help="git credential helper for --forgejo-url")


def add_host_flags(parser: argparse.ArgumentParser, kind: str) -> None:
    """The flags of the three worker hosts besides the common ones; `kind` is that of their tasks."""
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--mode", choices=("scripted", "subprocess"), default="scripted")
    parser.add_argument(
        "--poll-interval", type=float, default=0.1, help="seconds between two polls when idle"
    )
    parser.add_argument("--experiment-dir", help="directory of the experiment's files")
    parser.add_argument(f"--{kind}-shutdown-deadline", dest="shutdown_deadline", type=float, default=10.0)
    parser.add_argument(f"--{kind}-env-file", dest="env_file", help="lines NAME=VALUE for the command")
    for name in ("artifact-url", "artifact-path-root", "readonly-store-url"):
        variable = "EDEN_" + name.upper().replace("-", "_")
        parser.add_argument(f"--{name}", default=os.environ.get(variable), help=f"(else ${variable})")
    # Commands run here; the flags of Docker are taken and mean nothing.
    parser.add_argument("--exec-mode", choices=("host",), default="host")
    for name in ("exec-image", "exec-network", "cidfile-dir"):
        parser.add_argument(f"--{name}")
    for name in ("exec-volume", "exec-bind"):
        parser.add_argument(f"--{name}", action="append")


def add_fail_every(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fail-every", type=int, help="let every so-many-th scripted task fail")


def add_worktrees_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--worktrees-dir", default="/var/lib/eden/worktrees", help="root of the directories that tasks run in"
    )


def require_for_commands(
    parser: argparse.ArgumentParser, args: argparse.Namespace, *names: str
) -> argparse.Namespace:
    """The arguments; exits with code 2 when `--mode subprocess` lacks one of the flags."""
    for name in names:
        if args.mode == "subprocess" and getattr(args, name.replace("-", "_")) is None:
            parser.error(f"--{name} is required in --mode subprocess")
    return args


def _non_empty(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("must be a non-empty string")
    return value
