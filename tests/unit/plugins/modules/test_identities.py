# SPDX-License-Identifier: GPL-3.0-or-later
"""The module identities as ansible calls it: its arguments, its result, its failure, and its action."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.eden.reference.plugins.action import identities as action
from ansible_collections.eden.reference.plugins.doc_fragments import task_store
from ansible_collections.eden.reference.plugins.module_utils._eden import identities as logic
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import IdentityError
from ansible_collections.eden.reference.plugins.module_utils._module import Task
from ansible_collections.eden.reference.plugins.modules import identities as module

ARGUMENTS: dict[str, t.Any] = {
    "namespace": "ns",
    "instance": "one",
    "experiment_id": "exp_01jabcdefghjkmnpqrstvwxyz0",
    "service": {"name": "store", "port": "8080"},
    "admin_secret": {"name": "credentials", "key": "EDEN_ADMIN_TOKEN"},
    "workers": [{"name": "operator", "secret": "id-operator"}],
}


def call(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    run: t.Callable[[Task], t.Any],
    without: str = "",
    **internal: bool,
) -> tuple[int, dict[str, t.Any]]:
    """The exit status and the document that the module prints."""
    monkeypatch.setattr(module, "run", run)
    arguments = {name: value for name, value in ARGUMENTS.items() if name != without}
    with patch_module_args(arguments | internal), pytest.raises(SystemExit) as ended:
        module.main()
    document: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return int(t.cast(int, ended.value.code)), document


def test_success(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tasks: list[Task] = []

    def run(task: Task) -> dict[str, t.Any]:
        tasks.append(task)
        return {"changed": True, "identities": {}, "groups": {}}

    status, document = call(monkeypatch, capsys, run, _ansible_check_mode=True, _ansible_diff=True)
    assert status == 0
    assert document["changed"]
    assert not document.get("warnings")
    assert (tasks[0].check_mode, tasks[0].diff) == (True, True)
    parameters = tasks[0].parameters
    assert parameters["service"] == {"name": "store", "port": 8080}
    assert parameters["workers"] == [{"name": "operator", "secret": "id-operator", "labels": {}}]
    assert (parameters["groups"], parameters["timeout"], parameters["task_store_url"]) == ([], 60, None)
    assert logic.wanted_of(parameters).label == "ns/one"


def test_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_task: Task) -> dict[str, t.Any]:
        raise IdentityError("two of them", candidates=[{"worker_id": "wkr_1"}])

    status, document = call(monkeypatch, capsys, run)
    assert status == 1
    assert document["failed"]
    assert document["msg"] == "two of them"
    assert document["candidates"] == [{"worker_id": "wkr_1"}]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_required(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(_task: Task) -> dict[str, t.Any]:
        raise AssertionError("the arguments are incomplete")

    status, document = call(monkeypatch, capsys, run, without=name)
    assert status == 1
    assert name in document["msg"]


def test_action_takes_what_the_module_takes() -> None:
    assert action.ActionModule.ARGUMENTS is logic.ARGUMENTS
    assert vars(module)["ARGUMENTS"] is logic.ARGUMENTS
    assert action.ActionModule.FUNCTION is logic.run


def options(arguments: t.Mapping[str, t.Any], key: str) -> dict[str, t.Any]:
    """The names, types, defaults and duties of the options, from either of their two places."""
    return {
        name: (
            row.get("type", "str"),
            row.get("elements"),
            row.get("required", False),
            row.get("default"),
            options(row.get(key, {}), key),
        )
        for name, row in arguments.items()
        if name not in ("kubeconfig", "context", "namespace")
    }


def test_documentation_agrees_with_the_arguments() -> None:
    shared = yaml.safe_load(task_store.ModuleDocFragment.DOCUMENTATION)["options"]
    documented = shared | yaml.safe_load(module.DOCUMENTATION)["options"]
    assert options(documented, "suboptions") == options(logic.ARGUMENTS, "options")


def test_example_is_one() -> None:
    example = yaml.safe_load(module.EXAMPLES)[0]["eden.reference.identities"]
    wanted = logic.wanted_of(example | {"experiment_id": "exp_01jabcdefghjkmnpqrstvwxyz0"})
    assert [worker.name for worker in wanted.workers] == ["orchestrator", "web-ui-1", "operator"]
    assert wanted.groups[0].members == ("operator", "web-ui-1")


def test_no_option_is_a_secret_by_mistake() -> None:
    for row in (logic.ARGUMENTS["admin_secret"], logic.ARGUMENTS["workers"]["options"]["secret"]):
        assert row["no_log"] is False
