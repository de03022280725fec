# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Templates the inputs of a host and checks them together."""

from __future__ import annotations

import datetime
import functools
import os
import typing as t

from ansible.errors import AnsibleError
from ansible.parsing.vault import is_encrypted
from ansible.plugins.action import ActionBase
from ansible.utils.vars import load_extra_vars

from ansible_collections.eden.reference.plugins.module_utils._eden import files, inputs, inputs_experiment
from ansible_collections.eden.reference.plugins.module_utils._eden.values import TemplatingFailure

# Ansible loads an action before it forks: the files of the role are read once.
SPECIFICATION = inputs.specification()
MAX_DEPTH = 64
# Python refuses to write out integers of more than 4300 digits.
MAX_BITS = 8192


class ActionModule(ActionBase):
    """The action of eden.reference.inputs. It runs on the controller, where the variables are."""

    _supports_check_mode = True
    _supports_diff = True
    _requires_connection = False

    def run(self, tmp: t.Any = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        raw = task_vars or {}
        # Other variables are only named in a message: their templates may be expensive or contain secrets.
        variables = {
            str(name): self.templated(value) if name in SPECIFICATION else None
            for name, value in raw.items()
            if inputs.concerns(name)
        }
        read, pack = functools.cache(self.read), functools.cache(files.pack)
        found = [*inputs.fact_problems(given_names(raw, self._loader)), *inputs.check(variables, read, pack)]
        if found:
            host = str(raw.get("inventory_hostname", "this host"))
            return {"failed": True, **inputs.refusal(found, host).as_result()}
        text = inputs.config_text(variables, read)
        config = inputs.experiment_config_of(variables, read)
        published = {
            "text": text,
            "checksum": inputs.checksum(text),
            "deadlines": inputs.task_deadlines(config),
            "commands": inputs_experiment.commands(config),
            "files": inputs_experiment.packed(variables, pack),
        }
        result = {"changed": False, "config": published}
        warnings = inputs.warnings(variables)
        return {**result, "warnings": warnings} if warnings else result

    def templated(self, raw: t.Any) -> t.Any:
        """The templated value in Python's own types, with :class:`TemplatingFailure` for parts that fail."""
        try:
            return plain(self._templar.template(raw))
        except AnsibleError as error:
            if isinstance(raw, dict):
                return {plain(key): self.templated(value) for key, value in raw.items()}
            if isinstance(raw, (list, tuple)):
                return [self.templated(value) for value in raw]
            words = " ".join(str(error).split())[:300]
            return TemplatingFailure(words.encode("ascii", "backslashreplace").decode())
        except (RecursionError, OverflowError) as error:
            return TemplatingFailure(str(error))

    def read(self, path: str) -> bytes:
        """The content of a file, decrypted if it is encrypted with ansible-vault.

        Raises:
            OSError: it cannot be read or decrypted.
        """
        content = inputs.read_file(path)
        if not is_encrypted(content):
            return content
        try:
            text = self._loader.get_text_file_contents(os.path.abspath(os.path.expanduser(path)))
        except AnsibleError as error:
            words = " ".join(str(error).split())[:200].encode("ascii", "backslashreplace").decode()
            raise OSError(
                f"it is encrypted with ansible-vault and cannot be decrypted: {words} "
                "Give its password with --ask-vault-pass or --vault-password-file, or decrypt the file"
            ) from error
        return text.encode("utf-8", "surrogateescape")


def given_names(raw: t.Mapping[str, t.Any], loader: t.Any) -> set[str]:
    """The names of the facts of the role eden that the user has set, as extra or inventory variables.

    The results of phases are facts in every play but the first: only as extra variables are they the user's.
    """
    extra = set(load_extra_vars(loader))
    hostvars = raw.get("hostvars")
    if hostvars is None:
        return extra
    # Without the variables of roles and plays.
    own = hostvars.raw_get(raw["inventory_hostname"])
    return extra | {name for name in inputs.ROLE_FACTS if name in own}


def plain(value: t.Any, depth: int = 0) -> t.Any:
    """The value without the subclasses in which Ansible tracks its origin.

    Raises:
        RecursionError: it is nested too deeply, or contains itself.
        OverflowError: it contains a number that cannot be converted to a string.
    """
    if depth > MAX_DEPTH:
        raise RecursionError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {plain(key, depth + 1): plain(part, depth + 1) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part, depth + 1) for part in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise OverflowError("it is a number that is too large")
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, datetime.datetime):
        return datetime.datetime.combine(value.date(), value.timetz())
    if isinstance(value, datetime.date):
        return datetime.date(value.year, value.month, value.day)
    return value
