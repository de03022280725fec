# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may connect to whom, judged from the rendered policies as a network that enforces them would."""

from __future__ import annotations

import typing as t

import pytest
from manifest_cases import CASES, EGRESS, Manifests
from truth_table import CLIENTS, SERVERS


def labels(objects: Manifests, component: str) -> dict[str, str]:
    """The labels of a component's pod."""
    for item in objects:
        pod = item.get("spec", {}).get("template", {}).get("metadata", {}).get("labels", {})
        if pod.get("app.kubernetes.io/component") == component:
            return dict(pod)
    raise LookupError(component)


def policies(objects: Manifests, pod: t.Mapping[str, str]) -> list[dict[str, t.Any]]:
    """The policies that select a pod."""
    return [
        item["spec"]
        for item in objects
        if item["kind"] == "NetworkPolicy"
        and item["spec"]["podSelector"]["matchLabels"].items() <= pod.items()
    ]


def matches(peers: t.Sequence[t.Mapping[str, t.Any]] | None, pod: t.Mapping[str, str] | None) -> bool:
    """Whether a pod of the namespace is among the peers; None is outside the cluster."""
    if peers is None:
        return True
    return any(
        pod is not None
        and set(peer) == {"podSelector"}
        and peer["podSelector"]["matchLabels"].items() <= pod.items()
        for peer in peers
    )


def passes(
    rules: t.Sequence[t.Mapping[str, t.Any]] | None, side: str, pod: t.Mapping[str, str] | None, port: int
) -> bool:
    """Whether one of the rules lets a connection with this other end pass."""
    return any(
        matches(rule.get(side), pod)
        and (not rule.get("ports") or port in [row["port"] for row in rule["ports"]])
        for rule in rules or ()
    )


def connects(objects: Manifests, client: str, server: str, port: int) -> bool:
    """Whether the policies of both ends let the connection pass."""
    source, target = labels(objects, client), labels(objects, server)
    outgoing, incoming = policies(objects, source), policies(objects, target)
    assert outgoing
    assert incoming
    return any(passes(policy["egress"], "to", target, port) for policy in outgoing) and any(
        passes(policy["ingress"], "from", source, port) for policy in incoming
    )


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("client", CLIENTS)
def test_truth_table(manifests: dict[str, Manifests], client: str, server: str) -> None:
    expected = server in CLIENTS[client]
    for case in ("plain", "longest-name"):
        assert connects(manifests[case], client, server, SERVERS[server]) is (expected and client != server)


@pytest.mark.parametrize("component", CLIENTS)
def test_names_are_looked_up_at_the_clusters_dns_and_nothing_else_outside_is_reached(
    manifests: dict[str, Manifests], component: str
) -> None:
    (policy,) = policies(manifests["plain"], labels(manifests["plain"], component))
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not any(passes(policy["egress"], "to", None, port) for port in (53, 5353, 80, 443, 6443, 8080))
    assert not any(passes(policy["ingress"] or [], "from", None, port) for port in SERVERS.values())
    (rule,) = [rule for rule in policy["egress"] if {"port": 53, "protocol": "UDP"} in rule["ports"]]
    dns_pods, *caches = rule["to"]
    assert dns_pods["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kube-system"}
    assert dns_pods["podSelector"]["matchExpressions"][0]["values"] == ["kube-dns", "node-local-dns"]
    # No other link-local address: clouds serve a DNS of their own on one.
    assert caches == [
        {"ipBlock": {"cidr": f"{address}/32"}} for address in ("169.254.20.10", "169.254.10.11")
    ]
    assert {(row["port"], row["protocol"]) for row in rule["ports"]} == {
        (port, protocol) for port in (53, 5353) for protocol in ("TCP", "UDP")
    }


def test_port_of_another_service_stays_closed(manifests: dict[str, Manifests]) -> None:
    assert not connects(manifests["plain"], "task-store-server", "postgres", 22)


def test_peers_and_egress_of_the_inputs_are_added(manifests: dict[str, Manifests]) -> None:
    objects, case = manifests["knobs"], CASES["knobs"]
    (web_ui,) = [
        item["spec"]
        for item in objects
        if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == "knobs-web-ui"
    ]
    assert web_ui["ingress"] == [{"from": case["eden_web_ui_peers"], "ports": [{"port": 8090}]}]
    for component in ("ideator-host", "executor-host", "evaluator-host"):
        (policy,) = policies(objects, labels(objects, component))
        assert policy["egress"][-1] == case["eden_worker_egress"][0]
    assert all(
        rule["to"] == case["eden_dns_peers"]
        for item in objects
        if item["kind"] == "NetworkPolicy"
        for rule in item["spec"]["egress"]
        if {"port": 53, "protocol": "UDP"} in rule["ports"]
    )


def test_commands_reach_what_their_host_may_and_evaluators_the_repository(
    manifests: dict[str, Manifests],
) -> None:
    objects = manifests["commands"]
    for component in CLIENTS:
        for server, port in SERVERS.items():
            expected = server in CLIENTS[component] or (component, server) == ("evaluator-host", "forgejo")
            assert connects(objects, component, server, port) is (expected and component != server)
    for case, host in (("commands", "ideator-host"), ("beside", "executor-host")):
        with_egress = {
            component
            for component in CLIENTS
            for item in manifests[case]
            if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == f"{case}-{component}"
            if EGRESS[0] in item["spec"]["egress"]
        }
        assert with_egress == {host}
