#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.preflight."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Look at the cluster before the first write
description:
  - Checks that an experiment can be brought up in the namespace, and finds out which experiment lives there.
  - The API server must answer within seconds and be Kubernetes 1.27 or newer.
  - The user must have all rights that the collection needs. Every missing one is listed with its reason.
  - The namespace must not be one that is being deleted, and must exist with O(manage_namespace=false).
  - The storage class must exist, where there are volumes still to be made.
  - The Secrets that belong to the user must exist, and the one with the credentials must have all keys.
  - Objects under the experiment's names must be the experiment's own.
  - The size and the storage class of a volume that exists must stay as they are.
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
    details: Changes nothing. A minted experiment id differs in each run, until one is stored in the cluster.
options:
  name:
    description: Name of the experiment's release, the prefix of the names of its objects.
    type: str
    required: true
  manage_namespace:
    description: Whether the namespace is created and labelled by the collection.
    type: bool
    default: true
  experiment_id:
    description: Id that the experiment shall have. When empty, the one that the cluster holds, or a new one.
    type: str
    default: ""
  experiment_configmap:
    description: Name of the ConfigMap whose key C(experiment_id) holds the experiment id.
    type: str
    required: true
  seed_configmap:
    description: Name of the ConfigMap whose key C(commit) holds the seed commit.
    type: str
    required: true
  claims:
    description:
      - Names of the volume claims of the experiment.
      - Their label C(eden.reference/experiment-id) holds the experiment id when the ConfigMap was lost.
    type: list
    elements: str
    default: []
  storage_class:
    description: Storage class of the volumes. When empty, the cluster must have a default one.
    type: str
    default: ""
  existing_secret:
    description: Name of the Secret of the user's own with the credentials, if there is one.
    type: str
    default: ""
  credential_keys:
    description: Keys that O(existing_secret) must have.
    type: list
    elements: str
    default: []
  credentials_secret:
    description:
      - Name of the Secret with the credentials. When empty, O(existing_secret).
      - Rights on Secrets that are restricted to names must be rights on this one.
    type: str
    default: ""
  identity_secrets:
    description:
      - Names of the Secrets with the identities.
      - Rights on Secrets that are restricted to names must be rights on each of these.
    type: list
    elements: str
    default: []
  objects:
    description: Objects of the experiment, which must belong to nobody else if they exist.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the object.
        type: str
        choices: [StatefulSet, Deployment, Service]
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
  volumes:
    description: Volumes of the experiment. One that exists must have the size and the class that are wanted.
    type: list
    elements: dict
    default: []
    suboptions:
      workload:
        description: Name of the StatefulSet that makes the claim from a template. When empty, none does.
        type: str
        default: ""
      claim:
        description: Name of the claim's template, or of the claim.
        type: str
        required: true
      size:
        description: Size that is wanted.
        type: str
        required: true
      variable:
        description: Name of the input with the size, for the message.
        type: str
        required: true
  image_pull_secrets:
    description:
      - Names of the Secrets with the credentials of the registries.
      - Looked for in a namespace that exists.
    type: list
    elements: str
    default: []
  task_store_url:
    description: URL of the task store. When it is given, no right to forward a port is needed.
    type: str
    default: ""
  network_policies:
    description: Whether NetworkPolicies are made, for which rights are needed.
    type: bool
    default: true
  disruption_budgets:
    description: Whether PodDisruptionBudgets are made, for which rights are needed.
    type: bool
    default: true
  ingress:
    description: Whether an Ingress is made, for which rights are needed.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Check the cluster before the first write
  eden.reference.preflight:
    namespace: eden
    name: eden
    experiment_configmap: eden-experiment
    seed_configmap: eden-seed
    claims: [data-eden-postgres-0, data-eden-forgejo-0, eden-blob]
  register: found
"""

RETURN = r"""
namespace_exists:
  description: Whether the namespace is there. True as well where the user may not know.
  returned: success
  type: bool
experiment_id:
  description: Id of the experiment.
  returned: success
  type: str
  sample: exp_01jabcdefghjkmnpqrstvwxyz0
experiment_id_source:
  description:
    - Where the id comes from. V(stored) is the ConfigMap and V(claim) a claim's label.
      V(given) is O(experiment_id) in a new place, and V(minted) a new id.
  returned: success
  type: str
  sample: stored
seed_commit:
  description:
    - First commit of the experiment's repository, null where it is not seeded yet.
    - It is read from O(seed_configmap), or else from a Deployment of O(objects) that was started with it.
  returned: success
  type: str
  sample: 666b95f001acc6e19682f7e1732e4d8c14b16cb9
unbound_claims:
  description: Those of O(claims) that are not there, or have no volume yet.
  returned: success
  type: list
  elements: str
  sample: [data-eden-postgres-0, data-eden-forgejo-0, eden-blob]
server_version:
  description: Version of the API server.
  returned: success
  type: str
  sample: v1.36.3
missing_rights:
  description: Rights that the user lacks.
  returned: failure, when rights are missing
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
      description: Name of the one object that the right is needed for, empty for any.
      type: str
    why:
      description: What the right is needed for.
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
