# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter quote: YAML reads back what was written."""

from __future__ import annotations

import typing as t

import pytest
import yaml

from ansible_collections.eden.reference.plugins.filter.quote import quote

VALUES: list[t.Any] = [
    *("no", "on", "null", "~", "1e3", "0x10", "0o17", "017", "1_000", "2026-11-28", "12:30:45", "=", "<<", ""),
    *("- a", "a: b", "a # b", "{{ a }}", "'", '"', "\\", "\\ud83d", " a ", "a\nb\r\n\tc", "x" * 5000),
    "🚀\U0010ffff NEL \x85 LS \u2028 PS \u2029 NBSP \xa0 BOM \ufeff DEL \x7f C1 \x9f \x00 \x1b",
    {"no": {"1": ["on", 1, 1.5, True, None]}, "🚀": []},
]


@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
@pytest.mark.parametrize("value", VALUES)
def test_yaml_reads_back_what_was_written(value: t.Any, loader: t.Any) -> None:
    written = quote(value)
    assert written.isascii()
    assert "\n" not in written
    assert yaml.load(f"- a: {written}\n  b: [{written}]", loader) == [{"a": value, "b": [value]}]
