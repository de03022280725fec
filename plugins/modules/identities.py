#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.identities."""

from __future__ import annotations

DOCUMENTATION = r"""
module: identities
short_description: Ensure the identity of every service of an experiment
description:
  - Reconciles the task store's groups and workers, and the Secret of each worker.
  - A Secret whose token the task store accepts is not changed. A token is reissued only if the task store
    refuses it or the Secret lacks it. A worker that is already registered is adopted, by its id or its
    name, and not minted again.
  - A ready pod that uses the Secret, with the checksum of its content, proves that its token is valid, and
    saves a request.
  - Workers that the module mints have the registry label C(eden.reference/instance), whose value is the
    namespace and O(instance). Workers labelled for another instance are ignored.
  - If several workers could be the desired one, the module lists them and fails without a write.
  - A missing Secret is created before its token is issued, and written right after. So the next run completes
    an interrupted one, and two parallel runs never overwrite each other's tokens.
  - Other members of a group are kept.
  - No token enters or leaves the module; the admin's token is read from the cluster.
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
      - Reads only.
      - If the task store or the admin's token does not exist yet, a Secret with an id and a token is assumed
        to be valid, one without a token is predicted to be reissued, and one without an id to be minted.
  diff_mode:
    support: full
    details: Shows ids, names and whether a token is replaced, never a token.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Ensure the identity of every service
  eden.reference.identities:
    namespace: eden
    instance: eden
    experiment_id: "{{ eden_experiment_id }}"
    service:
      name: eden-task-store-server
      port: 8080
    admin_secret:
      name: eden-credentials
      key: EDEN_ADMIN_TOKEN
    workers:
      - name: orchestrator
        secret: eden-orchestrator-identity
      - name: web-ui-1
        secret: eden-web-ui-1-identity
      - name: operator
        secret: eden-operator-identity
    groups:
      - name: admins
        members: [operator, web-ui-1]
      - name: orchestrators
        members: [orchestrator]
  register: identities

- name: Show what restarts the orchestrator
  ansible.builtin.debug:
    msg: "{{ identities.identities['orchestrator'].checksum }}"
"""

RETURN = r"""
identities:
  description: The identity of each worker, by its name.
  returned: success
  type: dict
  contains:
    worker_id:
      description: Id of the worker; null in check mode if it is not minted yet.
      type: str
    secret:
      description: Name of its Secret.
      type: str
    checksum:
      description: Hex SHA-256 of id and token; null in check mode if there would be a new token.
      type: str
    action:
      description: One of V(unchanged), V(reissued) and V(minted).
      type: str
  sample:
    orchestrator:
      worker_id: wkr_01jabcdefghjkmnpqrstvwxyz0
      secret: eden-orchestrator-identity
      checksum: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
      action: minted
groups:
  description: The groups, by name.
  returned: success
  type: dict
  contains:
    group_id:
      description: Id of the group; null in check mode if it is not created yet.
      type: str
    action:
      description: One of V(unchanged), V(created) and V(extended).
      type: str
    added:
      description: Names of the workers that were added.
      type: list
      elements: str
  sample:
    orchestrators:
      group_id: grp_01jabcdefghjkmnpqrstvwxyz0
      action: created
      added: [orchestrator]
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.identities import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
