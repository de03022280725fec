# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong with the requests of a run that is to succeed all the same."""

from __future__ import annotations

import collections
import random
import re

from oracles import Reference, Verdict, judge_run
from thin_rig import Rig
from traffic import PASS, Fate, Judge, Reply, Request, WatchReply

# Each kind of fault with what it answers; what a gateway answers, or nobody, may follow upon an execution.
KINDS: dict[str, Fate] = {
    "429": Fate(executed=False, reply=429),
    "429 with Retry-After": Fate(executed=False, reply=429, headers=("Retry-After: 1",)),
    "500": Fate(executed=False, reply=500),
    "502": Fate(reply=502),
    "503": Fate(executed=False, reply=503),
    "504": Fate(reply=504),
    "reset": Fate(reply="reset"),
}
WATCH_FAULTS: tuple[WatchReply, ...] = ("stall", "gone", "garbage", "close")

_NAMES = re.compile(r"rig-[0-9a-f]{8}|(?:exp|wkr|grp)_[0-9a-z]{26}|eden-seed-[0-9a-f]{8}|resourceVersion=\d+")


def at_random(kind: str, rate: float, seed: int) -> Judge:
    """Each request suffers the fault at that rate.

    Whether the nth request of the same words does is settled by the seed, not by the order of the threads.
    """
    counts: collections.Counter[str] = collections.Counter()

    def fate(request: Request) -> Fate:
        words = _NAMES.sub("", str(request))
        counts[words] += 1
        dice = random.Random(f"{seed} {kind} {words} {counts[words]}")
        if dice.random() >= rate:
            return PASS
        chosen = KINDS[kind]
        executed = chosen.executed and dice.random() < 0.5
        return Fate(executed=executed, reply=chosen.reply, headers=chosen.headers)

    return fate


def slow(seconds: float) -> Judge:
    """Each request takes that much longer."""
    return lambda _request: Fate(delay=seconds)


def black_hole(number: int) -> Judge:
    """The request of that number gets no answer."""
    return lambda request: Fate(executed=False, reply="silence") if request.number == number else PASS


def lost_reply(write: int, reply: Reply) -> Judge:
    """The write of that number is executed, and its answer is lost or cut off."""
    return lambda request: Fate(reply=reply) if request.write == write else PASS


def broken_watches(fault: WatchReply) -> Judge:
    """The watches break."""
    return lambda request: Fate(watch=fault) if request.is_watch else PASS


def endure(rig: Rig, reference: Reference, judge: Judge, sure: bool) -> Verdict:
    """A run from nothing to whose requests the faults happen, for sure or by chance; then the oracles."""
    happened: list[Request] = []

    def noted(request: Request) -> Fate:
        fate = judge(request)
        if fate is not PASS:
            happened.append(request)
        return fate

    with rig.experiment() as experiment:
        verdict = judge_run(experiment, reference, experiment.run(judge=noted))
    verdict.need(happened or not sure, "rig", "nothing happened to any request")
    verdict.faults = [str(request) for request in happened]
    return verdict
