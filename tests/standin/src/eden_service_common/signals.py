# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM and SIGINT ask a service to stop between two pieces of work; nothing is interrupted."""

from __future__ import annotations

import signal
import threading


def stop_on_signal() -> threading.Event:
    """An event that SIGTERM and SIGINT set from now on."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop
