#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.experiment_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: experiment_info
short_description: Read how far an experiment is and who its workers are
description:
  - Asks the task store for the state and the events of the experiment.
  - Asks it for each worker, with the token in the worker's Secret, whom it takes the bearer for.
  - Tokens stay inside the module.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
  - eden.reference.task_store
attributes:
  check_mode:
    support: full
    details: In check mode a task store that is not there yet is no error, see RV(available).
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Read how far the experiment is
  eden.reference.experiment_info:
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
      - name: operator
        secret: eden-operator-identity
"""

RETURN = r"""
available:
  description: Whether the task store answered; false in check mode only.
  returned: success
  type: bool
state:
  description: State of the experiment, V(running) or V(terminated).
  returned: success
  type: str
  sample: running
workers:
  description: What the task store makes of each worker's Secret.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the worker.
      type: str
    secret:
      description: Name of its Secret.
      type: str
    worker_id:
      description: Id in the Secret; empty if it holds none.
      type: str
    accepted:
      description: Whether the token in the Secret is that worker's.
      type: bool
events:
  description: Number of events of each type.
  returned: success
  type: dict
  sample:
    task.completed: 10
    variant.integrated: 3
ideations:
  description: Number of ideation tasks that were completed.
  returned: success
  type: int
  sample: 3
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.experiment_info import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
