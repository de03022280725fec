# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs eden.reference.apply in ansible's own process."""

from __future__ import annotations

from ansible_collections.eden.reference.plugins.module_utils._eden import apply
from ansible_collections.eden.reference.plugins.plugin_utils.in_process import InProcessAction


class ActionModule(InProcessAction):
    """The action of eden.reference.apply."""

    ARGUMENTS = apply.ARGUMENTS
    FUNCTION = staticmethod(apply.run)
