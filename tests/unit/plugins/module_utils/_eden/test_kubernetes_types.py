# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from decimal import Decimal
from types import SimpleNamespace

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden import kubernetes_types

NOW = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    ("kind", "value", "lines"),
    [
        ("list[V1Toleration]", [{"key": "a", "tolerationSeconds": 3}], []),
        (
            "list[V1Toleration]",
            [{"operator": "exists", "tolerationSecs": 3, "tolerationSeconds": "3"}, 1],
            [
                "x[0].tolerationSecs: is not a key of x[0]; did you mean tolerationSeconds?",
                "x[0].operator: must be one of Equal, Exists, got 'exists'",
                "x[0].tolerationSeconds: must be an integer, got the string '3'; for example 1",
                "x[1]: must be a mapping, got the number 1; for example {}",
            ],
        ),
        (
            "V1Affinity",
            {"podAffinity": {NOW: [{"labelSelector": {"matchLabels": {"a": True, 1: "x"}}}]}},
            [
                f"x.podAffinity.{NOW}[0].labelSelector.matchLabels.a: must be a string: put true, false and "
                "numbers into quotes, got the boolean true; for example '1'",
                f"x.podAffinity.{NOW}[0].labelSelector.matchLabels[1]: is not a key: keys are strings, "
                "got the number 1; for example '1'",
                f"x.podAffinity.{NOW}[0].topologyKey: is required; for example {{}}",
            ],
        ),
        ("list[V1NetworkPolicyPeer]", [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/9"]}}], []),
        ("list[V1NetworkPolicyPeer]", [{"ipBlock": {}}], ["x[0].ipBlock.cidr: is required; for example {}"]),
        (
            "dict(str, str)",
            {"a": 1},
            [
                "x.a: must be a string: put true, false and numbers into quotes, got the number 1; "
                "for example '1'"
            ],
        ),
        ("list[str]", "a", ["x: must be a list, got the string 'a'; for example {}"]),
        ("bool", "yes", ["x: must be true or false, got the string 'yes'"]),
    ],
)
def test_a_value_is_checked_by_its_model(kind: str, value: t.Any, lines: list[str]) -> None:
    assert [problem.line for problem in kubernetes_types.problems("x", value, kind, "{}")] == lines


class OldModel:
    """A model as releases before 36 of the client have it."""

    openapi_types: t.ClassVar = {"key": "str", "_except": "list[str]", "other": "str"}
    attribute_map: t.ClassVar = {"key": "key", "_except": "except", "other": "other"}

    def __init__(self, key: t.Any = None, _except: t.Any = None, other: t.Any = None) -> None:
        for name, value in (("key", key), ("_except", _except)):
            if value is None:
                raise ValueError(f"Invalid value for `{name}`, must not be `None`")


def test_what_older_models_require(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_types, "client", SimpleNamespace(OldModel=OldModel))
    found = kubernetes_types.problems("x", {"other": "a"}, "OldModel", "{}")
    assert [problem.variable for problem in found] == ["x.key", "x.except"]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *(
            ("1e3", "1000"),
            ("512Mi", str(512 * 2**20)),
            (".5", "0.5"),
            ("5.", "5"),
            ("+1k", "1000"),
            ("1m", "0.001"),
        ),
        *((2, "2"), (1.5, "1.5"), ("1E", str(10**18)), ("1E2", "100")),
        *(
            (value, None)
            for value in ("", "1 Gi", "1_0", "\u0661", "nan", "Infinity", "-1", "0x1", "1GB", "1e999")
        ),
        *((value, None) for value in (True, None, -1, float("nan"), float("inf"), 10**400, [], "9" * 5000)),
    ],
)
def test_amounts(value: t.Any, number: str | None) -> None:
    assert kubernetes_types.amount(value) == (None if number is None else Decimal(number))
