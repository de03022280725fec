# SPDX-License-Identifier: GPL-3.0-or-later
"""How the containers start EDEN's modules: run as rendered, with modules that tell what they got."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from manifest_cases import Manifests

# Connects to the server of a URL, and so fails where that does not listen yet; then prints its arguments.
MODULE = """
import json, os, socket, sys, urllib.parse

for word in sys.argv:
    server = urllib.parse.urlsplit(word.partition("=")[2])
    if server.hostname == "127.0.0.1":
        socket.create_connection((server.hostname, server.port)).close()
print(json.dumps({"name": __name__, "arguments": sys.argv[1:], "environment": sorted(os.environ)}))
"""
SECRETS = {"EDEN_ADMIN_TOKEN": "the admin token", "EDEN_SESSION_SECRET": "the session secret"}


class Started(t.NamedTuple):
    """A container's command, with another URL, and the process that it started."""

    words: list[str]
    process: subprocess.Popen[str]

    def told(self) -> dict[str, t.Any]:
        """What the module got, once it has ended."""
        output, errors = self.process.communicate()
        assert self.process.returncode == 0, errors
        found: dict[str, t.Any] = json.loads(output)
        return found


def start(objects: Manifests, component: str, directory: Path, flag: str = "", url: str = "") -> Started:
    """Start the command of a component's container, with that URL for its flag."""
    words = container(objects, component)["args"]
    given = [f"{flag}={url}" if flag and word.startswith(f"{flag}=") else word for word in words]
    module = next(word for word in given if word.startswith("eden_"))
    file = directory.joinpath(*module.split("."))
    file = file.with_suffix(".py") if "." in module else file / "__main__.py"
    file.parent.mkdir(parents=True)
    (file.parent / "__init__.py").touch()
    file.write_text(MODULE)
    process = subprocess.Popen(
        [sys.executable, *given[1:]],
        env=os.environ | SECRETS | {"PYTHONPATH": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return Started(given, process)


def container(objects: Manifests, component: str) -> dict[str, t.Any]:
    """The container of that name."""
    for item in objects:
        for found in (
            item["spec"]["template"]["spec"]["containers"] if "template" in item.get("spec", {}) else []
        ):
            if found["name"] == component:
                return dict(found)
    raise LookupError(component)


@pytest.fixture
def plain(manifests: dict[str, Manifests]) -> Manifests:
    """The objects with the default inputs."""
    return manifests["plain"]


@pytest.mark.parametrize(
    ("component", "flag", "scheme"),
    [("seed", "--push-to", "http"), ("task-store-server", "--store-url", "postgresql")],
)
def test_it_waits_until_its_server_takes_connections(
    plain: Manifests, tmp_path: Path, component: str, flag: str, scheme: str
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        url = f"{scheme}://eden@127.0.0.1:{server.getsockname()[1]}/path"
        started = start(plain, component, tmp_path, flag, url)
        # Whoever does not wait is refused by then, or has not begun.
        time.sleep(1)
        server.listen()
        told = started.told()
    assert told["name"] == "__main__"
    assert f"{flag}={url}" in told["arguments"]


def test_a_url_without_a_server_is_not_waited_for(plain: Manifests, tmp_path: Path) -> None:
    started = start(plain, "task-store-server", tmp_path, "--store-url", "sqlite:///store")
    assert "--store-url=sqlite:///store" in started.told()["arguments"]


def test_the_seed_gets_its_flags_and_nothing_else(plain: Manifests, tmp_path: Path) -> None:
    told = start(plain, "seed", tmp_path, "--push-to", "file:///repo").told()
    assert [word.partition("=")[0] for word in told["arguments"]] == [
        "--repo-path",
        "--push-to",
        "--credential-helper",
    ]


@pytest.mark.parametrize(
    ("component", "flag", "variable"),
    [
        ("task-store-server", "--admin-token", "EDEN_ADMIN_TOKEN"),
        ("web-ui", "--session-secret", "EDEN_SESSION_SECRET"),
    ],
)
def test_a_secret_reaches_the_module_as_a_flag_and_no_process_list(
    plain: Manifests, tmp_path: Path, component: str, flag: str, variable: str
) -> None:
    started = start(plain, component, tmp_path, "--store-url", "sqlite:///store")
    told = started.told()
    assert told["arguments"][-2:] == [flag, SECRETS[variable]]
    assert variable not in told["environment"]
    assert SECRETS[variable] not in started.words
    # The module's own flags come first, as they were given.
    assert told["arguments"][:-2] == started.words[-len(told["arguments"][:-2]) :]
