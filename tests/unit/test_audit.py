# SPDX-License-Identifier: GPL-3.0-or-later
"""The count of writes from the audit log, on which the tests on a cluster rely, can fail where it must."""

from __future__ import annotations

import json
import typing as t
from types import SimpleNamespace

import audit
import pytest

PATH = "/api/v1/namespaces/a/configmaps/b"


def line(user: str, verb: str, uri: str = PATH, stage: str = "ResponseComplete", **target: str) -> bytes:
    """A line of the audit log."""
    event = {"stage": stage, "user": {"username": user}, "verb": verb, "requestURI": uri, "objectRef": target}
    return json.dumps({**event, "responseStatus": {"code": 200}}).encode()


def mark(user: str, name: str) -> bytes:
    return line(user, "get", f"/api/v1/namespaces/{name}", resource="namespaces")


@pytest.mark.parametrize(
    ("event", "writes"),
    [
        (line("u", "create", resource="secrets"), True),
        (line("u", "patch", f"{PATH}?force=true", resource="configmaps"), True),
        (line("u", "deletecollection", resource="jobs"), True),
        (line("u", "patch", f"{PATH}?dryRun=All", resource="configmaps"), False),
        (line("u", "get", resource="secrets"), False),
        (line("u", "watch", resource="pods"), False),
        (line("u", "create", resource="selfsubjectaccessreviews", apiGroup="authorization.k8s.io"), False),
        (line("u", "create", resource="pods", subresource="portforward"), False),
        (line("u", "create", resource="pods", subresource="eviction"), True),
    ],
)
def test_what_counts_as_a_write(event: bytes, writes: bool) -> None:
    request = audit.Request.parse(event)
    assert request is not None
    assert request.writes is writes


def test_a_request_that_is_not_answered_is_none() -> None:
    assert audit.Request.parse(line("u", "create", stage="RequestReceived")) is None


LOG = [
    line("me", "create"),
    mark("me", "first"),
    line("me", "patch"),
    line("other", "create"),
    line("me", "get"),
    mark("me", "last"),
    line("me", "delete"),
]


def window(log: list[bytes]) -> audit.Window:
    """What is between the marks of a log."""
    testbed: t.Any = SimpleNamespace(audit_log=lambda: iter(log))
    return audit.between(testbed, "first", "last")


def test_a_window_holds_the_requests_of_its_user_between_its_marks() -> None:
    found = window(LOG)
    assert [request.verb for request in found.requests] == ["patch", "get"]
    assert len(found.writes) == 1


@pytest.mark.parametrize("lost", [1, 5])
def test_a_mark_that_is_lost_is_no_empty_window(lost: int) -> None:
    with pytest.raises(AssertionError, match="has no mark"):
        window([*LOG[:lost], *LOG[lost + 1 :]])
