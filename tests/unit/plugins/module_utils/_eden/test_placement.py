# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pods of hosts are refused because no node can take them."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.eden.reference.plugins.module_utils._eden.placement import needs_nodes, problems
from ansible_collections.eden.reference.plugins.module_utils._eden.topology import Inputs, topology

ROOT = Path(__file__).resolve().parents[5]
CATALOGUE = yaml.safe_load((ROOT / "roles/eden/vars/main/components.yml").read_text())["__eden_components"]
GPU = {"limits": {"nvidia.com/gpu": 1}}
TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
RUNS = {"mode": "subprocess"}


def node(
    name: str, gpus: int = 0, cpu: str = "8", taints: t.Sequence[t.Any] = (), **labels: str
) -> dict[str, t.Any]:
    """A node."""
    allocatable = {"cpu": cpu, "memory": "32Gi", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": allocatable},
    }


PLAIN, WITH_GPU = node("plain"), node("gpu", 2, pool="gpu")


def found(
    nodes: t.Sequence[t.Any] | None,
    workers: t.Mapping[str, t.Any],
    mode: str = "ReadWriteOnce",
    **given: t.Any,
) -> str:
    """The messages of the problems, and nothing else."""
    inputs = {
        "eden_artifacts_access_mode": mode,
        "eden_resources": {},
        "eden_node_selector": {},
        "eden_tolerations": [],
        **given,
    }
    return "\n".join(
        error.message
        for error in problems(topology(CATALOGUE, Inputs("eden", workers=workers)), inputs, nodes)
    )


EXECUTOR = {**RUNS, "image": "cuda:12", "resources": GPU}


@pytest.mark.parametrize(
    ("nodes", "workers", "given", "expected"),
    [
        # Nothing to be found.
        ([], {}, {}, ""),
        ([PLAIN], {"executor_host": RUNS}, {}, ""),
        ([WITH_GPU], {"executor_host": EXECUTOR}, {}, ""),
        ([PLAIN, WITH_GPU], {"executor_host": {**EXECUTOR, "node_selector": {"pool": "gpu"}}}, {}, ""),
        ([PLAIN, WITH_GPU], {"executor_host": EXECUTOR}, {"mode": "ReadWriteMany"}, ""),
        ([PLAIN], {"executor_host": EXECUTOR}, {"eden_node_selector": {"pool": "gpu"}}, "No node has that"),
        # A device that no node has.
        (
            [PLAIN],
            {"executor_host": EXECUTOR},
            {"mode": "ReadWriteMany"},
            "requests, nvidia.com/gpu: 1. Is the",
        ),
        (
            [node("gpu", 2, taints=[TAINT])],
            {"executor_host": EXECUTOR},
            {"mode": "ReadWriteMany"},
            "tolerations for the nodes' taints",
        ),
        (
            [node("gpu", 2, taints=[TAINT])],
            {"executor_host": {**EXECUTOR, "tolerations": [{"key": "gpu", "operator": "Exists"}]}},
            {"mode": "ReadWriteMany"},
            "",
        ),
        # A scripted host shares nothing.
        ([PLAIN], {"ideator_host": {"resources": GPU}}, {}, "eden_workers.ideator_host.resources"),
        # One node for all.
        ([WITH_GPU], {"executor_host": {**EXECUTOR, "replicas": 3}}, {}, "gpu lacks nvidia.com/gpu"),
        ([WITH_GPU], {"executor_host": {**EXECUTOR, "replicas": 3}}, {"mode": "ReadWriteMany"}, ""),
        ([PLAIN, WITH_GPU], {"executor_host": EXECUTOR}, {}, "does not have it (plain)"),
        ([node("small", cpu="150m")], {"executor_host": RUNS}, {}, "small lacks cpu"),
        (
            [node("gpu", 2, taints=[TAINT])],
            {"executor_host": {**EXECUTOR, "tolerations": [{"operator": "Exists"}]}},
            {},
            "taints that eden_tolerations does not tolerate",
        ),
        (
            None,
            {
                "executor_host": {**RUNS, "node_selector": {"pool": "a"}},
                "evaluator_host": {**RUNS, "node_selector": {"pool": "b"}},
            },
            {},
            "executor_host and eden_workers.evaluator_host select different nodes (pool: a and b)",
        ),
    ],
)
def test_what_no_node_can_take_is_refused(
    nodes: t.Any, workers: dict[str, t.Any], given: dict[str, t.Any], expected: str
) -> None:
    message = found(nodes, workers, **given)
    assert expected in message
    assert bool(message) == bool(expected)


def test_nodes_are_read_only_if_something_depends_on_them() -> None:
    for workers, mode, expected in (
        ({}, "ReadWriteOnce", False),
        ({"executor_host": RUNS}, "ReadWriteOnce", True),
        ({"executor_host": RUNS}, "ReadWriteMany", False),
        ({"executor_host": EXECUTOR}, "ReadWriteMany", True),
    ):
        inputs = {
            "eden_artifacts_access_mode": mode,
            "eden_resources": {},
            "eden_node_selector": {},
            "eden_tolerations": [],
        }
        assert needs_nodes(topology(CATALOGUE, Inputs("eden", workers=workers)), inputs) is expected
