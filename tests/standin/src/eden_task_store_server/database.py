# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection to SQLite or Postgres, one transaction at a time.

There is no reconnect: when the connection is lost, every operation fails until the process is restarted.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Row = tuple[Any, ...]


class Database(ABC):
    """SQL with `?` for parameters, in transactions that `transaction` opens."""

    identity_column: str
    _begin: str

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._inside = False

    @abstractmethod
    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        """The rows of one statement."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All statements inside take effect, or none when an exception leaves. Nested ones join the outer."""
        with self._lock:
            if self._inside:
                yield
                return
            self.execute(self._begin)
            self._inside = True
            try:
                yield
            except BaseException:
                self.execute("ROLLBACK")
                raise
            else:
                self.execute("COMMIT")
            finally:
                self._inside = False


class SqliteDatabase(Database):
    """A SQLite file, or `:memory:`."""

    identity_column = "INTEGER PRIMARY KEY AUTOINCREMENT"
    _begin = "BEGIN IMMEDIATE"

    def __init__(self, path: str) -> None:
        super().__init__()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA foreign_keys = ON")

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        return self._connection.execute(sql, tuple(parameters)).fetchall()

    def close(self) -> None:
        self._connection.close()


class PostgresDatabase(Database):
    """A Postgres database; the URL is libpq's, which also reads PGPASSWORD and its other variables."""

    identity_column = "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    _begin = "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE"

    def __init__(self, url: str) -> None:
        super().__init__()
        import psycopg  # only here: it takes longer to import than the rest of the server

        self.connection = psycopg.connect(url, autocommit=True)
        if not isinstance(self.execute("SELECT 'x'::text")[0][0], str):
            encoding = self.execute("SHOW server_encoding")[0][0]
            raise RuntimeError(
                f"{url}: text is not decoded (server_encoding {encoding!r}); the database must be UTF8"
            )

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        with self.connection.cursor() as cursor:
            # psycopg scans for placeholders only when it gets parameters.
            cursor.execute(sql.replace("?", "%s").encode(), tuple(parameters) or None)
            return cursor.fetchall() if cursor.description is not None else []

    def close(self) -> None:
        self.connection.close()


def open_database(url: str) -> Database:
    """Open `:memory:`, `sqlite:///<path>`, a bare SQLite path, or `postgres[ql]://…`.

    Raises the driver's errors.
    """
    if url.startswith(("postgresql://", "postgres://")):
        return PostgresDatabase(url)
    return SqliteDatabase(url.removeprefix("sqlite:///"))
