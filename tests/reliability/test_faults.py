# SPDX-License-Identifier: GPL-3.0-or-later
"""A run whose requests fail, are slow or lost: it succeeds all the same, and leaves what it always leaves."""

from __future__ import annotations

import trials
from oracles import Reference
from trials import Survive

# All of them: tests/reliability/run --all
RATE = 0.05
RATES = 2
MILLISECONDS = 50
LOST_REPLIES = 2
BLACK_HOLES = 1
WATCHES = 2


def test_random_errors_and_latency(survive: Survive, seed: int) -> None:
    errors, latencies = trials.rates(seed, [RATE]), trials.latencies([MILLISECONDS])
    survive((errors, RATES), (latencies, len(latencies)))


def test_lost_requests_and_replies(survive: Survive, reference: Reference) -> None:
    survive((trials.black_holes(reference), BLACK_HOLES), (trials.lost_replies(reference), LOST_REPLIES))


def test_broken_watches(survive: Survive) -> None:
    survive((trials.watches(), WATCHES))
