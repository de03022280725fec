# SPDX-License-Identifier: GPL-3.0-or-later
"""The rounds of the benchmark: what each contender is put through, and what is kept of it."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import audit
from contenders import TIMEOUT, Chart, Collection, Commands, Contender, Settings
from environments import CHECKOUT
from recording import Document, Ended, Pods, run
from testbed import Testbed, named

CONFIG = """\
parallel_variants: 1
evaluation_schema:
  score: real
objective:
  expr: score
  direction: maximize
ideation_policy:
  kind: fixed_total
  total: 3
"""
# EDEN reads parallel_variants and does nothing with it: it is the rollout that is measured.
CHANGE = ("parallel_variants: 1", "parallel_variants: 2")
# A registry that has no image at all: an HTTP server of files, without a file, on the node's own network. The
# port tells the node to speak HTTP to it.
REGISTRY = "eden-bench-registry"
REGISTRY_PORT = 80
MISSING = f"localhost:{REGISTRY_PORT}/eden/reference:missing"
NAMED = re.compile(r"cannot pull|failed to pull|failing to pull|ErrImagePull|ImagePullBackOff", re.IGNORECASE)
# How long what belongs to a deleted namespace may take to go, too.
GONE_SECONDS = 120.0
# The node's controllers come to rest before a clock is started.
REST = 3.0
# How long an experiment that has ended is watched; the kubelet counts every 10 to 20 seconds.
IDLE_SECONDS = 60.0


def measure(upstream: Path | None, image: str, rounds: int, several: int, output: Path) -> Document:
    """The results of all rounds: ``several`` of the measure of that name, ``rounds`` of all others."""
    testbed = Testbed(named())
    with tempfile.TemporaryDirectory(prefix="eden-bench-") as made, registry(testbed, image):
        work = Path(made)
        contenders: list[Contender] = [Collection(testbed, work)]
        if upstream is not None:
            contenders.append(Chart(testbed, work, upstream))
        results = {**surroundings(testbed, image, upstream), "timeout": TIMEOUT, "runs": []}
        bench = Bench(testbed, image, work, output, results)
        for contender in contenders:
            bench.clear([contender.namespace, *contender.several])
        for perform, count in ((bench.one, rounds), (bench.several, several)):
            for number in range(1, count + 1):
                for contender in contenders if number % 2 else contenders[::-1]:
                    perform(number, contender)
    return results


@dataclass
class Bench:
    """Puts contenders through the measures; ``output`` holds the results so far after each run."""

    testbed: Testbed
    image: str
    work: Path
    output: Path
    results: Document

    def __post_init__(self) -> None:
        (self.work / "config.yaml").write_text(CONFIG)
        (self.work / "changed.yaml").write_text(CONFIG.replace(*CHANGE))

    def _settings(self, config: str = "config.yaml", broken: bool = False) -> Settings:
        return Settings(MISSING if broken else self.image, self.work / config, broken)

    def one(self, number: int, contender: Contender) -> None:
        """All that one experiment is put through."""
        sound, changed = self._settings(), self._settings("changed.yaml")
        self.clear([contender.namespace])
        if isinstance(contender, Collection):
            self._run(number, "check", contender, [contender.check(sound)])
        begun = datetime.now(UTC)
        cold = self._run(number, "cold", contender, [contender.one(sound)])
        with contender.task_store() as store:
            events = store.await_end()
        cold |= {"events": len(events), "integrated": integrated(events, begun), **self._idle(contender)}
        if isinstance(contender, Collection):
            self._run(number, "check again", contender, [contender.check(sound)])
        with audit.watched(self.testbed) as window:
            unchanged = self._run(number, "unchanged", contender, [contender.one(sound)])
        unchanged["writes"] = len(window.writes)
        self._run(number, "changed", contender, [contender.one(changed)])
        self._run(number, "broken", contender, [contender.one(self._settings("changed.yaml", broken=True))])
        self.clear([contender.namespace])

    def _idle(self, contender: Contender) -> Document:
        """What the pods of an experiment that has ended take: cores, and MiB of working sets."""
        first = consumption(self.testbed, contender.namespace)
        time.sleep(IDLE_SECONDS)
        last = consumption(self.testbed, contender.namespace)
        return {
            "idle_cores": round((last.seconds - first.seconds) / (last.at - first.at), 3),
            "idle_mib": round(last.mebibytes),
        }

    def several(self, number: int, contender: Contender) -> None:
        """Several experiments at once."""
        self.clear(contender.several)
        self._run(number, "several", contender, contender.all(self._settings()))
        self.clear(contender.several)

    def _run(self, number: int, measure: str, contender: Contender, commands: Commands) -> Document:
        """Run commands at the same time; keep how long they took together, and what the pods did."""
        time.sleep(REST)
        with (
            Pods(self.testbed, {contender.namespace, *contender.several}) as pods,
            ThreadPoolExecutor(len(commands)) as executor,
        ):
            begun = time.monotonic()
            environment = self.testbed.environment
            ended = list(executor.map(lambda command: run(command, environment, CHECKOUT), commands))
        seconds = max(end.begun + end.seconds for end in ended) - begun
        entry = {
            "measure": measure,
            "contender": contender.key,
            "round": number,
            "seconds": round(seconds, 2),
            "status": max(abs(end.status) for end in ended),
            **shown(contender, ended[0]),
            "pods": pods.timeline(begun),
        }
        if measure == "broken":
            entry["named"] = ended[0].first(lambda line: NAMED.search(line) is not None)
        print(f"round {number}: {contender.title}: {measure} took {seconds:.1f} s", flush=True)
        self._keep(entry, "\n".join(end.output for end in ended))
        if (entry["status"] != 0) != (measure == "broken"):
            sys.exit(f"{contender.title}: {measure} ended with {entry['status']}, see {self.output}")
        return entry

    def _keep(self, entry: Document, output: str) -> None:
        self.results["runs"].append(entry)
        name = "-".join([str(entry["round"]), entry["contender"], entry["measure"]])
        (self.output / f"{name}.log").write_text(output)
        (self.output / "results.json").write_text(json.dumps(self.results, indent=1) + "\n")

    def clear(self, namespaces: list[str]) -> None:
        """Delete namespaces and await the end of their volumes."""
        self.testbed.kubectl("delete", "namespace", *namespaces, "--ignore-not-found")
        deadline = time.monotonic() + GONE_SECONDS
        while self.testbed.read("persistentvolumes")["items"] and time.monotonic() < deadline:
            time.sleep(1)


def integrated(events: t.Sequence[Document], begun: datetime) -> float:
    """The seconds from then until the last variant was integrated, by the clock of the cluster's machine."""
    last = max(event["occurred_at"] for event in events if event["type"] == "variant.integrated")
    return round((datetime.fromisoformat(last) - begun).total_seconds(), 1)


@dataclass(frozen=True)
class Consumption:
    """What the pods of a namespace had taken at a time in seconds: processor seconds, and MiB just then."""

    at: float
    seconds: float
    mebibytes: float


def consumption(testbed: Testbed, namespace: str) -> Consumption:
    """What the kubelet counts."""
    summary = json.loads(testbed.kubectl("get", "--raw", f"/api/v1/nodes/{testbed.node}/proxy/stats/summary"))
    pods = [pod for pod in summary["pods"] if pod["podRef"]["namespace"] == namespace]
    return Consumption(
        # Each pod is sampled at its own time, all within a few seconds.
        statistics.median(datetime.fromisoformat(pod["cpu"]["time"]).timestamp() for pod in pods),
        sum(pod["cpu"]["usageCoreNanoSeconds"] for pod in pods) / 1e9,
        sum(pod["memory"]["workingSetBytes"] for pod in pods) / 2**20,
    )


def shown(contender: Contender, ended: Ended) -> Document:
    """What the output shows: when each phase began, and how many changes ansible counted."""
    phases: dict[str, float] = {}
    for seconds, line in ended.lines:
        name = contender.phase(line)
        if name is not None:
            phases.setdefault(name, seconds)
    changed = re.findall(r"^\S+ +: ok=\d+ +changed=(\d+)", ended.output, re.MULTILINE)
    counted = {"changed": sum(map(int, changed))} if changed else {}
    return {"phases": phases, **counted}


@contextmanager
def registry(testbed: Testbed, image: str) -> t.Iterator[None]:
    """A registry on the node that answers each question for an image by 404."""
    script = f"cd $(mktemp -d) && exec python3 -m http.server {REGISTRY_PORT}"
    container = {
        "name": REGISTRY,
        "image": image,
        "command": ["sh", "-c", script],
        "securityContext": {"runAsUser": 0},
        "readinessProbe": {"tcpSocket": {"port": REGISTRY_PORT}, "periodSeconds": 1},
    }
    spec = {"spec": {"hostNetwork": True, "containers": [container]}}
    place = ("--namespace", "kube-system")
    testbed.kubectl("delete", *place, "pod", REGISTRY, "--ignore-not-found")
    testbed.kubectl("run", *place, REGISTRY, f"--image={image}", f"--overrides={json.dumps(spec)}")
    try:
        testbed.kubectl("wait", *place, f"pod/{REGISTRY}", "--for=condition=Ready", "--timeout=60s")
        yield
    finally:
        testbed.kubectl("delete", *place, "pod", REGISTRY, "--now")


def surroundings(testbed: Testbed, image: str, upstream: Path | None) -> Document:
    """What the numbers depend on."""
    version = json.loads(testbed.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]
    ansible = testbed.command("ansible", "--version").decode().split("\n", 1)[0]
    found: Document = {
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": os.cpu_count(),
        "image": image,
        "kubernetes": version,
        "ansible": ansible,
        "python": platform.python_version(),
        "collection": _commit(CHECKOUT),
    }
    if upstream is not None:
        helm = testbed.command("helm", "version", "--template={{.Version}}").decode()
        found |= {"helm": helm, "chart": _commit(upstream)}
    return found


def _commit(checkout: Path) -> str:
    command = ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
