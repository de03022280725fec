# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws what pods went through as SVG: one panel above the other, on one axis of time."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

Document = dict[str, t.Any]

WIDTH = 960
LEFT = 168
RIGHT = 24
ROW = 18
BAR = 12
TITLE = 34
STRIP = 18
GAP = 26
AXIS = 58
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
INK, FAINT, GRID, PAPER = "#1f2328", "#59636e", "#e4e8ec", "#ffffff"
BANDS = ("#eaf1f8", "#dbe6f1")
# From the first to the next that a pod reaches; what it is called, and its colour.
STAGES = (
    ("created", "waits for a node or a volume", "#b6bec8"),
    ("scheduled", "containers start", "#7fb2e5"),
    ("started", "runs, is not ready", "#eba94a"),
    ("ready", "is ready", "#3b8f6b"),
)
# The seconds between two marks of the axis: the first of these that leaves at most twelve marks.
STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300)
MOST_MARKS = 12


@dataclass(frozen=True)
class Panel:
    """A command: how long it took, when its phases began, and what the pods went through meanwhile."""

    title: str
    seconds: float
    phases: dict[str, float]
    pods: list[Document]

    @property
    def height(self) -> int:
        """Its height in the picture."""
        return TITLE + STRIP + 6 + ROW * len(self.pods)


def draw(panels: t.Sequence[Panel]) -> str:
    """The picture."""
    longest = max(panel.seconds for panel in panels)
    step = next((step for step in STEPS if longest / step <= MOST_MARKS), STEPS[-1])
    scale = (WIDTH - LEFT - RIGHT) / (longest * 1.02)
    bottom = sum(panel.height for panel in panels) + GAP * (len(panels) - 1) + 10
    parts = list(_grid(longest, step, scale, bottom))
    top = 0
    for panel in panels:
        parts += _panel(panel, top, scale)
        top += panel.height + GAP
    parts += _legend(bottom + 38)
    said = "; ".join(f"{panel.title}: {panel.seconds:.0f} s" for panel in panels)
    height = bottom + AXIS
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="{FONT}" font-size="12" role="img">\n'
        f"<title>From an empty cluster to a running experiment. {escape(said)}</title>\n"
        + _rect(0, 0, WIDTH, height, PAPER, rx=6)
        + "".join(parts)
        + "</svg>\n"
    )


def _x(seconds: float, scale: float) -> float:
    return LEFT + seconds * scale


def _grid(longest: float, step: int, scale: float, bottom: float) -> t.Iterator[str]:
    for second in range(0, int(longest) + 1, step):
        x = _x(second, scale)
        yield f'<path d="M{x:.1f} {TITLE}V{bottom}" stroke="{GRID}"/>\n'
        yield _text(x, bottom + 15, f"{second} s" if second else "0", FAINT, "middle")


def _panel(panel: Panel, top: float, scale: float) -> t.Iterator[str]:
    yield _text(LEFT, top + 22, panel.title, INK, size=15, weight=600)
    end = _x(panel.seconds, scale)
    yield from _strip(panel, top + TITLE, scale)
    base = top + panel.height
    yield f'<path d="M{end:.1f} {top + TITLE - 4}V{base}" stroke="{INK}" stroke-width="1.5"/>\n'
    # Beside the end of the command, on the side where there is room.
    right = end > WIDTH / 2
    shown = f"ends after {panel.seconds:.0f} s"
    yield _text(
        end if right else end + 7,
        top + (22 if right else TITLE + 13),
        shown,
        INK,
        "end" if right else "start",
        weight=600,
    )
    for number, pod in enumerate(panel.pods):
        yield from _pod(pod, panel.seconds, top + TITLE + STRIP + 6 + number * ROW, scale)


def _strip(panel: Panel, top: float, scale: float) -> t.Iterator[str]:
    """The phases of the command."""
    begins = sorted(panel.phases.items(), key=lambda phase: phase[1])
    edges = pairwise([*(begin for _name, begin in begins), panel.seconds])
    for number, ((name, _begin), (begin, end)) in enumerate(zip(begins, edges, strict=True)):
        width = (end - begin) * scale
        yield _rect(
            _x(begin, scale), top, width, STRIP, BANDS[number % 2], title=f"{name}: {end - begin:.1f} s"
        )
        # About what a letter of this size takes.
        if width > 6.2 * len(name) + 6:
            yield _text(_x(begin, scale) + width / 2, top + 13, name, FAINT, "middle", size=11)


def _pod(pod: Document, until: float, top: float, scale: float) -> t.Iterator[str]:
    middle = top + ROW / 2
    yield _text(LEFT - 10, middle + 4, pod["component"], INK, "end")
    over = min(pod.get("ended", until), pod.get("deleted", until), until)
    reached = [(pod[stage], said, colour) for stage, said, colour in STAGES if stage in pod]
    edges = pairwise([*(begin for begin, _said, _colour in reached), over])
    for (_begin, said, colour), (begin, end) in zip(reached, edges, strict=True):
        width = (min(end, over) - begin) * scale
        if width > 0:
            title = f"{pod['component']} {said}: {begin:.1f} to {min(end, over):.1f} s"
            yield _rect(_x(begin, scale), middle - BAR / 2, width, BAR, colour, title=title)


def _legend(y: float) -> t.Iterator[str]:
    x = float(LEFT)
    for _stage, said, colour in STAGES:
        yield _rect(x, y - 10, 12, 12, colour)
        yield _text(x + 17, y, said, FAINT)
        x += 17 + 6.4 * len(said) + 22


def _rect(x: float, y: float, width: float, height: float, fill: str, rx: int = 2, title: str = "") -> str:
    inside = f"><title>{escape(title)}</title></rect>" if title else "/>"
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{rx}" '
        f'fill="{fill}"{inside}\n'
    )


def _text(
    x: float, y: float, text: str, fill: str, anchor: str = "start", size: int = 12, weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{fill}" text-anchor="{anchor}" font-size="{size}" '
        f'font-weight="{weight}">{escape(text)}</text>\n'
    )
