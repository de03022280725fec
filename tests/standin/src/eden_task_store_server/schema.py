# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables, the view and the read-only role."""

from __future__ import annotations

from eden_storage import _postgres_schema

from .database import Database, PostgresDatabase

_VARIANT_FIELDS = (
    "experiment_id kind idea_id parent_commits branch commit_sha variant_commit_sha artifacts_uri"
    " executor_artifacts_uri description started_at completed_at executed_by evaluated_by evaluation"
).split()
_POSTGRES_TYPES = {"integer": "bigint", "real": "double precision", "text": "text"}

# `worker` is not among them: its column credential_hash is for no reader.
_READABLE = (
    "experiment task submission idea variant event worker_group group_membership schema_version artifact"
    " variant_unpacked"
).split()
_ROLE = "eden_readonly"


def create_schema(database: Database, evaluation_schema: dict[str, str]) -> None:
    """Migrate to the newest version that this server knows; a later one is taken silently, as in EDEN."""
    database.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL PRIMARY KEY)")
    version = database.execute("SELECT MAX(version) FROM schema_version")[0][0] or 0
    for number, migrate in enumerate(_postgres_schema._MIGRATIONS[version:], version + 1):
        migrate(database)
        database.execute("INSERT INTO schema_version(version) VALUES (?)", (number,))
    if isinstance(database, PostgresDatabase):
        _create_view(database, evaluation_schema)


def _create_view(database: PostgresDatabase, evaluation_schema: dict[str, str]) -> None:
    fields = [f"data::jsonb ->> '{name}' AS {name}" for name in _VARIANT_FIELDS]
    # The names are checked by the experiment config: letters, digits and underscores.
    metrics = [
        f"(data::jsonb -> 'evaluation' ->> '{name}')::{_POSTGRES_TYPES[kind]} AS \"{name}\""
        for name, kind in evaluation_schema.items()
    ]
    database.execute("DROP VIEW IF EXISTS variant_unpacked")
    columns = ", ".join(["variant_id", "status", *fields, *metrics])
    database.execute(f"CREATE VIEW variant_unpacked AS SELECT {columns} FROM variant")


def provision_readonly_role(database: PostgresDatabase, password: str) -> None:
    """Create or update the LOGIN role `eden_readonly`, which may SELECT everything but credential hashes.

    Needs CREATEROLE; raises the driver's error without it.
    """
    from psycopg import sql

    with database.transaction():
        verb = "ALTER" if database.execute("SELECT 1 FROM pg_roles WHERE rolname = ?", (_ROLE,)) else "CREATE"
        place = database.execute("SELECT current_database(), current_schema()")[0]
        names = {
            "role": sql.Identifier(_ROLE),
            "database": sql.Identifier(place[0]),
            "schema": sql.Identifier(place[1]),
        }
        for text in (
            verb + " ROLE {role} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT NOREPLICATION"
            " NOBYPASSRLS PASSWORD {password}",
            "REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {role}",
            "REVOKE ALL ON SCHEMA {schema} FROM {role}",
            "REVOKE ALL ON DATABASE {database} FROM {role}",
            "GRANT CONNECT ON DATABASE {database} TO {role}",
            "GRANT USAGE ON SCHEMA {schema} TO {role}",
            *("GRANT SELECT ON {schema}." + table + " TO {role}" for table in _READABLE),
            "GRANT SELECT (worker_id, data) ON {schema}.worker TO {role}",
        ):
            statement = sql.SQL(text).format(password=sql.Literal(password), **names)
            database.connection.execute(statement)
