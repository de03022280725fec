# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as a table and as a picture."""

from __future__ import annotations

import statistics
import typing as t
from itertools import pairwise
from pathlib import Path

Document = dict[str, t.Any]

OURS, THEIRS = "collection", "chart"
TITLES = {OURS: "site.yml", THEIRS: "Helm chart's script"}
MEASURES = {
    "check": "`--check`, nothing there",
    "cold": "cold bring-up",
    "check again": "`--check`, everything there",
    "unchanged": "run again, nothing changed",
    "changed": "one changed value",
    "broken": "missing image, to the end",
    "several": "5 experiments at once, cold",
}
# What was counted besides seconds: measure, key and title.
COUNTS = (
    ("cold", "events", "events at the end of the experiment"),
    ("cold", "integrated", "seconds until 3 variants are integrated"),
    ("cold", "idle_cores", "cores that the ended experiment takes"),
    ("cold", "idle_mib", "MiB that the ended experiment takes"),
    ("unchanged", "writes", "writes at the API server when nothing changed"),
    ("unchanged", "changed", "changes that ansible then counted"),
    ("unchanged", "recreated", "pods recreated, nothing changed"),
    ("changed", "recreated", "pods recreated, one changed value"),
    ("broken", "named", "seconds until the broken image's cause was printed"),
)
# From the first to the next that a pod reaches; what it is called, and its colour.
STAGES = (
    ("created", "waits for a node or a volume", "#b6bec8"),
    ("scheduled", "containers start", "#7fb2e5"),
    ("started", "runs, is not ready", "#eba94a"),
    ("ready", "is ready", "#3b8f6b"),
)


def runs(results: Document, measure: str, contender: str) -> list[Document]:
    """The runs of a measure by a contender."""
    found = [run for run in results["runs"] if (run["measure"], run["contender"]) == (measure, contender)]
    return [{**run, "recreated": len(recreated(run))} for run in found]


def recreated(run: Document) -> list[Document]:
    """The pods that were created while the command ran."""
    return [pod for pod in run["pods"] if pod["created"] > 0]


def table(results: Document) -> str:
    """The seconds of each measure, and what else was counted, as Markdown."""
    columns = [column for column in TITLES if any(run["contender"] == column for run in results["runs"])]
    heads = ["seconds", *(f"{TITLES[column]}: median, min to max (N)" for column in columns), "ratio"]
    lines = [heads, ["---", *["--:"] * (len(columns) + 1)]]
    for measure, title in MEASURES.items():
        found = [runs(results, measure, column) for column in columns]
        if any(found):
            lines.append([title, *map(_spread, found), _ratio(found)])
    for measure, key, title in COUNTS:
        values = [
            ", ".join(f"{run[key]}" for run in runs(results, measure, column) if key in run)
            for column in columns
        ]
        if any(values):
            lines.append([title, *values, ""])
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    if THEIRS in columns:
        text += (
            f"\nWith the broken image the script was given `--timeout {results['timeout']}` (default: 5m).\n"
        )
    return text


def _spread(found: list[Document]) -> str:
    seconds = [run["seconds"] for run in found]
    if not seconds:
        return ""
    return f"{statistics.median(seconds):.1f}, {min(seconds):.1f} to {max(seconds):.1f} ({len(seconds)})"


def _ratio(found: list[list[Document]]) -> str:
    """How many times as long the chart's script takes, by the medians.

    A run that ended without having named the cause gives a lower bound.
    """
    if len(found) < 2 or not all(found):
        return ""
    ours, theirs = (statistics.median(run["seconds"] for run in each) for each in found)
    unnamed = all(run.get("named", 0) is None for run in found[1])
    return f"{'over ' if unnamed else ''}{theirs / ours:.1f}"


def median_runs(results: Document) -> list[tuple[str, Document]]:
    """The cold bring-up of median length of each contender, with its title."""
    found = [(TITLES[each], runs(results, "cold", each)) for each in TITLES]
    ordered = [(title, sorted(each, key=lambda run: float(run["seconds"]))) for title, each in found]
    return [(title, each[(len(each) - 1) // 2]) for title, each in ordered if each]


def bars(pod: Document, until: float) -> t.Iterator[tuple[float, float, str]]:
    """When each stage of a pod began, how long it took, and its colour."""
    over = min(pod.get("ended", until), pod.get("deleted", until), until)
    reached = [(pod[stage], colour) for stage, _title, colour in STAGES if stage in pod]
    for (begin, colour), (end, _next) in pairwise([*reached, (over, "")]):
        if end > begin:
            yield begin, end - begin, colour


def picture(results: Document, path: Path) -> None:
    """Draw what the pods went through in the cold bring-ups, one above the other, on one axis of time."""
    from matplotlib import pyplot
    from matplotlib.patches import Patch

    found = median_runs(results)
    if not found:
        return
    pods = [recreated(run) for _title, run in found]
    figure, axes = pyplot.subplots(
        len(found),
        sharex=True,
        squeeze=False,
        figsize=(10, 1.5 + 0.25 * sum(map(len, pods))),
        height_ratios=[max(1, len(each)) for each in pods],
        layout="constrained",
    )
    for (title, run), each, panel in zip(found, pods, axes.flat, strict=True):
        panel.set_title(f"{title}: ends after {run['seconds']:.0f} s", loc="left", pad=14)
        for number, pod in enumerate(each):
            for begin, seconds, colour in bars(pod, run["seconds"]):
                panel.barh(number, seconds, left=begin, color=colour, height=0.7)
        panel.set_yticks(range(len(each)), [pod["component"] for pod in each])
        panel.invert_yaxis()
        panel.set_xlim(left=0)
        panel.axvline(run["seconds"], color="black")
        for name, begin in run["phases"].items():
            panel.axvline(begin, color="#e4e8ec", zorder=0)
            panel.text(begin, -0.7, name, fontsize=7, color="#59636e")
    axes.flat[-1].set_xlabel("seconds")
    figure.legend(
        handles=[Patch(color=colour, label=title) for _stage, title, colour in STAGES],
        loc="outside lower center",
        ncols=len(STAGES),
    )
    figure.savefig(path)
