# SPDX-License-Identifier: GPL-3.0-or-later
"""Command line of the task store server."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from eden_service_common import config, logs
from eden_service_common.cli import add_log_level, new_parser
from eden_service_common.git import GitError, Repository
from eden_service_common.httpd import serve
from eden_service_common.service import refuse
from eden_service_common.signals import StopSignal

from .app import Api, Settings
from .database import PostgresDatabase, open_database
from .registry import Registry
from .schema import provision_readonly_role
from .store import Store


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The arguments. Exits with code 2 on a command line error."""
    parser = new_parser("eden-task-store-server", "Stand-in of EDEN's task store server.")
    parser.add_argument("--store-url", help=":memory:, sqlite:///<path>, a SQLite path, or postgresql://…")
    parser.add_argument("--db-path", help="deprecated alias of --store-url for SQLite")
    parser.add_argument("--experiment-id", required=True)
    parser.add_argument("--experiment-config", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free port")
    parser.add_argument("--repo-path", help="bare repository in which commits are compared by tree")
    parser.add_argument("--forgejo-url", help="remote of --repo-path, for checkpoints")
    parser.add_argument("--credential-helper", help="git credential helper for --forgejo-url")
    parser.add_argument(
        "--base-commit-sha",
        default=os.environ.get("EDEN_BASE_COMMIT_SHA"),
        help="recorded when the experiment's row is made (else $EDEN_BASE_COMMIT_SHA)",
    )
    parser.add_argument("--admin-token", help="without it, authentication is off")
    parser.add_argument("--subscribe-timeout", type=float, default=30.0)
    parser.add_argument("--artifacts-dir", help="directory of the reference artifact route")
    parser.add_argument("--blob-backend", default="file", choices=("file", "s3", "gcs"))
    parser.add_argument("--artifact-blob-dir", help="directory of deposited artifacts (file backend)")
    for flag in ("s3-bucket", "s3-region", "s3-prefix", "s3-endpoint-url", "gcs-bucket", "gcs-prefix"):
        parser.add_argument(f"--blob-{flag}", default="")
    parser.add_argument("--max-artifact-bytes", type=int, default=100 * 1024 * 1024)
    parser.add_argument(
        "--readonly-password", help="of the role eden_readonly (else $EDEN_READONLY_PASSWORD)"
    )
    parser.add_argument(
        "--checkpoint-import-credentials-dir",
        default=os.environ.get("EDEN_CHECKPOINT_IMPORT_CREDENTIALS_DIR"),
    )
    add_log_level(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; raises what keeps the server from starting."""
    args = parse_args(argv)
    logs.configure("task-store-server", args.experiment_id, args.log_level)
    log = logs.Log("eden_task_store_server.cli")
    stop = StopSignal()
    if args.forgejo_url and not args.repo_path:
        refuse("--forgejo-url requires --repo-path: the checkpoint export syncs the remote into it.")
    experiment = config.load(args.experiment_config)
    store_url = _store_url(args, log)
    database = open_database(store_url)
    store = Store(
        database,
        args.experiment_id,
        experiment.evaluation_schema,
        args.base_commit_sha or None,
        _tree_resolver(args.repo_path) if args.repo_path else None,
    )
    password = args.readonly_password or os.environ.get("EDEN_READONLY_PASSWORD")
    if password:
        if isinstance(database, PostgresDatabase):
            provision_readonly_role(database, password)
        else:
            log.warning("readonly_password_set_but_backend_unsupported: only Postgres has roles")
    _check_blobs(args, log)
    settings = Settings(admin_token=args.admin_token, subscribe_timeout=args.subscribe_timeout)
    api = Api(store, Registry(store), settings, stop)
    log.info("starting uvicorn", host=args.host, port=args.port, store_url=store_url)
    serve(api, host=args.host, port=args.port, banner="EDEN_TASK_STORE_LISTENING", log=log, stop=stop)
    log.info("uvicorn exited")
    database.close()
    return 0


def _store_url(args: argparse.Namespace, log: logs.Log) -> str:
    if args.store_url is None and args.db_path is None:
        refuse("--store-url is required (or pass --db-path).")
    if args.store_url is not None and args.db_path is not None:
        refuse("Pass either --store-url or --db-path, not both.")
    if args.db_path is not None:
        log.warning("--db-path is deprecated; use --store-url instead")
    return str(args.store_url if args.store_url is not None else args.db_path)


def _check_blobs(args: argparse.Namespace, log: logs.Log) -> None:
    """Refuse what EDEN refuses, and make the directory, which must be writable."""
    backend = args.blob_backend
    for cloud in ("s3", "gcs"):
        given = [name for name, value in vars(args).items() if name.startswith(f"blob_{cloud}_") and value]
        if backend != cloud and given:
            flags = ", ".join("--" + name.replace("_", "-") for name in given)
            refuse(f"{flags} require(s) --blob-backend {cloud} (got {backend!r}).")
    if backend != "file":
        if args.artifact_blob_dir is not None:
            refuse(f"--artifact-blob-dir is the file backend's root and means nothing with {backend}.")
        if not getattr(args, f"blob_{backend}_bucket"):
            refuse(f"--blob-{backend}-bucket is required with --blob-backend {backend}.")
        refuse(f"--blob-backend {backend} is not part of the stand-in; use --blob-backend file")
    if args.artifact_blob_dir is None:
        log.warning(
            "no --artifact-blob-dir set: deposited artifacts are NON-DURABLE, they are lost on restart"
        )
        return
    blobs = Path(args.artifact_blob_dir).resolve()
    if args.artifacts_dir is not None:
        served = Path(args.artifacts_dir).resolve()
        if blobs.is_relative_to(served) or served.is_relative_to(blobs):
            refuse(f"--artifact-blob-dir ({blobs}) must not overlap --artifacts-dir ({served})")
    blobs.mkdir(parents=True, exist_ok=True)


def _tree_resolver(repo_path: str) -> Callable[[str], str | None]:
    repository = Repository(repo_path)

    def tree_of(commit: str) -> str | None:
        try:
            return repository.tree_of(commit)
        except (GitError, OSError):
            return None

    return tree_of
