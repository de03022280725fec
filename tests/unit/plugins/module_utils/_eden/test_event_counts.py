# SPDX-License-Identifier: GPL-3.0-or-later
"""The counts of events, and the file that keeps them."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.eden.reference.plugins.module_utils._eden.event_counts import (
    Counts,
    cache_file,
    count,
)

Event = dict[str, t.Any]


def event(number: int, event_type: str, **data: t.Any) -> Event:
    return {"event_id": f"event-{number}", "type": event_type, "data": data}


LOG = [
    event(1, "task.created", task_id="ideation-1", kind="ideation"),
    event(2, "task.completed", task_id="ideation-1"),
    event(3, "task.completed", task_id="execution-1"),
    event(4, "variant.integrated", variant_id="v"),
]
ALL = Counts(4, "event-4", {"task.completed": 2, "task.created": 1, "variant.integrated": 1}, 1)


class Store:
    """A task store with that log; it notes the cursors that it is asked for."""

    def __init__(self, *log: Event) -> None:
        self.log = log
        self.cursors: list[int] = []

    def events(self, cursor: int = 0) -> tuple[list[Event], int]:
        self.cursors.append(cursor)
        return list(self.log[cursor:]), max(cursor, len(self.log))


def counted(store: Store, path: Path) -> Counts:
    return count(store, path)  # type: ignore[arg-type]


def test_events_are_counted_by_type_and_ideations_apart(tmp_path: Path) -> None:
    assert counted(Store(*LOG), tmp_path / "new" / "counts.json") == ALL


def test_only_new_events_are_read_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    counted(Store(*LOG[:3]), path)
    store = Store(*LOG)
    assert counted(store, path) == counted(store, path) == ALL
    assert store.cursors == [2, 3]
    assert [file.name for file in tmp_path.iterdir()] == ["counts.json"]


@pytest.mark.parametrize(
    "log",
    [LOG[:2], [], [*LOG[:2], event(7, "task.completed", task_id="ideation-7"), LOG[3]]],
    ids=["shorter", "empty", "another"],
)
def test_another_log_is_read_from_its_beginning(tmp_path: Path, log: list[Event]) -> None:
    path = tmp_path / "counts.json"
    counted(Store(*LOG[:3]), path)
    store = Store(*log)
    assert counted(store, path) == Counts().and_then(log)
    assert store.cursors == [2, 0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        json.dumps({"cursor": 3}),
        json.dumps({"cursor": 1, "last": "event-1", "events": {"a": "1"}, "ideations": 0}),
        json.dumps({"cursor": 1, "last": "event-1", "events": [1], "ideations": 0}),
        json.dumps({"unknown": 1}),
    ],
)
def test_a_file_that_cannot_be_read_is_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "counts.json"
    path.write_text(text)
    assert counted(Store(*LOG), path) == ALL
    assert json.loads(path.read_text())["cursor"] == 4


def test_a_file_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert counted(Store(*LOG), tmp_path / "file" / "counts.json") == ALL


def test_each_experiment_on_each_cluster_has_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    files = {cache_file(experiment, server) for experiment in ("a", "b") for server in ("c", "d")}
    assert len(files) == 4
    assert {file.parent for file in files} == {Path("/cache/eden.reference")}
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/mine")
    assert cache_file("a", "c").parent == Path("/mine/.cache/eden.reference")
