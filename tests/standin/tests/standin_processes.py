# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of the stand-in, started as a deployment starts them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standin_api import Api

SOURCE = Path(__file__).resolve().parent.parent / "src"
# Far above what anything here takes: reached only when something hangs.
PATIENCE = 300.0

EXPERIMENT = "exp_0123456789abcdefghjkmnpqrs"
OTHER_EXPERIMENT = "exp_0123456789abcdefghjkmnpqrt"
ADMIN_TOKEN = "admin-token-of-the-tests"
CONFIG = """\
parallel_variants: 1
evaluation_schema: {score: real}
objective: {expr: score, direction: maximize}
ideation_policy: {kind: fixed_total, total: 3}
"""
SEED = "666b95f001acc6e19682f7e1732e4d8c14b16cb9"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process: ours without what would configure a service, plus `extra`.

    Tokens are verified at EDEN's price only where a test asks for it.
    """
    kept = {name: value for name, value in os.environ.items() if not re.match("EDEN_|PG|GIT_|XDG_", name)}
    ours = {"PYTHONPATH": str(SOURCE), "PYTHONUNBUFFERED": "1", "EDEN_STANDIN_ARGON2": "once"}
    return {**kept, **ours, **(extra or {})}


def run(
    module: str, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m <module>` to its end."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(env),
        check=False,
    )


class Service:
    """A running `python -m <module>` whose output is collected line by line."""

    def __init__(self, module: str, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.module = module
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(env),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line that matches; fails when the process ends without one."""
        compiled = re.compile(pattern)

        def found() -> re.Match[str] | None:
            return next((match for match in map(compiled.search, self.lines) if match), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, PATIENCE)
            match = found()
        assert match is not None, f"{self.module} printed no line like {pattern!r}:\n{self.output}"
        return match

    def exit_code(self) -> int:
        """The exit code, once the process has ended by itself."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> int:
        """SIGTERM, then the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.exit_code()

    def kill(self) -> None:
        """End the process if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)

    def log(self, message: str) -> dict[str, Any]:
        """The JSON log line with this message, once there is one."""
        line = self.wait_for(re.escape(f'"message": {json.dumps(message)}')).string
        return dict(json.loads(line))


@dataclass
class TaskStore:
    """A running task store: its process, and its routes as the admin."""

    service: Service
    api: Api

    def mint(self, name: str, *groups: str) -> Api:
        """The routes as a new worker, which is put into the groups (created when absent)."""
        worker = self.api.ok("POST", "/workers", {"name": name})
        for group in groups:
            found = self.api.ok("GET", f"/groups?name={group}")["groups"]
            group_id = (found or [self.api.ok("POST", "/groups", {"name": group})])[0]["group_id"]
            self.api.ok("POST", f"/groups/{group_id}/members", {"member_id": worker["worker_id"]})
        return self.api.as_caller(f"{worker['worker_id']}:{worker['registration_token']}")


def worker_id(api: Api) -> str:
    """The worker that these routes are called as."""
    assert api.bearer is not None
    return api.bearer.partition(":")[0]


@dataclass
class Processes:
    """Starts services and kills those that are left when a test is over."""

    started: list[Service] = field(default_factory=list)

    def start(self, module: str, *arguments: str, env: dict[str, str] | None = None) -> Service:
        service = Service(module, *arguments, env=env)
        self.started.append(service)
        return service

    def task_store(
        self,
        store_url: str,
        config: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        token: bool = True,
    ) -> TaskStore:
        """A task store that listens, with authentication unless `token` is false."""
        service = self.start(
            "eden_task_store_server", "--store-url", store_url, "--experiment-id", EXPERIMENT,
            "--experiment-config", str(config), *(["--admin-token", ADMIN_TOKEN] if token else []),
            *arguments, env=env,
        )  # fmt: skip
        match = service.wait_for(r"^EDEN_TASK_STORE_LISTENING host=(\S+) port=(\d+)$")
        bearer = f"admin:{ADMIN_TOKEN}" if token else None
        return TaskStore(service, Api(match[1], int(match[2]), EXPERIMENT, bearer))

    def close(self) -> None:
        for service in self.started:
            service.kill()
