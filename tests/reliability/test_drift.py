# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that drift are named by check mode and repaired by the run, and what others own stays."""

from __future__ import annotations

import drift
from pools import Pool
from trials import Survive

# All of them: tests/reliability/run --all
DRIFTS = 3
FOREIGN = 1


def test_drift(survive: Survive, pool: Pool, seed: int) -> None:
    survive((drift.drift_trials(pool, seed), DRIFTS))


def test_foreign_fields(survive: Survive, pool: Pool) -> None:
    survive((drift.foreign_trials(pool), FOREIGN))


def test_features_turned_off(survive: Survive, pool: Pool) -> None:
    survive((drift.feature_trials(pool), 1))


def test_immutable_fields(survive: Survive, pool: Pool) -> None:
    survive((drift.immutable_trials(pool), 1))
