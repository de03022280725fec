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
        ("3", "the text '3'"),
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
    ("value", "got"),
    [
        ("{{ name }}", "'{{ name }}', which holds a template that was not evaluated"),
        ("{% if %}", "'{% if %}', which holds a template that was not evaluated"),
        (" a", "' a', which begins or ends with whitespace"),
        ("a\n", "'a\\n', which begins or ends with whitespace"),
        ("a\x00b", "'a\\x00b', which holds a control character"),
        ("a\u2028b", "'a\\u2028b', which holds a control character"),
        ("a\u202eb", "'a\\u202eb', which holds a character that does not show (U+202E)"),
        ("a\u200bb", "'a\\u200bb', which holds a character that does not show (U+200B)"),
        ("a\ud800b", "'a\\ud800b', which holds a character that does not show (U+D800)"),
        ("", "an empty text"),
        (" ", "' ', which begins or ends with whitespace"),
        (3, "the number 3"),
    ],
)
def test_text_says_what_is_wrong_with_it(value: object, got: str) -> None:
    assert values.text("a name", "eden")("eden_x", value) == [
        Problem("eden_x", "must be a name", got, "eden")
    ]


def test_a_number_in_quotes_gets_advice_for_the_command_line() -> None:
    [problem] = values.whole_number(1, 9, 5)("eden_timeout", "3")
    assert problem.line == (
        "eden_timeout: must be a whole number from 1 to 9, got the text '3'; for example 3 without quotes, "
        """which on the command line is -e '{"eden_timeout": 3}'"""
    )


@pytest.mark.parametrize("value", [0, 10, -1, 3.0, True, None, "", "x", [3], {"a": 3}, float("nan")])
def test_whole_numbers_are_strict(value: object) -> None:
    assert len(values.whole_number(1, 9, 5)("eden_x", value)) == 1


@pytest.mark.parametrize("value", [1, 9])
def test_whole_numbers_include_their_bounds(value: object) -> None:
    assert values.whole_number(1, 9, 5)("eden_x", value) == []


@pytest.mark.parametrize("value", [0, -0.1, False, True, "1", None, float("inf"), float("nan"), 9.1, 10**400])
def test_a_number_above_zero_ends_somewhere(value: object) -> None:
    [problem] = values.number_above_zero("a number", "1", 9)("eden_x", value)
    assert problem.rule == "must be a number greater than 0 and at most 9"


@pytest.mark.parametrize("value", [0.001, 1, 9, 9.0])
def test_a_number_above_zero_includes_its_end(value: object) -> None:
    assert values.number_above_zero("a number", "1", 9)("eden_x", value) == []


@pytest.mark.parametrize("value", [True, "1", float("inf"), float("nan")])
def test_what_is_no_number(value: object) -> None:
    assert not values.is_number(value)


def test_a_number_may_be_greater_than_a_float() -> None:
    assert values.is_number(10**400)


@pytest.mark.parametrize("value", ["yes", "no", "true", 0, 1, None, ""])
def test_booleans_are_strict(value: object) -> None:
    assert len(values.boolean()("eden_x", value)) == 1


def test_a_mapping_names_the_key_that_was_meant() -> None:
    check = values.mapping("{}", {"executor_host": values.boolean(), "web_ui": values.boolean()}, ["web_ui"])
    assert [problem.line for problem in check("eden_x", {"executor_hosts": True, 3: 4})] == [
        "eden_x.executor_hosts: is not a key of eden_x; did you mean executor_host?",
        "eden_x[3]: is not a key: keys are text, got the number 3; for example executor_host",
        "eden_x.web_ui: is required; for example {}",
    ]


def test_an_open_mapping_keeps_other_keys_that_are_text() -> None:
    check = values.mapping("{}", {"a": values.boolean()}, closed=False)
    assert check("eden_x", {"b": object()}) == []
    assert len(check("eden_x", {None: 1})) == 1


def test_a_list_names_the_item() -> None:
    check = values.sequence("a list of names", "[a]", values.text("a name", "a"))
    assert [problem.variable for problem in check("eden_x", ["a", 1, ""])] == ["eden_x[1]", "eden_x[2]"]
    assert [problem.line for problem in check("eden_x", "a")] == [
        "eden_x: must be a list of names, got the text 'a'; for example [a]"
    ]
