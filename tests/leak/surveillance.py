# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches what a program shows to others while it runs: arguments of processes, files in directories."""

from __future__ import annotations

import threading
import typing as t
from pathlib import Path

PAUSE = 0.01
PROC = Path("/proc")


class Surveillance:
    """Collects, in a thread of its own, the arguments of all processes and the files below some directories.

    Use it as a context manager; the last look is taken at its end, the others ``pause`` seconds apart.

    Attributes:
        arguments: each argument list that was seen, its arguments separated by NUL.
        files: each content that was seen in a file, by the file's path and the number of its contents before.
    """

    def __init__(self, directories: t.Iterable[Path] = (), pause: float = PAUSE) -> None:
        self.arguments: set[bytes] = set()
        self.files: dict[str, bytes] = {}
        self.directories = tuple(directories)
        self._pause = pause
        self._versions: dict[Path, tuple[tuple[int, int, int], int]] = {}
        self._stop = threading.Event()
        self._looked = threading.Condition()
        self._looks = 0
        self._thread = threading.Thread(target=self._watch, name="surveillance")
        self._failure: BaseException | None = None

    def __enter__(self) -> Surveillance:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def await_look(self) -> None:
        """Return when everything was looked at once more, from now on."""
        with self._looked:
            # The look under way may have passed by already what the caller waits for.
            enough = self._looks + 2
            self._looked.wait_for(lambda: self._looks >= enough or self._failure is not None)

    def look(self) -> None:
        """Look at everything once."""
        self.arguments.update(arguments_of_processes())
        for directory in self.directories:
            for path in directory.rglob("*"):
                self._read(path)

    def contents(self) -> dict[str, bytes]:
        """All that was seen, by where it was."""
        seen = {"the arguments of a process": b"\n".join(sorted(self.arguments))}
        return seen | {f"the file {name}": content for name, content in self.files.items()}

    def _watch(self) -> None:
        try:
            while True:
                last = self._stop.is_set()
                self.look()
                with self._looked:
                    self._looks += 1
                    self._looked.notify_all()
                if last:
                    return
                self._stop.wait(self._pause)
        # Raised again where the caller is.
        except BaseException as error:
            self._failure = error
            with self._looked:
                self._looked.notify_all()

    def _read(self, path: Path) -> None:
        try:
            state = path.lstat()
            version = (state.st_ino, state.st_mtime_ns, state.st_size)
            known, count = self._versions.get(path, (None, 0))
            if version == known or not path.is_file():
                return
            content = path.read_bytes()
        except OSError:
            # Gone, or not to be read: a socket, say.
            return
        self._versions[path] = (version, count + 1)
        self.files[f"{path}, content {count}"] = str(path).encode() + b"\n" + content


def arguments_of_processes() -> set[bytes]:
    """The arguments of every process of this machine, separated by NUL."""
    found = set()
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                found.add((entry / "cmdline").read_bytes())
            except OSError:
                continue
    return found
