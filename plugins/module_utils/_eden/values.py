# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks of plain values, built from small ones, and the problems that they report.

A check takes the variable's name and its value and returns what is wrong with it; it never raises.
This module is private to the collection.
"""

from __future__ import annotations

import difflib
import math
import re
import typing as t
import unicodedata
from dataclasses import asdict, dataclass

SHOWN_LENGTH = 60
# More letters than this are no slip of the hand.
FAR = 2
# Larger numbers are told as such: Python refuses to write out integers of more than 4300 digits.
SHOWN_NUMBER = 10**18
SECRET_NAME = re.compile(r"secret|token|password|passwd|credential|api_?key|private_?key", re.IGNORECASE)
TEMPLATE = re.compile(r"\{\{|\{%|\{#")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# A format character, half of a surrogate pair, a private-use or an unassigned code point.
INVISIBLE = frozenset({"Cf", "Cs", "Co", "Cn"})
PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Problem:
    """One rule that one value breaks.

    Attributes:
        variable: the variable, with the path inside it: ``eden_storage_sizes.postgres``.
        rule: what the value must be.
        got: the value as it may be shown, empty where it says nothing.
        example: a right value.
    """

    variable: str
    rule: str
    got: str = ""
    example: str = ""

    @property
    def line(self) -> str:
        """The problem on one line."""
        got = f", got {self.got}" if self.got else ""
        example = f"; for example {self.example}" if self.example and self.example not in self.rule else ""
        return f"{self.variable}: {self.rule}{got}{example}"

    def as_result(self) -> dict[str, str]:
        """The problem as a module returns it."""
        return asdict(self)


@dataclass(frozen=True)
class Unresolved:
    """Stands in for a value that could not be worked out from its template."""

    reason: str


Check = t.Callable[[str, t.Any], list[Problem]]


def shown(variable: str, value: t.Any) -> str:
    """The value for a message: short, in ASCII, hidden where the variable's name looks like a secret's."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if SECRET_NAME.search(variable):
        return "a value that is not shown"
    if isinstance(value, str):
        written = ascii(value[: SHOWN_LENGTH + 1])
        return written if len(written) <= SHOWN_LENGTH else f"{written[: SHOWN_LENGTH - 4]}...'"
    if isinstance(value, (int, float)):
        return "a very large number" if abs(value) > SHOWN_NUMBER else repr(value)
    return _kind(value)


def shown_with_kind(variable: str, value: t.Any) -> str:
    """Like :func:`shown`, and says which type it is: a wrong one is the likely fault."""
    text = shown(variable, value)
    if value is None or not isinstance(value, (str, int, float)) or text.startswith("a "):
        return text
    return f"{_kind(value)} {text}"


def member(variable: str, key: t.Any) -> str:
    """The name of a part of a variable."""
    if isinstance(key, int) and not isinstance(key, bool):
        return f"{variable}[{shown('', key)}]"
    if isinstance(key, str) and PLAIN_KEY.fullmatch(key):
        return f"{variable}.{key}"
    return f"{variable}[{shown('', key)}]"


def suggestion(name: str, known: t.Iterable[str], likeness: float = 0.75) -> str:
    """The known name that is most like ``name``, or an empty text.

    One that is one or two letters off counts before one that is as like as ``likeness`` says.
    """
    known = list(known)
    near = [
        (off, other)
        for other in known
        if abs(len(other) - len(name)) <= FAR
        and (off := distance(name, other)) <= FAR
        and off < len(other) / 2
    ]
    return min(near)[1] if near else next(iter(difflib.get_close_matches(name[:100], known, 1, likeness)), "")


def distance(first: str, second: str) -> int:
    """How many letters are put in, left out, wrong, or exchanged with their neighbour."""
    above: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first):
        below = [i + 1]
        for j, other in enumerate(second):
            steps = [row[j + 1] + 1, below[j] + 1, row[j] + (letter != other)]
            if i and j and letter == second[j - 1] and other == first[i - 1]:
                steps.append(above[j - 1] + 1)
            below.append(min(steps))
        above, row = row, below
    return row[-1]


def is_number(value: t.Any) -> bool:
    """Whether this is a finite number; a boolean is none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def flaw(value: str) -> str:
    """What is wrong with any text, as a clause, or an empty text."""
    if TEMPLATE.search(value):
        return "which holds a template that was not evaluated"
    if value != value.strip():
        return "which begins or ends with whitespace"
    if CONTROL.search(value):
        return "which holds a control character"
    for character in value:
        if character > "~" and unicodedata.category(character) in INVISIBLE:
            return f"which holds a character that does not show (U+{ord(character):04X})"
    return ""


def text(wanted: str, example: str, accepts: t.Callable[[str], bool] = bool, *, empty: bool = False) -> Check:
    """A check for text that ``accepts`` takes; with ``empty`` the empty text is right as well."""
    rule = f"must be {wanted}{', or empty' if empty else ''}"

    def check(variable: str, value: t.Any) -> list[Problem]:
        if not isinstance(value, str):
            return [Problem(variable, rule, shown_with_kind(variable, value), example)]
        if not value:
            return [] if empty else [Problem(variable, rule, "an empty text", example)]
        fault = flaw(value)
        if not fault and accepts(value):
            return []
        return [Problem(variable, rule, ", ".join(filter(None, (shown(variable, value), fault))), example)]

    return check


def choice(*values: str) -> Check:
    """A check for one of a few words."""
    return text(f"one of {', '.join(values)}", values[0], lambda value: value in values)


def whole_number(low: int, high: int | None, example: int) -> Check:
    """A check for an integer between the bounds, both included."""
    limits = f"of at least {low}" if high is None else f"from {low} to {high}"
    rule = f"must be a whole number {limits}"

    def check(variable: str, value: t.Any) -> list[Problem]:
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and low <= value
            and (high is None or value <= high)
        ):
            return []
        return [_mistyped(variable, rule, value, str(example), r"[0-9]+")]

    return check


def number_above_zero(wanted: str, example: str, high: int) -> Check:
    """A check for a number greater than 0 and not greater than ``high``."""
    rule = f"must be {wanted} greater than 0 and at most {high}"

    def check(variable: str, value: t.Any) -> list[Problem]:
        if is_number(value) and 0 < value <= high:
            return []
        return [_mistyped(variable, rule, value, example, r"[0-9]+(\.[0-9]+)?")]

    return check


def boolean(example: bool = True) -> Check:
    """A check for true or false; the words ``yes`` and ``no`` as text are neither."""

    def check(variable: str, value: t.Any) -> list[Problem]:
        if isinstance(value, bool):
            return []
        return [_mistyped(variable, "must be true or false", value, str(example).lower(), "true|false")]

    return check


def sequence(wanted: str, example: str, item: Check, *, empty: bool = True) -> Check:
    """A check for a list whose items all pass."""

    def check(variable: str, value: t.Any) -> list[Problem]:
        if not isinstance(value, list) or not (value or empty):
            got = "an empty list" if isinstance(value, list) else shown_with_kind(variable, value)
            return [Problem(variable, f"must be {wanted}", got, example)]
        return [
            problem for index, part in enumerate(value) for problem in item(member(variable, index), part)
        ]

    return check


def mapping(
    example: str, entries: t.Mapping[str, Check], required: t.Collection[str] = (), *, closed: bool = True
) -> Check:
    """A check for a mapping with known keys; other keys are problems where it is ``closed``."""
    rule = f"must be a mapping with the keys {', '.join(entries)}"

    def check(variable: str, value: t.Any) -> list[Problem]:
        if not isinstance(value, dict):
            return [Problem(variable, rule, shown_with_kind(variable, value), example)]
        found = [problem for key in value for problem in strange(variable, key)]
        for key, part in entries.items():
            if key in value:
                found += part(member(variable, key), value[key])
            elif key in required:
                found.append(Problem(member(variable, key), "is required", "", example))
        return found

    def strange(variable: str, key: t.Any) -> list[Problem]:
        if not isinstance(key, str):
            got = shown_with_kind("", key)
            return [Problem(member(variable, key), "is not a key: keys are text", got, next(iter(entries)))]
        return [unknown_key(variable, key, entries)] if closed and key not in entries else []

    return check


def mapping_of(wanted: str, example: str, key_check: Check, value_check: Check) -> Check:
    """A check for a mapping with free keys, whose keys and values all pass."""

    def check(variable: str, value: t.Any) -> list[Problem]:
        if not isinstance(value, dict):
            return [Problem(variable, f"must be {wanted}", shown_with_kind(variable, value), example)]
        found: list[Problem] = []
        for key, part in value.items():
            name = member(variable, key)
            found += [
                Problem(name, f"its name {problem.rule}", problem.got, problem.example)
                for problem in key_check(name, key)
            ]
            found += value_check(name, part)
        return found

    return check


def unknown_key(variable: str, key: str, known: t.Collection[str]) -> Problem:
    """The problem of a key that a mapping does not have."""
    like = suggestion(key, known)
    hint = f"did you mean {like}?" if like else f"its keys are {', '.join(known)}"
    return Problem(
        member(variable, key), f"is not a key of {variable}; {hint}", "", like or next(iter(known))
    )


def either(first: Check, second: Check) -> Check:
    """A check that passes where one of two does; the second speaks where neither does."""
    return lambda variable, value: [] if not first(variable, value) else second(variable, value)


def _mistyped(variable: str, rule: str, value: t.Any, example: str, written: str) -> Problem:
    """The problem of a number or boolean; text that looks like one likely came from ``-e name=value``."""
    if isinstance(value, str) and re.fullmatch(written, value) and PLAIN_KEY.fullmatch(variable):
        value = value[:SHOWN_LENGTH]
        example = f"""{value} without quotes, which on the command line is -e '{{"{variable}": {value}}}'"""
    got = shown(variable, value) if is_number(value) else shown_with_kind(variable, value)
    return Problem(variable, rule, got, example)


def _kind(value: t.Any) -> str:
    if isinstance(value, bool):
        return "the boolean"
    if isinstance(value, str):
        return "the text"
    if isinstance(value, (int, float)):
        return "the number"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"a {type(value).__name__}"


__all__ = [
    "Check",
    "Problem",
    "Unresolved",
    "boolean",
    "choice",
    "distance",
    "either",
    "flaw",
    "is_number",
    "mapping",
    "mapping_of",
    "member",
    "number_above_zero",
    "sequence",
    "shown",
    "shown_with_kind",
    "suggestion",
    "text",
    "unknown_key",
    "whole_number",
]
