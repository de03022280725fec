# SPDX-License-Identifier: GPL-3.0-or-later
"""What is derived from the catalogue of components, compared with a table of its own."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from truth_table import CLAIMS, CLIENTS, GENERATED, GROUPS, LASTING, READERS, SERVERS, WORKERS, WORKLOADS

from ansible_collections.eden.reference.plugins.filter.topology import topology as as_filter
from ansible_collections.eden.reference.plugins.module_utils._eden.topology import Inputs, topology

ROOT = Path(__file__).resolve().parents[5]
CATALOGUE = yaml.safe_load((ROOT / "roles/eden/vars/main/components.yml").read_text())["__eden_components"]
LONGEST = "n" * 32
MOST = {
    spec["replicas"]["input"]: spec["replicas"]["max"] for spec in CATALOGUE.values() if "replicas" in spec
}


def derive(
    name: str = "eden", replicas: t.Mapping[str, int] | None = None, **inputs: t.Any
) -> dict[str, t.Any]:
    """The topology of the shipped catalogue."""
    return topology(CATALOGUE, Inputs(name, replicas or {}, **inputs))


def test_it_is_that_of_the_table() -> None:
    found = derive()
    assert set(found["components"]) == set(CLIENTS)
    assert found["ports"] == SERVERS
    assert set(found["budgets"]) == set(LASTING)
    assert {(edge["client"], edge["server"], edge["port"]) for edge in found["edges"]} == {
        (client, server, SERVERS[server]) for client, servers in CLIENTS.items() for server in servers
    }
    assert found["credential_keys"] == sorted(GENERATED)
    assert {component: set(keys) for component, keys in found["readers"].items()} == READERS
    assert {worker["name"] for worker in found["workers"]} == set(WORKERS)
    assert {group["name"]: set(group["members"]) for group in found["groups"]} == GROUPS
    assert {
        phase: {(workload["kind"], workload["name"].removeprefix("eden-")) for workload in workloads}
        for phase, workloads in found["workloads"].items()
    } == WORKLOADS
    assert {
        (volume["workload"], volume["claim"], volume["size"], volume["variable"])
        for volume in found["volumes"]
    } == {
        (
            f"eden-{workload}" if workload else "",
            "data" if workload else claim.format(name="eden"),
            size,
            f"eden_storage_sizes.{key}",
        )
        for claim, (key, size, workload) in CLAIMS.items()
    }
    assert set(found["claims"].values()) == {claim.format(name="eden") for claim in CLAIMS}
    assert {(item["kind"], item["name"]) for item in found["objects"]} == {
        *((kind, f"eden-{name}") for workloads in WORKLOADS.values() for kind, name in workloads),
        *(("Service", f"eden-{name}") for name in SERVERS),
    }


def test_each_workload_brings_its_phase_and_component() -> None:
    found = derive(replicas={"executor_host": 2})
    assert [workload for workload in found["workloads"]["app_tier"] if "executor" in workload["name"]] == [
        {
            "kind": "StatefulSet",
            "name": f"eden-executor-host-{replica}",
            "phase": "app_tier",
            "component": "executor-host",
        }
        for replica in (1, 2)
    ]


def test_each_replica_has_its_own_workload_selector_and_secret() -> None:
    instances = derive(replicas={"executor_host": 3})["components"]["executor-host"]["instances"]
    for own in (
        [instance["name"] for instance in instances],
        [instance["worker"]["secret"] for instance in instances],
        [tuple(instance["selector"].items()) for instance in instances],
    ):
        assert len(set(own)) == 3
    assert all(instance["selector"].items() <= instance["labels"].items() for instance in instances)


@pytest.mark.parametrize("replicas", [0, "0"])
def test_service_without_replicas_has_no_worker_and_no_claim(replicas: t.Any) -> None:
    found = derive(replicas={"web_ui": replicas})
    assert "web-ui-1" not in [worker["name"] for worker in found["workers"]]
    assert found["components"]["web-ui"]["instances"] == []
    assert [claim["name"] for claim in found["own_claims"]] == ["eden-blob"]
    # What an earlier run made is still of the experiment.
    assert found["claims"]["artifacts"] == "eden-artifacts"


def test_numbers_that_are_text_count() -> None:
    assert derive(replicas={"executor_host": t.cast(int, "2")}) == derive(replicas={"executor_host": 2})


def test_sizes_and_the_users_secret_are_taken_over() -> None:
    found = derive(storage_sizes={"postgres": "2Gi", "executor_repo": "1Gi"}, credentials="mine")
    assert [volume["size"] for volume in found["volumes"]] == ["2Gi", "20Gi", "10Gi", "50Gi"]
    assert found["components"]["executor-host"]["volumes"][0]["size"] == "1Gi"
    assert found["names"]["credentials"] == "mine"
    assert derive()["names"]["credentials"] == "eden-credentials"


def strings(value: t.Any) -> t.Iterator[str]:
    """All strings of a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from strings(part)
    elif isinstance(value, str):
        yield value


def test_names_and_labels_fit_with_the_longest_name_and_the_most_replicas() -> None:
    found = derive(LONGEST, MOST)
    assert len(found["workers"]) == sum(MOST.values())
    for part in ("names", "labels", "selector", "workers", "workloads", "claims", "objects"):
        assert max(map(len, strings(found[part]))) <= 63
    statefulsets = [item["name"] for item in found["objects"] if item["kind"] == "StatefulSet"]
    assert max(map(len, statefulsets)) <= 52


def test_a_name_that_does_not_fit_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="is longer than 63 characters"):
        as_filter(CATALOGUE, "n" * 60)
    with pytest.raises(AnsibleFilterError, match="is longer than 52 characters"):
        as_filter(CATALOGUE, "n" * 41)


def test_what_precedes_a_restart() -> None:
    found = derive()["restarts"]
    hosts = ["ideator-host", "executor-host", "evaluator-host"]
    assert found["stages"] == {**dict.fromkeys(hosts, 1), "orchestrator": 2, "task-store-server": 3}
    assert found["stops"] == {"postgres": 3, "forgejo": 2, "task-store-server": 2}
    # Whatever connects to a server is stopped before it, but for the web UI, whose claims end by themselves.
    for client, server in ((edge["client"], edge["server"]) for edge in derive()["edges"]):
        if client not in ("web-ui", "seed"):
            assert found["stages"][client] <= found["stops"][server]
    labels = derive()["components"]["executor-host"]["instances"][0]["labels"]
    assert dict(term.split("=") for term in found["selector"].split(",")).items() <= labels.items()
    assert set(found["trials"]) == set(derive()["components"]) - {"provision", "seed"}
    assert found["trials"]["web-ui"]["command"][-1] == "eden_web_ui"
    assert as_filter(CATALOGUE, "eden", trial=False)["restarts"] == {**found, "trials": {}}


@pytest.mark.parametrize(
    ("options", "mode", "placement"),
    [
        ({}, "scripted", ""),
        ({"replicas": 3}, "scripted", ""),
        ({"mode": "subprocess"}, "subprocess", "host"),
        ({"mode": "subprocess", "image": "cuda:12"}, "subprocess", "beside"),
        ({"mode": "subprocess", "image": "mine:1", "placement": "host"}, "subprocess", "host"),
    ],
)
def test_a_host_has_its_mode_and_its_command_a_place(
    options: dict[str, t.Any], mode: str, placement: str
) -> None:
    found = derive(workers={"executor_host": options})
    host = found["components"]["executor-host"]
    assert (host["mode"], host["placement"]) == (mode, placement)
    assert host["replicas"] == options.get("replicas", 1)
    runs = mode == "subprocess"
    assert found["shares_artifacts"] is runs
    assert host["config"] == ("eden-executor-host-config" if runs else "eden-experiment-config")
    # Only the hosts that run commands get what these need.
    ideator = found["components"]["ideator-host"]
    assert (ideator["mode"], ideator["shares_artifacts"]) == ("scripted", False)
    assert found["components"]["task-store-server"]["shares_artifacts"] is runs
    configmaps = {item["name"] for item in found["objects"] if item["kind"] == "ConfigMap"}
    expected = {"eden-executor-host-config"} if runs else set()
    assert configmaps == expected | ({"eden-commands"} if placement == "beside" else set())


def test_the_mode_subprocess_adds_what_an_evaluator_needs_and_takes_nothing() -> None:
    scripted, found = derive(), derive(workers={"evaluator_host": {"mode": "subprocess"}})
    new = [edge for edge in found["edges"] if edge not in scripted["edges"]]
    assert new == [{"client": "evaluator-host", "server": "forgejo", "port": SERVERS["forgejo"]}]
    assert found["readers"] == {**scripted["readers"], "evaluator-host": ["FORGEJO_REMOTE_PASSWORD"]}
    assert found["claims"] == scripted["claims"]
    assert {claim["key"] for claim in found["own_claims"]} == {"blob", "artifacts"}


def test_the_claim_of_the_artifacts_is_needed_without_the_web_ui() -> None:
    for workers, keys in (({}, {"blob"}), ({"ideator_host": {"mode": "subprocess"}}, {"blob", "artifacts"})):
        found = derive(replicas={"web_ui": 0}, workers=workers)
        assert {claim["key"] for claim in found["own_claims"]} == keys


def test_a_trial_knows_which_fields_are_a_hosts_own() -> None:
    options = {"mode": "subprocess", "image": "mine:1", "resources": {"limits": {"memory": "1Gi"}}}
    for placement, own in (("host", ["resources", "image", "imagePullPolicy"]), ("beside", None)):
        workers = {"executor_host": {**options, "placement": placement}}
        assert derive(workers=workers)["restarts"]["trials"]["executor-host"].get("own") == own
