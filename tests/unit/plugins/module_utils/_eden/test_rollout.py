# SPDX-License-Identifier: GPL-3.0-or-later
"""The wait for workloads, against a scripted cluster and a clock that only moves when it is told to."""

from __future__ import annotations

import typing as t
from datetime import UTC, datetime, timedelta

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import rollout
from ansible_collections.eden.reference.plugins.module_utils._eden.diagnosis import APPEAR, SECOND_TRY
from ansible_collections.eden.reference.plugins.module_utils._eden.rollout import Rollout, Target
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    MissingError,
    RolloutError,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object
from ansible_collections.eden.reference.plugins.module_utils._module import Task
from ansible_collections.eden.reference.tests.unit.plugins.module_utils._kube import kube_objects as k

NOT_FOUND = 'failed to resolve reference "docker.io/library/x:1": x:1: not found'
EXCEEDED = 'pods "db-0" is forbidden: exceeded quota: small, requested: pods=1, used: pods=0, limited: pods=0'
START = datetime.fromisoformat(k.CREATED) + timedelta(seconds=1)

Step = tuple[float, t.Sequence[Object]]
Objects = list[Object]


class FakeClock(rollout.Clock):
    """A clock that stands still between two waits."""

    def __init__(self, start: datetime = START) -> None:
        self.passed = 0.0
        self._start = start

    def now(self) -> float:
        return 1000.0 + self.passed

    def wall(self) -> datetime:
        return self._start + timedelta(seconds=self.passed)


class Script:
    """A view whose objects change at given seconds; an object replaces an earlier one of its uid."""

    def __init__(self, clock: FakeClock, start: t.Sequence[Object], *steps: Step) -> None:
        self._clock = clock
        self._steps = list(steps)
        self._objects: dict[tuple[str, str], Object] = {}
        self._put(start)

    def objects(self, kind: str) -> list[Object]:
        return [thing for (other, _uid), thing in self._objects.items() if other == kind]

    def wait(self, seconds: float) -> None:
        assert seconds > 0, "the loop would spin"
        until = self._clock.passed + seconds
        if self._steps and self._steps[0][0] <= until:
            at, changes = self._steps.pop(0)
            self._clock.passed = max(at, self._clock.passed)
            self._put(changes)
        else:
            self._clock.passed = until

    def _put(self, things: t.Sequence[Object]) -> None:
        for thing in things:
            self._objects[thing["kind"], thing["metadata"]["uid"]] = thing


class FakeCluster:
    """Answers lists and logs, and keeps the requests."""

    def __init__(
        self,
        *things: Object,
        logs: t.Mapping[str, str] | None = None,
        refused: t.Mapping[str, int] | None = None,
    ):
        self.client = None
        self.things = list(things)
        self.logs = dict(logs or {})
        self.refused = dict(refused or {})
        self.requests: list[str] = []

    def list(self, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> Objects:
        return self.list_with_version(kind, namespace, labels, fields)[0]

    def list_with_version(
        self, kind: str, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[Objects, str]:
        self.requests.append(f"list {kind} {labels}".rstrip())
        if kind in self.refused:
            raise ClusterError("list", kind, self.refused[kind], "Forbidden")
        return [thing for thing in self.things if thing["kind"] == kind], "7"

    def log(
        self, namespace: str, pod: str, container: str = "", lines: int = 0, previous: bool = False
    ) -> str:
        self.requests.append(f"log {pod} {container} {lines} {previous}")
        key = f"{pod} previous" if previous else pod
        if key not in self.logs:
            raise ClusterError("read the log of", pod, 400, "BadRequest")
        return self.logs[key]


def parameters(*workloads: Object, timeout: int = 300) -> dict[str, t.Any]:
    return {
        "kubeconfig": None,
        "context": None,
        "namespace": k.NAMESPACE,
        "workloads": [{"kind": thing["kind"], "name": thing["metadata"]["name"]} for thing in workloads],
        "timeout": timeout,
    }


class Trial:
    """One wait: its lines, its length and its end."""

    def __init__(
        self,
        wanted: t.Sequence[Object],
        start: t.Sequence[Object],
        *steps: Step,
        cluster: FakeCluster | None = None,
        clock: FakeClock | None = None,
        timeout: int = 300,
        phase: str = "",
    ) -> None:
        self.clock = clock or FakeClock()
        self.lines: list[str] = []
        self.cluster = cluster or FakeCluster()
        names = [Target(thing["kind"], thing["metadata"]["name"], phase) for thing in wanted]
        options = parameters(*wanted, timeout=timeout)
        view = Script(self.clock, start, *steps)
        self.rollout = Rollout(self.cluster, view, names, options, self.lines.append, self.clock)  # type: ignore[arg-type]

    def wait(self) -> float:
        """The seconds until everything was ready."""
        self.rollout.wait()
        return self.clock.passed

    def fail(self, kind: type[CollectionError] = RolloutError) -> tuple[float, CollectionError]:
        """The seconds until the failure, and the failure."""
        with pytest.raises(kind) as caught:
            self.rollout.wait()
        return self.clock.passed, caught.value


POSTGRES, READY_POSTGRES = k.statefulset(), k.ready_statefulset()
TASK_STORE = k.deployment()
EMPTY_POSTGRES = {**POSTGRES, "status": {"observedGeneration": 1, "replicas": 0}}
SCHEDULED = k.pod(POSTGRES)
PULLING = k.event(SCHEDULED, "Pulling", 'Pulling image "postgres:16.6-alpine"', "main", kind="Normal")
RUNNING = k.pod(POSTGRES, k.container(k.running()), phase="Running")
READY_POD = k.pod(POSTGRES, k.container(k.running(), ready=True), phase="Running", ready=True)
BAD_IMAGE = k.pod(POSTGRES, k.container(k.waiting("ErrImagePull", NOT_FOUND)), image="x:1")
NO_HOST = "dial tcp: lookup registry.example on 10.96.0.10:53: no such host"
NO_REGISTRY = k.pod(POSTGRES, k.container(k.waiting("ErrImagePull", NO_HOST)), image="x:1")
SLOW_REGISTRY = k.pod(POSTGRES, k.container(k.waiting("ErrImagePull", "i/o timeout")), image="x:1")
CRASHED = k.pod(POSTGRES, k.container(k.terminated(3), 2, k.terminated(3)), phase="Running")


def test_a_good_rollout_returns_at_once_and_tells_each_step_once() -> None:
    trial = Trial(
        [POSTGRES],
        [EMPTY_POSTGRES],
        (0.1, [k.pod(POSTGRES, node="")]),
        (0.2, [SCHEDULED]),
        (0.3, [SCHEDULED]),
        (0.4, [PULLING]),
        (2.0, [RUNNING, POSTGRES]),
        (3.0, [READY_POD]),
        (3.1, [READY_POSTGRES]),
    )
    assert trial.wait() == 3.1
    assert trial.lines == [
        "postgres: pod eden-postgres-0 created (0.1 s)",
        "postgres: pod eden-postgres-0 scheduled (0.2 s)",
        "postgres: pod eden-postgres-0 pulling image postgres:16.6-alpine (0.4 s)",
        "postgres: pod eden-postgres-0 started (2.0 s)",
        "postgres: pod eden-postgres-0 ready (3.0 s)",
        "postgres: StatefulSet eden-postgres ready (3.1 s)",
    ]


def test_a_state_that_comes_back_is_told_once() -> None:
    pulled = k.event(SCHEDULED, "Pulled", "Successfully pulled image", "main", kind="Normal")
    trial = Trial(
        [POSTGRES],
        [POSTGRES, SCHEDULED],
        (1.0, [PULLING]),
        (2.0, [pulled]),
        (3.0, [READY_POD, READY_POSTGRES]),
    )
    trial.wait()
    assert [line.rpartition(" (")[0] for line in trial.lines][:3] == [
        "postgres: pod eden-postgres-0 scheduled",
        "postgres: pod eden-postgres-0 pulling image postgres:16.6-alpine",
        "postgres: pod eden-postgres-0 ready",
    ]


def test_silence_is_broken_by_what_is_waited_for() -> None:
    said = k.event(RUNNING, "Unhealthy", "Readiness probe failed: no response", "main")
    trial = Trial([POSTGRES], [POSTGRES, RUNNING], (1.0, [said]), (40.0, [READY_POD, READY_POSTGRES]))
    trial.wait()
    waiting = (
        "waiting for StatefulSet eden-postgres: 0 of 1 replicas ready, "
        "pod eden-postgres-0: Readiness probe failed: no response"
    )
    assert [line for line in trial.lines if line.startswith("waiting")] == [
        f"{waiting} (15.0 s)",
        f"{waiting} (30.0 s)",
    ]


def failing(pod: Object, *events: Object, **more: t.Any) -> Trial:
    return Trial([POSTGRES], [POSTGRES], (2.0, [pod, *events]), **more)


# fmt: off
FAILURES: list[tuple[str, Trial, str, float]] = [
    ("image for good", failing(BAD_IMAGE), "image", 3.0),
    ("image at the second try", failing(NO_REGISTRY), "image", 20.0),
    ("config",
     failing(k.pod(POSTGRES, k.container(k.waiting("CreateContainerConfigError", 'secret "s" not found')))),
     "config", 7.0),
    ("unschedulable", failing(k.pod(POSTGRES, node="", unschedulable="1 Insufficient cpu.")), "unschedulable",
     20.0),
    ("crash loop", failing(CRASHED), "crash_loop", 3.0),
    ("quota", Trial([POSTGRES], [EMPTY_POSTGRES], (2.0, [k.event(POSTGRES, "FailedCreate", EXCEEDED)])),
     "quota", 7.0),
    ("failed Job", Trial([k.job()], [k.job()], (2.0, [k.failed_job()])), "job", 2.0),
]
# fmt: on


@pytest.mark.parametrize(
    ("trial", "cause", "at"), [row[1:] for row in FAILURES], ids=[row[0] for row in FAILURES]
)
def test_a_failure_is_told_as_soon_as_it_is_certain(trial: Trial, cause: str, at: float) -> None:
    seconds, error = trial.fail()
    assert error.data["cause"] == cause
    assert at <= seconds <= at + rollout.TICK


def test_a_failure_names_the_workload_the_pod_and_the_log() -> None:
    log = "starting\nstore postgresql://eden:hunter2@db\n\nno such table\n"
    trial = failing(CRASHED, cluster=FakeCluster(logs={"eden-postgres-0": log}))
    _seconds, error = trial.fail()
    assert error.message == (
        "StatefulSet eden/eden-postgres is not ready: container main of pod eden-postgres-0 has exited 3 "
        "times, the last time with exit code 3. Fix what its log complains about and run again. The log "
        "of eden-postgres-0 ends:\n  starting\n  store postgresql://eden:***@db\n  no such table"
    )
    assert {key: error.data[key] for key in ("cause", "kind", "name", "pod", "log")} == {
        "cause": "crash_loop",
        "kind": "StatefulSet",
        "name": "eden-postgres",
        "pod": "eden-postgres-0",
        "log": ["starting", "store postgresql://eden:***@db", "no such table"],
    }
    assert trial.cluster.requests == ["log eden-postgres-0 main 15 False"]


def test_the_log_of_the_previous_run_stands_in() -> None:
    trial = failing(CRASHED, cluster=FakeCluster(logs={"eden-postgres-0 previous": "no such table\n"}))
    assert trial.fail()[1].data["log"] == ["no such table"]


def test_a_log_that_cannot_be_read_does_not_hide_the_cause() -> None:
    error = failing(CRASHED).fail()[1]
    assert (error.data["cause"], error.data["log"]) == ("crash_loop", [])


def test_workloads_in_the_same_trouble_are_named_together() -> None:
    bad_store = k.pod(TASK_STORE, k.container(k.waiting("ErrImagePull", NOT_FOUND)), image="x:1")
    trial = Trial([POSTGRES, TASK_STORE], [POSTGRES, TASK_STORE, BAD_IMAGE, bad_store])
    assert trial.fail()[1].message.endswith(" The same is true of Deployment eden-task-store-server.")


def test_what_is_retried_is_waited_for_and_shown() -> None:
    trial = Trial([POSTGRES], [POSTGRES], (2.0, [SLOW_REGISTRY]), (200.0, [READY_POD, READY_POSTGRES]))
    assert trial.wait() == 200.0
    words = "pod eden-postgres-0 cannot pull image x:1: i/o timeout"
    assert f"postgres: {words}; still waiting (3.0 s)" in trial.lines
    assert len([line for line in trial.lines if "still waiting" in line]) == 1
    assert f"waiting for StatefulSet eden-postgres: 0 of 1 replicas ready, {words} (18.0 s)" in trial.lines


def test_a_second_try_counts_from_the_first_one_with_that_answer() -> None:
    trial = Trial([POSTGRES], [POSTGRES, SLOW_REGISTRY], (40.0, [NO_REGISTRY]))
    seconds, _error = trial.fail()
    assert 40.0 + SECOND_TRY <= seconds <= 40.5 + SECOND_TRY


def test_volumes_of_a_slow_class_are_waited_for() -> None:
    """Immediate binding, and a provisioner that takes 45 s."""
    unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    pod = k.pod(POSTGRES, node="", unschedulable=unbound, claims=["data"])
    claim = k.claim("data", "slow")
    event = k.event(claim, "ExternalProvisioning", "Waiting for a volume to be created", kind="Normal")
    trial = Trial(
        [POSTGRES],
        [POSTGRES, pod, event],
        (45.0, [SCHEDULED]),
        (47.0, [READY_POD, READY_POSTGRES]),
        cluster=FakeCluster(claim, k.storage_class("slow")),
    )
    assert trial.wait() == 47.0
    assert any("claim data gets no volume from storage class slow: Waiting" in line for line in trial.lines)


def ending(seconds: int) -> Object:
    """The pod of Postgres, which will be killed so many seconds after the start."""
    pod = k.pod(POSTGRES, k.container(k.running(), ready=True), phase="Running", ready=True)
    pod["metadata"]["deletionTimestamp"] = (START + timedelta(seconds=seconds)).isoformat()
    return pod


def test_the_time_counts_from_the_end_of_the_old_pods() -> None:
    trial = Trial(
        [POSTGRES], [POSTGRES, ending(620)], (500.0, [SCHEDULED]), (550.0, [READY_POSTGRES]), timeout=60
    )
    assert trial.wait() == 550.0
    assert trial.lines[:3] == [
        "postgres: pod eden-postgres-0 is stopping (0.0 s)",
        "waiting for StatefulSet eden-postgres: 0 of 1 replicas ready, "
        "pod eden-postgres-0 ends its work within 605 s (15.0 s)",
        "waiting for StatefulSet eden-postgres: 0 of 1 replicas ready, "
        "pod eden-postgres-0 ends its work within 590 s (30.0 s)",
    ]


@pytest.mark.parametrize(
    ("steps", "end"),
    [
        pytest.param([(500.0, [SCHEDULED])], 560.0, id="the new pod is too slow"),
        # Only then does its node fail it.
        pytest.param([], 680.0, id="the old pod outlives its grace period"),
    ],
)
def test_the_time_does_end(steps: list[Step], end: float) -> None:
    seconds, error = Trial([POSTGRES], [POSTGRES, ending(620)], *steps, timeout=60).fail()
    assert end - rollout.TICK <= seconds <= end
    assert "after 60 s" in error.message


def test_what_is_retried_is_the_cause_at_the_timeout() -> None:
    seconds, error = failing(SLOW_REGISTRY, timeout=60).fail()
    assert (seconds, error.data["cause"]) == (60.0, "image")
    assert "not ready: after 60 s pod eden-postgres-0 cannot pull image x:1: i/o timeout" in error.message
    assert error.message.endswith("If it only needs more time, set a longer eden_timeout.")


def test_a_cause_that_passes_is_forgiven() -> None:
    trial = Trial(
        [POSTGRES],
        [POSTGRES, NO_REGISTRY],
        (14.0, [SCHEDULED]),
        (21.0, [NO_REGISTRY]),
        (35.0, [READY_POD, READY_POSTGRES]),
    )
    assert trial.wait() == 35.0


def test_a_cause_that_flickers_adds_up() -> None:
    """A kubelet that retries reports for a moment that the container is being created."""
    trial = Trial([POSTGRES], [POSTGRES, NO_REGISTRY], (10.0, [SCHEDULED]), (11.0, [NO_REGISTRY]))
    seconds, _error = trial.fail()
    assert SECOND_TRY <= seconds <= SECOND_TRY + 0.5


def test_one_restart_of_a_service_that_depends_on_another_is_no_failure() -> None:
    once = k.pod(POSTGRES, k.container(k.terminated(1)), phase="Running")
    again = k.pod(POSTGRES, k.container(k.running(), 2, k.terminated(1)), phase="Running")
    trial = Trial([POSTGRES], [POSTGRES], (1.0, [once]), (12.0, [again]), (20.0, [READY_POD, READY_POSTGRES]))
    assert trial.wait() == 20.0


def later() -> FakeClock:
    """The clock of a second run, five minutes after the objects were made."""
    return FakeClock(START + timedelta(minutes=5))


def test_a_second_run_after_the_repair_does_not_fail_on_old_traces() -> None:
    refused = k.event(POSTGRES, "FailedCreate", EXCEEDED)
    trial = Trial([POSTGRES], [EMPTY_POSTGRES, refused], (44.0, [READY_POD, READY_POSTGRES]), clock=later())
    assert trial.wait() == 44.0


def test_a_second_run_without_the_repair_fails_at_the_next_try() -> None:
    refused = k.event(POSTGRES, "FailedCreate", EXCEEDED)
    again = {**refused, "count": 14, "metadata": {**refused["metadata"], "resourceVersion": "9999"}}
    trial = Trial([POSTGRES], [EMPTY_POSTGRES, refused], (8.0, [again]), clock=later())
    seconds, error = trial.fail()
    assert (seconds, error.data["cause"]) == (8.0 + APPEAR, "quota")


def test_the_end_of_time_counts_old_traces() -> None:
    refused = k.event(POSTGRES, "FailedCreate", EXCEEDED)
    seconds, error = Trial([POSTGRES], [EMPTY_POSTGRES, refused], clock=later(), timeout=60).fail()
    assert (seconds, error.data["cause"]) == (60.0, "quota")


def test_traces_of_the_seconds_before_the_rollout_are_its_own() -> None:
    refused = k.event(POSTGRES, "FailedCreate", EXCEEDED, time=k.CREATED)
    seconds, _error = Trial([POSTGRES], [EMPTY_POSTGRES, refused]).fail()
    assert seconds == APPEAR


@pytest.mark.parametrize(
    ("workload", "about", "cause"),
    [
        (POSTGRES, POSTGRES, "quota"),
        (POSTGRES, k.claim("data-eden-postgres-0"), "timeout"),
        (TASK_STORE, k.replica_set(TASK_STORE), "quota"),
    ],
    ids=["its own", "its claim's", "its ReplicaSet's"],
)
@pytest.mark.parametrize("age", [1, 8], ids=["young", "old"])
def test_a_run_right_after_the_repair_does_not_fail_on_the_traces_of_a_moment_ago(
    workload: Object, about: Object, cause: str, age: int
) -> None:
    """The controller's next try is further away than a run that is started at once."""
    now = START + timedelta(seconds=age)
    refused = k.event(about, "FailedCreate", EXCEEDED, time=(now - timedelta(seconds=2)).isoformat())
    empty = {**workload, "status": {**workload["status"], "replicas": 0}}
    seconds, error = Trial([workload], [empty, refused], clock=FakeClock(now), timeout=60).fail()
    assert error.data["cause"] == cause
    assert (seconds < 60) is (age == 1 and cause == "quota")


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_wrong_clock_costs_no_success(hours: int) -> None:
    clock = FakeClock(START + timedelta(hours=hours))
    trial = Trial([POSTGRES], [POSTGRES, SCHEDULED], (4.0, [READY_POD, READY_POSTGRES]), clock=clock)
    assert trial.wait() == 4.0


def test_out_of_time_says_what_is_waited_for() -> None:
    said = k.event(RUNNING, "Unhealthy", "Readiness probe failed: no response", "main")
    cluster = FakeCluster(logs={"eden-postgres-0": "recovering\n"})
    seconds, error = Trial([POSTGRES], [POSTGRES, RUNNING, said], cluster=cluster, timeout=20).fail()
    assert seconds == 20.0
    assert error.data["cause"] == "timeout"
    assert error.message == (
        "StatefulSet eden/eden-postgres is not ready: after 20 s 0 of 1 replicas ready: pod eden-postgres-0: "
        "Readiness probe failed: no response. See kubectl -n eden describe pods, or set a longer "
        "eden_timeout. The log of eden-postgres-0 ends:\n  recovering"
    )


def test_out_of_time_says_what_was_not_certain_yet() -> None:
    seconds, error = Trial([POSTGRES], [POSTGRES, SLOW_REGISTRY], timeout=10).fail()
    assert (seconds, error.data["cause"]) == (10.0, "image")


@pytest.mark.parametrize(
    ("phase", "advice"),
    [
        ("infra", "run `--tags infra` first."),
        ("", "run the playbook without tags."),
    ],
)
def test_a_missing_workload_names_the_phase_that_makes_it(phase: str, advice: str) -> None:
    seconds, error = Trial([POSTGRES], [], phase=phase).fail(MissingError)
    assert (seconds, error.data["cause"]) == (APPEAR, "missing")
    assert error.message == f"StatefulSet eden/eden-postgres does not exist: {advice}"


def test_a_workload_may_come_a_little_later() -> None:
    assert Trial([POSTGRES], [], (4.0, [READY_POSTGRES, READY_POD])).wait() == 4.0


def test_claims_are_read_only_while_a_pod_waits_for_them() -> None:
    waiting = k.pod(
        POSTGRES, node="", unschedulable="pod has unbound immediate PersistentVolumeClaims", claims=["data"]
    )
    cluster = FakeCluster(k.claim("data", "fast"), k.storage_class("standard", default=True))
    seconds, error = Trial([POSTGRES], [POSTGRES], (2.0, [waiting]), cluster=cluster).fail()
    assert (seconds, error.data["cause"]) == (7.0, "volume")
    assert cluster.requests == ["list PersistentVolumeClaim", "list StorageClass"] * 2


@pytest.mark.parametrize("status", [0, 403, 503])
def test_claims_that_cannot_be_read_are_not_needed(status: int) -> None:
    waiting = k.pod(
        POSTGRES, node="", unschedulable="pod has unbound immediate PersistentVolumeClaims", claims=["data"]
    )
    cluster = FakeCluster(refused={"PersistentVolumeClaim": status, "StorageClass": status})
    seconds, error = Trial([POSTGRES], [POSTGRES, waiting], cluster=cluster, timeout=60).fail()
    assert (seconds, error.data["cause"]) == (60.0, "volume")


def run(cluster: FakeCluster, *workloads: Object, check_mode: bool = False) -> dict[str, t.Any]:
    task = Task(parameters(*workloads), check_mode)
    return rollout.roll_out(task, cluster, FakeClock())  # type: ignore[arg-type]


def done_pod(job: Object) -> Object:
    return k.pod(job, k.container(k.terminated(0, "Completed")), phase="Succeeded")


SEEDED = "EDEN_REPO_SEEDED sha=666b95f001acc6e19682f7e1732e4d8c14b16cb9\n"


READY = {"state": "ready", "message": "1 of 1 replicas ready"}


def test_check_mode_tells_what_is_not_ready() -> None:
    stopped = k.ready_statefulset("eden-orchestrator", replicas=0, readyReplicas=0, availableReplicas=0)
    stopped["spec"]["replicas"] = 0
    missing = k.deployment()
    pod = k.pod(POSTGRES, k.container(k.waiting("ErrImagePull", "not found"), name="main"))
    cluster = FakeCluster(POSTGRES, pod, stopped)
    found = run(cluster, POSTGRES, stopped, missing, check_mode=True)["workloads"]
    assert [(row["state"], row["message"]) for row in found] == [
        (
            "not ready",
            "0 of 1 replicas ready; pod eden-postgres-0 cannot pull image lab/debian:trixie",
        ),
        ("stopped", "it has 0 replicas"),
        ("missing", "it does not exist"),
    ]
    assert cluster.requests == ["list StatefulSet", "list Deployment", "list Pod"]


def test_ready_workloads_cost_one_list_for_each_kind() -> None:
    other, store = k.ready_statefulset("eden-forgejo"), k.ready_deployment()
    cluster = FakeCluster(READY_POSTGRES, other, store)
    assert run(cluster, READY_POSTGRES, other, store) == {
        "changed": False,
        "workloads": [
            {"kind": "StatefulSet", "name": "eden-postgres", "ready": True, **READY},
            {"kind": "StatefulSet", "name": "eden-forgejo", "ready": True, **READY},
            {"kind": "Deployment", "name": "eden-task-store-server", "ready": True, **READY},
        ],
        "logs": {},
    }
    assert cluster.requests == ["list StatefulSet", "list Deployment"]


def test_a_complete_job_costs_its_log_as_well() -> None:
    job = k.complete_job()
    cluster = FakeCluster(job, done_pod(job), logs={"eden-seed-rwcvl": SEEDED})
    assert run(cluster, job)["logs"] == {"eden-seed": SEEDED}
    assert cluster.requests == [
        "list Job",
        "list Pod batch.kubernetes.io/job-name in (eden-seed)",
        "log eden-seed-rwcvl main 0 False",
    ]


def test_the_log_is_of_the_pod_that_succeeded() -> None:
    job = k.complete_job()
    failed = k.pod(job, k.container(k.terminated(1)), phase="Failed", name="eden-seed-zzzzz")
    cluster = FakeCluster(
        job, failed, done_pod(job), logs={"eden-seed-rwcvl": SEEDED, "eden-seed-zzzzz": "no\n"}
    )
    assert run(cluster, job)["logs"] == {"eden-seed": SEEDED}


@pytest.mark.parametrize("things", [[], [done_pod(k.complete_job())]], ids=["pod", "log"])
def test_a_job_whose_log_is_gone_has_none(things: list[Object]) -> None:
    job = k.complete_job()
    result = run(FakeCluster(job, *things), job)
    assert (result["logs"], result["workloads"][0]["ready"]) == ({}, True)


def test_check_mode_reads_once_and_fails_for_nothing() -> None:
    job = k.complete_job()
    cluster = FakeCluster(POSTGRES, job, done_pod(job), logs={"eden-seed-rwcvl": SEEDED})
    result = run(cluster, POSTGRES, k.statefulset("absent"), job, check_mode=True)
    assert [row["ready"] for row in result["workloads"]] == [False, False, True]
    assert result["logs"] == {"eden-seed": SEEDED}
    assert cluster.requests[:2] == ["list StatefulSet", "list Job"]
    assert len(cluster.requests) == 4


def test_clock_moves_and_knows_utc() -> None:
    clock = rollout.Clock()
    assert clock.now() <= clock.now()
    assert clock.wall().tzinfo is UTC
