# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The branch of the exception tree for EDEN's services.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError


class CredentialsError(CollectionError):
    """A Secret lacks keys that must not be generated."""


class TaskStoreError(CollectionError):
    """The task store refused a request.

    Attributes:
        status: HTTP status, or 0 if no answer came.
        problem: the problem+json document of the answer, or an empty dict.
    """

    def __init__(
        self,
        action: str,
        path: str,
        status: int,
        reason: str,
        problem: t.Mapping[str, t.Any] | None = None,
        advice: str = "",
    ) -> None:
        self.status = status
        self.problem = dict(problem or {})
        words = ": ".join(str(self.problem[key]) for key in ("title", "detail") if self.problem.get(key))
        answer = f"answered {status} {reason}".rstrip() if status else reason
        message = f"Could not {action}: the task store, asked for {path}, {answer}"
        message += f": {words}." if words else "."
        super().__init__(f"{message} {advice}" if advice else message, status=status, problem=self.problem)


class ForgejoError(CollectionError):
    """Forgejo refused a request.

    Attributes:
        status: HTTP status, or 0 if no answer came.
    """

    def __init__(self, action: str, path: str, status: int, reason: str) -> None:
        self.status = status
        advice = (
            " Its user eden does not have the password in the credentials Secret: run `--tags infra`."
            if status in (401, 403)
            else " Read the log of its pod."
        )
        super().__init__(f"Could not {action}: Forgejo, asked for {path}, {reason}.{advice}", status=status)


class IdentityError(CollectionError):
    """The registry cannot be reconciled with the desired identities without a decision of the user."""


class StopError(CollectionError):
    """Pods of a stopped workload did not end."""


class TrialError(CollectionError):
    """A changed pod does not run, or must not; nothing that runs was touched."""
