#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Module eden.reference.lock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lock
short_description: Release the lock of an experiment at the end of a run
description:
  - The modules of a run that have O(lock) take it right before their first write, so that one run at a time
    changes an experiment. This module gives it up, so that the next run need not wait until it expires.
  - A module that fails releases the lock by itself.
  - Writes nothing if this run does not hold the lock.
author: EDEN reference deployment contributors (@ealt)
extends_documentation_fragment:
  - eden.reference.attributes
  - eden.reference.cluster
attributes:
  check_mode:
    support: full
    details: No lock is taken in check mode.
  diff_mode:
    support: N/A
    details: The lock is not part of the experiment.
  idempotent:
    support: full
options:
  state:
    description: The state after the run.
    type: str
    choices: [released]
    default: released
"""

EXAMPLES = r"""
- name: Release the lock
  eden.reference.lock:
    namespace: eden
    lock: "{{ eden_preflight.lock }}"
"""

RETURN = r"""
released:
  description: Whether this run held the lock. The module never reports a change of the experiment.
  returned: success
  type: bool
  sample: true
"""

from ansible_collections.eden.reference.plugins.module_utils._eden.lock import ARGUMENTS, run
from ansible_collections.eden.reference.plugins.module_utils._module import run_module


def main() -> None:
    """Run the module."""
    run_module(ARGUMENTS, run)


if __name__ == "__main__":
    main()
