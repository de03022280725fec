# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes values as YAML that is read back unchanged."""

from __future__ import annotations

import typing as t

from ansible.plugins.filter.core import to_json

from ansible_collections.eden.reference.plugins.module_utils._yaml import yaml_of_json

DOCUMENTATION = r"""
name: quote
short_description: Write a value as YAML
description:
  - Writes a value on one line, strings in double quotes, so that every YAML parser reads exactly that value.
  - Unlike P(ansible.builtin.to_json#filter), this works for all characters.
    YAML parsers refuse JSON's surrogate pairs, and some control characters that JSON does not escape.
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


def quote(value: t.Any) -> str:
    """The value in YAML."""
    return yaml_of_json(to_json(value))


class FilterModule:
    """The filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"quote": quote}
