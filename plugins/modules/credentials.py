#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.credentials."""

from __future__ import annotations

DOCUMENTATION = r"""
module: credentials
short_description: Ensure the Secret with an experiment's credentials
description:
  - Generates missing keys, each of 32 random bytes in hex, and keeps existing ones.
  - With O(state=verified) the Secret is only read, and missing keys are an error that lists them.
  - A value that its service cannot use is an error that names its key.
  - No value enters or leaves the module.
  - A key is not generated while a claim exists whose data was written with the lost value, see O(bound).
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows key names, never values.
  idempotent:
    support: full
options:
  secret:
    description: Name of the Secret.
    type: str
    required: true
  state:
    description: Whether missing keys are generated, or are an error.
    type: str
    choices: [present, verified]
    default: present
  advice:
    description: Advice about missing keys, shown with the error of O(state=verified).
    type: str
    default: ""
  keys:
    description: Keys that the Secret must have.
    type: list
    elements: str
    required: true
  labels:
    description: Labels of the Secret when it is created.
    type: dict
    default: {}
  urls:
    description: Database URLs with a password that are stored beside the keys, for tools outside the pods.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: Key of the URL in the Secret.
        type: str
        required: true
      user:
        description: Database role.
        type: str
        required: true
      password_key:
        description: Key whose value is the password.
        type: str
        required: true
      address:
        description: Host, port and database.
        type: str
        required: true
  bound:
    description: Keys that must not be generated while a claim exists.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: The key.
        type: str
        required: true
      claim:
        description: Name of the PersistentVolumeClaim.
        type: str
        required: true
      advice:
        description: Advice that is shown with the error.
        type: str
        required: true
  readers:
    description: The keys that each reader reads.
    type: dict
    default: {}
  environments:
    description: The names of the user's Secrets that fill the environment of commands, by component.
    type: dict
    default: {}
  digest_key:
    description: Key whose value keys the digests; it must never be rotated.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Ensure the credentials
  eden.reference.credentials:
    namespace: eden
    secret: eden-credentials
    keys: [POSTGRES_PASSWORD, FORGEJO_SECRET_KEY]
    readers:
      postgres: [POSTGRES_PASSWORD]
    digest_key: FORGEJO_SECRET_KEY
"""

RETURN = r"""
secret:
  description: Name of the Secret.
  returned: success
  type: str
  sample: eden-credentials
generated:
  description: Keys that were generated, or would be generated in check mode.
  returned: success
  type: list
  elements: str
  sample: [POSTGRES_PASSWORD]
digests:
  description:
    - Per reader, a keyed digest in hex of the values that it reads.
    - Empty if one of the keys is not generated yet.
  returned: success
  type: dict
  sample:
    postgres: 5f0c6a…
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.credentials import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
