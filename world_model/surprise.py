"""How far what was seen lies from what was predicted, in observation units, in nats, and among recent ones.

Knows predictions and numbers; knows no model. Invariant: both figures are per dimension, so widths
compare."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from world_model.errors import ShapeError

NOTHING_TO_COMPARE: Final = 0.5
"""Percentile of a first surprise: neither calm nor remarkable."""


@dataclass(frozen=True, slots=True)
class Surprise:
    """`error` is the root mean squared error in observation units, ≥ 0; `nats` is in nats per dimension, any
    sign."""

    error: float
    nats: float


def surprise(mean: ArrayLike, variance: ArrayLike, seen: ArrayLike) -> Surprise:
    """What was `seen` against the prediction `mean` with `variance` > 0; equal shapes, at least one element.

    nats = ½ mean(log 2πσ² + e²/σ²), the negative log-likelihood per dimension of a Gaussian with diagonal
    covariance (Bishop, *Pattern Recognition and Machine Learning*, eq. 2.43). Raises ShapeError when shapes
    differ."""
    expected, spread, found = (np.asarray(v, dtype=np.float64) for v in (mean, variance, seen))
    if not expected.shape == spread.shape == found.shape or expected.size == 0:
        raise ShapeError(
            f"mean {expected.shape}, variance {spread.shape} and what was seen {found.shape} must be of one "
            f"shape with at least one element"
        )
    assert (spread > 0).all(), "a predictive variance that is not positive"
    squares = np.square(found - expected)
    return Surprise(
        error=math.sqrt(float(squares.mean())),
        nats=0.5 * float((np.log(2 * math.pi * spread) + squares / spread).mean()),
    )


def percentile(nats: float, recent: Sequence[float]) -> float:
    """Share of `recent` that is not above `nats`, in [0, 1]; `NOTHING_TO_COMPARE` while `recent` is empty."""
    if not recent:
        return NOTHING_TO_COMPARE
    return sum(other <= nats for other in recent) / len(recent)
