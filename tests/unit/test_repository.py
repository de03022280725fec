# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in two places of the repository agrees, and what does not belong into it is not there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest
import yaml
from collection import files
from environments import CHECKOUT
from levels import LEVELS

from ansible_collections.eden.reference.plugins.module_utils._collection import VERSION

ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
MODULES = sorted(path.stem for path in (CHECKOUT / "plugins/modules").glob("*.py"))
DOCUMENTS = [path for path in files() if path.suffix == ".md"]


def load(path: str) -> t.Any:
    """The content of a YAML file of the checkout."""
    return yaml.safe_load((CHECKOUT / path).read_text())


def ansible(program: str, *arguments: str) -> str:
    """What one of ansible's programs prints, with the checkout as an installed collection."""
    settings = {"ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"), "LC_ALL": "C.UTF-8"}
    command = [sys.executable, "-m", "ansible", program, *arguments]
    return subprocess.run(
        command, env=os.environ | settings, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def texts() -> t.Iterator[tuple[Path, str]]:
    """The text files and what is in them."""
    for path in files():
        try:
            yield path, (CHECKOUT / path).read_text()
        except UnicodeDecodeError:
            continue


def test_the_inputs_are_documented_and_no_others() -> None:
    (entry,) = load("roles/eden/meta/argument_specs.yml")["argument_specs"].values()
    options = entry["options"]
    required = {name for name, option in options.items() if option.get("required")}
    defaults = load("roles/eden/defaults/main.yml")
    assert set(defaults) | required == set(options)
    assert not set(defaults) & required, "what has a default is not required"
    documented = {name: option["default"] for name, option in options.items() if "default" in option}
    assert documented == {name: defaults[name] for name in documented}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_a_readme(role: str) -> None:
    assert (CHECKOUT / "roles" / role / "README.md").is_file()


def test_the_documented_action_group_is_the_real_one() -> None:
    names = [f"eden.reference.{module}" for module in MODULES]
    shown = yaml.safe_load(ansible("doc", "--json", "-t", "module", *names))
    members = [
        name.removeprefix("eden.reference.")
        for name in names
        if "eden.reference.eden"
        in shown[name]["doc"]["attributes"].get("action_group", {}).get("membership", [])
    ]
    assert members == load("meta/runtime.yml")["action_groups"]["eden"]


def test_every_action_belongs_to_a_module() -> None:
    assert sorted(path.stem for path in (CHECKOUT / "plugins/action").glob("*.py")) == MODULES


def test_the_oldest_ansible_is_the_same_everywhere() -> None:
    runtime = load("meta/runtime.yml")["requires_ansible"]
    assert re.fullmatch(r">=\d+\.\d+\.0", runtime)
    oldest = runtime.removeprefix(">=").removesuffix(".0")
    assert f"ansible-core>={oldest}" in (CHECKOUT / "requirements.txt").read_text().splitlines()
    assert {load(f"roles/{role}/meta/main.yml")["galaxy_info"]["min_ansible_version"] for role in ROLES} == {
        oldest
    }


def test_the_dependency_is_the_same_everywhere() -> None:
    (required,) = load("requirements.yml")["collections"]
    assert load("galaxy.yml")["dependencies"] == {required["name"]: required["version"]}


def test_the_lookup_is_told_the_tags_of_the_play() -> None:
    for path in sorted((CHECKOUT / "playbooks").glob("*.yml")):
        (play,) = yaml.safe_load(path.read_text())
        tags = [tag for role in play["roles"] for tag in role.get("tags", [])]
        arguments = ", ".join(map(repr, ["eden.reference.experiments", *tags]))
        assert play["hosts"] == f"{{{{ lookup({arguments}) }}}}"
        assert play["connection"] == "local"


def test_the_version_is_the_changelogs() -> None:
    """It is the version that the fragments are for, or, where there are none, the last released one."""

    def numbers(version: str) -> tuple[int, ...]:
        return tuple(int(part) for part in version.split("."))

    version = load("galaxy.yml")["version"]
    assert version == VERSION
    released = max(map(numbers, load("changelogs/changelog.yaml")["releases"]), default=(0,))
    if any((CHECKOUT / "changelogs/fragments").glob("*.yml")):
        assert numbers(version) > released
    else:
        assert numbers(version) == released


def test_what_is_built_is_what_a_user_needs(tmp_path: Path) -> None:
    ansible("galaxy", "collection", "build", str(CHECKOUT), "--output-path", str(tmp_path))
    (artifact,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(artifact) as archive:
        built = {member.name for member in archive if not member.isdir()}
    top = ("CONTRIBUTING.md", "LICENSE", "README.md", "requirements.txt", "requirements.yml")
    directories = ("changelogs", "docs", "examples", "inventories", "meta", "playbooks", "plugins", "roles")
    wanted = {str(path) for path in files() if path.parts[0] in directories or str(path) in top}
    assert built == wanted | {"FILES.json", "MANIFEST.json"}


COMMENTED = {".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}


def test_every_file_names_its_license() -> None:
    """All but empty ones: ansible-test wants a package's ``__init__.py`` to be that."""
    line = "# SPDX-License-Identifier: GPL-3.0-or-later"
    commented = [
        (path, text) for path, text in texts() if text and (path.suffix in COMMENTED or text.startswith("#!"))
    ]
    assert not [str(path) for path, text in commented if line not in text.splitlines()[:2]]


# In parts, so that this file is not one of those that it looks for.
MACHINE_PATHS = [
    "/roo" + "t/",
    "/hom" + "e/",
    "/User" + "s/",
    "/wor" + "k/main",
    "/wor" + "k/shared",
    ".mirro" + "r",
]
REGISTRIES = [
    name.replace(" ", ".")
    for name in (
        "pypi org",
        "files pythonhosted org",
        "registry npmjs org",
        "proxy golang org",
        "sum golang org",
        "repo maven apache org",
        "repo1 maven org",
        "crates io",
        "deb debian org",
    )
]
SUPPRESSIONS = [
    "no" + "qa",
    "type: ig" + "nore\n",
    "pylint: dis" + "able",
    "shellcheck dis" + "able",
    "yamllint dis" + "able",
    "skip_" + "list",
    "pytest.mark.sk" + "ip",
    "pytest.sk" + "ip",
    "x" + "fail(",
]


@pytest.mark.parametrize(
    "words", [MACHINE_PATHS, REGISTRIES, SUPPRESSIONS], ids=["paths", "registries", "skips"]
)
def test_no_file_holds(words: list[str]) -> None:
    found = [(str(path), word) for path, text in texts() for word in words if word in text]
    assert not found


def test_there_is_no_list_of_ignored_findings() -> None:
    assert not [path for path in files() if "ignore" in path.name and path.name != ".gitignore"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_a_document_names_only_what_exists(document: Path) -> None:
    """Paths of this repository that a document names or links to, from its root or from its own directory."""
    text = (CHECKOUT / document).read_text()
    named = re.findall(
        r"(?<![\w./-])(?:tests|\.ci|docs|inventories|molecule|playbooks|roles|plugins)/[\w./-]*\w", text
    )
    named += re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    bases = (CHECKOUT, CHECKOUT / document.parent, CHECKOUT / "roles/eden", CHECKOUT / "plugins/module_utils")
    assert not [path for path in named if not any((base / path).exists() for base in bases)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_commands_of_a_document_can_be_run(document: Path) -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```", (CHECKOUT / document).read_text(), re.S | re.M)
    commands = [
        line.split() for block in blocks for line in block.splitlines() if line.startswith(("tests/", ".ci/"))
    ]
    for command, *arguments in commands:
        assert os.access(CHECKOUT / command, os.X_OK), command
        if command == "tests/run":
            assert {word for word in arguments if not word.startswith("-")} <= set(LEVELS)


def test_the_readme_has_the_two_commands() -> None:
    assert {"tests/bring-up", "tests/run"} <= set((CHECKOUT / "README.md").read_text().splitlines())
