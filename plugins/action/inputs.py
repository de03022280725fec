# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Works out every variable of the host whose name begins with ``eden_`` and checks them together."""

from __future__ import annotations

import datetime
import functools
import typing as t

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ansible_collections.eden.reference.plugins.module_utils._eden import inputs
from ansible_collections.eden.reference.plugins.module_utils._eden.values import Unresolved

DEEPEST = 64


class ActionModule(ActionBase):
    """The action of eden.reference.inputs. It runs on the controller, where the variables are."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        raw = task_vars or {}
        # Others than the inputs are only named in a message: their templates may be costly or hold secrets.
        variables = {
            str(name): self.resolved(value) if name in inputs.RULES else None
            for name, value in raw.items()
            if name.startswith(inputs.PREFIX)
        }
        read = functools.cache(inputs.read_file)
        found = inputs.check(variables, read)
        if found:
            return {
                "failed": True,
                **inputs.refusal(found, str(raw.get("inventory_hostname", "this host"))).as_result(),
            }
        written = inputs.config_text(variables, read)
        return {"changed": False, "config": {"text": written, "checksum": inputs.checksum(written)}}

    def resolved(self, raw: t.Any) -> t.Any:
        """The value with its templates worked out, in Python's own types.

        A part that cannot be worked out becomes an :class:`Unresolved`.
        """
        try:
            return plain(self._templar.template(raw))
        except AnsibleError as error:
            if isinstance(raw, dict):
                return {plain(key): self.resolved(value) for key, value in raw.items()}
            if isinstance(raw, (list, tuple)):
                return [self.resolved(value) for value in raw]
            words = " ".join(str(error).split())[:300]
            return Unresolved(words.encode("ascii", "backslashreplace").decode())
        except RecursionError:
            return Unresolved(f"it is nested more than {DEEPEST} levels deep")


def plain(value: t.Any, depth: int = 0) -> t.Any:
    """The value without the subclasses in which Ansible keeps where a value came from."""
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, dict):
        return {plain(key, depth + 1): plain(part, depth + 1) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part, depth + 1) for part in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, datetime.datetime):
        return datetime.datetime.combine(value.date(), value.timetz())
    if isinstance(value, datetime.date):
        return datetime.date(value.year, value.month, value.day)
    return value
