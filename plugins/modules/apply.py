#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.apply."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apply
short_description: Apply Kubernetes objects, given as they are or as templates
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
    default: []
  templates:
    description:
      - >-
        Templates whose YAML documents are applied after O(definitions). An item is a name, or a mapping of
        C(src), the name, and C(when), a boolean; if that is false the template is skipped.
      - They are rendered on the controller with the variables of the task, and looked for in C(templates) of
        the role that the task belongs to, then of the roles that it depends on, then of the playbook. So are
        templates that they include, import or extend.
      - A document must be a mapping; an empty one is ignored.
    type: list
    elements: raw
    default: []
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

- name: Apply what the templates of the role define
  eden.reference.apply:
    namespace: eden
    templates:
      - web-ui.yaml.j2
      - src: web-ui-ingress.yaml.j2
        when: "{{ eden_ingress }}"
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

from ansible_collections.eden.reference.plugins.module_utils._eden.apply import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
