# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire API: routes, who may use them, and the order of the checks.

The order is part of the contract: authentication of every path outside `/_reference/`; the shape of a typed
body or query; the experiment header and id; who the caller is; then the store.
"""

from __future__ import annotations

import hmac
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from eden_service_common import contracts, shapes
from eden_service_common.client import SECONDS
from eden_service_common.httpd import Request, Response, json_response
from eden_service_common.shapes import Check, Invalid, record
from eden_service_common.signals import StopSignal

from . import artifacts, records
from .problems import Problem
from .registry import Registry
from .store import IDEAS, TASKS, VARIANTS, Document, Store, Table
from .tasks import Tasks

_POLL_SECONDS = 0.1
_ANONYMOUS = "anonymous"
_NO_CONTENT = Response(204)


@dataclass(frozen=True)
class Settings:
    """What is decided outside; without an admin token there is no authentication."""

    admin_token: str | None
    subscribe_timeout: float
    seconds: dict[str, float]
    artifacts_dir: str | None


@dataclass(frozen=True)
class Call:
    """One request on its way to a handler.

    `principal` is `admin`, a worker id, or None with authentication off; `body` is the decoded JSON body of
    routes that have one; `parameters` are the variable parts of the path.
    """

    request: Request
    principal: str | None
    body: Any = None
    parameters: dict[str, str] = field(default_factory=dict)

    def query(self, name: str) -> str | None:
        return self.request.query.get(name)


Handler = Callable[["Api", Call], Response]


@dataclass(frozen=True)
class Route:
    """A method and path with its handler; `body` and `query` are checked before the experiment id.

    A `bare` route checks the rest itself.
    """

    method: str
    pattern: re.Pattern[str]
    handler: Handler
    body: Check | None
    query: Callable[[Call], None] | None
    bare: bool


_routes: list[Route] = []


def _route(
    method: str,
    path: str,
    *,
    body: Check | None = None,
    query: Callable[[Call], None] | None = None,
    root: str = "/v0",
    bare: bool = False,
) -> Callable[[Handler], Handler]:
    """Register a handler of `path`, which is relative to `<root>/experiments/<experiment id>`."""
    variable = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path.replace("{path}", "(?P<path>.*)"))
    pattern = re.compile(f"{root}/experiments/(?P<experiment>[^/]+){variable}", re.DOTALL)

    def register(handler: Handler) -> Handler:
        _routes.append(Route(method, pattern, handler, body, query, bare))
        return handler

    return register


class Api:
    """Answers requests about one store."""

    def __init__(self, store: Store, registry: Registry, settings: Settings, stop: StopSignal) -> None:
        self.store = store
        self.registry = registry
        self.tasks = Tasks(store)
        self.settings = settings
        self.stop = stop
        # EDEN's server has one event loop, which the verification of a token and the database hold up.
        self.turn = threading.Condition()

    def __call__(self, request: Request) -> Response:
        """The response to a request; only faults of the server itself are raised."""
        try:
            with self.turn:
                return self._respond(request)
        except Problem as problem:
            return problem.response(request.url)
        except Invalid as fault:
            return Problem("bad-request", str(fault)).response(request.url)

    def _respond(self, request: Request) -> Response:
        principal = None
        if not request.path.startswith("/_reference/"):
            principal = self.authenticate(request)
        allowed = []
        for route in _routes:
            match = route.pattern.fullmatch(request.path)
            if match is None:
                continue
            if route.method == request.method:
                return self._call(route, Call(request, principal, None, match.groupdict()))
            allowed.append(route.method)
        if allowed:
            return Response(
                405, b'{"detail":"Method Not Allowed"}', headers={"Allow": ", ".join(sorted(set(allowed)))}
            )
        return json_response({"detail": "Not Found"}, 404)

    def _call(self, route: Route, call: Call) -> Response:
        if route.body is not None:
            body = _decode(call.request)
            route.body(body, "body")
            call = Call(call.request, call.principal, body, call.parameters)
        if route.query is not None:
            route.query(call)
        if not route.bare:
            self.check_experiment(call)
        return route.handler(self, call)

    def check_experiment(self, call: Call) -> None:
        """`experiment-id-mismatch` unless header and path name the experiment of this store."""
        path = call.parameters["experiment"]
        header = call.request.headers.get("X-Eden-Experiment-Id")
        if header is None:
            raise Problem(
                "experiment-id-mismatch", f"missing X-Eden-Experiment-Id header (expected {path!r})"
            )
        if header != path:
            raise Problem(
                "experiment-id-mismatch",
                f"X-Eden-Experiment-Id header {header!r} does not match URL segment {path!r}",
            )
        self.check_segment(call)

    def check_segment(self, call: Call) -> None:
        """`experiment-id-mismatch` unless the path names the experiment of this store."""
        path, own = call.parameters["experiment"], self.store.experiment_id
        if path != own:
            raise Problem(
                "experiment-id-mismatch", f"URL segment {path!r} does not match server's experiment {own!r}"
            )

    def authenticate(self, request: Request) -> str | None:
        """The principal of the bearer, `unauthorized` without a valid one, None with authentication off."""
        if self.settings.admin_token is None:
            return None
        header = request.headers.get("Authorization")
        if header is None:
            raise Problem("unauthorized", "missing Authorization header")
        scheme, _blank, bearer = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Problem("unauthorized", "Authorization header must use the Bearer scheme")
        principal, _colon, secret = bearer.strip().partition(":")
        if not principal or not secret:
            raise Problem("unauthorized", "bearer must be in the form '<principal>:<secret>'")
        if principal == "admin":
            if not hmac.compare_digest(secret.encode(), self.settings.admin_token.encode()):
                raise Problem("unauthorized", "admin token mismatch")
        elif re.fullmatch(contracts.WORKER_ID, principal) is None:
            raise Problem("unauthorized", "bearer principal MUST be 'admin' or an opaque wkr_* worker id")
        elif not self.registry.verify(principal, secret):
            raise Problem("unauthorized", "worker credential mismatch (no such worker, or wrong token)")
        return principal

    def require_admin(self, call: Call) -> None:
        if call.principal not in (None, "admin"):
            raise Problem("forbidden", "endpoint is admin-gated; worker bearers MUST NOT access it")

    def require_worker(self, call: Call) -> str:
        """The caller's worker id."""
        if call.principal == "admin":
            raise Problem("forbidden", "endpoint is worker-gated; admin bearers MUST NOT access it")
        return call.principal or _ANONYMOUS

    def require_member(self, call: Call, *groups: str) -> str:
        """The id of the calling worker, a member of one of the groups."""
        worker_id = self.require_worker(call)
        if worker_id != _ANONYMOUS and not self.registry.is_in_group_named(worker_id, *groups):
            names = " or ".join(repr(name) for name in groups)
            raise Problem(
                "forbidden",
                f"endpoint requires membership in {names}; worker {worker_id!r} is not a transitive member",
            )
        return worker_id


def _decode(request: Request) -> Any:
    kind = request.headers.get_content_type()
    if "Content-Type" not in request.headers or not re.fullmatch(r"application/(json|.+\+json)", kind):
        raise Invalid("body: must be JSON with Content-Type application/json")
    try:
        return json.loads(request.body)
    except ValueError as error:
        raise Invalid(f"body: no JSON: {error}") from error


def _stamped(call: Call, body: Document) -> Document:
    """The body with `created_by` set to the caller, who cannot claim to be another one."""
    if call.principal is None:
        return body
    supplied = body.get("created_by")
    if supplied not in (None, call.principal):
        raise Problem(
            "bad-request", f"created_by={supplied!r} disagrees with authenticated {call.principal!r}"
        )
    return {**body, "created_by": call.principal}


# --- workers ---


@_route(
    "POST",
    "/workers",
    body=record({}, {"name": shapes.string(), "labels": shapes.map_of(shapes.string())}, closed=True),
)
def _register_worker(api: Api, call: Call) -> Response:
    api.require_admin(call)
    worker, token = api.registry.register_worker(
        call.body.get("name"), call.body.get("labels"), call.principal
    )
    return json_response({**worker, "registration_token": token})


@_route("GET", "/workers")
def _list_workers(api: Api, call: Call) -> Response:
    return json_response({"workers": api.registry.workers(call.query("name"))})


@_route("GET", "/workers/{worker_id}")
def _read_worker(api: Api, call: Call) -> Response:
    return json_response(api.registry.worker(call.parameters["worker_id"]))


@_route("POST", "/workers/{worker_id}/reissue-credential")
def _reissue(api: Api, call: Call) -> Response:
    api.require_admin(call)
    worker, token = api.registry.reissue(call.parameters["worker_id"])
    return json_response({**worker, "registration_token": token})


@_route("GET", "/whoami")
def _whoami(api: Api, call: Call) -> Response:
    worker_id = api.require_worker(call)
    if worker_id == _ANONYMOUS:
        return json_response({"worker_id": worker_id})
    worker = api.registry.worker(worker_id)
    return json_response({name: worker[name] for name in ("worker_id", "name") if name in worker})


# --- groups ---


@_route(
    "POST",
    "/groups",
    body=record({}, {"name": shapes.string(), "members": shapes.array(contracts.member_id)}, closed=True),
)
def _register_group(api: Api, call: Call) -> Response:
    api.require_admin(call)
    may_reserve = call.principal is not None
    return json_response(
        api.registry.register_group(
            call.body.get("name"), call.body.get("members", []), call.principal, may_reserve=may_reserve
        )
    )


@_route("GET", "/groups")
def _list_groups(api: Api, call: Call) -> Response:
    return json_response({"groups": api.registry.groups(call.query("name"))})


@_route("GET", "/groups/{group_id}")
def _read_group(api: Api, call: Call) -> Response:
    return json_response(api.registry.group(call.parameters["group_id"]))


@_route("POST", "/groups/{group_id}/members", body=record({"member_id": contracts.member_id}, closed=True))
def _add_member(api: Api, call: Call) -> Response:
    api.require_admin(call)
    return json_response(api.registry.add_member(call.parameters["group_id"], call.body["member_id"]))


@_route("DELETE", "/groups/{group_id}/members/{member_id}")
def _remove_member(api: Api, call: Call) -> Response:
    api.require_admin(call)
    return json_response(
        api.registry.remove_member(call.parameters["group_id"], call.parameters["member_id"])
    )


@_route("DELETE", "/groups/{group_id}")
def _delete_group(api: Api, call: Call) -> Response:
    api.require_admin(call)
    api.registry.delete_group(call.parameters["group_id"])
    return _NO_CONTENT


# --- tasks ---


@_route("POST", "/tasks", body=shapes.mapping)
def _create_task(api: Api, call: Call) -> Response:
    api.require_member(call, "admins", "orchestrators")
    return json_response(api.tasks.create(_stamped(call, call.body)))


def _readable(path: str, table: Table, *filters: str) -> None:
    """The list of a table's documents, with filters from the query, and each document."""

    @_route("GET", path)
    def _list(api: Api, call: Call) -> Response:
        with api.store.transaction():
            return json_response(api.store.select(table, **{name: call.query(name) for name in filters}))

    @_route("GET", f"{path}/{{key}}")
    def _read(api: Api, call: Call) -> Response:
        with api.store.transaction():
            return json_response(api.store.get(table, call.parameters["key"]))


_readable("/tasks", TASKS, "kind", "state")
_readable("/ideas", IDEAS, "state")
_readable("/variants", VARIANTS, "status")


@_route("POST", "/tasks/{task_id}/claim", body=record({}, {"expires_at": contracts.date_time}, closed=True))
def _claim(api: Api, call: Call) -> Response:
    worker_id = api.require_worker(call)
    claim = api.tasks.claim(call.parameters["task_id"], worker_id, call.body.get("expires_at"))
    return replace(json_response(claim), headers={SECONDS: json.dumps(api.settings.seconds)})


@_route(
    "POST",
    "/tasks/{task_id}/reclaim",
    body=record({"cause": shapes.one_of("expired", "operator", "health_policy")}, closed=True),
)
def _reclaim(api: Api, call: Call) -> Response:
    api.require_worker(call)
    api.tasks.reclaim(call.parameters["task_id"], call.body["cause"])
    return _NO_CONTENT


@_route("POST", "/tasks/{task_id}/submit", body=record({"payload": shapes.mapping}, closed=True))
def _submit(api: Api, call: Call) -> Response:
    api.tasks.submit(call.parameters["task_id"], api.require_worker(call), call.body["payload"])
    return json_response({})


@_route("GET", "/tasks/{task_id}/submission")
def _read_submission(api: Api, call: Call) -> Response:
    submission = api.tasks.submission(call.parameters["task_id"])
    return _NO_CONTENT if submission is None else json_response(submission)


@_route("POST", "/tasks/{task_id}/accept")
def _accept(api: Api, call: Call) -> Response:
    api.require_member(call, "orchestrators")
    api.tasks.accept(call.parameters["task_id"])
    return _NO_CONTENT


@_route(
    "POST",
    "/tasks/{task_id}/reject",
    body=record({"reason": shapes.one_of("worker_error", "validation_error", "policy_limit")}, closed=True),
)
def _reject(api: Api, call: Call) -> Response:
    api.require_member(call, "orchestrators")
    api.tasks.reject(call.parameters["task_id"], call.body["reason"])
    return _NO_CONTENT


# --- ideas and variants ---


@_route("POST", "/ideas", body=shapes.mapping)
def _create_idea(api: Api, call: Call) -> Response:
    api.require_worker(call)
    return json_response(records.create_idea(api.store, _stamped(call, call.body)))


@_route("POST", "/ideas/{idea_id}/mark-ready")
def _mark_ready(api: Api, call: Call) -> Response:
    api.require_worker(call)
    records.mark_ready(api.store, call.parameters["idea_id"])
    return _NO_CONTENT


@_route("POST", "/variants", body=shapes.mapping)
def _create_variant(api: Api, call: Call) -> Response:
    if call.body.get("kind") == "baseline":
        api.require_member(call, "orchestrators")
    else:
        api.require_worker(call)
    return json_response(records.create_variant(api.store, call.body))


@_route(
    "POST",
    "/variants/{variant_id}/integrate",
    body=record({"variant_commit_sha": contracts.commit_sha}, closed=True),
)
def _integrate(api: Api, call: Call) -> Response:
    api.require_member(call, "orchestrators")
    records.integrate(api.store, call.parameters["variant_id"], call.body["variant_commit_sha"])
    return Response(200)


# --- experiment ---


@_route("GET", "")
def _read_experiment(api: Api, call: Call) -> Response:
    return json_response(records.read_experiment(api.store))


@_route("GET", "/state")
def _read_state(api: Api, call: Call) -> Response:
    return json_response({"state": records.read_experiment(api.store)["state"]})


@_route("POST", "/terminate", body=record({"reason": shapes.string()}, closed=True))
def _terminate(api: Api, call: Call) -> Response:
    worker_id = api.require_member(call, "admins", "orchestrators")
    experiment = records.terminate(api.store, call.body["reason"], worker_id)
    # Unlike the read, this answer leaves a null out.
    return json_response({name: value for name, value in experiment.items() if value is not None})


@_route("GET", "/dispatch_mode")
def _read_dispatch_mode(api: Api, call: Call) -> Response:
    return json_response(records.dispatch_mode(api.store))


@_route(
    "PATCH", "/dispatch_mode", body=record({}, dict.fromkeys(records.MODES, shapes.one_of("auto", "manual")))
)
def _update_dispatch_mode(api: Api, call: Call) -> Response:
    worker_id = api.require_member(call, "admins")
    # Unknown keys are kept, their values are checked all the same.
    shapes.map_of(shapes.one_of("auto", "manual"))(call.body, "dispatch_mode")
    return json_response(records.update_dispatch_mode(api.store, call.body, worker_id))


# --- events ---


def _cursor(call: Call) -> int:
    text = call.query("cursor") or "0"
    if re.fullmatch("[0-9]+", text) is None:
        raise Invalid(f"query.cursor: {text!r} is no count of events")
    return int(text)


def _timeout(call: Call) -> float | None:
    text = call.query("timeout")
    if text is None:
        return None
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text) is None:
        raise Invalid(f"query.timeout: {text!r} is no number of seconds")
    return float(text)


def _check_subscription(call: Call) -> None:
    _cursor(call)
    _timeout(call)


@_route("GET", "/events", query=lambda call: _discard(_cursor(call)))
def _read_events(api: Api, call: Call) -> Response:
    return _events(api, _cursor(call), 0.0)


@_route("GET", "/events/subscribe", query=_check_subscription)
def _subscribe(api: Api, call: Call) -> Response:
    timeout = _timeout(call)
    return _events(api, _cursor(call), api.settings.subscribe_timeout if timeout is None else timeout)


def _events(api: Api, cursor: int, timeout: float) -> Response:
    deadline = time.monotonic() + timeout
    events = api.store.events(cursor)
    while not events and time.monotonic() < deadline and not api.stop.is_set():
        api.turn.wait(_POLL_SECONDS)
        events = api.store.events(cursor)
    return json_response({"events": events, "cursor": cursor + len(events)})


def _discard(_value: object) -> None:
    """Only the check that made the value matters."""


# --- reference helpers, anonymous but for the artifacts ---


@_route("GET", "/artifacts/{path}", root="/_reference", bare=True)
def _serve_artifact(api: Api, call: Call) -> Response:
    api.authenticate(call.request)
    api.check_segment(call)
    return artifacts.serve(api.settings.artifacts_dir, call.parameters["path"])


@_route("GET", "/tasks/{task_id}/validate-terminal", root="/_reference")
def _validate_terminal(api: Api, call: Call) -> Response:
    return json_response(api.tasks.decision(call.parameters["task_id"]))


@_route(
    "POST",
    "/validate/evaluation",
    root="/_reference",
    body=record({"evaluation": shapes.mapping}, closed=True),
)
def _validate_evaluation(api: Api, call: Call) -> Response:
    api.store.check_evaluation(call.body["evaluation"])
    return _NO_CONTENT
