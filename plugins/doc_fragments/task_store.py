# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  instance:
    description: Name of the release, which tells the experiments of a namespace apart.
    type: str
    required: true
  experiment_id:
    description: Id of the experiment that the task store serves.
    type: str
    required: true
  service:
    description: The Service of the task store. A ready pod behind it is reached by a port-forward.
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
    description: Scheme, host and port at which the task store answers; then there is no port-forward.
    type: str
  task_store_changes:
    description:
      - Whether the run has changed the task store, or in check mode would have changed it, before this task.
      - >-
        In check mode one that refuses the admin's token, or serves another experiment, then counts as not
        there yet.
    type: bool
    default: false
  admin_secret:
    description: Where the admin's token is read.
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
    description: Retry budget, in seconds, of all requests to the task store.
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
