# SPDX-License-Identifier: GPL-3.0-or-later
"""The task store's client on a scripted wire: a missing, an extra or another request fails a test."""

from __future__ import annotations

import io
import json
import typing as t
from dataclasses import dataclass, field, replace

import pytest
import requests
from requests.adapters import BaseAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, ReadTimeoutError

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import TaskStoreError
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import (
    ClaimedTask,
    Credential,
    LostReplyError,
    TaskStore,
    Worker,
    is_token,
)

E = "exp_01jabcdefghjkmnpqrstvwxyz0"
W = "wkr_01jabcdefghjkmnpqrstvwxyz0"
W2 = "wkr_01jabcdefghjkmnpqrstvwxyz1"
G = "grp_01jabcdefghjkmnpqrstvwxyz0"
BASE = f"http://store:8080/v0/experiments/{E}"
ADMIN_TOKEN = "the-token-of-the-admin"
WORKER_TOKEN = "f0" * 32
AS_ADMIN = f"Bearer admin:{ADMIN_TOKEN}"


@dataclass
class Exchange:
    """One request that must come, and what comes back: a status with a document, or an exception.

    An answer that is not ``whole`` ended within its headers.
    """

    method: str
    path: str
    answer: int | Exception = 200
    document: t.Any = None
    body: t.Any = None
    bearer: str = AS_ADMIN
    headers: dict[str, str] = field(default_factory=dict)
    whole: bool = True
    timeout: float = 15.0


class Wire(BaseAdapter):
    """Plays the exchanges in their order."""

    def __init__(self, *script: Exchange) -> None:
        super().__init__()
        self.script = list(script)

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, timeout: t.Any = None, **_options: t.Any
    ) -> requests.Response:
        assert self.script, f"unexpected {request.method} {request.url}"
        exchange = self.script.pop(0)
        body = json.loads(request.body) if request.body else None
        assert (request.method, request.url, body) == (exchange.method, BASE + exchange.path, exchange.body)
        assert request.headers["X-Eden-Experiment-Id"] == E
        assert request.headers["Authorization"] == exchange.bearer
        assert timeout == (3.0, exchange.timeout)
        if isinstance(exchange.answer, Exception):
            raise exchange.answer
        response = requests.Response()
        response.status_code = exchange.answer
        document = exchange.document
        response.raw = io.BytesIO(
            document.encode() if isinstance(document, str) else json.dumps(document).encode()
        )
        # In lower case, as EDEN's server writes it.
        length = {"content-length": str(len(response.raw.getvalue()))} if exchange.whole else {}
        response.headers.update(length | exchange.headers)
        response.url = request.url or ""
        response.request = request
        return response

    def close(self) -> None:
        """Nothing is open."""


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


class Talk(t.NamedTuple):
    """A client, its wire and its clock."""

    store: TaskStore
    wire: Wire
    clock: Clock


def talk(*script: Exchange, budget: float = 60, token: str = ADMIN_TOKEN) -> Talk:
    session = requests.Session()
    session.trust_env = False
    wire, clock = Wire(*script), Clock()
    session.mount("http://", wire)
    return Talk(
        TaskStore(session, "http://store:8080/", E, lambda: token, budget, clock.sleep, clock), wire, clock
    )


def problem(kind: str, status: int, detail: str = "so it is") -> dict[str, t.Any]:
    return {"type": f"eden://error/{kind}", "title": kind.title(), "status": status, "detail": detail}


def reset() -> requests.ConnectionError:
    return requests.ConnectionError(
        ProtocolError("Connection aborted.", ConnectionResetError(104, "reset by peer"))
    )


def row(worker_id: str = W, **more: t.Any) -> dict[str, t.Any]:
    return {"worker_id": worker_id, "name": "w", "registered_at": "2026-04-01T00:00:00Z", **more}


WORKER = Worker(W, "w", {}, "2026-04-01T00:00:00Z")
Call = t.Callable[[TaskStore], t.Any]


def test_workers_are_looked_up_by_any_name_and_come_in_the_order_of_their_ids() -> None:
    found = {"workers": [row(W2, labels={"a": "b"}), row()]}
    store, _wire, _clock = talk(Exchange("GET", "/workers?name=a+b%26c", 200, found))
    assert store.find_workers("a b&c") == [WORKER, Worker(W2, "w", {"a": "b"}, "2026-04-01T00:00:00Z")]


def test_events_are_read_from_a_cursor_on() -> None:
    document = {"events": [{"type": "task.created"}], "cursor": 4}
    store, _wire, _clock = talk(Exchange("GET", "/events?cursor=3", 200, document, timeout=120))
    assert store.events(3) == ([{"type": "task.created"}], 4)


LATE = [
    requests.ReadTimeout("read"),
    requests.ConnectionError(ReadTimeoutError(None, "", "read timed out")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("late", LATE, ids=["headers", "content"])
def test_events_that_take_too_long_are_not_asked_for_again(late: Exception) -> None:
    store, wire, clock = talk(Exchange("GET", "/events?cursor=0", late, timeout=120))
    with pytest.raises(TaskStoreError, match="Could not read the events"):
        store.events()
    assert not wire.script
    assert not clock.pauses


T = "execution-1"
CLAIMED = ClaimedTask(T, "execution", W, "2026-11-28T05:00:00.123Z")
AS_WORKER = f"Bearer {W2}:{WORKER_TOKEN}"


def task(state: str = "claimed", **claim: str) -> dict[str, t.Any]:
    claim = {"worker_id": W, "claimed_at": CLAIMED.claimed_at, **claim}
    claimed = {"claim": claim} if state in ("claimed", "submitted") else {}
    return {"task_id": T, "kind": "execution", "state": state, "payload": {"idea_id": "i"}, **claimed}


def read_task(status: int = 200, document: t.Any = None) -> Exchange:
    return Exchange("GET", f"/tasks/{T}", status, document or task())


def reclaim(answer: int | Exception = 204, document: t.Any = "") -> Exchange:
    return Exchange(
        "POST",
        f"/tasks/{T}/reclaim",
        answer,
        document,
        body={"cause": "operator"},
        bearer=AS_WORKER,
        # The server's 204 has no length.
        whole=answer != 204,
    )


def test_claimed_tasks_are_an_array() -> None:
    end = {"expires_at": "2026-11-28T06:00:00.000Z"}
    store, _wire, _clock = talk(Exchange("GET", "/tasks?state=claimed", 200, [task(), task(**end)]))
    assert store.claimed_tasks() == [CLAIMED, replace(CLAIMED, **end)]


GONE = problem("not-found", 404)
MOVED = problem("illegal-transition", 409)


@pytest.mark.parametrize(
    ("reclaimed", "script"),
    [
        (True, [read_task(), reclaim()]),
        (False, [read_task(200, task("submitted"))]),
        (False, [read_task(200, task("pending"))]),
        (False, [read_task(200, task(worker_id=W2))]),
        (False, [read_task(200, task(claimed_at="2026-11-28T05:00:01.000Z"))]),
        (False, [read_task(404, GONE)]),
        (False, [read_task(), reclaim(409, MOVED)]),
        (False, [read_task(), reclaim(404, GONE)]),
        (True, [read_task(), reclaim(reset()), read_task(200, task("pending"))]),
        (True, [read_task(), reclaim(502, ""), read_task(200, task(worker_id=W2))]),
        (True, [read_task(), reclaim(reset()), read_task(), reclaim()]),
    ],
)
def test_a_task_is_reclaimed_once_and_from_no_other_claimant(reclaimed: bool, script: list[Exchange]) -> None:
    store, wire, _clock = talk(*script)
    assert store.reclaim(CLAIMED, (W2, WORKER_TOKEN)) is reclaimed
    assert not wire.script


def test_the_admin_may_not_reclaim() -> None:
    store, _wire, _clock = talk(read_task(), reclaim(403, problem("forbidden", 403)))
    with pytest.raises(TaskStoreError, match="Could not reclaim the task execution-1"):
        store.reclaim(CLAIMED, (W2, WORKER_TOKEN))


@pytest.mark.parametrize(
    ("status", "document", "words"),
    [
        (
            401,
            problem("unauthorized", 401, "admin token mismatch"),
            "answered 401 Unauthorized: Unauthorized: admin",
        ),
        (403, problem("forbidden", 403), "answered 403 Forbidden: Forbidden: so it is."),
        (400, problem("experiment-id-mismatch", 400), "answered 400 Bad Request: Experiment-Id-Mismatch"),
        # The same statuses from something else than a task store are no answers of the protocol.
        (404, "<html>no such  route</html>", "answered 404 Not Found: <html>no such route</html>."),
        (301, "", "answered 301 Moved Permanently"),
        (599, "x" * 1000, "answered 599: " + "x" * 300 + "…"),
    ],
)
def test_refused(status: int, document: t.Any, words: str) -> None:
    store, wire, _clock = talk(Exchange("GET", f"/workers/{W}", status, document), budget=0)
    with pytest.raises(TaskStoreError) as caught:
        store.worker(W)
    assert words in caught.value.message
    assert f"asked for /v0/experiments/{E}/workers/{W}," in caught.value.message
    assert f"look up the worker {W}" in caught.value.message
    assert caught.value.status == status
    assert not wire.script


def test_401_without_the_task_stores_word_is_no_proof() -> None:
    as_worker = f"Bearer {W}:{WORKER_TOKEN}"
    store, _wire, _clock = talk(Exchange("GET", "/whoami", 401, "login required", bearer=as_worker))
    with pytest.raises(TaskStoreError, match="login required"):
        store.whoami(W, WORKER_TOKEN)


@pytest.mark.parametrize(
    ("document", "call"),
    [
        ("not json", TaskStore.state),
        ([], TaskStore.state),
        ({"state": 1}, TaskStore.state),
        ({"events": {}}, TaskStore.events),
        ({"workers": [{}]}, lambda store: store.find_workers("w")),
        ({}, lambda store: store.find_groups("w")),
        ({"groups": [{"group_id": G}]}, lambda store: store.find_groups("w")),
        ({"worker_id": W}, lambda store: store.reissue(W)),
        ({"registration_token": WORKER_TOKEN}, lambda store: store.reissue(W)),
    ],
)
def test_a_document_of_something_else(document: t.Any, call: Call) -> None:
    store, wire, _clock = talk()
    answered: list[str] = []

    def send(request: requests.PreparedRequest, **_options: t.Any) -> requests.Response:
        answered.append(request.url or "")
        response = requests.Response()
        response.status_code = 200
        response.headers["Transfer-Encoding"] = "chunked"
        response.raw = io.BytesIO(
            document.encode() if isinstance(document, str) else json.dumps(document).encode()
        )
        return response

    wire.send = send  # type: ignore[assignment,method-assign]
    with pytest.raises(TaskStoreError, match="not a task store's") as caught:
        call(store)
    assert len(answered) == 1
    assert WORKER_TOKEN not in json.dumps(caught.value.as_result())


RETRYABLE = [
    408,
    429,
    500,
    502,
    503,
    504,
    reset(),
    requests.ReadTimeout("read"),
    requests.ConnectTimeout("connect"),
]


@pytest.mark.parametrize("failure", RETRYABLE, ids=str)
@pytest.mark.parametrize(
    ("exchange", "call"),
    [
        (Exchange("GET", "/state", 200, {"state": "running"}), TaskStore.state),
        (
            Exchange("POST", f"/workers/{W}/reissue-credential", 200, row(registration_token=WORKER_TOKEN)),
            lambda store: store.reissue(W),
        ),
        (
            Exchange(
                "POST", f"/groups/{G}/members", 200, {"group_id": G, "members": []}, body={"member_id": W}
            ),
            lambda store: store.add_member(G, W),
        ),
    ],
    ids=["read", "reissue", "member"],
)
def test_sent_again(failure: int | Exception, exchange: Exchange, call: Call) -> None:
    failed = Exchange(exchange.method, exchange.path, failure, {}, body=exchange.body)
    store, wire, clock = talk(failed, failed, exchange)
    call(store)
    assert not wire.script
    assert len(clock.pauses) == 2
    assert all(0.1 <= pause <= 5 for pause in clock.pauses)


@pytest.mark.parametrize("failure", RETRYABLE, ids=str)
@pytest.mark.parametrize(
    ("path", "body", "call"),
    [
        ("/workers", {"name": "w", "labels": {}}, lambda store: store.register("w", {})),
        ("/groups", {"name": "w"}, lambda store: store.create_group("w")),
    ],
    ids=["mint", "group"],
)
def test_what_makes_something_new_is_sent_once(
    failure: int | Exception, path: str, body: dict[str, t.Any], call: Call
) -> None:
    store, wire, clock = talk(Exchange("POST", path, failure, {}, body=body))
    with pytest.raises(LostReplyError):
        call(store)
    assert not wire.script
    assert not clock.pauses


@pytest.mark.parametrize("status", [200, 401, 404])
def test_an_answer_that_was_cut_off_is_none(status: int) -> None:
    cut = Exchange("GET", f"/workers/{W}", status, "", whole=False)
    store, wire, _clock = talk(cut, Exchange("GET", f"/workers/{W}", 200, row()))
    assert store.worker(W) == WORKER
    assert not wire.script
    cut = Exchange("POST", "/workers", status, "", body={"name": "w", "labels": {}}, whole=False)
    store, _wire, _clock = talk(cut)
    with pytest.raises(LostReplyError, match="gave an answer that was cut off"):
        store.register("w", {})


def test_a_refused_mint_is_not_a_lost_one() -> None:
    exchange = Exchange(
        "POST", "/workers", 422, problem("invalid-name", 422), body={"name": "w", "labels": {}}
    )
    store, _wire, _clock = talk(exchange)
    with pytest.raises(TaskStoreError, match="Invalid-Name") as caught:
        store.register("w", {})
    assert not isinstance(caught.value, LostReplyError)


def test_retry_timeout_is_one_budget_for_all_requests() -> None:
    failed = [Exchange("GET", "/state", 503, {}, headers={"Retry-After": "4"}) for _turn in range(3)]
    good = Exchange("GET", "/state", 200, {"state": "running"})
    store, wire, clock = talk(failed[0], good, failed[1], good, failed[2], budget=11)
    store.state()
    store.state()
    with pytest.raises(TaskStoreError, match="answered 503 Service Unavailable"):
        store.state()
    assert not wire.script
    assert sum(clock.pauses) == 8


@pytest.mark.parametrize(
    ("header", "low", "high"), [("3", 3, 3), ("3600", 10, 10), ("-5", 0.1, 5), ("Wed, 21 Oct 2026", 0.1, 5)]
)
def test_retry_after(header: str, low: float, high: float) -> None:
    failed = Exchange("GET", "/state", 429, {}, headers={"Retry-After": header})
    store, _wire, clock = talk(failed, Exchange("GET", "/state", 200, {"state": "running"}))
    store.state()
    assert low <= clock.pauses[0] <= high


def test_time_of_failed_tries_counts() -> None:
    store, wire, clock = talk(*[Exchange("GET", "/state", requests.ReadTimeout("read"))] * 9, budget=40)
    send = wire.send

    def slow(*arguments: t.Any, **options: t.Any) -> requests.Response:
        clock.now += 15
        return send(*arguments, **options)

    wire.send = slow  # type: ignore[method-assign]
    with pytest.raises(TaskStoreError):
        store.state()
    assert len(wire.script) == 9 - 3


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (reset(), "gave no answer ([Errno 104] reset by peer)"),
        (
            requests.ConnectionError(
                MaxRetryError(t.cast(t.Any, None), "/", NewConnectionError(t.cast(t.Any, "pool"), "refused"))
            ),
            "gave no answer (pool: refused)",
        ),
        (
            requests.ReadTimeout(ReadTimeoutError(t.cast(t.Any, "pool"), "/", "Read timed out.")),
            "gave no answer (pool: Read timed out.)",
        ),
        (requests.ConnectionError(), "gave no answer (ConnectionError)"),
    ],
    ids=["reset", "refused", "timeout", "silent"],
)
def test_no_answer_names_the_cause(error: Exception, words: str) -> None:
    store, _wire, _clock = talk(Exchange("GET", "/state", error), budget=0)
    with pytest.raises(TaskStoreError) as caught:
        store.state()
    assert words in caught.value.message
    assert caught.value.status == 0


@pytest.mark.parametrize(
    "error", [requests.exceptions.SSLError("not trusted"), requests.exceptions.InvalidURL("bad")]
)
def test_what_stays_wrong_is_not_tried_again(error: Exception) -> None:
    store, _wire, clock = talk(Exchange("GET", "/state", error))
    with pytest.raises(TaskStoreError):
        store.state()
    assert not clock.pauses


def test_pause_ends_with_the_failure() -> None:
    store, _wire, clock = talk(budget=1)
    failure = TaskStoreError("mint", "/workers", 500, "")

    def exhaust() -> None:
        while True:
            store.pause(failure)

    with pytest.raises(TaskStoreError) as caught:
        exhaust()
    assert caught.value is failure
    assert 0 < sum(clock.pauses) <= 1


@pytest.mark.parametrize("status", [401, 418, 500])
def test_a_token_that_is_echoed_stays_secret(status: int) -> None:
    echo = f"your headers: Authorization: {AS_ADMIN}"
    store, _wire, _clock = talk(Exchange("GET", "/state", status, echo), budget=0)
    with pytest.raises(TaskStoreError) as caught:
        store.state()
    assert ADMIN_TOKEN not in json.dumps(caught.value.as_result()) + str(caught.value)
    assert "[token]" in caught.value.message


@pytest.mark.parametrize("token", ["", "line\nbreak", "blank blank", "é", "trailing\n"])
def test_a_token_that_no_header_carries_is_not_sent(token: str) -> None:
    assert not is_token(token)
    store, _wire, _clock = talk(token=token)
    with pytest.raises(TaskStoreError, match="the token of admin is not one") as caught:
        store.state()
    assert not token or token not in json.dumps(caught.value.as_result())


def test_a_credential_does_not_show_its_token() -> None:
    assert WORKER_TOKEN not in repr(Credential(WORKER, WORKER_TOKEN))


def test_a_netrc_does_not_replace_the_token(monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine store login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    store, wire, _clock = talk(Exchange("GET", "/state", 200, {"state": "running"}))
    store.session.trust_env = True
    store.state()
    assert not wire.script
