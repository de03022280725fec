# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The part of Forgejo's HTTP API that the collection uses: the branches of the experiment's repository.

This module is private to the collection.
"""

from __future__ import annotations

import http
import time
import typing as t
from urllib.parse import quote

from ansible_collections.eden.reference.plugins.module_utils._eden.errors import ForgejoError
from ansible_collections.eden.reference.plugins.module_utils._kube.retry import (
    FIRST_DELAY,
    RetryBudget,
    is_retryable,
    retry_after,
)

try:
    import requests
except ImportError:
    # Access to the task store reports a missing package.
    requests = None  # type: ignore[assignment]

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 15.0
HEADS = "refs/heads/"
MAX_QUOTED = 300


class Forgejo:
    """One repository, as its owner.

    A request without an answer, or with one of 408, 429 and 5xx, is retried; ``retry_budget`` seconds are
    shared by all requests of an object of this class.
    """

    def __init__(
        self,
        session: requests.Session,
        base_url: str,
        repository: str,
        password: str,
        retry_budget: float,
        sleep: t.Callable[[float], None] = time.sleep,
    ) -> None:
        self._session = session
        self._api = f"{base_url.rstrip('/')}/api/v1/repos/{repository}"
        self._user = repository.partition("/")[0]
        self._password = password
        self._budget = RetryBudget(retry_budget, sleep)

    def branches(self, prefix: str) -> list[str]:
        """The branches whose name begins so."""
        reply = self._ask(f"list the branches {prefix}*", "GET", f"/git/refs/heads/{quote(prefix)}")
        if reply.status_code == http.HTTPStatus.NOT_FOUND:
            return []
        try:
            document = reply.json()
        except ValueError:
            document = None
        # A single ref of exactly that name comes without an array.
        refs = document if isinstance(document, list) else [document]
        names = [str(ref["ref"]) for ref in refs if isinstance(ref, dict) and "ref" in ref]
        return sorted(name.removeprefix(HEADS) for name in names if name.startswith(f"{HEADS}{prefix}"))

    def delete_branch(self, name: str) -> None:
        """Delete the branch; one that does not exist is no error."""
        self._ask(f"delete the branch {name}", "DELETE", f"/branches/{quote(name)}")

    def _ask(self, action: str, method: str, path: str) -> requests.Response:
        """The answer, if it is a success or 404.

        Raises:
            ForgejoError: any other answer, or none in time.
        """
        delay = FIRST_DELAY
        while True:
            since = self._budget.clock()
            try:
                reply = self._session.request(
                    method,
                    self._api + path,
                    headers={"Accept": "application/json"},
                    auth=(self._user, self._password),
                    timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                failure = ForgejoError(action, path, 0, f"gave no answer ({type(error).__name__})")
                wait, retryable = 0.0, True
            else:
                status = reply.status_code
                if status in (http.HTTPStatus.OK, http.HTTPStatus.NO_CONTENT, http.HTTPStatus.NOT_FOUND):
                    return reply
                words = " ".join(reply.text.replace(self._password, "[password]").split())[:MAX_QUOTED]
                failure = ForgejoError(action, path, status, f"answered {status}: {words}")
                wait, retryable = retry_after(reply.headers), is_retryable(status)
            if not retryable:
                raise failure
            delay = self._budget.pause(failure, since, delay, wait)
