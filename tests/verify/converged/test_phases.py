# SPDX-License-Identifier: GPL-3.0-or-later
"""An experiment comes up phase by phase; a phase that misses something names it and the phase to run."""

from __future__ import annotations

import re
import typing as t

import audit
import pytest
from testbed import PHASES, Run, Testbed, further

NAME = "staged"
CREDENTIALS = f"Secret {NAME}/{NAME}-credentials"
SEED = f"ConfigMap {NAME}/{NAME}-seed"
TASK_STORE = f"{NAME}/{NAME}-task-store-server"
IDENTITY = f"Secret {NAME}/{NAME}-operator-identity"

# What a phase misses first, and the phase that makes it, after so many phases.
MISSING = {
    0: {
        "seed": (CREDENTIALS, "infra"),
        "task_store": (CREDENTIALS, "infra"),
        "identities": (CREDENTIALS, "infra"),
        "app_tier": (CREDENTIALS, "infra"),
        "verify": (f"StatefulSet {NAME}/{NAME}-postgres", "infra"),
    },
    1: {
        "task_store": (SEED, "seed"),
        "identities": (TASK_STORE, "task_store"),
        "app_tier": (SEED, "seed"),
        "verify": (TASK_STORE, "task_store"),
    },
    2: {
        "identities": (TASK_STORE, "task_store"),
        "app_tier": (TASK_STORE, "task_store"),
        "verify": (TASK_STORE, "task_store"),
    },
    3: {
        "app_tier": (IDENTITY, "identities"),
        "verify": (f"StatefulSet {NAME}/{NAME}-orchestrator", "app_tier"),
    },
    4: {"verify": (f"StatefulSet {NAME}/{NAME}-orchestrator", "app_tier")},
}


class Staged:
    """The experiment, as far as it is brought up."""

    def __init__(self, testbed: Testbed) -> None:
        self.testbed = testbed
        self.count = 0

    def run(self, phase: str) -> Run:
        """Run one phase alone."""
        return self.testbed.site("--tags", phase, *further(NAME))

    def reach(self, count: int) -> None:
        """Run further phases until that many have run."""
        assert self.count <= count, f"{self.count} phases have run already"
        while self.count < count:
            run = self.run(PHASES[self.count])
            assert run.status == 0, run.output
            self.count += 1


@pytest.fixture(scope="module")
def staged(testbed: Testbed) -> t.Iterator[Staged]:
    """A namespace with nothing in it, at first, that its maker has handed over."""
    testbed.kubectl("create", "namespace", NAME)
    testbed.kubectl("label", "namespace", NAME, "app.kubernetes.io/managed-by=eden.reference")
    yield Staged(testbed)
    testbed.kubectl("delete", "namespace", NAME, "--wait=false")


CASES = [(count, phase) for count, missing in MISSING.items() for phase in missing]


@pytest.mark.parametrize(
    ("count", "phase"),
    CASES,
    ids=[f"{phase} after {PHASES[count - 1] if count else 'nothing'}" for count, phase in CASES],
)
def test_a_phase_names_what_is_missing(staged: Staged, count: int, phase: str) -> None:
    missing, maker = MISSING[count][phase]
    staged.reach(count)
    with audit.watched(staged.testbed) as window:
        run = staged.run(phase)
    assert run.status == 2, run.output
    said = re.sub(r"\s+", " ", run.output)
    assert missing in said
    assert re.search(rf"[Rr]un `--tags {maker}` first", said), said
    assert window.writes == []


def test_the_last_phase_finds_all_well(staged: Staged) -> None:
    staged.reach(5)
    run = staged.run("verify")
    assert run.status == 0, run.output
    assert run.count("changed") == 0
