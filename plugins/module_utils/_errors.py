# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The exception tree of the collection.

Every error names the action, its target, the server's answer and the next step.
This module is private to the collection.
"""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:
    from ansible_collections.eden.reference.plugins.module_utils._kube.refusals import Refusal


class CollectionError(Exception):
    """Base of every error that a module of this collection reports to the user.

    Attributes:
        message: the text for the user, complete in itself.
        data: machine-readable details, returned beside the message. Holds no secret.
    """

    def __init__(self, message: str, **data: t.Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def __str__(self) -> str:
        return self.message

    def as_result(self) -> dict[str, t.Any]:
        """The failed result of a module: ``msg`` and the details."""
        return {"msg": self.message, **self.data}


class InputError(CollectionError):
    """An input breaks a rule; nothing was written."""


class ClusterError(CollectionError):
    """The Kubernetes API refused a request or did not answer it.

    Attributes:
        status: HTTP status, or 0 if no answer came.
        refusal: what refused the request, if the server's message shows it.
    """

    def __init__(
        self, action: str, target: str, status: int, reason: str, message: str = "", advice: str = ""
    ) -> None:
        self.status = status
        self.refusal: Refusal | None = None
        answer = f"{status} {reason}".strip() if status else reason
        words = f": {message}" if message and message != reason else ""
        super().__init__(
            f"Could not {action} {target}: the Kubernetes API answered {answer}{words}."
            if status
            else f"Could not {action} {target}: {answer}{words}.",
            status=status,
        )
        if advice:
            self.message = f"{self.message} {advice}"


class ConflictError(ClusterError):
    """409: the object exists already, or was changed meanwhile."""


class UnreachableError(ClusterError):
    """No answer from the Kubernetes API within the retry budget."""


class LockedError(CollectionError):
    """Another run holds the lock, or has held it since this one looked at the cluster."""


class MissingError(CollectionError):
    """An object of an earlier phase does not exist."""


class RolloutError(CollectionError):
    """A workload cannot become ready; the message names the cause."""
