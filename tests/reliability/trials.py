# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is tried on the rig, by groups, in full or as a sample, several at a time."""

from __future__ import annotations

import random
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import faults
from deployer import Deployer, Grant, grants, is_optional, refusal, rules_of, shipped
from environments import CHECKOUT
from kills import CUTS, AtBoundary, AtTime, AtWrite, Kill, survive
from oracles import Reference, Verdict
from thin_rig import Rig
from traffic import Reply, Request, Rule

# On two cores, more at a time take no less time.
AT_A_TIME = 2
# Workloads that are not ready yet are listed again.
VARYING = 10
# A run takes its lock and releases it; more writes to the Lease are renewals.
LOCK_WRITES = 2
LOST: tuple[Reply, ...] = ("reset", "half")


# Of the fixture: takes lists of trials, each with how many of them are tried.
Survive = t.Callable[..., None]


@dataclass(frozen=True)
class Trial:
    """One experiment to be disturbed.

    Attributes:
        group: what it is counted with.
        name: what is done, and how to do the same again.
        perform: does it and asks the oracles.
    """

    group: str
    name: str
    perform: t.Callable[[Rig, Reference], Verdict]


def _killed(group: str, *kills: Kill) -> Trial:
    name = " then ".join(str(kill) for kill in kills)
    return Trial(group, name, lambda rig, reference: survive(rig, reference, *kills))


def _disturbed(group: str, name: str, rule: t.Callable[[], Rule], sure: bool = True) -> Trial:
    return Trial(group, name, lambda rig, reference: faults.run_with_faults(rig, reference, rule(), sure))


def sure(requests: t.Iterable[Request]) -> int:
    """How many of these any run sends: a slow one renews its lock and begins a watch more often."""
    return LOCK_WRITES + sum(not found.is_watch and "/leases" not in found.target for found in requests)


def at_boundaries(reference: Reference) -> list[Trial]:
    """A kill at each boundary between two tasks."""
    return [
        _killed("killed at a task boundary", AtBoundary(number))
        for number in range(1, reference.boundaries + 1)
    ]


def at_writes(reference: Reference) -> list[Trial]:
    """A kill at each write, before it is sent, before it is answered, and after."""
    writes = sure(reference.first.writes)
    return [
        _killed("killed at a write", AtWrite(number, cut)) for number in range(1, writes + 1) for cut in CUTS
    ]


def at_times(reference: Reference, count: int, seed: int) -> list[Trial]:
    """Kills at times that are spread evenly over a run."""
    dice = random.Random(f"{seed} times")
    return [
        _killed("killed at a random time", AtTime(dice.uniform(0, reference.first.seconds)))
        for _time in range(count)
    ]


def in_pairs(reference: Reference, count: int, seed: int) -> list[Trial]:
    """Kills at a write, and then of the run after it."""
    dice = random.Random(f"{seed} pairs")
    writes = sure(reference.first.writes)

    def kill() -> Kill:
        return AtWrite(dice.randint(1, writes), dice.choice(CUTS))

    return [
        _killed("killed twice", kill(), AtTime(dice.uniform(0, reference.first.seconds)))
        for _time in range(count)
    ]


def rates(seed: int, wanted: t.Collection[float] = (0.01, 0.05, 0.1)) -> list[Trial]:
    """Each kind of fault at each rate."""
    return [
        _disturbed(
            f"{kind}, {rate:.0%} of requests",
            f"{kind} at {rate:.0%}, seed {seed}",
            partial(faults.at_random, kind, rate, seed),
            sure=False,
        )
        for kind in faults.KINDS
        for rate in wanted
    ]


def latencies(wanted: t.Collection[int] = (50, 200)) -> list[Trial]:
    """Each request takes longer."""
    return [
        _disturbed("latency", f"{milliseconds} ms", partial(faults.slow, milliseconds / 1000))
        for milliseconds in wanted
    ]


def black_holes(reference: Reference) -> list[Trial]:
    """Each request that an undisturbed run is sure to send gets no answer."""
    return [
        _disturbed("one request without an answer", f"request {n:03}", partial(faults.black_hole, n))
        for n in range(1, sure(reference.first.requests) - VARYING + 1)
    ]


def lost_replies(reference: Reference) -> list[Trial]:
    """The answer to each write is lost, or cut off."""
    writes = range(1, sure(reference.first.writes) + 1)
    return [
        _disturbed("executed, reply lost", f"write {n}: {reply}", partial(faults.lost_reply, n, reply))
        for n in writes
        for reply in LOST
    ]


def watches() -> list[Trial]:
    """The watches break in each way."""
    return [
        _disturbed("broken watches", fault, partial(faults.broken_watches, fault))
        for fault in faults.WATCH_FAULTS
    ]


def permissions_taken_away() -> list[Trial]:
    """Each permission of the Role and of the ClusterRole that are shipped is taken away, one at a time."""
    named = [*grants(shipped("Role")), *grants(shipped("ClusterRole"))]
    # The permissions on a resource as a whole, and those on one name of several.
    whole = [Grant(*found) for found in dict.fromkeys(grant[:3] for grant in named)]
    single = [grant for grant in named if grant.resource == "secrets" and grant.name]
    return [
        Trial(
            "a permission taken away", str(grant), lambda rig, _reference, grant=grant: _refused(rig, grant)
        )
        for grant in (*whole, *single)
        if not is_optional(grant)
    ]


def _refused(rig: Rig, lost: Grant) -> Verdict:
    """A run without a permission that it needs, by a user who has all others."""
    on_namespaces = lost.resource == "namespaces"
    creating = on_namespaces and lost.verb == "create"
    with Deployer(rig, namespace_exists=not creating) as deployer:
        everywhere = grants(shipped("ClusterRole", deployer.namespace))
        inside = grants(shipped("Role"))
        kept = [
            [grant for grant in found if lost not in (grant, grant._replace(name=""))]
            for found in (inside, everywhere)
        ]
        if creating:
            deployer.may_everywhere(rules_of(kept[0] + kept[1]))
        else:
            deployer.may(rules_of(kept[0]))
            deployer.may_everywhere(rules_of(kept[1]))
        variables = {
            "eden_manage_namespace": on_namespaces,
            "eden_ingress": {"host": "eden.example.org"},
            "eden_seed_dir": str(CHECKOUT / "examples/quadratic/start"),
        }
        with deployer.experiment(**variables) as experiment:
            outcome = experiment.run()
    where = "" if creating else deployer.namespace
    verdict = Verdict(outcomes=[outcome])
    problem = refusal(outcome, lost, where)
    verdict.require(not problem, "permissions", problem)
    return verdict


def sample(trials: t.Sequence[Trial], count: int, seed: int) -> list[Trial]:
    """Some of the trials, in their order."""
    if count >= len(trials):
        return list(trials)
    chosen = set(random.Random(f"{seed} {trials[0].name}").sample(range(len(trials)), count))
    return [trial for number, trial in enumerate(trials) if number in chosen]


def perform(
    rig: Rig,
    reference: Reference,
    trials: t.Sequence[Trial],
    report: t.Callable[[Trial, Verdict], None] = lambda _trial, _verdict: None,
    stop: threading.Event | None = None,
    at_a_time: int = AT_A_TIME,
) -> dict[str, list[str]]:
    """What was violated, by the trial's name; ``stop`` begins no further trial."""
    violated: dict[str, list[str]] = {}

    def one(trial: Trial) -> None:
        if stop and stop.is_set():
            return
        try:
            verdict = trial.perform(rig, reference)
        except Exception as error:
            verdict = Verdict([f"rig: {error!r}"])
        if verdict.violations:
            violated[trial.name] = verdict.violations
        report(trial, verdict)

    with ThreadPoolExecutor(at_a_time) as pool:
        list(pool.map(one, trials))
    return violated
