# SPDX-License-Identifier: GPL-3.0-or-later
"""The module identities between a cluster and a registry that are kept in memory."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
import typing as t
from contextlib import contextmanager
from functools import partial
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from requests.adapters import BaseAdapter

from ansible_collections.eden.reference.plugins.module_utils._eden import access, identities
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import (
    CredentialsError,
    IdentityError,
    TaskStoreError,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.plan import INSTANCE_LABEL
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import TaskStore, is_token
from ansible_collections.eden.reference.plugins.module_utils._errors import (
    ClusterError,
    CollectionError,
    ConflictError,
    InputError,
    MissingError,
)
from ansible_collections.eden.reference.plugins.module_utils._module import Task

Object = dict[str, t.Any]
Fault = t.Literal["lost", "dropped", "503"]
Write = t.Literal["create", "dry run", "apply"]

E = "exp_01jabcdefghjkmnpqrstvwxyz0"
ADMIN_TOKEN = "ad" * 32
PARAMETERS: Object = {
    "namespace": "ns",
    "instance": "one",
    "experiment_id": E,
    "service": {"name": "store", "port": 8080},
    "admin_secret": {"name": "credentials", "key": "EDEN_ADMIN_TOKEN"},
    "workers": [
        {"name": "operator", "secret": "id-operator", "labels": {"component": "operator"}},
        {"name": "orchestrator", "secret": "id-orchestrator"},
    ],
    "groups": [
        {"name": "admins", "members": ["operator"]},
        {"name": "orchestrators", "members": ["orchestrator"]},
    ],
    "timeout": 60,
}


def encoded(values: t.Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def decoded(data: t.Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


class FakeCluster:
    """Secrets, and a Service with one ready pod."""

    def __init__(self) -> None:
        self.secrets: dict[str, Object] = {}
        self.version = 6
        self.ready = True
        self.writes: list[Object] = []
        self.before_write: t.Callable[[str, Write], None] = lambda _name, _write: None
        self.put("credentials", {"EDEN_ADMIN_TOKEN": ADMIN_TOKEN})

    def put(self, name: str, values: t.Mapping[str, str]) -> None:
        self.version += 1
        metadata = {"name": name, "resourceVersion": str(self.version)}
        self.secrets[name] = {"metadata": metadata, "data": encoded(values)}

    def values(self, name: str) -> dict[str, str]:
        return decoded(self.secrets[name]["data"])

    def read(self, kind: str, _namespace: str, name: str) -> Object | None:
        if kind == "Secret":
            return copy.deepcopy(self.secrets.get(name))
        return {"spec": {"selector": {"app": "store"}, "ports": [{"port": 8080, "targetPort": 8080}]}}

    def list(self, _kind: str, _namespace: str, labels: str) -> list[Object]:
        assert labels == "app=store"
        condition = {"type": "Ready", "status": "True" if self.ready else "False"}
        return [{"metadata": {"name": "store-0"}, "status": {"conditions": [condition]}}]

    def create(self, definition: Object) -> Object:
        name = definition["metadata"]["name"]
        self.before_write(name, "create")
        if name in self.secrets:
            raise ConflictError("create", f"Secret ns/{name}", 409, "AlreadyExists")
        self.put(name, decoded(definition["data"]))
        return copy.deepcopy(self.secrets[name])

    def apply(self, definition: Object, dry_run: bool = False) -> None:
        name, metadata = definition["metadata"]["name"], definition["metadata"]
        self.before_write(name, "dry run" if dry_run else "apply")
        live = self.secrets.get(name)
        expected = metadata.get("resourceVersion")
        if expected and (live is None or live["metadata"]["resourceVersion"] != expected):
            raise ConflictError("apply", f"Secret ns/{name}", 409, "Conflict")
        if not dry_run:
            self.writes.append(copy.deepcopy(definition))
            self.put(name, decoded(definition["data"]))


class Registry(BaseAdapter):
    """The routes of the task store that the module asks, with their authentication."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[str, Object] = {}
        self.groups: dict[str, Object] = {}
        self.tokens: dict[str, str] = {}
        self.every_token = {ADMIN_TOKEN}
        self.log: list[str] = []
        self.faults: list[tuple[str, Fault]] = []
        self.experiment_id = E
        self.authenticates = True
        self.before: t.Callable[[str], None] = lambda _line: None

    def mint(self, name: str, labels: Object | None = None, number: int | None = None) -> Object:
        worker_id = f"wkr_{number if number is not None else len(self.workers) + 1:026d}"
        self.workers[worker_id] = {
            "worker_id": worker_id,
            "name": name,
            "registered_at": "2026-04-01T00:00:00Z",
            **({"labels": labels} if labels else {}),
        }
        return self.reissue(worker_id)

    def reissue(self, worker_id: str) -> Object:
        token = f"{len(self.every_token):064x}"
        self.tokens[worker_id] = token
        self.every_token.add(token)
        return {**self.workers[worker_id], "registration_token": token}

    def group(self, name: str, *members: str) -> Object:
        group_id = f"grp_{len(self.groups) + 1:026d}"
        self.groups[group_id] = {"group_id": group_id, "name": name, "members": list(members)}
        return self.groups[group_id]

    def send(self, request: requests.PreparedRequest, **_options: t.Any) -> requests.Response:  # type: ignore[override]
        address = urlsplit(str(request.url))
        path = address.path.removeprefix(f"/v0/experiments/{E}")
        body = json.loads(request.body or "{}")
        line = f"{request.method} {path}"
        self.before(line)
        fault = next((fault for fault in self.faults if re.fullmatch(fault[0], line)), None)
        if fault:
            self.faults.remove(fault)
        if fault and fault[1] == "dropped":
            raise requests.ConnectionError("dropped")
        if fault and fault[1] == "503":
            return self._response(request, 503, {})
        self.log.append(line)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        answer = self._answer(str(request.method), path, query, body, str(request.headers["Authorization"]))
        if fault:
            raise requests.ReadTimeout("lost")
        return self._response(request, *answer)

    def close(self) -> None:
        """Nothing is open."""

    @staticmethod
    def _response(request: requests.PreparedRequest, status: int, document: Object) -> requests.Response:
        response = requests.Response()
        response.status_code, response.request, response.url = status, request, str(request.url)
        response.raw = io.BytesIO(json.dumps(document).encode())
        response.headers["Content-Length"] = str(len(response.raw.getvalue()))
        return response

    def _answer(self, method: str, path: str, query: Object, body: Object, bearer: str) -> tuple[int, Object]:
        principal, secret = bearer.removeprefix("Bearer ").split(":", 1)
        known = {**self.tokens, "admin": ADMIN_TOKEN}
        if self.authenticates and known.get(principal) != secret:
            return 401, {"type": "eden://error/unauthorized", "title": "Unauthorized", "status": 401}
        if self.experiment_id != E:
            return 400, {"type": "eden://error/experiment-id-mismatch", "title": "Experiment ID Mismatch"}
        parts = path.strip("/").split("/")
        match (method, *parts):
            case ("GET", "state"):
                return 200, {"state": "running"}
            case ("GET", "whoami"):
                return 200, {"worker_id": principal if self.authenticates else "anonymous"}
            case ("GET", "workers" | "groups" as kind):
                rows = (self.workers if kind == "workers" else self.groups).values()
                return 200, {kind: [row for row in rows if row["name"] == query["name"]]}
            case ("GET", "workers", worker_id):
                if worker_id in self.workers:
                    return 200, self.workers[worker_id]
                return 404, {"type": "eden://error/not-found", "title": "Not Found", "status": 404}
            case ("POST", "workers"):
                return 200, self.mint(body["name"], body["labels"])
            case ("POST", "workers", worker_id, "reissue-credential"):
                return 200, self.reissue(worker_id)
            case ("POST", "groups"):
                if any(row["name"] == body["name"] for row in self.groups.values()):
                    return 409, {"type": "eden://error/reserved-identifier", "title": "Reserved Identifier"}
                return 200, self.group(body["name"])
            case ("POST", "groups", group_id, "members"):
                members = self.groups[group_id]["members"]
                members += [member for member in [body["member_id"]] if member not in members]
                return 200, self.groups[group_id]
        raise AssertionError(f"unexpected {method} {path}")


class World:
    """Both sides, and everything that the module has told."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.registry = Registry()
        self.told: list[str] = []
        self.parameters = copy.deepcopy(PARAMETERS)

    def run(self, check_mode: bool = False) -> Object:
        task = Task(self.parameters, check_mode, diff=True, progress=self.told.append)
        try:
            result = identities.run(task)
        except CollectionError as error:
            self.told.append(json.dumps(error.as_result()) + str(error))
            raise
        self.told.append(json.dumps(result))
        return result

    def actions(self, result: Object) -> dict[str, str]:
        return {name: row["action"] for name, row in (result["identities"] | result["groups"]).items()}

    def posts(self) -> list[str]:
        return [line for line in self.registry.log if line.startswith("POST")]

    def state(self) -> str:
        return json.dumps(
            [self.cluster.secrets, self.registry.workers, self.registry.groups, self.registry.tokens]
        )

    def check(self) -> None:
        """Every identity works, is the only one of its name, and no token was told."""
        for worker in self.parameters["workers"]:
            values = self.cluster.values(worker["secret"])
            assert self.registry.tokens[values["worker_id"]] == values["token"]
        for token in self.registry.every_token:
            assert not any(token in text for text in self.told)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    @contextmanager
    def connected(options: t.Mapping[str, t.Any]) -> t.Iterator[FakeCluster]:
        assert options["namespace"] == "ns"
        yield world.cluster

    @contextmanager
    def session(_cluster: t.Any, _wanted: t.Any) -> t.Iterator[requests.Session]:
        carrier = requests.Session()
        carrier.mount("http://", world.registry)
        yield carrier

    monkeypatch.setattr(identities, "connected", connected)
    monkeypatch.setattr(access, "session", session)
    monkeypatch.setattr(access, "TaskStore", partial(TaskStore, sleep=lambda _seconds: None))
    return world


def test_from_nothing(world: World) -> None:
    result = world.run()
    assert result["changed"]
    assert world.actions(result) == {
        "operator": "minted",
        "orchestrator": "minted",
        "admins": "created",
        "orchestrators": "created",
    }
    assert world.posts()[:4] == ["POST /groups", "POST /groups", "POST /workers", "POST /workers"]
    for worker in world.registry.workers.values():
        assert worker["labels"] == {INSTANCE_LABEL: "ns/one"}
        assert result["identities"][worker["name"]]["worker_id"] == worker["worker_id"]
    groups = {group["name"]: group["members"] for group in world.registry.groups.values()}
    assert groups == {
        "admins": [result["identities"]["operator"]["worker_id"]],
        "orchestrators": [result["identities"]["orchestrator"]["worker_id"]],
    }
    assert [group["added"] for group in result["groups"].values()] == [["operator"], ["orchestrator"]]
    world.check()


def test_each_secret_is_written_before_the_next_mint(world: World) -> None:
    written: list[int] = []

    def count(line: str) -> None:
        if line == "POST /workers":
            written.append(len(world.cluster.writes))

    world.registry.before = count
    world.run()
    assert written == [0, 1]


def test_secret(world: World) -> None:
    result = world.run()
    definition = world.cluster.writes[0]
    assert definition["metadata"].pop("resourceVersion")
    worker_id = result["identities"]["operator"]["worker_id"]
    assert definition["metadata"] == {
        "name": "id-operator",
        "namespace": "ns",
        "labels": {"component": "operator"},
        "annotations": {"eden.reference/worker-name": "operator"},
    }
    assert definition["type"] == "Opaque"
    assert definition["data"] == encoded({"worker_id": worker_id, "token": world.registry.tokens[worker_id]})


def test_again(world: World) -> None:
    first = world.run()
    world.registry.log.clear()
    world.cluster.writes.clear()
    second = world.run()
    assert not second["changed"]
    assert set(world.actions(second).values()) == {"unchanged"}
    assert second["diff"]["before"] == second["diff"]["after"]
    assert [row["checksum"] for row in second["identities"].values()] == [
        row["checksum"] for row in first["identities"].values()
    ]
    assert not world.cluster.writes
    assert world.registry.log == ["GET /state", "GET /whoami", "GET /whoami", "GET /groups", "GET /groups"]


def nothing(_world: World) -> None:
    """A new experiment."""


def complete(world: World) -> None:
    world.run()


def refused(world: World) -> None:
    world.run()
    world.registry.reissue(world.cluster.values("id-operator")["worker_id"])


def deleted(world: World) -> None:
    world.run()
    del world.cluster.secrets["id-operator"]


def tokenless(world: World) -> None:
    world.run()
    world.cluster.put(
        "id-operator", {"worker_id": world.cluster.values("id-operator")["worker_id"], "token": ""}
    )


def unreadable(world: World) -> None:
    world.run()
    world.cluster.put("id-operator", {"worker_id": "wkr_no", "token": "with blank"})
    world.cluster.secrets["id-operator"]["data"]["token"] = "no base 64"


def foreign(world: World) -> None:
    world.registry.mint("operator")
    world.registry.mint("orchestrator", {INSTANCE_LABEL: "ns/two"})


def database_lost(world: World) -> None:
    world.run()
    world.registry.workers.clear()
    world.registry.groups.clear()
    world.registry.tokens.clear()


def half_grouped(world: World) -> None:
    world.run()
    next(iter(world.registry.groups.values()))["members"][:] = ["wkr_" + "9" * 26]


SITUATIONS: list[t.Any] = [
    pytest.param(nothing, "minted", "created", id="nothing"),
    pytest.param(complete, "unchanged", "unchanged", id="complete"),
    pytest.param(refused, "reissued", "unchanged", id="token refused"),
    pytest.param(deleted, "reissued", "unchanged", id="Secret deleted"),
    pytest.param(tokenless, "reissued", "unchanged", id="no token"),
    pytest.param(unreadable, "reissued", "unchanged", id="unreadable"),
    pytest.param(foreign, "reissued", "created", id="foreign rows"),
    pytest.param(database_lost, "minted", "created", id="database lost"),
    pytest.param(half_grouped, "unchanged", "extended", id="member missing"),
]


@pytest.mark.parametrize(("prepare", "operator", "admins"), SITUATIONS)
def test_situation(world: World, prepare: t.Callable[[World], None], operator: str, admins: str) -> None:
    prepare(world)
    state = world.state()
    predicted = world.run(check_mode=True)
    read = identities.run_info(Task(world.parameters))
    assert world.state() == state
    assert (read["identities"], read["groups"]) == (predicted["identities"], predicted["groups"])
    assert (read["changed"], read["complete"]) == (False, not predicted["changed"])
    assert ("Secret ns/id-operator" in read["incomplete"]) == (operator != "unchanged")
    assert ("group admins" in read["incomplete"]) == (admins != "unchanged")

    done = world.run()
    assert done["changed"] == predicted["changed"] == (operator != "unchanged" or admins != "unchanged")
    assert world.actions(done) == world.actions(predicted)
    assert done["identities"]["operator"]["action"] == operator
    assert done["groups"]["admins"]["action"] == admins
    for name, row in done["identities"].items():
        # What the prediction knows already it knows right.
        foreseen = predicted["identities"][name]
        assert foreseen["worker_id"] in (None, row["worker_id"])
        assert foreseen["checksum"] in (None, row["checksum"])
        assert done["diff"]["after"]["workers"][name] == {
            "worker_id": row["worker_id"],
            "secret": f"id-{name}",
            "token": row["action"],
        }
    assert (done["diff"]["before"] == done["diff"]["after"]) != done["changed"]
    assert not world.run()["changed"]
    world.check()


def test_foreign_members_stay(world: World) -> None:
    half_grouped(world)
    result = world.run()
    members = next(iter(world.registry.groups.values()))["members"]
    assert members == ["wkr_" + "9" * 26, result["identities"]["operator"]["worker_id"]]
    assert result["diff"]["before"]["groups"]["admins"]["members"] == ["wkr_" + "9" * 26]
    assert result["diff"]["after"]["groups"]["admins"]["members"] == ["operator", "wkr_" + "9" * 26]


def test_rewriting_a_secret_names_its_version(world: World) -> None:
    refused(world)
    version = world.cluster.secrets["id-operator"]["metadata"]["resourceVersion"]
    world.cluster.writes.clear()
    world.run()
    assert [write["metadata"]["resourceVersion"] for write in world.cluster.writes] == [version]


@pytest.mark.parametrize("fault", ["lost", "dropped", "503"])
@pytest.mark.parametrize(
    "line",
    [
        "GET /state",
        "GET /workers",
        "GET /groups",
        "POST /groups",
        "POST /workers",
        "POST /groups/.*/members",
    ],
)
def test_an_answer_is_lost(world: World, line: str, fault: Fault) -> None:
    world.registry.faults.append((line, fault))
    result = world.run()
    assert not world.registry.faults
    assert sorted(row["name"] for row in world.registry.workers.values()) == ["operator", "orchestrator"]
    assert len(world.registry.groups) == 2
    assert set(world.actions(result).values()) == {"minted", "created"}
    assert not world.run()["changed"]
    world.check()


@pytest.mark.parametrize("fault", ["lost", "dropped", "503"])
def test_the_answer_to_a_reissue_is_lost(world: World, fault: Fault) -> None:
    refused(world)
    world.registry.faults.append(("POST .*/reissue-credential", fault))
    assert world.run()["identities"]["operator"]["action"] == "reissued"
    assert not world.registry.faults
    world.check()


@pytest.mark.parametrize("fault", ["lost", "dropped", "503"])
def test_no_answer_to_whoami_is_no_proof(world: World, fault: Fault) -> None:
    world.run()
    tokens = dict(world.registry.tokens)
    world.parameters["timeout"] = 0
    world.registry.faults.append(("GET /whoami", fault))
    with pytest.raises(TaskStoreError):
        world.run()
    assert world.registry.tokens == tokens


def test_every_answer_is_lost(world: World) -> None:
    world.parameters["timeout"] = 0
    world.registry.faults.append(("POST /workers", "lost"))

    def silence(line: str) -> None:
        if line == "POST /workers":
            world.registry.faults.append(("GET /workers", "dropped"))

    world.registry.before = silence
    with pytest.raises(TaskStoreError):
        world.run()
    assert not world.registry.faults
    assert len(world.registry.workers) == 1
    world.registry.before = lambda _line: None
    world.run()
    assert len(world.registry.workers) == 2
    world.check()


@pytest.mark.parametrize(("write", "minted"), [("create", 0), ("apply", 1)])
def test_killed_before_a_write(world: World, write: Write, minted: int) -> None:
    def die(_name: str, now: Write) -> None:
        if now == write:
            raise KeyboardInterrupt

    world.cluster.before_write = die
    with pytest.raises(KeyboardInterrupt):
        world.run()
    assert len(world.registry.workers) == minted
    world.cluster.before_write = lambda _name, _write: None
    assert world.run()["identities"]["operator"]["action"] == ("reissued" if minted else "minted")
    assert len(world.registry.workers) == 2
    world.check()


def test_killed_between_the_secret_and_the_mint(world: World) -> None:
    def die(line: str) -> None:
        if line == "POST /workers":
            raise KeyboardInterrupt

    world.registry.before = die
    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.registry.before = lambda _line: None
    # What it contains is taken for no identity.
    assert set(world.cluster.values("id-operator")) == {"token"}
    assert not is_token(world.cluster.values("id-operator")["token"])
    assert world.run(check_mode=True)["identities"]["operator"]["action"] == "minted"
    assert world.run()["identities"]["operator"]["action"] == "minted"
    world.check()


@pytest.mark.parametrize("write", ["create", "dry run"])
def test_a_secret_that_cannot_be_written_costs_no_worker(world: World, write: Write) -> None:
    def refuse(_name: str, now: Write) -> None:
        if now == write:
            raise ClusterError("create", "Secret ns/id-operator", 403, "Forbidden", "exceeded quota")

    world.cluster.before_write = refuse
    with pytest.raises(ClusterError, match="exceeded quota"):
        world.run()
    assert not world.registry.workers


@pytest.mark.parametrize(
    ("prepare", "write", "minted"),
    [(refused, "dry run", 2), (refused, "apply", 2), (nothing, "create", 0), (nothing, "apply", 1)],
)
def test_another_client_writes_the_secret(
    world: World, prepare: t.Callable[[World], None], write: Write, minted: int
) -> None:
    prepare(world)
    theirs = {"worker_id": "wkr_" + "7" * 26, "token": "theirs"}
    world.cluster.before_write = lambda name, now: world.cluster.put(name, theirs) if now == write else None
    with pytest.raises(IdentityError, match="Secret ns/id-operator was changed by another client"):
        world.run()
    assert world.cluster.values("id-operator") == theirs
    assert len(world.registry.workers) == minted


@pytest.mark.parametrize(("prepare", "action"), [(refused, "reissued"), (nothing, "minted")])
def test_the_answer_to_a_write_is_lost(
    world: World, prepare: t.Callable[[World], None], action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(world)

    def twice(write: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def both(definition: Object, dry_run: bool = False) -> t.Any:
            options = {"dry_run": True} if dry_run else {}
            write(definition, **options)
            return write(definition, **options)

        return both

    for verb in ("create", "apply"):
        monkeypatch.setattr(world.cluster, verb, twice(getattr(world.cluster, verb)))
    assert world.run()["identities"]["operator"]["action"] == action
    world.check()


def test_somebody_else_creates_the_group(world: World) -> None:
    def create(line: str) -> None:
        if line == "POST /groups" and not world.registry.groups:
            world.registry.group("admins", "wkr_" + "9" * 26)

    world.registry.before = create
    result = world.run()
    assert result["groups"]["admins"]["group_id"] == "grp_" + "1".zfill(26)
    assert len(world.registry.groups) == 2
    world.check()


@pytest.mark.parametrize("label", [{}, {INSTANCE_LABEL: "ns/one"}])
def test_two_workers_of_one_name(world: World, label: Object) -> None:
    for number in (3, 4):
        world.registry.mint("orchestrator", dict(label), number)
    state = world.state()
    with pytest.raises(IdentityError) as caught:
        world.run()
    # Found before anything was written, for the other worker too.
    assert world.state() == state
    assert [row["worker_id"][-1] for row in caught.value.data["candidates"]] == ["3", "4"]

    world.cluster.put("id-orchestrator", {"worker_id": "wkr_" + "4".zfill(26)})
    assert world.run()["identities"]["orchestrator"] | {"checksum": None} == {
        "worker_id": "wkr_" + "4".zfill(26),
        "secret": "id-orchestrator",
        "checksum": None,
        "action": "reissued",
    }
    world.check()


def no_pod(world: World) -> None:
    world.cluster.ready = False


def no_admin_secret(world: World) -> None:
    del world.cluster.secrets["credentials"]


def no_admin_key(world: World) -> None:
    world.cluster.put("credentials", {"OTHER": "x"})


@pytest.mark.parametrize(
    ("prepare", "error", "words"),
    [
        (
            no_pod,
            MissingError,
            "run `--tags task_store` first (no ready pod behind Service ns/store)",
        ),
        (no_admin_secret, MissingError, "run `--tags infra` first (missing: Secret ns/credentials)"),
        (no_admin_key, CredentialsError, "Secret ns/credentials lacks the key EDEN_ADMIN_TOKEN"),
    ],
)
def test_not_there_yet(
    world: World, prepare: t.Callable[[World], None], error: type[CollectionError], words: str
) -> None:
    prepare(world)
    predicted = world.run(check_mode=True)
    assert predicted["changed"]
    assert set(world.actions(predicted).values()) == {"minted", "created"}
    assert {row["worker_id"] for row in predicted["identities"].values()} == {None}
    assert {row["checksum"] for row in predicted["identities"].values()} == {None}
    with pytest.raises(error) as caught:
        world.run()
    assert words in caught.value.message
    assert not world.registry.log


@pytest.mark.parametrize("check_mode", [False, True])
def test_admin_token_is_none(world: World, check_mode: bool) -> None:
    world.cluster.put("credentials", {"EDEN_ADMIN_TOKEN": ADMIN_TOKEN + "\n"})
    with pytest.raises(CredentialsError, match="of Secret ns/credentials does not hold a token"):
        world.run(check_mode)
    assert not any(ADMIN_TOKEN in text for text in world.told)


@pytest.mark.parametrize("check_mode", [False, True])
def test_admin_token_refused(world: World, check_mode: bool) -> None:
    world.cluster.put("credentials", {"EDEN_ADMIN_TOKEN": "another"})
    with pytest.raises(TaskStoreError, match="401 Unauthorized") as caught:
        world.run(check_mode)
    assert "read from key EDEN_ADMIN_TOKEN of Secret ns/credentials" in caught.value.message
    assert "another" not in caught.value.message.replace("started with another one:", "")


@pytest.mark.parametrize("check_mode", [False, True])
def test_another_experiment(world: World, check_mode: bool) -> None:
    complete(world)
    tokens = dict(world.registry.tokens)
    world.registry.experiment_id = "exp_" + "2" * 26
    with pytest.raises(TaskStoreError, match=f"does not serve experiment {E}"):
        world.run(check_mode)
    assert world.registry.tokens == tokens


def with_another_token(world: World) -> None:
    world.cluster.put("credentials", {"EDEN_ADMIN_TOKEN": "another"})


def of_another_experiment(world: World) -> None:
    world.registry.experiment_id = "exp_" + "2" * 26


@pytest.mark.parametrize("differ", [with_another_token, of_another_experiment])
def test_check_mode_takes_one_that_is_to_change_for_one_that_is_not_there_yet(
    world: World, differ: t.Callable[[World], None]
) -> None:
    complete(world)
    differ(world)
    world.parameters["task_store_changes"] = True
    assert not world.run(check_mode=True)["changed"]
    with pytest.raises(TaskStoreError):
        world.run()


def test_check_mode_asks_one_that_is_to_change_and_answers(world: World) -> None:
    world.parameters["task_store_changes"] = True
    assert world.run(check_mode=True)["changed"]
    assert "GET /workers" in world.registry.log


def test_a_task_store_that_lets_everybody_in(world: World) -> None:
    complete(world)
    world.registry.authenticates = False
    tokens = dict(world.registry.tokens)
    with pytest.raises(IdentityError, match="runs without authentication"):
        world.run()
    assert world.registry.tokens == tokens


def test_url_that_does_not_answer_yet(world: World) -> None:
    world.parameters["task_store_url"] = "http://store.example:8080"
    world.cluster.ready = False
    assert world.run(check_mode=True)["changed"]
    assert world.registry.log == ["GET /state", "GET /state", *["GET /workers"] * 2, *["GET /groups"] * 2]
    world.registry.log.clear()
    world.registry.faults.append(("GET /state", "dropped"))
    assert world.run(check_mode=True)["changed"]
    assert not world.registry.log


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"experiment_id": "exp-1"}, "experiment_id 'exp-1' is not an experiment id"),
        ({"instance": ""}, "instance is empty"),
        ({"namespace": ""}, "namespace is empty"),
        ({"task_store_url": "store:8080"}, "task_store_url 'store:8080' is not scheme, host and port"),
        ({"task_store_url": "http://store/v0"}, "'http://store/v0' is not scheme, host and port"),
        ({"workers": [{"name": "admin", "secret": "a"}]}, "'admin', which the task store reserves"),
        ({"workers": [{"name": " a", "secret": "a"}]}, "begins or ends with whitespace"),
        ({"workers": [{"name": "a", "secret": s} for s in "ab"]}, "workers has the name 'a' twice"),
        ({"workers": [{"name": n, "secret": "a"} for n in "ab"]}, "workers has the Secret 'a' twice"),
        ({"groups": [{"name": "g"}, {"name": "g"}]}, "groups has the name 'g' twice"),
        ({"groups": [{"name": "g", "members": ["nobody"]}]}, "'nobody' in 'g', which workers does not name"),
    ],
)
def test_input(world: World, change: Object, words: str) -> None:
    world.parameters |= change
    state = world.state()
    with pytest.raises(InputError) as caught:
        world.run()
    assert words in caught.value.message
    assert world.state() == state
    assert not world.registry.log


def test_all_faults_of_the_input_at_once(world: World) -> None:
    world.parameters |= {"experiment_id": "", "instance": ""}
    with pytest.raises(InputError) as caught:
        world.run()
    assert "experiment_id" in caught.value.message
    assert "instance" in caught.value.message
