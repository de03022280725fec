#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.identities_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: identities_info
short_description: Read the identity of every service of an experiment
description:
  - Reads the task store's groups and workers, and the Secret of each worker, and reports what
    M(eden.reference.identities) would do with the same options.
  - Writes nothing.
  - Fails as M(eden.reference.identities) does, for example if several workers could be the desired one.
  - No token leaves the module; the admin's token is read from the cluster.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
  - eden.reference.task_store
  - eden.reference.task_store.groups
attributes:
  check_mode:
    support: full
    details:
      - If the task store or the admin's token does not exist yet, a Secret with an id and a token is assumed
        to be valid. Outside check mode that is an error.
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Read the identities
  eden.reference.identities_info:
    namespace: eden
    instance: eden
    experiment_id: exp_0123456789abcdefghjkmnpqrs
    service:
      name: eden-task-store-server
      port: 8080
    admin_secret:
      name: eden-credentials
      key: EDEN_ADMIN_TOKEN
    workers:
      - name: orchestrator
        secret: eden-orchestrator-identity
    groups:
      - name: orchestrators
        members: [orchestrator]
  register: identities

- name: Require them
  ansible.builtin.assert:
    that: identities.complete
    fail_msg: "Run `--tags identities` first: {{ identities.incomplete | join(', ') }}"
"""

RETURN = r"""
complete:
  description: Whether M(eden.reference.identities) would change nothing.
  returned: success
  type: bool
incomplete:
  description: The Secrets and the groups that it would change.
  returned: success
  type: list
  elements: str
  sample: [Secret eden/eden-orchestrator-identity, group orchestrators]
identities:
  description: The identity of each worker, by its name.
  returned: success
  type: dict
  contains:
    worker_id:
      description: Id of the worker; null if it is not minted yet.
      type: str
    secret:
      description: Name of its Secret.
      type: str
    checksum:
      description: Hex SHA-256 of id and token; null if there would be a new token.
      type: str
    action:
      description: What would be done, one of V(unchanged), V(reissued) and V(minted).
      type: str
  sample:
    orchestrator:
      worker_id: wkr_01jabcdefghjkmnpqrstvwxyz0
      secret: eden-orchestrator-identity
      checksum: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      action: unchanged
groups:
  description: The groups, by name.
  returned: success
  type: dict
  contains:
    group_id:
      description: Id of the group; null if it is not created yet.
      type: str
    action:
      description: What would be done, one of V(unchanged), V(created) and V(extended).
      type: str
    added:
      description: Names of the workers that would be added.
      type: list
      elements: str
  sample:
    orchestrators:
      group_id: grp_01jabcdefghjkmnpqrstvwxyz0
      action: unchanged
      added: []
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.identities import ARGUMENTS
from ansible_collections.eden.reference.plugins.module_utils._eden.identities import run_info as run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
