# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The grammars of EDEN's ids and names, and a generator of experiment ids.

Every pattern matches a whole value: unlike ``$``, its end does not accept a line break.
This module is private to the collection.
"""

from __future__ import annotations

import re
import secrets
import time
import typing as t
import unicodedata

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SUFFIX = "[0-9a-hjkmnp-tv-z]{26}"

EXPERIMENT_ID = re.compile(rf"^exp_{_SUFFIX}\Z")
WORKER_ID = re.compile(rf"^wkr_{_SUFFIX}\Z")
COMMIT_SHA = re.compile(r"^[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")

EXAMPLE_EXPERIMENT_ID = "exp_01jabcdefghjkmnpqrstvwxyz0"
RESERVED_WORKER_NAMES = frozenset({"admin", "system", "internal"})
MAX_NAME = 128
_REFUSED_CATEGORIES = {
    "Cc": "a control character",
    "Cs": "half of a surrogate pair",
    "Cn": "an unassigned code point",
    "Co": "a private-use code point",
}


def display_name_problem(name: str) -> str:
    """Why the task store would refuse a display name, or an empty string if it accepts the name."""
    if not 1 <= len(name) <= MAX_NAME:
        return f"it has {len(name)} characters instead of 1 to {MAX_NAME}"
    if name != name.strip():
        return "it begins or ends with whitespace"
    if unicodedata.normalize("NFC", name) != name:
        return "it is not in Unicode's normal form C"
    for character in name:
        problem = _REFUSED_CATEGORIES.get(unicodedata.category(character))
        if problem:
            return f"it contains {problem} (U+{ord(character):04X})"
    return ""


def mint_experiment_id(
    clock: t.Callable[[], float] = time.time, random: t.Callable[[int], int] = secrets.randbits
) -> str:
    """A new experiment id: ``exp_`` and a ULID in lower-case Crockford base32.

    Args:
        clock: seconds since 1970.
        random: returns that many random bits.
    """
    value = (int(clock() * 1000) & ((1 << 48) - 1)) << 80 | random(80)
    return "exp_" + "".join(ALPHABET[value >> shift & 0x1F] for shift in range(125, -1, -5))


__all__ = [
    "COMMIT_SHA",
    "EXAMPLE_EXPERIMENT_ID",
    "EXPERIMENT_ID",
    "RESERVED_WORKER_NAMES",
    "WORKER_ID",
    "display_name_problem",
    "mint_experiment_id",
]
