"""The cost-to-go at any outcome, from that of the landmarks around it.

Knows landmarks and their costs; knows not how they were found. Invariant: finite everywhere."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# P = outcomes, L = landmarks, G = width of outcome space

AT_THE_GOAL: Final = 1.0
"""Decisions from the goal within which it is always seen: landmarks tell no directions apart on so short a way."""


class Field:
    """Decisions from an outcome: the cheapest of the distance to a landmark plus its cost-to-go, over the landmark
    nearest to the outcome and those to which it leads straight. Where the nearest landmark sees the goal, or the
    goal is at hand, the distance to the goal itself is one of them, so near it the field is that distance and smooth.

    An outcome from whose landmarks nothing leads costs the distance to the nearest landmark from which something does,
    that one's cost, and the dearest of all: finite, dearer than what is connected, and it slopes back to it."""

    def __init__(
        self,
        scaled_LG: NDArray[np.float64],
        scale_G: NDArray[np.float64],
        direct_LL: NDArray[np.bool_],
        cost_L: NDArray[np.float64],
        *,
        goal: NDArray[np.float64] | None = None,
        sees_goal: NDArray[np.bool_] | None = None,
    ) -> None:
        self.cost_L = cost_L
        """Cost-to-go of each landmark, infinite where nothing leads to what is wanted."""
        connected_L = np.isfinite(cost_L)
        dearest = float(cost_L[connected_L].max()) if connected_L.any() else 0.0
        self._weight_G = torch.as_tensor(1 / scale_G, dtype=torch.float32)
        self._scaled_LG = torch.as_tensor(scaled_LG, dtype=torch.float32)
        self._cost_L = torch.as_tensor(cost_L, dtype=torch.float32)
        # inf where a landmark does not lead straight to another, 0 where it does: one addition chooses
        self._barred_LL = torch.where(torch.as_tensor(direct_LL), 0.0, torch.inf)
        self._otherwise_L = torch.as_tensor(np.where(connected_L, cost_L + dearest, np.inf), dtype=torch.float32)
        self._goal_G = None if goal is None else torch.as_tensor(goal, dtype=torch.float32)
        self._unseen_L = None if sees_goal is None else torch.where(torch.as_tensor(sees_goal), 0.0, torch.inf)

    def __call__(self, outcome: Tensor) -> Tensor:
        points_PG = (outcome * self._weight_G).reshape(-1, self._weight_G.shape[0])
        distance_PL = torch.cdist(points_PG, self._scaled_LG, compute_mode="donot_use_mm_for_euclid_dist")
        nearest_P = distance_PL.argmin(dim=1)
        cost_P = (distance_PL + self._cost_L + self._barred_LL[nearest_P]).amin(dim=1)
        if self._goal_G is not None and self._unseen_L is not None:
            straight_P = torch.linalg.vector_norm(points_PG - self._goal_G, dim=1)
            unseen_P = torch.where(straight_P <= AT_THE_GOAL, 0.0, self._unseen_L[nearest_P])
            cost_P = torch.minimum(cost_P, straight_P + unseen_P)
        lost_P = torch.isinf(cost_P)
        if bool(lost_P.any()):
            cost_P[lost_P] = (distance_PL[lost_P] + self._otherwise_L).amin(dim=1)
        return cost_P.reshape(outcome.shape[:-1])
