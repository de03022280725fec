# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The values of Secrets as strings.

This module is private to the collection.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object


def decoded(secret: Object | None) -> dict[str, str]:
    """The values by key; bytes that are not UTF-8 become U+FFFD."""
    data = (secret or {}).get("data") or {}
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}


def encoded(values: t.Mapping[str, str]) -> dict[str, str]:
    """The values as `data` of a Secret."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def keyed_digest(key: str, values: t.Mapping[str, str]) -> str:
    """Hex HMAC-SHA-256 of the values, from which they cannot be guessed without the key."""
    return hmac.new(
        key.encode(), json.dumps(dict(values), sort_keys=True).encode(), hashlib.sha256
    ).hexdigest()
