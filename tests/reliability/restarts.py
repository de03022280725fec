# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that restarts the task store of an experiment that is up, undisturbed and killed at each write."""

from __future__ import annotations

import dataclasses
import json
import re
import signal

from kills import CUTS, AtWrite
from oracles import (
    State,
    Verdict,
    claims_hold,
    forget_temporary_files,
    hashes,
    identities_hold,
    no_secret_in_files,
    nothing_is_left,
    secrets_are_kept,
    tail,
    valid_identities,
)
from outcomes import TASK_STORE, stays_idle
from pools import Pool, pods, settled
from thin_rig import INSTANCE, Experiment, Outcome
from traffic import PASS, Action, Request
from trials import Trial, sure

GROUP = "killed at a write of a change"
LEVELS = ("info", "debug")
HOSTS = ("ideator-host", "executor-host", "evaluator-host")
CLIENTS = (*HOSTS, "orchestrator")
_LEVEL = re.compile(rf"--log-level=({'|'.join(LEVELS)})")


def change_level(experiment: Experiment) -> None:
    """Have the next runs restart every service of EDEN."""
    level = experiment.variables.get("eden_log_level", LEVELS[0])
    experiment.variables["eden_log_level"] = LEVELS[1 - LEVELS.index(level)]


def come_to(experiment: Experiment) -> State:
    """What there is of the experiment, whatever its level."""
    found = settled(experiment)
    objects = {name: json.loads(_LEVEL.sub("", json.dumps(thing))) for name, thing in found.objects.items()}
    for thing in objects.values():
        thing["metadata"]["annotations"].pop("eden.reference/applied", None)
    return dataclasses.replace(found, objects=objects)


def steps(outcome: Outcome) -> list[str]:
    """The writes of a run to its objects: ``scale`` or ``apply`` with the component, in their order."""
    found = []
    for request in outcome.writes:
        if "/leases" in request.target:
            continue
        path, _question, query = request.target.partition("?")
        name = path.rpartition("/")[2].removeprefix(f"{INSTANCE}-")
        verb = "apply" if "force=true" in query else "scale"
        found.append(f"{verb if request.method == 'PATCH' else request.method} {name.removesuffix('-1')}")
    return found


class Watch:
    """Notes which clients had pods when the task store was written."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self.left: list[str] = []

    def __call__(self, request: Request) -> Action:
        if request.write and f"/deployments/{TASK_STORE}" in request.target and "force" in request.target:
            self.left += [name for name in CLIENTS if pods(self._experiment, name)]
        return PASS


def undisturbed(pool: Pool, *arguments: str) -> tuple[Verdict, Outcome, list[str]]:
    """A change: the verdict, the run, and the clients that had pods when the task store was written."""
    verdict = Verdict()
    with pool.borrowed(verdict) as experiment:
        # Of runs that earlier trials have killed.
        forget_temporary_files(experiment)
        before, watch = come_to(experiment), Watch(experiment)
        change_level(experiment)
        outcome = experiment.run(*arguments, rule=watch)
        verdict.outcomes.append(outcome)
        verdict.require(outcome.status == 0, "converges", f"the run ended with: {tail(outcome)}")
        if arguments:
            experiment.run()
        _check(verdict, experiment, before)
    return verdict, outcome, watch.left


def trials(pool: Pool) -> list[Trial]:
    """A kill at each write of a change, before it is sent, before it is answered, and after."""
    _verdict, outcome, _left = undisturbed(pool)
    kills = [AtWrite(number, cut) for number in range(1, sure(outcome.writes) + 1) for cut in CUTS]
    return [
        Trial(GROUP, f"change: {kill}", lambda _rig, _reference, kill=kill: _survive(pool, kill))
        for kill in kills
    ]


def _survive(pool: Pool, kill: AtWrite) -> Verdict:
    verdict = Verdict()
    with pool.borrowed(verdict) as experiment:
        before, secrets, valid = come_to(experiment), hashes(experiment), valid_identities(experiment)
        change_level(experiment)
        killed = kill.apply(experiment)
        verdict.outcomes.append(killed)
        verdict.require(killed.status == -signal.SIGKILL, "rig", f"{kill} was not reached: {tail(killed)}")
        no_secret_in_files(verdict, experiment)
        forget_temporary_files(experiment)
        outcome = experiment.run()
        verdict.outcomes.append(outcome)
        verdict.require(outcome.status == 0, "converges", f"the run ended with: {tail(outcome)}")
        _check(verdict, experiment, before)
        secrets_are_kept(verdict, experiment, secrets, valid)
    return verdict


def _check(verdict: Verdict, experiment: Experiment, before: State) -> None:
    stays_idle(verdict, experiment)
    found = come_to(experiment)
    verdict.compare(before, found)
    identities_hold(verdict, experiment, found)
    claims_hold(verdict, experiment)
    nothing_is_left(verdict, experiment)
