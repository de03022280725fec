# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import values
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Problem


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("eden_x", "is required"), "eden_x: is required"),
        (
            Problem("eden_x", "must be a size such as 10Gi", "'10G'", "10Gi"),
            "eden_x: must be a size such as 10Gi, got '10G'",
        ),
        (Problem("eden_x", "must be a path", "''", "~/x"), "eden_x: must be a path, got ''; for example ~/x"),
    ],
)
def test_a_problem_is_one_line(problem: Problem, line: str) -> None:
    assert problem.line == line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing (null)"),
        ("", "an empty string"),
        (True, "true"),
        ("10G", "'10G'"),
        ("eden\u0430", "'eden\\u0430'"),
        ("a\nb", "'a\\nb'"),
        (3, "3"),
        (1.5, "1.5"),
        (float("inf"), "a very large number"),
        (10**30, "a very large number"),
        ({"a": 1}, "a mapping"),
        ([1], "a list"),
        (b"x", "a bytes"),
    ],
)
def test_a_value_is_shown_in_ascii(value: object, text: str) -> None:
    assert values.shown("eden_x", value) == text


def test_a_number_that_python_does_not_write_out_is_shown() -> None:
    assert values.shown("eden_x", 10**5000) == "a very large number"


@pytest.mark.parametrize("value", ["x" * 1000, "\u0430" * 1000, "'" * 1000, "\n" * 61])
def test_a_long_value_is_cut(value: str) -> None:
    shown = values.shown("eden_x", value)
    assert len(shown) <= values.SHOWN_LENGTH
    assert shown.endswith("...'")


@pytest.mark.parametrize(
    "variable",
    [
        "eden_existing_secret",
        "eden_experiment_config.api_key",
        "eden_experiment_config.Password",
        "eden_x.TOKEN[0]",
    ],
)
@pytest.mark.parametrize("value", ["hunter2", 1234])
def test_a_value_whose_name_looks_secret_is_not_shown(variable: str, value: object) -> None:
    assert values.shown(variable, value) == "a value that is not shown"
    assert values.shown_with_kind(variable, value) == "a value that is not shown"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("3", "the string '3'"),
        (3, "the number 3"),
        (False, "the boolean false"),
        (None, "nothing (null)"),
        ({}, "a mapping"),
    ],
)
def test_a_value_of_the_wrong_type_is_shown_with_its_type(value: object, text: str) -> None:
    assert values.shown_with_kind("eden_x", value) == text


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("postgres", "eden_x.postgres"),
        (0, "eden_x[0]"),
        ("kubernetes.io/os", "eden_x['kubernetes.io/os']"),
        (None, "eden_x[nothing (null)]"),
        (True, "eden_x[true]"),
        ("a\nb", "eden_x['a\\nb']"),
    ],
)
def test_parts_have_names(key: object, name: str) -> None:
    assert values.member("eden_x", key) == name


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        ("a name", ""),
        ("{{ name }}", "which contains a template that was not evaluated"),
        ("{% if %}", "which contains a template that was not evaluated"),
        (" a", "which begins or ends with whitespace"),
        ("a\n", "which begins or ends with whitespace"),
        ("a\x00b", "which contains a control character"),
        ("a\u2028b", "which contains a control character"),
        ("a\u202eb", "which contains an invisible character (U+202E)"),
        ("a\u200bb", "which contains an invisible character (U+200B)"),
        ("a\ud800b", "which contains an invisible character (U+D800)"),
    ],
)
def test_what_is_wrong_with_any_string(value: str, clause: str) -> None:
    assert values.check_string(value) == clause


@pytest.mark.parametrize("value", [True, "1", float("inf"), float("nan")])
def test_what_is_no_number(value: object) -> None:
    assert not values.is_number(value)


def test_a_number_may_be_greater_than_a_float() -> None:
    assert values.is_number(10**400)


def test_parts_are_leaves_and_keys() -> None:
    assert list(values.parts("x", {"a": [1, {"b": 2}], "c": {}})) == [
        *(("x.a", "a"), ("x.a[0]", 1), ("x.a[1].b", "b"), ("x.a[1].b", 2)),
        ("x.c", "c"),
    ]


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("executor_hosts", "x.executor_hosts: is not a key of x; did you mean executor_host?"),
        ("zzz", "x.zzz: is not a key of x; its keys are executor_host, web_ui; for example executor_host"),
        (3, "x[3]: is not a key: keys are strings, got the number 3; for example executor_host"),
    ],
)
def test_an_unknown_key(key: object, line: str) -> None:
    found = values.unknown_key("x", key, ["executor_host", "web_ui"])
    assert found.line == line.removesuffix("; for example executor_host" if key == "zzz" else "nothing")
