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
from eden_service_common.httpd import Request, Response, json_response, serve


def answer(request: Request) -> Response:
    """Health, the only page."""
    if (request.method, request.path) == ("GET", "/healthz"):
        return json_response({"status": "ok"})
    return json_response({"detail": "Not Found"}, 404)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error."""
    parser = cli.new_parser("eden_web_ui", "Stand-in of EDEN's web UI.")
    cli.add_common_flags(parser)
    cli.add_clone_flags(parser, required=False)
    parser.add_argument("--experiment-config", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--session-secret", required=True, help="of the session cookie, which nothing sets")
    parser.add_argument("--worker-id", default="web-ui-1")
    parser.add_argument("--artifacts-dir", required=True, type=Path)
    parser.add_argument("--base-commit-sha")
    parser.add_argument("--credential-dir", help="token path is <dir>/<experiment id>/<worker id>.token")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; raises what keeps the UI from starting."""
    args = parse_args(argv)
    ui = service.start("web-ui", args)
    config.load(args.experiment_config)
    ui.wait()
    _check_repository(args)
    client = _client(args, ui)
    if client is None:
        return 1
    serve(answer, host=args.host, port=args.port, banner="EDEN_WEB_UI_LISTENING", log=ui.log, stop=ui.stop)
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
