# SPDX-License-Identifier: GPL-3.0-or-later
"""EDEN's grammars, and the mint for experiment ids."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.eden.reference.plugins.module_utils._eden import ids

SUFFIX = "01jabcdefghjkmnpqrstvwxyz0"
SHA = "666b95f001acc6e19682f7e1732e4d8c14b16cb9"


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (ids.EXPERIMENT_ID, ids.EXAMPLE_EXPERIMENT_ID),
        (ids.EXPERIMENT_ID, "exp_" + "0" * 26),
        (ids.WORKER_ID, f"wkr_{SUFFIX}"),
        (ids.COMMIT_SHA, SHA),
        (ids.COMMIT_SHA, "0" * 64),
    ],
)
def test_matches(pattern: re.Pattern[str], value: str) -> None:
    assert pattern.match(value)
    assert not pattern.match(value + "\n")
    assert not pattern.match(" " + value)


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        (
            ids.EXPERIMENT_ID,
            ["exp-1", f"exp_{SUFFIX[1:]}", f"exp_{SUFFIX}0", f"exp_{SUFFIX.upper()}", f"exp_{SUFFIX[:-1]}u"],
        ),
        (ids.WORKER_ID, ["admin", f"exp_{SUFFIX}"]),
        (ids.COMMIT_SHA, [SHA[1:], SHA.upper(), "0" * 50]),
    ],
)
def test_refuses(pattern: re.Pattern[str], values: list[str]) -> None:
    assert not any(pattern.match(value) for value in values)


@pytest.mark.parametrize("name", ["orchestrator", "Ideator №1", "x" * 128, "é", "a b"])
def test_display_name_taken(name: str) -> None:
    assert ids.display_name_problem(name) == ""


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "0 characters"),
        ("x" * 129, "129 characters"),
        (" a", "whitespace"),
        ("a\n", "whitespace"),
        ("e\u0301", "normal form C"),
        ("a\x00b", "a control character (U+0000)"),
        ("a\ud800b", "half of a surrogate pair (U+D800)"),
        ("a\ue000b", "a private-use code point (U+E000)"),
        ("a\uffffb", "an unassigned code point (U+FFFF)"),
    ],
)
def test_display_name_refused(name: str, fault: str) -> None:
    assert fault in ids.display_name_problem(name)


def decoded(experiment_id: str) -> int:
    value = 0
    for character in experiment_id.removeprefix("exp_"):
        value = value << 5 | ids.ALPHABET.index(character)
    return value


@given(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 80) - 1))
def test_mint_is_a_ulid_of_the_time_and_the_random_bits(milliseconds: int, bits: int) -> None:
    asked: list[int] = []

    def random(count: int) -> int:
        asked.append(count)
        return bits

    minted = ids.mint_experiment_id(clock=lambda: (milliseconds + 0.5) / 1000, random=random)
    assert ids.EXPERIMENT_ID.match(minted)
    assert asked == [80]
    assert decoded(minted) == milliseconds << 80 | bits


def test_mint_known_value() -> None:
    # The example of the ULID specification: 1469918176385 ms is 01ARYZ6S41.
    minted = ids.mint_experiment_id(clock=lambda: 1469918176.3855, random=lambda _bits: 0)
    assert minted == "exp_01aryz6s41" + "0" * 16


def test_mints_differ() -> None:
    assert len({ids.mint_experiment_id() for _turn in range(100)}) == 100
