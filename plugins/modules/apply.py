#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.apply."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apply
short_description: Apply a list of Kubernetes objects
description:
  - Brings objects to their definitions by server-side apply. Namespaces come first, and last come workloads.
  - An object that is as its definition says costs one read and no write. Fields that others own are kept.
  - An entry of a list whose key somebody changed, such as the port of a Service, is to the API server an
    entry of somebody else. It is taken for the one that is wanted if all else of it is as wanted.
  - A Job that has failed for good is deleted and made anew.
  - Secrets are refused, since their values would pass through variables.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
    details: What would change of an object that exists is asked of the server by a dry run.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  definitions:
    description: The objects. Without a namespace of their own they belong to O(namespace).
    type: list
    elements: dict
    required: true
  prune:
    description:
      - Objects of O(prune[].kind) that carry all of O(prune[].labels) and have no definition are deleted.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the objects.
        type: str
        required: true
      labels:
        description: Labels that an object must carry to be deleted.
        type: dict
        required: true
      optional:
        description:
          - Whether a user who may not list the kind, and has no definition of it, is taken to have made none.
        type: bool
        default: false
"""

EXAMPLES = r"""
- name: Apply a ConfigMap
  eden.reference.apply:
    namespace: eden
    definitions:
      - apiVersion: v1
        kind: ConfigMap
        metadata:
          name: eden-seed
        data:
          commit: 666b95f001acc6e19682f7e1732e4d8c14b16cb9
"""

RETURN = r"""
objects:
  description: What became of each object.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
    name:
      description: Name of the object.
      type: str
    outcome:
      description: One of V(created), V(updated), V(recreated), V(deleted) and V(unchanged).
      type: str
  sample:
    - kind: ConfigMap
      name: eden-seed
      outcome: created
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.eden.reference.plugins.module_utils._eden.apply import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError
from ansible_collections.eden.reference.plugins.module_utils._module import Task


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        result = run(Task(module.params, module.check_mode, module._diff))
    except CollectionError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
