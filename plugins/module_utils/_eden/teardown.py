# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The module ``teardown``: removes an experiment from the cluster; its data stays unless it is purged.

It asks the cluster by itself, without preflight, which refuses an experiment that is half removed.
This module is private to the collection.
"""

from __future__ import annotations

import typing as t
from contextlib import nullcontext
from dataclasses import dataclass, field
from http import HTTPStatus

from ansible_collections.eden.reference.plugins.module_utils._eden.preflight import (
    CONFIGMAPS,
    EXPERIMENT_LABEL,
    FIRST_RETRY_BUDGET,
    check_version,
)
from ansible_collections.eden.reference.plugins.module_utils._eden.stop import stop_in_order
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, InputError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    CLUSTER_ARGUMENTS,
    RETRY_BUDGET,
    Cluster,
    Object,
    connected,
)
from ansible_collections.eden.reference.plugins.module_utils._kube.comparison import foreign_owner
from ansible_collections.eden.reference.plugins.module_utils._kube.lease import Lock, holder_of
from ansible_collections.eden.reference.plugins.module_utils._kube.resources import describe
from ansible_collections.eden.reference.plugins.module_utils._module import Task

ARGUMENTS: dict[str, t.Any] = {
    **CLUSTER_ARGUMENTS,
    "instance": {"type": "str", "required": True},
    "topology": {"type": "dict", "required": True},
    "stages": {"type": "dict", "required": True},
    "purge": {"type": "bool", "default": False},
    "confirm": {"type": "str", "default": ""},
    "keep_credentials": {"type": "bool", "default": False},
    "lock_timeout": {"type": "int", "default": 0},
}

CLAIM = "PersistentVolumeClaim"
# In this order, because a policy restricts the pods of a workload until they have ended.
LISTED = ("Ingress", "StatefulSet", "Deployment", "Job", "PodDisruptionBudget", "NetworkPolicy")
# Those with which a later run of site.yml continues the experiment. They are purged in this order: without
# the first one, no run takes a missing claim for a lost one; the id goes last.
KEPT_CONFIGMAPS = ("seed", "experiment-config", "experiment")
LARGEST_REPLICA = 99


@dataclass
class Inventory:
    """What there is of an experiment.

    Attributes:
        removed: the objects to delete, in order.
        data: those that are deleted only with the data, in order.
        foreign: objects of others under the experiment's names, and whose they are.
    """

    removed: list[Object] = field(default_factory=list)
    data: list[Object] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)


def run(task: Task) -> dict[str, t.Any]:
    """Remove the experiment, or predict that.

    Raises:
        InputError: the data is to be deleted, and the confirmation is not the experiment's name.
        CollectionError: see the exception tree; before the first write if a permission is missing.
    """
    parameters = task.parameters
    namespace, name, purge = parameters["namespace"], parameters["instance"], parameters["purge"]
    fail_if_not_confirmed(parameters)
    with connected(parameters, FIRST_RETRY_BUDGET) as cluster:
        check_version(cluster)
        cluster.retry_budget = RETRY_BUDGET
        lock = Lock(
            cluster,
            namespace,
            f"{name}-lock",
            holder_of(task.process, task.host),
            labels=parameters["topology"]["labels"],
        )
        locked = lock.look(0 if task.check_mode else parameters["lock_timeout"], task.progress)
        if locked and not task.check_mode:
            raise locked
        cluster.lock = lock
        with nullcontext() if task.check_mode else lock.kept():
            found = take_stock(cluster, parameters)
            doomed = [*found.removed, *(found.data if purge else [])]
            for live in doomed:
                # Shows a missing permission before the first write.
                cluster.delete(*_key(live), dry_run=True)
            retained = retained_volumes(cluster, found.data) if purge else []
            stopped = stop_in_order(
                cluster, task, parameters["topology"]["restarts"]["selector"], parameters["stages"]
            )
            if not task.check_mode:
                _delete(cluster, doomed, task)
                lease = _read(cluster, "Lease", namespace, [lock.name]) if purge else []
                if not lease:
                    lock.release()
                _delete(cluster, lease, task)
    answer: dict[str, t.Any] = {
        "changed": bool(doomed or stopped),
        "deleted": [_row(live) for live in doomed],
        "kept": [] if purge else [_row(live) for live in found.data],
        "foreign": found.foreign,
        "retained_volumes": retained,
        "warnings": [locked.message] if locked else [],
    }
    if task.diff and doomed:
        answer["diff"] = [
            {
                "before_header": "objects of the experiment",
                "after_header": "objects of the experiment",
                "before": "".join(f"{describe(*_key(live))}\n" for live in [*found.removed, *found.data]),
                "after": "".join(f"{describe(*_key(live))}\n" for live in ([] if purge else found.data)),
            }
        ]
    return answer


def fail_if_not_confirmed(parameters: t.Mapping[str, t.Any]) -> None:
    """Require the experiment's name once more before data is deleted.

    Raises:
        InputError: it is not given, or another one.
    """
    name, given = parameters["instance"], parameters["confirm"]
    if parameters["purge"] and given != name:
        raise InputError(
            f"eden_purge deletes all data of the experiment {parameters['namespace']}/{name}, which nothing "
            f"brings back, and eden_confirm is {given!r}. Nothing was deleted. To confirm, set eden_confirm "
            f"to {name} for this run: -e eden_purge=true -e eden_confirm={name}. With several "
            "experiments in the inventory, add --limit."
        )


def take_stock(cluster: Cluster, parameters: t.Mapping[str, t.Any]) -> Inventory:
    """What there is of the experiment; what is being deleted already does not count."""
    namespace, topology = parameters["namespace"], parameters["topology"]
    selector, names = topology["restarts"]["selector"], topology["names"]
    removed = [live for kind in LISTED for live in _listed(cluster, kind, namespace, selector)]
    services = [row["name"] for row in topology["objects"] if row["kind"] == "Service"]
    removed += _read(cluster, "Service", namespace, services)
    others = [names[part] for part in CONFIGMAPS if part not in KEPT_CONFIGMAPS]
    removed += _read(cluster, "ConfigMap", namespace, others)
    seed, *kept = [names[part] for part in KEPT_CONFIGMAPS]
    data = _read(cluster, "ConfigMap", namespace, [seed])
    data += _read(cluster, CLAIM, namespace, topology["claims"].values())
    data += _read(cluster, "Secret", namespace, [identity["secret"] for identity in topology["identities"]])
    data += _former_identities(cluster, namespace, topology)
    if not parameters["keep_credentials"]:
        data += _read(cluster, "Secret", namespace, [names["credentials"]])
    data += _read(cluster, "ConfigMap", namespace, kept)
    found = Inventory()
    for group, objects in ((found.removed, removed), (found.data, data)):
        for live in objects:
            owner = _owner(live)
            if owner:
                found.foreign[describe(*_key(live))] = owner
            elif not live["metadata"].get("deletionTimestamp"):
                group.append(live)
    return found


def retained_volumes(cluster: Cluster, data: t.Iterable[Object]) -> list[str]:
    """The volumes that outlive their claims, or may do so."""
    found = []
    for claim in data:
        volume = claim["kind"] == CLAIM and claim.get("spec", {}).get("volumeName")
        if not volume:
            continue
        name = f"{volume} (of {claim['metadata']['name']})"
        try:
            live = cluster.read("PersistentVolume", "", volume)
        except ClusterError as error:
            if error.status != HTTPStatus.FORBIDDEN:
                raise
            found.append(f"{name}: whether the cluster retains it could not be read")
        else:
            if live and live.get("spec", {}).get("persistentVolumeReclaimPolicy") == "Retain":
                found.append(f"{name}: its reclaim policy is Retain")
    return found


def _listed(cluster: Cluster, kind: str, namespace: str, selector: str) -> list[Object]:
    try:
        return cluster.list(kind, namespace, labels=selector)
    except ClusterError as error:
        # A user who is not allowed to list an optional kind cannot have created any.
        if error.status == HTTPStatus.FORBIDDEN and kind in (
            "Ingress",
            "PodDisruptionBudget",
            "NetworkPolicy",
        ):
            return []
        raise


def _read(cluster: Cluster, kind: str, namespace: str, names: t.Iterable[str]) -> list[Object]:
    found = (cluster.read(kind, namespace, name) for name in names)
    return [{**live, "kind": kind} for live in found if live is not None]


def _former_identities(cluster: Cluster, namespace: str, topology: t.Mapping[str, t.Any]) -> list[Object]:
    """The Secrets of replicas that are no longer wanted; a user who may not read them has not made any."""
    highest: dict[str, int] = {}
    for identity in topology["identities"]:
        stem, _hyphen, number = identity["secret"].removesuffix("-identity").rpartition("-")
        if number.isdecimal():
            highest[stem] = max(highest.get(stem, 0), int(number))
    found = []
    for stem, last in highest.items():
        for number in range(last + 1, LARGEST_REPLICA + 1):
            try:
                more = _read(cluster, "Secret", namespace, [f"{stem}-{number}-identity"])
            except ClusterError as error:
                if error.status != HTTPStatus.FORBIDDEN:
                    raise
                more = []
            if not more:
                break
            found += more
    return found


def _owner(live: Object) -> str:
    """Who an object belongs to, if it is not ours; a claim must say that it is, because it is deleted."""
    owner = foreign_owner(live)
    if owner or live["kind"] != CLAIM or EXPERIMENT_LABEL in (live["metadata"].get("labels") or {}):
        return owner
    return f"without the label {EXPERIMENT_LABEL}"


def _delete(cluster: Cluster, doomed: t.Iterable[Object], task: Task) -> None:
    for live in doomed:
        if live["kind"] == CLAIM:
            task.progress(f"deleting {describe(*_key(live))} and its data")
            # A run that finds it terminating would refuse to go on.
            cluster.delete_and_wait(live)
        else:
            cluster.delete(*_key(live))


def _key(live: Object) -> tuple[str, str, str]:
    return live["kind"], live["metadata"]["namespace"], live["metadata"]["name"]


def _row(live: Object) -> dict[str, str]:
    return {"kind": live["kind"], "name": live["metadata"]["name"]}
