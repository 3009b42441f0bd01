"""Outcomes as evaluations have them, drawn: some episodes fail at the budget, the others take a few decisions and then
as many more as a waiting time has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runtime.learning.judging.verdict import Outcome, Pair

BUDGET = 60
FEWEST = 5
"""Decisions from the nearest start."""

Steps = NDArray[np.float64]


def steps(rng: np.random.Generator, shape: tuple[int, ...], *, fails: float, mean: float) -> Steps:
    """`mean` is of those that do not fail, before those that take too long are counted as failures."""
    taken = FEWEST - 1 + rng.geometric(1 / (mean - FEWEST + 1), shape)
    return np.where(rng.random(shape) < fails, BUDGET, np.minimum(taken, BUDGET)).astype(float)


def pairs(candidate: Steps, incumbent: Steps) -> list[Pair]:
    return [Pair(outcome(ours), outcome(theirs)) for ours, theirs in zip(candidate, incumbent, strict=True)]


def outcome(taken: float) -> Outcome:
    return Outcome(success=taken < BUDGET, steps=int(taken))
