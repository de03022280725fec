# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose requests fail, are slow or lost: it succeeds all the same, and leaves what it always leaves."""

from __future__ import annotations

from collections.abc import Callable

import trials
from oracles import Reference
from trials import Trial

# All of them: tests/reliability/run --all
RATE = 0.05
MILLISECONDS = 50
LOST_REPLIES = 3
BLACK_HOLES = 2

Survive = Callable[[list[Trial], int], None]


def test_random_errors(survive: Survive, seed: int) -> None:
    found = trials.rates(seed, [RATE])
    survive(found, len(found))


def test_latency(survive: Survive) -> None:
    survive(trials.latencies([MILLISECONDS]), 1)


def test_no_answer_to_a_request(survive: Survive, reference: Reference) -> None:
    survive(trials.black_holes(reference), BLACK_HOLES)


def test_lost_replies(survive: Survive, reference: Reference) -> None:
    survive(trials.lost_replies(reference), LOST_REPLIES)


def test_broken_watches(survive: Survive) -> None:
    found = trials.watches()
    survive(found, len(found))
