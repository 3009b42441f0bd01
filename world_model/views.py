"""What pictures of a model show, as numbers: a plane to draw outcomes in, and what they cost there.

Knows outcomes and landmarks; draws nothing. numpy in and out."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from world_model.layout import Layout
from world_model.plan.cost import Cost
from world_model.plan.landmarks import Landmarks

# P = points, L = landmarks, G = width of outcome space

GRID: Final = 160
"""Points a side of the grid on which costs are drawn."""

NARROW: Final = 0.1
"""Quantile of the gaps between neighbouring landmarks that a visited point lies within of one: landmarks are chosen
until nothing is farther from all of them than the narrowest gap, but for a few that were chosen first."""

SLACK: Final = 1.2
"""Times that gap: what lies between visited points counts as visited."""


class Plane(NamedTuple):
    """Two directions of outcome space, as columns of (G, 2), around `centre`."""

    centre_G: NDArray[np.float64]
    axes_G2: NDArray[np.float64]
    labels: tuple[str, str]
    exact: bool
    """Whether the plane is all of outcome space, so that nothing is hidden behind it."""

    def __call__(self, outcome: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where outcomes (…, G) lie in it, (…, 2)."""
        drawn: NDArray[np.float64] = (outcome - self.centre_G) @ self.axes_G2
        return drawn


def plane_of(layout: Layout, landmarks: Landmarks) -> Plane:
    """The first two columns of the achieved goal; where there is none, the first two principal axes of the landmarks,
    with what each explains of their variance in its label. A goal of one column has no second label."""
    width = landmarks.nodes_LG.shape[1]
    if layout.goal == 1:
        return Plane(np.zeros(1), np.eye(1, 2), ("achieved goal (the environment's units)", ""), exact=False)
    if layout.goal >= 2:
        labels = tuple(f"achieved goal, column {column} (the environment's units)" for column in (1, 2))
        return Plane(np.zeros(width), np.eye(width, 2), (labels[0], labels[1]), exact=width == 2)
    centre_G = landmarks.nodes_LG.mean(axis=0)
    _, powers, axes = np.linalg.svd(landmarks.nodes_LG - centre_G, full_matrices=False)
    axes_G2 = np.zeros((width, 2))
    axes_G2[:, : len(axes[:2])] = axes[:2].T
    shares = np.pad(np.square(powers) / np.square(powers).sum(), (0, 2))
    named = tuple(f"latent, principal axis {axis} ({shares[axis - 1]:.0%} of the variance)" for axis in (1, 2))
    return Plane(centre_G, axes_G2, (named[0], named[1]), exact=False)


def far_end(landmarks: Landmarks) -> int:
    """The landmark that is hardest to reach from those that reach it at all, among those that most reach: a goal whose
    field shows the ways there are."""
    costs_LL = np.stack([landmarks.decisions_to(_only(landmark, len(landmarks))) for landmark in range(len(landmarks))])
    reached_L = np.isfinite(costs_LL).sum(axis=1)
    typical_L = np.array([np.median(row[np.isfinite(row)]) for row in costs_LL])
    return int(np.where(reached_L >= np.median(reached_L), typical_L, -np.inf).argmax())


class CostGrid(NamedTuple):
    """The cost-to-go on a grid, NaN where nothing was ever visited nearby."""

    x_X: NDArray[np.float64]
    y_Y: NDArray[np.float64]
    cost_YX: NDArray[np.float64]


def cost_grid(landmarks: Landmarks, cost: Cost) -> CostGrid:
    """Of an outcome space of two columns."""
    nodes_L2, scaled_L2 = landmarks.nodes_LG, landmarks.nodes_LG / landmarks.scale_G
    low, high = nodes_L2.min(axis=0), nodes_L2.max(axis=0)
    pad = 0.04 * (high - low)
    x_X, y_Y = (np.linspace(low[axis] - pad[axis], high[axis] + pad[axis], GRID) for axis in (0, 1))
    points_P2 = np.stack(np.meshgrid(x_X, y_Y), axis=-1).reshape(-1, 2)
    tree = cKDTree(scaled_L2)
    gaps_L = np.asarray(tree.query(scaled_L2, k=[2])[0])[:, 0]
    far_P = tree.query(points_P2 / landmarks.scale_G)[0] > SLACK * np.quantile(gaps_L, NARROW)
    cost_P = costs(cost, points_P2)
    cost_P[far_P] = np.nan
    return CostGrid(x_X, y_Y, cost_P.reshape(GRID, GRID))


def costs(cost: Cost, outcome_PG: NDArray[np.floating]) -> NDArray[np.float64]:
    """What each outcome costs, in decisions."""
    pieces = [cost(torch.from_numpy(np.asarray(part, dtype=np.float32))) for part in np.array_split(outcome_PG, 16)]
    return torch.cat(pieces).double().numpy()


def _only(landmark: int, count: int) -> NDArray[np.float64]:
    targets_L = np.full(count, np.inf)
    targets_L[landmark] = 0.0
    return targets_L
