# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the long run of tests/reliability, or live-change, with the oldest supported versions."""

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
    words = sys.argv[1:]
    script = "live_change.py" if words[:1] == ["live-change"] else "long_run.py"
    words = words[1:] if script == "live_change.py" else words
    command: list[str | Path] = [programs / "python", CHECKOUT / "tests/reliability" / script, *words]
    with subprocess.Popen(command, env=variables) as process:
        # The run that is told to end prints its table first.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _frame: process.send_signal(number))
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
