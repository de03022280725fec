# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter workers."""

from __future__ import annotations

import pytest

from ansible_collections.eden.reference.plugins.filter.workers import workers

ALL = {
    "task_store": 1,
    "orchestrator": 1,
    "web_ui": 1,
    "ideator_host": 1,
    "executor_host": 1,
    "evaluator_host": 1,
}


def test_one_worker_for_each_service_and_the_operator() -> None:
    assert [worker["name"] for worker in workers(ALL, "eden")] == [
        "operator",
        "orchestrator",
        "web-ui-1",
        "ideator-host-1",
        "executor-host-1",
        "evaluator-host-1",
    ]


def test_each_replica_has_its_own_object_and_secret() -> None:
    executors = [
        worker for worker in workers({**ALL, "executor_host": 2}, "a") if worker["service"] == "executor_host"
    ]
    assert [(worker["workload"]["name"], worker["secret"]) for worker in executors] == [
        ("a-executor-host-1", "a-executor-host-1-identity"),
        ("a-executor-host-2", "a-executor-host-2-identity"),
    ]


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("operator", ["admins"]),
        ("web-ui-1", ["admins"]),
        ("orchestrator", ["orchestrators"]),
        ("executor-host-1", []),
    ],
)
def test_groups(name: str, groups: list[str]) -> None:
    assert next(worker["groups"] for worker in workers(ALL, "eden") if worker["name"] == name) == groups


def test_service_without_replicas_has_no_worker() -> None:
    assert [worker["name"] for worker in workers({"web_ui": 0}, "eden")] == ["operator"]


def test_operator_has_no_workload() -> None:
    assert workers(ALL, "eden")[0]["workload"] is None
