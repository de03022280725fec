# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with the requests of a run that is to succeed all the same."""

from __future__ import annotations

import collections
import random
import re

from oracles import Reference, Verdict, check_run
from thin_rig import Rig
from traffic import PASS, Action, Reply, Request, Rule, WatchReply

# Each kind of fault with what it answers; what a gateway answers, or a reset, may follow upon an execution.
KINDS: dict[str, Action] = {
    "429": Action(executed=False, reply=429),
    "429 with Retry-After": Action(executed=False, reply=429, headers=("Retry-After: 1",)),
    "500": Action(executed=False, reply=500),
    "502": Action(reply=502),
    "503": Action(executed=False, reply=503),
    "504": Action(reply=504),
    "reset": Action(reply="reset"),
}
WATCH_FAULTS: tuple[WatchReply, ...] = ("stall", "gone", "garbage", "close")

_NAMES = re.compile(r"rig-[0-9a-f]{8}|(?:exp|wkr|grp)_[0-9a-z]{26}|eden-seed-[0-9a-f]{8}|resourceVersion=\d+")


def at_random(kind: str, rate: float, seed: int) -> Rule:
    """Each request suffers the fault at that rate.

    Whether the nth request of the same words does is settled by the seed, not by the order of the threads.
    """
    counts: collections.Counter[str] = collections.Counter()

    def action(request: Request) -> Action:
        words = _NAMES.sub("", str(request))
        counts[words] += 1
        dice = random.Random(f"{seed} {kind} {words} {counts[words]}")
        if dice.random() >= rate:
            return PASS
        chosen = KINDS[kind]
        executed = chosen.executed and dice.random() < 0.5
        return Action(executed=executed, reply=chosen.reply, headers=chosen.headers)

    return action


def slow(seconds: float) -> Rule:
    """Each request takes that much longer."""
    return lambda _request: Action(delay=seconds)


def black_hole(number: int) -> Rule:
    """The request of that number gets no answer."""
    return lambda request: Action(executed=False, reply="silence") if request.number == number else PASS


def lost_reply(write: int, reply: Reply) -> Rule:
    """The write of that number is executed, and its answer is lost or cut off."""
    return lambda request: Action(reply=reply) if request.write == write else PASS


def broken_watches(fault: WatchReply) -> Rule:
    """The watches break."""
    return lambda request: Action(watch=fault) if request.is_watch else PASS


def run_with_faults(rig: Rig, reference: Reference, rule: Rule, sure: bool) -> Verdict:
    """A run from nothing to whose requests the faults happen, for sure or by chance; then the oracles."""
    happened: list[Request] = []

    def noted(request: Request) -> Action:
        action = rule(request)
        if action is not PASS:
            happened.append(request)
        return action

    with rig.experiment() as experiment:
        verdict = check_run(experiment, reference, experiment.run(rule=noted))
    verdict.require(happened or not sure, "rig", "nothing happened to any request")
    verdict.faults = [str(request) for request in happened]
    return verdict
