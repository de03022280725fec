# SPDX-License-Identifier: GPL-3.0-or-later
"""How the containers start EDEN's modules: run as rendered, with modules that tell what they got."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import socket
import string
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
from manifest_cases import Manifests

from ansible_collections.eden.reference.plugins.module_utils._eden import credentials

# Connects to the server of a URL, and so fails where that does not listen yet; then prints its arguments.
MODULE = """
import json, os, socket, sys, urllib.parse

for word in sys.argv:
    server = urllib.parse.urlsplit(word.partition("=")[2])
    if server.hostname == "127.0.0.1":
        socket.create_connection((server.hostname, server.port)).close()
print(json.dumps({"name": __name__, "arguments": sys.argv[1:], "environment": sorted(os.environ)}))
"""
# A value that begins with - is one that argparse takes for a flag, unless it comes in one word with its own.
SECRETS = {"EDEN_ADMIN_TOKEN": "-the admin token", "EDEN_SESSION_SECRET": "--session=secret"}


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
        # A service that does not wait is refused by then, or has not begun.
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
    assert told["arguments"][-1] == f"{flag}={SECRETS[variable]}"
    assert variable not in told["environment"]
    assert SECRETS[variable] not in started.words
    # The module's own flags come first, as they were given.
    assert told["arguments"][:-1] == started.words[-len(told["arguments"][:-1]) :]


# Like argon2-cffi's: True, or an exception; and it counts its calls.
HASHER = """
class PasswordHasher:
    calls = 0

    def verify(self, hash, password):
        PasswordHasher.calls += 1
        if hash != "hash of " + password:
            raise ValueError("mismatch")
        return True
"""
VERIFY = """
import json, sys
from argon2 import PasswordHasher

def verify(stored, token):
    before = PasswordHasher.calls
    try:
        valid = PasswordHasher().verify(stored, token)
    except ValueError:
        valid = False
    return [valid, PasswordHasher.calls - before]

print(json.dumps([verify(*given) for given in json.loads(sys.argv[1])]))
"""


def verified(
    objects: Manifests, tmp_path: Path, pairs: t.Sequence[tuple[str, str]], hasher: str = HASHER
) -> tuple[list[tuple[bool, int]], str]:
    """Per pair of stored hash and token: whether it is valid, and the calls of argon2; and the errors."""
    words = container(objects, "task-store-server")["args"]
    (tmp_path / "argon2.py").write_text(hasher)
    package = tmp_path / "eden_task_store_server"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(VERIFY)
    given = [
        *words[1 : words.index("EDEN_ADMIN_TOKEN") + 1],
        json.dumps(pairs),
        "--store-url=sqlite:///store",
    ]
    ran = subprocess.run(
        [sys.executable, *given],
        env=os.environ | SECRETS | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
        text=True,
    )
    return [tuple(found) for found in json.loads(ran.stdout)], ran.stderr


def test_a_token_is_hashed_once_and_a_wrong_one_each_time(plain: Manifests, tmp_path: Path) -> None:
    right, wrong, reissued = ("hash of a", "a"), ("hash of a", "b"), ("hash of b", "a")
    found, errors = verified(
        plain, tmp_path, [right, right, wrong, wrong, reissued, ("hash of b", "b"), right]
    )
    assert found == [(True, 1), (True, 0), (False, 1), (False, 1), (False, 1), (True, 1), (True, 0)]
    assert not errors


def test_what_is_remembered_is_bounded(plain: Manifests, tmp_path: Path) -> None:
    pairs = [(f"hash of {number}", str(number)) for number in (*range(4097), 4096, 0)]
    found, _errors = verified(plain, tmp_path, pairs)
    assert found[-2:] == [(True, 0), (True, 1)]


@pytest.mark.parametrize("hasher", ["", "raise RuntimeError('no argon2')", "class PasswordHasher: pass"])
def test_another_image_starts_without_remembering_and_reports_it(
    plain: Manifests, tmp_path: Path, hasher: str
) -> None:
    program = container(plain, "task-store-server")["args"][2]
    part = program.partition("import hashlib")
    (tmp_path / "argon2.py").write_text(hasher)
    ran = subprocess.run(
        [sys.executable, "-c", "import hashlib" + part[2].rpartition("import runpy")[0] + "print('started')"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ran.stdout == "started\n"
    assert "verified credentials are not remembered" in ran.stderr


def test_the_switch_leaves_argon2_as_it_is(manifests: dict[str, Manifests]) -> None:
    assert "argon2" in container(manifests["plain"], "task-store-server")["args"][2]
    assert "argon2" not in container(manifests["knobs"], "task-store-server")["args"][2]


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers with the status of the server, or too late; 401 to another token than the server's."""

    def do_GET(self) -> None:
        server = t.cast(TaskStore, self.server)
        time.sleep(server.seconds)
        accepted = self.headers["Authorization"] == f"Bearer admin:{server.token}"
        with contextlib.suppress(OSError):
            self.send_response(server.status if accepted else 401)
            self.end_headers()

    def log_message(self, *_words: t.Any) -> None:
        pass


class TaskStore(http.server.ThreadingHTTPServer):
    """A task store in some state."""

    daemon_threads = True

    def __init__(self, status: int = 200, seconds: float = 0, token: str = "token") -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.status, self.seconds, self.token = status, seconds, token

    def probed(self, objects: Manifests, probe: str, token: str = "token") -> bool:
        """Whether the task store's probe, with that token in its environment, succeeds."""
        words = [
            word.replace(":8080/", f":{self.server_port}/").replace("--max-time 25", "--max-time 1")
            for word in container(objects, "task-store-server")[probe]["exec"]["command"]
        ]
        environment = {"PATH": os.environ["PATH"], "EDEN_ADMIN_TOKEN": token}
        return subprocess.run(words, env=environment, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("status", "seconds", "ready", "alive"),
    [(200, 0, True, True), (500, 0, False, False), (404, 0, False, True), (200, 3, False, True)],
    ids=["it serves", "its database is gone", "it is another experiment's", "it is slow"],
)
def test_a_task_store_that_is_slow_is_not_ready_and_not_dead(
    plain: Manifests, status: int, seconds: float, ready: bool, alive: bool
) -> None:
    with TaskStore(status, seconds) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert server.probed(plain, "readinessProbe") == ready
        assert server.probed(plain, "livenessProbe") == alive
        server.shutdown()


def test_a_task_store_that_does_not_listen_is_dead(plain: Manifests) -> None:
    server = TaskStore()
    server.server_close()
    assert not server.probed(plain, "readinessProbe")
    assert not server.probed(plain, "livenessProbe")


@pytest.mark.parametrize(
    "token", [string.printable[:94], "-H", "@/etc/passwd", "%s%n\\n", '"\\', "'$(false)`", "#;" * 2048]
)
def test_the_probes_send_any_token_that_is_accepted(plain: Manifests, token: str) -> None:
    value = base64.b64encode(token.encode()).decode()
    assert credentials.value_problem("EDEN_ADMIN_TOKEN", value) == ""
    with TaskStore(token=token) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert server.probed(plain, "readinessProbe", token)
        assert not server.probed(plain, "readinessProbe", "another")
        server.shutdown()
