# SPDX-License-Identifier: GPL-3.0-or-later
"""Gives the tests of reliability the rig, and the seed of what they sample."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "standin" / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

import trials
from fixtures import experiment, rig
from kills import undisturbed
from oracles import Reference
from pools import Pool
from thin_rig import Rig
from trials import Survive, Trial

__all__ = ["experiment", "rig"]

SEED = pytest.StashKey[int]()
SAMPLES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Take the seed; with EDEN_RELIABILITY_SEED a run tries what the one with that seed tried."""
    config.stash[SEED] = int(os.environ.get("EDEN_RELIABILITY_SEED") or seed_of_the_commit())
    config.stash[SAMPLES] = []


def seed_of_the_commit() -> int:
    """Another seed for each commit, the same one each time that its tests run."""
    root = Path(__file__).parents[2]
    command = ["git", "-c", f"safe.directory={root}", "rev-parse", "HEAD"]
    return (
        int(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout, 16) % 10**6
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was tried, so that it can be tried again."""
    for line in config.stash[SAMPLES]:
        terminalreporter.write_line(line)
    if config.stash[SAMPLES]:
        terminalreporter.write_line(f"seed of the samples: EDEN_RELIABILITY_SEED={config.stash[SEED]}")


@pytest.fixture(scope="session")
def reference(rig: Rig) -> Reference:
    """What a run comes to that nothing happens to."""
    return undisturbed(rig)


@pytest.fixture(scope="session")
def pool(rig: Rig) -> Iterator[Pool]:
    """Experiments that are up."""
    with Pool(rig) as running:
        yield running


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """Of all that is random."""
    return pytestconfig.stash[SEED]


@pytest.fixture
def survive(rig: Rig, reference: Reference, seed: int, pytestconfig: pytest.Config) -> Survive:
    """Try so many of each list of trials, and require that no oracle finds anything."""

    def survive(*samples: tuple[list[Trial], int]) -> None:
        chosen = []
        for found, count in samples:
            some = trials.sample(found, count, seed)
            names = "; ".join(trial.name for trial in some)
            pytestconfig.stash[SAMPLES].append(f"{some[0].group}: {len(some)} of {len(found)}: {names}")
            chosen += some
        assert trials.perform(rig, reference, chosen) == {}

    return survive
