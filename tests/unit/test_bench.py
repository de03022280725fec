# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/bench makes of commands, pods and numbers."""

from __future__ import annotations

import json
import os
import sys
import typing as t
from datetime import UTC, datetime
from pathlib import Path

import measuring
import pytest
import report
from recording import Ended, run, stages, timeline

Document = dict[str, t.Any]


def pod(name: str = "eden-web-ui-0", **status: t.Any) -> Document:
    """A pod as the API server tells it."""
    labels = {"app.kubernetes.io/component": "web-ui"}
    return {"metadata": {"namespace": "eden", "name": name, "uid": f"uid-{name}", "labels": labels}} | (
        {"status": status} if status else {}
    )


def conditions(*true: str) -> list[Document]:
    """The conditions of a pod, of which those named hold."""
    known = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    return [{"type": name, "status": "True" if name in true else "False"} for name in known]


def entry(measure: str, contender: str, seconds: float, **more: t.Any) -> Document:
    """What is kept of a run."""
    return {"measure": measure, "contender": contender, "seconds": seconds, "phases": {}, "pods": [], **more}


# Commands


def command(script: str, limit: float = 60.0) -> Ended:
    return run([sys.executable, "-uc", script], os.environ, Path.cwd(), limit)


def test_a_command_is_kept_with_both_of_its_streams_and_its_status() -> None:
    ended = command("import sys; print('said'); print('warned', file=sys.stderr); sys.exit(3)")
    assert (ended.output, ended.status) == ("said\nwarned\n", 3)


def test_the_first_wanted_line_tells_when_it_came() -> None:
    ended = Ended(0.0, 9.0, 0, [(1.0, "first"), (2.5, "cannot pull"), (4.0, "cannot pull")])
    assert ended.first(lambda line: "pull" in line) == 2.5
    assert ended.first(lambda line: "absent" in line) is None


def test_a_command_that_hangs_is_killed_with_what_it_started() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    ended = command(script, limit=1.0)
    assert ended.status < 0
    assert ended.seconds < 60


# What an experiment took


def test_the_last_integration_counts_from_the_beginning_of_the_bring_up() -> None:
    begun = datetime(2026, 11, 28, 12, tzinfo=UTC)
    events = [
        {"type": kind, "occurred_at": f"2026-11-28T12:00:{second}Z"}
        for kind, second in (("variant.integrated", 31), ("variant.integrated", 42.5), ("task.completed", 50))
    ]
    assert measuring.integrated(events, begun) == 42.5


class Kubelet:
    """Answers with the figures of one pod of the namespace, and one of another."""

    node = "node"

    def kubectl(self, *words: str) -> bytes:
        pods = [
            {
                "podRef": {"namespace": namespace},
                "cpu": {"time": "1970-01-01T00:01:00Z", "usageCoreNanoSeconds": 2_500_000_000},
                "memory": {"workingSetBytes": 3 * 2**20},
            }
            for namespace in ("eden", "other")
        ]
        return json.dumps({"pods": pods}).encode()


def test_only_the_pods_of_the_experiment_count() -> None:
    found = measuring.consumption(Kubelet(), "eden")  # type: ignore[arg-type]
    assert found == measuring.Consumption(at=60.0, seconds=2.5, mebibytes=3.0)


# Pods


RUNNING, WAITING, TERMINATED = ({"state": {state: {}}} for state in ("running", "waiting", "terminated"))


@pytest.mark.parametrize(
    ("true", "containers", "phase", "reached"),
    [
        ("", [], "", ["created"]),
        ("PodScheduled", [], "", ["created", "scheduled"]),
        ("PodScheduled", [RUNNING, WAITING], "", ["created", "scheduled"]),
        ("PodScheduled", [RUNNING], "", ["created", "scheduled", "started"]),
        ("PodScheduled Ready", [RUNNING], "", ["created", "scheduled", "started", "ready"]),
        ("PodScheduled", [TERMINATED], "Succeeded", ["created", "scheduled", "started", "ended"]),
    ],
)
def test_the_status_of_a_pod_shows_what_it_has_passed_through(
    true: str, containers: list[Document], phase: str, reached: list[str]
) -> None:
    status = {"conditions": conditions(*true.split()), "containerStatuses": containers, "phase": phase}
    assert stages(pod(**status)) == reached


def test_a_timeline_has_the_first_time_of_each_stage_after_the_command_began() -> None:
    scheduled = pod(conditions=conditions("PodScheduled"))
    seen = [
        (9.999, {"type": "ADDED", "object": pod("old")}),
        (12.0, {"type": "ADDED", "object": pod()}),
        (12.5, {"type": "MODIFIED", "object": scheduled}),
        (14.0, {"type": "MODIFIED", "object": scheduled}),
        (15.0, {"type": "DELETED", "object": scheduled}),
    ]
    old, new = timeline(seen, 10.0)
    assert (old["name"], old["created"]) == ("old", 0.0)
    assert new == {
        "namespace": "eden",
        "name": "eden-web-ui-0",
        "component": "web-ui",
        "created": 2.0,
        "scheduled": 2.5,
        "deleted": 5.0,
    }
    assert report.recreated({"pods": [old, new]}) == [new]


TABLE = """\
| seconds | site.yml: median, min to max (N) | Helm chart's script: median, min to max (N) | ratio |
| --- | --: | --: | --: |
| `--check`, nothing there | 6.0, 6.0 to 6.0 (1) |  |  |
| cold bring-up | 25.0, 20.0 to 30.0 (3) | 150.0, 100.0 to 200.0 (2) | 6.0 |
| run again, nothing changed | 4.0, 4.0 to 4.0 (1) |  |  |
| missing image, to the end | 10.0, 10.0 to 10.0 (1) | 80.0, 80.0 to 80.0 (1) | over 8.0 |
| events at the end of the experiment | 63 |  |  |
| writes at the API server when nothing changed | 0 |  |  |
| pods recreated, nothing changed | 1 |  |  |
| seconds until the broken image's cause was printed | 9.0 | None |  |

With the broken image the script was given `--timeout 60s` (default: 5m).
"""
WEB_UI = {"component": "web-ui", "created": 2.0, "scheduled": 3.0, "started": 5.0, "ready": 8.0}
SEED = {"component": "seed", "created": 1.0, "scheduled": 1.5, "started": 2.0, "ended": 4.0}
OLD = {"component": "old", "created": 0.0}
RUNS = [
    entry("check", "collection", 6.0),
    *(entry("cold", "collection", seconds, pods=[OLD, WEB_UI]) for seconds in (30.0, 20.0)),
    entry("cold", "collection", 25.0, events=63, pods=[OLD, SEED, WEB_UI]),
    *(entry("cold", "chart", seconds, phases={"infra": 1.0}) for seconds in (100.0, 200.0)),
    entry("unchanged", "collection", 4.0, writes=0, pods=[OLD, SEED]),
    entry("broken", "collection", 10.0, named=9.0),
    entry("broken", "chart", 80.0, named=None),
]


def test_the_table_has_the_spread_of_both_the_ratio_of_their_medians_and_the_counts() -> None:
    assert report.table({"timeout": "60s", "runs": RUNS}) == TABLE


def test_without_the_chart_it_has_no_column() -> None:
    assert "Helm" not in report.table({"timeout": "60s", "runs": RUNS[:3]})


def test_the_picture_shows_the_cold_runs_of_median_length() -> None:
    (ours, run), (theirs, other) = report.median_runs({"runs": RUNS})
    assert [(ours, run["seconds"]), (theirs, other["seconds"])] == [
        ("site.yml", 25.0),
        ("Helm chart's script", 100.0),
    ]
    assert report.recreated(run) == [SEED, WEB_UI]
    assert report.median_runs({"runs": []}) == []


def test_a_bar_begins_with_its_stage_and_ends_with_the_next_or_with_the_pod() -> None:
    stages_of_seed = [(1.0, 0.5), (1.5, 0.5), (2.0, 2.0)]
    assert [(begin, seconds) for begin, seconds, _colour in report.bars(SEED, 10.0)] == stages_of_seed
    assert [(begin, seconds) for begin, seconds, _colour in report.bars(WEB_UI, 7.0)] == [
        (2.0, 1.0),
        (3.0, 2.0),
        (5.0, 3.0),
    ]
