#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.credentials."""

from __future__ import annotations

DOCUMENTATION = r"""
module: credentials
short_description: Keep the Secret with an experiment's credentials
description:
  - Makes the keys that the Secret lacks, 32 random bytes in hex each, and keeps the ones that it has.
  - With O(state=verified) the Secret is only read, and missing keys are listed.
  - No value enters or leaves the module.
  - A key is not made up while a claim stays whose data was written with the lost value, see O(bound).
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
    description: Whether missing keys are made, or are an error.
    type: str
    choices: [present, verified]
    default: present
  advice:
    description: What the user can do about missing keys, shown with the error of O(state=verified).
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
    description: Database URLs with a password that are kept beside the keys, for tools outside the pods.
    type: list
    elements: dict
    default: []
    suboptions:
      key:
        description: Key under which the URL is kept.
        type: str
        required: true
      user:
        description: Role of the database.
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
    description: Keys that must not be made up while a claim exists.
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
        description: What the user can do, shown with the error.
        type: str
        required: true
  readers:
    description: For each reader the keys that it reads.
    type: dict
    default: {}
  digest_key:
    description: Key whose value keys the digests; one that is never rotated.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Keep the credentials
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
  description: Keys that were made, or would be made in check mode.
  returned: success
  type: list
  elements: str
  sample: [POSTGRES_PASSWORD]
digests:
  description:
    - For each reader a keyed digest of what it reads, in hex.
    - Empty for a reader that reads a key which is not made yet.
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
