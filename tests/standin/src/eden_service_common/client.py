# SPDX-License-Identifier: GPL-3.0-or-later
"""The HTTP client of the task store."""

from __future__ import annotations

import http.client
import json
import time
from email.message import Message
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from .logs import Log

Document = dict[str, Any]
# Only the task store and the evaluator host are given the experiment config: a claim tells the hosts.
SECONDS = "X-Standin-Seconds"
_log = Log("eden_service_common.client")


class TransportError(Exception):
    """No answer: whether the server did what was asked is unknown."""


class TaskStoreUnreachable(RuntimeError):
    """The task store did not become ready in time."""


class ServerError(Exception):
    """The server answered with an error status; `status` is that status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Unauthorized(ServerError):
    """401."""


class Forbidden(ServerError):
    """403 because of who asks."""


class NotFound(ServerError):
    """404."""


class AlreadyExists(ServerError):
    """409: the object, or a live task for the same thing, is already there."""


class ReservedIdentifier(ServerError):
    """409: a name that only one group may have is taken."""


class InvalidPrecondition(ServerError):
    """409: the state of another object does not allow it."""


class IllegalTransition(ServerError):
    """409: the state of the object does not allow it."""


class NotClaimed(ServerError):
    """409: the task is not claimed (any more)."""


class ConflictingResubmission(ServerError):
    """409: the task has another result already."""


class NoOpVariant(ServerError):
    """409: the submitted commit is the parent of the variant."""


_ERRORS: dict[str, type[ServerError]] = {
    "eden://error/unauthorized": Unauthorized,
    "eden://error/forbidden": Forbidden,
    "eden://error/not-found": NotFound,
    "eden://error/already-exists": AlreadyExists,
    "eden://error/reserved-identifier": ReservedIdentifier,
    "eden://error/invalid-precondition": InvalidPrecondition,
    "eden://error/illegal-transition": IllegalTransition,
    "eden://error/not-claimed": NotClaimed,
    "eden://error/conflicting-resubmission": ConflictingResubmission,
    "eden://error/no-op-variant": NoOpVariant,
}


def _segment(value: str) -> str:
    return quote(value, safe="")


class Client:
    """The routes of one experiment, with one bearer (`<principal>:<secret>`, None for no authentication).

    One connection per request and no retries. Methods raise TransportError or a ServerError.
    """

    def __init__(
        self, base_url: str, experiment_id: str, bearer: str | None = None, *, timeout: float = 30.0
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.experiment_id = experiment_id
        self.secret = bearer.partition(":")[2] if bearer is not None else None
        self._timeout = timeout
        self._headers = {"X-Eden-Experiment-Id": experiment_id, "Accept": "application/json"}
        if bearer is not None:
            self._headers["Authorization"] = f"Bearer {bearer}"

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Document | None = None,
        query: dict[str, str] | None = None,
        root: str = "/v0",
    ) -> Any:
        """The decoded JSON body of the answer, None when it has none."""
        return self._ask(method, path, body, query, root)[1]

    def _ask(
        self, method: str, path: str, body: Document | None, query: dict[str, str] | None, root: str
    ) -> tuple[Message, Any]:
        """Headers and decoded body of an answer that is no error."""
        status, headers, payload = self._exchange(method, path, body, query, root)
        if status >= 400:
            raise _error(method, path, status, headers.get_content_type(), payload)
        return headers, json.loads(payload) if payload else None

    def status(self, method: str, path: str) -> tuple[int, str]:
        """The status of the answer and its text, whatever they are."""
        status, _headers, payload = self._exchange(method, path, None, None, "/v0")
        return status, payload.decode("utf-8", "replace")

    def _exchange(
        self, method: str, path: str, body: Document | None, query: dict[str, str] | None, root: str
    ) -> tuple[int, Message, bytes]:
        target = f"{root}/experiments/{_segment(self.experiment_id)}{path}"
        if query:
            target += "?" + urlencode(query)
        headers = dict(self._headers)
        data = None
        if body is not None:
            # As in EDEN, NaN and half a surrogate pair fail here, and not on the server.
            data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
            headers["Content-Type"] = "application/json"
        address = urlsplit(self.base_url)
        kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        try:
            connection = kind(address.hostname or "", address.port, timeout=self._timeout)
            try:
                connection.request(method, address.path + target, body=data, headers=headers)
                response = connection.getresponse()
                payload = response.read()
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            raise TransportError(f"{method} {self.base_url}{target}: {error!r}") from error
        _log.info(
            f'HTTP Request: {method} {self.base_url}{target} "HTTP/1.1 {response.status} {response.reason}"'
        )
        return response.status, response.headers, payload

    def whoami(self) -> str:
        """The worker id that the bearer authenticates as."""
        return str(self.request("GET", "/whoami")["worker_id"])

    def workers(self) -> list[Document]:
        return list(self.request("GET", "/workers")["workers"])

    def reissue_credential(self, worker_id: str) -> str:
        """A new token of the worker; the old one is dead."""
        answer = self.request("POST", f"/workers/{_segment(worker_id)}/reissue-credential")
        return str(answer["registration_token"])

    def groups(self, name: str) -> list[Document]:
        return list(self.request("GET", "/groups", query={"name": name})["groups"])

    def create_group(self, name: str) -> Document:
        return dict(self.request("POST", "/groups", body={"name": name}))

    def add_member(self, group_id: str, member_id: str) -> None:
        self.request("POST", f"/groups/{_segment(group_id)}/members", body={"member_id": member_id})

    def experiment(self) -> Document:
        return dict(self.request("GET", ""))

    def state(self) -> str:
        return str(self.request("GET", "/state")["state"])

    def events(self) -> list[Document]:
        return list(self.request("GET", "/events")["events"])

    def dispatch_mode(self) -> dict[str, str]:
        return dict(self.request("GET", "/dispatch_mode"))

    def tasks(self, **filters: str) -> list[Document]:
        """The tasks, filtered by `kind` and `state`."""
        return list(self.request("GET", "/tasks", query=filters))

    def create_task(self, task: Document) -> None:
        self.request("POST", "/tasks", body=task)

    def claim(self, task_id: str) -> dict[str, float]:
        """How long a task is to take, as the experiment config says; see ExperimentConfig.seconds."""
        headers, _claim = self._ask("POST", f"/tasks/{_segment(task_id)}/claim", {}, None, "/v0")
        return dict(json.loads(headers.get(SECONDS, "{}")))

    def reclaim(self, task_id: str, cause: str) -> None:
        self.request("POST", f"/tasks/{_segment(task_id)}/reclaim", body={"cause": cause})

    def submit(self, task_id: str, payload: Document) -> None:
        self.request("POST", f"/tasks/{_segment(task_id)}/submit", body={"payload": payload})

    def submission(self, task_id: str) -> Document | None:
        """The recorded result of a task, None when there is none."""
        answer = self.request("GET", f"/tasks/{_segment(task_id)}/submission")
        return None if answer is None else dict(answer)

    def accept(self, task_id: str) -> None:
        self.request("POST", f"/tasks/{_segment(task_id)}/accept")

    def reject(self, task_id: str, reason: str) -> None:
        self.request("POST", f"/tasks/{_segment(task_id)}/reject", body={"reason": reason})

    def decision(self, task_id: str) -> str:
        """How to finalize a submitted task: accept, reject_worker or reject_validation."""
        path = f"/tasks/{_segment(task_id)}/validate-terminal"
        return str(self.request("GET", path, root="/_reference")["decision"])

    def validate_evaluation(self, evaluation: Document) -> None:
        self.request("POST", "/validate/evaluation", body={"evaluation": evaluation}, root="/_reference")

    def ideas(self, state: str) -> list[Document]:
        return list(self.request("GET", "/ideas", query={"state": state}))

    def idea(self, idea_id: str) -> Document:
        return dict(self.request("GET", f"/ideas/{_segment(idea_id)}"))

    def create_idea(self, idea: Document) -> None:
        self.request("POST", "/ideas", body=idea)

    def mark_ready(self, idea_id: str) -> None:
        self.request("POST", f"/ideas/{_segment(idea_id)}/mark-ready")

    def variants(self, status: str | None = None) -> list[Document]:
        return list(self.request("GET", "/variants", query={"status": status} if status else None))

    def variant(self, variant_id: str) -> Document:
        return dict(self.request("GET", f"/variants/{_segment(variant_id)}"))

    def create_variant(self, variant: Document) -> None:
        self.request("POST", "/variants", body=variant)

    def integrate(self, variant_id: str, commit_sha: str) -> None:
        """Record the commit of an integrated variant.

        A lost answer is looked up (three attempts); TransportError when the outcome stays unknown.
        """
        path = f"/variants/{_segment(variant_id)}/integrate"
        try:
            self.request("POST", path, body={"variant_commit_sha": commit_sha})
        except TransportError:
            if self._recorded_commit(variant_id) != commit_sha:
                raise

    def _recorded_commit(self, variant_id: str) -> str | None:
        for _turn in range(3):
            try:
                return self.variant(variant_id).get("variant_commit_sha")
            except (TransportError, ServerError):
                continue
        return None


def _error(method: str, path: str, status: int, content_type: str, payload: bytes) -> ServerError:
    text = payload.decode("utf-8", "replace")
    kind: type[ServerError] = ServerError
    if content_type == "application/problem+json":
        problem = json.loads(payload)
        kind = _ERRORS.get(problem["type"], ServerError)
        text = f"{problem['type']}: {problem.get('detail', problem['title'])}"
    return kind(status, f"{method} {path} -> {status} {text}")


def wait_for_task_store(base_url: str, experiment_id: str, timeout: float) -> None:
    """Wait until the task store answers its event log with 200, 401 or 403.

    Raises TaskStoreUnreachable after `timeout` seconds.
    """
    client = Client(base_url, experiment_id, timeout=2.0)
    deadline = time.monotonic() + timeout
    pause = 0.05
    last = "no attempt was made"
    while time.monotonic() < deadline:
        try:
            status, text = client.status("GET", "/events")
            if status in (200, 401, 403):
                return
            last = f"HTTP {status}: {text}"
        except TransportError as error:
            last = str(error)
        time.sleep(max(0.0, min(pause, deadline - time.monotonic())))
        pause = min(pause * 2, 1.0)
    raise TaskStoreUnreachable(f"task-store at {base_url!r} not ready within {timeout}s (last error: {last})")
