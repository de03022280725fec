#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.claims."""

from __future__ import annotations

DOCUMENTATION = r"""
module: claims
short_description: Find the tasks whose worker is gone, and reclaim them
description:
  - The claim of a worker has no end. If the worker is killed, or loses the task store, before it has
    submitted, its task stays claimed for ever.
  - A claim is orphaned if one of O(workers) has made it, it has no end, and every running container of that
    worker has started after it. Containers of a pod that is being deleted count until they have ended. Claims
    of the web UI have an end, and are left alone.
  - Kubernetes gives the start of a container in whole seconds. A claim of that same second is orphaned only
    once it is 60 seconds older than the grace period of the pod, which covers the longest task.
  - Tasks are reclaimed as O(operator). A task that has moved on meanwhile is left alone.
  - Before an execution is reclaimed, the branches C(work/variant-ID-*) that were pushed for it are deleted,
    because a scripted executor would crash on them. Only if there are any, the executors are stopped
    gracefully before that and started after it.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
  - eden.reference.task_store
attributes:
  check_mode:
    support: full
    details: In check mode a task store that does not exist yet is no error, and nothing is reclaimed.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  state:
    description: Whether orphaned claims are only reported.
    type: str
    choices: [reported, reclaimed]
    default: reclaimed
  workers:
    description: The workers of the experiment.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name under which the worker is registered.
        type: str
        required: true
      component:
        description: The component that the worker's pods are labelled with.
        type: str
        required: true
      replica:
        description: The replica that the worker's pods are labelled with.
        type: int
        required: true
      secret:
        description: Name of the Secret with the worker's identity.
        type: str
        required: true
      workload:
        description: Kind and name of the worker's workload, if it has one. Claims of others are left alone.
        type: dict
      groups:
        description: Has no effect.
        type: list
        elements: str
        default: []
  operator:
    description: Name of the Secret of the worker as which tasks are reclaimed; the admin may not do it.
    type: str
    required: true
  forgejo:
    description: The git server, which is always reached by a port-forward.
    type: dict
    required: true
    suboptions:
      service:
        description: Name of its Service.
        type: str
        required: true
      port:
        description: Port of the Service.
        type: int
        required: true
      repository:
        description: Owner and name of the experiment's repository.
        type: str
        required: true
      secret:
        description: Name of the Secret with the owner's password.
        type: str
        required: true
      key:
        description: Key within the Secret.
        type: str
        required: true
"""

EXAMPLES = r"""
- name: Reclaim the tasks whose worker is gone
  eden.reference.claims:
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
      - name: executor-host-1
        component: executor-host
        replica: 1
        secret: eden-executor-host-1-identity
        workload:
          kind: StatefulSet
          name: eden-executor-host-1
    operator: eden-operator-identity
    forgejo:
      service: eden-forgejo
      port: 3000
      repository: eden/exp_0123456789abcdefghjkmnpqrs
      secret: eden-credentials
      key: FORGEJO_REMOTE_PASSWORD
"""

RETURN = r"""
orphaned:
  description: The claims whose worker is gone.
  returned: success
  type: list
  elements: dict
  contains:
    task_id:
      description: Id of the task.
      type: str
    kind:
      description: Kind of the task.
      type: str
    worker:
      description: Name of the worker.
      type: str
    claimed_at:
      description: When the task was claimed.
      type: str
    age_seconds:
      description: Seconds since then.
      type: int
    message:
      description: All of that in a sentence.
      type: str
  sample:
    - task_id: execution-0a1b2c3d4e5f
      kind: execution
      worker: executor-host-1
      claimed_at: "2026-11-28T05:00:00.123Z"
      age_seconds: 180
      message: >-
        execution-0a1b2c3d4e5f was claimed 180 s ago by executor-host-1,
        none of whose containers has run since
reclaimed:
  description: Those that were reclaimed, or in check mode would be.
  returned: success
  type: list
  elements: dict
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.claims import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
