#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.rollout."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Wait until workloads are ready, or report why they cannot be
description:
  - Waits for StatefulSets, Deployments and Jobs by watching them, their pods and the events of the namespace.
  - Fails within seconds with the cause if waiting cannot help, such as an image that does not exist, a claim
    without a storage class, a quota, Pod Security, a missing Secret, a crash loop or a failed Job.
  - Fails after 18 seconds if a second attempt has the same result, such as a registry that cannot be found,
    or a pod that no node can run while no autoscaler adds one.
  - Waits until O(timeout) if Kubernetes retries and the problem may pass, such as a timeout, an overloaded
    registry, a slow volume or a node that is not ready, and if the reason is unknown. Each problem is shown
    once when it occurs, and in the lines about what is waited for.
  - If all workloads are ready, this costs one request per kind, and for Jobs one more and one per log.
  - Shows a line whenever a pod makes progress, and what is waited for if nothing has happened for 15 seconds.
    The seconds in parentheses count from the start of the task.
  - Problems of objects that are more than 5 seconds older than the task count only if they occur again, or at
    the timeout. So problems that were repaired before a second run do not fail it.
  - In log lines that are shown, passwords of URLs, values of passwords and tokens, and hexadecimal strings of
    32 and more characters are replaced with C(***). The log of a complete Job in RV(logs) is not changed.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
    details: Reads once, does not wait, and does not fail if a workload is missing or not ready.
  diff_mode:
    support: none
    details: Changes nothing.
  idempotent:
    support: full
options:
  workloads:
    description: The workloads that are to become ready.
    type: list
    elements: dict
    required: true
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
"""

EXAMPLES = r"""
- name: Wait for the database and the forge
  eden.reference.rollout:
    namespace: eden
    workloads:
      - kind: StatefulSet
        name: eden-postgres
        phase: infra
      - kind: StatefulSet
        name: eden-forgejo
        phase: infra

- name: Wait for a Job of your own
  eden.reference.rollout:
    namespace: eden
    workloads:
      - kind: Job
        name: import-data
    timeout: 120
  register: import

- name: Show its log
  ansible.builtin.debug:
    msg: "{{ import.logs['import-data'] }}"
"""

RETURN = r"""
workloads:
  description: The workloads in the order of O(workloads).
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the workload.
      type: str
    name:
      description: Name of the workload.
      type: str
    ready:
      description: Whether it is ready. It can be false only in check mode.
      type: bool
    state:
      description:
        - V(ready), or V(stopped) if its spec has no replicas.
        - In check mode also V(missing) and V(not ready).
      type: str
    message:
      description: Its replicas, or what it lacks.
      type: str
  sample:
    - kind: StatefulSet
      name: eden-postgres
      ready: true
      state: ready
      message: 1 of 1 replicas ready
logs:
  description:
    - For each complete Job, by its name, the log of the pod that succeeded.
    - Jobs whose pod or log is gone are absent.
  returned: success
  type: dict
  sample:
    eden-seed: "EDEN_REPO_SEEDED sha=666b95f001acc6e19682f7e1732e4d8c14b16cb9\n"
cause:
  description:
    - Why a workload is not ready.
    - One of V(image), V(config), V(mount), V(sandbox), V(unschedulable), V(volume), V(node), V(quota),
      V(limit_range), V(pod_security), V(admission), V(refused), V(crash_loop), V(out_of_memory), V(hook),
      V(job), V(missing), V(unknown) and V(timeout).
  returned: when a workload cannot become ready
  type: str
  sample: image
kind:
  description: Kind of that workload.
  returned: when a workload cannot become ready
  type: str
  sample: StatefulSet
name:
  description: Name of that workload.
  returned: when a workload cannot become ready
  type: str
  sample: eden-postgres
pod:
  description: Name of the pod concerned, empty if there is none.
  returned: when a workload cannot become ready
  type: str
  sample: eden-postgres-0
log:
  description: The last lines of the container's log, without possible secrets.
  returned: when a workload cannot become ready
  type: list
  elements: str
  sample: ["FATAL: password authentication failed for user \"eden\""]
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.rollout import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
