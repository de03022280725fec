# SPDX-License-Identifier: GPL-3.0-or-later
"""The ideator host with the experiment's own command: one process, and a dialogue of JSON lines with it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eden_service_common import commands, config, contracts, service, shapes
from eden_service_common.client import Client, Document, IllegalTransition, NotClaimed
from eden_service_common.logs import Log

_FAILURES = 5
_HISTORY = 50
_IDEA = shapes.record(
    {
        "slug": shapes.string("[a-z0-9][a-z0-9-]*"),
        "parent_commits": shapes.array(contracts.commit_sha),
        "artifacts_uri": shapes.string(r"[A-Za-z][A-Za-z0-9+.-]*:\S*"),
    }
)


class ProtocolViolation(Exception):
    """The command said what it may not say."""


def run(host: service.Service, client: Client) -> None:
    """Work until stopped, or until the command failed too often in a row. Raises what a poll raises."""
    experiment = config.load(host.args.experiment_config)
    experiment.command("ideation")
    ideator = CommandIdeator(host, client, experiment)
    try:
        ideator.work(host)
    finally:
        ideator.close()


class Dialogue:
    """A running command that has said that it is ready. Raises what keeps it from that."""

    def __init__(
        self, start: Callable[[], commands.Process], startup: float, patience: float, log: Log
    ) -> None:
        self._process = start()
        self._patience = patience
        try:
            deadline = time.monotonic() + startup
            while (self._message(deadline, "before ready") or {}).get("event") != "ready":
                pass
        except Exception:
            self.close()
            raise
        log.info("ideator_ready")

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def close(self) -> None:
        self._process.terminate(self._patience)

    def ask(self, task_id: str, question: Document, seconds: float) -> tuple[Document, list[Document]]:
        """The message that ends the answer, and the ideas before it.

        Raises ProtocolViolation, TimeoutError, RuntimeError at the end of the output, or OSError.
        """
        self._process.task_id = task_id
        message = {"event": "ideation", "task_id": task_id, **question}
        self._process.write_line(json.dumps(message, sort_keys=True))
        deadline = time.monotonic() + seconds
        ideas: list[Document] = []
        while True:
            answer = self._message(deadline, "mid-task")
            if answer is None:
                continue
            event = answer.get("event")
            if answer.get("task_id") != task_id:
                raise ProtocolViolation(f"task_id={answer.get('task_id')!r} in an answer to {task_id!r}")
            if event in ("ideation-done", "ideation-error"):
                return answer, ideas
            if event != "idea":
                raise ProtocolViolation(f"ideator emitted unknown event {event!r}")
            ideas.append(answer)

    def _message(self, deadline: float, when: str) -> Document | None:
        """The next line, None when it is no message."""
        line = self._process.read_line(deadline)
        if line is None:
            raise RuntimeError(f"ideator subprocess exited {when}")
        return commands.parse_message(line)


class CommandIdeator:
    """Answers ideation tasks with the ideas of a command."""

    def __init__(self, host: service.Service, client: Client, experiment: config.ExperimentConfig) -> None:
        args = host.args
        self._log = host.log
        self._client = client
        self._experiment = experiment
        self._directory = Path(args.experiment_dir).resolve()
        self._environment = commands.environment(args, client)
        self._startup = args.ideation_startup_deadline
        self._patience = args.shutdown_deadline
        self._artifacts = Path(args.artifacts_dir).resolve()
        self._artifacts.mkdir(parents=True, exist_ok=True)
        self._dialogue: Dialogue | None = None
        self._failures = 0

    def close(self) -> None:
        """End the command."""
        if self._dialogue is not None:
            self._dialogue.close()
            self._dialogue = None

    def work(self, host: service.Service) -> None:
        """Answer tasks until stopped, or until the command failed too often in a row."""
        while not host.stop.is_set():
            if self._dialogue is None or not self._dialogue.is_alive():
                if self._failures >= _FAILURES:
                    self._log.error("ideator_subprocess_giving_up", consecutive_failures=self._failures)
                    return
                if not self._respawn():
                    continue
            tasks = self._client.tasks(kind="ideation", state="pending")
            if not tasks:
                host.stop.wait(host.args.poll_interval)
            for task in tasks:
                if host.stop.is_set():
                    return
                if not self._survives(task["task_id"]):
                    self._failures += 1
                    self.close()
                    break

    def _respawn(self) -> bool:
        self.close()
        self._log.info("ideator_subprocess_starting")
        try:
            self._dialogue = Dialogue(self._start, self._startup, self._patience, self._log)
        except Exception:
            self._failures += 1
            self._log.exception("ideator_subprocess_startup_failed", consecutive_failures=self._failures)
            return False
        return True

    def _start(self) -> commands.Process:
        command = self._experiment.command("ideation")
        return commands.Process(command, self._directory, self._environment, "ideator", dialogue=True)

    def _survives(self, task_id: str) -> bool:
        """Answer a task; whether the command may go on. A claim whose answer is not submitted stays."""
        try:
            self._answer(task_id)
        except (NotClaimed, IllegalTransition) as error:
            self._log.info("ideator_skip_unclaimable_task", task_id=task_id, reason=type(error).__name__)
        except (RuntimeError, TimeoutError) as error:
            self._log.warning("ideator_subprocess_lost", task_id=task_id, error=str(error))
            return False
        except Exception:
            self._log.exception("ideator_subprocess_unexpected_error", task_id=task_id)
            return False
        else:
            self._failures = 0
        return True

    def _answer(self, task_id: str) -> None:
        client, experiment = self._client, self._experiment
        assert self._dialogue is not None
        client.claim(task_id)
        question = {
            "experiment_id": client.experiment_id,
            "objective": experiment.objective,
            "evaluation_schema": experiment.evaluation_schema,
            "history": self._history(),
        }
        try:
            end, ideas = self._dialogue.ask(task_id, question, experiment.deadlines["ideation"])
        except (ProtocolViolation, TimeoutError, RuntimeError) as error:
            self._log.warning("ideator_dispatch_failed", task_id=task_id, error=str(error))
            client.submit(task_id, {"status": "error", "idea_ids": []})
            raise
        if end["event"] == "ideation-error":
            self._log.warning("ideator_ideate_error", task_id=task_id, reason=end.get("reason"))
            client.submit(task_id, {"status": "error", "idea_ids": []})
            return
        try:
            idea_ids = [self._create(idea) for idea in ideas]
        except ProtocolViolation as error:
            self._log.warning("ideator_idea_invalid", task_id=task_id, error=str(error))
            client.submit(task_id, {"status": "error", "idea_ids": []})
            return
        client.submit(task_id, {"status": "success", "idea_ids": idea_ids})

    def _create(self, record: Document) -> str:
        """Create an idea and return its id. Raises ProtocolViolation, ValueError for a bad field, OSError."""
        idea_id = service.new_id("idea-")
        priority: Any
        slug, priority, parents, uri, content = (
            record.get(name) for name in ("slug", "priority", "parent_commits", "artifacts_uri", "content")
        )
        for name, fits in (
            ("slug", isinstance(slug, str)),
            ("priority", isinstance(priority, (int, float))),
            ("parent_commits", isinstance(parents, list) and parents),
        ):
            if not fits:
                raise ProtocolViolation(f"idea missing {name}: {record!r}")
        if isinstance(content, str) and content.strip():
            uri = self._write(idea_id, content.strip())
        if not isinstance(uri, str) or not uri:
            raise ProtocolViolation(f"idea {slug!r} has no artifacts_uri and no content")
        idea: dict[str, Any] = {
            "idea_id": idea_id,
            "experiment_id": self._client.experiment_id,
            "slug": slug,
            "priority": float(priority),
            "parent_commits": parents,
            "artifacts_uri": uri,
            "state": "drafting",
            "created_at": contracts.now(),
        }
        _IDEA(idea, "idea")
        self._client.create_idea(idea)
        self._client.mark_ready(idea_id)
        return idea_id

    def _write(self, idea_id: str, content: str) -> str:
        """The URI of a new file with the content."""
        path = self._artifacts / "ideas" / idea_id / "content.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".md.tmp")
        try:
            temporary.write_bytes(content.encode())
            os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return path.as_uri()

    def _history(self) -> list[Document]:
        """The variants that were evaluated last, the newest first."""
        history: dict[str, Document] = {}
        for event in reversed(self._client.events()):
            task_id = str(event["data"].get("task_id"))
            if event["type"] != "task.completed" or not task_id.startswith("evaluate-"):
                continue
            if len(history) >= _HISTORY:
                break
            submission = self._client.submission(task_id)
            if submission is None or submission["variant_id"] in history:
                continue
            variant = self._client.variant(submission["variant_id"])
            history[variant["variant_id"]] = {
                "variant_id": variant["variant_id"],
                "status": submission["status"],
                "commit_sha": variant.get("commit_sha"),
                "evaluation": submission.get("evaluation", {}),
            }
        return list(history.values())
