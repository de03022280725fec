# SPDX-License-Identifier: GPL-3.0-or-later
"""The task store and its database: restarts, foreign databases, lost connections, the read-only role."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from standin_postgres import PostgresServer
from standin_processes import ADMIN_TOKEN, EXPERIMENT, OTHER_EXPERIMENT, SEED, Processes, run, worker_id

from eden_storage._postgres_schema import _MIGRATIONS


def attempt(
    store_url: str, config: Path, experiment: str = EXPERIMENT, env: dict[str, str] | None = None
) -> str:
    """Standard error of a server that must not start."""
    result = run(
        "eden_task_store_server", "--store-url", store_url, "--experiment-id", experiment,
        "--experiment-config", str(config), env=env,
    )  # fmt: skip
    assert result.returncode == 1, result.stdout
    assert "LISTENING" not in result.stdout
    return result.stderr


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, str]]:
    """URL and environment of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/eden.db", {}
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url(server.create_database()), server.environment


def test_a_restart_keeps_everything(
    database: tuple[str, dict[str, str]], config: Path, processes: Processes, tmp_path: Path
) -> None:
    url, env = database
    store = processes.task_store(url, config, "--base-commit-sha", SEED, env=env)
    operator = store.mint("operator", "admins")
    operator.ok("POST", "/terminate", {"reason": "test"})
    events = store.api.events()
    experiment = store.api.ok("GET", "")
    assert experiment["base_commit_sha"] == SEED
    assert store.service.stop() == 0
    assert store.service.log("uvicorn exited")["level"] == "info"

    # A later base commit is ignored.
    again = processes.task_store(url, config, "--base-commit-sha", "0" * 40, env=env)
    assert again.api.ok("GET", "") == experiment
    assert again.api.events() == events
    assert again.api.as_caller(operator.bearer).ok("GET", "/whoami")["worker_id"] == worker_id(operator)
    again.api.as_caller(operator.bearer).ok("PATCH", "/dispatch_mode", {"integration": "manual"})
    assert [event["event_id"] for event in again.api.events()] == ["evt-000001", "evt-000002"]
    assert again.service.stop() == 0

    assert OTHER_EXPERIMENT in attempt(url, config, OTHER_EXPERIMENT, env)
    changed = tmp_path / "config.yaml"
    changed.write_text(config.read_text().replace("score: real", "score: integer"))
    assert "evaluation_schema MUST NOT change" in attempt(url, changed, env=env)


def test_only_hashes_of_tokens_are_stored(
    postgres: PostgresServer, config: Path, processes: Processes
) -> None:
    name = postgres.create_database()
    store = processes.task_store(postgres.url(name), config, env=postgres.environment)
    token = store.mint("worker").bearer or ""
    with postgres.connect(name) as connection:
        rows = connection.execute("SELECT worker_id, data, credential_hash, name FROM worker").fetchall()
    assert len(rows) == 1
    assert token.partition(":")[2] not in str(rows)
    assert rows[0][2].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert token.partition(":")[2] not in store.service.output


def test_a_database_that_is_not_there(postgres: PostgresServer, config: Path, tmp_path: Path) -> None:
    assert "does not exist" in attempt(postgres.url("nowhere"), config, env=postgres.environment)
    assert "password" in attempt(postgres.url("postgres"), config, env={"PGPASSWORD": "wrong"})
    assert "refused" in attempt("postgresql://eden@127.0.0.1:1/eden", config)
    assert "OperationalError" in attempt(f"sqlite:///{tmp_path}/missing/eden.db", config)


def test_a_lost_connection_stays_lost(postgres: PostgresServer, config: Path, processes: Processes) -> None:
    name = postgres.create_database()
    store = processes.task_store(postgres.url(name), config, env=postgres.environment)
    worker = store.mint("worker")
    assert postgres.disconnect_clients(name) == 1
    for _turn in range(2):
        assert store.api.call("GET", "/events").status == 500
        assert worker.call("GET", "/whoami").status == 500
        # What needs no database is still answered.
        assert store.api.send("GET", "/").status == 401
    store.service.stop()
    again = processes.task_store(postgres.url(name), config, env=postgres.environment)
    assert again.api.as_caller(worker.bearer).ok("GET", "/whoami")["worker_id"] == worker_id(worker)


def test_a_newer_schema_is_taken_silently(
    postgres: PostgresServer, config: Path, processes: Processes
) -> None:
    name = postgres.create_database()
    for turn in range(2):
        store = processes.task_store(postgres.url(name), config, env=postgres.environment)
        store.mint("worker")
        store.service.stop()
        with postgres.connect(name) as connection:
            rows = connection.execute("SELECT version FROM schema_version ORDER BY version").fetchall()
            connection.execute("INSERT INTO schema_version VALUES (10) ON CONFLICT DO NOTHING")
        assert [row[0] for row in rows] == list(range(1, len(_MIGRATIONS) + 1 + turn))


@pytest.mark.parametrize("source", ["flag", "environment"])
def test_the_readonly_role(source: str, postgres: PostgresServer, config: Path, processes: Processes) -> None:
    name = postgres.create_database()
    for password in ("first-password", "second-password"):
        flags = ["--readonly-password", password] if source == "flag" else []
        env = postgres.environment | ({} if flags else {"EDEN_READONLY_PASSWORD": password})
        store = processes.task_store(postgres.url(name), config, *flags, env=env)
        store.mint("worker")
        store.service.stop()
    with pytest.raises(psycopg.OperationalError, match="password"):
        postgres.connect(name, "eden_readonly", "first-password")
    with postgres.connect(name, "eden_readonly", "second-password") as connection:
        assert connection.execute("SELECT experiment_id FROM experiment").fetchall() == [(EXPERIMENT,)]
        assert connection.execute("SELECT score FROM variant_unpacked").fetchall() == []
        assert len(connection.execute("SELECT worker_id, data FROM worker").fetchall()) == 2
        for forbidden in (
            "SELECT credential_hash FROM worker",
            "DELETE FROM event",
            "CREATE TABLE x (y int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())


def test_without_an_admin_token_authentication_is_off(config: Path, processes: Processes) -> None:
    store = processes.task_store(":memory:", config, token=False, env={"EDEN_ADMIN_TOKEN": ADMIN_TOKEN})
    assert store.api.ok("GET", "/whoami") == {"worker_id": "anonymous"}
    assert store.api.ok("POST", "/workers", {})["worker_id"].startswith("wkr_")
    assert store.api.call("POST", "/groups", {"name": "admins"}).problem == "reserved-identifier"
