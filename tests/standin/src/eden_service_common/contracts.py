# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammars and document shapes of EDEN's data model, and the ids and times that are minted from them."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from datetime import UTC, datetime
from typing import Any

from .shapes import Check, Invalid, array, by_kind, map_of, mapping, number, one_of, record, string

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ULID = "[0-9a-hjkmnp-tv-z]{26}"
WORKER_ID = f"wkr_{_ULID}"
SHA = "[0-9a-f]{40}([0-9a-f]{24})?"

commit_sha = string(SHA)
experiment_id = string(f"exp_{_ULID}")
worker_id = string(WORKER_ID)
group_id = string(f"grp_{_ULID}")
actor_id = string(f"admin|{WORKER_ID}")
member_id = string(f"(wkr|grp)_{_ULID}")
identifier = string(minimum=1)

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Cn", "Co"})


def mint(prefix: str) -> str:
    """A new opaque id: `prefix`, `_`, 48 bits of milliseconds and 80 random bits in Crockford base32."""
    value = ((int(time.time() * 1000) & ((1 << 48) - 1)) << 80) | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def now() -> str:
    """The time in UTC with milliseconds and a trailing `Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def timestamp(value: Any, where: str) -> None:
    """A UTC time with a trailing `Z` that exists in the calendar."""
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        raise Invalid(f"{where}: must be a UTC time such as 2026-01-01T00:00:00Z")
    try:
        datetime.fromisoformat(value)
    except ValueError as error:
        raise Invalid(f"{where}: {value!r} is no real time: {error}") from error


def uri(value: Any, where: str) -> None:
    """A URI with a scheme (RFC 3986)."""
    if not isinstance(value, str) or _URI.fullmatch(value) is None:
        raise Invalid(f"{where}: must be a URI with a scheme")


def display_name_fault(value: str) -> str | None:
    """Why `value` is no display name, or None."""
    if unicodedata.normalize("NFC", value) != value:
        return "it is not NFC-normalized"
    if not 1 <= len(value) <= 128:
        return "it does not have 1 to 128 code points"
    if value != value.strip():
        return "it begins or ends with white space"
    if any(unicodedata.category(character) in _FORBIDDEN_CATEGORIES for character in value):
        return "it has control, surrogate, unassigned or private-use code points"
    return None


def display_name(value: Any, where: str) -> None:
    """A display name."""
    if not isinstance(value, str):
        raise Invalid(f"{where}: must be a string")
    fault = display_name_fault(value)
    if fault is not None:
        raise Invalid(f"{where}: {fault}")


_CLAIM_STATES = ("claimed", "submitted")
_claim = record({"worker_id": worker_id, "claimed_at": timestamp})


def _task(payload: Check) -> Check:
    fields = record(
        {
            "task_id": identifier,
            "state": one_of("pending", "claimed", "submitted", "completed", "failed"),
            "payload": payload,
            "created_at": timestamp,
            "updated_at": timestamp,
        },
        {"created_by": actor_id, "submitted_by": worker_id, "claim": _claim},
    )

    def check(value: Any, where: str) -> None:
        fields(value, where)
        if (value["state"] in _CLAIM_STATES) != ("claim" in value):
            rule = "required" if value["state"] in _CLAIM_STATES else "forbidden"
            raise Invalid(f"{where}.claim: {rule} when state is {value['state']!r}")

    return check


TASK_KINDS = ("ideation", "execution", "evaluation")
task = by_kind(
    {
        "ideation": _task(record({"experiment_id": experiment_id})),
        "execution": _task(record({"idea_id": identifier})),
        "evaluation": _task(record({"variant_id": identifier})),
    }
)

idea = record(
    {
        "idea_id": identifier,
        "experiment_id": experiment_id,
        "slug": string("[a-z0-9][a-z0-9-]*"),
        "priority": number,
        "parent_commits": array(commit_sha, minimum=1),
        "artifacts_uri": uri,
        "state": one_of("drafting", "ready", "dispatched", "completed"),
        "created_at": timestamp,
    },
    {"created_by": worker_id},
)

_variant_fields = record(
    {
        "variant_id": identifier,
        "experiment_id": experiment_id,
        "status": one_of("starting", "success", "error", "evaluation_error"),
        "parent_commits": array(commit_sha, minimum=1),
        "started_at": timestamp,
    },
    {
        "kind": one_of("baseline"),
        "idea_id": identifier,
        "branch": string("work/.+"),
        "commit_sha": commit_sha,
        "variant_commit_sha": commit_sha,
        "artifacts_uri": uri,
        "executor_artifacts_uri": uri,
        "description": string(),
        "evaluation": mapping,
        "completed_at": timestamp,
        "executed_by": worker_id,
        "evaluated_by": worker_id,
    },
)


def variant(value: Any, where: str) -> None:
    """A variant; only a baseline has no idea."""
    _variant_fields(value, where)
    if value.get("kind") != "baseline" and "idea_id" not in value:
        raise Invalid(f"{where}.idea_id: required unless kind is 'baseline'")


worker = record(
    {"worker_id": worker_id, "experiment_id": experiment_id, "registered_at": timestamp},
    {"name": display_name, "registered_by": actor_id, "labels": map_of(string())},
)

group = record(
    {
        "group_id": group_id,
        "experiment_id": experiment_id,
        "members": array(member_id),
        "created_at": timestamp,
    },
    {"name": display_name, "created_by": actor_id},
)

experiment = record(
    {"experiment_id": experiment_id, "state": one_of("running", "terminated"), "created_at": timestamp},
    {"base_commit_sha": commit_sha},
)

event = record(
    {
        "event_id": identifier,
        "type": string(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+"),
        "occurred_at": timestamp,
        "experiment_id": experiment_id,
        "data": mapping,
    }
)
