# SPDX-License-Identifier: GPL-3.0-or-later
"""The documents and the event log of one experiment, on a database."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eden_service_common import contracts

from .database import Database
from .problems import Problem
from .schema import create_schema

Document = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table of documents: its key field, and the fields that are columns too."""

    name: str
    key: str
    columns: tuple[str, ...]


TASKS = Table("task", "task_id", ("kind", "state"))
IDEAS = Table("idea", "idea_id", ("state",))
VARIANTS = Table("variant", "variant_id", ("status",))
WORKERS = Table("worker", "worker_id", ("name",))
GROUPS = Table("worker_group", "group_id", ("name",))

_METRIC_TYPES: dict[str, tuple[type, ...]] = {"integer": (int,), "real": (int, float), "text": (str,)}


class Store:
    """The experiment's row is made when there is none, and must match when there is one."""

    def __init__(
        self,
        database: Database,
        experiment_id: str,
        evaluation_schema: dict[str, str],
        base_commit_sha: str | None = None,
    ) -> None:
        self.database = database
        self.experiment_id = experiment_id
        self.evaluation_schema = evaluation_schema
        with self.transaction():
            create_schema(database, evaluation_schema)
            self._open_experiment(base_commit_sha)
        self._next_event = self._last_event_number() + 1

    def _open_experiment(self, base_commit_sha: str | None) -> None:
        schema = json.dumps(self.evaluation_schema, sort_keys=True)
        rows = self.database.execute("SELECT experiment_id, evaluation_schema FROM experiment")
        if not rows:
            self.database.execute(
                "INSERT INTO experiment(experiment_id, evaluation_schema, created_at, base_commit_sha)"
                " VALUES (?, ?, ?, ?)",
                (self.experiment_id, schema, contracts.now(), base_commit_sha),
            )
            return
        stored_id, stored_schema = rows[0]
        if stored_id != self.experiment_id:
            raise RuntimeError(
                f"the database belongs to experiment {stored_id!r}, not {self.experiment_id!r}"
            )
        if json.loads(stored_schema) != self.evaluation_schema:
            raise RuntimeError(
                "evaluation_schema MUST NOT change for the lifetime of an experiment: the database has "
                f"{stored_schema}, the experiment config has {schema}"
            )

    def _last_event_number(self) -> int:
        rows = self.database.execute("SELECT event_id FROM event ORDER BY seq DESC LIMIT 1")
        return int(rows[0][0].removeprefix("evt-")) if rows else 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See Database.transaction."""
        with self.database.transaction():
            yield

    def find(self, table: Table, key: str) -> Document | None:
        """The document, or None."""
        rows = self.database.execute(f"SELECT data FROM {table.name} WHERE {table.key} = ?", (key,))
        return json.loads(rows[0][0]) if rows else None

    def get(self, table: Table, key: str) -> Document:
        """The document; `not-found` when there is none."""
        document = self.find(table, key)
        if document is None:
            raise Problem("not-found", f"{table.name} {key!r}")
        return document

    def select(self, table: Table, **filters: str | None) -> list[Document]:
        """Documents in the order of their keys, filtered by the columns whose filter is not None."""
        wanted = {column: value for column, value in filters.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in wanted)
        rows = self.database.execute(
            f"SELECT data FROM {table.name} {'WHERE ' + where if where else ''} ORDER BY {table.key}",
            tuple(wanted.values()),
        )
        return [json.loads(row[0]) for row in rows]

    def put(self, table: Table, document: Document) -> Document:
        """Insert or replace the document."""
        columns = (table.key, *table.columns, "data")
        values = (*(document.get(column) for column in columns[:-1]), json.dumps(document))
        updates = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        self.database.execute(
            f"INSERT INTO {table.name}({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
            f" ON CONFLICT({table.key}) DO UPDATE SET {updates}",
            values,
        )
        return document

    def emit(self, kind: str, /, **data: Any) -> None:
        """Append an event."""
        event = {
            "event_id": f"evt-{self._next_event:06d}",
            "type": kind,
            "occurred_at": contracts.now(),
            "experiment_id": self.experiment_id,
            "data": data,
        }
        self._next_event += 1
        self.database.execute(
            "INSERT INTO event(event_id, type, occurred_at, experiment_id, data) VALUES (?, ?, ?, ?, ?)",
            (event["event_id"], kind, event["occurred_at"], self.experiment_id, json.dumps(event)),
        )

    def events(self, cursor: int) -> list[Document]:
        """The events after the first `cursor` ones."""
        with self.transaction():
            rows = self.database.execute("SELECT data FROM event ORDER BY seq")
        return [json.loads(row[0]) for row in rows[cursor:]]

    def check_evaluation(self, evaluation: Document) -> None:
        """`invalid-precondition` unless every metric is in the evaluation schema and of its type."""
        for name, value in evaluation.items():
            kind = self.evaluation_schema.get(name)
            if kind is None:
                fault = "is not in the experiment's evaluation_schema"
            elif value is None:
                continue
            elif isinstance(value, bool) or not isinstance(value, _METRIC_TYPES[kind]):
                fault = f"value {value!r} is not of declared type {kind!r}"
            elif isinstance(value, float) and not math.isfinite(value):
                fault = f"value {value!r} is not finite"
            else:
                continue
            raise Problem("invalid-precondition", f"evaluation key {name!r} {fault}")
