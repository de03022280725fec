# SPDX-License-Identifier: GPL-3.0-or-later
"""The two that are compared: this collection, and EDEN's own Helm chart with its script."""

from __future__ import annotations

import abc
import base64
import json
import re
import typing as t
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml
from experiment import Experiment, TaskStore
from testbed import CHECKOUT, HOST, INVENTORY, SMALL, Testbed
from truth_table import SERVERS

# The script's option --timeout (default: 5m), for each of its waits, if the image is broken. It must be
# longer than what a sound bring-up takes for one wait.
TIMEOUT = "60s"
SEVERAL = 5
Command = list[str | Path]
Commands = list[Command]


@dataclass(frozen=True)
class Settings:
    """What a bring-up is given: the image, the file of the experiment config, whether the image is broken."""

    image: str
    config: Path
    broken: bool = False


class Contender(abc.ABC):
    """One way to bring an experiment up, and where it does so."""

    key: str
    title: str
    namespace: str

    def __init__(self, testbed: Testbed, work: Path) -> None:
        self.testbed = testbed
        self.work = work

    @property
    def several(self) -> list[str]:
        """The namespaces of the experiments that are brought up at once."""
        return [f"{self.namespace}-{number}" for number in range(1, SEVERAL + 1)]

    @abc.abstractmethod
    def one(self, settings: Settings) -> Command:
        """The command that brings the experiment up, or back to what the settings say."""

    @abc.abstractmethod
    def all(self, settings: Settings) -> Commands:
        """The commands that together bring several experiments up."""

    @abc.abstractmethod
    def phase(self, line: str) -> str | None:
        """The phase that a line of the output begins."""

    @abc.abstractmethod
    def task_store(self) -> t.ContextManager[TaskStore]:
        """The task store of the one experiment."""


class Collection(Contender):
    """site.yml of this checkout."""

    key = "collection"
    title = "site.yml"
    namespace = HOST

    def one(self, settings: Settings) -> Command:
        return self._playbook(settings, "--limit", HOST)

    def check(self, settings: Settings) -> Command:
        """The command that shows what a bring-up would change."""
        return [*self.one(settings), "--check"]

    def all(self, settings: Settings) -> Commands:
        inventory = self.work / "several.yml"
        sizes = dict.fromkeys(("eden_resources", "eden_postgres_resources", "eden_forgejo_resources"), SMALL)
        group = {"hosts": dict.fromkeys(self.several), "vars": sizes}
        inventory.write_text(yaml.safe_dump({"several": group}))
        return [self._playbook(settings, "--inventory", inventory, "--limit", "several")]

    @staticmethod
    def _playbook(settings: Settings, *arguments: str | Path) -> Command:
        variables = {"eden_image": settings.image, "eden_experiment_config_file": str(settings.config)}
        command: Command = ["ansible-playbook", CHECKOUT / "site.yml", "--inventory", INVENTORY, *arguments]
        return [*command, "--extra-vars", json.dumps(variables)]

    def phase(self, line: str) -> str | None:
        found = re.match(r"TASK \[(?:eden\.reference\.)?(\w+) : ", line)
        return found[1].replace("_", " ").replace("eden", "checks") if found else None

    def task_store(self) -> t.ContextManager[TaskStore]:
        return Experiment(self.testbed, self.namespace).task_store()


class Chart(Contender):
    """EDEN's Helm chart, by its script. Nothing of it is changed, and no value of the chart is set.

    Without a file of values, the script makes the secrets and takes the chart's defaults. They work here,
    even for the forge's user, which the script makes by the forge's own program: our image has that. Pod
    Security ``restricted`` would refuse the chart's pods, so their namespaces have no label for it.
    """

    key = "chart"
    title = "Helm chart's script"
    namespace = "eden-chart"
    release = "eden"
    script = "reference/scripts/setup-experiment-helm.sh"

    # What the script says when it begins something, and the name of our phase for it.
    _phases: t.ClassVar[dict[str, str]] = {
        "--- phase 1": "infra",
        "--- seeding": "seed",
        "--- phase 2": "task store",
        "--- minting": "identities",
        "--- phase 3": "app tier",
    }

    def __init__(self, testbed: Testbed, work: Path, upstream: Path) -> None:
        super().__init__(testbed, work)
        self.upstream = upstream

    def one(self, settings: Settings) -> Command:
        return self._script(settings, self.namespace)

    def all(self, settings: Settings) -> Commands:
        return [self._script(settings, namespace) for namespace in self.several]

    def _script(self, settings: Settings, namespace: str) -> Command:
        command: Command = [
            "bash",
            self.upstream / self.script,
            "--namespace",
            namespace,
            "--release",
            self.release,
        ]
        command += ["--image", settings.image, "--experiment-config", settings.config]
        return [*command, "--timeout", TIMEOUT] if settings.broken else command

    def phase(self, line: str) -> str | None:
        return next((name for begin, name in self._phases.items() if line.startswith(begin)), None)

    @contextmanager
    def task_store(self) -> t.Iterator[TaskStore]:
        place = ("--namespace", self.namespace)
        store, port = f"{self.release}-task-store-server", SERVERS["task-store-server"]
        token = self.testbed.read(*place, "secret", f"{self.release}-secrets")["data"]["EDEN_ADMIN_TOKEN"]
        (container,) = self.testbed.read(*place, "deployment", store)["spec"]["template"]["spec"][
            "containers"
        ]
        experiment_id = container["args"][container["args"].index("--experiment-id") + 1]
        with (
            self.testbed.port_forward(self.namespace, f"service/{store}", port) as url,
            requests.Session() as session,
        ):
            session.trust_env = False
            yield TaskStore(session, url, experiment_id, base64.b64decode(token).decode())
