# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``lock``: releases the lock at the end of a run.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._kube.client import CLUSTER_ARGUMENTS, connected
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "state": {"type": "str", "choices": ["released"], "default": "released"},
}


def run(task: Task) -> dict[str, t.Any]:
    """Release the lock if this run holds it, which it does not in check mode."""
    with connected(task.parameters) as cluster:
        released = bool(cluster.lock and not task.check_mode and cluster.lock.release())
    return {"changed": False, "released": released}
