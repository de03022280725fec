# SPDX-License-Identifier: GPL-3.0-or-later
"""Experiments that are up with everything that the collection can make, lent to one trial after the other."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import time
import typing as t
from contextlib import ExitStack

import kube
from kube import Kube, Object
from oracles import State, Verdict, state, tail
from thin_rig import PATIENCE, Experiment, Rig

INGRESS = {"host": "eden.example.com", "annotations": {"example.com/class": "internal"}}
# Counts what became of a Deployment, which is more after a repair.
REVISION = "deployment.kubernetes.io/revision"


class Pool:
    """Experiments of a rig, while entered."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._idle: list[Experiment] = []
        self._all = ExitStack()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_error: object) -> None:
        self._all.close()

    @contextlib.contextmanager
    def borrowed(self, verdict: Verdict) -> t.Iterator[Experiment]:
        """An experiment that is up; it is given back unless the verdict on it is bad."""
        # Both operations on the list are atomic.
        try:
            experiment = self._idle.pop()
        except IndexError:
            experiment = self._made()
        yield experiment
        if not verdict.violations:
            self._idle.append(experiment)

    def _made(self) -> Experiment:
        experiment = self._all.enter_context(self._rig.experiment())
        experiment.variables["eden_ingress"] = INGRESS
        outcome = experiment.run()
        assert outcome.status == 0, tail(outcome)
        return experiment


def path_of(experiment: Experiment, kind: str, name: str) -> str:
    """Where the API server has the object."""
    return kube.path_of(kind, experiment.namespace, name)


def create_namespace(experiment: Experiment) -> None:
    """An empty namespace that its maker has handed over."""
    metadata = {"name": experiment.namespace, "labels": {"app.kubernetes.io/managed-by": "eden.reference"}}
    experiment.kube.ask("POST", "/api/v1/namespaces", {"metadata": metadata})


def remove(experiment: Experiment, kind: str, name: str) -> None:
    """Delete the object and, in the background, what it owns."""
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
    experiment.kube.ask("DELETE", path_of(experiment, kind, name), options)


def await_none(left: t.Callable[[], list[str]], complaint: str) -> None:
    """Return when nothing is left of what has these names."""
    deadline = time.monotonic() + PATIENCE
    while names := left():
        assert time.monotonic() < deadline, f"{names} {complaint}"
        time.sleep(0.05)


def await_gone(client: Kube, path: str) -> None:
    """Return when there is no object at the path."""
    await_none(lambda: [path] if client.find(path) else [], "stays")


def settled(experiment: Experiment) -> State:
    """What there is of the experiment, comparable to what there was of it before, once its pods stay."""
    await_rollouts(experiment)
    found = state(experiment)
    for thing in found.objects.values():
        thing["metadata"]["annotations"].pop(REVISION, None)
    # Jobs end of themselves.
    objects = {name: thing for name, thing in found.objects.items() if not name.startswith("Job ")}
    pods = {
        component: count for component, count in found.pods.items() if component not in ("provision", "seed")
    }
    return dataclasses.replace(found, objects=objects, pods=pods)


def await_rollouts(experiment: Experiment) -> None:
    """Return when every pod is one of its workload's latest definition, and ready."""
    await_none(
        lambda: [
            thing["metadata"]["name"]
            for kind in ("Deployment", "StatefulSet")
            for thing in experiment.kube.objects(kind, experiment.namespace)
            if not is_rolled_out(thing)
        ],
        "are not rolled out",
    )


def is_rolled_out(workload: Object) -> bool:
    """Whether every pod of a workload is one of its latest definition, and ready."""
    wanted, status = workload["spec"]["replicas"], workload.get("status") or {}
    return status.get("observedGeneration") == workload["metadata"]["generation"] and all(
        status.get(count, 0) == wanted for count in ("replicas", "updatedReplicas", "readyReplicas")
    )


def pods(experiment: Experiment, component: str) -> list[Object]:
    """The pods of a component."""
    return [
        pod
        for pod in experiment.kube.objects("Pod", experiment.namespace)
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == component
    ]


def await_no_pods(experiment: Experiment, component: str) -> None:
    """Return when there is no pod of the component."""
    await_none(lambda: [pod["metadata"]["name"] for pod in pods(experiment, component)], "stay")


def values(secret: Object) -> dict[str, str]:
    """The values of a Secret as text."""
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


def encoded(texts: t.Mapping[str, str]) -> dict[str, str]:
    """The values of a Secret as they are sent."""
    return {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
