# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks values against the models of the Kubernetes client: keys, types, and what is required.

What a model does not say, such as the syntax of labels, is left to the API server.
This module is private to the collection.
"""

from __future__ import annotations

import functools
import re
import typing as t
from decimal import Decimal

from ansible_collections.eden.reference.plugins.module_utils._eden.values import (
    Problem,
    is_integer,
    is_number,
    member,
    shown,
    shown_with_kind,
    suggestion,
    unknown_key,
)

try:
    from kubernetes import client
    from kubernetes.utils.quantity import parse_quantity
except ImportError:  # pragma: no cover
    # Reported by the first module that connects; the guard is for the sanity test, which has no client.
    client = parse_quantity = None  # type: ignore[assignment]

PRIMITIVES: dict[str, tuple[str, str, t.Callable[[t.Any], bool]]] = {
    "str": ("a string: put true, false and numbers into quotes", "'1'", lambda value: isinstance(value, str)),
    "int": ("an integer", "1", is_integer),
    "bool": ("true or false", "true", lambda value: isinstance(value, bool)),
    # The client's name for an integer or a string.
    "object": ("an integer or a string", "443", lambda value: is_integer(value) or isinstance(value, str)),
}
# Choices that the models do not list and that are often misspelled.
CHOICES = {
    "V1Toleration.operator": ("Equal", "Exists"),
    "V1Toleration.effect": ("NoSchedule", "PreferNoSchedule", "NoExecute"),
    "V1NetworkPolicyPort.protocol": ("TCP", "UDP", "SCTP"),
    "V1NodeSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
    "V1LabelSelectorRequirement.operator": ("In", "NotIn", "Exists", "DoesNotExist"),
}
# The library also accepts blanks, underscores, digits of other scripts, and infinity.
QUANTITY = re.compile(
    r"\+?([0-9]{1,15}(\.[0-9]{0,9})?|\.[0-9]{1,9})([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?"
)
RESOURCES = ("cpu", "memory", "ephemeral-storage")


def problems(variable: str, value: t.Any, kind: str, example: str) -> list[Problem]:
    """The problems of a value of a type such as ``list[V1Toleration]``.

    Args:
        variable: the name of the value in messages.
        value: the value, in the form of the API: with keys in camelCase.
        kind: a name of a model of the client, or a list or dict of them, as the client writes types.
        example: a valid value of the whole variable.
    """
    items = re.fullmatch(r"(list|dict)[\[(](?:str, )?(.+)[\])]", kind, re.IGNORECASE)
    if items and items[1].lower() == "list":
        if not isinstance(value, list):
            return [Problem(variable, "must be a list", shown_with_kind(variable, value), example)]
        return [
            problem
            for index, part in enumerate(value)
            for problem in problems(member(variable, index), part, items[2], example)
        ]
    if kind in PRIMITIVES:
        words, primitive, accepts = PRIMITIVES[kind]
        got = shown_with_kind(variable, value)
        return [] if accepts(value) else [Problem(variable, f"must be {words}", got, primitive)]
    if not isinstance(value, dict):
        return [Problem(variable, "must be a mapping", shown_with_kind(variable, value), example)]
    if items:
        return [
            problem
            for key, part in value.items()
            for problem in _string_key(variable, key) or problems(member(variable, key), part, items[2], "x")
        ]
    return _model_problems(variable, value, kind, example)


def _model_problems(variable: str, value: dict[t.Any, t.Any], kind: str, example: str) -> list[Problem]:
    model = getattr(client, kind)
    fields = {model.attribute_map[name]: type_ for name, type_ in model.openapi_types.items()}
    found = [unknown_key(variable, key, fields) for key in value if key not in fields]
    for key, type_ in fields.items():
        name = member(variable, key)
        if key in value:
            wrong = problems(name, value[key], type_, example)
            found += wrong or _choice_problems(name, value[key], CHOICES.get(f"{kind}.{key}"))
        elif key in _required(kind):
            found.append(Problem(name, "is required", "", example))
    return found


def _choice_problems(variable: str, value: str, choices: t.Sequence[str] | None) -> list[Problem]:
    if choices is None or value in choices:
        return []
    like = suggestion(value.title(), choices, 0.5) or choices[0]
    return [Problem(variable, f"must be one of {', '.join(choices)}", shown(variable, value), like)]


def _string_key(variable: str, key: t.Any) -> list[Problem]:
    return [] if isinstance(key, str) else [unknown_key(variable, key, ["'1'"])]


@functools.cache
def _required(kind: str) -> frozenset[str]:
    """The keys that a model requires."""
    model = getattr(client, kind)
    if hasattr(model, "model_fields"):
        names = {name for name, field in model.model_fields.items() if field.is_required()}
    else:
        # The constructors of older releases raise for the first field that is missing.
        names = set()
        while missing := _missing(model, names):
            names.add(missing)
    return frozenset(model.attribute_map[name] for name in names)


def _missing(model: t.Any, given: t.Collection[str]) -> str:
    try:
        model(**dict.fromkeys(given, ()))
    except ValueError as error:
        found = re.search(r"`(\w+)`", str(error))
        return found[1] if found else ""
    return ""


def resource_problems(variable: str, value: t.Any) -> list[Problem]:
    """The problems of a mapping of resources to quantities, which the models treat as strings."""
    if not isinstance(value, dict):
        got = shown_with_kind(variable, value)
        return [Problem(variable, "must be a mapping", got, "{cpu: 500m, memory: 512Mi}")]
    found: list[Problem] = []
    for key, part in value.items():
        if not isinstance(key, str) or ("/" not in key and "-" not in key and key not in RESOURCES):
            found.append(unknown_key(variable, key, RESOURCES))
        else:
            found += _quantity_problems(member(variable, key), part, key in RESOURCES[1:])
    return found


def _quantity_problems(variable: str, value: t.Any, in_bytes: bool) -> list[Problem]:
    example = "512Mi" if in_bytes else "500m"
    number = amount(value)
    if number is None:
        rule = f"must be a Kubernetes quantity such as {example}, not negative"
        return [Problem(variable, rule, shown(variable, value), example)]
    if in_bytes and number != number.to_integral_value():
        rule = f"must be an integer number of bytes such as {example}: m means a thousandth"
        return [Problem(variable, rule, shown(variable, value), example)]
    return []


def amount(value: t.Any) -> Decimal | None:
    """The number that a Kubernetes quantity stands for, or None if it is no quantity."""
    if is_number(value) and 0 <= value < 10**15:
        return Decimal(repr(value))
    if isinstance(value, str) and QUANTITY.fullmatch(value):
        return Decimal(parse_quantity(value))
    return None


__all__ = ["amount", "problems", "resource_problems"]
