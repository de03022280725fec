# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a module's function gets from Ansible: parameters, modes, and a place for progress lines.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field


def _silent(_line: str) -> None:
    """A module on a remote host has no terminal."""


@dataclass(frozen=True)
class Task:
    """One call of a module.

    Attributes:
        parameters: the module's options, validated.
        check_mode: read only, and predict.
        diff: return ``diff``.
        progress: shows one line to the user at once.
    """

    parameters: t.Mapping[str, t.Any]
    check_mode: bool = False
    diff: bool = False
    progress: t.Callable[[str], None] = field(default=_silent)
