# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping, changing and starting against a real API server: who owns what, and what is written."""

from __future__ import annotations

import copy
import typing as t
from pathlib import Path

import pytest
import yaml
from control_plane import ControlPlane
from kubernetes.client import ApiClient, AppsV1Api

from ansible_collections.eden.reference.plugins.module_utils._eden import apply, rollout, start, stopping
from ansible_collections.eden.reference.plugins.module_utils._eden.topology import Inputs, topology
from ansible_collections.eden.reference.plugins.module_utils._module import Task

CATALOGUE = yaml.safe_load(
    (Path(__file__).resolve().parents[3] / "roles/eden/vars/main/components.yml").read_text()
)["__eden_components"]
TOPOLOGY = topology(CATALOGUE, Inputs("eden"))
# A change of arguments is not tried.
RULES = {**TOPOLOGY["restarts"], "stopped": []}
CLIENTS = ("executor-host", "orchestrator")
Definitions = list[dict[str, t.Any]]


def workload(component: str, level: str) -> dict[str, t.Any]:
    (instance,) = TOPOLOGY["components"][component]["instances"]
    return {
        "apiVersion": "apps/v1",
        "kind": instance["kind"],
        "metadata": {"name": instance["name"], "labels": instance["labels"]},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": instance["selector"]},
            **({"serviceName": instance["name"]} if instance["kind"] == "StatefulSet" else {}),
            "template": {
                "metadata": {"labels": instance["labels"]},
                "spec": {"containers": [{"name": component, "image": "eden:1", "args": [level]}]},
            },
        },
    }


def store(level: str = "info") -> Definitions:
    return [workload("task-store-server", level)]


def clients(level: str = "info") -> Definitions:
    return [workload(component, level) for component in CLIENTS]


class Site:
    """An installed experiment without controllers, so that there are no pods to wait for."""

    def __init__(self, control_plane: ControlPlane, admin: ApiClient, namespace: str) -> None:
        self._control_plane = control_plane
        self._api = AppsV1Api(admin)
        self.options = {"kubeconfig": str(control_plane.kubeconfig), "namespace": namespace}
        self.namespace = namespace
        self._seen = 0
        self.apply([*store(), *clients()])
        self.writes()

    def apply(self, definitions: Definitions) -> dict[str, t.Any]:
        parameters = {"definitions": copy.deepcopy(definitions), "prune": [], "restarts": RULES}
        return apply.run(Task({**self.options, **parameters}))

    def start(self) -> dict[str, t.Any]:
        return start.run(Task({**self.options, "selector": RULES["selector"], "stopped": []}))

    def writes(self) -> list[str]:
        """The writes since the last call: whether each is an apply, and the name of its object."""
        found = [
            f"{'apply' if 'force=true' in event['requestURI'] else 'scale'} {event['objectRef']['name']}"
            for event in self._control_plane.audit_events(self.namespace)
            if (event.get("objectRef") or {}).get("namespace") == self.namespace
            and event["verb"] in ("create", "update", "patch", "delete")
            and "dryRun=All" not in event["requestURI"]
        ]
        new, self._seen = found[self._seen :], len(found)
        return new

    def state(self) -> dict[str, tuple[int, str | None]]:
        """The replicas of each workload, and its annotation."""
        live = [
            *self._api.list_namespaced_stateful_set(self.namespace).items,
            *self._api.list_namespaced_deployment(self.namespace).items,
        ]
        return {
            item.metadata.name: (
                item.spec.replicas,
                item.metadata.annotations.get(stopping.STOPPED_ANNOTATION),
            )
            for item in live
        }


@pytest.fixture
def site(
    control_plane: ControlPlane, admin: ApiClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Site:
    monkeypatch.setattr(rollout, "until_ready", lambda *_arguments: None)
    return Site(control_plane, admin, namespace)


def outcomes(result: dict[str, t.Any]) -> list[str]:
    assert all("overwritten" not in entry for entry in result["objects"])
    return [entry["outcome"] for entry in result["objects"]]


UP = {"eden-executor-host-1": (1, None), "eden-orchestrator": (1, None), "eden-task-store-server": (1, None)}


def test_a_change_is_rolled_out_in_order(site: Site) -> None:
    result = site.apply(store("debug"))
    assert result["stopped"] == ["eden-executor-host-1", "eden-orchestrator"]
    assert site.writes() == [
        "scale eden-executor-host-1",
        "scale eden-orchestrator",
        "apply eden-task-store-server",
    ]
    assert site.state() == {**UP, "eden-executor-host-1": (0, "1"), "eden-orchestrator": (0, "1")}
    # The next phase takes its own zero back; nothing of others is reverted.
    assert outcomes(site.apply(clients("debug"))) == ["updated"] * 2
    assert site.state() == {**UP, "eden-executor-host-1": (1, "1"), "eden-orchestrator": (1, "1")}
    assert site.start() == {"changed": True, "workloads": []}
    assert site.state() == UP
    site.writes()
    assert outcomes(site.apply([*store("debug"), *clients("debug")])) == ["unchanged"] * 3
    assert site.start() == {"changed": False, "workloads": []}
    assert site.writes() == []


def test_an_unchanged_definition_takes_the_stop_back(site: Site) -> None:
    site.apply(store("debug"))
    assert outcomes(site.apply(clients())) == ["updated"] * 2
    assert [replicas for replicas, _annotation in site.state().values()] == [1, 1, 1]


def test_what_no_phase_applies_is_started_at_the_end(site: Site) -> None:
    site.apply(store("debug"))
    site.writes()
    started = site.start()
    assert [entry["name"] for entry in started["workloads"]] == ["eden-executor-host-1", "eden-orchestrator"]
    assert site.state() == UP
    assert len(site.writes()) == 2
    # That is no drift.
    assert outcomes(site.apply(clients())) == ["unchanged"] * 2
    assert site.writes() == []


def test_a_killed_run_is_completed(site: Site) -> None:
    """It had stopped the executor."""
    cluster_options = {**site.options, "selector": RULES["selector"]}
    with start.connected(cluster_options) as cluster:
        selector = stopping.of_components(RULES["selector"], ["executor-host"])
        stopping.stop(cluster, site.namespace, selector, lambda _line: None)
    site.writes()
    assert site.apply(store("debug"))["stopped"] == ["eden-orchestrator"]
    assert site.writes() == ["scale eden-orchestrator", "apply eden-task-store-server"]
    site.apply(clients("debug"))
    site.start()
    assert site.state() == UP
