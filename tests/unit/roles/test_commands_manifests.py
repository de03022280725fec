# SPDX-License-Identifier: GPL-3.0-or-later
"""What the manifests of hosts that run commands must hold, in both placements."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
import yaml
from manifest_cases import CASES, COMMIT, FILES, GPU, Manifests

CONFIG = yaml.safe_load(Path(FILES, ".eden", "config.yaml").read_text())
COMMANDS = {
    "ideator-host": "ideation_command",
    "executor-host": "execution_command",
    "evaluator-host": "evaluation_command",
}
SHARING = "eden.reference/shares-artifacts"
ARTIFACTS, WORKTREES, CLONE = (f"/var/lib/eden/{name}" for name in ("artifacts", "worktrees", "clone"))

Pod = dict[str, t.Any]


def pod(manifests: dict[str, Manifests], case: str, component: str) -> Pod:
    """The pod template of the first workload of a component."""
    return next(
        item["spec"]["template"]
        for item in manifests[case]
        if "template" in item.get("spec", {})
        and item["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == component
    )


def containers(pod: Pod) -> dict[str, Pod]:
    """The containers by name."""
    return {container["name"]: container for container in pod["spec"]["containers"]}


def mounts(container: Pod) -> dict[str, bool]:
    """The paths that a container mounts, and whether it can write there."""
    return {mount["mountPath"]: not mount.get("readOnly") for mount in container["volumeMounts"]}


def flags(container: Pod) -> dict[str, str]:
    """The flags of a host."""
    return dict(word.split("=", 1) for word in container["args"] if word.startswith("--") and "=" in word)


def configmap(manifests: dict[str, Manifests], case: str, name: str) -> dict[str, str]:
    """The data of a ConfigMap."""
    return next(
        item["data"]
        for item in manifests[case]
        if (item["kind"], item["metadata"]["name"]) == ("ConfigMap", f"{case}-{name}")
    )


def test_the_mode_scripted_has_nothing_of_it(manifests: dict[str, Manifests]) -> None:
    for word in (SHARING, "initContainers", "subprocess", "/var/lib/eden/experiment", "plain-commands"):
        assert word not in json.dumps(manifests["plain"])
    (container,) = pod(manifests, "beside", "ideator-host")["spec"]["containers"]
    assert "--mode=scripted" in container["args"]
    assert container["resources"] == GPU


@pytest.mark.parametrize(
    ("component", "readable", "writable"),
    [
        ("ideator-host", set(), {ARTIFACTS}),
        ("executor-host", {ARTIFACTS}, {CLONE, WORKTREES}),
        ("evaluator-host", {ARTIFACTS}, {CLONE, WORKTREES}),
    ],
)
def test_a_host_has_the_flags_and_directories_of_the_mode(
    manifests: dict[str, Manifests], component: str, readable: set[str], writable: set[str]
) -> None:
    host = containers(pod(manifests, "commands", component))[component]
    given = flags(host)
    assert given["--mode"] == "subprocess"
    assert given["--experiment-config"] in mounts(host)
    assert given["--experiment-dir"] == "/var/lib/eden/experiment"
    assert mounts(host)["/var/lib/eden/experiment"] is False
    assert given["--artifact-path-root"] == ARTIFACTS
    assert given["--artifact-url"].endswith("/artifacts/")
    found = {path: write for path, write in mounts(host).items() if path in (ARTIFACTS, WORKTREES, CLONE)}
    assert found == {**dict.fromkeys(readable, False), **dict.fromkeys(writable, True)}
    assert given.get("--worktrees-dir") == (WORKTREES if WORKTREES in writable else None)
    assert ("--forgejo-url" in given) == (CLONE in writable)
    assert given.get("--artifacts-dir") == (ARTIFACTS if component == "ideator-host" else None)


def test_the_ideators_command_learns_the_first_commit(manifests: dict[str, Manifests]) -> None:
    host = containers(pod(manifests, "commands", "ideator-host"))["ideator-host"]
    values = {entry["name"]: entry.get("value") for entry in host["env"]}
    assert values == {"HOME": "/tmp", "EDEN_BASE_COMMIT_SHA": COMMIT, "EDEN_IDEAS_PER_IDEATION": "1"}


def test_task_store_and_web_ui_share_the_artifacts(manifests: dict[str, Manifests]) -> None:
    server = containers(pod(manifests, "commands", "task-store-server"))["task-store-server"]
    assert flags(server)["--artifacts-dir"] == ARTIFACTS
    assert mounts(server)[ARTIFACTS] is False
    assert "--artifacts-dir" not in flags(
        containers(pod(manifests, "plain", "task-store-server"))["task-store-server"]
    )
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for component in ("task-store-server", "web-ui", *COMMANDS)
        for volume in pod(manifests, "commands", component)["spec"]["volumes"]
        if volume["name"] == "artifacts"
    }
    assert claims == {"commands-artifacts"}


def test_what_one_node_can_mount_brings_pods_together_and_other_pods_not(
    manifests: dict[str, Manifests],
) -> None:
    for component in ("provision", "task-store-server", "web-ui", *COMMANDS):
        template = pod(manifests, "commands", component)
        assert template["metadata"]["labels"][SHARING] == "true"
        (term,) = template["spec"]["affinity"]["podAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert term["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    for component in ("postgres", "forgejo", "orchestrator"):
        assert SHARING not in json.dumps(pod(manifests, "commands", component))
    # In a selector it would be immutable.
    for item in manifests["commands"]:
        assert SHARING not in json.dumps(item.get("spec", {}).get("selector", {}))
    assert SHARING not in json.dumps(manifests["beside"])


def test_the_claim_exists_without_the_web_ui_and_has_its_access_mode(
    manifests: dict[str, Manifests],
) -> None:
    modes = {
        item["metadata"]["name"]: item["spec"]["accessModes"]
        for case in ("commands", "beside")
        for item in manifests[case]
        if item["kind"] == "PersistentVolumeClaim"
    }
    assert modes == {
        "commands-blob": ["ReadWriteOnce"],
        "commands-artifacts": ["ReadWriteOnce"],
        "beside-blob": ["ReadWriteOnce"],
        "beside-artifacts": ["ReadWriteMany"],
    }


def test_a_command_in_the_hosts_container_drops_what_is_not_meant_for_it(
    manifests: dict[str, Manifests],
) -> None:
    for component, key in COMMANDS.items():
        config = json.loads(configmap(manifests, "commands", f"{component}-config")["experiment-config.yaml"])
        first, _newline, command = config[key].partition("\n")
        assert command == CONFIG[key]
        # The executor's has pass_credential.
        withheld = {"FORGEJO_REMOTE_PASSWORD"} | (
            set() if component == "executor-host" else {"EDEN_WORKER_CREDENTIAL"}
        )
        assert set(first.split()) == {"unset", *withheld}
        assert {name: value for name, value in config.items() if name != key} == {
            name: value for name, value in CONFIG.items() if name != key
        }
    executor = containers(pod(manifests, "commands", "executor-host"))["executor-host"]
    assert (executor["image"], executor["imagePullPolicy"]) == ("example.com/on-eden:1", "IfNotPresent")
    assert executor["resources"] == GPU


def test_a_pod_names_the_properties_that_its_hosts_own_options_set(
    manifests: dict[str, Manifests],
) -> None:
    for case, component, own in (
        ("commands", "executor-host", "image resources"),
        ("commands", "evaluator-host", None),
        ("beside", "executor-host", "resources"),
        ("beside", "ideator-host", "resources"),
    ):
        annotations = pod(manifests, case, component)["metadata"]["annotations"]
        assert annotations.get("eden.reference/own-inputs") == own


def test_a_command_beside_the_host_has_its_own_container(manifests: dict[str, Manifests]) -> None:
    template, given = (
        pod(manifests, "beside", "executor-host"),
        CASES["beside"]["eden_workers"]["executor_host"],
    )
    found = containers(template)
    assert list(found) == ["executor-host", "command"]
    host, command = found.values()
    assert (command["image"], command["imagePullPolicy"]) == (given["image"], "Always")
    assert command["resources"] == GPU
    assert host["image"] == "eden:1"
    assert "nvidia.com/gpu" not in json.dumps(host)
    assert template["spec"]["runtimeClassName"] == "nvidia"
    assert template["spec"]["nodeSelector"] == {"pool": "gpu"}
    assert template["spec"]["tolerations"] == [*CASES["beside"]["eden_tolerations"], *given["tolerations"]]
    assert template["spec"].get("shareProcessNamespace") is None
    # The same directories at the same paths.
    same = {ARTIFACTS, WORKTREES, CLONE, "/var/lib/eden/experiment", "/run/eden/commands"}
    assert {path: mounts(command)[path] for path in same} == {path: mounts(host)[path] for path in same}
    tmp = {
        mount["name"]
        for each in (host, command)
        for mount in each["volumeMounts"]
        if "/tmp" in mount.values()
    }
    assert len(tmp) == 2


def test_a_command_beside_the_host_sees_no_secret_but_its_own(manifests: dict[str, Manifests]) -> None:
    template = pod(manifests, "beside", "executor-host")
    command = containers(template)["command"]
    assert command["env"] == [{"name": "HOME", "value": "/tmp"}]
    assert command["envFrom"] == [{"secretRef": {"name": "0x10"}}]
    assert "envFrom" not in containers(template)["executor-host"]
    mounted = {mount["name"] for mount in command["volumeMounts"]}
    assert not mounted & {"identity", "credentials", "git-credential-helper"}
    assert "envFrom" not in containers(pod(manifests, "beside", "evaluator-host"))["command"]


def test_the_forwarder_is_the_hosts_command_and_the_users_own_goes_to_its_container(
    manifests: dict[str, Manifests],
) -> None:
    data = configmap(manifests, "beside", "commands")
    assert set(data) == {"forward.py", "serve.sh", "executor-host", "evaluator-host"}
    for component, credential in (("executor-host", ""), ("evaluator-host", " --credential")):
        found = containers(pod(manifests, "beside", component))
        host, command = found[component], found["command"]
        config = json.loads(configmap(manifests, "beside", f"{component}-config")["experiment-config.yaml"])
        assert config[COMMANDS[component]] == f"exec python3 /etc/eden/commands/forward.py{credential}"
        assert data[component] == f"{CONFIG[COMMANDS[component]]}\n"
        assert "/etc/eden/commands/forward.py" in mounts(host)
        assert command["command"] == [
            "/bin/sh",
            "/etc/eden/commands/serve.sh",
            "/run/eden/commands",
            f"/etc/eden/commands/{component}",
        ]
        assert set(command["command"][1:]) <= set(mounts(command))
        assert "hold_commands" in host["args"][2]
        assert host["args"][3:5] == ["/run/eden/commands", f"eden_{component.replace('-', '_')}"]
    assert data["serve.sh"].startswith("#!/bin/sh\n")


def test_a_pod_has_the_time_that_ending_its_command_takes(manifests: dict[str, Manifests]) -> None:
    for component, deadline in (("ideator-host", 120), ("executor-host", 600), ("evaluator-host", 300)):
        seconds = pod(manifests, "commands", component)["spec"]["terminationGracePeriodSeconds"]
        assert seconds == deadline + 60


def test_directories_of_commands_are_limited(manifests: dict[str, Manifests]) -> None:
    for component in ("executor-host", "evaluator-host"):
        limits = {
            volume["name"]: volume["emptyDir"].get("sizeLimit")
            for volume in pod(manifests, "beside", component)["spec"]["volumes"]
            if "emptyDir" in volume
        }
        assert (limits["repo"], limits["worktrees"]) == ("5Gi", "10Gi")
