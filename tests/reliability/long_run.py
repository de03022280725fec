# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills and disturbs the real playbook on the thin rig, as often as it is told to, and prints a table."""

from __future__ import annotations

import argparse
import itertools
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from importlib.metadata import version
from pathlib import Path

import check_mode
import drift
import kills
import restarts
import secret_damage
import trials
from environments import clean
from on_kind import KindRig
from oracles import Reference, Verdict
from pools import Pool
from testbed import CHECKOUT, Testbed, named
from thin_rig import Rig
from trials import Trial

SAMPLE = 5


class Table:
    """Counts what passed and what did not, by group, and tells of each trial when it is over."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._began = time.monotonic()
        self._done: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._faults: dict[str, int] = {}
        self._lock = threading.Lock()

    def report(self, trial: Trial, verdict: Verdict) -> None:
        """Note the verdict on a trial."""
        with self._lock:
            self._done[trial.group] = self._done.get(trial.group, 0) + 1
            self._failed[trial.group] = self._failed.get(trial.group, 0) + bool(verdict.violations)
            self._faults[trial.group] = self._faults.get(trial.group, 0) + len(verdict.faults)
            runs = ", ".join(f"{run.status} {run.seconds:.1f} s" for run in verdict.outcomes)
            seconds = time.monotonic() - self._began
            print(
                f"[{seconds:7.1f} s] {sum(self._done.values())}/{self._total} {trial.group}: {trial.name}: "
                f"{'FAILED' if verdict.violations else 'passed'} ({runs}; faults: {len(verdict.faults)})",
                flush=True,
            )
            for violation in verdict.violations:
                print("    " + violation.replace("\n", "\n    "), flush=True)
            if verdict.violations and verdict.faults:
                print("    faults: " + "; ".join(verdict.faults), flush=True)

    @property
    def failed(self) -> int:
        """The number of trials in which something was violated."""
        return sum(self._failed.values())

    def lines(self) -> t.Iterator[str]:
        """The table, as Markdown."""
        yield "| what | trials | requests disturbed | failures |"
        yield "|---|---|---|---|"
        for group, count in sorted(self._done.items()):
            yield f"| {group} | {count} | {self._faults[group] or ''} | {self._failed[group]} |"
        yield f"| sum | {sum(self._done.values())} | {sum(self._faults.values())} | {self.failed} |"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/reliability/run", description="Kills and disturbs the playbook on the thin rig."
    )
    parser.add_argument("--all", action="store_true", help="every kill point and every fault, not a sample")
    parser.add_argument("--kills", action="store_true", help="kills only")
    parser.add_argument("--faults", action="store_true", help="faults only")
    parser.add_argument("--permissions", action="store_true", help="permissions taken away only")
    parser.add_argument(
        "--kind",
        action="store_true",
        help="kills only, on the kind cluster EDEN_TEST_CLUSTER, which is made if it is missing",
    )
    parser.add_argument("--drift", action="store_true", help="check mode, Secrets and drift only")
    parser.add_argument("--random-kills", type=int, default=SAMPLE, metavar="N", help="kills at random times")
    parser.add_argument("--pairs", type=int, default=SAMPLE, metavar="N", help="kills of two runs in a row")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of all that is random")
    parser.add_argument("--only", default="", metavar="TEXT", help="only what has this text in its name")
    options = parser.parse_args()
    options.kills = options.kills or options.kind
    return options


def chosen(options: argparse.Namespace, reference: Reference, pool: Pool) -> list[Trial]:
    """The trials that are asked for, in an order in which those of every group are done early."""
    seed = options.seed
    everything = not (options.kills or options.faults or options.permissions or options.drift)

    def some(found: list[Trial]) -> list[Trial]:
        return found if options.all or options.only else trials.sample(found, SAMPLE, seed)

    found: list[Trial] = []
    if options.permissions or everything:
        found += some(trials.permissions_taken_away())
    if options.kills or everything:
        found += some(trials.at_writes(reference)) + some(trials.at_boundaries(reference))
        found += trials.in_pairs(reference, options.pairs, seed)
        found += trials.at_times(reference, options.random_kills, seed)
        if not options.kind:
            found += some(restarts.trials(pool))
    if options.faults or everything:
        found += trials.rates(seed) + trials.latencies() + trials.watches()
        found += some(trials.lost_replies(reference)) + some(trials.black_holes(reference))
    if options.drift or everything:
        for group in by_group(check_mode.trials(pool), secret_damage.trials(pool), drift.trials(pool, seed)):
            found += some(group)
    found = [trial for trial in found if options.only in f"{trial.group}: {trial.name}"]
    random.Random(seed).shuffle(found)
    return found


def by_group(*found: list[Trial]) -> list[list[Trial]]:
    """The trials, those of a group together."""
    groups: dict[str, list[Trial]] = {}
    for trial in itertools.chain(*found):
        groups.setdefault(trial.group, []).append(trial)
    return list(groups.values())


def versions(rig: Rig) -> str:
    """The versions of what took part."""
    kubernetes = rig.node.kube.ask("GET", "/version")["gitVersion"].removeprefix("v")
    python = ".".join(map(str, sys.version_info[:3]))
    return f"Kubernetes {kubernetes}, ansible-core {version('ansible-core')}, Python {python}"


def kind_rig(directory: Path) -> KindRig:
    """The kind cluster, with the image on its node."""
    # Empty, so that the user's kubeconfig names no other cluster.
    subprocess.run([CHECKOUT / "tests/bring-up", "--check"], env=clean() | {"KUBECONFIG": ""}, check=True)
    return KindRig(directory, Testbed(named()))


def main() -> int:
    options = arguments()
    # Whoever ends the run gets the table of what is done.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    with (
        tempfile.TemporaryDirectory(prefix="reliability-") as directory,
        kind_rig(Path(directory)) if options.kind else Rig(Path(directory)) as rig,
        Pool(rig) as pool,
    ):
        print(f"seed {options.seed}; {versions(rig)}", flush=True)
        reference = kills.undisturbed(rig)
        first = reference.first
        print(
            f"an undisturbed run: {first.seconds:.1f} s, {len(first.requests)} requests, "
            f"{len(first.writes)} of them writes, {reference.boundaries} task boundaries",
            flush=True,
        )
        found = chosen(options, reference, pool)
        table = Table(len(found))
        # The node of a kind cluster has room for one experiment at a time.
        at_a_time = 1 if options.kind else trials.AT_A_TIME
        trials.perform(rig, reference, found, table.report, stop, at_a_time)
        for problem in rig.node.problems:
            print(f"the node: {problem}", flush=True)
        print("\n".join(table.lines()))
        print(f"seed {options.seed}; {versions(rig)}; {time.strftime('%Y-%m-%d', time.gmtime())}", flush=True)
        return 1 if table.failed or rig.node.problems else 0


if __name__ == "__main__":
    sys.exit(main())
