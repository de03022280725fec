# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines: which flags exist, which values they take, and the exit codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from standin_processes import EXPERIMENT, SEED, run

COMMON = "task-store-url experiment-id admin-token credentials-dir startup-timeout log-level"
HOST = (
    f"{COMMON} worker-id mode experiment-dir forgejo-url credential-helper poll-interval repo-path"
    " experiment-config exec-mode exec-image exec-volume exec-bind cidfile-dir exec-network artifact-url"
    " artifact-path-root readonly-store-url"
)
CLONE = "repo-path forgejo-url credential-helper"
FLAGS = {
    "eden_service_common.repo_init": "repo-path push-to credential-helper seed-from",
    "eden_task_store_server": f"{CLONE} store-url db-path experiment-id experiment-config host port"
    " base-commit-sha admin-token subscribe-timeout artifacts-dir blob-backend artifact-blob-dir"
    " blob-s3-bucket blob-s3-region blob-s3-prefix blob-s3-endpoint-url blob-gcs-bucket blob-gcs-prefix"
    " max-artifact-bytes readonly-password checkpoint-import-credentials-dir log-level",
    "eden_orchestrator": f"{COMMON} {CLONE} worker-id integrator-author experiment-config poll-interval"
    " termination-policy ideation-task-prefix execution-task-prefix evaluation-task-prefix"
    " max-quiescent-iterations auto-checkpoint-dir control-plane-url lease-duration-seconds"
    " control-plane-admin-token",
    "eden_ideator_host": f"{HOST} base-commit-sha ideas-per-ideation artifacts-dir"
    " ideation-startup-deadline ideation-shutdown-deadline ideation-env-file",
    "eden_executor_host": f"{HOST} fail-every worktrees-dir execution-shutdown-deadline execution-env-file",
    "eden_evaluator_host": f"{HOST} fail-every worktrees-dir evaluation-shutdown-deadline"
    " evaluation-env-file",
    "eden_web_ui": f"{COMMON} {CLONE} experiment-config host port session-secret worker-id"
    " claim-ttl-seconds artifacts-dir secure-cookies repo-root clone-url base-commit-sha"
    " control-plane-url control-plane-admin-token control-plane-worker-id credential-dir"
    " experiment-config-dir",
}
# Complete command lines that nothing answers: services fail on the task store, the server on its store.
NOWHERE = ("--task-store-url", "http://127.0.0.1:1", "--experiment-id", EXPERIMENT, "--startup-timeout", "0")
WORKER = (*NOWHERE, "--worker-id", "wkr_" + "0" * 26)
COMPLETE: dict[str, tuple[str, ...]] = {
    "eden_service_common.repo_init": ("--repo-path", "/dev/null/repo"),
    "eden_task_store_server": (
        "--store-url",
        "sqlite:////dev/null/db",
        "--experiment-id",
        EXPERIMENT,
        "--experiment-config",
        "<config>",
    ),
    "eden_orchestrator": (*WORKER, "--repo-path", "/dev/null/repo", "--experiment-config", "<config>"),
    "eden_ideator_host": (*WORKER, "--base-commit-sha", SEED),
    "eden_executor_host": (*WORKER, "--repo-path", "/dev/null/repo"),
    "eden_evaluator_host": (*WORKER, "--experiment-config", "<config>"),
    "eden_web_ui": (
        *WORKER,
        "--experiment-config",
        "<config>",
        "--session-secret",
        "s",
        "--artifacts-dir",
        "/tmp",
    ),
}


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
        ("eden_orchestrator", ["--control-plane-url", "http://127.0.0.1:1"], 1, "not part of the stand-in"),
        ("eden_orchestrator", ["--experiment-config", "/dev/null"], 1, "must be an object"),
        ("eden_orchestrator", ["--experiment-config", "/nonexistent"], 1, "FileNotFoundError"),
        ("eden_ideator_host", ["--base-commit-sha", ""], 2, "--base-commit-sha is required"),
        ("eden_ideator_host", ["--base-commit-sha", SEED.upper()], 1, "expected 40- or 64-hex SHA"),
        ("eden_ideator_host", ["--base-commit-sha", "abc"], 1, "expected 40- or 64-hex SHA"),
        ("eden_ideator_host", ["--mode", "dreaming"], 2, "invalid choice"),
        ("eden_ideator_host", ["--mode", "subprocess"], 2, "--experiment-config is required"),
        ("eden_executor_host", ["--mode", "subprocess"], 2, "--experiment-config is required"),
        ("eden_evaluator_host", ["--mode", "subprocess"], 2, "--experiment-dir is required"),
        (
            "eden_executor_host",
            ["--mode", "subprocess", "--experiment-config", "x", "--experiment-dir", "x"],
            1,
            "not part of the stand-in",
        ),
        ("eden_executor_host", ["--fail-every", "x"], 2, "invalid int"),
        ("eden_executor_host", ["--exec-mode", "ssh"], 2, "invalid choice"),
        ("eden_web_ui", ["--control-plane-url", "http://127.0.0.1:1"], 1, "not part of the stand-in"),
        ("eden_task_store_server", ["--blob-backend", "tape"], 2, "invalid choice"),
        ("eden_task_store_server", ["--db-path", "/tmp/x"], 1, "not both"),
        ("eden_task_store_server", ["--forgejo-url", "http://127.0.0.1:1"], 1, "requires --repo-path"),
        ("eden_task_store_server", ["--experiment-config", "/nonexistent"], 1, "FileNotFoundError"),
    ],
)
def test_values(module: str, arguments: list[str], code: int, text: str, config: Path) -> None:
    result = run(module, *complete(module, config), *arguments)
    assert (result.returncode, text in result.stderr) == (code, True), result.stderr
