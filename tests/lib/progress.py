# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that run with their output in a log, and lines that say how far they are."""

from __future__ import annotations

import re
import subprocess
import time
import typing as t
from pathlib import Path

# A line of pytest's --durations.
DURATION = re.compile(r"([0-9]+\.[0-9]+)s (call|setup|teardown) +(\S.*)")
# How often a step that is still running says so, and how much of a failed step's log is shown.
HEARTBEAT = 30.0
TAIL = 100
# Seconds after which a step is taken to hang and ended: a cluster's first build takes 20 minutes.
LIMIT = 2700.0
# Seconds that a step which is told to end may take for it.
PATIENCE = 30.0


class StepFailed(Exception):
    """A step failed and the level cannot go on."""


def last_lines(log: Path, count: int) -> list[str]:
    """The last lines of a log that hold something, each cut to 300 characters."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return [line.rstrip()[:300] for line in lines if line.strip()][-count:]


def slowest(logs: Path, count: int) -> list[tuple[float, str, str]]:
    """The slowest tests that the logs tell of: seconds, level, and the test with its stage."""
    found = [
        (float(match[1]), log.name.partition(".")[0], f"{match[2]} {match[3]}")
        for log in logs.glob("*.log")
        for match in DURATION.finditer(log.read_text(errors="replace"))
    ]
    return sorted(found, reverse=True)[:count]


def _print(line: str) -> None:
    print(line, flush=True)


class Progress:
    """Runs the steps of one level after another.

    ``failed`` says whether a step has failed. Each step's output is in ``logs/<level>.<step>.log``.
    """

    def __init__(self, level: str, logs: Path, started: float, say: t.Callable[[str], None] = _print) -> None:
        self.level = level
        self.logs = logs
        self.failed = False
        self._started = started
        self._say = say
        self._ended = False
        self._children: list[subprocess.Popen[bytes]] = []

    def say(self, text: str) -> None:
        """A line with the seconds since the run began and the name of the level."""
        self._say(f"[{time.monotonic() - self._started:6.1f} s] {self.level}: {text}")

    def need(self, what: str, command: t.Sequence[str | Path], **options: t.Any) -> Path:
        """``check``, for a step without which the level cannot go on.

        Raises:
            StepFailed: the step failed.
        """
        log, passed = self.run(what, command, **options)
        if not passed:
            raise StepFailed(what)
        return log

    def check(
        self, what: str, command: t.Sequence[str | Path], summary: bool = False, **options: t.Any
    ) -> Path:
        """Runs a command, remembers whether it failed, and returns its log.

        With ``summary`` the last line of the log is shown.
        """
        log, passed = self.run(what, command, **options)
        if passed and summary:
            self.say(f"{what}: {' '.join(last_lines(log, 1))}")
        return log

    def run(
        self, what: str, command: t.Sequence[str | Path], env: t.Mapping[str, str], cwd: Path
    ) -> tuple[Path, bool]:
        """Runs a command to its end; returns its log and whether it succeeded.

        Raises:
            StepFailed: the steps were told to end.
        """
        if self._ended:
            raise StepFailed(what)
        name = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in what)
        log = self.logs / f"{self.level}.{name}.log"
        self.say(f"{what} …")
        begun = time.monotonic()
        with log.open("wb") as output:
            try:
                child = subprocess.Popen(
                    [str(part) for part in command],
                    cwd=cwd,
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            except OSError as error:
                output.write(f"{command[0]} cannot be started: {error}\n".encode())
                status = 127
            else:
                self._children.append(child)
                status = self._wait(child, what, log, begun)
        seconds = time.monotonic() - begun
        if status == 0:
            self.say(f"{what} passed in {seconds:.1f} s")
            return log, True
        self.failed = True
        for line in last_lines(log, TAIL):
            self._say(f"    {line}")
        self.say(f"{what} FAILED with status {status} in {seconds:.1f} s; all of its output: {log}")
        return log, False

    def end(self) -> None:
        """Ends the commands that still run, and lets no other one begin."""
        self._ended = True
        for child in self._children:
            if child.poll() is None:
                child.terminate()

    def _wait(self, child: subprocess.Popen[bytes], what: str, log: Path, begun: float) -> int:
        try:
            while True:
                try:
                    return child.wait(HEARTBEAT)
                except subprocess.TimeoutExpired:
                    seconds = time.monotonic() - begun
                    if seconds > LIMIT:
                        self.say(f"{what} is ended after {seconds:.0f} s: it hangs")
                        return self._end(child)
                    line = " ".join(last_lines(log, 1))[:120]
                    self.say(f"… still {what}, {seconds:.0f} s: {line}")
        finally:
            if child.returncode is None:
                self._end(child)

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> int:
        child.terminate()
        try:
            return child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            child.kill()
            return child.wait()
