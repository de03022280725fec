# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes, kills and second runs in the middle of a real experiment on a kind cluster; a line for each trial.

EDEN_IMAGE         the image of EDEN's services; without it the stand-in is built, whose tasks can take time
EDEN_TEST_CLUSTER  the kind cluster, which is made if it is missing
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import http.client
import random
import re
import secrets
import sys
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from kube import KubeError, Object
from long_run import kind_rig, versions
from on_kind import KindRig
from oracles import Verdict, claims_hold, identities_hold, registry, state, tail
from pools import is_rolled_out, path_of
from testbed import Testbed, named
from thin_rig import Experiment, Outcome
from truth_table import LASTING, NUMBERED

Events = list[dict[str, t.Any]]

# What one idea adds to the event log of an undisturbed experiment, and what the baseline leaves there.
PER_IDEA, OTHER_EVENTS = 19, 6
MISSING_IMAGE = "registry.invalid/eden/reference:mistyped"
POLL_SECONDS = 1.0
# Reached only when something hangs: for pods to be back, and for an experiment to end.
PATIENCE = 1800.0
# So long may the pods take to be ready again by themselves.
HEALING_SECONDS = 300.0
# What the end of a pod may cost: the task in the hands of that host, without a server one of each host.
MOST_RECLAIMS = {"orchestrator": 0, "web-ui": 0, **dict.fromkeys(NUMBERED, 1)}
# What a run says that finds another one at work.
HELD = "is held by"
# Ends the processes of a pod's containers, which cannot stop that, and not the one that holds its network.
KILL = """set -eu
slice="$(echo "$1" | tr - _)"
for process in /proc/[0-9]*; do
    grep -qs -e "$1" -e "$slice" "$process/cgroup" || continue
    [ "$(cat "$process/comm" 2>/dev/null || echo pause)" = pause ] || kill -9 "${process#/proc/}" || true
done"""


def wanted_events(ideas: int) -> int:
    """The events of an undisturbed experiment."""
    return OTHER_EVENTS + PER_IDEA * ideas


@dataclass
class Progress:
    """The event log of an experiment, read from where the last reading ended.

    Attributes:
        events: what was read so far.
    """

    experiment: Experiment
    events: Events = field(default_factory=list)

    def read(self, cursor: int | None = None) -> Events | None:
        """The events after the cursor, None while the task store does not answer."""
        after = len(self.events) if cursor is None else cursor
        try:
            api = registry(self.experiment)
            found = list(api.ok("GET", f"/events?cursor={after}")["events"]) if api else None
        except (OSError, http.client.HTTPException, AssertionError, KubeError, ValueError):
            found = None
        if found is None:
            # The way to a pod ends with the pod.
            self.experiment.node.task_store(self.experiment.namespace).stop()
        elif cursor is None:
            self.events += found
        return found

    def count(self, kind: str) -> int:
        """How many events of a type were read."""
        return sum(event["type"] == kind for event in self.events)

    def open_tasks(self) -> int:
        """How many tasks are not at their end."""
        ended = self.count("task.completed") + self.count("task.failed")
        return self.count("task.created") - ended

    def await_events(self, number: int, seconds: float = PATIENCE) -> None:
        """Return when there are so many events."""
        deadline = time.monotonic() + seconds
        while len(self.events) < number:
            assert time.monotonic() < deadline, f"{len(self.events)} of {number} events after {seconds:.0f} s"
            self.read()
            time.sleep(POLL_SECONDS)

    def await_end(self, ideas: int, stall: float) -> bool:
        """Whether the experiment came to its end; it did not if nothing happens for so many seconds."""
        last = time.monotonic()
        while self.open_tasks() or self.count("variant.integrated") + self.count("task.failed") < ideas:
            if self.read():
                last = time.monotonic()
            elif time.monotonic() - last > stall:
                return False
            time.sleep(POLL_SECONDS)
        return True


@dataclass
class Trial:
    """One experiment in which something happens.

    Attributes:
        what: what is done and when, for the table.
        healed: how the experiment came back, for the table.
    """

    experiment: Experiment
    options: argparse.Namespace
    dice: random.Random
    verdict: Verdict = field(default_factory=Verdict)
    what: str = ""
    healed: str = ""

    def __post_init__(self) -> None:
        self.progress = Progress(self.experiment)
        self.experiment.variables["eden_experiment_config"] = {
            "parallel_variants": 1,
            "evaluation_schema": {"score": "real"},
            "objective": {"expr": "score", "direction": "maximize"},
            "ideation_policy": {"kind": "fixed_total", "total": self.options.ideas},
            # Of the stand-in; EDEN keeps what it does not know.
            "standin_seconds": {"execution": self.options.seconds, "publication": self.options.publication},
        }
        # Several experiments share a node.
        for name in ("eden_resources", "eden_postgres_resources", "eden_forgejo_resources"):
            self.experiment.variables[name] = {"requests": {"cpu": "10m", "memory": "64Mi"}}

    @property
    def testbed(self) -> Testbed:
        """The cluster."""
        return Testbed(named())

    def run(self) -> Outcome:
        """Run site.yml to its end."""
        outcome = self.experiment.run()
        self.verdict.outcomes.append(outcome)
        return outcome

    def converge(self) -> None:
        """The plain run succeeds."""
        outcome = self.run()
        self.verdict.require(outcome.status == 0, "converges", f"the run ended with: {tail(outcome)}")

    def install(self) -> None:
        """Bring the experiment up, and let it come to a random point."""
        outcome = self.run()
        assert outcome.status == 0, tail(outcome)
        wanted = wanted_events(self.options.ideas)
        number = self.dice.randint(wanted // 10, wanted * 8 // 10)
        self.progress.await_events(number)
        self.what = f"{self.what} after {len(self.progress.events)} events".strip()

    def pods(self, *components: str) -> list[Object]:
        """The pods of these components, by default of those that stay, without those that try a change."""
        return [
            pod
            for pod in self.experiment.kube.objects("Pod", self.experiment.namespace)
            if pod["metadata"]["labels"].get("app.kubernetes.io/component") in (components or LASTING)
            and "eden.reference/trial" not in pod["metadata"]["labels"]
        ]

    def containers(self) -> dict[str, tuple[str, int]]:
        """Of each pod its identity, and how often its container was restarted."""
        return {
            pod["metadata"]["name"]: (
                pod["metadata"]["uid"],
                sum(row["restartCount"] for row in pod["status"].get("containerStatuses") or []),
            )
            for pod in self.pods()
        }

    def await_pods(self, began: float) -> float | None:
        """The seconds from then until each pod is ready and the task store answers, None if it does not."""
        while not self._all_ready() or self.progress.read() is None:
            if time.monotonic() - began > HEALING_SECONDS:
                return None
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began

    def _all_ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException, KubeError):
            return all(
                is_rolled_out(thing)
                for kind in ("Deployment", "StatefulSet")
                for thing in self.experiment.kube.objects(kind, self.experiment.namespace)
            )
        return False

    def heal(self, began: float) -> None:
        """Let the experiment come to its end by itself, or else by the plain run."""
        seconds = self.await_pods(began)
        if seconds is None:
            self.healed = f"not up after {HEALING_SECONDS:.0f} s: site.yml"
        elif self.progress.await_end(self.options.ideas, self.options.stall):
            self.healed = f"by itself, up after {seconds:.0f} s"
            return
        else:
            self.healed = f"up after {seconds:.0f} s, then stuck: site.yml"
        self.converge()

    def check(self, most_reclaims: int = 0) -> None:
        """The experiment comes to its end with at most so many reclaims, and all oracles agree."""
        ideas, progress, verdict = self.options.ideas, self.progress, self.verdict
        ended = progress.await_end(ideas, self.options.stall)
        verdict.require(ended, "end", f"it stands still with {progress.open_tasks()} open tasks")
        # What comes after the last task, and what has not been asked for since.
        time.sleep(2 * POLL_SECONDS)
        progress.read()
        integrated, events = progress.count("variant.integrated"), len(progress.events)
        reclaims, errored = progress.count("task.reclaimed"), progress.count("variant.errored")
        verdict.require(integrated == ideas, "end", f"{integrated} of {ideas} are integrated")
        wanted = wanted_events(ideas) + 2 * (reclaims + errored)
        if integrated == ideas:
            verdict.require(events == wanted, "events", f"there are {events} events and not {wanted}")
        few = errored <= reclaims <= most_reclaims
        verdict.require(few, "reclaims", f"{reclaims} reclaims, {errored} variants errored")
        before, after = list(progress.events), progress.read(0) or []
        verdict.require(after[: len(before)] == before, "events", "the log does not begin as it did")
        claims_hold(verdict, self.experiment)
        manual = [key for key, value in _modes(self.experiment).items() if value != "auto"]
        verdict.require(manual == ["termination"], "dispatch mode", f"these are manual: {manual}")
        self.converge()
        changed = verdict.outcomes[-1].recap.get("changed")
        verdict.require(changed == 0, "stays idle", f"the last run changed {changed} tasks")
        identities_hold(verdict, self.experiment, state(self.experiment))


def _modes(experiment: Experiment) -> dict[str, str]:
    api = registry(experiment)
    assert api is not None, "there is no task store"
    return dict(api.ok("GET", "/dispatch_mode"))


def change(trial: Trial) -> None:
    """A value is changed that restarts the task store."""
    trial.install()
    trial.experiment.variables["eden_log_level"] = "debug"
    trial.converge()
    trial.check()


def kill_run(trial: Trial) -> None:
    """The run that changes such a value is killed, and started again."""
    trial.install()
    trial.experiment.variables["eden_log_level"] = "debug"
    seconds = trial.dice.uniform(0.2, 1.2) * trial.verdict.outcomes[0].seconds
    trial.what += f", killed after {seconds:.1f} s"
    run = trial.experiment.start()
    time.sleep(seconds)
    run.kill()
    trial.verdict.outcomes.append(run.wait())
    trial.converge()
    trial.check()


def delete_pod(trial: Trial) -> None:
    """A pod is deleted, with its grace period."""

    def delete(pod: Object) -> None:
        trial.experiment.kube.ask("DELETE", path_of(trial.experiment, "Pod", pod["metadata"]["name"]))

    _disturb_pod(trial, delete)


def kill_pod(trial: Trial) -> None:
    """The process of a pod's container gets SIGKILL."""

    def kill(pod: Object) -> None:
        node, uid = trial.testbed.node, pod["metadata"]["uid"]
        trial.testbed.command("docker", "exec", node, "sh", "-c", KILL, "sh", uid)

    _disturb_pod(trial, kill)


def _disturb_pod(trial: Trial, disturb: t.Callable[[Object], None]) -> None:
    trial.what = trial.options.component
    trial.install()
    (pod,) = trial.pods(trial.options.component)
    name, before, began = pod["metadata"]["name"], trial.containers(), time.monotonic()
    disturb(pod)
    while trial.containers().get(name) == before[name]:
        assert time.monotonic() - began < PATIENCE, f"nothing became of {name}"
        time.sleep(POLL_SECONDS)
    trial.heal(began)
    trial.check(MOST_RECLAIMS.get(trial.options.component, len(NUMBERED)))


def drain(trial: Trial) -> None:
    """The node is drained, and takes pods again."""
    trial.install()
    node, began = trial.testbed.node, time.monotonic()
    try:
        options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=900s"]
        trial.testbed.kubectl("drain", node, *options)
    finally:
        trial.testbed.kubectl("uncordon", node)
    trial.heal(began)
    trial.check(len(NUMBERED))


def bad_image(trial: Trial) -> None:
    """A run with a mistyped image: it fails, and the experiment goes on without a restart."""
    trial.install()
    before, image = trial.containers(), trial.experiment.variables["eden_image"]
    trial.experiment.variables |= {"eden_image": MISSING_IMAGE, "eden_timeout": 60}
    outcome = trial.run()
    trial.experiment.variables |= {"eden_image": image, "eden_timeout": 300}
    trial.verdict.require(outcome.status != 0, "refused", "the run with the mistyped image succeeded")
    trial.verdict.require(MISSING_IMAGE in outcome.output, "refused", "the message does not name the image")
    after = trial.containers()
    trial.verdict.require(after == before, "no restart", f"the pods were {before} and are {after}")
    trial.check()


def two_runs(trial: Trial) -> None:
    """Two runs begin at the same time where there is nothing yet: one does all, the other names it."""
    delay = trial.options.delay
    trial.what = f"{delay:g} s apart"
    first = trial.experiment.start()
    time.sleep(delay)
    second = trial.experiment.start()
    outcomes = [first.wait(), second.wait()]
    trial.verdict.outcomes += outcomes
    lost = [outcome for outcome in outcomes if outcome.status != 0]
    # Both may succeed if one waited for the other.
    trial.verdict.require(len(lost) <= 1, "one run", f"both runs failed: {tail(outcomes[0])}")
    for outcome in lost:
        trial.verdict.require(
            HELD in outcome.output, "one run", f"the refused run names no holder: {tail(outcome)}"
        )
    if lost:
        trial.healed = "one refused"
    trial.converge()
    trial.check()


MODES: dict[str, t.Callable[[Trial], None]] = {
    "change": change,
    "kill-run": kill_run,
    "delete-pod": delete_pod,
    "kill-pod": kill_pod,
    "drain": drain,
    "bad-image": bad_image,
    "two-runs": two_runs,
}
OF_A_POD = ("delete-pod", "kill-pod")
HEAD = "| mode | trial | what | runs (status, s) | healed | events | integrated | reclaims | result |"


def row(mode: str, number: int, trial: Trial, seconds: float) -> str:
    """The line of the table for a trial."""
    runs = ", ".join(f"{run.status} {run.seconds:.0f}" for run in trial.verdict.outcomes)
    progress = trial.progress
    integrated = f"{progress.count('variant.integrated')} of {trial.options.ideas}"
    cells: list[object] = [mode, number, trial.what, runs, trial.healed, len(progress.events), integrated]
    cells.append(progress.count("task.reclaimed"))
    cells.append(f"{'FAILED' if trial.verdict.violations else 'passed'} in {seconds:.0f} s")
    return f"| {' | '.join(map(str, cells))} |"


def plan(options: argparse.Namespace) -> list[tuple[str, int, str]]:
    """The trials: mode, number, and the component if the mode is about one pod."""
    found = []
    for mode in options.modes:
        components = options.components if mode in OF_A_POD else [""]
        found += [
            (mode, number, component) for component in components for number in range(1, options.trials + 1)
        ]
    return found


def perform(rig: KindRig, options: argparse.Namespace, mode: str, number: int, component: str) -> bool:
    """Whether the oracles found nothing; prints the line of the trial, and what they found."""
    began = time.monotonic()
    given = argparse.Namespace(**vars(options) | {"component": component})
    with rig.experiment() as experiment:
        trial = Trial(experiment, given, random.Random(f"{options.seed} {mode} {component} {number}"))
        try:
            MODES[mode](trial)
        except Exception as error:
            trial.verdict.require(False, "rig", repr(error))
        lines = [row(mode, number, trial, time.monotonic() - began)]
        lines += ["    " + violation.replace("\n", "\n    ") for violation in trial.verdict.violations]
        if trial.verdict.violations:
            kept = Path(tempfile.mkdtemp(prefix="live-change-"))
            for log in experiment.directory.glob("run-*.log"):
                (kept / log.name).write_bytes(log.read_bytes())
            kinds = collections.Counter(event["type"] for event in trial.progress.events)
            lines.append(f"    events: {dict(kinds)}; the logs of the runs: {kept}")
        # At once, since others may print at the same time.
        print("\n".join(lines), flush=True)
        return not trial.verdict.violations


def arguments(words: t.Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="tests/reliability/run live-change",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("modes", nargs="+", choices=MODES, metavar="MODE", help=", ".join(MODES))
    parser.add_argument("--trials", type=int, default=1, help="of each mode, and of each component")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of all that is random")
    parser.add_argument("--ideas", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0, help="of an execution, with the stand-in")
    parser.add_argument(
        "--publication",
        type=float,
        default=0.5,
        help="from its push to its submit, with the stand-in",
    )
    parser.add_argument("--stall", type=float, default=120.0, help="seconds without an event: stuck")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds between the two runs")
    parser.add_argument("--jobs", type=int, default=1, help="experiments side by side; not for drain")
    parser.add_argument(
        "--component", dest="components", action="append", choices=LASTING, help="whose pod (default: each)"
    )
    options = parser.parse_args(words)
    options.components = options.components or list(LASTING)
    return options


def main() -> int:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="live-change-") as directory, kind_rig(Path(directory)) as rig:
        print(f"seed {options.seed}; {versions(rig)}; {time.strftime('%Y-%m-%d', time.gmtime())}")
        print(f"{HEAD}\n{re.sub('[^|]+', '---', HEAD)}", flush=True)
        with ThreadPoolExecutor(options.jobs) as pool:
            results = list(pool.map(lambda trial: perform(rig, options, *trial), plan(options)))
        print(f"{len(results)} trials, {results.count(False)} failed; seed {options.seed}", flush=True)
        return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
