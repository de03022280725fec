# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the wire protocol, as problem+json (RFC 7807)."""

from __future__ import annotations

from eden_service_common.httpd import Response, json_response

_ERROR = "eden://error/"
_REFERENCE_ERROR = "eden://reference-error/"
_PROBLEMS: dict[str, tuple[int, str]] = {
    "bad-request": (400, "Bad Request"),
    "experiment-id-mismatch": (400, "Experiment ID Mismatch"),
    "unauthorized": (401, "Unauthorized"),
    "forbidden": (403, "Forbidden"),
    "worker-not-registered": (403, "Worker Not Registered"),
    "wrong-claimant": (403, "Wrong Claimant"),
    "not-found": (404, "Not Found"),
    "already-exists": (409, "Already Exists"),
    "illegal-transition": (409, "Illegal Transition"),
    "not-claimed": (409, "Not Claimed"),
    "conflicting-resubmission": (409, "Conflicting Resubmission"),
    "invalid-precondition": (409, "Invalid Precondition"),
    "no-op-variant": (409, "No-Op Variant"),
    "reserved-identifier": (409, "Reserved Identifier"),
    "cycle-detected": (409, "Cycle Detected"),
    "invalid-name": (422, "Invalid Name"),
}
_REFERENCE_PROBLEMS: dict[str, tuple[int, str]] = {
    "invalid-path": (400, "Invalid Path"),
    "artifact-too-large": (413, "Artifact Too Large"),
    "artifact-serving-disabled": (503, "Artifact Serving Disabled"),
}


class Problem(Exception):
    """A refusal; `name` is the last part of its type, the text is its detail."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name

    def response(self, instance: str) -> Response:
        """The answer to the request whose URL is `instance`."""
        root = _REFERENCE_ERROR if self.name in _REFERENCE_PROBLEMS else _ERROR
        status, title = (_PROBLEMS | _REFERENCE_PROBLEMS)[self.name]
        body = {
            "type": root + self.name,
            "title": title,
            "status": status,
            "detail": str(self),
            "instance": instance,
        }
        return json_response(body, status, "application/problem+json")
