# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module as ansible calls it: its examples, its action, its result and its failure."""

from __future__ import annotations

import importlib
import json
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.testing import patch_module_args

from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError
from ansible_collections.eden.reference.plugins.module_utils._module import Function, Task
from ansible_collections.eden.reference.plugins.modules import identities_info

PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
NAMES = sorted(path.stem for path in (PLUGINS / "modules").glob("[a-z]*.py"))
PREFIX = "eden.reference."
# What a release that is named eden consists of.
MADE = re.compile(
    r"eden-("
    r"credentials|lock|experiment|experiment-config|seed|git-credential-helper"
    r"|postgres|forgejo|task-store-server|orchestrator|web-ui|blob|artifacts"
    r"|(ideator|executor|evaluator)-host-\d+"
    r"|(operator|orchestrator|web-ui-\d+|(ideator|executor|evaluator)-host-\d+)-identity)"
)
ARGUMENTS: dict[str, t.Any] = {
    "namespace": "ns",
    "instance": "one",
    "experiment_id": "exp_01jabcdefghjkmnpqrstvwxyz0",
    "service": {"name": "store", "port": "8080"},
    "admin_secret": {"name": "credentials", "key": "EDEN_ADMIN_TOKEN"},
    "workers": [{"name": "operator", "secret": "id-operator"}],
}


def examples(name: str) -> list[dict[str, t.Any]]:
    module = importlib.import_module(f"ansible_collections.eden.reference.plugins.modules.{name}")
    tasks: list[dict[str, t.Any]] = yaml.safe_load(module.EXAMPLES)
    return tasks


@pytest.mark.parametrize("name", NAMES)
def test_examples_have_valid_arguments(name: str) -> None:
    used = {key for task in examples(name) for key in task if key.startswith(PREFIX)}
    assert f"{PREFIX}{name}" in used
    for task in examples(name):
        for key in used & task.keys():
            other = f"ansible_collections.eden.reference.plugins.modules.{key.removeprefix(PREFIX)}"
            spec = getattr(importlib.import_module(other), "ARGUMENTS", {})
            # An expression stands for a value that fits.
            given = {
                option: value
                for option, value in (task[key] or {}).items()
                if not (isinstance(value, str) and "{{" in value)
            }
            required = {option: {**row, "required": False} for option, row in spec.items()}
            assert ArgumentSpecValidator(required).validate(given).error_messages == []
            missing = {option for option, row in spec.items() if row.get("required")} - (
                task[key] or {}
            ).keys()
            assert missing == set()


@pytest.mark.parametrize("name", NAMES)
def test_examples_name_objects_that_are_made(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.eden.reference.plugins.modules.{name}")
    found = re.findall(r"(?<![\w.-])eden-[a-z0-9-]+", module.EXAMPLES + module.RETURN)
    assert [name for name in found if not re.fullmatch(rf"(data-)?{MADE.pattern}(-0)?", name)] == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "inputs"])
def test_action_is_the_one_that_all_link_to(name: str) -> None:
    link = PLUGINS / "action" / f"{name}.py"
    assert link.resolve() == PLUGINS / "action" / "apply.py"
    assert name == "apply" or str(link.readlink()) == "apply.py"


def called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: Function, **more: t.Any
) -> tuple[t.Any, dict[str, t.Any]]:
    """The exit status and the document that a module prints."""
    monkeypatch.setattr(identities_info, "run", run)
    with patch_module_args(ARGUMENTS | more), pytest.raises(SystemExit) as ended:
        identities_info.main()
    document: dict[str, t.Any] = json.loads(capsys.readouterr().out)
    return ended.value.code, document


def test_result_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tasks: list[Task] = []

    def run(task: Task) -> dict[str, t.Any]:
        tasks.append(task)
        return {"changed": True, "complete": False}

    status, document = called(monkeypatch, capsys, run, _ansible_check_mode=True, _ansible_diff=True)
    assert (status, document["changed"], document["complete"]) == (0, True, False)
    # Options that name secrets are not taken for secrets.
    assert not document.get("warnings")
    assert (tasks[0].check_mode, tasks[0].diff) == (True, True)
    assert tasks[0].parameters["service"] == {"name": "store", "port": 8080}
    assert tasks[0].parameters["groups"] == []


def test_failure_is_printed_with_its_details(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_task: Task) -> dict[str, t.Any]:
        raise CollectionError("two of them", candidates=[{"worker_id": "wkr_1"}])

    status, document = called(monkeypatch, capsys, run)
    assert (status, document["failed"], document["msg"]) == (1, True, "two of them")
    assert document["candidates"] == [{"worker_id": "wkr_1"}]


def test_wrong_options_do_not_reach_the_function(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_task: Task) -> dict[str, t.Any]:
        raise AssertionError("the options are wrong")

    status, document = called(monkeypatch, capsys, run, service={"name": "store"})
    assert status == 1
    assert "port" in document["msg"]
