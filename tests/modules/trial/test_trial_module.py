# SPDX-License-Identifier: GPL-3.0-or-later
"""The trial of changed pods against a real API server with its admission and its Job controller."""

from __future__ import annotations

import copy
import secrets
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fixtures import rig
from kube import MERGE
from thin_rig import Rig

from ansible_collections.eden.reference.plugins.module_utils._eden import trial
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import TrialError
from ansible_collections.eden.reference.plugins.module_utils._eden.topology import Inputs, topology
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, Object, connected

__all__ = ["rig"]

ROLE = Path(__file__).resolve().parents[3] / "roles/eden/vars/main"
PODS = yaml.safe_load((ROLE / "pods.yml").read_text())
CATALOGUE = yaml.safe_load((ROLE / "components.yml").read_text())["__eden_components"]
TRIALS = topology(CATALOGUE, Inputs("eden"))["restarts"]["trials"]
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
LINUX = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}


class Live:
    """An experiment of one or two workloads, which run."""

    def __init__(self, rig: Rig, cluster: Cluster, namespace: str) -> None:
        self.node = rig.node
        self.kube = rig.node.kube
        self.cluster = cluster
        self.namespace = namespace
        self.lines: list[str] = []

    def workload(self, component: str, image: str = "eden:1", **fields: t.Any) -> Object:
        """The StatefulSet of a component; ``fields`` are those of its pod."""
        name = f"eden-{component}"
        labels = {"app.kubernetes.io/component": component, "app.kubernetes.io/managed-by": "eden.reference"}
        container = {
            "name": component,
            "image": image,
            "args": ["python", "--store-url=postgresql://eden@eden-postgres:5432/eden"],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "1Gi"}},
            "securityContext": PODS["__eden_container_security"],
            "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "eden-credentials", "key": "P"}}}],
        }
        spec = {
            "securityContext": {**PODS["__eden_pod_security"], "runAsUser": 1000, "fsGroup": 1000},
            "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            **fields,
        }
        return {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name, "namespace": self.namespace, "labels": labels},
            "spec": {
                "serviceName": name,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        }

    def start(self, *components: str, **fields: t.Any) -> dict[str, Object]:
        """Start the components; the live workloads."""
        for component in components:
            self.cluster.apply(self.workload(component, **fields))
        deadline = time.monotonic() + 60
        while len(self.pods()) < len(components):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return {
            component: t.cast(Object, self.cluster.read("StatefulSet", self.namespace, f"eden-{component}"))
            for component in components
        }

    def pods(self) -> dict[str, str]:
        """The uids of the running pods by their names."""
        return {
            pod["metadata"]["name"]: pod["metadata"]["uid"]
            for pod in self.kube.objects("Pod", self.namespace)
            if (pod.get("status") or {}).get("phase") == "Running"
        }

    def restart(self, before: Object, component: str, image: str, **fields: t.Any) -> trial.Restart:
        """The change of a live workload, as the API server predicts it."""
        after = self.cluster.apply(self.workload(component, image, **fields), dry_run=True)
        return trial.Restart(before, after, component, TRIALS[component])

    def try_out(self, *restarts: trial.Restart) -> None:
        trial.try_out(self.cluster, self.namespace, restarts, self.lines.append, timeout=60)


@pytest.fixture
def live(rig: Rig) -> Iterator[Live]:
    """A namespace that admits restricted pods only; nothing of a trial may stay there."""
    namespace = f"trial-{secrets.token_hex(4)}"
    kube = rig.node.kube
    kube.ask("POST", "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": RESTRICTED}})
    objects = {
        "secrets": {"metadata": {"name": "eden-credentials"}, "stringData": {"P": "x"}},
        "persistentvolumeclaims": {
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        },
    }
    for plural, definition in objects.items():
        kube.ask("POST", f"/api/v1/namespaces/{namespace}/{plural}", definition)
    options = {"kubeconfig": str(rig.control_plane.kubeconfig), "namespace": namespace}
    with connected(options) as cluster:
        yield Live(rig, cluster, namespace)
        assert cluster.list("Job", namespace) == []


def test_good_changes_pass_and_touch_nothing(live: Live) -> None:
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [LINUX]}}}
    found = live.start("postgres", "executor-host", affinity=affinity)
    pods = live.pods()
    live.try_out(
        *(live.restart(found[component], component, "eden:2", affinity=affinity) for component in found)
    )
    assert live.pods() == pods
    assert any("trying the changed pods of executor-host, postgres" in line for line in live.lines)


def test_a_mistyped_image_is_named_within_seconds(live: Live) -> None:
    found = live.start("web-ui")["web-ui"]
    pods = live.pods()
    image = f"eden:{live.namespace}"
    live.node.missing_images.add(image)
    began = time.monotonic()
    with pytest.raises(TrialError, match="Check the name in eden_image") as caught:
        live.try_out(live.restart(found, "web-ui", image))
    assert time.monotonic() - began < 15
    assert caught.value.data["cause"] == "image"
    assert live.pods() == pods


def test_an_older_image_is_refused(live: Live) -> None:
    found = live.start("web-ui")["web-ui"]
    image = f"eden:{live.namespace}"
    live.node.logs_of_jobs[image] = "EDEN_TRIAL image 9\nEDEN_TRIAL database 10\n"
    with pytest.raises(TrialError, match="schema version 10"):
        live.try_out(live.restart(found, "web-ui", image))


def test_a_range_that_refuses_small_requests_is_met(live: Live) -> None:
    bounds = {
        "metadata": {"name": "bounds"},
        "spec": {"limits": [{"type": "Container", "min": {"cpu": "50m"}}]},
    }
    live.kube.ask("POST", f"/api/v1/namespaces/{live.namespace}/limitranges", bounds)
    found = live.start("executor-host")["executor-host"]
    live.try_out(live.restart(found, "executor-host", "eden:2"))


def test_a_quota_without_room_is_named_with_the_way_out(live: Live) -> None:
    found = live.start("executor-host")["executor-host"]
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"pods": "1"}}}
    path = f"/api/v1/namespaces/{live.namespace}/resourcequotas"
    live.kube.ask("POST", path, quota)
    # The controller that counts does not run.
    status = {"status": {"hard": {"pods": "1"}, "used": {"pods": "1"}}}
    live.kube.ask("PATCH", f"{path}/small/status", status, MERGE)
    with pytest.raises(TrialError, match="eden_trial: false") as caught:
        live.try_out(live.restart(found, "executor-host", "eden:2"))
    assert caught.value.data["cause"] == "quota"


def test_what_a_killed_run_left_is_replaced(live: Live) -> None:
    found = live.start("executor-host")["executor-host"]
    change = live.restart(found, "executor-host", "eden:2")
    left = copy.deepcopy(trial.job(change, [], 60))
    left["spec"]["template"]["spec"]["containers"][0]["image"] = image = f"eden:{live.namespace}"
    live.node.missing_images.add(image)
    live.cluster.apply(left)
    live.try_out(change)
