#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.preflight."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Check the cluster before the first write
description:
  - Checks that an experiment can be deployed in the namespace, and finds the experiment that exists there.
  - Fails if another run holds the lock of the experiment. That run has died if its process on this machine
    has ended, or if it has not renewed the lock for a minute; its lock is then taken over.
  - The API server must answer within seconds and be Kubernetes 1.27 or newer.
  - The user must have every permission that the collection needs. Missing ones are listed with their reasons.
  - The namespace must not be terminating. With C(eden_manage_namespace=false) it must exist. Otherwise, if it
    exists, the collection must have created it, or it must have the label
    C(app.kubernetes.io/managed-by=eden.reference).
  - Existing objects with the experiment's names must have been created by the collection, too.
  - Inputs of Kubernetes' own types are checked by a dry run with strict field validation.
  - The storage class must exist if volumes are to be provisioned.
  - The Secrets of the environment of commands must exist, and have no reserved keys.
  - The tree of the first commit of an experiment that exists must not change.
  - The user's own Secrets must exist, and the one with the credentials must have all keys, with values that
    the services can use.
  - The size and the storage class of an existing volume must not change.
  - The claims of an experiment that exists must exist, and must not have been replaced with empty ones.
  - The C(evaluation_schema) of an experiment that exists and the password of its database must not change.
  - No newer version of the collection must have deployed the experiment.
  - Writes nothing.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: N/A
    details: Nothing is changed.
  idempotent:
    support: partial
    details: Changes nothing. A new experiment id differs in each run, until one is stored in the cluster.
options:
  topology:
    description: The result of P(eden.reference.topology#filter).
    type: dict
    required: true
  inputs:
    description: The inputs of the role P(eden.reference.eden#role) that are checked here, by their names.
    type: dict
    required: true
  config:
    description: The text of the experiment config.
    type: str
    required: true
  deployer_role:
    description:
      - The objects of the file C(deployer-role.yaml) of the role P(eden.reference.eden#role), whose rules are
        the required permissions.
    type: list
    elements: dict
    required: true
  lock_timeout:
    description:
      - The maximum number of seconds to wait for another run that holds the lock.
      - In check mode, another run is only a warning.
    type: int
    default: 0
  files:
    description:
      - The packed directories of the experiment and of its seed, C(files) in the result of
        M(eden.reference.inputs).
    type: dict
    default: {}
  experiment:
    description: Any text that stands for what is checked; it is returned.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Check the cluster before the first write
  eden.reference.preflight:
    namespace: eden
    topology: "{{ eden_topology }}"
    deployer_role: "{{ (lookup('ansible.builtin.file', 'deployer-role.yaml') | from_yaml)['items'] }}"
    config: "{{ eden_config.text }}"
    inputs:
      eden_name: eden
      eden_experiment_id: ""
      eden_manage_namespace: true
      eden_storage_class: ""
      eden_existing_secret: ""
      eden_image_pull_secrets: []
      eden_database_password_changed: false
      eden_allow_downgrade: false
      eden_task_store_url: ""
      eden_network_policies: true
      eden_disruption_budgets: true
      eden_ingress: {}
      eden_affinity: {}
      eden_tolerations: []
      eden_node_selector: {}
      eden_resources: {}
      eden_postgres_resources: {}
      eden_forgejo_resources: {}
      eden_web_ui_peers: []
      eden_worker_egress: []
      eden_dns_peers: []
      eden_experiment_dir: ""
      eden_seed_dir: ""
      eden_workers: {}
  register: preflight
"""

RETURN = r"""
experiment:
  description: The option O(experiment).
  returned: success
  type: str
  sample: ""
topology:
  description: The option O(topology).
  returned: success
  type: dict
  sample: {}
experiment_id:
  description:
    - Id of the experiment, which is that of the cluster, in a ConfigMap or on a claim, or else that of the
      inputs, or a new one.
  returned: success
  type: str
  sample: exp_01jabcdefghjkmnpqrstvwxyz0
seed_commit:
  description: First commit of the experiment's repository; null if it is not seeded yet.
  returned: success
  type: str
  sample: 666b95f001acc6e19682f7e1732e4d8c14b16cb9
seed_files:
  description: Checksum of the files of the first commit; empty without C(eden_seed_dir).
  returned: success
  type: str
unbound_claims:
  description: The experiment's claims that do not exist, or have no volume yet.
  returned: success
  type: list
  elements: str
  sample: [data-eden-postgres-0, data-eden-forgejo-0, eden-blob]
lock:
  description:
    - The option O(eden.reference.apply#module:lock) of the modules that follow. They write only if no other
      run has written since.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the Lease.
      type: str
    holder:
      description: Identity of this run.
      type: str
    version:
      description: Version of the Lease before the cluster was read, empty if there was none.
      type: str
    labels:
      description: Labels of the Lease.
      type: dict
  sample:
    name: eden-lock
    holder: ci-3/6f2c9a52-7f3b-4c0e-9d4b-1b5f0c1d2e3f.4026531836/4711/123456
    version: "1234"
    labels:
      app.kubernetes.io/instance: eden
missing_permissions:
  description: Permissions that the user lacks.
  returned: failure, when permissions are missing
  type: list
  elements: dict
  contains:
    verb:
      description: Verb of the request.
      type: str
    group:
      description: API group, empty for the core group.
      type: str
    resource:
      description: Resource, with its subresource.
      type: str
    namespace:
      description: Namespace, empty for the whole cluster.
      type: str
    name:
      description: Name of the one object for which the permission is needed, empty for any.
      type: str
    why:
      description: The reason for which the permission is needed.
      type: str
  sample:
    - verb: create
      group: ""
      resource: secrets
      namespace: eden
      name: ""
      why: credentials and identities are kept in Secrets
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.preflight import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
