# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order an experiment is stopped on request, and started again."""

from __future__ import annotations

import contextlib
import typing as t

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import rollout, start, stop, stopping
from ansible_collections.eden.reference.plugins.module_utils._module import Task
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._eden.living_cluster import (
    NAMESPACE,
    SELECTOR,
    LivingCluster,
    workload,
)

STAGES = {"web-ui": 1, "executor-host": 1, "orchestrator": 2, "task-store-server": 3}
ORDER = ["eden-executor-host", "eden-web-ui", "eden-orchestrator", "eden-task-store-server"]


def run(
    module: t.Any,
    cluster: LivingCluster,
    monkeypatch: pytest.MonkeyPatch,
    check_mode: bool = False,
    **more: t.Any,
) -> dict[str, t.Any]:
    monkeypatch.setattr(module, "connected", lambda _options: contextlib.nullcontext(cluster))
    parameters = {"namespace": NAMESPACE, "selector": SELECTOR, "stages": STAGES, **more}
    answer: dict[str, t.Any] = module.run(Task(parameters, check_mode, diff=True))
    return answer


def names(answer: dict[str, t.Any]) -> list[str]:
    return [row["name"] for row in answer["workloads"]]


@pytest.mark.parametrize("check_mode", [True, False])
def test_stages_follow_each_other(monkeypatch: pytest.MonkeyPatch, check_mode: bool) -> None:
    found = [workload(name) for name in (*STAGES, "postgres")]
    cluster = LivingCluster(*found)
    stages: list[str] = []
    monkeypatch.setattr(
        stopping, "stop", lambda _cluster, _namespace, selector, _say: stages.append(selector)
    )
    answer = run(stop, cluster, monkeypatch, check_mode)
    assert answer["changed"]
    assert sorted(names(answer)[:2]) == ORDER[:2]
    assert names(answer)[2:] == ORDER[2:]
    assert set(answer["diff"][0]["after"].values()) == {0}
    expected = ["executor-host,web-ui", "orchestrator", "task-store-server"]
    assert stages == (
        [] if check_mode else [f"{SELECTOR},{stopping.COMPONENT_LABEL} in ({x})" for x in expected]
    )


def test_nothing_is_left_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = LivingCluster(workload("executor-host", replicas=0, stopped="1"))
    answer = run(stop, cluster, monkeypatch)
    assert answer == {"changed": False, "workloads": []}


def test_servers_are_ready_before_their_clients_start(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = LivingCluster(*(workload(name, replicas=0, stopped="1") for name in STAGES))
    waits: list[list[str]] = []
    monkeypatch.setattr(
        rollout,
        "until_ready",
        lambda task, _cluster: waits.append([row["name"] for row in task.parameters["workloads"]]),
    )
    answer = run(start, cluster, monkeypatch, stopped=[], timeout=1)
    assert waits[:2] == [["eden-task-store-server"], ["eden-orchestrator"]]
    assert sorted(waits[2]) == ORDER[:2]
    assert names(answer) == [name for group in waits for name in group]
