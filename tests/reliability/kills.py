# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed: at a request that changes something, at a boundary between tasks, at any time."""

from __future__ import annotations

import itertools
import signal
import threading
import typing as t
from dataclasses import dataclass
from pathlib import Path

from oracles import (
    Reference,
    Verdict,
    check_after_kill,
    hashes,
    no_secret_in_files,
    state,
    tail,
    valid_identities,
)
from thin_rig import Experiment, Outcome, Rig, Run
from traffic import PASS, Action, Request, Rule, pass_through

CALLBACKS = Path(__file__).parent / "callbacks"
Cut = t.Literal["before", "unanswered", "answered"]
CUTS: tuple[Cut, ...] = ("before", "unanswered", "answered")


class Kill(t.Protocol):
    """A way to kill a run; its text says how to do the same again."""

    def apply(self, experiment: Experiment) -> Outcome:
        """Run until the kill."""


@dataclass(frozen=True)
class AtWrite:
    """The kill at a request that changes something.

    Attributes:
        number: which one, from 1.
        cut: before the server gets it, when it was executed and not answered, or when it was answered.
        arguments: of the run.
        target: only writes whose path has this part count.
    """

    number: int
    cut: Cut
    arguments: tuple[str, ...] = ()
    target: str = ""

    def __str__(self) -> str:
        return f"write {self.number} {self.cut}"

    def apply(self, experiment: Experiment, playbook: str = "site.yml") -> Outcome:
        """Run until the kill."""
        running: list[Run] = []

        def kill() -> None:
            experiment.traffic.cut = True
            running[0].kill()

        experiment.traffic.restart(cut_at(self.number, self.cut, kill, self.target))
        running.append(experiment.start(*self.arguments, playbook=playbook))
        return _ended(experiment, running[0])


@dataclass(frozen=True)
class AtBoundary:
    """The kill when the task of that number begins, from 1; after the last task comes one more boundary."""

    number: int

    def __str__(self) -> str:
        return f"boundary {self.number}"

    def apply(self, experiment: Experiment) -> Outcome:
        """Run until the kill."""
        outcome, _boundaries = with_boundaries(experiment, self.number)
        return outcome


@dataclass(frozen=True)
class AtTime:
    """The kill after so many seconds, which the run may survive."""

    seconds: float

    def __str__(self) -> str:
        return f"after {self.seconds:.3f} s"

    def apply(self, experiment: Experiment) -> Outcome:
        """Run until the kill."""
        experiment.traffic.restart()
        run = experiment.start()
        timer = threading.Timer(self.seconds, run.kill)
        timer.start()
        try:
            return _ended(experiment, run)
        finally:
            timer.cancel()
            timer.join()


def cut_at(number: int, cut: Cut, kill: t.Callable[[], None], target: str = "") -> Rule:
    """Kill at the write of that number, of those to such a target."""
    numbers = itertools.count(1)
    actions = {
        "before": Action(executed=False, reply="reset", then=kill),
        "unanswered": Action(reply="reset", then=kill),
        "answered": Action(after=kill),
    }

    def action(request: Request) -> Action:
        counts = request.write and target in request.target
        return actions[cut] if counts and next(numbers) == number else PASS

    return action


def with_boundaries(
    experiment: Experiment, kill_at: int = 0, rule: Rule = pass_through
) -> tuple[Outcome, int]:
    """A run and the number of its boundaries; it is killed at one of them unless that is 0."""
    count = experiment.directory / "boundaries"
    experiment.environment = {
        "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
        "ANSIBLE_CALLBACKS_ENABLED": "boundary",
        "EDEN_RIG_KILL_AT": str(kill_at),
        "EDEN_RIG_BOUNDARIES": str(count),
    }
    try:
        experiment.traffic.restart(rule)
        outcome = _ended(experiment, experiment.start())
    finally:
        experiment.environment = {}
    return outcome, int(count.read_text())


def _ended(experiment: Experiment, run: Run) -> Outcome:
    outcome = run.wait()
    # What is left of a killed run ends, or is reported.
    run.kill()
    outcome = run.wait()
    outcome.requests = list(experiment.traffic.log)
    return outcome


def undisturbed(rig: Rig) -> Reference:
    """What a run comes to that nothing happens to."""
    with rig.experiment() as experiment:
        outcome, boundaries = with_boundaries(experiment)
        assert outcome.status == 0, tail(outcome)
        return Reference(state(experiment), outcome, boundaries)


def survive(rig: Rig, reference: Reference, *kills: Kill) -> Verdict:
    """Kill a run, and the runs after it, one for each of the ``kills``; then ask the oracles."""
    with rig.experiment() as experiment:
        left, outcomes = Verdict(), []
        for kill in kills:
            outcomes.append(kill.apply(experiment))
            no_secret_in_files(left, experiment)
        verdict = check_after_kill(experiment, reference, hashes(experiment), valid_identities(experiment))
        verdict.violations[:0] = left.violations
        verdict.outcomes[:0] = outcomes
        for outcome in outcomes:
            left = outcome.survivors
            verdict.require(not left, "nothing left", f"these processes went on after the kill: {left}")
        # What is to be killed later than the first run may be past that point.
        if not isinstance(kills[0], AtTime) and outcomes[0].status != -signal.SIGKILL:
            verdict.require(False, "rig", f"{kills[0]} was not reached: {tail(outcomes[0])}")
        return verdict
