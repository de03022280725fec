# SPDX-License-Identifier: GPL-3.0-or-later
"""When a changed pod is tried, by what Job, and what the log of that forbids."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.eden.reference.plugins.module_utils._eden import trial
from ansible_collections.eden.reference.plugins.module_utils._eden.errors import TrialError
from ansible_collections.eden.reference.plugins.module_utils._eden.topology import Inputs, topology
from ansible_collections.eden.reference.plugins.module_utils._errors import ClusterError, RolloutError
from ansible_collections.eden.reference.plugins.module_utils._kube.client import Object

ROLE = Path(__file__).resolve().parents[5] / "roles/eden/vars/main"
CATALOGUE = yaml.safe_load((ROLE / "components.yml").read_text())["__eden_components"]
PROGRAM = yaml.safe_load((ROLE / "pods.yml").read_text())["__eden_trial"]
TRIALS = topology(CATALOGUE, Inputs("eden"))["restarts"]["trials"]
PASSWORD = {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {"name": "eden-credentials", "key": "P"}}}
URL = "--store-url=postgresql://eden@eden-postgres:5432/eden"


def workload(component: str = "task-store-server", **fields: t.Any) -> Object:
    """A workload as the API returns it; ``fields`` are those of its pod, or else of its container."""
    labels = {
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "eden.reference",
        "eden.reference/replica": "1",
    }
    container = {
        "name": component,
        "image": "eden:1",
        "imagePullPolicy": "IfNotPresent",
        "args": ["python", URL, "--log-level=info"],
        "env": [PASSWORD],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    spec: Object = {
        "securityContext": {"runAsUser": 1000},
        "containers": [container],
        "volumes": [{"name": "blob", "persistentVolumeClaim": {"claimName": "eden-blob"}}],
    }
    annotations = {"eden.reference/credentials": fields.pop("credentials", "digest")}
    for key, value in fields.items():
        (spec if key in (*trial.POD_FIELDS, "volumes", "terminationGracePeriodSeconds") else container)[
            key
        ] = value
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": f"eden-{component}", "namespace": "lab", "uid": "workload"},
        "spec": {"template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec}},
    }


def restart(component: str = "task-store-server", old: Object | None = None, **new: t.Any) -> trial.Restart:
    return trial.Restart(
        workload(component, **(old or {})), workload(component, **new), component, TRIALS.get(component, {})
    )


def pod(node: str = "node-1", image_id: str = "sha256:1") -> Object:
    return {
        "kind": "Pod",
        "metadata": {"name": "p", "uid": "p", "ownerReferences": [{"uid": "workload"}]},
        "spec": {"nodeName": node},
        "status": {"containerStatuses": [{"name": "c", "imageID": image_id}]},
    }


def tried(change: trial.Restart, *pods: Object, whole: bool = False) -> Object:
    """The spec of the pod that tries a restart."""
    spec: Object = trial.job(change, pods, 300, whole)["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize(
    ("component", "change", "needed"),
    [
        ("task-store-server", {"image": "eden:2"}, True),
        ("task-store-server", {"imagePullPolicy": "Never"}, True),
        ("task-store-server", {"imagePullSecrets": [{"name": "registry"}]}, True),
        ("task-store-server", {"nodeSelector": {"disk": "ssd"}}, True),
        ("task-store-server", {"affinity": {"nodeAffinity": {}}}, True),
        ("task-store-server", {"tolerations": [{"operator": "Exists"}]}, True),
        ("task-store-server", {"resources": {"requests": {"cpu": "2"}}}, True),
        ("task-store-server", {"securityContext": {"runAsUser": 2000}}, True),
        ("task-store-server", {"command": ["/bin/eden"]}, True),
        ("task-store-server", {"env": []}, True),
        ("task-store-server", {"env": [PASSWORD, {"name": "LEVEL", "value": "debug"}]}, False),
        ("task-store-server", {"args": ["python", URL, "--log-level=debug"]}, False),
        ("task-store-server", {"args": ["python", "--store-url=postgresql://other/eden"]}, True),
        ("task-store-server", {"credentials": "other"}, True),
        ("executor-host", {"credentials": "other"}, False),
        ("task-store-server", {"nodeSelector": {}, "tolerations": [], "affinity": {}}, False),
        ("task-store-server", {"terminationGracePeriodSeconds": 600}, False),
        ("seed", {"image": "eden:2"}, False),
    ],
)
def test_a_change_that_could_keep_a_pod_from_starting_is_tried(
    component: str, change: Object, needed: bool
) -> None:
    assert trial.needs_trial(restart(component, **change)) is needed


def test_an_image_that_is_pulled_at_each_start_is_tried_at_each_restart() -> None:
    always = {"imagePullPolicy": "Always"}
    assert trial.needs_trial(restart(old=always, **always, args=["python", "--log-level=debug"]))


def test_the_pod_of_a_trial_starts_as_the_new_one_and_touches_nothing() -> None:
    new = {
        "image": "eden:2",
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"operator": "Exists"}],
        "readinessProbe": {"tcpSocket": {"port": 8080}},
        "lifecycle": {"postStart": {}},
    }
    definition = trial.job(restart(**new), [], 300)
    spec = definition["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert {key: spec[key] for key in ("imagePullSecrets", "nodeSelector", "tolerations")} == {
        key: new[key] for key in ("imagePullSecrets", "nodeSelector", "tolerations")
    }
    assert spec["volumes"] == [{"name": "tmp", "emptyDir": {}}]
    assert spec["automountServiceAccountToken"] is False
    assert container["image"] == "eden:2"
    assert container["env"] == [PASSWORD]
    assert container["args"][-2:] == ["eden_task_store_server", URL]
    assert "lifecycle" not in container
    # Not ready before the Job ends in any case.
    assert container["readinessProbe"]["initialDelaySeconds"] > definition["spec"]["activeDeadlineSeconds"]
    assert definition["spec"]["backoffLimit"] == 0


def test_only_a_trial_that_connects_has_the_labels_of_its_component() -> None:
    component = "app.kubernetes.io/component"
    for name, labelled in (("task-store-server", True), ("executor-host", False)):
        labels = trial.job(restart(name, image="eden:2"), [], 300)["spec"]["template"]["metadata"]["labels"]
        assert (component in labels) is labelled
        assert labels["eden.reference/trial"] == name
        assert "eden.reference/replica" not in labels


@pytest.mark.parametrize(
    ("changed", "change", "follower", "followed"),
    [
        ("task-store-server", {"image": "eden:2"}, "executor-host", True),
        ("task-store-server", {"resources": {"requests": {"cpu": "2"}}}, "executor-host", True),
        ("task-store-server", {"args": ["python", "--log-level=debug"]}, "executor-host", False),
        ("task-store-server", {"credentials": "other"}, "executor-host", False),
        ("postgres", {"image": "postgres:17"}, "executor-host", False),
        ("postgres", {"nodeSelector": {"disk": "ssd"}}, "executor-host", True),
    ],
)
def test_a_later_phase_is_tried_with_the_inputs_that_it_shares(
    changed: str, change: Object, follower: str, followed: bool
) -> None:
    live = workload(follower)
    found = trial.follow([restart(changed, **change)], live, follower, TRIALS[follower])
    assert found.before == live
    assert trial.needs_trial(found) is followed
    if followed:
        assert found.after == workload(follower, **change)


SECRET = [{"secretRef": {"name": "llm-keys"}}]
GPU = {"limits": {"nvidia.com/gpu": "1"}}


def beside(**fields: t.Any) -> trial.Restart:
    """A host whose container `command` is about to be another one."""
    change = restart("executor-host", runtimeClassName="nvidia", envFrom=SECRET)
    before, after = (
        {"name": "command", "image": "debian:12"},
        {"name": "command", "image": "cuda:12", **fields},
    )
    for live, container in ((change.before, before), (change.after, after)):
        template = live["spec"]["template"]
        template["spec"]["containers"].append(container)
        template["metadata"]["labels"]["eden.reference/shares-artifacts"] = "true"
        template["metadata"]["labels"] |= dict.fromkeys(trial.SHARING_LABELS[1:], "eden")
    return change


def test_a_container_beside_the_host_is_tried_with_a_shell() -> None:
    change = beside(resources=GPU, envFrom=SECRET, args=["serve"], volumeMounts=[{"name": "repo"}])
    assert trial.needs_trial(change)
    spec = tried(change)
    host, command = spec["containers"]
    assert spec["runtimeClassName"] == "nvidia"
    assert host["envFrom"] == SECRET
    assert command == {
        "name": "command",
        "image": "cuda:12",
        "envFrom": SECRET,
        "command": ["/bin/sh", "-c", ":"],
        "resources": {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
    }


def test_the_trial_of_a_pod_that_shares_a_volume_comes_to_its_node() -> None:
    labels = trial.job(beside(), [], 300)["spec"]["template"]["metadata"]["labels"]
    assert set(trial.SHARING_LABELS) <= set(labels)
    assert "app.kubernetes.io/component" not in labels


def test_a_host_is_tried_with_its_own_options_and_not_with_those_of_others() -> None:
    change = {"image": "eden:2", "nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}]}
    own = {**TRIALS["executor-host"], "own": ["image", "nodeSelector"]}
    found = trial.follow([restart(**change)], workload("executor-host"), "executor-host", own)
    assert found.after == workload("executor-host", tolerations=change["tolerations"])


ON_NODE = {"key": "metadata.name", "operator": "In", "values": ["node-1"]}
SSD = {"key": "disk", "operator": "In", "values": ["ssd"]}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@pytest.mark.parametrize(
    ("old", "new", "terms"),
    [
        ({}, {}, [{"matchFields": [ON_NODE]}]),
        # The user's terms are alternatives, so that each needs the node.
        (
            {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [SSD]}]}}}},
            {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [SSD]}]}}}},
            [{"matchExpressions": [SSD], "matchFields": [ON_NODE]}],
        ),
        ({}, {"nodeSelector": {"disk": "ssd"}}, None),
        ({"volumes": []}, {"volumes": []}, None),
    ],
)
def test_a_pod_with_a_claim_is_tried_on_its_node(old: Object, new: Object, terms: t.Any) -> None:
    affinity = tried(restart(old=old, **new, image="eden:2"), pod())["affinity"]
    assert ((affinity.get("nodeAffinity") or {}).get(REQUIRED) or {}).get("nodeSelectorTerms") == terms


def test_pods_that_keep_away_from_the_running_one_are_tried_without_that() -> None:
    apart = {"podAntiAffinity": {REQUIRED: []}, "podAffinity": {REQUIRED: []}}
    assert tried(restart(affinity=apart))["affinity"] == {"podAffinity": {REQUIRED: []}}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            {"requests": {"cpu": "100m", "memory": "256Mi"}},
            {"requests": {"cpu": "1.5", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
            {"requests": {"cpu": "1400m", "memory": "0"}, "limits": {"memory": "1Gi"}},
        ),
        # A limit is requested by default.
        (
            {},
            {"limits": {"cpu": "2"}},
            {"requests": {"cpu": "2000m"}, "limits": {"cpu": "2"}},
        ),
        (
            {"limits": {"hugepages-2Mi": "2Mi"}},
            {"limits": {"hugepages-2Mi": "4Mi"}},
            {"requests": {"hugepages-2Mi": "2097152"}, "limits": {"hugepages-2Mi": "2097152"}},
        ),
        ({"limits": {"a.org/gpu": "1"}}, {"limits": {"a.org/gpu": "1"}}, {"requests": {}, "limits": {}}),
    ],
)
def test_a_trial_requests_what_the_running_pod_does_not_have(
    old: Object, new: Object, expected: Object
) -> None:
    assert trial.additional(old, new) == expected


def test_a_whole_trial_requests_what_the_new_pod_does() -> None:
    new = {"requests": {"cpu": "200m"}}
    assert tried(restart(resources=new), whole=True)["containers"][0]["resources"] == new


@pytest.mark.parametrize(
    ("pods", "new", "compared"),
    [
        ([pod()], {"image": "postgres:17"}, True),
        ([], {"image": "postgres:17"}, True),
        # Its image could not be pulled: there is nothing to compare with.
        ([pod(image_id="")], {"image": "postgres:17"}, False),
        ([pod()], {"resources": {}}, False),
        ([pod()], {"image": "eden:1", "imagePullPolicy": "Always"}, True),
    ],
)
def test_the_old_image_tells_its_version_too(pods: list[Object], new: Object, compared: bool) -> None:
    spec = tried(restart("postgres", **new), *pods)
    assert [c["image"] for c in spec.get("initContainers", [])] == (["eden:1"] if compared else [])
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        assert container["securityContext"] == {"readOnlyRootFilesystem": True}
        assert container["command"][-2:] == ["postgres", "--version"]


def both(before: str, after: str) -> str:
    return f"noise\nEDEN_TRIAL before {before}\nEDEN_TRIAL after {after}\n"


@pytest.mark.parametrize(
    ("component", "log", "said"),
    [
        ("task-store-server", "EDEN_TRIAL image 9\nEDEN_TRIAL database 9\n", ""),
        ("task-store-server", "EDEN_TRIAL image 10\nEDEN_TRIAL database 9\n", ""),
        ("task-store-server", "EDEN_TRIAL image 9\nEDEN_TRIAL database 10\n", "Name in eden_image"),
        ("task-store-server", "EDEN_TRIAL database 10\n", ""),
        ("task-store-server", "EDEN_TRIAL image 9\n", ""),
        (
            "task-store-server",
            "EDEN_TRIAL refused FATAL: password authentication failed for user eden\n",
            "eden_existing_secret",
        ),
        ("postgres", both("postgres (PostgreSQL) 16.6", "postgres (PostgreSQL) 16.9"), ""),
        (
            "postgres",
            both("postgres (PostgreSQL) 16.6", "postgres (PostgreSQL) 17rc1"),
            "eden_postgres_image",
        ),
        ("postgres", "postgres (PostgreSQL) 17.1\n", ""),
        ("forgejo", both("forgejo version 11.0.3+gitea-1.22.0", "forgejo version 11.0.10+gitea-1.22.0"), ""),
        (
            "forgejo",
            both("forgejo version 11.0.3+gitea-1.22.0", "forgejo version 9.0.3"),
            "11.0.3 or a newer",
        ),
        ("executor-host", "", ""),
    ],
)
def test_a_version_that_the_data_does_not_allow_is_refused(component: str, log: str, said: str) -> None:
    found = trial.complaint(restart(component, image="eden:2"), log)
    assert said in found
    assert bool(found) is bool(said)


class Jobs:
    """The Jobs of a cluster, and what becomes of them."""

    def __init__(self, *left: Object) -> None:
        self.there = {item["metadata"]["name"]: item for item in left}
        self.applied: list[Object] = []
        self.client = None

    def list(self, *_arguments: t.Any, **_options: t.Any) -> list[Object]:
        return []

    def read(self, _kind: str, _namespace: str, name: str) -> Object | None:
        return self.there.get(name)

    def apply(self, definition: Object) -> Object:
        name = definition["metadata"]["name"]
        assert name not in self.there
        self.there[name] = definition
        self.applied.append(copy.deepcopy(definition))
        return definition

    def delete(self, _kind: str, _namespace: str, name: str) -> bool:
        return self.there.pop(name, None) is not None

    def delete_and_wait(self, live: Object) -> None:
        self.there.pop(live["metadata"]["name"])


def run(
    monkeypatch: pytest.MonkeyPatch, jobs: Jobs, *ends: t.Any, changes: t.Sequence[trial.Restart] = ()
) -> None:
    """Try changes; ``ends`` are what the waits end with: a log or an error."""
    waits = iter(ends)

    def roll_out(task: t.Any, *_rest: t.Any) -> dict[str, t.Any]:
        end = next(waits)
        if isinstance(end, BaseException):
            raise end
        return {"logs": {entry["name"]: end for entry in task.parameters["workloads"]}}

    monkeypatch.setattr(trial, "roll_out", roll_out)
    trial.try_out(jobs, "lab", changes or [restart(image="eden:2")], lambda _line: None)  # type: ignore[arg-type]


def test_nothing_is_created_for_a_change_that_needs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs()
    run(monkeypatch, jobs, changes=[restart(args=["python", URL, "--log-level=debug"])])
    assert jobs.applied == []


def test_replicas_that_change_alike_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, change = Jobs(), restart("executor-host", image="eden:2")
    second = copy.deepcopy(change)
    second.after["metadata"]["name"] = "eden-executor-host-2"
    run(monkeypatch, jobs, "", changes=[change, second, restart("web-ui", image="eden:2")])
    assert [item["metadata"]["name"] for item in jobs.applied] == [
        "eden-executor-host-trial",
        "eden-web-ui-trial",
    ]


PULL = RolloutError("Job lab/x is not ready: no such image.", cause="image", pod="x")
QUOTA = RolloutError("Job lab/x is not ready: quota.", cause="quota")
LIMITS = RolloutError("Job lab/x is not ready: a LimitRange.", cause="limit_range")


@pytest.mark.parametrize(
    ("ends", "error", "said"),
    [
        (["EDEN_TRIAL image 9\n"], None, ""),
        (["EDEN_TRIAL image 9\nEDEN_TRIAL database 10\n"], TrialError, "schema version 10"),
        ([PULL], TrialError, "no such image"),
        ([QUOTA], TrialError, "eden_trial: false"),
        ([LIMITS, ""], None, ""),
        ([LIMITS, LIMITS], TrialError, "LimitRange"),
        ([ClusterError("list", "pods", 403, "Forbidden")], TrialError, "403"),
        ([KeyboardInterrupt()], KeyboardInterrupt, ""),
    ],
)
def test_no_object_stays_however_a_trial_ends(
    monkeypatch: pytest.MonkeyPatch, ends: list[t.Any], error: type[BaseException] | None, said: str
) -> None:
    left = {"metadata": {"name": "eden-task-store-server-trial", "labels": {**OURS}}}
    jobs = Jobs(left)
    if error is None:
        run(monkeypatch, jobs, *ends)
    else:
        with pytest.raises(error) as caught:
            run(monkeypatch, jobs, *ends)
        assert said in str(caught.value)
        if error is TrialError:
            assert "the experiment goes on as before" in str(caught.value)
    assert jobs.there == {}


OURS = {"app.kubernetes.io/managed-by": "eden.reference"}


def test_a_job_of_others_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs({"kind": "Job", "metadata": {"name": "eden-task-store-server-trial"}})
    with pytest.raises(TrialError, match="exists already"):
        run(monkeypatch, jobs, "")
    assert len(jobs.there) == 1


# A driver of Postgres that answers as the environment says.
PSYCOPG = """
import os
class OperationalError(Exception): pass
class Row:
    def __init__(self, value): self.value = value
    def fetchone(self): return (self.value,)
class Connection:
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def execute(self, query):
        version = os.environ.get("VERSION")
        return Row(int(version) if "max" in query else version and "schema_version")
def connect(url, connect_timeout):
    if "REFUSED" in os.environ:
        raise OperationalError("connection failed: FATAL:  password authentication failed\\n")
    return Connection()
"""


@pytest.mark.parametrize(
    ("files", "environment", "url", "said"),
    [
        ({}, {}, "", []),
        ({}, {}, "sqlite:///x", []),
        ({"psycopg.py": PSYCOPG}, {"VERSION": "4"}, "postgresql://x/y", ["database 4"]),
        (
            {"psycopg.py": PSYCOPG, "eden_storage/_postgres_schema.py": "_MIGRATIONS = [1, 2]"},
            {"VERSION": "3"},
            "postgresql://x/y",
            ["image 2", "database 3"],
        ),
        ({"psycopg.py": PSYCOPG}, {}, "postgresql://x/y", []),
        (
            {"psycopg.py": PSYCOPG},
            {"REFUSED": "1"},
            "postgresql://x/y",
            ["refused connection failed: FATAL: password authentication failed"],
        ),
    ],
)
def test_the_program_tells_what_the_image_and_the_database_have(
    tmp_path: Path, files: dict[str, str], environment: dict[str, str], url: str, said: list[str]
) -> None:
    for name, text in {"eden_x/__init__.py": "", "eden_x/cli.py": "", **files}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    flags = [f"--store-url={url}"] if url else []
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "eden_x", *flags],
        env={**os.environ, **environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"EDEN_TRIAL {line}" for line in said]


@pytest.mark.parametrize("broken", ["__init__", "cli"])
def test_an_image_without_the_service_fails(tmp_path: Path, broken: str) -> None:
    (tmp_path / "eden_x").mkdir()
    (tmp_path / "eden_x" / f"{broken}.py").write_text("import eden_that_is_missing")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "eden_x"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "eden_that_is_missing" in done.stderr
