# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines: which flags exist, which values they take, and the exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from standin_processes import EXPERIMENT, SEED, run

COMMON = "task-store-url experiment-id admin-token credentials-dir startup-timeout log-level"
CLONE = "repo-path forgejo-url credential-helper"
EXEC = "exec-mode exec-image exec-network exec-volume exec-bind cidfile-dir"
SUBSTRATE = "artifact-url artifact-path-root readonly-store-url"
HOST = f"{COMMON} {CLONE} {EXEC} {SUBSTRATE} worker-id mode poll-interval experiment-config experiment-dir"
ONE_SHOT = f"{HOST} worktrees-dir fail-every"
FLAGS = {
    "eden_service_common.repo_init": "repo-path push-to credential-helper seed-from",
    "eden_task_store_server": "store-url experiment-id experiment-config host port base-commit-sha"
    " admin-token subscribe-timeout artifacts-dir blob-backend artifact-blob-dir readonly-password log-level",
    "eden_orchestrator": f"{COMMON} {CLONE} worker-id experiment-config poll-interval"
    " max-quiescent-iterations lease-duration-seconds",
    "eden_ideator_host": f"{HOST} base-commit-sha ideas-per-ideation artifacts-dir ideation-startup-deadline"
    " ideation-shutdown-deadline ideation-env-file",
    "eden_executor_host": f"{ONE_SHOT} execution-shutdown-deadline execution-env-file",
    "eden_evaluator_host": f"{ONE_SHOT} evaluation-shutdown-deadline evaluation-env-file",
    "eden_web_ui": f"{COMMON} {CLONE} experiment-config host port session-secret worker-id artifacts-dir"
    " base-commit-sha credential-dir",
}
# Complete command lines that nothing answers: services fail on the task store, the server on its store.
NOWHERE = ("--task-store-url", "http://127.0.0.1:1", "--experiment-id", EXPERIMENT, "--startup-timeout", "0")
WORKER = (*NOWHERE, "--worker-id", "wkr_" + "0" * 26)
CONFIG = ("--experiment-config", "<config>")
SUBPROCESS = ("--mode", "subprocess")
DIRECTORY = ("--experiment-dir", "/nonexistent")
COMPLETE: dict[str, tuple[str, ...]] = {
    "eden_service_common.repo_init": ("--repo-path", "/dev/null/repo"),
    "eden_task_store_server": (
        "--store-url", "sqlite:////dev/null/db", "--experiment-id", EXPERIMENT, *CONFIG,
    ),
    "eden_orchestrator": (*WORKER, *CONFIG, "--repo-path", "/dev/null/repo"),
    "eden_ideator_host": (*WORKER, "--base-commit-sha", SEED),
    "eden_executor_host": (*WORKER, "--repo-path", "/dev/null/repo"),
    "eden_evaluator_host": (*WORKER, *CONFIG),
    "eden_web_ui": (*WORKER, *CONFIG, "--session-secret", "s", "--artifacts-dir", "/tmp"),
}  # fmt: skip


def complete(module: str, config: Path) -> list[str]:
    return [argument.replace("<config>", str(config)) for argument in COMPLETE[module]]


@pytest.mark.parametrize("module", FLAGS)
def test_the_flags_are_those_of_the_contract(module: str) -> None:
    listed = set(re.findall(r"--([a-z][a-z0-9-]+)", run(module, "--help").stdout)) - {"help"}
    described = set(FLAGS[module].split())
    assert described <= listed
    # What else is in the text are flags that a help text mentions.
    assert listed - described == set()


@pytest.mark.parametrize("module", FLAGS)
def test_required_flags(module: str, config: Path) -> None:
    assert run(module).returncode == 2
    # Complete, the command line is accepted and the failure comes later.
    assert run(module, *complete(module, config)).returncode == 1


@pytest.mark.parametrize("module", [module for module in FLAGS if "--task-store-url" in COMPLETE[module]])
def test_an_unreachable_task_store_ends_every_service(module: str, config: Path) -> None:
    result = run(module, *complete(module, config))
    assert result.returncode == 1
    assert "TaskStoreUnreachable" in result.stderr
    assert '"message": "waiting_for_task_store"' in result.stdout


@pytest.mark.parametrize(
    ("module", "arguments", "code", "text"),
    [
        ("eden_orchestrator", ["--max-quiescent-iterations", "1"], 2, "must be 0 or >= 2"),
        ("eden_orchestrator", ["--max-quiescent-iterations", "-1"], 2, "must be 0 or >= 2"),
        ("eden_orchestrator", ["--max-quiescent-iterations", "many"], 2, "invalid"),
        ("eden_orchestrator", ["--experiment-id", " "], 2, "non-empty"),
        ("eden_orchestrator", ["--log-level", "loud"], 2, "invalid choice"),
        ("eden_orchestrator", ["--experiment-config", "/dev/null"], 1, "must be an object"),
        ("eden_orchestrator", ["--experiment-config", "/nonexistent"], 1, "FileNotFoundError"),
        ("eden_ideator_host", ["--base-commit-sha", ""], 2, "--base-commit-sha is required"),
        ("eden_ideator_host", ["--base-commit-sha", SEED.upper()], 1, "expected 40- or 64-hex SHA"),
        ("eden_ideator_host", ["--base-commit-sha", "abc"], 1, "expected 40- or 64-hex SHA"),
        ("eden_ideator_host", ["--mode", "dreaming"], 2, "invalid choice"),
        ("eden_ideator_host", [*SUBPROCESS, *CONFIG, *DIRECTORY], 2, "--artifacts-dir is required"),
        ("eden_ideator_host", [*SUBPROCESS, *DIRECTORY], 2, "--experiment-config is required"),
        ("eden_executor_host", [*SUBPROCESS, *CONFIG], 2, "--experiment-dir is required"),
        ("eden_executor_host", [*SUBPROCESS, *DIRECTORY], 2, "--experiment-config is required"),
        ("eden_evaluator_host", [*SUBPROCESS, *DIRECTORY], 2, "--repo-path is required"),
        ("eden_evaluator_host", [*SUBPROCESS, "--repo-path", "/x"], 2, "--experiment-dir is required"),
        ("eden_executor_host", [*SUBPROCESS, *CONFIG, *DIRECTORY], 1, "TaskStoreUnreachable"),
        ("eden_executor_host", ["--exec-mode", "docker"], 2, "invalid choice"),
        ("eden_executor_host", ["--execution-shutdown-deadline", "soon"], 2, "invalid float"),
        ("eden_evaluator_host", ["--execution-env-file", "/x"], 2, "unrecognized arguments"),
        ("eden_executor_host", ["--poll", "1"], 2, "unrecognized arguments"),
        ("eden_task_store_server", ["--blob-backend", "tape"], 2, "invalid choice"),
        (
            "eden_task_store_server",
            ["--store-url", ":memory:", "--artifact-blob-dir", "/tmp/a/b", "--artifacts-dir", "/tmp/a"],
            1,
            "must not overlap",
        ),
        ("eden_task_store_server", ["--experiment-config", "/nonexistent"], 1, "FileNotFoundError"),
    ],
)
def test_values(module: str, arguments: list[str], code: int, text: str, config: Path) -> None:
    filled = [argument.replace("<config>", str(config)) for argument in arguments]
    result = run(module, *complete(module, config), *filled)
    assert (result.returncode, text in result.stderr) == (code, True), result.stderr
