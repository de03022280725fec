# SPDX-License-Identifier: GPL-3.0-or-later
"""A seeded forge and a task store, and how services are started on them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from standin_api import Api
from standin_forge import Forge, credential_helper
from standin_processes import EXPERIMENT, SEED, Processes, Service, TaskStore, run, worker_id

PASSWORD = "password-of-the-forge"
FORGE_ENV = {"FORGEJO_REMOTE_PASSWORD": PASSWORD}


@dataclass
class Bench:
    """A seeded forge and a task store, and how services are started on them."""

    store: TaskStore
    forge: Forge
    processes: Processes
    config: Path
    directory: Path

    def start(self, module: str, worker: Api, *flags: str, env: dict[str, str] | None = None) -> Service:
        """A service as `worker`, with its token file and the forge's password, without the admin token."""
        credentials = self.directory / module
        credentials.mkdir(exist_ok=True)
        token = (worker.bearer or "").partition(":")[2]
        (credentials / f"{worker_id(worker)}.token").write_text(token)
        return self.processes.start(
            module, "--task-store-url", self.store.api.url, "--experiment-id", EXPERIMENT,
            "--worker-id", worker_id(worker), "--credentials-dir", str(credentials), *flags,
            env=FORGE_ENV | (env or {}),
        )  # fmt: skip

    def clone_flags(self, name: str) -> list[str]:
        helper = str(self.directory / "git-credential-helper")
        path = str(self.directory / "clones" / name)
        url = self.forge.url(EXPERIMENT)
        return ["--repo-path", path, "--forgejo-url", url, "--credential-helper", helper]

    def orchestrator(self, worker: Api, *flags: str, env: dict[str, str] | None = None) -> Service:
        return self.start(
            "eden_orchestrator", worker, *self.clone_flags("orchestrator"),
            "--experiment-config", str(self.config), "--poll-interval", "0.05", *flags, env=env,
        )  # fmt: skip

    def ideator(self, worker: Api, *flags: str) -> Service:
        return self.start("eden_ideator_host", worker, "--base-commit-sha", SEED, *flags)

    def executor(self, worker: Api, *flags: str, env: dict[str, str] | None = None) -> Service:
        return self.start("eden_executor_host", worker, *self.clone_flags("executor"), *flags, env=env)

    def evaluator(self, worker: Api, *flags: str) -> Service:
        return self.start("eden_evaluator_host", worker, "--experiment-config", str(self.config), *flags)

    def wait_for_event(self, kind: str, count: int = 1) -> None:
        """Follow the event log until it has so many events of a type."""
        cursor, seen, silent = 0, 0, 0
        while seen < count:
            answer = self.store.api.ok("GET", f"/events/subscribe?cursor={cursor}&timeout=30")
            silent = 0 if answer["events"] else silent + 1
            assert silent < 10, f"nothing happens any more, {seen} of {count} {kind}"
            cursor = answer["cursor"]
            seen += sum(event["type"] == kind for event in answer["events"])


def seeded(store: TaskStore, forge: Forge, processes: Processes, config: Path, directory: Path) -> Bench:
    helper = str(credential_helper(directory))
    pushing = ("--push-to", forge.url(EXPERIMENT), "--credential-helper", helper)
    seed = run(
        "eden_service_common.repo_init", "--repo-path", str(directory / "seed"), *pushing, env=FORGE_ENV
    )
    assert (seed.returncode, seed.stdout) == (0, f"EDEN_REPO_SEEDED sha={SEED}\n"), seed.stderr
    return Bench(store, forge, processes, config, directory)
