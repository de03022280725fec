# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  instance:
    description: Name of the release, which distinguishes the experiments of a namespace.
    type: str
    required: true
  experiment_id:
    description: Id of the experiment that the task store serves.
    type: str
    required: true
  service:
    description: The Service of the task store. A ready pod behind it is reached through a port-forward.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the Service.
        type: str
        required: true
      port:
        description: Port of the Service.
        type: int
        required: true
  task_store_url:
    description: Scheme, host and port of the task store. If set, there is no port-forward.
    type: str
  task_store_changes:
    description:
      - Whether the run has changed the task store before this task, or would have done so in check mode.
      - >-
        If true, in check mode a task store that refuses the admin's token or serves another experiment is
        treated as one that does not exist yet.
    type: bool
    default: false
  admin_secret:
    description: The Secret with the admin's token.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      key:
        description: Key within the Secret.
        type: str
        required: true
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
      secret:
        description: Name of the Secret that gets the keys C(worker_id) and C(token).
        type: str
        required: true
      labels:
        description: Labels of the Secret.
        type: dict
        default: {}
  timeout:
    description: Retry budget in seconds for all requests to the task store.
    type: int
    default: 60
requirements:
  - requests >= 2.32
"""

    GROUPS = r"""
options:
  groups:
    description: The groups of the experiment.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the group.
        type: str
        required: true
      members:
        description: Names of the O(workers) that belong to the group.
        type: list
        elements: str
        default: []
"""
