# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods run, confined, and each with no more secrets than it needs."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest
import yaml
from experiment import Experiment
from testbed import Testbed
from testinfra.host import Host
from truth_table import COMPONENTS_OF_WORKERS, LASTING, READERS

TASK_STORE = "task-store-server"
ADMIN_TOKEN = "EDEN_ADMIN_TOKEN"


@pytest.fixture(scope="module", params=LASTING)
def component(request: pytest.FixtureRequest) -> str:
    """The name of a component, of which there is one pod."""
    return str(request.param)


@pytest.fixture
def pod(experiment: Experiment, component: str) -> dict[str, t.Any]:
    """The component's pod."""
    (found,) = experiment.pods(component)
    return found


def test_there_is_no_other_pod(experiment: Experiment) -> None:
    found = [pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in experiment.pods()]
    assert sorted(found) == sorted(LASTING)


def test_it_is_ready(pod: dict[str, t.Any]) -> None:
    conditions = {condition["type"]: condition["status"] for condition in pod["status"]["conditions"]}
    assert conditions["Ready"] == "True"


def test_it_never_restarted(pod: dict[str, t.Any]) -> None:
    assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0]


def test_its_spec_is_restricted(pod: dict[str, t.Any]) -> None:
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    kinds = {kind for volume in spec["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_its_process_is_restricted(experiment: Experiment, component: str) -> None:
    status = experiment.cat(experiment.pod(component), "/proc/1/status").decode()
    fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
    assert "0" not in fields["Uid"].split() + fields["Gid"].split()
    assert [int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")] == [0, 0, 0]
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")


def test_it_may_read_these_credentials_only(
    experiment: Experiment, pod: dict[str, t.Any], component: str
) -> None:
    credentials = f"{experiment.name}-credentials"
    containers = pod["spec"]["containers"]
    read = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for container in containers
        for entry in container.get("env", [])
        if entry.get("valueFrom", {}).get("secretKeyRef", {}).get("name") == credentials
    }
    assert read == READERS.get(component, set())
    assert [container["name"] for container in containers if "envFrom" in container] == []
    mounted = {volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume}
    own = {
        f"{experiment.name}-{name}-identity" for name, of in COMPONENTS_OF_WORKERS.items() if of == component
    }
    assert mounted == own


def test_only_the_task_store_has_the_admin_token(experiment: Experiment, component: str) -> None:
    token = experiment.secret("credentials")[ADMIN_TOKEN].encode()
    pod = experiment.pod(component)
    assert (token in experiment.cat(pod, "/proc/1/environ")) == (component == TASK_STORE)
    assert token not in experiment.cat(pod, "/proc/1/cmdline")


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "attempt"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "attempt",
                "image": "none:none",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}


def _attempt(host: Host, directory: Path, namespace: str, **context: t.Any) -> t.Any:
    """Let the API server judge a pod whose container has a security context with these changes."""
    pod = yaml.safe_load(yaml.safe_dump(POD))
    pod["spec"]["containers"][0]["securityContext"].update(context)
    (directory / "pod.yaml").write_text(yaml.safe_dump(pod))
    return host.run("kubectl create --dry-run=server -n %s -f %s", namespace, str(directory / "pod.yaml"))


def test_a_restricted_pod_would_be_taken(
    host: Host, testbed: Testbed, experiment: Experiment, tmp_path: Path
) -> None:
    assert _attempt(host, tmp_path, experiment.namespace).rc == 0


@pytest.mark.parametrize(
    "context",
    [
        {"privileged": True, "allowPrivilegeEscalation": True},
        {"runAsUser": 0},
        {"capabilities": {"add": ["NET_ADMIN"]}},
    ],
    ids=["privileged", "root", "capability"],
)
def test_any_other_pod_is_refused(
    host: Host, testbed: Testbed, experiment: Experiment, tmp_path: Path, context: dict[str, t.Any]
) -> None:
    answer = _attempt(host, tmp_path, experiment.namespace, **context)
    assert answer.rc != 0
    assert 'violates PodSecurity "restricted' in answer.stderr
