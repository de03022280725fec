# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated bad inputs: each is refused in words, or it is right.

The examples are the same in every run. EDEN_FUZZ_EXAMPLES=2000 makes the run long.
"""

from __future__ import annotations

import os
import typing as t

import input_strategies as generated
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from input_strategies import (
    CANARY,
    FULL,
    PATHS,
    RIGHT,
    SPEC,
    TEXTS,
    assert_told,
    check,
    option,
    variables,
)

from ansible_collections.eden.reference.plugins.module_utils._eden import inputs
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Unresolved

EXAMPLES = int(os.environ.get("EDEN_FUZZ_EXAMPLES", "200"))
prove = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)

paths = st.sampled_from(PATHS)
texts = st.sampled_from(TEXTS)


def right_text(path: generated.Path) -> str:
    """A right value of a text."""
    value = FULL[path[0]]
    for key in path[1:]:
        value = value.get(key, "10Gi")
    return str(value)


@prove
@given(st.data())
def test_a_value_of_another_type_is_refused(data: st.DataObject) -> None:
    path = data.draw(paths)
    value = data.draw(generated.wrong_types(path))
    assert_told(check(variables(path, value)), path[0])


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_nothing_is_refused(path: generated.Path) -> None:
    assert_told(check(variables(path, None)), path[0])


@pytest.mark.parametrize("path", TEXTS, ids=".".join)
@pytest.mark.parametrize("spelling", generated.YAML_SPELLINGS)
def test_what_yaml_takes_for_another_type_is_no_text(path: generated.Path, spelling: str) -> None:
    value = yaml.safe_load(f"value: {spelling}")["value"]
    assert not isinstance(value, str)
    assert_told(check(variables(path, value)), path[0])


@prove
@given(st.data())
def test_a_text_that_holds_what_does_not_show_is_refused(data: st.DataObject) -> None:
    path = data.draw(texts)
    value = data.draw(generated.noisy(right_text(path)))
    assert_told(check(variables(path, value)), path[0])


@prove
@given(st.data())
def test_a_text_that_is_too_long_is_refused_and_not_repeated(data: st.DataObject) -> None:
    path = data.draw(texts)
    value = data.draw(generated.long(right_text(path)))
    found = check(variables(path, value))
    assume(found or len(value) < 5000)
    if found:
        assert_told(found, path[0])


@settings(prove, max_examples=5 * EXAMPLES)
@given(generated.nearly_right())
def test_a_value_that_is_nearly_right_is_right_or_refused(given: dict[str, t.Any]) -> None:
    found = check(given)
    if found:
        [name] = {name for name in given if given[name] is not RIGHT[name]} or {"eden_"}
        assert_told(found, name)
    else:
        inputs.config_text(given, lambda _path: generated.CONFIG)


@prove
@given(st.lists(generated.nearly_right(), min_size=2, max_size=6))
def test_several_are_refused_at_once(each: list[dict[str, t.Any]]) -> None:
    together = {
        name: next((given[name] for given in each if given[name] is not RIGHT[name]), RIGHT[name])
        for name in SPEC
        if name in RIGHT
    }
    found = check(together)
    if found:
        assert_told(found, "eden_")
    alone = {problem.variable for name in together for problem in check({**RIGHT, name: together[name]})}
    exclusion = {problem.variable for problem in found} - alone
    assert exclusion <= {"eden_experiment_config_file"}


@prove
@given(st.sampled_from(sorted(SPEC)), st.data())
def test_a_misspelled_name_is_refused_with_the_right_one(name: str, data: st.DataObject) -> None:
    rest = data.draw(
        generated.edited(name.removeprefix(inputs.PREFIX), "abcdefghijklmnopqrstuvwxyz_").filter(bool)
    )
    wrong = inputs.PREFIX + rest
    assume(wrong not in SPEC and wrong not in inputs.FACTS)
    found = check({**RIGHT, wrong: RIGHT[name]})
    assert_told(found, wrong)
    [problem] = found
    assert "did you mean" in problem.rule
    assert generated.slips(wrong, problem.example) <= generated.slips(wrong, name)


@prove
@given(st.sampled_from([path for path in PATHS if len(path) > 1]), st.data())
def test_a_misspelled_key_is_refused_with_the_right_one(path: generated.Path, data: st.DataObject) -> None:
    known = option(path[:-1])["options"]
    wrong = data.draw(generated.edited(path[-1], "abcdefghijklmnopqrstuvwxyz_").filter(bool))
    assume(wrong not in known and generated.slips(wrong, path[-1]) < len(path[-1]) / 2)
    found = check(variables((*path[:-1], wrong), right_text(path)))
    [problem] = [problem for problem in found if problem.rule.startswith("is not a key")]
    assert_told(found, path[0])
    assert f"did you mean {problem.example}?" in problem.rule
    assert generated.slips(wrong, problem.example) <= generated.slips(wrong, path[-1])


@prove
@given(generated.damaged(FULL["eden_experiment_config"]), st.sampled_from(["config.yaml", "../x", "~/x"]))
def test_a_config_and_a_file_exclude_each_other(config: t.Any, path: str) -> None:
    assume(config != RIGHT["eden_experiment_config"])
    found = check({**RIGHT, "eden_experiment_config": config, "eden_experiment_config_file": path})
    assert_told(found, "eden_experiment_config")
    assert any("excludes eden_experiment_config" in problem.rule for problem in found)


@prove
@given(st.sampled_from(sorted(SPEC)), st.data())
def test_a_template_that_fails_is_named_where_it_is(name: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(generated._leaves(FULL[name]))))
    failed = Unresolved("'nope' is undefined")
    value = generated.replaced(FULL[name], place, failed)
    found = check({**RIGHT, name: value})
    assert_told(found, name)
    [problem] = found
    assert problem.got == "a template that could not be worked out: 'nope' is undefined"


@pytest.mark.parametrize("key", ["api_key", "password", "token", "client_secret", "credentials"])
@pytest.mark.parametrize("value", [f"{CANARY} {CANARY}", int.from_bytes(CANARY.encode()), 1.5])
def test_a_value_under_the_name_of_a_secret_is_not_repeated(key: str, value: t.Any) -> None:
    config = {**RIGHT["eden_experiment_config"], "evaluation_schema": {key: value}}
    found = check({**RIGHT, "eden_node_selector": {key: value}, "eden_experiment_config": config})
    found += check({**RIGHT, "eden_existing_secret": value})
    assert len(found) == 3
    assert_told(found, "eden_")
    assert all(str(value) not in problem.line for problem in found)


@pytest.mark.parametrize("name", sorted(set(SPEC) - {"eden_experiment_config_file"}))
def test_the_example_of_an_input_is_right(name: str) -> None:
    [problem] = check({**RIGHT, name: object()})
    assert check({**RIGHT, name: yaml.safe_load(problem.example)}) == []


@pytest.mark.parametrize("name", sorted(SPEC))
def test_the_values_that_are_damaged_are_right(name: str) -> None:
    assert check({**RIGHT, name: FULL[name]}) == []
