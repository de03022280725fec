# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster whose workloads run, as far as stopping and applying them ask for it."""

from __future__ import annotations

import copy
import re
import typing as t

from ansible_collections.eden.reference.plugins.module_utils._eden import stopping
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object

NAMESPACE = "lab"
APPLIED = "eden.reference/applied"
SELECTOR = "app.kubernetes.io/managed-by=eden.reference,app.kubernetes.io/instance=eden"
ENDING = "2026-11-23T16:20:00Z"


def labels(component: str, instance: str = "eden") -> Object:
    return {
        "app.kubernetes.io/managed-by": "eden.reference",
        "app.kubernetes.io/instance": instance,
        stopping.COMPONENT_LABEL: component,
    }


def workload(
    component: str, name: str = "", replicas: int = 1, stopped: str = "", level: str = "info", **more: t.Any
) -> Object:
    """A definition, and what the server returns of it; ``stopped`` is the value of the annotation."""
    name = name or f"eden-{component}"
    kind = "Deployment" if component == "task-store-server" else "StatefulSet"
    mine = labels(component, more.get("instance", "eden"))
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": mine,
            "annotations": {stopping.STOPPED_ANNOTATION: stopped} if stopped else {},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": mine},
            "template": {
                "metadata": {"labels": mine},
                "spec": {
                    "terminationGracePeriodSeconds": more.get("grace", 60),
                    "containers": [{"name": component, "image": "eden:1", "args": [f"--log-level={level}"]}],
                },
            },
        },
    }


def pod(component: str, name: str = "", **more: t.Any) -> Object:
    """A pod of a component; ``ending``, ``phase``, ``grace`` and further ``labels``."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name or f"eden-{component}-0",
            "namespace": NAMESPACE,
            "labels": {**labels(component), **more.get("labels", {})},
            **({"deletionTimestamp": ENDING} if more.get("ending") else {}),
        },
        "spec": {"nodeName": "node-1", "terminationGracePeriodSeconds": more.get("grace", 60)},
        "status": {"phase": more.get("phase", "Running")},
    }


def selects(selector: str, found: t.Mapping[str, str]) -> bool:
    """Whether a label selector, in the forms that are used here, selects these labels."""
    for term in re.findall(r"[^,()]+(?:\([^)]*\))?", selector):
        if many := re.fullmatch(r"(\S+) in \((.*)\)", term):
            holds = found.get(many[1]) in many[2].split(",")
        elif term.startswith("!"):
            holds = term[1:] not in found
        else:
            key, _equals, value = term.partition("=")
            holds = found.get(key) == value
        if not holds:
            return False
    return True


class LivingCluster:
    """Workloads and pods; the pods of a stopped workload end when their task does.

    Attributes:
        requests: each write, in a few words, and each wait for pods with their names.
        reads: how many requests only read.
        work: how many times the pods of a component are seen before they have ended.
        refused: the writes that are refused.
    """

    def __init__(self, *things: Object, work: t.Mapping[str, int] | None = None, refused: str = "") -> None:
        self.things = {(thing["kind"], thing["metadata"]["name"]): copy.deepcopy(thing) for thing in things}
        self.work = dict(work or {})
        self.refused = refused
        self.requests: list[str] = []
        self.reads = 0

    def read(self, kind: str, namespace: str, name: str) -> Object | None:
        assert namespace == NAMESPACE
        self.reads += 1
        return copy.deepcopy(self.things.get((kind, name)))

    def list(self, kind: str, namespace: str = "", labels: str = "", fields: str = "") -> list[Object]:
        assert namespace == NAMESPACE
        assert not fields
        self.reads += 1
        found = [
            copy.deepcopy(thing)
            for (other, _name), thing in self.things.items()
            if other == kind and selects(labels, thing["metadata"]["labels"])
        ]
        if kind == "Pod":
            self._let_work_pass(found)
        return found

    def _let_work_pass(self, seen: t.Sequence[Object]) -> None:
        for thing in seen:
            name = thing["metadata"]["name"]
            component = thing["metadata"]["labels"][stopping.COMPONENT_LABEL]
            self.requests.append(f"sees {name}")
            owner = next(
                (live for (_kind, other), live in self.things.items() if name.startswith(f"{other}-")), None
            )
            left = self.work.get(component, 1) - 1
            if owner is None or not owner["spec"]["replicas"]:
                self.work[component] = left
                if left <= 0:
                    del self.things["Pod", name]

    def merge(self, definition: Object, patch: Object, dry_run: bool = False) -> Object:
        assert not dry_run
        key = definition["kind"], definition["metadata"]["name"]
        replicas = patch["spec"]["replicas"]
        note = patch["metadata"]["annotations"][stopping.STOPPED_ANNOTATION]
        self._write(f"scale {key[1]} {replicas} {note}", key[1])
        live = self.things[key]
        live["spec"]["replicas"] = replicas
        if note is None:
            live["metadata"]["annotations"].pop(stopping.STOPPED_ANNOTATION, None)
        else:
            live["metadata"]["annotations"][stopping.STOPPED_ANNOTATION] = note
        return copy.deepcopy(live)

    def apply(self, definition: Object, dry_run: bool = False) -> Object:
        key = definition["kind"], definition["metadata"]["name"]
        live = copy.deepcopy(self.things.get(key, definition))
        made = copy.deepcopy(definition)
        made["metadata"]["annotations"] = {
            **live["metadata"].get("annotations", {}),
            **made["metadata"].get("annotations", {}),
        }
        if dry_run:
            self.reads += 1
            return made
        self._write(f"apply {key[1]}", key[1])
        self.things[key] = made
        return copy.deepcopy(made)

    def delete(self, kind: str, namespace: str, name: str) -> bool:
        self._write(f"delete {name}", name)
        return self.things.pop((kind, name), None) is not None

    def _write(self, words: str, name: str) -> None:
        if self.refused and words.startswith(self.refused):
            raise ClusterError("patch", name, 403, "Forbidden")
        self.requests.append(words)

    @property
    def writes(self) -> list[str]:
        """What was written."""
        return [words for words in self.requests if not words.startswith("sees")]

    def replicas(self) -> dict[str, int]:
        """The replicas of each workload."""
        return {
            name: thing["spec"]["replicas"] for (kind, name), thing in self.things.items() if kind != "Pod"
        }
