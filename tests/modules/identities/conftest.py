# SPDX-License-Identifier: GPL-3.0-or-later
"""A real API server, a task store that answers as EDEN's does, and what tests put in between."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "standin" / "tests"))
sys.path.insert(0, str(Path(__file__).parent))

from control_plane import ControlPlane
from fake_kubelet import FakeKubelet, add_node
from fault_proxy import FaultProxy
from identities_world import World
from kubernetes.client import ApiClient, CoreV1Api
from standin_processes import CONFIG, Processes


@pytest.fixture(scope="session")
def kubelet(admin: ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeKubelet]:
    """The only node's kubelet."""
    with FakeKubelet(tmp_path_factory.mktemp("kubelet")) as running:
        add_node(CoreV1Api(admin), running.port)
        yield running


@pytest.fixture
def world(control_plane: ControlPlane, admin: ApiClient, namespace: str, tmp_path: Path) -> Iterator[World]:
    """An empty registry and an empty namespace, with the admin's token in its Secret."""
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG)
    processes = Processes()
    try:
        yield World(control_plane, admin, namespace, processes.task_store(":memory:", config).api)
    finally:
        processes.close()
        for service in processes.started:
            if service.process.stdout:
                service.process.stdout.close()


@pytest.fixture
def proxy(world: World) -> Iterator[FaultProxy]:
    """What the module reaches the task store through."""
    with FaultProxy(world.registry.host, world.registry.port) as started:
        world.parameters["task_store_url"] = started.url
        yield started
