# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed, and run again: nothing is lost, doubled, changed or left behind."""

from __future__ import annotations

import collections
from collections.abc import Callable

import trials
from oracles import Reference
from trials import Trial

# Each costs three runs. All of them: tests/reliability/run --all
BOUNDARIES = 3
WRITES_OF_EACH_CUT = 2
RANDOM_TIMES = 2

Survive = Callable[[list[Trial], int], None]


def test_at_task_boundaries(survive: Survive, reference: Reference) -> None:
    survive(trials.at_boundaries(reference), BOUNDARIES)


def test_at_writes(survive: Survive, reference: Reference) -> None:
    by_cut = collections.defaultdict(list)
    for trial in trials.at_writes(reference):
        by_cut[trial.name.rpartition(" ")[2]].append(trial)
    for found in by_cut.values():
        survive(found, WRITES_OF_EACH_CUT)


def test_at_random_times(survive: Survive, reference: Reference, seed: int) -> None:
    survive(trials.at_times(reference, RANDOM_TIMES, seed), RANDOM_TIMES)


def test_twice(survive: Survive, reference: Reference, seed: int) -> None:
    survive(trials.in_pairs(reference, 1, seed), 1)
