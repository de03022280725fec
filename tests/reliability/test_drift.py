# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects that drift are named by check mode and repaired by the run, and what others own stays."""

from __future__ import annotations

import drift
from pools import Pool
from trials import Survive

# All of them: tests/reliability/run --all
DRIFTS = 2


def test_drift(survive: Survive, pool: Pool, seed: int) -> None:
    # Those that last longest first, since two are under way at a time.
    survive(
        (drift.feature_trials(pool), 1),
        (drift.drift_trials(pool, seed), DRIFTS),
        (drift.foreign_trials(pool), 1),
        ([*drift.immutable_trials(pool), *drift.claim_trials(pool)], 1),
    )
