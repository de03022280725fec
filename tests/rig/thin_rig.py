# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig: a thin control plane with a node, and experiments that the real playbook brings up on it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import typing as t
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from api_proxy import ApiProxy
from control_plane import ControlPlane, die_with_parent
from node import CONTROLLERS, Node
from traffic import Request, Rule, pass_through

CHECKOUT = Path(__file__).resolve().parents[2]
INSTANCE = "eden"
MARK = "EDEN_RIG_RUN"
# Far above what anything here takes: reached only when something hangs.
PATIENCE = 600.0
# So long may what a killed run leaves take to end.
DYING_SECONDS = 10.0
ADMINISTRATOR = ("admin", ("system:masters",))


@dataclass
class Outcome:
    """What a run of ``ansible-playbook`` came to.

    Attributes:
        status: its exit status, negative for the signal that ended it.
        output: what it printed, on both streams.
        seconds: how long it took.
        requests: what its proxies saw.
        survivors: the processes that a killed run left and that went on.
    """

    status: int
    output: str
    seconds: float = 0.0
    requests: list[Request] = field(default_factory=list)
    survivors: list[str] = field(default_factory=list)

    @property
    def recap(self) -> dict[str, int]:
        """The numbers of the play recap, empty if there is none."""
        return {
            name: int(number)
            for name, number in re.findall(r"(\w+)=(\d+)", self.output.partition("PLAY RECAP")[2])
        }

    @property
    def writes(self) -> list[Request]:
        """The requests that change something."""
        return [request for request in self.requests if request.write]


class Run:
    """A run of ``ansible-playbook`` that is under way."""

    def __init__(self, command: t.Sequence[str], environment: t.Mapping[str, str], log: Path) -> None:
        self._token = environment[MARK]
        self._log = log
        self._began = time.monotonic()
        self._survivors: list[str] = []
        self._killing = threading.Lock()
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=CHECKOUT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process group; return when no process of the run is left.

        What does not end by itself is killed, and reported in the outcome.
        """
        with self._killing:
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, number)
            deadline = time.monotonic() + DYING_SECONDS
            while (left := processes(self._token)) and time.monotonic() < deadline:
                time.sleep(0.005)
            self._survivors += [f"{pid} {command}" for pid, command in left.items()]
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def wait(self) -> Outcome:
        """The outcome, once the run has ended."""
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self.process.wait()
        with self._killing:
            output = self._log.read_text(errors="replace")
        return Outcome(status, output, time.monotonic() - self._began, survivors=self._survivors)


def processes(token: str) -> dict[int, str]:
    """The living processes of the runs whose mark begins so: their commands by their ids."""
    found = {}
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if f"\0{MARK}={token}".encode() not in b"\0" + (directory / "environ").read_bytes():
                continue
            command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        # A process that is dead and not yet fetched has no command any more.
        if command:
            found[int(directory.name)] = command.strip()
    return found


class Experiment:
    """One experiment, in a namespace of its own.

    Attributes:
        namespace: its namespace.
        directory: its files: ``tmp`` is the run's temporary directory.
        kubeconfig: the kubeconfig of its runs.
        private: what in it no run may show.
        traffic: what its runs ask for, and what goes wrong with it.
        node: the node that its pods run on.
        variables: extra variables of every run.
        environment: further environment variables of every run.
    """

    def __init__(self, rig: Rig, namespace: str, user: tuple[str, tuple[str, ...]]) -> None:
        self.namespace = namespace
        self.directory = rig.directory / namespace
        self.temporary = self.directory / "tmp"
        self.kubeconfig = self.directory / "kubeconfig"
        self.private: dict[str, str] = {}
        self.temporary.mkdir(parents=True)
        self.node = rig.node
        self.kube = rig.node.kube
        self.traffic = rig.node.task_store(namespace).traffic
        self.variables: dict[str, t.Any] = {"eden_namespace": namespace, "eden_timeout": 300}
        self.environment: dict[str, str] = {}
        context = rig.control_plane.context_for(*user)
        self.proxy = ApiProxy(rig.control_plane.url, context, self.traffic)
        self._runs = itertools.count(1)

    def start(self, *arguments: str, playbook: str = "site.yml", inventory: str = "inventories/kind") -> Run:
        """Start ``ansible-playbook``."""
        number = next(self._runs)
        extra = self.directory / "variables.json"
        extra.write_text(json.dumps(self.variables))
        command = [sys.executable, "-m", "ansible", "playbook", playbook, "-i", inventory]
        command += ["-e", f"@{extra}", *arguments]
        return Run(command, self._environment(number), self.directory / f"run-{number}.log")

    def run(self, *arguments: str, rule: Rule = pass_through, **options: str) -> Outcome:
        """Run ``ansible-playbook`` to its end; the ``rule`` says what happens to its requests."""
        self.traffic.restart(rule)
        outcome = self.start(*arguments, **options).wait()
        outcome.requests = list(self.traffic.log)
        return outcome

    def open_forwards(self, patience: float = DYING_SECONDS) -> int:
        """How many port-forwards into its pods are open: one closes a little after its client."""
        deadline = time.monotonic() + patience
        while (number := self.node.kubelet.open_forwards[self.namespace]) and time.monotonic() < deadline:
            time.sleep(0.01)
        return number

    def _environment(self, number: int) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "EDEN_", "KUBERNETES_", "PYTEST_"))
        }
        return {
            **kept,
            "HOME": str(self.directory),
            "TMPDIR": str(self.temporary),
            "KUBECONFIG": str(self.kubeconfig),
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
            "ANSIBLE_HOME": str(self.directory / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.temporary),
            "ANSIBLE_NOCOLOR": "1",
            MARK: f"{self.namespace}-{number}-",
            **self.environment,
        }

    def __enter__(self) -> Experiment:
        self.proxy.__enter__()
        self.private = self.proxy.write_kubeconfig(self.kubeconfig)
        return self

    def __exit__(self, *_error: object) -> None:
        self.proxy.__exit__()
        self.node.task_store(self.namespace).stop()


class Rig:
    """A control plane with a node, while entered; experiments on it do not know of each other.

    Attributes:
        directory: the files of everything.
        control_plane: etcd, the API server and the controllers.
        node: plays what pods need.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.control_plane = ControlPlane(directory / "control-plane", only=CONTROLLERS)
        self._running = ExitStack()

    def __enter__(self) -> Rig:
        with ExitStack() as started:
            started.enter_context(self.control_plane)
            directory = self.directory / "node"
            directory.mkdir()
            self.node = started.enter_context(Node(self.control_plane, directory))
            self._running = started.pop_all()
        return self

    def __exit__(self, *_error: object) -> None:
        self._running.close()

    def experiment(
        self, namespace: str = "", user: tuple[str, tuple[str, ...]] = ADMINISTRATOR
    ) -> Experiment:
        """An experiment of which there is nothing yet; its runs have the user's permissions."""
        return Experiment(self, namespace or f"rig-{secrets.token_hex(4)}", user)
