# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands as a user types them: the documented ones work, and what would do nothing is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from collection import copy, files
from environments import CHECKOUT, clean

DOCUMENTS = [path for path in files() if path.suffix == ".md"]
PROGRAMS = ("ansible", "kubectl", "molecule", "pip", "tests/", ".ci/", "~/")
# What is not run here, and what runs it.
ELSEWHERE = {
    r"pip install -r requirements.txt": "each level, in an environment of its own",
    r"ansible-galaxy collection (build|install --force eden-)": "the fixture `installed`",
    r"kubectl apply -f (docs|roles/eden/files)/deployer-role.yaml": "tests/reliability/test_permissions.py",
    r"kubectl (create|port-forward|get|describe)": "tests/verify, on kind",
    r"tests/bring-up|tests/cluster/cluster|tests/standin/build|molecule test|\.ci/run": "the level kind",
    r"tests/run|tests/reliability/run|tests/bench/(run|fleet)": "tests/unit/test_harness.py",
    r"~/\.cache/eden-lab/.* -m pytest": "the levels themselves",
}
NO_CLUSTER = "kubeconfig"


@dataclass(frozen=True)
class Place:
    """Where commands are typed: the collection is found there without further settings."""

    directory: Path
    home: Path
    site: str

    def run(self, command: str | list[str], **variables: str) -> tuple[int, str]:
        """The exit status of a command, and what it prints."""
        done = subprocess.run(
            command,
            shell=isinstance(command, str),
            cwd=self.directory,
            env=clean([Path(sys.executable).parent])
            | {"HOME": str(self.home), "KUBECONFIG": "/nowhere/kubeconfig", "COLUMNS": "1000"}
            | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        return done.returncode, done.stdout

    def play(self, *arguments: str | Path, playbook: str = "") -> tuple[int, str]:
        """Run the main playbook, or another one."""
        return self.run(["ansible-playbook", playbook or self.site, *map(str, arguments)])


def blocks(document: Path, language: str = r"\w*") -> list[str]:
    """The fenced blocks of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", (CHECKOUT / document).read_text(), re.S | re.M)


def commands(document: Path) -> t.Iterator[str]:
    """The commands of a document: lines of fenced blocks, and cells of tables."""
    lines = [line for block in blocks(document) for line in block.splitlines()]
    rows = re.findall(r"^\|.*\|$", (CHECKOUT / document).read_text(), re.M)
    cells = [word for row in rows for word in re.findall(r"\| `([^`]+)` \|", row)]
    inline = re.findall(r"`(ansible-doc [^`]+)`", (CHECKOUT / document).read_text())
    for line in dict.fromkeys([*lines, *cells, *inline]):
        if line.startswith(PROGRAMS) and (" " in line or os.access(CHECKOUT / line, os.X_OK)):
            yield re.sub(r"\s+# .*", "", line)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(CHECKOUT, tmp_path_factory.mktemp("home"), "site.yml")


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A directory with the README's inventory, and the collection installed by the README's commands."""
    root = tmp_path_factory.mktemp("installed")
    source = copy(root / "source")
    (source / "collections/ansible_collections/eden").mkdir(parents=True)
    (source / "collections/ansible_collections/eden/reference").symlink_to("../../..")
    place = Place(source, root / "home", "eden.reference.site")
    for command in commands(Path("README.md")):
        if command.startswith("ansible-galaxy"):
            offline = f"{command} --offline" if " install " in command else command
            status, printed = place.run(offline)
            assert status == 0, printed
    directory = root / "user"
    directory.mkdir()
    (inventory,) = blocks(Path("README.md"), "yaml")
    (directory / "inventory").write_text(inventory)
    shutil.copy(CHECKOUT / "inventories/production/files/compression.yaml", directory / "ranking.yaml")
    return Place(directory, place.home, place.site)


def assert_reached_the_cluster(ended: tuple[int, str]) -> None:
    """The command line and the inputs were accepted; there is no cluster here."""
    status, printed = ended
    assert status == 2, printed
    assert NO_CLUSTER in printed, printed
    assert "failed=1" in printed, printed
    assert "unreachable=0" in printed, printed


DOCUMENTED = [
    pytest.param(document, command, id=f"{document}: {command}")
    for document in DOCUMENTS
    for command in commands(document)
    if not any(re.match(known, command) for known in ELSEWHERE)
]


@pytest.mark.parametrize(("document", "command"), DOCUMENTED)
def test_a_documented_command_works(document: Path, command: str, checkout: Place, installed: Place) -> None:
    place = checkout if ".yml" in command else installed
    ended = place.run(command)
    if command.startswith("ansible-playbook"):
        assert_reached_the_cluster(ended)
    else:
        assert ended[0] == 0, ended[1]


def test_what_is_run_elsewhere_is_documented() -> None:
    typed = [command for document in DOCUMENTS for command in commands(document)]
    texts = [(CHECKOUT / document).read_text() for document in DOCUMENTS]
    assert typed
    unused = [
        known
        for known in ELSEWHERE
        if not any(re.match(known, command) for command in typed)
        and not any(re.search(known, x) for x in texts)
    ]
    assert not unused


@pytest.mark.parametrize(
    "playbook",
    [
        "site.yml",
        "playbooks/site.yml",
        "playbooks/status.yml",
        "eden.reference.status",
        "playbooks/doctor.yml",
        "playbooks/stop.yml",
        "playbooks/start.yml",
        "playbooks/teardown.yml",
        "playbooks/pause.yml",
        "playbooks/resume.yml",
        "playbooks/terminate.yml",
    ],
)
def test_a_checkout_needs_no_settings(checkout: Place, playbook: str) -> None:
    assert_reached_the_cluster(checkout.play("-i", "inventories/kind", playbook=playbook))


def test_site_runs_from_anywhere_without_the_checkouts_settings(checkout: Place, tmp_path: Path) -> None:
    """In a directory that everyone can write to, ansible ignores ansible.cfg."""
    elsewhere = Place(tmp_path, checkout.home, str(CHECKOUT / "site.yml"))
    assert_reached_the_cluster(elsewhere.play("-i", CHECKOUT / "inventories/kind"))


TAGS = "its tags are infra, seed, task_store, identities, app_tier, verify"
REFUSED = {
    "an inventory that does not exist": (
        ["-i", "nowhere"],
        "nowhere: no such file or directory. Name one with -i.",
    ),
    "one of two inventories": (["-i", "{hosts}", "-i", "nowhere"], "nowhere: no such file or directory"),
    "an inventory without hosts": (["-i", "{empty}"], "has no hosts. Each host is one experiment."),
    "an empty host list": (["-i", ","], "has no hosts"),
    "a limit": (["-i", "{hosts}", "--limit", "edn"], "Could not match supplied host pattern, ignoring: edn"),
    "one of two limits": (
        ["-i", "{hosts}", "--limit", "eden,edn"],
        "--limit edn: no such host or group in the inventory (did you mean eden?).",
    ),
    "a limit and no hosts": (["-i", "{empty}", "--limit", "eden"], "has no hosts"),
    "a misspelt tag": (
        ["-i", "{hosts}", "--tags", "task-store"],
        f"--tags task-store: no such tag (did you mean task_store?); {TAGS}.",
    ),
    "one of two tags": (
        ["-i", "{hosts}", "--tags", "infra,nothing"],
        f"--tags nothing: no such tag; {TAGS}.",
    ),
    "a misspelt tag to skip": (["-i", "{hosts}", "--skip-tags", "Verify"], "did you mean verify?"),
    "no checks": (["-i", "{hosts}", "--skip-tags", "always"], "skips the checks before the first write"),
    "nothing at all": (["-i", "{hosts}", "--skip-tags", "all"], "skips the checks before the first write"),
    "a start": (
        ["-i", "{hosts}", "--start-at-task", "Ensure the credentials"],
        f"--start-at-task skips the checks before the first write, on which every phase relies; {TAGS}.",
    ),
}
WHERE_INSTALLED = ("an inventory that does not exist", "one of two tags", "a start")
CASES = [("checkout", case) for case in REFUSED] + [("installed", case) for case in WHERE_INSTALLED]


@pytest.mark.parametrize(("where", "case"), CASES, ids=[f"{where}: {case}" for where, case in CASES])
def test_a_run_that_would_do_nothing_is_refused(
    where: str, case: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    (tmp_path / "hosts.yml").write_text("all: {hosts: {eden: {eden_image: 'eden:1'}}}\n")
    (tmp_path / "empty.yml").write_text("all: {children: {experiments: {}}}\n")
    arguments, words = REFUSED[case]
    paths = {"hosts": tmp_path / "hosts.yml", "empty": tmp_path / "empty.yml"}
    status, printed = request.getfixturevalue(where).play(*(word.format(**paths) for word in arguments))
    assert status != 0, printed
    assert "TASK [" not in printed
    assert any(words in line for line in printed.splitlines()), printed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--tags", "task_store"],
        ["--skip-tags", "verify,molecule-notest"],
        ["--limit", "eden*"],
        ["--tags", "all"],
    ],
    ids=" ".join,
)
def test_a_run_that_does_something_is_not(checkout: Place, arguments: list[str]) -> None:
    assert_reached_the_cluster(checkout.play("-i", "inventories/kind", *arguments))


@pytest.mark.parametrize(
    ("environment", "given", "used"),
    [
        ({"KUBECONFIG": ""}, "", "the account of the pod"),
        ({"KUBECONFIG": "/one:/two"}, "", "/one:/two"),
        ({"KUBECONFIG": "/one", "K8S_AUTH_KUBECONFIG": "/controller"}, "", "/controller"),
        ({"KUBECONFIG": "/one", "K8S_AUTH_KUBECONFIG": "/controller"}, "/mine", "/mine"),
    ],
)
def test_doctor_reads_the_warnings_of_the_cluster_that_the_modules_ask(
    checkout: Place, tmp_path: Path, environment: dict[str, str], given: str, used: str
) -> None:
    """In a pod with a service account, kubernetes.core takes only a kubeconfig that is named."""
    play = yaml.safe_load((CHECKOUT / "playbooks/doctor.yml").read_text())[0]
    kubeconfig = play["tasks"][0]["kubernetes.core.k8s_info"]["kubeconfig"]
    variables = {**play["vars"], "eden_kubeconfig": given, "omit": "the account of the pod"}
    shown = {"hosts": "all", "gather_facts": False, "vars": variables}
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(json.dumps([{**shown, "tasks": [{"ansible.builtin.debug": {"msg": kubeconfig}}]}]))
    status, printed = checkout.run(
        ["ansible-playbook", str(playbook), "-i", "eden,", "-c", "local"],
        **{"HOME": str(tmp_path), **environment},
    )
    assert status == 0, printed
    assert f'"msg": "{used}"' in printed


def test_a_playbook_has_no_tags_that_it_does_not_know(checkout: Place) -> None:
    ended = checkout.play("-i", "inventories/kind", "--tags", "verify", playbook="playbooks/status.yml")
    assert "--tags verify: no such tag; the play has no tags." in ended[1]


def test_other_plays_of_the_run_have_tags_of_their_own(installed: Place, tmp_path: Path) -> None:
    playbook = tmp_path / "all.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  tasks: [{ansible.builtin.debug: {msg: mine}, tags: [mine]}]\n"
        "- ansible.builtin.import_playbook: eden.reference.site\n"
    )
    own = ["-i", "eden,", "-c", "local", "-e", "eden_image=eden:1"]
    _status, printed = installed.play(*own, "--tags", "mine", playbook=str(playbook))
    assert "mine" in printed
    assert "no such tag" not in printed
    status, printed = installed.play(*own, "--tags", "task-store", playbook=str(playbook))
    assert status != 0
    assert "did you mean task_store?" in printed


def test_the_inventory_may_choose_another_connection(checkout: Place, tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    connection = "ansible_connection: ssh, ansible_host: 127.0.0.1, ansible_port: 1"
    inventory.write_text(f"all: {{hosts: {{eden: {{eden_image: 'eden:1', {connection}}}}}}}\n")
    _status, printed = checkout.play("-i", inventory)
    assert "unreachable=1" in printed, printed
