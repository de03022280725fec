# SPDX-License-Identifier: GPL-3.0-or-later
"""In which order workloads are stopped, what is waited for, and what is started again."""

from __future__ import annotations

import contextlib

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import rollout, stopping
from ansible_collections.eden.reference.plugins.module_utils._eden import start as start_module
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import StopError
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._module import Task
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._eden.living_cluster import (
    NAMESPACE,
    SELECTOR,
    LivingCluster,
    pod,
    workload,
)

HOSTS = stopping.of_components(SELECTOR, ["ideator-host", "executor-host"])


class Time:
    """A clock that only moves when it is slept on."""

    def __init__(self) -> None:
        self.passed = 0.0

    def clock(self) -> stopping.Clock:
        return stopping.Clock(now=lambda: 1000.0 + self.passed, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.passed += seconds


def stop(cluster: LivingCluster, selector: str = HOSTS) -> tuple[list[str], float]:
    """The lines that are shown, and the seconds that pass."""
    lines: list[str] = []
    time = Time()
    stopping.stop(cluster, NAMESPACE, selector, lines.append, time.clock())  # type: ignore[arg-type]
    return lines, time.passed


def start(cluster: LivingCluster, *workloads: Object) -> tuple[list[str], list[str]]:
    """The names of what was started, and the lines that are shown."""
    lines: list[str] = []
    started = stopping.start(cluster, NAMESPACE, workloads, lines.append)  # type: ignore[arg-type]
    return [live["metadata"]["name"] for live in started], lines


IDEATOR, EXECUTOR = workload("ideator-host"), workload("executor-host", replicas=2)
HALTED = workload("executor-host", replicas=0, stopped="2")
OTHERS = workload("executor-host", "lab-executor-host", instance="lab")
OTHER_POD = pod("executor-host", "lab-executor-host-0", labels={"app.kubernetes.io/instance": "lab"})


def test_all_are_scaled_at_once_and_then_waited_for() -> None:
    cluster = LivingCluster(
        IDEATOR,
        EXECUTOR,
        workload("orchestrator"),
        OTHERS,
        OTHER_POD,
        pod("ideator-host"),
        pod("executor-host"),
    )
    lines, seconds = stop(cluster)
    assert cluster.writes == ["scale eden-ideator-host 0 1", "scale eden-executor-host 0 2"]
    assert cluster.requests[2:] == ["sees eden-ideator-host-0", "sees eden-executor-host-0"]
    assert cluster.replicas()["eden-orchestrator"] == cluster.replicas()["lab-executor-host"] == 1
    assert seconds == stopping.INTERVAL
    assert lines == [
        "stopping: pod eden-ideator-host-0 ends its work within 60 s, "
        "pod eden-executor-host-0 ends its work within 60 s"
    ]


@pytest.mark.parametrize(("things", "seen"), [
    # Nothing runs: nothing is waited for.
    ([], 0),
    ([HALTED], 0),
    # A pod may outlive the run that has stopped it, its replicas, and its workload.
    ([HALTED, pod("executor-host", ending=True)], 3),
    ([pod("executor-host", ending=True)], 3),
    # It has ended, and only its object is left.
    ([EXECUTOR, pod("executor-host", phase="Succeeded")], 1),
    ([EXECUTOR, pod("executor-host", phase="Failed")], 1),
    # It never ran: its controller deletes it.
    ([EXECUTOR, pod("executor-host", phase="Pending")], 3),
    # It tries a change.
    ([EXECUTOR, pod("executor-host", "eden-executor-host-trial", labels={"eden.reference/trial": "e"})], 0),
])  # fmt: skip
def test_pods_are_waited_for_as_long_as_they_may_work(things: list[Object], seen: int) -> None:
    cluster = LivingCluster(*things, work={"executor-host": 3})
    stop(cluster)
    assert len([words for words in cluster.requests if words.startswith("sees")]) == seen


@pytest.mark.parametrize(("grace", "ending", "way_out"), [
    (60, True, "kubectl get nodes"),
    (620, True, "if it is gone for good, delete the Node object"),
    (60, False, "No controller has ended eden-executor-host-0: run kubectl -n lab delete pod eden-executor-"),
])  # fmt: skip
def test_a_pod_that_stays_is_an_error_after_its_grace_period(grace: int, ending: bool, way_out: str) -> None:
    cluster = LivingCluster(
        EXECUTOR, pod("executor-host", grace=grace, ending=ending), work={"executor-host": 10**6}
    )
    lines: list[str] = []
    time = Time()
    with pytest.raises(StopError) as caught:
        stopping.stop(cluster, NAMESPACE, HOSTS, lines.append, time.clock())  # type: ignore[arg-type]
    assert grace + stopping.MARGIN < time.passed <= grace + stopping.MARGIN + 1
    assert caught.value.data == {"pods": ["eden-executor-host-0"]}
    assert "What they depend on was not changed." in caught.value.message
    assert way_out in caught.value.message
    assert len(lines) == int(time.passed // stopping.QUIET) + 1
    assert lines[1] == f"stopping: pod eden-executor-host-0 ends its work within {grace - 15} s"
    assert lines[-1].endswith("within 0 s")


def test_a_pod_without_a_grace_period_has_that_of_kubernetes() -> None:
    thing = pod("executor-host")
    thing["spec"].pop("terminationGracePeriodSeconds")
    assert stopping.grace(thing) == stopping.DEFAULT_GRACE


@pytest.mark.parametrize(("live", "writes", "started"), [
    (HALTED, ["scale eden-executor-host 2 None"], True),
    # A run has applied it since: only the annotation is left.
    (workload("executor-host", replicas=1, stopped="2"), ["scale eden-executor-host 1 None"], False),
    # Others have stopped it.
    (workload("executor-host", replicas=0), [], False),
    (EXECUTOR, [], False),
    # An edit of the annotation must not leave a change for ever.
    (workload("executor-host", replicas=0, stopped="many"), ["scale eden-executor-host 1 None"], True),
    (workload("executor-host", replicas=0, stopped="0"), ["scale eden-executor-host 1 None"], True),
    # It was removed meanwhile.
    (None, [], False),
])  # fmt: skip
def test_only_what_was_stopped_is_started(live: Object | None, writes: list[str], started: bool) -> None:
    cluster = LivingCluster(*([live] if live else []))
    names, lines = start(cluster, EXECUTOR)
    assert cluster.writes == writes
    assert names == (["eden-executor-host"] if started else [])
    assert lines == (["starting StatefulSet eden-executor-host"] if started else [])
    assert start(cluster, EXECUTOR) == ([], [])


@pytest.mark.parametrize("check_mode", [True, False])
def test_the_module_starts_what_any_run_has_stopped_servers_first(
    check_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaited: list[str] = []

    def until_ready(task: Task, _cluster: object) -> None:
        awaited.extend(entry["name"] for entry in task.parameters["workloads"])

    monkeypatch.setattr(rollout, "until_ready", until_ready)
    stale = workload("ideator-host", stopped="1")
    store = workload("task-store-server", replicas=0, stopped="1")
    cluster = LivingCluster(stale, HALTED, store, workload("orchestrator", replicas=0), OTHERS)

    monkeypatch.setattr(start_module, "connected", lambda _options: contextlib.nullcontext(cluster))
    parameters = {"namespace": NAMESPACE, "selector": SELECTOR, "stopped": []}
    task = Task(parameters, check_mode=check_mode)
    assert start_module.run(task) == {
        "changed": True,
        "workloads": [
            {"kind": "Deployment", "name": "eden-task-store-server"},
            {"kind": "StatefulSet", "name": "eden-executor-host"},
        ],
    }
    assert cluster.writes == (
        []
        if check_mode
        else [
            "scale eden-task-store-server 1 None",
            "scale eden-ideator-host 1 None",
            "scale eden-executor-host 2 None",
        ]
    )
    assert awaited == ([] if check_mode else ["eden-task-store-server", "eden-executor-host"])
    if not check_mode:
        assert start_module.run(task) == {"changed": False, "workloads": []}


@pytest.mark.parametrize("check_mode", [True, False])
def test_check_mode_starts_what_the_run_would_have_stopped(
    check_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        start_module, "connected", lambda _options: contextlib.nullcontext(LivingCluster(EXECUTOR))
    )
    parameters = {"namespace": NAMESPACE, "selector": SELECTOR, "stopped": ["eden-executor-host"]}
    assert start_module.run(Task(parameters, check_mode=check_mode)) == {
        "changed": check_mode,
        "workloads": [],
    }


def test_a_refused_patch_ends_the_stop() -> None:
    cluster = LivingCluster(IDEATOR, EXECUTOR, refused="scale eden-executor-host")
    with pytest.raises(ClusterError):
        stop(cluster)
    assert cluster.writes == ["scale eden-ideator-host 0 1"]


def test_a_failure_tells_what_is_stopped() -> None:
    assert stopping.advice([]) == ""
    assert stopping.advice([HALTED]).startswith(
        "Stopped before the change, so that no task is lost: StatefulSet eden-executor-host."
    )
