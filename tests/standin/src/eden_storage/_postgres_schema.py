# SPDX-License-Identifier: GPL-3.0-or-later
"""The migrations of the database schema: the version that an image makes is their number, as in EDEN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_MODES = (
    '{"termination":"manual","ideation_creation":"auto","execution_dispatch":"auto",'
    '"evaluation_dispatch":"auto","integration":"auto"}'
)
_TABLES = f"""
CREATE TABLE experiment (
    experiment_id text NOT NULL PRIMARY KEY, evaluation_schema text,
    dispatch_mode text NOT NULL DEFAULT '{_MODES}', state text NOT NULL DEFAULT 'running',
    created_at text NOT NULL, imported_from text, base_commit_sha text, name text);
CREATE TABLE task (
    task_id text NOT NULL PRIMARY KEY, kind text NOT NULL, state text NOT NULL, data text NOT NULL);
CREATE INDEX task_by_kind_state ON task(kind, state);
CREATE TABLE submission (
    task_id text NOT NULL PRIMARY KEY REFERENCES task(task_id), kind text NOT NULL, data text NOT NULL);
CREATE TABLE idea (idea_id text NOT NULL PRIMARY KEY, state text NOT NULL, data text NOT NULL);
CREATE TABLE variant (variant_id text NOT NULL PRIMARY KEY, status text NOT NULL, data text NOT NULL);
CREATE TABLE event (
    seq {{identity}}, event_id text NOT NULL UNIQUE, type text NOT NULL, occurred_at text NOT NULL,
    experiment_id text NOT NULL, data text NOT NULL);
CREATE TABLE worker (
    worker_id text NOT NULL PRIMARY KEY, data text NOT NULL, credential_hash text NOT NULL, name text);
CREATE TABLE worker_group (group_id text NOT NULL PRIMARY KEY, data text NOT NULL, name text);
CREATE TABLE group_membership (
    group_id text NOT NULL REFERENCES worker_group(group_id) ON DELETE CASCADE, member_id text NOT NULL,
    position integer NOT NULL, PRIMARY KEY (group_id, member_id));
CREATE TABLE artifact (opaque_id text NOT NULL PRIMARY KEY, data text NOT NULL);
"""


def _create_tables(database: Any) -> None:
    for statement in _TABLES.replace("{identity}", database.identity_column).split(";\n"):
        if statement.strip():
            database.execute(statement)


def _nothing(_database: Any) -> None:
    """EDEN has come to these tables in nine steps; the first one here makes them as they are at the end."""


_MIGRATIONS: list[Callable[[Any], None]] = [_create_tables, *[_nothing] * 8]
