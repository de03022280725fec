# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the web UI."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from eden_service_common import cli, config, service
from eden_service_common.client import Client, TransportError, Unauthorized
from eden_service_common.credentials import admin_token, worker_bearer
from eden_service_common.git import Repository
from eden_service_common.httpd import serve

from .app import Ui


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error."""
    parser = cli.new_parser("eden_web_ui", "Stand-in of EDEN's web UI.")
    cli.add_common_flags(parser)
    parser.add_argument("--experiment-config")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--session-secret", required=True, help="signs the session cookie")
    parser.add_argument("--worker-id", default="web-ui-1")
    parser.add_argument("--claim-ttl-seconds", type=int, default=3600)
    parser.add_argument("--artifacts-dir", required=True, type=Path)
    parser.add_argument("--secure-cookies", action="store_true")
    parser.add_argument("--repo-path", type=Path)
    parser.add_argument("--repo-root", type=Path)
    parser.add_argument("--forgejo-url")
    parser.add_argument("--credential-helper")
    parser.add_argument("--clone-url")
    parser.add_argument("--base-commit-sha")
    parser.add_argument("--control-plane-url", default=os.environ.get("EDEN_CONTROL_PLANE_URL") or None)
    parser.add_argument("--control-plane-admin-token")
    parser.add_argument("--control-plane-worker-id")
    parser.add_argument("--credential-dir", help="token path is <dir>/<experiment id>/<worker id>.token")
    parser.add_argument("--experiment-config-dir", type=Path)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; raises what keeps the UI from starting."""
    args = parse_args(argv)
    ui = service.start("web-ui", args)
    if args.control_plane_url is not None:
        service.refuse("--control-plane-url is not part of the stand-in")
    if args.experiment_config is None:
        ui.log.error("--experiment-config is required in single-experiment mode (no --control-plane-url)")
        return 1
    config.load(args.experiment_config)
    ui.wait()
    _check_repository(args)
    client = _client(args, ui)
    if client is None:
        return 1
    app = Ui(client, args.worker_id, args.session_secret, secure_cookies=args.secure_cookies)
    serve(app, host=args.host, port=args.port, banner="EDEN_WEB_UI_LISTENING", log=ui.log, stop=ui.stop)
    return 0


def _check_repository(args: argparse.Namespace) -> None:
    """Clone or update the repository, which must have a commit."""
    if args.repo_path is None:
        return
    repository = Repository(args.repo_path)
    if args.forgejo_url is not None:
        repository = Repository.synchronized(args.repo_path, args.forgejo_url, args.credential_helper)
    repository.run("rev-parse", "--verify", "HEAD")


def _client(args: argparse.Namespace, ui: service.Service) -> Client | None:
    """A client whose bearer works; None, with the reason logged, when there is none."""
    admin = admin_token(args.admin_token)
    directory = _credential_directory(args) / args.experiment_id
    try:
        bearer = worker_bearer(args.task_store_url, args.experiment_id, args.worker_id, directory, admin)
        client = Client(args.task_store_url, args.experiment_id, bearer)
        client.whoami()
    except Unauthorized:
        ui.log.error("worker bearer rejected by task-store /whoami; set --admin-token (or $EDEN_ADMIN_TOKEN)")
        return None
    except (RuntimeError, TransportError) as error:
        ui.log.error("failed to bootstrap default-experiment credential", error=str(error))
        return None
    if admin is not None:
        try:
            Client(args.task_store_url, args.experiment_id, f"admin:{admin}").workers()
        except Unauthorized:
            ui.log.error("admin token rejected by task-store; check --admin-token / $EDEN_ADMIN_TOKEN")
            return None
    return client


def _credential_directory(args: argparse.Namespace) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    candidates = (
        args.credential_dir,
        os.environ.get("EDEN_CREDENTIAL_DIR"),
        args.credentials_dir,
        os.environ.get("EDEN_WORKER_CREDENTIALS_DIR"),
    )
    return next((Path(candidate) for candidate in candidates if candidate), state / "eden" / "web-ui")
