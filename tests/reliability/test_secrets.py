# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that are lost or damaged: one new token each, no new worker, no invented password."""

from __future__ import annotations

import secret_damage
from pools import Pool
from trials import Survive

# All of them: tests/reliability/run --all
IDENTITIES = 2


def test_secrets(survive: Survive, pool: Pool) -> None:
    survive(
        (secret_damage.identity_trials(pool), IDENTITIES),
        (secret_damage.main_trials(pool), 1),
        (secret_damage.reinstall_trials(pool), 1),
    )
