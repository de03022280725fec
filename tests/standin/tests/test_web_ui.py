# SPDX-License-Identifier: GPL-3.0-or-later
"""The web UI: health, sign-in, the page of event counts, and what keeps it from starting."""

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


def listening(service: Service) -> Api:
    match = service.wait_for(r"^EDEN_WEB_UI_LISTENING host=(\S+) port=(\d+)$")
    return Api(match[1], int(match[2]), EXPERIMENT)


def token_file(directory: Path, worker: Api) -> Path:
    return directory / EXPERIMENT / f"{worker_id(worker)}.token"


def test_pages(processes: Processes, store: TaskStore, worker: Api, config: Path, tmp_path: Path) -> None:
    path = token_file(tmp_path, worker)
    path.parent.mkdir()
    path.write_text((worker.bearer or "").partition(":")[2])
    worker.ok("PATCH", "/dispatch_mode", {"integration": "manual"})
    service = start(processes, store, worker, config, tmp_path)
    ui = listening(service)

    health = ui.send("GET", "/healthz")
    assert (health.status, health.json) == (200, {"status": "ok"})
    index = ui.send("GET", "/")
    assert (index.status, index.headers["Location"]) == (303, "/signin")
    assert ui.send("GET", "/signin").status == 200
    assert ui.send("GET", "/", headers={"Cookie": "eden_web_ui_session=forged"}).status == 303

    signed_in = ui.send("POST", "/signin")
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/")
    cookie, *attributes = signed_in.headers["Set-Cookie"].split("; ")
    assert cookie.startswith("eden_web_ui_session=")
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=lax"}
    page = ui.send("GET", "/", headers={"Cookie": cookie})
    assert page.status == 200
    assert "<td>experiment.dispatch_mode_changed</td><td>1</td>" in page.content.decode()
    assert ui.send("GET", "/nothing").status == 404

    # Health does not depend on the task store, the page does.
    store.service.stop()
    assert ui.send("GET", "/healthz").status == 200
    assert ui.send("GET", "/", headers={"Cookie": cookie}).status == 500
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
