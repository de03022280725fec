# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module of this collection inside Ansible's own process if the task's connection is local.

Saves the start of a Python process and the import of the Kubernetes client for each task, and prints
progress while the module works. Over any other connection the module runs on the target as usual.

The action of every module that connects to the cluster is a link to this file.
"""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import signal
import sys
import typing as t

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.eden.reference.plugins.module_utils._module import Task, result_of
from ansible_collections.eden.reference.plugins.plugin_utils import _templates

# Ansible loads an action before it forks, so the module's imports happen once and not for each task.
importlib.import_module(f"ansible_collections.eden.reference.plugins.modules.{__name__.rpartition('.')[2]}")

PR_SET_PDEATHSIG = 1
# The facts that a module's result publishes, and their keys in it; roles/eden/vars/main/facts.yml reads them.
PUBLISHED = {
    "apply": {"eden_stopped": "stopped"},
    "credentials": {"eden_credentials": "digests"},
    "identities": {"eden_identities": "identities"},
    "identities_info": {"eden_identities": "identities"},
}
# They belong to one experiment, so that each check of a cluster resets them.
RESET: dict[str, t.Any] = {"eden_credentials": {}, "eden_stopped": [], "eden_identities": {}}

display = Display()


def end_with_parent() -> None:
    """Make this worker process end when Ansible is killed.

    Workers leave Ansible's process group, so a kill of the group does not reach them. An orphaned worker
    would continue to write during the next run. Linux only.
    """
    parent = multiprocessing.parent_process()
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent.pid:
        # Ansible was killed just before.
        os._exit(1)


def with_facts(module: str, result: dict[str, t.Any]) -> dict[str, t.Any]:
    """The result with the facts that the phases share, which cost no task so."""
    if result.get("failed"):
        return result
    found = {fact: result[key] for fact, key in PUBLISHED.get(module, {}).items() if key in result}
    facts = {**(RESET if module == "preflight" else {}), **found}
    return {**result, "ansible_facts": facts} if facts else result


class ActionModule(ActionBase):
    """The action of the module that the task names."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        name = (self._task.resolved_action or self._task.action).rpartition(".")[2]
        module = importlib.import_module(f"ansible_collections.eden.reference.plugins.modules.{name}")
        _result, parameters = self.validate_argument_spec(argument_spec=module.ARGUMENTS)
        rendered = self.rendered(parameters)
        if self._connection.transport != "local":
            arguments = {**self._task.args, **rendered}
            return with_facts(name, self._execute_module(module_args=arguments, task_vars=task_vars))
        end_with_parent()
        # A module's process has the task's environment, which may set K8S_AUTH_*.
        environment: dict[str, str] = {}
        self._compute_environment_string(environment)
        os.environ.update(environment)
        host = (task_vars or {}).get("inventory_hostname", "")
        task = Task(
            parameters={**parameters, **rendered},
            check_mode=self._task.check_mode,
            diff=self._task.diff,
            progress=lambda line: display.display(f"   [{host}] {line}"),
            # This is a worker, which is forked for each task.
            process=os.getppid(),
            host=host,
        )
        return with_facts(name, result_of(module.run, task))

    def rendered(self, parameters: dict[str, t.Any]) -> dict[str, t.Any]:
        """The options of eden.reference.apply after its `templates` are rendered."""
        if not parameters.get("templates"):
            return {}
        places = _templates.search_path(self._task._role, self._loader.get_basedir())
        objects = _templates.objects(parameters["templates"], self._templar, places)
        return {"templates": [], "definitions": [*parameters["definitions"], *objects]}
