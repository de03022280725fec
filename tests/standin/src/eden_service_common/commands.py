# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of an experiment, which the hosts run with `--mode subprocess`."""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from .client import (
    Client,
    ConflictingResubmission,
    Document,
    IllegalTransition,
    InvalidPrecondition,
    NoOpVariant,
    NotClaimed,
)
from .config import ExperimentConfig
from .git import GitError, Repository
from .logs import Log
from .service import Service

_RETRY_DELAYS = (0.0, 0.05, 0.2, 0.5)
# Where two submissions of a task must agree.
_RESULT = ("status", "variant_id", "commit_sha", "evaluation")
# Variables that only the host's flags may set.
_RESERVED = ("EDEN_REPO_DIR", "EDEN_ARTIFACT_URL", "EDEN_ARTIFACT_PATH_ROOT", "EDEN_READONLY_STORE_URL")


def parse_env_file(path: str | Path) -> dict[str, str]:
    """Names and values of the lines `NAME=VALUE`, verbatim; nothing when there is no such file."""
    if not Path(path).is_file():
        return {}
    lines = (line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name.strip(): value for name, _equals, value in pairs}


def environment(args: argparse.Namespace, client: Client) -> dict[str, str]:
    """What a host gives each command besides its own environment, which the command inherits.

    Raises ValueError when one of the two artifact flags is given without the other.
    """
    if bool(args.artifact_url) != bool(args.artifact_path_root):
        raise ValueError("--artifact-url and --artifact-path-root are both-or-neither")
    user = parse_env_file(args.env_file) if args.env_file else {}
    owned = {
        "EDEN_EXPERIMENT_DIR": str(Path(args.experiment_dir).resolve()),
        "EDEN_REPO_DIR": args.repo_path,
        "EDEN_ARTIFACT_URL": args.artifact_url,
        "EDEN_ARTIFACT_PATH_ROOT": args.artifact_path_root,
        "EDEN_READONLY_STORE_URL": args.readonly_store_url,
        "EDEN_WORKER_ID": args.worker_id,
        "EDEN_WORKER_CREDENTIAL": client.secret,
    }
    kept = {name: value for name, value in user.items() if name not in _RESERVED}
    return kept | {name: value for name, value in owned.items() if value}


def parse_message(text: str) -> Document | None:
    """The JSON object in `text`, None when it is anything else."""
    try:
        message = json.loads(text)
    except json.JSONDecodeError:
        return None
    return message if isinstance(message, dict) else None


class Process:
    """A shell command in a process group of its own; its errors go to the host's log.

    As in EDEN, what it prints waits in a queue without a bound, and output that is no UTF-8 ends the reader.
    """

    def __init__(
        self,
        command: str,
        directory: Path,
        variables: dict[str, str],
        role: str,
        task_id: str | None = None,
        *,
        dialogue: bool = False,
    ) -> None:
        self.task_id = task_id
        self._role = role
        self._log = Log("eden_service_common.commands")
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._process = subprocess.Popen(
            command,
            shell=True,
            cwd=directory,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE if dialogue else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        for reader, stream in (
            (self._read_output, self._process.stdout),
            (self._read_errors, self._process.stderr),
        ):
            threading.Thread(target=reader, args=(stream,), daemon=True).start()

    def _read_output(self, stream: TextIO) -> None:
        try:
            for line in stream:
                self._lines.put(line.rstrip("\n"))
        finally:
            self._lines.put(None)

    def _read_errors(self, stream: TextIO) -> None:
        for line in stream:
            if text := line.rstrip("\n"):
                task = {} if self.task_id is None else {"task_id": self.task_id}
                self._log.info("subprocess_stderr", role=self._role, line=text, **task)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def read_line(self, deadline: float) -> str | None:
        """The next line, None at the end of the output. Raises TimeoutError at `deadline` (monotonic)."""
        try:
            return self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise TimeoutError(f"subprocess {self._role!r}: no stdout line within deadline") from None

    def write_line(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait(self, timeout: float) -> int:
        """The exit code. Raises subprocess.TimeoutExpired."""
        return self._process.wait(timeout)

    def terminate(self, patience: float) -> None:
        """SIGTERM for the process group, SIGKILL when the command is still there after `patience`."""
        if not self.is_alive():
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._log.warning("subprocess_sigkill", role=self._role, pid=self._process.pid)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(5)


class Workshop:
    """Runs the command of an executor or evaluator host, once per task and in a worktree of the clone."""

    def __init__(
        self,
        role: str,
        kind: str,
        host: Service,
        client: Client,
        repository: Repository,
        experiment: ExperimentConfig,
        *,
        task_file: str,
        output: str,
    ) -> None:
        args = host.args
        self._role = role
        self._log = host.log
        self._client = client
        self._repository = Repository(repository.path.resolve())
        self._command = experiment.command(kind)
        self._deadline = experiment.deadlines[kind]
        self._patience = args.shutdown_deadline
        self._files = (task_file, output)
        self._environment = environment(args, client) | {"EDEN_TASK_JSON": task_file, "EDEN_OUTPUT": output}
        # A directory per pod: a sweep must not remove what another host works in.
        self._root = Path(args.worktrees_dir) / socket.gethostname()
        self._root.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def _sweep(self) -> None:
        """Remove the worktrees that an earlier run of this host left; anything else stays."""
        administration = str(self._repository.path / "worktrees")
        for directory in sorted(self._root.iterdir()):
            marker = directory / ".git"
            owner = marker.read_text(encoding="utf-8").strip() if marker.is_file() else ""
            if owner.removeprefix("gitdir: ").startswith(administration):
                self._remove(directory)
            else:
                self._log.warning("worktree_sweep_skipped", path=str(directory))

    def _remove(self, directory: Path) -> None:
        try:
            self._repository.remove_worktree(directory)
        except GitError as error:
            self._log.warning("worktree_remove_failed", path=str(directory), error=str(error))

    def run(self, task_id: str, commit: str, brief: Document) -> Document:
        """What the command wrote about a task, in a worktree at `commit`; nothing when it failed."""
        directory = self._root / task_id
        try:
            self._repository.add_worktree(directory, commit)
        except Exception:
            self._log.exception(f"{self._role}_worktree_create_failed", task_id=task_id)
            return {}
        try:
            outcome = self._run(task_id, directory, brief)
        except Exception:  # what a command does must not end the host
            self._log.exception(f"{self._role}_subprocess_unexpected", task_id=task_id)
            outcome = {}
        finally:
            self._remove(directory)
        if description := outcome.get("description"):
            status = outcome.get("status")
            self._log.info(
                f"{self._role}_outcome_description", task_id=task_id, status=status, description=description
            )
        return outcome

    def _run(self, task_id: str, directory: Path, brief: Document) -> Document:
        task_file, output = (directory / name for name in self._files)
        task_file.parent.mkdir(parents=True, exist_ok=True)
        document = {"task_id": task_id, **brief, "output_path": self._files[1]}
        task_file.write_text(json.dumps(document, sort_keys=True), encoding="utf-8")
        variables = self._environment | {"EDEN_WORKTREE": str(directory)}
        fault = self._await(Process(self._command, directory, variables, self._role, task_id))
        if fault is None and not output.is_file():
            fault = "missing_outcome"
        outcome = None if fault else parse_message(output.read_text(encoding="utf-8"))
        if outcome is None:
            fault = fault or "malformed_outcome"
            self._log.warning(f"{self._role}_subprocess_{fault}", task_id=task_id)
        return outcome or {}

    def _await(self, process: Process) -> str | None:
        """Wait until the command has ended, and read what it prints; why it failed, or None."""
        deadline = time.monotonic() + self._deadline
        while process.is_alive():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                process.terminate(self._patience)
                return "timeout"
            try:
                line = process.read_line(time.monotonic() + min(remaining, 1.0))
            except TimeoutError:
                continue
            if line is None:
                break
            self._log.debug(f"{self._role}_subprocess_stdout", line=line)
        # A command that has closed its output but goes on is left alone, and its task fails.
        return "nonzero_exit" if process.wait(max(0.1, self._patience)) != 0 else None

    def work(self, host: Service, kind: str, handle: Callable[[Document], None]) -> None:
        """Handle pending tasks until stopped; a task whose handling fails stays as it is."""

        def batch() -> bool:
            pending = self._client.tasks(kind=kind, state="pending")
            for task in pending:
                if host.stop.is_set():
                    break
                try:
                    handle(task)
                except Exception:
                    self._log.exception(f"{self._role}_handler_unexpected", task_id=task["task_id"])
            return bool(pending)

        host.work(batch)

    def submit(self, task_id: str, payload: dict[str, Any]) -> None:
        """Submit with retries; raises NoOpVariant, and any other failure ends in the log."""
        failure: Exception | None = None
        for delay in _RETRY_DELAYS:
            time.sleep(delay)
            try:
                self._client.submit(task_id, payload)
                return
            except (NotClaimed, ConflictingResubmission, InvalidPrecondition):
                return
            except NoOpVariant:
                raise
            except IllegalTransition:
                failure = None
                break
            except Exception as error:
                failure = error
        try:
            recorded = self._client.submission(task_id)
        except Exception:
            self._log.warning(f"{self._role}_submit_read_back_failed", task_id=task_id, error=str(failure))
            return
        if recorded is not None and any(recorded.get(name) != payload.get(name) for name in _RESULT):
            self._log.warning(f"{self._role}_submit_conflicts_with_committed", task_id=task_id)
