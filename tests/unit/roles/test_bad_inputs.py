# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad inputs by hand: each is refused, in the words of its case."""

from __future__ import annotations

import typing as t

import pytest
from bad_inputs import CASES, Case
from input_strategies import RIGHT, assert_told

from ansible_collections.eden.reference.plugins.module_utils._eden import inputs


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_bad_input_is_refused_in_words(case: Case) -> None:
    given = {name: value for name, value in {**RIGHT, **case.inputs}.items() if value is not ...}
    reader: t.Callable[[str], bytes] | None = (lambda _path: case.content) if case.content else None
    found = inputs.check(given, reader)
    assert_told(found, *case.inputs)
    message = inputs.refusal(found, "lab").message
    assert message.startswith("One input of lab breaks a rule; nothing was written.\n")
    for words in case.words:
        assert words in message


def test_the_cases_have_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


def test_without_the_bad_ones_the_inputs_are_right() -> None:
    assert inputs.check(RIGHT) == []
