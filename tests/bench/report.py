# SPDX-License-Identifier: GPL-3.0-or-later
"""The results as a table and as a picture."""

from __future__ import annotations

import statistics
import typing as t

import drawing

Document = dict[str, t.Any]

OURS, THEIRS = "collection", "chart"
TITLES = {OURS: "site.yml", THEIRS: "Helm chart's script"}
MEASURES = {
    "check": "`--check`, nothing there",
    "cold": "cold bring-up",
    "unchanged": "run again, nothing changed",
    "changed": "one changed value",
    "broken": "image that the registry does not have, to the end",
    "several": "5 experiments at once, cold",
}


def runs(results: Document, measure: str, contender: str) -> list[Document]:
    """The runs of a measure by a contender."""
    return [run for run in results["runs"] if (run["measure"], run["contender"]) == (measure, contender)]


def table(results: Document) -> str:
    """The seconds of each measure, and what else was counted, as Markdown."""
    both = any(run["contender"] == THEIRS for run in results["runs"])
    columns = [OURS, THEIRS] if both else [OURS]
    head = ["seconds", *(f"{TITLES[column]}: median | min | max | N" for column in columns)]
    lines = [_row([*head, "ratio"] if both else head)]
    lines.append(_row(["---", *["--:"] * (4 * len(columns) + both)]))
    for measure, title in MEASURES.items():
        cells = [_spread(runs(results, measure, column)) for column in columns]
        if any(cell[0] for cell in cells):
            ratio = [_ratio(results, measure)] if both else []
            lines.append(_row([title, *(word for cell in cells for word in cell), *ratio]))
    return "\n".join([*lines, "", *_counts(results, columns)]) + "\n"


def _row(cells: t.Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _spread(found: list[Document]) -> list[str]:
    if not found:
        return ["", "", "", ""]
    seconds = [run["seconds"] for run in found]
    shown = [f"{value:.1f}" for value in (statistics.median(seconds), min(seconds), max(seconds))]
    return [*shown, str(len(seconds))]


def _ratio(results: Document, measure: str) -> str:
    """How many times as long the chart's script takes, by the medians.

    Where it ended without having named the cause, there is no telling when it would have.
    """
    ours, theirs = (runs(results, measure, contender) for contender in (OURS, THEIRS))
    if not ours or not theirs:
        return ""
    ratio = statistics.median(run["seconds"] for run in theirs) / statistics.median(
        run["seconds"] for run in ours
    )
    unnamed = measure == "broken" and all(run["named"] is None for run in theirs)
    return f"{'over ' if unnamed else ''}{ratio:.1f}"


def _counts(results: Document, columns: list[str]) -> list[str]:
    """What was counted besides seconds."""
    lines = []
    for column in columns:
        told = []
        for measure, key, what in (
            ("cold", "events", "events at the end of the experiment"),
            ("unchanged", "writes", "writes at the API server when nothing changed"),
            ("unchanged", "changed", "changes that ansible then counted"),
        ):
            values = [run[key] for run in runs(results, measure, column) if key in run]
            if values:
                told.append(f"{what}: {_values(values)}")
        for measure in ("unchanged", "changed"):
            made = [len(made_anew(run)) for run in runs(results, measure, column)]
            if made:
                told.append(f"pods made anew, {MEASURES[measure]}: {_values(made)}")
        broken = runs(results, "broken", column)
        if broken:
            named = [run["named"] for run in broken]
            told.append(f"the broken image's cause was printed after: {_values(named, ' s')}")
        lines += [f"{TITLES[column]}:", "", *(f"- {line}" for line in told), ""]
    if runs(results, "broken", THEIRS):
        lines.append(
            f"With the broken image the script was told `--timeout {results['patience']}`; its default is 5m."
        )
    return lines


def _values(values: t.Sequence[float | None], unit: str = "") -> str:
    distinct = sorted({"not at all" if value is None else f"{value:g}{unit}" for value in values})
    return (
        ", ".join(distinct)
        if len(distinct) < 3
        else ", ".join("not at all" if value is None else f"{value:g}{unit}" for value in values)
    )


def made_anew(run: Document) -> list[Document]:
    """The pods that were made while the command ran."""
    return [pod for pod in run["pods"] if pod["created"] > 0]


def picture(results: Document) -> str:
    """The cold bring-ups of median length above each other, or nothing where none was measured."""
    panels = []
    for contender in (OURS, THEIRS):
        found = sorted(runs(results, "cold", contender), key=lambda run: float(run["seconds"]))
        if found:
            run = found[(len(found) - 1) // 2]
            panels.append(drawing.Panel(TITLES[contender], run["seconds"], run["phases"], made_anew(run)))
    return drawing.draw(panels) if panels else ""
