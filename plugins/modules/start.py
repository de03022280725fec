#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.start."""

from __future__ import annotations

DOCUMENTATION = r"""
module: start
short_description: Start the workloads that were stopped, and wait for them
description:
  - M(eden.reference.apply) stops workloads before something that they depend on restarts, and
    M(eden.reference.stop) on request. This starts those that have had no replicas since, with as many as they
    had before, also if the run that stopped them was killed, and waits for them as M(eden.reference.rollout)
    does.
  - Workloads that others have scaled to 0 are left alone.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: The changed field is the number of replicas.
  idempotent:
    support: full
options:
  selector:
    description: Label selector of the experiment's workloads.
    type: str
    required: true
  stages:
    description:
      - The stage in which each component was stopped. The highest is started first, and is ready before the
        next one is started.
    type: dict
    default: {}
  stopped:
    description: Names of the workloads that the run has stopped, or would have in check mode, which says so.
    type: list
    elements: str
    default: []
  timeout:
    description: The maximum number of seconds to wait.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Start again what was stopped
  eden.reference.start:
    namespace: eden
    selector: app.kubernetes.io/managed-by=eden.reference,app.kubernetes.io/instance=eden
"""

RETURN = r"""
workloads:
  description: The workloads that were started.
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
  sample:
    - kind: StatefulSet
      name: eden-executor-host-1
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.start import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
