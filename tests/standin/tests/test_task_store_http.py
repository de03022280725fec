# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP contract of the task store, on SQLite and on Postgres."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any

import pytest
from standin_api import Api
from standin_processes import EXPERIMENT, OTHER_EXPERIMENT, SEED, TaskStore, worker_id

TIME = "2026-01-01T00:00:00Z"
SHA = "a" * 40
UNKNOWN_WORKER = "wkr_" + "0" * 26
UNKNOWN_GROUP = "grp_" + "0" * 26


def ideation(task_id: str, **fields: Any) -> dict[str, Any]:
    return task(task_id, "ideation", {"experiment_id": EXPERIMENT}, **fields)


def task(task_id: str, kind: str, payload: dict[str, Any], **fields: Any) -> dict[str, Any]:
    body = {"task_id": task_id, "kind": kind, "state": "pending", "payload": payload}
    return body | {"created_at": TIME, "updated_at": TIME} | fields


def success(**fields: Any) -> dict[str, Any]:
    return {"payload": {"status": "success", **fields}}


def idea(idea_id: str, **fields: Any) -> dict[str, Any]:
    body = {"idea_id": idea_id, "experiment_id": EXPERIMENT, "slug": idea_id, "priority": 1}
    body |= {
        "parent_commits": [SEED],
        "artifacts_uri": "file:///tmp/x",
        "state": "drafting",
        "created_at": TIME,
    }
    return body | fields


def variant(variant_id: str, idea_id: str | None, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"variant_id": variant_id, "experiment_id": EXPERIMENT, "status": "starting"}
    body |= {"parent_commits": [SEED], "started_at": TIME} | ({"idea_id": idea_id} if idea_id else {})
    return body | fields


@dataclass(frozen=True)
class World:
    """A store with one object in each state that a case needs, and a caller of each class."""

    store: TaskStore
    callers: dict[str, Api]
    values: dict[str, str]

    def fill(self, text: str) -> str:
        """`text` with the ids of this world in place of `<name>`."""
        return re.sub("<([a-z_]+)>", lambda match: self.values[match[1]], text)


@pytest.fixture(scope="module")
def world(shared_store: TaskStore) -> World:
    admin = shared_store.api
    operator = shared_store.mint("operator", "admins")
    orchestrator = shared_store.mint("orchestrator", "orchestrators")
    worker = shared_store.mint("worker")
    other = shared_store.mint("other")
    group = admin.ok("POST", "/groups", {"name": "team", "members": [worker_id(worker)]})
    outer = admin.ok("POST", "/groups", {"name": "outer", "members": [group["group_id"]]})
    values = {
        "experiment": EXPERIMENT,
        "worker": worker_id(worker),
        "group": group["group_id"],
        "outer": outer["group_id"],
        "admins": admin.ok("GET", "/groups?name=admins")["groups"][0]["group_id"],
    }
    for name in ("free", "claimed", "submitted"):
        operator.ok("POST", "/tasks", ideation(f"task-{name}"))
    for name in ("claimed", "submitted"):
        worker.ok("POST", f"/tasks/task-{name}/claim", {})
    worker.ok("POST", "/tasks/task-submitted/submit", {"payload": {"status": "success", "idea_ids": []}})
    for name in ("drafting", "ready", "executing"):
        worker.ok("POST", "/ideas", idea(f"idea-{name}"))
    for name in ("ready", "executing"):
        worker.ok("POST", f"/ideas/idea-{name}/mark-ready")
    operator.ok("POST", "/tasks", task("task-execution", "execution", {"idea_id": "idea-executing"}))
    worker.ok("POST", "/tasks/task-execution/claim", {})
    worker.ok("POST", "/variants", variant("variant-bare", "idea-executing"))
    orchestrator.ok("POST", "/variants", variant("variant-seed", None, kind="baseline", commit_sha=SEED))
    callers = {
        "admin": admin,
        "operator": operator,
        "orchestrator": orchestrator,
        "worker": worker,
        "other": other,
    }
    return World(shared_store, callers | {"nobody": admin.as_caller(None)}, values)


UNMET, ILLEGAL = "409 invalid-precondition", "409 illegal-transition"
ERROR = {"payload": {"status": "error"}}

# Caller, request, body, status and type of the problem. No case changes anything that another one looks at.
# fmt: off
CASES: list[tuple[str, str, Any, str]] = [
    # workers
    ("nobody", "GET /workers", None, "401 unauthorized"),
    ("worker", "POST /workers", {"name": "x"}, "403 forbidden"),
    ("admin", "POST /workers", {}, "200"),
    ("admin", "POST /workers", {"name": "worker", "labels": {"a": "b"}}, "200"),
    ("admin", "POST /workers", {"name": "x", "worker_id": UNKNOWN_WORKER}, "400 bad-request"),
    ("admin", "POST /workers", {"name": 1}, "400 bad-request"),
    ("admin", "POST /workers", None, "400 bad-request"),
    ("admin", "POST /workers", {"name": "admin"}, "409 reserved-identifier"),
    ("admin", "POST /workers", {"name": ""}, "422 invalid-name"),
    ("admin", "POST /workers", {"name": " x"}, "422 invalid-name"),
    ("admin", "POST /workers", {"name": "é"}, "422 invalid-name"),
    ("worker", "GET /workers", None, "200"),
    ("admin", f"GET /workers/{UNKNOWN_WORKER}", None, "404 not-found"),
    ("worker", "POST /workers/<worker>/reissue-credential", None, "403 forbidden"),
    ("admin", f"POST /workers/{UNKNOWN_WORKER}/reissue-credential", None, "404 not-found"),
    ("admin", "GET /whoami", None, "403 forbidden"),
    ("admin", "DELETE /workers/<worker>", None, "405"),
    # groups
    ("worker", "POST /groups", {"name": "x"}, "403 forbidden"),
    ("admin", "POST /groups", {"name": "admins"}, "409 reserved-identifier"),
    ("admin", "POST /groups", {"name": "orchestrators"}, "409 reserved-identifier"),
    ("admin", "POST /groups", {"name": "team"}, "200"),
    ("admin", "POST /groups", {"members": ["somebody"]}, "400 bad-request"),
    ("admin", "POST /groups", {"members": [UNKNOWN_WORKER]}, "200"),
    ("admin", f"GET /groups/{UNKNOWN_GROUP}", None, "404 not-found"),
    ("worker", "POST /groups/<group>/members", {"member_id": UNKNOWN_WORKER}, "403 forbidden"),
    ("admin", "POST /groups/<group>/members", {"member_id": "<worker>"}, "200"),
    ("admin", "POST /groups/<group>/members", {"member_id": "worker"}, "400 bad-request"),
    ("admin", "POST /groups/<group>/members", {}, "400 bad-request"),
    ("admin", "POST /groups/<group>/members", {"member_id": "<outer>"}, "409 cycle-detected"),
    ("admin", f"POST /groups/{UNKNOWN_GROUP}/members", {"member_id": "<worker>"}, "404 not-found"),
    ("admin", f"DELETE /groups/<group>/members/{UNKNOWN_WORKER}", None, "200"),
    ("admin", f"DELETE /groups/{UNKNOWN_GROUP}/members/<worker>", None, "404 not-found"),
    ("worker", "DELETE /groups/<group>", None, "403 forbidden"),
    # tasks
    ("admin", "POST /tasks", ideation("new"), "403 forbidden"),
    ("worker", "POST /tasks", ideation("new"), "403 forbidden"),
    ("worker", "POST /tasks", None, "400 bad-request"),
    ("operator", "POST /tasks", ideation("task-free"), "409 already-exists"),
    ("operator", "POST /tasks", task("new", "execution", {"idea_id": "none"}), "404 not-found"),
    ("orchestrator", "POST /tasks", task("new", "execution", {"idea_id": "idea-drafting"}), UNMET),
    ("worker", "GET /tasks/none", None, "404 not-found"),
    ("admin", "POST /tasks/task-free/claim", {}, "403 forbidden"),
    ("worker", "POST /tasks/task-free/claim", {"worker_id": "<worker>"}, "400 bad-request"),
    ("worker", "POST /tasks/none/claim", {}, "404 not-found"),
    ("other", "POST /tasks/task-claimed/claim", {}, ILLEGAL),
    ("admin", "POST /tasks/task-claimed/submit", {"payload": {}}, "403 forbidden"),
    ("worker", "POST /tasks/task-free/submit", success(), "409 not-claimed"),
    ("other", "POST /tasks/task-claimed/submit", success(), "403 wrong-claimant"),
    ("worker", "POST /tasks/task-submitted/submit", success(idea_ids=[]), "200"),
    ("worker", "POST /tasks/task-submitted/submit", ERROR, "409 conflicting-resubmission"),
    ("worker", "POST /tasks/task-free/claim", {"expires_at": "tomorrow"}, "400 bad-request"),
    ("admin", "POST /tasks/task-claimed/reclaim", {"cause": "operator"}, "403 forbidden"),
    ("nobody", "POST /tasks/task-claimed/reclaim", {"cause": "operator"}, "401 unauthorized"),
    ("other", "POST /tasks/task-claimed/reclaim", {"cause": "whim"}, "400 bad-request"),
    ("other", "POST /tasks/task-claimed/reclaim", {}, "400 bad-request"),
    ("other", "POST /tasks/none/reclaim", {"cause": "operator"}, "404 not-found"),
    ("other", "POST /tasks/task-free/reclaim", {"cause": "operator"}, ILLEGAL),
    ("other", "POST /tasks/task-submitted/reclaim", {"cause": "expired"}, ILLEGAL),
    ("admin", "POST /tasks/task-submitted/accept", None, "403 forbidden"),
    ("operator", "POST /tasks/task-submitted/accept", None, "403 forbidden"),
    ("orchestrator", "POST /tasks/task-free/accept", None, ILLEGAL),
    ("operator", "POST /tasks/task-submitted/reject", {"reason": "worker_error"}, "403 forbidden"),
    ("orchestrator", "POST /tasks/task-free/reject", {"reason": "policy_limit"}, ILLEGAL),
    # ideas and variants
    ("admin", "POST /ideas", idea("new"), "403 forbidden"),
    ("worker", "POST /ideas", idea("idea-ready"), "409 already-exists"),
    ("admin", "POST /variants", variant("new", "idea-ready"), "403 forbidden"),
    ("worker", "POST /variants", variant("new", None, kind="baseline"), "403 forbidden"),
    ("worker", "POST /variants", variant("variant-bare", "idea-ready"), "409 already-exists"),
    ("worker", "POST /variants/variant-bare/integrate", {"variant_commit_sha": SHA}, "403 forbidden"),
    ("orchestrator", "POST /variants/variant-bare/integrate", {"variant_commit_sha": SHA}, UNMET),
    ("orchestrator", "POST /variants/variant-seed/integrate", {"variant_commit_sha": SHA}, UNMET),
    # experiment
    ("admin", "GET ", None, "200"),
    ("admin", "POST /terminate", {"reason": "x"}, "403 forbidden"),
    ("worker", "POST /terminate", {"reason": "x"}, "403 forbidden"),
    ("operator", "POST /terminate", {}, "400 bad-request"),
    ("admin", "PATCH /dispatch_mode", {"integration": "manual"}, "403 forbidden"),
    ("orchestrator", "PATCH /dispatch_mode", {"integration": "manual"}, "403 forbidden"),
    ("operator", "PATCH /dispatch_mode", {"integration": "off"}, "400 bad-request"),
    ("operator", "PATCH /dispatch_mode", {"integration": "auto"}, "200"),
    ("worker", "GET /events?cursor=-1", None, "400 bad-request"),
    ("admin", "GET /nothing", None, "404"),
    ("nobody", "GET /nothing", None, "401 unauthorized"),
    ("admin", "PUT /state", None, "405"),
]
# fmt: on


@pytest.mark.parametrize(("caller", "target", "body", "expected"), CASES)
def test_answer(world: World, caller: str, target: str, body: Any, expected: str) -> None:
    api = world.callers[caller]
    if isinstance(body, dict):
        body = {name: world.fill(value) if isinstance(value, str) else value for name, value in body.items()}
    method, path = world.fill(target).split(" ")
    answer = api.call(method, path, body)
    problem = answer.problem
    assert " ".join(filter(None, [str(answer.status), problem])) == expected, answer.content
    if problem is not None:
        document = answer.json
        assert document.keys() == {"type", "title", "status", "detail", "instance"}
        assert document["status"] == answer.status
        assert document["instance"] == f"{api.url}/v0/experiments/{EXPERIMENT}{path}"


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/healthz", "/v0/checkpoints/import", "/v0"])
def test_every_path_needs_a_bearer(world: World, path: str) -> None:
    answer = world.store.api.send("GET", path)
    assert (answer.status, answer.problem) == (401, "unauthorized")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer admin",
        "Bearer admin:",
        "Bearer :secret",
        "Bearer admin:wrong",
        "Basic admin:admin-token-of-the-tests",
        "Bearer worker:secret",
        f"Bearer {UNKNOWN_WORKER}:{'0' * 64}",
    ],
)
def test_bad_bearers(world: World, authorization: str) -> None:
    answer = world.store.api.call("GET", "/events", Authorization=authorization)
    assert (answer.status, answer.problem) == (401, "unauthorized")


@pytest.mark.parametrize("header", [None, OTHER_EXPERIMENT, ""])
def test_the_experiment_header_must_match(world: World, header: str | None) -> None:
    answer = world.store.api.call("GET", "/events", X_Eden_Experiment_Id=header)
    assert (answer.status, answer.problem) == (400, "experiment-id-mismatch")


def test_the_checks_come_in_order(world: World) -> None:
    worker = world.callers["worker"]
    bad_body_bad_header = {"X_Eden_Experiment_Id": OTHER_EXPERIMENT}
    # 401 before everything
    answer = worker.call(
        "POST", "/workers", {"extra": 1}, Authorization="Bearer admin:no", **bad_body_bad_header
    )
    assert answer.problem == "unauthorized"
    # the shape of a typed body before the header
    assert worker.call("POST", "/workers", {"extra": 1}, **bad_body_bad_header).problem == "bad-request"
    # the header before the caller
    assert worker.call("POST", "/workers", {}, **bad_body_bad_header).problem == "experiment-id-mismatch"
    # the caller before the shape of an untyped body
    assert worker.call("POST", "/tasks", {"kind": "ideation"}).problem == "forbidden"
    # the caller before the store
    assert worker.call("POST", "/groups/none/members", {"member_id": UNKNOWN_WORKER}).problem == "forbidden"


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_must_be_declared_as_json(world: World, content_type: str | None) -> None:
    answer = world.store.api.call("POST", "/workers", b"{}", Content_Type=content_type)
    assert (answer.status, answer.problem) == (400, "bad-request")


def test_lists_are_wrapped_or_bare(world: World) -> None:
    api = world.callers["worker"]
    assert api.ok("GET", "/workers?name=no%20such") == {"workers": []}
    assert api.ok("GET", "/groups?name=no%20such") == {"groups": []}
    events = api.ok("GET", "/events")
    count = len(events["events"])
    assert events["cursor"] == count
    assert api.ok("GET", f"/events?cursor={count + 7}") == {"events": [], "cursor": count + 7}
    assert api.ok("GET", "/tasks?kind=evaluation") == []
    assert api.ok("GET", "/ideas?state=completed") == []
    assert api.ok("GET", "/variants?status=error") == []
    claimed = [each["task_id"] for each in api.ok("GET", "/tasks?state=claimed&kind=ideation")]
    assert claimed == ["task-claimed"]


def test_registration_shows_the_token_once(world: World) -> None:
    admin = world.store.api
    registered = admin.ok("POST", "/workers", {"name": "once", "labels": {"role": "test"}})
    token = registered.pop("registration_token")
    assert re.fullmatch("[0-9a-f]{64}", token)
    assert re.fullmatch("wkr_[0-9a-hjkmnp-tv-z]{26}", registered["worker_id"])
    assert set(registered) == {
        "worker_id",
        "name",
        "experiment_id",
        "registered_at",
        "registered_by",
        "labels",
    }
    assert (registered["experiment_id"], registered["registered_by"]) == (EXPERIMENT, "admin")
    assert admin.ok("GET", f"/workers/{registered['worker_id']}") == registered
    assert admin.ok("GET", "/workers?name=once") == {"workers": [registered]}
    assert admin.ok("GET", "/workers?name=ONCE") == {"workers": []}


def test_reissue_kills_the_old_token(world: World) -> None:
    old = world.store.mint("rotated")
    name = worker_id(old)
    assert old.ok("GET", "/whoami") == {"worker_id": name, "name": "rotated"}
    answer = world.store.api.ok("POST", f"/workers/{name}/reissue-credential")
    assert answer["worker_id"] == name
    assert old.call("GET", "/whoami").problem == "unauthorized"
    new = old.as_caller(f"{name}:{answer['registration_token']}")
    assert new.ok("GET", "/whoami")["worker_id"] == name
    # still dead after the new one was used
    assert old.call("GET", "/whoami").problem == "unauthorized"


def test_a_token_belongs_to_one_worker(world: World) -> None:
    worker, other = world.callers["worker"], world.callers["other"]
    assert worker.bearer is not None
    swapped = other.as_caller(f"{worker_id(other)}:{worker.bearer.partition(':')[2]}")
    assert swapped.call("GET", "/whoami").problem == "unauthorized"


def test_groups_keep_members_once_and_are_transitive(world: World) -> None:
    admin = world.store.api
    member = world.values["worker"]
    group = admin.ok("POST", "/groups", {"name": "set", "members": [member, member]})
    assert group["members"] == [member]
    assert (group["created_by"], group["experiment_id"]) == ("admin", EXPERIMENT)
    removed = admin.ok("DELETE", f"/groups/{group['group_id']}/members/{member}")
    assert removed["members"] == []
    assert admin.call("DELETE", f"/groups/{group['group_id']}").status == 204
    assert admin.call("GET", f"/groups/{group['group_id']}").status == 404
    # A member of a group in a group may do what the outer one may.
    inner = admin.ok("POST", "/groups", {"name": "inner", "members": [member]})
    task = ideation("task-of-a-member")
    assert world.callers["worker"].call("POST", "/tasks", task).problem == "forbidden"
    members = f"/groups/{world.values['admins']}/members"
    admin.ok("POST", members, {"member_id": inner["group_id"]})
    world.callers["worker"].ok("POST", "/tasks", task)
    admin.ok("DELETE", f"{members}/{inner['group_id']}")


def test_events_have_their_envelope(world: World) -> None:
    events = world.store.api.events()
    assert [event["event_id"] for event in events] == [
        f"evt-{index:06d}" for index in range(1, len(events) + 1)
    ]
    first = events[0]
    assert set(first) == {"event_id", "type", "occurred_at", "experiment_id", "data"}
    assert (first["type"], first["data"]) == ("task.created", {"task_id": "task-free", "kind": "ideation"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["occurred_at"])
    assert not [event for event in events if event["type"].startswith(("worker", "group"))]


def test_subscribe_waits_for_the_next_event(world: World) -> None:
    cursor = len(world.store.api.events())
    answers: list[Any] = []
    path = f"/events/subscribe?cursor={cursor}&timeout=60"
    waiting = threading.Thread(target=lambda: answers.append(world.callers["other"].ok("GET", path)))
    waiting.start()
    world.callers["worker"].ok("POST", "/ideas", idea("idea-awaited"))
    waiting.join()
    assert [event["type"] for event in answers[0]["events"]] == ["idea.drafted"]
    assert answers[0]["cursor"] == cursor + 1
    assert world.store.api.ok("GET", f"/events/subscribe?cursor={cursor + 1}&timeout=0")["events"] == []


def test_reference_helpers_are_anonymous(world: World) -> None:
    nobody = world.callers["nobody"]
    helper = "/tasks/task-submitted/validate-terminal"
    assert nobody.ok("GET", helper, root="/_reference") == {"decision": "accept"}
    missing = nobody.call("GET", helper, root="/_reference", X_Eden_Experiment_Id=None)
    assert missing.problem == "experiment-id-mismatch"
    evaluation = "/validate/evaluation"
    assert nobody.call("POST", evaluation, {"evaluation": {"score": 1}}, root="/_reference").status == 204
    assert nobody.call("POST", evaluation, {"evaluation": {"score": None}}, root="/_reference").status == 204
    for wrong in ({"score": True}, {"score": "1"}, {"points": 1}):
        answer = nobody.call("POST", evaluation, {"evaluation": wrong}, root="/_reference")
        assert (answer.status, answer.problem) == (409, "invalid-precondition")


def test_connections_are_kept_and_bodies_are_read(world: World) -> None:
    """A refused request must not leave its body behind for the next one on the same connection."""
    import http.client

    connection = http.client.HTTPConnection(world.store.api.host, world.store.api.port, timeout=60)
    try:
        statuses = []
        for _turn in range(3):
            connection.request(
                "POST", "/anything", body=b'{"a": 1}', headers={"Content-Type": "application/json"}
            )
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        assert statuses == [401, 401, 401]
    finally:
        connection.close()
