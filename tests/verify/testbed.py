# SPDX-License-Identifier: GPL-3.0-or-later
"""The test cluster, and the commands that run against it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CLUSTER = CHECKOUT / "tests/cluster/cluster"
INVENTORY = CHECKOUT / "inventories/kind"
HOST = "eden"
PHASES = ("infra", "seed", "task_store", "identities", "app_tier", "verify")
# For a further experiment: beside the one under test there is not much room on the node.
SMALL = {"requests": {"cpu": "10m", "memory": "64Mi"}}
# A run under test sees what a user's shell has, not what molecule sets for itself.
FOREIGN = ("ANSIBLE_", "MOLECULE_", "PYTEST_")

RECAP = re.compile(r"^(?P<host>\S+)\s+: (?P<counts>ok=\d+\s.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """An ended run of ansible-playbook; ``output`` holds both of its streams."""

    status: int
    output: str

    def count(self, what: str) -> int:
        """The host's number of ``changed``, ``failed`` and so on in the recap.

        Raises:
            AssertionError: the run has no recap.
        """
        counts = {found["host"]: found["counts"] for found in RECAP.finditer(self.output)}
        assert HOST in counts, f"the run has no recap:\n{self.output}"
        return {key: int(value) for key, value in (pair.split("=") for pair in counts[HOST].split())}[what]


class Testbed:
    """A cluster that ``tests/cluster/cluster up`` made.

    Attributes:
        name: its name.
        environment: environment variables with which the programs of the cluster find it.
    """

    __test__ = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.environment = _environment(name)

    @property
    def node(self) -> str:
        """The container of the cluster's one node."""
        return f"{self.name}-control-plane"

    @property
    def kubeconfig(self) -> str:
        """The path of the kubeconfig."""
        return self.environment["KUBECONFIG"]

    def command(self, *words: str | Path, given: str = "") -> bytes:
        """The output of a command, which is given that text to read.

        Raises:
            AssertionError: it failed.
        """
        done = subprocess.run(
            [*map(str, words)], env=self.environment, input=given.encode(), capture_output=True, check=False
        )
        assert done.returncode == 0, (
            f"{words[0]} {words[1]} ended with {done.returncode}: {done.stderr.decode(errors='replace')}"
        )
        return done.stdout

    def kubectl(self, *arguments: str, given: str = "") -> bytes:
        """The output of kubectl."""
        return self.command("kubectl", *arguments, given=given)

    def read(self, *arguments: str) -> dict[str, t.Any]:
        """What ``kubectl get`` finds: one object or a list."""
        found: dict[str, t.Any] = json.loads(self.kubectl("get", "--output=json", *arguments))
        return found

    def audit_log(self) -> t.Iterator[bytes]:
        """The lines of the API server's audit log, the oldest first."""
        with subprocess.Popen(
            [CLUSTER, "audit", self.name],
            env=self.environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        ) as child:
            assert child.stdout is not None
            yield from child.stdout
        assert child.returncode == 0, f"cluster audit ended with {child.returncode}"

    def site(self, *arguments: str, **variables: str) -> Run:
        """``ansible-playbook site.yml`` on the kind inventory, as a user runs it in the checkout."""
        return self.playbook(CHECKOUT / "site.yml", *arguments, **variables)

    def playbook(self, playbook: Path, *arguments: str, **variables: str) -> Run:
        """``ansible-playbook`` on the kind inventory, with further environment variables."""
        done = subprocess.run(
            ["ansible-playbook", playbook, "--inventory", INVENTORY, *arguments],
            cwd=CHECKOUT,
            env=self.environment | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return Run(done.returncode, done.stdout.decode(errors="replace"))

    @contextmanager
    def port_forward(self, namespace: str, target: str, port: int) -> t.Iterator[str]:
        """The URL under which kubectl forwards to a port of a pod or Service."""
        with subprocess.Popen(
            ["kubectl", "port-forward", "--namespace", namespace, target, f":{port}"],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as child:
            try:
                assert child.stdout is not None
                line = child.stdout.readline().decode()
                found = re.match(r"Forwarding from (\S+) ->", line)
                assert found, f"kubectl port-forward says: {line}"
                yield f"http://{found[1]}"
            finally:
                child.terminate()


def further(name: str, **variables: t.Any) -> tuple[str, str]:
    """The arguments that make a run be about another, small experiment of that name."""
    sizes = dict.fromkeys(("eden_resources", "eden_postgres_resources", "eden_forgejo_resources"), SMALL)
    return "--extra-vars", json.dumps({"eden_name": name, **sizes, **variables})


def named() -> str:
    """The name of the cluster that the tests are to use."""
    return os.environ.get("EDEN_TEST_CLUSTER", "eden")


def _environment(name: str) -> dict[str, str]:
    variables = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    # Empty, for the tests' own cluster is wanted, whatever other one is at hand.
    variables["KUBECONFIG"] = ""
    script = 'settings="$("$0" env "$1")" && eval "$settings" && env -0'
    told = subprocess.run(
        ["bash", "-c", script, CLUSTER, name], env=variables, capture_output=True, check=True
    )
    environment = dict(pair.split("=", 1) for pair in told.stdout.decode().split("\0") if "=" in pair)
    assert Path(environment["KUBECONFIG"]).exists(), (
        f"there is no cluster {name}: run `tests/cluster/cluster up {name}` first, or set EDEN_TEST_CLUSTER"
    )
    return environment
