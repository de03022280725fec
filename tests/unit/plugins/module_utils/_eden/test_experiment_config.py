# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import datetime
import typing as t

import pytest
import yaml
from input_strategies import SPEC

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_config
from ansible_collections.eden.reference.plugins.module_utils._eden.experiment_config import problems

Config = dict[str, t.Any]
DEFAULT = SPEC["eden_experiment_config"]["default"]


def lines(config: t.Any) -> list[str]:
    return [problem.line for problem in problems(config)]


def with_key(path: str, value: t.Any) -> Config:
    config: Config = copy.deepcopy(DEFAULT)
    *parents, last = path.split("/")
    part = config
    for parent in parents:
        part = part.setdefault(parent, {})
    part[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("parallel_variants", 7),
        ("evaluation_schema", {"_a1": "real", "B": "integer", "notes": "text", "x" * 63: "real"}),
        ("objective/expr", "score +\n 1\n"),
        ("objective/direction", "minimize"),
        ("objective/anything", None),
        ("dispatch_mode", {}),
        ("dispatch_mode", {"termination": "manual", "integration": "manual", "other": 3}),
        ("ideation_policy", {"kind": "maintain_pending"}),
        ("ideation_policy", {"kind": "maintain_pending", "target": 1, "max_total": None}),
        ("ideation_policy", {"kind": "maintain_pending", "max_total": 0, "other": "x"}),
        ("ideation_policy", {"kind": "fixed_total", "total": 1}),
        ("termination_policy", {"kind": "never_terminate"}),
        ("termination_policy", {"kind": "max_variants", "target": 1}),
        ("termination_policy", {"kind": "max_wall_time", "duration": "PT2H"}),
        ("termination_policy", {"kind": "max_wall_time", "duration": "P1Y2M3W4DT5H6M7.5S"}),
        (
            "termination_policy",
            {"kind": "convergence_window", "metric": "score", "window": 1, "direction": "minimize"},
        ),
        ("termination_policy", {"kind": "target_condition", "metric": "score", "threshold": -3}),
        ("baseline", {}),
        ("baseline", {"enabled": False}),
        ("baseline", {"metrics": {"score": 1}}),
        ("baseline", {"enabled": True, "metrics": {"score": None}}),
        ("auto_checkpoint", {}),
        (
            "auto_checkpoint",
            {"enabled": False, "interval_seconds": 0.5, "retention_count": 1, "on_terminate": False},
        ),
        ("max_quiescent_iterations", 2),
        ("ideation_task_deadline", 1),
        ("execution_task_deadline", 0.5),
        ("evaluation_command", "python3 ${EDEN_EXPERIMENT_DIR}/evaluation.py"),
        ("max_variants", 20),
        ("anything", {"at": ["all", None, {"{{ kept }}": True}]}),
    ],
)
def test_what_eden_takes(path: str, value: object) -> None:
    assert lines(with_key(path, value)) == []


def test_the_default_is_right() -> None:
    assert lines(DEFAULT) == []


@pytest.mark.parametrize("key", ["parallel_variants", "evaluation_schema", "objective"])
def test_required_keys(key: str) -> None:
    config = {name: value for name, value in DEFAULT.items() if name != key}
    assert [line.split("; ")[0] for line in lines(config)] == [f"eden_experiment_config.{key}: is required"]


@pytest.mark.parametrize("config", [None, [], "parallel_variants: 1", 3, True])
def test_only_a_mapping_is_a_config(config: object) -> None:
    [line] = lines(config)
    assert line.startswith("eden_experiment_config: must be a mapping with the keys parallel_variants,")


# Names of the variant object, and columns of the task store's view, which would then have one of them twice.
TAKEN = [
    *("variant_id", "commit_sha", "parent_commits", "branch", "status", "artifacts_uri", "description"),
    *("timestamp", "started_at", "completed_at", "experiment_id", "kind", "idea_id", "variant_commit_sha"),
    *("executor_artifacts_uri", "executed_by", "evaluated_by", "evaluation"),
]


@pytest.mark.parametrize("name", TAKEN)
def test_a_metric_may_not_have_a_name_that_eden_uses(name: str) -> None:
    assert lines(with_key("evaluation_schema", {"score": "real", name: "real"})) == [
        f"eden_experiment_config.evaluation_schema.{name}: its name must be at most 63 letters, digits "
        f"and _, without a digit first, and none that EDEN uses for itself, got the string '{name}'; "
        "for example my_metric"
    ]


# fmt: off
@pytest.mark.parametrize(
    ("path", "value", "variable"),
    [
        ("parallel_variants", 0, "parallel_variants"),
        ("parallel_variants", "1", "parallel_variants"),
        ("parallel_variants", 1.0, "parallel_variants"),
        ("parallel_variants", True, "parallel_variants"),
        ("evaluation_schema", {}, "evaluation_schema"),
        ("evaluation_schema", ["score"], "evaluation_schema"),
        ("evaluation_schema", {"score": "float"}, "evaluation_schema.score"),
        ("evaluation_schema", {"score": None}, "evaluation_schema.score"),
        ("evaluation_schema", {"1st": "real"}, "evaluation_schema['1st']"),
        ("evaluation_schema", {"a-b": "real"}, "evaluation_schema.a-b"),
        ("evaluation_schema", {"score\n": "real"}, "evaluation_schema['score\\n']"),
        ("evaluation_schema", {"sc\u043ere": "real"}, "evaluation_schema['sc\\u043ere']"),
        ("evaluation_schema", {1: "real"}, "evaluation_schema[1]"),
        ("evaluation_schema", {"x" * 64: "real"}, "evaluation_schema['" + "x" * 55 + "...']"),
        ("objective", "score", "objective"),
        ("objective", {"expr": "score"}, "objective.direction"),
        ("objective/expr", "", "objective.expr"),
        ("objective/expr", 3, "objective.expr"),
        ("objective/direction", "max", "objective.direction"),
        ("dispatch_mode", None, "dispatch_mode"),
        ("dispatch_mode/termination", True, "dispatch_mode.termination"),
        ("dispatch_mode/integration", None, "dispatch_mode.integration"),
        ("ideation_policy", {}, "ideation_policy.kind"),
        ("ideation_policy", None, "ideation_policy"),
        ("ideation_policy", {"kind": "fixed"}, "ideation_policy.kind"),
        ("ideation_policy", {"kind": "fixed_total"}, "ideation_policy.total"),
        ("ideation_policy", {"kind": "fixed_total", "total": 0}, "ideation_policy.total"),
        ("ideation_policy", {"kind": "maintain_pending", "target": 0}, "ideation_policy.target"),
        ("ideation_policy", {"kind": "maintain_pending", "target": None}, "ideation_policy.target"),
        ("ideation_policy", {"kind": "maintain_pending", "max_total": -1}, "ideation_policy.max_total"),
        ("termination_policy", {"kind": "max_variants"}, "termination_policy.target"),
        ("termination_policy", {"kind": "max_wall_time"}, "termination_policy.duration"),
        ("termination_policy", {"kind": "convergence_window", "metric": "score"},
         "termination_policy.window"),
        ("termination_policy", {"kind": "convergence_window", "window": 3}, "termination_policy.metric"),
        ("termination_policy", {"kind": "target_condition", "metric": "score"},
         "termination_policy.threshold"),
        ("termination_policy", {"kind": "target_condition", "metric": "scor", "threshold": 1},
         "termination_policy.metric"),
        ("termination_policy", {"kind": "target_condition", "metric": "score", "threshold": "1"},
         "termination_policy.threshold"),
        ("baseline", {"enabled": "yes"}, "baseline.enabled"),
        ("baseline", {"enabled": None}, "baseline.enabled"),
        ("baseline", {"enabled": False, "metrics": {"score": 1}}, "baseline.metrics"),
        ("baseline", {"metrics": None}, "baseline.metrics"),
        ("baseline", {"metrics": {"loss": 1}}, "baseline.metrics.loss"),
        ("baseline", {"metrics": {"score": True}}, "baseline.metrics.score"),
        ("baseline", {"metrics": {"score": float("inf")}}, "baseline.metrics.score"),
        ("auto_checkpoint", {"enabled": True}, "auto_checkpoint.enabled"),
        ("auto_checkpoint", {"directory": "/x"}, "auto_checkpoint.directory"),
        ("auto_checkpoint", {"interval_seconds": 0}, "auto_checkpoint.interval_seconds"),
        ("auto_checkpoint", {"retention_count": 0}, "auto_checkpoint.retention_count"),
        ("max_quiescent_iterations", 1, "max_quiescent_iterations"),
        ("ideation_task_deadline", 0, "ideation_task_deadline"),
        ("execution_task_deadline", "600", "execution_task_deadline"),
        ("evaluation_task_deadline", None, "evaluation_task_deadline"),
        ("dispatch_mod", {}, "dispatch_mod"),
        ("anything\u0430", 1, None),
    ],
)
def test_what_eden_refuses(path: str, value: object, variable: str | None) -> None:
    found = [problem.variable for problem in problems(with_key(path, value))]
    assert found == ([f"eden_experiment_config.{variable}"] if variable else [])
# fmt: on


def each(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


@pytest.mark.parametrize(
    "duration",
    [
        *each("2h P PT P1DT PT0S P0D PT0.0S -PT1H PT1H2 02:00:00 P99999999999D P0.5Y1D PT\u0661S"),
        *("", "1 day", "PT1H\n", 7200, None),
    ],
)
def test_durations_that_are_none(duration: object) -> None:
    config = with_key("termination_policy", {"kind": "max_wall_time", "duration": duration})
    assert [problem.variable for problem in problems(config)] == [
        "eden_experiment_config.termination_policy.duration"
    ]


def test_a_policy_is_required_where_termination_is_automatic() -> None:
    config = with_key("dispatch_mode/termination", "auto")
    assert lines(config) == [
        "eden_experiment_config.termination_policy: is required, since dispatch_mode.termination is auto; "
        "for example {kind: max_variants, target: 20}"
    ]
    config["termination_policy"] = {"kind": "never_terminate"}
    assert lines(config) == []


def test_all_problems_are_found_at_once() -> None:
    config = {"parallel_variants": 0, "evaluation_schema": {"status": "real", "a b": "x"}, "objective": {}}
    assert len(problems(config)) == 6


def test_a_file_gives_its_value() -> None:
    content = "\ufeff# a comment \U0001f680\r\nparallel_variants:   1 # kept\n\u00e9: 1\n".encode()
    assert experiment_config.parse(content, "eden_x") == ({"parallel_variants": 1, "\u00e9": 1}, [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "not UTF-8 (byte 0)"),
        (b"a: [", "expected the node content"),
        (
            b"a: 1\n---\nb: 2\n",
            "expected a single document in the stream, but found another document (line 2, column 1)",
        ),
        (b"a: {b: 1, b: 2}\n", "the key 'b' is given twice (line 1, column 11)"),
        (b"a: 2020-99-99\n", "month must be in 1..12"),
        (b"a: !vault |\n  x\n", "could not determine a constructor"),
        (b"a: \x00\n", "special characters are not allowed (position 3)"),
        (b"? [a]\n: 1\n", "unhashable key (line 1, column 3)"),
        (b"[" * 100_000, "nested more than 64 levels deep"),
        (b"a: " + b"x" * experiment_config.MAX_SIZE, "must be smaller than 1020 KiB"),
    ],
)
def test_a_file_that_cannot_be_read(content: bytes, words: str) -> None:
    config, [problem] = experiment_config.parse(content, "eden_x")
    assert config is None
    assert problem.variable == "eden_x"
    assert words in problem.line
    assert "\n" not in problem.line


def test_the_lines_of_a_file_are_not_quoted() -> None:
    _config, [problem] = experiment_config.parse(b"token: hunter2 : x\n", "eden_x")
    assert problem.got == "one that cannot be read: mapping values are not allowed here (line 1, column 16)"


def test_merge_keys_may_repeat_a_key() -> None:
    content = b"x: &x {a: 1}\ny: {<<: *x, a: 2}\nz: {<<: *x, b: 3}\n"
    config, found = experiment_config.parse(content, "eden_x")
    assert (config["y"], config["z"], found) == ({"a": 2}, {"a": 1, "b": 3}, [])


def test_equal_configs_give_equal_texts() -> None:
    backwards = dict(reversed(DEFAULT.items()))
    assert experiment_config.dump(backwards) == experiment_config.dump(DEFAULT)
    assert yaml.safe_load(experiment_config.dump(DEFAULT)) == DEFAULT


@pytest.mark.parametrize(
    "value",
    [
        datetime.date(2020, 1, 1),
        "yes",
        "1",
        "é\n",
        "\x85",
        " \u2028 ",
        "\ufeff",
        None,
        {"a": [1.5, True]},
        "{{ x }}",
    ],
)
def test_a_text_gives_its_config_back(value: object) -> None:
    assert yaml.safe_load(experiment_config.dump({**DEFAULT, "extra": value})) == {**DEFAULT, "extra": value}


@pytest.mark.parametrize("value", [object(), "x" * experiment_config.MAX_SIZE])
def test_a_config_that_cannot_be_stored(value: object) -> None:
    [problem] = experiment_config.dump_problems({"extra": value})
    assert problem.variable == "eden_experiment_config"


def test_only_names_of_metrics_are_shown() -> None:
    metrics = {"\u202e": "real", "x" * 500: "real", "loss": "real"}
    config = {**DEFAULT, "evaluation_schema": metrics, "baseline": {"metrics": {"other": 1}}}
    policy = {"kind": "target_condition", "metric": "other", "threshold": 1}
    found = problems({**config, "termination_policy": policy})
    assert [problem.example for problem in found[-2:]] == ["loss", "loss"]
    assert found[-1].rule == "is not a metric of evaluation_schema, which has loss"


@pytest.mark.parametrize("value", [10**9 + 1, 1e300, 10**400])
def test_deadlines_end_before_the_calendar(value: float) -> None:
    [problem] = problems({**DEFAULT, "execution_task_deadline": value})
    assert problem.rule.endswith("greater than 0 and at most 1000000000")
