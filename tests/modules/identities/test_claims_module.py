# SPDX-License-Identifier: GPL-3.0-or-later
"""The module claims against a real API server, a task store that listens, and a small Forgejo."""

from __future__ import annotations

import base64
import copy
import json
import typing as t
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote

import pytest
from fake_kubelet import FakeKubelet, add_pod, add_service
from fault_proxy import FaultProxy
from identities_world import INSTANCE, World
from serving import Serving
from standin_processes import EXPERIMENT, SEED

from ansible_collections.eden.reference.plugins.module_utils._eden import claims, rollout, stopping
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import ForgejoError
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, MissingError
from ansible_collections.eden.reference.plugins.module_utils._module import Task

PASSWORD = "pass word%"
REPOSITORY = f"/api/v1/repos/eden/{EXPERIMENT}"
T = "execution-0a1b"
BRANCH = "work/variant-0a1b-idea"
OTHERS = ["main", "work/variant-0a1b2-idea", "work/variant-ff-idea", "variant/variant-0a1b-idea"]
WORKLOAD = {"kind": "StatefulSet", "name": "eden-executor-host-1"}
LABELS = {
    "app.kubernetes.io/name": "eden",
    "app.kubernetes.io/instance": INSTANCE,
    "app.kubernetes.io/component": "executor-host",
    "eden.reference/replica": "1",
}


class Forge(Serving):
    """As much of Forgejo as the module asks for; ``failures`` are the statuses of the next answers."""

    def __init__(self) -> None:
        self.branches = [BRANCH, *OTHERS]
        self.failures: list[int] = []
        self.log: list[str] = []
        forge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                prefix = unquote(self.path).removeprefix(f"{REPOSITORY}/git/refs/heads/")
                found = [{"ref": f"refs/heads/{name}"} for name in forge.branches if name.startswith(prefix)]
                self._answer(200 if found else 404, found)

            def do_DELETE(self) -> None:
                name = unquote(self.path).removeprefix(f"{REPOSITORY}/branches/")
                known = name in forge.branches
                if known and not forge.failures:
                    forge.branches.remove(name)
                self._answer(204 if known else 404, None)

            def _answer(self, status: int, document: t.Any) -> None:
                forge.log.append(f"{self.command} {unquote(self.path).removeprefix(REPOSITORY)}")
                login = base64.b64encode(f"eden:{PASSWORD}".encode()).decode()
                assert self.headers["Authorization"] == f"Basic {login}"
                status = forge.failures.pop(0) if forge.failures else status
                body = b"" if status == 204 else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: t.Any) -> None:
                """Nothing is printed."""

        super().__init__(Handler)


class Scene:
    """A world in which executor-host-1 has claimed an execution, an ideation, or both.

    Attributes:
        done: what was done to workloads.
    """

    def __init__(self, world: World, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.forge = forge
        self.done: list[str] = []
        world.run()
        world.put("credentials", world.values("credentials") | {"PASSWORD": PASSWORD})
        workers = [
            {"name": "operator", "component": "operator", "replica": 1, "secret": "id-operator"},
            {
                "name": "executor-host-1",
                "component": "executor-host",
                "replica": 1,
                "secret": "id-executor-host-1",
                "workload": WORKLOAD,
            },
        ]
        self.parameters: dict[str, t.Any] = {
            **{key: value for key, value in world.parameters.items() if key != "groups"},
            "state": "reclaimed",
            "workers": [{"workload": None, **worker} for worker in workers],
            "operator": "id-operator",
            "forgejo": {
                "service": "forgejo",
                "port": 80,
                "repository": f"eden/{EXPERIMENT}",
                "secret": "credentials",
                "key": "PASSWORD",
            },
        }
        live = {"kind": WORKLOAD["kind"], "metadata": {"name": WORKLOAD["name"]}}
        monkeypatch.setattr(stopping, "stop", self._noting("stop"))
        monkeypatch.setattr(stopping, "stopped_workloads", lambda *_arguments: [live])
        monkeypatch.setattr(stopping, "start", self._noting("start", live))
        monkeypatch.setattr(rollout, "roll_out", lambda *_arguments: self.done.append("wait"))

    def _noting(self, verb: str, *started: t.Any) -> t.Callable[..., list[t.Any]]:
        def note(_cluster: t.Any, namespace: str, selected: t.Any, _progress: t.Any) -> list[t.Any]:
            assert namespace == self.world.namespace
            assert selected == list(started) or "component in (executor-host)" in selected
            self.done.append(verb)
            return list(started)

        return note

    def caller(self, name: str) -> t.Any:
        """The task store's routes as a worker."""
        values = self.world.values(f"id-{name}")
        return self.world.registry.as_caller(f"{values['worker_id']}:{values['token']}")

    def claim(self, task_id: str = T) -> None:
        """Let the executor claim a new task."""
        operator = self.caller("operator")
        kind = task_id.partition("-")[0]
        payload = {"experiment_id": EXPERIMENT}
        times = {"created_at": "2026-04-01T00:00:00Z", "updated_at": "2026-04-01T00:00:00Z"}
        if kind == "execution":
            idea = {
                "idea_id": "idea-1",
                "experiment_id": EXPERIMENT,
                "slug": "idea",
                "priority": 1.0,
                "parent_commits": [SEED],
                "artifacts_uri": "file:///idea",
                "state": "drafting",
                "created_at": times["created_at"],
            }
            operator.ok("POST", "/ideas", idea)
            operator.ok("POST", "/ideas/idea-1/mark-ready")
            payload = {"idea_id": "idea-1"}
        task = {"task_id": task_id, "kind": kind, "state": "pending", "payload": payload, **times}
        operator.ok("POST", "/tasks", task)
        self.caller("executor-host-1").ok("POST", f"/tasks/{task_id}/claim", {})

    def pod(self, started: str, name: str = "eden-executor-host-1-0") -> None:
        """A pod of the executor whose container runs since then."""
        core, namespace = self.world.core, self.world.namespace
        spec = {"containers": [{"name": "c", "image": "none"}]}
        made: t.Any = {"metadata": {"name": name, "labels": LABELS}, "spec": spec}
        core.create_namespaced_pod(namespace, made)
        container = {
            "name": "c",
            "image": "none",
            "imageID": "",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": started}},
        }
        status: t.Any = {"status": {"phase": "Running", "containerStatuses": [container]}}
        core.patch_namespaced_pod_status(name, namespace, status)

    def state(self, task_id: str = T) -> str:
        return str(self.world.registry.ok("GET", f"/tasks/{task_id}")["state"])

    def run(self, check_mode: bool = False, **options: t.Any) -> dict[str, t.Any]:
        """The module's result."""
        parameters = copy.deepcopy(self.parameters) | options
        result = claims.run(Task(parameters, check_mode, progress=self.world.told.append))
        assert PASSWORD not in str(self.world.told) + str(result)
        return result


@pytest.fixture
def forge() -> Iterator[Forge]:
    with Forge() as running:
        yield running


@pytest.fixture
def scene(
    world: World, forge: Forge, proxy: FaultProxy, kubelet: FakeKubelet, monkeypatch: pytest.MonkeyPatch
) -> Scene:
    kubelet.targets = {3000: ("127.0.0.1", forge.port)}
    add_service(world.core, world.namespace, "forgejo")
    add_pod(world.core, world.namespace, "forgejo", "forgejo-0", 3000)
    built = Scene(world, forge, monkeypatch)
    proxy.log.clear()
    return built


NOTHING = {"changed": False, "orphaned": [], "reclaimed": []}
RECLAIM = f"POST /tasks/{T}/reclaim"


def test_nothing_is_claimed(scene: Scene, proxy: FaultProxy) -> None:
    assert scene.run() == NOTHING
    assert proxy.log == ["GET /state", "GET /tasks?state=claimed"]
    assert scene.forge.log == []


def test_the_worker_still_runs(scene: Scene, proxy: FaultProxy) -> None:
    scene.pod("2026-11-01T00:00:00Z")
    scene.claim()
    assert scene.run() == NOTHING
    assert proxy.log == ["GET /state", "GET /tasks?state=claimed"]
    assert scene.forge.log == []


def test_an_execution_that_was_pushed(scene: Scene) -> None:
    scene.claim()
    scene.pod("2036-11-01T00:00:00Z")
    reported = scene.run(state="reported")
    assert (reported["changed"], reported["reclaimed"]) == (False, [])
    predicted = scene.run(check_mode=True)
    assert predicted["changed"]
    assert (scene.state(), scene.forge.branches, scene.done) == ("claimed", [BRANCH, *OTHERS], [])

    result = scene.run()
    (row,) = result["reclaimed"]
    assert (row["task_id"], row["kind"], row["worker"]) == (T, "execution", "executor-host-1")
    assert (row["claimed_at"], result["orphaned"]) == (predicted["reclaimed"][0]["claimed_at"], [row])
    assert f"{T} was claimed " in row["message"]
    assert scene.state() == "pending"
    assert scene.forge.branches == OTHERS
    assert scene.done == ["stop", "start", "wait"]
    assert [line for line in scene.world.told if line.startswith("reclaimed ")] == [
        f"reclaimed {T}, claimed at {row['claimed_at']} by executor-host-1, "
        "none of whose containers has run since"
    ]
    assert scene.run() == NOTHING


def test_an_execution_that_was_not_pushed_stops_no_executor(scene: Scene) -> None:
    scene.forge.branches = OTHERS.copy()
    scene.claim()
    assert len(scene.run()["reclaimed"]) == 1
    assert (scene.state(), scene.forge.branches, scene.done) == ("pending", OTHERS, [])


def test_other_kinds_need_no_forgejo(scene: Scene) -> None:
    scene.claim("ideation-1")
    assert [row["task_id"] for row in scene.run()["reclaimed"]] == ["ideation-1"]
    assert scene.state("ideation-1") == "pending"
    assert scene.forge.log == scene.done == []


def test_an_execution_that_moves_on_while_its_executor_stops(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.claim()

    def submit(*_arguments: t.Any) -> None:
        scene.caller("operator").ok("POST", f"/tasks/{T}/reclaim", {"cause": "operator"})

    monkeypatch.setattr(stopping, "stop", submit)
    assert scene.run()["reclaimed"] == []
    assert BRANCH in scene.forge.branches
    assert scene.done == ["start", "wait"]


@pytest.mark.parametrize("executed", [True, False], ids=["executed", "not executed"])
@pytest.mark.parametrize("reply", ["reset", 502])
def test_the_reply_to_a_reclaim_is_lost(
    scene: Scene, proxy: FaultProxy, executed: bool, reply: t.Any
) -> None:
    scene.claim()
    proxy.lose(RECLAIM, executed, reply)
    assert len(scene.run()["reclaimed"]) == 1
    assert not proxy.faults
    assert proxy.log.count(RECLAIM) == (1 if executed else 2)
    events = [event["type"] for event in scene.world.registry.events()]
    assert events.count("task.reclaimed") == 1


def test_forgejo_refuses_to_delete_the_branch(scene: Scene) -> None:
    scene.claim()
    scene.forge.failures = [200, 200, 403]
    with pytest.raises(ForgejoError, match=f"Could not delete the branch {BRANCH}: Forgejo"):
        scene.run()
    # The executors run again, and the next run continues.
    assert (scene.state(), scene.done) == ("claimed", ["stop", "start"])
    assert len(scene.run()["reclaimed"]) == 1


def test_forgejo_is_busy(scene: Scene) -> None:
    scene.claim()
    scene.forge.failures = [503, 429]
    assert len(scene.run()["reclaimed"]) == 1
    assert scene.forge.branches == OTHERS


def test_a_replica_that_is_no_longer_wanted(scene: Scene) -> None:
    worker = scene.world.registry.ok(
        "POST", "/workers", {"name": "executor-host-2", "labels": scene.world.label}
    )
    scene.world.put(
        "id-executor-host-2", {"worker_id": worker["worker_id"], "token": worker["registration_token"]}
    )
    scene.claim("ideation-1")
    scene.caller("operator").ok("POST", "/tasks/ideation-1/reclaim", {"cause": "operator"})
    scene.caller("executor-host-2").ok("POST", "/tasks/ideation-1/claim", {})
    assert [row["worker"] for row in scene.run()["reclaimed"]] == ["executor-host-2"]


def test_claims_of_others_are_left_alone(scene: Scene) -> None:
    scene.claim("ideation-1")
    operator = scene.caller("operator")
    operator.ok("POST", "/tasks/ideation-1/reclaim", {"cause": "operator"})
    operator.ok("POST", "/tasks/ideation-1/claim", {})
    assert scene.run() == NOTHING
    operator.ok("POST", "/tasks/ideation-1/reclaim", {"cause": "operator"})
    scene.world.put("id-other", {"worker_id": scene.world.mint("executor-host-3"), "token": ""})
    values = scene.world.registry.ok("POST", f"/workers/{scene.world.held('other')}/reissue-credential")
    other = scene.world.registry.as_caller(f"{values['worker_id']}:{values['registration_token']}")
    other.ok("POST", "/tasks/ideation-1/claim", {})
    assert scene.run() == NOTHING


def test_what_is_missing_is_named(scene: Scene) -> None:
    scene.claim()
    with pytest.raises(MissingError, match="id-nobody has no identity, as which tasks are reclaimed"):
        scene.run(operator="id-nobody")
    with pytest.raises(MissingError, match="credentials lacks the key NONE, the password"):
        scene.run(forgejo=scene.parameters["forgejo"] | {"key": "NONE"})
    assert (scene.state(), scene.done) == ("claimed", [])


def test_status_of_a_task_store_that_is_not_there(scene: Scene) -> None:
    assert scene.run(check_mode=True, task_store_url=None) == NOTHING
    with pytest.raises((MissingError, ClusterError)):
        scene.run(task_store_url=None)
