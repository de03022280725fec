# SPDX-License-Identifier: GPL-3.0-or-later
"""The module rollout: its options, its documentation and its results."""

from __future__ import annotations

import json
import typing as t

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.eden.reference.plugins.module_utils._eden.diagnosis import GRACE
from ansible_collections.eden.reference.plugins.module_utils._eden.rollout import ARGUMENTS
from ansible_collections.eden.reference.plugins.module_utils._errors import RolloutError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import CLUSTER_ARGUMENTS
from ansible_collections.eden.reference.plugins.module_utils._module import Task
from ansible_collections.eden.reference.plugins.modules import rollout

WORKLOADS = [{"kind": "StatefulSet", "name": "eden-postgres"}]
OPTIONS = {"namespace": "eden", "workloads": WORKLOADS}


def run_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], run: t.Callable[[Task], t.Any]
) -> t.Any:
    """What the module prints."""
    from ansible.module_utils import basic

    arguments = {"ANSIBLE_MODULE_ARGS": {**OPTIONS, "_ansible_check_mode": True}}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(arguments).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    monkeypatch.setattr(rollout, "run", run)
    with pytest.raises(SystemExit) as ended:
        rollout.main()
    return ended.value.code, json.loads(capsys.readouterr().out)


def test_a_result_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tasks: list[Task] = []

    def run(task: Task) -> dict[str, t.Any]:
        tasks.append(task)
        return {"changed": False, "workloads": [], "logs": {}, "timeline": []}

    code, printed = run_main(monkeypatch, capsys, run)
    assert (code, printed["changed"], printed["timeline"]) == (0, False, [])
    assert tasks[0].check_mode
    assert tasks[0].parameters["grace"] == GRACE


def test_an_error_is_printed_with_its_details(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_task: Task) -> dict[str, t.Any]:
        raise RolloutError("StatefulSet eden/eden-postgres is not ready: …", cause="image", log=["a"])

    code, printed = run_main(monkeypatch, capsys, run)
    assert code == 1
    assert (printed["failed"], printed["cause"], printed["log"]) == (True, "image", ["a"])
    assert printed["msg"].startswith("StatefulSet eden/eden-postgres is not ready")


@pytest.mark.parametrize(
    ("grace", "expected"),
    [(None, GRACE), ({"image": 60}, {**GRACE, "image": 60.0})],
    ids=["none given", "one given"],
)
def test_what_is_not_given_of_grace_has_its_default(grace: t.Any, expected: dict[str, float]) -> None:
    options = OPTIONS if grace is None else {**OPTIONS, "grace": grace}
    result = ArgumentSpecValidator(ARGUMENTS).validate(options)
    assert result.error_messages == []
    assert result.validated_parameters["grace"] == expected


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"namespace": "eden"}, "workloads"),
        ({**OPTIONS, "workloads": [{"kind": "DaemonSet", "name": "x"}]}, "DaemonSet"),
        ({**OPTIONS, "workloads": [{"kind": "Job"}]}, "name"),
        ({**OPTIONS, "grace": {"crash": 1}}, "crash"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, t.Any], complaint: str) -> None:
    assert complaint in " ".join(ArgumentSpecValidator(ARGUMENTS).validate(options).error_messages)


def documented(options: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Documented options in the form of an argument spec, without their texts."""
    kept = ("type", "elements", "default", "required", "choices")
    return {
        name: {
            **{key: entry[key] for key in kept if key in entry},
            **({"options": documented(entry["suboptions"])} if "suboptions" in entry else {}),
        }
        for name, entry in options.items()
    }


def test_documentation_and_argument_spec_agree() -> None:
    options = yaml.safe_load(rollout.DOCUMENTATION)["options"]
    own = {name: dict(entry) for name, entry in ARGUMENTS.items() if name not in CLUSTER_ARGUMENTS}
    assert own["grace"].pop("apply_defaults") is True
    assert documented(options) == own


def test_examples_and_return_are_yaml() -> None:
    assert [task["eden.reference.rollout"]["namespace"] for task in yaml.safe_load(rollout.EXAMPLES)[:2]] == [
        "eden"
    ] * 2
    assert {"workloads", "logs", "timeline", "cause", "log"} <= set(yaml.safe_load(rollout.RETURN))
