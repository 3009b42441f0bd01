"""The learning curve: as a picture in a file, and in characters.

Knows lines, marks and widths; what they stand for, `curve` reads from the log. Invariant: nothing is drawn on a screen
by itself, and a promoted round is told from a rejected one without colour."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from runtime.learning.curve import Arm, Point
from runtime.learning.judging.sequential import Interval
from runtime.models.pictures import DPI, LINEAR, REAL, styled
from telemetry.files import replace_file

NARROW = 72
"""Columns below which all panels stand below each other."""
WIDEST = 110
HEIGHT = 11
"""Lines of a panel in characters."""
STANDS, REJECTED = "●", "×"
BESIDE = 0.14
"""How far a candidate that was rejected stands beside what stands, in rounds."""


class Ruler(Protocol):
    """Of plotext, as far as it is used here: the package has no types."""

    def ticks(self, positions: Sequence[float], labels: Sequence[str]) -> object: ...
    def lim(self, low: float, high: float) -> object: ...


class Signal(Protocol):
    def lines(self) -> Signal: ...


class Place(Protocol):
    def signal(self, x: Sequence[float], y: Sequence[float], *, marker: str) -> Signal: ...
    def draw(self, signal: Signal) -> object: ...
    def ruler(self, axis: str) -> Ruler: ...


class Panel(NamedTuple):
    title: str
    unit: str
    of: Callable[[Arm], Interval | None]
    low: float | None = None
    high: float | None = None
    """Ends of the axis, where they are known beforehand."""


PANELS = (
    Panel("success", "share of episodes", lambda arm: arm.success, 0.0, 1.0),
    Panel("to the goal", "decisions", lambda arm: arm.steps, 0.0),
    Panel("surprise", "nats a dimension", lambda arm: arm.nats),
    Panel("prediction error", "of a copy's", lambda arm: arm.error_over_copy, 0.0),
)


class _Mark(NamedTuple):
    round: float
    at: Interval


def _stands(points: Sequence[Point], panel: Panel) -> list[_Mark]:
    measured = [point for point in points if point.pairs]
    return [_Mark(point.round, at) for point in measured if (at := panel.of(point.stands)) is not None]


def _rejected(points: Sequence[Point], panel: Panel) -> list[_Mark]:
    """Candidates that were not better, a little beside what stands."""
    turned_down = [point for point in points if point.verdict == "rejected" and point.candidate is not None]
    marks = [(point.round, panel.of(point.candidate)) for point in turned_down if point.candidate is not None]
    return [_Mark(number + BESIDE, at) for number, at in marks if at is not None]


def _label(point: Point) -> str:
    return "before" if point.verdict is None else f"{point.round}\n{point.verdict}"


def draw(points: Sequence[Point], path: Path, *, name: str) -> Path:
    """Writes the picture to `path`, whole or not at all. `points` holds one at least."""
    with styled():
        figure = Figure(figsize=(9.6, 6.2))
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(5.9, 0.3))[:, 0]
        for axes, panel in zip(above.subplots(2, 2).ravel(), PANELS, strict=True):
            _panel(axes, points, panel)
        pairs = sorted({point.pairs for point in points if point.pairs})
        seeds = f"{pairs[0]}" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]}"
        above.suptitle(f"{name}: what stands after each round, on {seeds} fresh evaluation seeds (95 % intervals)")
        handles = {
            label: handle
            for axes in above.axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        below.legend([*handles.values()], [*handles], loc="center", ncols=3)
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=DPI, format="png")
    replace_file(path, drawn.getvalue())
    return path


def _panel(axes: Axes, points: Sequence[Point], panel: Panel) -> None:
    marks = _stands(points, panel)
    axes.errorbar(*_bars(marks), fmt="o-", color=REAL, ms=5.5, lw=1.5, capsize=3, label="what stands")
    if turned_down := _rejected(points, panel):
        bars = axes.errorbar(
            *_bars(turned_down),
            fmt="X",
            color=LINEAR,
            mfc="white",
            ms=6.5,
            capsize=3,
            label="a candidate that was rejected",
        )
        for line in bars.lines[2]:
            line.set_linestyle(":")
    axes.set(title=panel.title, ylabel=panel.unit, xlabel="round")
    axes.set_xticks([point.round for point in points], [_label(point) for point in points])
    axes.set_xlim(points[0].round - 0.5, points[-1].round + 0.5)
    axes.set_ylim(bottom=panel.low, top=None if panel.high is None else panel.high * 1.03)
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="y", color="#e2e2e2", lw=0.7)


def _bars(marks: Sequence[_Mark]) -> tuple[list[float], list[float], list[list[float]]]:
    reach = [[mark.at.value - mark.at.low for mark in marks], [mark.at.high - mark.at.value for mark in marks]]
    return [mark.round for mark in marks], [mark.at.value for mark in marks], reach


# --- in characters ------------------------------------------------------------------------------------------------


def sketch(points: Sequence[Point], *, width: int) -> str:
    """The same panels in characters, `width` columns wide at most, two beside each other where there is room."""
    import plotext  # loads what a picture in a file needs not

    plotext.terminal.limit(width=False, height=False)
    width = min(width, WIDEST)
    columns = 2 if width >= NARROW else 1
    rows = -(-len(PANELS) // columns)
    figure = plotext.figure
    figure.clear()
    figure.subplots(rows, columns)
    figure.plot_size(width, HEIGHT * rows)
    for number, panel in enumerate(PANELS):
        place = figure.subplot(1 + number // columns, 1 + number % columns)
        place.theme("colorless")
        place.title(f"{panel.title} ({panel.unit})")
        _sketched(place, points, panel)
    lines = str(figure.build().string(colorless=True)).splitlines()
    figure.clear()
    return "\n".join(line.rstrip() for line in (*lines, _legend(points)))


def _sketched(place: Place, points: Sequence[Point], panel: Panel) -> None:
    """Bars first, so that the marks stand on them."""
    stands, turned_down = _stands(points, panel), _rejected(points, panel)
    for mark, bar in [*((mark, "│") for mark in stands), *((mark, "┊") for mark in turned_down)]:
        place.draw(place.signal([mark.round] * 2, [mark.at.low, mark.at.high], marker=bar).lines())
    for marks, sign in ((stands, STANDS), (turned_down, REJECTED)):
        if marks:
            place.draw(place.signal([mark.round for mark in marks], [mark.at.value for mark in marks], marker=sign))
    across = place.ruler("x")
    across.ticks([point.round for point in points], [str(point.round) for point in points])
    across.lim(points[0].round - 0.5, points[-1].round + 0.5)
    if panel.low is not None and panel.high is not None:
        place.ruler("y").lim(panel.low, panel.high)


def _legend(points: Sequence[Point]) -> str:
    down = f"   {REJECTED} a rejected candidate" if any(p.verdict == "rejected" and p.candidate for p in points) else ""
    return f"{STANDS} what stands after a round, {points[0].round} before{down}   bars: 95 % intervals"
