# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures site.yml on the thin rig: several experiments in one inventory, and one that is big.

For each number of experiments it measures the cold bring-up and a run that changes nothing: the time, the
processor time and the largest memory of ansible-playbook with its workers, and the requests to the API
server. The last experiment of a fleet has an image that does not exist while the others are run again.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import sys
import tempfile
import threading
import typing as t
from contextlib import ExitStack
from pathlib import Path

import yaml
from thin_rig import INSTANCE, Experiment, Outcome, Rig, processes

NUMBERS = (1, 10, 50, 100)
BROKEN = "registry.example/eden/reference:missing"
LOOK_SECONDS = 0.5


class Memory:
    """The largest memory of the processes of a run, each page that several share counted once.

    A worker is a fork: what it does not write to is its parent's.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.largest = 0

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self.largest = max(self.largest, sum(proportional(pid) for pid in processes(self._token)))


def proportional(pid: int) -> int:
    """The proportional set size of a process, 0 if it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def processor_time() -> float:
    """The processor time of the children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Fleet:
    """Experiments in one inventory."""

    def __init__(self, rig: Rig, number: int, running: ExitStack, forks: int) -> None:
        self.experiments = [
            running.enter_context(rig.experiment(f"fleet-{number}-{index}")) for index in range(number)
        ]
        self._first: Experiment = self.experiments[0]
        self._first.variables = {}
        self._first.environment["ANSIBLE_FORKS"] = str(forks)
        self._inventory = self._first.directory / "fleet.yml"
        self._runs = 0

    def write(self, **variables: t.Any) -> None:
        """Write the inventory; the ``variables`` are those of the last experiment."""
        hosts: dict[str, t.Any] = {experiment.namespace: {} for experiment in self.experiments}
        hosts[self.experiments[-1].namespace] = variables
        common = {"eden_name": INSTANCE, "eden_namespace": "{{ inventory_hostname }}", "eden_timeout": 900}
        self._inventory.write_text(yaml.safe_dump({"fleet": {"hosts": hosts, "vars": common}}))

    def run(self, name: str, playbook: str = "site.yml") -> Outcome:
        """A run; prints a row."""
        self._runs += 1
        before = processor_time()
        with Memory(f"{self._first.namespace}-{self._runs}-") as memory:
            outcome = self._first.run("-i", str(self._inventory), "--limit", "fleet", playbook=playbook)
        print(
            f"| {name} | {len(self.experiments)} | {outcome.seconds:.1f} | {processor_time() - before:.1f} "
            f"| {memory.largest / 2**20:.0f} | {sum(request.side == 'api' for request in outcome.requests)} "
            f"| {len(outcome.writes)} | {outcome.status} |",
            flush=True,
        )
        return outcome


def measure(rig: Rig, number: int, forks: int) -> bool:
    """A fleet: cold, again, and with a broken experiment; whether each run ended as it should."""
    with ExitStack() as running:
        fleet = Fleet(rig, number, running, forks)
        fleet.write()
        cold = fleet.run(
            "cold",
        )
        again = fleet.run("again")
        sound = cold.status == 0 and again.status == 0 and not again.writes
        for outcome in (cold, again):
            if outcome.status:
                print(outcome.output[-4000:], file=sys.stderr)
        if number > 1:
            fleet.write(eden_image=BROKEN)
            broken = fleet.run("one broken")
            harmed = [line for line in broken.output.splitlines() if "failed=1" in line]
            sound &= broken.status != 0 and len(harmed) == 1
        return sound


def measure_big(rig: Rig, replicas: int) -> bool:
    """One experiment with many replicas of each host."""
    hosts = dict.fromkeys(("ideator_host", "executor_host", "evaluator_host"), replicas)
    with ExitStack() as running:
        fleet = Fleet(rig, 1, running, 5)
        fleet.write(eden_replicas=hosts)
        outcomes = [fleet.run(f"{replicas} of each host, cold"), fleet.run(f"{replicas} of each host, again")]
        outcomes.append(fleet.run(f"{replicas} of each host, status", playbook="playbooks/status.yml"))
        for outcome in outcomes:
            if outcome.status:
                print(outcome.output[-4000:], file=sys.stderr)
        return not any(outcome.status for outcome in outcomes)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="tests/bench/fleet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("numbers", nargs="*", type=int, default=NUMBERS, help="(default: %(default)s)")
    parser.add_argument("--forks", type=int, default=10, help="of ansible-playbook (default: %(default)s)")
    parser.add_argument(
        "--replicas", type=int, default=0, help="measure one experiment with so many of each host"
    )
    return parser.parse_args()


def main() -> int:
    """Measure, and print a table."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory, Rig(Path(directory)) as rig:
        rig.node.missing_images.add(BROKEN)
        print("| run | experiments | seconds | processor seconds | MiB | API requests | writes | status |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|")
        if options.replicas:
            sound = measure_big(rig, options.replicas)
        else:
            each = [measure(rig, number, options.forks) for number in options.numbers]
            sound = all(each)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
