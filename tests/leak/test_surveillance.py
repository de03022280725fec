# SPDX-License-Identifier: GPL-3.0-or-later
"""The surveillance sees processes and files that are gone at its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from secret_search import SecretSearch
from surveillance import Surveillance

CANARY = "canary-5f1c7b0e9d"
WAITS_FOR_ITS_INPUT = [sys.executable, "-c", "import sys; sys.stdin.read()", CANARY]


def test_sees_the_arguments_of_a_process_that_has_ended() -> None:
    with Surveillance() as watch:
        with subprocess.Popen(WAITS_FOR_ITS_INPUT, stdin=subprocess.PIPE) as child:
            watch.await_look()
            assert child.stdin is not None
            child.stdin.close()
        assert child.returncode == 0
    assert [hit.place for hit in SecretSearch({"it": CANARY}).find_in(watch.contents())] == [
        "the arguments of a process"
    ]


def test_sees_a_file_that_was_deleted_and_one_that_was_overwritten(tmp_path: Path) -> None:
    with Surveillance([tmp_path]) as watch:
        for name in ("deleted", "overwritten"):
            (tmp_path / "below").mkdir(exist_ok=True)
            (tmp_path / "below" / name).write_text(CANARY)
        watch.await_look()
        (tmp_path / "below" / "deleted").unlink()
        (tmp_path / "below" / "overwritten").write_text("something else")
    places = {hit.place for hit in SecretSearch({"it": CANARY}).find_in(watch.contents())}
    assert {Path(place.split(",")[0]).name for place in places if place.startswith("the file")} == {
        "deleted",
        "overwritten",
    }


def test_keeps_one_content_of_a_file_that_grows(tmp_path: Path) -> None:
    watch = Surveillance([tmp_path])
    for content in ("a", "ab", "abc", "x", "xy"):
        (tmp_path / "log").write_text(content)
        watch.look()
    assert [text.rpartition(b"\n")[2] for text in watch.files.values()] == [b"abc", b"xy"]


def test_sees_the_name_of_a_file(tmp_path: Path) -> None:
    with Surveillance([tmp_path]):
        pass
    (tmp_path / CANARY).touch()
    with Surveillance([tmp_path]) as watch:
        pass
    assert SecretSearch({"it": CANARY}).find_in(watch.contents())


def test_sees_nothing_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("something else")
    with Surveillance([tmp_path]) as watch:
        watch.await_look()
    files = {k: v for k, v in watch.contents().items() if "file" in k}
    assert SecretSearch({"it": CANARY}).find_in(files) == []


def test_tells_of_a_failure_in_its_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> set[bytes]:
        raise RuntimeError("no /proc")

    monkeypatch.setattr("surveillance.arguments_of_processes", fail)
    with pytest.raises(RuntimeError, match="no /proc"), Surveillance([tmp_path]) as watch:
        watch.await_look()
