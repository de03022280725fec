# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests/bench makes of commands, pods and numbers."""

from __future__ import annotations

import os
import re
import sys
import typing as t
from pathlib import Path
from xml.etree import ElementTree

import drawing
import pytest
import report
from recording import Ended, run, stages, timeline

Document = dict[str, t.Any]

SVG = "{http://www.w3.org/2000/svg}"


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
    return {
        "measure": measure,
        "contender": contender,
        "seconds": seconds,
        "phases": {},
        "pods": [],
        **more,
    }


def row(results: Document, title: str) -> list[str]:
    """The cells of a row of the table."""
    (line,) = [line for line in report.table(results).splitlines() if line.startswith(f"| {title}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


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


# Pods


@pytest.mark.parametrize(
    ("status", "reached"),
    [
        ({}, ["created"]),
        ({"conditions": conditions()}, ["created"]),
        ({"conditions": conditions("PodScheduled")}, ["created", "scheduled"]),
        (
            {
                "conditions": conditions("PodScheduled"),
                "containerStatuses": [{"state": {"running": {}}}, {"state": {"waiting": {}}}],
            },
            ["created", "scheduled"],
        ),
        (
            {
                "conditions": conditions("PodScheduled", "Initialized"),
                "containerStatuses": [{"state": {"running": {}}}],
            },
            ["created", "scheduled", "started"],
        ),
        (
            {
                "conditions": conditions("PodScheduled", "Initialized", "ContainersReady", "Ready"),
                "containerStatuses": [{"state": {"running": {}}}],
            },
            ["created", "scheduled", "started", "ready"],
        ),
        (
            {
                "phase": "Succeeded",
                "conditions": conditions("PodScheduled", "Initialized"),
                "containerStatuses": [{"state": {"terminated": {}}}],
            },
            ["created", "scheduled", "started", "ended"],
        ),
    ],
)
def test_the_status_of_a_pod_tells_what_it_has_passed_through(status: Document, reached: list[str]) -> None:
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
    assert report.made_anew({"pods": [old, new]}) == [new]


# Numbers


def test_a_row_has_the_spread_of_both_and_the_ratio_of_their_medians() -> None:
    runs = [entry("cold", "collection", seconds) for seconds in (30.0, 20.0, 25.0)]
    runs += [entry("cold", "chart", seconds) for seconds in (100.0, 200.0)]
    cells = row({"patience": "60s", "runs": runs}, "cold")
    assert cells[1:] == ["25.0", "20.0", "30.0", "3", "150.0", "100.0", "200.0", "2", "6.0"]


def test_without_the_chart_there_is_neither_its_column_nor_a_ratio() -> None:
    results = {"patience": "60s", "runs": [entry("cold", "collection", 30.0, events=63)]}
    assert row(results, "cold")[1:] == ["30.0", "30.0", "30.0", "1"]
    assert "Helm" not in report.table(results)


def test_a_measure_of_one_contender_only_has_no_ratio() -> None:
    runs = [entry("check", "collection", 6.0), entry("cold", "chart", 100.0)]
    assert row({"patience": "60s", "runs": runs}, "`--check`")[-5:] == ["", "", "", "", ""]


@pytest.mark.parametrize(("named", "ratio"), [(None, "over 8.0"), (70.0, "8.0")])
def test_a_cause_that_was_never_named_leaves_a_lower_bound(named: float | None, ratio: str) -> None:
    runs = [entry("broken", "collection", 10.0, named=9.0), entry("broken", "chart", 80.0, named=named)]
    results = {"patience": "60s", "runs": runs}
    assert row(results, "image")[-1] == ratio
    assert ("after: not at all" in report.table(results)) is (named is None)
    assert "--timeout 60s" in report.table(results)


def test_what_was_counted_is_told() -> None:
    old, new = {"created": -0.0}, {"created": 0.5}
    runs = [
        entry("cold", "collection", 30.0, events=63),
        entry("unchanged", "collection", 4.0, writes=0, changed=0, pods=[old]),
        entry("changed", "collection", 9.0, pods=[old, new, new]),
    ]
    told = report.table({"patience": "60s", "runs": runs})
    assert "- events at the end of the experiment: 63" in told
    assert "- writes at the API server when nothing changed: 0" in told
    assert "- pods made anew, run again, nothing changed: 0" in told
    assert "- pods made anew, one changed value: 2" in told


# The picture


WEB_UI = {"component": "web-ui", "created": 2.0, "scheduled": 3.0, "started": 5.0, "ready": 8.0}
SEED = {"component": "repo-init", "created": 1.0, "scheduled": 1.5, "started": 2.0, "ended": 4.0}


def bars(picture: str) -> dict[str, tuple[float, float]]:
    """Where each bar that has a title begins and ends, in the picture's units."""
    found = {}
    for shape in ElementTree.fromstring(picture).iter(f"{SVG}rect"):
        title = shape.find(f"{SVG}title")
        if title is not None and title.text:
            begin = float(shape.attrib["x"])
            found[title.text] = (begin, begin + float(shape.attrib["width"]))
    return found


def test_a_bar_begins_and_ends_where_the_axis_says() -> None:
    picture = drawing.draw([drawing.Panel("site.yml", 10.0, {"infra": 1.0, "verify": 8.0}, [SEED, WEB_UI])])
    marks = {
        found[2]: float(found[1])
        for found in re.finditer(r'<text x="([\d.]+)"[^>]*>(\d+)(?: s)?</text>', picture)
    }
    second = (marks["10"] - marks["0"]) / 10
    expected = {
        "infra: 7.0 s": (1.0, 8.0),
        "verify: 2.0 s": (8.0, 10.0),
        "repo-init waits for a node or a volume: 1.0 to 1.5 s": (1.0, 1.5),
        "repo-init containers start: 1.5 to 2.0 s": (1.5, 2.0),
        "repo-init runs, is not ready: 2.0 to 4.0 s": (2.0, 4.0),
        "web-ui waits for a node or a volume: 2.0 to 3.0 s": (2.0, 3.0),
        "web-ui containers start: 3.0 to 5.0 s": (3.0, 5.0),
        "web-ui runs, is not ready: 5.0 to 8.0 s": (5.0, 8.0),
        "web-ui is ready: 8.0 to 10.0 s": (8.0, 10.0),
    }
    drawn = {
        title: tuple((edge - marks["0"]) / second for edge in edges) for title, edges in bars(picture).items()
    }
    assert drawn.keys() == expected.keys()
    for title, edges in expected.items():
        assert drawn[title] == pytest.approx(edges, abs=0.01), title


def test_both_panels_have_one_axis() -> None:
    panels = [drawing.Panel(name, seconds, {}, [WEB_UI]) for name, seconds in (("A", 10.0), ("B", 40.0))]
    begins = [edges[0] for title, edges in bars(drawing.draw(panels)).items() if title.endswith("10.0 s")]
    single = bars(drawing.draw(panels[1:]))
    assert begins == [edges[0] for title, edges in single.items() if "is ready" in title]


def test_the_picture_shows_the_cold_runs_of_median_length() -> None:
    runs = [
        entry("cold", contender, seconds, pods=[WEB_UI, {"component": "old", "created": 0.0}])
        for contender, lengths in (("collection", (31.0, 29.0, 30.0)), ("chart", (99.0, 95.0, 97.0)))
        for seconds in lengths
    ]
    picture = report.picture({"runs": runs})
    assert re.findall(r">(ends after \d+ s)<", picture) == ["ends after 30 s", "ends after 97 s"]
    assert ">web-ui<" in picture
    assert ">old<" not in picture
    assert report.picture({"runs": []}) == ""
