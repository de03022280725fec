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
  - The inputs are documented with the role P(eden.reference.eden#role), which runs this module first.
  - An unknown name is a problem, too, reported with the name that was likely meant.
    So is a former input of another role of this collection, such as C(infra_postgres_storage_size), even if
    it is misspelled after the prefix.
  - A string that is a number or a boolean is accepted for an input of that type. Nothing is converted, so
    roles read such inputs through the filters C(int), C(float) and C(bool).
  - Reads only the file that C(eden_experiment_config_file) names, and the directories that
    C(eden_experiment_dir) and C(eden_seed_dir) name, on the controller.
    A config that is encrypted with ansible-vault is decrypted.
  - Warns if the workers poll more often than the task store can handle.
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
    msg: "{{ checked.config.text }}"
"""

RETURN = r"""
config:
  description: The experiment config.
  returned: success
  type: dict
  contains:
    text:
      description: The file as it is, or C(eden_experiment_config) as YAML with sorted keys.
      type: str
    checksum:
      description: SHA-256 of the text.
      type: str
      sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    deadlines:
      description: The longest tasks that it names, in seconds, by their keys in it.
      type: dict
      sample: {execution_task_deadline: 900.0}
    commands:
      description: The commands that it names, by component.
      type: dict
      sample: {executor-host: python3 "$EDEN_EXPERIMENT_DIR/execute.py"}
    files:
      description:
        - The checksum and the number of parts of the packed directories C(experiment) and C(seed). Empty for
          one that is not given.
      type: dict
      sample:
        experiment: {checksum: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08, parts: 1}
        seed: {}
problems:
  description: The broken rules, as in the lines of the message.
  returned: failure
  type: list
  elements: dict
  contains:
    variable:
      description: The variable, with the path inside it.
      type: str
    rule:
      description: What the value must be.
      type: str
    got:
      description:
        - The value, shortened. Empty if it adds nothing, and hidden if the name looks like that of a secret.
      type: str
    example:
      description: A valid value.
      type: str
  sample:
    - variable: eden_storage_sizes.postgres
      rule: must be a size such as 10Gi (an integer and Mi, Gi or Ti)
      got: "'10G'"
      example: 10Gi
"""
