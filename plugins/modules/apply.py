#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.apply."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apply
short_description: Apply Kubernetes objects from definitions or templates
description:
  - Reconciles objects with their definitions by server-side apply. Namespaces come first, workloads last.
  - An object that matches its definition costs one read and no write. Fields that the definition does not set
    are kept.
  - Refuses an object that the collection did not create, which is one without the label
    C(app.kubernetes.io/managed-by=eden.reference) and without fields that the collection applied.
  - Server-side apply keeps a list entry whose merge key was edited by another manager, such as the port of a
    Service. Such an entry is replaced if its other fields match.
  - An unknown field is an error.
  - A Job that has failed for good is deleted and recreated.
  - Secrets are refused, since their values would pass through variables.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
    details: The API server predicts the change of an existing object in a dry run.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  definitions:
    description: The objects. Their default namespace is O(namespace).
    type: list
    elements: dict
    default: []
  templates:
    description:
      - >-
        Templates whose YAML documents are applied after O(definitions). An item is a name, or a mapping of
        C(src), the name, and C(when), a boolean; a template is skipped if that is false.
      - They are rendered on the controller with the variables of the task. They, and templates that they
        include, import or extend, are searched in C(templates) of the task's role, then of the roles that
        it depends on, then of the playbook.
      - A document must be a mapping; an empty one is ignored.
    type: list
    elements: raw
    default: []
  prune:
    description:
      - Deletes objects of O(prune[].kind) that have all of O(prune[].labels) and no definition.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the objects.
        type: str
        required: true
      labels:
        description: Labels that an object must have to be deleted.
        type: dict
        required: true
      optional:
        description:
          - Ignore a 403 when listing this kind if no definition uses it.
        type: bool
        default: false
  wait_for:
    description:
      - The workloads that are then waited for, as M(eden.reference.rollout) does. Those that the module found
        as they should be, and ready, cost no request. In check mode nothing is waited for.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the workload.
        type: str
        choices: [StatefulSet, Deployment, Job]
        required: true
      name:
        description: Name of the workload.
        type: str
        required: true
      phase:
        description: The tag of the phase that creates the workload, for the error that it does not exist.
        type: str
      component:
        description:
          - The workload's component, as messages name it.
          - The default is its label C(app.kubernetes.io/component).
        type: str
  timeout:
    description: The maximum number of seconds to wait.
    type: int
    default: 300
  restarts:
    description:
      - What precedes a change that replaces running pods, so that no work is lost.
      - First, the changed pods are tried in pods of their own. If one of them does not run, the module fails
        and nothing was changed. Then the workloads that depend on the changed ones are scaled to 0, stage by
        stage, and their pods are waited for. M(eden.reference.start) starts them again.
    type: dict
    suboptions:
      selector:
        description: Label selector of the experiment's workloads.
        type: str
        required: true
      stages:
        description: The stage in which the workloads of a component are stopped, from 1, by component.
        type: dict
        default: {}
      stops:
        description: The last of the stages that are stopped before a component restarts, by component.
        type: dict
        default: {}
      trials:
        description: What a pod runs that tries a changed component, by component.
        type: dict
        default: {}
      stopped:
        description: The RV(stopped) of earlier tasks, which check mode takes for stopped.
        type: list
        elements: str
        default: []
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

- name: Apply the role's templates
  eden.reference.apply:
    namespace: eden
    templates:
      - web-ui.yaml.j2
      - src: web-ui-ingress.yaml.j2
        when: "{{ eden_ingress }}"
"""

RETURN = r"""
objects:
  description: The outcome for each object.
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
    overwritten:
      description: Fields of other managers that were reverted, by manager. Absent if there are none.
      type: dict
  sample:
    - kind: ConfigMap
      name: eden-seed
      outcome: created
stopped:
  description: O(restarts.stopped), and what was stopped in addition, or would be in check mode.
  returned: when O(restarts) is given
  type: list
  elements: str
  sample: [eden-executor-host-1, eden-orchestrator]
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.apply import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
