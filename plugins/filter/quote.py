# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter eden.reference.quote."""

from __future__ import annotations

import json
import re
import typing as t

DOCUMENTATION = r"""
name: quote
short_description: A value in YAML on one line, safe from YAML's own ideas
description:
  - Writes any value as JSON in ASCII that YAML reads back as it is. Strings are quoted, so that none is taken
    for a boolean, a number or a date.
  - Characters beyond the Basic Multilingual Plane are escaped as YAML does it, since its readers refuse the
    surrogate pairs of P(ansible.builtin.to_json#filter).
author: EDEN reference deployment contributors (@ealt)
options:
  _input:
    description: The value.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: Write a string into YAML
  ansible.builtin.debug:
    msg: "name: {{ 'no' | eden.reference.quote }}"
"""

RETURN = r"""
_value:
  description: The value in YAML.
  type: str
  sample: '"no"'
"""


def quote(value: t.Any) -> str:
    """The value as YAML on one line, in ASCII."""
    written = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[^\x20-\x7e]", lambda found: f"\\U{ord(found[0]):08X}", written)


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The names that templates use."""
        return {"quote": quote}
