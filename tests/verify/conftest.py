# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster and the experiment under test, and the count of the tests that passed.

The tests use the cluster EDEN_TEST_CLUSTER (default: eden), which tests/cluster/cluster has made, and on it
the experiment that site.yml has brought up with inventories/kind.
"""

from __future__ import annotations

import os
import typing as t
from collections import Counter
from pathlib import Path

import pytest
from experiment import Experiment, TaskStore
from testbed import HOST, Testbed, named

from ansible_collections.eden.reference.plugins.module_utils._kube.client import (
    Cluster,
    connected,
)

# How many tests a whole run of each directory passes: none is lost, and none is skipped.
PASSED = {"checked": 2, "converged": 187}
# Where molecule's scenario looks for the directories that were run whole.
COMPLETE = "MOLECULE_EPHEMERAL_DIRECTORY"


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


class Census:
    """Counts the tests that passed in each directory."""

    def __init__(self) -> None:
        self.passed: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed[Path(report.location[0]).parent.name] += 1

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Under molecule, fail where a directory's tests are fewer or more than they should be."""
        directory = os.environ.get(COMPLETE)
        if not directory or session.exitstatus != pytest.ExitCode.OK:
            return
        for name, count in self.passed.items():
            if count == PASSED[name]:
                (Path(directory) / f"{name}.complete").touch()
            else:
                print(f"\n{count} tests of tests/verify/{name} passed, not {PASSED[name]}: see {__file__}")
                session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    config.pluginmanager.register(Census())
