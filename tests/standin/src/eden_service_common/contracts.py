# SPDX-License-Identifier: GPL-3.0-or-later
"""The grammars of EDEN's data model, and the ids and times that are minted from them."""

from __future__ import annotations

import secrets
import time
import unicodedata
from datetime import UTC, datetime

from .shapes import string

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_ULID = "[0-9a-hjkmnp-tv-z]{26}"
WORKER_ID = f"wkr_{_ULID}"
SHA = "[0-9a-f]{40}([0-9a-f]{24})?"

_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Cn", "Co"})

commit_sha = string(SHA)
date_time = string(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
member_id = string(f"(wkr|grp)_{_ULID}")


def mint(prefix: str) -> str:
    """A new opaque id: `prefix`, `_`, 48 bits of milliseconds and 80 random bits in Crockford base32."""
    value = ((int(time.time() * 1000) & ((1 << 48) - 1)) << 80) | secrets.randbits(80)
    return f"{prefix}_" + "".join(_ALPHABET[(value >> shift) & 31] for shift in range(125, -1, -5))


def now() -> str:
    """The time in UTC with milliseconds and a trailing `Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


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
