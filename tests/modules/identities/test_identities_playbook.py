# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task of a playbook: in ansible's own process, and over a connection."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from identities_world import NAMES, World

CHECKOUT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-vvv", "playbook.yml"]
COMMAND += ["-e", f"ansible_python_interpreter={sys.executable}"]
# Runs everything here, under a name that is not that of the local connection.
ELSEWHERE = '''\
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: elsewhere
short_description: This machine as if it were another
description: [This machine as if it were another.]
author: tests
extends_documentation_fragment: [connection_pipelining]
"""


class Connection(Local):
    transport = "elsewhere"
'''


class Ansible:
    """``ansible-playbook`` with a configuration of its own."""

    def __init__(self, directory: Path, world: World, connection: str) -> None:
        self.directory = directory
        self.world = world
        self.connection = connection
        (directory / "connections").mkdir()
        (directory / "connections" / "elsewhere.py").write_text(ELSEWHERE)

    def run(self, *arguments: str) -> tuple[int, dict[str, int], str]:
        """Exit status, the numbers of the recap, and the output."""
        play = {
            "name": "Give every service its identity",
            "hosts": "localhost",
            "connection": self.connection,
            "gather_facts": False,
            "tasks": [{"name": "Call the module", "eden.reference.identities": self.world.parameters}],
        }
        (self.directory / "playbook.yml").write_text(json.dumps([play]))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment |= {
            "HOME": str(self.directory),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
            "ANSIBLE_CONNECTION_PLUGINS": str(self.directory / "connections"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        output = done.stdout + done.stderr
        self.world.told.append(output)
        self.world.remember()
        assert "PLAY RECAP" in output, output
        recap = {
            name: int(number)
            for name, number in re.findall(r"(\w+)=(\d+)", output.partition("PLAY RECAP")[2])
        }
        return done.returncode, recap, output


@pytest.fixture(params=["local", "elsewhere"])
def ansible(request: pytest.FixtureRequest, tmp_path: Path, world: World) -> Ansible:
    """Both ways in which ansible can run the module."""
    directory = tmp_path / "ansible"
    directory.mkdir()
    return Ansible(directory, world, request.param)


def test_check_then_run_then_again(ansible: Ansible) -> None:
    world = ansible.world
    before, writes = world.state(), world.writes()
    status, recap, output = ansible.run("--check", "--diff")
    assert (status, recap["changed"]) == (0, 1), output
    assert '"token": "minted"' in output
    assert world.state() == before
    assert world.writes() == writes

    status, recap, output = ansible.run("--diff")
    assert (status, recap["changed"]) == (0, 1), output
    for name in NAMES:
        assert world.held(name) in output
    # Lines of progress are of ansible's own process.
    assert (f"[localhost] minted {NAMES[0]}: " in output) is (ansible.connection == "local")

    writes = world.writes()
    status, recap, output = ansible.run("--diff")
    assert (status, recap["changed"]) == (0, 0), output
    assert world.writes() == writes
    world.check()


def test_failure(ansible: Ansible) -> None:
    world = ansible.world
    first, second = world.mint("operator"), world.mint("operator")
    status, recap, output = ansible.run()
    assert (status, recap["failed"]) == (2, 1)
    assert "Cannot tell which worker is operator" in output
    assert first in output
    assert second in output
    assert "Traceback" not in output
