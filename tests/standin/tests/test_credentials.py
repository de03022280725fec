# SPDX-License-Identifier: GPL-3.0-or-later
"""How a host comes by its credential, with the ideator host as the example."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from standin_api import Api
from standin_processes import ADMIN_TOKEN, EXPERIMENT, SEED, Processes, Service, TaskStore, worker_id

STALE = "0" * 64
ADMIN = {"EDEN_ADMIN_TOKEN": ADMIN_TOKEN}


@pytest.fixture
def worker(store: TaskStore) -> Api:
    return store.mint("ideator-host-1")


def token_file(directory: Path, worker: Api) -> Path:
    return directory / f"{worker_id(worker)}.token"


def start(
    processes: Processes,
    store: TaskStore,
    worker: str,
    directory: Path,
    *flags: str,
    env: dict[str, str] | None = None,
) -> Service:
    return processes.start(
        "eden_ideator_host", "--task-store-url", store.api.url, "--experiment-id", EXPERIMENT, "--worker-id",
        worker, "--credentials-dir", str(directory), "--base-commit-sha", SEED, *flags, env=env,
    )  # fmt: skip


@pytest.mark.parametrize("env", [{}, ADMIN], ids=["alone", "with admin token"])
def test_a_good_token_is_used(
    env: dict[str, str], store: TaskStore, worker: Api, processes: Processes, tmp_path: Path
) -> None:
    token = (worker.bearer or "").partition(":")[2]
    path = token_file(tmp_path, worker)
    path.write_text(f" {token}\n")
    host = start(processes, store, worker_id(worker), tmp_path, env=env)
    line = host.log("starting")
    assert (line["worker_id"], line["mode"], line["service"]) == (
        worker_id(worker),
        "scripted",
        "ideator-host",
    )
    assert host.stop() == 0
    assert host.log("ideator host exited")["level"] == "info"
    assert path.read_text() == f" {token}\n"
    assert worker.call("GET", "/whoami").status == 200
    assert path.with_name(path.name + ".lock").exists()


@pytest.mark.parametrize("content", [None, "", "\n", STALE], ids=["absent", "empty", "blank", "stale"])
def test_the_admin_token_replaces_a_missing_or_bad_token(
    content: str | None, store: TaskStore, worker: Api, processes: Processes, tmp_path: Path
) -> None:
    directory = tmp_path / "created" / "on" / "demand"
    path = token_file(directory, worker)
    if content is not None:
        directory.mkdir(parents=True)
        path.write_text(content)
    host = start(processes, store, worker_id(worker), directory, env=ADMIN)
    host.log("starting")
    assert host.stop() == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    fresh = worker.as_caller(f"{worker_id(worker)}:{path.read_text()}")
    assert fresh.ok("GET", "/whoami")["worker_id"] == worker_id(worker)
    assert worker.call("GET", "/whoami").status == 401
    assert {each.name for each in directory.iterdir()} == {path.name, path.name + ".lock"}


def test_a_bad_token_without_the_admin_token_is_the_end(
    store: TaskStore, worker: Api, processes: Processes, tmp_path: Path
) -> None:
    path = token_file(tmp_path, worker)
    path.write_text(STALE)
    host = start(processes, store, worker_id(worker), tmp_path)
    assert host.exit_code() == 1
    assert "is stale (whoami returned None)" in host.output
    assert path.read_text() == STALE


@pytest.mark.parametrize(
    ("unknown", "env", "text"),
    [
        (True, ADMIN, "NotFound"),
        (False, {"EDEN_ADMIN_TOKEN": "wrong"}, "Unauthorized"),
        (False, {"EDEN_ADMIN_TOKEN": ""}, "Unauthorized"),
    ],
    ids=["unknown worker", "wrong admin token", "empty admin token"],
)
def test_a_reissue_that_is_refused(
    unknown: bool,
    env: dict[str, str],
    text: str,
    store: TaskStore,
    worker: Api,
    processes: Processes,
    tmp_path: Path,
) -> None:
    name = "wkr_" + "0" * 26 if unknown else worker_id(worker)
    host = start(processes, store, name, tmp_path, env=env)
    assert host.exit_code() == 1
    assert text in host.output
    assert not list(tmp_path.glob("*.token"))
    assert worker.call("GET", "/whoami").status == 200
    # Nobody registers by himself.
    assert len(store.api.ok("GET", "/workers")["workers"]) == 1


def test_a_reissue_ends_the_running_host(
    store: TaskStore, worker: Api, processes: Processes, tmp_path: Path
) -> None:
    host = start(processes, store, worker_id(worker), tmp_path, env=ADMIN)
    host.log("starting")
    store.api.ok("POST", f"/workers/{worker_id(worker)}/reissue-credential")
    assert host.exit_code() == 1
    assert "Unauthorized" in host.output
    # The next start repairs it.
    again = start(processes, store, worker_id(worker), tmp_path, env=ADMIN)
    again.log("starting")
    assert again.stop() == 0


def fastest(api: Api, path: str) -> float:
    """Seconds of the fastest of a few requests: only what the server has to do is left."""
    taken = []
    for _turn in range(5):
        began = time.monotonic()
        assert api.call("GET", path).status in (200, 401)
        taken.append(time.monotonic() - began)
    return min(taken)


@pytest.mark.parametrize("setting", ["", "once"])
def test_what_a_token_costs(setting: str, config: Path, processes: Processes) -> None:
    store = processes.task_store(":memory:", config, env={"EDEN_STANDIN_ARGON2": setting})
    worker = store.mint("worker")
    cheap = fastest(store.api, "/workers")
    # A wrong token and an unknown worker are always paid for; the right one as EDEN does it, or only once.
    assert (fastest(worker, "/workers") > 5 * cheap) is (setting == "")
    wrong = worker.as_caller(f"{worker_id(worker)}:{STALE}")
    assert fastest(wrong, "/workers") > 5 * cheap
    assert fastest(worker.as_caller(f"wkr_{'0' * 26}:{STALE}"), "/workers") > 5 * cheap


def test_two_starts_at_once_share_one_token(
    store: TaskStore, worker: Api, processes: Processes, tmp_path: Path
) -> None:
    hosts = [start(processes, store, worker_id(worker), tmp_path, env=ADMIN) for _turn in range(2)]
    for host in hosts:
        host.log("starting")
    assert [host.stop() for host in hosts] == [0, 0]
    assert sum("reissue-credential" in line for line in store.service.lines) == 1
