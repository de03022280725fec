# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGTERM and SIGINT ask a service to stop between two pieces of work; nothing is interrupted."""

from __future__ import annotations

import os
import select
import signal


class StopSignal:
    """Set by SIGTERM and SIGINT from its making on, for good.

    The signal itself writes to a pipe: an Event that a handler sets could be waited for by a thread that
    the signal does not wake, or be set while the same thread holds its lock.
    """

    def __init__(self) -> None:
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the signal, for so many seconds at most; whether it came."""
        return bool(select.select([self._reader], [], [], timeout)[0])

    def is_set(self) -> bool:
        return self.wait(0)
