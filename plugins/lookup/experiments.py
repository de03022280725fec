# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Refuses a command line with which a playbook would do nothing, or less than requested."""

from __future__ import annotations

DOCUMENTATION = r"""
---
name: experiments
short_description: The hosts of a play, if the command line is valid
description:
  - The host pattern of the playbooks of this collection, which is V(all).
  - Fails before the first task if the run would succeed but do nothing, or less than requested.
  - An inventory must exist and have hosts. Each name in C(--limit) must be that of a host or group.
    C(--tags) and C(--skip-tags) must not misspell a tag, or skip the checks before the first write.
  - If all playbooks on the command line belong to this collection, C(--tags) must not name other tags, and
    C(--start-at-task) is refused, because it skips the checks, too.
  - Nothing is checked with C(--syntax-check) and with the options that list hosts, tags or tasks.
options:
  _terms:
    description: The tags of the play.
    type: list
    elements: str
    default: []
author:
  - EDEN reference deployment contributors (@ealt)
"""

EXAMPLES = r"""
---
- name: Deploy Postgres and Forgejo
  hosts: "{{ lookup('eden.reference.experiments', 'infra') }}"
  connection: local
  gather_facts: false
  roles:
    - role: eden.reference.infra
      tags: [infra]
"""

RETURN = r"""
_raw:
  description: The host pattern.
  type: list
  elements: str
  sample: [all]
"""

import difflib
import os
import pathlib
import re
import typing as t

from ansible import context
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

COLLECTION = "eden.reference"
CHECKS = "always"
SKIPS_CHECKS = "skips the checks before the first write, on which every phase relies"
# Options of ansible-playbook that only list something, for which no inventory is needed.
RUNS_NOTHING = ("syntax", "listhosts", "listtags", "listtasks")
# Ansible's special tags for --tags and for --skip-tags.
RUN_SPECIAL = {"all", CHECKS, "tagged"}
SKIP_SPECIAL = {"never", "untagged"}


class LookupModule(LookupBase):
    """The lookup eden.reference.experiments."""

    def run(self, terms: list[str], variables: dict[str, t.Any] | None = None, **kwargs: t.Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        known = variables or {}
        if any(context.CLIARGS.get(option) for option in RUNS_NOTHING):
            return ["all"]
        alone = is_alone(context.CLIARGS.get("args") or ())
        refusal = (
            inventory_refusal(known)
            or limit_refusal(known)
            or tags_refusal(terms, known, alone)
            or start_refusal(terms, alone)
        )
        if refusal:
            raise AnsibleLookupError(refusal)
        return ["all"]


def is_alone(playbooks: t.Iterable[str]) -> bool:
    """Whether every playbook on the command line is one of this collection: by its name, or by its path."""
    root = pathlib.Path(__file__).resolve().parents[2]
    return all(
        playbook.startswith(f"{COLLECTION}.") or root in pathlib.Path(playbook).resolve().parents
        for playbook in playbooks
    )


def inventory_refusal(variables: dict[str, t.Any]) -> str | None:
    """Why the inventory is refused, or None."""
    sources = [str(source) for source in variables.get("ansible_inventory_sources") or ()]
    missing = [source for source in sources if "," not in source and not os.path.exists(source)]
    if missing:
        return f"inventory {', '.join(missing)}: no such file or directory. Name one with -i."
    if not variables["groups"]["all"]:
        return f"inventory {', '.join(sources)} has no hosts. Each host is one experiment."
    return None


def limit_refusal(variables: dict[str, t.Any]) -> str | None:
    """Why --limit is refused, or None. Patterns other than plain names are left to Ansible."""
    groups = variables["groups"]
    names = {*groups, *groups["all"]}
    for word in re.split(r"[,:]", str(variables.get("ansible_limit") or "")):
        if re.fullmatch(r"[\w.-]+", word) and word not in names:
            return f"--limit {word}: no such host or group in the inventory{suggestion(word, names)}."
    return None


def tags_refusal(tags: list[str], variables: dict[str, t.Any], alone: bool) -> str | None:
    """Why --tags or --skip-tags is refused, or None."""
    skipped = {str(tag) for tag in variables.get("ansible_skip_tags") or ()}
    if forbidden := skipped & {CHECKS, "all", "tagged"}:
        return f"--skip-tags {min(forbidden)} {SKIPS_CHECKS}."
    selected = [str(tag) for tag in variables.get("ansible_run_tags") or ()]
    for option, words, special in (("--tags", selected, RUN_SPECIAL), ("--skip-tags", skipped, SKIP_SPECIAL)):
        for word in sorted(set(words) - special - set(tags)):
            meant = suggestion(word, tags)
            if meant or (alone and option == "--tags"):
                return f"{option} {word}: no such tag{meant}; {listed(tags)}."
    return None


def start_refusal(tags: list[str], alone: bool) -> str | None:
    """Why --start-at-task is refused, or None."""
    if not alone or context.CLIARGS.get("start_at_task") is None:
        return None
    return f"--start-at-task {SKIPS_CHECKS}; {listed(tags)}."


def suggestion(word: str, names: t.Iterable[str]) -> str:
    """The name that was probably meant, as text to append."""
    close = difflib.get_close_matches(word.lower().replace("-", "_"), sorted(names), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def listed(tags: list[str]) -> str:
    """The tags to choose from."""
    return f"its tags are {', '.join(tags)}" if tags else "the play has no tags"
