# SPDX-License-Identifier: GPL-3.0-or-later
"""Test equipment: writes down what each module of the collection answered."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: outcomes
short_description: Writes down what each module of the collection answered
description:
  - Appends a line of JSON for each result to the file E(EDEN_RIG_OUTCOMES).
type: aggregate
author: tests
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "outcomes"

    def __init__(self) -> None:
        super().__init__()
        self._file = Path(os.environ["EDEN_RIG_OUTCOMES"])

    def v2_runner_on_ok(self, result: t.Any) -> None:
        self._note(result, failed=False)

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        self._note(result, failed=True)

    def _note(self, result: t.Any, failed: bool) -> None:
        answer = {**result._result, "failed": failed}
        row = {"action": result._task.resolved_action or result._task.action, "result": answer}
        with self._file.open("a") as lines:
            lines.write(json.dumps(row, default=str) + "\n")
