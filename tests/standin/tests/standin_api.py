# SPDX-License-Identifier: GPL-3.0-or-later
"""A plain HTTP client for tests: it sends what it is told and judges nothing."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from email.message import Message
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of a response."""

    status: int
    headers: Message
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def problem(self) -> str | None:
        """The type of a problem+json body without its `eden://error/`, None for any other body."""
        if self.headers.get_content_type() != "application/problem+json":
            return None
        return str(self.json["type"]).removeprefix("eden://").removeprefix("error/")


@dataclass(frozen=True)
class Api:
    """The routes of one experiment on one server, as one caller (`<principal>:<secret>` or None)."""

    host: str
    port: int
    experiment_id: str
    bearer: str | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def as_caller(self, bearer: str | None) -> Api:
        return Api(self.host, self.port, self.experiment_id, bearer)

    def send(
        self, method: str, target: str, *, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        """Exactly this request."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, target, body=content, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def call(
        self, method: str, path: str, body: Any = None, *, root: str = "/v0", **headers: str | None
    ) -> Answer:
        """A request to a route of the experiment; `headers` (with _ for -) replace, None drops one."""
        sent: dict[str, str | None] = {"X-Eden-Experiment-Id": self.experiment_id}
        if self.bearer is not None:
            sent["Authorization"] = f"Bearer {self.bearer}"
        content = None
        if body is not None:
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in sent.items() if value is not None}
        return self.send(
            method, f"{root}/experiments/{self.experiment_id}{path}", headers=kept, content=content
        )

    def ok(self, method: str, path: str, body: Any = None, *, root: str = "/v0") -> Any:
        """The JSON of a successful answer, None when it has no body."""
        answer = self.call(method, path, body, root=root)
        assert answer.status < 300, f"{method} {path} -> {answer.status} {answer.content!r}"
        return answer.json if answer.content else None

    def events(self) -> list[dict[str, Any]]:
        return list(self.ok("GET", "/events")["events"])
