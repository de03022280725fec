# SPDX-License-Identifier: GPL-3.0-or-later
"""How Postgres starts: an initialisation that was killed is done again, and nothing else is ever deleted."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import pytest

FILES = pathlib.Path(__file__).resolve().parents[3] / "roles/infra/files"
# The steps of the image: it initialises if there is no PG_VERSION, and initdb refuses a directory with files.
# It is killed at $STEP.
ENTRYPOINT = """#!/bin/sh
set -e
step() { [ "${STEP:-}" != "$1" ] || kill -9 $$; }
[ "$1" = postgres ]
step 1
mkdir -p "$PGDATA"
step 2
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    [ -z "$(ls -A "$PGDATA")" ] || { echo "directory exists but is not empty" >&2; exit 1; }
    mkdir "$PGDATA/base"
    step 3
    echo 16 >"$PGDATA/PG_VERSION"
    step 4
    touch "$PGDATA/pg_hba.conf"
    step 5
    touch "$PGDATA/base/eden"
    step 6
    "$END"
    step 7
fi
[ -e "$PGDATA/base/eden" ] || { echo 'database "eden" does not exist' >&2; exit 1; }
echo row >>"$PGDATA/base/eden"
"""


class Postgres:
    """A volume, and the container that starts on it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.volume, programs = root / "volume", root / "programs"
        self.data = self.volume / "pgdata"
        for folder in (self.volume, programs):
            folder.mkdir()
        (self.volume / "lost+found").mkdir()
        self.entrypoint, self.end = programs / "docker-entrypoint.sh", programs / "end"
        self.entrypoint.write_text(ENTRYPOINT)
        shutil.copy(FILES / "end-initialisation", self.end)
        for program in (self.entrypoint, self.end):
            program.chmod(0o755)
        self.environment = {"PATH": f"{programs}:{os.environ['PATH']}", "END": str(self.end)}

    def start(self, step: int = 0) -> int:
        """The status of a start that is killed at a step."""
        environment = {**self.environment, "PGDATA": str(self.data), "STEP": str(step)}
        return subprocess.run(
            ["sh", str(FILES / "start-postgres")], env=environment, check=False, capture_output=True
        ).returncode

    @property
    def rows(self) -> list[str]:
        return (self.data / "base" / "eden").read_text().split()


@pytest.fixture
def postgres(tmp_path: pathlib.Path) -> Postgres:
    return Postgres(tmp_path)


@pytest.mark.parametrize("again", range(8))
@pytest.mark.parametrize("step", range(1, 8))
def test_an_initialisation_that_was_killed_is_done_again(postgres: Postgres, step: int, again: int) -> None:
    assert postgres.start(step) == -9
    # A second time, at any step, or not at all.
    served = postgres.start(again) == 0
    assert postgres.start() == 0
    assert postgres.start() == 0
    # What was served once is kept.
    assert len(postgres.rows) == 2 + served
    assert sorted(path.name for path in postgres.volume.iterdir()) == ["lost+found", "pgdata"]


def test_a_database_of_an_older_version_is_kept(postgres: Postgres) -> None:
    (postgres.data / "base").mkdir(parents=True)
    for name, text in (("PG_VERSION", "16"), ("base/eden", "old\n")):
        (postgres.data / name).write_text(text)
    for step in (1, 2, 0, 0):
        postgres.start(step)
    assert postgres.rows == ["old", "row", "row"]


def test_files_that_are_no_database_are_kept(postgres: Postgres) -> None:
    postgres.data.mkdir()
    (postgres.data / "notes").write_text("kept")
    for step in (0, 1, 0):
        assert postgres.start(step) != 0
    assert (postgres.data / "notes").read_text() == "kept"


def test_a_marker_that_cannot_be_removed_keeps_the_database_from_being_served(postgres: Postgres) -> None:
    postgres.end.write_text("#!/bin/sh\nexit 1\n")
    assert postgres.start() == 1
    assert postgres.rows == []
    postgres.end.write_text((FILES / "end-initialisation").read_text())
    assert postgres.start() == 0
    assert postgres.rows == ["row"]
