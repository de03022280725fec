#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.inputs; its code is the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: inputs
short_description: Check the inputs of an experiment
description:
  - Checks every variable of the host whose name begins with C(eden_) and lists all problems at once.
  - The inputs are documented with the role P(eden.reference.eden#role), whose first task this is.
  - A name that no input has is a problem too, with the name that was likely meant.
  - Types are strict. The text V(3) is no number and the text V(yes) is no boolean.
    What C(-e name=value) gives is text; JSON gives numbers, as C(-e '{"eden_timeout":600}').
  - Touches nothing but the file that C(eden_experiment_config_file) names, on the controller.
author: EDEN reference deployment contributors (@ealt)
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), when in diff mode.
    support: N/A
    details: Nothing is changed.
  idempotent:
    description: Run twice in a row outside check mode, with the same arguments, it changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the inputs
  eden.reference.inputs:
  register: checked

- name: Show the experiment config as the services will read it
  ansible.builtin.debug:
    msg: "{{ checked.config_text }}"
"""

RETURN = r"""
config_text:
  description:
    - Text of the experiment config. The file as it is, or C(eden_experiment_config) as YAML with sorted keys.
  returned: success
  type: str
config_checksum:
  description: SHA-256 of RV(config_text).
  returned: success
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
problems:
  description: The rules that were broken, the same as the lines of the message.
  returned: failure
  type: list
  elements: dict
  contains:
    variable:
      description: Variable, with the path inside it.
      type: str
    rule:
      description: What the value must be.
      type: str
    got:
      description:
        - The value, shortened. Empty where it says nothing, and hidden where the name looks like a secret's.
      type: str
    example:
      description: A right value.
      type: str
  sample:
    - variable: eden_storage_sizes.postgres
      rule: must be a size such as 10Gi (whole number and Mi, Gi or Ti)
      got: "'10G'"
      example: 10Gi
"""
