# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the wire protocol, as problem+json (RFC 7807)."""

from __future__ import annotations

from eden_service_common.httpd import Response, json_response

_ERROR = "eden://error/"
_REFERENCE_ERROR = "eden://reference-error/"
_PROBLEMS: dict[str, tuple[str, int, str]] = {
    "bad-request": (_ERROR, 400, "Bad Request"),
    "experiment-id-mismatch": (_ERROR, 400, "Experiment ID Mismatch"),
    "unauthorized": (_ERROR, 401, "Unauthorized"),
    "forbidden": (_ERROR, 403, "Forbidden"),
    "worker-not-registered": (_ERROR, 403, "Worker Not Registered"),
    "worker-not-eligible": (_ERROR, 403, "Worker Not Eligible"),
    "wrong-claimant": (_ERROR, 403, "Wrong Claimant"),
    "not-found": (_ERROR, 404, "Not Found"),
    "already-exists": (_ERROR, 409, "Already Exists"),
    "illegal-transition": (_ERROR, 409, "Illegal Transition"),
    "not-claimed": (_ERROR, 409, "Not Claimed"),
    "conflicting-resubmission": (_ERROR, 409, "Conflicting Resubmission"),
    "invalid-precondition": (_ERROR, 409, "Invalid Precondition"),
    "no-op-variant": (_ERROR, 409, "No-Op Variant"),
    "reserved-identifier": (_ERROR, 409, "Reserved Identifier"),
    "cycle-detected": (_ERROR, 409, "Cycle Detected"),
    "payload-too-large": (_ERROR, 413, "Payload Too Large"),
    "invalid-name": (_ERROR, 422, "Invalid Name"),
    "invalid-path": (_REFERENCE_ERROR, 400, "Invalid Path"),
    "artifact-too-large": (_REFERENCE_ERROR, 413, "Artifact Too Large"),
    "artifact-serving-disabled": (_REFERENCE_ERROR, 503, "Artifact Serving Disabled"),
}


class Problem(Exception):
    """A refusal; `name` is the last part of its type, the text is its detail."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name

    def response(self, instance: str) -> Response:
        """The answer to the request whose URL is `instance`."""
        prefix, status, title = _PROBLEMS[self.name]
        body = {
            "type": prefix + self.name,
            "title": title,
            "status": status,
            "detail": str(self),
            "instance": instance,
        }
        return json_response(body, status, "application/problem+json")
