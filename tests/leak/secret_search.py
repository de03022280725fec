# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds secrets in bytes, in the open and in the encodings that secrets get into by accident."""

from __future__ import annotations

import base64
import json
import typing as t
from dataclasses import dataclass
from urllib.parse import quote

# Shorter values are found everywhere.
SHORTEST = 12
WHITE_SPACE = b" \t\r\n"


@dataclass(frozen=True)
class Hit:
    """A secret that was found: its label, how it was encoded, and where; never the secret itself."""

    secret: str
    encoding: str
    place: str

    def __str__(self) -> str:
        return f"{self.secret} is in {self.place} ({self.encoding})"


class SecretSearch:
    """Looks for the values of ``secrets``, a mapping from a label that may be shown to the value.

    Raises:
        ValueError: a value has fewer than SHORTEST characters.
    """

    def __init__(self, secrets: t.Mapping[str, str]) -> None:
        short = sorted(label for label, value in secrets.items() if len(value) < SHORTEST)
        if short:
            raise ValueError(f"too short to be searched for: {', '.join(short)}")
        self.labels = frozenset(secrets)
        self._needles = {label: encodings(value) for label, value in secrets.items()}

    def find(self, place: str, content: bytes | str) -> list[Hit]:
        """The secrets that the content holds, each once, at any line break within them."""
        raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        joined = _joined(raw)
        hits = []
        for label, needles in self._needles.items():
            for encoding, needle in needles.items():
                if needle in raw or _joined(needle) in joined:
                    hits.append(Hit(label, encoding, place))
                    break
        return hits

    def find_in(self, contents: t.Mapping[str, bytes | str]) -> list[Hit]:
        """The secrets in each of the contents, which are named by their places."""
        return [hit for place, content in contents.items() for hit in self.find(place, content)]


def encodings(value: str) -> dict[str, bytes]:
    """The value as bytes under the name of each encoding; a form that equals an earlier one is left out."""
    raw = value.encode()
    quoted = json.dumps(value)[1:-1]
    forms: dict[str, bytes] = {
        "plain": raw,
        "JSON": quoted.encode(),
        "JSON of UTF-8": json.dumps(value, ensure_ascii=False)[1:-1].encode(),
        # Go's encoder, and so the Kubernetes API, escapes what HTML would read.
        "JSON of Go": "".join(f"\\u{ord(c):04x}" if c in "<>&" else c for c in quoted).encode(),
        "URL": quote(value, safe="").encode(),
        "URL, path": quote(value).encode(),
        "URL, lower case": _lower_percent(quote(value, safe="")).encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
    }
    for offset in range(3):
        forms[f"base64 at offset {offset}"] = base64_core(raw, offset)
        forms[f"URL-safe base64 at offset {offset}"] = base64_core(raw, offset, b"-_")
    kept: dict[str, bytes] = {}
    for name, form in forms.items():
        if form not in kept.values():
            kept[name] = form
    return kept


def base64_core(raw: bytes, offset: int, altchars: bytes | None = None) -> bytes:
    """The characters that any base64 text shows which contains ``raw`` at a position of that remainder by 3.

    Those at its ends that also carry bits of the neighbours are cut off.
    """
    text = base64.b64encode(b"\0" * offset + raw, altchars)
    first = -(-offset * 8 // 6)
    return text[first : (offset + len(raw)) * 8 // 6]


def _joined(raw: bytes) -> bytes:
    return raw.translate(None, WHITE_SPACE)


def _lower_percent(text: str) -> str:
    head, *rest = text.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])
