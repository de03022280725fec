# SPDX-License-Identifier: GPL-3.0-or-later
"""A change that restarts the task store: its order, and what a kill in it leaves."""

from __future__ import annotations

import restarts
from pools import Pool
from restarts import CLIENTS, HOSTS
from trials import Survive

# Each costs three runs. All of them: tests/reliability/run --all
KILLS = 2
APPLIED = [f"apply {name}" for name in (*CLIENTS, "web-ui")]


def test_hosts_and_then_the_orchestrator_stop_before_the_task_store(pool: Pool) -> None:
    verdict, outcome, left = restarts.undisturbed(pool)
    assert verdict.violations == []
    assert left == []
    found = restarts.steps(outcome)
    assert sorted(found[:3]) == sorted(f"scale {name}" for name in HOSTS)
    assert found[3:5] == ["scale orchestrator", "apply task-store-server"]
    assert sorted(found[5:10]) == sorted(APPLIED)
    # The annotations go.
    assert sorted(found[10:]) == sorted(f"scale {name}" for name in CLIENTS)


def test_a_phase_alone_starts_what_it_has_stopped(pool: Pool) -> None:
    verdict, outcome, left = restarts.undisturbed(pool, "--tags", "task_store")
    assert verdict.violations == []
    assert left == []
    found = restarts.steps(outcome)
    assert found[4] == "apply task-store-server"
    assert sorted(found[5:]) == sorted(f"scale {name}" for name in CLIENTS)


def test_a_killed_change_is_completed_by_the_next_run(survive: Survive, pool: Pool) -> None:
    survive((restarts.trials(pool), KILLS))
