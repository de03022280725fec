# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole playbook with bad inputs: it ends in words, and nothing was written."""

from __future__ import annotations

import os
import pathlib
import re
import secrets
import subprocess
import sys
import typing as t

import pytest
import yaml
from control_plane import ControlPlane, free_port
from kubernetes.client import ApiClient, CoreV1Api, StorageV1Api

ROOT = pathlib.Path(__file__).resolve().parents[3]
TRACEBACK = re.compile(r'Traceback \(most recent call last\)|File "[^"]+", line \d+|[A-Za-z]+Error: ')
READS = {"get", "list", "watch"}
# What asks about rights is a create to the API server, and stores nothing.
REVIEWS = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}

Site = t.Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def default_class(admin: ApiClient) -> t.Iterator[None]:
    """A storage class, without which the cluster itself would be refused."""
    name = f"class-{secrets.token_hex(4)}"
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    StorageV1Api(admin).create_storage_class(
        {"metadata": {"name": name, "annotations": annotations}, "provisioner": "none"}
    )
    yield
    StorageV1Api(admin).delete_storage_class(name)


@pytest.fixture
def user() -> str:
    """The name of an administrator whom nobody else uses."""
    return f"user-{secrets.token_hex(4)}"


@pytest.fixture
def site(control_plane: ControlPlane, user: str, namespace: str, tmp_path: pathlib.Path) -> Site:
    """Runs site.yml for one host; returns the exit status and what was printed."""

    def run(*options: str, **inputs: t.Any) -> tuple[int, str]:
        host = {
            "ansible_connection": "local",
            "eden_kubeconfig": str(control_plane.kubeconfig_for(user, ("system:masters",))),
            "eden_namespace": namespace,
            "eden_manage_namespace": False,
            "eden_image": "eden:1",
            **inputs,
        }
        inventory = tmp_path / "inventory.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": {"eden": host}}}))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
        environment |= {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_HOME": str(tmp_path / "ansible"),
            "ANSIBLE_NOCOLOR": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", inventory, ROOT / "site.yml", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def written(control_plane: ControlPlane, user: str) -> list[tuple[str, str]]:
    """Verb and resource of the user's requests that are neither reads nor dry runs."""
    requests = [
        (event["verb"], event.get("objectRef", {}).get("resource", ""))
        for event in control_plane.audit_events(user)
        if event["stage"] == "ResponseComplete"
        and event["user"]["username"] == user
        and "dryRun=All" not in event["requestURI"]
    ]
    return [row for row in requests if row[0] not in READS and row[1] not in REVIEWS]


def assert_refused(ended: tuple[int, str], *words: str) -> None:
    """The run ended with 2, in these words and without a traceback."""
    status, printed = ended
    assert status == 2, printed
    assert not TRACEBACK.search(printed), printed
    assert "failed=1" in printed
    assert "changed=0" in printed
    for part in words:
        assert part in printed, printed


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (
            {
                "eden_name": "Branin",
                "eden_timeout": "6e2",
                "app_tier_timout": 600,
                "eden_resources": {"limits": {"cpu": "{{ cpus }}"}},
                "eden_storage_sizes": {"postgress": "10G"},
                "eden_replica": {"web_ui": 1},
            },
            (
                "6 inputs of eden break a rule; nothing was written.",
                "eden_replica: is not an input; did you mean eden_replicas?",
                "eden_name: must be a name of 1 to 32 lower-case letters",
                "eden_resources.limits.cpu: must be a Kubernetes quantity such as 500m",
                "'cpus' is undefined",
                "is not a key of eden_storage_sizes; did you mean postgres?",
                "eden_timeout: must be an integer from 1 to 86400",
                "app_tier_timout: is no longer an input; set eden_timeout",
            ),
        ),
        (
            {"eden_experiment_config_file": "../../../../../../../../etc/passwd"},
            (
                "eden_experiment_config_file: must name a YAML file on this machine with the experiment",
                "which does not contain a mapping",
            ),
        ),
    ],
    ids=["many", "file"],
)
def test_bad_inputs_are_refused_before_the_cluster_is_asked(
    control_plane: ControlPlane, user: str, site: Site, inputs: dict[str, t.Any], words: tuple[str, ...]
) -> None:
    ended = site(**inputs)
    assert_refused(ended, *words)
    assert "root:" not in ended[1]
    assert written(control_plane, user) == []


def test_a_kubeconfig_that_is_none(site: Site, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text("token: 'hunter2\n")
    ended = site(eden_kubeconfig=str(path))
    assert_refused(ended, f"Could not use the kubeconfig {path}: ")
    assert "hunter2" not in ended[1]


def test_a_server_that_is_not_there(control_plane: ControlPlane, site: Site, tmp_path: pathlib.Path) -> None:
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    assert_refused(
        site(eden_kubeconfig=str(path)),
        "no answer from the Kubernetes API at https://127.0.0.1:",
        "Check that the cluster runs and that the kubeconfig names it",
    )


def test_a_volume_that_would_shrink(
    control_plane: ControlPlane, admin: ApiClient, namespace: str, user: str, site: Site
) -> None:
    claim = {
        "metadata": {
            "name": "eden-blob",
            "labels": {
                "app.kubernetes.io/managed-by": "eden.reference",
                "eden.reference/experiment-id": "exp_01jabcdefghjkmnpqrstvwxyz0",
            },
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "20Gi"}}},
    }
    CoreV1Api(admin).create_namespaced_persistent_volume_claim(namespace, claim)
    assert_refused(
        site(eden_storage_sizes={"blob": "10Gi"}),
        f"blob is 10Gi, but PersistentVolumeClaim {namespace}/eden-blob was created with 20Gi",
        "Set eden_storage_sizes.blob to 20Gi",
    )
    assert written(control_plane, user) == []


def test_that_writes_would_be_seen(control_plane: ControlPlane, user: str, site: Site) -> None:
    # The image is not there, so that the phase infra fails, but after its first writes.
    status, printed = site("--tags", "infra", eden_timeout=1, eden_manage_namespace="no")
    assert status == 2, printed
    assert ("patch", "configmaps") in written(control_plane, user), printed
