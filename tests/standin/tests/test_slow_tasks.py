# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks that take time, and what becomes of them when their host or the task store goes away."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from standin_api import Api
from standin_bench import Bench
from standin_processes import CONFIG, EXPERIMENT, SEED, Processes, Service, worker_id

LONG = 60.0


def slow(bench: Bench, **seconds: float) -> Bench:
    """The same, with a task store whose tasks take so long."""
    config = bench.directory / "slow.yaml"
    config.write_text(f"{CONFIG}standin_seconds: {seconds}\n")
    bench.store.service.stop()
    url = f"sqlite:///{bench.directory}/slow.db"
    store = bench.processes.task_store(url, config, "--base-commit-sha", SEED)
    return Bench(store, bench.forge, bench.processes, config, bench.directory)


def tasks(bench: Bench, **fields: Any) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in fields.items())
    return list(bench.store.api.ok("GET", f"/tasks?{query}"))


def driven(bench: Bench) -> Service:
    """An orchestrator."""
    worker = bench.store.mint("orchestrator", "orchestrators")
    return bench.orchestrator(worker, "--max-quiescent-iterations", "0")


def test_sigterm_lets_a_host_finish_its_task(bench: Bench) -> None:
    bench = slow(bench, ideation=2)
    orchestrator, ideator = driven(bench), bench.ideator(bench.store.mint("i"))
    bench.wait_for_event("task.claimed")
    assert ideator.stop() == 0
    events = Counter(event["type"] for event in bench.store.api.events())
    assert (events["task.claimed"], events["task.submitted"]) == (1, 1)
    assert tasks(bench, kind="ideation", state="claimed") == []
    assert orchestrator.stop() == 0


@pytest.mark.parametrize("end", ["host", "task store"])
def test_a_claim_outlives_its_host(end: str, bench: Bench) -> None:
    bench = slow(bench, ideation=LONG if end == "host" else 1)
    orchestrator, worker = driven(bench), bench.store.mint("i")
    ideator = bench.ideator(worker)
    bench.wait_for_event("task.claimed")
    url = f"sqlite:///{bench.directory}/slow.db"
    if end == "host":
        ideator.process.send_signal(signal.SIGKILL)
        ideator.exit_code()
        orchestrator.stop()
    else:
        bench.store.service.stop()
        assert ideator.exit_code() == 1
        assert "TransportError" in ideator.output
        bench.store = bench.processes.task_store(url, bench.config)
        driven(bench)
    (claimed,) = tasks(bench, state="claimed")
    assert claimed["claim"]["worker_id"] == worker_id(worker)
    # The host that comes back under the same name takes what is pending, not what it once had.
    bench.ideator(worker)
    bench.wait_for_event("task.claimed", 2)
    assert claimed["task_id"] in [task["task_id"] for task in tasks(bench, state="claimed")]


def test_a_ref_that_is_there_already_ends_the_executor(bench: Bench) -> None:
    bench = slow(bench, publication=LONG)
    operator, worker = bench.store.mint("operator", "admins"), bench.store.mint("x")
    orchestrator = driven(bench)
    ideator, executor = bench.ideator(bench.store.mint("i")), bench.executor(worker)
    bench.wait_for_event("variant.started", 2)  # the baseline's is the first
    operator.ok("PATCH", "/dispatch_mode", {"execution_dispatch": "manual"})
    executor.kill()
    (claimed,) = tasks(bench, kind="execution", state="claimed")
    name = claimed["task_id"].replace("execution-", "variant-")
    (branch,) = [each for each in bench.forge.branches(EXPERIMENT) if each.startswith(f"work/{name}-")]
    for service in (ideator, orchestrator):
        assert service.stop() == 0
    for task in tasks(bench, kind="execution", state="pending"):
        operator.ok("POST", f"/tasks/{task['task_id']}/claim", {})

    # Also a clone that is made anew has the ref: each reclaim ends the host again.
    for _turn in range(2):
        operator.ok("POST", f"/tasks/{claimed['task_id']}/reclaim", {"cause": "operator"})
        again = bench.executor(worker)
        assert again.exit_code() == 1
        assert f"refs/heads/{branch}" in again.output
        assert [task["task_id"] for task in tasks(bench, state="claimed", kind="execution")].count(
            claimed["task_id"]
        ) == 1

    # Once the remote has no such ref, a start prunes it from the clone.
    bench.forge.git(EXPERIMENT, "update-ref", "-d", f"refs/heads/{branch}")
    operator.ok("POST", f"/tasks/{claimed['task_id']}/reclaim", {"cause": "operator"})
    started = len([event for event in bench.store.api.events() if event["type"] == "variant.started"])
    healed = bench.executor(worker)
    bench.wait_for_event("variant.started", started + 1)
    assert branch in bench.forge.branches(EXPERIMENT)
    healed.kill()


def test_the_orchestrator_sweeps_claims_whose_time_is_over(bench: Bench) -> None:
    orchestrator = driven(bench)
    bench.wait_for_event("task.created", 3)
    worker: Api = bench.store.mint("web-ui")
    task_id = tasks(bench, kind="ideation")[0]["task_id"]
    worker.ok("POST", f"/tasks/{task_id}/claim", {"expires_at": "2026-01-01T00:00:00Z"})
    bench.wait_for_event("task.reclaimed")
    (event,) = [each for each in bench.store.api.events() if each["type"] == "task.reclaimed"]
    assert event["data"] == {"task_id": task_id, "cause": "expired"}
    assert orchestrator.stop() == 0


def test_a_bad_duration_is_refused(config: Path, processes: Processes, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"{config.read_text()}standin_seconds: {{execution: -1}}\n")
    server = processes.start(
        "eden_task_store_server", "--store-url", ":memory:", "--experiment-id", EXPERIMENT,
        "--experiment-config", str(path),
    )  # fmt: skip
    assert server.exit_code() == 1
    assert "standin_seconds.execution" in server.output
