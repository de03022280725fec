# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of JSON documents.

A check is called with a value and the name of the place where the value stands; it returns nothing and
raises `Invalid` when the value does not fit. Types are strict: a bool is no number, "1" is no integer,
and a field that may be absent may not be null unless it says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], None]


class Invalid(ValueError):
    """A document without its shape; the text names the place and the rule."""


def string(pattern: str | None = None, *, minimum: int = 0) -> Check:
    """A string of at least `minimum` characters that matches `pattern` as a whole."""
    compiled = re.compile(pattern) if pattern is not None else None

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str):
            raise Invalid(f"{where}: must be a string")
        if len(value) < minimum:
            raise Invalid(f"{where}: must have at least {minimum} character(s)")
        if compiled is not None and compiled.fullmatch(value) is None:
            raise Invalid(f"{where}: {value!r} does not match {pattern}")

    return check


def integer(minimum: int | None = None) -> Check:
    """An integer, at least `minimum`."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Invalid(f"{where}: must be an integer")
        if minimum is not None and value < minimum:
            raise Invalid(f"{where}: must be at least {minimum}")

    return check


def number(minimum: float) -> Check:
    """A number, at least `minimum`."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise Invalid(f"{where}: must be a number")
        if not minimum <= value < math.inf:
            raise Invalid(f"{where}: must be at least {minimum} and finite")

    return check


def positive(value: Any, where: str) -> None:
    """A number above zero."""
    number(0)(value, where)
    if value == 0:
        raise Invalid(f"{where}: must be greater than 0")


def boolean(value: Any, where: str) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise Invalid(f"{where}: must be true or false")


def mapping(value: Any, where: str) -> None:
    """An object with any fields."""
    if not isinstance(value, dict):
        raise Invalid(f"{where}: must be an object")


def one_of(*values: str) -> Check:
    """One of the given strings."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, str) or value not in values:
            raise Invalid(f"{where}: must be one of {', '.join(values)}")

    return check


def array(item: Check, *, minimum: int = 0) -> Check:
    """A list of at least `minimum` items."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise Invalid(f"{where}: must be a list")
        if len(value) < minimum:
            raise Invalid(f"{where}: must have at least {minimum} item(s)")
        for index, element in enumerate(value):
            item(element, f"{where}[{index}]")

    return check


def map_of(item: Check, *, key: Check | None = None) -> Check:
    """An object whose values all pass `item`, and whose names pass `key`."""

    def check(value: Any, where: str) -> None:
        mapping(value, where)
        for name, element in value.items():
            if key is not None:
                key(name, f"{where}.{name}")
            item(element, f"{where}.{name}")

    return check


def nullable(inner: Check) -> Check:
    """Null, or what `inner` accepts."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            inner(value, where)

    return check


def record(
    required: Mapping[str, Check], optional: Mapping[str, Check] | None = None, *, closed: bool = False
) -> Check:
    """An object with the `required` fields and perhaps the `optional` ones; `closed` allows no other."""
    fields = {**required, **(optional or {})}

    def check(value: Any, where: str) -> None:
        mapping(value, where)
        for name in required:
            if name not in value:
                raise Invalid(f"{where}.{name}: field required")
        for name, element in value.items():
            if name in fields:
                fields[name](element, f"{where}.{name}")
            elif closed:
                raise Invalid(f"{where}.{name}: extra fields are not permitted")

    return check


def by_kind(kinds: Mapping[str, Check]) -> Check:
    """An object whose string field `kind` selects the check."""

    def check(value: Any, where: str) -> None:
        mapping(value, where)
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in kinds:
            raise Invalid(f"{where}.kind: must be one of {', '.join(kinds)}")
        kinds[kind](value, where)

    return check
