#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.rollout."""

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout
short_description: Wait until workloads are ready, or say why they cannot be
description:
  - Waits for StatefulSets, Deployments and Jobs by watching them, their pods and the events of the namespace.
  - Fails with the cause as soon as it is certain, such as an image that cannot be pulled, a pod that no node
    takes, a claim without a storage class, a quota, Pod Security, a missing Secret, a crash loop or a failed
    Job.
  - Workloads that are ready already cost one request for each of their kinds, Jobs one more and one for each
    log.
  - Shows a line whenever a pod gets further, and what is waited for when nothing has happened for 15 seconds.
    The seconds in brackets count from the start of the task.
  - Trouble of objects that are more than 5 seconds older than the task counts only when it shows again, or
    when the time is over. What was repaired before a second run does not fail it.
  - In the lines of logs that are shown, passwords of URLs, values of passwords and tokens, and hexadecimal
    strings of 32 characters and more are replaced by C(***). The log of a complete Job in RV(logs) is
    returned as it is.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
    details: Reads once, waits for nothing and does not fail for what is missing or not ready.
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
  timeout:
    description: Seconds to wait at most.
    type: int
    default: 300
  grace:
    description: How long a trouble may last before it fails the rollout, in seconds where not said otherwise.
    type: dict
    suboptions:
      image:
        description:
          - An image cannot be pulled.
          - One second where the registry's answer is final, such as that there is no such image.
        type: float
        default: 15.0
      config:
        description: What a pod or a claim refers to is missing, such as a Secret, a key or a storage class.
        type: float
        default: 5.0
      crashes:
        description:
          - How many times a container ends. It fails the rollout when it is down after so many ends.
          - Two are enough where its program cannot be started at all.
        type: int
        default: 3
      unschedulable:
        description: No node takes a pod.
        type: float
        default: 15.0
      scale_up:
        description: No node takes a pod, and the cluster's autoscaler is adding one.
        type: float
        default: 180.0
      provisioning:
        description: A storage class provides no volume for a claim.
        type: float
        default: 18.0
      mount:
        description: A volume cannot be attached or mounted.
        type: float
        default: 18.0
      refused:
        description: The API server refuses the pods of a workload, such as for a quota or for Pod Security.
        type: float
        default: 3.0
      blocked:
        description: The update of a StatefulSet waits for a pod of its old revision that cannot become ready.
        type: float
        default: 10.0
      node:
        description: The node of a pod is not ready.
        type: float
        default: 18.0
      missing:
        description: A workload does not exist.
        type: float
        default: 5.0
"""

EXAMPLES = r"""
- name: Wait for the database and the forge
  eden.reference.rollout:
    namespace: eden
    workloads:
      - kind: StatefulSet
        name: eden-postgres
      - kind: StatefulSet
        name: eden-forgejo

- name: Wait for the seed commit
  eden.reference.rollout:
    namespace: eden
    workloads:
      - kind: Job
        name: eden-seed
    timeout: 120
    grace:
      image: 60
  register: seed

- name: Read the seed commit
  ansible.builtin.set_fact:
    eden_seed_commit: "{{ seed.logs['eden-seed'] | regex_search('sha=([0-9a-f]+)', '\\1') | first }}"
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
      description: Whether it is ready. Only in check mode this may be false.
      type: bool
  sample:
    - kind: StatefulSet
      name: eden-postgres
      ready: true
logs:
  description:
    - For each Job that is complete, by its name, the log of the pod that succeeded.
    - A Job whose pod, or whose log, is gone has none.
  returned: success
  type: dict
  sample:
    eden-seed: "EDEN_REPO_SEEDED sha=666b95f001acc6e19682f7e1732e4d8c14b16cb9\n"
timeline:
  description:
    - When the current pods of the workloads reached each stage, as the cluster's clocks tell, most of them in
      whole seconds.
    - Empty where nothing had to be waited for.
  returned: always, unless the API server refused
  type: list
  elements: dict
  contains:
    workload:
      description: Name of the workload.
      type: str
    pod:
      description: Name of the pod.
      type: str
    created:
      description: When the pod was created.
      type: str
    scheduled:
      description: When it got its node.
      type: str
    pulled:
      description: When the last of its images was there.
      type: str
    started:
      description: When the last of its containers started.
      type: str
    ready:
      description: When it became ready; of a Job, when it ended.
      type: str
    seconds:
      description: For each stage that was reached the seconds since the pod was created.
      type: dict
  sample:
    - workload: eden-postgres
      pod: eden-postgres-0
      created: "2026-11-23T16:10:38Z"
      scheduled: "2026-11-23T16:10:38Z"
      pulled: "2026-11-23T16:10:39Z"
      started: "2026-11-23T16:10:39Z"
      ready: "2026-11-23T16:10:42Z"
      seconds:
        scheduled: 0.0
        pulled: 1.0
        started: 1.0
        ready: 4.0
cause:
  description:
    - Why a workload is not ready.
    - One of V(image), V(config), V(unschedulable), V(volume), V(mount), V(quota), V(limit_range),
      V(pod_security), V(admission), V(refused), V(blocked), V(crash_loop), V(out_of_memory), V(hook),
      V(node), V(job), V(missing) and V(timeout).
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
  description: Name of the pod in trouble, empty where there is none.
  returned: when a workload cannot become ready
  type: str
  sample: eden-postgres-0
log:
  description: The last lines of the container in trouble, without what may be a secret.
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
