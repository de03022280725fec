# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module apply tries and stops before a change that restarts pods, and what a failure leaves."""

from __future__ import annotations

import contextlib
import itertools
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ansible_collections.eden.reference.plugins.module_utils._eden import apply, stopping
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import StopError, TrialError
from ansible_collections.eden.reference.plugins.module_utils._eden.topology import Inputs, topology
from ansible_collections.eden.reference.plugins.module_utils._eden.trial import Restart
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, CollectionError
from ansible_collections.eden.reference.plugins.module_utils._kube.apply import prepare
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._module import Task
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._eden.living_cluster import (
    NAMESPACE,
    SELECTOR,
    LivingCluster,
    pod,
    workload,
)

CATALOGUE = yaml.safe_load(
    (Path(__file__).resolve().parents[5] / "roles/eden/vars/main/components.yml").read_text()
)["__eden_components"]
RULES = {**topology(CATALOGUE, Inputs("eden"))["restarts"], "selector": SELECTOR, "stopped": []}
HOSTS = ["ideator-host", "executor-host", "evaluator-host"]
COMPONENTS = ["postgres", "forgejo", "task-store-server", "orchestrator", "web-ui", *HOSTS]
STOP_HOSTS = [f"scale eden-{host} 0 1" for host in HOSTS]
STOP_ORCHESTRATOR = ["scale eden-orchestrator 0 1"]
STOP_STORE = ["scale eden-task-store-server 0 1"]


class Site:
    """A running experiment and what its phases apply."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, without: t.Collection[str] = (), **more: t.Any):
        running = [name for name in COMPONENTS if name not in without]
        live = [prepare(workload(name), NAMESPACE) for name in running]
        self.cluster = LivingCluster(*live, *(pod(name) for name in running), **more)
        self.tried: list[str] = []
        self.refusals: list[CollectionError] = []

        @contextlib.contextmanager
        def connected(_options: t.Any) -> Iterator[LivingCluster]:
            yield self.cluster

        monkeypatch.setattr(apply, "connected", connected)
        monkeypatch.setattr(apply, "try_out", self._try_out)
        monkeypatch.setattr(stopping, "INTERVAL", 0.0)

    def _try_out(self, _cluster: t.Any, _namespace: str, restarts: t.Sequence[Restart], _say: t.Any) -> None:
        for refusal in self.refusals:
            raise refusal
        self.tried += [restart.component for restart in restarts]

    def apply(self, *definitions: Object, stopped: t.Sequence[str] = (), **options: t.Any) -> Object:
        self.cluster.requests.clear()
        self.cluster.reads = 0
        return apply.run(Task(self.parameters(*definitions, stopped=stopped), **options))

    def parameters(self, *definitions: Object, stopped: t.Sequence[str] = ()) -> Object:
        return {
            "namespace": NAMESPACE,
            "definitions": [{**thing, "metadata": dict(thing["metadata"])} for thing in definitions],
            "prune": [],
            "restarts": {**RULES, "stopped": stopped},
        }


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def changed(*components: str) -> list[Object]:
    return [workload(name, level="debug") for name in components]


# fmt: off
ORDERS: list[tuple[str, list[Object], list[list[str]]]] = [
    ("the task store", changed("task-store-server"), [STOP_HOSTS, STOP_ORCHESTRATOR]),
    ("Postgres", changed("postgres"), [STOP_HOSTS, STOP_ORCHESTRATOR, STOP_STORE]),
    ("Forgejo", changed("forgejo"), [STOP_HOSTS, STOP_ORCHESTRATOR]),
    ("two servers at once", changed("forgejo", "postgres"), [STOP_HOSTS, STOP_ORCHESTRATOR, STOP_STORE]),
    ("one host", changed("executor-host"), []),
    ("the orchestrator and all hosts", changed("orchestrator", *HOSTS), []),
    ("the web UI", changed("web-ui"), []),
]
# fmt: on


@pytest.mark.parametrize(
    ("definitions", "stages"), [row[1:] for row in ORDERS], ids=[row[0] for row in ORDERS]
)
def test_what_depends_on_a_server_is_stopped_before_it_restarts(
    site: Site, definitions: list[Object], stages: list[list[str]]
) -> None:
    result = site.apply(*definitions)
    writes = site.cluster.writes
    for stage in stages:
        assert sorted(writes[: len(stage)]) == sorted(stage)
        writes = writes[len(stage) :]
    assert sorted(writes) == sorted(f"apply {thing['metadata']['name']}" for thing in definitions)
    # A stage begins when the pods of the one before are gone.
    seen = site.cluster.requests
    for stage, following in itertools.pairwise([*stages, writes]):
        pods = {words.split()[1] + "-0" for words in stage}
        last = max(seen.index(f"sees {name}") for name in pods)
        assert last < min(seen.index(words) for words in following)
    assert result["changed"]
    assert result["stopped"] == [words.split()[1] for stage in stages for words in stage]
    assert [entry["outcome"] for entry in result["objects"]] == ["updated"] * len(definitions)
    restarted = [thing["metadata"]["name"].removeprefix("eden-") for thing in definitions]
    assert site.tried == [*restarted, *(name.removeprefix("eden-") for name in result["stopped"])]


def test_a_change_of_nothing_costs_one_read_for_each_object(site: Site) -> None:
    definitions = [workload(name) for name in COMPONENTS]
    assert site.apply(*definitions) == {
        "changed": False,
        "stopped": [],
        "objects": [
            {"kind": thing["kind"], "name": thing["metadata"]["name"], "outcome": "unchanged"}
            for thing in definitions
        ],
    }
    assert (site.cluster.requests, site.cluster.reads) == ([], len(COMPONENTS))
    assert site.tried == []


def test_what_has_not_changed_is_not_applied_with_the_rest(site: Site) -> None:
    result = site.apply(workload("postgres"), *changed("web-ui"))
    assert site.cluster.writes == ["apply eden-web-ui"]
    assert [entry["outcome"] for entry in result["objects"]] == ["unchanged", "updated"]


@pytest.mark.parametrize(
    "definition",
    [
        pytest.param(workload("task-store-server", replicas=2), id="another number of replicas"),
        pytest.param({**workload("redis"), "kind": "StatefulSet"}, id="a new workload"),
    ],
)
def test_a_change_that_replaces_no_pod_stops_nothing(site: Site, definition: Object) -> None:
    result = site.apply(definition)
    assert result["stopped"] == []
    assert site.cluster.writes == [f"apply {definition['metadata']['name']}"]


def test_a_server_without_pods_does_not_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(monkeypatch)
    site.cluster.things["StatefulSet", "eden-postgres"]["spec"]["replicas"] = 0
    site.apply(*changed("postgres"))
    assert site.cluster.writes == ["apply eden-postgres"]


@pytest.mark.parametrize("absent", [["orchestrator"], HOSTS, [*HOSTS, "orchestrator"]])
def test_components_that_are_not_there_are_left_out(
    absent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(monkeypatch, without=absent)
    result = site.apply(*changed("task-store-server"))
    stages = [*HOSTS, "orchestrator"]
    assert result["stopped"] == [f"eden-{name}" for name in stages if name not in absent]


def test_check_mode_tells_what_would_stop_and_writes_nothing(site: Site) -> None:
    result = site.apply(*changed("task-store-server"), check_mode=True)
    assert result["stopped"] == [f"eden-{name}" for name in (*HOSTS, "orchestrator")]
    assert result["changed"]
    assert site.cluster.requests == site.tried == []


def test_check_mode_takes_for_stopped_what_an_earlier_task_would_stop(site: Site) -> None:
    definitions = [workload("executor-host"), workload("web-ui")]
    stopped = ["eden-executor-host"]
    predicted = site.apply(*definitions, stopped=stopped, check_mode=True, diff=True)
    assert [entry["outcome"] for entry in predicted["objects"]] == ["updated", "unchanged"]
    (difference,) = predicted["diff"]
    assert "replicas: 0" in difference["before"]
    assert "replicas: 1" in difference["after"]
    # What stops on top of it is the last to be named, once.
    assert site.apply(*changed("forgejo"), stopped=stopped, check_mode=True)["stopped"] == [
        "eden-executor-host",
        "eden-ideator-host",
        "eden-evaluator-host",
        "eden-orchestrator",
    ]
    assert site.cluster.requests == []


def test_a_run_after_one_that_was_killed_waits_for_what_still_works(site: Site) -> None:
    """The executor has no replicas any more, and completes its task."""
    live = site.cluster.things["StatefulSet", "eden-executor-host"]
    live["spec"]["replicas"] = 0
    live["metadata"]["annotations"][stopping.STOPPED_ANNOTATION] = "1"
    site.cluster.work["executor-host"] = 5
    result = site.apply(*changed("task-store-server"))
    seen = [number for number, words in enumerate(site.cluster.requests) if "executor-host-0" in words]
    assert len(seen) == 5
    assert max(seen) < site.cluster.requests.index(STOP_ORCHESTRATOR[0])
    assert "eden-executor-host" not in result["stopped"]
    # Its pod is tried all the same: a later phase starts it.
    assert "executor-host" in site.tried


def test_a_failed_trial_stops_nothing(site: Site) -> None:
    site.refusals.append(TrialError("no such image"))
    with pytest.raises(TrialError):
        site.apply(*changed("task-store-server"))
    assert site.cluster.requests == []


def test_what_was_stopped_is_started_again_if_something_does_not_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = Site(monkeypatch, work={"orchestrator": 10**6})
    # The grace period is 60 s.
    monkeypatch.setattr(stopping, "MARGIN", -59.9)
    before = site.cluster.replicas()
    with pytest.raises(StopError) as caught:
        site.apply(*changed("task-store-server"))
    assert "apply eden-task-store-server" not in site.cluster.writes
    assert site.cluster.replicas() == before
    assert site.cluster.writes[-4:] == [
        f"scale eden-{name} 1 None" for name in ("orchestrator", *reversed(HOSTS))
    ]
    assert caught.value.message.endswith("What had been stopped was started again.")


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ("scale eden-orchestrator 0", "What had been stopped was started again."),
        ("apply eden-task-store-server", "The next run of site.yml that succeeds starts them again."),
    ],
)
def test_a_refused_write_tells_what_became_of_the_hosts(
    refused: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(monkeypatch, refused=refused)
    with pytest.raises(ClusterError) as caught:
        site.apply(*changed("task-store-server"))
    assert caught.value.message.endswith(told)
    stopped = [name for name, replicas in site.cluster.replicas().items() if not replicas]
    assert all(f"StatefulSet {name}" in caught.value.message for name in stopped)
    assert bool(stopped) is refused.startswith("apply")


def test_workloads_of_another_experiment_in_the_namespace_go_on(site: Site) -> None:
    other = workload("executor-host", "lab-executor-host", instance="lab")
    site.cluster.things["StatefulSet", "lab-executor-host"] = other
    site.apply(*changed("postgres"))
    assert site.cluster.replicas()["lab-executor-host"] == 1


def test_without_rules_nothing_is_stopped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply.apply, "connected", apply.connected)
    parameters = {**site.parameters(*changed("task-store-server")), "restarts": None}
    assert "stopped" not in apply.run(Task(parameters))
    assert site.cluster.writes == ["apply eden-task-store-server"]


@pytest.mark.parametrize("check_mode", [True, False])
def test_what_was_found_as_it_should_be_and_ready_is_not_waited_for(
    site: Site, check_mode: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaited: list[str] = []

    def until_ready(task: Task, _cluster: t.Any) -> None:
        awaited.extend(entry["name"] for entry in task.parameters["workloads"])

    monkeypatch.setattr(apply.rollout, "until_ready", until_ready)
    monkeypatch.setattr(apply, "is_done", lambda live: live["metadata"]["name"] != "eden-forgejo")
    names = ["postgres", "forgejo", "web-ui"]
    parameters = site.parameters(workload("postgres"), workload("forgejo"), *changed("web-ui"))
    parameters["wait_for"] = [{"kind": "StatefulSet", "name": f"eden-{name}"} for name in names]
    apply.run(Task(parameters, check_mode))
    assert awaited == ([] if check_mode else ["eden-forgejo", "eden-web-ui"])
