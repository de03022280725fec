# SPDX-License-Identifier: GPL-3.0-or-later
"""The user's command in a container beside the host: forward.py and serve.sh under several shells."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from environments import CHECKOUT

FILES = CHECKOUT / "roles/app_tier/files"
SHELLS = {"dash": ["dash"], "bash": ["bash"], "busybox": ["busybox", "sh"]}
FOUND = [name for name in SHELLS if shutil.which(name)]
# The launcher's part in roles/eden/vars/main/pods.yml: it waits for the server, and stays the FIFO's writer.
HOLD = """
import os, pathlib, shutil, signal, sys
def hold_commands(directory):
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    for call in pathlib.Path(directory).glob('call-*'):
        shutil.rmtree(call, ignore_errors=True)
    calls = os.path.join(directory, 'calls')
    if not os.path.exists(calls):
        os.mkfifo(calls)
    os.open(calls, os.O_WRONLY)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
"""
HOST = f"{HOLD}\nhold_commands(sys.argv[1])\nprint('up', flush=True)\nsignal.pause()\n"


def until(condition: t.Callable[[], t.Any], seconds: float = 10) -> t.Any:
    """The condition's value, once it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, condition
        time.sleep(0.02)
    return value


def processes(word: str) -> list[str]:
    """The command lines of the processes that have this word."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if word in line:
                found.append(line)
    return found


class Pod:
    """A host's container and the command's, which are two process trees here."""

    def __init__(self, root: Path, shell: list[str], settings: dict[str, str]) -> None:
        self.directory = root / "fifos"
        self.worktree = root / "work tree's"
        self.program = root / "program"
        self.mark = f"mark{os.getpid()}{root.name}"
        self.shell, self.settings = shell, settings
        for directory in (self.directory, self.worktree):
            directory.mkdir()
        self.started: list[subprocess.Popen[bytes]] = []
        self.host = self.hold()
        self.server = self.serve()
        self.await_host()

    def _start(self, command: list[str], **options: t.Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command, stdin=options.pop("stdin", subprocess.DEVNULL), start_new_session=True, **options
        )
        self.started.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        """Start the command's container."""
        command = [*self.shell, str(FILES / "serve.sh"), str(self.directory), str(self.program)]
        return self._start(command, env={"PATH": self.settings["PATH"], "HOME": "/tmp", "OWN_KEY": "own"})

    def hold(self) -> subprocess.Popen[bytes]:
        """Start the host's container."""
        return self._start([sys.executable, "-c", HOST, str(self.directory)], stdout=subprocess.PIPE)

    def await_host(self) -> None:
        """Wait until the host's launcher has found the server."""
        assert self.host.stdout
        assert self.host.stdout.readline() == b"up\n"

    def call(self, program: str, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start the command as the host does."""
        self.program.write_text(program.replace("MARK", self.mark))
        return self._start(
            [
                "/bin/sh",
                "-c",
                shlex.join([sys.executable, str(FILES / "forward.py"), *words, str(self.directory)]),
            ],
            cwd=self.worktree,
            env=os.environ | {"HOST_KEY": "host"} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, program: str, *words: str, **variables: str) -> tuple[int, str, str]:
        """Run the command: its exit code, output and errors."""
        call = self.call(program, *words, **variables)
        output, errors = call.communicate(timeout=30)
        return call.returncode, output.decode(), errors.decode()

    def marked(self) -> list[str]:
        """What runs of the command."""
        return [line for line in processes(self.mark) if "forward.py" not in line and "serve.sh" not in line]

    def close(self) -> None:
        """End everything."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


@pytest.fixture(params=FOUND)
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[Pod]:
    """A pod whose command's container has this shell."""
    shell = SHELLS[request.param]
    found = Pod(tmp_path, [str(shutil.which(shell[0])), *shell[1:]], {"PATH": os.environ["PATH"]})
    yield found
    found.close()


def test_output_and_exit_code(pod: Pod) -> None:
    assert pod.run("echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert pod.run("true\n") == (0, "", "")
    assert pod.run("\n\nprintf 'two %s\\n' lines &&\n  printf end\n") == (0, "two lines\nend", "")


def test_the_environment_is_the_containers_and_the_documented_variables(pod: Pod) -> None:
    given = {
        "EDEN_WORKTREE": "/a b'c\nd",
        "EDEN_OUTPUT": "größe",
        "EDEN_WORKER_CREDENTIAL": "token",
        "EDEN_OTHER": "x",
    }
    code, output, _ = pod.run("env -0; pwd", **given)
    *pairs, directory = output.split("\0")
    found = dict(pair.split("=", 1) for pair in pairs)
    assert code == 0
    assert directory.strip() == str(pod.worktree)
    assert {name for name in found if name.startswith("EDEN_")} == {"EDEN_WORKTREE", "EDEN_OUTPUT"}
    assert found["EDEN_WORKTREE"] == "/a b'c\nd"
    assert found["EDEN_OUTPUT"] == "größe"
    assert found["OWN_KEY"] == "own"
    assert set(found) - set(given) <= {"OWN_KEY", "HOME", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}
    assert pod.run("echo $EDEN_WORKER_CREDENTIAL", "--credential", **given)[1] == "token\n"
    assert not list(pod.directory.glob("call-*"))


def test_a_dialogue_has_no_delays(pod: Pod) -> None:
    call = pod.call('while read -r line; do echo "{\\"answer\\": $line}"; done; echo bye')
    assert call.stdin
    assert call.stdout
    for number in range(200):
        call.stdin.write(b"%d\n" % number)
        call.stdin.flush()
        if number == 1:
            begin = time.monotonic()
        assert json.loads(call.stdout.readline()) == {"answer": number}
    assert time.monotonic() - begin < 4
    call.stdin.close()
    assert call.stdout.readline() == b"bye\n"
    assert call.wait(10) == 0
