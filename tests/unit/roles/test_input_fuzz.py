# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated inputs: each is refused in words, or it is valid.

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
from input_strategies import CANARY, FULL, PATHS, RIGHT, SPEC, STRINGS, assert_reported, check, variables

from ansible_collections.eden.reference.plugins.module_utils._eden import experiment_config, inputs
from ansible_collections.eden.reference.plugins.module_utils._eden.values import TemplatingFailure

EXAMPLES = int(os.environ.get("EDEN_FUZZ_EXAMPLES", "200"))
prove = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
# They must exist: no example does everywhere.
PATHS_ON_THIS_MACHINE = {"eden_experiment_config_file", "eden_experiment_dir", "eden_seed_dir"}
# Inputs that exclude each other, or must agree.
RELATED = [
    ("experiment_config", "experiment_config_file"),
    ("experiment_dir", "experiment_config"),
    ("experiment_dir", "experiment_config_file"),
    ("experiment_dir", "experiment_source"),
    ("replicas", "workers"),
]
letters = "abcdefghijklmnopqrstuvwxyz_"


@pytest.mark.parametrize("name", sorted(SPEC))
def test_the_values_to_be_damaged_are_valid(name: str) -> None:
    assert check({**RIGHT, name: FULL[name]}) == []


@prove
@given(st.sampled_from(PATHS), st.data())
def test_a_value_of_another_type_is_refused(path: generated.Path, data: st.DataObject) -> None:
    assert_reported(check(variables(path, data.draw(generated.wrong_types(path)))), path[0])


@pytest.mark.parametrize("path", STRINGS, ids=".".join)
@pytest.mark.parametrize("spelling", generated.YAML_SPELLINGS)
def test_what_yaml_takes_for_another_type_is_no_string(path: generated.Path, spelling: str) -> None:
    value = yaml.safe_load(f"value: {spelling}")["value"]
    assert not isinstance(value, str)
    assert_reported(check(variables(path, value)), path[0])


@prove
@given(st.sampled_from(STRINGS), st.data())
def test_a_string_that_holds_what_does_not_show_is_refused(path: generated.Path, data: st.DataObject) -> None:
    assert_reported(check(variables(path, data.draw(generated.noisy(generated.valid_string(path))))), path[0])


@prove
@given(st.sampled_from(STRINGS), st.data())
def test_a_string_that_is_too_long_is_refused_and_not_repeated(
    path: generated.Path, data: st.DataObject
) -> None:
    assert_reported(check(variables(path, data.draw(generated.long(generated.valid_string(path))))), path[0])


@settings(prove, max_examples=5 * EXAMPLES)
@given(generated.nearly_valid())
def test_a_value_that_is_nearly_valid_is_valid_or_refused(given: tuple[str, t.Any]) -> None:
    name, value = given
    inputs_ = {**RIGHT, name: value}
    found = check(inputs_)
    if found:
        assert_reported(found, name)
    else:
        text = inputs.config_text(inputs_, lambda _path: generated.CONFIG)
        again, problems = experiment_config.parse(text.encode(), "x")
        assert problems == []
        if name == "eden_experiment_config":
            assert experiment_config.dump(again) == text
        inputs.warnings(inputs_)


@prove
@given(st.lists(generated.nearly_valid(), min_size=2, max_size=6, unique_by=lambda pair: pair[0]))
def test_several_problems_are_found_at_once(each: list[tuple[str, t.Any]]) -> None:
    """All together have the problems of each alone, if there is no rule for two of them together."""
    together = dict(each)
    assume(not any({f"eden_{one}", f"eden_{other}"} <= set(together) for one, other in RELATED))
    assume(together.get("eden_name", 0) != together.get("eden_namespace", 1))
    alone = [problem for name, value in each for problem in check({**RIGHT, name: value})]
    assert sorted(p.line for p in check({**RIGHT, **together})) == sorted(p.line for p in alone)


@prove
@given(st.sampled_from(sorted(SPEC)), st.data())
def test_a_misspelled_name_is_refused_with_one_that_exists(name: str, data: st.DataObject) -> None:
    rest = data.draw(generated.edited(name.removeprefix(inputs.PREFIX), letters).filter(bool))
    wrong = inputs.PREFIX + rest
    assume(wrong not in SPEC and wrong not in inputs.FACTS)
    [problem] = found = check({**RIGHT, wrong: RIGHT[name]})
    assert_reported(found, wrong)
    assert problem.rule == f"is not an input; did you mean {problem.example}?"
    assert problem.example in SPEC


@prove
@given(st.sampled_from([path for path in PATHS if len(path) > 1]), st.data())
def test_a_misspelled_key_is_refused(path: generated.Path, data: st.DataObject) -> None:
    known = generated.option(path[:-1])["options"]
    wrong = data.draw(generated.edited(path[-1], letters).filter(bool))
    assume(wrong not in known)
    [problem] = [p for p in check(variables((*path[:-1], wrong), "x")) if "is not a key of" in p.rule]
    assert problem.variable == ".".join((*path[:-1], wrong))
    assert problem.example in known


@prove
@given(st.sampled_from(sorted(SPEC)), st.data())
def test_a_template_that_fails_is_named_by_its_path(name: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(generated.leaves(FULL[name]))))
    value = generated.replaced(FULL[name], place, TemplatingFailure("'nope' is undefined"))
    [problem] = found = check({**RIGHT, name: value})
    assert_reported(found, name)
    assert problem.got == "a template that failed: 'nope' is undefined"


@prove
@given(st.sampled_from(sorted(SPEC)), st.data())
def test_half_of_a_surrogate_pair_is_refused(name: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(list(generated.leaves(FULL[name]))))
    assert_reported(check({**RIGHT, name: generated.replaced(FULL[name], place, "a\ud83d")}), name)


@pytest.mark.parametrize("key", ["api_key", "password", "token", "client_secret", "credentials"])
@pytest.mark.parametrize("value", [f"{CANARY} {CANARY}", int.from_bytes(CANARY.encode()), 1.5])
def test_a_value_under_the_name_of_a_secret_is_not_repeated(key: str, value: t.Any) -> None:
    config = {**RIGHT["eden_experiment_config"], "evaluation_schema": {key: value}}
    found = check({**RIGHT, "eden_storage_sizes": {key: value}, "eden_experiment_config": config})
    found += check({**RIGHT, "eden_existing_secret": value})
    assert len(found) == 3
    assert_reported(found, "eden_")
    assert all(str(value) not in problem.line for problem in found)


@pytest.mark.parametrize("name", sorted(set(SPEC) - PATHS_ON_THIS_MACHINE))
def test_the_example_of_an_input_is_valid(name: str) -> None:
    [problem] = check({**RIGHT, name: object()})
    assert check({**RIGHT, name: yaml.safe_load(problem.example)}) == []


@prove
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_file_gives_problems_and_never_an_exception(content: bytes) -> None:
    found = inputs.check({**RIGHT, "eden_experiment_config_file": "x"}, lambda _path: content)
    assert_reported(found, "eden_experiment_config_file")
