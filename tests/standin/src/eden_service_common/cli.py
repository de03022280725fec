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


def add_host_flags(parser: argparse.ArgumentParser, role: str, command: str) -> None:
    """The flags of the three worker hosts besides the common ones; `command` names their deadline flags."""
    parser.add_argument("--worker-id", required=True)
    parser.add_argument("--mode", choices=("scripted", "subprocess"), default="scripted")
    parser.add_argument("--experiment-dir", help="directory of the experiment (subprocess mode)")
    parser.add_argument("--forgejo-url", help="remote that --repo-path is a clone of")
    parser.add_argument("--credential-helper", help="git credential helper for --forgejo-url")
    parser.add_argument(f"--{command}-shutdown-deadline", type=float, default=10.0)
    parser.add_argument(f"--{command}-env-file")
    parser.add_argument(
        "--poll-interval", type=float, default=0.1, help="seconds between two polls when idle"
    )
    execution = parser.add_argument_group(f"execution of the {role}'s command (subprocess mode)")
    execution.add_argument("--exec-mode", choices=("host", "docker"), default="host")
    execution.add_argument("--exec-image", default=os.environ.get("EDEN_EXEC_IMAGE"))
    execution.add_argument("--exec-volume", action="append", default=[], metavar="NAME:TARGET[:ro|rw]")
    execution.add_argument("--exec-bind", action="append", default=[], metavar="HOST_PATH:TARGET[:ro|rw]")
    execution.add_argument("--cidfile-dir", default="/var/lib/eden/cidfiles")
    execution.add_argument("--exec-network", default=os.environ.get("EDEN_EXEC_NETWORK"))
    execution.add_argument("--artifact-url", default=os.environ.get("EDEN_ARTIFACT_URL"))
    execution.add_argument("--artifact-path-root", default=os.environ.get("EDEN_ARTIFACT_PATH_ROOT"))
    execution.add_argument("--readonly-store-url", default=os.environ.get("EDEN_READONLY_STORE_URL"))


def require_for_subprocess(parser: argparse.ArgumentParser, args: argparse.Namespace, *names: str) -> None:
    """Exit with 2 when subprocess mode lacks one of the flags, and with 1 because it does not exist here."""
    if args.mode != "subprocess":
        return
    for name in names:
        if getattr(args, name.replace("-", "_")) is None:
            parser.error(f"--{name} is required in --mode subprocess")
    raise SystemExit(f"{parser.prog}: --mode subprocess is not part of the stand-in; use --mode scripted")


def _non_empty(value: str) -> str:
    if not value.strip():
        raise argparse.ArgumentTypeError("must be a non-empty string")
    return value
