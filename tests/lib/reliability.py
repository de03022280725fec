# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the long run of tests/reliability with the oldest supported versions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from environments import CHECKOUT, OLDEST, clean, ensure

ROOMS = ("leak", "lib", "reliability", "rig", "standin/src", "standin/tests", "verify")


def main() -> int:
    programs = ensure(OLDEST) / "bin"
    variables = clean([programs])
    variables["PYTHONPATH"] = os.pathsep.join(str(CHECKOUT / "tests" / room) for room in ROOMS)
    command: list[str | Path] = [
        programs / "python",
        CHECKOUT / "tests/reliability/long_run.py",
        *sys.argv[1:],
    ]
    with subprocess.Popen(command, env=variables) as process:
        # The run that is told to end prints its table first.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: process.send_signal(number))
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
