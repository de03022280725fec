# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The objects that rendered templates define."""

from __future__ import annotations

import typing as t

from ansible.module_utils.common.yaml import yaml_load_all

DOCUMENTATION = r"""
name: definitions
short_description: Objects that rendered templates define
description:
  - Reads each text as YAML documents and returns those that are mappings, in their order.
  - A template that renders to nothing, or to nothing but a comment, defines no object.
author: EDEN reference deployment contributors (@ealt)
options:
  _input:
    description: Texts of YAML.
    type: list
    elements: str
    required: true
requirements:
  - PyYAML
"""

EXAMPLES = r"""
- name: Apply the object of a template
  eden.reference.apply:
    namespace: eden
    definitions: "{{ query('ansible.builtin.template', 'service.yaml.j2') | eden.reference.definitions }}"
"""

RETURN = r"""
_value:
  description: The objects.
  type: list
  elements: dict
  sample:
    - apiVersion: v1
      kind: ConfigMap
      metadata:
        name: eden-seed
"""


def definitions(texts: t.Iterable[str]) -> list[dict[str, t.Any]]:
    """The mappings among the documents of the texts."""
    return [
        document
        for text in texts
        # Without the tags that ansible hangs on texts.
        for document in yaml_load_all(str(text))
        if isinstance(document, dict)
    ]


class FilterModule:
    """The collection's filters."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        """The names that templates use."""
        return {"definitions": definitions}
