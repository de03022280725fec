# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands and pods, with the times at which they did things."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from testbed import Testbed

Document = dict[str, t.Any]

# A command is taken to hang, and is killed, after so many seconds.
LIMIT = 900.0
# What a pod passes through, in this order; a Job's pod ends, the others become ready.
STAGES = ("created", "scheduled", "started", "ready", "ended", "deleted")


@dataclass
class Ended:
    """An ended command; ``lines`` are those of both of its streams, with the seconds since it began."""

    begun: float
    seconds: float
    status: int
    lines: list[tuple[float, str]]

    @property
    def output(self) -> str:
        """What it printed."""
        return "".join(line for _seconds, line in self.lines)

    def first(self, wanted: t.Callable[[str], bool]) -> float | None:
        """When it printed the first line that is wanted; None if it printed none."""
        return next((seconds for seconds, line in self.lines if wanted(line)), None)


def run(command: t.Sequence[str | Path], env: t.Mapping[str, str], cwd: Path, limit: float = LIMIT) -> Ended:
    """Run a command to its end, or kill it and what it started after ``limit`` seconds."""
    begun = time.monotonic()
    lines = []
    with subprocess.Popen(
        [str(word) for word in command],
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        watchdog = threading.Timer(limit, _kill, [child.pid])
        watchdog.start()
        try:
            for line in child.stdout:
                lines.append((round(time.monotonic() - begun, 2), line))
            status = child.wait()
        finally:
            watchdog.cancel()
    return Ended(begun, time.monotonic() - begun, status, lines)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


@dataclass
class Pods:
    """What happened to the pods of some namespaces while the context lasts, with the times it was seen at."""

    testbed: Testbed
    namespaces: t.Collection[str]
    seen: list[tuple[float, Document]] = field(default_factory=list)
    _child: subprocess.Popen[str] | None = None
    _reader: threading.Thread | None = None

    def __enter__(self) -> t.Self:
        found = json.loads(self.testbed.kubectl("get", "--raw", "/api/v1/pods"))
        for pod in found["items"]:
            self._see({"type": "ADDED", "object": pod})
        version = found["metadata"]["resourceVersion"]
        self._child = subprocess.Popen(
            ["kubectl", "get", "--raw", f"/api/v1/pods?watch=1&resourceVersion={version}"],
            env=self.testbed.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=[self._child])
        self._reader.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        assert self._child is not None
        assert self._reader is not None
        self._child.terminate()
        self._reader.join()
        self._child.wait()

    def _read(self, child: subprocess.Popen[str]) -> None:
        assert child.stdout is not None
        with child.stdout:
            for line in child.stdout:
                # The last line may be cut off.
                if line.endswith("\n"):
                    self._see(json.loads(line))

    def _see(self, event: Document) -> None:
        if event["object"]["metadata"].get("namespace") in self.namespaces:
            self.seen.append((time.monotonic(), event))

    def timeline(self, begun: float) -> list[Document]:
        """``timeline`` of what was seen."""
        return timeline(self.seen, begun)


def timeline(seen: t.Iterable[tuple[float, Document]], begun: float) -> list[Document]:
    """For each pod its name, its component, and the seconds after ``begun`` at which a stage was first seen.

    Of a pod that was there before, ``created`` is not above 0.
    """
    pods: dict[str, Document] = {}
    for when, event in seen:
        metadata = event["object"]["metadata"]
        labels = metadata.get("labels") or {}
        pod = pods.setdefault(
            metadata["uid"],
            {
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "component": labels.get("app.kubernetes.io/component", metadata["name"]),
            },
        )
        reached = stages(event["object"]) + ["deleted"] * (event["type"] == "DELETED")
        for stage in reached:
            pod.setdefault(stage, round(when - begun, 2))
    return sorted(pods.values(), key=lambda pod: (pod["created"], pod["name"]))


def stages(pod: Document) -> list[str]:
    """What a pod has passed through, by its status."""
    status = pod.get("status") or {}
    true = {entry["type"] for entry in status.get("conditions") or [] if entry["status"] == "True"}
    containers = status.get("containerStatuses") or []
    reached = ["created"]
    if "PodScheduled" in true:
        reached.append("scheduled")
    if containers and all({"running", "terminated"} & set(entry["state"]) for entry in containers):
        reached.append("started")
    if "Ready" in true:
        reached.append("ready")
    if status.get("phase") in ("Succeeded", "Failed"):
        reached.append("ended")
    return reached
