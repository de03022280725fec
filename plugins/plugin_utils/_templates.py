# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Renders the templates of a task into Kubernetes objects.

This plugin util is private to the collection.
"""

from __future__ import annotations

import json
import re
import traceback
import typing as t
from pathlib import Path

import jinja2
import jinja2.meta
import jinja2.nodes
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.yaml import yaml_load_all
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.playbook.role import Role
from ansible.template import Templar, trust_as_template
from yaml import YAMLError

# YAML does not allow this character.
SEPARATOR = "\0"
DEFERRED = re.compile(r"'(\w+)' is undefined|has no attribute '(\w+)'|plugin '(?:[\w.]+\.)?(\w+)' failed")


def objects(
    items: t.Sequence[t.Any], templar: Templar, directories: t.Sequence[Path]
) -> list[dict[str, t.Any]]:
    """The mappings among the YAML documents of the templates, in their order.

    Args:
        items: names of templates, or ``{src: name, when: condition}``.
        templar: the task's, with the variables of the task.
        directories: the search path of templates, and of those that they include or extend.

    Raises:
        AnsibleActionFail: the message names the template, the line and the variable.
    """
    names = [name for item in items if (name := selected(item))]
    for name in names:
        if not any((directory / name).is_file() for directory in directories):
            places = ", ".join(map(str, directories))
            raise AnsibleActionFail(f"Could not find the template {name}: searched {places}.")
    renderer = templar.copy_with_new_env(searchpath=[str(directory) for directory in directories])
    texts = render(names, renderer, directories)
    return [document for name, text in zip(names, texts, strict=True) for document in documents(name, text)]


def search_path(role: Role | None, playbook: str) -> list[Path]:
    """The directories of templates: the role's, those of the roles it depends on, the playbook's."""
    roles = [role, *role.get_all_dependencies()] if role else []
    places = [Path(found.get_role_path(), "templates") for found in roles]
    return list(dict.fromkeys([*places, Path(playbook, "templates"), Path(playbook)]))


def selected(item: t.Any) -> str:
    """The name of the template, or nothing if its condition is false."""
    if isinstance(item, str):
        return item
    if not isinstance(item, dict) or not {"src"} <= item.keys() <= {"src", "when"}:
        raise AnsibleActionFail(
            f"An item of templates must be the name of a template or a mapping of src and when, not {item!r}."
        )
    try:
        return item["src"] if boolean(item.get("when", True)) else ""
    except TypeError as error:
        raise AnsibleActionFail(f"The condition of the template {item['src']} is not a boolean.") from error


def render(names: t.Sequence[str], templar: Templar, directories: t.Sequence[Path]) -> list[str]:
    """The text of each template.

    All are rendered together, so that a variable that several use is templated once.
    """
    try:
        return _text(names, templar)
    except AnsibleError:
        for name in names:
            try:
                _text([name], templar)
            except AnsibleError as error:
                place = ", ".join(_places(name, error, directories)) or name
                raise AnsibleActionFail(f"Could not render the template {place}.", obj=error.obj) from error
        raise


def _text(names: t.Sequence[str], templar: Templar) -> list[str]:
    if not names:
        return []
    source = SEPARATOR.join(f"{{% include {json.dumps(name)} %}}\n\n" for name in names)
    texts = str(templar.template(trust_as_template(source))).split(SEPARATOR)
    if len(texts) != len(names):
        raise AnsibleActionFail("It renders to a string with a null character.")
    return texts


def _places(name: str, error: AnsibleError, directories: t.Sequence[Path]) -> t.Iterator[str]:
    """``file:line`` of the failure, if the error shows it."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, jinja2.TemplateSyntaxError) and cause.filename:
            yield f"{cause.filename}:{cause.lineno}"
            return
        frames = [
            (template, line)
            for frame, line in traceback.walk_tb(cause.__traceback__)
            if (template := frame.f_globals.get("__jinja_template__")) and template.name
        ]
        if frames:
            template, line = frames[-1]
            yield f"{template.filename}:{template.get_corresponding_lineno(line)}"
            return
        cause = cause.__cause__ or cause.__context__
    # Ansible defers failures until everything is rendered: search for the uses of the name.
    if found := DEFERRED.search(str(error)):
        yield from _uses(name, found[found.lastindex or 0], directories, set())


def _uses(name: str, used: str, directories: t.Sequence[Path], seen: set[str]) -> t.Iterator[str]:
    """``file:line`` of each use of a variable, key or filter in a template and in those that it refers to."""
    path = next((path for directory in directories if (path := directory / name).is_file()), None)
    if path is None or name in seen:
        return
    seen.add(name)
    tree = jinja2.Environment(autoescape=False).parse(path.read_text())
    lines = {node.lineno for node in tree.find_all(jinja2.nodes.Expr) if _name_of(node) == used}
    yield from (f"{path}:{line}" for line in sorted(lines))
    for referred in jinja2.meta.find_referenced_templates(tree):
        yield from _uses(referred or "", used, directories, seen)


def _name_of(node: jinja2.nodes.Expr) -> str | None:
    match node:
        case jinja2.nodes.Name(ctx="load"):
            return node.name
        case jinja2.nodes.Filter() | jinja2.nodes.Test():
            return node.name.rpartition(".")[2]
        case jinja2.nodes.Getattr():
            return node.attr
        case jinja2.nodes.Getitem(arg=jinja2.nodes.Const(value=str() as key)):
            return key
    return None


def documents(name: str, text: str) -> t.Iterator[dict[str, t.Any]]:
    """The mappings in the text of a template, without empty documents."""
    try:
        for document in yaml_load_all(text):
            if isinstance(document, dict):
                yield document
            elif document is not None:
                raise AnsibleActionFail(
                    f"The template {name} renders to a {type(document).__name__} instead of an object."
                )
    except YAMLError as error:
        # The mark's snippet would show values.
        mark = getattr(error, "problem_mark", None)
        line = f" in line {mark.line + 1} of the rendered text" if mark else ""
        reason = getattr(error, "problem", None) or getattr(error, "reason", "")
        raise AnsibleActionFail(f"The template {name} renders to invalid YAML: {reason}{line}.") from None
