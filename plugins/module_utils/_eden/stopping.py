# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stops and starts workloads.

This module is private to the collection.
"""

from __future__ import annotations

import time
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object
from ansible_collections.eden.reference.plugins.module_utils._kube.readiness import pods_of
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import KINDS

INTERVAL = 0.5

Workloads = t.Sequence[t.Mapping[str, t.Any]]


def stop(cluster: Cluster, namespace: str, workloads: Workloads, progress: t.Callable[[str], None]) -> None:
    """Scale the workloads to 0 and wait until their pods are gone."""
    for workload in workloads:
        progress(f"stopping {workload['kind']} {workload['name']}")
    stopped = [_scale(cluster, namespace, workload, 0) for workload in workloads]
    while any(pods_of(workload, cluster.list("Pod", namespace)) for workload in stopped):
        time.sleep(INTERVAL)


def start(cluster: Cluster, namespace: str, workloads: Workloads, progress: t.Callable[[str], None]) -> None:
    """Scale the workloads to 1."""
    for workload in workloads:
        progress(f"starting {workload['kind']} {workload['name']}")
        _scale(cluster, namespace, workload, 1)


def _scale(cluster: Cluster, namespace: str, workload: t.Mapping[str, t.Any], replicas: int) -> Object:
    kind = workload["kind"]
    definition = {
        "apiVersion": KINDS[kind].api_version,
        "kind": kind,
        "metadata": {"name": workload["name"], "namespace": namespace},
    }
    return cluster.merge(definition, {"spec": {"replicas": replicas}})
