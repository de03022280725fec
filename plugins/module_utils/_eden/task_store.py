# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The part of the task store's HTTP API that the collection uses.

Expected answers are data; any other answer, and no answer, is a TaskStoreError.
This module is private to the collection.
"""

from __future__ import annotations

import http
import json
import time
import typing as t
from dataclasses import dataclass, field
from urllib.parse import quote

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import TaskStoreError
from ansible_collections.eden.reference.plugins.module_utils._kube.retry import (
    FIRST_DELAY,
    RetryBudget,
    is_retryable,
    retry_after,
)

try:
    import requests
    import urllib3
except ImportError as error:
    IMPORT_ERROR: ImportError | None = error
else:
    IMPORT_ERROR = None

ADMIN = "admin"
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 15.0
# The server reads its whole log for any part of it, about 10 000 events a second, and answers nothing else
# meanwhile.
EVENTS_TIMEOUT = 120.0
RETRY_BUDGET = 60.0
MAX_QUOTED = 300
_ADVICE = "Read the log of its pod; one that lost its database connection needs a restart."

Document = dict[str, t.Any]


@dataclass(frozen=True)
class Worker:
    """A row of the worker registry."""

    worker_id: str
    name: str = ""
    labels: t.Mapping[str, str] = field(default_factory=dict)
    registered_at: str = ""


@dataclass(frozen=True)
class Credential:
    """A worker and its token, which the task store shows once."""

    worker: Worker
    token: str = field(repr=False)


@dataclass(frozen=True)
class Bearer:
    """The worker that a token belongs to; ``name`` is empty if that worker has none."""

    worker_id: str
    name: str


@dataclass(frozen=True)
class Group:
    """A group; ``members`` are the ids of workers and groups."""

    group_id: str
    name: str = ""
    members: tuple[str, ...] = ()
    created_at: str = ""


@dataclass(frozen=True)
class ClaimedTask:
    """A task and who has claimed it; ``expires_at`` is empty if the claim has no end."""

    task_id: str
    kind: str
    worker_id: str
    claimed_at: str
    expires_at: str = ""


class LostReplyError(TaskStoreError):
    """A request that may be sent only once got no answer, or one that leaves its outcome unknown."""


@dataclass(frozen=True)
class _Answer:
    """An answer, or its absence.

    Attributes:
        status: HTTP status, or 0 if no answer came.
        reason: the phrase of the status, or why no answer came.
        document: the JSON object of the answer; an array is its ``rows``.
        retryable: whether the same request may succeed later.
        retry_after: the seconds that the server asks to wait.
    """

    status: int
    reason: str
    document: Document = field(default_factory=dict, repr=False)
    retryable: bool = False
    retry_after: float = 0.0

    def is_one_of(self, expected: t.Mapping[int, str]) -> bool:
        """Whether the task store reports one of the problems: status and end of the type URI."""
        problem = expected.get(self.status)
        return problem is not None and self.document.get("type") == f"eden://error/{problem}"


class TaskStore:
    """One experiment's task store, accessed as the admin.

    A request without an answer, or with one of 408, 429 and 5xx, is retried; ``retry_budget`` seconds are
    shared by all requests of an object of this class. ``register`` and ``create_group`` are sent once,
    because each of them creates something new, and ``reclaim`` is sent again only after a look at the task.

    Attributes:
        session: carries the requests; its connection is kept alive.
        base_url: scheme, host and port, without a path.
        admin_token: returns the admin's token; it is used only in the Authorization header.
    """

    def __init__(
        self,
        session: requests.Session,
        base_url: str,
        experiment_id: str,
        admin_token: t.Callable[[], str],
        retry_budget: float = RETRY_BUDGET,
        sleep: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.session = session
        self.experiment_id = experiment_id
        self._base_url = base_url.rstrip("/")
        self._admin_token = admin_token
        self._budget = RetryBudget(retry_budget, sleep, clock)

    def state(self) -> str:
        """The experiment's state: ``running`` or ``terminated``."""
        answer = self._ask("read the experiment's state", "GET", "/state")
        return _string(answer.document, "state") or self._raise_unexpected(
            "read the experiment's state", "/state"
        )

    def terminate(self, reason: str, bearer: tuple[str, str]) -> None:
        """End the experiment, as a worker: the admin may not; does nothing if it has ended."""
        self._ask("terminate the experiment", "POST", "/terminate", body={"reason": reason}, bearer=bearer)

    def dispatch_mode(self) -> dict[str, str]:
        """Whether each kind of decision is ``auto`` or ``manual``."""
        found = self._ask("read the dispatch mode", "GET", "/dispatch_mode").document
        return {key: str(mode) for key, mode in found.items()}

    def change_dispatch_mode(self, modes: t.Mapping[str, str], bearer: tuple[str, str]) -> None:
        """Change these modes, as a worker: the admin may not; a repetition changes nothing."""
        action = "change the dispatch mode"
        self._ask(action, "PATCH", "/dispatch_mode", body=dict(modes), bearer=bearer)

    def events(self, cursor: int = 0) -> tuple[list[Document], int]:
        """All events after the first ``cursor`` ones, and the cursor behind the last of them.

        An answer that takes too long is not asked for again, because the server would work on both.
        """
        action = "read the events"
        document = self._ask(
            action, "GET", "/events", query={"cursor": str(cursor)}, timeout=EVENTS_TIMEOUT
        ).document
        events, after = document.get("events"), document.get("cursor")
        if not isinstance(events, list) or not isinstance(after, int):
            self._raise_unexpected(action, "/events")
        return events, after

    def claimed_tasks(self) -> list[ClaimedTask]:
        """The tasks that are claimed and not submitted."""
        action = "list the claimed tasks"
        document = self._ask(action, "GET", "/tasks", query={"state": "claimed"}).document
        return self._rows(action, "/tasks", document, "rows", _claimed)

    def claimed_task(self, task_id: str) -> ClaimedTask | None:
        """The task, or None if it is not claimed, or does not exist."""
        action = f"read the task {task_id}"
        answer = self._ask(action, "GET", _task_path(task_id), expected={404: "not-found"})
        return _claimed(answer.document) if _string(answer.document, "state") == "claimed" else None

    def reclaim(self, task: ClaimedTask, bearer: tuple[str, str]) -> bool:
        """Take the task back from its claimant, as a worker: the admin may not; False if it has moved on.

        Sent only while the claim is the given one: a repeated request would end the claim of the next worker.
        """
        action, path = f"reclaim the task {task.task_id}", f"{_task_path(task.task_id)}/reclaim"
        sent = False
        while self.claimed_task(task.task_id) == task:
            try:
                answer = self._ask(
                    action,
                    "POST",
                    path,
                    body={"cause": "operator"},
                    bearer=bearer,
                    expected={404: "not-found", 409: "illegal-transition"},
                    once=True,
                )
            except LostReplyError as error:
                sent = True
                self.pause(error)
            else:
                return answer.status == http.HTTPStatus.NO_CONTENT
        return sent

    def whoami(self, worker_id: str, token: str) -> Bearer | None:
        """The worker that the token belongs to, or None if the task store refuses the token."""
        action = f"verify the token of {worker_id}"
        answer = self._ask(
            action, "GET", "/whoami", bearer=(worker_id, token), expected={401: "unauthorized"}
        )
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            return None
        found = Bearer(_string(answer.document, "worker_id"), _string(answer.document, "name"))
        return found if found.worker_id else self._raise_unexpected(action, "/whoami")

    def find_workers(self, name: str) -> list[Worker]:
        """The workers with exactly that name, in the order of their ids and so of their registration."""
        action = f"look up the worker {name}"
        document = self._ask(action, "GET", "/workers", query={"name": name}).document
        return sorted(
            self._rows(action, "/workers", document, "workers", _worker), key=lambda row: row.worker_id
        )

    def worker(self, worker_id: str) -> Worker | None:
        """The worker, or None if it is not registered."""
        action, path = f"look up the worker {worker_id}", f"/workers/{worker_id}"
        answer = self._ask(action, "GET", path, expected={404: "not-found"})
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return None
        return _worker(answer.document) or self._raise_unexpected(action, path)

    def register(self, name: str, labels: t.Mapping[str, str]) -> Credential:
        """Mint a worker; sent once.

        Raises:
            LostReplyError: the worker may have been minted nevertheless.
        """
        return self._credential(
            f"mint the worker {name}", "/workers", {"name": name, "labels": dict(labels)}, once=True
        )

    def reissue(self, worker_id: str) -> Credential:
        """A new token for the worker; the old one becomes invalid at once."""
        return self._credential(
            f"reissue the token of {worker_id}", f"/workers/{worker_id}/reissue-credential", None
        )

    def find_groups(self, name: str) -> list[Group]:
        """The groups with exactly that name, in the order of their ids."""
        action = f"look up the group {name}"
        document = self._ask(action, "GET", "/groups", query={"name": name}).document
        return sorted(self._rows(action, "/groups", document, "groups", _group), key=lambda row: row.group_id)

    def create_group(self, name: str) -> Group | None:
        """Create an empty group, or None if the name is reserved and taken; sent once.

        Raises:
            LostReplyError: the group may have been created nevertheless.
        """
        action = f"create the group {name}"
        answer = self._ask(
            action, "POST", "/groups", body={"name": name}, expected={409: "reserved-identifier"}, once=True
        )
        if answer.status == http.HTTPStatus.CONFLICT:
            return None
        return _group(answer.document) or self._raise_unexpected(action, "/groups")

    def add_member(self, group_id: str, member_id: str) -> Group:
        """Add a worker or a group to the group, and return the group; does nothing for a member."""
        action, path = f"add {member_id} to the group {group_id}", f"/groups/{group_id}/members"
        return _group(
            self._ask(action, "POST", path, body={"member_id": member_id}).document
        ) or self._raise_unexpected(action, path)

    def pause(self, failure: TaskStoreError) -> None:
        """Wait a moment before something is retried.

        Raises:
            TaskStoreError: ``failure``, if the retry budget is spent.
        """
        self._budget.pause(failure, self._budget.clock())

    def _credential(self, action: str, path: str, body: Document | None, once: bool = False) -> Credential:
        document = self._ask(action, "POST", path, body=body, once=once).document
        worker, token = _worker(document), _string(document, "registration_token")
        if worker is None or not token:
            self._raise_unexpected(action, path)
        return Credential(worker, token)

    def _rows(
        self, action: str, path: str, document: Document, key: str, parse: t.Callable[[t.Any], t.Any]
    ) -> list[t.Any]:
        rows = document.get(key)
        parsed = [parse(row) for row in rows] if isinstance(rows, list) else [None]
        return self._raise_unexpected(action, path) if None in parsed else parsed

    def _raise_unexpected(self, action: str, path: str) -> t.NoReturn:
        # The answer is not quoted: it may contain a token.
        raise TaskStoreError(
            action,
            self._path(path),
            200,
            "with a document that is not a task store's",
            advice="Check the address.",
        )

    def _path(self, path: str) -> str:
        return f"/v0/experiments/{self.experiment_id}{path}"

    def _ask(
        self,
        action: str,
        method: str,
        path: str,
        *,
        body: Document | None = None,
        query: t.Mapping[str, str] | None = None,
        bearer: tuple[str, str] | None = None,
        expected: t.Mapping[int, str] | None = None,
        once: bool = False,
        timeout: float = READ_TIMEOUT,
    ) -> _Answer:
        """The answer, if it is 200, 204 or one of the ``expected`` statuses with its problem type.

        With a longer ``timeout`` than usual, an answer that does not come in time is not asked for again.

        Raises:
            LostReplyError: the request is sent ``once`` and its outcome is unknown.
            TaskStoreError: any other answer, or none in time.
        """
        principal, secret = bearer or (ADMIN, self._admin_token())
        if not is_token(secret):
            raise TaskStoreError(
                action, self._path(path), 0, f"was not asked: the token of {principal} is not one"
            )
        delay = FIRST_DELAY
        while True:
            since = self._budget.clock()
            answer = self._send(method, path, body, query, principal, secret, timeout)
            if answer.status in (http.HTTPStatus.OK, http.HTTPStatus.NO_CONTENT) or answer.is_one_of(
                expected or {}
            ):
                return answer
            error_type = LostReplyError if once and answer.retryable else TaskStoreError
            advice = _ADVICE if answer.status >= 500 else ""
            failure = error_type(
                action, self._path(path), answer.status, answer.reason, answer.document, advice
            )
            if once or not answer.retryable:
                raise failure
            delay = self._budget.pause(failure, since, delay, answer.retry_after)

    def _send(
        self,
        method: str,
        path: str,
        body: Document | None,
        query: t.Mapping[str, str] | None,
        principal: str,
        secret: str,
        timeout: float,
    ) -> _Answer:
        try:
            reply = self.session.request(
                method,
                self._base_url + self._path(path),
                params=query,
                json=body,
                headers={"X-Eden-Experiment-Id": self.experiment_id, "Accept": "application/json"},
                auth=_Bearer(principal, secret),
                timeout=(CONNECT_TIMEOUT, timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            # Retrying does not help with an untrusted certificate or an invalid URL.
            retryable = not isinstance(error, (requests.exceptions.SSLError, ValueError)) and (
                timeout <= READ_TIMEOUT or not _is_late(error)
            )
            return _Answer(0, f"gave no answer ({_reason(error)})", retryable=retryable)
        status = reply.status_code
        if status == http.HTTPStatus.NO_CONTENT:
            return _Answer(status, _phrase(status))
        if "Content-Length" not in reply.headers and "Transfer-Encoding" not in reply.headers:
            # http.client treats an end within the headers as their end.
            return _Answer(0, "gave an answer that was cut off", retryable=True)
        text = reply.content.decode("utf-8", "replace")
        if status != 200:
            # The server may quote the request.
            text = text.replace(secret, "[token]")
        return _Answer(
            status, _phrase(status), _document(text), is_retryable(status), retry_after(reply.headers)
        )


class _Bearer:
    """Sets the Authorization header of a request; a plain header would be overridden by ``~/.netrc``."""

    def __init__(self, principal: str, secret: str) -> None:
        self._value = f"Bearer {principal}:{secret}"

    def __call__(self, request: t.Any) -> t.Any:
        request.headers["Authorization"] = self._value
        return request


def network_session() -> requests.Session:
    """A session over the network, with the proxies and certificates of the environment."""
    return requests.Session()


def is_token(value: str) -> bool:
    """Whether the string can be a token: printable ASCII without blanks, as an HTTP header carries it."""
    return bool(value) and all("!" <= character <= "~" for character in value)


def _worker(row: t.Any) -> Worker | None:
    worker_id = _string(row, "worker_id")
    if not worker_id:
        return None
    labels = row.get("labels")
    return Worker(
        worker_id,
        _string(row, "name"),
        labels if isinstance(labels, dict) else {},
        _string(row, "registered_at"),
    )


def _group(row: t.Any) -> Group | None:
    group_id, members = _string(row, "group_id"), row.get("members") if isinstance(row, dict) else None
    if not group_id or not isinstance(members, list):
        return None
    return Group(
        group_id, _string(row, "name"), tuple(str(member) for member in members), _string(row, "created_at")
    )


def _claimed(row: t.Any) -> ClaimedTask | None:
    claim = row.get("claim") if isinstance(row, dict) else None
    found = ClaimedTask(
        _string(row, "task_id"),
        _string(row, "kind"),
        _string(claim, "worker_id"),
        _string(claim, "claimed_at"),
        _string(claim, "expires_at"),
    )
    return found if found.task_id and found.kind and found.worker_id and found.claimed_at else None


def _task_path(task_id: str) -> str:
    # A task's id is any string that its creator has chosen.
    return f"/tasks/{quote(task_id, safe='')}"


def _is_late(error: Exception) -> bool:
    """Whether the answer did not come in time: requests has an error of its own only for the headers."""
    return isinstance(error, requests.ReadTimeout) or any(
        isinstance(value, urllib3.exceptions.ReadTimeoutError) for value in error.args
    )


def _string(row: t.Any, key: str) -> str:
    value = row.get(key) if isinstance(row, dict) else None
    return value if isinstance(value, str) else ""


def _document(text: str) -> Document:
    """The JSON object of an answer, or its array as ``rows``; else the detail of a problem, shortened."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    if isinstance(document, list):
        return {"rows": document}
    quoted = " ".join(text.split())
    return {"detail": quoted if len(quoted) <= MAX_QUOTED else quoted[:MAX_QUOTED] + "…"}


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""


def _reason(error: Exception) -> str:
    """The root cause of an exception of requests, which wraps those of urllib3 and of the socket."""
    while True:
        inner = getattr(error, "reason", None)
        if not isinstance(inner, Exception):
            inner = next((value for value in reversed(error.args) if isinstance(value, Exception)), None)
        if inner is None:
            return str(error) or type(error).__name__
        error = inner
