# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the task store server."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from eden_service_common import config, logs
from eden_service_common.cli import add_log_level, new_parser
from eden_service_common.httpd import serve
from eden_service_common.signals import StopSignal

from .app import Api, Settings
from .artifacts import refuse_overlap
from .database import PostgresDatabase, open_database
from .registry import Registry
from .schema import provision_readonly_role
from .store import Store


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error."""
    parser = new_parser("eden-task-store-server", "Stand-in of EDEN's task store server.")
    parser.add_argument("--store-url", required=True, help=":memory:, sqlite:///<path>, or postgresql://…")
    parser.add_argument("--experiment-id", required=True)
    parser.add_argument("--experiment-config", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free port")
    parser.add_argument(
        "--base-commit-sha",
        default=os.environ.get("EDEN_BASE_COMMIT_SHA"),
        help="recorded when the experiment's row is made (else $EDEN_BASE_COMMIT_SHA)",
    )
    parser.add_argument("--admin-token", help="without it, authentication is off")
    parser.add_argument("--subscribe-timeout", type=float, default=30.0)
    parser.add_argument("--blob-backend", default="file", choices=("file",))
    parser.add_argument("--artifacts-dir", help="directory of files that the reference route serves")
    parser.add_argument(
        "--artifact-blob-dir", help="directory of deposited artifacts, of which there are none"
    )
    parser.add_argument(
        "--readonly-password", help="of the role eden_readonly (else $EDEN_READONLY_PASSWORD)"
    )
    add_log_level(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; raises what keeps the server from starting."""
    args = parse_args(argv)
    logs.configure("task-store-server", args.experiment_id, args.log_level)
    log = logs.Log("eden_task_store_server.cli")
    stop = StopSignal()
    experiment = config.load(args.experiment_config)
    database = open_database(args.store_url)
    store = Store(database, args.experiment_id, experiment.evaluation_schema, args.base_commit_sha or None)
    password = args.readonly_password or os.environ.get("EDEN_READONLY_PASSWORD")
    if password:
        if isinstance(database, PostgresDatabase):
            provision_readonly_role(database, password)
        else:
            log.warning("readonly_password_set_but_backend_unsupported: only Postgres has roles")
    if args.artifact_blob_dir is not None:
        if args.artifacts_dir is not None:
            refuse_overlap(args.artifact_blob_dir, args.artifacts_dir)
        Path(args.artifact_blob_dir).mkdir(parents=True, exist_ok=True)
    settings = Settings(args.admin_token, args.subscribe_timeout, experiment.seconds, args.artifacts_dir)
    registry = Registry(store, verify_once=experiment.verify_once)
    api = Api(store, registry, settings, stop)
    log.info("starting uvicorn", host=args.host, port=args.port, store_url=args.store_url)
    serve(api, host=args.host, port=args.port, banner="EDEN_TASK_STORE_LISTENING", log=log, stop=stop)
    log.info("uvicorn exited")
    database.close()
    return 0
