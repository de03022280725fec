# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Kubernetes kinds that the collection handles.

A fixed table instead of API discovery: the set is closed, and discovery costs a dozen requests per task.
This module is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError


class Kind(t.NamedTuple):
    """Where the API server serves a kind."""

    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]


KINDS: dict[str, Kind] = {
    "Namespace": Kind("v1", "namespaces", namespaced=False),
    "Secret": Kind("v1", "secrets"),
    "ConfigMap": Kind("v1", "configmaps"),
    "Service": Kind("v1", "services"),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "PersistentVolume": Kind("v1", "persistentvolumes", namespaced=False),
    "Pod": Kind("v1", "pods"),
    "Event": Kind("v1", "events"),
    "Deployment": Kind("apps/v1", "deployments"),
    "StatefulSet": Kind("apps/v1", "statefulsets"),
    "Job": Kind("batch/v1", "jobs"),
    "NetworkPolicy": Kind("networking.k8s.io/v1", "networkpolicies"),
    "Ingress": Kind("networking.k8s.io/v1", "ingresses"),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
    "Lease": Kind("coordination.k8s.io/v1", "leases"),
    "StorageClass": Kind("storage.k8s.io/v1", "storageclasses", namespaced=False),
    "Node": Kind("v1", "nodes", namespaced=False),
    "SelfSubjectAccessReview": Kind("authorization.k8s.io/v1", "selfsubjectaccessreviews", namespaced=False),
    "SelfSubjectRulesReview": Kind("authorization.k8s.io/v1", "selfsubjectrulesreviews", namespaced=False),
}


def kind_of(definition: t.Mapping[str, t.Any]) -> Kind:
    """The table's row for an object.

    Raises:
        CollectionError: the kind, or its version, is not one that the collection handles.
    """
    kind = KINDS.get(definition.get("kind", ""))
    if kind is None or kind.api_version != definition.get("apiVersion"):
        raise CollectionError(
            f"Cannot handle an object of kind {definition.get('kind')!r} in version "
            f"{definition.get('apiVersion')!r}: supported are {', '.join(sorted(KINDS))}."
        )
    return kind


def describe(kind: str, namespace: str, name: str) -> str:
    """An object as messages name it: ``Secret ns/name``."""
    qualified = f"{namespace}/{name}" if namespace and name else namespace or name
    return f"{kind} {qualified}".rstrip()
