# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can connect to whom, tried from pods with the labels of each component, on a network that enforces it.

The same connections are tried while one more policy allows all of them: what is refused afterwards is refused
by the experiment's policies. The server outside the cluster listens on port 53, too: what may ask the
cluster's DNS must not reach any other one.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
import typing as t
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from experiment import Experiment
from testbed import Testbed
from truth_table import CLIENTS, SERVERS

DNS, API_SERVER = "DNS", "API server"
# The cluster's DNS: a connection, and a name that it answers.
NAMES = {DNS, "cluster name"}
# A server that is not in the cluster.
OUTSIDE = {"outside", "outside, port 53", "outside, port 53, UDP"}
# Pods that no policy of the experiment is about: of its own namespace, and of another one.
NEIGHBOUR, STRANGER = "neighbour", "stranger"
ELSEWHERE = "elsewhere"
OPEN = "everything-is-allowed"
# So long may the network take to follow a change of the policies.
FOLLOW_SECONDS = 120.0

# Prints the names of the addresses that answer within three attempts.
TRY = """
import concurrent.futures, json, socket, sys

def ask(protocol, host, port):
    if protocol == "name":
        socket.getaddrinfo(host, port)
    elif protocol == "tcp":
        socket.create_connection((host, port), 2).close()
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(2)
            client.connect((host, port))
            client.send(b"?")
            client.recv(1)

def answers(address):
    for _attempt in range(3):
        try:
            ask(*address)
            return True
        except OSError:
            pass
    return False

targets = json.loads(sys.argv[1])
with concurrent.futures.ThreadPoolExecutor(len(targets)) as pool:
    found = dict(zip(targets, pool.map(answers, targets.values())))
print(json.dumps([name for name in targets if found[name]]))
"""

# Protocol, host and port.
Addresses = dict[str, tuple[str, str, int]]
Connections = dict[str, set[str]]


@dataclass(frozen=True)
class Tried:
    """What could connect to which target: while everything was allowed, and by the experiment's policies."""

    targets: Addresses
    opened: Connections
    closed: Connections


class Probes:
    """Pods that try to connect."""

    def __init__(self, testbed: Testbed, experiment: Experiment) -> None:
        self._testbed = testbed
        self._experiment = experiment
        (pod,) = experiment.pods("task-store-server")
        self._image = pod["spec"]["containers"][0]["image"]
        self._places = dict.fromkeys((*CLIENTS, NEIGHBOUR), experiment.namespace) | {STRANGER: ELSEWHERE}

    def start(self) -> None:
        """Start the pods."""
        self._testbed.kubectl("create", "namespace", ELSEWHERE)
        for name, namespace in self._places.items():
            create(self._testbed, namespace, self._pod(name))
        for name, namespace in self._places.items():
            state = "jsonpath={.status.phase}=Running"
            where = ("--namespace", namespace, f"--for={state}", "--timeout=120s")
            self._testbed.kubectl("wait", *where, f"pod/probe-{name}")

    def stop(self) -> None:
        """Remove the pods."""
        self._testbed.kubectl("delete", "namespace", ELSEWHERE, "--ignore-not-found")
        here = ("--namespace", self._experiment.namespace)
        names = [f"probe-{name}" for name, namespace in self._places.items() if namespace != ELSEWHERE]
        self._testbed.kubectl("delete", "pod", *here, *names, "--ignore-not-found", "--grace-period=1")

    def connections(self, addresses: Addresses) -> Connections:
        """What each pod can connect to."""
        with ThreadPoolExecutor(len(self._places)) as pool:
            reached = pool.map(lambda name: self.reached(name, addresses), self._places)
            return dict(zip(self._places, reached, strict=True))

    def settled(self, addresses: Addresses) -> Connections:
        """What each pod can connect to, once two rounds in a row find the same.

        What enforces the policies follows for one pod after the other, and may let a single packet pass
        while it is busy: a hole in a policy is there in every round.
        """
        found: list[Connections] = [self.connections(addresses)]

        def unchanged() -> bool:
            found.append(self.connections(addresses))
            return found[-1] == found[-2]

        follow(unchanged, "one set of policies")
        return found[-1]

    def reached(self, name: str, addresses: Addresses) -> set[str]:
        """What one pod can connect to."""
        command = ("python3", "-c", TRY, json.dumps(addresses))
        where = ("--namespace", self._places[name], f"probe-{name}")
        return set(json.loads(self._testbed.kubectl("exec", *where, "--", *command)))

    def _pod(self, name: str) -> dict[str, t.Any]:
        labels = {}
        if name in CLIENTS:
            labels = {
                "app.kubernetes.io/name": "eden",
                "app.kubernetes.io/instance": self._experiment.name,
                "app.kubernetes.io/component": name,
            }
        container = {
            "name": "probe",
            "image": self._image,
            "command": ["python3", "-c", "import time; time.sleep(3600)"],
            # Never ready, so that no Service leads here: the labels are those of its own pods.
            "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 3600},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        spec = {
            "containers": [container],
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"probe-{name}", "labels": labels},
            "spec": spec,
        }


def create(testbed: Testbed, namespace: str, definition: dict[str, t.Any]) -> None:
    """Create an object."""
    testbed.kubectl("create", "--namespace", namespace, "--filename", "-", given=json.dumps(definition))


def addresses(experiment: Experiment, testbed: Testbed) -> Addresses:
    """Where each server is: its pod and its Service; and the cluster's own."""
    found: Addresses = {}
    for name, port in SERVERS.items():
        (pod,) = experiment.pods(name)
        found[f"pod of {name}"] = ("tcp", pod["status"]["podIP"], port)
        service = experiment.read("service", f"{experiment.name}-{name}")
        if service["spec"]["clusterIP"] != "None":
            found[f"Service of {name}"] = ("tcp", service["spec"]["clusterIP"], port)
    dns = testbed.read("--namespace", "kube-system", "service", "kube-dns")
    found[DNS] = ("tcp", dns["spec"]["clusterIP"], 53)
    found["cluster name"] = ("name", "kubernetes.default.svc", 443)
    server = testbed.read("--namespace", "default", "service", "kubernetes")
    found[API_SERVER] = ("tcp", server["spec"]["clusterIP"], 443)
    return found


class Echo(socketserver.BaseRequestHandler):
    """Closes a connection, or answers a datagram."""

    def handle(self) -> None:
        if isinstance(self.request, tuple):
            self.request[1].sendto(b"!", self.client_address)


class TcpServer(socketserver.ThreadingTCPServer):
    """Takes its port also shortly after another one had it."""

    allow_reuse_address = True


@contextmanager
def listeners(testbed: Testbed) -> Iterator[Addresses]:
    """Servers outside of the cluster: on the machine, at an address of another network than the node's.

    A node of kind sends what is meant for port 53 of its own network's gateway to Docker's DNS.
    """
    template = "{{range .NetworkSettings.Networks}}{{.Gateway}}{{end}}"
    gateway = testbed.command("docker", "inspect", "--format", template, testbed.node).decode().strip()
    own = testbed.command("hostname", "--all-ip-addresses").decode().split()
    host, *_others = [address for address in own if ":" not in address and address != gateway]
    found: Addresses = {}
    with ExitStack() as running:
        for name, kind, protocol, port in (
            ("outside", TcpServer, "tcp", 0),
            ("outside, port 53", TcpServer, "tcp", 53),
            ("outside, port 53, UDP", socketserver.ThreadingUDPServer, "udp", 53),
        ):
            server = running.enter_context(kind((host, port), Echo))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            running.callback(server.shutdown)
            found[name] = (protocol, host, server.server_address[1])
        yield found


@pytest.fixture(scope="module")
def tried(testbed: Testbed, experiment: Experiment) -> Iterator[Tried]:
    """The connections of all probes."""
    probes = Probes(testbed, experiment)
    everything = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": OPEN},
        "spec": everything,
    }
    with listeners(testbed) as outside:
        targets = addresses(experiment, testbed) | outside
        try:
            probes.start()
            create(testbed, experiment.namespace, policy)
            follow(
                lambda: probes.reached("provision", targets) == set(targets),
                "a policy that allows everything",
            )
            opened = probes.settled(targets)
            testbed.kubectl("delete", "networkpolicy", "--namespace", experiment.namespace, OPEN)
            follow(
                lambda: probes.reached("provision", targets) <= NAMES,
                f"the experiment's policies: try tests/cluster/cluster policies {testbed.name}",
            )
            yield Tried(targets, opened, probes.settled(targets))
        finally:
            probes.stop()
            where = ("--namespace", experiment.namespace, OPEN, "--ignore-not-found")
            testbed.kubectl("delete", "networkpolicy", *where)


def follow(done: t.Callable[[], bool], what: str) -> None:
    """Return when the network follows."""
    deadline = time.monotonic() + FOLLOW_SECONDS
    while not done():
        assert time.monotonic() < deadline, f"the network does not follow {what}"
        time.sleep(0.5)


def allowed(targets: t.Iterable[str], servers: t.Container[str], others: t.Container[str]) -> set[str]:
    """Those of the targets that are of these servers, or are these others."""
    return {name for name in targets if name.rpartition(" of ")[2] in servers or name in others}


@pytest.mark.parametrize("client", [*CLIENTS, NEIGHBOUR, STRANGER])
def test_every_connection_is_possible_where_a_policy_allows_it(tried: Tried, client: str) -> None:
    assert tried.opened[client] == set(tried.targets)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_component_connects_to_what_it_needs_and_to_nothing_else(tried: Tried, client: str) -> None:
    assert tried.closed[client] == allowed(tried.targets, CLIENTS[client], NAMES)


@pytest.mark.parametrize("client", [NEIGHBOUR, STRANGER])
def test_who_is_not_of_the_experiment_connects_to_none_of_it(tried: Tried, client: str) -> None:
    assert tried.closed[client] == NAMES | OUTSIDE | {API_SERVER}
