# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server was asked for by one user, from its audit log."""

from __future__ import annotations

import json
import typing as t
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from testbed import Testbed

WRITING_VERBS = frozenset({"create", "update", "patch", "delete", "deletecollection"})
# Questions that have the form of a write.
REVIEW_GROUPS = frozenset({"authentication.k8s.io", "authorization.k8s.io"})
FORWARD = ("pods", "portforward")


@dataclass(frozen=True)
class Request:
    """One answered request."""

    user: str
    verb: str
    uri: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    status: int = 0

    @classmethod
    def parse(cls, line: bytes) -> Request | None:
        """The request of a line of the audit log, or None if the line is not about its end."""
        event = json.loads(line)
        if event.get("stage") != "ResponseComplete":
            return None
        target = event.get("objectRef") or {}
        return cls(
            event["user"]["username"],
            event["verb"],
            event["requestURI"],
            target.get("apiGroup", ""),
            target.get("resource", ""),
            target.get("subresource", ""),
            (event.get("responseStatus") or {}).get("code", 0),
        )

    @property
    def writes(self) -> bool:
        """Whether it changes anything: no review, no port-forward, no dry run."""
        return (
            self.verb in WRITING_VERBS
            and self.group not in REVIEW_GROUPS
            and (self.resource, self.subresource) != FORWARD
            and "dryRun" not in parse_qs(urlsplit(self.uri).query)
        )

    def marks(self, name: str) -> bool:
        """Whether it is the mark of that name."""
        return self.resource == "namespaces" and urlsplit(self.uri).path.endswith(f"/{name}")

    def __str__(self) -> str:
        return f"{self.verb} {self.uri} → {self.status}"


@dataclass
class Window:
    """The requests between two marks by the user who set the marks."""

    requests: list[Request] = field(default_factory=list)

    @property
    def writes(self) -> list[str]:
        """The requests that change something."""
        return [str(request) for request in self.requests if request.writes]


def mark(testbed: Testbed, name: str) -> None:
    """Leave a request in the audit log that ``between`` finds: a read of something that does not exist."""
    testbed.kubectl("get", "namespace", name, "--ignore-not-found")


def between(testbed: Testbed, first: str, last: str) -> Window:
    """The requests between two marks.

    Raises:
        AssertionError: a mark is not in the log.
    """
    requests: list[Request] | None = None
    # The first mark tells who the user is.
    wanted = first
    for line in testbed.audit_log():
        # Most lines are the controllers'.
        if wanted.encode() not in line:
            continue
        request = Request.parse(line)
        if request is None:
            continue
        if requests is None and request.marks(first):
            requests, wanted = [], request.user
        elif requests is not None and request.marks(last):
            return Window(requests)
        elif requests is not None and request.user == wanted:
            requests.append(request)
    raise AssertionError(f"the audit log has no mark {first if requests is None else last}")


@contextmanager
def watched(testbed: Testbed) -> t.Iterator[Window]:
    """A window that is filled, at its end, with the requests that were answered within it."""
    marks = [f"mark-{uuid.uuid4()}" for _turn in range(2)]
    window = Window()
    mark(testbed, marks[0])
    yield window
    mark(testbed, marks[1])
    window.requests = between(testbed, *marks).requests
