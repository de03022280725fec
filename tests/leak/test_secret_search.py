# SPDX-License-Identifier: GPL-3.0-or-later
"""The search finds what is planted, in every encoding and at every place, and nothing else."""

from __future__ import annotations

import base64
import json
import re
import secrets
import textwrap
import typing as t
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from secret_search import SHORTEST, Hit, SecretSearch, base64_core, encodings

TOKEN = "c0ffee" + secrets.token_hex(29)
AWKWARD = 'pä "ss\\<w>&/ord+100%?=' + secrets.token_urlsafe(12)

PLANTED: dict[str, t.Callable[[str], str]] = {
    "in the open": lambda value: f"password={value}",
    "at the end of a line": lambda value: f"one\n{value}\ntwo",
    "in base64": lambda value: base64.b64encode(value.encode()).decode(),
    "in base64 behind one byte": lambda value: base64.b64encode(b"x" + value.encode() + b"y").decode(),
    "in base64 behind two bytes": lambda value: base64.b64encode(b"ab" + value.encode() + b"cd").decode(),
    "in base64 behind a user's name": lambda value: base64.b64encode(f"eden:{value}".encode()).decode(),
    "in base64 that is broken into lines": lambda value: base64.encodebytes(
        b"*" * 70 + value.encode()
    ).decode(),
    "in URL-safe base64": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "in a URL": lambda value: f"postgresql://eden:{quote(value, safe='')}@postgres/eden",
    "in a URL, with slashes": lambda value: f"/v1/{quote(value)}?x",
    "in a URL of lower-case percents": lambda value: re.sub(
        "%..", lambda found: found[0].lower(), quote(value, safe="")
    ),
    "in JSON": lambda value: json.dumps({"token": value}),
    "in JSON of UTF-8": lambda value: json.dumps([value], ensure_ascii=False),
    "in JSON of Go": lambda value: (
        json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    ),
    "in hex": lambda value: value.encode().hex(),
    "in upper-case hex": lambda value: value.encode().hex().upper(),
    "folded over lines": lambda value: textwrap.fill(value, 9, break_on_hyphens=False),
}


@pytest.mark.parametrize("value", [TOKEN, AWKWARD], ids=["token", "awkward"])
@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_finds_what_is_planted(plant: t.Callable[[str], str], value: str) -> None:
    search = SecretSearch(
        {"the secret": value.replace(" ", "") if plant is PLANTED["folded over lines"] else value}
    )
    (hit,) = search.find("a log", f"some text {plant(value)} more text")
    assert (hit.secret, hit.place) == ("the secret", "a log")


def test_finds_it_in_bytes_that_are_no_text() -> None:
    assert SecretSearch({"it": TOKEN}).find("a file", b"\xff\x00" + TOKEN.encode() + b"\xfe")


def test_finds_it_in_text_that_came_from_such_bytes() -> None:
    text = (b"\xff" + TOKEN.encode()).decode("utf-8", "surrogateescape")
    assert SecretSearch({"it": TOKEN}).find("a file", text)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "nothing to see",
        TOKEN[:-1],
        TOKEN[1:],
        TOKEN[::-1],
        base64.b64encode(TOKEN[:-4].encode()).decode(),
    ],
    ids=["empty", "other", "cut at its end", "cut at its start", "backwards", "cut, in base64"],
)
def test_finds_nothing_else(content: str) -> None:
    assert SecretSearch({"it": TOKEN}).find("a log", content) == []


def test_names_each_secret_and_place_once() -> None:
    other = secrets.token_hex(32)
    search = SecretSearch({"one": TOKEN, "two": other, "three": secrets.token_hex(32)})
    hits = search.find_in({"here": TOKEN + TOKEN, "there": TOKEN + other.encode().hex(), "nowhere": "-"})
    assert hits == [Hit("one", "plain", "here"), Hit("one", "plain", "there"), Hit("two", "hex", "there")]
    assert str(hits[2]) == "two is in there (hex)"


def test_a_hit_does_not_show_the_secret() -> None:
    (hit,) = SecretSearch({"it": TOKEN}).find("a log", TOKEN)
    assert TOKEN not in repr(hit) + str(hit)


def test_refuses_a_secret_that_is_found_everywhere() -> None:
    with pytest.raises(ValueError, match=r"too short to be searched for: pin$"):
        SecretSearch({"pin": "1" * (SHORTEST - 1), "it": TOKEN})


def test_encodings_differ() -> None:
    forms = list(encodings(AWKWARD).values())
    assert len(set(forms)) == len(forms)


@given(
    before=st.binary(max_size=7), raw=st.binary(min_size=SHORTEST, max_size=40), after=st.binary(max_size=7)
)
def test_base64_shows_the_core_whatever_is_around(before: bytes, raw: bytes, after: bytes) -> None:
    assert base64_core(raw, len(before) % 3) in base64.b64encode(before + raw + after)
