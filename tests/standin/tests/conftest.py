# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: databases, task stores, registered workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_bench import PASSWORD, Bench, seeded
from standin_forge import Forge
from standin_postgres import PostgresServer
from standin_processes import CONFIG, SEED, Processes, TaskStore


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The experiment config of the fixture run."""
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.close()


@pytest.fixture
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def shared_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, config: Path
) -> Iterator[TaskStore]:
    """One task store on each kind of database, for all tests of a module."""
    started = Processes()
    if request.param == "sqlite":
        store = started.task_store(f"sqlite:///{tmp_path_factory.mktemp('store')}/eden.db", config)
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.url(server.create_database())
        store = started.task_store(url, config, env=server.environment)
    yield store
    started.close()


@pytest.fixture
def store(processes: Processes, tmp_path: Path, config: Path) -> TaskStore:
    """An empty task store of one test, on SQLite."""
    return processes.task_store(f"sqlite:///{tmp_path}/eden.db", config, "--base-commit-sha", SEED)


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    server = Forge(tmp_path / "forge", PASSWORD)
    yield server
    server.close()


@pytest.fixture
def bench(store: TaskStore, forge: Forge, processes: Processes, config: Path, tmp_path: Path) -> Bench:
    return seeded(store, forge, processes, config, tmp_path)
