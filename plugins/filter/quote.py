# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes values into YAML so that they are read as they are."""

from __future__ import annotations

import re
import typing as t

from ansible.plugins.filter.core import to_json

DOCUMENTATION = r"""
name: quote
short_description: Write a value into YAML
description:
  - Writes a value on one line, strings in double quotes, so that every YAML parser reads exactly that value.
  - Unlike with P(ansible.builtin.to_json#filter), this holds for all characters.
    YAML parsers refuse the surrogate pairs of JSON and some control characters that JSON leaves as they are.
author: EDEN reference deployment contributors (@ealt)
options:
  _input:
    description: A string, number, boolean, list or mapping.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Show a line of a manifest
  ansible.builtin.debug:
    msg: "team: {{ team | eden.reference.quote }}"
  vars:
    team: "no \U0001F680"
"""

RETURN = r"""
_value:
  description: The value in YAML, in ASCII.
  type: str
  sample: '"no \U0001F680"'
"""

# A surrogate pair, or another escape, which must not be taken for a part of one.
ESCAPE = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\.")


def quote(value: t.Any) -> str:
    """The value in YAML."""
    return ESCAPE.sub(_escaped, to_json(value)).replace("\x7f", r"\u007f")


def _escaped(match: re.Match[str]) -> str:
    high, low = match.groups()
    if not high:
        return match[0]
    code = 0x10000 + (int(high, 16) - 0xD800) * 0x400 + int(low, 16) - 0xDC00
    return rf"\U{code:08X}"


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"quote": quote}
