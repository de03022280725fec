# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Secret with a worker's identity.

This module is private to the collection.
"""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, field

from ansible_collections.eden.reference.plugins.module_utils._eden import ids
from ansible_collections.eden.reference.plugins.module_utils._eden.access import DesiredWorker
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import is_token
from ansible_collections.eden.reference.plugins.module_utils._errors import MissingError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import is_pod_ready
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._kube.secrets import decoded, encoded

NAME_ANNOTATION = "eden.reference/worker-name"
# Of a pod: the checksum of the identity that it was started with.
CHECKSUM_ANNOTATION = "eden.reference/identity"


@dataclass(frozen=True)
class IdentitySecret:
    """The content of an identity Secret; ``version`` is empty if there is no such Secret."""

    version: str = ""
    worker_id: str = ""
    token: str = field(default="", repr=False)

    @property
    def checksum(self) -> str:
        """The checksum that the worker's pods have; empty if the identity is incomplete."""
        return checksum(self.worker_id, self.token) if self.worker_id and self.token else ""


def read_secret(cluster: Cluster, namespace: str, name: str) -> IdentitySecret:
    """The content of the identity Secret; an invalid id or token counts as missing."""
    found = cluster.read("Secret", namespace, name)
    if found is None:
        return IdentitySecret()
    values = decoded(found)
    worker_id, token = values.get("worker_id", "").strip(), values.get("token", "").strip()
    return IdentitySecret(
        version=found["metadata"]["resourceVersion"],
        worker_id=worker_id if ids.WORKER_ID.match(worker_id) else "",
        token=token if is_token(token) else "",
    )


def identity_of(cluster: Cluster, namespace: str, name: str, purpose: str) -> tuple[str, str]:
    """The worker id and the token in an identity Secret, for a request that only this worker may send.

    Raises:
        MissingError: it has none; ``purpose`` says what they are for.
    """
    secret = read_secret(cluster, namespace, name)
    if not secret.worker_id or not secret.token:
        raise MissingError(
            f"{describe('Secret', namespace, name)} has no identity, as which {purpose}: run "
            "`--tags identities` first."
        )
    return secret.worker_id, secret.token


def secret_definition(
    namespace: str, worker: DesiredWorker, values: t.Mapping[str, str], version: str
) -> Object:
    """The identity Secret; with ``version`` it is written only if the Secret is still at that version."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": worker.secret,
            "namespace": namespace,
            "labels": dict(worker.labels),
            "annotations": {NAME_ANNOTATION: worker.name},
            **({"resourceVersion": version} if version else {}),
        },
        "type": "Opaque",
        "data": encoded(values),
    }


def checksum(worker_id: str, token: str) -> str:
    """Hex SHA-256 of the identity, for the annotation that restarts its pods; the token has 256 bits."""
    return hashlib.sha256(f"{worker_id}:{token}".encode()).hexdigest()


def used_by_ready_pods(cluster: Cluster, namespace: str, instance: str) -> set[tuple[str, str]]:
    """The Secrets, with the checksum of their content, whose token a ready pod uses.

    A service becomes ready once the task store has accepted its token, and a host ends when that is refused.
    So a pod is as good a proof as a request, and costs the task store nothing.
    """
    return {
        (volume["secret"]["secretName"], annotations[CHECKSUM_ANNOTATION])
        for pod in cluster.list("Pod", namespace, labels=f"app.kubernetes.io/instance={instance}")
        if CHECKSUM_ANNOTATION in (annotations := pod["metadata"].get("annotations") or {})
        and is_pod_ready(pod)
        and not pod["metadata"].get("deletionTimestamp")
        for volume in pod["spec"].get("volumes") or ()
        if "secret" in volume
    }
