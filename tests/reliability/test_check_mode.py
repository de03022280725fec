# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode tells the truth: what it says is what the run does, and it writes nothing."""

from __future__ import annotations

import check_mode
from pools import Pool
from thin_rig import Experiment
from trials import Survive

# Each costs four runs. All of them: tests/reliability/run --all
STAGES = 2


def test_check_mode_foretells_the_run(survive: Survive, pool: Pool) -> None:
    survive((check_mode.trials(pool), STAGES))


def test_check_mode_writes_nothing(experiment: Experiment) -> None:
    outcome = experiment.run("--check", "--diff")
    assert outcome.status == 0, outcome.output
    assert outcome.writes == []
    assert outcome.recap["changed"] > 0
