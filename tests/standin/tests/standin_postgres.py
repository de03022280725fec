# SPDX-License-Identifier: GPL-3.0-or-later
"""A throwaway Postgres server from the Debian package."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import psycopg

_ROLE = "eden"


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        assert os.geteuid() == 0, "Postgres is not installed: run `apt-get install postgresql` as root"
        apt = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for arguments in (["update", "-qq"], ["install", "-y", "-qq", "postgresql"]):
            subprocess.run(["apt-get", *arguments], check=True, env=apt, stdout=subprocess.DEVNULL)
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    assert found, "the package postgresql has installed no /usr/lib/postgresql/*/bin/initdb"
    return found[-1].parent


class PostgresServer:
    """Listens on 127.0.0.1 with password authentication; the role `eden` is a superuser."""

    def __init__(self) -> None:
        self._programs = _programs()
        self._directory = Path(tempfile.mkdtemp(prefix="standin-postgres-"))
        self.password = secrets.token_hex(8)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        password_file = self._directory / "password"
        password_file.write_text(self.password)
        if os.geteuid() == 0:
            shutil.chown(self._directory, "postgres", "postgres")
            shutil.chown(password_file, "postgres", "postgres")
        self._data = self._directory / "data"
        self._run(
            "initdb", "-D", str(self._data), "-U", _ROLE, "-E", "UTF8", "--locale=C", "-A", "scram-sha-256",
            "--pwfile", str(password_file), "--no-sync",
        )  # fmt: skip
        options = f"-p {self.port} -k {self._directory} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = str(self._directory / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", log, "-o", options, "start")

    def _run(self, program: str, *arguments: str) -> None:
        # Postgres refuses to run as root.
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*user, str(self._programs / program), *arguments]
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            check=False,
        )
        assert result.returncode == 0, f"{command}: {result.stderr.decode()}"

    def close(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(self._directory)

    def url(self, database: str, role: str = _ROLE) -> str:
        """A URL without the password, which goes to clients as PGPASSWORD."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    @property
    def environment(self) -> dict[str, str]:
        return {"PGPASSWORD": self.password}

    def connect(self, database: str, role: str = _ROLE, password: str | None = None) -> psycopg.Connection:
        return psycopg.connect(self.url(database, role), password=password or self.password, autocommit=True)

    def create_database(self, encoding: str = "UTF8") -> str:
        """The name of a new, empty database."""
        name = f"eden_{secrets.token_hex(4)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'".encode())
        return name

    def disconnect_clients(self, database: str) -> int:
        """Break all connections to a database; returns their number."""
        with self.connect("postgres") as connection:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
            return len(connection.execute(sql, (database,)).fetchall())
