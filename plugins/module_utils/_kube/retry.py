# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When a request is sent again that failed for a reason which may pass.

This module is private to the collection.
"""

from __future__ import annotations

import random
import time
import typing as t
from http import HTTPStatus

FIRST_DELAY = 0.1
MAX_DELAY = 5.0
MAX_RETRY_AFTER = 10.0


def is_retryable(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500


def retry_after(headers: t.Mapping[str, str] | None) -> float:
    """The seconds that a server asks to wait, within limits."""
    try:
        return min(MAX_RETRY_AFTER, max(0.0, float((headers or {}).get("Retry-After", 0))))
    except (TypeError, ValueError):
        return 0.0


class RetryBudget:
    """The seconds that may be spent on failed attempts and the pauses after them."""

    def __init__(
        self,
        seconds: float,
        sleep: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self._left = seconds
        self._sleep = sleep

    def pause(
        self, failure: Exception, since: float, delay: float = FIRST_DELAY, at_least: float = 0.0
    ) -> float:
        """Sleep after an attempt that began at ``since`` and failed; return the delay of the next pause.

        Raises:
            Exception: ``failure``, if the budget is spent.
        """
        delay = min(MAX_DELAY, random.uniform(FIRST_DELAY, delay * 3))
        seconds = max(delay, at_least)
        self._left -= self.clock() - since + seconds
        if self._left < 0:
            raise failure
        self._sleep(seconds)
        return delay
