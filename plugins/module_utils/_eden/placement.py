# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks whether the pods of hosts find a node: one with their devices, and one for all that share a volume.

What is free on a node changes; this finds what cannot be placed on any node even if it were empty.
This module is private to the collection.
"""

from __future__ import annotations

import contextlib
import typing as t
from decimal import Decimal

from ansible_collections.eden.reference.plugins.module_utils._eden.topology import BESIDE
from ansible_collections.eden.reference.plugins.module_utils._errors import CollectionError, InputError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object

# A missing one is reported with the connection.
with contextlib.suppress(ImportError):
    from kubernetes.utils.quantity import parse_quantity

Mapping = t.Mapping[str, t.Any]
Amounts = dict[str, Decimal]

ACCESS_MODE = "eden_artifacts_access_mode"
APART = (
    f"With {ACCESS_MODE}: ReadWriteMany, and a storage class that provides it, they need not run on the same "
    "node"
)
# Taints that keep a pod from a node.
REPELLING = ("NoSchedule", "NoExecute")


class Pod(t.NamedTuple):
    """The pods of a component.

    Attributes:
        host: its key in eden_workers, empty for other components.
        amounts: what one pod requests.
    """

    host: str
    replicas: int
    amounts: Amounts
    selector: t.Mapping[str, str]
    tolerations: t.Sequence[Mapping]
    shares: bool

    @property
    def devices(self) -> Amounts:
        """What it requests that not every node has, such as GPUs."""
        return {name: amount for name, amount in self.amounts.items() if "/" in name and amount}


def needs_nodes(topology: Mapping, inputs: Mapping) -> bool:
    """Whether it depends on the nodes if the pods can be placed."""
    pods = _pods(topology, inputs)
    return any(pod.devices for pod in pods) or _is_together(pods, inputs)


def problems(topology: Mapping, inputs: Mapping, nodes: t.Sequence[Object] | None) -> list[CollectionError]:
    """The problems of the placement; ``nodes`` is None if they are unknown."""
    pods = _pods(topology, inputs)
    together = _is_together(pods, inputs)
    found = _contradictions(pods) if together else []
    if found or nodes is None:
        return found
    for pod in pods:
        if not (together and pod.shares):
            found += _without_devices(pod, nodes)
    return found or (_not_together(pods, inputs, topology, nodes) if together else [])


def _pods(topology: Mapping, inputs: Mapping) -> list[Pod]:
    found = []
    for component, me in topology["components"].items():
        worker = me.get("worker")
        if not worker or not me["instances"]:
            continue
        host = component.replace("-", "_") if me["mode"] else ""
        usual = inputs["eden_resources"] or {"requests": me["requests"]}
        if me["placement"] == BESIDE:
            containers = [usual, worker["resources"] or {"requests": me["requests"]}]
        else:
            containers = [worker["resources"] or usual]
        selector = {**inputs["eden_node_selector"], **worker["node_selector"]}
        tolerations = [*inputs["eden_tolerations"], *worker["tolerations"]]
        shares = me["shares_artifacts"]
        found.append(Pod(host, me["replicas"], _sum(containers), selector, tolerations, shares))
    return found


def _is_together(pods: t.Iterable[Pod], inputs: Mapping) -> bool:
    return inputs[ACCESS_MODE] == "ReadWriteOnce" and any(pod.shares for pod in pods)


def _contradictions(pods: t.Iterable[Pod]) -> list[CollectionError]:
    """Node selectors that no node can satisfy together."""
    seen: dict[str, tuple[str, str]] = {}
    for pod in pods:
        for label, value in pod.selector.items() if pod.shares and pod.host else ():
            host, other = seen.setdefault(label, (pod.host, value))
            if other != value:
                return [
                    InputError(
                        f"eden_workers.{host} and eden_workers.{pod.host} select different nodes "
                        f"({label}: {other} and {value}), but one node at a time can mount the claim "
                        f"artifacts, which their pods share. Select the same node for both. {APART}."
                    )
                ]
    return []


def _without_devices(pod: Pod, nodes: t.Iterable[Object]) -> list[CollectionError]:
    """Devices that no node of a host has."""
    suited = [node for node in nodes if _suits(node, pod.selector, pod.tolerations)]
    if not pod.devices or any(_lacks(node, pod.devices) == "" for node in suited):
        return []
    return [
        InputError(
            f"No node has what eden_workers.{pod.host}.resources requests, {_listed(pod.devices)}"
            f"{_where(pod.selector)}. Is the device plugin installed, and does the host have tolerations for "
            "the nodes' taints? A pool that can grow from no node needs one first."
        )
    ]


def _not_together(
    pods: t.Sequence[Pod], inputs: Mapping, topology: Mapping, nodes: t.Iterable[Object]
) -> list[CollectionError]:
    """Pods that share a volume and do not fit on one node, or may be bound to one without their devices."""
    sharing = [pod for pod in pods if pod.shares]
    selector = {**inputs["eden_node_selector"], **topology["shared_node_selector"]}
    total: Amounts = {}
    for pod in sharing:
        for name, amount in pod.amounts.items():
            total[name] = total.get(name, Decimal(0)) + pod.replicas * amount
    # The task store and the web UI have no tolerations of their own.
    suited = [node for node in nodes if _suits(node, selector, inputs["eden_tolerations"])]
    lacking = {node["metadata"]["name"]: _lacks(node, total) for node in suited}
    if "" not in lacking.values():
        why = "; ".join(f"{node} lacks {what}" for node, what in list(lacking.items())[:3])
        reason = f": {why}" if why else ", or none without taints that eden_tolerations does not tolerate"
        return [
            InputError(
                "The pods that share the claim artifacts (hosts that run commands, task store and web UI) "
                f"must run on one node, and need {_listed(total)} there in all{_where(selector)}. No node "
                f"has that{reason}. Lower the requests or the replicas in eden_workers. {APART}."
            )
        ]
    devices = {name: amount for name, amount in total.items() if "/" in name and amount}
    without = [node["metadata"]["name"] for node in suited if _lacks(node, devices)]
    if without:
        return [
            InputError(
                f"The hosts need {_listed(devices)}, and the pods that share the claim artifacts, of which "
                "the task store starts first, may come to a node that does not have it "
                f"({', '.join(without[:3])}). Name a label of the nodes that have it in the node_selector of "
                f"the hosts in eden_workers. {APART}."
            )
        ]
    return []


def _suits(node: Object, selector: t.Mapping[str, str], tolerations: t.Iterable[Mapping]) -> bool:
    labels, spec = node["metadata"].get("labels") or {}, node.get("spec") or {}
    taints = [taint for taint in spec.get("taints") or [] if taint.get("effect") in REPELLING]
    return (
        not spec.get("unschedulable")
        and selector.items() <= labels.items()
        and all(any(_tolerates(entry, taint) for entry in tolerations) for taint in taints)
    )


def _tolerates(toleration: Mapping, taint: Mapping) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or str(toleration.get("value", "")) == taint.get(
        "value", ""
    )


def _lacks(node: Object, amounts: Amounts) -> str:
    """The first amount that the whole node does not have; empty for none."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    return next(
        (name for name, amount in amounts.items() if parse_quantity(allocatable.get(name, "0")) < amount), ""
    )


def _sum(containers: t.Iterable[Mapping]) -> Amounts:
    """What the containers of a pod request: by default their limits."""
    found: Amounts = {}
    for resources in containers:
        requested = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for name, amount in requested.items():
            found[name] = found.get(name, Decimal(0)) + parse_quantity(str(amount))
    return found


def _listed(amounts: Amounts) -> str:
    return ", ".join(f"{name}: {_shown(name, amount)}" for name, amount in sorted(amounts.items()))


def _shown(name: str, amount: Decimal) -> str:
    if name in ("memory", "ephemeral-storage"):
        return f"{amount / 2**20:.0f}Mi"
    return f"{amount.normalize():f}"


def _where(selector: t.Mapping[str, str]) -> str:
    words = ", ".join(f"{label}: {value}" for label, value in selector.items())
    return f", on a node with {words}" if words else ""
