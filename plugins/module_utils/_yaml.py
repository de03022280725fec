# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JSON that YAML parsers can read.

This module is private to the collection.
"""

from __future__ import annotations

import re

# A surrogate pair, or another escape, which must not be taken for part of one.
ESCAPE = re.compile(r"\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})|\\.")


def yaml_of_json(text: str) -> str:
    """JSON in ASCII, as Python writes it, without what YAML parsers refuse: surrogate pairs and DEL."""
    return ESCAPE.sub(_escaped, text).replace("\x7f", r"\u007f")


def _escaped(match: re.Match[str]) -> str:
    high, low = match.groups()
    if not high:
        return match[0]
    code = 0x10000 + (int(high, 16) - 0xD800) * 0x400 + int(low, 16) - 0xDC00
    return rf"\U{code:08X}"


__all__ = ["yaml_of_json"]
