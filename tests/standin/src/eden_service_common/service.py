# SPDX-License-Identifier: GPL-3.0-or-later
"""What every service with a worker does: wait for the task store, get its credential, work until stopped."""

from __future__ import annotations

import argparse
import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from . import logs
from .client import Client, wait_for_task_store
from .credentials import admin_token, credentials_directory, worker_bearer
from .git import Repository
from .signals import StopSignal


@dataclass(frozen=True)
class Service:
    """A started service: its log and its stop signal."""

    name: str
    args: argparse.Namespace
    log: logs.Log
    stop: StopSignal

    def wait(self) -> None:
        """Wait for the task store. Raises TaskStoreUnreachable."""
        self.log.info("waiting_for_task_store", url=self.args.task_store_url)
        wait_for_task_store(self.args.task_store_url, self.args.experiment_id, self.args.startup_timeout)

    def client(self) -> Client:
        """A client with the bearer of this service's worker; see `worker_bearer`."""
        args = self.args
        bearer = worker_bearer(
            args.task_store_url,
            args.experiment_id,
            args.worker_id,
            credentials_directory(args.credentials_dir),
            admin_token(args.admin_token),
        )
        return Client(args.task_store_url, args.experiment_id, bearer)

    def clone(self) -> Repository:
        """The up-to-date clone of `--forgejo-url`, without one what is at `--repo-path`. Raises GitError."""
        args = self.args
        if args.forgejo_url is None:
            return Repository(args.repo_path)
        self.log.info("syncing_clone_from_remote", url=args.forgejo_url, dest=args.repo_path)
        return Repository.synchronized(args.repo_path, args.forgejo_url, args.credential_helper)

    def work(self, one: Callable[[], bool]) -> None:
        """Call `one` until stopped, and pause whenever it had nothing to do (returned False)."""
        while not self.stop.is_set():
            if not one():
                self.stop.wait(self.args.poll_interval)


def start(name: str, args: argparse.Namespace) -> Service:
    """Set up logs and signals."""
    logs.configure(name, args.experiment_id, args.log_level)
    return Service(name, args, logs.Log(name), StopSignal())


def take(seconds: float | None) -> None:
    """Let a task take so long; a signal does not shorten it."""
    time.sleep(seconds or 0)


def every(count: int | None) -> Iterator[bool]:
    """False, and True every so-many-th time."""
    for index in itertools.count(1):
        yield count is not None and count > 0 and index % count == 0


def new_id(prefix: str) -> str:
    """`prefix` and 12 random hex digits."""
    return prefix + secrets.token_hex(6)


def refuse(message: str) -> NoReturn:
    """Exit with code 1 and the message on standard error."""
    raise SystemExit(message)
