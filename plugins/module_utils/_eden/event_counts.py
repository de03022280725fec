# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Counts the events of an experiment, and keeps the counts, so that only new events are read the next time.

This module is private to the collection.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import typing as t
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ansible_collections.eden.reference.plugins.module_utils._collection import NAME
from ansible_collections.eden.reference.plugins.module_utils._eden.task_store import Document, TaskStore

# A task id begins with the kind of the task, and an event has only the id.
IDEATION_PREFIX = "ideation-"


@dataclass(frozen=True)
class Counts:
    """The events up to a place in the log.

    Attributes:
        cursor: the number of events.
        last: the id of the last of them.
        events: their number by type.
        ideations: how many ideation tasks were completed.
    """

    cursor: int = 0
    last: str = ""
    events: dict[str, int] = field(default_factory=dict)
    ideations: int = 0

    def and_then(self, events: t.Sequence[Document]) -> Counts:
        """The counts with the next events."""
        types = Counter(self.events)
        types.update(str(event["type"]) for event in events)
        return Counts(
            cursor=self.cursor + len(events),
            last=str(events[-1].get("event_id", "")) if events else self.last,
            events=dict(sorted(types.items())),
            ideations=self.ideations
            + sum(
                event["type"] == "task.completed"
                and str(event["data"].get("task_id", "")).startswith(IDEATION_PREFIX)
                for event in events
            ),
        )


def count(store: TaskStore, path: Path) -> Counts:
    """The counts of all events; reads those after the kept ones, and keeps the new counts."""
    kept = _read(path)
    if kept.cursor:
        # With the last known event, which shows whether this is still the same log.
        events, _cursor = store.events(kept.cursor - 1)
        if not events or events[0].get("event_id") != kept.last:
            kept = Counts()
        else:
            counts = kept.and_then(events[1:])
    if not kept.cursor:
        events, _cursor = store.events()
        counts = kept.and_then(events)
    if counts != kept:
        _write(path, counts)
    return counts


def cache_file(experiment_id: str, api_server: str) -> Path:
    """Where the counts of an experiment are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    digest = hashlib.sha256(api_server.encode()).hexdigest()[:12]
    return Path(base) / NAME / f"{experiment_id}-{digest}.json"


def _read(path: Path) -> Counts:
    """The kept counts, or none if they cannot be read."""
    try:
        kept = Counts(**json.loads(path.read_text()))
        return kept if sum(kept.events.values()) == kept.cursor else Counts()
    except (OSError, ValueError, TypeError, AttributeError):
        return Counts()


def _write(path: Path, counts: Counts) -> None:
    # A cache that cannot be written only costs time.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(json.dumps(asdict(counts)))
        os.replace(file.name, path)
