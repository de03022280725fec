# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module's function, in a module or in an action plugin inside Ansible's own process.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError
from ansible_collections.eden.reference.plugins.module_utils._kube.kubeconfig import secrets_of


def _silent(_line: str) -> None:
    """A module on a remote host has no terminal."""


@dataclass(frozen=True)
class Task:
    """One call of a module.

    Attributes:
        parameters: the module's options, validated.
        check_mode: read only, and predict.
        diff: return ``diff``.
        progress: shows one line to the user at once.
        process: the id of Ansible's process, 0 if the module runs on a remote target.
        host: the inventory host, empty if the module runs on a remote target.
    """

    parameters: t.Mapping[str, t.Any]
    check_mode: bool = False
    diff: bool = False
    progress: t.Callable[[str], None] = field(default=_silent)
    process: int = 0
    host: str = ""


Function = t.Callable[[Task], dict[str, t.Any]]


def result_of(run: Function, task: Task) -> dict[str, t.Any]:
    """What a module's function returns, or the failure that it reports."""
    try:
        return run(task)
    except CollectionError as error:
        return {"failed": True, **error.as_result()}


def run_module(arguments: dict[str, t.Any], run: Function) -> None:
    """Run as a module."""
    module = AnsibleModule(argument_spec=arguments, supports_check_mode=True)
    # An argument spec cannot mark the secret parts of a kubeconfig that is a dictionary.
    module.no_log_values.update(secrets_of(module.params))
    result = result_of(run, Task(module.params, module.check_mode, module._diff))
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
