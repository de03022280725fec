# SPDX-License-Identifier: GPL-3.0-or-later
"""Test equipment: kills the run at a boundary between tasks, and counts the boundaries."""

from __future__ import annotations

import os
import signal
import typing as t
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: boundary
short_description: Kills the run at a boundary between tasks
description:
  - Sends SIGKILL to its own process group when the task begins whose number is in E(EDEN_RIG_KILL_AT).
  - Writes the number of the latest boundary to the file E(EDEN_RIG_BOUNDARIES).
type: aggregate
author: tests
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "boundary"

    def __init__(self) -> None:
        super().__init__()
        self._number = 0
        self._kill_at = int(os.environ["EDEN_RIG_KILL_AT"])
        self._file = Path(os.environ["EDEN_RIG_BOUNDARIES"])

    def v2_playbook_on_task_start(self, task: t.Any, is_conditional: bool) -> None:
        self._pass()

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        # The boundary after the last task.
        self._pass()

    def _pass(self) -> None:
        self._number += 1
        self._file.write_text(str(self._number))
        if self._number == self._kill_at:
            os.killpg(0, signal.SIGKILL)
