# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rules of Kubernetes about claims and storage classes.

This module is private to the collection.
"""

from __future__ import annotations

import typing as t

from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object

DEFAULT_CLASS_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
# The API server honours the beta annotation as well (pkg/volume/util/storageclass.go).
DEFAULT_CLASS_ANNOTATIONS = (DEFAULT_CLASS_ANNOTATION, "storageclass.beta.kubernetes.io/is-default-class")


def is_default_class(storage_class: Object) -> bool:
    """Whether claims without a class get this one."""
    annotations = storage_class["metadata"].get("annotations") or {}
    return any(annotations.get(name) == "true" for name in DEFAULT_CLASS_ANNOTATIONS)


def has_default_class(storage_classes: t.Iterable[Object]) -> bool:
    """Whether a claim without a class gets one."""
    return any(is_default_class(entry) for entry in storage_classes)


def is_bound(claim: object) -> bool:
    """Whether the claim exists and has a volume, so that it may hold data."""
    return isinstance(claim, dict) and (claim.get("status") or {}).get("phase") == "Bound"
