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
import threading
import time
import typing as t
from pathlib import Path

import pytest
import yaml
from environments import CHECKOUT

FILES = CHECKOUT / "roles/app_tier/files"
# Where the machine allows it, the server is process 1 of a namespace, and the shell is its /bin/sh.
ISOLATE = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
ISOLATED = not subprocess.run([*ISOLATE, "true"], check=False, capture_output=True).returncode
SHELLS = [name for name in ("dash", "bash", "busybox") if shutil.which(name)]
NEEDED = ("cat", "env", "rm", "sh", "sleep", "wc", "yes")
# The launcher's part waits for the server, and stays the FIFO's writer.
LAUNCHERS = yaml.safe_load((CHECKOUT / "roles/eden/vars/main/pods.yml").read_text())["__eden_launchers"]
# Seconds that only what hangs takes.
PATIENCE = 120
HOST = f"{LAUNCHERS['hold_commands']}\nprint('up', flush=True)\nsignal.pause()\n"


def until(condition: t.Callable[[], t.Any], seconds: float = 60) -> t.Any:
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

    def __init__(self, root: Path, shell: str, without_setsid: bool) -> None:
        self.directory = root / "fifos"
        self.worktree = root / "work tree's"
        self.program = root / "program"
        self.tools = root / "bin"
        self.mark = f"mark{os.getpid()}{root.name}"
        self.shell = shell
        for directory in (self.directory, self.worktree, self.tools):
            directory.mkdir()
        for name in (*NEEDED, *(() if without_setsid else ("setsid",))):
            (self.tools / name).symlink_to(shutil.which(name) or "/nowhere")
        (self.tools / "python3").symlink_to(os.path.realpath(sys.executable))
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
        words = [str(FILES / "serve.sh"), str(self.directory), str(self.program)]
        shell = [str(shutil.which(self.shell)), *(["sh"] if self.shell == "busybox" else [])]
        command = [*shell, *words]
        if ISOLATED:
            become = (
                'mount --bind "$1" "$(readlink -f /bin/sh)"; export PATH="$2"; shift 2; exec /bin/sh "$@"'
            )
            command = [*ISOLATE, "bash", "-c", become, "bash", shell[0], str(self.tools), *words]
        path = os.environ["PATH"] if ISOLATED else str(self.tools)
        return self._start(command, env={"PATH": path, "HOME": "/tmp", "OWN_KEY": "own"})

    def signal_server(self, number: signal.Signals) -> None:
        """Send a signal to the container's process 1."""
        pid = self.server.pid
        if ISOLATED:
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        # A container dies as a whole.
        (os.kill if ISOLATED or number != signal.SIGKILL else os.killpg)(pid, number)

    def children(self) -> list[str]:
        """The processes of the container but the first, zombies included."""
        pid = self.server.pid
        if ISOLATED:
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

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
        forward = shlex.join([sys.executable, str(FILES / "forward.py"), *words, str(self.directory)])
        return self._start(
            ["/bin/sh", "-c", f"exec {forward}"],
            cwd=self.worktree,
            env=os.environ | {"HOST_KEY": "host"} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, program: str, *words: str, **variables: str) -> tuple[int, str, str]:
        """Run the command: its exit code, output and errors."""
        call = self.call(program, *words, **variables)
        output, errors = call.communicate(timeout=PATIENCE)
        return call.returncode, output.decode(), errors.decode()

    def marked(self) -> list[str]:
        """What runs of the command."""
        return [line for line in processes(self.mark) if "forward.py" not in line and "serve.sh" not in line]

    def close(self) -> None:
        """End everything."""
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()


@pytest.fixture(params=[*SHELLS, "bash without setsid"])
def pod(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[Pod]:
    """A pod whose command's container has this shell."""
    shell, *without_setsid = request.param.split(maxsplit=1)
    # A container does not begin with SIGINT ignored, as what runs in a shell's background does.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found = Pod(tmp_path, shell, bool(without_setsid))
        yield found
        found.close()
    finally:
        signal.signal(signal.SIGINT, before)


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
    code, output, _errors = pod.run("env -0; pwd", **given)
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
    assert call.wait(PATIENCE) == 0


def ready(call: subprocess.Popen[bytes]) -> None:
    """Wait until the command says that it is ready."""
    assert call.stdout
    assert call.stdout.readline() == b"ready\n"


ENDS = {
    "kill -s KILL $$": (137, ""),
    "kill -s SEGV $$": (139, ""),
    "-x": (127, ""),
    "--help": (127, ""),
    "./no-such-file": (127, ""),
    "./größe ✓": (3, "größe ✓\n"),
    "./crlf.sh": (127, ""),
    "./not-executable": (126, ""),
    "sleep 60 & setsid sleep 60 & echo left": (0, "left\n"),
    "for i in 1 2 3 4 5; do ( ( exit 1 ) & ) & done; echo zombies": (0, "zombies\n"),
    "python3 -c 'import os; [os.fork() for _ in range(6)]; os.write(1, bytes(1))' | wc -c": (0, "64\n"),
    "exec >&- 2>&-; sleep 0.3; exit 4": (4, ""),
    "python3 -c 'import signal as s; print(s.getsignal(2) == s.default_int_handler)'": (0, "True\n"),
}


def test_how_commands_end(pod: Pod) -> None:
    for name, text, mode in (
        ("größe", '#!/bin/sh\necho "größe $1"\nexit 3\n', 0o755),
        ("crlf.sh", "#!/bin/sh\r\nexit 0\r\n", 0o755),
        ("not-executable", "#!/bin/sh\n", 0o644),
    ):
        (pod.worktree / name).write_text(text)
        (pod.worktree / name).chmod(mode)
    assert {program: pod.run(program)[:2] for program in ENDS} == ENDS
    until(lambda: not pod.children())


def test_sigterm_reaches_the_whole_group(pod: Pod) -> None:
    child = "trap 'sleep 1; echo child; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    call = pod.call(f"python3 -c 'import time; time.sleep(99)' MARK & sh -c \"{child}\" MARK; :")
    ready(call)
    os.killpg(call.pid, signal.SIGTERM)
    output, _errors = call.communicate(timeout=PATIENCE)
    assert (call.returncode, output) == (143, b"child\n")
    assert not pod.marked()


def test_a_command_that_handles_sigterm_gives_its_own_exit_code(pod: Pod) -> None:
    program = "import signal as s; s.signal(15, lambda *_: exit(5)); print('ready', flush=True); s.pause()"
    call = pod.call(f'exec python3 -c "{program}" MARK')
    ready(call)
    os.killpg(call.pid, signal.SIGTERM)
    assert call.wait(PATIENCE) == 5


@pytest.mark.parametrize("pod", ["dash"], indirect=True)
def test_sigterm_that_comes_with_the_start_reaches_the_command(pod: Pod, tmp_path: Path) -> None:
    """The output may be here before the forwarder has read that the command has started."""
    slow = tmp_path / "sitecustomize.py"
    slow.write_text(
        "import os, time\nread = os.read\nos.read = lambda *a: (a[1] == 64 and time.sleep(2)) or read(*a)\n"
    )
    program = "trap 'echo handled; exit 6' TERM; echo ready; while :; do sleep 0.1; done"
    call = pod.call(program, PYTHONPATH=str(tmp_path))
    ready(call)
    os.killpg(call.pid, signal.SIGTERM)
    assert call.communicate(timeout=PATIENCE)[0] == b"handled\n"
    assert call.returncode == 6


@pytest.mark.parametrize("early", [False, True])
def test_a_killed_forwarder_ends_the_command(pod: Pod, early: bool) -> None:
    call = pod.call(
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep 99; : MARK' &); echo ready; sleep 99; : MARK"
    )
    if early:
        until(lambda: list(pod.directory.glob("call-*/environment")))
    else:
        ready(call)
        os.killpg(call.pid, signal.SIGTERM)
    os.killpg(call.pid, signal.SIGKILL)
    assert call.wait(PATIENCE) == -signal.SIGKILL
    assert pod.run("echo next") == (0, "next\n", "")
    if ISOLATED or early:
        assert not pod.marked()
    assert early or until(lambda: not list(pod.directory.glob("call-*")))


def test_the_commands_container_dies(pod: Pod) -> None:
    call = pod.call("echo ready; sleep 99; : MARK")
    ready(call)
    pod.signal_server(signal.SIGKILL)
    _output, errors = call.communicate(timeout=PATIENCE)
    assert call.returncode == 137
    assert b"container `command` ended" in errors
    following = pod.call("echo back")
    time.sleep(0.5)
    assert following.poll() is None
    pod.serve()
    assert following.communicate(timeout=PATIENCE)[0] == b"back\n"


@pytest.mark.parametrize("pod", ["dash"], indirect=True)
def test_sigterm_while_there_is_no_server(pod: Pod) -> None:
    pod.signal_server(signal.SIGKILL)
    pod.server.wait(PATIENCE)
    call = pod.call("echo back")
    until(lambda: list(pod.directory.glob("call-*/environment")))
    os.killpg(call.pid, signal.SIGTERM)
    assert call.wait(PATIENCE) == 143
    assert not list(pod.directory.glob("call-*"))


def test_the_host_dies_and_comes_back(pod: Pod) -> None:
    call = pod.call("echo ready; sleep 99; : MARK")
    ready(call)
    for process in (pod.host, call):
        os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not pod.marked())
    pod.host = pod.hold()
    pod.await_host()
    assert pod.run("echo next") == (0, "next\n", "")
    assert pod.server.poll() is None


def test_the_pod_is_deleted(pod: Pod) -> None:
    call = pod.call("echo ready; read -r line; echo $line; exit 3")
    ready(call)
    for _turn in range(2):
        pod.signal_server(signal.SIGTERM)
        time.sleep(0.2)
    assert call.communicate(b"done\n", timeout=PATIENCE)[0] == b"done\n"
    assert call.returncode == 3
    assert pod.run("echo another") == (0, "another\n", "")
    pod.signal_server(signal.SIGTERM)
    time.sleep(1.5)
    assert pod.server.poll() is None, "the host is still there"
    os.killpg(pod.host.pid, signal.SIGKILL)
    assert pod.server.wait(PATIENCE) == 0


def test_a_server_without_a_host_ends_at_once(pod: Pod) -> None:
    os.killpg(pod.host.pid, signal.SIGKILL)
    time.sleep(1.2)
    pod.signal_server(signal.SIGTERM)
    assert pod.server.wait(PATIENCE) == 0


@pytest.mark.parametrize("pod", ["dash"], indirect=True)
def test_endless_output_is_dropped_and_takes_no_memory(pod: Pod) -> None:
    call = pod.call("echo ready; yes >&2 & yes & while read -r line; do sleep 1; done; : MARK")
    ready(call)
    received = {"out": 0, "err": 0}

    def drain(name: str, stream: t.IO[bytes] | None) -> None:
        while stream and (data := os.read(stream.fileno(), 65536)):
            received[name] += len(data)

    threads = [
        threading.Thread(target=drain, args=pair) for pair in (("out", call.stdout), ("err", call.stderr))
    ]
    for thread in threads:
        thread.start()
    limit = 16 << 20
    until(lambda: min(received.values()) > limit - (1 << 17), 60)
    time.sleep(1)
    assert max(received.values()) <= limit + 1000
    assert call.stdin
    call.stdin.write(b"another question\n")
    call.stdin.flush()
    until(lambda: received["out"] > limit + (1 << 20), 60)
    peak = next(line for line in Path(f"/proc/{call.pid}/status").read_text().splitlines() if "VmHWM" in line)
    assert int(peak.split()[1]) < 40_000
    os.killpg(call.pid, signal.SIGKILL)
    for thread in threads:
        thread.join(10)
    until(lambda: not pod.marked())


@pytest.mark.parametrize("pod", ["dash"], indirect=True)
def test_large_input_and_output_pass_whole(pod: Pod) -> None:
    data = os.urandom(1 << 20)
    call = pod.call("cat")
    assert call.communicate(data, timeout=PATIENCE)[0] == data
    call = pod.call("exit 0")
    assert call.communicate(data, timeout=PATIENCE)[0] == b""


def test_commands_that_are_not_calls_are_ignored(pod: Pod) -> None:
    kept = pod.worktree / "kept"
    kept.touch()
    with (pod.directory / "calls").open("w") as calls:
        calls.write(f"\n.\n..\n/\n../{pod.worktree.name}\ncall-/../../{pod.worktree.name}\ncall-none\n")
    assert pod.run("echo next") == (0, "next\n", "")
    assert kept.exists()


def test_a_directory_that_the_container_lacks(pod: Pod) -> None:
    call = pod.call("echo ready; read -r line")
    ready(call)
    following = pod.call("echo never")
    until(lambda: len(list(pod.directory.glob("call-*/environment"))) == 2)
    shutil.rmtree(pod.worktree)
    call.communicate(b"\n", timeout=PATIENCE)
    output, errors = following.communicate(timeout=PATIENCE)
    assert (following.returncode, output) == (126, b"")
    assert b"tree's" in errors
