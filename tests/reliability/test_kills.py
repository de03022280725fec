# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed, and run again: nothing is lost, doubled, changed or left behind."""

from __future__ import annotations

import trials
from kills import CUTS
from oracles import Reference
from trials import Survive

# Each costs three runs. All of them: tests/reliability/run --all
BOUNDARIES = 2
WRITES_OF_EACH_CUT = 1
RANDOM_TIMES = 1
PAIRS = 1
CUT_NAMES = [f" {cut}" for cut in CUTS]


def test_at_task_boundaries(survive: Survive, reference: Reference) -> None:
    survive((trials.at_boundaries(reference), BOUNDARIES))


def test_at_writes(survive: Survive, reference: Reference) -> None:
    every = trials.at_writes(reference)
    survive(*(([trial for trial in every if cut in trial.name], WRITES_OF_EACH_CUT) for cut in CUT_NAMES))


def test_at_random_times_and_twice(survive: Survive, reference: Reference, seed: int) -> None:
    times, pairs = trials.at_times(reference, RANDOM_TIMES, seed), trials.in_pairs(reference, PAIRS, seed)
    survive((times, RANDOM_TIMES), (pairs, PAIRS))
