#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.teardown."""

from __future__ import annotations

DOCUMENTATION = r"""
module: teardown
short_description: Remove an experiment from the cluster
description:
  - Stops the workloads as M(eden.reference.stop) does, and deletes the objects of the experiment.
  - The volume claims, the Secrets, and the ConfigMaps with the experiment's id, config and seed commit stay,
    so that the experiment can go on later.
  - With O(purge=true) they are deleted, too. The namespace and objects of others always stay.
  - A missing permission is reported before the first write, by dry runs.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows the names of objects.
  idempotent:
    support: full
options:
  instance:
    description: Name of the experiment.
    type: str
    required: true
  topology:
    description: The result of the filter P(eden.reference.topology#filter).
    type: dict
    required: true
  stages:
    description: The stage in which each component is stopped, lowest first.
    type: dict
    required: true
  purge:
    description: Whether the data is deleted, too.
    type: bool
    default: false
  confirm:
    description: With O(purge=true), must be O(instance).
    type: str
    default: ""
  keep_credentials:
    description: Whether the Secret with the credentials stays in any case, because it is the user's.
    type: bool
    default: false
  lock_timeout:
    description: Seconds to wait for another run to end.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Remove the experiment, and keep its data
  eden.reference.teardown:
    namespace: eden
    instance: eden
    topology: "{{ topology }}"
    stages:
      executor-host: 1
      orchestrator: 2
      task-store-server: 3
      postgres: 4
      forgejo: 4
"""

RETURN = r"""
deleted:
  description: The objects that were deleted, or in check mode would be, in that order.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
    name:
      description: Name of the object.
      type: str
  sample:
    - kind: StatefulSet
      name: eden-executor-host-1
kept:
  description: The objects with the data, if they were kept.
  returned: success
  type: list
  elements: dict
foreign:
  description: Objects with a name of the experiment that belong to others, and to whom. They stay.
  returned: success
  type: dict
retained_volumes:
  description: Volumes that the cluster keeps although their claims are deleted.
  returned: success
  type: list
  elements: str
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.teardown import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
