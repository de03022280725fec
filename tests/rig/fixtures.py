# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests against the thin control plane: a conftest.py imports what its tests use."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from control_plane import ControlPlane
from kubernetes.client import ApiClient, CoreV1Api, V1Namespace, V1ObjectMeta
from kubernetes.config import new_client_from_config
from thin_rig import Experiment, Rig


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane for the session."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane")) as running:
        yield running


@pytest.fixture(scope="session")
def admin(control_plane: ControlPlane) -> Iterator[ApiClient]:
    """A client with the administrator's permissions."""
    with new_client_from_config(str(control_plane.kubeconfig)) as client:
        yield client


@pytest.fixture
def namespace(admin: ApiClient) -> str:
    """The name of an empty namespace of the test's own.

    It is not deleted: the controller that would empty it does not run, and all is gone at the session's end.
    """
    name = f"test-{secrets.token_hex(4)}"
    CoreV1Api(admin).create_namespace(V1Namespace(metadata=V1ObjectMeta(name=name)))
    return name


@pytest.fixture(scope="session")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A control plane with controllers and a node for the session."""
    with Rig(tmp_path_factory.mktemp("rig")) as running:
        yield running
        assert running.node.problems == []


@pytest.fixture
def experiment(rig: Rig) -> Iterator[Experiment]:
    """An experiment of the test's own, of which there is nothing yet."""
    with rig.experiment() as running:
        yield running
