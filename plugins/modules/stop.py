#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.stop."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stop
short_description: Stop the workloads of an experiment in the order that loses nothing
description:
  - Scales the workloads to 0, stage by stage, and waits for the end of their pods, which complete their tasks
    first.
  - A stopped workload keeps the former number of its replicas in the annotation
    C(eden.reference/stopped-replicas). M(eden.reference.start) starts it again.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  selector:
    description: Label selector of the experiment's workloads.
    type: str
    required: true
  stages:
    description: The stage in which each component is stopped, lowest first. Others are left alone.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Stop the hosts, then the orchestrator
  eden.reference.stop:
    namespace: eden
    selector: app.kubernetes.io/managed-by=eden.reference,app.kubernetes.io/instance=eden
    stages:
      executor-host: 1
      orchestrator: 2
"""

RETURN = r"""
workloads:
  description: The workloads that were stopped, or in check mode would be, in that order.
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

from ansible_collections.eden.reference.plugins.module_utils._eden.stop import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
