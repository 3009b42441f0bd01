"""What an outcome costs: how many decisions lie between it and what is wanted.

Knows points of outcome space; knows no model and no graph. Invariant: costs are finite, ≥ 0, and in decisions, so
every kind of cost is traded at the same rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from world_model.errors import ShapeError
from world_model.experience import Experience

# N = observations, G = width of outcome space

Cost = Callable[[Tensor], Tensor]
"""Outcomes (…, G) to decisions (…), float32."""


def step_scale(outcome_NG: NDArray[np.floating], experience: Experience) -> NDArray[np.float64]:
    """What divides a difference of outcomes, per dimension, so that its length is in decisions; shape (G,).

    The root mean square of what a decision changed in that dimension, times √(dimensions that ever change): a typical
    decision then has length 1 whatever the units. A dimension that never changes gets infinity: no difference in it
    can be closed, so it says nothing of what is nearer. Raises ShapeError where no decision changed anything."""
    steps = np.flatnonzero(experience.steps_N)
    if len(outcome_NG) != len(experience):
        raise ShapeError(f"{len(outcome_NG)} outcomes of {len(experience)} observations; one for each is needed")
    outcomes = np.asarray(outcome_NG, dtype=np.float64)
    change_G = np.sqrt(np.square(outcomes[steps + 1] - outcomes[steps]).mean(axis=0)) if len(steps) else np.zeros(0)
    if not change_G.any():
        raise ShapeError("no logged decision changed the outcome, so distances have no unit; log more transitions")
    return scale_of(change_G)


def scale_of(change_G: NDArray[np.float64]) -> NDArray[np.float64]:
    """`step_scale` where the root mean square of what a decision changes in each dimension is known already."""
    moving = int((change_G > 0).sum())
    scale_G: NDArray[np.float64] = np.where(change_G > 0, change_G * np.sqrt(moving), np.inf)
    return scale_G


class Euclidean:
    """The straight line to `goal_G`, as if nothing stood in between."""

    def __init__(self, goal: ArrayLike, *, scale: ArrayLike) -> None:
        """`scale` as `step_scale` gives it, shape (G,)."""
        goal_G, scale_G = np.asarray(goal, dtype=np.float64), np.asarray(scale, dtype=np.float64)
        if goal_G.shape != scale_G.shape or goal_G.ndim != 1:
            raise ShapeError(f"a goal of shape {goal_G.shape} in an outcome space of {scale_G.shape}")
        self._weight_G = torch.as_tensor(1 / scale_G, dtype=torch.float32)
        self._goal_G = torch.as_tensor(goal_G / scale_G, dtype=torch.float32)

    def __call__(self, outcome: Tensor) -> Tensor:
        distance: Tensor = torch.linalg.vector_norm(outcome * self._weight_G - self._goal_G, dim=-1)
        return distance


class Indifferent:
    """Nothing is wanted: every outcome costs 0, and only what would be learnt tells courses apart."""

    def __call__(self, outcome: Tensor) -> Tensor:
        return torch.zeros(outcome.shape[:-1], dtype=torch.float32)
