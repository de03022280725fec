#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.experiment_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: experiment_info
short_description: Read the progress of an experiment and the identities of its workers
description:
  - Reads the state of the experiment and, if asked for, its events from the task store.
  - Checks for each worker whether the task store accepts the token in its Secret.
  - Tokens stay inside the module.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
  - eden.reference.task_store
attributes:
  check_mode:
    support: full
    details: In check mode a task store that does not exist yet is no error, see RV(available).
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  events:
    description:
      - Whether the events are counted.
      - >-
        The task store has no pages: it reads its whole log for each request, and answers nothing else
        meanwhile. The counts and the place in the log are kept in C(eden.reference) below E(XDG_CACHE_HOME),
        or else C(~/.cache), in one file for each experiment and API server, so that only the first request
        transfers the whole log. A request may take 120 seconds, and is not repeated after that.
    type: bool
    default: false
  duplicates:
    description: Whether the registry is searched for further workers under the names of this instance's own.
    type: bool
    default: false
  ask_for_all:
    description:
      - Whether the task store is asked about each worker.
      - If false, only about those whose Secret no ready pod uses, which costs it less. A pod that lost its
        registration a moment ago may still be ready then.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Read the progress of the experiment
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
  description: Whether the task store answered; can be false only in check mode.
  returned: success
  type: bool
state:
  description: State of the experiment, V(running) or V(terminated).
  returned: success
  type: str
  sample: running
workers:
  description: The identity of each worker.
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
      description: Id in the Secret; empty if it has none.
      type: str
    accepted:
      description: Whether the task store accepts the token in the Secret as that worker's.
      type: bool
duplicates:
  description:
    - The workers that were minted for this instance under a name in O(workers), and that no Secret holds.
      Empty without O(duplicates).
    - Two first runs at once made them before runs excluded each other. The task store cannot delete a worker.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Name of the worker.
      type: str
    worker_id:
      description: Id of the worker that no Secret holds.
      type: str
    message:
      description: Both in a sentence.
      type: str
events:
  description: Number of events of each type; empty without O(events).
  returned: success
  type: dict
  sample:
    task.completed: 10
    variant.integrated: 3
ideations:
  description: Number of completed ideation tasks; 0 without O(events).
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
