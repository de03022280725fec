# SPDX-License-Identifier: GPL-3.0-or-later
"""Any value comes back from a template as it was."""

from __future__ import annotations

import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.eden.reference.plugins.filter.quote import quote

# What YAML 1.1 takes for something else, and what its parsers refuse, fold or cut.
STRINGS = [
    *(
        "no",
        "On",
        "y",
        "~",
        "null",
        "1e3",
        "0o17",
        "017",
        "0x1f",
        "1_000",
        "12:30",
        "2026-11-28",
        ".inf",
        "=",
    ),
    *(
        "# \U0001f680",
        "\\ud83d\\ude80",
        "\\\\ud83d\\ude80",
        "\ud7ff\ue000",
        "\U0010ffff",
        "\x00",
        "\x7f",
        "\x85",
    ),
    *(
        "\x80\x9f",
        "a\u2028b",
        "a\u2029b",
        "\ufeffa",
        "\ufffe",
        "a\r\nb",
        " a \t",
        "a: b # c",
        "- a",
        "{{ a }}",
    ),
    *("", "'", '"', "\\", "%", "x" * 100_000, "a\n" * 3000),
]
text = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(STRINGS)
values: st.SearchStrategy[t.Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | text,
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(text.filter(lambda key: len(key) < 50), part, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("loader", [yaml.CSafeLoader, yaml.SafeLoader])
@pytest.mark.parametrize("value", STRINGS, ids=range(len(STRINGS)))
def test_a_string_comes_back(value: str, loader: type) -> None:
    assert yaml.load(f"a:\n  b: {quote(value)}\n", Loader=loader) == {"a": {"b": value}}


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(values)
def test_a_value_comes_back(value: t.Any) -> None:
    assert yaml.load(f"- {quote(value)}", Loader=yaml.CSafeLoader) == [value]
