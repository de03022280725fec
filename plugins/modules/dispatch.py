#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.dispatch."""

from __future__ import annotations

DOCUMENTATION = r"""
module: dispatch
short_description: Pause, resume or terminate an experiment
description:
  - A pause stops the creation of tasks. Those that exist are completed, and finished variants are
    integrated.
  - The modes that a pause has found are noted in the annotation
    C(eden.reference/dispatch-mode-before-pause) of O(configmap), and O(state=resumed) restores exactly these.
  - The termination of an experiment cannot be undone.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
  - eden.reference.task_store
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description: The desired state.
    type: str
    choices: [paused, resumed, terminated]
    required: true
  operator:
    description: Name of the Secret of the worker as which this is done; the admin may not do it.
    type: str
    required: true
  configmap:
    description: Name of the ConfigMap that gets the annotation.
    type: str
    required: true
  reason:
    description: Why the experiment ends, as its last event says.
    type: str
    default: eden.reference
"""

EXAMPLES = r"""
- name: Pause the experiment
  eden.reference.dispatch:
    namespace: eden
    instance: eden
    experiment_id: exp_0123456789abcdefghjkmnpqrs
    service:
      name: eden-task-store-server
      port: 8080
    admin_secret:
      name: eden-credentials
      key: EDEN_ADMIN_TOKEN
    workers: []
    operator: eden-operator-identity
    configmap: eden-experiment
    state: paused
"""

RETURN = r"""
dispatch_mode:
  description: The dispatch mode, in check mode as it would be.
  returned: when O(state) is V(paused) or V(resumed)
  type: dict
  sample:
    ideation_creation: manual
    execution_dispatch: manual
    evaluation_dispatch: manual
    integration: auto
experiment_state:
  description: The state of the experiment.
  returned: when O(state=terminated)
  type: str
  sample: terminated
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.dispatch import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
