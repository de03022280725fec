# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files of a directory, packed for ConfigMaps."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: packed
short_description: Pack a directory for ConfigMaps
description:
  - The compressed tar of a directory on the controller, in parts that fit into a ConfigMap each.
  - The same files give the same tar on every machine. C(.git) and C(__pycache__) are left out.
options:
  _terms:
    description: The directory.
    type: list
    elements: path
    required: true
  checksum:
    description:
      - The SHA-256 of the tar that is expected.
      - Fails if the files have another, because they were changed while Ansible ran.
    type: str
    required: true
author:
  - EDEN reference deployment contributors (@ealt)
"""

EXAMPLES = r"""
- name: Show how many ConfigMaps the files of the experiment take
  ansible.builtin.debug:
    msg: "{{ query('eden.reference.packed', 'experiment', checksum=packed.checksum) | length }}"
  vars:
    packed: "{{ eden_config.files.experiment }}"
"""

RETURN = r"""
_raw:
  description: The parts, in base64.
  type: list
  elements: str
"""

import base64
import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ansible_collections.eden.reference.plugins.module_utils._eden import files


class LookupModule(LookupBase):
    """The lookup eden.reference.packed."""

    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        checksum = self.get_option("checksum")
        return [part for directory in terms for part in parts(directory, checksum)]


def parts(directory: str, checksum: str) -> list[str]:
    """The parts of a directory whose tar has this checksum, in base64."""
    try:
        packed = files.pack(directory)
    except files.PackingError as error:
        raise AnsibleLookupError(f"The directory {directory} {error}.") from error
    if packed.checksum != checksum:
        raise AnsibleLookupError(
            f"The files in {directory} were changed after they had been checked. Run again."
        )
    return [base64.b64encode(part).decode() for part in packed.parts]
