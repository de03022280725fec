# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Problems of values, and the display of values and their paths in messages.

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
# Larger numbers are not written out: Python refuses to convert integers of more than 4300 digits.
SHOWN_NUMBER = 10**18
SECRET_NAME = re.compile(r"secret|token|password|passwd|credential|api_?key|private_?key", re.IGNORECASE)
TEMPLATE = re.compile(r"\{\{|\{%|\{#")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
SURROGATE = re.compile(r"[\ud800-\udfff]")
# Format characters, surrogates, private-use and unassigned code points.
INVISIBLE = frozenset({"Cf", "Cs", "Co", "Cn"})
PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


@dataclass(frozen=True)
class Problem:
    """One rule that one value breaks.

    Attributes:
        variable: the variable, with the path inside it: ``eden_storage_sizes.postgres``.
        rule: what the value must be.
        got: the value as it may be shown, empty if it adds nothing.
        example: a valid value.
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
class TemplatingFailure:
    """Stands in for a value whose template failed."""

    reason: str


def shown(variable: str, value: t.Any) -> str:
    """The value for a message: short, in ASCII, hidden if the variable's name looks like a secret's."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if SECRET_NAME.search(variable):
        return "a value that is not shown"
    if isinstance(value, str):
        if not value:
            return "an empty string"
        written = ascii(value[: SHOWN_LENGTH + 1])
        return written if len(written) <= SHOWN_LENGTH else f"{written[: SHOWN_LENGTH - 4]}...'"
    if isinstance(value, (int, float)):
        return "a very large number" if abs(value) > SHOWN_NUMBER else repr(value)
    return kind(value)


def shown_with_kind(variable: str, value: t.Any) -> str:
    """Like :func:`shown`, with the type, which is likely to be wrong."""
    text = shown(variable, value)
    if not isinstance(value, (str, int, float)) or text.startswith(("a ", "an ")):
        return text
    return f"{kind(value)} {text}"


def kind(value: t.Any) -> str:
    """The type of a value in words."""
    if isinstance(value, bool):
        return "the boolean"
    for types, words in (
        (str, "the string"),
        ((int, float), "the number"),
        (dict, "a mapping"),
        ((list, tuple), "a list"),
    ):
        if isinstance(value, types):
            return words
    return f"a {type(value).__name__}"


def member(variable: str, key: t.Any) -> str:
    """The name of a part of a variable."""
    if isinstance(key, str) and PLAIN_KEY.fullmatch(key):
        return f"{variable}.{key}"
    return f"{variable}[{shown('', key)}]"


def parts(variable: str, value: t.Any) -> t.Iterator[tuple[str, t.Any]]:
    """The names and values of all leaves, and the keys of mappings."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield member(variable, key), key
            yield from parts(member(variable, key), part)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from parts(member(variable, index), part)
    else:
        yield variable, value


def suggestion(name: str, known: t.Iterable[str], likeness: float = 0.75) -> str:
    """The known name that is most similar to ``name``, or an empty string."""
    return next(iter(difflib.get_close_matches(name[:100], list(known), 1, likeness)), "")


def unknown_key(variable: str, key: t.Any, known: t.Collection[str]) -> Problem:
    """The problem of a key that a mapping must not have."""
    if not isinstance(key, str):
        rule = "is not a key: keys are strings"
        return Problem(member(variable, key), rule, shown_with_kind("", key), next(iter(known)))
    like = suggestion(key, known)
    hint = f"did you mean {like}?" if like else f"its keys are {', '.join(known)}"
    rule = f"is not a key of {variable}; {hint}"
    return Problem(member(variable, key), rule, "", like or next(iter(known)))


def is_number(value: t.Any) -> bool:
    """Whether this is a finite number; a boolean is none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return is_integer(value)


def is_integer(value: t.Any) -> bool:
    """Whether this is an integer; a boolean is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_string(value: str) -> str:
    """Why a string is invalid for any input, as a clause, or an empty string."""
    if TEMPLATE.search(value):
        return "which contains a template that was not evaluated"
    if value != value.strip():
        return "which begins or ends with whitespace"
    if CONTROL.search(value):
        return "which contains a control character"
    for character in value:
        if character > "~" and unicodedata.category(character) in INVISIBLE:
            return f"which contains an invisible character (U+{ord(character):04X})"
    return ""


__all__ = [
    "CONTROL",
    "Problem",
    "TemplatingFailure",
    "check_string",
    "is_integer",
    "is_number",
    "kind",
    "member",
    "parts",
    "shown",
    "shown_with_kind",
    "suggestion",
    "unknown_key",
]
