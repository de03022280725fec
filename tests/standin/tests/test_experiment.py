# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole experiments: a seeded forge, a task store and all services as local processes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from standin_bench import Bench, seeded
from standin_forge import Forge
from standin_postgres import PostgresServer
from standin_processes import ADMIN_TOKEN, EXPERIMENT, SEED, Processes, worker_id

# What a run with the baseline and three ideations leaves in the log.
EVENTS = {
    "task.created": 10,
    "task.claimed": 10,
    "task.submitted": 10,
    "task.completed": 10,
    "idea.drafted": 3,
    "idea.ready": 3,
    "idea.dispatched": 3,
    "idea.completed": 3,
    "variant.started": 4,
    "variant.succeeded": 4,
    "variant.integrated": 3,
}


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_the_fixture_run_ends_with_63_events(
    database: str,
    request: pytest.FixtureRequest,
    forge: Forge,
    processes: Processes,
    config: Path,
    tmp_path: Path,
) -> None:
    if database == "sqlite":
        store = processes.task_store(f"sqlite:///{tmp_path}/eden.db", config, "--base-commit-sha", SEED)
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url(server.create_database())
        store = processes.task_store(url, config, "--base-commit-sha", SEED, env=server.environment)
    bench = seeded(store, forge, processes, config, tmp_path)
    orchestrator = bench.store.mint("orchestrator", "orchestrators")
    services = [
        bench.orchestrator(orchestrator, "--max-quiescent-iterations", "0"),
        bench.ideator(bench.store.mint("ideator-host-1")),
        bench.executor(bench.store.mint("executor-host-1")),
        bench.evaluator(bench.store.mint("evaluator-host-1")),
    ]
    bench.wait_for_event("variant.integrated", 3)
    for service in services:
        assert service.stop() == 0, service.output

    # Nothing is left to do: an orchestrator that may stop does so without another event.
    last = bench.orchestrator(orchestrator, "--max-quiescent-iterations", "2")
    assert last.exit_code() == 0
    assert last.log("quiescent")["iterations"] == 3
    assert last.log("orchestrator_cli_flag_ignored")["flag"] == "--max-quiescent-iterations"
    assert last.log("orchestrator exited")["service"] == "orchestrator"

    events = bench.store.api.events()
    assert Counter(event["type"] for event in events) == EVENTS
    assert len(events) == 63
    completed = [event["data"]["task_id"] for event in events if event["type"] == "task.completed"]
    kinds = Counter(task_id.rpartition("-")[0] for task_id in completed)
    assert kinds == {"ideation": 3, "execution": 3, "evaluate": 4}
    check_forge(bench)


def check_forge(bench: Bench) -> None:
    """Three work branches, three integrated ones on top of the seed, and an unchanged main."""
    branches = bench.forge.branches(EXPERIMENT)
    assert branches.pop("main") == SEED
    work = {name for name in branches if name.startswith("work/")}
    integrated = branches.keys() - work
    assert (len(work), len(integrated)) == (3, 3)
    variants = {each["variant_id"]: each for each in bench.store.api.ok("GET", "/variants?status=success")}
    assert "variant_commit_sha" not in variants.pop("baseline")
    for variant_id, variant in variants.items():
        slug = bench.store.api.ok("GET", f"/ideas/{variant['idea_id']}")["slug"]
        name = f"variant/{variant_id}-{slug}"
        assert branches[name] == variant["variant_commit_sha"]
        assert branches[variant["branch"]] == variant["commit_sha"]
        log = bench.forge.git(EXPERIMENT, "log", "-1", "--format=%P%n%s%n%an <%ae>", name).splitlines()
        integrator = "EDEN Integrator <integrator@eden.invalid>"
        assert log == [SEED, f"variant: {variant_id} {slug}", integrator]
        manifest = f".eden/variants/{variant_id}/evaluation.json"
        files = bench.forge.git(EXPERIMENT, "ls-tree", "-r", "--name-only", name).splitlines()
        assert files == [manifest, f"{slug}.txt"]
        text = bench.forge.git(EXPERIMENT, "show", f"{name}:{manifest}")
        document = json.loads(text)
        assert text == json.dumps(document, sort_keys=True, indent=2)
        fields = "variant_id idea_id commit_sha parent_commits evaluation completed_at artifacts_uri".split()
        assert document == {field: variant[field] for field in fields}
        assert bench.forge.git(EXPERIMENT, "log", "-1", "--format=%an <%ae> %aI", variant["branch"]) == (
            "EDEN Executor <executor@eden.invalid> 2026-04-01T00:00:00+00:00"
        )


def test_the_orchestrator_joins_its_group_with_the_admin_token(bench: Bench) -> None:
    worker = bench.store.mint("orchestrator")
    service = bench.orchestrator(
        worker, "--max-quiescent-iterations", "0", env={"EDEN_ADMIN_TOKEN": ADMIN_TOKEN}
    )
    group = bench.store.api.ok("GET", f"/groups/{service.log('joined_group')['group_id']}")
    assert (group["name"], group["members"]) == ("orchestrators", [worker_id(worker)])
    service.log("baseline_variant_created")
    bench.wait_for_event("task.created", 4)
    assert service.stop() == 0


def test_outside_its_group_the_orchestrator_fails(bench: Bench) -> None:
    service = bench.orchestrator(bench.store.mint("orchestrator"))
    assert service.exit_code() == 1
    assert "Forbidden" in service.output
    assert bench.store.api.events() == []


def test_a_lost_task_store_ends_the_services(bench: Bench) -> None:
    orchestrator = bench.orchestrator(
        bench.store.mint("orchestrator", "orchestrators"), "--max-quiescent-iterations", "0"
    )
    bench.wait_for_event("task.created", 4)
    operator = bench.store.mint("operator", "admins")
    operator.ok("PATCH", "/dispatch_mode", {"execution_dispatch": "manual"})
    hosts = [bench.ideator(bench.store.mint("i")), bench.executor(bench.store.mint("x"))]
    for host in hosts:
        host.log("starting")
    bench.store.service.stop()
    for service in (orchestrator, *hosts):
        assert service.exit_code() == 1
        assert "TransportError" in service.output


def test_a_push_that_fails_is_a_failed_task(bench: Bench) -> None:
    orchestrator = bench.store.mint("orchestrator", "orchestrators")
    loop = bench.orchestrator(orchestrator, "--max-quiescent-iterations", "0")
    executor = bench.executor(bench.store.mint("x"))
    executor.log("syncing_clone_from_remote")
    executor.log("starting")
    bench.wait_for_event("task.created", 4)
    hook = bench.forge.path(EXPERIMENT) / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    bench.ideator(bench.store.mint("i"))
    bench.wait_for_event("variant.errored", 3)
    assert loop.stop() == 0
    assert executor.stop() == 0
    assert set(bench.forge.branches(EXPERIMENT)) == {"main"}
