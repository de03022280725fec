# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a module of the collection runs, and what it gets there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import typing as t
from unittest import mock

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.eden.reference.plugins.action import apply as plugin
from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError
from ansible_collections.eden.reference.plugins.module_utils._module import Task
from ansible_collections.eden.reference.plugins.modules import identities_info

Function = t.Callable[[Task], dict[str, t.Any]]
ENVIRONMENT = [{"K8S_AUTH_CONTEXT": "of the task"}]
MakeAction = t.Callable[..., plugin.ActionModule]
ARGUMENTS = {"size": {"type": "int", "required": True}, "name": {"default": "x"}}


@pytest.fixture
def action(monkeypatch: pytest.MonkeyPatch) -> MakeAction:
    """Makes the action of a module with the given function."""

    def make(
        function: Function, arguments: dict[str, t.Any], transport: str = "local"
    ) -> plugin.ActionModule:
        monkeypatch.setenv("K8S_AUTH_CONTEXT", "of the user")
        monkeypatch.setattr(identities_info, "ARGUMENTS", ARGUMENTS)
        monkeypatch.setattr(identities_info, "run", function)
        task = mock.Mock(
            args=arguments, async_val=0, check_mode=True, diff=True, no_log=False, environment=ENVIRONMENT
        )
        task.configure_mock(action="identities_info", resolved_action="eden.reference.identities_info")
        connection = mock.Mock(transport=transport)
        templar = Templar(loader=DataLoader())
        return plugin.ActionModule(task, connection, mock.Mock(), DataLoader(), templar, mock.Mock())

    return make


def test_function_gets_the_validated_parameters_and_modes(action: MakeAction) -> None:
    seen: list[Task] = []

    def function(task: Task) -> dict[str, t.Any]:
        seen.append(task)
        assert os.environ["K8S_AUTH_CONTEXT"] == "of the task"
        return {"changed": True}

    assert action(function, {"size": "3"}).run(task_vars={}) == {"changed": True}
    (task,) = seen
    assert task.parameters == {"size": 3, "name": "x"}
    assert (task.check_mode, task.diff) == (True, True)


def test_progress_is_shown_with_the_host(action: MakeAction) -> None:
    def function(task: Task) -> dict[str, t.Any]:
        task.progress("pod ready")
        return {}

    with mock.patch.object(plugin.display, "display") as display:
        action(function, {"size": 1}).run(task_vars={"inventory_hostname": "lab"})
    display.assert_called_once_with("   [lab] pod ready")


def test_error_of_ours_is_a_failed_result(action: MakeAction) -> None:
    def function(task: Task) -> dict[str, t.Any]:
        raise CollectionError("It is not there.", missing=["a"])

    result = action(function, {"size": 1}).run(task_vars={})
    assert result == {"failed": True, "msg": "It is not there.", "missing": ["a"]}


def test_the_facts_of_phases_are_results_and_reset_by_the_checks() -> None:
    assert plugin.with_facts("credentials", {"digests": {"a": "1"}})["ansible_facts"] == {
        "eden_credentials": {"a": "1"}
    }
    assert plugin.with_facts("preflight", {"changed": False})["ansible_facts"] == plugin.RESET
    # An apply without restarts stops nothing, and publishes nothing.
    for module, result in (("apply", {"objects": []}), ("preflight", {"failed": True}), ("lock", {})):
        assert plugin.with_facts(module, result) == result


@pytest.mark.parametrize("arguments", [{}, {"size": "many"}, {"size": 1, "sise": 2}])
def test_wrong_arguments_do_not_reach_the_function(action: MakeAction, arguments: dict[str, t.Any]) -> None:
    function = mock.Mock()
    with pytest.raises(AnsibleError):
        action(function, arguments).run(task_vars={})
    function.assert_not_called()


def test_on_another_host_the_module_itself_runs(action: MakeAction) -> None:
    function = mock.Mock()
    remote = action(function, {"size": 1}, transport="ssh")
    with mock.patch.object(remote, "_execute_module", return_value={"changed": False}) as execute:
        assert remote.run(task_vars={"a": 1}) == {"changed": False}
    execute.assert_called_once_with(module_args={"size": 1}, task_vars={"a": 1})
    function.assert_not_called()


# A parent that is killed with its process group, while a worker that has left the group holds the pipe open.
PARENT = """\
import multiprocessing, os, signal, sys
from ansible_collections.eden.reference.plugins.action import apply

def work(ready):
    os.setsid()
    apply.end_with_parent()
    signal.alarm(120)
    ready.send("ready")
    signal.pause()

context = multiprocessing.get_context("fork")
ours, theirs = context.Pipe()
context.Process(target=work, args=(theirs,)).start()
ours.recv()
os.killpg(0, signal.SIGKILL)
"""


def test_worker_ends_when_the_process_group_of_ansible_is_killed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        # Reached only where the worker lives on: reading ends when the last writer does.
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
