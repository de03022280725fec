# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs eden.reference.experiment_info in ansible's own process."""

from __future__ import annotations

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_info
from ansible_collections.eden.reference.plugins.plugin_utils.in_process import InProcessAction


class ActionModule(InProcessAction):
    """The action of eden.reference.experiment_info."""

    ARGUMENTS = experiment_info.ARGUMENTS
    FUNCTION = staticmethod(experiment_info.run)
