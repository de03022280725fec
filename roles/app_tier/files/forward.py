# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the user's command in the pod's container `command`, as if it ran here: the host starts this instead.

Usage: forward.py [--credential] [DIRECTORY]: whether the command gets the worker's credential, and the
directory of FIFOs that the containers share. `serve.sh` is the other end. This makes the FIFOs, since the
user's image may be unable to.
"""

import contextlib
import os
import select
import shlex
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator

CARRIED = (
    "EDEN_ARTIFACT_PATH_ROOT",
    "EDEN_ARTIFACT_URL",
    "EDEN_BASE_COMMIT_SHA",
    "EDEN_EXPERIMENT_DIR",
    "EDEN_IDEAS_PER_IDEATION",
    "EDEN_OUTPUT",
    "EDEN_READONLY_STORE_URL",
    "EDEN_REPO_DIR",
    "EDEN_TASK_JSON",
    "EDEN_WORKER_ID",
    "EDEN_WORKTREE",
)
# The host keeps in memory what it has not read yet. A stream passes this much per call, and again after each
# input of the host's, and drops the rest.
MOST = 16 * 1024 * 1024
STATUS_WHEN_KILLED = 128 + signal.SIGKILL


class Call:
    """One run of the command.

    A FIFO is opened for both directions, or its reader first: an open for one waits for the other end.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        for name in ("control", "status", "in", "out", "err"):
            os.mkfifo(os.path.join(path, name), 0o600)
        # Its end of file tells the server that this process is gone, however it ended.
        self.control = self._open("control", os.O_RDWR)
        self.status = self._open("status", os.O_RDONLY | os.O_NONBLOCK)
        self.started = False
        self.passed = {"out": 0, "err": 0}

    def _open(self, name: str, flags: int) -> int:
        return os.open(os.path.join(self.path, name), flags | os.O_NOFOLLOW)

    def prepare(self, credential: bool) -> None:
        """Write what precedes the command: its directory, and the documented variables only."""
        names = (*CARRIED, "EDEN_WORKER_CREDENTIAL") if credential else CARRIED
        lines = [f"cd -- {shlex.quote(os.getcwd())} || exit 126"]
        lines += [f"export {name}={shlex.quote(os.environ[name])}" for name in names if name in os.environ]
        with open(os.path.join(self.path, "environment"), "w", errors="surrogateescape") as file:
            file.write("\n".join(lines) + "\n")
        os.write(self.control, b"RUN\n")

    def terminate(self, *_: object) -> None:
        """Pass on SIGTERM, or end if there is nothing yet to pass it to."""
        if not self.started and not select.select([self.status], [], [], 0)[0]:
            raise SystemExit(128 + signal.SIGTERM)
        os.write(self.control, b"TERM\n")

    def send(self, directory: str) -> None:
        """Tell the server of this call; waits while there is none."""
        while True:
            calls = os.open(os.path.join(directory, "calls"), os.O_WRONLY | os.O_NOFOLLOW)
            try:
                os.write(calls, os.path.basename(self.path).encode() + b"\n")
                return
            except BrokenPipeError:
                continue
            finally:
                os.close(calls)

    def feed(self) -> None:
        """Pass on standard input. While its reader is open, the FIFO keeps what has not been read."""
        self.reader = self._open("in", os.O_RDONLY | os.O_NONBLOCK)
        writer = self._open("in", os.O_WRONLY)

        def work() -> None:
            with contextlib.suppress(OSError):
                while data := os.read(0, 65536):
                    self.passed = dict.fromkeys(self.passed, 0)
                    write(writer, data)
            os.close(writer)

        threading.Thread(target=work, daemon=True).start()

    @contextlib.contextmanager
    def drain(self, name: str, target: int) -> Iterator[None]:
        """Pass on an output; at the end, all that the command has written."""
        keep = self._open(name, os.O_RDWR)
        source = self._open(name, os.O_RDONLY)

        def work() -> None:
            while data := os.read(source, 65536):
                before = self.passed[name]
                self.passed[name] += len(data)
                if before + len(data) <= MOST:
                    with contextlib.suppress(OSError):
                        write(target, data)
                elif before <= MOST:
                    complain(f"the command's std{name} is dropped after {MOST} bytes")

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.close(keep)
            thread.join(5)

    def result(self) -> int:
        """The command's exit code."""
        poller = select.poll()
        poller.register(self.status, select.POLLIN)
        told = b""
        while not told.endswith(b"\n") or told.count(b"\n") < 2:
            poller.poll()
            data = os.read(self.status, 64)
            self.started = True
            if not data:
                complain(
                    "the container `command` ended while it ran this command, which counts as killed; "
                    "if the container's last state is OOMKilled, raise its memory limit"
                )
                return STATUS_WHEN_KILLED
            told += data
        return int(told.split()[1])


def write(target: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(target, data) :]


def complain(sentence: str) -> None:
    """Say something in the host's log."""
    print(f"eden.reference: {sentence}", file=sys.stderr, flush=True)


def main(words: list[str]) -> int:
    """Run the command once."""
    directory = next((word for word in words if not word.startswith("-")), "/run/eden/commands")
    path = tempfile.mkdtemp(prefix="call-", dir=directory)
    try:
        call = Call(path)
        signal.signal(signal.SIGTERM, call.terminate)
        call.prepare("--credential" in words)
        call.feed()
        with call.drain("out", 1), call.drain("err", 2):
            call.send(directory)
            return call.result()
    finally:
        shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
