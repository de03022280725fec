# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module of this collection inside ansible's own process when the task's connection is local.

Saves the start of a Python process and the import of the Kubernetes client for each task, and prints
progress while the module works. Over any other connection the module runs on the target as usual.
This plugin util is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.eden.reference.plugins.module_utils.errors import EdenReferenceError
from ansible_collections.eden.reference.plugins.module_utils.task import Task

display = Display()


class InProcessAction(ActionBase):
    """Base of the action plugins; a subclass names the module's argument spec and function."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    ARGUMENTS: t.ClassVar[dict[str, t.Any]]
    CONSTRAINTS: t.ClassVar[dict[str, t.Any]] = {}
    FUNCTION: t.Callable[[Task], dict[str, t.Any]]

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        if self._connection.transport != "local":
            return self._execute_module(task_vars=task_vars)
        _result, parameters = self.validate_argument_spec(argument_spec=self.ARGUMENTS, **self.CONSTRAINTS)
        host = (task_vars or {}).get("inventory_hostname", "")
        task = Task(
            parameters=parameters,
            check_mode=self._task.check_mode,
            diff=self._task.diff,
            progress=lambda line: display.display(f"   [{host}] {line}"),
        )
        try:
            return self.FUNCTION(task)
        except EdenReferenceError as error:
            return {"failed": True, **error.as_result()}
