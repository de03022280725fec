# SPDX-License-Identifier: GPL-3.0-or-later
"""The web UI: health, and what keeps it from starting."""

from __future__ import annotations

from pathlib import Path

import pytest
from standin_api import Api
from standin_processes import EXPERIMENT, Processes, Service, TaskStore, worker_id


@pytest.fixture
def worker(store: TaskStore) -> Api:
    return store.mint("web-ui-1", "admins")


def start(
    processes: Processes, store: TaskStore, worker: Api, config: Path, directory: Path, *flags: str
) -> Service:
    return processes.start(
        "eden_web_ui", "--task-store-url", store.api.url, "--experiment-id", EXPERIMENT,
        "--worker-id", worker_id(worker), "--experiment-config", str(config), "--session-secret", "secret",
        "--artifacts-dir", str(directory), "--credentials-dir", str(directory), *flags,
    )  # fmt: skip


def token_file(directory: Path, worker: Api) -> Path:
    return directory / EXPERIMENT / f"{worker_id(worker)}.token"


def test_health_does_not_depend_on_the_task_store(
    processes: Processes, store: TaskStore, worker: Api, config: Path, tmp_path: Path
) -> None:
    path = token_file(tmp_path, worker)
    path.parent.mkdir()
    path.write_text((worker.bearer or "").partition(":")[2])
    service = start(processes, store, worker, config, tmp_path)
    match = service.wait_for(r"^EDEN_WEB_UI_LISTENING host=(\S+) port=(\d+)$")
    ui = Api(match[1], int(match[2]), EXPERIMENT)
    store.service.stop()
    health = ui.send("GET", "/healthz")
    assert (health.status, health.json) == (200, {"status": "ok"})
    assert ui.send("GET", "/nothing").status == 404
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("token", "flags", "message"),
    [
        (None, [], "worker bearer rejected"),
        ("0" * 64, [], "failed to bootstrap"),
        ("good", ["--admin-token", "wrong"], "admin token rejected"),
        (None, ["--admin-token", "wrong"], "rejected"),
    ],
    ids=["no token", "stale token", "wrong admin token", "wrong admin token alone"],
)
def test_bad_credentials_end_it(
    token: str | None,
    flags: list[str],
    message: str,
    processes: Processes,
    store: TaskStore,
    worker: Api,
    config: Path,
    tmp_path: Path,
) -> None:
    if token is not None:
        path = token_file(tmp_path, worker)
        path.parent.mkdir()
        path.write_text((worker.bearer or "").partition(":")[2] if token == "good" else token)
    service = start(processes, store, worker, config, tmp_path, *flags)
    assert service.exit_code() == 1
    assert message in service.output
    assert "LISTENING" not in service.output
