"""Pictures of a model: what it foresaw against what came, its map, what a goal costs from everywhere, and whether it
knows when it errs.

Knows lines and colours; what they stand for, `world_model` computes. Invariant: nothing is drawn on a screen, and
matplotlib is loaded by nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from world_model.experience import Experience, spaced
from world_model.held_out import MOST, STEPS, Trained, compared, foresee, longest, one_step
from world_model.plan.landmarks import Landmarks
from world_model.views import Plane, cost_grid, costs, far_end, plane_of

REAL, FORESEEN, LINEAR, STAR, GROUND = "#222222", "#1f5fa8", "#d9822b", "#c0392b", "#d4d4d4"
COSTS = "viridis_r"
DPI = 160
LONG = 2 * STEPS
"""Decisions that a drawn path has, where episodes are long enough."""
PANELS = 6
"""Held-out sequences that are drawn."""
WAYS = 3
"""Edges that are drawn from each landmark: all of them would be a solid."""
BINS = 10


class Subject(NamedTuple):
    """What is drawn. `held_out` and `linear` are None where the log that they come from is not at hand."""

    title: str
    model: Trained
    landmarks: Landmarks
    held_out: Experience | None = None
    linear: Trained | None = None


def styled() -> AbstractContextManager[None]:
    """What is drawn inside looks like every picture of ours."""
    return mpl.rc_context(
        {
            "font.size": 9.0,
            "axes.titlesize": 9.5,
            "axes.labelsize": 9.0,
            "axes.formatter.useoffset": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#777777",
            "xtick.color": "#555555",
            "ytick.color": "#555555",
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
        }
    )


def draw(subject: Subject, folder: Path) -> list[Path]:
    """Writes the pictures there are into `folder` and returns them."""
    plane = plane_of(subject.model.layout, subject.landmarks)
    with styled():
        return list(_drawn(subject, plane, folder))


def _drawn(subject: Subject, plane: Plane, folder: Path) -> Iterator[Path]:
    if subject.held_out is not None:
        yield _saved(_paths(subject, subject.held_out, plane), folder / "paths.png")
    if plane.labels[1]:  # a map of one column shows nothing
        yield _saved(_landmarks(subject, plane), folder / "landmarks.png")
    yield _saved(_cost(subject, plane), folder / "cost-to-go.png")
    if subject.held_out is not None:
        yield _saved(_reliability(subject, subject.held_out), folder / "reliability.png")


class _Line(NamedTuple):
    label: str
    colour: str
    style: str
    path_PT2: NDArray[np.float64]


def _paths(subject: Subject, held_out: Experience, plane: Plane) -> Figure:
    """Open loop from the first point and what was done alone, over ground that was visited."""
    steps = longest(held_out, LONG)
    starts = _apart(subject, held_out, plane, held_out.starts(steps), steps)
    lines = _lines(subject, held_out, plane, starts, steps)
    ground_N2 = plane(subject.model.outcomes(held_out)) if plane.labels[1] else lines[0].path_PT2[:, 0]
    rows = -(-len(starts) // 3)
    figure = Figure(figsize=(8.4, 1.1 + 2.6 * rows))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1 + 2.6 * rows, 0.3))[:, 0]
    panels = above.subplots(rows, min(3, len(starts)), sharex=True, sharey=True, squeeze=False).ravel()
    for place, panel in enumerate(panels[: len(starts)]):
        panel.scatter(ground_N2[:, 0], ground_N2[:, 1], s=3, c=GROUND, linewidths=0, rasterized=True)
        for line in lines:
            panel.plot(*line.path_PT2[place].T, line.style, color=line.colour, lw=1.4, label=line.label)
        panel.plot(*lines[0].path_PT2[place, 0], "o", color=REAL, ms=4.5, label="start")
        panel.set_aspect("equal" if plane.exact else "auto")
    _frame(panels[0], np.concatenate((ground_N2, *(line.path_PT2.reshape(-1, 2) for line in lines))))
    for panel in panels[len(starts) :]:
        panel.set_visible(False)
    across, up = plane.labels if plane.labels[1] else ("decisions", plane.labels[0])
    above.suptitle(f"{subject.title}: {steps} decisions ahead, open loop, in episodes that it never saw")
    above.supxlabel(across, fontsize=9)
    above.supylabel(up, fontsize=9)
    below.legend(*panels[0].get_legend_handles_labels(), loc="center", ncols=4)
    return figure


def _lines(subject: Subject, held_out: Experience, plane: Plane, starts: NDArray[np.int64], steps: int) -> list[_Line]:
    """What was lived and what was foreseen, from the start on; over decisions where there is but one column."""
    begin_P12 = plane(subject.model.outcomes(held_out)[starts])[:, np.newaxis]

    def placed(outcome_PTG: NDArray[np.float32]) -> NDArray[np.float64]:
        path_PT2 = np.concatenate((begin_P12, plane(outcome_PTG)), axis=1)
        if plane.labels[1]:
            return path_PT2
        return np.stack((np.broadcast_to(np.arange(steps + 1.0), path_PT2.shape[:2]), path_PT2[..., 0]), axis=-1)

    foreseen = foresee(subject.model, held_out, starts, steps=steps)
    lines = [
        _Line("as it was lived", REAL, "-", placed(foreseen.real_PTG)),
        _Line("foreseen", FORESEEN, "-", placed(foreseen.foreseen_PTG)),
    ]
    if subject.linear is not None and subject.linear is not subject.model and subject.model.layout.goal:
        by_linear = foresee(subject.linear, held_out, starts, steps=steps)
        lines.append(_Line("foreseen by the linear model", LINEAR, "--", placed(by_linear.foreseen_PTG)))
    return lines


def _apart(
    subject: Subject, held_out: Experience, plane: Plane, starts: NDArray[np.int64], steps: int
) -> NDArray[np.int64]:
    """Beginnings of sequences that move at least as far as most do, far from each other in the plane."""
    starts = spaced(starts, MOST)
    outcomes_N2 = plane(subject.model.outcomes(held_out))
    moved = np.linalg.norm(outcomes_N2[starts + steps] - outcomes_N2[starts], axis=1)
    starts = starts[moved >= np.median(moved)]
    points = outcomes_N2[starts]
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())]
    while len(chosen) < min(PANELS, len(starts)):
        far = np.min([np.linalg.norm(points - points[one], axis=1) for one in chosen], axis=0)
        chosen.append(int(far.argmax()))
    return starts[chosen]


def _landmarks(subject: Subject, plane: Plane) -> Figure:
    """Each landmark, and the cheapest ways on from it."""
    landmarks = subject.landmarks
    nodes_L2, edges = plane(landmarks.nodes_LG), landmarks.edges.tocoo()
    drawn = _cheapest(edges.row, edges.data)
    figure = Figure(figsize=(6.4, 5.4))
    axes = figure.subplots()
    ends_E22 = np.stack((nodes_L2[edges.row[drawn]], nodes_L2[edges.col[drawn]]), axis=1)
    lines = LineCollection(list(ends_E22), cmap=COSTS, linewidths=0.9)
    lines.set_array(edges.data[drawn])
    axes.add_collection(lines)
    axes.scatter(nodes_L2[:, 0], nodes_L2[:, 1], s=9, c=REAL, linewidths=0, zorder=3)
    axes.set_title(
        f"{subject.title}: {len(landmarks)} landmarks and {edges.nnz:,} directed edges,\n"
        f"of which the {WAYS} cheapest from each are drawn"
    )
    _label(axes, plane, nodes_L2)
    if len(drawn):
        figure.colorbar(lines, ax=axes, label="decisions that an edge takes", shrink=0.8)
    return figure


def _cheapest(from_E: NDArray[np.integer], decisions_E: NDArray[np.floating]) -> NDArray[np.int64]:
    """The edges that are among the `WAYS` cheapest from where they begin."""
    order = np.lexsort((decisions_E, from_E))
    begins_E = np.r_[True, np.diff(from_E[order]) != 0]
    place_E = np.arange(len(order)) - np.maximum.accumulate(np.where(begins_E, np.arange(len(order)), 0))
    return order[place_E < WAYS]


def _cost(subject: Subject, plane: Plane) -> Figure:
    """Toward where the log's reward was, or, where the world declares goals, toward one that is far from most."""
    landmarks = subject.landmarks
    preferred = not subject.model.layout.goal and bool(landmarks.preferred_L.any())
    stars_L = landmarks.preferred_L if preferred else np.arange(len(landmarks)) == far_end(landmarks)
    cost = landmarks.preferred() if preferred else landmarks.toward(landmarks.nodes_LG[stars_L][0])
    nodes_L2 = plane(landmarks.nodes_LG)
    figure = Figure(figsize=(6.4, 5.4))
    axes = figure.subplots()
    shown: ScalarMappable
    if plane.exact:
        grid = cost_grid(landmarks, cost)
        masked = np.ma.masked_invalid(grid.cost_YX)
        shown = axes.pcolormesh(grid.x_X, grid.y_Y, masked, cmap=COSTS, rasterized=True)
        axes.contour(grid.x_X, grid.y_Y, masked, levels=10, colors="white", linewidths=0.5, alpha=0.7)
    else:
        costs_L = costs(cost, landmarks.nodes_LG)
        if not plane.labels[1]:
            nodes_L2 = np.stack((nodes_L2[:, 0], costs_L), axis=1)
        shown = axes.scatter(
            nodes_L2[:, 0], nodes_L2[:, 1], s=26, c=costs_L, cmap=COSTS, edgecolors="white", linewidths=0.4
        )
    axes.plot(*nodes_L2[stars_L].T, "*", color=STAR, ms=15, mec="white", ls="")
    what = "a star, where the log's reward was" if preferred else "the star"
    axes.set_title(f"{subject.title}: what it costs to come to\n{what}, along what was lived")
    _label(axes, plane, nodes_L2)
    figure.colorbar(shown, ax=axes, label="cost-to-go (decisions)", shrink=0.8)
    return figure


def _reliability(subject: Subject, held_out: Experience) -> Figure:
    """Left: how far the next observation was expected to be off, against how far it was. Right: disagreement, many
    decisions ahead, against the error there."""
    unit = "the goal's units" if held_out.layout.goal else "deviations of the observation"
    ahead = one_step(subject.model, held_out)
    steps = longest(held_out, STEPS)
    starts = spaced(held_out.starts(steps), MOST)
    far = foresee(subject.model, held_out, starts, steps=steps)
    columns, scale_C = compared(held_out)
    off_PC = (far.foreseen_PTD[:, -1, columns] - far.real_PTD[:, -1, columns]) / scale_C
    figure = Figure(figsize=(8.4, 4.4))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(4.1, 0.3))[:, 0]
    left, right = above.subplots(1, 2)
    _binned(left, ahead.predicted_M, ahead.real_M)
    left.plot(left.get_xlim(), left.get_xlim(), ":", color=REAL, lw=1.2, label="as expected")
    left.set(xlabel=f"expected error ({unit})", ylabel=f"error ({unit})", title="one decision ahead")
    _binned(right, far.disagreement_PT[:, -1], np.sqrt(np.square(off_PC).mean(axis=1)))
    right.set(
        xlabel="disagreement: what would be learnt there (nats)",
        ylabel=f"error ({unit})",
        title=f"{steps} decisions ahead",
    )
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
    below.legend(*left.get_legend_handles_labels(), loc="center", ncols=3)
    above.suptitle(f"{subject.title}: does it know when it errs? Held-out episodes, in tenths by the horizontal axis")
    return figure


def _binned(axes: Axes, across_N: NDArray[np.floating], error_N: NDArray[np.floating]) -> None:
    """Root mean square of each tenth, with its middle half."""
    order = np.argsort(across_N, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    middle = np.array([np.median(across_N[part]) for part in bins])
    typical = np.array([np.sqrt(np.square(error_N[part]).mean()) for part in bins])
    quarters = np.array([np.quantile(error_N[part], (0.25, 0.75)) for part in bins])
    axes.vlines(middle, *quarters.T, color=FORESEEN, lw=3, alpha=0.3, label="middle half")
    axes.plot(middle, typical, "o-", color=FORESEEN, ms=4.5, lw=1, label="root mean square")


def _label(axes: Axes, plane: Plane, points_N2: NDArray[np.float64]) -> None:
    axes.set(
        xlabel=plane.labels[0],
        ylabel=plane.labels[1] or "cost-to-go (decisions)",
        aspect="equal" if plane.exact else "auto",
    )
    _frame(axes, points_N2)


def _frame(axes: Axes, points_N2: NDArray[np.float64]) -> None:
    low, high = points_N2.min(axis=0), points_N2.max(axis=0)
    pad = 0.05 * np.maximum(high - low, 1e-9)
    axes.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))


def _saved(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI)
    return path
