# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster and the experiment under test, and a note of the tests that passed.

The tests use the cluster EDEN_TEST_CLUSTER (default: eden), which tests/cluster/cluster has made, and on it
the experiment that site.yml has brought up with inventories/kind.
"""

from __future__ import annotations

import typing as t

import pytest
from census import Census
from experiment import Experiment, TaskStore
from testbed import HOST, Testbed, named

from ansible_collections.eden.reference.plugins.module_utils._kube.client import Cluster, connected


@pytest.fixture(scope="session")
def testbed() -> Testbed:
    """The cluster under test."""
    return Testbed(named())


@pytest.fixture(scope="session")
def experiment(testbed: Testbed) -> Experiment:
    """The experiment of inventories/kind."""
    return Experiment(testbed, HOST)


@pytest.fixture(scope="session")
def cluster(testbed: Testbed) -> t.Iterator[Cluster]:
    """The collection's own connection to the cluster."""
    with connected({"kubeconfig": testbed.kubeconfig}) as connection:
        yield connection


@pytest.fixture
def task_store(experiment: Experiment) -> t.Iterator[TaskStore]:
    """The task store, asked as the admin through kubectl."""
    with experiment.task_store() as store:
        yield store


@pytest.fixture(autouse=True)
def variables(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What testinfra's host runs finds the cluster."""
    for name, value in testbed.environment.items():
        monkeypatch.setenv(name, value)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to take notes."""
    config.pluginmanager.register(Census())
