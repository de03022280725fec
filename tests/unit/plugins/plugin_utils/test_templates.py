# SPDX-License-Identifier: GPL-3.0-or-later
"""What `templates` of eden.reference.apply renders to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.eden.reference.plugins.plugin_utils import _templates

ROOT = Path(__file__).resolve().parents[4]
STUB = """
import json

ARGUMENTS = {
    "definitions": {"type": "list", "elements": "dict", "default": []},
    "templates": {"type": "list", "elements": "raw", "default": []},
}


def run(task):
    with open("definitions.json", "w") as file:
        json.dump(task.parameters["definitions"], file)
    return {}
"""
STRINGS = [
    "\U0001f680",
    r"\ud83d\ude80",
    "NEL \x85, LS \u2028, DEL \x7f, C0 \x01\r\n",
    "2024-01-01",
    "{{ x }}{#",
    "x " * 3000,
]


def write(work: Path, files: dict[str, t.Any]) -> None:
    for name, content in files.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def definitions(work: Path, files: dict[str, t.Any], arguments: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    """What the module is given if a task of the role `caller` applies templates."""
    collection = work / "collections" / "ansible_collections" / "eden" / "reference" / "plugins"
    write(collection, {"modules/apply.py": STUB})
    for part in ("action", "filter", "module_utils", "plugin_utils"):
        (collection / part).symlink_to(ROOT / "plugins" / part)
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["caller"]}
    task = {"eden.reference.apply": arguments}
    write(work, {"play.yml": [play], "roles/caller/tasks/main.yml": [task], **files})
    subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "play.yml"],
        cwd=work,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(work / "collections")},
        check=True,
    )
    return json.loads((work / "definitions.json").read_text())


def rendered(work: Path, names: list[t.Any], **variables: t.Any) -> list[dict[str, t.Any]]:
    """The same without a playbook."""
    write(work, {"vars.yml": variables})
    loader = DataLoader()
    templar = Templar(loader, loader.load_from_file(str(work / "vars.yml"), trusted_as_template=True))
    return _templates.objects(names, templar, [work / "caller", work / "parent"])


def test_objects_of_templates_follow_the_definitions_in_order(tmp_path: Path) -> None:
    files = {
        "roles/caller/meta/main.yml": {"dependencies": [{"role": "parent"}]},
        "roles/parent/meta/main.yml": {"dependencies": [{"role": "grandparent"}]},
        "roles/grandparent/defaults/main.yml": {"greeting": "hello"},
        "roles/caller/templates/two.j2": "a: {{ greeting }}\n---\n# nothing\n---\nb: |\n  text",
        "roles/parent/templates/one.j2": "{% extends 'base.j2' %}{% block more %}d: 4{% endblock %}",
        "roles/grandparent/templates/base.j2": "c: 3\n{% block more %}{% endblock %}",
        "templates/base.j2": "c: the playbook's, which comes last",
        "templates/last.j2": "e: {{ role_path | basename }}\n",
    }
    arguments = {
        "definitions": [{"z": 0}],
        "templates": [
            "two.j2",
            {"src": "one.j2", "when": "{{ greeting == 'hello' }}"},
            {"src": "missing.j2", "when": "{{ greeting == 'bye' }}"},
            {"src": "last.j2"},
        ],
    }
    assert definitions(tmp_path, files, arguments) == [
        {"z": 0},
        {"a": "hello"},
        {"b": "text\n"},
        {"c": 3, "d": 4},
        {"e": "caller"},
    ]


def test_strings_arrive_as_they_are(tmp_path: Path) -> None:
    files = {
        "strings.json": STRINGS,
        "roles/caller/vars/main.yml": {"strings": "{{ lookup('file', 'strings.json') | from_json }}"},
        "roles/caller/templates/strings.j2": "got: {{ strings | eden.reference.quote }}\nplain: 🚀\n",
    }
    got = definitions(tmp_path, files, {"templates": ["strings.j2"]})
    assert got == [{"got": STRINGS, "plain": "🚀"}]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a: 1\nb: {{ nope }}\n", "Could not render the template {}/t.j2:2: 'nope' is undefined"),
        (
            "a: 1\n\nb: {{ nope | combine({}) }}",
            "Could not render the template {}/t.j2:3: 'nope' is undefined",
        ),
        ("{% extends 'base.j2' %}", "base.j2:2: 'missing' is undefined"),
        ("a: {{ {'k': 1}.absent.x }}", "{}/t.j2:1: object of type 'dict' has no attribute 'absent'"),
        ("a: {{ {'k': 1}['absent'] }}", "{}/t.j2:1: object of type 'dict' has no attribute 'absent'"),
        ("a: {{ nested }}", "Could not render the template t.j2: 'elsewhere' is undefined"),
        ("a: 1\nb: {{ nope", "{}/t.j2:2: Syntax error in template: unexpected end"),
        ("a: 1\nb: {{ 1 | nofilter }}", "{}/t.j2:2: Syntax error in template: No filter named 'nofilter'"),
        ("a: 1\nb: {{ 'x' | from_json }}", "{}/t.j2:2: The filter plugin 'ansible.builtin.from_json' failed"),
        ("a: 1\n\n{% include 'zz.j2' %}", "{}/t.j2:3: Error rendering template: 'zz.j2' not found"),
        ("a: 1\nb: [", "The template t.j2 renders to invalid YAML: "),
        ("a: {{ lone }}", "The template t.j2 renders to invalid YAML: "),
        (
            "a: {{ null }}",
            "Could not render the template t.j2: It renders to a string with a null character.",
        ),
        ("[1]", "The template t.j2 renders to a list instead of an object."),
    ],
)
def test_failure_names_template_line_and_variable(tmp_path: Path, template: str, said: str) -> None:
    base = "c: 3\nd: {{ missing }}\n"
    write(tmp_path, {"parent/base.j2": base, "caller/good.j2": "a: 1", "caller/t.j2": template})
    with pytest.raises(AnsibleActionFail) as failure:
        rendered(tmp_path, ["good.j2", "t.j2"], nested="{{ elsewhere }}", lone='"\\ud800"', null="\0")
    assert said.replace("{}/", f"{tmp_path}/caller/") in str(failure.value)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("none.j2", "Could not find the template none.j2: searched"),
        ({"source": "none.j2"}, "must be the name of a template or a mapping of src and when"),
        ({"src": "none.j2", "when": "perhaps"}, "condition of the template none.j2"),
    ],
)
def test_wrong_items_are_refused(tmp_path: Path, item: t.Any, said: str) -> None:
    with pytest.raises(AnsibleActionFail, match=said):
        rendered(tmp_path, [item])
